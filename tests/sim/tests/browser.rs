//! SQL Browser, by the datagrams that clients send.
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

async fn ask(sim: &Sim, question: &[u8]) -> String {
    let socket = socket(sim).await;
    socket.send(question).await.unwrap();
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply).await.unwrap();
    assert_eq!((reply[0], usize::from(u16::from_le_bytes([reply[1], reply[2]]))), (5, length - 3));
    String::from_utf8(reply[3..length].to_vec()).unwrap()
}

#[tokio::test]
async fn names_the_port_of_one_instance() {
    let sim = start("off").await;
    let port = sim.address("b").port();
    let line = format!("ServerName;SQL-B;InstanceName;RTCB;IsClustered;No;Version;11.0.7001.0;tcp;{port};;");
    assert_eq!(ask(&sim, b"\x04RTCB\0").await, line);
    assert_eq!(ask(&sim, b"\x04rtcb").await, line, "without the NUL, in another case");
}

#[tokio::test]
async fn lists_the_instances_that_are_up() {
    let sim = start("off").await;
    let names = |list: String| list.matches("ServerName;").count();
    assert_eq!((names(ask(&sim, &[2]).await), names(ask(&sim, &[3]).await)), (3, 3));
    sim.do_json(json!({ "do": DOWN, "server": "a" })).unwrap();
    let list = ask(&sim, &[3]).await;
    assert!(!list.contains("SQL-A") && list.contains("SQL-B"), "{list}");
}

#[tokio::test]
async fn says_nothing_to_nonsense() {
    let sim = start("off").await;
    let socket = socket(&sim).await;
    for question in [&b""[..], b"\x09", b"\x04", b"\x04NOSUCH\0", b"\xFF\xFF\xFF"] {
        socket.send(question).await.unwrap();
    }
    // The first reply on this socket answers the one good question.
    socket.send(b"\x04RTC\0").await.unwrap();
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply).await.unwrap();
    assert!(String::from_utf8_lossy(&reply[..length]).contains("SQL-A"));
}
