//! The client on servers with settings that differ from the usual ones: the collation, and what the witness shows.

use std::sync::Arc;
use std::time::Duration;

use lync_mirror::model::{Act, Answer, DatabaseName, Failover, Reason, Role, Seat, Server, ServerObservation, Service};
use lync_mirror::sql::{Deadlines, InstanceMonitors, Target, connect_for_moves, differences, fail_over};
use mirror_sim::config::{Config, TlsMode};
use mirror_sim::sim::Sim;
use serde_json::json;

use crate::reconciler::{self, Reconciler};
use crate::support::client;

const NEVER: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> Config {
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| server.tls.mode = TlsMode::Required);
    config
}

fn target(sim: &Sim, server: &str) -> Target {
    client::target(sim.address(server), client::verify(sim))
}

async fn poll(target: &Target) -> Arc<Server> {
    let observation = InstanceMonitors::new(NEVER, Deadlines::default()).watch(target).refresh().await;
    let ServerObservation::Available { server, .. } = observation else { panic!("{observation:?}") };
    server
}

async fn perform(target: &Target, step: &Failover) -> Answer {
    let mut sessions = connect_for_moves(target, 1, &Deadlines::default()).await.unwrap();
    fail_over(sessions.remove(0), step, PATIENCE).await
}

/// The server spells `RtcXds`, the spec `rtcxds`: the poll finds the database by the name of the spec, and only the
/// spelling of the server, which the planner takes from the poll, passes the guard and the ALTER statement.
#[tokio::test]
async fn failover_on_a_case_sensitive_server_uses_the_spelling_of_the_server() {
    let mut config = config();
    config.pairs[0].databases = vec!["RtcXds".to_owned()];
    config.servers.iter_mut().for_each(|server| server.settings.case_sensitive = true);
    let sim = Sim::start(config).await.unwrap();
    let (primary, spec) = (target(&sim, "a"), DatabaseName::new("rtcxds"));
    let server = poll(&primary).await;
    let (spelled, database) = server.databases.get_key_value(&spec).unwrap();
    assert_eq!(spelled.as_str(), "RtcXds");
    let row = database.mirroring.clone().unwrap();
    let step = Failover {
        act: Act::Failover,
        database: spelled.clone(),
        on: Seat::Primary,
        server: server.name.clone(),
        partner: row.partner_instance,
        guid: row.guid,
        role_sequence: row.role_sequence,
    };
    let by_spec = Failover { database: spec.clone(), ..step.clone() };
    assert!(matches!(perform(&primary, &by_spec).await, Answer::GuardRefused { .. }), "another name on this server");
    assert_eq!(perform(&primary, &step).await, Answer::Accepted);
    sim.until(|world| world.failovers().len() == 1).await;
    let after = poll(&target(&sim, "b")).await;
    assert_eq!(after.databases[&spec].mirroring.as_ref().unwrap().role, Role::Principal);
    assert!(sim.journal(0).iter().any(|entry| entry.text.contains("WHERE d.name = N'RtcXds'")));
    assert_eq!(sim.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn witness_rows_have_names_or_addresses_and_need_a_permission() {
    let mut config = config();
    let reader = json!({"name": "reader", "password": "secret", "sysadmin": false, "viewAnyDatabase": true});
    config.servers[2].logins.push(serde_json::from_value(reader).unwrap());
    let sim = Sim::start(config).await.unwrap();
    let principals =
        |server: Arc<Server>| -> Vec<String> { server.witnessed.iter().map(|row| row.principal.clone()).collect() };
    let witness = target(&sim, "w");
    assert_eq!(principals(poll(&witness).await), vec![r"SQL-A\RTC"; 3]);
    sim.do_json(json!({"do": "setServerSettings", "server": "w", "settings": {"witnessNames": "addresses"}})).unwrap();
    let addresses = principals(poll(&witness).await);
    assert!(addresses.len() == 3 && addresses.iter().all(|name| name.starts_with("TCP://")), "{addresses:?}");
    let mut reader = witness;
    reader.login = lync_mirror::sql::Authentication::SqlLogin { username: "reader".into(), password: "secret".into() };
    assert_eq!(principals(poll(&reader).await), Vec::<String>::new());
    assert_eq!(sim.failures(), Vec::<String>::new());
}

/// The differences between the server-level objects of two servers, the first of which has a login of the second node.
async fn differences_of(clustered: bool) -> (Reconciler, Vec<String>) {
    let mut config = reconciler::config();
    let of_a_node = json!({"name": r"SQL-A-N2\backup", "sysadmin": false});
    config.servers[0].logins.push(serde_json::from_value(of_a_node).unwrap());
    config.servers.iter_mut().for_each(|server| server.settings.clustered = clustered);
    let reconciler = Reconciler::aligned(config).await;
    let monitors = InstanceMonitors::new(NEVER, Deadlines::default());
    let (a, b) = (target(&reconciler.sim, "a"), target(&reconciler.sim, "b"));
    let (a, b) = tokio::join!(monitors.inventory(&a), monitors.inventory(&b));
    let names: Vec<DatabaseName> = reconciler.desired.types[0].databases.clone();
    let differences = differences(&a.unwrap(), &b.unwrap(), &names, Seat::Primary);
    (reconciler, differences.into_differences().texts().to_vec())
}

/// A failover cluster instance has the name of the cluster, and logins of the accounts of each node.
#[tokio::test]
async fn failover_cluster_instance_is_moved_as_another_and_compared_without_the_logins_of_its_nodes() {
    let named = |differences: &[String]| differences.iter().filter(|text| text.contains(r"SQL-A-N2\backup")).count();
    let (_, differences) = differences_of(false).await;
    assert_eq!(named(&differences), 1, "{differences:?}");
    let (mut reconciler, differences) = differences_of(true).await;
    assert_eq!(named(&differences), 0, "{differences:?}");
    reconciler.want(Seat::Mirror);
    let plan = reconciler.until(Reason::Aligned).await;
    assert_eq!((plan.service, plan.observed), (Service::Protected, Seat::Mirror.into()));
    assert!(plan.verdict.message.contains(r"SQL-B\RTC"), "{}", plan.verdict.message);
    assert_eq!(reconciler.sent().len(), 3);
    assert_eq!(reconciler.sim.failures(), Vec::<String>::new());
}
