//! The nights of the truth table (S1 to S27): one file each in tests/scenarios, with what happens to the pair above the line and
//! what people then read below it. `LYNC_MIRROR_GOLDEN=write` writes the lower half anew, for a person to review.
//!
//! Lines of the upper half: `# TITLE`, `no witness`, `pair {...}` (of the simulation's configuration), `do {...}` (a verb of its
//! control) and `until SERVER ROLE [STATE]`, which waits for all databases, or for no server that is down.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Cluster, Operator, own_ip, root};
use mirror_sim::sim::Sim;
use mirror_sim::world::Reach;
use serde_json::{Value, json};

const NAMESPACE: &str = "nights";
const DATABASES: [&str; 3] = ["rtcxds", "rtcshared", "rtcab"];
const SERVERS: [&str; 3] = ["a", "b", "w"];
/// How long the truth may take to show: the losses are noticed within seconds, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// While writing, what stood still for so long is taken as the end.
const STILL: Duration = Duration::from_secs(10);

struct Night {
    file: PathBuf,
    name: String,
    script: String,
    expected: String,
    sim: Sim,
}

fn nights() -> Vec<PathBuf> {
    let folder = root().join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

impl Night {
    async fn set(file: &Path) -> Night {
        let text = std::fs::read_to_string(file).unwrap();
        let (script, expected) = text.split_once("---\n").unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        // Names of its own: the operator looks at all nights at once, and knows servers by what they call themselves.
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
        Night { file: file.to_owned(), name, script: script.to_owned(), expected: expected.to_owned(), sim }
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

    /// What happens, line by line.
    async fn play(&self) {
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

    /// What the two servers have in their catalogs, and what a person reads of the operator.
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
        // Without AGE, which is another in each run.
        for row in cluster.try_kubectl(&["get", "lpm", &self.name, "-n", NAMESPACE])?.lines() {
            let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            line(cells[..cells.len().saturating_sub(1)].join("  "));
        }
        line(String::new());
        for condition in status["conditions"].as_array().unwrap_or(&Vec::new()) {
            let word = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            line(format!("{}={} {}: {}", word("type"), word("status"), word("reason"), word("message")));
        }
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

/// Waits until the night reads as it is written; gives what it reads where it does not come there.
async fn judged(night: &Night, writes: bool) -> Result<(), String> {
    let (mut last, mut since) = (String::new(), std::time::Instant::now());
    let started = since;
    loop {
        let now = night.transcript().unwrap_or_else(|error| error);
        if !writes && now == night.expected {
            return Ok(());
        }
        if now != last {
            (last, since) = (now, std::time::Instant::now());
        }
        if writes && since.elapsed() > STILL {
            std::fs::write(&night.file, format!("{}---\n{last}", night.script)).unwrap();
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("{} reads\n{last}\nand is written\n{}", night.name, night.expected));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_night_reads_as_it_is_written() {
    let writes = std::env::var("LYNC_MIRROR_GOLDEN").is_ok_and(|what| what == "write");
    let only = std::env::var("LYNC_MIRROR_NIGHT").unwrap_or_default();
    let files: Vec<PathBuf> = nights();
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
            all.push(Night::set(file).await);
        }
    }
    let objects: Vec<Value> = all.iter().flat_map(Night::resource).collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    let _operator = Operator::start(cluster, NAMESPACE, "1s");
    // Each night begins in health.
    cluster.kubectl(&["wait", "lpm", "--all", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=120s"]);
    let mut wrong = Vec::new();
    for night in &all {
        night.play().await;
    }
    for night in &all {
        wrong.extend(judged(night, writes).await.err());
        assert!(night.sim.failures().is_empty(), "{}: {:?}", night.name, night.sim.failures());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    println!("scenarios: {} nights read as they are written", all.len());
}
