//! Two resources of one pair: which of them moves, and when the other one can.

use serde_json::json;

use super::*;
use crate::api::{LyncPoolMirror, MOST_DATABASES, parse};
use crate::controller::object::resource_ref;
use crate::controller::pass::Identity;
use crate::model::{DatabaseName, Guid, PersistedState, Reason, Seat, ServerObservation};
use crate::plan::tests::{NOW, TY, desired, observation, pending, reason};
use crate::plan::{Plan, plan};

/// The servers of all resources here.
fn mirror() -> LyncPoolMirror {
    let resource = json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror", "metadata": {"name": "pool01"},
        "spec": {
            "poolFqdn": "pool01.contoso.com",
            "sql": {
                "primary": {"host": "sql-a"}, "mirror": {"host": "sql-b"},
                "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
            },
            "databaseTypes": [{"type": "Archiving", "principal": "Mirror"}],
        },
    });
    serde_json::from_value(resource).unwrap()
}

fn healthy() -> Observation {
    observation("P/4/C", "M/4/C")
}

/// A plan that begins the move, unless there is a turn to wait for.
fn planned(turns: &BTreeMap<DatabaseType, String>) -> Plan {
    let observation = Observation { turns: turns.clone(), ..healthy() };
    plan(&desired(Seat::Mirror), &observation, &pending(Seat::Mirror), NOW)
}

/// A resource, with its UID.
struct Resource(&'static str, &'static str);

const ONE: Resource = Resource("lync/one", "uid-1");
const TWO: Resource = Resource("other/two", "uid-2");

impl Resource {
    /// The name of its move.
    fn id(&self) -> MoveId {
        move_id(self.1, TY, NOW)
    }

    fn turns(&self, movements: &Movements, exists: bool) -> BTreeMap<DatabaseType, String> {
        let types = types_with_pairs(&parse(&mirror()), &healthy().pairs);
        movements.turns((self.0, Some(&self.id())), types.into_iter(), |_| exists)
    }

    /// As a pass does. `exists`: whether the other resources exist.
    fn reserve(&self, movements: &Movements, plan: &Plan, exists: bool) -> Reservation {
        let (resource, mirror) = (resource_ref(self.0), mirror());
        let identity = Identity { resource: &resource, mirror: &mirror, uid: self.1 };
        let pass = Pass { identity, spec: parse(&mirror), persisted: PersistedState::default() };
        movements.reserve(&pass, plan, &healthy(), |_| exists)
    }

    /// Begins its move.
    fn send(&self, movements: &Movements) {
        let plan = planned(&BTreeMap::new());
        assert!(!plan.steps.is_empty(), "{:?}", reason(&plan));
        assert!(matches!(self.reserve(movements, &plan, true), Reservation::Recorded { .. }));
        movements.statements_sent(self.1, self.0);
    }
}

const UNANSWERED: &str = "an earlier failover of Archiving, which SQL Server has not answered";

fn text(turns: &BTreeMap<DatabaseType, String>) -> Option<&str> {
    turns.get(&TY).map(String::as_str)
}

#[test]
fn second_resource_of_a_pair_waits_for_the_move_of_the_first() {
    let movements = Movements::default();
    ONE.send(&movements);
    let turns = TWO.turns(&movements, true);
    assert_eq!(text(&turns), Some("Archiving of a resource in another namespace, which is moving"));
    let waits = planned(&turns);
    assert_eq!((reason(&waits), waits.steps.len()), (Reason::WaitingForTurn, 0));
    // Its pass planned the move before the other one was reserved.
    assert_eq!(TWO.reserve(&movements, &planned(&BTreeMap::new()), true), Reservation::Occupied);
    assert_eq!(text(&ONE.turns(&movements, true)), None);
}

