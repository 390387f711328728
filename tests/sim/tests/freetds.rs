//! FreeTDS (`tsql`), a client that nobody here wrote, with every TLS mode of the pair.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

mod common;

use common::*;
use mirror_sim::sim::Sim;
use std::io::Write;
use std::process::{Command, Stdio};

/// Whether the client is there; where it has to be, its absence is a failure.
fn present() -> bool {
    match Command::new("tsql").arg("-C").output() {
        Ok(_) => true,
        Err(error) if std::env::var_os("CI").is_some() => panic!("tsql (Debian package freetds-bin): {error}"),
        Err(error) => {
            eprintln!("skipped: tsql (Debian package freetds-bin): {error}");
            false
        }
    }
}

/// Runs batches one after the other in one session and returns everything that tsql said.
async fn tsql(sim: &Sim, server: &str, batches: &[&str]) -> String {
    let address = sim.address(server);
    let input: String = batches.iter().map(|batch| format!("{batch}\ngo\n")).collect();
    let run = move || {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut client = Command::new("tsql")
            .args(["-H", &ip, "-p", &port, "-U", LOGIN, "-P", PASSWORD, "-o", "q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        client.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The fields of the row of a database, as tsql prints them.
fn row<'a>(said: &'a str, database: &str) -> Vec<&'a str> {
    let line = said
        .lines()
        .find(|line| line.trim_start_matches(|c: char| c.is_ascii_digit() || "> ".contains(c)).starts_with(database));
    line.unwrap_or_else(|| panic!("no row of {database} in:\n{said}")).split('\t').collect()
}

async fn reads_rows_and_errors(tls: &str, encryption: &str) {
    if !present() {
        return;
    }
    let sim = start(tls).await;
    let said = tsql(&sim, "a", &[MIRRORING, FAILOVER_OF_PLAIN, MIRRORING]).await;
    let fields = row(&said, "rtcxds");
    assert_eq!((fields[2], fields[3], fields[5]), ("4", "1", r"SQL-B\RTCB"), "{said}");
    assert_eq!(row(&said, "master")[1..], ["NULL"; 5], "{said}");
    assert!(said.contains("Msg 1416"), "{said}");
    let logins = sim.logins(0);
    assert_eq!((logins.len(), logins[0].encryption), (1, encryption));
    let outcomes: Vec<_> = sim.journal(0).into_iter().filter_map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, ["done", "error 1416", "done"]);
}

#[tokio::test]
async fn without_tls() {
    reads_rows_and_errors("off", "nothing").await;
}

#[tokio::test]
async fn with_tls_for_the_login() {
    reads_rows_and_errors("loginOnly", "login").await;
}

#[tokio::test]
async fn with_tls_for_everything() {
    reads_rows_and_errors("required", "everything").await;
}

#[tokio::test]
async fn follows_a_failover() {
    if !present() {
        return;
    }
    let sim = start("required").await;
    tsql(&sim, "a", &[FAILOVER]).await;
    sim.until(|world| !world.failovers().is_empty()).await;
    let said = tsql(&sim, "b", &[MIRRORING]).await;
    assert_eq!(row(&said, "rtcxds")[3], "1", "{said}");
    let said = tsql(&sim, "a", &[MIRRORING]).await;
    assert_eq!(row(&said, "rtcxds")[3], "2", "{said}");
}
