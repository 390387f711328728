//! `lync-mirror`: which SQL Server is principal for each database type of a mirrored Lync pool.
//!
//! | Room | What lives there |
//! |---|---|
//! | `model` | the words: seats, roles, observations, memory, reasons |
//! | `api` | the contract with humans: spec, status, conditions |
//! | `plan` | the decision, pure |
//! | `sql` | the only TDS client: looks and guarded failovers |

pub mod api;
pub mod model;
pub mod plan;
pub mod sql;
