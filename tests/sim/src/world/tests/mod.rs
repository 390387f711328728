//! The states of tests/scenarios (S1 to S27) without a TDS server: commands, then the row that each partner reports.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::Config;

mod unkind;

/// A world, and the time up to which it has run.
struct Scenario {
    world: World,
    now: Duration,
}

impl Scenario {
    fn new(witness: bool) -> Self {
        let mut config = Config::sample();
        if !witness {
            config.pairs[0].witness = None;
        }
        Self { world: World::new(&config).unwrap(), now: Duration::ZERO }
    }

    fn apply(mut self, commands: &[Value]) -> Self {
        for command in commands {
            let command: Command = serde_json::from_value(command.clone()).unwrap();
            self.world.apply(self.now, &command).unwrap();
        }
        self
    }

    fn after(mut self, seconds: f64) -> Self {
        self.now += Duration::from_secs_f64(seconds);
        self.world.advance(self.now);
        self
    }

    /// Role (P or M), mirroring state, witness state (C, D or -) and database state of rtcxds, between slashes.
    fn row(&self, server: &str) -> String {
        let Some(row) = self.world.row(server, "rtcxds") else { return "NULL".to_owned() };
        let role = if row.role == 1 { "P" } else { "M" };
        let witness = row.witness_state.map_or("-", |state| if state == 1 { "C" } else { "D" });
        format!("{role}/{}/{witness}/{}", row.state, row.database_state)
    }

    fn can_open(&self, server: &str) -> bool {
        let server = self.world.find_server(server).unwrap();
        self.world.open_database(server, "rtcxds", "operator").is_ok()
    }

    /// Asserts the rows on `a` and `b`, and the servers on which clients can use the database.
    #[track_caller]
    fn assert_rows(self, name: &str, a: &str, b: &str, served: &str) -> Self {
        assert_eq!((self.row("a").as_str(), self.row("b").as_str()), (a, b), "{name}");
        let open: String = ["a", "b"].into_iter().filter(|server| self.can_open(server)).collect();
        assert_eq!(open, served, "{name}: servers with an open database");
        self
    }
}

fn kill(server: &str) -> Value {
    json!({"do": "kill", "server": server})
}

fn start(server: &str) -> Value {
    json!({"do": "start", "server": server})
}

fn cut(a: &str, b: &str) -> Value {
    json!({"do": "cut", "a": a, "b": b})
}

#[test]
fn world_healthy_or_synchronizing_reports_states_s1_to_s3() {
    Scenario::new(true).assert_rows("S1", "P/4/C/0", "M/4/C/1", "a");
    Scenario::new(false).assert_rows("S2", "P/4/-/0", "M/4/-/1", "a");
    let desync = json!({"do": "desync", "pair": "user", "millis": 500});
    Scenario::new(true)
        .apply(&[desync])
        .assert_rows("S3", "P/2/C/0", "M/2/C/1", "a")
        .after(1.0)
        .assert_rows("S1", "P/4/C/0", "M/4/C/1", "a");
}

#[test]
fn failover_manual_reports_states_s4_and_s5() {
    let scenario = Scenario::new(true).apply(&[json!({"do": "failover", "pair": "user"})]);
    let scenario =
        scenario.assert_rows("S4", "P/3/C/0", "M/4/C/1", "").after(0.06).assert_rows("S5", "M/2/C/1", "P/1/C/0", "b");
    let scenario = scenario.after(1.0).assert_rows("S5, synchronized", "M/4/C/1", "P/4/C/0", "b");
    assert_eq!(scenario.world.failovers().len(), 3);
    assert!(
        scenario
            .world
            .failovers()
            .iter()
            .all(|failover| failover.kind == FailoverKind::Manual && failover.role_sequence == 2)
    );
}

#[test]
fn world_servers_lost_reports_states_s6_to_s8_s11_to_s13_and_s19() {
    Scenario::new(true).apply(&[kill("b")]).after(11.0).assert_rows("S6", "P/1/C/0", "M/1/D/1", "a");
    Scenario::new(false).apply(&[kill("b")]).after(11.0).assert_rows("S7", "P/1/-/0", "M/1/-/1", "a");
    Scenario::new(true).apply(&[kill("b"), kill("w")]).after(11.0).assert_rows("S8", "P/1/D/2", "M/1/D/1", "");
    Scenario::new(false).apply(&[kill("a")]).after(11.0).assert_rows("S11", "P/1/-/0", "M/1/-/1", "");
    Scenario::new(true).apply(&[kill("w"), kill("a")]).after(11.0).assert_rows("S12", "P/1/D/2", "M/1/D/1", "");
    let late = json!({"do": "desync", "pair": "user", "millis": 60_000});
    Scenario::new(true).apply(&[late, kill("a")]).after(11.0).assert_rows("S13", "P/1/D/2", "M/1/C/1", "");
    Scenario::new(true).apply(&[kill("w")]).after(11.0).assert_rows("S19", "P/4/D/0", "M/4/D/1", "a");
}

#[test]
fn failover_automatic_reports_states_s9_and_s10() {
    let scenario = Scenario::new(true).apply(&[kill("a")]).after(9.0).assert_rows(
        "loss not detected yet",
        "P/1/D/2",
        "M/4/C/1",
        "",
    );
    let scenario = scenario.after(2.0).assert_rows("S9", "P/1/D/2", "P/1/C/0", "b");
    assert!(scenario.world.failovers().iter().all(|failover| failover.kind == FailoverKind::Automatic));
    scenario.apply(&[start("a")]).assert_rows("S10", "M/2/C/1", "P/2/C/0", "b").after(1.0).assert_rows(
        "S10, synchronized",
        "M/4/C/1",
        "P/4/C/0",
        "b",
    );
}

