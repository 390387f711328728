//! The scenarios of the states in docs/design/states.md: one file each in tests/scenarios, with the script of the pair above the
//! line and the transcript of kubectl below it. `UPDATE_EXPECT=1` rewrites the transcripts, for review.
//! `LYNC_MIRROR_SCENARIO=s22,s3` runs only the files with one of these in their path. CONTRIBUTING.md lists the lines of a
//! script.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Cluster, Operator, condition, own_ip, root, until};
use expect_test::expect_file;
use mirror_sim::sim::Sim;
use mirror_sim::world::Reach;
use serde_json::{Value, json};

const NAMESPACE: &str = "scenarios";
const DATABASES: [&str; 3] = ["rtcxds", "rtcshared", "rtcab"];
/// Server c is the partner of a new session.
const SERVERS: [&str; 4] = ["a", "b", "c", "w"];
/// How long a state may take to appear. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// While transcripts are rewritten, one that does not change for this long is final.
const STABLE: Duration = Duration::from_secs(10);

struct Scenario {
    file: PathBuf,
    name: String,
    script: String,
    expected: String,
    sim: Sim,
}

fn files() -> Vec<PathBuf> {
    let folder = root().join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

impl Scenario {
    async fn start(file: &Path) -> Scenario {
        let text = std::fs::read_to_string(file).unwrap();
        let (script, expected) = text.split_once("---\n").unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        // Unique names: one operator polls the servers of all scenarios, and identifies them by the names that they report.
        let server = |id: &str| {
            let mut config = json!({
                "id": id,
                "name": format!("{}-{}\\RTC", &name[..3], id).to_uppercase(),
                "listen": format!("{}:0", own_ip()),
                "instance": "RTC",
                "tls": {"mode": "required", "certificateNames": ["sql"]},
                "logins": [{"name": "lync-mirror", "password": "Passw0rd"}],
            });
            extend(&mut config, script, &format!("server {id} "));
            config
        };
        let servers: Vec<Value> = SERVERS.iter().map(|id| server(id)).collect();
        let mut pair = json!({
            "name": "pool", "primary": "a", "mirror": "b", "databases": DATABASES, "timeoutSeconds": 1.0, "resyncMillis": 100,
            "roleSequence": 6, "guidSeed": name,
        });
        if !script.contains("no witness\n") {
            pair["witness"] = json!("w");
        }
        extend(&mut pair, script, "pair ");
        let config = json!({"servers": servers, "pairs": [pair]});
        let sim = Sim::start(serde_json::from_value(config).unwrap()).await.unwrap();
        Scenario { file: file.to_owned(), name, script: script.to_owned(), expected: expected.to_owned(), sim }
    }

    /// The server of this id as the spec names it.
    fn at(&self, id: &str) -> Value {
        let host = self.sim.address(id).ip().to_string();
        if self.script.contains("named instances\n") {
            return json!({"host": host, "instance": "RTC"});
        }
        json!({"host": host, "port": self.sim.address(id).port()})
    }

    fn resource(&self) -> Vec<Value> {
        let at = |id: &str| self.at(id);
        let name = format!("ca-{}", self.name);
        let mut pool = json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {
                "poolFqdn": "pool01.contoso.com",
                "sql": {
                    "primary": at("a"), "mirror": at("b"),
                    "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
                    "tls": {"mode": "Verify", "caBundle": {"configMapRef": {"name": name}}},
                },
                "databaseTypes": [{"type": "User", "principal": "Primary"}],
                // Whether a poll saw the absence of a server must not matter.
                "policy": {"settleAfter": "0s"},
            },
        });
        if !self.script.contains("no witness\n") {
            pool["spec"]["sql"]["witness"] = at("w");
        }
        let bundle = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {"ca.crt": self.sim.ca_pem()},
        });
        vec![bundle, pool]
    }

    /// Executes the script, line by line.
    async fn run(&self) {
        for line in self.script.lines() {
            if let Some(verb) = line.strip_prefix("do ") {
                self.sim.do_json(serde_json::from_str(verb).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", self.name));
            } else if let Some(state) = line.strip_prefix("until ") {
                let come = tokio::time::timeout(PATIENCE, self.sim.until(|world| self.is(world, state))).await;
                assert!(come.is_ok(), "{}: {state} did not come: {}", self.name, self.sim.state());
            } else if let Some(patch) = line.strip_prefix("spec ") {
                self.patch(patch);
            } else if let Some(reason) = line.strip_prefix("reason ") {
                self.until_reason(reason);
            } else if let Some(change) = line.strip_prefix("restore ") {
                self.restore(change);
            }
        }
    }

    fn object(&self) -> Result<Value, String> {
        Cluster::get().get_json(&["lpm", &self.name, "-n", NAMESPACE])
    }

    /// A merge patch of the spec. `"<a>"` stands for server a, `<epoch>` for the current epoch of the type.
    fn patch(&self, text: &str) {
        let epoch =
            self.object().unwrap()["status"]["databaseTypes"][0]["epoch"].as_str().unwrap_or_default().to_owned();
        let mut text = text.replace("<epoch>", &epoch);
        for id in SERVERS {
            text = text.replace(&format!("\"<{id}>\""), &self.at(id).to_string());
        }
        let patch = format!("{{\"spec\": {text}}}");
        Cluster::get().kubectl(&["patch", "lpm", &self.name, "-n", NAMESPACE, "--type=merge", "-p", &patch]);
    }

    fn until_reason(&self, reason: &str) {
        until(&format!("{} {reason}", self.name), || {
            let object = self.object()?;
            let ready = condition(&object["status"], "Ready").ok_or("no Ready condition")?;
            let fresh = ready["observedGeneration"] == object["metadata"]["generation"];
            if fresh && ready["reason"] == reason { Ok(()) } else { Err(ready.to_string()) }
        });
    }

    /// Creates the resource again, and writes the status of the deleted one with a change, as the restore of a backup does.
    fn restore(&self, change: &str) {
        let cluster = Cluster::get();
        let mut object = self.object().unwrap();
        let mut status = object["status"].take();
        let change: Value = serde_json::from_str(change).unwrap();
        let first = status["databaseTypes"][0].as_object_mut().unwrap();
        first.extend(change.as_object().unwrap().clone());
        cluster.kubectl(&["delete", "lpm", &self.name, "-n", NAMESPACE]);
        cluster.apply(&json!({
            "apiVersion": object["apiVersion"], "kind": object["kind"],
            "metadata": {"name": self.name, "namespace": NAMESPACE}, "spec": object["spec"],
        }));
        let patch = json!({"status": status}).to_string();
        let path = ["patch", "lpm", &self.name, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", &patch];
        cluster.kubectl(&path);
    }

    fn is(&self, world: &mirror_sim::world::World, wanted: &str) -> bool {
        let mut words = wanted.split(' ');
        let server = words.next().unwrap();
        DATABASES.iter().all(|database| {
            let row = world.row(server, database);
            row.is_some_and(|row| {
                let is = [role(row.role), mirroring(row.state)];
                words.clone().zip(is).all(|(wanted, is)| wanted == is)
            })
        })
    }

    /// The catalogs of the two servers, and the output of kubectl for the resource.
    fn transcript(&self) -> Result<String, String> {
        let cluster = Cluster::get();
        let object = self.object()?;
        let status = &object["status"];
        let mut text = String::new();
        let mut line = |words: String| writeln!(text, "{}", words.trim_end()).unwrap();
        for server in ["a", "b"] {
            for database in DATABASES {
                line(format!("{server} {database}: {}", self.catalog(server, database)));
            }
        }
        line(String::new());
        line(format!("$ kubectl get lpm {}", self.name));
        // Without OBSERVED and AGE, which differ in each run.
        for row in cluster.try_kubectl(&["get", "lpm", &self.name, "-n", NAMESPACE])?.lines() {
            let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            line(cells[..cells.len().saturating_sub(2)].join("  "));
        }
        line(String::new());
        for condition in status["conditions"].as_array().unwrap_or(&Vec::new()) {
            let word = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            line(format!("{}={} {}: {}", word("type"), word("status"), word("reason"), word("message")));
        }
        line(format!("User: {}", status["databaseTypes"][0]["message"].as_str().unwrap_or_default()));
        line(String::new());
        for database in status["databaseTypes"][0]["databases"].as_array().unwrap_or(&Vec::new()) {
            let word = |field: &str| database[field].as_str().unwrap_or("-").to_owned();
            let fields =
                ["name", "stateOnPrimary", "stateOnMirror", "mirroringStatusOnPrimary", "mirroringStatusOnMirror"];
            line(fields.map(word).join("  "));
        }
        for step in status["plan"].as_array().unwrap_or(&Vec::new()) {
            line(format!("plan: {step}"));
        }
        let moves = self.sim.journal(0).into_iter().filter(|entry| entry.text.contains("ALTER DATABASE")).count();
        line(format!("statements sent that change anything: {moves}"));
        Ok(self.masked(&text))
    }

    fn catalog(&self, server: &str, database: &str) -> String {
        self.sim.with(|world| match (world.reach(server), world.row(server, database)) {
            (Reach::Down, _) => "does not answer".to_owned(),
            (_, None) => "NULL".to_owned(),
            (_, Some(row)) => {
                let witness = ["UNKNOWN", "CONNECTED", "DISCONNECTED"];
                let witness = row.witness_state.map_or("NULL", |state| witness[usize::from(state)]);
                let states =
                    ["ONLINE", "RESTORING", "RECOVERING", "RECOVERY_PENDING", "SUSPECT", "EMERGENCY", "OFFLINE"];
                let state = states[usize::from(row.database_state)];
                format!("{} / {} / {witness} / {state}", role(row.role), mirroring(row.state))
            }
        })
    }

    /// Addresses, times and epochs differ from run to run.
    fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The longest first: an address may be the beginning of another one.
        let mut servers = SERVERS.map(|id| (self.sim.address(id), id));
        servers.sort_by_key(|(address, _)| std::cmp::Reverse(address.ip().to_string().len()));
        for (address, id) in servers {
            text = text.replace(&format!("{},{}", address.ip(), address.port()), &format!("sql-{id}"));
            text = text.replace(&address.ip().to_string(), &format!("sql-{id}"));
            text = text.replace(&format!("port {}", address.port()), "port <port>");
        }
        let epoch = |word: &str| {
            let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            let known = bare.split_once('-').is_some_and(|(sum, digest)| {
                !sum.is_empty()
                    && sum.bytes().all(|byte| byte.is_ascii_digit())
                    && digest.len() == 4
                    && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            let time = bare.len() >= 20 && bare.ends_with('Z') && bare.as_bytes()[4] == b'-';
            match (known, time) {
                (true, _) => word.replace(bare, "<epoch>"),
                (_, true) => word.replace(bare, "<time>"),
                _ => word.to_owned(),
            }
        };
        let lines = text.lines().map(|line| line.split(' ').map(epoch).collect::<Vec<_>>().join(" ") + "\n");
        lines.collect()
    }
}

/// Adds the fields of the lines with this prefix.
fn extend(config: &mut Value, script: &str, prefix: &str) {
    for line in script.lines().filter_map(|line| line.strip_prefix(prefix)) {
        let more: Value = serde_json::from_str(line).unwrap();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
}

/// The numbers of the states in docs/design/states.md, such as `s01`.
fn states() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/design/states.md")).unwrap();
    let numbers = text.lines().filter_map(|line| line.strip_prefix("### S")?.split(' ').next());
    let mut all: Vec<String> = numbers.map(|number| format!("s{:02}", number.parse::<u32>().unwrap())).collect();
    all.sort();
    all
}

fn role(role: u8) -> &'static str {
    if role == 1 { "PRINCIPAL" } else { "MIRROR" }
}

fn mirroring(state: u8) -> &'static str {
    ["SUSPENDED", "DISCONNECTED", "SYNCHRONIZING", "PENDING_FAILOVER", "SYNCHRONIZED"][usize::from(state)]
}

