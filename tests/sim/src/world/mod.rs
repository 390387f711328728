//! The simulated servers: mirrored databases, witness, mirroring connections and client sessions.
//! Pure: no clock, no sockets, no randomness; the time is an argument. Module `sql` runs T-SQL against this module.

mod administration;
mod build;
mod command;
mod control;
mod control_settings;
mod counters;
mod endpoints;
mod engine;
mod error_log;
mod failover;
mod inventory;
mod log_flow;
mod maintenance;
mod mirroring;
mod recovery;
mod row;
mod server;
mod session;
mod sessions_view;
mod set_partner;
mod set_witness;
mod state;
#[cfg(test)]
mod tests;
mod transitions;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

pub use command::{CatalogOverride, Command};
pub(crate) use failover::{FailoverId, Outcome};
pub(crate) use mirroring::{Mirroring, Role, Seat, Sync, other};
pub use row::MirrorRow;
pub use server::Reach;
pub(crate) use server::{OpenError, Server};
pub use session::{Login, Session};

pub type SessionId = u64;

/// A completed role change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Time since the start of the simulation.
    pub at: Duration,
    pub pair: String,
    pub database: String,
    /// Server ids of the old and the new principal.
    pub from: String,
    pub to: String,
    pub kind: FailoverKind,
    pub role_sequence: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FailoverKind {
    Manual,
    Automatic,
    Forced,
}

/// A mirrored database opened for clients on a server, or closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChange {
    /// Time since the start of the simulation.
    pub at: Duration,
    /// The server id.
    pub server: String,
    pub database: String,
    pub open: bool,
}

/// All servers and mirroring sessions of a simulation.
#[derive(Debug)]
pub struct World {
    /// Requests of clients that the simulation does not support. A test must end with an empty list.
    pub failures: Vec<String>,
    now: Duration,
    version: u64,
    servers: Vec<Server>,
    mirrorings: Vec<Mirroring>,
    /// Pairs of server indices whose mirroring connection is cut, the lower index first.
    cuts: BTreeSet<(usize, usize)>,
    sessions: BTreeMap<SessionId, Session>,
    next_session: SessionId,
    failover_outcomes: BTreeMap<FailoverId, Outcome>,
    next_failover_id: FailoverId,
    failovers: Vec<Failover>,
    service_changes: Vec<ServiceChange>,
    /// The backup files by lower-case name: the database, and whether it is a backup of the log.
    backups: BTreeMap<String, (String, bool)>,
    /// The times at which a waiting batch must be resumed.
    timers: BTreeSet<Duration>,
}

impl World {
    /// A counter that grows with every change, so that a task can wait for a change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All completed role changes, oldest first.
    pub fn failovers(&self) -> &[Failover] {
        &self.failovers
    }

    /// Each change of the service of a mirrored database, oldest first. A database is closed until its first change.
    pub fn service_changes(&self) -> &[ServiceChange] {
        &self.service_changes
    }

    pub(crate) fn mark_changed(&mut self) {
        self.version += 1;
    }

    pub(crate) fn set_timer(&mut self, at: Duration) {
        if at > self.now {
            self.timers.insert(at);
        }
    }

    pub(crate) fn record_failure(&mut self, what: String) {
        self.failures.push(what);
        self.mark_changed();
    }

    /// The product version of the server with this id.
    pub fn product_version(&self, server: &str) -> String {
        self.find_server(server).map(|index| self.servers[index].version.clone()).unwrap_or_default()
    }

    pub(crate) fn find_server(&self, id: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.id.eq_ignore_ascii_case(id))
    }

    /// The index of the mirroring session of a database, and the seat of the server in the session.
    pub(crate) fn find_mirroring(&self, server: usize, database: &str) -> Option<(usize, Seat)> {
        let mut sessions = self.mirrorings.iter().enumerate().filter_map(|(index, mirroring)| {
            let seat = mirroring.partners.iter().position(|partner| *partner == server)?;
            self.servers[server].is_same(&mirroring.database, database).then_some((index, seat))
        });
        // A database can have left a session and then be part of another one.
        let first = sessions.next()?;
        std::iter::once(first)
            .chain(sessions)
            .find(|(index, seat)| self.mirrorings[*index].copies[*seat].mirrored)
            .or(Some(first))
    }
}

/// Compares names without case, as the default collation of SQL Server does. For names of clients: `Server::is_same`.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

/// Compares names by the collation of a server.
pub(crate) fn is_same(case_sensitive: bool, a: &str, b: &str) -> bool {
    if case_sensitive { a == b } else { same_name(a, b) }
}
