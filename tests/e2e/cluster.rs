//! The main task end to end: a real API server, the RBAC of the chart, the operator as a process, a simulated pair.

use crate::support::{Operator, TestPool, condition, types, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn spec_with_a_changed_principal_moves_databases_and_central_management_last() {
    let fixture = TestPool::start("moves", true).await;
    let _operator = Operator::start(fixture.cluster, "moves", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");

    let mut wanted = fixture.pool("pool01", types("Mirror", "Mirror"));
    wanted["metadata"]["labels"] = json!({"team": "voice"});
    fixture.cluster.apply(&wanted);
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Mirror");
    let team = fixture.cluster.kubectl(&["get", "lpm", "-n", "moves", "-l", "team=voice", "-o", "name"]);
    assert!(team.contains("pool01"), "a write of the status keeps metadata that the operator does not have");
    let moved = fixture.failovers();
    assert_eq!(moved.len(), 5, "{moved:?}");
    assert!(
        moved[3..].iter().all(|entry| entry.starts_with("xds") || entry.starts_with("lis")),
        "CentralMgmt last: {moved:?}"
    );
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());

    let history = &status["history"];
    assert_eq!(history[0]["type"], "CentralMgmt");
    assert_eq!((&history[1]["outcome"], &history[1]["cause"]), (&json!("Succeeded"), &json!("Intent")));
    assert!(status["operation"].is_null());
    assert_eq!(history[1]["requestedVia"], "kubectl-client-side-apply");
    assert_eq!(history[1]["why"], "Generation 2 of the spec wants the principal of User on the mirror.");
    let rtcxds = &history[1]["databases"][0];
    assert_eq!(rtcxds["statement"], "ALTER DATABASE [rtcxds] SET PARTNER FAILOVER");
    assert_eq!(rtcxds["answer"], "done");
    assert_eq!(rtcxds["before"], "primary Principal Synchronized #1, mirror Mirror Synchronized #1");
    assert!(rtcxds["after"].as_str().unwrap().starts_with("primary Mirror Synchroniz"), "{rtcxds}");

    let printed = fixture.cluster.kubectl(&["get", "lpm", "-n", "moves"]);
    for header in ["READY", "REASON", "PRINCIPALS", "SUSPENDED", "AGE"] {
        assert!(printed.contains(header), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn switch_by_the_witness_is_held_until_approved() {
    let fixture = TestPool::start("held", true).await;
    let _operator = Operator::start(fixture.cluster, "held", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");

    fixture.command(json!({"do": "kill", "server": "a"}));
    fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    fixture.command(json!({"do": "start", "server": "a"}));
    let epoch = until("the epoch of the healed pair", || {
        let status = fixture.status("pool01")?;
        let reachable = condition(&status, "Synchronized").is_some_and(|condition| condition["status"] == "True");
        let epoch = status["databaseTypes"][0]["epoch"].as_str().map(str::to_owned);
        epoch.filter(|_| reachable).ok_or_else(|| status.to_string())
    });
    let before = fixture.failovers().len();
    let types = json!([
        {"type": "User", "principal": "Primary", "approve": {"epoch": epoch}},
        {"type": "CentralMgmt", "principal": "Primary"},
    ]);
    fixture.cluster.apply(&fixture.pool("pool01", types));
    until("User is back", || {
        let principals = fixture.status("pool01")?["principals"].to_string();
        if principals.contains("User=Primary CentralMgmt=Mirror!") { Ok(()) } else { Err(principals) }
    });
    fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    assert_eq!(fixture.failovers().len() - before, 3, "only what was approved: {:?}", fixture.failovers());
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_with_a_wrong_password_is_reported_and_corrected_without_restart() {
    let fixture = TestPool::start("password", false).await;
    let _operator = Operator::start(fixture.cluster, "password", "1s");
    fixture.secret("Tr0ub4dor");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let status = fixture.until_ready("pool01", "False", "LoginFailed");
    let text = status.to_string();
    assert!(text.contains("lync-mirror") && !text.contains("Tr0ub4dor"), "{text}");
    fixture.secret("Passw0rd");
    fixture.until_ready("pool01", "True", "Aligned");
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_in_two_resources_stops_both_until_resolved() {
    let fixture = TestPool::start("rivals", true).await;
    let _operator = Operator::start(fixture.cluster, "rivals", "1s");
    fixture.cluster.apply(&fixture.pool("one", types("Primary", "Primary")));
    fixture.until_ready("one", "True", "Aligned");
    // The same servers by other names and in the other seats: the names that they report are compared.
    let mut two = fixture.pool("two", types("Mirror", "Mirror"));
    let by_instance = |id: &str| json!({"host": fixture.server(id)["host"], "instance": "RTC"});
    two["spec"]["sql"]["primary"] = by_instance("b");
    two["spec"]["sql"]["mirror"] = by_instance("a");
    fixture.cluster.apply(&two);
    fixture.until_ready("two", "False", "Conflict");
    let status = fixture.until_ready("one", "False", "Conflict");
    assert!(status.to_string().contains("rivals/two"), "{status}");
    fixture.cluster.kubectl(&["delete", "lpm", "two", "-n", "rivals"]);
    fixture.until_ready("one", "True", "Aligned");
    assert_eq!(fixture.failovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn central_management_with_a_second_store_is_reported_once_without_conflict() {
    let fixture = TestPool::start("central", true).await;
    let _operator = Operator::start(fixture.cluster, "central", "1s");
    fixture.cluster.apply(&fixture.pool("one", types("Primary", "Primary")));
    let mut two =
        fixture.pool("two", json!([{"type": "CentralMgmt", "principal": "Primary", "databases": ["rtcxds"]}]));
    two["spec"]["sql"]["primary"] = fixture.server("c");
    two["spec"]["sql"]["mirror"] = fixture.server("d");
    fixture.cluster.apply(&two);
    fixture.until_ready("one", "True", "Aligned");
    fixture.until_ready("two", "True", "Aligned");
    let events = || fixture.cluster.get_json(&["events", "-n", "central", "--field-selector=reason=SecondCentralMgmt"]);
    until("each status names the other", || {
        let items = events()?["items"].as_array().cloned().unwrap_or_default();
        let about: Vec<&str> = items.iter().filter_map(|event| event["involvedObject"]["name"].as_str()).collect();
        if about.len() == 2 && about.contains(&"one") { Ok(()) } else { Err(format!("{about:?}")) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_killed_during_a_move_finishes_without_a_second_failover() {
    let fixture = TestPool::start("killed", true).await;
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 2000}));
    let mut operator = Operator::start(fixture.cluster, "killed", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture
        .sim
        .until(|world| {
            world.state()["databases"].as_array().is_some_and(|all| all.iter().any(|entry| entry["moving"] == true))
        })
        .await;
    operator.kill();
    let _next = Operator::start(fixture.cluster, "killed", "1s");
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
}
