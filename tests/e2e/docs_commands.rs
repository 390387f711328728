//! Every shell command of README.md, the tutorial and the how-to pages, run as printed and in order: against a real API
//! server, the operator that the chart describes, and a simulated pair.
//!
//! Commands are not edited. The test prepares what a reader of the page has: the files that a command reads (`pool01.yaml` is
//! the example of README.md with the addresses of the simulated servers), and the event that the page describes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::markdown::{commands, fences};
use crate::support::{condition, own_ip, root, run, until};
use mirror_sim::demo;
use mirror_sim::sim::Sim;
use serde_json::{Value, json};

/// Why the commands of docs/how-to/without-a-cluster.md are not run here.
const DIRECT: &str = "acts without a cluster, and the operator of this suite has the pair; suite `direct` runs it";

/// Commands that this suite cannot run, with the reason. Every entry must occur in a page.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "make demo",
        "starts a control plane of its own and waits for Ctrl-C; `tests/minimal-root make demo ONCE=1` runs it",
    ),
    ("make try", "waits for Ctrl-C; suite `direct` runs `make try ONCE=1`"),
    ("make test", "runs this suite"),
    (
        "docker build -t registry.example.com/lync-mirror:0.1.0 .",
        "needs the base images; suite `node` builds the Dockerfile",
    ),
    ("docker push registry.example.com/lync-mirror:0.1.0", "needs a registry"),
    (
        "kubectl rollout status deployment/lync-mirror --namespace lync-mirror-system",
        "needs a node; suite `node` waits for this Deployment",
    ),
    ("cargo build --release --bin lync-mirror", "builds the program under test again"),
    (
        r#"ln -s "$PWD/target/release/lync-mirror" ~/.local/bin/kubectl-lyncmirror"#,
        "changes the home folder; this suite has the link in a folder of its own",
    ),
    (
        "cargo run --package xtask -- man ~/.local/share/man/man1",
        "changes the home folder; a test of xtask writes the pages",
    ),
    ("man lync-mirror-failover", "needs man"),
    ("lync-mirror state --direct -f pool01.yaml --credentials login.yaml", DIRECT),
    ("lync-mirror doctor --direct -f pool01.yaml --credentials login.yaml", DIRECT),
    (
        "lync-mirror failover --direct -f pool01.yaml --credentials login.yaml --database-type User --new-principal mirror --what-if",
        DIRECT,
    ),
    (
        "lync-mirror failover --direct -f pool01.yaml --credentials login.yaml --database-type User --new-principal mirror",
        DIRECT,
    ),
    (
        r#"lync-mirror suspend --direct -f pool01.yaml --credentials login.yaml --reason "SQL patching" --for 2h"#,
        DIRECT,
    ),
    ("lync-mirror resume --direct -f pool01.yaml --credentials login.yaml", DIRECT),
    (
        "lync-mirror run --direct -f /etc/lync-mirror --credentials /etc/lync-mirror/login --state-dir /var/lib/lync-mirror",
        DIRECT,
    ),
];

/// One ```sh block of a page.
struct Block {
    page: String,
    commands: Vec<String>,
}

impl Block {
    fn contains(&self, text: &str) -> bool {
        self.commands.iter().any(|command| command.contains(text))
    }
}

/// The pages in reading order: README.md, the tutorial, the how-to pages.
fn pages() -> Vec<PathBuf> {
    let mut how_to: Vec<PathBuf> =
        std::fs::read_dir(root().join("docs/how-to")).unwrap().map(|entry| entry.unwrap().path()).collect();
    how_to.sort();
    [root().join("README.md"), root().join("docs/tutorial.md")].into_iter().chain(how_to).collect()
}

/// The text of each fenced block in one of these languages.
fn fenced(text: &str, languages: &[&str]) -> Vec<String> {
    let wanted = fences(text).into_iter().filter(|fence| languages.contains(&fence.language.as_str()));
    wanted.map(|fence| fence.text).collect()
}

fn blocks() -> Vec<Block> {
    pages()
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let page = path.strip_prefix(root()).unwrap().display().to_string();
            let other = fenced(&text, &["bash", "shell", "console", "zsh", ""]);
            assert!(other.is_empty(), "{page}: shell commands belong into a ```sh block: {other:?}");
            let shell = fenced(&text, &["sh"]);
            shell.iter().map(|block| Block { page: page.clone(), commands: commands(block) }).collect::<Vec<_>>()
        })
        .collect()
}

