//! The chart with real helm on a real API server: what it installs, refuses, upgrades and leaves behind, and what the
//! operator may do under it.

use std::process::Command;

use crate::support::{Cluster, Operator, SYSTEM, TestPool, condition, root, types, until};
use serde_json::{Value, json};
use tokio::sync::RwLock;

mod alerts;
mod dashboard;
mod releases;
mod values;

const CHART: &str = "charts/lync-mirror";

/// The release of the whole cluster. Exclusive while it is removed and installed; shared while a test reads it.
static RELEASE: RwLock<()> = RwLock::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn release_upgraded_and_uninstalled_keeps_the_resources() {
    let fixture = TestPool::start("release", true).await;
    let cluster = fixture.cluster;
    let name = "lync-mirror-release";
    let operator = Operator::start(cluster, "release", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");

    let notes = cluster.helm(&["get", "notes", name, "-n", "release"]);
    assert!(notes.contains("kubectl -n release get lpm"), "{notes}");
    cluster.helm(&[
        "upgrade",
        name,
        CHART,
        "-n",
        "release",
        "--reuse-values",
        "--set",
        "pollInterval=20s",
        "--set",
        "replicas=3",
    ]);
    let deployment = cluster.get_json(&["deployment", name, "-n", "release"]).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert!(deployment.to_string().contains("20s"), "the value arrives in the pod");
    // The rights are the same, and the operator continues.
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(operator.stop(), Some(0));

    cluster.helm(&["uninstall", name, "-n", "release"]);
    let left = cluster.kubectl(&[
        "get",
        "deployment,service,serviceaccount,role,rolebinding,poddisruptionbudget",
        "-n",
        "release",
        "-o",
        "name",
    ]);
    assert!(!left.contains("lync-mirror"), "{left}");
    assert_eq!(fixture.status("pool01").unwrap()["principals"], "User=Mirror CentralMgmt=Primary");

    let _exclusive = RELEASE.write().await;
    // The release with the CustomResourceDefinition is removed; the definition and the resources stay.
    cluster.helm(&["uninstall", "lync-mirror", "-n", SYSTEM]);
    assert!(cluster.try_kubectl(&["get", "clusterrole", "lync-mirror"]).is_err());
    assert_eq!(fixture.status("pool01").unwrap()["principals"], "User=Mirror CentralMgmt=Primary");
    cluster.helm(&["install", "lync-mirror", CHART, "-n", SYSTEM]);
    assert_eq!(fixture.status("pool01").unwrap()["principals"], "User=Mirror CentralMgmt=Primary");
}

#[test]
fn values_with_a_typo_are_refused_by_name() {
    let cluster = Cluster::get();
    for (value, word) in [
        ("replicaz=3", "replicaz"),
        ("image.repo=x", "repo"),
        ("log.format=xml", "/log/format"),
        ("replicas=-1", "/replicas"),
        ("pollInterval=often", "/pollInterval"),
        ("terminationGracePeriodSeconds=5", "/terminationGracePeriodSeconds"),
        ("crds.enable=true", "enable"),
        ("networkPolicy.from[0].ipBlock.cidr=x", "/networkPolicy/from/0/ipBlock/cidr"),
        ("strategy.type=Delete", "/strategy/type"),
        ("livenessProbe.exec=x", "exec"),
        ("extraEnv[0].value=x", "/extraEnv/0"),
        ("dnsPolicy=ClusterFirstWithHostNet", "/dnsPolicy"),
        ("leaderElection.retryPeriod=2000ms", "/leaderElection/retryPeriod"),
        ("hostNetwork=true", "hostNetwork"),
        ("metrics.secure=true", "/metrics/tlsSecretName"),
    ] {
        let error = cluster.try_helm(&["template", CHART, "--set", value]).expect_err(value);
        assert!(error.contains(word), "{value}: {error}");
    }
    cluster.helm(&["lint", "--strict", CHART]);
}

#[test]
fn metrics_over_tls_are_scraped_with_the_token_of_prometheus() {
    let template = |values: &str| {
        let cluster = Cluster::get();
        cluster.helm(&["template", "x", CHART, "-n", "ops", "--set", "serviceMonitor.enabled=true", "--set", values])
    };
    let open = template("metrics.secure=false");
    assert!(open.contains("port: http\n") && !open.contains("8443") && !open.contains("tokenreviews"), "{open}");
    let secure = template("metrics.secure=true,metrics.tlsSecretName=metrics-tls");
    for part in [
        "scheme: https",
        "bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token",
        "serverName: x-lync-mirror.ops.svc",
        "name: \"metrics-tls\"",
        "nonResourceURLs: [/metrics]",
        "resources: [tokenreviews]",
        "containerPort: 8443",
    ] {
        assert!(secure.contains(part), "{part} is missing in\n{secure}");
    }
}

/// Each of these is a name of Kubernetes, and a number for a YAML parser.
#[test]
fn name_that_reads_as_a_number_stays_a_name() {
    let values = "metrics.tlsSecretName=900003,serviceMonitor.caKey=900004,leaseName=900005,priorityClassName=900006,\
        nameOverride=900001,serviceAccount.name=900007";
    let enabled =
        "metrics.secure=true,serviceMonitor.enabled=true,prometheusRule.enabled=true,networkPolicy.enabled=true";
    let template = ["template", "900001", CHART, "-n", "900002", "--set-string", values, "--set", enabled];
    let rendered = Cluster::get().helm(&template);
    for name in 900_001..=900_007 {
        assert!(rendered.contains(&name.to_string()), "{name} is not in the output");
    }
    let documents = documents(&rendered);
    assert!(documents.len() > 8, "{rendered}");
    for document in &documents {
        assert!(numbers(document).iter().all(|number| *number < 900_000), "{document}");
    }
}

/// The objects of a rendered chart.
fn documents(rendered: &str) -> Vec<Value> {
    let has_content = |text: &&str| text.lines().any(|line| !line.starts_with('#') && !line.starts_with("---"));
    rendered.split("\n---\n").filter(has_content).map(|text| serde_saphyr::from_str(text).unwrap()).collect()
}

fn numbers(value: &Value) -> Vec<i64> {
    match value {
        Value::Array(all) => all.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        other => other.as_i64().into_iter().collect(),
    }
}

#[test]
fn manifest_rendered_from_the_chart_equals_the_kept_one() {
    let render = |argument: &str| {
        let path = format!("{}:{}", Cluster::get().bin().display(), std::env::var("PATH").unwrap());
        let output = Command::new(root().join("deploy/render")).arg(argument).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let kept = std::fs::read_to_string(root().join("deploy/install.yaml")).unwrap();
    assert!(render("-") == kept, "deploy/install.yaml is stale: run deploy/render");
}

#[test]
fn service_account_of_the_operator_has_only_the_needed_rights() {
    let _shared = RELEASE.blocking_read();
    let cluster = Cluster::get();
    let may = |verb: &str, resource: &str, namespace: &str| {
        let (kind, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let mut question = vec!["auth", "can-i", verb, kind, "-n", namespace];
        let subresource = format!("--subresource={subresource}");
        let account = format!("--as=system:serviceaccount:{SYSTEM}:lync-mirror");
        question.extend([subresource.as_str(), account.as_str()]);
        cluster.try_kubectl(&question).is_ok_and(|answer| answer.trim() == "yes")
    };
    for (verb, resource, namespace) in [
        ("list", "lyncpoolmirrors.lyncmirror.io", "any"),
        ("watch", "lyncpoolmirrors.lyncmirror.io", "any"),
        ("update", "lyncpoolmirrors.lyncmirror.io/status", "any"),
        ("get", "secrets", "any"),
        ("get", "configmaps", "any"),
        ("create", "events.events.k8s.io", "any"),
        ("create", "leases.coordination.k8s.io", SYSTEM),
        ("update", "leases.coordination.k8s.io/lync-mirror", SYSTEM),
    ] {
        let (resource, name) = if resource.starts_with("leases") && verb == "update" {
            ("leases.coordination.k8s.io", Some("lync-mirror"))
        } else {
            (resource, None)
        };
        let allowed = match name {
            Some(name) => {
                let account = format!("--as=system:serviceaccount:{SYSTEM}:lync-mirror");
                let named = format!("{resource}/{name}");
                cluster.try_kubectl(&["auth", "can-i", verb, &named, "-n", namespace, &account]).is_ok()
            }
            None => may(verb, resource, namespace),
        };
        assert!(allowed, "may not {verb} {resource} in {namespace}");
    }
    for (verb, resource, namespace) in [
        ("list", "secrets", "any"),
        ("watch", "secrets", "any"),
        ("update", "secrets", "any"),
        ("list", "configmaps", "any"),
        ("create", "lyncpoolmirrors.lyncmirror.io", "any"),
        ("update", "lyncpoolmirrors.lyncmirror.io", "any"),
        ("patch", "lyncpoolmirrors.lyncmirror.io", "any"),
        ("delete", "lyncpoolmirrors.lyncmirror.io", "any"),
        ("update", "leases.coordination.k8s.io", SYSTEM),
        ("delete", "leases.coordination.k8s.io", SYSTEM),
        ("create", "leases.coordination.k8s.io", "any"),
        ("get", "pods", SYSTEM),
        ("create", "pods/exec", SYSTEM),
        ("update", "customresourcedefinitions.apiextensions.k8s.io", "any"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", "any"),
        ("impersonate", "users", "any"),
    ] {
        assert!(!may(verb, resource, namespace), "may {verb} {resource} in {namespace}");
    }
}

/// The status is the memory of the operator: a user with this right could release a held move.
#[test]
fn status_may_be_written_by_the_operator_only() {
    let _shared = RELEASE.blocking_read();
    let cluster = Cluster::get();
    let roles = cluster.get_json(&["clusterroles,roles", "-A", "-l", "app.kubernetes.io/name=lync-mirror"]).unwrap();
    let contains = |list: &Value, words: &[&str]| {
        list.as_array().into_iter().flatten().any(|word| words.contains(&word.as_str().unwrap_or_default()))
    };
    let mut writers = Vec::new();
    for role in roles["items"].as_array().unwrap() {
        let writes = role["rules"].as_array().into_iter().flatten().any(|rule| {
            contains(&rule["resources"], &["lyncpoolmirrors/status", "*"])
                && contains(&rule["verbs"], &["update", "patch", "*"])
        });
        if writes && role["metadata"]["labels"]["app.kubernetes.io/instance"] == "lync-mirror" {
            writers.push(role["metadata"]["name"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(writers, ["lync-mirror"]);
    let bound = cluster.get_json(&["clusterrolebinding", "lync-mirror"]).unwrap();
    let subjects = json!([{"kind": "ServiceAccount", "name": "lync-mirror", "namespace": SYSTEM}]);
    assert_eq!(bound["subjects"], subjects);
}

#[test]
fn pods_under_the_restricted_standard_are_admitted() {
    let _shared = RELEASE.blocking_read();
    let cluster = Cluster::get();
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "restricted", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }));
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "lync-mirror", "namespace": "restricted"},
    }));
    let deployment = cluster.get_json(&["deployment", "lync-mirror", "-n", SYSTEM]).unwrap();
    let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": "restricted"}, "spec": spec});
    let spec = deployment["spec"]["template"]["spec"].clone();
    cluster.try_dry_run(&pod(spec.clone())).unwrap();
    let mut loose = spec;
    loose["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let refusal = cluster.try_dry_run(&pod(loose)).unwrap_err();
    assert!(refusal.contains("violates PodSecurity"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_condition_of_an_older_generation_is_not_taken_for_the_new_spec() {
    let fixture = TestPool::start("stale", true).await;
    let wait = |timeout: &str| {
        let arguments = ["wait", "--for=condition=Ready", "lpm/pool01", "-n", "stale", timeout];
        fixture.cluster.try_kubectl(&arguments)
    };
    let mut operator = Operator::start(fixture.cluster, "stale", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    wait("--timeout=90s").unwrap();
    operator.kill();
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    assert_eq!(condition(&fixture.status("pool01").unwrap(), "Ready").unwrap()["status"], "True", "no new status yet");
    let refused = wait("--timeout=2s").expect_err("Ready of the generation before");
    assert!(refused.contains("timed out"), "{refused}");
    let _operator = Operator::start(fixture.cluster, "stale", "1s");
    wait("--timeout=90s").unwrap();
    assert_eq!(fixture.status("pool01").unwrap()["principals"], "User=Mirror CentralMgmt=Primary");
    // And at once after each further change, while the operator runs.
    for seat in ["Primary", "Mirror", "Primary"] {
        fixture.cluster.apply(&fixture.pool("pool01", types(seat, "Primary")));
        wait("--timeout=90s").unwrap();
        let status = fixture.status("pool01").unwrap();
        assert_eq!(status["principals"], format!("User={seat} CentralMgmt=Primary"));
    }
}

#[test]
fn crd_shown_by_kubectl_documents_each_field_and_column() {
    let cluster = Cluster::get();
    // The API server publishes the OpenAPI document of a CRD some time after it serves the resource.
    let explain = ["explain", "lpm.spec.databaseTypes.principal"];
    let explained = until("kubectl explain finds the CRD", || cluster.try_kubectl(&explain));
    assert!(explained.contains("The seat that should hold the principal role"), "{explained}");
    let crd = cluster.get_json(&["crd", "lyncpoolmirrors.lyncmirror.io"]).unwrap();
    let version = &crd["spec"]["versions"][0];
    let mut silent = Vec::new();
    undocumented(&version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec", &mut silent);
    assert!(silent.is_empty(), "fields without a word: {silent:?}");
    let columns = |priority: u64| -> Vec<String> {
        let all = version["additionalPrinterColumns"].as_array().unwrap().iter();
        let shown = all.filter(|column| column["priority"].as_u64().unwrap_or(0) <= priority);
        shown.map(|column| column["name"].as_str().unwrap().to_uppercase()).collect()
    };
    assert_eq!(columns(0), ["READY", "REASON", "SERVICE", "PRINCIPALS", "SUSPENDED", "MESSAGE", "OBSERVED", "AGE"]);
    assert_eq!(
        columns(1),
        [
            "READY",
            "REASON",
            "SERVICE",
            "PRINCIPALS",
            "SUSPENDED",
            "MESSAGE",
            "LAST MOVE",
            "REDO QUEUE",
            "OBSERVED",
            "AGE"
        ]
    );
    until("the category is served", || cluster.try_kubectl(&["get", "lync", "-A"]));
}

fn undocumented(schema: &Value, path: &str, silent: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if property["description"].as_str().is_none_or(str::is_empty) {
            silent.push(path.clone());
        }
        undocumented(property, &path, silent);
    }
    if schema["items"].is_object() {
        undocumented(&schema["items"], path, silent);
    }
}
