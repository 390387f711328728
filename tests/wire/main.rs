//! The SQL client in the test's own process against simulated servers, without a control plane: one module per test suite.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../support/mod.rs"]
mod support;

mod credentials;
mod endpoints;
mod exhaustion;
mod forced_service;
mod kerberos_helper;
mod network;
mod protocol_fuzz;
mod reconciler;
mod server_settings;
mod sql_client;
mod sql_errors;
mod undocumented;
