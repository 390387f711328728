//! A namespace whose servers, DNS names or KDCs never answer, or whose servers answer too much, beside another one.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::advance;

use super::*;
use crate::model::{ServerObservation, UnavailableCause};
use crate::sql::address::{self, LastPort};
use crate::sql::fake_dns::{FakeDns, NAME_ERROR, Reply, Value};
use crate::sql::fake_server::{FakeServer, Script};
use crate::sql::tests::{short, target};
use crate::sql::{InstanceAddress, InstanceMonitors, MonitorHandle};

const HOUR: Duration = Duration::from_secs(3600);
const SMALL: Sizes = Sizes { connections: 16, lookups: 16, helpers: 16 };

fn of(namespace: &str, host: &str) -> Target {
    Target { namespace: namespace.into(), host: host.into(), ..target(1433) }
}

fn opening(limits: &Limits, deadlines: Deadlines) -> Opening {
    Opening { deadlines, limits: limits.clone(), purpose: Purpose::Poll }
}

/// Limits with this DNS server, and the files that it needs.
fn with_dns(dns: &FakeDns, sizes: Sizes, denied: &str) -> (tempfile::TempDir, Limits) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    std::fs::write(file("hosts"), "192.0.2.1 listed\n").unwrap();
    let resolver = Resolver::new(file("hosts"), file("resolv.conf"), dns.port);
    let denied = denied.split_terminator(',').map(|network| network.parse().unwrap()).collect();
    (directory, Limits::with_resolver(sizes, denied, resolver))
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

#[tokio::test]
async fn silent_names_of_a_namespace_delay_no_other() {
    let dns = FakeDns::start(|request| match request.name.as_str() {
        name if name.ends_with(".evil.test") => Reply::Silent,
        "sql-a.good.test" if !request.v6 => {
            Reply::Records(vec![("sql-a.good.test", Value::Address("192.0.2.7".parse().unwrap()))])
        }
        _ => Reply::Code(NAME_ERROR),
    })
    .await;
    let (_files, limits) = with_dns(&dns, SMALL, "");
    let evil: Vec<JoinHandle<_>> = (0..360)
        .map(|at| {
            let opening = opening(&limits, Deadlines { resolve: HOUR, share: HOUR, ..Deadlines::default() });
            tokio::spawn(async move {
                address::resolve(&of("evil", &format!("s{at}.evil.test")), &opening, &LastPort::default()).await
            })
        })
        .collect();
    until(|| limits.inner.lookups.waiting() > 0).await;
    let victim = opening(&limits, Deadlines { share: HOUR, ..Deadlines::default() });
    for host in ["sql-a.good.test", "listed", "192.0.2.9"] {
        address::resolve(&of("victim", host), &victim, &LastPort::default()).await.unwrap();
    }
    // The third of the namespace itself waits for its own share, and knows it.
    let own = opening(&limits, Deadlines { share: Duration::from_millis(1), ..Deadlines::default() });
    let unavailable = address::resolve(&of("evil", "sql-a.good.test"), &own, &LastPort::default()).await.unwrap_err();
    assert_eq!(unavailable.cause, UnavailableCause::OperatorLimited);
    assert!(unavailable.detail.contains("own limit of DNS lookups for namespace evil is reached"), "{unavailable:?}");
    assert!(evil.iter().all(|lookup| !lookup.is_finished()));
    // A deleted resource ends its lookups at once.
    evil.iter().for_each(JoinHandle::abort);
    until(|| limits.inner.lookups.free() == SMALL.lookups).await;
    address::resolve(&of("evil", "sql-a.good.test"), &own, &LastPort::default()).await.unwrap();
}

