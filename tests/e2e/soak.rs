//! Ten pairs, a hundred resources, and random faults; then everything heals, and an administrator follows the statuses until all
//! are Ready. Each published service word is compared with the world at its time. Short by default; `make soak` takes minutes.
//! LYNC_MIRROR_SEED replays a run, LYNC_MIRROR_SOAK sets the seconds of faults in each round.

mod claims;
mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::proxy::Proxy;
use crate::support::rng;
use crate::support::{Cluster, Operator, condition, log_path, own_ip};
use claims::{Claims, assert_no_false_claim};
use fastrand::Rng;
use mirror_sim::sim::Sim;
use mirror_sim::world::FailoverKind;
use serde_json::{Value, json};

const NAMESPACE: &str = "soak";
const PAIRS: usize = 10;
const DATABASES: usize = 10;
const ROUNDS: usize = 3;
const TICK: Duration = Duration::from_millis(150);
/// How long a hundred resources may take to become Ready. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

fn server_ids() -> Vec<String> {
    let partners = (0..PAIRS).flat_map(|pair| [format!("a{pair}"), format!("b{pair}")]);
    partners.chain(["w".to_owned()]).collect()
}

/// `SERVERPROPERTY('ServerName')`.
fn name(server: &str) -> String {
    format!("SQL-{}\\RTC", server.to_uppercase())
}

/// Every third pair has no automatic failover.
fn has_witness(pair: usize) -> bool {
    !pair.is_multiple_of(3)
}

async fn simulate() -> Sim {
    let servers: Vec<Value> = server_ids()
        .iter()
        .map(|server| {
            json!({
                "id": server,
                "name": name(server),
                "listen": format!("{}:0", own_ip()),
                "instance": "RTC",
                "tls": {"mode": "required", "certificateNames": ["sql"]},
                "logins": [{"name": "lync-mirror", "password": "Passw0rd"}],
            })
        })
        .collect();
    let pair = |at: usize| {
        json!({
            "name": format!("pool{at}"), "primary": format!("a{at}"), "mirror": format!("b{at}"),
            "witness": if has_witness(at) { json!("w") } else { Value::Null },
            "databases": (0..DATABASES).map(|database| format!("db{database}")).collect::<Vec<_>>(),
            "switchMillis": 100, "timeoutSeconds": 0.5, "resyncMillis": 100,
        })
    };
    let config = json!({"servers": servers, "pairs": (0..PAIRS).map(pair).collect::<Vec<_>>()});
    Sim::start(serde_json::from_value(config).unwrap()).await.unwrap()
}

fn resource(sim: &Sim, pair: usize, database: usize, principal: &str) -> Value {
    let host = |id: &str| sim.address(id).ip().to_string();
    // Every second pair is found by the SQL Server Browser.
    let at = |id: String| match pair.is_multiple_of(2) {
        true => json!({"host": host(&id), "instance": "RTC"}),
        false => json!({"host": host(&id), "port": sim.address(&id).port()}),
    };
    let mut sql = json!({
        "primary": at(format!("a{pair}")), "mirror": at(format!("b{pair}")),
        "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
        "tls": {"mode": "Verify", "caBundle": {"configMapRef": {"name": "sql-ca"}}},
    });
    if has_witness(pair) {
        sql["witness"] = at("w".to_owned());
    }
    json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {"name": format!("pool{pair}-db{database}"), "namespace": NAMESPACE},
        "spec": {
            "poolFqdn": format!("pool{pair}.contoso.com"), "sql": sql,
            "databaseTypes": [{"type": "User", "principal": principal, "databases": [format!("db{database}")]}],
            "policy": {"cooldown": "0s", "settleAfter": "0s", "switchDeadline": "10s"},
        },
    })
}

