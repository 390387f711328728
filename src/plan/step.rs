//! The one act that the planner may ask for: a failover of databases that all stood the preflight.

use crate::model::{DatabaseName, Guid, Side};

/// A planned failover of one database, with everything the server itself must still find true (the guard).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    pub database: DatabaseName,
    /// The seat that holds the principal now: the statement runs there.
    pub on: Side,
    /// `SERVERPROPERTY('ServerName')` of the server in that seat.
    pub server: String,
    /// The name of the server in the other seat, as the session must name it.
    pub partner: String,
    pub guid: Guid,
    pub role_sequence: i32,
}
