//! Many resources on many pairs: memory, processor time, requests and writes of a cold start and of the time after it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::PostParams;
use kube::runtime::watcher;
use lync_mirror::api::LyncPoolMirror;
use mirror_sim::sim::Sim;
use serde_json::{Value, json};

use super::{Line, client, resident};
use crate::support::{Cluster, Operator, TestPool, log_path, until};

/// How long the operator is measured after all resources are Ready.
const IDLE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(600);

struct Goal {
    resources: usize,
    pairs: usize,
    resident_mb: f64,
    idle_cores: f64,
    ready: Duration,
}

const fn goal(resources: usize, pairs: usize, resident_mb: f64, idle_cores: f64, ready: u64) -> Goal {
    Goal { resources, pairs, resident_mb, idle_cores, ready: Duration::from_secs(ready) }
}

/// Design section 8.6.
const GOALS: [Goal; 3] =
    [goal(100, 10, 25.0, 0.02, 8), goal(1_000, 50, 50.0, 0.02, 8), goal(10_000, 100, 250.0, 0.25, 120)];

/// The sizes of LYNC_MIRROR_SCALE (numbers of resources, e.g. `100,1000`), or the first two.
pub async fn scale() -> Vec<Line> {
    let wanted = std::env::var("LYNC_MIRROR_SCALE").unwrap_or_else(|_| "100,1000".to_owned());
    let wanted: Vec<usize> = wanted.split(',').map(|size| size.parse().unwrap()).collect();
    let mut lines = Vec::new();
    for goal in GOALS.iter().filter(|goal| wanted.contains(&goal.resources)) {
        lines.extend(measure(goal).await);
    }
    lines
}

async fn measure(goal: &Goal) -> Vec<Line> {
    let namespace = format!("scale{}", goal.resources);
    let fixture = TestPool::of(Cluster::private(), &namespace, simulate(goal).await);
    fixture.secret("Passw0rd");
    fixture.ca_bundle(&fixture.sim.ca_pem());
    create_all(&fixture, goal).await;

    let begun = Instant::now();
    let operator = Operator::start_quiet(fixture.cluster, &namespace);
    until_all_are_ready(&fixture, goal.resources).await;
    let ready = begun.elapsed();
    let start = Sample::take(&fixture, &operator).await;
    tokio::time::sleep(IDLE).await;
    let end = Sample::take(&fixture, &operator).await;

    let (count, seconds) = (goal.resources as f64, IDLE.as_secs_f64());
    let (resident, _, peak) = resident(&operator);
    let cores = (end.cpu - start.cpu) / seconds;
    let lost = std::fs::read_to_string(log_path(&namespace)).unwrap().matches("leadership ended").count();
    let line = |what: &str, figure: String, goal_text: String, within: bool| Line {
        what: format!("{} on {} pairs: {what}", goal.resources, goal.pairs).leak(),
        figure,
        goal: goal_text.leak(),
        within,
    };
    let shown = |what: &str, figure: String| line(what, figure, "-".to_owned(), true);
    let limit = |limit: f64, unit: &str| format!("< {limit} {unit}");
    vec![
        line(
            "resident (peak)",
            format!("{resident:.1} ({peak:.1}) MB"),
            limit(goal.resident_mb, "MB"),
            resident < goal.resident_mb,
        ),
        line("cores while idle", format!("{cores:.4}"), limit(goal.idle_cores, ""), cores < goal.idle_cores),
        line(
            "start to all Ready",
            format!("{:.1} s", ready.as_secs_f64()),
            limit(goal.ready.as_secs_f64(), "s"),
            ready < goal.ready,
        ),
        shown("status writes per resource at the start", format!("{:.2}", start.status_writes / count)),
        shown("passes per resource at the start", format!("{:.2}", start.passes / count)),
        shown("processor time of the start", format!("{:.1} s", start.cpu)),
        shown("passes per second while idle", format!("{:.1}", (end.passes - start.passes) / seconds)),
        shown("API requests per second while idle", format!("{:.2}", (end.requests - start.requests) / seconds)),
        shown("status writes while idle", format!("{}", end.status_writes - start.status_writes)),
        line("leases lost", lost.to_string(), "0".to_owned(), lost == 0),
        shown("connections to the API server", connections(&fixture, &operator).to_string()),
    ]
}

