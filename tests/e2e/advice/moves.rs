//! Pages about moves: wanted, held, waiting, failed.

use serde_json::{Value, json};

use super::reader::{Reader, USER, can_run, user};
use super::session::ROWS;
use crate::support::{Operator, types, until};

pub const HELD: &[&str] = &[
    "reasons/UnexpectedPrincipal",
    "reasons/SplitRoles",
    "reasons/SeatsExchanged",
    "reasons/FailBackPending",
    "reasons/CircuitOpen",
    "reasons/ApprovalRemoved",
];

fn fail_over(reader: &Reader, databases: &[&str]) {
    for database in databases {
        reader.world(json!({"do": "failover", "pair": "pool01", "database": database}));
    }
}

/// The number of role changes so far.
fn count(reader: &Reader) -> usize {
    reader.pool.failovers().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_held_moves_release_or_drop_the_move() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-held", true, HELD).await;
    unexpected(&mut reader);
    split(&mut reader);
    exchanged(&mut reader);
    fail_back(&mut reader);
    circuit(&mut reader);
    reader.finish();
}

const SET: &str = r#""value":"Mirror""#;

fn unexpected(reader: &mut Reader) {
    let page = "UnexpectedPrincipal";
    fail_over(reader, &USER);
    reader.until_reason(page);
    let before = count(reader);
    reader.sh(page, SET);
    reader.aligned();
    assert_eq!(count(reader), before, "nothing moves");
    fail_over(reader, &USER);
    reader.until_reason(page);
    let managers = reader.sh("ApprovalRemoved", "managedFields");
    assert!(managers.contains("lync-mirror Update"), "{managers}");
    reader.with_epoch(page, "approve");
    reader.until_user("moved back", |user| user["reason"] == "Aligned" && user["observed"] == "Mirror");
    assert_eq!(count(reader), before + 2 * USER.len());
}

