//! Addresses of an instance that change while the client polls: another address, another port, another family.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::support::client::{target, verify};
use crate::support::{own_ip, skip, until};
use lync_mirror::model::{ServerObservation, UnavailableCause};
use lync_mirror::sql::{Deadlines, InstanceAddress, InstanceMonitors, MonitorHandle, Target, Tls};
use mirror_sim::sim::Sim;
use serde_json::json;

/// One server of this name.
async fn server(name: &str, listen: &str) -> Sim {
    let server = json!({
        "id": "a", "name": format!("{name}\\RTC"), "listen": listen, "instance": "RTC", "tls": {"mode": "required"},
        "logins": [{"name": "operator", "password": "secret"}],
    });
    Sim::start(serde_json::from_value(json!({"servers": [server]})).unwrap()).await.unwrap()
}

/// An instance whose port comes from the SQL Browser of the address.
fn named(ip: Ipv4Addr, instance: &str) -> Target {
    let any_port = SocketAddr::new(ip.into(), 0);
    Target { endpoint: InstanceAddress::Instance(instance.into()), ..target(any_port, Tls::TrustServerCertificate) }
}

fn watch(target: &Target) -> (InstanceMonitors, MonitorHandle) {
    let monitors = InstanceMonitors::new(Duration::from_millis(200), Deadlines::default());
    let watch = monitors.watch(target);
    (monitors, watch)
}

/// Blocks the thread: the poll tasks need another one.
#[track_caller]
fn until_seen(watch: &MonitorHandle, name: &str) {
    until(&format!("{name} is seen"), || match watch.latest() {
        ServerObservation::Available { server, .. } if server.name.starts_with(name) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn target_with_an_ipv6_address_is_polled() {
    let sim = server("SQL-A", "[::1]:0").await;
    let (_monitors, watch) = watch(&target(sim.address("a"), verify(&sim)));
    until_seen(&watch, "SQL-A");
}

#[tokio::test(flavor = "multi_thread")]
async fn target_with_an_instance_name_is_resolved_by_the_browser() {
    let ip = own_ip();
    let _sim = server("SQL-A", &format!("{ip}:0")).await;
    let (_monitors, known) = watch(&named(ip, "rtc"));
    until_seen(&known, "SQL-A");
    let (_monitors, unknown) = watch(&named(ip, "OTHER"));
    match unknown.refresh().await {
        ServerObservation::Unavailable { unavailable, .. } => {
            assert_eq!(unavailable.cause, UnavailableCause::InstanceNotFound, "{}", unavailable.detail);
            assert!(unavailable.detail.contains(&format!("{ip}\\OTHER")), "{}", unavailable.detail);
            assert!(unavailable.detail.contains("one that it knows (RTC)"), "{}", unavailable.detail);
        }
        ServerObservation::Available { .. } => panic!("an instance that does not exist"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_that_returns_on_another_port_is_found_again() {
    let ip = own_ip();
    let first = server("SQL-A", &format!("{ip}:0")).await;
    let (_monitors, watch) = watch(&named(ip, "RTC"));
    until_seen(&watch, "SQL-A");
    let port = first.address("a").port();
    // Keep the old port busy: the new instance must get another one.
    drop(first);
    let _taken =
        until("the old port is free", || std::net::TcpListener::bind((ip, port)).map_err(|error| error.to_string()));
    // Its Browser ends later than its listener, on a busy machine.
    until("the Browser has ended", || UdpSocket::bind((ip, 1434)).map(drop).map_err(|error| error.to_string()));
    let second = server("SQL-B", &format!("{ip}:0")).await;
    assert_ne!(second.address("a").port(), port);
    until_seen(&watch, "SQL-B");
}

/// Set in the process that may write its own `/etc/hosts`, to that file.
const HOSTS: &str = "LYNC_MIRROR_TEST_HOSTS";
const ROAMING: &str = "endpoints::host_name_with_a_new_address_is_followed";

#[tokio::test(flavor = "multi_thread")]
async fn host_name_with_a_new_address_is_followed() {
    if let Some(hosts) = std::env::var_os(HOSTS) {
        return roam(&|address: SocketAddr| std::fs::write(&hosts, format!("{} sql-a.test\n", address.ip())).unwrap())
            .await;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let inside = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let may = Command::new("unshare").args(["--mount", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return skip("endpoints", "a file /etc/hosts of its own needs root (unshare --mount)");
    }
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", inside])
        .arg(file.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", ROAMING, "--nocapture"])
        .env(HOSTS, file.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn roam(name: &dyn Fn(SocketAddr)) {
    let first = server("SQL-A", &format!("{}:0", own_ip())).await;
    let port = first.address("a").port();
    let second = server("SQL-B", &format!("{}:{port}", own_ip())).await;
    name(first.address("a"));
    let by_name = Target { host: "sql-a.test".into(), ..target(first.address("a"), Tls::TrustServerCertificate) };
    let (_monitors, watch) = watch(&by_name);
    until_seen(&watch, "SQL-A");
    name(second.address("a"));
    // An open connection stays at its server; the name is resolved again for the next one.
    drop(first);
    until_seen(&watch, "SQL-B");
}
