//! What one tenant can do to another: attacks from one namespace, while the moves of a pool in another namespace are timed. Each
//! attack must cost neither a move, a restart nor a false reason, and the operator stays below the memory limit of the chart. The
//! table shows how much longer a move begins to take; that ratio is judged by a reader, because other processes change it too.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mirror_sim::sim::Sim;
use serde_json::{Value, json};

use crate::support::kdc::keytab;
use crate::support::{Cluster, Operator, TestPool, condition, until};

const VICTIM: &str = "victim";
const EVIL: &str = "evil";
/// The moves that are timed for each attack.
const MOVES: usize = 5;

/// The databases of the victim.
fn user(principal: &str) -> Value {
    json!([{"type": "User", "principal": principal, "databases": ["rtcxds"]}])
}

/// The namespace of the attacker, with servers of its own.
struct Attacker {
    cluster: &'static Cluster,
    /// Accepts connections and never answers.
    silent: TcpListener,
    /// Names and databases as long and as many as a server can have.
    excessive: Sim,
}

impl Attacker {
    async fn start(cluster: &'static Cluster) -> Attacker {
        cluster.kubectl(&["create", "namespace", EVIL]);
        let secret = |name: &str, username: &str| {
            cluster.apply(&json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": EVIL},
                "stringData": {"username": username, "password": "Passw0rd"},
            }));
        };
        secret("sql", "lync-mirror");
        secret("wrong", "unknown-login");
        let logins = json!([{"name": "lync-mirror", "password": "Passw0rd"}]);
        let server = |id: &str| {
            let mut config = TestPool::server_config(id, "sql", logins.clone());
            config["name"] = json!(format!("SQL-{id}-{}", "X".repeat(5_000)));
            config
        };
        let databases: Vec<String> = (0..200).map(|index| format!("db{index}-{}", "y".repeat(100))).collect();
        let pair = json!({"name": "excessive", "primary": "a", "mirror": "b", "databases": databases});
        let servers: Vec<Value> = ["a", "b"].into_iter().map(server).collect();
        let config = json!({"servers": servers, "pairs": [pair]});
        let excessive = Sim::start(serde_json::from_value(config).unwrap()).await.unwrap();
        Attacker { cluster, silent: TcpListener::bind("0.0.0.0:0").unwrap(), excessive }
    }

    fn resource(name: &str, primary: &Value, mirror: &Value, secret: &str) -> Value {
        json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
            "metadata": {"name": name, "namespace": EVIL},
            "spec": {
                "poolFqdn": "evil.example.com",
                "sql": {
                    "primary": primary, "mirror": mirror,
                    "auth": {"method": "SqlLogin", "secretRef": {"name": secret}},
                    "tls": {"mode": "TrustServerCertificate"},
                },
                "databaseTypes": [{"type": "Archiving", "principal": "Primary"}],
            },
        })
    }

    fn apply(&self, resources: Vec<Value>) {
        self.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": resources}));
        until("the operator has seen the attack", || {
            let all = self.cluster.get_json(&["lpm", "-n", EVIL])?;
            let seen = all["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|item| item["status"]["conditions"].is_array())
                .count();
            if seen > 0 { Ok(()) } else { Err("no status".to_owned()) }
        });
    }

    /// The attack has taken what the namespace can have: otherwise, it would prove nothing.
    fn until_limited(&self, attack: &str) {
        until(&format!("{attack}: the operator refuses more to {EVIL}"), || {
            let all = self.cluster.get_json(&["lpm", "-n", EVIL])?;
            let items = all["items"].as_array().cloned().unwrap_or_default();
            let limited = items.iter().filter(|item| item["status"].to_string().contains("OperatorLimited")).count();
            if limited > 0 { Ok(()) } else { Err(format!("none of {} resources", items.len())) }
        });
    }

    /// Accounts whose KDC accepts connections and never answers, on servers that are there.
    fn kerberos(&self) -> Vec<Value> {
        let kdc = format!("127.0.0.1:{}", self.silent.local_addr().unwrap().port());
        (0..30)
            .map(|index| {
                let name = format!("krb{index}");
                let account = format!("svc{index}");
                let bytes = |bytes: &[u8]| k8s_openapi::ByteString(bytes.to_vec());
                self.cluster.apply(&json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": EVIL},
                    "data": {
                        "username": bytes(format!("{account}@EVIL.TEST").as_bytes()),
                        "keytab": bytes(&keytab(&account, "EVIL.TEST", &[7; 32])),
                    },
                }));
                let mut resource = Attacker::resource(&name, &self.server("a"), &self.server("b"), &name);
                resource["spec"]["sql"]["auth"] =
                    json!({"method": "Kerberos", "secretRef": {"name": name}, "kdcs": [kdc]});
                resource
            })
            .collect()
    }

    /// One of the servers with excessive names.
    fn server(&self, id: &str) -> Value {
        let address = self.excessive.address(id);
        json!({"host": address.ip().to_string(), "port": address.port()})
    }

    fn retreat(&self) {
        // In one request: kubectl would delete a few resources in a second.
        let all = format!("/apis/lyncmirror.io/v1alpha1/namespaces/{EVIL}/lyncpoolmirrors");
        self.cluster.kubectl(&["delete", "--raw", &all]);
    }

    /// More connections than the operator may have open files, each to a server of its own that never answers.
    fn silence(&self) -> Vec<Value> {
        let port = self.silent.local_addr().unwrap().port();
        (0..350)
            .map(|index: usize| {
                let (high, low) = (index / 200, index % 200 + 1);
                let server = |seat: usize| json!({"host": format!("127.{seat}.{high}.{low}"), "port": port});
                let mut resource = Attacker::resource(&format!("silent{index}"), &server(1), &server(2), "sql");
                resource["spec"]["sql"]["witness"] = server(3);
                resource
            })
            .collect()
    }

    fn squats(&self, victim: &TestPool) -> Vec<Value> {
        let squat = |index: usize| {
            let secret = ["missing", "wrong"][index % 2];
            let mut resource =
                Attacker::resource(&format!("squat{index}"), &victim.server("a"), &victim.server("b"), secret);
            resource["spec"]["databaseTypes"] = user("Mirror");
            resource
        };
        (0..10).map(squat).collect()
    }

    /// As many types and databases as a spec can name, on servers that refuse connections.
    fn crowd() -> Vec<Value> {
        let closed = |port: u16| json!({"host": "127.0.0.1", "port": port});
        (0..150)
            .map(|index| {
                let mut resource = Attacker::resource(&format!("crowd{index}"), &closed(9), &closed(10), "sql");
                let databases: Vec<String> = (0..16).map(|database| format!("db{index}x{database}")).collect();
                resource["spec"]["databaseTypes"] = ["User", "Application", "Archiving", "Monitoring"]
                    .map(|ty| json!({"type": ty, "principal": "Primary", "databases": databases.iter().map(|name| format!("{ty}{name}")).collect::<Vec<_>>()}))
                    .into();
                resource
            })
            .collect()
    }

    /// Windows that are always open, on a pair whose principal is in the other seat.
    fn windows(&self) -> Vec<Value> {
        (0..20)
            .map(|index| {
                let mut resource =
                    Attacker::resource(&format!("window{index}"), &self.server("a"), &self.server("b"), "sql");
                let name = format!("db{index}-{}", "y".repeat(100));
                resource["spec"]["databaseTypes"][0]["databases"] = json!([name]);
                resource["spec"]["policy"] = json!({
                    "unrequestedSwitch": "FailBack", "failBackAfter": "0s",
                    "maintenanceWindows": [{"schedule": "* * * * *", "duration": "168h", "timeZone": "UTC"}],
                });
                resource
            })
            .collect()
    }

    /// One resource that names a new large ConfigMap again and again.
    fn churn(&self) {
        let pem = self.cluster.dir.join("large.pem");
        std::fs::write(&pem, format!("-----BEGIN CERTIFICATE-----\n{}\n", "A".repeat(900_000))).unwrap();
        let file = format!("--from-file=ca.crt={}", pem.display());
        for index in 0..20 {
            let name = format!("ca{index}");
            // Not by `apply`, whose annotation would be too long.
            self.cluster.kubectl(&["create", "configmap", &name, "-n", EVIL, &file]);
            let closed = json!({"host": "127.0.0.1", "port": 9});
            let mut resource = Attacker::resource("churn", &closed, &closed, "sql");
            resource["spec"]["sql"]["mirror"]["port"] = json!(10);
            resource["spec"]["sql"]["tls"] =
                json!({"mode": "Verify", "caBundle": {"configMapRef": {"name": name, "key": "ca.crt"}}});
            self.cluster.apply(&resource);
            self.cluster.kubectl(&["delete", "configmap", &name, "-n", EVIL]);
        }
    }
}

