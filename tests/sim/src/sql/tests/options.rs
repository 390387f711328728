//! SET options and globals.

use super::Client;
use crate::value::Value;

#[test]
fn set_lock_timeout_is_stored_for_the_session() {
    let mut client = Client::new("a");
    assert_eq!(client.value("SELECT @@LOCK_TIMEOUT"), Value::Int(-1));
    assert_eq!(client.value("SET LOCK_TIMEOUT 5000; SELECT @@LOCK_TIMEOUT"), Value::Int(5000));
    assert_eq!(client.value("SELECT @@LOCK_TIMEOUT"), Value::Int(5000), "the next batch");
    assert_eq!(client.value("DECLARE @t int = 7; SET LOCK_TIMEOUT @t; SELECT @@LOCK_TIMEOUT"), Value::Int(7));
    assert_eq!(client.value("SET LOCK_TIMEOUT -1; SELECT @@LOCK_TIMEOUT"), Value::Int(-1));
    client.log_in("a");
    assert_eq!(client.value("SELECT @@LOCK_TIMEOUT"), Value::Int(-1), "another session");
    assert!(client.world.failures.is_empty());
}

#[test]
fn set_lock_timeout_without_a_number_is_refused_and_recorded() {
    let mut client = Client::new("a");
    assert_eq!(client.errors("SET LOCK_TIMEOUT ON"), [102]);
    assert_eq!(client.world.failures.len(), 1);
}

#[test]
fn global_servername_returns_the_server_name() {
    let mut client = Client::new("a");
    assert_eq!(client.text("SELECT @@SERVERNAME"), r"SQL-A\RTC");
}