/// Waits for the expected transcript; returns the last one.
async fn settled(scenario: &Scenario) -> String {
    let started = Instant::now();
    loop {
        let now = scenario.transcript().unwrap_or_else(|error| error);
        if now == scenario.expected || started.elapsed() > PATIENCE {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The transcripts of all scenarios, once none of them changes any more.
async fn all_settled(all: &[Scenario]) -> Vec<String> {
    let transcripts = || all.iter().map(|one| one.transcript().unwrap_or_else(|error| error)).collect();
    let mut last: Vec<String> = transcripts();
    loop {
        tokio::time::sleep(STABLE).await;
        let now = transcripts();
        if now == last {
            return now;
        }
        last = now;
    }
}

/// Compares with the file, or rewrites it; prints the difference. False: they differ.
fn matches(scenario: &Scenario, transcript: &str) -> bool {
    let text = format!("{}---\n{transcript}", scenario.script);
    let file = expect_file![&scenario.file];
    // `assert_eq` panics at a difference; the other scenarios must be compared as well.
    std::panic::catch_unwind(|| file.assert_eq(&text)).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_run_to_its_end_matches_its_transcript() {
    let updates = std::env::var_os("UPDATE_EXPECT").is_some();
    let only = std::env::var("LYNC_MIRROR_SCENARIO").unwrap_or_default();
    let files: Vec<PathBuf> = files();
    let numbers: Vec<String> =
        files.iter().map(|file| file.file_name().unwrap().to_string_lossy()[..3].to_owned()).collect();
    assert_eq!(numbers, states(), "a file for each state");
    let cluster = Cluster::get();
    cluster.install(NAMESPACE);
    std::fs::write(crate::support::log_path(NAMESPACE), "").unwrap();
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql", "namespace": NAMESPACE},
        "stringData": {"username": "lync-mirror", "password": "Passw0rd"},
    }));
    let mut all = Vec::new();
    for file in &files {
        if only.split(',').any(|part| file.to_string_lossy().contains(part)) {
            all.push(Scenario::start(file).await);
        }
    }
    let objects: Vec<Value> = all.iter().flat_map(Scenario::resource).collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    let _operator = Operator::start(cluster, NAMESPACE, "1s");
    // Each scenario begins in health.
    cluster.kubectl(&["wait", "lpm", "--all", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=120s"]);
    for scenario in &all {
        scenario.run().await;
    }
    let mut wrong = Vec::new();
    let found = if updates { all_settled(&all).await } else { Vec::new() };
    for (number, scenario) in all.iter().enumerate() {
        let transcript = match found.get(number) {
            Some(transcript) => transcript.clone(),
            None => settled(scenario).await,
        };
        if !matches(scenario, &transcript) {
            wrong.push(&scenario.name);
        }
        assert!(scenario.sim.failures().is_empty(), "{}: {:?}", scenario.name, scenario.sim.failures());
    }
    assert!(wrong.is_empty(), "transcripts differ: {wrong:?}");
    println!("scenarios: {} transcripts match", all.len());
}