/// A listener that accepts connections and never answers, and the targets of its namespace.
async fn silent_server() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn silent_servers_of_a_namespace_delay_no_other() {
    let limits = Limits::new(SMALL, Vec::new());
    let deadlines = Deadlines { share: HOUR, prelogin: HOUR, ..Deadlines::default() };
    let monitors = InstanceMonitors::with_login_verification(HOUR, HOUR, deadlines, limits.clone());
    let (_listener, port) = silent_server().await;
    let evil: Vec<_> = (0..70)
        .map(|at| {
            let login = crate::sql::Authentication::SqlLogin { username: format!("u{at}"), password: "x".into() };
            monitors.watch(&Target { login, endpoint: InstanceAddress::Port(port), ..of("evil", "127.0.0.1") })
        })
        .collect();
    until(|| limits.inner.connections.waiting() > 0).await;

    let server = FakeServer::start(Script::healthy()).await;
    let victim = Target { namespace: "victim".into(), ..server.target.clone() };
    let watch = monitors.watch(&victim);
    assert!(watch.refresh().await.available().is_some(), "{:?}", watch.latest());
    assert_eq!(monitors.connect_for_moves(&victim, 3).await.unwrap().len(), 3);
    // Moves of the same namespace, too: polls have not taken their reserve.
    let own = Target { namespace: "evil".into(), ..server.target.clone() };
    assert_eq!(monitors.connect_for_moves(&own, 1).await.unwrap().len(), 1);
    drop((evil, watch));
    until(|| limits.inner.connections.free() == SMALL.connections).await;
}

#[tokio::test]
async fn exhausted_share_is_reported_as_a_limit_of_the_operator() {
    let limits = Limits::new(Sizes { connections: 4, ..SMALL }, Vec::new());
    let monitors = InstanceMonitors::with_login_verification(
        HOUR,
        HOUR,
        Deadlines { prelogin: HOUR, share: Duration::from_millis(1), ..short() },
        limits.clone(),
    );
    let (_listener, port) = silent_server().await;
    let server = FakeServer::start(Script::healthy()).await;
    let silent = Target { endpoint: InstanceAddress::Port(port), ..of("evil", "127.0.0.1") };
    let holders = ["a", "b", "c"].map(|name| {
        let login = crate::sql::Authentication::SqlLogin { username: name.into(), password: "x".into() };
        monitors.watch(&Target { login, ..silent.clone() })
    });
    until(|| limits.inner.connections.free() == 2).await;
    let watch = monitors.watch(&Target { namespace: "evil".into(), ..server.target.clone() });
    let ServerObservation::Unavailable { unavailable, .. } = watch.refresh().await else { panic!("available") };
    assert_eq!(unavailable.cause, UnavailableCause::OperatorLimited);
    let sentence =
        "its own limit of connections to SQL Servers for namespace evil is reached. This proves nothing about";
    assert!(unavailable.detail.contains(sentence), "{unavailable:?}");
    drop(holders);
    assert!(watch.refresh().await.available().is_some());
}

/// Seven are free for moves, and each of two moves needs four at the same time.
#[tokio::test]
async fn two_moves_that_need_most_of_the_connections_take_turns() {
    let limits = Limits::new(Sizes { connections: 8, ..SMALL }, Vec::new());
    let deadlines = Deadlines { share: HOUR, ..Deadlines::default() };
    let monitors = InstanceMonitors::with_login_verification(HOUR, HOUR, deadlines, limits.clone());
    let server = FakeServer::start(Script::healthy()).await;
    let poll = opening(&limits, deadlines).connection(&of("third", "sql")).await.unwrap();
    let attempt = |namespace: &str| {
        let target = Target { namespace: namespace.into(), ..server.target.clone() };
        let monitors = monitors.clone();
        async move { monitors.connect_for_moves(&target, 4).await.unwrap().len() }
    };
    let (a, b) = tokio::join!(attempt("a"), attempt("b"));
    assert_eq!((a, b), (4, 4));
    drop(poll);
    until(|| limits.inner.connections.free() == 8).await;
}

/// A monitor of the server with another login.
fn watch(monitors: &InstanceMonitors, server: &FakeServer, namespace: &str, login: &str) -> MonitorHandle {
    let login = crate::sql::Authentication::SqlLogin { username: login.into(), password: "x".into() };
    monitors.watch(&Target { login, namespace: namespace.into(), ..server.target.clone() })
}

fn keeping(limits: &Limits) -> InstanceMonitors {
    InstanceMonitors::with_login_verification(
        HOUR,
        HOUR,
        Deadlines { batch: HOUR, ..Deadlines::default() },
        limits.clone(),
    )
}

