//! One pair of servers, one move at a time, whatever resources ask, with CentralMgmt last among those that are ready (design
//! section 8.2). A type is ready once a pass has found it so: a pass that is first does not wait for what no pass has read yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::ParsedSpec;
use crate::controller::index::Index;
use crate::controller::object::shown_name;
use crate::controller::pass::Pass;
use crate::controller::proven_pair::{PairKey, ProvenPair};
use crate::controller::running::{MoveId, Moving, RunningMoves, move_id};
use crate::model::{DatabaseType, Observation, Pair, StoreId, Stores};
use crate::plan::Plan;

/// What one resource moves, or is ready to move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Movement {
    moving: Option<Moving>,
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
            let (ty, started) = (operation.ty, operation.started);
            // A server that is away during the move does not end the claim.
            let known = before.and_then(|before| before.moving.clone());
            let known = known.filter(|moving| (moving.ty, moving.started) == (ty, started));
            known.or_else(|| Some(Moving { pair: on(ty)?, ty, started }))
        });
        Movement { moving, ready: ready.filter_map(|(ty, _)| Some((on(*ty)?, *ty))).collect() }
    }

    fn is_none(&self) -> bool {
        self.moving.is_none() && self.ready.is_empty()
    }

    fn keys(&self) -> BTreeSet<(PairKey, Part)> {
        let moves = self.moving.iter().map(|moving| (&moving.pair, Part::Moves));
        let ready = self.ready.iter().map(|(pair, ty)| (pair, Part::Ready(*ty)));
        moves.chain(ready).flat_map(|(pair, part)| pair.keys().map(move |key| (key, part))).collect()
    }
}

/// What a resource does on a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Moves,
    Ready(DatabaseType),
}

impl Part {
    fn all() -> impl Iterator<Item = Part> {
        std::iter::once(Part::Moves).chain(DatabaseType::ALL.map(Part::Ready))
    }

    /// The types with an earlier turn than this one.
    fn earlier(ty: DatabaseType) -> impl Iterator<Item = DatabaseType> {
        DatabaseType::ALL.into_iter().filter(move |before| *before < ty)
    }
}

/// The most resources that the end of a movement triggers for each type. Every other one that waits has its next pass within 10 s.
const TRIGGERED: usize = 10;

/// The movements of the resources that move or are ready to, by `namespace/name`.
#[derive(Default)]
pub struct Movements(Mutex<State>);

#[derive(Default)]
struct State {
    movements: HashMap<Arc<str>, Movement>,
    by_pair: Index<(PairKey, Part)>,
    running: RunningMoves,
}

impl State {
    /// Returns the other resources that can wait for what ended.
    fn set(&mut self, resource: &str, movement: Movement) -> BTreeSet<String> {
        let resource: Arc<str> = resource.into();
        let before = self.movements.remove(&resource).unwrap_or_default();
        let (had, has) = (before.keys(), movement.keys());
        let ended: BTreeSet<&PairKey> = had.iter().filter(|_| before != movement).map(|(key, _)| key).collect();
        let waiting = self.waiting(ended.into_iter().cloned(), &resource);
        self.by_pair.replace(&resource, had, has);
        if !movement.is_none() {
            self.movements.insert(resource, movement);
        }
        waiting
    }

    /// Other resources that can wait for what ended on these pairs.
    fn waiting(&self, keys: impl Iterator<Item = PairKey>, resource: &str) -> BTreeSet<String> {
        let mut waiting = BTreeSet::new();
        for key in keys {
            for part in Part::all() {
                let others = self.by_pair.others(&(key.clone(), part), resource).take(TRIGGERED);
                waiting.extend(others.map(ToString::to_string));
            }
        }
        waiting
    }

    /// The first other resource, by name, with this part on the pair.
    fn first<'a>(
        &'a self,
        resource: &'a str,
        pair: &ProvenPair,
        part: Part,
        exists: &impl Fn(&str) -> bool,
    ) -> Option<&'a str> {
        let others = |key| self.by_pair.others(&(key, part), resource).find(|other| exists(other));
        pair.keys().filter_map(others).min().map(AsRef::as_ref)
    }
}

/// The result of [`Movements::reserve`].
#[derive(Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The movement is recorded. These resources can have waited for what it no longer contains.
    Recorded { waiting: BTreeSet<String> },
    /// Another resource moves on the pair or has an earlier turn there, so that nothing is recorded.
    Occupied,
}

