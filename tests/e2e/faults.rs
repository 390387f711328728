//! Bad input and faults from the view of a user: the status names the cause, nothing moves twice, and the resource recovers.

use crate::support::{Operator, TestPool, condition, types, until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn server_that_cannot_be_reached_or_read_is_named_and_others_continue() {
    let fixture = TestPool::start("reach", true).await;
    let _operator = Operator::start(fixture.cluster, "reach", "1s");
    fixture.cluster.apply(&fixture.pool("good", types("Primary", "Primary")));
    let single = |name: &str, databases: Value, edit: &dyn Fn(&mut Value)| {
        let mut pool =
            fixture.pool(name, json!([{"type": "Archiving", "principal": "Primary", "databases": databases}]));
        edit(&mut pool["spec"]);
        fixture.cluster.apply(&pool);
    };
    // The message must not complain about the other partner: its database is mirrored and healthy.
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
    single("two-pairs", json!(["rtcxds"]), &|spec| spec["sql"]["mirror"] = fixture.server("d"));
    single("one-server", json!(["rtcxds"]), &|spec| {
        // Another spelling of the same server, so that only the server itself shows the identity.
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
        let status = fixture.until_ready(name, "False", reason);
        let stalled = condition(&status, "Stalled").unwrap();
        assert_eq!((&stalled["status"], &stalled["reason"]), (&json!("True"), &json!(reason)), "{name}");
        let described = fixture.cluster.kubectl(&["describe", "lpm", name, "-n", "reach"]);
        assert!(described.contains(reason), "{described}");
    }
    fixture.until_ready("good", "True", "Aligned");
    assert_eq!(fixture.failovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_without_its_key_is_named_until_present() {
    let fixture = TestPool::start("key", false).await;
    let _operator = Operator::start(fixture.cluster, "key", "1s");
    let remove = r#"[{"op": "remove", "path": "/data/password"}]"#;
    fixture.cluster.kubectl(&["patch", "secret", "sql", "-n", "key", "--type=json", "-p", remove]);
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "False", "SecretKeyMissing");
    fixture.secret("Passw0rd");
    fixture.until_ready("pool01", "True", "Aligned");
}

#[tokio::test(flavor = "multi_thread")]
async fn session_that_may_not_move_is_explained_and_moves_later() {
    let fixture = TestPool::start("blocked", true).await;
    let _operator = Operator::start(fixture.cluster, "blocked", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");

    fixture.command(json!({"do": "setSysadmin", "server": "b", "login": "lync-mirror", "sysadmin": false}));
    fixture.until_ready("pool01", "False", "PermissionMissing");
    fixture.command(json!({"do": "setSysadmin", "server": "b", "login": "lync-mirror", "sysadmin": true}));
    fixture.until_ready("pool01", "True", "Aligned");

    fixture.command(json!({"do": "setSafety", "pair": "pool01", "safety": "off"}));
    fixture.until_ready("pool01", "False", "SafetyOff");
    fixture.command(json!({"do": "setSafety", "pair": "pool01", "safety": "full"}));
    fixture.until_ready("pool01", "True", "Aligned");

    fixture.command(json!({"do": "desync", "pair": "pool01", "millis": 3_000}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.until_ready("pool01", "False", "Synchronizing");
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    assert_eq!(fixture.failovers().len(), 3);

    let mut suspended = fixture.pool("pool01", types("Primary", "Primary"));
    suspended["spec"]["suspend"] = json!({"reason": "SQL patching"});
    fixture.cluster.apply(&suspended);
    fixture.until_ready("pool01", "False", "Suspended");
    assert_eq!(fixture.failovers().len(), 3);
    fixture.patch("pool01", &json!({"spec": {"suspend": null}}));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_never_answers_delays_no_other_resource() {
    let fixture = TestPool::start("silent", true).await;
    let _operator = Operator::start(fixture.cluster, "silent", "1s");
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pool =
        fixture.pool("deaf", json!([{"type": "Archiving", "principal": "Primary", "databases": ["rtcxds"]}]));
    pool["spec"]["sql"]["primary"] = json!({"host": "127.0.0.1", "port": deaf.local_addr().unwrap().port()});
    fixture.cluster.apply(&pool);
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.until_ready("deaf", "False", "ConnectionTimedOut");
}

#[tokio::test(flavor = "multi_thread")]
async fn move_with_a_lost_answer_or_refusal_is_not_done_twice() {
    let fixture = TestPool::start("answers", true).await;
    let _operator = Operator::start(fixture.cluster, "answers", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");

    fixture.command(json!({"do": "loseAnswer", "server": "a", "matching": "PARTNER FAILOVER", "times": 3}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());

    // Statements that wait on a slow server are not sent a second time.
    fixture.command(json!({"do": "stall", "server": "b", "phase": "login", "times": 3, "millis": 3_000}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 6, "{:?}", fixture.failovers());
    assert_eq!(status["history"][0]["attempts"], 1, "{status}");
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");

    // One database is refused: the move is rolled forward.
    fixture.command(json!({"do": "failStatement", "server": "b", "number": 1404, "times": 1}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 12, "{:?}", fixture.failovers());
    assert_eq!((&status["history"][0]["attempts"], &status["history"][0]["outcome"]), (&json!(2), &json!("Succeeded")));
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_deleted_during_its_move_leaves_no_process_stuck() {
    let fixture = TestPool::start("deleted", true).await;
    let operator = Operator::start(fixture.cluster, "deleted", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 1500}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    let moving = |state: &Value| {
        state["databases"].as_array().is_some_and(|all| all.iter().any(|entry| entry["moving"] == true))
    };
    fixture.sim.until(|world| moving(&world.state())).await;
    fixture.cluster.kubectl(&["delete", "lpm", "pool01", "-n", "deleted"]);
    until("the move ends on the servers", || {
        if fixture.failovers().len() == 3 { Ok(()) } else { Err(format!("{:?}", fixture.failovers())) }
    });
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(operator.stop(), Some(0), "a clean exit");
    assert_eq!(fixture.failovers().len(), 3);
}
