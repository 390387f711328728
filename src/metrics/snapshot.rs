//! The newest snapshot of every resource, stored as a single value: a deleted resource leaves no series behind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::{Cause, DatabaseType, MirroringState, ObservedPrincipal, Outcome, Reason, Seat, Service};

/// The observed state of a resource. Times are Unix times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSnapshot {
    pub ready: bool,
    /// The reason of the whole resource.
    pub reason: Reason,
    pub suspended: bool,
    pub suspended_until: Option<i64>,
    pub weak_encryption: bool,
    pub quorum_at_risk: bool,
    /// Each condition with its status.
    pub conditions: Vec<(&'static str, &'static str)>,
    pub operation: Option<OperationSnapshot>,
    pub servers: Vec<ServerSnapshot>,
    pub types: Vec<TypeSnapshot>,
}

/// The move in progress.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationSnapshot {
    pub ty: DatabaseType,
    pub cause: Cause,
    pub started: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServerSnapshot {
    /// As `status.servers` names it.
    pub seat: String,
    pub reachable: bool,
    pub unreachable_since: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypeSnapshot {
    pub ty: DatabaseType,
    pub desired: Seat,
    pub observed: ObservedPrincipal,
    pub reason: Reason,
    pub service: Service,
    pub databases: Vec<DatabaseSnapshot>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSnapshot {
    pub name: String,
    /// The mirroring state that each available partner reports.
    pub states: Vec<(Seat, MirroringState)>,
    pub redo_queue_kb: Option<i64>,
    pub send_queue_kb: Option<i64>,
}

#[derive(Clone, Default)]
pub(super) struct Entry {
    pub snapshot: Option<ResourceSnapshot>,
    pub moves: BTreeMap<(DatabaseType, Outcome), u64>,
    pub unrequested_switches: BTreeMap<DatabaseType, u64>,
}

pub(super) type Key = (String, String);

/// Shared with a page that is encoded meanwhile: passes do not wait for it.
pub(super) type Entries = BTreeMap<Arc<Key>, Arc<Entry>>;

#[derive(Clone, Default)]
pub(super) struct Snapshots(Arc<Mutex<Entries>>);

impl Snapshots {
    /// The entries of this moment.
    pub fn entries(&self) -> Entries {
        self.0.lock().clone()
    }

    fn change(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.0.lock();
        let entry = entries.entry(Arc::new((namespace.to_owned(), name.to_owned()))).or_default();
        change(Arc::make_mut(entry));
    }

    pub fn observe(&self, namespace: &str, name: &str, snapshot: ResourceSnapshot) {
        self.change(namespace, name, |entry| entry.snapshot = Some(snapshot));
    }

    pub fn move_ended(&self, namespace: &str, name: &str, ty: DatabaseType, outcome: Outcome) {
        self.change(namespace, name, |entry| *entry.moves.entry((ty, outcome)).or_default() += 1);
    }

    pub fn unrequested_switch(&self, namespace: &str, name: &str, ty: DatabaseType) {
        self.change(namespace, name, |entry| *entry.unrequested_switches.entry(ty).or_default() += 1);
    }

    pub fn forget(&self, namespace: &str, name: &str) {
        self.0.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub fn forget_all(&self) {
        self.0.lock().clear();
    }

    #[cfg(test)]
    pub fn resources(&self) -> usize {
        self.0.lock().len()
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshots({})", self.0.lock().len())
    }
}
