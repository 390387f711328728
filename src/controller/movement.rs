//! One pair of servers, one move at a time, whatever resources ask, with CentralMgmt last among those that are ready (design
//! section 8.2). Of two resources that become ready by the same poll, the one whose pass is first may start before the other.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use crate::api::ParsedSpec;
use crate::controller::object::shown_name;
use crate::controller::pass::Pass;
use crate::controller::proven_pair::ProvenPair;
use crate::model::{DatabaseType, Observation, Pair, StoreId, Stores};
use crate::plan::Plan;

/// What one resource moves, or is ready to move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Movement {
    moving: Option<(ProvenPair, DatabaseType)>,
    ready: Vec<(ProvenPair, DatabaseType)>,
}

impl Movement {
    fn of(spec: &ParsedSpec, plan: &Plan, observation: &Observation, before: Option<&Movement>) -> Movement {
        let on = |ty: DatabaseType| {
            let store = plan.types.get(&ty)?.desired_type.store;
            ProvenPair::of(&spec.stores[store].sql, observation.pair(store))
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
        pass: &Pass<'_>,
        plan: &Plan,
        observation: &Observation,
        exists: impl Fn(&str) -> bool,
    ) -> bool {
        let (resource, mut movements) = (pass.name(), self.0.lock());
        movements.retain(|other, _| *other == resource || exists(other));
        let movement = Movement::of(&pass.spec, plan, observation, movements.get(&resource));
        let occupied = movement.moving.as_ref().is_some_and(|(pair, _)| {
            movements.iter().any(|(other, theirs)| {
                *other != resource && theirs.moving.as_ref().is_some_and(|(theirs, _)| theirs.is_same(pair))
            })
        });
        if occupied && !plan.steps.is_empty() {
            return false;
        }
        movements.insert(resource, movement);
        true
    }

    /// The movement of a resource, for [`Movements::restore`].
    pub fn of(&self, resource: &str) -> Option<Movement> {
        self.0.lock().get(resource).cloned()
    }

    /// Takes a reservation back. A move that was in flight before it stays recorded.
    pub fn restore(&self, resource: &str, before: Option<Movement>) {
        let mut movements = self.0.lock();
        match before {
            Some(movement) => movements.insert(resource.to_owned(), movement),
            None => movements.remove(resource),
        };
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
        types: impl Iterator<Item = (DatabaseType, Option<ProvenPair>)>,
        exists: impl Fn(&str) -> bool,
    ) -> BTreeMap<DatabaseType, String> {
        let movements = self.0.lock();
        let others = || movements.iter().filter(|(other, _)| *other != resource && exists(other));
        types
            .filter_map(|(ty, pair)| {
                let pair = pair?;
                let moves = others().find_map(|(other, theirs)| {
                    let (_, moving) = theirs.moving.as_ref().filter(|(on, _)| on.is_same(&pair))?;
                    Some(format!("{moving} of {}, which is moving", shown_name(resource, other)))
                });
                let earlier = || {
                    others().find_map(|(other, theirs)| {
                        let (_, before) = theirs.ready.iter().find(|(on, before)| *before < ty && on.is_same(&pair))?;
                        Some(format!("{before} of {}, which has an earlier turn", shown_name(resource, other)))
                    })
                };
                Some((ty, moves.or_else(earlier)?))
            })
            .collect()
    }
}

/// The types of a resource with the pair of each.
pub fn types_with_pairs(spec: &ParsedSpec, pairs: &Stores<Pair>) -> Vec<(DatabaseType, Option<ProvenPair>)> {
    let identities: BTreeMap<StoreId, Option<ProvenPair>> =
        pairs.with_ids().map(|(store, pair)| (store, ProvenPair::of(&spec.stores[store].sql, pair))).collect();
    let identity = |store: StoreId| identities.get(&store).cloned().flatten();
    spec.desired.types.iter().map(|desired_type| (desired_type.ty, identity(desired_type.store))).collect()
}
