//! Findings of a review from outside, each with the real API server and the pair: the claims and the acts of the operator.

use mirror_sim::world::World;
use serde_json::{Value, json};

use crate::support::{Operator, TestPool, condition, until};

fn user(principal: &str) -> Value {
    json!([{"type": "User", "principal": principal}])
}

fn of_user(status: &Value) -> &Value {
    status["databaseTypes"].as_array().unwrap().iter().find(|ty| ty["type"] == "User").unwrap()
}

/// Waits until the type User has this reason and this service.
#[track_caller]
fn until_user(fixture: &TestPool, reason: &str, service: &str) -> Value {
    until(&format!("{} User {reason} {service}", fixture.namespace), || {
        let status = fixture.status("pool01")?;
        let types = status["databaseTypes"].as_array().ok_or("no types")?;
        let user = types.iter().find(|ty| ty["type"] == "User").ok_or("no User")?;
        if user["reason"] == reason && user["service"] == service { Ok(status.clone()) } else { Err(user.to_string()) }
    })
}

/// The notes of the events with this reason.
fn events(fixture: &TestPool, reason: &str) -> Vec<String> {
    let list = fixture.cluster.get_json(&["events.events.k8s.io", "-n", &fixture.namespace]).unwrap();
    let items = list["items"].as_array().unwrap().iter().filter(|event| event["reason"] == reason);
    items.map(|event| format!("{} {}", event["type"].as_str().unwrap(), event["note"].as_str().unwrap())).collect()
}

async fn aligned(name: &str, witness: bool) -> (TestPool, Operator) {
    let fixture = TestPool::start(name, witness).await;
    let operator = Operator::start(fixture.cluster, name, "1s");
    let mut pool = fixture.pool("pool01", user("Primary"));
    if !witness {
        pool["spec"]["sql"].as_object_mut().unwrap().remove("witness");
    }
    fixture.cluster.apply(&pool);
    fixture.until_ready("pool01", "True", "Aligned");
    (fixture, operator)
}

/// F1, A2: only labels were edited.
#[tokio::test(flavor = "multi_thread")]
async fn exchanged_servers_in_the_spec_move_nothing() {
    let (fixture, _operator) = aligned("field-exchange", true).await;
    let swapped = json!({"spec": {
        "sql": {"primary": fixture.server("b"), "mirror": fixture.server("a")},
        "policy": {"unrequestedSwitch": "FailBack", "failBackAfter": "0s"},
    }});
    fixture.patch("pool01", &swapped);
    let status = fixture.until_ready("pool01", "False", "SeatsExchanged");
    assert_eq!(of_user(&status)["tracking"]["unrequestedSwitches"], Value::Null, "no server switched");
    fixture.patch("pool01", &json!({"spec": {"databaseTypes": user("Mirror")}}));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers(), Vec::<String>::new());
}

/// F1: a status that a backup restored onto another resource.
#[tokio::test(flavor = "multi_thread")]
async fn status_of_another_resource_owes_no_move() {
    let (fixture, mut operator) = aligned("field-restore", true).await;
    fixture.patch("pool01", &json!({"spec": {"databaseTypes": user("Mirror")}}));
    let old = fixture.until_ready("pool01", "True", "Aligned");
    operator.kill();
    fixture.cluster.kubectl(&["delete", "lpm", "pool01", "-n", &fixture.namespace]);
    fixture.cluster.apply(&fixture.pool("pool01", user("Primary")));
    let mut restored = old;
    restored["databaseTypes"][0]["request"] = json!({"principal": "Primary", "generation": 1, "pending": true});
    fixture.patch_status("pool01", &restored);
    let before = fixture.failovers().len();
    let _successor = Operator::start(fixture.cluster, "field-restore", "1s");
    let status = fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    assert_eq!((fixture.failovers().len(), &status["history"]), (before, &Value::Null));
}

/// F3: the witness is away, an administrator suspended the session, and one partner refuses the login.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_pair_behind_a_refused_login_is_not_lost() {
    let (fixture, _operator) = aligned("field-paused", true).await;
    fixture.command(json!({"do": "kill", "server": "w"}));
    fixture.command(json!({"do": "suspend", "pair": "pool01"}));
    until_user(&fixture, "MirroringSuspended", "Exposed");
    fixture.command(json!({"do": "setPassword", "server": "a", "login": "lync-mirror", "password": "another"}));
    fixture.command(json!({"do": "kill", "server": "a"}));
    fixture.command(json!({"do": "start", "server": "a"}));
    let status = until_user(&fixture, "LoginFailed", "Unknown");
    let message = of_user(&status)["message"].as_str().unwrap();
    assert!(!message.contains("does not serve") && !message.contains("lost"), "{message}");
    assert!(events(&fixture, "NoQuorum").is_empty() && events(&fixture, "PrincipalLost").is_empty());
}

