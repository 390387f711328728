//! Fixtures of the end-to-end tests: a real API server with the chart installed, a simulated pair, and the operator as a
//! process under the ServiceAccount of the chart.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture may fail its test")]

pub mod breakpoint;
pub mod cgroup;
pub mod client;
pub mod kdc;
pub mod node;
mod operator;
pub mod proxy;
pub mod rng;
pub mod servers;
mod test_pool;
pub mod watch_fault;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use operator::{Operator, image_environment, log_path, until_logged};
pub use test_pool::{DATABASES, TestPool, own_ip};

/// How long a test waits for a condition. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const SYSTEM: &str = "lync-mirror-system";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// cargo, as a user runs it. A test has the variables that cargo sets for its package: build scripts of crates read them, so
/// that a cargo which inherits them compiles most of the workspace again, with the executables of the tests that run.
pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo.current_dir(root());
    cargo
}

/// Polls `check` until it returns `Ok`; fails the test with the last error.
#[track_caller]
pub fn until<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(found) => return found,
            Err(last) if Instant::now() > deadline => panic!("{what}: not within {PATIENCE:?}; last error: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Prints a line at once, past the capture of the output of a passing test.
pub fn print_now(line: &str) {
    // One write, so that lines do not mix. A closed standard error must not fail the test.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Reports a suite that cannot run on this machine in one line, which tests/run counts. Panics where CI is set.
pub fn skip(suite: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{suite} cannot run here: {why}");
    print_now(&format!("skipped: {suite}: {why}"));
}

/// Why a script cannot run on this machine: exit 2 or 3, with the reason as the last line on standard error.
pub fn cannot(output: &Output) -> Option<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    matches!(output.status.code(), Some(2 | 3)).then(|| error.trim().lines().last().unwrap_or_default().to_owned())
}

/// A running etcd and kube-apiserver with the chart installed.
pub struct Cluster {
    pub dir: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

impl Cluster {
    /// The control plane that the tests of one process share.
    pub fn get() -> &'static Cluster {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Cluster::boot)
    }

    /// A control plane for one test alone, which may stop it. It ends with this process.
    pub fn private() -> &'static Cluster {
        Box::leak(Box::new(Cluster::boot()))
    }

    fn boot() -> Cluster {
        let scripts = root().join("tests/control-plane");
        // The control plane ends with this process, even if the process is killed.
        let me = std::process::id().to_string();
        let printed = run(Command::new(scripts.join("up")).args(["--watch-pid", &me]).stderr(Stdio::inherit()));
        let dir = PathBuf::from(printed.lines().last().expect("up prints its folder"));
        let bin = PathBuf::from(std::fs::read_to_string(dir.join("bin")).unwrap().trim());
        let cluster = Cluster { kubectl: bin.join("kubectl"), helm: bin.join("helm"), dir };
        cluster.helm(&["install", "lync-mirror", "charts/lync-mirror", "--namespace", SYSTEM, "--create-namespace"]);
        until("the CRD is served", || cluster.try_kubectl(&["get", "lpm", "-A"]));
        cluster
    }

    /// A kubeconfig of the chart's own ServiceAccount in this namespace.
    pub fn identity(&self, namespace: &str) -> PathBuf {
        let script = root().join("tests/control-plane/token");
        let token = run(Command::new(script).arg(&self.dir).args([namespace, &format!("lync-mirror-{namespace}")]));
        let path = self.dir.join(format!("{namespace}.kubeconfig"));
        std::fs::write(&path, token).unwrap();
        path
    }

    /// Installs the chart for this namespace alone.
    pub fn install(&self, namespace: &str) {
        let name = format!("lync-mirror-{namespace}");
        let only = format!("watchNamespaces={{{namespace}}}");
        let release = ["install", name.as_str(), "charts/lync-mirror", "--namespace", namespace, "--create-namespace"];
        self.helm(&[release.as_slice(), &["--set", "crds.enabled=false", "--set", only.as_str()]].concat());
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

    /// The answer of the API server to a dry run.
    pub fn try_dry_run(&self, object: &Value) -> Result<String, String> {
        self.feed(&["create", "--dry-run=server", "-f", "-"], object)
    }

    fn feed(&self, arguments: &[&str], object: &Value) -> Result<String, String> {
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

pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

pub fn types(user: &str, central: &str) -> Value {
    json!([{"type": "User", "principal": user}, {"type": "CentralMgmt", "principal": central}])
}
