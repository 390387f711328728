//! The operator as the search drives it: polls, the real `plan`, the journal by compare-and-swap, statements in flight, answers
//! that arrive or not, and a crash that loses everything but the journal.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::disabled::plan;
use lync_mirror::model::*;

use crate::observations::only_store;
use lync_mirror::plan::Plan;

use crate::world::{Glimpse, NAMES, THIRD, TYPE, World, index};

/// What Kubernetes holds: the spec and, in the status, the memory.
#[derive(Debug, Clone)]
pub struct Resource {
    pub principal: Seat,
    pub policy: UnrequestedSwitch,
    pub approve: Option<Epoch>,
    pub force: Option<ForceService>,
    pub suspended: bool,
    pub generation: i64,
    pub version: u8,
    /// The spec names the two servers in each other's seat.
    pub exchanged: bool,
    /// The spec names a third server as the mirror.
    pub third: bool,
    pub persisted: PersistedState,
    /// A digest of `persisted`, so that states can be compared without it.
    pub digest: u64,
}

impl Resource {
    /// The number of the server in this seat.
    pub fn server(&self, seat: usize) -> usize {
        match seat {
            1 if self.third => THIRD,
            _ if self.exchanged => 1 - seat,
            _ => seat,
        }
    }

    pub fn remember(&mut self, persisted: PersistedState) {
        let mut hasher = DefaultHasher::new();
        format!("{persisted:?}").hash(&mut hasher);
        self.digest = hasher.finish();
        self.persisted = persisted;
    }

    /// What differs between the states of one search.
    pub fn hash_into(&self, hasher: &mut impl Hasher) {
        (self.principal, self.generation, self.version, self.exchanged, self.third, self.digest).hash(hasher);
    }

    pub fn desired(&self) -> Desired {
        Desired {
            pool: "pool".to_owned(),
            generation: self.generation,
            types: vec![DesiredType {
                ty: TYPE,
                principal: self.principal,
                databases: NAMES.iter().map(|name| DatabaseName::new(*name)).collect(),
                store: only_store(),
                approve: self.approve.clone().map(|epoch| Approval { epoch, until: None }),
                force: self.force.clone(),
                requested_by: FieldManagers::default(),
            }],
            suspend: self.suspended.then(|| Suspend { reason: "test".to_owned(), until: None }),
            policy: Policy {
                unrequested_switch: self.policy,
                fail_back_after: std::time::Duration::ZERO,
                cooldown: std::time::Duration::ZERO,
                settle_after: std::time::Duration::ZERO,
                ..Policy::default()
            },
            problems: Vec::new(),
            unusable: BTreeMap::new(),
        }
    }
}

/// A process. It forgets all of this when it dies.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// The version that the present pass read, and the views of this pass.
    pub read: Option<u8>,
    pub views: [Option<Glimpse>; 2],
    /// Whether each server served each database when it was polled: the truth behind the view.
    pub served: [[bool; 2]; 2],
    /// Whether a move of the servers was requested when each was polled.
    pub requested: [bool; 2],
    /// Decided and not sent, each with the number of its server.
    pub unsent: Vec<(usize, Failover)>,
    pub statements: BTreeMap<DatabaseName, StatementState>,
    /// The number of restarts: answers to an earlier process are lost.
    pub life: u8,
}

impl Process {
    pub fn poll(&mut self, seat: usize, world: &World, resource: &Resource) {
        if self.read.is_none() {
            self.read = Some(resource.version);
        }
        let server = resource.server(seat);
        self.views[seat] = Some(world.poll(server));
        self.served[seat] = world.serves(server);
    }

    pub fn hash_into(&self, hasher: &mut impl Hasher) {
        (self.read, &self.views, self.served, self.requested, self.life).hash(hasher);
        if !(self.unsent.is_empty() && self.statements.is_empty()) {
            format!("{:?} {:?}", self.unsent, self.statements).hash(hasher);
        }
    }

    /// Plan, and write the journal if the resource is still the one that was read. None: a conflict, poll again.
    pub fn decide(&mut self, resource: &mut Resource, now: jiff::Timestamp) -> Option<Plan> {
        let read = self.read.take()?;
        let views = std::mem::take(&mut self.views);
        let [Some(primary), Some(mirror)] = views else { return None };
        if read != resource.version {
            return None;
        }
        let (pairs, _) = Stores::single(Pair { primary: primary.view(), mirror: mirror.view(), witness: None });
        let observation = Observation {
            pairs,
            conflicts: BTreeMap::new(),
            turns: BTreeMap::new(),
            statements: self.statements.clone(),
        };
        let decided = plan(&resource.desired(), &observation, &resource.persisted, now);
        if decided.persisted != resource.persisted {
            resource.version = resource.version.wrapping_add(1);
            resource.remember(decided.persisted.clone());
        }
        if decided.ended.is_some() {
            self.statements.clear();
        }
        if !decided.steps.is_empty() {
            self.statements = decided.steps.iter().map(|step| (step.database.clone(), StatementState::Sent)).collect();
            self.unsent = decided.steps.iter().map(|step| (resource.server(index(step.on)), step.clone())).collect();
        }
        Some(decided)
    }
}
