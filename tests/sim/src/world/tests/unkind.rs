//! Behaviour that real servers show and that a test selects with settings.

use super::*;
use crate::value::Message;

const NONE: [u32; 0] = [];

fn pair(settings: Value) -> Value {
    json!({"do": "setPairSettings", "pair": "user", "settings": settings})
}

fn server(id: &str, settings: Value) -> Value {
    json!({"do": "setServerSettings", "server": id, "settings": settings})
}

impl Scenario {
    fn log_in(&mut self, server: &str) -> Result<u64, Message> {
        self.world.login(self.now, server, "operator", Some("secret"), "").map(|login| login.session)
    }

    fn refusal(&mut self, server: &str) -> u32 {
        self.log_in(server).map_or_else(|error| error.number, |_| 0)
    }

    fn alter(&mut self, server: &str, text: &str) -> (bool, Vec<u32>) {
        let session = self.log_in(server).unwrap();
        self.alter_in(session, text)
    }

    /// Whether the statement has ended, and its errors.
    fn alter_in(&mut self, session: u64, text: &str) -> (bool, Vec<u32>) {
        use crate::value::{Event, Step};
        let text = format!("ALTER DATABASE [rtcxds] SET {text}");
        let mut batch = crate::sql::Batch::new(&text, Vec::new());
        let mut errors = Vec::new();
        loop {
            let (events, ended) = match batch.step(&mut self.world, session) {
                Step::Emit(events) => (events, false),
                Step::Finished(events) | Step::Disconnect(events) => (events, true),
                Step::Wait => return (false, errors),
            };
            errors.extend(events.iter().filter_map(|event| match event {
                Event::Message(message) if message.class > 10 => Some(message.number),
                _ => None,
            }));
            if ended {
                return (true, errors);
            }
        }
    }
}

#[test]
fn server_started_rejects_logins_and_recovers_databases_one_after_the_other() {
    let slow = server("b", json!({"startMillis": 2000, "recoveryMillis": 1000}));
    let mut scenario = Scenario::new(true).apply(&[slow, kill("b"), start("b")]);
    assert_eq!(scenario.refusal("b"), 17187);
    // The databases in the order of their ids: rtcab, rtcshared, rtcxds.
    scenario = scenario.after(2.5);
    assert_eq!(scenario.refusal("b"), 0);
    let scenario = scenario.assert_rows("recovering", "P/2/C/0", "NULL", "a").after(1.0);
    assert!(scenario.world.row("b", "rtcab").is_some());
    scenario.assert_rows("still recovering", "P/2/C/0", "NULL", "a").after(2.0).assert_rows(
        "recovered",
        "P/4/C/0",
        "M/4/C/1",
        "a",
    );
    let shown = server("b", json!({"nullColumns": "never", "recoveryMillis": 1000}));
    let scenario = Scenario::new(true).apply(&[shown, kill("b"), start("b")]).after(0.5);
    scenario.assert_rows("columns shown", "P/2/C/0", "M/1/D/2", "a");
}

#[test]
fn principal_restarted_slowly_loses_its_role_to_the_mirror() {
    let slow = server("a", json!({"recoveryMillis": 20_000}));
    let scenario = Scenario::new(true).apply(&[slow, kill("a"), start("a")]).after(11.0);
    scenario.assert_rows("b took over", "NULL", "P/1/C/0", "b").after(60.0).assert_rows(
        "a follows",
        "M/4/C/1",
        "P/4/C/0",
        "b",
    );
}

#[test]
fn database_state_not_online_hides_columns_unless_set() {
    for state in [2, 3, 4, 6] {
        let broken = json!({"do": "setDatabaseState", "server": "b", "database": "rtcxds", "state": state});
        Scenario::new(true).apply(std::slice::from_ref(&broken)).assert_rows("hidden", "P/4/C/0", "NULL", "a");
        let shown = server("b", json!({"nullColumns": "never"}));
        let row = format!("M/4/C/{state}");
        Scenario::new(true).apply(&[broken, shown]).assert_rows("shown", "P/4/C/0", &row, "a");
    }
}

#[test]
fn principal_without_quorum_has_three_alternatives() {
    let isolate = [cut("a", "b"), cut("a", "w")];
    for (setting, row) in [("recovering", "P/1/D/2"), ("recoveringNull", "NULL"), ("online", "P/1/D/0")] {
        let set = pair(json!({"quorumless": setting}));
        Scenario::new(true).apply(&[set]).apply(&isolate).after(11.0).assert_rows(setting, row, "P/1/C/0", "b");
    }
    let scenario = Scenario::new(true).apply(&isolate).after(11.0);
    let a = scenario.world.find_server("a").unwrap();
    assert_eq!(scenario.world.open_database(a, "rtcxds", "operator"), Err(OpenError::NoQuorum));
}