/// F5, A7: the witness of the spec, and its loss.
#[tokio::test(flavor = "multi_thread")]
async fn witness_that_is_lost_or_not_in_the_session_is_an_event() {
    let (fixture, _operator) = aligned("field-witness", true).await;
    fixture.command(json!({"do": "kill", "server": "w"}));
    let status = until_user(&fixture, "Aligned", "Exposed");
    assert_eq!(condition(&status, "QuorumAtRisk").unwrap()["reason"], "WitnessDisconnected");
    until("the event of the witness", || {
        let found = events(&fixture, "WitnessDisconnected");
        if found.iter().any(|note| note.starts_with("Warning")) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    fixture.command(json!({"do": "start", "server": "w"}));
    until_user(&fixture, "Aligned", "Protected");
    fixture.command(json!({"do": "setWitness", "pair": "pool01", "witness": null}));
    until("the condition names the missing witness", || {
        let status = fixture.status("pool01")?;
        let quorum = condition(&status, "QuorumAtRisk").ok_or("no condition")?;
        if quorum["reason"] == "WitnessMismatch" { Ok(()) } else { Err(quorum.to_string()) }
    });
}

/// F6: the copy of the mirror counts.
#[tokio::test(flavor = "multi_thread")]
async fn move_onto_a_suspect_copy_is_not_made() {
    let (fixture, _operator) = aligned("field-suspect", true).await;
    fixture.command(json!({"do": "setServerSettings", "server": "b", "settings": {"nullColumns": "never"}}));
    fixture.command(json!({"do": "setDatabaseState", "server": "b", "database": "rtcxds", "state": 4}));
    until_user(&fixture, "DatabaseNotOnline", "Exposed");
    fixture.patch("pool01", &json!({"spec": {"databaseTypes": user("Mirror")}}));
    fixture.until_ready("pool01", "False", "DatabaseNotOnline");
    assert_eq!(fixture.failovers(), Vec::<String>::new());
}

/// H2: a restart is no removal of mirroring.
#[tokio::test(flavor = "multi_thread")]
async fn principal_in_recovery_is_not_reported_as_removed() {
    let (fixture, _operator) = aligned("field-recovery", false).await;
    let slow = json!({"startMillis": 1500, "recoveryMillis": 3000});
    fixture.command(json!({"do": "setServerSettings", "server": "a", "settings": slow}));
    fixture.command(json!({"do": "kill", "server": "a"}));
    until_user(&fixture, "PrincipalLost", "Unknown");
    fixture.command(json!({"do": "start", "server": "a"}));
    until_user(&fixture, "DatabaseRecovering", "NotServed");
    fixture.until_ready("pool01", "True", "Aligned");
    assert!(events(&fixture, "MirroringRemoved").is_empty() && events(&fixture, "NotMirrored").is_empty());
}

/// A6: a total outage names both servers.
#[tokio::test(flavor = "multi_thread")]
async fn total_outage_names_both_servers() {
    let (fixture, _operator) = aligned("field-outage", true).await;
    for server in ["a", "b"] {
        fixture.command(json!({"do": "kill", "server": server}));
    }
    let ports = ["a", "b"].map(|id| fixture.server(id)["port"].to_string());
    until("both servers are named", || {
        let status = fixture.status("pool01")?;
        let message = of_user(&status)["message"].as_str().unwrap_or_default().to_owned();
        if ports.iter().all(|port| message.contains(port.as_str())) && message.starts_with("Unknown. ") {
            Ok(())
        } else {
            Err(message)
        }
    });
}

/// F2: a silent SQL Browser is no proof that the principal is gone.
#[tokio::test(flavor = "multi_thread")]
async fn forced_service_behind_a_silent_browser_is_not_sent() {
    let (fixture, mut operator) = aligned("field-browser", false).await;
    let named = |id: &str| {
        let address = fixture.sim.address(id);
        json!({"host": address.ip().to_string(), "instance": "RTC", "port": null})
    };
    fixture.patch("pool01", &json!({"spec": {"sql": {"primary": named("a"), "mirror": named("b")}}}));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.command(json!({"do": "setServerSettings", "server": "a", "settings": {"browser": {"stopped": true}}}));
    // A new process has the port in the status.
    operator.kill();
    let mut operator = Operator::start(fixture.cluster, "field-browser", "1s");
    fixture.command(json!({"do": "cut", "a": "a", "b": "b"}));
    until_user(&fixture, "PartnersDisconnected", "Exposed");
    // Without it, the instance lives and nothing proves it.
    operator.kill();
    let mut servers = fixture.status("pool01").unwrap()["servers"].clone();
    for server in servers.as_array_mut().unwrap() {
        assert!(server.as_object_mut().unwrap().remove("lastPort").is_some(), "{server}");
    }
    fixture.patch_status("pool01", &json!({"servers": servers}));
    let _successor = Operator::start(fixture.cluster, "field-browser", "1s");
    let status = until_user(&fixture, "InstanceNotFound", "Unknown");
    let epoch = of_user(&status)["epoch"].as_str().unwrap().to_owned();
    let consent = json!({
        "epoch": epoch, "acceptDataLoss": true, "oldPrincipalFenced": true, "until": "2100-01-01T00:00:00Z",
    });
    let wanted = json!([{"type": "User", "principal": "Primary", "forceService": consent}]);
    fixture.patch("pool01", &json!({"spec": {"databaseTypes": wanted}}));
    until("the refusal", || {
        let status = fixture.status("pool01")?;
        let message = of_user(&status)["message"].as_str().unwrap_or_default().to_owned();
        if message.contains("Forced service is refused: nothing proves") { Ok(()) } else { Err(message) }
    });
    assert!(fixture.sim.journal(0).iter().all(|entry| !entry.text.contains("FORCE_SERVICE")));
}

/// The failover statements of the journal: the databases, and when each began and ended.
fn failover_spans(fixture: &TestPool, databases: &[&str]) -> Vec<(u64, u64)> {
    let all = fixture.sim.journal(0).into_iter().filter(|entry| entry.text.contains("PARTNER FAILOVER"));
    let of_type = |text: &str| databases.iter().any(|database| text.contains(&format!("ALTER DATABASE [{database}]")));
    let spans = all.filter(|entry| of_type(&entry.text));
    spans.map(|entry| (entry.started_millis, entry.ended_millis.expect("an ended statement"))).collect()
}

/// One pool in two resources on the same pair of servers, both with a wanted move.
async fn move_both(fixture: &TestPool, principal: &str, names: [&str; 2]) {
    let pool = |name: &str| {
        let ty = if name == "users" { "User" } else { "CentralMgmt" };
        fixture.pool(name, json!([{"type": ty, "principal": principal}]))
    };
    let items: Vec<Value> = names.iter().map(|name| pool(name)).collect();
    fixture.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
}

/// F10: one move at a time on a pair, also among two resources.
#[tokio::test(flavor = "multi_thread")]
async fn moves_of_two_resources_on_one_pair_take_turns() {
    const USER: [&str; 3] = ["rtcxds", "rtcshared", "rtcab"];
    const CENTRAL: [&str; 2] = ["xds", "lis"];
    let fixture = TestPool::start("field-turns", true).await;
    let _operator = Operator::start(fixture.cluster, "field-turns", "1s");
    move_both(&fixture, "Primary", ["users", "central"]).await;
    let aligned = || ["users", "central"].map(|name| fixture.until_ready(name, "True", "Aligned"));
    aligned();
    let mut before = 0;
    for (principal, names) in [("Mirror", ["users", "central"]), ("Primary", ["central", "users"])] {
        // Neither can move while the mirror is catching up, and both can at the same moment.
        fixture.command(json!({"do": "desync", "pair": "pool01", "millis": 4000}));
        move_both(&fixture, principal, names).await;
        for name in names {
            fixture.until_ready(name, "False", "Synchronizing");
        }
        aligned();
        let (user, central) = (failover_spans(&fixture, &USER), failover_spans(&fixture, &CENTRAL));
        assert_eq!((user.len(), central.len()), (before + 3, before / 3 * 2 + 2), "each once");
        let (user, central) = (&user[before..], &central[before / 3 * 2..]);
        let span = |all: &[(u64, u64)]| {
            (all.iter().map(|(started, _)| *started).min(), all.iter().map(|(_, ended)| *ended).max())
        };
        let ((user_started, user_ended), (central_started, central_ended)) = (span(user), span(central));
        // Of two resources the one that is the first to see both servers synchronized goes first.
        let apart = user_ended <= central_started || central_ended <= user_started;
        assert!(apart, "to the {principal}: {user:?} and {central:?}");
        before += 3;
    }
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());
}

/// The password was changed on the servers, and open connections still work.
#[tokio::test(flavor = "multi_thread")]
async fn changed_password_is_an_event_before_anything_moves() {
    let fixture = TestPool::start("field-stale", true).await;
    let _operator = Operator::start_with(fixture.cluster, "field-stale", &["--login-check-interval", "2s"]);
    fixture.cluster.apply(&fixture.pool("pool01", user("Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    for server in ["a", "b"] {
        let change = json!({"do": "setPassword", "server": server, "login": "lync-mirror", "password": "New-Passw0rd"});
        fixture.command(change);
    }
    let status = until("the condition", || {
        let status = fixture.status("pool01")?;
        condition(&status, "CredentialsStale").map(|_| status.clone()).ok_or(status.to_string())
    });
    let stale = condition(&status, "CredentialsStale").unwrap();
    assert_eq!((&stale["status"], &stale["reason"]), (&json!("True"), &json!("CredentialsStale")));
    // The connections are open: the service is still observed.
    let ready = condition(&status, "Ready").unwrap();
    assert_eq!((&ready["status"], &status["service"]), (&json!("True"), &json!("Protected")), "{ready}");
    let found = until("the event", || {
        let found = events(&fixture, "CredentialsStale");
        if found.is_empty() { Err("none".to_owned()) } else { Ok(found) }
    });
    assert!(found[0].starts_with("Warning") && found[0].contains("refuses a fresh login"), "{found:?}");
    fixture.patch("pool01", &json!({"spec": {"databaseTypes": user("Mirror")}}));
    until("the login of the move is refused", || {
        let status = fixture.status("pool01")?;
        let history = status["history"][0]["outcome"].clone();
        if history == "Failed" { Ok(()) } else { Err(of_user(&status).to_string()) }
    });
    assert_eq!(fixture.failovers(), Vec::<String>::new());

    fixture.secret("New-Passw0rd");
    let status = until("the condition is gone", || {
        let status = fixture.status("pool01")?;
        if condition(&status, "CredentialsStale").is_none() { Ok(status) } else { Err("still there".to_owned()) }
    });
    assert_ne!(status["service"], "NotServed");
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
}

/// A user of kubectl deletes the resource during a move, and creates it again.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_during_a_move_is_an_event_and_the_new_resource_names_why_nothing_moves() {
    let (fixture, _operator) = aligned("field-deletion", true).await;
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 4_000}));
    fixture.patch("pool01", &json!({"spec": {"databaseTypes": user("Mirror")}}));
    until("the move", || {
        let status = fixture.status("pool01")?;
        if status["operation"].is_null() { Err(status.to_string()) } else { Ok(()) }
    });
    fixture.cluster.kubectl(&["delete", "lpm", "pool01", "-n", &fixture.namespace]);
    let found = until("the event", || {
        let found = events(&fixture, "MoveSuperseded");
        if found.is_empty() { Err("none".to_owned()) } else { Ok(found) }
    });
    assert!(found[0].starts_with("Warning Failover of User to the mirror SQL-B\\RTC was in progress"), "{found:?}");
    assert!(found[0].contains("rtcxds"), "{found:?}");

    // SQL Server completes the move.
    let databases = ["rtcxds", "rtcshared", "rtcab"];
    let is_principal = |world: &World, name| world.row("b", name).is_some_and(|row| row.role == 1);
    fixture.sim.until(|world| databases.iter().all(|name| is_principal(world, name))).await;
    fixture.cluster.apply(&fixture.pool("pool01", user("Primary")));
    let status = fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    let message = of_user(&status)["message"].as_str().unwrap();
    assert!(message.contains("This resource has no record of the principal on the primary"), "{message}");
    assert_eq!(fixture.failovers().len(), 3, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_type_is_an_event() {
    let (fixture, _operator) = aligned("field-removed", true).await;
    let both = json!([{"type": "User", "principal": "Primary"}, {"type": "CentralMgmt", "principal": "Primary"}]);
    fixture.patch("pool01", &json!({"spec": {"databaseTypes": both}}));
    until("both types", || {
        let status = fixture.status("pool01")?;
        let ready = status["databaseTypes"].as_array().is_some_and(|types| types.len() == 2);
        if ready { Ok(()) } else { Err(status.to_string()) }
    });
    fixture.patch("pool01", &json!({"spec": {"databaseTypes": user("Primary")}}));
    let found = until("the event", || {
        let found = events(&fixture, "TypeRemoved");
        if found.is_empty() { Err("none".to_owned()) } else { Ok(found) }
    });
    assert!(found[0].starts_with("Normal CentralMgmt was removed from the spec"), "{found:?}");
    assert!(found[0].contains("xds, lis"), "{found:?}");
    assert_eq!(fixture.failovers(), Vec::<String>::new());
}
