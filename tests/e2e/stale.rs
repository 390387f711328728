//! Stale and missed input: a status that was erased or edited, a resource that was recreated under its name, watch events that
//! are late, merged or missing. Always: no second failover, no panic, and back to Ready.

use crate::support::breakpoint::{Breakpoint, is_failover};
use crate::support::watch_fault::WatchFault;
use crate::support::{Operator, TestPool, condition, log_path, types, until, until_logged};
use serde_json::{Value, json};

fn edit_status(fixture: &TestPool, patch: &Value) -> Result<String, String> {
    let (namespace, patch) = (fixture.namespace.as_str(), patch.to_string());
    let how = ["patch", "lpm", "pool01", "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch];
    fixture.cluster.try_kubectl(&how)
}

#[track_caller]
fn assert_no_violation(fixture: &TestPool, operators: &mut [&mut Operator], logs: &[&str], failovers: usize) {
    assert_eq!(fixture.failovers().len(), failovers, "{:?}", fixture.failovers());
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());
    assert!(operators.iter_mut().all(|operator| operator.is_running()), "the operator ended by itself");
    for log in logs {
        let text = std::fs::read_to_string(log_path(log)).unwrap();
        assert!(!text.contains("panicked"), "{}", log_path(log).display());
    }
}

#[track_caller]
fn until_journaled(fixture: &TestPool) {
    until("the journal is written", || {
        let operation = fixture.status("pool01")?["operation"].clone();
        if operation.is_null() { Err("no operation".to_owned()) } else { Ok(()) }
    });
}