#[test]
fn forced_service_takes_its_time_and_answers_before_or_after() {
    for (answer, at_once) in [("after", false), ("before", true)] {
        let set = pair(json!({"forceMillis": 60_000, "forceAnswer": answer}));
        let mut scenario = Scenario::new(false).apply(&[set, kill("a")]).after(11.0);
        assert_eq!(scenario.alter("b", "PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS"), (at_once, vec![]), "{answer}");
        scenario
            .after(30.0)
            .assert_rows("not yet", "P/1/-/0", "M/1/-/1", "")
            .after(31.0)
            .assert_rows("forced", "P/1/-/0", "P/0/-/0", "b");
    }
}

#[test]
fn failover_answer_can_come_before_or_mean_nothing() {
    let run = |answer: &str| {
        let mut scenario = Scenario::new(true).apply(&[pair(json!({"failoverAnswer": answer}))]);
        assert_eq!(scenario.alter("a", "PARTNER FAILOVER"), (true, vec![]), "{answer}");
        scenario
    };
    run("before")
        .assert_rows("moving", "P/3/C/0", "M/4/C/1", "")
        .after(1.0)
        .assert_rows("moved", "M/4/C/1", "P/4/C/0", "b");
    run("ignored").assert_rows("not moving", "P/4/C/0", "M/4/C/1", "a");
    run("failsLater").assert_rows("moving", "P/3/C/0", "M/4/C/1", "").after(1.0).assert_rows(
        "as before",
        "P/4/C/0",
        "M/4/C/1",
        "a",
    );
}

#[test]
fn failover_with_lost_partner_has_three_outcomes() {
    let slow = json!({"do": "setSwitchMillis", "pair": "user", "millis": 5_000});
    for (outcome, a, b, served) in [
        ("keepsRoles", "P/1/-/0", "M/1/-/1", "a"),
        ("newPrincipal", "P/1/-/0", "P/1/-/0", "ab"),
        ("bothMirror", "M/1/-/1", "M/1/-/1", ""),
    ] {
        let set = pair(json!({"lostPartner": outcome}));
        let mut scenario = Scenario::new(false).apply(&[slow.clone(), set]);
        let session = scenario.log_in("a").unwrap();
        assert_eq!(scenario.alter_in(session, "PARTNER FAILOVER"), (false, vec![]));
        let scenario = scenario.apply(&[cut("a", "b")]).after(11.0).assert_rows(outcome, a, b, served);
        let scenario = scenario.apply(&[json!({"do": "reconnectAll"})]).after(1.0);
        match outcome {
            "newPrincipal" => drop(scenario.assert_rows("reconnected", "M/4/-/1", "P/4/-/0", "b")),
            "bothMirror" => drop(scenario.assert_rows("stays", "M/1/-/1", "M/1/-/1", "")),
            _ => drop(scenario.assert_rows("reconnected", "P/4/-/0", "M/4/-/1", "a")),
        }
    }
}

#[test]
fn two_mirrors_end_with_forced_service() {
    let slow = json!({"do": "setSwitchMillis", "pair": "user", "millis": 5_000});
    let set = pair(json!({"lostPartner": "bothMirror"}));
    let mut scenario = Scenario::new(false).apply(&[slow, set]);
    scenario.alter("a", "PARTNER FAILOVER");
    let mut scenario = scenario.apply(&[cut("a", "b")]).after(11.0);
    assert_eq!(scenario.alter("b", "PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS"), (true, vec![]));
    scenario.assert_rows("forced", "M/1/-/1", "P/0/-/0", "b");
}

#[test]
fn client_gone_cancels_its_failover_only_with_the_setting() {
    let slow = json!({"do": "setSwitchMillis", "pair": "user", "millis": 5_000});
    for (setting, row) in [("goesOn", "M/4/C/1"), ("cancels", "P/4/C/0")] {
        let mut scenario = Scenario::new(true).apply(&[slow.clone(), pair(json!({"droppedClient": setting}))]);
        let session = scenario.log_in("a").unwrap();
        scenario.alter_in(session, "PARTNER FAILOVER");
        scenario.world.close(session);
        assert_eq!(scenario.after(10.0).row("a"), row, "{setting}");
    }
}

