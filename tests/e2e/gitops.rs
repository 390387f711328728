//! A resource in Git: what a client-side and a server-side sync do to the fields that people set, and what tools see before
//! the operator has read a resource.

use crate::support::{Cluster, Operator, TestPool, condition, types, until};
use serde_json::{Value, json};

/// The field manager of Argo CD.
const ARGO: &str = "argocd-controller";

fn sync_on_the_server(cluster: &Cluster, file: &str) -> Result<String, String> {
    cluster.try_kubectl(&["apply", "--server-side", "--field-manager", ARGO, "-f", file])
}

fn approval(fixture: &TestPool, name: &str) -> Value {
    let object = fixture.cluster.get_json(&["lpm", name, "-n", &fixture.namespace]).unwrap();
    object["spec"]["databaseTypes"][0]["approve"].clone()
}

/// A file as Git has it.
fn file(folder: &tempfile::TempDir, pool: &Value) -> String {
    let path = folder.path().join("pool.json");
    std::fs::write(&path, pool.to_string()).unwrap();
    path.display().to_string()
}

fn fail_over(fixture: &TestPool) {
    for database in ["rtcxds", "rtcshared", "rtcab"] {
        fixture.command(json!({"do": "failover", "pair": "pool01", "database": database}));
    }
}

/// Approves the held move of User as kubectl does it.
fn approve(fixture: &TestPool, name: &str) {
    let status = fixture.status(name).unwrap();
    let user = status["databaseTypes"].as_array().unwrap().iter().find(|of| of["type"] == "User").unwrap().clone();
    let approve = json!({"op": "add", "path": "/spec/databaseTypes/0/approve", "value": {"epoch": user["epoch"]}});
    let patch = json!([{"op": "test", "path": "/spec/databaseTypes/0/type", "value": "User"}, approve]).to_string();
    fixture.cluster.kubectl(&["patch", "lpm", name, "-n", &fixture.namespace, "--type=json", "-p", &patch]);
}

/// kstatus takes a resource without a status for complete: a Flux that waits would be satisfied at once.
#[test]
fn resource_that_the_operator_has_not_read_has_no_observed_generation() {
    let cluster = Cluster::get();
    cluster.kubectl(&["create", "namespace", "unread"]);
    cluster.apply(&json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {"name": "new", "namespace": "unread"},
        "spec": {
            "poolFqdn": "pool01.contoso.com",
            "sql": {
                "primary": {"host": "sql-a"}, "mirror": {"host": "sql-b"},
                "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
            },
            "databaseTypes": [{"type": "User", "principal": "Primary"}],
        },
    }));
    let status = cluster.get_json(&["lpm", "new", "-n", "unread"]).unwrap()["status"].clone();
    assert_eq!(status, json!({"observedGeneration": -1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_survives_a_server_side_sync_and_its_loss_in_another_one_is_an_event() {
    let fixture = TestPool::start("gitops", true).await;
    let cluster = fixture.cluster;
    let _operator = Operator::start(cluster, "gitops", "1s");
    let folder = tempfile::tempdir().unwrap();
    let mut pool = fixture.pool("pool01", types("Primary", "Primary"));
    pool["spec"]["policy"] = json!({"cooldown": "0s", "settleAfter": "0s"});
    let git = file(&folder, &pool);
    sync_on_the_server(cluster, &git).unwrap();
    fixture.until_ready("pool01", "True", "Aligned");
    let suspend = json!({"spec": {"suspend": {"reason": "test"}}});
    fail_over(&fixture);
    fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    // The move waits, so that the syncs happen before it.
    fixture.patch("pool01", &suspend);
    approve(&fixture, "pool01");

    sync_on_the_server(cluster, &git).unwrap();
    assert!(approval(&fixture, "pool01")["epoch"].is_string(), "the approval stays");
    let spec = cluster.get_json(&["lpm", "pool01", "-n", "gitops"]).unwrap()["spec"].clone();
    assert_eq!(spec["suspend"]["reason"], "test", "the suspension stays");
    until("the operator has seen the approval", || {
        let status = fixture.status("pool01")?;
        let seen = &status["databaseTypes"][0]["tracking"]["approval"];
        if seen.is_null() { Err(status.to_string()) } else { Ok(()) }
    });

    // A client-side sync replaces the whole list.
    cluster.kubectl(&["apply", "-f", &git]);
    assert_eq!(approval(&fixture, "pool01"), Value::Null);
    let event = until("the event", || {
        let events = cluster.get_json(&["events.events.k8s.io", "-n", "gitops"])?;
        let all = events["items"].as_array().unwrap();
        all.iter().find(|event| event["reason"] == "ApprovalRemoved").cloned().ok_or_else(|| events.to_string())
    });
    assert_eq!(event["type"], "Warning");
    assert!(event["note"].as_str().unwrap().starts_with("The approval of User for epoch "), "{event}");
    let status = fixture.status("pool01").unwrap();
    assert_eq!(condition(&status, "Suspended").unwrap()["status"], "True", "the suspension stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_is_named_in_managed_fields_and_in_the_audit_log() {
    let fixture = TestPool::start("managers", true).await;
    let _operator = Operator::start(fixture.cluster, "managers", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    let arguments = ["lpm", "pool01", "-n", "managers", "--show-managed-fields"];
    let object = fixture.cluster.get_json(&arguments).unwrap();
    let managers = object["metadata"]["managedFields"].as_array().unwrap().iter();
    let of_status: Vec<_> = managers.filter(|entry| entry["subresource"] == "status").collect();
    assert_eq!(of_status.len(), 1, "{object}");
    assert_eq!(of_status[0]["manager"], "lync-mirror");
    let (entries, _) = fixture.audited(0);
    let agent = concat!("lync-mirror/", env!("CARGO_PKG_VERSION"));
    let account = "system:serviceaccount:managers:lync-mirror-managers";
    let own: Vec<_> = entries.iter().filter(|entry| entry["user"]["username"] == account).collect();
    assert!(!own.is_empty() && own.iter().all(|entry| entry["userAgent"] == agent), "{:?}", own.first());
}
