//! FreeTDS (`tsql`), an independent client, with every TLS mode of the pair.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

mod common;

use common::*;
use mirror_sim::sim::Sim;
use std::io::Write;
use std::process::{Command, Stdio};

/// Whether the client is installed. In CI a missing client is a failure.
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

/// Runs batches in one session and returns the whole output of tsql.
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
        let finished = client.wait_with_output().unwrap();
        String::from_utf8_lossy(&[finished.stdout, finished.stderr].concat()).into_owned()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The fields of the row of a database in the output of tsql.
fn row<'a>(output: &'a str, database: &str) -> Vec<&'a str> {
    let line = output
        .lines()
        .find(|line| line.trim_start_matches(|c: char| c.is_ascii_digit() || "> ".contains(c)).starts_with(database));
    line.unwrap_or_else(|| panic!("no row of {database} in:\n{output}")).split('\t').collect()
}

async fn reads_rows_and_errors(tls: &str, encryption: &str) {
    if !present() {
        return;
    }
    let sim = start(tls).await;
    let output = tsql(&sim, "a", &[MIRRORING, FAILOVER_OF_PLAIN, MIRRORING]).await;
    let fields = row(&output, "rtcxds");
    assert_eq!((fields[2], fields[3], fields[5]), ("4", "1", r"SQL-B\RTCB"), "{output}");
    assert_eq!(row(&output, "master")[1..], ["NULL"; 5], "{output}");
    assert!(output.contains("Msg 1416"), "{output}");
    let logins = sim.logins(0);
    assert_eq!((logins.len(), logins[0].encryption), (1, encryption));
    let outcomes: Vec<_> = sim.journal(0).into_iter().filter_map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, ["done", "error 1416", "done"]);
}

#[tokio::test]
async fn freetds_without_tls_reads_rows_and_errors() {
    reads_rows_and_errors("off", "nothing").await;
}

#[tokio::test]
async fn freetds_with_tls_for_login_reads_rows_and_errors() {
    reads_rows_and_errors("loginOnly", "login").await;
}

#[tokio::test]
async fn freetds_with_tls_for_everything_reads_rows_and_errors() {
    reads_rows_and_errors("required", "everything").await;
}

#[tokio::test]
async fn freetds_failover_makes_mirror_principal() {
    if !present() {
        return;
    }
    let sim = start("required").await;
    tsql(&sim, "a", &[FAILOVER]).await;
    sim.until(|world| !world.failovers().is_empty()).await;
    let output = tsql(&sim, "b", &[MIRRORING]).await;
    assert_eq!(row(&output, "rtcxds")[3], "1", "{output}");
    let output = tsql(&sim, "a", &[MIRRORING]).await;
    assert_eq!(row(&output, "rtcxds")[3], "2", "{output}");
}
