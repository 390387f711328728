//! `lync-mirror`: which SQL Server is principal for each database type of a mirrored Lync pool.
//!
//! | Room | What lives there |
//! |---|---|
//! | `model` | the words: seats, roles, observations, memory, reasons |
//! | `plan` | the decision, pure |
//! | `sql` | the only TDS client: looks and guarded failovers |

pub mod model;
pub mod plan;
pub mod sql;
