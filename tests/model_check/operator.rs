//! The operator as the search drives it: polls, the real `plan`, the journal by compare-and-swap, statements in flight, answers
//! that arrive or not, and a crash that loses everything but the journal.

use std::collections::BTreeMap;

use crate::model::*;
use crate::plan::{Failover, Plan, plan};

use crate::world::{NAMES, TYPE, World};

/// What Kubernetes holds: the spec and, in the status, the memory.
#[derive(Debug, Clone)]
pub struct Resource {
    pub principal: Side,
    pub policy: UnrequestedSwitch,
    pub approve: Option<Epoch>,
    pub force: Option<ForceService>,
    pub suspended: bool,
    pub generation: i64,
    pub version: u8,
    pub memory: Memory,
}

impl Resource {
    pub fn desired(&self) -> Desired {
        Desired {
            pool: "pool".to_owned(),
            generation: self.generation,
            wishes: vec![Wish {
                ty: TYPE,
                principal: self.principal,
                databases: NAMES.iter().map(|name| DatabaseName::new(*name)).collect(),
                store: 0,
                approve: self.approve.clone(),
                force: self.force.clone(),
                asked_by: Askers::default(),
            }],
            suspend: self.suspended.then(|| Suspend { reason: "test".to_owned(), until: None }),
            policy: Policy {
                unrequested_switch: self.policy,
                fail_back_after: std::time::Duration::ZERO,
                cooldown: std::time::Duration::ZERO,
                ..Policy::default()
            },
        }
    }
}

/// A process. It forgets all of this when it dies.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// The version that the present pass read, and the views of this pass.
    pub read: Option<u8>,
    pub views: [Option<View>; 2],
    pub unsent: Vec<Failover>,
    pub flights: BTreeMap<DatabaseName, Flight>,
    /// The number of restarts: answers to an earlier process are lost.
    pub life: u8,
}

impl Process {
    pub fn look(&mut self, seat: usize, world: &World, resource: &Resource) {
        if self.read.is_none() {
            self.read = Some(resource.version);
        }
        self.views[seat] = Some(world.look(seat));
    }

    /// Plan, and write the journal if the resource is still the one that was read. None: a conflict, poll again.
    pub fn decide(&mut self, resource: &mut Resource, now: jiff::Timestamp) -> Option<Plan> {
        let read = self.read.take()?;
        let views = std::mem::take(&mut self.views);
        let [Some(primary), Some(mirror)] = views else { return None };
        if read != resource.version {
            return None;
        }
        let pairs = vec![Pair { primary, mirror, witness: None }];
        let seen = Observation { pairs, conflicts: BTreeMap::new(), flights: self.flights.clone() };
        let decided = plan(&resource.desired(), &seen, &resource.memory, now);
        if decided.memory != resource.memory {
            resource.version = resource.version.wrapping_add(1);
            resource.memory = decided.memory.clone();
        }
        if decided.ended.is_some() {
            self.flights.clear();
        }
        if !decided.steps.is_empty() {
            self.flights = decided.steps.iter().map(|step| (step.database.clone(), Flight::Sent)).collect();
            self.unsent = decided.steps.clone();
        }
        Some(decided)
    }
}
