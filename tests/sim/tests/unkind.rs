//! Settings and commands that concern sockets: logins, SQL Browser, ports and waits for locks.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::{MIRRORING, connect, number, run, start};
use serde_json::json;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

async fn refusal(sim: &mirror_sim::sim::Sim) -> Option<u32> {
    number(connect(sim, "a").await)
}

#[tokio::test]
async fn login_refused_on_demand_returns_number_and_trailer() {
    let sim = start("off").await;
    for (number, seen) in [(17187, 17187), (18401, 18401), (4064, 4064), (6005, 18451)] {
        sim.do_json(json!({"do": "refuseLogins", "server": "a", "number": number, "times": 1})).unwrap();
        assert_eq!(refusal(&sim).await, Some(seen), "{number}");
    }
    assert!(connect(&sim, "a").await.is_ok());
    sim.do_json(json!({"do": "setServerSettings", "server": "a", "settings": {"startMillis": 3_600_000}})).unwrap();
    sim.do_json(json!([{"do": "kill", "server": "a"}, {"do": "start", "server": "a"}])).unwrap();
    sim.settled().await;
    assert_eq!(refusal(&sim).await, Some(17187));
}

#[tokio::test]
async fn select_from_locked_catalog_ends_with_1222_or_with_the_lock() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    sim.do_json(json!({"do": "lockCatalog", "server": "a"})).unwrap();
    let limited = format!("SET LOCK_TIMEOUT 20; {MIRRORING}");
    assert_eq!(number(run(&mut client, &limited).await), Some(1222));
    let mut waiting = connect(&sim, "a").await.unwrap();
    let waits = tokio::spawn(async move { run(&mut waiting, MIRRORING).await });
    sim.until_journal(|journal| journal.since(0).iter().any(|entry| entry.text == MIRRORING)).await;
    sim.do_json(json!({"do": "unlockCatalog", "server": "a"})).unwrap();
    waits.await.unwrap().unwrap();
    assert!(sim.failures().is_empty());
}

#[tokio::test]
async fn server_with_dynamic_port_listens_on_another_port_after_a_start() {
    let sim = start("off").await;
    let before = sim.address("a");
    sim.do_json(json!({"do": "setServerSettings", "server": "a", "settings": {"newPortAtStart": true}})).unwrap();
    sim.do_json(json!({"do": "kill", "server": "a"})).unwrap();
    sim.settled().await;
    let _kept = std::net::TcpListener::bind(before).unwrap();
    sim.do_json(json!({"do": "start", "server": "a"})).unwrap();
    sim.settled().await;
    assert_ne!(sim.address("a"), before);
    assert!(connect(&sim, "a").await.is_ok());
}

/// The response of SQL Browser for an instance, and the address from which it came.
fn browse(sim: &mirror_sim::sim::Sim, instance: &str) -> std::io::Result<(String, SocketAddr)> {
    let to = SocketAddr::new(sim.address("a").ip(), 1434);
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let request = [&[4], instance.as_bytes(), &[0]].concat();
    socket.send_to(&request, to)?;
    let mut response = [0; 512];
    let (length, from) = socket.recv_from(&mut response)?;
    Ok((String::from_utf8_lossy(&response[3..length]).into_owned(), from))
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_is_silent_lies_or_is_stopped() {
    let sim = start("off").await;
    let set = |settings| {
        sim.do_json(json!({"do": "setServerSettings", "server": "a", "settings": {"browser": settings}})).unwrap();
    };
    let port = sim.address("a").port();
    assert!(browse(&sim, "RTC").unwrap().0.contains(&format!(";tcp;{port};")));
    set(json!({"silent": true}));
    assert!(browse(&sim, "RTC").is_err());
    assert!(browse(&sim, "RTCB").is_ok());
    set(json!({"silent": false, "port": 9, "answersFrom": "127.0.0.9"}));
    let (text, from) = browse(&sim, "RTC").unwrap();
    assert!(text.contains(";tcp;9;"), "{text}");
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    set(json!({"stopped": true}));
    while browse(&sim, "RTC").is_ok() {}
    set(json!({"stopped": false, "port": null, "answersFrom": null}));
    while browse(&sim, "RTC").is_err() {}
}
