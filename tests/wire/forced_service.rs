//! The guard of a forced service on the simulated pair: the states of the mirror in which the statement runs.

use std::time::Duration;

use crate::support::client;
use lync_mirror::model::{Act, Answer, DatabaseName, Failover, MirroringState, Seat, ServerObservation};
use lync_mirror::sql::{Deadlines, InstanceMonitors, Target, connect_for_moves, fail_over};
use mirror_sim::config::Config;
use mirror_sim::sim::Sim;
use serde_json::json;

const NEVER: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);

/// A pair without a witness, and its mirror.
async fn pair() -> (Sim, Target) {
    let mut config = Config::sample();
    config.pairs[0].witness = None;
    config.servers.iter_mut().for_each(|server| server.tls.mode = mirror_sim::config::TlsMode::Required);
    let sim = Sim::start(config).await.unwrap();
    let mirror = client::target(sim.address("b"), client::verify(&sim));
    (sim, mirror)
}

/// The state that the mirror reports, and the step that forces service there.
async fn step(mirror: &Target) -> (MirroringState, Failover) {
    let observation = InstanceMonitors::new(NEVER, Deadlines::default()).watch(mirror).refresh().await;
    let ServerObservation::Available { server, .. } = observation else { panic!("{observation:?}") };
    let database = DatabaseName::new("rtcxds");
    let row = server.databases[&database].mirroring.clone().unwrap();
    let step = Failover {
        act: Act::ForceService,
        database,
        on: Seat::Mirror,
        server: server.name.clone(),
        partner: row.partner_instance,
        guid: row.guid,
        role_sequence: row.role_sequence,
    };
    (row.state, step)
}

fn pair_id() -> String {
    Config::sample().pairs[0].name.clone()
}

async fn force(mirror: &Target, step: &Failover) -> Answer {
    let mut sessions = connect_for_moves(mirror, 1, &Deadlines::default()).await.unwrap();
    fail_over(sessions.remove(0), step, PATIENCE).await
}

#[tokio::test]
async fn forced_service_beside_a_synchronized_principal_is_refused_by_the_guard() {
    let (sim, mirror) = pair().await;
    let (state, step) = step(&mirror).await;
    assert_eq!(state, MirroringState::Synchronized);
    assert!(matches!(force(&mirror, &step).await, Answer::GuardRefused { .. }));
    assert!(!sim.journal(0).iter().any(|entry| entry.text.starts_with("ALTER")));
}

#[tokio::test]
async fn forced_service_on_a_disconnected_mirror_passes_the_guard() {
    let (sim, mirror) = pair().await;
    sim.do_json(json!({ "do": "kill", "server": "a" })).unwrap();
    sim.settled().await;
    let step = loop {
        if let (MirroringState::Disconnected, step) = step(&mirror).await {
            break step;
        }
    };
    assert_eq!(force(&mirror, &step).await, Answer::Accepted);
    assert_eq!(sim.failures(), Vec::<String>::new());
}

/// SQL Server itself decides about a session that is SUSPENDED (error 1455 while the partners are connected).
#[tokio::test]
async fn forced_service_on_a_suspended_mirror_passes_the_guard() {
    let (sim, mirror) = pair().await;
    sim.do_json(json!({ "do": "suspend", "pair": pair_id() })).unwrap();
    let (state, step) = step(&mirror).await;
    assert_eq!(state, MirroringState::Suspended);
    let answer = force(&mirror, &step).await;
    assert!(!matches!(answer, Answer::GuardRefused { .. } | Answer::NotSent { .. }), "{answer:?}");
    assert_eq!(sim.failures(), Vec::<String>::new());
}
