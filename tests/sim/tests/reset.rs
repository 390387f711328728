//! RESETCONNECTION (MS-TDS 2.2.3.1.2) over a real socket: a proxy sets the bit, which tiberius never sends.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use mirror_sim::sim::Sim;
use mirror_sim::wire::packet::kind;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncWriteCompatExt;

const RESET_CONNECTION: u8 = 0x08;

/// Forwards one connection and sets the bit in each batch while `reset` is true.
async fn proxy(to: SocketAddr, reset: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client_reader, mut client_writer) = listener.accept().await.unwrap().0.into_split();
        let (mut server_reader, mut server_writer) = TcpStream::connect(to).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut server_reader, &mut client_writer).await });
        let mut header = [0; 8];
        while client_reader.read_exact(&mut header).await.is_ok() {
            let mut packet = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
            client_reader.read_exact(&mut packet[8..]).await.unwrap();
            if header[0] == kind::BATCH && reset.load(Ordering::SeqCst) {
                header[1] |= RESET_CONNECTION;
            }
            packet[..8].copy_from_slice(&header);
            server_writer.write_all(&packet).await.unwrap();
        }
    });
    address
}

async fn log_in_through(address: SocketAddr, database: &str) -> TestClient {
    let mut config = Config::new();
    config.authentication(AuthMethod::sql_server(LOGIN, PASSWORD));
    config.database(database);
    config.encryption(EncryptionLevel::NotSupported);
    Client::connect(config, TcpStream::connect(address).await.unwrap().compat_write()).await.unwrap()
}

async fn current_database(client: &mut TestClient) -> String {
    let rows = client.simple_query("SELECT DB_NAME()").await.unwrap().into_first_result().await.unwrap();
    rows[0].get::<&str, _>(0).unwrap().to_owned()
}

/// The database of a session that logs in to `database` and changes to msdb: before a reset, in the request with the
/// reset, and after it.
async fn databases(sim: &Sim, database: &str) -> [String; 3] {
    let reset = Arc::new(AtomicBool::new(false));
    let mut client = log_in_through(proxy(sim.address("a"), reset.clone()).await, database).await;
    run(&mut client, "USE [msdb]").await.unwrap();
    let before = current_database(&mut client).await;
    reset.store(true, Ordering::SeqCst);
    let with = current_database(&mut client).await;
    reset.store(false, Ordering::SeqCst);
    [before, with, current_database(&mut client).await]
}

#[tokio::test]
async fn reset_connection_returns_to_the_database_of_the_login() {
    let sim = start("off").await;
    assert_eq!(databases(&sim, "rtcxds").await, ["msdb", "rtcxds", "rtcxds"]);
    assert_eq!(databases(&sim, "").await, ["msdb", "master", "master"], "a login without a database");
    assert_eq!(sim.failures(), Vec::<String>::new());
}