/// A control plane without the chart: the commands of README.md install it.
struct Reader {
    control_plane: PathBuf,
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    sim: Sim,
    operator: Option<Child>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            let _ = operator.kill();
            let _ = operator.wait();
        }
    }
}

/// The text between `start` and the next quote or space.
fn argument<'a>(text: &'a str, start: &str) -> &'a str {
    let rest = text.split_once(start).unwrap_or_else(|| panic!("README.md has no {start}")).1;
    rest.trim_start_matches('\'').split(['\'', ' ', '\n']).next().unwrap()
}

/// The servers of the demo, which accept the login that README.md stores in the Secret.
async fn simulate(readme: &str) -> Sim {
    let base = own_ip();
    for _ in 0..4 {
        own_ip(); // the addresses after the first, which the configuration takes
    }
    let mut config = serde_json::to_value(demo::config(base, 1).unwrap()).unwrap();
    let login = json!([{
        "name": argument(readme, "--from-literal=username="), "password": argument(readme, "--from-literal=password="),
    }]);
    for server in config["servers"].as_array_mut().unwrap() {
        server["logins"] = login.clone();
    }
    Sim::start(serde_json::from_value(config).unwrap()).await.unwrap()
}

impl Reader {
    async fn new() -> Reader {
        let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
        let sim = simulate(&readme).await;
        let me = std::process::id().to_string();
        let up = root().join("tests/control-plane/up");
        let printed = run(Command::new(up).args(["--watch-pid", &me]).stderr(Stdio::inherit()));
        let control_plane = PathBuf::from(printed.lines().last().unwrap());
        let variables = std::fs::read_to_string(control_plane.join("env")).unwrap();
        let environment = variables.lines().map(|line| line.split_once('=').unwrap());
        let mut environment: Vec<(String, String)> =
            environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();

        let folder = tempfile::tempdir().unwrap();
        // The plugin of kubectl, as docs/how-to/command-line.md links it.
        let plugin = folder.path().join("plugin");
        std::fs::create_dir(&plugin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lync-mirror"), plugin.join("kubectl-lyncmirror")).unwrap();
        let (_, path) = environment.iter_mut().find(|(name, _)| name == "PATH").expect("the script sets PATH");
        *path = format!("{path}:{}", plugin.display());
        for name in ["charts", "deploy"] {
            std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
        }
        let mut example = fenced(&readme, &["yaml"]).remove(0);
        for (host, server) in [("sql-a", "a"), ("sql-b", "b"), ("sql-w", "w")] {
            let host = format!("{host}.contoso.com");
            assert!(example.contains(&host), "the example of README.md has no host {host}");
            example = example.replace(&host, &sim.address(server).ip().to_string());
        }
        std::fs::write(folder.path().join("pool01.yaml"), example).unwrap();
        std::fs::write(folder.path().join("ca.crt"), sim.ca_pem()).unwrap();
        std::fs::write(folder.path().join("svc-lync.keytab"), "keytab").unwrap();
        Reader { control_plane, folder, environment, sim, operator: None }
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.folder.path()).envs(self.environment.iter().cloned());
        command
    }

    /// Runs a script as a reader would, and returns its output.
    #[track_caller]
    fn shell(&self, script: &str) -> String {
        run(self.command("bash").args(["-euo", "pipefail", "-c", script]))
    }

    /// The Pod of the Deployment, as a process: there is no node.
    fn start_operator(&mut self) {
        let script = root().join("tests/control-plane/token");
        let token = run(Command::new(script).arg(&self.control_plane).args(["lync-mirror-system", "lync-mirror"]));
        let kubeconfig = self.control_plane.join("operator.kubeconfig");
        std::fs::write(&kubeconfig, token).unwrap();
        let log = std::fs::File::create(self.control_plane.join("operator.log")).unwrap();
        let operator = self
            .command(env!("CARGO_BIN_EXE_lync-mirror"))
            .args([
                "run",
                "--listen",
                "127.0.0.1:0",
                "--poll-interval",
                "1s",
                "--lease-namespace",
                "lync-mirror-system",
            ])
            .env("KUBECONFIG", kubeconfig)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.operator = Some(operator);
    }

