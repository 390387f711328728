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

/// Names one move of one resource. A resource that is created again has another UID, and its next move another start.
pub type MoveId = Arc<str>;

/// The name of the move of this type that started at this time.
pub fn move_id(uid: &str, ty: DatabaseType, started: Timestamp) -> MoveId {
    format!("{uid} {ty} {started}").into()
}

/// A move, and the attempts that are not answered.
#[derive(Debug)]
pub struct RunningMove {
    /// `namespace/name`.
    pub resource: String,
    pub moving: Moving,
    attempts: usize,
}

#[derive(Debug, Default)]
pub struct RunningMoves {
    by_id: HashMap<MoveId, RunningMove>,
    by_pair: Index<PairKey>,
}

impl RunningMoves {
    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.by_id.len() + self.by_pair.entries()
    }

    pub fn sent(&mut self, id: &MoveId, resource: &str, moving: &Moving) {
        if let Some(running) = self.by_id.get_mut(id) {
            running.attempts += 1;
            return;
        }
        self.by_pair.replace(id, [], moving.pair.keys());
        let running = RunningMove { resource: resource.to_owned(), moving: moving.clone(), attempts: 1 };
        self.by_id.insert(id.clone(), running);
    }

    /// All statements of an attempt are answered. Returns the move if it ends with that.
    pub fn answered(&mut self, id: &MoveId) -> Option<RunningMove> {
        let running = self.by_id.get_mut(id)?;
        running.attempts -= 1;
        if running.attempts > 0 {
            return None;
        }
        let (id, running) = self.by_id.remove_entry(id)?;
        self.by_pair.replace(&id, running.moving.pair.keys(), []);
        Some(running)
    }

    /// The running moves on this pair, except `own`: the move in flight of the pass. An earlier move of the same resource counts,
    /// as its type can have been removed before its statements were answered.
    pub fn others<'a>(
        &'a self,
        own: Option<&'a MoveId>,
        pair: &'a ProvenPair,
    ) -> impl Iterator<Item = &'a RunningMove> {
        let own = own.map_or("", |own| own);
        let ids: BTreeSet<&MoveId> =
            pair.keys().flat_map(|key| self.by_pair.others(&key, own).collect::<Vec<_>>()).collect();
        ids.into_iter().filter_map(|id| self.by_id.get(id))
    }
}
