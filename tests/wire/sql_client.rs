//! The module `sql` against the simulated pair over real sockets: polls, unavailable servers, and guarded failovers.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lync_mirror::model::Failover;
use lync_mirror::model::{
    Answer, DatabaseName, MirroringState, Role, Safety, Seat, Server, ServerObservation, UnavailableCause, WitnessLink,
};
use lync_mirror::sql::{Authentication, Deadlines, InstanceMonitors, POLL, Target, Tls, connect_for_moves, fail_over};

use crate::support::client;
use mirror_sim::config::{Config, LoginConfig, TlsMode};
use mirror_sim::sim::Sim;
use serde_json::json;

/// So long that only requested polls happen.
const NEVER: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);
const DATABASES: [&str; 3] = ["rtcab", "rtcshared", "rtcxds"];

fn config() -> Config {
    let mut config = Config::sample();
    for server in &mut config.servers {
        server.tls.mode = TlsMode::Required;
        server.logins.iter_mut().for_each(|login| login.view_server_state = true);
    }
    config
}

async fn start(config: Config) -> Sim {
    Sim::start(config).await.unwrap()
}

fn target(sim: &Sim, server: &str) -> Target {
    client::target(sim.address(server), client::verify(sim))
}

fn monitors() -> InstanceMonitors {
    InstanceMonitors::new(NEVER, Deadlines::default())
}

fn available(view: ServerObservation) -> Arc<Server> {
    match view {
        ServerObservation::Available { server, .. } => server,
        ServerObservation::Unavailable { unavailable, .. } => panic!("unavailable: {unavailable:?}"),
    }
}

#[track_caller]
fn unavailable(view: ServerObservation, cause: UnavailableCause) -> String {
    match view {
        ServerObservation::Unavailable { unavailable, .. } => {
            assert_eq!(unavailable.cause, cause, "{}", unavailable.detail);
            unavailable.detail
        }
        ServerObservation::Available { .. } => panic!("available"),
    }
}

async fn poll(target: &Target) -> ServerObservation {
    monitors().watch(target).refresh().await
}

/// The step that moves the database away from `server`, as the planner writes it from a complete observation.
async fn step(sim: &Sim, server: &str, database: &str) -> Failover {
    let seen = available(poll(&target(sim, server)).await);
    let mirroring = seen.databases[&DatabaseName::new(database)].mirroring.clone().unwrap();
    Failover {
        act: lync_mirror::model::Act::Failover,
        database: DatabaseName::new(database),
        on: Seat::Primary,
        server: seen.name.clone(),
        partner: mirroring.partner_instance,
        guid: mirroring.guid,
        role_sequence: mirroring.role_sequence,
    }
}

async fn perform(sim: &Sim, server: &str, step: &Failover) -> Answer {
    let mut sessions = connect_for_moves(&target(sim, server), 1, &Deadlines::default()).await.unwrap();
    fail_over(sessions.remove(0), step, PATIENCE).await
}