/// One response after the other, so that the memory of responses is free again: what is kept has a limit of its own.
#[tokio::test]
async fn kept_observations_of_a_namespace_have_a_limit_and_leave_the_share_of_others() {
    const PART: usize = 16;
    let mut limits = Limits::new(Sizes { connections: 64, ..SMALL }, Vec::new());
    Arc::get_mut(&mut limits.inner).unwrap().observations = ObservationMemory::divided(PART);
    let monitors = keeping(&limits);
    let server = FakeServer::start(Script::with_databases("EVIL", 600)).await;
    let evil: Vec<_> = (0..6).map(|at| watch(&monitors, &server, "evil", &format!("u{at}"))).collect();
    let mut refused = Vec::new();
    for watch in &evil {
        if let ServerObservation::Unavailable { unavailable, .. } = watch.refresh().await {
            refused.push(unavailable);
        }
    }
    assert!(!refused.is_empty() && refused.len() < 6, "{refused:?}");
    for Unavailable { cause, detail } in &refused {
        assert_eq!(*cause, UnavailableCause::OperatorLimited);
        assert!(detail.contains("memory for the databases of SQL Servers of namespace evil is reached."), "{detail}");
        assert!(detail.contains("This proves nothing about the server. To fix: "), "{detail}");
    }
    let kept = limits.inner.observations.taken();
    assert!(kept > (8 << 20) / PART && kept <= (15 << 20) / PART, "{kept}");
    // The usual servers of the namespace itself, and large ones of others.
    server.change(|script| *script = Script::with_databases("SQL-A", 15));
    let usual = watch(&monitors, &server, "evil", "usual").refresh().await;
    assert!(usual.available().is_some(), "{usual:?}");
    server.change(|script| *script = Script::with_databases("SQL-A", 600));
    let victim = watch(&monitors, &server, "victim", "v");
    let seen = victim.refresh().await;
    assert!(seen.available().is_some(), "{seen:?}");
    drop((evil, victim, usual, seen));
    until(|| limits.inner.observations.taken() == 0).await;
    let again = watch(&monitors, &server, "evil", "again").refresh().await;
    assert!(again.available().is_some(), "{again:?}");
}

#[tokio::test]
async fn replaced_observation_gives_its_memory_back_and_an_equal_one_takes_none() {
    let limits = Limits::new(SMALL, Vec::new());
    let monitors = keeping(&limits);
    let server = FakeServer::start(Script::with_databases("SQL-A", 100)).await;
    let watch = watch(&monitors, &server, "lync", "u");
    let ServerObservation::Available { server: first, .. } = watch.refresh().await else { panic!("unavailable") };
    let one = limits.inner.observations.taken();
    assert!(one > 100 * 250, "{one}");
    for _ in 0..3 {
        let ServerObservation::Available { server: same, .. } = watch.refresh().await else { panic!("unavailable") };
        assert!(Arc::ptr_eq(&first, &same), "the equal observation is kept once");
        assert_eq!(limits.inner.observations.taken(), one);
    }
    drop(first);
    for name in ["SQL-B", "SQL-C", "SQL-D", "SQL-E"] {
        server.change(|script| *script = Script::with_databases(name, 100));
        // A pass can hold the observation before, until it ends.
        let before = watch.latest();
        assert!(watch.refresh().await.available().is_some_and(|server| server.name == name));
        assert_eq!(limits.inner.observations.taken(), 2 * one, "{name}");
        drop(before);
        assert_eq!(limits.inner.observations.taken(), one, "{name}");
    }
    server.change(|script| script.batch = Vec::new());
    assert!(watch.refresh().await.available().is_none());
    assert_eq!(limits.inner.observations.taken(), 0, "an unavailable server keeps nothing");
}

