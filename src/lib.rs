//! Implementation of the `lync-mirror` binary: a Kubernetes operator that keeps the principal of each mirrored Lync
//! database type on the desired SQL Server.
//!
//! # Public API
//!
//! This library is internal. Its items are public for the binary, the tests and `xtask` of this repository, and can change
//! in every version. Only the `lync-mirror` binary, the `LyncPoolMirror` resource and the metrics are supported interfaces.
//!
//! # Modules
//!
//! | Module | Responsibility |
//! |---|---|
//! | [`model`] | Vocabulary: seats, roles, observations, persisted state, reasons. Pure. |
//! | [`api`] | The resource: spec, status, conditions, parsing, validation. |
//! | [`plan`] | The decision: desired state, observation, persisted state and time in, plan out. Pure. |
//! | [`status`] | Rendering of status, conditions and history. Pure. |
//! | [`sql`] | The only TDS client: TLS, Kerberos, polls and guarded statements. |
//! | [`direct`] | Resources, credentials and status in files, for a run without a cluster. |
//! | [`controller`] | The reconcile loop: observe, plan, publish, execute. |
//! | [`leader`] | Leader election with a Lease. |
//! | [`metrics`] | Prometheus metrics. |
//! | [`http`] | The HTTP server below probes and metrics: limits, TLS, access. |
//! | [`health`] | The probes and the page of the metrics. |
//! | [`telemetry`] | The log. |
//! | [`cli`] | The command line. |
//!
//! A pure module has no I/O, no clock and no asynchronous code.

pub mod api;
pub mod cli;
pub mod controller;
pub mod direct;
pub mod health;
pub mod http;
pub mod leader;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod sql;
pub mod status;
pub mod telemetry;