#[test]
fn newer_principal_suspends_by_major_or_by_any_part_of_the_version() {
    let newer = json!({"do": "setVersion", "server": "b", "version": "11.0.7507.2"});
    let failover = json!({"do": "failover", "pair": "user"});
    let run = |settings: Value| {
        Scenario::new(true).apply(&[newer.clone(), pair(settings), failover.clone()]).after(1.0).row("b")
    };
    assert_eq!(run(json!({})), "P/4/C/0");
    assert_eq!(run(json!({"suspendOnAnyNewer": true})), "P/0/C/0");
}

#[test]
fn witness_can_be_removed_and_changed_on_the_principal_only() {
    let mut scenario = Scenario::new(true);
    for text in ["WITNESS OFF", "WITNESS = 'TCP://sql-w:7022'", "PARTNER RESUME", "PARTNER TIMEOUT 20"] {
        assert_eq!(scenario.alter("b", text), (true, vec![1470, 5069]), "{text}");
    }
    assert_eq!(scenario.alter("a", "PARTNER TIMEOUT 40000").1, [1476, 5069]);
    assert_eq!(scenario.alter("a", "PARTNER TIMEOUT 3").1, NONE);
    assert_eq!(scenario.world.row("b", "rtcxds").unwrap().connection_timeout, 5);
    assert_eq!(scenario.alter("a", "WITNESS OFF").1, NONE);
    assert_eq!(scenario.alter("a", "WITNESS OFF").1, [1439, 5069]);
    assert_eq!(scenario.row("a"), "P/4/-/0");
    assert_eq!(scenario.alter("a", "WITNESS = 'TCP://sql-b:5022'").1, [1429, 5069]);
    assert_eq!(scenario.alter("a", "WITNESS = 'TCP://nowhere:7022'").1, [1456, 5069]);
    assert_eq!(scenario.alter("a", "WITNESS = N'TCP://sql-w:7022'").1, NONE);
    let mut scenario = scenario.after(1.0).assert_rows("again", "P/4/C/0", "M/4/C/1", "a");
    assert_eq!(scenario.world.row("a", "rtcxds").unwrap().witness_name.as_deref(), Some("TCP://sql-w:7022"));
    scenario = scenario.apply(&[kill("b")]).after(11.0);
    assert_eq!(scenario.alter("a", "WITNESS = N'TCP://sql-w:7022'").1, [1426, 5069]);
    scenario = scenario.apply(&[kill("w")]).after(11.0);
    assert_eq!(scenario.alter("a", "WITNESS OFF").1, [1431, 5069]);
}

#[test]
fn suspended_session_of_separate_partners_shows_disconnected_or_suspended() {
    let suspend = json!({"do": "suspend", "pair": "user"});
    for (setting, a, b) in [("disconnected", "P/1/-/0", "M/1/-/1"), ("suspended", "P/0/-/0", "M/0/-/1")] {
        let set = pair(json!({"suspendedWhenApart": setting}));
        let scenario = Scenario::new(false).apply(&[set, suspend.clone(), cut("a", "b")]).after(11.0);
        scenario.assert_rows(setting, a, b, "a");
    }
}

#[test]
fn suspect_mirror_suspends_its_session_only_with_the_setting() {
    let broken = json!({"do": "setDatabaseState", "server": "b", "database": "rtcxds", "state": 4});
    Scenario::new(true).apply(std::slice::from_ref(&broken)).assert_rows("kind", "P/4/C/0", "NULL", "a");
    let set = pair(json!({"suspectMirrorSuspends": true}));
    Scenario::new(true).apply(&[set, broken]).assert_rows("suspends", "P/0/C/0", "NULL", "a");
}

#[test]
fn server_renamed_keeps_its_old_name_at_the_partner() {
    let rename = json!({"do": "rename", "server": "a", "name": r"SQL-NEW\RTC"});
    let scenario = Scenario::new(true).apply(&[rename]);
    assert_eq!(scenario.world.row("b", "rtcxds").unwrap().partner_instance, r"SQL-A\RTC");
    let scenario = scenario.apply(&[pair(json!({"emptyPartnerInstance": true}))]);
    assert_eq!(scenario.world.row("b", "rtcxds").unwrap().partner_instance, "");
}