#[test]
fn principal_isolated_stops_serving_before_mirror_starts() {
    let scenario = Scenario::new(true).apply(&[cut("a", "b"), cut("a", "w")]).after(11.0);
    scenario.assert_rows("S9, isolated", "P/1/D/2", "P/1/C/0", "b");
}

#[test]
fn forced_service_reports_states_s14_to_s16() {
    let scenario =
        Scenario::new(false).apply(&[kill("a")]).after(11.0).apply(&[json!({"do": "force", "pair": "user"})]);
    let scenario = scenario
        .assert_rows("S14", "P/1/-/0", "P/0/-/0", "b")
        .apply(&[start("a")])
        .assert_rows("S15", "M/0/-/1", "P/0/-/0", "b");
    let scenario =
        scenario.apply(&[json!({"do": "resume", "pair": "user"})]).assert_rows("S16", "M/2/-/1", "P/2/-/0", "b");
    scenario.after(1.0).assert_rows("S16, synchronized", "M/4/-/1", "P/4/-/0", "b");
}

#[test]
fn mirroring_suspended_reports_states_s17_s18_and_s27() {
    Scenario::new(true)
        .apply(&[json!({"do": "suspend", "pair": "user"})])
        .assert_rows("S17, S18", "P/0/C/0", "M/0/C/1", "a");
    let newer = json!({"do": "setVersion", "server": "b", "version": "12.0.5000.0"});
    let scenario = Scenario::new(true).apply(&[newer, json!({"do": "failover", "pair": "user"})]).after(1.0);
    let scenario = scenario.assert_rows("S27", "M/0/C/1", "P/0/C/0", "b");
    scenario.apply(&[json!({"do": "resume", "pair": "user"})]).after(1.0).assert_rows(
        "S27, resumed in vain",
        "M/0/C/1",
        "P/0/C/0",
        "b",
    );
}

#[test]
fn links_cut_report_states_s20_to_s23() {
    Scenario::new(true).apply(&[cut("a", "b")]).after(11.0).assert_rows("S20", "P/1/C/0", "M/1/C/1", "a");
    let scenario =
        Scenario::new(false).apply(&[cut("a", "b")]).after(11.0).assert_rows("S21", "P/1/-/0", "M/1/-/1", "a");
    let scenario =
        scenario.apply(&[json!({"do": "force", "pair": "user"})]).assert_rows("S22", "P/1/-/0", "P/0/-/0", "ab");
    scenario.apply(&[json!({"do": "reconnectAll"})]).assert_rows("S22, reconnected", "M/0/-/1", "P/0/-/0", "b");
    let scenario = Scenario::new(true).apply(&[cut("a", "b"), cut("a", "w"), cut("b", "w")]).after(11.0);
    let scenario = scenario
        .assert_rows("S23", "P/1/D/2", "M/1/D/1", "")
        .apply(&[json!({"do": "reconnect", "a": "b", "b": "w"})])
        .after(60.0);
    scenario
        .assert_rows("S23, B-W", "P/1/D/2", "M/1/C/1", "")
        .apply(&[json!({"do": "reconnectAll"})])
        .after(1.0)
        .assert_rows("S1", "P/4/C/0", "M/4/C/1", "a");
}

#[test]
fn mirroring_removed_or_split_reports_states_s24_to_s26() {
    let remove = json!({"do": "removeMirroring", "pair": "user", "database": "rtcxds", "server": "a"});
    let scenario = Scenario::new(true).apply(&[cut("a", "b")]).after(11.0).apply(std::slice::from_ref(&remove));
    scenario.assert_rows("S24", "NULL", "M/1/C/1", "a").apply(&[json!({"do": "reconnectAll"})]).assert_rows(
        "S24, reconnected",
        "NULL",
        "NULL",
        "a",
    );
    Scenario::new(true).apply(&[remove]).assert_rows("S25", "NULL", "NULL", "a");
    let scenario =
        Scenario::new(true).apply(&[json!({"do": "failover", "pair": "user", "database": "rtcab"})]).after(1.0);
    let scenario = scenario.assert_rows("S26", "P/4/C/0", "M/4/C/1", "a");
    assert_eq!(scenario.world.row("b", "rtcab").unwrap().role, 1);
}

#[test]
fn failover_partner_lost_midway_keeps_roles() {
    let slow = json!({"do": "setSwitchMillis", "pair": "user", "millis": 5_000});
    let scenario = Scenario::new(false).apply(&[slow, json!({"do": "failover", "pair": "user"})]).after(1.0);
    let scenario = scenario.apply(&[kill("b")]).after(11.0).apply(&[start("b")]).after(1.0).assert_rows(
        "unchanged",
        "P/4/-/0",
        "M/4/-/1",
        "a",
    );
    assert!(scenario.world.failovers().is_empty());
}

#[test]
fn apply_unknown_server_returns_error_with_known_ids() {
    let mut scenario = Scenario::new(true);
    let command: Command = serde_json::from_value(kill("x")).unwrap();
    let error = scenario.world.apply(Duration::ZERO, &command).unwrap_err();
    assert_eq!(error, "server \"x\": no such server; there are a, b, w");
}
