//! The operator as the search drives it: polls, the real `plan`, the journal by compare-and-swap, statements in flight, answers
//! that arrive or not, and a crash that loses everything but the journal.

use std::collections::BTreeMap;

use crate::disabled::plan;
use lync_mirror::model::*;

use crate::observations::only_store;
use lync_mirror::plan::Plan;

use crate::world::{NAMES, TYPE, World};

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
    pub persisted: PersistedState,
}

impl Resource {
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
    pub views: [Option<ServerObservation>; 2],
    /// Whether each server served each database when it was polled: the truth behind the view.
    pub served: [[bool; 2]; 2],
    pub unsent: Vec<Failover>,
    pub statements: BTreeMap<DatabaseName, StatementState>,
    /// The number of restarts: answers to an earlier process are lost.
    pub life: u8,
}

impl Process {
    pub fn poll(&mut self, seat: usize, world: &World, resource: &Resource) {
        if self.read.is_none() {
            self.read = Some(resource.version);
        }
        self.views[seat] = Some(world.poll(seat));
        self.served[seat] = world.serves(seat);
    }

    /// Plan, and write the journal if the resource is still the one that was read. None: a conflict, poll again.
    pub fn decide(&mut self, resource: &mut Resource, now: jiff::Timestamp) -> Option<Plan> {
        let read = self.read.take()?;
        let views = std::mem::take(&mut self.views);
        let [Some(primary), Some(mirror)] = views else { return None };
        if read != resource.version {
            return None;
        }
        let (pairs, _) = Stores::single(Pair { primary, mirror, witness: None });
        let observation = Observation {
            pairs,
            conflicts: BTreeMap::new(),
            turns: BTreeMap::new(),
            statements: self.statements.clone(),
        };
        let decided = plan(&resource.desired(), &observation, &resource.persisted, now);
        if decided.persisted != resource.persisted {
            resource.version = resource.version.wrapping_add(1);
            resource.persisted = decided.persisted.clone();
        }
        if decided.ended.is_some() {
            self.statements.clear();
        }
        if !decided.steps.is_empty() {
            self.statements = decided.steps.iter().map(|step| (step.database.clone(), StatementState::Sent)).collect();
            self.unsent = decided.steps.clone();
        }
        Some(decided)
    }
}
