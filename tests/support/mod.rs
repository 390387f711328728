//! Scenery for the outer rings: a real API server with the chart installed, a simulated pair, and the operator as a
//! process under the chart's own ServiceAccount.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "scenery of tests may fail its test")]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use mirror_sim::sim::Sim;
use serde_json::{Value, json};

/// How long a condition may take to come true before a test gives up: generous, machines are noisy.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const SYSTEM: &str = "lync-mirror-system";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Waits until `look` gives something; fails the test with what was seen last.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if Instant::now() > deadline => panic!("{what}: not within {PATIENCE:?}; last seen: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// A running etcd and kube-apiserver with the chart installed, shared by the tests of one binary.
pub struct Cluster {
    pub dir: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

impl Cluster {
    pub fn get() -> &'static Cluster {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Cluster::boot)
    }

    fn boot() -> Cluster {
        let scripts = root().join("tests/control-plane");
        // The run ends with this process, whatever happens to it.
        let me = std::process::id().to_string();
        let said = run(Command::new(scripts.join("up")).args(["--watch-pid", &me]).stderr(Stdio::inherit()));
        let dir = PathBuf::from(said.lines().last().expect("up prints its folder"));
        let bin = PathBuf::from(std::fs::read_to_string(dir.join("bin")).unwrap().trim());
        let cluster = Cluster { kubectl: bin.join("kubectl"), helm: bin.join("helm"), dir };
        cluster.helm(&["install", "lync-mirror", "charts/lync-mirror", "--namespace", SYSTEM, "--create-namespace"]);
        until("the CRD is served", || cluster.try_kubectl(&["get", "lpm", "-A"]));
        cluster
    }

    /// A kubeconfig of the chart's own ServiceAccount in this namespace.
    fn identity(&self, namespace: &str) -> PathBuf {
        let script = root().join("tests/control-plane/token");
        let token = run(Command::new(script).arg(&self.dir).args([namespace, &format!("lync-mirror-{namespace}")]));
        let path = self.dir.join(format!("{namespace}.kubeconfig"));
        std::fs::write(&path, token).unwrap();
        path
    }

    /// Runs one of tests/control-plane's scripts on this cluster: `stop-api`, `start-api`, `pause`, `resume`.
    pub fn script(&self, name: &str) {
        run(Command::new(root().join("tests/control-plane").join(name)).arg(&self.dir));
    }

    pub fn helm(&self, arguments: &[&str]) -> String {
        run(Command::new(&self.helm).env("KUBECONFIG", self.dir.join("kubeconfig")).current_dir(root()).args(arguments))
    }

    /// The error that helm prints, for what it must refuse.
    pub fn try_helm(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.helm);
        command.env("KUBECONFIG", self.dir.join("kubeconfig")).current_dir(root()).args(arguments);
        let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// The folder of kubectl and helm.
    pub fn bin(&self) -> &Path {
        self.helm.parent().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .arg("--kubeconfig")
            .arg(self.dir.join("kubeconfig"))
            .arg("--cache-dir")
            .arg(self.dir.join("kube-cache"));
        command.args(arguments);
        command
    }

    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    pub fn try_apply(&self, object: &Value) -> Result<String, String> {
        self.feed(&["apply", "-f", "-"], object)
    }

    /// Asks the API server what it would say.
    pub fn try_dry_run(&self, object: &Value) -> Result<String, String> {
        self.feed(&["create", "--dry-run=server", "-f", "-"], object)
    }

    fn feed(&self, arguments: &[&str], object: &Value) -> Result<String, String> {
        use std::io::Write;
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    #[track_caller]
    pub fn apply(&self, object: &Value) {
        self.try_apply(object).unwrap_or_else(|error| panic!("apply {object}: {error}"));
    }

    pub fn get_json(&self, arguments: &[&str]) -> Result<Value, String> {
        let mut all = vec!["get", "-o", "json"];
        all.extend_from_slice(arguments);
        serde_json::from_str(&self.try_kubectl(&all)?).map_err(|error| error.to_string())
    }
}

/// Where the operator of a namespace logs: kept after the run, for whoever looks into a failure.
fn log_path(namespace: &str) -> PathBuf {
    let dir = std::env::temp_dir().join("lync-mirror-test-logs");
    std::fs::create_dir_all(&dir).unwrap();
    dir.join(format!("{namespace}.log"))
}

/// The operator as a process; killed when dropped.
pub struct Operator {
    child: Child,
    namespace: String,
}

/// The program under test; the benches set it to the release build.
fn program() -> std::ffi::OsString {
    std::env::var_os("LYNC_MIRROR_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_lync-mirror").into())
}

impl Operator {
    pub fn start(cluster: &Cluster, namespace: &str, interval: &str) -> Operator {
        Operator::start_as(cluster, namespace, interval, namespace)
    }