/// The turns were read before the earlier type of the other resource was found ready.
#[test]
fn move_that_begins_waits_for_a_ready_earlier_type_of_another_resource() {
    let movements = Movements::default();
    let begins = planned(&BTreeMap::new());
    ready(&movements, ONE.0, DatabaseType::User);
    assert_eq!(TWO.reserve(&movements, &begins, true), Reservation::Occupied);
    assert!(matches!(TWO.reserve(&movements, &begins, false), Reservation::Recorded { .. }), "it is gone");
    // A move in flight goes on, e.g. with a further attempt.
    assert!(matches!(TWO.reserve(&movements, &begins, true), Reservation::Recorded { .. }));
    movements.forget(TWO.0);
    ready(&movements, ONE.0, DatabaseType::CentralMgmt);
    assert!(matches!(TWO.reserve(&movements, &begins, true), Reservation::Recorded { .. }), "a later type");
}

/// Deleted or undecodable: nothing describes the move any more, and SQL Server still executes it.
#[test]
fn pair_of_a_forgotten_resource_stays_occupied_until_its_statements_are_answered() {
    for exists in [false, true] {
        let movements = Movements::default();
        ONE.send(&movements);
        movements.forget(ONE.0);
        let turns = TWO.turns(&movements, exists);
        assert_eq!(text(&turns), Some("Archiving of a resource in another namespace, which is moving"));
        assert_eq!(TWO.reserve(&movements, &planned(&BTreeMap::new()), exists), Reservation::Occupied);
        assert!(matches!(TWO.reserve(&movements, &planned(&turns), exists), Reservation::Recorded { .. }));

        assert_eq!(movements.statements_answered(&ONE.id()), [TWO.0.to_owned()].into(), "the resource that waits");
        assert_eq!(text(&TWO.turns(&movements, exists)), None);
        let reserved = TWO.reserve(&movements, &planned(&BTreeMap::new()), exists);
        assert!(matches!(reserved, Reservation::Recorded { .. }), "{reserved:?}");
        assert_eq!(movements.statements_answered(&ONE.id()), BTreeSet::new(), "answered once");
    }
}

#[test]
fn resource_that_is_created_again_waits_for_the_statements_of_the_former_one() {
    let movements = Movements::default();
    ONE.send(&movements);
    movements.forget(ONE.0);
    let again = Resource(ONE.0, "uid-3");
    assert_eq!(text(&again.turns(&movements, true)), Some(UNANSWERED));
    assert_eq!(again.reserve(&movements, &planned(&BTreeMap::new()), true), Reservation::Occupied);
    // The same resource continues its own move.
    assert_eq!(text(&ONE.turns(&movements, true)), None);
    movements.statements_answered(&ONE.id());
    assert!(matches!(again.reserve(&movements, &planned(&BTreeMap::new()), true), Reservation::Recorded { .. }));
}

#[test]
fn statements_of_a_former_term_occupy_their_pair_in_the_next_one() {
    let movements = Movements::default();
    ONE.send(&movements);
    movements.forget_all();
    assert_eq!(TWO.reserve(&movements, &planned(&BTreeMap::new()), true), Reservation::Occupied);
    movements.statements_answered(&ONE.id());
    assert!(matches!(TWO.reserve(&movements, &planned(&BTreeMap::new()), true), Reservation::Recorded { .. }));
}

/// The first attempt is not answered by its deadline, and the second one is sent.
#[test]
fn pair_is_occupied_until_the_last_attempt_is_answered() {
    let movements = Movements::default();
    ONE.send(&movements);
    movements.statements_sent(ONE.1, ONE.0);
    movements.forget(ONE.0);
    movements.statements_answered(&ONE.id());
    assert_eq!(TWO.reserve(&movements, &planned(&BTreeMap::new()), true), Reservation::Occupied);
    movements.statements_answered(&ONE.id());
    assert!(matches!(TWO.reserve(&movements, &planned(&BTreeMap::new()), true), Reservation::Recorded { .. }));
}

