//! A held move: approved, refused for another state, and kept. Suspension and its end.

use super::{Ran, aligned, generation, object, verb};
use crate::support::{Operator, TestPool, condition, until};
use serde_json::json;

/// The witness moves every principal, and the old principal comes back.
#[track_caller]
fn witness_moves(fixture: &TestPool, from: &str) {
    let before = fixture.failovers().len();
    fixture.command(json!({"do": "kill", "server": from}));
    until("the witness moved everything", || {
        let failovers = fixture.failovers();
        if failovers.len() == before + 5 { Ok(()) } else { Err(format!("{failovers:?}")) }
    });
    fixture.command(json!({"do": "start", "server": from}));
}

#[track_caller]
fn until_state(fixture: &TestPool, words: &str) -> Ran {
    until(words, || {
        let state = verb(fixture, &["state", "pool01"]);
        if state.out.contains(words) { Ok(state) } else { Err(state.out) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn held_moves_are_approved_for_the_state_that_was_seen_or_kept() {
    let (fixture, _operator) = aligned("cli-held").await;
    let none = verb(&fixture, &["approve", "pool01", "-t", "User", "--confirm=false"]).expect(2);
    assert!(none.err.contains("There is no move of User to approve now (Aligned)"), "{none:?}");
    witness_moves(&fixture, "a");
    let state = until_state(&fixture, "approve pool01 -n cli-held --database-type User").expect(2);
    assert!(state.out.contains("User         SQL-A\\RTC  SQL-B\\RTC !"), "{state:?}");

    let stale = ["approve", "pool01", "-t", "User", "--epoch", "1-dead", "--confirm=false"];
    let stale = verb(&fixture, &stale).expect(2);
    assert!(stale.err.contains("and no longer 1-dead: nothing was approved"), "{stale:?}");
    assert_eq!(fixture.failovers().len(), 5);
    let approve = ["approve", "pool01", "-t", "User", "--for", "10m", "--confirm=false", "--wait"];
    let approved = verb(&fixture, &approve).expect(0);
    assert!(approved.out.contains("User: the principal is on SQL-A\\RTC"), "{approved:?}");
    assert_eq!(fixture.failovers().len(), 8, "{:?}", fixture.failovers());
    assert_eq!(fixture.status("pool01").unwrap()["history"][0]["cause"], "Approved");

    // failover to the wanted seat of a held move is its approval.
    let failover = ["failover", "pool01", "-t", "CentralMgmt", "--to", "primary", "--confirm=false", "--wait"];
    verb(&fixture, &failover).expect(0);
    assert_eq!(fixture.failovers().len(), 10, "{:?}", fixture.failovers());
    assert_eq!(fixture.until_ready("pool01", "True", "Aligned")["history"][0]["cause"], "Approved");

    witness_moves(&fixture, "a");
    until_state(&fixture, "keep pool01 -n cli-held --database-type CentralMgmt");
    let kept = verb(&fixture, &["keep", "pool01"]).expect(1);
    assert!(kept.out.contains("CentralMgmt: SQL-B\\RTC (mirror) becomes the wanted principal."), "{kept:?}");
    assert_eq!(fixture.until_ready("pool01", "True", "Aligned")["principals"], "User=Mirror CentralMgmt=Mirror");
    assert_eq!(fixture.failovers().len(), 15, "no database moved: {:?}", fixture.failovers());
    let again = verb(&fixture, &["keep", "pool01", "-t", "User"]).expect(0);
    assert!(again.out.contains("User: the spec wants SQL-B\\RTC (mirror) already."), "{again:?}");
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn suspension_holds_moves_until_it_is_resumed() {
    let (fixture, _operator) = aligned("cli-suspend").await;
    let suspended = verb(&fixture, &["suspend", "pool01", "--reason", "SQL patching", "--for", "2h"]).expect(0);
    assert!(suspended.out.starts_with("cli-suspend/pool01 is suspended until 20"), "{suspended:?}");
    until("the condition", || {
        let status = fixture.status("pool01")?;
        let found = condition(&status, "Suspended").ok_or("no condition")?;
        if found["status"] == "True" { Ok(()) } else { Err(found.to_string()) }
    });
    let failover =
        ["failover", "pool01", "-t", "User", "--to", "mirror", "--confirm=false", "--wait", "--settle", "3s"];
    let held = verb(&fixture, &failover).expect(2);
    assert!(held.out.contains("User: Suspended."), "{held:?}");
    assert!(held.out.contains("SQL patching"), "{held:?}");
    let state = verb(&fixture, &["state", "pool01"]).expect(2);
    assert!(state.out.contains("resume pool01 -n cli-suspend"), "{state:?}");
    assert_eq!(fixture.failovers().len(), 0);

    let resumed = verb(&fixture, &["resume", "pool01"]).expect(0);
    assert_eq!(resumed.out, "cli-suspend/pool01 is resumed: moves may start.\n");
    assert_eq!(fixture.until_ready("pool01", "True", "Aligned")["principals"], "User=Mirror CentralMgmt=Primary");

    // A suspension that another field manager set, with more than the next one has.
    fixture.patch("pool01", &json!({"spec": {"suspend": {"reason": "by hand", "stopPolls": true}}}));
    verb(&fixture, &["suspend", "pool01", "--reason", "storage"]).expect(0);
    assert_eq!(object(&fixture)["spec"]["suspend"], json!({"reason": "storage"}));
    let past = ["suspend", "pool01", "--reason", "x", "--until", "2020-01-01T00:00:00Z"];
    assert!(verb(&fixture, &past).expect(2).err.contains("is over. Nothing was changed."));
    let before = generation(&fixture);
    verb(&fixture, &["resume", "pool01", "--what-if"]).expect(0);
    assert_eq!(generation(&fixture), before);
    verb(&fixture, &["resume", "pool01"]).expect(0);
    let spec = object(&fixture)["spec"].clone();
    assert!(spec["suspend"].is_null(), "{spec}");
    assert_eq!(spec["databaseTypes"][0]["principal"], "Mirror", "what was applied before stays: {spec}");
    assert_eq!(verb(&fixture, &["resume", "pool01"]).expect(0).out, "cli-suspend/pool01 is not suspended.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_service_needs_the_pool_and_the_fenced_server_by_name() {
    let fixture = TestPool::start("cli-forced", false).await;
    let _operator = Operator::start(fixture.cluster, "cli-forced", "1s");
    let mut pool = fixture.pool("pool01", json!([{"type": "User", "principal": "Primary"}]));
    pool["spec"]["sql"].as_object_mut().unwrap().remove("witness");
    fixture.cluster.apply(&pool);
    fixture.until_ready("pool01", "True", "Aligned");
    let force = ["force-service", "pool01", "-t", "User"];
    let refused = verb(&fixture, &force).expect(2);
    assert!(refused.err.contains("The operator would not force service of User now (Aligned)."), "{refused:?}");

    fixture.command(json!({"do": "kill", "server": "a"}));
    fixture.until_ready("pool01", "False", "PrincipalLost");
    let what_if = || verb(&fixture, &[&force[..], &["--what-if"]].concat());
    until("the operator offers it", || match what_if() {
        ran if ran.code == Some(0) => Ok(()),
        ran => Err(ran.err),
    });
    let old = fixture.status("pool01").unwrap()["servers"][0]["address"].as_str().unwrap().to_owned();
    for wrong in [&[][..], &["--accept-data-loss", "pool01.contoso.com"], &["--fenced", &old]] {
        let refused = verb(&fixture, &[&force[..], wrong].concat()).expect(2);
        assert!(refused.err.contains("Not confirmed, nothing was changed. To fix: type "), "{refused:?}");
    }
    assert_eq!(fixture.failovers(), Vec::<String>::new());
    let consent = ["--accept-data-loss", "pool01.contoso.com", "--fenced", &old, "--wait", "--settle", "3s"];
    let forced = verb(&fixture, &[&force[..], &consent].concat()).expect(2);
    assert!(forced.out.contains("User: ServiceForced."), "{forced:?}");
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
    assert_eq!(fixture.status("pool01").unwrap()["history"][0]["requestedVia"], "kubectl-lyncmirror");
}
