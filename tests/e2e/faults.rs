//! Bad input and faults, as a user meets them: each names its cause, moves nothing twice, and heals by itself.

use crate::support::{Operator, Stage, condition, types, until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_or_read_is_named_and_the_others_go_on() {
    let stage = Stage::set("reach", true).await;
    let _operator = Operator::start(stage.cluster, "reach", "1s");
    stage.cluster.apply(&stage.pool("good", types("Primary", "Primary")));
    let single = |name: &str, databases: Value, edit: &dyn Fn(&mut Value)| {
        let mut pool = stage.pool(name, json!([{"type": "Archiving", "principal": "Primary", "databases": databases}]));
        edit(&mut pool["spec"]);
        stage.cluster.apply(&pool);
    };
    // What the other partner shows of the database is no complaint: it is there, mirrored and in good health.
    single("no-host", json!(["rtcxds"]), &|spec| spec["sql"]["primary"] = json!({"host": "nowhere.invalid"}));
    single("closed", json!(["rtcxds"]), &|spec| spec["sql"]["primary"] = json!({"host": "127.0.0.1", "port": 9}));
    single("no-instance", json!(["rtcxds"]), &|spec| {
        spec["sql"]["primary"] = json!({"host": "127.0.0.1", "instance": "NOPE"})
    });
    single("no-secret", json!(["x4"]), &|spec| spec["sql"]["auth"]["secretRef"]["name"] = json!("missing"));
    single("no-ca", json!(["x5"]), &|spec| spec["sql"]["tls"]["caBundle"]["configMapRef"]["name"] = json!("missing"));
    single("no-trust", json!(["x6"]), &|spec| spec["sql"]["tls"] = json!({"mode": "Verify"}));
    single("no-database", json!(["x7"]), &|_| {});
    single("not-mirrored", json!(["model"]), &|_| {});
    single("two-pairs", json!(["rtcxds"]), &|spec| spec["sql"]["mirror"] = stage.server("d"));
    single("one-server", json!(["rtcxds"]), &|spec| {
        // Another spelling of the same server, so that only the server itself can tell.
        spec["sql"]["mirror"] = json!({"host": spec["sql"]["primary"]["host"], "instance": "RTC"});
    });
    for (name, reason) in [
        ("no-host", "HostNotFound"),
        ("closed", "ConnectionRefused"),
        ("no-instance", "InstanceNotFound"),
        ("no-secret", "SecretNotFound"),
        ("no-ca", "CaBundleNotFound"),
        ("no-trust", "TlsFailed"),
        ("no-database", "DatabaseMissing"),
        ("not-mirrored", "NotMirrored"),
        ("two-pairs", "SessionMismatch"),
        ("one-server", "SameServer"),
    ] {
        let status = stage.until_ready(name, "False", reason);
        let stalled = condition(&status, "Stalled").unwrap();
        assert_eq!((&stalled["status"], &stalled["reason"]), (&json!("True"), &json!(reason)), "{name}");
        let described = stage.cluster.kubectl(&["describe", "lpm", name, "-n", "reach"]);
        assert!(described.contains(reason), "{described}");
    }
    stage.until_ready("good", "True", "Aligned");
    assert_eq!(stage.failovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_its_key_is_named_until_it_is_there() {
    let stage = Stage::set("key", false).await;
    let _operator = Operator::start(stage.cluster, "key", "1s");
    let remove = r#"[{"op": "remove", "path": "/data/password"}]"#;
    stage.cluster.kubectl(&["patch", "secret", "sql", "-n", "key", "--type=json", "-p", remove]);
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "False", "SecretKeyMissing");
    stage.secret("Passw0rd");
    stage.until_ready("pool01", "True", "Aligned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_may_not_move_is_explained_and_moves_when_it_may() {
    let stage = Stage::set("blocked", true).await;
    let _operator = Operator::start(stage.cluster, "blocked", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");

    stage.command(json!({"do": "setSysadmin", "server": "b", "login": "lync-mirror", "sysadmin": false}));
    stage.until_ready("pool01", "False", "PermissionMissing");
    stage.command(json!({"do": "setSysadmin", "server": "b", "login": "lync-mirror", "sysadmin": true}));
    stage.until_ready("pool01", "True", "Aligned");

    stage.command(json!({"do": "setSafety", "pair": "pool01", "safety": "off"}));
    stage.until_ready("pool01", "False", "SafetyOff");
    stage.command(json!({"do": "setSafety", "pair": "pool01", "safety": "full"}));
    stage.until_ready("pool01", "True", "Aligned");

    stage.command(json!({"do": "desync", "pair": "pool01", "millis": 3_000}));
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    stage.until_ready("pool01", "False", "Synchronizing");
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    assert_eq!(stage.failovers().len(), 3);

    let mut suspended = stage.pool("pool01", types("Primary", "Primary"));
    suspended["spec"]["suspend"] = json!({"reason": "SQL patching"});
    stage.cluster.apply(&suspended);
    stage.until_ready("pool01", "False", "Suspended");
    assert_eq!(stage.failovers().len(), 3);
    stage.patch("pool01", &json!({"spec": {"suspend": null}}));
    stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(stage.failovers().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_holds_up_nobody_else() {
    let stage = Stage::set("silent", true).await;
    let _operator = Operator::start(stage.cluster, "silent", "1s");
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pool = stage.pool("deaf", json!([{"type": "Archiving", "principal": "Primary", "databases": ["rtcxds"]}]));
    pool["spec"]["sql"]["primary"] = json!({"host": "127.0.0.1", "port": deaf.local_addr().unwrap().port()});
    stage.cluster.apply(&pool);
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    stage.until_ready("deaf", "False", "ConnectionTimedOut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_and_a_refusal_move_nothing_twice() {
    let stage = Stage::set("answers", true).await;
    let _operator = Operator::start(stage.cluster, "answers", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");

    stage.command(json!({"do": "loseAnswer", "server": "a", "matching": "PARTNER FAILOVER", "times": 3}));
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(stage.failovers().len(), 3, "{:?}", stage.failovers());

    // Statements that wait for their turn on a slow server are not sent a second time.
    stage.command(json!({"do": "stall", "server": "b", "phase": "login", "times": 3, "millis": 3_000}));
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(stage.failovers().len(), 6, "{:?}", stage.failovers());
    assert_eq!(status["history"][0]["attempts"], 1, "{status}");
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");

    // One database is refused: the move is rolled forward.
    stage.command(json!({"do": "failStatement", "server": "b", "number": 1404, "times": 1}));
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(stage.failovers().len(), 12, "{:?}", stage.failovers());
    assert_eq!((&status["history"][0]["attempts"], &status["history"][0]["outcome"]), (&json!(2), &json!("Succeeded")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_deleted_during_its_move_leaves_no_process_stuck() {
    let stage = Stage::set("deleted", true).await;
    let operator = Operator::start(stage.cluster, "deleted", "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    stage.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 1500}));
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    let moving =
        |state: &Value| state["databases"].as_array().is_some_and(|all| all.iter().any(|one| one["moving"] == true));
    stage.sim.until(|world| moving(&world.state())).await;
    stage.cluster.kubectl(&["delete", "lpm", "pool01", "-n", "deleted"]);
    until("the move ends on the servers", || {
        if stage.failovers().len() == 3 { Ok(()) } else { Err(format!("{:?}", stage.failovers())) }
    });
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(operator.stop(), Some(0), "a clean exit");
    assert_eq!(stage.failovers().len(), 3);
}
