//! The schedule across the types of a resource: what a type that is ready waits for, and until when.

use super::tests::{NOW, TY, after, attempt, desired, observation, pair, pending};
use super::*;
use crate::model::*;

/// Its turn is after that of [`TY`].
const LATER: DatabaseType = DatabaseType::CentralMgmt;

/// A spec that wants both types on the mirror.
fn two_types() -> Desired {
    let mut desired = desired(Seat::Mirror);
    desired.types.push(DesiredType { ty: LATER, ..desired.types[0].clone() });
    desired
}

/// Both types are owed a move to the mirror.
fn both_pending() -> PersistedState {
    let mut persisted = pending(Seat::Mirror);
    persisted.requests.insert(LATER, persisted.requests[&TY]);
    persisted
}

fn reasons(plan: &Plan) -> [Reason; 2] {
    [TY, LATER].map(|ty| plan.types[&ty].verdict.reason)
}

/// The type in the cooldown, and the reasons of the earlier and of the later type.
#[test]
fn type_waits_for_the_cooldown_of_an_earlier_type_only() {
    for (cooling, expected) in
        [(TY, [Reason::Cooldown, Reason::WaitingForTurn]), (LATER, [Reason::Moving, Reason::Cooldown])]
    {
        let mut persisted = both_pending();
        persisted.last.insert(cooling, attempt(Outcome::Succeeded));
        let begun = plan(&two_types(), &observation("P/4/C", "M/4/C"), &persisted, after(10));
        assert_eq!(reasons(&begun), expected, "{cooling}");
        assert_eq!(begun.steps.is_empty(), cooling == TY, "{cooling}");
    }
}

/// How long a type waits for another one is part of the message, while the limit is ahead.
#[test]
fn message_of_a_type_that_waits_names_the_limit_while_it_is_ahead() {
    let mut persisted = both_pending();
    persisted.last.insert(TY, attempt(Outcome::Succeeded));
    for (seconds, limit) in [(299, true), (300, false), (301, false)] {
        let waits = plan(&two_types(), &observation("P/4/C", "M/4/C"), &persisted, after(seconds));
        let verdict = &waits.types[&LATER].verdict;
        assert_eq!(verdict.reason, Reason::WaitingForTurn, "{seconds}");
        assert_eq!(verdict.message.contains("(at most until 1970-01-01T00:05:00Z)"), limit, "{}", verdict.message);
    }
}

#[test]
fn type_that_is_not_ready_does_not_wait_for_a_move() {
    let mut desired = two_types();
    desired.types[1].principal = Seat::Primary;
    let begun = plan(&desired, &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
    assert_eq!(reasons(&begun), [Reason::Moving, Reason::Aligned]);
    let moving = plan(&desired, &observation("P/4/C", "M/4/C"), &begun.persisted, NOW);
    assert_eq!(reasons(&moving), [Reason::Verifying, Reason::Aligned]);
}

/// A type that lags after its move holds up another one on the same pair of servers only.
#[test]
fn type_waits_for_a_type_on_the_same_servers_only() {
    for (named, steps) in
        [(["SQL-PRIMARY", "SQL-MIRROR"], 0), (["sql-mirror", "sql-primary"], 0), (["SQL-C", "SQL-D"], 1)]
    {
        let (mut desired, mut rows) = (two_types(), observation("P/4/C", "M/4/C"));
        let mut second = pair("M/2/C", "P/2/C");
        for (view, [name, partner]) in [(&mut second.primary, named), (&mut second.mirror, [named[1], named[0]])] {
            let ServerObservation::Available { server, .. } = view else { panic!() };
            let server = std::sync::Arc::make_mut(server);
            server.name = name.to_owned();
            for database in server.databases.values_mut() {
                database.mirroring.as_mut().unwrap().partner_instance = partner.to_owned();
            }
        }
        desired.types[1].store = rows.pairs.push(second);
        let mut persisted = pending(Seat::Mirror);
        persisted.last.insert(LATER, attempt(Outcome::Succeeded));
        let decided = plan(&desired, &rows, &persisted, after(1));
        assert_eq!(decided.types[&LATER].verdict.reason, Reason::Synchronizing, "{named:?}");
        assert_eq!(decided.steps.len(), steps, "{named:?}: {}", decided.types[&TY].verdict.message);
    }
}
