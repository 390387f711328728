//! The API server is away during a move, for longer than the lease lasts: crashed, or frozen as behind a partition.
//! Boots an API server of its own: other suites of the same process need theirs.

use crate::support::{Cluster, DATABASES, Operator, Stage, types, until};
use serde_json::{Value, json};

async fn away(cluster: &'static Cluster, namespace: &str, leave: &str, come_back: &str) {
    let stage = Stage::on(cluster, namespace, true, &DATABASES).await;
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
    let cluster = Cluster::private();
    away(cluster, "crashed", "stop-api", "start-api").await;
    away(cluster, "frozen", "pause", "resume").await;
}
