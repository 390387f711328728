//! Churn: resources that are created, changed and deleted, Secrets that are rotated, servers that are killed. Nothing of a
//! resource is left after it: no entry, no monitor, no connection, no descriptor, no task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mirror_sim::config::{Config, TlsMode};
use mirror_sim::sim::Sim;
use serde_json::json;
use tokio::runtime::Handle;

use super::tests::pass_until;
use super::*;
use crate::controller::fixture::{Fixture, resource};
use crate::controller::reconcile::reconcile;
use crate::sql::{Limits, Sizes};

/// `make churn` sets it.
const ROUNDS: &str = "LYNC_MIRROR_CHURN";
/// The resources of a round.
const RESOURCES: usize = 12;

/// Set in a process of its own, in which no other test opens a file.
const ALONE: &str = "LYNC_MIRROR_TEST_ALONE";
const CHURN: &str = "controller::context::churn::churn_leaves_nothing_behind";

#[tokio::test(flavor = "multi_thread")]
async fn churn_leaves_nothing_behind() {
    if std::env::var_os(ALONE).is_none() {
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        let status = test.args(["--exact", CHURN, "--nocapture"]).env(ALONE, "1").status().unwrap();
        assert!(status.success());
        return;
    }
    let rounds: usize = std::env::var(ROUNDS).map_or(12, |rounds| rounds.parse().unwrap());
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| server.tls.mode = TlsMode::Required);
    let sim = Sim::start(config).await.unwrap();
    let limits = Limits::new(Sizes { connections: 64, lookups: 8, helpers: 8 }, Vec::new());
    let mut fixture = Fixture::start(limits.clone()).await;
    let mut random = fastrand::Rng::with_seed(14);
    // After the first round, everything that is opened once is open.
    churn(&mut fixture, &sim, 0, &mut random).await;
    let baseline = lowest().await;
    for round in 1..=rounds {
        churn(&mut fixture, &sim, round, &mut random).await;
        assert_eq!(fixture.ctx.entries(), BTreeMap::new(), "round {round}");
        settled(|| limits.open_connections() == 0, "connections").await;
        if round.is_multiple_of(100) {
            println!("round {round}: {:?} tasks and descriptors, {} KB", counts(), resident());
        }
    }
    settled(|| counts().0 <= baseline.0, "tasks").await;
    settled(|| counts().1 <= baseline.1, "descriptors").await;
    println!("{rounds} rounds: {:?} tasks and descriptors, before {baseline:?}", counts());
}

/// The tasks of this runtime, and the descriptors of this process.
fn counts() -> (usize, usize) {
    (Handle::current().metrics().num_alive_tasks(), std::fs::read_dir("/proc/self/fd").unwrap().count())
}

/// The counts once nothing ends any more.
async fn lowest() -> (usize, usize) {
    let (mut lowest, mut unchanged) = (counts(), 0);
    while unchanged < 100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = counts();
        unchanged = if now.0 < lowest.0 || now.1 < lowest.1 { 0 } else { unchanged + 1 };
        lowest = (lowest.0.min(now.0), lowest.1.min(now.1));
    }
    lowest
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The tasks of closed connections end a little later.
async fn settled(condition: impl Fn() -> bool, what: &str) {
    let mut waited = 0;
    while !condition() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        waited += 1;
        assert!(waited < 6_000, "{what} did not return to their number before: {:?}", counts());
    }
}

async fn churn(fixture: &mut Fixture, sim: &Sim, round: usize, random: &mut fastrand::Rng) {
    let ports = ["a", "b"].map(|server| sim.address(server).port());
    let mut alive: Vec<(String, Arc<WatchedResource>)> = Vec::new();
    for number in 0..RESOURCES {
        let name = format!("pool{number}");
        // One of them names a server that does not exist, so that its polls fail.
        let ports = if number == 0 { [1, 2] } else { ports };
        let pool = fixture.apply(&resource(&name, &format!("uid-{round}-{number}"), ports));
        pass(fixture, &pool).await;
        alive.push((name, pool));
        match random.u8(0..4) {
            // The spec changes.
            0 => {
                let at = random.usize(0..alive.len());
                let mut changed = resource(&alive[at].0, &format!("uid-{round}-{at}"), [ports[1], ports[0]]);
                changed["metadata"]["generation"] = json!(2);
                changed["metadata"]["resourceVersion"] = json!("2");
                alive[at].1 = fixture.apply(&changed);
                pass(fixture, &alive[at].1).await;
            }
            // It becomes undecodable.
            1 => {
                let mut broken = resource(&alive[0].0, &format!("uid-{round}-0"), ports);
                broken["spec"] = json!({"sql": 7});
                alive[0].1 = fixture.apply(&broken);
                pass(fixture, &alive[0].1).await;
            }
            // The Secret is rotated to a password that the servers refuse, and back.
            2 => {
                for password in ["another", "secret"] {
                    password.clone_into(&mut fixture.api.password.lock());
                    fixture.ctx.credentials.forget_all();
                    pass(fixture, &alive[random.usize(0..alive.len())].1.clone()).await;
                }
            }
            // A server is killed and starts again.
            _ => {
                sim.do_json(json!({"do": "kill", "server": "b"})).unwrap();
                pass(fixture, &alive[random.usize(0..alive.len())].1.clone()).await;
                sim.do_json(json!({"do": "start", "server": "b"})).unwrap();
            }
        }
    }
    // Each reaches its servers, or knows that they are away.
    let writes = fixture.api.writes.load(Ordering::SeqCst);
    let last = alive[RESOURCES - 1].1.clone();
    fixture.ctx.unconfirmed.forget(&ResourceRef::from_obj(&*last));
    pass_until(fixture, &last, || fixture.api.writes.load(Ordering::SeqCst) > writes).await;
    assert!(fixture.ctx.entries().len() > 4, "{:?}", fixture.ctx.entries());
    for (_, pool) in &alive {
        fixture.delete(pool);
    }
    fixture.ctx.prune_deleted();
    // The time after which no pass can leave data.
    fixture.ctx.deleted.lock().clear();
}

async fn pass(fixture: &Fixture, pool: &Arc<WatchedResource>) {
    // A failed pass has its own entry, which the deletion drops.
    if let Err(error) = reconcile(pool.clone(), fixture.ctx.clone()).await {
        fixture.ctx.retries.failed(&ResourceRef::from_obj(&**pool), &error);
    }
}
