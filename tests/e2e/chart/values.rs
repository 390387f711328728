//! Each value of the chart: what it changes in the rendered objects, that null is its default, and its limits.

use super::{CHART, documents};
use crate::support::{Cluster, root};
use serde_json::{Map, Value, json};

/// Of these, null removes a field.
const OBJECTS: [&str; 4] = ["resources", "podSecurityContext", "securityContext", "strategy"];

fn template(values: &[&str]) -> String {
    Cluster::get().helm(&[&["template", "x", CHART, "-n", "ops"], values].concat())
}

/// The objects with these values, written as YAML.
fn rendered(values: &Value) -> Vec<Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values.to_string()).unwrap();
    documents(&template(&["-f", file.path().to_str().unwrap()]))
}

fn object<'a>(all: &'a [Value], kind: &str) -> &'a Value {
    all.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {all:#?}"))
}

fn defaults() -> Map<String, Value> {
    serde_saphyr::from_str(&std::fs::read_to_string(root().join(CHART).join("values.yaml")).unwrap()).unwrap()
}

#[test]
fn null_for_a_value_is_its_default() {
    let unchanged = template(&[]);
    for (name, value) in defaults() {
        let parts = value.as_object().filter(|_| !OBJECTS.contains(&name.as_str())).into_iter().flatten();
        let nested = parts.map(|(part, _)| format!("{name}.{part}=null"));
        for null in std::iter::once(format!("{name}=null")).chain(nested) {
            assert!(template(&["--set", &null]) == unchanged, "{null} changes the objects");
        }
    }
    // With the notes, which `helm template` leaves out. The definition can belong to the release of another test.
    let notes = ["install", "x", CHART, "--dry-run", "--take-ownership", "--set", "watchNamespaces=null"];
    Cluster::get().helm(&notes);
    assert!(!template(&["--set", "resources.limits=null"]).contains("limits:"));
}

