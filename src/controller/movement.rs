//! One pair of servers, one move at a time, whatever resources ask, with CentralMgmt last among all of them (design section
//! 8.2).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::model::{DatabaseType, Observation, Pair, Stores};
use crate::plan::Plan;

/// The names that the two servers of a pair report, in lower case. A pair is known only while both were read.
type Servers = BTreeSet<String>;

fn servers(pair: &Pair) -> Option<Servers> {
    let name = |view: &crate::model::ServerObservation| view.available().map(|server| server.name.to_lowercase());
    Some([name(&pair.primary)?, name(&pair.mirror)?].into())
}

/// What one resource moves, or is ready to move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Movement {
    moving: Option<(Servers, DatabaseType)>,
    ready: Vec<(Servers, DatabaseType)>,
}

impl Movement {
    pub fn of(plan: &Plan, observation: &Observation, before: Option<&Movement>) -> Movement {
        let on = |ty: DatabaseType| {
            let planned = plan.types.get(&ty)?;
            servers(observation.pair(planned.desired_type.store))
        };
        let ready = plan.types.iter().filter(|(_, planned)| planned.ready);
        let moving = plan.persisted.operation.as_ref().and_then(|operation| {
            // A server that is away during the move does not end the claim.
            let known = before.and_then(|before| before.moving.clone()).filter(|(_, ty)| *ty == operation.ty);
            known.or_else(|| Some((on(operation.ty)?, operation.ty)))
        });
        Movement { moving, ready: ready.filter_map(|(ty, _)| Some((on(*ty)?, *ty))).collect() }
    }
}

/// The movements of all resources, by `namespace/name`.
#[derive(Default)]
pub struct Movements(Mutex<HashMap<String, Movement>>);

impl Movements {
    /// Records the movement of a resource. False if it would begin a move on a pair on which another resource moves: then
    /// nothing is recorded. `exists`: whether a resource still exists.
    pub fn reserve(
        &self,
        resource: &str,
        plan: &Plan,
        observation: &Observation,
        exists: impl Fn(&str) -> bool,
    ) -> bool {
        let mut movements = self.0.lock();
        movements.retain(|other, _| other == resource || exists(other));
        let movement = Movement::of(plan, observation, movements.get(resource));
        let occupied = movement.moving.as_ref().is_some_and(|(pair, _)| {
            movements.iter().any(|(other, theirs)| {
                other != resource && theirs.moving.as_ref().is_some_and(|(theirs, _)| theirs == pair)
            })
        });
        if occupied && !plan.steps.is_empty() {
            return false;
        }
        movements.insert(resource.to_owned(), movement);
        true
    }

    pub fn forget(&self, resource: &str) {
        self.0.lock().remove(resource);
    }

    pub fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// What each type of a resource waits for on its pair: the move of another resource, or its earlier turn. `exists`: whether
    /// a resource still exists.
    pub fn turns(
        &self,
        resource: &str,
        types: impl Iterator<Item = (DatabaseType, Option<Servers>)>,
        exists: impl Fn(&str) -> bool,
    ) -> BTreeMap<DatabaseType, String> {
        let movements = self.0.lock();
        let others = || movements.iter().filter(|(other, _)| *other != resource && exists(other));
        types
            .filter_map(|(ty, pair)| {
                let pair = pair?;
                let moves = others().find_map(|(other, theirs)| {
                    let (_, moving) = theirs.moving.as_ref().filter(|(on, _)| *on == pair)?;
                    Some(format!("{moving} of {other}, which is moving"))
                });
                let earlier = || {
                    others().find_map(|(other, theirs)| {
                        let (_, before) = theirs.ready.iter().find(|(on, before)| *on == pair && *before < ty)?;
                        Some(format!("{before} of {other}, which has an earlier turn"))
                    })
                };
                Some((ty, moves.or_else(earlier)?))
            })
            .collect()
    }
}

/// The types of a resource with the servers of each.
pub fn types_with_servers(
    types: &[crate::model::DesiredType],
    pairs: &Stores<Pair>,
) -> Vec<(DatabaseType, Option<Servers>)> {
    types.iter().map(|desired_type| (desired_type.ty, servers(&pairs[desired_type.store]))).collect()
}