fn account(kdc: &str) -> Account {
    Account::new("svc@CONTOSO.COM", b"keys".to_vec(), vec![kdc.to_owned()]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn account_is_its_name_in_a_namespace() {
    let limits = Limits::new(SMALL, Vec::new());
    let opening = opening(&limits, Deadlines::default());
    let evil = of("evil", "sql");
    let mut held = Vec::new();
    for at in 0..POLLS_PER_ACCOUNT {
        held.push(opening.helper(&evil, &account(&format!("kdc{at}"))).await.unwrap());
    }
    let own = opening.helper(&evil, &account("another list of KDCs")).await.err().unwrap();
    assert_eq!(own.cause, UnavailableCause::OperatorLimited);
    assert!(own.detail.contains("Kerberos helper processes for namespace evil"), "{own:?}");
    assert!(opening.helper(&of("victim", "sql"), &account("kdc0")).await.is_ok());
}

/// The servers of an account that hang in their login keep the helpers of its polls for the whole deadline.
#[tokio::test(start_paused = true)]
async fn move_of_an_account_does_not_wait_for_helpers_of_its_polls() {
    let limits = Limits::new(SMALL, Vec::new());
    let poll = opening(&limits, Deadlines { share: HOUR, ..Deadlines::default() });
    let sql = of("lync", "sql");
    let hanging: Vec<JoinHandle<()>> = (0..8)
        .map(|_| {
            let (poll, sql) = (poll.clone(), sql.clone());
            tokio::spawn(async move {
                let _shares = poll.helper(&sql, &account("kdc")).await.unwrap();
                std::future::pending::<()>().await;
            })
        })
        .collect();
    until(|| limits.inner.accounts.waiting() > 0).await;
    let attempt = Opening { purpose: Purpose::Move, ..poll.clone() };
    let started = tokio::time::Instant::now();
    for _ in 0..HELPERS_PER_ACCOUNT {
        // One connection after the other, as each session ends its helper with its login.
        drop(attempt.helper(&sql, &account("kdc")).await.unwrap());
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    hanging.iter().for_each(JoinHandle::abort);
}

/// Accounts whose KDC never answers take their helpers for the whole deadline of a ticket, again and again.
#[tokio::test(start_paused = true)]
async fn waiting_helpers_of_a_namespace_delay_no_other() {
    let limits = Limits::new(SMALL, Vec::new());
    let opening = opening(&limits, Deadlines { share: HOUR, ..Deadlines::default() });
    let evil: Vec<JoinHandle<()>> = (0..150)
        .map(|at| {
            let opening = opening.clone();
            tokio::spawn(async move {
                let account = Account::new(&format!("svc{at}@EVIL.TEST"), Vec::new(), Vec::new()).unwrap();
                loop {
                    let _shares = opening.helper(&of("evil", "sql"), &account).await.unwrap();
                    tokio::time::sleep(opening.deadlines.ticket).await;
                }
            })
        })
        .collect();
    until(|| limits.inner.helpers.waiting() > 0).await;
    for _ in 0..100 {
        let started = tokio::time::Instant::now();
        let shares = opening.helper(&of("victim", "sql"), &account("kdc")).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
        drop(shares);
        advance(Duration::from_secs(7)).await;
    }
    evil.iter().for_each(JoinHandle::abort);
}

#[test]
fn sizes_leave_descriptors_for_the_operator() {
    for descriptors in [64_u64, 256, 1024, 4096, 65_536, 1_048_576, u64::MAX] {
        let sizes @ Sizes { connections, lookups, helpers } = Sizes::for_descriptors(descriptors);
        let used = connections + lookups * DESCRIPTORS_PER_LOOKUP + helpers * DESCRIPTORS_PER_HELPER;
        let spare = descriptors.saturating_sub(used as u64);
        assert!(spare >= (descriptors / 8).min(256), "{descriptors}: {sizes:?} leave {spare}");
    }
    assert_eq!(Sizes::for_descriptors(1024), Sizes { connections: 512, lookups: 16, helpers: 32 });
    assert_eq!(Sizes::for_descriptors(1 << 20), Sizes { connections: 2048, lookups: 64, helpers: 48 });
}

#[tokio::test]
async fn resolve_of_a_denied_address_is_refused_after_the_lookup() {
    let dns = FakeDns::start(|request| match (request.name.as_str(), request.v6) {
        ("metadata.test", false) => {
            Reply::Records(vec![("metadata.test", Value::Address("169.254.169.254".parse().unwrap()))])
        }
        ("both.test", false) => Reply::Records(vec![
            ("both.test", Value::Address("169.254.169.254".parse().unwrap())),
            ("both.test", Value::Address("192.0.2.7".parse().unwrap())),
        ]),
        _ => Reply::Code(NAME_ERROR),
    })
    .await;
    let (_files, limits) = with_dns(&dns, SMALL, Limits::DENIED);
    let opening = opening(&limits, Deadlines::default());
    for host in ["metadata.test", "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "0.0.0.0"] {
        let unavailable = address::resolve(&of("evil", host), &opening, &LastPort::default()).await.unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::AddressDenied, "{host}");
        assert!(unavailable.detail.contains("--deny-networks"), "{unavailable:?}");
    }
    let route = address::resolve(&of("evil", "both.test"), &opening, &LastPort::default()).await.unwrap();
    assert_eq!(format!("{route:?}").matches(":1433").count(), 1, "{route:?}");
}
