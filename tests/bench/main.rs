//! `make bench`: what the release build costs and how fast it is, on the real API server and the simulated pair. It
//! prints figures; it fails when something cannot be measured or a ratio or count is off, never on a noisy clock.
#![allow(clippy::unwrap_used, reason = "a bench may fail")]

#[path = "../support/mod.rs"]
mod support;

mod scale;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lync_mirror::model::ServerObservation;
use lync_mirror::sql::{Account, Authentication, Deadlines, InstanceAddress, InstanceMonitors, Target, Tls};
use serde_json::{Value, json};
use support::{Operator, TestPool, condition, types, until};

const MOVES: usize = 60;
const RESOURCES: usize = 100;
const POLLS: usize = 300;
/// How long the simulated servers take to switch in the bench of the overhead.
const SWITCH: i64 = 400;

struct Line {
    what: &'static str,
    figure: String,
    goal: &'static str,
    within: bool,
}

fn main() -> ExitCode {
    // The SQL client starts its own program to get a Kerberos ticket.
    if std::env::args().nth(1).as_deref() == Some("ticket") {
        return lync_mirror::cli::dispatch().unwrap();
    }
    tokio::runtime::Runtime::new().unwrap().block_on(measure());
    ExitCode::SUCCESS
}

async fn measure() {
    println!("measuring {}", std::env::var("LYNC_MIRROR_BINARY").unwrap_or_else(|_| "the debug build".to_owned()));
    // `cargo test --test bench -- memory` measures that part alone.
    let only = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let mut lines = vec![size()];
    if wanted("memory") {
        lines.extend(memory().await);
    }
    if wanted("start") {
        lines.extend(start().await);
    }
    if wanted("moves") {
        lines.extend(moves().await);
    }
    if wanted("ratio") {
        lines.push(ratio().await);
    }
    if wanted("silent") {
        lines.push(silent(&Silence::Server).await);
        lines.push(silent(&Silence::Kdc).await);
    }
    if wanted("handover") {
        lines.push(hand_over().await);
    }
    if wanted("scale") {
        lines.extend(scale::scale().await);
    }
    println!("\n{:<52} {:>34}  {:<14} ", "what", "figure", "goal");
    for Line { what, figure, goal, within } in &lines {
        println!("{what:<52} {figure:>34}  {goal:<14} {}", if *within { "ok" } else { "OVER" });
    }
}

fn size() -> Line {
    let path = std::env::var("LYNC_MIRROR_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_lync-mirror").to_owned());
    let bytes = std::fs::metadata(path).unwrap().len();
    Line { what: "binary", figure: format!("{:.1} MB", bytes as f64 / 1e6), goal: "-", within: true }
}

/// Resident memory, its anonymous part, and the peak, in MB, from /proc.
fn resident(operator: &Operator) -> (f64, f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
    };
    (field("VmRSS:"), field("RssAnon:"), field("VmHWM:"))
}

fn until_all_ready(fixture: &TestPool, wanted: usize) {
    until("all are Ready", || {
        let all = fixture.cluster.get_json(&["lpm", "-n", &fixture.namespace])?;
        let ready = |item: &&Value| condition(&item["status"], "Ready").is_some_and(|ready| ready["status"] == "True");
        let count = all["items"].as_array().map_or(0, |items| items.iter().filter(ready).count());
        if count == wanted { Ok(()) } else { Err(format!("{count} of {wanted}")) }
    });
}

async fn memory() -> Vec<Line> {
    let names: Vec<String> = (0..RESOURCES).map(|index| format!("db{index:03}")).collect();
    let databases: Vec<&str> = names.iter().map(String::as_str).collect();
    let fixture = TestPool::with_databases("memory", true, &databases).await;
    let operator = Operator::start(fixture.cluster, "memory", "1s");
    let pool =
        |name: &String| fixture.pool(name, json!([{"type": "Archiving", "principal": "Primary", "databases": [name]}]));
    let mut lines = Vec::new();
    for (count, what) in [
        (1, "resident with 1 resource (anonymous, peak)"),
        (RESOURCES, "resident with 100 resources (anonymous, peak)"),
    ] {
        let pools: Vec<Value> = names[..count].iter().map(pool).collect();
        fixture.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": pools}));
        until_all_ready(&fixture, count);
        // Some more polls, so that the allocations of a poll are counted.
        let seen = fixture.sim.journal(0).len();
        fixture.sim.until_journal(|journal| journal.since(0).len() > seen + 20).await;
        let (now, own, peak) = resident(&operator);
        lines.push(Line {
            what,
            figure: format!("{now:.1} MB ({own:.1}, {peak:.1})"),
            goal: "< 20 MB",
            within: now < 20.0,
        });
    }
    lines
}

