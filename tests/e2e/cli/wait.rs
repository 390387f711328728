//! `--wait` that is interrupted, that exceeds its time, and without an operator.

use std::io::{BufRead, BufReader};

use super::{aligned, command, verb};
use crate::support::{TestPool, types};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn wait_that_is_interrupted_leaves_a_state_that_the_next_command_shows() {
    let (fixture, _operator) = aligned("cli-wait").await;
    let to = |seat| ["failover", "pool01", "-t", "User", "--to", seat, "--confirm=false", "--wait"];
    verb(&fixture, &to("mirror")).expect(0);
    fixture.patch("pool01", &json!({"spec": {"policy": {"cooldown": "1h"}}}));
    fixture.until_ready("pool01", "True", "Aligned");

    let back = to("primary");
    let mut child = command(fixture.cluster, &[&back[..], &["-n", "cli-wait"]].concat()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("User: Cooldown.")), "the output ended before the operator answered");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    let next =
        "Interrupted. The operator goes on without this command. To follow it: lync-mirror state pool01 -n cli-wait";
    assert!(err.contains(next), "{err}");

    let state = verb(&fixture, &["state", "pool01"]).expect(1);
    assert!(state.out.contains("Cooldown"), "{state:?}");
    // The request stands: the same command writes nothing and waits for it.
    let again = verb(&fixture, &[&back[..], &["--timeout", "1s"]].concat()).expect(1);
    assert!(again.out.contains("User: the spec asks for SQL-A\\RTC (primary) already."), "{again:?}");
    assert!(again.err.contains("Not complete within 1s."), "{again:?}");
    fixture.patch("pool01", &json!({"spec": {"policy": {"cooldown": "0s"}}}));
    assert_eq!(fixture.until_ready("pool01", "True", "Aligned")["principals"], "User=Primary CentralMgmt=Primary");
    assert_eq!(fixture.failovers().len(), 6, "{:?}", fixture.failovers());
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_without_an_operator_is_not_known() {
    let fixture = TestPool::start("cli-alone", true).await;
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let state = verb(&fixture, &["state", "pool01"]).expect(4);
    assert!(state.out.contains("No operator has published a status yet."), "{state:?}");
    let failover =
        ["failover", "pool01", "-t", "User", "--to", "mirror", "--confirm=false", "--wait", "--timeout", "1s"];
    let waited = verb(&fixture, &failover).expect(4);
    assert!(waited.err.contains("Not complete within 1s."), "{waited:?}");
}