/// The example of the page: `principal` is `Mirror`, `rtcab` is on the primary.
fn split(reader: &mut Reader) {
    let page = "SplitRoles";
    fail_over(reader, &["rtcab"]);
    reader.until_reason(page);
    let before = count(reader);
    reader.with_epoch(page, "approve");
    reader.until_reason("Aligned");
    assert_eq!(reader.pool.failovers()[before..], ["rtcab>b"]);

    fail_over(reader, &["rtcab"]);
    reader.until_reason(page);
    let before = count(reader);
    reader.sh_with(page, SET, &[(SET, r#""value":"Primary""#)]).unwrap();
    reader.until_reason("Aligned");
    let mut moved = reader.pool.failovers()[before..].to_vec();
    moved.sort();
    assert_eq!(moved, ["rtcshared>a", "rtcxds>a"]);
}

fn exchanged(reader: &mut Reader) {
    let page = "SeatsExchanged";
    let (a, b) = (reader.pool.server("a"), reader.pool.server("b"));
    let exchange = |reader: &Reader, primary: &Value, mirror: &Value| {
        reader.pool.patch("pool01", &json!({"spec": {"sql": {"primary": primary, "mirror": mirror}}}));
    };
    let before = count(reader);
    exchange(reader, &b, &a);
    reader.until_reason(page);
    // The exchange was a mistake: it is edited back.
    let swap = |from: &Value, to: &Value| {
        let text = |server: &Value| (server["host"].as_str().unwrap().to_owned(), server["port"].to_string());
        let ((from, from_port), (to, to_port)) = (text(from), text(to));
        format!("s|host: {from}$|host: {to}|; s|port: {from_port}$|port: {to_port}|")
    };
    let (to_a, to_b) = (swap(&b, &a), swap(&a, &b));
    reader.edit(page, &format!("/mirror:/,/primary:/ {{ {to_b} }}; /primary:/,$ {{ {to_a} }}"));
    reader.aligned();

    exchange(reader, &b, &a);
    reader.until_reason(page);
    reader.sh(page, SET);
    reader.aligned();
    assert_eq!(count(reader), before, "nothing moves");
    exchange(reader, &a, &b);
    reader.until_reason(page);
    reader.with_epoch(page, "approve");
    reader.until_user("moved", |user| user["reason"] == "Aligned" && user["observed"] == "Mirror");
    assert_eq!(count(reader), before + USER.len());
}

fn fail_back(reader: &mut Reader) {
    let page = "FailBackPending";
    let policy = json!({"unrequestedSwitch": "FailBack", "failBackAfter": "1h"});
    reader.pool.patch("pool01", &json!({"spec": {"policy": policy}}));
    reader.aligned();
    fail_over(reader, &USER);
    reader.until_reason(page);
    reader.with_epoch(page, "approve");
    reader.until_user("failed back", |user| user["reason"] == "Aligned" && user["observed"] == "Mirror");
    fail_over(reader, &USER);
    reader.until_reason(page);
    let before = count(reader);
    reader.sh_with(page, SET, &[(SET, r#""value":"Primary""#)]).unwrap();
    reader.aligned();
    assert_eq!(count(reader), before, "nothing moves");
}

fn circuit(reader: &mut Reader) {
    let page = "CircuitOpen";
    let trip = |reader: &Reader| {
        for seat in ["Mirror", "Primary", "Mirror"] {
            fail_over(reader, &USER);
            reader.until_user("switched", |user| user["observed"] == seat);
            reader.until_condition("Synchronized", ("True", "AllSynchronized"));
        }
        reader.until_reason(page);
    };
    trip(reader);
    assert!(reader.sh(page, "history").contains("SET PARTNER FAILOVER"));
    let before = count(reader);
    reader.sh(page, SET);
    reader.aligned();
    assert_eq!(count(reader), before, "nothing moves");
    want(reader, "Primary");
    reader.until_user("moved", |user| user["reason"] == "Aligned" && user["observed"] == "Primary");
    trip(reader);
    reader.with_epoch(page, "approve");
    reader.until_user("moved", |user| user["reason"] == "Aligned" && user["observed"] == "Primary");
}

pub const WAITING: &[&str] = &[
    "reasons/Cooldown",
    "reasons/Settling",
    "reasons/InterruptionTooLong",
    "reasons/Suspended",
    "reasons/WaitingForTurn",
    "reasons/Conflict",
    "reasons/SecondCentralMgmt",
    "reasons/StatusUnreadable",
];

fn policy(reader: &Reader, policy: Value) {
    reader.pool.patch("pool01", &json!({"spec": {"policy": policy}}));
}

fn want(reader: &Reader, principal: &str) {
    reader.pool.patch("pool01", &json!({"spec": {"databaseTypes": user(principal)}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_waiting_moves_let_them_start() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-waiting", true, WAITING).await;
    let moved = |reader: &Reader, seat: &str| {
        reader.until_user(seat, |user| user["reason"] == "Aligned" && user["observed"] == seat);
    };
    want(&reader, "Mirror");
    moved(&reader, "Mirror");
    policy(&reader, json!({"cooldown": "1h"}));
    want(&reader, "Primary");
    reader.until_reason("Cooldown");
    reader.sh("Cooldown", "cooldown");
    moved(&reader, "Primary");

    reader.pool.patch("pool01", &json!({"spec": {"suspend": {"reason": "work"}}}));
    want(&reader, "Mirror");
    reader.until_reason("Suspended");
    reader.sh("Suspended", "suspend");
    moved(&reader, "Mirror");

    policy(&reader, json!({"maxInterruption": "5s"}));
    reader.world(json!({"do": "setRedo", "pair": "pool01", "queueKb": 200_000, "rateKbPerS": 1000}));
    want(&reader, "Primary");
    reader.until_reason("InterruptionTooLong");
    for server in ["a", "b"] {
        reader.sql(server, "InterruptionTooLong", "GRANT");
    }
    reader.world(json!({"do": "setRedo", "pair": "pool01", "queueKb": 10_000, "rateKbPerS": 10_000}));
    reader.sh("InterruptionTooLong", "maxInterruption");
    moved(&reader, "Primary");

    policy(&reader, json!({"settleAfter": "1h"}));
    reader.aligned();
    reader.lose("b");
    reader.until_condition("Synchronized", ("True", "AllSynchronized"));
    want(&reader, "Mirror");
    reader.until_reason("Settling");
    reader.sh("Settling", "settleAfter");
    moved(&reader, "Mirror");
    policy(&reader, json!({"settleAfter": "0s"}));
    other_resources(&mut reader);
    reader.finish();
}

fn other_resources(reader: &mut Reader) {
    // Two types in the order of Lync: CentralMgmt waits.
    reader.pool.patch("pool01", &json!({"spec": {"databaseTypes": types("Mirror", "Primary")}}));
    reader.pool.until_ready("pool01", "True", "Aligned");
    reader.world(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 1500}));
    reader.pool.patch("pool01", &json!({"spec": {"databaseTypes": types("Primary", "Mirror")}}));
    until("CentralMgmt waits", || {
        let status = reader.pool.status("pool01")?;
        let found =
            status["databaseTypes"].as_array().ok_or("no types")?.iter().any(|ty| ty["reason"] == "WaitingForTurn");
        if found { Ok(()) } else { Err(status.to_string()) }
    });
    assert!(reader.sh("WaitingForTurn", "kubectl get").contains("pool01"));
    reader.pool.until_ready("pool01", "True", "Aligned");

    let page = "Conflict";
    let mut rival = reader.resource(true, types("Primary", "Mirror"));
    rival["metadata"]["name"] = json!("pool09");
    reader.pool.cluster.apply(&rival);
    reader.until_reason(page);
    let printed = reader.sh(page, "range .items");
    assert!(printed.contains("pool01\tUser CentralMgmt") && printed.contains("pool09\tUser CentralMgmt"), "{printed}");
    let before = count(reader);
    reader.sh_with(page, "remove", &[("NAME -n", "pool09 -n")]).unwrap();
    reader.until_reason("Aligned");
    assert_eq!(count(reader), before, "removing moves nothing");
    reader.pool.cluster.kubectl(&["delete", "lpm", "pool09", "-n", &reader.pool.namespace]);
    reader.pool.until_ready("pool01", "True", "Aligned");

    let page = "SecondCentralMgmt";
    let mut second = rival;
    second["spec"]["databaseTypes"] = json!([{"type": "CentralMgmt", "principal": "Primary"}]);
    for (seat, server) in [("primary", "c"), ("mirror", "d")] {
        second["spec"]["sql"][seat] = reader.pool.server(server);
    }
    second["spec"]["sql"].as_object_mut().unwrap().remove("witness");
    reader.pool.cluster.apply(&second);
    reader.until_event(page);
    // One of the resources names type CentralMgmt by mistake.
    let script = "/- principal: Mirror/{N;d}";
    reader.edit(page, script);
    let pool = reader.pool.cluster.get_json(&["lpm", "pool01", "-n", &reader.pool.namespace]).unwrap();
    assert_eq!(pool["spec"]["databaseTypes"].as_array().unwrap().len(), 1, "{pool}");
    reader.pool.until_ready("pool01", "True", "Aligned");

    let broken = json!({"status": {"databaseTypes": [{"type": "User", "epoch": 7}]}}).to_string();
    let namespace = reader.pool.namespace.clone();
    let patch = ["patch", "lpm", "pool01", "-n", &namespace, "--subresource=status", "--type=merge", "-p", &broken];
    // Such a status comes from an older CRD: the tests of api::decode_lossy have it.
    assert!(reader.pool.cluster.try_kubectl(&patch).is_err(), "the CRD refuses an epoch that is no text");
    let printed = reader.sh("StatusUnreadable", "managed-fields");
    assert!(printed.contains("subresource: status"), "{printed}");
}

pub const RUNNING: &[&str] = &[
    "reasons/MoveFailed",
    "reasons/MoveSuperseded",
    "reasons/SwitchOverdue",
    "reasons/TransitionOverdue",
    "reasons/Verifying",
    "reasons/PostSwitchDrift",
];

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_moves_that_do_not_end_show_why() {
    if !can_run() {
        return;
    }
    let mut reader = Reader::start("advice-running", false, RUNNING).await;
    drift(&mut reader);

    let page = "MoveFailed";
    reader.world(json!({"do": "failStatement", "server": "a", "number": 1222, "times": 1000}));
    want(&reader, "Mirror");
    reader.until_reason(page);
    assert!(reader.sh(page, "history").contains("1222"));
    for server in ["a", "b"] {
        reader.sql(server, page, "sp_readerrorlog").has("Starting up database 'rtcxds'");
    }
    // The move is no longer wanted.
    want(&reader, "Primary");
    reader.aligned();
    reader.world(json!({"do": "failStatement", "server": "a", "number": 1222, "times": 0}));

    slow_switch(&mut reader);
    reader.finish();
}

/// A switch that takes longer than `policy.switchDeadline`, whose least value is 10 s.
fn slow_switch(reader: &mut Reader) {
    policy(reader, json!({"switchDeadline": "10s"}));
    reader.world(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 14_000}));
    reader.world(json!({"do": "setPairSettings", "pair": "pool01", "settings": {"failoverAnswer": "before"}}));
    want(reader, "Mirror");
    reader.until_reason("Verifying");
    reader.sql("a", "Verifying", "mirroring_role_sequence").has("PENDING_FAILOVER");
    let page = "SwitchOverdue";
    reader.until_reason(page);
    for server in ["a", "b"] {
        reader.sql(server, page, ROWS).has("rtcxds");
        reader.sql(server, page, "sp_readerrorlog");
    }
    reader.until_user("moved", |user| user["reason"] == "Aligned" && user["observed"] == "Mirror");
    assert!(reader.sh(page, "history").contains("SET PARTNER FAILOVER"));

    // A failover by an administrator that lasts as long.
    let page = "TransitionOverdue";
    fail_over(reader, &USER);
    reader.until_reason(page);
    for server in ["a", "b"] {
        reader.sql(server, page, ROWS).has("rtcxds");
        reader.sql(server, page, "sp_readerrorlog");
    }
    reader.until_reason("UnexpectedPrincipal");

    // The servers ignore the statement, and the spec changes before the operator sends it again.
    let page = "MoveSuperseded";
    want(reader, "Primary");
    reader.aligned();
    reader.world(json!({"do": "setPairSettings", "pair": "pool01", "settings": {"failoverAnswer": "ignored"}}));
    want(reader, "Mirror");
    reader.until_user("in flight", |user| user["reason"] == "Moving" || user["reason"] == "Verifying");
    want(reader, "Primary");
    reader.until_event(page);
    assert!(reader.sh(page, "history").contains("Superseded"));
    reader.aligned();
}

fn drift(reader: &mut Reader) {
    let page = "PostSwitchDrift";
    let sid = "00112233445566778899AABBCCDDEE01";
    let inventory = json!({"logins": {"backup": sid}, "roles": {"dbcreator": ["backup"]}});
    reader.world(json!({"do": "setInventory", "server": "a", "inventory": inventory}));
    want(reader, "Mirror");
    reader.until_user("moved", |user| user["reason"] == "Aligned" && user["observed"] == "Mirror");
    reader.until_condition(page, ("True", page));
    let printed = reader.sh(page, "postSwitchDifferences");
    assert!(printed.contains("Login backup is missing on the mirror") && printed.contains(sid), "{printed}");
    let replace = [("<hash>", "0x0200A1B2C3D4"), ("0x00112233445566778899AABBCCDDEEFF", &format!("0x{sid}"))];
    reader.sql_with("b", page, "HASHED", &replace);
    // The comparison repeats every ten minutes; a new leader repeats it at once.
    reader.operator.take().unwrap().stop();
    reader.operator = Some(Operator::start(reader.pool.cluster, &reader.pool.namespace, "1s"));
    reader.until_condition(page, ("False", "NoPostSwitchDrift"));
    want(reader, "Primary");
    reader.until_user("moved", |user| user["reason"] == "Aligned" && user["observed"] == "Primary");
}
