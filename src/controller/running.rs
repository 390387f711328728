//! The moves whose statements are not answered. Such a move occupies its pair whatever happens to its resource: it can be
//! deleted, created again or become undecodable while SQL Server still executes the statement.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::controller::index::Index;
use crate::controller::proven_pair::{PairKey, ProvenPair};
use crate::model::DatabaseType;

/// The move of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    pub pair: ProvenPair,
    pub ty: DatabaseType,
    pub started: Timestamp,
}

/// A move, and the attempts that are not answered.
#[derive(Debug)]
pub struct RunningMove {
    /// `namespace/name`.
    pub resource: String,
    pub moving: Moving,
    attempts: usize,
}

/// The running moves, by the UID of their resource: a resource that is created again has another one.
#[derive(Debug, Default)]
pub struct RunningMoves {
    by_uid: HashMap<Arc<str>, RunningMove>,
    by_pair: Index<PairKey>,
}

impl RunningMoves {
    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.by_uid.len() + self.by_pair.entries()
    }

    pub fn sent(&mut self, uid: &str, resource: &str, moving: &Moving) {
        if let Some(running) = self.by_uid.get_mut(uid) {
            running.attempts += 1;
            return;
        }
        let uid: Arc<str> = uid.into();
        self.by_pair.replace(&uid, [], moving.pair.keys());
        self.by_uid.insert(uid, RunningMove { resource: resource.to_owned(), moving: moving.clone(), attempts: 1 });
    }

    /// All statements of an attempt are answered. Returns the move if it ends with that.
    pub fn answered(&mut self, uid: &str) -> Option<RunningMove> {
        let running = self.by_uid.get_mut(uid)?;
        running.attempts -= 1;
        if running.attempts > 0 {
            return None;
        }
        let (uid, running) = self.by_uid.remove_entry(uid)?;
        self.by_pair.replace(&uid, running.moving.pair.keys(), []);
        Some(running)
    }

    /// The running moves of other resources on this pair.
    pub fn others<'a>(&'a self, uid: &'a str, pair: &'a ProvenPair) -> impl Iterator<Item = &'a RunningMove> {
        let uids: BTreeSet<&Arc<str>> =
            pair.keys().flat_map(|key| self.by_pair.others(&key, uid).collect::<Vec<_>>()).collect();
        uids.into_iter().filter_map(|uid| self.by_uid.get(uid))
    }
}
