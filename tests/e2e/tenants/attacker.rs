//! The attacks: what a user can do who writes resources, Secrets and ConfigMaps in a namespace, and owns the servers they name.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::servers::Servers;
use super::{EVIL, user};
use crate::support::kdc::keytab;
use crate::support::{Cluster, TestPool, until};

/// The logins of the attacker to one pair of servers.
const ACCOUNTS: usize = 6;

/// The namespace of the attacker, with servers of its own.
pub struct Attacker {
    cluster: &'static Cluster,
    /// Accepts connections and never answers.
    silent: TcpListener,
    /// Names and databases as long and as many as a server can have.
    excessive: Servers,
    /// Thousands of databases: the polls of all accounts at once would need more memory than the operator has.
    large: Servers,
    /// One server of the pair stops and starts again and again.
    flapping: Arc<Servers>,
}

/// The configuration of a pair of servers with these databases. `suffix`: of the names of the servers.
fn pair(databases: &[String], suffix: &str) -> Value {
    let logins = json!([{"name": "lync-mirror", "password": "Passw0rd"}]);
    let server = |id: &str| {
        let mut config = TestPool::server_config(id, "sql", logins.clone());
        config["name"] = json!(format!("SQL-{id}{suffix}"));
        config
    };
    let pair = json!({"name": "pair", "primary": "a", "mirror": "b", "databases": databases});
    let servers: Vec<Value> = ["a", "b"].into_iter().map(server).collect();
    json!({"servers": servers, "pairs": [pair]})
}

/// The name of a database of the attacker, as long as it can be.
fn database(index: usize) -> String {
    format!("db{index}-{}", "y".repeat(100))
}

/// Stops and starts a server until it is dropped.
pub struct Flapping(JoinHandle<()>);

impl Drop for Flapping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Attacker {
    pub async fn start(cluster: &'static Cluster) -> Attacker {
        cluster.kubectl(&["create", "namespace", EVIL]);
        let secret = |name: &str, username: &str| {
            cluster.apply(&json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": EVIL},
                "stringData": {"username": username, "password": "Passw0rd"},
            }));
        };
        secret("sql", "lync-mirror");
        secret("wrong", "unknown-login");
        for index in 0..ACCOUNTS {
            secret(&format!("account{index}"), "lync-mirror");
        }
        let databases = |count: usize| (0..count).map(database).collect::<Vec<_>>();
        let excessive = pair(&databases(200), &format!("-{}", "X".repeat(5_000)));
        let flapping = pair(&databases(40), "");
        Attacker {
            cluster,
            silent: TcpListener::bind("0.0.0.0:0").unwrap(),
            excessive: Servers::start(excessive, &cluster.dir, "excessive").await,
            large: Servers::start(pair(&databases(1_000), ""), &cluster.dir, "large").await,
            flapping: Arc::new(Servers::start(flapping, &cluster.dir, "flapping").await),
        }
    }

    pub fn resource(name: &str, primary: &Value, mirror: &Value, secret: &str) -> Value {
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

    pub fn apply(&self, resources: Vec<Value>) {
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
    pub fn until_limited(&self, attack: &str) {
        until(&format!("{attack}: the operator refuses more to {EVIL}"), || {
            let all = self.cluster.get_json(&["lpm", "-n", EVIL])?;
            let items = all["items"].as_array().cloned().unwrap_or_default();
            let limited = items.iter().filter(|item| item["status"].to_string().contains("OperatorLimited")).count();
            if limited > 0 { Ok(()) } else { Err(format!("none of {} resources", items.len())) }
        });
    }

    /// Accounts whose KDC accepts connections and never answers, on servers that are there.
    pub fn kerberos(&self) -> Vec<Value> {
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
        self.excessive.named(id)
    }

    /// Every account has connections of its own, and reads all databases at each poll.
    pub fn rows(&self) -> Vec<Value> {
        (0..ACCOUNTS)
            .map(|index| {
                let servers = ["a", "b"].map(|id| self.large.named(id));
                let secret = format!("account{index}");
                let mut resource = Attacker::resource(&format!("rows{index}"), &servers[0], &servers[1], &secret);
                resource["spec"]["databaseTypes"][0]["databases"] = json!([database(index)]);
                resource
            })
            .collect()
    }

    /// The login is accepted, and every resource names the same database.
    pub fn conflicts(&self) -> Vec<Value> {
        (0..60)
            .map(|index| {
                let name = format!("claim{index}-{}", "n".repeat(190));
                let mut resource = Attacker::resource(&name, &self.server("a"), &self.server("b"), "sql");
                resource["spec"]["databaseTypes"][0]["databases"] = json!([database(0)]);
                resource
            })
            .collect()
    }

    /// Resources that change their state with every poll.
    pub fn flap(&self) -> (Vec<Value>, Flapping) {
        let resources = (0..40).map(|index| {
            let servers = ["a", "b"].map(|id| self.flapping.named(id));
            let mut resource = Attacker::resource(&format!("flap{index}"), &servers[0], &servers[1], "sql");
            resource["spec"]["databaseTypes"][0]["databases"] = json!([database(index)]);
            resource
        });
        let sim = self.flapping.clone();
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(700));
            for step in ["kill", "start"].into_iter().cycle() {
                pace.tick().await;
                sim.command(json!({"do": step, "server": "b"})).await;
            }
        });
        (resources.collect(), Flapping(task))
    }

    pub fn retreat(&self) {
        // In one request: kubectl would delete a few resources in a second.
        let all = format!("/apis/lyncmirror.io/v1alpha1/namespaces/{EVIL}/lyncpoolmirrors");
        self.cluster.kubectl(&["delete", "--raw", &all]);
    }

    /// More connections than the operator may have open files, each to a server of its own that never answers.
    pub fn silence(&self) -> Vec<Value> {
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

    pub fn squats(&self, victim: &TestPool) -> Vec<Value> {
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
    pub fn crowd() -> Vec<Value> {
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
    pub fn windows(&self) -> Vec<Value> {
        (0..20)
            .map(|index| {
                let mut resource =
                    Attacker::resource(&format!("window{index}"), &self.server("a"), &self.server("b"), "sql");
                resource["spec"]["databaseTypes"][0]["databases"] = json!([database(index)]);
                resource["spec"]["policy"] = json!({
                    "unrequestedSwitch": "FailBack", "failBackAfter": "0s",
                    "maintenanceWindows": [{"schedule": "* * * * *", "duration": "168h", "timeZone": "UTC"}],
                });
                resource
            })
            .collect()
    }

    /// One resource that names a new large ConfigMap again and again.
    pub fn churn(&self) {
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
