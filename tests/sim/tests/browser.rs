//! SQL Browser, tested with the datagrams of clients.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

mod common;

use common::*;
use mirror_sim::sim::Sim;
use serde_json::json;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

async fn socket(sim: &Sim) -> UdpSocket {
    let browser = SocketAddr::new(sim.address("a").ip(), 1434);
    let socket = UdpSocket::bind(SocketAddr::new(browser.ip(), 0)).await.unwrap();
    socket.connect(browser).await.unwrap();
    socket
}

async fn request(sim: &Sim, datagram: &[u8]) -> String {
    let socket = socket(sim).await;
    socket.send(datagram).await.unwrap();
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply).await.unwrap();
    assert_eq!((reply[0], usize::from(u16::from_le_bytes([reply[1], reply[2]]))), (5, length - 3));
    String::from_utf8(reply[3..length].to_vec()).unwrap()
}

#[tokio::test]
async fn browser_instance_request_returns_port() {
    let sim = start("off").await;
    let port = sim.address("b").port();
    let line = format!("ServerName;SQL-B;InstanceName;RTCB;IsClustered;No;Version;11.0.7001.0;tcp;{port};;");
    assert_eq!(request(&sim, b"\x04RTCB\0").await, line);
    assert_eq!(request(&sim, b"\x04rtcb").await, line, "without the NUL, in another case");
    sim.do_json(json!({"do": "setServerSettings", "server": "b", "settings": {"clustered": true}})).unwrap();
    assert_eq!(request(&sim, b"\x04RTCB\0").await, line.replace("IsClustered;No", "IsClustered;Yes"));
}

#[tokio::test]
async fn browser_list_request_returns_instances_that_are_up() {
    let sim = start("off").await;
    let names = |list: String| list.matches("ServerName;").count();
    assert_eq!((names(request(&sim, &[2]).await), names(request(&sim, &[3]).await)), (3, 3));
    sim.do_json(json!({ "do": DOWN, "server": "a" })).unwrap();
    let list = request(&sim, &[3]).await;
    assert!(!list.contains("SQL-A") && list.contains("SQL-B"), "{list}");
}

#[tokio::test]
async fn browser_invalid_request_sends_no_response() {
    let sim = start("off").await;
    let socket = socket(&sim).await;
    for datagram in [&b""[..], b"\x09", b"\x04", b"\x04NOSUCH\0", b"\xFF\xFF\xFF"] {
        socket.send(datagram).await.unwrap();
    }
    // The first reply on this socket belongs to the valid request.
    socket.send(b"\x04RTC\0").await.unwrap();
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply).await.unwrap();
    assert!(String::from_utf8_lossy(&reply[..length]).contains("SQL-A"));
}
