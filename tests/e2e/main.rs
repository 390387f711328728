//! The operator as a process against a real API server and a simulated pair: one module per test suite.
//!
//! `tests/run` runs each suite as a process of its own. `cargo test --test e2e` runs all of them in one process: they share
//! one control plane, and each test has a namespace of its own. Three suites need more:
//! - `chart` removes and installs the release of the whole cluster: its tests take turns by a lock.
//! - `outage` stops its API server: it boots one of its own.
//! - `node` boots a node with an API server of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../support/mod.rs"]
mod support;

mod advice;
mod authority;
mod cel;
mod chart;
mod cli;
mod cluster;
mod crash;
mod direct;
mod docs_commands;
mod drift;
mod faults;
mod field;
mod gitops;
mod image;
mod invalid_resources;
mod kerberos;
mod markdown;
mod memory;
mod metrics_access;
mod node;
mod outage;
mod policies;
mod random_specs;
mod reasons;
mod scenarios;
mod soak;
mod split_leadership;
mod stale;
mod steady_state_cost;
mod tenants;
mod tls;
mod unanswered_writes;
