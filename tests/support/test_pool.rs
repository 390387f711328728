//! A pool with its simulated servers, its Secret and its CA bundle, in a namespace of its own.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use mirror_sim::sim::Sim;
use serde_json::{Value, json};

use std::sync::Arc;

use super::operator::{Operator, log_path, until_logged};
use super::proxy::{self, Proxy};
use super::{Cluster, condition, until};

/// A pool: its namespace, its simulated servers, its Secret and its CA bundle.
pub struct TestPool {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub sim: Sim,
}

/// The databases of the types User and CentralMgmt.
pub const DATABASES: [&str; 5] = ["rtcxds", "rtcshared", "rtcab", "xds", "lis"];

/// A loopback address of this test alone: each process has blocks of 254 addresses, chosen by its id.
pub fn own_ip() -> Ipv4Addr {
    const BLOCK: u32 = 254;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    // Blocks of one process are far from each other: neighbouring ids belong to processes that run at the same time.
    let block = std::process::id().wrapping_add(next / BLOCK * 0x1fff);
    // Three digits each: a message of limited length depends on that of an address.
    let [high, low] = [128 + block / 156 % 128, 100 + block % 156].map(|part| u8::try_from(part).unwrap_or_default());
    let last = u8::try_from(next % BLOCK + 1).unwrap_or_default();
    Ipv4Addr::new(127, high, low, last)
}

impl TestPool {
    pub async fn start(namespace: &str, witness: bool) -> TestPool {
        TestPool::with_databases(namespace, witness, &DATABASES).await
    }

    /// A pair that mirrors these databases.
    pub async fn with_databases(namespace: &str, witness: bool, databases: &[&str]) -> TestPool {
        TestPool::on(Cluster::get(), namespace, witness, databases).await
    }

    /// On this control plane.
    pub async fn on(cluster: &'static Cluster, namespace: &str, witness: bool, databases: &[&str]) -> TestPool {
        let fixture = TestPool::of(cluster, namespace, TestPool::simulate(witness, databases).await);
        fixture.secret("Passw0rd");
        fixture.ca_bundle(&fixture.sim.ca_pem());
        fixture
    }

    /// These servers and a namespace for their operator, without a Secret and a CA bundle.
    pub fn of(cluster: &'static Cluster, namespace: &str, sim: Sim) -> TestPool {
        cluster.install(namespace);
        // Of this run only: tests read it.
        std::fs::write(log_path(namespace), "").unwrap();
        TestPool { cluster, namespace: namespace.to_owned(), sim }
    }

    /// The configuration of a simulated server with an instance RTC.
    pub fn server_config(id: &str, certificate: &str, logins: Value) -> Value {
        json!({
            "id": id,
            "name": format!("SQL-{}\\RTC", id.to_uppercase()),
            "listen": format!("{}:0", own_ip()),
            "instance": "RTC",
            "tls": {"mode": "required", "certificateNames": [certificate]},
            "logins": logins,
        })
    }

    /// The servers alone, without a namespace.
    pub async fn simulate(witness: bool, databases: &[&str]) -> Sim {
        let logins = json!([{"name": "lync-mirror", "password": "Passw0rd"}]);
        let server = |id: &str| TestPool::server_config(id, &format!("sql-{id}"), logins.clone());
        let pair = json!({
            "name": "pool01", "primary": "a", "mirror": "b", "witness": if witness { json!("w") } else { Value::Null },
            "databases": databases,
            "switchMillis": 400, "timeoutSeconds": 1.0, "resyncMillis": 100,
        });
        // A pair of another pool, for specs that name one of its servers by mistake.
        let stranger = json!({"name": "pool02", "primary": "c", "mirror": "d", "databases": ["rtcxds"]});
        let servers = ["a", "b", "w", "c", "d"].map(server);
        let config = json!({"servers": servers, "pairs": [pair, stranger]});
        Sim::start(serde_json::from_value(config).unwrap()).await.unwrap()
    }

    pub fn secret(&self, password: &str) {
        self.secret_of("lync-mirror", password);
    }

