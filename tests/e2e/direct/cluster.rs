//! Beside the operator of a cluster that can be read, nothing is moved.

use serde_json::json;

use super::site::Site;
use crate::cli::{Ran, kubeconfig};
use crate::support::{Cluster, TestPool, types};

#[tokio::test(flavor = "multi_thread")]
async fn direct_failover_beside_a_resource_of_a_cluster_refuses_until_it_is_suspended() {
    let site = Site::start().await;
    let fixture = TestPool::of(Cluster::get(), "direct-beside", TestPool::simulate(true, &["rtcxds"]).await);
    let server = |id: &str| {
        let address = site.sim.address(id);
        json!({"host": address.ip().to_string(), "port": address.port()})
    };
    let mut pool = fixture.pool("pool01", types("Primary", "Primary"));
    pool["spec"]["sql"]["primary"] = server("b");
    pool["spec"]["sql"]["mirror"] = server("a");
    fixture.cluster.apply(&pool);
    let failover = || {
        let mut command = site.command("failover", &["-t", "User", "--to", "mirror", "--confirm=false"]);
        Ran::from(command.env("KUBECONFIG", kubeconfig(fixture.cluster)).output().unwrap())
    };
    let refused = failover().expect(2);
    assert!(refused.err.contains("LyncPoolMirror direct-beside/pool01 names the same servers"), "{refused:?}");
    assert!(refused.err.contains("Nothing was changed. To fix: "), "{refused:?}");
    assert!(site.failovers().is_empty() && site.spec().contains("principal: Primary  #"));
    let mut command = site.command("doctor", &[]);
    let doctor = Ran::from(command.env("KUBECONFIG", kubeconfig(fixture.cluster)).output().unwrap()).expect(2);
    assert!(doctor.out.contains("direct-beside/pool01"), "{doctor:?}");

    pool["spec"]["suspend"] = json!({"reason": "moved without the cluster"});
    fixture.cluster.apply(&pool);
    failover().expect(0);
    assert_eq!(site.failovers().len(), 3);
}
