//! The two dangerous points, twenty times each: the operator is killed with SIGKILL between journal and statement, and
//! between statement and answer. Each time exactly one failover per database, and the story is finished.

use crate::support::{Operator, Stage, types, until};
use serde_json::json;

const TIMES: usize = 20;

/// The seat that User is to move to in this round.
fn seat(round: usize) -> &'static str {
    if round.is_multiple_of(2) { "Mirror" } else { "Primary" }
}

/// What a killed operator leaves is its lease: here it runs out at once.
fn lease_runs_out(stage: &Stage) {
    let name = format!("lync-mirror-{}", stage.namespace);
    stage.cluster.kubectl(&["delete", "lease", &name, "-n", &stage.namespace, "--ignore-not-found"]);
}

fn journaled(stage: &Stage) {
    until("the journal is written", || {
        let operation = stage.status("pool01")?["operation"].clone();
        if operation.is_null() { Err("no operation".to_owned()) } else { Ok(()) }
    });
}

/// One life per round: wait for the point, kill, let the next operator finish.
async fn lives(namespace: &str, arm: impl Fn(&Stage, usize), point: impl AsyncFn(&Stage)) {
    let stage = Stage::set(namespace, true).await;
    let mut operator = Operator::start(stage.cluster, namespace, "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    for round in 0..TIMES {
        arm(&stage, round);
        stage.cluster.apply(&stage.pool("pool01", types(seat(round), "Primary")));
        point(&stage).await;
        operator.kill();
        lease_runs_out(&stage);
        operator = Operator::start(stage.cluster, namespace, "1s");
        let status = stage.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["principals"], format!("User={} CentralMgmt=Primary", seat(round)), "round {round}");
        assert_eq!(stage.failovers().len(), 3 * (round + 1), "round {round}: {:?}", stage.failovers());
    }
    assert_eq!(stage.sim.failures(), Vec::<String>::new());
    println!(
        "{namespace}: {TIMES} of {TIMES} kills, {} failovers for {} databases",
        stage.failovers().len(),
        3 * TIMES
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_journal_and_statement() {
    // The connections for the statements stall at their login; the look keeps its own connection.
    let arm = |stage: &Stage, round: usize| {
        let server = if round.is_multiple_of(2) { "a" } else { "b" };
        stage.command(json!({"do": "stall", "server": server, "phase": "login", "times": 3, "millis": 5_000}));
    };
    lives("before-statement", arm, async |stage| journaled(stage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_statement_and_answer() {
    let arm = |_: &Stage, _| {};
    lives("before-answer", arm, async |stage| {
        let moving = |state: &serde_json::Value| {
            state["databases"].as_array().is_some_and(|all| all.iter().any(|one| one["moving"] == true))
        };
        stage.sim.until(|world| moving(&world.state())).await;
    })
    .await;
}
