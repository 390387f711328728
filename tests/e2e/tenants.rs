//! What one tenant can do to another: attacks from one namespace, while the moves of a pool in another namespace are timed. Each
//! attack must cost neither a move, a restart nor a false reason, and the operator stays below the memory limit of the chart. The
//! table shows how much later a move begins and a poll follows than without an attack. `make tenants` limits both ratios, on the
//! release build; in `make test`, a reader judges them, because other processes change them too.

mod attacker;
mod servers;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cgroup::Cgroup;
use crate::support::{Cluster, Operator, TestPool, condition};
use attacker::Attacker;

const VICTIM: &str = "victim";
const EVIL: &str = "evil";
/// The moves that are timed for each attack; `LYNC_MIRROR_TENANT_MOVES` sets another number.
fn moves() -> usize {
    std::env::var("LYNC_MIRROR_TENANT_MOVES").ok().map_or(3, |text| text.parse().unwrap())
}

/// `LYNC_MIRROR_TENANT_RATIO`: the largest ratio of the medians with and without an attack.
fn largest_ratio() -> Option<f64> {
    std::env::var("LYNC_MIRROR_TENANT_RATIO").ok().map(|text| text.parse().unwrap())
}

/// The databases of the victim.
fn user(principal: &str) -> Value {
    json!([{"type": "User", "principal": principal, "databases": ["rtcxds"]}])
}

/// Connections that send this, and read nothing.
fn requests(operator: &Operator, text: &str) -> Vec<TcpStream> {
    let address = operator.address();
    let open = |_| {
        let mut stream = TcpStream::connect(&address).unwrap();
        // The server may close the connection at any time: that is its defence.
        let _ = stream.write_all(text.as_bytes());
        stream
    };
    (0..300).map(open).collect()
}

