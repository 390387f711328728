//! Servers that are renamed, exchanged or mirrored anew while a move is in flight. The model check found each of these.

use std::sync::Arc;

use super::tests::{NOW, desired, observation, reason, settled, store};
use super::*;
use crate::model::*;

const TY: DatabaseType = DatabaseType::Archiving;
const NAMES: [&str; 2] = ["SQL-PRIMARY", "SQL-MIRROR"];

fn named(a: &str, b: &str, names: [&str; 2], guid: Option<u8>) -> Observation {
    let mut observation = observation(a, b);
    let pair = &mut observation.pairs[store()];
    for (view, number) in [(&mut pair.primary, 0), (&mut pair.mirror, 1)] {
        let ServerObservation::Available { server, .. } = view else { continue };
        let server = Arc::make_mut(server);
        server.name = names[number].to_owned();
        for row in server.databases.values_mut().filter_map(|database| database.mirroring.as_mut()) {
            row.partner_instance = names[1 - number].to_owned();
            row.guid = guid.map_or(row.guid, |guid| Guid::from_bytes([guid; 16]));
        }
    }
    observation
}

fn here() -> Observation {
    named("P/4/C", "M/4/C", NAMES, None)
}

/// A spec that wants the mirror, and the state after its move has begun.
fn begun() -> (Desired, PersistedState) {
    let mut persisted = PersistedState {
        requests: [(TY, Request { principal: Seat::Primary, generation: 1, pending: false })].into(),
        tracking: [(TY, settled(Seat::Primary))].into(),
        ..PersistedState::default()
    };
    persisted = plan(&desired(Seat::Primary), &here(), &persisted, NOW).persisted;
    let mut desired = desired(Seat::Mirror);
    desired.generation = 3;
    let begun = plan(&desired, &here(), &persisted, NOW);
    assert_eq!((begun.steps.len(), begun.persisted.operation.is_some()), (1, true));
    (desired, begun.persisted)
}

#[test]
fn session_that_is_new_during_a_move_owes_nothing_when_the_move_ends() {
    let (desired, mut persisted) = begun();
    let anew = named("P/4/C", "M/4/C", NAMES, Some(9));
    let mut now = NOW;
    for _ in 0..4 {
        now = later(now, std::time::Duration::from_secs(3600));
        let seen = plan(&desired, &anew, &persisted, now);
        assert_eq!(seen.steps.len(), 0, "{}", seen.types[&TY].verdict.message);
        persisted = seen.persisted;
    }
    assert!(persisted.operation.is_none() && !persisted.requests[&TY].pending);
}

#[test]
fn server_that_is_renamed_during_a_move_is_the_same_server() {
    let (desired, persisted) = begun();
    for names in [["SQL-NEW", "SQL-MIRROR"], ["SQL-PRIMARY", "SQL-NEW"], ["SQL-NEW", "SQL-OTHER"]] {
        let seen = plan(&desired, &named("P/4/C", "M/4/C", names, None), &persisted, NOW);
        assert!(seen.ended.is_none() && seen.persisted.operation.is_some(), "{names:?}: a statement is on its way");
    }
}

/// The columns of a database that is not open are NULL, so that they do not show another server.
#[test]
fn renamed_server_during_a_move_is_the_same_one_unless_its_database_is_open_and_not_mirrored() {
    let (desired, persisted) = begun();
    for (row, ended) in [("NULL/r", None), ("NULL", Some(Outcome::Superseded))] {
        let seen = plan(&desired, &named(row, "M/4/C", ["SQL-NEW", "SQL-MIRROR"], None), &persisted, NOW);
        assert_eq!(seen.ended.as_ref().map(|ended| ended.outcome), ended, "{row}");
    }
}

/// An edit of the spec during the move. The session of the two others goes on, and shows nothing of the third server.
#[test]
fn move_ends_when_the_spec_names_a_third_server() {
    let (desired, persisted) = begun();
    for (a, b) in [("P/4/C", "M/4/C"), ("M/4/C", "P/4/C")] {
        for seat in Seat::BOTH {
            let mut rows = named(a, b, NAMES, None);
            let pair = &mut rows.pairs[store()];
            let view = if seat == Seat::Primary { &mut pair.primary } else { &mut pair.mirror };
            let ServerObservation::Available { server, .. } = view else { panic!("{view:?}") };
            let server = Arc::make_mut(server);
            (server.name, server.databases) = ("SQL-THIRD".to_owned(), Default::default());
            let seen = plan(&desired, &rows, &persisted, NOW);
            let ended = seen.ended.as_ref().map(|ended| ended.outcome);
            assert_eq!((ended, seen.steps.len()), (Some(Outcome::Superseded), 0), "{a} {b} {seat}");
        }
    }
}