/// Waits until the servers report the principals of User on this seat.
async fn user_is_on(fixture: &TestPool, seat: &'static str) {
    fixture
        .sim
        .until(|world| {
            let state = world.state();
            let user = ["rtcxds", "rtcshared", "rtcab"];
            let mut all = state["databases"].as_array().into_iter().flatten().filter(|entry| {
                entry["pair"] == "pool01" && user.contains(&entry["database"].as_str().unwrap_or_default())
            });
            all.all(|entry| entry[seat]["role"] == "PRINCIPAL" && entry["moving"] == false)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_erased_during_a_move_is_rewritten() {
    let fixture = TestPool::start("erased", true).await;
    let mut operator = Operator::start(fixture.cluster, "erased", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    edit_status(&fixture, &json!({"status": null})).unwrap();
    fixture.until_ready("pool01", "True", "Aligned");

    // The journal is lost while statements are pending: only the servers have the state.
    let breakpoint = Breakpoint::new("a", 3, is_failover);
    fixture.sim.probe(breakpoint.clone());
    breakpoint.arm();
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    breakpoint.until_full();
    until_journaled(&fixture);
    edit_status(&fixture, &json!({"status": null})).unwrap();
    // A move without a recorded request is drift, and nothing more is sent.
    fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    breakpoint.open();
    user_is_on(&fixture, "mirror").await;
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.outcomes(), ["done", "done", "done"]);
    assert_no_violation(&fixture, &mut [&mut operator], &["erased"], 3);
}

/// With FailBack the operator has a reason to move without its journal: it sends the same move again, and the servers
/// execute one of the two.
#[tokio::test(flavor = "multi_thread")]
async fn move_forgotten_and_sent_again_is_refused_by_the_servers() {
    let fixture = TestPool::start("forgotten", true).await;
    let breakpoint = Breakpoint::new("a", 3, is_failover);
    fixture.sim.probe(breakpoint.clone());
    let mut operator = Operator::start(fixture.cluster, "forgotten", "1s");
    let pool = |user: &str| {
        let mut pool = fixture.pool("pool01", types(user, "Primary"));
        // Until this deadline the statements without an answer occupy the pair.
        pool["spec"]["policy"] = json!({
            "cooldown": "0s", "settleAfter": "0s", "unrequestedSwitch": "FailBack", "failBackAfter": "0s",
            "switchDeadline": "10s",
        });
        pool
    };
    fixture.cluster.apply(&pool("Primary"));
    fixture.until_ready("pool01", "True", "Aligned");
    breakpoint.arm();
    fixture.cluster.apply(&pool("Mirror"));
    breakpoint.until_full();
    until_journaled(&fixture);
    edit_status(&fixture, &json!({"status": null})).unwrap();
    // Nothing is owed after a first observation: an administrator approves the move again.
    let status = fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    let mut approved = pool("Mirror");
    approved["spec"]["databaseTypes"][0]["approve"] = json!({"epoch": status["databaseTypes"][0]["epoch"]});
    fixture.cluster.apply(&approved);
    user_is_on(&fixture, "mirror").await;
    breakpoint.open();
    until("the late statements have found their end", || {
        let outcomes = fixture.outcomes();
        let ended = outcomes.len() == 6 && outcomes.iter().all(|outcome| outcome != "running");
        if ended { Ok(()) } else { Err(format!("{outcomes:?}")) }
    });
    fixture.until_ready("pool01", "True", "Aligned");
    let mut outcomes = fixture.outcomes();
    outcomes.sort();
    assert_eq!(outcomes, ["done", "done", "done", "error 50000", "error 50000", "error 50000"]);
    assert_no_violation(&fixture, &mut [&mut operator], &["forgotten"], 3);
}

/// A status with one entry for User, in which one field has this value.
fn of_type(field: &str, value: Value) -> Value {
    let mut item = json!({
        "type": "User", "desired": "Mirror", "observed": "Split", "reason": "NoSuchReason", "message": "",
        "request": {"principal": "Primary", "generation": 9_007_199_254_740_993_i64, "pending": false},
    });
    item[field] = value;
    json!({"databaseTypes": [item]})
}

/// Statuses that the schema accepts and no operator writes.
fn wrong_statuses() -> Vec<(&'static str, Value)> {
    const FUTURE: &str = "9000-01-01T00:00:00Z";
    let operation = |guid: &str, attempt: i64, at: &str| {
        json!({
            "type": "User", "from": "Primary", "to": "Primary", "cause": "FailBack", "generation": -7, "attempt": attempt,
            "startedAt": at, "attemptedAt": at, "deadline": at,
            "databases": [{"name": "rtcxds", "guid": guid, "roleSequence": 2_147_483_647}],
        })
    };
    let guid = "00000000-0000-0000-0000-000000000000";
    let entry = json!({
        "type": "User", "from": "Mirror", "to": "Mirror", "cause": "Intent", "outcome": "Partial", "generation": 1,
        "startedAt": FUTURE, "endedAt": FUTURE, "databases": [], "attempts": 1,
    });
    let tracking = json!({
        "lastSettledServer": "", "pair": {"primary": {"address": "", "name": ""}, "mirror": {"address": "", "name": ""}}, "consecutiveFailures": 0, "unrequestedSwitches": 2_147_483_647, "lastUnrequestedSwitchTime": FUTURE,
        "stable": {"epoch": "", "since": FUTURE}, "principalLostSince": FUTURE, "consumedConsent": {"epoch": "", "until": FUTURE},
    });
    vec![
        ("a guid that is none", json!({"operation": operation("not a guid", 1, FUTURE)})),
        ("a session that is none", json!({"operation": operation(guid, 1, "0001-01-01T00:00:00Z")})),
        ("a move of the future", json!({"operation": operation(guid, 1, FUTURE)})),
        ("a type that is not in the spec", {
            let mut foreign = operation(guid, 3, FUTURE);
            foreign["type"] = json!("Archiving");
            json!({"operation": foreign})
        }),
        ("no database", {
            let mut none = operation(guid, 1, FUTURE);
            none["databases"] = json!([]);
            json!({"operation": none})
        }),
        ("a history of 100", json!({"history": vec![entry; 100]})),
        (
            "a last move of the future",
            of_type("lastMove", json!({"endedAt": FUTURE, "cause": "Intent", "outcome": "Succeeded"})),
        ),
        ("a tracking of the future", of_type("tracking", tracking)),
        ("a generation of the future", json!({"observedGeneration": 9_007_199_254_740_993_i64, "principals": "?"})),
        ("conditions of the future", {
            let ready = json!({
                "type": "Ready", "status": "True", "reason": "Aligned", "message": "", "lastTransitionTime": FUTURE,
                "observedGeneration": 9_007_199_254_740_993_i64,
            });
            json!({"conditions": [ready]})
        }),
        (
            "the beginning of time",
            of_type("lastMove", json!({"endedAt": "0000-01-01T00:00:00Z", "cause": "Intent", "outcome": "Failed"})),
        ),
        ("the end of time", json!({"lastMoveTime": "9999-12-31T23:59:59Z"})),
        ("a negative count", of_type("tracking", json!({"consecutiveFailures": -1}))),
        ("a negative attempt", json!({"operation": operation(guid, -1, FUTURE)})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn status_with_wrong_values_of_the_right_type_causes_no_failover() {
    let fixture = TestPool::start("wrong-status", true).await;
    let mut operator = Operator::start(fixture.cluster, "wrong-status", "1s");
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 50}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    for wrong in [json!({"operation": 7}), json!({"history": "long"}), json!({"databaseTypes": [{"type": "Nothing"}]})]
    {
        let refused = edit_status(&fixture, &json!({"status": wrong})).unwrap_err();
        assert!(refused.contains("invalid") || refused.contains("Invalid"), "{wrong}: {refused}");
    }

    let (mut failovers, mut seats) = (0, ["Mirror", "Primary"].into_iter().cycle());
    for (what, status) in wrong_statuses() {
        if let Err(refused) = edit_status(&fixture, &json!({"status": status})) {
            println!("{what}: refused by the schema");
            assert!(refused.contains("status."), "{what}: {refused}");
            continue;
        }
        until(&format!("{what}: it is written over"), || {
            let object = fixture.cluster.get_json(&["lpm", "pool01", "-n", "wrong-status"])?;
            let status = &object["status"];
            let valid = status["operation"].is_null()
                && status["observedGeneration"] == object["metadata"]["generation"]
                && status["history"].as_array().is_none_or(|all| all.len() <= 10)
                && status["databaseTypes"].as_array().is_some_and(|all| all.len() == 2)
                && condition(status, "Ready").is_some_and(|ready| ready["status"] == "True")
                && condition(status, "Ready").is_some_and(|ready| ready["message"] != "")
                && status["principals"] != "?";
            if valid { Ok(()) } else { Err(status.to_string()) }
        });
        assert_eq!(fixture.failovers().len(), failovers, "{what}");
        // And it does not block the next request.
        let seat = seats.next().unwrap();
        fixture.cluster.apply(&fixture.pool("pool01", types(seat, "Primary")));
        let status = fixture.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], format!("User={seat} CentralMgmt=Primary"), "{what}");
        failovers += 3;
        assert_eq!(fixture.failovers().len(), failovers, "{what}");
    }
    assert_no_violation(&fixture, &mut [&mut operator], &["wrong-status"], failovers);
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_with_late_and_merged_events_moves_nothing_twice() {
    let fixture = TestPool::start("late", true).await;
    let breakpoint = Breakpoint::new("a", 3, is_failover);
    fixture.sim.probe(breakpoint.clone());
    let (mut operator, proxy) = fixture.proxied("late").await;
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");

    // Requested and withdrawn before the operator sees either change.
    proxy.set_watch_fault(WatchFault::Merged);
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    proxy.set_watch_fault(WatchFault::None);
    fixture.until_ready("pool01", "True", "Aligned");
    assert_no_violation(&fixture, &mut [&mut operator], &["late"], 0);

    // The operator does not see its own journal: it cannot write the move again, so it must not send it again.
    breakpoint.arm();
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    breakpoint.until_full();
    proxy.set_watch_fault(WatchFault::Merged);
    breakpoint.open();
    user_is_on(&fixture, "mirror").await;
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    until_logged("late", "The resource changed during this pass.");
    assert_eq!(fixture.failovers().len(), 3);
    proxy.set_watch_fault(WatchFault::None);
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");
    assert_eq!(fixture.outcomes(), ["done"; 6]);
    assert_no_violation(&fixture, &mut [&mut operator], &["late"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_that_expires_is_restarted() {
    let fixture = TestPool::start("gone", true).await;
    let breakpoint = Breakpoint::new("a", 3, is_failover);
    fixture.sim.probe(breakpoint.clone());
    let (mut operator, proxy) = fixture.proxied("gone").await;
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    breakpoint.arm();
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    breakpoint.until_full();
    // 410 during the move: afterwards the operator sees only the result of a new list.
    let before = proxy.watches();
    proxy.set_watch_fault(WatchFault::Gone);
    until("the watch has begun again", || match proxy.watches() {
        now if now > before + 1 => Ok(()),
        now => Err(format!("{now} watches, {before} before")),
    });
    breakpoint.open();
    user_is_on(&fixture, "mirror").await;
    fixture.until_ready("pool01", "True", "Aligned");
    assert_no_violation(&fixture, &mut [&mut operator], &["gone"], 3);
    // Without a move as well.
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    proxy.set_watch_fault(WatchFault::None);
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    assert_no_violation(&fixture, &mut [&mut operator], &["gone"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_recreated_under_the_same_name_inherits_nothing() {
    let fixture = TestPool::start("renamed", true).await;
    let breakpoint = Breakpoint::new("a", 3, is_failover);
    fixture.sim.probe(breakpoint.clone());
    let (mut operator, proxy) = fixture.proxied("renamed").await;
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    breakpoint.arm();
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    breakpoint.until_full();
    until_journaled(&fixture);
    // The operator does not see that its resource was recreated: it still writes to the old one.
    proxy.set_watch_fault(WatchFault::Merged);
    fixture.cluster.kubectl(&["delete", "lpm", "pool01", "-n", "renamed"]);
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    breakpoint.open();
    user_is_on(&fixture, "mirror").await;
    until_logged("renamed", "The resource changed during this pass.");
    let unread = json!({"observedGeneration": -1});
    assert_eq!(fixture.status("pool01").unwrap(), unread, "the status of the new resource is not written yet");
    proxy.set_watch_fault(WatchFault::None);
    // The new resource never requested a move: the operator finds drift.
    let status = fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    assert_eq!((&status["operation"], &status["history"]), (&Value::Null, &Value::Null));
    assert_no_violation(&fixture, &mut [&mut operator], &["renamed"], 3);
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_no_violation(&fixture, &mut [&mut operator], &["renamed"], 3);
}
