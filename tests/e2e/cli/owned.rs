//! Fields that Argo CD, Flux or another tool owns.

use super::{generation, object, verb};
use crate::support::{Operator, TestPool, types};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn field_of_a_tool_is_refused_with_its_owner_and_the_change_for_git() {
    let fixture = TestPool::start("cli-owned", true).await;
    let _operator = Operator::start(fixture.cluster, "cli-owned", "1s");
    let mut pool = fixture.pool("pool01", types("Primary", "Primary"));
    let tracking = "pools:lyncmirror.io/LyncPoolMirror:cli-owned/pool01";
    pool["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id": tracking});
    let manifest = fixture.cluster.dir.join("cli-owned.json");
    std::fs::write(&manifest, pool.to_string()).unwrap();
    let manifest = manifest.to_str().unwrap();
    let apply = ["apply", "--server-side", "--field-manager=argocd-controller", "-f", manifest];
    fixture.cluster.kubectl(&apply);
    fixture.until_ready("pool01", "True", "Aligned");
    let before = generation(&fixture);

    let failover = ["failover", "pool01", "-t", "User", "--to", "mirror", "--confirm=false", "--wait"];
    let refused = verb(&fixture, &failover).expect(2);
    let expected = "pool01.contoso.com (cli-owned/pool01)\nError: spec.databaseTypes[User].principal belongs to the Argo CD application pools (field manager argocd-controller), which can restore its value. Nothing was changed. To fix: make this change there, or repeat the command with --override.\n\nspec:\n  databaseTypes:\n  - type: User\n    principal: Mirror\n";
    assert_eq!(refused.err, expected);
    assert_eq!((generation(&fixture), fixture.failovers().len()), (before, 0));

    // Git does not have this field.
    verb(&fixture, &["suspend", "pool01", "--reason", "patches"]).expect(0);
    verb(&fixture, &["resume", "pool01"]).expect(0);

    let forced = verb(&fixture, &[&failover[..], &["--override"]].concat()).expect(0);
    assert!(forced.err.contains("belonged to the Argo CD application pools"), "{forced:?}");
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
    let managed = object(&fixture)["metadata"]["managedFields"].to_string();
    assert!(managed.contains("kubectl-lyncmirror"), "{managed}");

    // The tool notices the change, as its next apply is a conflict with the manager of the verbs.
    let conflict = fixture.cluster.try_kubectl(&apply).unwrap_err();
    assert!(conflict.contains("kubectl-lyncmirror"), "{conflict}");
}
