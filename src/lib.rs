//! `lync-mirror`: which SQL Server is principal for each database type of a mirrored Lync pool.
//!
//! | Room | What lives there |
//! |---|---|
//! | `model` | the words: seats, roles, observations, memory, reasons |
//! | `api` | the contract with humans: spec, status, conditions |
//! | `plan` | the decision, pure |
//! | `sql` | the only TDS client: polls and guarded failovers |
//! | `controller` | the loop: observe, plan, perform, publish |
//! | `leader` | who may act: an election by Lease |
//! | `metrics` | numbers for Prometheus |
//! | `health` | the HTTP server for probes and metrics |
//! | `telemetry` | the log |
//! | `cli` | one file per verb |

pub mod api;
pub mod cli;
pub mod controller;
pub mod health;
pub mod leader;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod sql;
pub mod status;
pub mod telemetry;
