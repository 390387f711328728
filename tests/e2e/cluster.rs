//! The main job on real parts: a real API server, the chart's RBAC, the operator as a process, a simulated pair.

use crate::support::{Operator, Stage, condition, types, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_principal_moves_the_databases_and_central_management_is_last() {
    let stage = Stage::set("moves", true).await;
    let _operator = Operator::start(stage.cluster, "moves", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");

    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Mirror")));
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Mirror");
    let moved = stage.failovers();
    assert_eq!(moved.len(), 5, "{moved:?}");
    assert!(
        moved[3..].iter().all(|one| one.starts_with("xds") || one.starts_with("lis")),
        "CentralMgmt last: {moved:?}"
    );
    assert_eq!(stage.sim.failures(), Vec::<String>::new());

    let history = &status["history"];
    assert_eq!(history[0]["type"], "CentralMgmt");
    assert_eq!((&history[1]["outcome"], &history[1]["cause"]), (&json!("Succeeded"), &json!("Intent")));
    assert!(status["operation"].is_null());
    assert_eq!(history[1]["requestedBy"], "kubectl-client-side-apply");
    assert_eq!(history[1]["why"], "generation 2 of the spec wants User on the mirror");
    let rtcxds = &history[1]["databases"][0];
    assert_eq!(rtcxds["statement"], "ALTER DATABASE [rtcxds] SET PARTNER FAILOVER");
    assert_eq!(rtcxds["answer"], "done");
    assert_eq!(rtcxds["before"], "primary Principal Synchronized #1, mirror Mirror Synchronized #1");
    assert!(rtcxds["after"].as_str().unwrap().starts_with("primary Mirror Synchroniz"), "{rtcxds}");

    let printed = stage.cluster.kubectl(&["get", "lpm", "-n", "moves"]);
    for header in ["READY", "REASON", "PRINCIPALS", "SUSPENDED", "AGE"] {
        assert!(printed.contains(header), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_by_the_witness_is_held_until_it_is_approved() {
    let stage = Stage::set("held", true).await;
    let _operator = Operator::start(stage.cluster, "held", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");

    stage.command(json!({"do": "kill", "server": "a"}));
    stage.until_ready("pool01", "False", "UnexpectedPrincipal");
    stage.command(json!({"do": "start", "server": "a"}));
    let epoch = until("the epoch of the healed pair", || {
        let status = stage.status("pool01")?;
        let reachable = condition(&status, "Synchronized").is_some_and(|condition| condition["status"] == "True");
        let epoch = status["databaseTypes"][0]["epoch"].as_str().map(str::to_owned);
        epoch.filter(|_| reachable).ok_or_else(|| status.to_string())
    });
    let before = stage.failovers().len();
    let types = json!([
        {"type": "User", "principal": "Primary", "approve": {"epoch": epoch}},
        {"type": "CentralMgmt", "principal": "Primary"},
    ]);
    stage.cluster.apply(&stage.pool("pool01", types));
    until("User is back", || {
        let principals = stage.status("pool01")?["principals"].to_string();
        if principals.contains("User=Primary CentralMgmt=Mirror!") { Ok(()) } else { Err(principals) }
    });
    stage.until_ready("pool01", "False", "UnexpectedPrincipal");
    assert_eq!(stage.failovers().len() - before, 3, "only what was approved: {:?}", stage.failovers());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_corrected_without_a_restart() {
    let stage = Stage::set("password", false).await;
    let _operator = Operator::start(stage.cluster, "password", "1s");
    stage.secret("Tr0ub4dor");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    let status = stage.until_ready("pool01", "False", "LoginFailed");
    let text = status.to_string();
    assert!(text.contains("lync-mirror") && !text.contains("Tr0ub4dor"), "{text}");
    stage.secret("Passw0rd");
    stage.until_ready("pool01", "True", "Aligned");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_resources_for_one_pool_both_stop_and_recover() {
    let stage = Stage::set("rivals", true).await;
    let _operator = Operator::start(stage.cluster, "rivals", "1s");
    stage.cluster.apply(&stage.pool("one", types("Primary", "Primary")));
    stage.until_ready("one", "True", "Aligned");
    // The same servers by other names and in the other seats: what they say of themselves is compared.
    let mut two = stage.pool("two", types("Mirror", "Mirror"));
    let by_instance = |id: &str| json!({"host": stage.server(id)["host"], "instance": "RTC"});
    two["spec"]["sql"]["primary"] = by_instance("b");
    two["spec"]["sql"]["mirror"] = by_instance("a");
    stage.cluster.apply(&two);
    stage.until_ready("two", "False", "Conflict");
    let status = stage.until_ready("one", "False", "Conflict");
    assert!(status.to_string().contains("rivals/two"), "{status}");
    stage.cluster.kubectl(&["delete", "lpm", "two", "-n", "rivals"]);
    stage.until_ready("one", "True", "Aligned");
    assert_eq!(stage.failovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_central_management_store_is_no_conflict_and_told_once() {
    let stage = Stage::set("central", true).await;
    let _operator = Operator::start(stage.cluster, "central", "1s");
    stage.cluster.apply(&stage.pool("one", types("Primary", "Primary")));
    let mut two = stage.pool("two", json!([{"type": "CentralMgmt", "principal": "Primary", "databases": ["rtcxds"]}]));
    two["spec"]["sql"]["primary"] = stage.server("c");
    two["spec"]["sql"]["mirror"] = stage.server("d");
    stage.cluster.apply(&two);
    stage.until_ready("one", "True", "Aligned");
    stage.until_ready("two", "True", "Aligned");
    let events = || stage.cluster.get_json(&["events", "-n", "central", "--field-selector=reason=SecondCentralMgmt"]);
    until("each is told of the other", || {
        let items = events()?["items"].as_array().cloned().unwrap_or_default();
        let about: Vec<&str> = items.iter().filter_map(|event| event["involvedObject"]["name"].as_str()).collect();
        if about.len() == 2 && about.contains(&"one") { Ok(()) } else { Err(format!("{about:?}")) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_in_the_middle_of_a_move_finishes_the_story_without_a_second_failover() {
    let stage = Stage::set("killed", true).await;
    stage.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 2000}));
    let mut operator = Operator::start(stage.cluster, "killed", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    stage
        .sim
        .until(|world| {
            world.state()["databases"].as_array().is_some_and(|all| all.iter().any(|one| one["moving"] == true))
        })
        .await;
    operator.kill();
    let _next = Operator::start(stage.cluster, "killed", "1s");
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    assert_eq!(stage.failovers().len(), 3, "{:?}", stage.failovers());
}
