//! Rules about files of this repository, and judgements of parsers and clients by other vendors: one module per test suite.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../../xtask/src/metrics.rs"]
mod metrics;
#[path = "../../xtask/src/reference.rs"]
mod reference;
#[path = "../../xtask/src/values.rs"]
mod values;

mod architecture;
mod clients;
mod documents;
mod files;
mod gitops;
mod grammar;
mod imports;
mod security;
mod supply_chain;
mod words;