    pub fn secret_of(&self, username: &str, password: &str) {
        self.cluster.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql", "namespace": self.namespace},
            "stringData": {"username": username, "password": password},
        }));
    }

    pub fn ca_bundle(&self, pem: &str) {
        self.cluster.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sql-ca", "namespace": self.namespace},
            "data": {"ca.crt": pem},
        }));
    }

    pub fn server(&self, id: &str) -> Value {
        let address = self.sim.address(id);
        json!({"host": address.ip().to_string(), "port": address.port()})
    }

    pub fn sql(&self) -> Value {
        json!({
            "primary": self.server("a"), "mirror": self.server("b"), "witness": self.server("w"),
            "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
            "tls": {"mode": "Verify", "caBundle": {"configMapRef": {"name": "sql-ca"}}},
        })
    }

    pub fn pool(&self, name: &str, types: Value) -> Value {
        json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "poolFqdn": "pool01.contoso.com", "sql": self.sql(), "databaseTypes": types,
                "policy": {"cooldown": "0s", "settleAfter": "0s", "switchDeadline": "1m"},
            },
        })
    }

    pub fn status(&self, name: &str) -> Result<Value, String> {
        Ok(self.cluster.get_json(&["lpm", name, "-n", &self.namespace])?["status"].clone())
    }

    /// Waits until Ready has this status and this reason for the present generation.
    #[track_caller]
    pub fn until_ready(&self, name: &str, status: &str, reason: &str) -> Value {
        until(&format!("{}/{name} Ready={status} {reason}", self.namespace), || {
            let object = self.cluster.get_json(&["lpm", name, "-n", &self.namespace])?;
            let ready = condition(&object["status"], "Ready").ok_or("no Ready condition")?;
            let fresh = ready["observedGeneration"] == object["metadata"]["generation"];
            if fresh && ready["status"] == status && ready["reason"] == reason {
                Ok(object["status"].clone())
            } else {
                Err(ready.to_string())
            }
        })
    }

    pub fn patch(&self, name: &str, patch: &Value) {
        self.cluster.kubectl(&["patch", "lpm", name, "-n", &self.namespace, "--type=merge", "-p", &patch.to_string()]);
    }

    /// Waits until the operator has logged this since the fixture was created.
    #[track_caller]
    /// As a writer of the status does; null removes a field.
    pub fn patch_status(&self, name: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        let path = ["patch", "lpm", name, "-n", &self.namespace, "--subresource=status", "--type=merge", "-p", &patch];
        self.cluster.kubectl(&path);
    }

    pub fn until_logged(&self, words: &str) {
        until_logged(&self.namespace, words);
    }

    /// The audit log of this namespace, from a byte on. Returns the entries and the offset after the last complete one.
    pub fn audited(&self, from: u64) -> (Vec<Value>, u64) {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = std::fs::File::open(self.cluster.dir.join("audit.log")).unwrap();
        file.seek(SeekFrom::Start(from)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let entries = text[..whole].lines().map(|line| serde_json::from_str(line).unwrap());
        let own = entries.filter(|entry: &Value| entry["objectRef"]["namespace"] == self.namespace.as_str());
        (own.collect(), from + whole as u64)
    }

    /// The failovers that the simulated servers did, as `database>server`.
    pub fn failovers(&self) -> Vec<String> {
        self.sim.failovers().iter().map(|failover| format!("{}>{}", failover.database, failover.to)).collect()
    }

    /// The outcomes of the failovers that arrived at the servers, from their journal.
    pub fn outcomes(&self) -> Vec<String> {
        let failovers = self.sim.journal(0).into_iter().filter(|entry| entry.text.contains("PARTNER FAILOVER"));
        failovers.map(|entry| entry.outcome.unwrap_or_else(|| "running".to_owned())).collect()
    }

    /// An operator that reaches the API server through a proxy, with a log of its own.
    pub async fn proxied(&self, replica: &str) -> (Operator, Proxy) {
        self.proxied_with(replica, Arc::new(proxy::PassThrough)).await
    }

    /// With a hook for each of its requests.
    pub async fn proxied_with(&self, replica: &str, hook: Arc<dyn proxy::Hook>) -> (Operator, Proxy) {
        let (cluster, namespace) = (self.cluster, self.namespace.as_str());
        let proxy = Proxy::start(&cluster.identity(namespace), hook).await;
        let kubeconfig = cluster.dir.join(format!("{replica}.proxy.kubeconfig"));
        proxy.kubeconfig(&kubeconfig, namespace);
        std::fs::write(log_path(replica), "").unwrap();
        (Operator::launch(cluster, namespace, "1s", replica, &kubeconfig, replica), proxy)
    }

    /// The servers accept only a new password, and the Secret is updated after that.
    pub fn rotate_password(&self, name: &str) {
        for server in ["a", "b"] {
            let login =
                json!({"do": "setPassword", "server": server, "login": "lync-mirror", "password": "N3w-Passw0rd"});
            self.command(login);
            self.command(json!({"do": "kill", "server": server}));
            self.command(json!({"do": "start", "server": server}));
        }
        self.until_ready(name, "False", "LoginFailed");
        self.secret("N3w-Passw0rd");
        self.until_ready(name, "True", "Aligned");
    }

    pub fn command(&self, command: Value) {
        self.sim.do_json(command).unwrap();
    }
}
