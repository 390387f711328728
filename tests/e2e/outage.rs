//! The API server is unavailable during a move for longer than the lease lasts: crashed, or frozen as behind a partition.
//! Boots an API server of its own: other suites of the same process need theirs.

use crate::support::{Cluster, DATABASES, Operator, TestPool, types, until};
use serde_json::{Value, json};

async fn away(cluster: &'static Cluster, namespace: &str, leave: &str, come_back: &str) {
    let fixture = TestPool::on(cluster, namespace, true, &DATABASES).await;
    let operator = Operator::start(fixture.cluster, namespace, "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 1500}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    let moving = |state: &Value| {
        state["databases"].as_array().is_some_and(|all| all.iter().any(|entry| entry["moving"] == true))
    };
    fixture.sim.until(|world| moving(&world.state())).await;
    fixture.cluster.script(leave);
    // The sent statements take effect. The operator cannot write their outcome and loses its lease.
    until("the move ends on the servers", || {
        if fixture.failovers().len() == 3 { Ok(()) } else { Err(format!("{:?}", fixture.failovers())) }
    });
    fixture.until_logged("leadership ended: the lease was not renewed in time");
    fixture.cluster.script(come_back);
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    let entry = &status["history"][0];
    assert_eq!(
        (&entry["type"], &entry["outcome"], &entry["attempts"]),
        (&json!("User"), &json!("Succeeded"), &json!(1))
    );
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
    assert_eq!(operator.stop(), Some(0), "a clean exit");
}

#[tokio::test(flavor = "multi_thread")]
async fn move_with_api_server_unavailable_completes_once() {
    // One after the other: they share the API server.
    let cluster = Cluster::private();
    away(cluster, "crashed", "stop-api", "start-api").await;
    away(cluster, "frozen", "pause", "resume").await;
}