async fn start() -> Vec<Line> {
    let fixture = TestPool::start("cold", true).await;
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let begun = Instant::now();
    let operator = Operator::start(fixture.cluster, "cold", "1s");
    let url = format!("http://{}/readyz", operator.address());
    loop {
        if let Ok(answer) = reqwest::get(&url).await
            && answer.status().is_success()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let probe = begun.elapsed();
    fixture.until_ready("pool01", "True", "Aligned");
    let ready = begun.elapsed();
    let line =
        |what, took: Duration, goal, within| Line { what, figure: format!("{} ms", took.as_millis()), goal, within };
    vec![
        line("cold start to /readyz", probe, "< 1 s", probe < Duration::from_secs(1)),
        line("cold start to the first Ready (seen by kubectl)", ready, "-", true),
    ]
}

/// From the answer of the API server to the patch until the first failover statement on the wire; and what the
/// operator adds to the servers' own time.
async fn moves() -> Vec<Line> {
    let fixture = TestPool::start("moves", true).await;
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": SWITCH}));
    let _operator = Operator::start(fixture.cluster, "moves", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    let api = client(&fixture).await;
    let (mut delays, mut overheads) = (Vec::new(), Vec::new());
    for round in 0..MOVES {
        let seat = if round % 2 == 0 { "Mirror" } else { "Primary" };
        let since = fixture.sim.journal(0).last().map_or(0, |entry| entry.seq);
        let patch = json!([{"op": "replace", "path": "/spec/databaseTypes/0/principal", "value": seat}]);
        let patch = kube::api::Patch::<()>::Json(serde_json::from_value(patch).unwrap());
        let requested = Instant::now();
        api.patch("pool01", &kube::api::PatchParams::default(), &patch).await.unwrap();
        let ddl = |journal: &mirror_sim::journal::Journal| {
            journal.since(since).iter().any(|entry| entry.text.contains("SET PARTNER FAILOVER"))
        };
        fixture.sim.until_journal(ddl).await;
        delays.push(requested.elapsed());
        let status = fixture.until_ready("pool01", "True", "Aligned");
        let entry = &status["history"][0];
        let phases = ["connectMillis", "statementMillis", "verifyMillis"];
        overheads.push(phases.iter().map(|phase| entry[phase].as_i64().unwrap()).sum::<i64>() - SWITCH);
    }
    delays.sort();
    overheads.sort_unstable();
    let (p50, p99) = (delays[MOVES / 2], delays[MOVES * 99 / 100]);
    let (o50, o99) = (overheads[MOVES / 2], overheads[MOVES * 99 / 100]);
    vec![
        Line {
            what: "spec change to statement on the wire, p50 / p99",
            figure: format!("{} / {} ms of {MOVES}", p50.as_millis(), p99.as_millis()),
            goal: "p99 < 1 s",
            within: p99 < Duration::from_secs(1),
        },
        Line {
            what: "operator's share of a move, p50 / p99",
            figure: format!("{o50} / {o99} ms of {MOVES}"),
            goal: "< 500 ms",
            within: o99 < 500,
        },
    ]
}

async fn client(fixture: &TestPool) -> kube::Api<lync_mirror::api::LyncPoolMirror> {
    let kubeconfig = kube::config::Kubeconfig::read_from(fixture.cluster.dir.join("kubeconfig")).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    kube::Api::namespaced(kube::Client::try_from(config).unwrap(), &fixture.namespace)
}

/// Three databases of 2 s each, relative to one: they move in parallel.
async fn ratio() -> Line {
    let fixture = TestPool::start("ratio", true).await;
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 2_000}));
    let _operator = Operator::start(fixture.cluster, "ratio", "1s");
    let all = ["rtcxds", "rtcshared", "rtcab"];
    let mut took = Vec::new();
    for (name, databases) in [("one", &all[..1]), ("three", &all[..])] {
        let pool =
            |seat: &str| fixture.pool(name, json!([{"type": "User", "principal": seat, "databases": databases}]));
        fixture.cluster.apply(&pool("Primary"));
        fixture.until_ready(name, "True", "Aligned");
        fixture.cluster.apply(&pool("Mirror"));
        let status = fixture.until_ready(name, "True", "Aligned");
        took.push(status["history"][0]["statementMillis"].as_i64().unwrap());
        fixture.cluster.apply(&pool("Primary"));
        fixture.until_ready(name, "True", "Aligned");
        fixture.cluster.kubectl(&["delete", "lpm", name, "-n", &fixture.namespace]);
    }
    let ratio = took[1] as f64 / took[0] as f64;
    assert!(ratio <= 1.1, "three databases took {ratio:.2} times as long as one: {took:?} ms");
    Line {
        what: "three databases of 2 s / one (one by one: 3.00)",
        figure: format!("{ratio:.2} ({} / {} ms)", took[1], took[0]),
        goal: "<= 1.1",
        within: true,
    }
}