    /// A replica: of several in one namespace each has its own name.
    pub fn start_as(cluster: &Cluster, namespace: &str, interval: &str, replica: &str) -> Operator {
        let child = Command::new(program())
            .args(["run", "--listen", "127.0.0.1:0", "--look-interval", interval, "--namespace-scope", namespace])
            .args([
                "--lease-name",
                &format!("lync-mirror-{namespace}"),
                "--lease-namespace",
                namespace,
                "--identity",
                replica,
            ])
            .args(["--log-filter", "lync_mirror=debug,info"])
            .env("KUBECONFIG", cluster.identity(namespace))
            .stdout(std::fs::File::create(cluster.dir.join(format!("operator-{namespace}.out"))).unwrap())
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(log_path(namespace)).unwrap())
            .spawn()
            .unwrap();
        Operator { child, namespace: namespace.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where /livez, /readyz and /metrics of the newest replica are, from its own log.
    pub fn address(&self) -> String {
        until("the operator tells where it listens", || {
            let log = std::fs::read_to_string(log_path(&self.namespace)).map_err(|error| error.to_string())?;
            let after = log.rsplit_once("listen=").ok_or("no listen= in the log")?.1;
            Ok(after.split_whitespace().next().unwrap_or_default().to_owned())
        })
    }

    /// SIGKILL: no goodbye.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.child.wait().unwrap().code()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pool: its namespace, its simulated servers, its Secret and its CA bundle.
pub struct Stage {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub sim: Sim,
}

/// A loopback address of this test alone.
fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Stage {
    pub async fn set(namespace: &str, witness: bool) -> Stage {
        Stage::with_databases(namespace, witness, &["rtcxds", "rtcshared", "rtcab", "xds", "lis"]).await
    }

    /// A pair that mirrors these databases.
    pub async fn with_databases(namespace: &str, witness: bool, databases: &[&str]) -> Stage {
        let server = |id: &str| {
            json!({
                "id": id,
                "name": format!("SQL-{}\\RTC", id.to_uppercase()),
                "listen": format!("{}:0", own_ip()),
                "instance": "RTC",
                "tls": {"mode": "required", "certificateNames": [format!("sql-{id}")]},
                "logins": [{"name": "lync-mirror", "password": "Passw0rd"}],
            })
        };
        let pair = json!({
            "name": "pool01", "primary": "a", "mirror": "b", "witness": if witness { json!("w") } else { Value::Null },
            "databases": databases,
            "switchMillis": 400, "timeoutSeconds": 1.0, "resyncMillis": 100,
        });
        // A pair of another pool, for those who take one of its servers for one of theirs.
        let stranger = json!({"name": "pool02", "primary": "c", "mirror": "d", "databases": ["rtcxds"]});
        let servers = ["a", "b", "w", "c", "d"].map(server);
        let config = json!({"servers": servers, "pairs": [pair, stranger]});
        let sim = Sim::start(serde_json::from_value(config).unwrap()).await.unwrap();
        let cluster = Cluster::get();
        let name = format!("lync-mirror-{namespace}");
        let only = format!("watchNamespaces={{{namespace}}}");
        let release = ["install", name.as_str(), "charts/lync-mirror", "--namespace", namespace, "--create-namespace"];
        cluster.helm(&[release.as_slice(), &["--set", "crds.enabled=false", "--set", only.as_str()]].concat());
        // Of this run only: tests read it.
        std::fs::write(log_path(namespace), "").unwrap();
        let stage = Stage { cluster, namespace: namespace.to_owned(), sim };
        stage.secret("Passw0rd");
        cluster.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sql-ca", "namespace": namespace},
            "data": {"ca.crt": stage.sim.ca_pem()},
        }));
        stage
    }

    pub fn secret(&self, password: &str) {
        self.cluster.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql", "namespace": self.namespace},
            "stringData": {"username": "lync-mirror", "password": password},
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
                "policy": {"cooldown": "0s", "switchDeadline": "1m"},
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

    /// Waits until the operator has logged this since the stage was set.
    #[track_caller]
    pub fn until_logged(&self, words: &str) {
        until(&format!("{} logs {words:?}", self.namespace), || {
            let log = std::fs::read_to_string(log_path(&self.namespace)).map_err(|error| error.to_string())?;
            if log.contains(words) { Ok(()) } else { Err(format!("{} lines", log.lines().count())) }
        });
    }

    /// The API server's own journal of this namespace, from a byte on: what was written or read, and by whom. Gives the
    /// entries and the byte after the last whole one.
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

    pub fn command(&self, command: Value) {
        self.sim.do_json(command).unwrap();
    }
}

pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

pub fn types(user: &str, central: &str) -> Value {
    json!([{"type": "User", "principal": user}, {"type": "CentralMgmt", "principal": central}])
}
