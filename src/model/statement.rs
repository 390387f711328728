//! The two statements that the planner may order and `sql` may send.

use crate::model::{DatabaseName, Guid, Seat};

/// Which statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `SET PARTNER FAILOVER`, on the principal: loses nothing.
    Failover,
    /// `SET PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS`, on a mirror that lost its principal and has no witness (R1, R2).
    ForceService,
}

/// One statement for one database, with everything the server itself must still find true (the guard).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    pub act: Act,
    pub database: DatabaseName,
    /// The seat whose server gets the statement: the principal's for a failover, the mirror's for a forced service.
    pub on: Seat,
    /// `SERVERPROPERTY('ServerName')` of the server in that seat.
    pub server: String,
    /// The name of the server in the other seat, as the session must name it.
    pub partner: String,
    pub guid: Guid,
    pub role_sequence: i32,
}
