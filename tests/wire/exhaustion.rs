//! A process without free file descriptors: each step of a connection reports that, and proves nothing about the server.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::support::client::target;
use lync_mirror::model::{Evidence, ServerObservation, Unavailable, UnavailableCause};
use lync_mirror::sql::{Account, Authentication, Deadlines, InstanceAddress, InstanceMonitors, Target, Tls};
use mirror_sim::config::{Config, TlsMode};
use mirror_sim::sim::Sim;

const NEVER: Duration = Duration::from_secs(3600);
/// Set in the process with few descriptors, to the address of a server in another process.
const SERVER: &str = "LYNC_MIRROR_TEST_SERVER";
const EXHAUSTED: &str = "exhaustion::process_without_descriptors_reports_its_own_limit";

#[tokio::test(flavor = "multi_thread")]
async fn process_without_descriptors_reports_its_own_limit() {
    if let Some(server) = std::env::var_os(SERVER) {
        return exhaust(server.to_str().unwrap().parse().unwrap()).await;
    }
    let mut config = Config::sample();
    config.servers.iter_mut().for_each(|server| server.tls.mode = TlsMode::Required);
    let sim = Sim::start(config).await.unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", EXHAUSTED, "--nocapture"])
        .env(SERVER, sim.address("a").to_string())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}{error}");
}

/// Opens files until the process has no descriptor left.
fn take_all() -> Vec<File> {
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    held
}

async fn exhaust(server: SocketAddr) {
    let port = target(server, Tls::TrustServerCertificate);
    let account = Account::new("svc-lync@CONTOSO.COM", b"keys".to_vec(), vec!["127.0.0.1".into()]).unwrap();
    let kerberos = Target { login: Authentication::Kerberos(Arc::new(account)), ..port.clone() };
    let instance = Target { endpoint: InstanceAddress::Instance("RTC".into()), ..port.clone() };
    let name = Target { host: "sql-a.invalid".into(), ..port.clone() };
    let monitors = InstanceMonitors::new(NEVER, Deadlines::default());
    // The number of free descriptors with which each step fails: TCP, the helper process after it, UDP, and DNS.
    for (what, target, free) in [("TCP", port, 0), ("helper", kerberos, 1), ("Browser", instance, 0), ("DNS", name, 0)]
    {
        let mut held = take_all();
        held.truncate(held.len() - free);
        let watch = monitors.watch(&target);
        let unavailable = cause(watch.refresh().await);
        assert_eq!(unavailable.cause, UnavailableCause::OperatorLimited, "{what}: {unavailable:?}");
        assert_eq!(unavailable.cause.evidence(), Evidence::Inconclusive);
        assert!(unavailable.detail.contains("no free file descriptors"), "{what}: {unavailable:?}");
        assert!(unavailable.detail.contains("proves nothing about the server"), "{what}: {unavailable:?}");
        drop(held);
        if let ServerObservation::Unavailable { unavailable, .. } = watch.refresh().await {
            assert_ne!(unavailable.cause, UnavailableCause::OperatorLimited, "{what}: {unavailable:?}");
            assert_ne!(what, "TCP", "{unavailable:?}");
        }
    }
}

fn cause(observation: ServerObservation) -> Unavailable {
    match observation {
        ServerObservation::Unavailable { unavailable, .. } => unavailable,
        ServerObservation::Available { .. } => panic!("a connection without a descriptor"),
    }
}
