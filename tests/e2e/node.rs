//! The Pods of the chart, from the image of the project, on a real kubelet: confined, moving databases, and one killed.

use crate::support::node::{IMAGE, Node, Pair, TAG};
use crate::support::{SYSTEM, condition, skip, types, until};
use serde_json::{Value, json};

const RELEASE: &str = "lync-mirror";
const LIMIT: u64 = 40_000_000;

#[test]
fn chart_pods_with_the_leader_killed_stay_confined_and_take_over() {
    let node = match Node::boot() {
        Ok(node) => node,
        Err(why) => return skip("node", &why),
    };
    install(&node);
    let pods = until("two Pods are Ready", || two_ready(&node));
    for pod in &pods {
        is_confined(&node, pod);
    }
    is_small(&node, &pods[0]);
    gives_metrics_to_authorized_clients(&node, &pods[0]);

    let pair = Pair::start(&node);
    declare(&node, &pair);
    gets_no_ticket(&node, &pair);
    until_aligned(&node, "User=Primary CentralMgmt=Primary");
    assert_eq!(pair.failovers(), Vec::<String>::new());
    want(&node, types("Mirror", "Primary"));
    until_aligned(&node, "User=Mirror CentralMgmt=Primary");
    assert_eq!(sorted(pair.failovers()), moved("b"));

    let first = holder(&node).unwrap();
    let (leader, survivor) = if name(&pods[0]) == first { (&pods[0], &pods[1]) } else { (&pods[1], &pods[0]) };
    assert_eq!(name(leader), first, "the lease names one of the two");
    assert_eq!(sent(&node, leader), 3);
    assert_eq!(sent(&node, survivor), 0);
    kill(&node, leader);
    want(&node, types("Primary", "Primary"));
    until("the other Pod takes over", || {
        holder(&node).and_then(|now| if now == name(survivor) { Ok(()) } else { Err(now) })
    });
    until_aligned(&node, "User=Primary CentralMgmt=Primary");
    assert_eq!(sorted(pair.failovers()), sorted([moved("a"), moved("b")].concat()), "each database, there and back");
    assert_eq!(sent(&node, survivor), 3);
    assert_eq!(pair.query("/failures"), "[]");

    node.kubectl(&["uncordon", "node"]);
    let pods = until("two Pods are Ready again", || two_ready(&node));
    let still = pods.iter().find(|pod| name(pod) == name(survivor)).expect("the survivor is one of them");
    has_lived_on(&node, still);
    assert_eq!(holder(&node).unwrap(), name(survivor));
}

fn install(node: &Node) {
    node.apply(&json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": SYSTEM, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }));
    let refused = node.try_apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "unconfined", "namespace": SYSTEM},
        "spec": {"containers": [{"name": "c", "image": format!("{IMAGE}:{TAG}")}]},
    }));
    assert!(refused.as_ref().is_err_and(|why| why.contains("violates PodSecurity \"restricted")), "{refused:?}");
    // A certificate that exists: the one of the API server.
    let file = |name: &str| node.dir.join(name).display().to_string();
    let certificate = [format!("--cert={}", file("server.crt")), format!("--key={}", file("server.key"))];
    node.kubectl(&["create", "secret", "tls", "metrics-tls", "-n", SYSTEM, &certificate[0], &certificate[1]]);
    let image = format!("image.repository={IMAGE},image.tag={TAG},image.pullPolicy=Never");
    let metrics = "metrics.secure=true,metrics.tlsSecretName=metrics-tls";
    let place = [RELEASE, "charts/lync-mirror", "--namespace", SYSTEM];
    let values = ["--set", &image, "--set", metrics, "--set", "pollInterval=1s", "--wait"];
    node.run("helm", &[&["install"], &place[..], &values].concat());
    node.run("helm", &["test", RELEASE, "--namespace", SYSTEM]);
}