#[test]
fn move_ends_without_another_when_the_seats_are_exchanged() {
    let (mut desired, persisted) = begun();
    desired.generation = 4;
    for names in [["SQL-MIRROR", "SQL-PRIMARY"], ["SQL-MIRROR", "SQL-NEW"], ["SQL-NEW", "SQL-PRIMARY"]] {
        for (a, b, wanted) in [("P/4/C", "M/4/C", Reason::SeatsExchanged), ("M/4/C", "P/4/C", Reason::Aligned)] {
            let seen = plan(&desired, &named(a, b, names, None), &persisted, NOW);
            let ended = seen.ended.as_ref().map(|ended| ended.outcome);
            assert_eq!((ended, seen.steps.len()), (Some(Outcome::Superseded), 0), "{names:?}");
            assert_eq!(reason(&seen), wanted, "{names:?}");
        }
    }
}

#[test]
fn renamed_server_in_the_other_seat_is_an_exchange() {
    let (mut desired, persisted) = begun();
    desired.generation = 4;
    let idle = PersistedState { operation: None, ..persisted };
    let pair = |names, addresses: [&str; 2]| {
        let mut rows = named("P/4/C", "M/4/C", names, None);
        let pair = &mut rows.pairs[store()];
        for (view, wanted) in [(&mut pair.primary, addresses[0]), (&mut pair.mirror, addresses[1])] {
            let ServerObservation::Available { address, .. } = view else { continue };
            *address = wanted.to_owned();
        }
        rows
    };
    let known = idle.tracking[&TY].pair.clone().expect("a known pair");
    let (a, b) = (known.primary.address.as_str(), known.mirror.address.as_str());
    for (names, addresses, exchanged) in [
        (["SQL-MIRROR", "SQL-NEW"], [b, a], true),
        (["SQL-NEW", "SQL-PRIMARY"], [b, a], true),
        (["SQL-NEW", "SQL-OTHER"], [b, a], true),
        (["SQL-NEW", "SQL-OTHER"], [a, b], false),
        (["SQL-PRIMARY", "SQL-NEW"], [a, b], false),
    ] {
        let seen = plan(&desired, &pair(names, addresses), &idle, NOW);
        assert_eq!(reason(&seen) == Reason::SeatsExchanged, exchanged, "{names:?} {addresses:?}: {}", reason(&seen));
    }
}

/// A mistyped host leads to another server for a while, and back. Nothing switched.
#[test]
fn server_behind_a_mistyped_host_is_no_switch() {
    let mut persisted = PersistedState {
        requests: [(TY, Request { principal: Seat::Mirror, generation: 1, pending: false })].into(),
        tracking: [(TY, settled(Seat::Mirror))].into(),
        ..PersistedState::default()
    };
    let right = named("M/4/C", "P/4/C", NAMES, None);
    for guid in [None, Some(7)] {
        // The other server has no such database, or one of another session.
        let mut wrong = right.clone();
        let ServerObservation::Available { server, .. } = &mut wrong.pairs[store()].mirror else { panic!() };
        let server = Arc::make_mut(server);
        server.name = "SQL-THIRD".to_owned();
        match guid {
            None => server.databases.clear(),
            Some(guid) => {
                for row in server.databases.values_mut().filter_map(|database| database.mirroring.as_mut()) {
                    row.guid = Guid::from_bytes([guid; 16]);
                }
            }
        }
        for rows in [&right, &wrong, &wrong, &right] {
            let seen = plan(&desired(Seat::Mirror), rows, &persisted, NOW);
            let switches = seen.persisted.tracking[&TY].unrequested_switches;
            assert_eq!((switches, seen.steps.len()), (0, 0), "{guid:?}");
            persisted = seen.persisted;
        }
    }
}