fn nothing_unknown(sim: &Sim) {
    assert_eq!(sim.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn poll_of_partners_and_witness_reads_their_roles() {
    let sim = start(config()).await;
    let (a, b, w) = (target(&sim, "a"), target(&sim, "b"), target(&sim, "w"));
    let (a, b, w) = tokio::join!(poll(&a), poll(&b), poll(&w));
    let (a, b, w) = (available(a), available(b), available(w));
    assert_eq!((a.name.as_str(), b.name.as_str()), ("SQL-A\\RTC", "SQL-B\\RTC"));
    assert!(a.sysadmin && a.view_server_state && a.view_any_database);
    assert_eq!((a.login.as_str(), a.version.as_str()), ("operator", "11.0.7001.0"));
    for database in DATABASES.map(DatabaseName::new) {
        let (on_a, on_b) = (&a.databases[&database], &b.databases[&database]);
        assert!(on_a.send_queue_kb.is_some() && on_b.redo_queue_kb.is_some(), "{on_a:?} {on_b:?}");
        let (on_a, on_b) = (on_a.mirroring.as_ref().unwrap(), on_b.mirroring.as_ref().unwrap());
        assert_eq!((on_a.role, on_b.role), (Role::Principal, Role::Mirror));
        assert_eq!((on_a.state, on_b.state), (MirroringState::Synchronized, MirroringState::Synchronized));
        assert_eq!((on_a.safety, on_a.witness), (Safety::Full, WitnessLink::Connected));
        assert_eq!(on_a.guid, on_b.guid);
        assert_eq!((on_a.partner_instance.as_str(), on_b.partner_instance.as_str()), ("SQL-B\\RTC", "SQL-A\\RTC"));
        let third = w.witnessed.iter().find(|row| row.database == database).unwrap();
        assert_eq!((third.guid, third.role_sequence), (on_a.guid, on_a.role_sequence));
    }
    let endpoint = a.endpoint.as_ref().unwrap();
    assert!(endpoint.started && endpoint.partner, "{endpoint:?}");
    nothing_unknown(&sim);
}

#[tokio::test]
async fn certificate_without_its_ca_or_name_is_rejected() {
    let (sim, other) = tokio::join!(start(config()), start(config()));
    let mut target = target(&sim, "a");
    available(poll(&target).await);

    target.tls = Tls::Verify { ca_pem: Some(other.ca_pem().into()) };
    let detail = unavailable(poll(&target).await, UnavailableCause::TlsFailed);
    assert!(detail.contains("spec.sql.tls.caBundle"), "{detail}");

    target.tls = Tls::TrustServerCertificate;
    available(poll(&target).await);
    nothing_unknown(&sim);
}

#[tokio::test]
async fn server_without_encryption_receives_no_login() {
    let mut config = config();
    config.servers[0].tls.mode = TlsMode::Off;
    let sim = start(config).await;
    unavailable(poll(&target(&sim, "a")).await, UnavailableCause::TlsFailed);
    assert!(sim.logins(0).is_empty());
}

#[tokio::test]
async fn password_that_is_wrong_is_named_and_not_shown() {
    let sim = start(config()).await;
    let mut target = target(&sim, "a");
    target.login = Authentication::SqlLogin { username: "operator".into(), password: "hunter2".into() };
    let detail = unavailable(poll(&target).await, UnavailableCause::LoginFailed);
    assert!(detail.contains("operator") && detail.contains("18456"), "{detail}");
    assert!(!detail.contains("hunter2"), "{detail}");
}

#[tokio::test]
async fn login_that_is_locked_differs_from_a_wrong_password() {
    let mut config = config();
    config.servers[0].logins = ["locked", "disabled"].map(|why| login(json!({"name": why, why: true}))).to_vec();
    let sim = start(config).await;
    for (why, number) in [("locked", "18486"), ("disabled", "18470")] {
        let mut target = target(&sim, "a");
        target.login = Authentication::SqlLogin { username: why.into(), password: "secret".into() };
        let detail = unavailable(poll(&target).await, UnavailableCause::LoginLocked);
        assert!(detail.contains(why) && detail.contains(number), "{detail}");
        // A client with a wrong password must not learn that the login is locked.
        target.login = Authentication::SqlLogin { username: why.into(), password: "hunter2".into() };
        unavailable(poll(&target).await, UnavailableCause::LoginFailed);
    }
}

/// A login of the sample's password.
fn login(mut fields: serde_json::Value) -> LoginConfig {
    fields["password"] = json!("secret");
    serde_json::from_value(fields).unwrap()
}

#[tokio::test]
async fn mirror_without_sysadmin_shows_no_roles() {
    let mut config = config();
    for server in &mut config.servers {
        server.logins.push(login(json!({"name": "reader", "sysadmin": false, "viewAnyDatabase": true})));
    }
    let sim = start(config).await;
    let mut target = target(&sim, "b");
    target.login = Authentication::SqlLogin { username: "reader".into(), password: "secret".into() };
    let seen = available(poll(&target).await);
    assert!(!seen.sysadmin && !seen.view_server_state && seen.view_any_database);
    let database = &seen.databases[&DatabaseName::new("rtcxds")];
    assert_eq!((&database.mirroring, database.redo_queue_kb), (&None, None));
    nothing_unknown(&sim);
}

#[tokio::test]
async fn server_that_freezes_becomes_unavailable_and_returns() {
    let sim = start(config()).await;
    let monitors = InstanceMonitors::new(NEVER, Deadlines { batch: Duration::from_secs(1), ..Deadlines::default() });
    let watch = monitors.watch(&target(&sim, "a"));
    available(watch.refresh().await);
    sim.do_json(json!({ "do": "pause", "server": "a" })).unwrap();
    let detail = unavailable(watch.refresh().await, UnavailableCause::Unresponsive);
    assert!(detail.contains("the poll"), "{detail}");
    sim.do_json(json!({ "do": "unpause", "server": "a" })).unwrap();
    available(watch.refresh().await);
    assert_eq!(monitors.counters().connections, 2, "the connection that timed out is not used again");
}

#[tokio::test]
async fn server_that_stops_becomes_unavailable_and_returns() {
    let sim = start(config()).await;
    let monitors = monitors();
    let mut changes = monitors.changes();
    let watch = monitors.watch(&target(&sim, "a"));
    available(watch.refresh().await);
    sim.do_json(json!({ "do": "kill", "server": "a" })).unwrap();
    sim.settled().await;
    // The poll renews the session that has ended, and the server refuses the new connection.
    unavailable(watch.refresh().await, UnavailableCause::ConnectionRefused);
    sim.do_json(json!({ "do": "start", "server": "a" })).unwrap();
    sim.settled().await;
    available(watch.refresh().await);
    for _ in 0..3 {
        assert_eq!(changes.recv().await, Ok(watch.id()));
    }
    let unavailable = connect_for_moves(&target(&sim, "a"), 3, &Deadlines::default()).await.err();
    assert_eq!(unavailable, None);
}

#[tokio::test]
async fn connection_that_stalls_in_a_phase_names_the_phase() {
    let sim = start(config()).await;
    let brief = Duration::from_millis(300);
    let usual = Deadlines::default();
    for (phase, deadlines, words) in [
        ("connect", Deadlines { prelogin: brief, ..usual }, "the TDS prelogin"),
        ("prelogin", Deadlines { prelogin: brief, ..usual }, "the TDS prelogin"),
        ("tls", Deadlines { tls: brief, ..usual }, "the TLS handshake"),
        ("login", Deadlines { login: brief, ..usual }, "the login"),
        ("batch", Deadlines { batch: brief, ..usual }, "the poll"),
    ] {
        sim.do_json(json!({ "do": "stall", "server": "a", "phase": phase })).unwrap();
        let watch = InstanceMonitors::new(NEVER, deadlines).watch(&target(&sim, "a"));
        let detail = unavailable(watch.refresh().await, UnavailableCause::Unresponsive);
        assert!(detail.contains(words), "{phase}: {detail}");
    }
}

#[tokio::test]
async fn garbage_in_any_phase_is_reported_as_a_protocol_error() {
    let sim = start(config()).await;
    for (phase, cause) in [
        ("connect", UnavailableCause::ProtocolError),
        ("prelogin", UnavailableCause::ProtocolError),
        ("tls", UnavailableCause::ProtocolError),
        ("login", UnavailableCause::ProtocolError),
        ("batch", UnavailableCause::ProtocolError),
    ] {
        sim.do_json(json!({ "do": "garbage", "server": "a", "phase": phase })).unwrap();
        let detail = unavailable(poll(&target(&sim, "a")).await, cause);
        assert!(!detail.contains('\n'), "{phase}: {detail}");
    }
}

#[tokio::test]
async fn instance_with_fifty_watches_is_polled_once() {
    let sim = start(config()).await;
    let monitors = monitors();
    let target = target(&sim, "a");
    let watches: Vec<_> = (0..50).map(|_| monitors.watch(&target)).collect();
    assert_eq!(monitors.instances(), 1);
    let views = join_all(watches.iter().map(|watch| watch.refresh())).await;
    assert_eq!(views.into_iter().map(available).count(), 50);
    let polls = sim.journal(0).iter().filter(|entry| entry.text == POLL).count();
    assert!(polls <= 2, "{polls} polls: at most the first one and one shared by all requests");
    assert_eq!(sim.logins(0).len(), 1);
    drop(watches);
    assert_eq!(monitors.instances(), 0);
}

#[tokio::test]
async fn monitor_without_requests_keeps_polling() {
    let sim = start(config()).await;
    let monitors = InstanceMonitors::new(Duration::from_millis(20), Deadlines::default());
    let watch = monitors.watch(&target(&sim, "a"));
    let mut changes = monitors.changes();
    changes.recv().await.unwrap();
    available(watch.latest());
    sim.do_json(json!({ "do": "kill", "server": "a" })).unwrap();
    changes.recv().await.unwrap();
    assert!(watch.latest().available().is_none());
}

#[tokio::test]
async fn failover_of_three_databases_runs_in_parallel() {
    let mut config = config();
    config.pairs[0].switch_millis = 1000;
    let sim = start(config).await;
    let steps = join_all(DATABASES.map(|database| step(&sim, "a", database))).await;
    let sessions = connect_for_moves(&target(&sim, "a"), 3, &Deadlines::default()).await.unwrap();
    let answers = join_all(sessions.into_iter().zip(&steps).map(|(s, step)| fail_over(s, step, PATIENCE))).await;
    assert_eq!(answers, [Answer::Accepted, Answer::Accepted, Answer::Accepted]);

    let journal = sim.journal(0);
    let moves: Vec<_> = journal.iter().filter(|entry| entry.text.contains("SET PARTNER FAILOVER")).collect();
    assert_eq!(moves.len(), 3);
    let last_start = moves.iter().map(|entry| entry.started_millis).max().unwrap();
    let first_end = moves.iter().filter_map(|entry| entry.ended_millis).min().unwrap();
    assert!(last_start < first_end, "all are under way before the first one ends: {moves:?}");

    sim.until(|world| world.failovers().len() == 3).await;
    let seen = available(poll(&target(&sim, "b")).await);
    for (step, database) in steps.iter().zip(DATABASES.map(DatabaseName::new)) {
        let mirroring = seen.databases[&database].mirroring.as_ref().unwrap();
        assert_eq!((mirroring.role, mirroring.role_sequence), (Role::Principal, step.role_sequence + 1));
    }
    nothing_unknown(&sim);
}

#[tokio::test]
async fn guard_after_a_change_of_state_refuses_the_failover() {
    let sim = start(config()).await;
    let step = step(&sim, "a", "rtcxds").await;
    let late = Failover { role_sequence: step.role_sequence + 1, ..step.clone() };
    let other_session = Failover { guid: lync_mirror::model::Guid::from_bytes([7; 16]), ..step.clone() };
    let other_server = Failover { server: "SQL-B\\RTC".into(), ..step.clone() };
    let other_partner = Failover { partner: "SQL-C\\RTC".into(), ..step.clone() };
    let unknown = Failover { database: DatabaseName::new("nowhere"), ..step.clone() };
    for wrong in [late, other_session, other_server, other_partner, unknown] {
        match perform(&sim, "a", &wrong).await {
            Answer::GuardRefused { detail } => assert!(detail.starts_with("lync-mirror guard:"), "{detail}"),
            other => panic!("{other:?} for {wrong:?}"),
        }
    }
    assert!(matches!(perform(&sim, "b", &step).await, Answer::GuardRefused { .. }), "the mirror refuses as well");
    assert!(sim.failovers().is_empty());
    assert_eq!(perform(&sim, "a", &step).await, Answer::Accepted);
    sim.until(|world| world.failovers().len() == 1).await;
    assert!(matches!(perform(&sim, "a", &step).await, Answer::GuardRefused { .. }), "the same statement twice");
    assert_eq!(sim.failovers().len(), 1);
    nothing_unknown(&sim);
}

#[tokio::test]
async fn answer_that_is_lost_leaves_the_outcome_to_a_poll() {
    let sim = start(config()).await;
    let step = step(&sim, "a", "rtcxds").await;
    sim.do_json(json!({ "do": "loseAnswer", "server": "a", "matching": "SET PARTNER FAILOVER" })).unwrap();
    assert!(matches!(perform(&sim, "a", &step).await, Answer::Lost { .. }));
    sim.until(|world| world.failovers().len() == 1).await;
    let seen = available(poll(&target(&sim, "b")).await);
    assert_eq!(seen.databases[&step.database].mirroring.as_ref().unwrap().role, Role::Principal);
}

#[tokio::test]
async fn statement_that_never_arrived_counts_as_lost() {
    let sim = start(config()).await;
    let step = step(&sim, "a", "rtcxds").await;
    sim.do_json(json!({ "do": "cutBefore", "server": "a", "matching": "SET PARTNER FAILOVER" })).unwrap();
    assert!(matches!(perform(&sim, "a", &step).await, Answer::Lost { .. }));
    sim.do_json(json!({ "do": "stall", "server": "a", "phase": "batch" })).unwrap();
    let mut sessions = connect_for_moves(&target(&sim, "a"), 1, &Deadlines::default()).await.unwrap();
    let answer = fail_over(sessions.remove(0), &step, Duration::from_millis(300)).await;
    assert!(matches!(answer, Answer::Lost { .. }), "{answer:?}");
    assert!(sim.failovers().is_empty());
}

#[tokio::test]
async fn refusal_by_the_server_carries_number_and_cause() {
    let sim = start(config()).await;
    let step = step(&sim, "a", "rtcxds").await;
    let fail = |verb: &str, number: u32, class: u8| {
        sim.do_json(json!({ "do": verb, "server": "a", "number": number, "class": class })).unwrap();
    };
    fail("failStatement", 1422, 16);
    match perform(&sim, "a", &step).await {
        Answer::Refused { number: 1422, detail } => assert!(!detail.is_empty()),
        other => panic!("{other:?}"),
    }
    fail("failStatement", 1404, 21);
    assert!(matches!(perform(&sim, "a", &step).await, Answer::Lost { .. }), "a severity that ends the connection");
    assert!(sim.failovers().is_empty());
    fail("failAfter", 1421, 16);
    assert!(matches!(perform(&sim, "a", &step).await, Answer::Lost { .. }), "the partner did not answer in time");
    sim.until(|world| world.failovers().len() == 1).await;
}

#[tokio::test]
async fn database_name_that_is_impossible_is_not_sent() {
    let sim = start(config()).await;
    let wrong = Failover { database: DatabaseName::new("a\0b"), ..step(&sim, "a", "rtcxds").await };
    assert!(matches!(perform(&sim, "a", &wrong).await, Answer::NotSent { .. }));
    assert!(!sim.journal(0).iter().any(|entry| entry.text.contains("PARTNER FAILOVER")));
}