/// Its type was removed from the spec, so that the move ended without an answer.
#[test]
fn next_move_of_a_resource_waits_for_the_statements_of_its_former_one() {
    let movements = Movements::default();
    ONE.send(&movements);
    movements.forget(ONE.0);
    let types = types_with_pairs(&parse(&mirror()), &healthy().pairs);
    let turns = movements.turns((ONE.0, None), types.into_iter(), |_| true);
    assert_eq!(text(&turns), Some(UNANSWERED));
    movements.statements_answered(&ONE.id());
    let types = types_with_pairs(&parse(&mirror()), &healthy().pairs);
    assert_eq!(text(&movements.turns((ONE.0, None), types.into_iter(), |_| true)), None);
}

/// A forced service has no proven pair. Its answer must not end another move.
#[test]
fn answer_of_a_move_that_was_not_recorded_ends_no_other() {
    let movements = Movements::default();
    assert_eq!(movements.statements_sent(ONE.1, ONE.0), None);
    ONE.send(&movements);
    movements.statements_answered(&move_id(ONE.1, TY, NOW + jiff::SignedDuration::from_secs(60)));
    assert_eq!(TWO.reserve(&movements, &planned(&BTreeMap::new()), true), Reservation::Occupied);
}

/// A resource that is ready to move `ty` on the pair of all resources here.
fn ready(movements: &Movements, resource: &str, ty: DatabaseType) -> BTreeSet<String> {
    let (_, pair) = types_with_pairs(&parse(&mirror()), &healthy().pairs).remove(0);
    movements.0.lock().set(resource, Movement { moving: None, ready: vec![(pair.unwrap(), ty)] })
}

#[test]
fn turn_beside_a_thousand_resources_costs_as_much_as_beside_twenty() {
    let (movements, mut costs) = (Movements::default(), Vec::new());
    for index in 0..1000 {
        ready(&movements, &format!("a/{index:04}"), DatabaseType::User);
        if index == 20 || index == 999 {
            let read = std::cell::Cell::new(0);
            let exists = |_: &str| {
                read.set(read.get() + 1);
                true
            };
            let types = types_with_pairs(&parse(&mirror()), &healthy().pairs);
            let turns = movements.turns((TWO.0, None), types.into_iter(), exists);
            assert_eq!(text(&turns), Some("User of a resource in another namespace, which has an earlier turn"));
            costs.push((read.get(), movements.forget("a/0010").len()));
            ready(&movements, "a/0010", DatabaseType::User);
        }
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[1].1, TRIGGERED, "no pass of all at the end of a movement");
}

#[test]
fn pair_of_a_server_with_many_sessions_has_few_keys() {
    let mut observation = healthy();
    for pair in observation.pairs.iter_mut() {
        for seat in Seat::BOTH {
            let view = if seat == Seat::Primary { &mut pair.primary } else { &mut pair.mirror };
            let ServerObservation::Available { server, .. } = view else { panic!("{seat:?}") };
            let server = Arc::make_mut(server);
            let row = server.databases.values().next().unwrap().clone();
            for index in 0..1_000_u128 {
                let mut row = row.clone();
                row.mirroring.as_mut().unwrap().guid = Guid::from_bytes(index.to_be_bytes());
                server.databases.insert(DatabaseName::new(format!("db{index:04}")), row);
            }
        }
    }
    let proven = |mirror: &LyncPoolMirror, observation: &Observation| {
        types_with_pairs(&parse(mirror), &observation.pairs).remove(0).1.unwrap()
    };
    let pair = proven(&mirror(), &observation);
    assert_eq!(pair.keys().count(), 33);
    // The databases of a move in flight show no session.
    for store in observation.pairs.iter_mut() {
        let ServerObservation::Available { server, .. } = &mut store.primary else { panic!() };
        let databases = &mut Arc::make_mut(server).databases;
        databases.values_mut().take(MOST_DATABASES).for_each(|row| row.mirroring = None);
    }
    let mut renamed = mirror();
    renamed.spec.sql.as_mut().unwrap().primary.host = "192.0.2.7".to_owned();
    assert!(proven(&renamed, &observation).is_same(&pair), "also by another address");
}