    fn pool(&self, name: &str) -> Value {
        serde_json::from_str(&self.shell(&format!("kubectl get lpm {name} -n lync -o json"))).unwrap()
    }

    fn patch(&self, name: &str, spec: &Value) {
        let patch = json!({ "spec": spec });
        self.shell(&format!("kubectl patch lpm {name} -n lync --type=merge -p '{patch}'"));
    }

    /// Waits until Ready has one of these reasons for the present generation; without reasons, any.
    #[track_caller]
    fn until_ready(&self, name: &str, reasons: &[&str]) {
        until(&format!("{name} Ready with {reasons:?}"), || {
            let pool = self.pool(name);
            let ready = condition(&pool["status"], "Ready").ok_or("no condition Ready")?;
            let current = ready["observedGeneration"] == pool["metadata"]["generation"];
            let expected = reasons.is_empty() || reasons.iter().any(|reason| ready["reason"] == *reason);
            if current && expected { Ok(()) } else { Err(ready.to_string()) }
        });
    }

    /// pool01 as `make demo` leaves it.
    fn leave_as_demo(&self) {
        let types = json!([{"type": "User", "principal": "Primary"}, {"type": "CentralMgmt", "principal": "Mirror"}]);
        self.patch("pool01", &json!({"databaseTypes": types, "policy": {"cooldown": "0s", "settleAfter": "0s"}}));
        self.until_ready("pool01", &["Aligned"]);
    }