impl Movements {
    /// Records the movement of a resource, unless it would begin a move on a pair on which another resource moves or has an
    /// earlier turn. `exists`: whether a resource still exists.
    pub fn reserve(
        &self,
        pass: &Pass<'_>,
        plan: &Plan,
        observation: &Observation,
        exists: impl Fn(&str) -> bool,
    ) -> Reservation {
        let (resource, mut state) = (pass.name(), self.0.lock());
        let movement = Movement::of(&pass.spec, plan, observation, state.movements.get(resource.as_str()));
        let occupied = movement.moving.as_ref().is_some_and(|moving| {
            let is_same = |theirs: &Moving| theirs.pair.is_same(&moving.pair);
            // A type can have become ready after this pass read the turns. A move in flight does not wait for it.
            let begins = state.movements.get(resource.as_str()).and_then(|known| known.moving.as_ref()) != Some(moving);
            let is_other = |part| state.first(&resource, &moving.pair, part, &exists).is_some();
            let own = move_id(pass.uid(), moving.ty, moving.started);
            let mut running = state.running.others(Some(&own), &moving.pair).map(|running| &running.moving);
            is_other(Part::Moves)
                || (begins && Part::earlier(moving.ty).map(Part::Ready).any(is_other))
                || running.any(is_same)
        });
        if occupied && !plan.steps.is_empty() {
            return Reservation::Occupied;
        }
        Reservation::Recorded { waiting: state.set(&resource, movement) }
    }

    /// The statements of an attempt are about to be sent: its movement must be reserved. Returns the name of the move for
    /// [`Movements::statements_answered`]. None: its pair is not proven, as during a forced service.
    pub fn statements_sent(&self, uid: &str, resource: &str) -> Option<MoveId> {
        let mut state = self.0.lock();
        let moving = state.movements.get(resource).and_then(|movement| movement.moving.clone())?;
        let id = move_id(uid, moving.ty, moving.started);
        state.running.sent(&id, resource, &moving);
        Some(id)
    }

    /// The statements of an attempt are answered. Returns the resources that can have waited for them.
    pub fn statements_answered(&self, id: &MoveId) -> BTreeSet<String> {
        let mut state = self.0.lock();
        let Some(running) = state.running.answered(id) else { return BTreeSet::new() };
        state.waiting(running.moving.pair.keys(), "")
    }

    /// The movement of a resource, for [`Movements::restore`].
    pub fn of(&self, resource: &str) -> Movement {
        self.0.lock().movements.get(resource).cloned().unwrap_or_default()
    }

    /// Takes a reservation back. A move that was in flight before it stays recorded.
    pub fn restore(&self, resource: &str, before: Movement) -> BTreeSet<String> {
        self.0.lock().set(resource, before)
    }

    /// The resource does not move any more. Its statements that are not answered still occupy the pair. Returns the resources
    /// that can have waited for this one.
    pub fn forget(&self, resource: &str) -> BTreeSet<String> {
        self.0.lock().set(resource, Movement::default())
    }

    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        let state = self.0.lock();
        state.movements.len() + state.by_pair.entries() + state.running.entries()
    }

    /// The end of a term. Statements that it sent still run.
    pub fn forget_all(&self) {
        let mut state = self.0.lock();
        *state = State { running: std::mem::take(&mut state.running), ..State::default() };
    }

    /// What each type of a resource waits for on its pair: the move of another resource, or its earlier turn. `exists`: whether
    /// a resource still exists. `own`: the move in flight of the resource.
    pub fn turns(
        &self,
        (resource, own): (&str, Option<&MoveId>),
        types: impl Iterator<Item = (DatabaseType, Option<ProvenPair>)>,
        exists: impl Fn(&str) -> bool,
    ) -> BTreeMap<DatabaseType, String> {
        let state = self.0.lock();
        types
            .filter_map(|(ty, pair)| {
                let pair = pair?;
                let first = |part| state.first(resource, &pair, part, &exists);
                let moves = first(Part::Moves).and_then(|other| {
                    let moving = state.movements.get(other)?.moving.as_ref()?;
                    Some((moving.ty, other))
                });
                let running = || {
                    let running =
                        state.running.others(own, &pair).find(|running| running.moving.pair.is_same(&pair))?;
                    Some((running.moving.ty, running.resource.as_str()))
                };
                let moves = moves.or_else(running).map(|(ty, other)| {
                    if other == resource {
                        // Of its former spec, status or life.
                        return format!("an earlier failover of {ty}, which SQL Server has not answered");
                    }
                    format!("{ty} of {}, which is moving", shown_name(resource, other))
                });
                let earlier = || {
                    let (other, before) =
                        Part::earlier(ty).find_map(|before| Some((first(Part::Ready(before))?, before)))?;
                    Some(format!("{before} of {}, which has an earlier turn", shown_name(resource, other)))
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

#[cfg(test)]
#[path = "movement_tests.rs"]
mod tests;
