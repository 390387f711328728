//! Stale and missed input: a status that somebody erased or edited, a resource that is another one of the same name, watch
//! events that come late, merged or not at all. Always: no second failover, no panic, and back to Ready.

use crate::support::breakpoint::{Gate, is_failover};
use crate::support::watch_fault::Feed;
use crate::support::{Operator, Stage, condition, log_path, types, until};
use serde_json::{Value, json};

fn edit_status(stage: &Stage, patch: &Value) -> Result<String, String> {
    let (namespace, patch) = (stage.namespace.as_str(), patch.to_string());
    let how = ["patch", "lpm", "pool01", "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch];
    stage.cluster.try_kubectl(&how)
}

#[track_caller]
fn no_harm(stage: &Stage, operators: &mut [&mut Operator], logs: &[&str], failovers: usize) {
    assert_eq!(stage.failovers().len(), failovers, "{:?}", stage.failovers());
    assert_eq!(stage.sim.failures(), Vec::<String>::new());
    assert!(operators.iter_mut().all(|operator| operator.lives()), "the operator ended by itself");
    for log in logs {
        let text = std::fs::read_to_string(log_path(log)).unwrap();
        assert!(!text.contains("panicked"), "{}", log_path(log).display());
    }
}

#[track_caller]
fn until_journaled(stage: &Stage) {
    until("the journal is written", || {
        let operation = stage.status("pool01")?["operation"].clone();
        if operation.is_null() { Err("no operation".to_owned()) } else { Ok(()) }
    });
}

/// Waits until the principals of User are on this side, by the servers' own word.
async fn user_is_on(stage: &Stage, seat: &'static str) {
    stage
        .sim
        .until(|world| {
            let state = world.state();
            let user = ["rtcxds", "rtcshared", "rtcab"];
            let mut all =
                state["databases"].as_array().into_iter().flatten().filter(|one| {
                    one["pair"] == "pool01" && user.contains(&one["database"].as_str().unwrap_or_default())
                });
            all.all(|one| one[seat]["role"] == "PRINCIPAL" && one["moving"] == false)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_status_is_written_anew() {
    let stage = Stage::set("erased", true).await;
    let mut operator = Operator::start(stage.cluster, "erased", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    edit_status(&stage, &json!({"status": null})).unwrap();
    stage.until_ready("pool01", "True", "Aligned");

    // During a move whose statements are on their way: the journal is gone, and the servers alone know.
    let gate = Gate::new("a", 3, is_failover);
    stage.sim.probe(gate.clone());
    gate.arm();
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    gate.until_full();
    until_journaled(&stage);
    edit_status(&stage, &json!({"status": null})).unwrap();
    // What nobody remembers to have asked for is drift, and nothing more is sent.
    stage.until_ready("pool01", "False", "UnexpectedPrincipal");
    gate.open();
    user_is_on(&stage, "mirror").await;
    stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(stage.outcomes(), ["done", "done", "done"]);
    no_harm(&stage, &mut [&mut operator], &["erased"], 3);
}

/// With FailBack the forgetful operator has a reason of its own to move: it sends the same move again, and the servers
/// let one of the two through.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_move_that_is_made_again_is_refused_by_the_servers() {
    let stage = Stage::set("forgotten", true).await;
    let gate = Gate::new("a", 3, is_failover);
    stage.sim.probe(gate.clone());
    let mut operator = Operator::start(stage.cluster, "forgotten", "1s");
    let pool = |user: &str| {
        let mut pool = stage.pool("pool01", types(user, "Primary"));
        pool["spec"]["policy"] = json!({"cooldown": "0s", "unrequestedSwitch": "FailBack", "failBackAfter": "0s"});
        pool
    };
    stage.cluster.apply(&pool("Primary"));
    stage.until_ready("pool01", "True", "Aligned");
    gate.arm();
    stage.cluster.apply(&pool("Mirror"));
    gate.until_full();
    until_journaled(&stage);
    edit_status(&stage, &json!({"status": null})).unwrap();
    user_is_on(&stage, "mirror").await;
    gate.open();
    until("the late statements have found their end", || {
        let outcomes = stage.outcomes();
        let ended = outcomes.len() == 6 && outcomes.iter().all(|outcome| outcome != "running");
        if ended { Ok(()) } else { Err(format!("{outcomes:?}")) }
    });
    stage.until_ready("pool01", "True", "Aligned");
    let mut outcomes = stage.outcomes();
    outcomes.sort();
    assert_eq!(outcomes, ["done", "done", "done", "error 50000", "error 50000", "error 50000"]);
    no_harm(&stage, &mut [&mut operator], &["forgotten"], 3);
}

/// What the schema lets through and no operator ever wrote.
fn nonsense() -> Vec<(&'static str, Value)> {
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
    let of_type = |field: &str, value: Value| {
        let mut item = json!({
            "type": "User", "desired": "Mirror", "observed": "Split", "reason": "Nonsense", "message": "",
            "request": {"principal": "Primary", "generation": 9_007_199_254_740_993_i64, "owed": false},
        });
        item[field] = value;
        json!({"databaseTypes": [item]})
    };
    let track = json!({
        "seat": "Mirror", "failures": 0, "switches": 2_147_483_647, "lastSwitchSeen": FUTURE,
        "steady": {"epoch": "", "since": FUTURE}, "principalLostSince": FUTURE, "consumedConsent": "",
    });
    vec![
        ("a guid that is none", json!({"operation": operation("not a guid", 1, FUTURE)})),
        ("a session that is none", json!({"operation": operation(guid, 1, "0001-01-01T00:00:00Z")})),
        ("a move of the future", json!({"operation": operation(guid, 1, FUTURE)})),
        ("a type that is not asked for", {
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
        ("a last move of the future", of_type("lastMove", json!({"endedAt": FUTURE, "outcome": "Succeeded"}))),
        ("a track of the future", of_type("track", track)),
        ("a generation of the future", json!({"observedGeneration": 9_007_199_254_740_993_i64, "principals": "?"})),
        ("conditions of the future", {
            let ready = json!({
                "type": "Ready", "status": "True", "reason": "Aligned", "message": "", "lastTransitionTime": FUTURE,
                "observedGeneration": 9_007_199_254_740_993_i64,
            });
            json!({"conditions": [ready]})
        }),
        ("the beginning of time", of_type("lastMove", json!({"endedAt": "0000-01-01T00:00:00Z", "outcome": "Failed"}))),
        ("the end of time", json!({"lastMoveTime": "9999-12-31T23:59:59Z"})),
        ("a negative count", of_type("track", json!({"failures": -1}))),
        ("a negative attempt", json!({"operation": operation(guid, -1, FUTURE)})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_valid_nonsense_does_no_harm() {
    let stage = Stage::set("nonsense", true).await;
    let mut operator = Operator::start(stage.cluster, "nonsense", "1s");
    stage.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 50}));
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    for wrong in [json!({"operation": 7}), json!({"history": "long"}), json!({"databaseTypes": [{"type": "Nothing"}]})]
    {
        let refused = edit_status(&stage, &json!({"status": wrong})).unwrap_err();
        assert!(refused.contains("invalid") || refused.contains("Invalid"), "{wrong}: {refused}");
    }

    let (mut failovers, mut seats) = (0, ["Mirror", "Primary"].into_iter().cycle());
    for (what, status) in nonsense() {
        if let Err(refused) = edit_status(&stage, &json!({"status": status})) {
            println!("{what}: refused by the schema");
            assert!(refused.contains("status."), "{what}: {refused}");
            continue;
        }
        until(&format!("{what}: it is written over"), || {
            let object = stage.cluster.get_json(&["lpm", "pool01", "-n", "nonsense"])?;
            let status = &object["status"];
            let sane = status["operation"].is_null()
                && status["observedGeneration"] == object["metadata"]["generation"]
                && status["history"].as_array().is_none_or(|all| all.len() <= 10)
                && status["databaseTypes"].as_array().is_some_and(|all| all.len() == 2)
                && condition(status, "Ready").is_some_and(|ready| ready["status"] == "True")
                && condition(status, "Ready").is_some_and(|ready| ready["message"] != "")
                && status["principals"] != "?";
            if sane { Ok(()) } else { Err(status.to_string()) }
        });
        assert_eq!(stage.failovers().len(), failovers, "{what}");
        // And it does not stand in the way of what is asked for next.
        let seat = seats.next().unwrap();
        stage.cluster.apply(&stage.pool("pool01", types(seat, "Primary")));
        let status = stage.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], format!("User={seat} CentralMgmt=Primary"), "{what}");
        failovers += 3;
        assert_eq!(stage.failovers().len(), failovers, "{what}");
    }
    no_harm(&stage, &mut [&mut operator], &["nonsense"], failovers);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_late_and_merged_move_nothing_twice() {
    let stage = Stage::set("late", true).await;
    let gate = Gate::new("a", 3, is_failover);
    stage.sim.probe(gate.clone());
    let (mut operator, proxy) = stage.proxied("late").await;
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");

    // Asked for and taken back before anybody was told.
    proxy.feed(Feed::Merged);
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    proxy.feed(Feed::Straight);
    stage.until_ready("pool01", "True", "Aligned");
    no_harm(&stage, &mut [&mut operator], &["late"], 0);

    // The operator does not see its own journal: it may not write the move down once more, so it may not send it again.
    gate.arm();
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    gate.until_full();
    proxy.feed(Feed::Merged);
    gate.open();
    user_is_on(&stage, "mirror").await;
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    crate::support::until_logged("late", "the resource changed while it was looked at");
    assert_eq!(stage.failovers().len(), 3);
    proxy.feed(Feed::Straight);
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");
    assert_eq!(stage.outcomes(), ["done"; 6]);
    no_harm(&stage, &mut [&mut operator], &["late"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_too_old_begins_again() {
    let stage = Stage::set("gone", true).await;
    let gate = Gate::new("a", 3, is_failover);
    stage.sim.probe(gate.clone());
    let (mut operator, proxy) = stage.proxied("gone").await;
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    gate.arm();
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    gate.until_full();
    // 410 during the move, and the list that follows it is all that the operator gets to see.
    let before = proxy.watches();
    proxy.feed(Feed::Gone);
    until("the watch has begun again", || match proxy.watches() {
        now if now > before + 1 => Ok(()),
        now => Err(format!("{now} watches, {before} before")),
    });
    gate.open();
    user_is_on(&stage, "mirror").await;
    stage.until_ready("pool01", "True", "Aligned");
    no_harm(&stage, &mut [&mut operator], &["gone"], 3);
    // At rest as well.
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    proxy.feed(Feed::Straight);
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    no_harm(&stage, &mut [&mut operator], &["gone"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_resource_of_the_same_name_inherits_nothing() {
    let stage = Stage::set("renamed", true).await;
    let gate = Gate::new("a", 3, is_failover);
    stage.sim.probe(gate.clone());
    let (mut operator, proxy) = stage.proxied("renamed").await;
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    gate.arm();
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    gate.until_full();
    until_journaled(&stage);
    // The operator is not told that its resource is gone, and another one there: it writes to the one that it knows.
    proxy.feed(Feed::Merged);
    stage.cluster.kubectl(&["delete", "lpm", "pool01", "-n", "renamed"]);
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    gate.open();
    user_is_on(&stage, "mirror").await;
    crate::support::until_logged("renamed", "the resource changed while it was looked at");
    assert_eq!(stage.status("pool01").unwrap(), Value::Null, "nobody has written the status of the new one");
    proxy.feed(Feed::Straight);
    // The new one never asked for a move: what it finds is drift.
    let status = stage.until_ready("pool01", "False", "UnexpectedPrincipal");
    assert_eq!((&status["operation"], &status["history"]), (&Value::Null, &Value::Null));
    no_harm(&stage, &mut [&mut operator], &["renamed"], 3);
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    no_harm(&stage, &mut [&mut operator], &["renamed"], 3);
}