    /// A DBA fails User over to the mirror; both servers are synchronized again afterwards.
    fn hold_a_move(&self) {
        self.leave_as_demo();
        for database in ["rtcxds", "rtcshared", "rtcab"] {
            self.sim.do_json(json!({"do": "failover", "pair": "pool01", "database": database})).unwrap();
        }
        self.until_ready("pool01", &["UnexpectedPrincipal"]);
        until("pool01 is synchronized", || {
            let status = self.pool("pool01")["status"].clone();
            let synchronized = condition(&status, "Synchronized").is_some_and(|found| found["status"] == "True");
            if synchronized { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// A pool without a witness that lost its principal.
    fn lose_a_principal(&self) {
        let mut pool: Value =
            serde_saphyr::from_str(&std::fs::read_to_string(self.folder.path().join("pool01.yaml")).unwrap()).unwrap();
        pool["metadata"]["name"] = json!("pool02");
        pool["spec"]["poolFqdn"] = json!("pool02.contoso.com");
        pool["spec"]["sql"].as_object_mut().unwrap().remove("witness");
        for (seat, server) in [("primary", "c"), ("mirror", "d")] {
            let address = self.sim.address(server);
            // By port: the resolution of an instance on a server that is down takes seconds in each pass.
            pool["spec"]["sql"][seat] = json!({"host": address.ip().to_string(), "port": address.port()});
        }
        pool["spec"]["databaseTypes"] = json!([{"type": "User", "principal": "Primary"}]);
        pool["spec"]["policy"] = json!({"cooldown": "0s", "settleAfter": "0s"});
        std::fs::write(self.folder.path().join("pool02.json"), pool.to_string()).unwrap();
        self.shell("kubectl apply -f pool02.json");
        self.until_ready("pool02", &["Aligned"]);
        self.sim.do_json(json!({"do": "kill", "server": "c"})).unwrap();
        self.until_ready("pool02", &["PrincipalLost"]);
    }

    /// The state that a page describes, before its first block, or before each.
    fn prepare(&self, block: &Block, is_first: bool) {
        match block.page.as_str() {
            "docs/tutorial.md" if is_first => self.leave_as_demo(),
            "docs/how-to/approve-a-held-move.md" => self.hold_a_move(),
            "docs/how-to/command-line.md" if is_first => self.leave_as_demo(),
            "docs/how-to/command-line.md"
                if block.contains("lyncmirror approve") || block.contains("lyncmirror keep") =>
            {
                self.hold_a_move();
            }
            "docs/how-to/fail-back.md" if is_first => self.hold_a_move(),
            "docs/how-to/force-service.md" if is_first => self.lose_a_principal(),
            "docs/how-to/force-service.md" if block.contains(".status.plan") => {
                until("the plan of pool02", || {
                    let plan = self.pool("pool02")["status"]["plan"].to_string();
                    if plan.contains("FORCE_SERVICE") { Ok(()) } else { Err(plan) }
                });
            }
            "docs/how-to/gitops.md" if is_first => {
                self.shell("kubectl create namespace argocd && kubectl create configmap argocd-cm -n argocd");
            }
            "docs/how-to/kerberos.md" if is_first => {
                self.shell("kubectl delete secret pool01-sql -n lync");
            }
            _ => {}
        }
    }

    /// The effect that a block must have.
    fn check(&mut self, block: &Block, output: &str) {
        let page = block.page.as_str();
        if block.contains("helm install") {
            self.start_operator();
        }
        if block.contains("kubectl get lpm --namespace lync") {
            assert!(output.contains("pool01") && output.contains("Aligned"), "{page}: {output}");
        }
        if block.contains("kubectl get events") {
            assert!(output.contains("MoveSucceeded"), "{page}: {output}");
        }
        if page == "docs/how-to/approve-a-held-move.md" {
            self.until_ready("pool01", &["Aligned"]);
        }
        if block.contains("lyncmirror doctor") {
            assert!(output.contains("0 to fix"), "{page}: {output}");
        }
        if block.contains("lyncmirror state") {
            assert!(output.contains("(lync/pool01): PROTECTED, as the spec wants it"), "{page}: {output}");
        }
        if block.contains("lyncmirror approve") || block.contains("lyncmirror keep") {
            self.until_ready("pool01", &["Aligned"]);
        }
        if block.contains("FailBack") {
            self.until_ready("pool01", &["FailBackPending"]);
        }
        if block.contains(".status.plan") {
            assert!(output.contains("FORCE_SERVICE_ALLOW_DATA_LOSS"), "{page}: {output}");
        }
        if block.contains("acceptDataLoss") {
            self.until_ready("pool02", &["ServiceForced"]);
        }
        if page == "docs/how-to/gitops.md" {
            let keys = self.shell("kubectl get configmap argocd-cm -n argocd -o jsonpath='{.data}'");
            assert!(keys.contains("resource.customizations.health.lyncmirror.io_LyncPoolMirror"), "{keys}");
        }
        if page == "docs/how-to/kerberos.md" {
            let keys = self.shell("kubectl get secret pool01-sql -n lync -o jsonpath='{.data}'");
            assert!(keys.contains("username") && keys.contains("keytab"), "{keys}");
        }
        self.until_observed();
    }

    /// A reader continues when the operator has seen the change.
    fn until_observed(&self) {
        if self.operator.is_none() {
            return;
        }
        for pool in self.shell("kubectl get lpm -n lync -o name").lines() {
            self.until_ready(pool.rsplit('/').next().unwrap(), &[]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shell_commands_of_the_pages_run_as_printed_and_in_order() {
    let mut reader = Reader::new().await;
    let (mut last_page, mut not_run, mut count) = (String::new(), BTreeSet::new(), 0);
    for block in blocks() {
        reader.prepare(&block, block.page != last_page);
        last_page.clone_from(&block.page);
        let mut script = String::new();
        for command in &block.commands {
            if let Some((excluded, _)) = NOT_RUN.iter().find(|(excluded, _)| excluded == command) {
                not_run.insert(*excluded);
            } else {
                script.push_str(command);
                script.push('\n');
                count += 1;
            }
        }
        let output = reader.shell(&script);
        println!("{}:\n{script}", block.page);
        reader.check(&block, &output);
    }
    for (excluded, reason) in NOT_RUN {
        assert!(not_run.contains(excluded), "no page has the command {excluded:?} ({reason}): remove the entry");
    }
    assert!(count >= 20, "{count} commands were run");
    assert_eq!(reader.sim.failures(), Vec::<String>::new(), "SQL that the simulated servers do not support");
}

#[test]
fn fenced_block_in_a_list_loses_its_indentation() {
    let text = "1. Text\n\n   ```sh\n   a \\\n     b\n   ```\n\n```yaml\nc: d\n```\n";
    assert_eq!(fenced(text, &["sh"]), ["a \\\n  b\n"]);
}