fn two_ready(node: &Node) -> Result<Vec<Value>, String> {
    let labels = format!("app.kubernetes.io/name=lync-mirror,app.kubernetes.io/instance={RELEASE}");
    let all = node.get(&["pods", "-n", SYSTEM, "-l", &labels])?["items"].clone();
    let ready = |pod: &Value| {
        let ready = condition(&pod["status"], "Ready").is_some_and(|ready| ready["status"] == "True");
        ready && pod["metadata"]["deletionTimestamp"].is_null()
    };
    match all.as_array() {
        Some(pods) if pods.len() == 2 && pods.iter().all(ready) => Ok(pods.clone()),
        _ => Err(all.to_string()),
    }
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap()
}

/// Checks the confinement that the kernel reports, not the one that the Pod requests.
fn is_confined(node: &Node, pod: &Value) {
    let process = node.process_of(pod);
    let status = node.run("cat", &[&format!("/proc/{process}/status")]);
    for (field, expected) in [
        ("Uid", "65532 65532 65532 65532"),
        ("Gid", "65532 65532 65532 65532"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let found = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let found = found.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(found, expected, "{field} of {}", name(pod));
    }
    let written = node.try_run("touch", &[&format!("{}/written", files_of(&process))]);
    assert!(written.as_ref().is_err_and(|why| why.contains("Read-only file system")), "{written:?}");
    has_lived_on(node, pod);

    let log = node.log_of(SYSTEM, name(pod));
    assert_eq!(log[0]["message"], "starting", "{:?}", log[0]);
    for line in &log {
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
}

/// The root directory of a process, as the kernel links to it.
fn files_of(process: &str) -> String {
    ["/proc", process, "root"].join("/")
}

/// Its first process still runs; if not, how that one ended and its last log lines.
#[track_caller]
fn has_lived_on(node: &Node, pod: &Value) {
    let container = &pod["status"]["containerStatuses"][0];
    if container["restartCount"] != 0 {
        let log = node.try_run("kubectl", &["logs", name(pod), "-n", SYSTEM, "--previous", "--tail=40"]);
        let events = node.try_run("kubectl", &["get", "events", "-n", SYSTEM]);
        panic!("{} began anew: {}\n{log:?}\n{events:?}", name(pod), container["lastState"]);
    }
}

fn is_small(node: &Node, pod: &Value) {
    let process = node.process_of(pod);
    // -x: the image alone, without what is mounted into it.
    let printed = node.run("du", &["-sxb", &format!("{}/.", files_of(&process))]);
    let unpacked: u64 = printed.split_whitespace().next().unwrap().parse().unwrap();
    println!("image: {:.1} MB, unpacked {:.1} MB", node.archive_bytes as f64 / 1e6, unpacked as f64 / 1e6);
    assert!(node.archive_bytes < LIMIT && unpacked < LIMIT, "{} and {unpacked} bytes", node.archive_bytes);
}

/// The user of the Pod reads the mounted certificate, and may ask the API server about clients.
fn gives_metrics_to_authorized_clients(node: &Node, pod: &Value) {
    let url = format!("https://{}:8443/metrics", pod["status"]["podIP"].as_str().unwrap());
    // The certificate names no Pod.
    let curl = ["-sS", "--insecure", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", &url];
    assert_eq!(node.run("curl", &curl), "401");
    node.kubectl(&["create", "serviceaccount", "prometheus", "-n", SYSTEM]);
    let account = format!("--serviceaccount={SYSTEM}:prometheus");
    let role = "--clusterrole=lync-mirror-metrics-reader";
    node.kubectl(&["create", "clusterrolebinding", "metrics-prometheus", role, &account]);
    let token = node.kubectl(&["create", "token", "prometheus", "-n", SYSTEM]);
    let header = format!("Authorization: Bearer {}", token.trim());
    until("Prometheus gets the metrics", || match node.run("curl", &[&curl[..], &["-H", &header]].concat()).as_str() {
        "200" => Ok(()),
        other => Err(other.to_owned()),
    });
}

fn declare(node: &Node, pair: &Pair) {
    node.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lync"}}));
    node.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql", "namespace": "lync"},
        "stringData": {"username": mirror_sim::demo::LOGIN, "password": mirror_sim::demo::PASSWORD},
    }));
    node.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sql-ca", "namespace": "lync"},
        "data": {"ca.crt": pair.query("/ca.pem")},
    }));
    // By instance: the Pods get the port from the SQL Server Browser.
    let server = |id: &str| json!({"host": pair.servers[id]["ip"], "instance": "RTC"});
    let sql = json!({
        "primary": server("a"), "mirror": server("b"), "witness": server("w"),
        "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
        "tls": {"mode": "Verify", "caBundle": {"configMapRef": {"name": "sql-ca"}}},
    });
    node.apply(&pool("pool01", &sql));
}

