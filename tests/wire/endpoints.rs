//! Ways to an instance that change under a client that goes on looking: another address, another port, another family.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use crate::support::client::{target, verify};
use crate::support::{own_ip, skip, until};
use lync_mirror::model::{Dark, View};
use lync_mirror::sql::{Deadlines, Endpoint, Hub, Target, Tls, Watch};
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

/// An instance whose port the SQL Browser of the address tells.
fn named(ip: Ipv4Addr, instance: &str) -> Target {
    let any_port = SocketAddr::new(ip.into(), 0);
    Target { endpoint: Endpoint::Instance(instance.into()), ..target(any_port, Tls::TrustServerCertificate) }
}

fn watch(target: &Target) -> (Hub, Watch) {
    let hub = Hub::new(Duration::from_millis(200), Deadlines::default());
    let watch = hub.watch(target);
    (hub, watch)
}

/// Blocks, as the eyes are other tasks: the tests need more than one thread.
#[track_caller]
fn until_seen(watch: &Watch, name: &str) {
    until(&format!("{name} is seen"), || match watch.latest() {
        View::Lit { server, .. } if server.name.starts_with(name) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_is_an_address() {
    let sim = server("SQL-A", "[::1]:0").await;
    let (_hub, watch) = watch(&target(sim.address("a"), verify(&sim)));
    until_seen(&watch, "SQL-A");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_instance_is_found_by_the_browser() {
    let ip = own_ip();
    let _sim = server("SQL-A", &format!("{ip}:0")).await;
    let (_hub, known) = watch(&named(ip, "rtc"));
    until_seen(&known, "SQL-A");
    let (_hub, unknown) = watch(&named(ip, "OTHER"));
    match unknown.fresh().await {
        View::Dark { darkness, .. } => {
            assert_eq!(darkness.cause, Dark::BrowserSilent, "{}", darkness.detail);
            assert!(darkness.detail.contains(&format!("{ip}\\OTHER")), "{}", darkness.detail);
        }
        View::Lit { .. } => panic!("an instance that nobody has"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_comes_back_on_another_port_is_found_again() {
    let ip = own_ip();
    let first = server("SQL-A", &format!("{ip}:0")).await;
    let (_hub, watch) = watch(&named(ip, "RTC"));
    until_seen(&watch, "SQL-A");
    let port = first.address("a").port();
    // Nobody else may get the old port, or it would be the same one.
    drop(first);
    let _taken =
        until("the old port is free", || std::net::TcpListener::bind((ip, port)).map_err(|error| error.to_string()));
    let second = server("SQL-B", &format!("{ip}:0")).await;
    assert_ne!(second.address("a").port(), port);
    until_seen(&watch, "SQL-B");
}

/// Set in the process that may write its own `/etc/hosts`, to that file.
const HOSTS: &str = "LYNC_MIRROR_TEST_HOSTS";
const ROAMING: &str = "endpoints::a_host_name_that_moves_is_followed";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_that_moves_is_followed() {
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
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

async fn roam(name: &dyn Fn(SocketAddr)) {
    let first = server("SQL-A", &format!("{}:0", own_ip())).await;
    let port = first.address("a").port();
    let second = server("SQL-B", &format!("{}:{port}", own_ip())).await;
    name(first.address("a"));
    let by_name = Target { host: "sql-a.test".into(), ..target(first.address("a"), Tls::TrustServerCertificate) };
    let (_hub, watch) = watch(&by_name);
    until_seen(&watch, "SQL-A");
    name(second.address("a"));
    // As long as the connection holds, it is the same server; the name is asked again for the next one.
    drop(first);
    until_seen(&watch, "SQL-B");
}
