//! The world behind the wire: servers, mirrored databases, witness, links, sessions, and time as an argument.
//! Pure: no clock, no sockets, no randomness. What a client may ask of it in words lives in `sql`.

mod belongings;
mod build;
mod command;
mod control;
mod engine;
mod mirroring;
mod moves;
mod partner;
mod row;
mod server;
mod session;
mod settle;
mod show;
#[cfg(test)]
mod tests;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

pub use command::{Command, Lie};
pub(crate) use mirroring::{Mirroring, Role, Seat, Sync, other};
pub(crate) use moves::{MoveId, Outcome};
pub use row::MirrorRow;
pub use server::Reach;
pub(crate) use server::{Closed, Server};
pub use session::{Login, Session};

pub type SessionId = u64;

/// A role change that came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    pub at: Duration,
    pub pair: String,
    pub database: String,
    /// The servers' ids.
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

#[derive(Debug)]
pub struct World {
    /// What a client sent and this world does not know. A test that leaves something here has failed.
    pub failures: Vec<String>,
    now: Duration,
    version: u64,
    servers: Vec<Server>,
    mirrorings: Vec<Mirroring>,
    /// Pairs of server indices without a link, the lower index first.
    cuts: BTreeSet<(usize, usize)>,
    sessions: BTreeMap<SessionId, Session>,
    next_session: SessionId,
    moves: BTreeMap<MoveId, Outcome>,
    next_move: MoveId,
    failovers: Vec<Failover>,
    /// When a waiting batch wants to be asked again.
    timers: BTreeSet<Duration>,
}

impl World {
    /// Grows at every change, so that watchers can wait for one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Every completed role change, the oldest first.
    pub fn failovers(&self) -> &[Failover] {
        &self.failovers
    }

    pub(crate) fn touch(&mut self) {
        self.version += 1;
    }

    pub(crate) fn set_timer(&mut self, at: Duration) {
        if at > self.now {
            self.timers.insert(at);
        }
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.failures.push(what);
        self.touch();
    }

    pub(crate) fn server(&self, index: usize) -> &Server {
        &self.servers[index]
    }

    pub(crate) fn find_server(&self, id: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.id.eq_ignore_ascii_case(id))
    }

    /// The mirroring of this database on this server, and the seat that the server has in it.
    pub(crate) fn find_mirroring(&self, server: usize, database: &str) -> Option<(usize, Seat)> {
        self.mirrorings.iter().enumerate().find_map(|(index, mirroring)| {
            let seat = mirroring.partners.iter().position(|partner| *partner == server)?;
            same_name(&mirroring.database, database).then_some((index, seat))
        })
    }
}

/// Names compare as the default collation of a server does.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}
