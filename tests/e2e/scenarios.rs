//! The scenarios of the truth table (S1 to S27): one file each in tests/scenarios, with the script of the pair above the line and
//! the transcript of kubectl below it. `UPDATE_EXPECT=1` rewrites the transcripts, for review.
//! `LYNC_MIRROR_SCENARIO=s22` runs only the files with this in their path.
//!
//! Lines of the upper half: `# TITLE`, `no witness`, `pair {...}` (of the simulation's configuration), `do {...}` (a verb of its
//! control) and `until SERVER ROLE [STATE]`, which waits for all databases, or for no server that is down.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Cluster, Operator, own_ip, root};
use expect_test::expect_file;
use mirror_sim::sim::Sim;
use mirror_sim::world::Reach;
use serde_json::{Value, json};

const NAMESPACE: &str = "scenarios";
const DATABASES: [&str; 3] = ["rtcxds", "rtcshared", "rtcab"];
const SERVERS: [&str; 3] = ["a", "b", "w"];
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
        let server = |id_of: &str| {
            json!({
                "id": id_of,
                "name": format!("{}-{}\\RTC", &name[..3], id_of).to_uppercase(),
                "listen": format!("{}:0", own_ip()),
                "tls": {"mode": "required", "certificateNames": ["sql"]},
                "logins": [{"name": "lync-mirror", "password": "Passw0rd"}],
            })
        };
        let servers: Vec<Value> = SERVERS.iter().map(|id| server(id)).collect();
        let mut pair = json!({
            "name": "pool", "primary": "a", "mirror": "b", "databases": DATABASES, "timeoutSeconds": 1.0, "resyncMillis": 100,
            "roleSequence": 6,
        });
        if !script.contains("no witness\n") {
            pair["witness"] = json!("w");
        }
        for line in script.lines().filter_map(|line| line.strip_prefix("pair ")) {
            let more: Value = serde_json::from_str(line).unwrap();
            pair.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        let config = json!({"servers": servers, "pairs": [pair]});
        let sim = Sim::start(serde_json::from_value(config).unwrap()).await.unwrap();
        Scenario { file: file.to_owned(), name, script: script.to_owned(), expected: expected.to_owned(), sim }
    }

    fn resource(&self) -> Vec<Value> {
        let at = |id: &str| json!({"host": self.sim.address(id).ip().to_string(), "port": self.sim.address(id).port()});
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
            }
        }
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
        let object = cluster.get_json(&["lpm", &self.name, "-n", NAMESPACE])?;
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
        // Without AGE, which differs in each run.
        for row in cluster.try_kubectl(&["get", "lpm", &self.name, "-n", NAMESPACE])?.lines() {
            let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            line(cells[..cells.len().saturating_sub(1)].join("  "));
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

fn role(role: u8) -> &'static str {
    if role == 1 { "PRINCIPAL" } else { "MIRROR" }
}

fn mirroring(state: u8) -> &'static str {
    ["SUSPENDED", "DISCONNECTED", "SYNCHRONIZING", "PENDING_FAILOVER", "SYNCHRONIZED"][usize::from(state)]
}

/// Waits for the expected transcript; returns the last one.
async fn settled(scenario: &Scenario, updates: bool) -> String {
    let (mut last, mut since) = (String::new(), Instant::now());
    let started = since;
    loop {
        let now = scenario.transcript().unwrap_or_else(|error| error);
        if !updates && now == scenario.expected {
            return now;
        }
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if (updates && since.elapsed() > STABLE) || started.elapsed() > PATIENCE {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
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
    assert_eq!(numbers, (1..=27).map(|number| format!("s{number:02}")).collect::<Vec<_>>(), "a file for each row");
    let cluster = Cluster::get();
    cluster.install(NAMESPACE);
    std::fs::write(crate::support::log_path(NAMESPACE), "").unwrap();
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql", "namespace": NAMESPACE},
        "stringData": {"username": "lync-mirror", "password": "Passw0rd"},
    }));
    let mut all = Vec::new();
    for file in &files {
        if file.to_string_lossy().contains(&only) {
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
    for scenario in &all {
        let transcript = settled(scenario, updates).await;
        if !matches(scenario, &transcript) {
            wrong.push(&scenario.name);
        }
        assert!(scenario.sim.failures().is_empty(), "{}: {:?}", scenario.name, scenario.sim.failures());
    }
    assert!(wrong.is_empty(), "transcripts differ: {wrong:?}");
    println!("scenarios: {} transcripts match", all.len());
}