/// Requests that begin and never end.
fn half_requests(operator: &Operator) -> Vec<TcpStream> {
    requests(operator, &format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Fill: {}\r\n", "z".repeat(4_000)))
}

/// Whole requests, whose responses are never read.
fn whole_requests(operator: &Operator) -> Vec<TcpStream> {
    requests(operator, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
}

struct Measured {
    attack: &'static str,
    /// From the request of each move to its statement.
    begins: Vec<Duration>,
    /// Between the polls of one server of the victim.
    gaps: Vec<Duration>,
    /// The cores that the operator used, and those that all processes of the machine used.
    cores: [f64; 2],
}

/// The processor time of the operator and of the whole machine, in seconds.
fn processor_seconds(operator: &Operator) -> [f64; 2] {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let all = stat.lines().next().unwrap().split_whitespace().skip(1).map(|ticks| ticks.parse::<f64>().unwrap());
    // The fourth and the fifth field are idle time.
    let busy: f64 = all.take(7).enumerate().filter(|(field, _)| ![3, 4].contains(field)).map(|(_, ticks)| ticks).sum();
    [operator.processor_seconds(), busy / 100.0]
}

fn median(times: &[Duration]) -> f64 {
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

/// The time between the polls of the first server since this entry of the journal.
fn poll_gaps(victim: &TestPool, since: u64) -> Vec<Duration> {
    let journal = victim.sim.journal(since);
    let polls =
        journal.iter().filter(|entry| entry.server == "a" && entry.text.contains("JOIN sys.database_mirroring AS m"));
    let started: Vec<u64> = polls.map(|entry| entry.started_millis).collect();
    let mut gaps: Vec<_> = started.windows(2).map(|two| Duration::from_millis(two[1] - two[0])).collect();
    gaps.sort();
    gaps
}

/// Moves the principal of the victim to and fro, and checks that each move is the only one and succeeds.
async fn measure(attack: &'static str, victim: &TestPool, operator: &Operator) -> Measured {
    let (started, used) = (Instant::now(), processor_seconds(operator));
    let mut begins = Vec::new();
    let first = victim.sim.journal(0).last().map_or(0, |entry| entry.seq);
    for round in 0..moves() {
        let status = victim.status("pool01").unwrap();
        let now = status["databaseTypes"][0]["observed"].as_str().unwrap().to_owned();
        let target = if now == "Primary" { "Mirror" } else { "Primary" };
        let since = victim.sim.journal(0).last().map_or(0, |entry| entry.seq);
        let before = victim.failovers().len();
        let requested = Instant::now();
        victim.patch("pool01", &json!({"spec": {"databaseTypes": user(target)}}));
        let begun = |journal: &mirror_sim::journal::Journal| {
            journal.since(since).iter().any(|entry| entry.text.contains("SET PARTNER FAILOVER"))
        };
        victim.sim.until_journal(begun).await;
        begins.push(requested.elapsed());
        let status = victim.until_ready("pool01", "True", "Aligned");
        assert_eq!(status["history"][0]["outcome"], "Succeeded", "{attack}, move {round}: {status}");
        assert_eq!(victim.failovers().len(), before + 1, "{attack}, move {round}: one failover");
        let messages = status["databaseTypes"].to_string() + &status["conditions"].to_string();
        assert!(!messages.contains(EVIL), "the status names nothing of another namespace: {messages}");
    }
    begins.sort();
    let now = processor_seconds(operator);
    let cores = [0, 1].map(|of| (now[of] - used[of]) / started.elapsed().as_secs_f64());
    Measured { attack, begins, gaps: poll_gaps(victim, first), cores }
}

/// A value of /proc/PID/status, in MiB.
fn process_mib(operator: &Operator, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

/// `resources.limits.memory` of the chart, in MiB.
fn memory_limit() -> u64 {
    let values = std::fs::read_to_string(crate::support::root().join("charts/lync-mirror/values.yaml")).unwrap();
    let limit = values.lines().filter_map(|line| line.trim().strip_prefix("memory: ")).next_back().unwrap();
    limit.trim_end_matches("Mi").parse().unwrap()
}

/// Prints the table, and checks what does not depend on other processes.
/// `limited`: the kernel ends a process that needs more than the limit.
fn report(table: &[Measured], operator: &Operator, limited: bool) {
    // The kernel can drop the pages of the program at any time; those of a debug build are many.
    let (peak, program, limit) = (process_mib(operator, "VmHWM"), process_mib(operator, "RssFile"), memory_limit());
    let (largest, mut exceeded) = (largest_ratio().unwrap_or(f64::INFINITY), Vec::new());
    println!(
        "{:<52} {:>10} {:>10} {:>6} {:>8} {:>6} {:>6} {:>8}",
        "attack", "median ms", "most ms", "ratio", "poll ms", "ratio", "cores", "machine"
    );
    for measured in table {
        let most = measured.begins.last().unwrap().as_secs_f64() * 1_000.0;
        let (begin, poll) = (median(&measured.begins), median(&measured.gaps));
        let ratios = [begin / median(&table[0].begins), poll / median(&table[0].gaps)];
        println!(
            "{:<52} {begin:>10.0} {most:>10.0} {:>6.2} {poll:>8.0} {:>6.2} {:>6.2} {:>8.2}",
            measured.attack, ratios[0], ratios[1], measured.cores[0], measured.cores[1]
        );
        if ratios.iter().any(|ratio| *ratio > largest) {
            exceeded.push((measured.attack, ratios));
        }
    }
    println!("peak of the resident memory: {peak} MiB, {program} of them the program, of {limit} MiB");
    assert!(limited || peak.saturating_sub(program) < limit, "{peak} MiB exceed the limit of the chart");
    assert!(exceeded.is_empty(), "more than {largest}: {exceeded:?}");
}

/// The operator for both namespaces.
fn start(cluster: &'static Cluster) -> Operator {
    // The release of the fixture has the permissions of its own namespace only.
    let scopes = format!("watchNamespaces={{{VICTIM},{EVIL}}}");
    let release = format!("lync-mirror-{VICTIM}");
    let chart = ["upgrade", &release, "charts/lync-mirror", "--namespace", VICTIM, "--set", "crds.enabled=false"];
    cluster.helm(&[chart.as_slice(), &["--set", &scopes]].concat());
    Operator::start_scoped(cluster, VICTIM, &[VICTIM, EVIL], 1_024)
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_of_one_tenant_costs_another_neither_a_move_nor_a_false_reason() {
    let cluster = Cluster::private();
    let attacker = Attacker::start(cluster).await;
    let victim = TestPool::on(cluster, VICTIM, true, &["rtcxds"]).await;
    let mut operator = start(cluster);
    let cgroup = Cgroup::limit(operator.pid(), memory_limit());
    cluster.apply(&victim.pool("pool01", user("Primary")));
    victim.until_ready("pool01", "True", "Aligned");

    // A name that is no name reaches no Secret.
    for name in ["..", "a b", "%zz", "../../victim/secrets/sql"] {
        let closed = json!({"host": "127.0.0.1", "port": 9});
        let refused = cluster.try_apply(&Attacker::resource("traversal", &closed, &closed, name));
        assert!(refused.is_err_and(|error| error.contains("secretRef.name")), "{name}");
    }
    let mut table = vec![measure("none", &victim, &operator).await];
    for (attack, exhausts, resources) in [
        ("350 resources with silent servers, 1,024 files", true, attacker.silence()),
        ("30 accounts with a silent KDC", true, attacker.kerberos()),
        ("10 resources with the servers of the victim", false, attacker.squats(&victim)),
        ("6 accounts that read 1,000 databases each", false, attacker.rows()),
        ("60 resources that name one database", false, attacker.conflicts()),
        ("150 resources with 64 databases each", false, Attacker::crowd()),
        ("20 windows that are always open, 200 databases", false, attacker.windows()),
    ] {
        attacker.apply(resources);
        if exhausts {
            attacker.until_limited(attack);
        }
        table.push(measure(attack, &victim, &operator).await);
        assert!(operator.is_running(), "{attack}");
        attacker.retreat();
    }
    for (attack, open) in [
        ("300 unfinished HTTP requests", half_requests as fn(&Operator) -> _),
        ("300 HTTP requests whose response is not read", whole_requests),
    ] {
        let open = open(&operator);
        table.push(measure(attack, &victim, &operator).await);
        drop(open);
    }
    attacker.churn();
    table.push(measure("20 ConfigMaps of 900 kB, one after the other", &victim, &operator).await);
    attacker.retreat();
    let (resources, flapping) = attacker.flap();
    attacker.apply(resources);
    table.push(measure("40 resources that change with every poll", &victim, &operator).await);
    for resources in [attacker.rows(), attacker.conflicts(), attacker.squats(&victim), attacker.silence()] {
        attacker.apply(resources);
    }
    let open = (half_requests(&operator), whole_requests(&operator));
    table.push(measure("the attacks together", &victim, &operator).await);
    drop((open, flapping));
    attacker.retreat();
    report(&table, &operator, cgroup.is_some());
    drop(cgroup);

    assert!(operator.is_running(), "no restart");
    let status = victim.status("pool01").unwrap();
    assert_eq!(condition(&status, "Serving").unwrap()["status"], "True");
    let moves = status["history"].as_array().unwrap();
    assert!(moves.iter().all(|entry| entry["outcome"] == "Succeeded"), "{moves:?}");
}
