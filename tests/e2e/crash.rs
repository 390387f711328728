//! SIGKILL of the operator at two points, twenty times each: between journal and statement, and between statement and
//! answer. Each time exactly one failover per database, and the move is finished.

use crate::support::{Operator, TestPool, types, until};
use serde_json::json;

const TIMES: usize = 20;

/// The seat that User is to move to in this round.
fn seat(round: usize) -> &'static str {
    if round.is_multiple_of(2) { "Mirror" } else { "Primary" }
}

/// Deletes the lease of a killed operator, so that the next one leads at once.
fn lease_runs_out(fixture: &TestPool) {
    let name = format!("lync-mirror-{}", fixture.namespace);
    fixture.cluster.kubectl(&["delete", "lease", &name, "-n", &fixture.namespace, "--ignore-not-found"]);
}

fn journaled(fixture: &TestPool) {
    until("the journal is written", || {
        let operation = fixture.status("pool01")?["operation"].clone();
        if operation.is_null() { Err("no operation".to_owned()) } else { Ok(()) }
    });
}

/// Each round waits for the point, kills the operator, and lets the next one finish.
async fn moves_once(namespace: &str, arm: impl Fn(&TestPool, usize), point: impl AsyncFn(&TestPool)) {
    let fixture = TestPool::start(namespace, true).await;
    let mut operator = Operator::start(fixture.cluster, namespace, "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    for round in 0..TIMES {
        arm(&fixture, round);
        fixture.cluster.apply(&fixture.pool("pool01", types(seat(round), "Primary")));
        point(&fixture).await;
        operator.kill();
        lease_runs_out(&fixture);
        operator = Operator::start(fixture.cluster, namespace, "1s");
        let status = fixture.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], format!("User={} CentralMgmt=Primary", seat(round)), "round {round}");
        assert_eq!(fixture.failovers().len(), 3 * (round + 1), "round {round}: {:?}", fixture.failovers());
    }
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());
    println!(
        "{namespace}: {TIMES} of {TIMES} kills, {} failovers for {} databases",
        fixture.failovers().len(),
        3 * TIMES
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_killed_between_journal_and_statement_moves_once() {
    // The first connection for the statements stalls at its login, and the others wait for it. The poll keeps its own.
    let arm = |fixture: &TestPool, round: usize| {
        let server = if round.is_multiple_of(2) { "a" } else { "b" };
        fixture.command(json!({"do": "stall", "server": server, "phase": "login", "times": 1, "millis": 5_000}));
    };
    moves_once("before-statement", arm, async |fixture| journaled(fixture)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_killed_between_statement_and_answer_moves_once() {
    let arm = |_: &TestPool, _| {};
    moves_once("before-answer", arm, async |fixture| {
        let moving = |state: &serde_json::Value| {
            state["databases"].as_array().is_some_and(|all| all.iter().any(|entry| entry["moving"] == true))
        };
        fixture.sim.until(|world| moving(&world.state())).await;
    })
    .await;
}
