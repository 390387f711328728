//! Releases on a real API server: names at their limits, side by side, and a definition that another release left.

use super::{CHART, documents};
use crate::support::{Cluster, root, until};
use serde_json::{Value, json};

/// The longest name of a namespace, and of a release.
const NAMESPACE: usize = 63;
const RELEASE: usize = 53;

#[test]
fn names_at_their_limits_are_accepted_by_the_api_server() {
    let cluster = Cluster::get();
    let namespace = "n".repeat(NAMESPACE);
    cluster.kubectl(&["create", "namespace", &namespace]);
    cluster.kubectl(&["create", "serviceaccount", "default", "-n", &namespace]);
    for (number, values) in [
        format!("nameOverride={}", "o".repeat(63)),
        format!("fullnameOverride={}", "f".repeat(63)),
        format!("nameOverride={},serviceAccount.name={}", "o".repeat(59), "s".repeat(253)),
    ]
    .iter()
    .enumerate()
    {
        let release = format!("{}{number}", "r".repeat(RELEASE - 1));
        let only = format!("{values},crds.enabled=false,watchNamespaces={{{namespace}}}");
        let arguments = [release.as_str(), CHART, "-n", &namespace, "--set", &only];
        cluster.helm(&[&["install"], &arguments[..]].concat());
        // The Pod of `helm test` is created later.
        let rendered = cluster.helm(&[&["template"], &arguments[..]].concat());
        let pod = documents(&rendered).into_iter().find(|object| object["kind"] == "Pod").unwrap();
        cluster.try_dry_run(&pod).unwrap();
        cluster.helm(&["uninstall", &release, "-n", &namespace]);
    }
}

#[test]
fn two_releases_of_a_name_run_side_by_side() {
    let cluster = Cluster::get();
    let names = ["team-a", "team-b"];
    for namespace in names {
        let only = format!("crds.enabled=false,watchNamespaces={{{namespace}}}");
        let metrics = "metrics.secure=true,metrics.tlsSecretName=metrics-tls";
        let release = ["install", "lync-mirror", CHART, "-n", namespace, "--create-namespace"];
        cluster.helm(&[&release[..], &["--set", &only, "--set", metrics]].concat());
    }
    let owned = |namespace: &str| {
        let kinds = "deployment,role,rolebinding,service,serviceaccount";
        cluster.kubectl(&["get", kinds, "-n", namespace, "-l", "app.kubernetes.io/instance=lync-mirror", "-o", "name"])
    };
    assert_eq!(owned("team-a"), owned("team-b"));
    cluster.helm(&["uninstall", "lync-mirror", "-n", "team-a"]);
    assert!(owned("team-a").is_empty() && !owned("team-b").is_empty());
    let account = "--as=system:serviceaccount:team-b:lync-mirror";
    for (namespace, may) in [("team-b", true), ("team-a", false)] {
        let question = ["auth", "can-i", "list", "lyncpoolmirrors.lyncmirror.io", "-n", namespace, account];
        assert_eq!(cluster.try_kubectl(&question).is_ok(), may, "{namespace}");
    }
    cluster.helm(&["uninstall", "lync-mirror", "-n", "team-b"]);
}

/// As the README of the chart describes it.
#[test]
fn definition_of_a_former_release_is_adopted_by_another_one() {
    let cluster = Cluster::private();
    let example = example();
    cluster.kubectl(&["create", "namespace", "lync"]);
    cluster.try_apply(&example).unwrap();
    cluster.helm(&["uninstall", "lync-mirror", "-n", crate::support::SYSTEM]);
    let install = ["install", "other", CHART, "-n", "other", "--create-namespace"];
    let refused = cluster.try_helm(&install).unwrap_err();
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    cluster.kubectl(&[
        "annotate",
        "crd",
        "lyncpoolmirrors.lyncmirror.io",
        "--overwrite",
        "meta.helm.sh/release-name=other",
        "meta.helm.sh/release-namespace=other",
    ]);
    until("the release adopts the definition", || cluster.try_helm(&install));
    assert!(cluster.get_json(&["lpm", "pool01", "-n", "lync"]).is_ok(), "the resource stays");
}