/// Connections that begin a request and never end it.
fn half_requests(operator: &Operator) -> Vec<TcpStream> {
    let address = operator.address();
    let open = |_| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Fill: {}\r\n", "z".repeat(4_000));
        // The server may close the connection at any time: that is its defence.
        let _ = stream.write_all(head.as_bytes());
        stream
    };
    (0..300).map(open).collect()
}

struct Measured {
    attack: &'static str,
    begins: Vec<Duration>,
}

/// Moves the principal of the victim to and fro, and checks that each move is the only one and succeeds.
async fn measure(attack: &'static str, victim: &TestPool) -> Measured {
    let mut begins = Vec::new();
    for round in 0..MOVES {
        let status = victim.status("pool01").unwrap();
        let now = status["databaseTypes"][0]["observed"].as_str().unwrap().to_owned();
        let target = if now == "Primary" { "Mirror" } else { "Primary" };
        let since = victim.sim.journal(0).last().map_or(0, |entry| entry.seq);
        let before = victim.failovers().len();
        let requested = Instant::now();
        victim.patch("pool01", &json!({"spec": {"databaseTypes": user(target)}}));
        let begun = |journal: &mirror_sim::journal::Journal| {
            journal.since(since).iter().any(|entry| entry.text.contains("SET PARTNER FAILOVER"))
        };
        victim.sim.until_journal(begun).await;
        begins.push(requested.elapsed());
        let status = victim.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["history"][0]["outcome"], "Succeeded", "{attack}, move {round}: {status}");
        assert_eq!(victim.failovers().len(), before + 1, "{attack}, move {round}: one failover");
        let messages = status["databaseTypes"].to_string() + &status["conditions"].to_string();
        assert!(!messages.contains(EVIL), "the status names nothing of another namespace: {messages}");
    }
    begins.sort();
    Measured { attack, begins }
}

