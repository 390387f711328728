//! Connection faults, stopped and paused servers, and HTTP control.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

mod common;

use common::*;
use mirror_sim::sim::Sim;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn outcomes(sim: &Sim) -> Vec<String> {
    sim.journal(0).into_iter().map(|entry| entry.outcome.unwrap_or_else(|| "running".to_owned())).collect()
}

fn act(sim: &Sim, request: Json) {
    sim.do_json(request).unwrap();
}

/// A PRELOGIN message without encryption.
const PRELOGIN: [u8; 20] = [0x12, 1, 0, 20, 0, 0, 1, 0, 1, 0, 11, 0, 1, 2, 0, 12, 0, 0, 0xFF, 2];

#[tokio::test]
async fn lose_answer_executes_statement_and_resets_connection() {
    let sim = start("off").await;
    act(&sim, json!({ "do": "loseAnswer", "server": "a", "matching": "partner failover" }));
    let mut client = connect(&sim, "a").await.unwrap();
    assert!(matches!(run(&mut client, FAILOVER).await, Err(tiberius::error::Error::Io { .. })));
    assert_eq!(outcomes(&sim), ["lost"]);
    assert_eq!(sim.failovers().len(), 1);
    let mut client = connect(&sim, "b").await.unwrap();
    assert_eq!(role(&roles(&mut client).await, "rtcxds"), Some(1));
}

#[tokio::test]
async fn cut_before_does_not_execute_statement() {
    let sim = start("off").await;
    act(&sim, json!({ "do": "cutBefore", "server": "a", "matching": "FAILOVER", "times": 2 }));
    for _ in 0..2 {
        let mut client = connect(&sim, "a").await.unwrap();
        assert!(matches!(run(&mut client, FAILOVER).await, Err(tiberius::error::Error::Io { .. })));
    }
    assert_eq!(outcomes(&sim), ["cut", "cut"]);
    assert!(sim.failovers().is_empty());
    let mut client = connect(&sim, "a").await.unwrap();
    run(&mut client, FAILOVER).await.unwrap();
    assert_eq!(outcomes(&sim), ["cut", "cut", "done"]);
}

#[tokio::test]
async fn delay_before_still_executes_statement() {
    let sim = start("off").await;
    act(&sim, json!({ "do": "delayBefore", "server": "a", "matching": "sys.databases", "millis": 20 }));
    let mut client = connect(&sim, "a").await.unwrap();
    assert_eq!(role(&roles(&mut client).await, "rtcxds"), Some(1));
}

#[tokio::test]
async fn stall_client_disconnects_records_cut() {
    let sim = start("off").await;
    act(&sim, json!({ "do": "stall", "server": "a", "phase": "batch" }));
    let mut client = connect(&sim, "a").await.unwrap();
    let query = tokio::spawn(async move { run(&mut client, MIRRORING).await });
    sim.until_journal(|journal| !journal.since(0).is_empty()).await;
    assert_eq!(outcomes(&sim), ["running"]);
    query.abort();
    sim.until_journal(|journal| journal.since(0)[0].outcome.as_deref() == Some("cut")).await;
}

#[tokio::test]
async fn garbage_in_any_phase_is_an_error_of_the_client() {
    let sim = start("off").await;
    for phase in ["connect", "prelogin", "login"] {
        act(&sim, json!({ "do": "garbage", "server": "a", "phase": phase }));
        assert!(connect(&sim, "a").await.is_err(), "{phase}");
    }
    act(&sim, json!({ "do": "garbage", "server": "a", "phase": "batch" }));
    let mut client = connect(&sim, "a").await.unwrap();
    assert!(run(&mut client, MIRRORING).await.is_err());
}

#[tokio::test]
async fn server_down_refuses_connections_and_restarts_at_same_address() {
    let sim = start("off").await;
    let address = sim.address("a");
    let mut client = connect(&sim, "a").await.unwrap();
    act(&sim, json!({ "do": DOWN, "server": "a" }));
    assert!(run(&mut client, MIRRORING).await.is_err());
    sim.settled().await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(sim.stats()["a"].open, 0);
    act(&sim, json!({ "do": UP, "server": "a" }));
    sim.settled().await;
    connect(&sim, "a").await.unwrap();
}

#[tokio::test]
async fn principal_down_mirror_fails_over_automatically() {
    let sim = start("off").await;
    act(&sim, json!({ "do": DOWN, "server": "a" }));
    sim.until(|world| !world.failovers().is_empty()).await;
    let mut client = connect(&sim, "b").await.unwrap();
    assert_eq!(role(&roles(&mut client).await, "rtcxds"), Some(1));
}