async fn simulate(goal: &Goal) -> Sim {
    let logins = json!([{"name": "lync-mirror", "password": "Passw0rd"}]);
    let ids = (0..goal.pairs).flat_map(|pair| [format!("a{pair}"), format!("b{pair}")]);
    let servers: Vec<Value> = ids.map(|id| TestPool::server_config(&id, "sql", logins.clone())).collect();
    let each = goal.resources / goal.pairs;
    let databases: Vec<String> = (0..each).map(|database| format!("db{database}")).collect();
    let pair = |at: usize| json!({"name": format!("pool{at}"), "primary": format!("a{at}"), "mirror": format!("b{at}"), "databases": databases});
    let config = json!({"servers": servers, "pairs": (0..goal.pairs).map(pair).collect::<Vec<_>>()});
    Sim::start(serde_json::from_value(config).unwrap()).await.unwrap()
}

/// Creates all resources before the operator starts.
async fn create_all(fixture: &TestPool, goal: &Goal) {
    let api = client(fixture).await;
    let each = goal.resources / goal.pairs;
    let resources = (0..goal.resources).map(|index| {
        let (pair, database) = (index / each, index % each);
        let resource = json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
            "metadata": {"name": format!("pool{pair}-db{database}"), "namespace": fixture.namespace},
            "spec": {
                "poolFqdn": format!("pool{pair}.contoso.com"),
                "sql": {
                    "primary": fixture.server(&format!("a{pair}")), "mirror": fixture.server(&format!("b{pair}")),
                    "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
                    "tls": {"mode": "Verify", "caBundle": {"configMapRef": {"name": "sql-ca"}}},
                },
                "databaseTypes": [{"type": "Archiving", "principal": "Primary", "databases": [format!("db{database}")]}],
            },
        });
        serde_json::from_value::<LyncPoolMirror>(resource).unwrap()
    });
    let created = stream::iter(resources).map(|resource| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &resource).await.map(drop) }
    });
    created.buffer_unordered(16).try_collect::<Vec<()>>().await.unwrap();
}

/// By a watch: lists of thousands of resources would be most of the load of the API server.
async fn until_all_are_ready(fixture: &TestPool, wanted: usize) {
    let api = client(fixture).await;
    let events = watcher::watcher(api, watcher::Config::default());
    let all_ready = async {
        let (mut events, mut ready) = (std::pin::pin!(events), HashSet::new());
        while ready.len() < wanted {
            let event = events.next().await.unwrap().unwrap();
            let (watcher::Event::Apply(resource) | watcher::Event::InitApply(resource)) = event else { continue };
            let conditions = resource.status.map(|status| status.conditions).unwrap_or_default();
            if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
                ready.insert(resource.metadata.name);
            }
        }
    };
    tokio::time::timeout(PATIENCE, all_ready).await.unwrap();
}

/// Totals since the start of the operator, and of the API server for the requests.
struct Sample {
    cpu: f64,
    passes: f64,
    status_writes: f64,
    requests: f64,
}

impl Sample {
    async fn take(fixture: &TestPool, operator: &Operator) -> Sample {
        let page = reqwest::get(format!("http://{}/metrics", operator.address())).await.unwrap().text().await.unwrap();
        let requests =
            until("the API server has metrics", || fixture.cluster.try_kubectl(&["get", "--raw", "/metrics"]));
        Sample {
            cpu: operator.processor_seconds(),
            passes: total(&page, "lync_mirror_reconciles_total"),
            status_writes: total(&page, "lync_mirror_status_writes_total"),
            requests: total(&requests, "apiserver_request_total"),
        }
    }
}

/// The sum of all series of a counter.
fn total(page: &str, name: &str) -> f64 {
    let series = page.lines().filter(|line| line.starts_with(name));
    series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// The open connections of the operator to the API server.
fn connections(fixture: &TestPool, operator: &Operator) -> usize {
    let kubeconfig = kube::config::Kubeconfig::read_from(fixture.cluster.dir.join("kubeconfig")).unwrap();
    let server = kubeconfig.clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
    let port: u16 = server.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", operator.pid())).unwrap();
    let own: HashSet<String> = descriptors
        .filter_map(|descriptor| {
            std::fs::read_link(descriptor.unwrap().path()).ok()?.into_os_string().into_string().ok()
        })
        .collect();
    let tcp = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    tcp.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(2).is_some_and(|address| address.ends_with(&remote)))
        .filter(|fields| own.contains(&format!("socket:[{}]", fields[9])))
        .count()
}
