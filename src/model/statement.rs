//! The two statements that the planner can plan and `sql` can send.

use crate::model::{DatabaseName, Guid, Seat};

/// The kind of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `SET PARTNER FAILOVER`, on the principal. It loses no data.
    Failover,
    /// `SET PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS`, on a mirror that lost its principal and has no witness (R1, R2).
    ForceService,
}

/// A statement for a database, with the values that the guard compares on the server before it acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    pub act: Act,
    pub database: DatabaseName,
    /// The seat whose server receives the statement: that of the principal for a failover, of the mirror for forced service.
    pub on: Seat,
    /// `SERVERPROPERTY('ServerName')` of the server in that seat.
    pub server: String,
    /// The name of the server in the other seat, which the session must contain.
    pub partner: String,
    pub guid: Guid,
    pub role_sequence: i32,
}
