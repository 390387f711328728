//! Fixture of the node suite: a real node, in namespaces of its own, with the image of the project.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::{cargo, print_now, root, until};

pub const IMAGE: &str = "localhost/lync-mirror";
pub const TAG: &str = "test";

/// Exit status of the scripts when this machine cannot run them.
const CANNOT: i32 = 3;

/// A booted node. It ends with this process, even if the process is killed.
pub struct Node {
    pub dir: PathBuf,
    /// Of the archive, as a registry would send it.
    pub archive_bytes: u64,
}

fn script(name: &str) -> PathBuf {
    root().join("tests/control-plane").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a script and prints its progress at once: with empty caches it takes minutes.
/// Returns the last line of its output, or why this machine cannot run it.
#[track_caller]
fn prepare(name: &str, arguments: &[&str]) -> Result<String, String> {
    let begun = Instant::now();
    let mut child = Command::new(script(name))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut last = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        last = line.unwrap();
        print_now(&format!("{name}: {last}"));
    }
    let output = child.wait_with_output().unwrap();
    if output.status.code() == Some(CANNOT) {
        return Err(last);
    }
    assert!(output.status.success(), "{name} {arguments:?}: {}; its last line: {last}", output.status);
    println!("{name}: {:.0} s", begun.elapsed().as_secs_f64());
    Ok(text(&output.stdout).lines().last().unwrap_or_default().to_owned())
}

/// Builds the image into an OCI archive. `Err`: why this machine cannot.
pub fn build_image(archive: &Path, options: &[&str]) -> Result<(), String> {
    let tag = format!("{IMAGE}:{TAG}");
    prepare("image", &[&["--tag", tag.as_str()], options, &[archive.to_str().unwrap()]].concat()).map(|_| ())
}

impl Node {
    /// Builds the image and boots a node that holds it. `Err`: why this machine cannot.
    pub fn boot() -> Result<Node, String> {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("image.tar");
        build_image(&archive, &[])?;
        let archive_bytes = std::fs::metadata(&archive).unwrap().len();
        let archive = archive.to_str().unwrap();
        let me = std::process::id().to_string();
        let dir = PathBuf::from(prepare("node-up", &["--watch-pid", &me, "--image", archive])?);
        Ok(Node { dir, archive_bytes })
    }

    /// A command inside the node: its network, its processes, its mounts.
    pub fn command(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
        let mut command = Command::new(script("node-exec"));
        command.arg(&self.dir).arg(program.as_ref()).args(arguments).current_dir(root()).stdin(Stdio::null());
        command
    }

    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        answer(self.command(program, arguments).output().unwrap())
    }

    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.try_run(program, arguments).unwrap_or_else(|error| panic!("{program} {arguments:?}: {error}"))
    }

    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.run("kubectl", arguments)
    }

    pub fn try_apply(&self, object: &Value) -> Result<String, String> {
        let mut command = self.command("kubectl", &["apply", "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
        answer(child.wait_with_output().unwrap())
    }

    #[track_caller]
    pub fn apply(&self, object: &Value) {
        self.try_apply(object).unwrap_or_else(|error| panic!("apply {object}: {error}"));
    }

    pub fn get(&self, arguments: &[&str]) -> Result<Value, String> {
        let printed = self.try_run("kubectl", &[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&printed).map_err(|error| error.to_string())
    }

    /// The number of the first process of a Pod's container, as the node counts.
    pub fn process_of(&self, pod: &Value) -> String {
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
        let id = id.strip_prefix("containerd://").unwrap_or_else(|| panic!("no container runs: {pod}"));
        let tasks =
            self.run("ctr", &["--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io", "tasks", "ls"]);
        let found = tasks.lines().find_map(|line| line.strip_prefix(id)?.split_whitespace().next().map(str::to_owned));
        found.unwrap_or_else(|| panic!("no process of {id} in\n{tasks}"))
    }

    /// The log of a Pod; each line of it must be JSON.
    #[track_caller]
    pub fn log_of(&self, namespace: &str, pod: &str) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.kubectl(&["logs", pod, "-n", namespace]).lines().map(parse).collect()
    }
}

fn answer(output: Output) -> Result<String, String> {
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The simulated pair as a process inside the node, where Pods reach it. It ends with the node.
pub struct Pair<'a> {
    node: &'a Node,
    control: String,
    pub servers: Value,
    // Keeps its pipe open; the process ends with the node.
    _child: Child,
}

impl Pair<'_> {
    pub fn start(node: &Node) -> Pair<'_> {
        let ready = node.dir.join("pair.json");
        let log = std::fs::File::create(node.dir.join("pair.log")).unwrap();
        let arguments = ["--demo", "--listen-base", "10.99.1.1", "--control", "10.99.0.1:0", "--ready-file"];
        let child = node
            .command(simulator(), &[&arguments[..], &[ready.to_str().unwrap()]].concat())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let listening = until_listening(&ready, &node.dir.join("pair.log"));
        let control = listening["control"].as_str().unwrap().to_owned();
        Pair { node, control, servers: listening["servers"].clone(), _child: child }
    }

    pub fn query(&self, path: &str) -> String {
        self.node.run("curl", &["-sS", "--fail", "--noproxy", "*", &format!("http://{}{path}", self.control)])
    }

    /// The failovers that the simulated servers did, as `database>server`.
    pub fn failovers(&self) -> Vec<String> {
        let all: Vec<Value> = serde_json::from_str(&self.query("/failovers")).unwrap();
        let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        all.iter().map(|entry| format!("{}>{}", word(entry, "database"), word(entry, "to"))).collect()
    }
}

/// The addresses that `mirror-sim` writes to its ready file once it listens.
pub fn until_listening(ready: &Path, log: &Path) -> Value {
    let written = until("the simulated servers listen", || {
        std::fs::read_to_string(ready)
            .map_err(|error| format!("{error}; {}", std::fs::read_to_string(log).unwrap_or_default()))
    });
    serde_json::from_str(&written).unwrap()
}

/// `mirror-sim`, built as `cargo test --workspace` builds it, so that this costs nothing where that ran before.
pub fn simulator() -> PathBuf {
    let build = cargo().args(["test", "--workspace", "--locked", "--no-run", "--quiet"]).status().unwrap();
    assert!(build.success(), "cargo could not build mirror-sim");
    Path::new(env!("CARGO_BIN_EXE_lync-mirror")).with_file_name("mirror-sim")
}