#[tokio::test]
async fn server_down_resets_open_connection() {
    let sim = start("off").await;
    let mut raw = TcpStream::connect(sim.address("a")).await.unwrap();
    sim.until_journal(|journal| journal.counts().get("a").is_some_and(|counts| counts.open == 1)).await;
    act(&sim, json!({ "do": DOWN, "server": "a" }));
    let end = raw.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn server_paused_accepts_connections_and_responds_after_unpause() {
    let sim = start("off").await;
    let mut old = connect(&sim, "a").await.unwrap();
    act(&sim, json!({ "do": FREEZE, "server": "a" }));
    let mut fresh = TcpStream::connect(sim.address("a")).await.unwrap();
    fresh.write_all(&PRELOGIN).await.unwrap();
    let query = tokio::spawn(async move { run(&mut old, MIRRORING).await });
    sim.until_journal(|journal| journal.counts()["a"].accepted == 2 && !journal.since(0).is_empty()).await;
    let silent = fresh.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(silent.kind(), std::io::ErrorKind::WouldBlock);
    assert!(!query.is_finished());
    assert_eq!(outcomes(&sim), ["running"]);
    act(&sim, json!({ "do": UNFREEZE, "server": "a" }));
    query.await.unwrap().unwrap();
    assert_eq!(fresh.read_u8().await.unwrap(), 0x04);
}

#[tokio::test]
async fn malformed_bytes_close_only_their_connection() {
    let sim = start("off").await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x12, 1, 0, 3, 0, 0, 0, 0], &[0x10, 1, 0, 9, 0, 0, 0, 0, 7]] {
        let mut raw = TcpStream::connect(sim.address("a")).await.unwrap();
        raw.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let end = raw.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{end:?}");
    }
    connect(&sim, "a").await.unwrap();
}

#[tokio::test]
async fn command_invalid_returns_error_with_field_and_verbs() {
    let sim = start("off").await;
    let refused = |request: Json| sim.do_json(request).unwrap_err();
    let unknown = refused(json!({ "do": "explode" }));
    assert!(unknown.contains("`do`") && unknown.contains("`loseAnswer`"), "{unknown}");
    assert!(refused(json!({ "server": "a" })).contains("`do`"));
    let phase = refused(json!({ "do": "stall", "server": "a", "phase": "lunch" }));
    assert!(phase.contains("`phase`") && phase.contains("`prelogin`"), "{phase}");
    assert!(refused(json!({ "do": "stall", "server": "z", "phase": "tls" })).contains("`server`"));
    let missing = refused(json!({ "do": "cutBefore", "server": "a" }));
    assert!(missing.contains("`matching`"), "{missing}");
}

/// The status line and the body of a response of HTTP control.
async fn http(sim: &Sim, method: &str, path: &str, body: &str) -> (String, String) {
    let mut tcp = TcpStream::connect(sim.control()).await.unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    tcp.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn control_http_serves_all_paths() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    roles(&mut client).await;
    for path in ["/healthz", "/state", "/failovers", "/failures", "/stats", "/logins", "/ca.pem", "/endpoints"] {
        let (status, body) = http(&sim, "GET", path, "").await;
        assert_eq!(status, "HTTP/1.1 200 OK", "{path}: {body}");
    }
    let entries = |body: String| serde_json::from_str::<Vec<Json>>(&body).unwrap();
    let journal = entries(http(&sim, "GET", "/journal?since=0&server=a", "").await.1);
    assert_eq!((journal.len(), &journal[0]["outcome"], &journal[0]["text"]), (1, &json!("done"), &json!(MIRRORING)));
    assert!(entries(http(&sim, "GET", "/journal?since=1", "").await.1).is_empty());
    assert!(entries(http(&sim, "GET", "/journal?server=b", "").await.1).is_empty());

    let list = json!([{ "do": DOWN, "server": "a" }, { "do": "stall", "server": "b", "phase": "tls" }]).to_string();
    assert_eq!(http(&sim, "POST", "/do", &list).await.0, "HTTP/1.1 200 OK");
    let refused = TcpStream::connect(sim.address("a")).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(http(&sim, "POST", "/do", "{}").await.0, "HTTP/1.1 400 Bad Request");
    assert_eq!(http(&sim, "POST", "/do", "nonsense").await.0, "HTTP/1.1 400 Bad Request");
}