fn resources() -> Vec<Value> {
    let list = Cluster::get().get_json(&["lpm", "-n", NAMESPACE]).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Acts like an administrator: approves held moves once they are possible, and otherwise waits.
async fn until_all_are_ready(approvals: &mut usize) {
    let started = Instant::now();
    let mut approved = BTreeSet::new();
    loop {
        let mut waiting = BTreeMap::new();
        for object in resources() {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let status = &object["status"];
            let Some(ready) = condition(status, "Ready") else { continue };
            if ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"] {
                continue;
            }
            let reason = ready["reason"].as_str().unwrap_or_default().to_owned();
            let held = matches!(reason.as_str(), "UnexpectedPrincipal" | "SplitRoles" | "CircuitOpen" | "MoveFailed");
            let epoch = status["databaseTypes"][0]["epoch"].as_str().unwrap_or_default().to_owned();
            if held && status["plan"].is_array() && approved.insert((name.clone(), epoch.clone())) {
                let mut types = object["spec"]["databaseTypes"].clone();
                types[0]["approve"] = json!({"epoch": epoch});
                let patch = json!({"spec": {"databaseTypes": types}}).to_string();
                Cluster::get().kubectl(&["patch", "lpm", &name, "-n", NAMESPACE, "--type=merge", "-p", &patch]);
                *approvals += 1;
            }
            waiting.insert(name, format!("{reason}: {}", ready["message"].as_str().unwrap_or_default()));
        }
        if waiting.is_empty() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "not Ready after everything healed: {waiting:#?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn resident_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn assert_journal_explains_failovers(sim: &Sim) {
    assert_eq!(sim.failures(), Vec::<String>::new());
    let journal = sim.journal(0);
    assert!(journal.iter().all(|entry| !entry.text.contains("FORCE_SERVICE")), "a data-loss statement was sent");
    let failovers = sim.failovers();
    let kinds = |kind: FailoverKind| failovers.iter().filter(|failover| failover.kind == kind).count();
    assert_eq!(kinds(FailoverKind::Forced), 0);
    let mut outcomes = BTreeMap::new();
    for entry in journal.iter().filter(|entry| entry.text.contains("SET PARTNER FAILOVER")) {
        *outcomes.entry(entry.outcome.clone().unwrap_or_else(|| "running".into())).or_insert(0) += 1;
    }
    let count = |outcome: &str| outcomes.get(outcome).copied().unwrap_or(0);
    let (manual, automatic) = (kinds(FailoverKind::Manual), kinds(FailoverKind::Automatic));
    println!("soak: statements {outcomes:?}; failovers: {manual} requested, {automatic} by the witness");
    // Every requested role change is a statement in the journal, and each statement caused one at most.
    let open = count("lost") + count("cut") + count("cancelled");
    assert!((count("done")..=count("done") + open).contains(&manual), "{manual} failovers, statements {outcomes:?}");
    assert!(manual + automatic > 0, "nothing ever moved: the faults are too mild");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_after_healing_lose_nothing_and_end_ready() {
    let seconds =
        std::env::var("LYNC_MIRROR_SOAK").map_or(15, |text| text.parse().expect("seconds, in LYNC_MIRROR_SOAK"));
    let seed = rng::seed();
    println!("soak: seed {seed}, {ROUNDS} rounds of {seconds} s");
    let mut rng = Rng::with_seed(seed);
    let sim = Arc::new(simulate().await);
    let claims = Claims::new(sim.clone());
    let cluster = Cluster::get();
    cluster.install(NAMESPACE);
    std::fs::write(log_path(NAMESPACE), "").unwrap();
    let mut objects = vec![
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql", "namespace": NAMESPACE},
            "stringData": {"username": "lync-mirror", "password": "Passw0rd"},
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sql-ca", "namespace": NAMESPACE},
            "data": {"ca.crt": sim.ca_pem()},
        }),
    ];
    for pair in 0..PAIRS {
        objects.extend((0..DATABASES).map(|database| resource(&sim, pair, database, "Primary")));
    }
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    let proxy = Proxy::start(&cluster.identity(NAMESPACE), claims.clone()).await;
    let kubeconfig = cluster.dir.join("soak.proxy.kubeconfig");
    proxy.kubeconfig(&kubeconfig, NAMESPACE);
    let operator = Operator::launch(cluster, NAMESPACE, "1s", NAMESPACE, &kubeconfig, NAMESPACE);
    let (mut approvals, mut faults, mut intents) = (0, 0, 0);
    until_all_are_ready(&mut approvals).await;
    let mut memory = vec![resident_kib(operator.pid())];
    for _ in 0..ROUNDS {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            sim.do_json(faults::random(&mut rng)).unwrap();
            faults += 1;
            if rng.usize(..4) == 0 {
                let principal = *rng.choice(&["Primary", "Mirror"]).unwrap();
                cluster.apply(&resource(&sim, rng.usize(..PAIRS), rng.usize(..DATABASES), principal));
                intents += 1;
            }
            tokio::time::sleep(TICK).await;
        }
        faults::heal(&sim);
        until_all_are_ready(&mut approvals).await;
        memory.push(resident_kib(operator.pid()));
    }

    println!("soak: {faults} faults, {intents} changes of a principal, {approvals} approvals");
    assert_no_false_claim(&claims);
    assert_journal_explains_failovers(&sim);
    println!("soak: resident KiB at the start and after each round: {memory:?}");
    // The history of a resource grows to ten moves.
    let all = resources();
    let moves = all.iter().map(|object| object["status"]["history"].as_array().map_or(0, Vec::len)).sum::<usize>();
    let bytes = all.iter().map(|object| object["status"].to_string().len()).sum::<usize>();
    println!("soak: {moves} moves in {} KiB of status", bytes / 1024);
    let (first, last) = (memory[1], memory[ROUNDS]);
    assert!(last < first + first / 4, "memory grew from round to round: {memory:?}");
    assert_eq!(all.len(), PAIRS * DATABASES);
}