fn pool(name: &str, sql: &Value) -> Value {
    json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {"name": name, "namespace": "lync"},
        "spec": {
            "poolFqdn": format!("{name}.contoso.com"), "sql": sql, "databaseTypes": types("Primary", "Primary"),
            "policy": {"cooldown": "0s", "settleAfter": "0s"},
        },
    })
}

/// Kerberos in the image: the helper runs in the confined Pod and finds no KDC. A broken library would report another error.
fn gets_no_ticket(node: &Node, pair: &Pair) {
    node.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keytab", "namespace": "lync"},
        "stringData": {"username": "svc-lync@CONTOSO.TEST", "keytab": "\u{5}\u{2}"},
    }));
    let server = |id: &str| json!({"host": pair.servers[id]["ip"], "port": pair.servers[id]["port"]});
    let sql = json!({
        "primary": server("c"), "mirror": server("d"),
        "auth": {"method": "Kerberos", "secretRef": {"name": "keytab"}, "kdcs": ["10.99.0.1:10088"]},
        "tls": {"mode": "TrustServerCertificate"},
    });
    node.apply(&pool("pool02", &sql));
    until("the helper has read the keytab", || {
        let object = node.get(&["lpm", "pool02", "-n", "lync"])?;
        let ready = condition(&object["status"], "Ready").ok_or("no Ready condition")?;
        let message = object["status"]["databaseTypes"][0]["message"].as_str().unwrap_or_default();
        let reported =
            ready["reason"] == "NoKerberosCredentials" && message.contains("holds no key of svc-lync@CONTOSO.TEST");
        if reported { Ok(()) } else { Err(ready.to_string()) }
    });
}

fn want(node: &Node, types: Value) {
    let patch = json!({"spec": {"databaseTypes": types}}).to_string();
    node.kubectl(&["patch", "lpm", "pool01", "-n", "lync", "--type=merge", "-p", &patch]);
}

#[track_caller]
fn until_aligned(node: &Node, principals: &str) {
    until(&format!("pool01 is Ready, {principals}"), || {
        let object = node.get(&["lpm", "pool01", "-n", "lync"])?;
        let ready = condition(&object["status"], "Ready").ok_or("no Ready condition")?;
        let fresh = ready["observedGeneration"] == object["metadata"]["generation"];
        let aligned = ready["status"] == "True" && ready["reason"] == "Aligned";
        if fresh && aligned && object["status"]["principals"] == principals {
            Ok(())
        } else {
            Err(format!("{}, {ready}", object["status"]["principals"]))
        }
    });
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    all
}

/// The databases of User, moved to this server.
fn moved(to: &str) -> Vec<String> {
    ["rtcab", "rtcshared", "rtcxds"].map(|database| format!("{database}>{to}")).to_vec()
}

/// The Pod that holds the lease. The holder is the name of the Pod and a suffix of the process.
fn holder(node: &Node) -> Result<String, String> {
    let lease = node.get(&["lease", RELEASE, "-n", SYSTEM])?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    holder.rsplit_once('-').map(|(pod, _)| pod.to_owned()).ok_or_else(|| format!("holder {holder:?}"))
}

/// How many failovers this Pod has sent.
fn sent(node: &Node, pod: &Value) -> usize {
    node.log_of(SYSTEM, name(pod)).iter().filter(|line| line["message"] == "failover sent").count()
}

/// SIGKILL without a successor on this node: a new process of the kubelet could win the lease back.
fn kill(node: &Node, pod: &Value) {
    node.kubectl(&["cordon", "node"]);
    // By the shell itself: the program `kill` is not on every machine.
    node.run("bash", &["-c", "kill -KILL \"$0\"", &node.process_of(pod)]);
    node.kubectl(&["delete", "pod", name(pod), "-n", SYSTEM, "--grace-period=0", "--force", "--wait=false"]);
}
