//! The operator as a process: started, frozen, killed and stopped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use super::{Cluster, until};

/// Where the operator of a namespace logs: kept after the run, to examine a failure.
pub fn log_path(namespace: &str) -> PathBuf {
    let dir = std::env::temp_dir().join("lync-mirror-test-logs");
    std::fs::create_dir_all(&dir).unwrap();
    dir.join(format!("{namespace}.log"))
}

/// Waits until the log of this name contains `words`.
#[track_caller]
pub fn until_logged(name: &str, words: &str) {
    until(&format!("{name} logs {words:?}"), || {
        let log = std::fs::read_to_string(log_path(name)).map_err(|error| error.to_string())?;
        if log.contains(words) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
    });
}

/// The operator as a process; killed when dropped.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

/// The program under test; the benches set it to the release build.
fn program() -> std::ffi::OsString {
    std::env::var_os("LYNC_MIRROR_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_lync-mirror").into())
}

/// The variables of the allocator that the image sets.
pub fn image_environment() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(super::root().join("Dockerfile")).unwrap();
    let words = text.split_whitespace().filter(|word| word.starts_with("MALLOC_"));
    words.filter_map(|word| word.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `scopes`: the watched namespaces, separated by commas. The first one holds the lease.
fn command(scopes: &str, interval: &str, replica: &str, kubeconfig: &Path) -> Command {
    let namespace = scopes.split(',').next().unwrap_or_default();
    let mut command = Command::new(program());
    command
        .args(["run", "--listen", "127.0.0.1:0", "--poll-interval", interval, "--namespace-scope", scopes])
        .args(["--lease-name", &format!("lync-mirror-{namespace}"), "--lease-namespace", namespace])
        .args(["--identity", replica])
        .env("LYNC_MIRROR_LOG", "lync_mirror=debug,info")
        .env("KUBECONFIG", kubeconfig);
    command
}

impl Operator {
    pub fn start(cluster: &Cluster, namespace: &str, interval: &str) -> Operator {
        Operator::start_as(cluster, namespace, interval, namespace)
    }

    /// A replica: of several in one namespace each has its own name.
    pub fn start_as(cluster: &Cluster, namespace: &str, interval: &str, replica: &str) -> Operator {
        Operator::launch(cluster, namespace, interval, replica, &cluster.identity(namespace), namespace)
    }

    /// A replica with its own way to the API server, and a log of its own.
    pub fn launch(
        cluster: &Cluster,
        namespace: &str,
        interval: &str,
        replica: &str,
        kubeconfig: &Path,
        log: &str,
    ) -> Operator {
        Operator::spawn(command(namespace, interval, replica, kubeconfig), cluster, replica, log)
    }

    /// As the chart starts it: polls every 10 s, no debug log, and the allocator of the image.
    pub fn start_quiet(cluster: &Cluster, namespace: &str) -> Operator {
        let mut command = command(namespace, "10s", namespace, &cluster.identity(namespace));
        command.env("LYNC_MIRROR_LOG", "info").envs(image_environment());
        Operator::spawn(command, cluster, namespace, namespace)
    }

    /// For several namespaces, with at most this number of open files, and the allocator of the image.
    pub fn start_scoped(cluster: &Cluster, namespace: &str, scopes: &[&str], files: u64) -> Operator {
        let watched = scopes.join(",");
        let inner = command(&watched, "1s", namespace, &cluster.identity(namespace));
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        command.arg(inner.get_program()).args(inner.get_args());
        command.envs(image_environment());
        command.env("LYNC_MIRROR_LOG", "info").env("KUBECONFIG", cluster.dir.join(format!("{namespace}.kubeconfig")));
        Operator::spawn(command, cluster, namespace, namespace)
    }

    /// With more arguments.
    pub fn start_with(cluster: &Cluster, namespace: &str, arguments: &[&str]) -> Operator {
        let mut command = command(namespace, "1s", namespace, &cluster.identity(namespace));
        command.args(arguments);
        Operator::spawn(command, cluster, namespace, namespace)
    }

    fn spawn(mut command: Command, cluster: &Cluster, replica: &str, log: &str) -> Operator {
        let child = command
            .stdout(std::fs::File::create(cluster.dir.join(format!("operator-{replica}.out"))).unwrap())
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(log_path(log)).unwrap())
            .spawn()
            .unwrap();
        Operator { child, log: log_path(log) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far.
    pub fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // The clock tick of Linux is 100 Hz for every program.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
    }

    /// Where /livez, /readyz and /metrics of the newest replica are, from its own log.
    pub fn address(&self) -> String {
        until("the operator logs its address", || {
            let log = std::fs::read_to_string(&self.log).map_err(|error| error.to_string())?;
            let after = log.rsplit_once("listen=").ok_or("no listen= in the log")?.1;
            Ok(after.split_whitespace().next().unwrap_or_default().to_owned())
        })
    }

    /// True unless it ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// By the kernel: the program `kill` is not on every machine.
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP, like a frozen machine; returns when the process is stopped.
    pub fn freeze(&self) {
        let pid = self.child.id();
        self.signal(Signal::STOP);
        until("the operator is frozen", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
            let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).chars().next();
            if state == Some('T') { Ok(()) } else { Err(format!("{state:?}")) }
        });
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
