//! The API server is away during a move, for longer than the lease lasts: crashed, or frozen as behind a partition.
//! A binary of its own, because the others need their API server.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use serde_json::{Value, json};
use support::{Operator, Stage, types, until};

async fn away(namespace: &str, leave: &str, come_back: &str) {
    let stage = Stage::set(namespace, true).await;
    let operator = Operator::start(stage.cluster, namespace, "1s");
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    stage.until_ready("pool01", "True", "Aligned");
    stage.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 1500}));
    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    let moving =
        |state: &Value| state["databases"].as_array().is_some_and(|all| all.iter().any(|one| one["moving"] == true));
    stage.sim.until(|world| moving(&world.state())).await;
    stage.cluster.script(leave);
    // What was sent happens; nobody can write it down, and the operator stops believing that it leads.
    until("the move ends on the servers", || {
        if stage.failovers().len() == 3 { Ok(()) } else { Err(format!("{:?}", stage.failovers())) }
    });
    stage.until_logged("leading no more: the lease was not renewed in time");
    stage.cluster.script(come_back);
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    let entry = &status["history"][0];
    assert_eq!(
        (&entry["type"], &entry["outcome"], &entry["attempts"]),
        (&json!("User"), &json!("Succeeded"), &json!(1))
    );
    assert_eq!(stage.failovers().len(), 3, "{:?}", stage.failovers());
    assert_eq!(operator.stop(), Some(0), "a clean exit");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_away_during_a_move() {
    // One after the other: they share the API server.
    away("crashed", "stop-api", "start-api").await;
    away("frozen", "pause", "resume").await;
}
