//! The operator as a process under the chart's own ServiceAccount. Not here: what it is to do.

use std::path::PathBuf;
use std::process::{Child, Command};

use super::{Cluster, run, until};

/// Where the operator of a namespace logs: kept after the run, for whoever looks into a failure.
pub(super) fn log_path(namespace: &str) -> PathBuf {
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