#[test]
fn value_of_the_pod_arrives_in_the_deployment() {
    let all = rendered(&json!({
        "revisionHistoryLimit": 1,
        "strategy": {"type": "Recreate"},
        "podSecurityContext": {"runAsUser": 1_000_650_000, "fsGroup": 5},
        "securityContext": {"privileged": false},
        "livenessProbe": {"periodSeconds": 20, "failureThreshold": 6},
        "readinessProbe": {"initialDelaySeconds": 2},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["sql-a"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "1"}]},
        "extraArgs": ["--login-check-interval=1m"],
        "extraVolumes": [{"name": "v", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
        "priorityClassName": "system-cluster-critical",
        "podAnnotations": {"kubectl.kubernetes.io/default-container": "other"},
        "leaderElection": {"leaseDuration": "60s", "renewDeadline": "40s", "retryPeriod": "5s"},
    }));
    let deployment = &object(&all, "Deployment")["spec"];
    assert_eq!(deployment["revisionHistoryLimit"], 1);
    assert_eq!(deployment["strategy"], json!({"type": "Recreate"}));
    let pod = &deployment["template"]["spec"];
    let user = json!({"runAsNonRoot": true, "runAsUser": 1_000_650_000, "fsGroup": 5, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(pod["securityContext"], user);
    assert_eq!(pod["hostAliases"], json!([{"ip": "10.0.0.1", "hostnames": ["sql-a"]}]));
    assert_eq!((&pod["dnsPolicy"], &pod["dnsConfig"]["nameservers"]), (&json!("None"), &json!(["10.0.0.10"])));
    assert_eq!(
        (&pod["volumes"][0]["name"], &pod["priorityClassName"]),
        (&json!("v"), &json!("system-cluster-critical"))
    );
    let annotations = &deployment["template"]["metadata"]["annotations"];
    assert_eq!(*annotations, json!({"kubectl.kubernetes.io/default-container": "other"}));
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["privileged"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let probe = &container["livenessProbe"];
    assert_eq!(
        (&probe["periodSeconds"], &probe["failureThreshold"], &probe["timeoutSeconds"]),
        (&json!(20), &json!(6), &json!(5))
    );
    assert_eq!(probe["httpGet"], json!({"path": "/livez", "port": "http"}));
    assert_eq!(container["readinessProbe"]["initialDelaySeconds"], 2);
    assert_eq!(container["args"], json!(["run", "--login-check-interval=1m"]));
    assert_eq!(container["volumeMounts"], json!([{"name": "v", "mountPath": "/v"}]));
    for (name, value) in [
        ("LYNC_MIRROR_LEASE_DURATION", "60s"),
        ("LYNC_MIRROR_RENEW_DEADLINE", "40s"),
        ("LYNC_MIRROR_RETRY_PERIOD", "5s"),
    ] {
        assert!(container["env"].as_array().unwrap().contains(&json!({"name": name, "value": value})), "{name}");
    }
}

/// Helm 4 refuses a list with two variables of a name.
#[test]
fn variable_of_the_chart_is_replaced_by_one_of_the_same_name() {
    let secret = json!({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}});
    let listen = json!({"name": "LYNC_MIRROR_LISTEN", "value": "127.0.0.1:8080"});
    let all = rendered(&json!({"extraEnv": [listen, secret]}));
    let env = object(&all, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(env.contains(&listen) && env.contains(&secret), "{env:?}");
    let mut names: Vec<_> = env.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}

#[test]
fn common_label_is_on_each_object_and_replaces_none_of_the_chart() {
    let all = rendered(&json!({
        "commonLabels": {"team": "lync", "app.kubernetes.io/name": "other"},
        "metrics": {"secure": true, "tlsSecretName": "metrics-tls"},
        "serviceMonitor": {"enabled": true}, "prometheusRule": {"enabled": true}, "networkPolicy": {"enabled": true},
        "watchNamespaces": ["a"],
    }));
    assert!(all.len() > 12, "{}", all.len());
    for object in &all {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["team"], "lync", "{object}");
        let name = labels["app.kubernetes.io/name"].as_str().unwrap();
        assert!(name == "lync-mirror" || (object["kind"] == "Pod" && name == "lync-mirror-test"), "{object}");
    }
    let selector = &object(&all, "Deployment")["spec"]["selector"]["matchLabels"];
    assert_eq!(selector["team"], Value::Null);
}

#[test]
fn additional_object_is_rendered_as_a_template() {
    let name = "{{ .Release.Name }}-ca";
    let all = rendered(&json!({"extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}},
        format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n"),
    ]}));
    for kind in ["ConfigMap", "Secret"] {
        assert_eq!(object(&all, kind)["metadata"]["name"], "x-ca");
    }
}

#[test]
fn service_and_pod_monitor_follow_their_values() {
    let families = json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]});
    let all = rendered(&json!({"service": families, "podMonitor": {"enabled": true, "labels": {"prometheus": "ops"}}}));
    let service = &object(&all, "Service")["spec"];
    assert_eq!(
        (&service["ipFamilyPolicy"], &service["ipFamilies"]),
        (&json!("PreferDualStack"), &json!(["IPv6", "IPv4"]))
    );
    let monitor = object(&all, "PodMonitor");
    assert_eq!(monitor["metadata"]["labels"]["prometheus"], "ops");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], "http");

    let twice = ["template", CHART, "--set", "serviceMonitor.enabled=true,podMonitor.enabled=true"];
    let refused = Cluster::get().try_helm(&twice).unwrap_err();
    assert!(refused.contains("To fix: enable one of them"), "{refused}");
    let secure = json!({
        "podMonitor": {"enabled": true, "tokenSecret": {"name": "prometheus"}},
        "metrics": {"secure": true, "tlsSecretName": "metrics-tls"},
    });
    let all = rendered(&secure);
    let endpoint = &object(&all, "PodMonitor")["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["bearerTokenSecret"], json!({"name": "prometheus", "key": "token"}));
}

#[test]
fn quantity_of_kubernetes_is_accepted_and_another_text_is_not() {
    let memory = |quantity: &str| {
        let value = format!("resources.limits.memory={quantity}");
        Cluster::get().try_helm(&["template", CHART, "--set-string", &value])
    };
    for quantity in ["64Mi", "1Ti", "1e9", "1.5Gi", "128974848", "123E2"] {
        assert!(memory(quantity).is_ok(), "{quantity}");
    }
    for wrong in ["64MB", "x", "-1", "1 Gi"] {
        assert!(memory(wrong).is_err_and(|error| error.contains("/resources/limits/memory")), "{wrong}");
    }
}

#[test]
fn packaged_chart_has_readme_license_and_the_same_objects() {
    let cluster = Cluster::get();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    cluster.helm(&["package", CHART, "--destination", &path]);
    let archive = format!("{path}/lync-mirror-{}.tgz", env!("CARGO_PKG_VERSION"));
    assert!(cluster.helm(&["template", "x", &archive, "-n", "ops"]) == template(&[]));
    assert!(cluster.helm(&["show", "readme", &archive]).contains("| `watchNamespaces` | `[]` |"));
    let listed = std::process::Command::new("tar").args(["tzf", &archive]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for file in ["LICENSE", "README.md", "values.schema.json", "files/lyncpoolmirrors.yaml", "files/defaults.yaml"] {
        assert!(listed.lines().any(|line| line == format!("lync-mirror/{file}")), "{file}: {listed}");
    }
    let license = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    assert!(license("LICENSE") == license("charts/lync-mirror/LICENSE"), "copy LICENSE into the chart");
}