/// The part that accepts connections and never answers.
enum Silence {
    Server,
    Kdc,
}

/// The time of a poll of a healthy server while twenty others never answer, relative to a poll without them.
async fn silent(silence: &Silence) -> Line {
    let sim = TestPool::simulate(true, &["rtcxds"]).await;
    let kdc = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sql = |username: &str| Authentication::SqlLogin { username: username.into(), password: "Passw0rd".into() };
    let target = |server: &str, login: Authentication| Target {
        host: sim.address(server).ip().to_string(),
        endpoint: InstanceAddress::Port(sim.address(server).port()),
        login,
        tls: Tls::TrustServerCertificate,
        namespace: "lync".into(),
    };
    let monitors = || InstanceMonitors::new(Duration::from_secs(1), Deadlines::default());
    let (quiet, busy) = (monitors(), monitors());
    let healthy = ["c", "d"].map(|server| target(server, sql("lync-mirror")));
    let healthy = [quiet.watch(&healthy[0]), busy.watch(&healthy[1])];
    let (what, login): (_, Box<dyn Fn(usize) -> Authentication>) = match silence {
        Silence::Server => {
            sim.do_json(json!({"do": "pause", "server": "a"})).unwrap();
            ("a poll beside 20 silent instances / alone", Box::new(|at| sql(&format!("login{at}"))))
        }
        Silence::Kdc => {
            let kdcs = vec![kdc.local_addr().unwrap().to_string()];
            let account = move |at| Account::new(&format!("svc{at}@CONTOSO.TEST"), keytab(at), kdcs.clone()).unwrap();
            (
                "a poll beside 20 logins at a silent KDC / alone",
                Box::new(move |at| Authentication::Kerberos(account(at).into())),
            )
        }
    };
    let unavailable: Vec<_> = (0..20).map(|at| busy.watch(&target("a", login(at)))).collect();
    // In turns, so that other load on the machine slows both.
    let mut took = [Vec::new(), Vec::new()];
    for turn in 0..2 * POLLS {
        let started = Instant::now();
        assert!(matches!(healthy[turn % 2].refresh().await, ServerObservation::Available { .. }));
        took[turn % 2].push(started.elapsed());
    }
    let [alone, beside] = took.map(|mut took| {
        took.sort();
        took[POLLS / 2]
    });
    assert!(unavailable.iter().all(|watch| matches!(watch.latest(), ServerObservation::Unavailable { .. })));
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    assert!(ratio <= 1.5, "a poll took {beside:?} beside silent instances, {alone:?} alone");
    Line { what, figure: format!("{ratio:.2} ({beside:.1?} / {alone:.1?})"), goal: "<= 1.5", within: true }
}

/// A keytab with one AES key of this account (the MIT file format, version 2).
fn keytab(account: usize) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let key = [7; 32];
    let entry = [
        &1_u16.to_be_bytes()[..],
        &text("CONTOSO.TEST"),
        &text(&format!("svc{account}")),
        &1_u32.to_be_bytes(),
        &0_u32.to_be_bytes(),
        &[1],
        &18_u16.to_be_bytes(),
        &(key.len() as u16).to_be_bytes(),
        &key,
    ]
    .concat();
    [&[5, 2][..], &(entry.len() as u32).to_be_bytes(), &entry].concat()
}

/// From SIGTERM of the leader until the other replica leads.
async fn hand_over() -> Line {
    let fixture = TestPool::start("handover", true).await;
    let first = Operator::start_as(fixture.cluster, "handover", "1s", "first");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    let _second = Operator::start_as(fixture.cluster, "handover", "1s", "second");
    let lease = || fixture.cluster.get_json(&["lease", "lync-mirror-handover", "-n", "handover"]);
    let holder = |lease: &Value| lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    assert!(holder(&lease().unwrap()).starts_with("first"));
    let requested = Instant::now();
    assert_eq!(first.stop(), Some(0));
    until("the second leads", || {
        let holder = holder(&lease()?);
        if holder.starts_with("second") { Ok(()) } else { Err(holder) }
    });
    let took = requested.elapsed();
    Line {
        what: "hand-over of the leader on SIGTERM",
        figure: format!("{} ms", took.as_millis()),
        goal: "< 3 s",
        within: took < Duration::from_secs(3),
    }
}