fn peak_mib(operator: &Operator) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

/// `resources.limits.memory` of the chart, in MiB.
fn memory_limit() -> u64 {
    let values = std::fs::read_to_string(crate::support::root().join("charts/lync-mirror/values.yaml")).unwrap();
    let limit = values.lines().filter_map(|line| line.trim().strip_prefix("memory: ")).next_back().unwrap();
    limit.trim_end_matches("Mi").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_of_one_tenant_costs_another_neither_a_move_nor_a_false_reason() {
    let cluster = Cluster::private();
    let attacker = Attacker::start(cluster).await;
    let victim = TestPool::on(cluster, VICTIM, true, &["rtcxds"]).await;
    // Both namespaces: the release of the fixture has the permissions of its own only.
    let scopes = format!("watchNamespaces={{{VICTIM},{EVIL}}}");
    let release = format!("lync-mirror-{VICTIM}");
    let chart = ["upgrade", &release, "charts/lync-mirror", "--namespace", VICTIM, "--set", "crds.enabled=false"];
    cluster.helm(&[chart.as_slice(), &["--set", &scopes]].concat());
    let mut operator = Operator::start_scoped(cluster, VICTIM, &[VICTIM, EVIL], 1_024);
    cluster.apply(&victim.pool("pool01", user("Primary")));
    victim.until_ready("pool01", "True", "Aligned");

    // A name that is no name reaches no Secret.
    for name in ["..", "a b", "%zz", "../../victim/secrets/sql"] {
        let closed = json!({"host": "127.0.0.1", "port": 9});
        let refused = cluster.try_apply(&Attacker::resource("traversal", &closed, &closed, name));
        assert!(refused.is_err_and(|error| error.contains("secretRef.name")), "{name}");
    }
    let mut table = vec![measure("none", &victim).await];
    for (attack, exhausts, resources) in [
        ("350 resources with silent servers, 1,024 files", true, attacker.silence()),
        ("30 accounts with a silent KDC", true, attacker.kerberos()),
        ("10 resources with the servers of the victim", false, attacker.squats(&victim)),
        ("150 resources with 64 databases each", false, Attacker::crowd()),
        ("20 windows that are always open, 200 databases", false, attacker.windows()),
    ] {
        attacker.apply(resources);
        if exhausts {
            attacker.until_limited(attack);
        }
        table.push(measure(attack, &victim).await);
        assert!(operator.is_running(), "{attack}");
        attacker.retreat();
    }
    let open = half_requests(&operator);
    table.push(measure("300 unfinished HTTP requests", &victim).await);
    drop(open);
    attacker.churn();
    table.push(measure("20 ConfigMaps of 900 kB, one after the other", &victim).await);
    attacker.retreat();

    let (peak, limit) = (peak_mib(&operator), memory_limit());
    println!("{:<52} {:>10} {:>10} {:>6}", "attack", "median ms", "most ms", "ratio");
    let median = |measured: &Measured| measured.begins[MOVES / 2].as_secs_f64() * 1_000.0;
    let calm = median(&table[0]);
    for measured in &table {
        let most = measured.begins[MOVES - 1].as_secs_f64() * 1_000.0;
        let ratio = median(measured) / calm;
        println!("{:<52} {:>10.0} {most:>10.0} {ratio:>6.2}", measured.attack, median(measured));
    }
    println!("peak of the resident memory: {peak} MiB of {limit} MiB");
    assert!(operator.is_running(), "no restart");
    assert!(peak < limit, "{peak} MiB exceed the limit of the chart");
    let status = victim.status("pool01").unwrap();
    assert_eq!(condition(&status, "Serving").unwrap()["status"], "True");
    let moves = status["history"].as_array().unwrap();
    assert!(moves.iter().all(|entry| entry["outcome"] == "Succeeded"), "{moves:?}");
}