/// The example for Artifact Hub.
fn example() -> Value {
    let text = std::fs::read_to_string(root().join(CHART).join("Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    let annotations = &chart["annotations"];
    let mut examples: Vec<Value> =
        serde_saphyr::from_str(annotations["artifacthub.io/crdsExamples"].as_str().unwrap()).unwrap();
    assert_eq!(examples.len(), 1);
    let crds: Value = serde_saphyr::from_str(annotations["artifacthub.io/crds"].as_str().unwrap()).unwrap();
    let named = json!(["LyncPoolMirror", "v1alpha1", "lyncpoolmirrors.lyncmirror.io"]);
    assert_eq!(json!([crds[0]["kind"], crds[0]["version"], crds[0]["name"]]), named);
    examples.remove(0)
}

/// Of the notes of the chart.
#[test]
fn resource_of_the_notes_is_accepted() {
    let cluster = Cluster::get();
    let notes =
        cluster.helm(&["install", "notes", CHART, "-n", "notes", "--dry-run=client", "--set", "crds.enabled=false"]);
    let begin = notes.find("     apiVersion: lyncmirror.io/v1alpha1").unwrap();
    let text = notes[begin..].split("\n\n").next().unwrap();
    let mut pool: Value = serde_saphyr::from_str(text).unwrap();
    pool["metadata"]["namespace"] = json!("default");
    cluster.try_dry_run(&pool).unwrap();
}

#[test]
fn pod_with_an_arbitrary_user_meets_the_restricted_standard() {
    let cluster = Cluster::get();
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "openshift", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    cluster.apply(&namespace);
    let rendered = cluster.helm(&["template", "x", CHART, "-n", "openshift"]);
    let all = documents(&rendered);
    let deployment = all.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let mut spec = deployment["spec"]["template"]["spec"].clone();
    assert_eq!(spec["securityContext"]["runAsUser"], Value::Null, "the platform assigns it");
    // What the admission of OpenShift adds.
    spec["securityContext"]["fsGroup"] = json!(1_000_650_000);
    spec["containers"][0]["securityContext"]["runAsUser"] = json!(1_000_650_000);
    spec["serviceAccountName"] = json!("x-lync-mirror");
    cluster.kubectl(&["create", "serviceaccount", "x-lync-mirror", "-n", "openshift"]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": "openshift"}, "spec": spec});
    cluster.try_dry_run(&pod).unwrap();
}

#[test]
fn release_rolled_back_has_its_former_values() {
    let cluster = Cluster::get();
    let place = ["lync-mirror", CHART, "-n", "rollback", "--set", "crds.enabled=false,watchNamespaces={rollback}"];
    cluster.helm(&[&["install"], &place[..], &["--create-namespace"]].concat());
    cluster.helm(&[&["upgrade"], &place[..], &["--set", "replicas=3,pollInterval=30s"]].concat());
    let spec = || cluster.get_json(&["deployment", "lync-mirror", "-n", "rollback"]).unwrap()["spec"].clone();
    assert!(spec()["replicas"] == 3 && spec().to_string().contains("30s"));
    cluster.helm(&["rollback", "lync-mirror", "1", "-n", "rollback"]);
    assert!(spec()["replicas"] == 2 && !spec().to_string().contains("30s"));
    // As with values of an older release, which lack the new names.
    let reused = ["--reuse-values", "--set", "leaderElection=null,dashboard=null,podSecurityContext=null"];
    cluster.helm(&[&["upgrade", "lync-mirror", CHART, "-n", "rollback"], &reused[..]].concat());
    assert_eq!(spec()["template"]["spec"]["securityContext"]["runAsNonRoot"], true);
    cluster.helm(&["uninstall", "lync-mirror", "-n", "rollback"]);
}
