//! tiberius, the SQL client of the operator, against the pair without TLS.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

mod common;

use common::*;

#[tokio::test]
async fn tiberius_mirroring_query_returns_rows() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    let rows = client.simple_query(MIRRORING).await.unwrap().into_first_result().await.unwrap();
    let row = rows.iter().find(|row| row.try_get("name").unwrap() == Some("rtcxds")).unwrap();
    assert_eq!(row.try_get::<u8, _>("mirroring_role").unwrap(), Some(1));
    assert_eq!(row.try_get::<u8, _>("mirroring_state").unwrap(), Some(4));
    assert_eq!(row.try_get::<i32, _>("mirroring_role_sequence").unwrap(), Some(1));
    assert_eq!(row.try_get::<&str, _>("mirroring_partner_instance").unwrap(), Some(r"SQL-B\RTCB"));
    assert!(row.try_get::<tiberius::Uuid, _>("mirroring_guid").unwrap().is_some());
    let master = rows.iter().find(|row| row.try_get("name").unwrap() == Some("master")).unwrap();
    assert_eq!(master.try_get::<u8, _>("mirroring_role").unwrap(), None, "a row that travels as NBCROW");
    assert_eq!(sim.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn mirroring_guid_on_both_partners_is_equal() {
    let sim = start("off").await;
    let mut guids = Vec::new();
    for server in ["a", "b"] {
        let mut client = connect(&sim, server).await.unwrap();
        let rows = client.simple_query(MIRRORING).await.unwrap().into_first_result().await.unwrap();
        let row = rows.iter().find(|row| row.try_get("name").unwrap() == Some("rtcxds")).unwrap();
        guids.push(row.try_get::<tiberius::Uuid, _>("mirroring_guid").unwrap().unwrap());
    }
    assert_eq!(guids[0], guids[1]);
}

#[tokio::test]
async fn tiberius_query_with_parameters_returns_row() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    let text = "SELECT name, state FROM sys.databases WHERE name = @P1";
    let rows = client.query(text, &[&"rtcxds"]).await.unwrap().into_first_result().await.unwrap();
    assert_eq!(rows.len(), 1, "failures: {:?}", sim.failures());
    assert_eq!(rows[0].try_get::<&str, _>("name").unwrap(), Some("rtcxds"));
    assert_eq!(sim.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn parameters_of_sp_executesql_keep_their_types() {
    use tiberius::ColumnType;
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    let text = "SELECT @P1 AS number, @P2 AS text, @P3 AS flag, @P4 AS big";
    let rows = client.query(text, &[&7i32, &"rtcxds", &true, &8i64]).await.unwrap().into_first_result().await.unwrap();
    let types: Vec<ColumnType> = rows[0].columns().iter().map(|column| column.column_type()).collect();
    let expected = [ColumnType::Int4, ColumnType::NVarchar, ColumnType::Bitn, ColumnType::Int8];
    assert_eq!(types, expected, "none is a SQL_VARIANT");
    assert_eq!(rows[0].get::<i32, _>("number"), Some(7));
    assert_eq!(rows[0].get::<&str, _>("text"), Some("rtcxds"));
    assert_eq!((rows[0].get::<bool, _>("flag"), rows[0].get::<i64, _>("big")), (Some(true), Some(8)));
    assert_eq!(sim.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn session_after_error_stays_usable() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    assert_eq!(number(run(&mut client, FAILOVER_OF_PLAIN).await), Some(1416));
    assert_eq!(role(&roles(&mut client).await, "rtcxds"), Some(1));
    assert_eq!(sim.journal(0)[0].outcome.as_deref(), Some("error 1416"));
}

#[tokio::test]
async fn failover_by_client_makes_mirror_principal() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    run(&mut client, FAILOVER).await.unwrap();
    sim.until(|world| !world.failovers().is_empty()).await;
    let mut client = connect(&sim, "b").await.unwrap();
    assert_eq!(role(&roles(&mut client).await, "rtcxds"), Some(1));
}

#[tokio::test]
async fn login_wrong_password_returns_18456() {
    let sim = start("off").await;
    assert_eq!(number(log_in(&sim, "a", "wrong", "master").await), Some(18456));
    let stats = sim.stats();
    assert_eq!((stats["a"].logins_ok, stats["a"].logins_failed), (0, 1));
    assert_eq!(sim.logins(0)[0].outcome, "error 18456");
}

#[tokio::test]
async fn batch_of_many_packets_arrives_complete() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    let text = format!("{MIRRORING} /* {} */", "x".repeat(100_000));
    run(&mut client, &text).await.unwrap();
    assert_eq!(sim.journal(0)[0].text, text);
}

#[tokio::test]
async fn batch_unsupported_returns_error_and_records_failure() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    assert!(number(run(&mut client, "FROBNICATE THE MIRROR").await).is_some());
    assert_eq!(sim.failures().len(), 1, "{:?}", sim.failures());
}

#[tokio::test]
async fn server_2008_r2_agrees_on_older_tds_version() {
    let sim = start("off").await;
    sim.do_json(serde_json::json!({ "do": "setVersion", "server": "a", "version": "10.50.6000.34" })).unwrap();
    let mut client = connect(&sim, "a").await.unwrap();
    let text = "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version";
    let rows = client.simple_query(text).await.unwrap().into_first_result().await.unwrap();
    assert_eq!(rows[0].try_get::<&str, _>("version").unwrap(), Some("10.50.6000.34"));
    assert_eq!(role(&roles(&mut client).await, "rtcxds"), Some(1));
}

#[tokio::test]
async fn session_in_database_that_fails_over_is_disconnected() {
    let sim = start("off").await;
    let mut inside = log_in(&sim, "a", PASSWORD, "rtcxds").await.unwrap();
    let mut outside = connect(&sim, "a").await.unwrap();
    run(&mut outside, FAILOVER).await.unwrap();
    sim.until_journal(|journal| journal.counts()["a"].open == 1).await;
    assert!(run(&mut inside, MIRRORING).await.is_err());
    roles(&mut outside).await;
}

#[tokio::test]
async fn attention_ends_running_statement_and_keeps_session() {
    let sim = start("off").await;
    let mut client = connect(&sim, "a").await.unwrap();
    tokio::select! {
        ended = run(&mut client, "WAITFOR DELAY '01:00:00'") => panic!("{ended:?}"),
        () = sim.until_journal(|journal| !journal.since(0).is_empty()) => {}
    }
    // The acknowledgement is a message of its own, and tiberius reads only the end of the response.
    assert!(client.cancel_query().await.is_err());
    assert_eq!(sim.journal(0)[0].outcome.as_deref(), Some("cancelled"));
    assert_eq!(sim.stats()["a"].open, 1);
}