#[test]
fn database_mirrored_elsewhere_leaves_its_old_partner_disconnected() {
    let mut config = Config::sample();
    config.servers.push(crate::config::ServerConfig::sample("c", r"SQL-C\RTC"));
    let world = World::new(&config).unwrap();
    let elsewhere =
        json!({"do": "mirrorElsewhere", "server": "b", "database": "rtcxds", "partner": "c", "newPair": "new"});
    let scenario =
        Scenario { world, now: Duration::ZERO }.apply(&[kill("a")]).after(11.0).apply(&[elsewhere, start("a")]);
    let scenario = scenario.after(20.0);
    let (a, b, c) = ("rtcxds", "rtcxds", "rtcxds");
    let (a, b, c) = (scenario.world.row("a", a), scenario.world.row("b", b), scenario.world.row("c", c));
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert_eq!((a.role, a.state, b.role, b.state, c.role, c.state), (1, 1, 1, 4, 2, 4));
    assert!(a.guid != b.guid && b.guid == c.guid);
    assert_eq!((a.partner_instance.as_str(), b.partner_instance.as_str()), (r"SQL-B\RTC", r"SQL-C\RTC"));
}

#[test]
fn handshake_refused_leaves_partners_disconnected() {
    let refuse = server("b", json!({"refusesHandshake": true}));
    let scenario = Scenario::new(false).apply(&[refuse]).after(11.0).assert_rows("1418", "P/1/-/0", "M/1/-/1", "a");
    let accept = server("b", json!({"refusesHandshake": false}));
    scenario.apply(&[accept]).after(1.0).assert_rows("again", "P/4/-/0", "M/4/-/1", "a");
}

#[test]
fn logins_are_refused_by_number_for_a_count_or_until_lifted() {
    let refuse = json!({"do": "refuseLogins", "server": "a", "number": 18401, "times": 2});
    let mut scenario = Scenario::new(true).apply(&[refuse]);
    assert_eq!([(); 3].map(|()| scenario.refusal("a")), [18401, 18401, 0]);
    for number in [17142, 17187, 17809, 17892, 18401, 18451, 18461, 18488, 4064, 6005, 99_999] {
        let mut refusing = scenario.apply(&[json!({"do": "refuseLogins", "server": "a", "number": number})]);
        assert_eq!([(); 3].map(|()| refusing.refusal("a")), [number; 3]);
        scenario = refusing.apply(&[json!({"do": "acceptLogins", "server": "a"})]);
        assert_eq!(scenario.refusal("a"), 0);
    }
}

#[test]
fn mirroring_removed_while_principal_is_away_leaves_a_second_live_copy_without_a_witness() {
    let remove = json!({"do": "removeMirroring", "pair": "user", "database": "rtcxds", "server": "b"});
    let force = json!({"do": "force", "pair": "user"});
    let scenario = Scenario::new(false).apply(&[kill("a")]).after(11.0).apply(&[force, remove.clone()]);
    let scenario = scenario.assert_rows("removed", "P/1/-/0", "NULL", "b");
    scenario.apply(&[start("a")]).after(1.0).assert_rows("two live copies", "NULL", "NULL", "ab");
    let scenario = Scenario::new(true).apply(&[kill("a")]).after(11.0).apply(&[remove, start("a")]).after(20.0);
    let scenario = scenario.assert_rows("in recovery", "P/1/D/2", "NULL", "b");
    scenario.apply(&[kill("a"), start("a")]).after(1.0).assert_rows("one more restart", "NULL", "NULL", "ab");
}

#[test]
fn settings_unknown_field_is_an_error() {
    let mut scenario = Scenario::new(true);
    let command: Command = serde_json::from_value(pair(json!({"quorum": "x"}))).unwrap();
    let error = scenario.world.apply(Duration::ZERO, &command).unwrap_err();
    assert!(error.starts_with("settings: unknown field `quorum`"), "{error}");
}

#[test]
fn mirror_without_its_principal_is_restoring_or_recovering_with_columns() {
    for (settings, state) in [(json!({}), 1), (json!({"mirrorAlone": "recovering"}), 2)] {
        let scenario =
            Scenario::new(false).apply(&[pair(settings)]).assert_rows("connected", "P/4/-/0", "M/4/-/1", "a");
        let scenario = scenario.apply(&[kill("a")]).after(11.0);
        assert_eq!(scenario.row("b"), format!("M/1/-/{state}"));
        let b = scenario.world.find_server("b").unwrap();
        let refused = scenario.world.open_database(b, "rtcxds", "operator").unwrap_err();
        assert_eq!(refused, OpenError::Mirror, "the role refuses clients in both states");
        scenario.apply(&[start("a")]).after(1.0).assert_rows("connected again", "P/4/-/0", "M/4/-/1", "a");
    }
}
