//! Whose state is remembered, and how long an approval and an absence last.

use std::sync::Arc;
use std::time::Duration;

use super::tests::{NOW, TY, after, attempt, desired, failing_back, observation, reason, settled, store};
use super::*;
use crate::model::*;

fn fail_back() -> Desired {
    let mut desired = failing_back();
    desired.policy.fail_back_after = Duration::ZERO;
    desired
}

fn at_home() -> PersistedState {
    PersistedState {
        requests: [(TY, Request { principal: Seat::Primary, generation: 2, pending: false })].into(),
        tracking: [(TY, settled(Seat::Primary))].into(),
        ..PersistedState::default()
    }
}

/// The rows of the two servers, each with another name and its partner's.
fn renamed(a: &str, b: &str, [primary, mirror]: [&str; 2]) -> Observation {
    let mut observation = observation(a, b);
    let pair = &mut observation.pairs[store()];
    for (view, name, partner) in [(&mut pair.primary, primary, mirror), (&mut pair.mirror, mirror, primary)] {
        if let ServerObservation::Available { server, .. } = view {
            let server = Arc::make_mut(server);
            server.name = name.to_owned();
            for database in server.databases.values_mut() {
                if let Some(row) = &mut database.mirroring {
                    row.partner_instance = partner.to_owned();
                }
            }
        }
    }
    observation
}

/// F1, A2: labels were edited, and no database was asked to move.
#[test]
fn exchanged_seats_move_nothing_under_any_policy() {
    let exchanged = renamed("M/4/C", "P/4/C", ["SQL-MIRROR", "SQL-PRIMARY"]);
    for policy in [UnrequestedSwitch::Hold, UnrequestedSwitch::FailBack] {
        let mut desired = fail_back();
        desired.policy.unrequested_switch = policy;
        let mut persisted = at_home();
        for seconds in [0, 1, 3600, 90_000] {
            let held = plan(&desired, &exchanged, &persisted, after(seconds));
            assert_eq!((reason(&held), held.steps.len()), (Reason::SeatsExchanged, 0), "{policy:?} {seconds}");
            assert_eq!(held.persisted.tracking[&TY].unrequested_switches, 0, "nothing has switched");
            persisted = held.persisted;
        }
        // Back again: as if nothing had happened.
        let back = plan(&desired, &observation("P/4/C", "M/4/C"), &persisted, after(90_001));
        assert_eq!((reason(&back), back.steps.len()), (Reason::Aligned, 0));
        // Or the other seat: the databases stay, and the exchange is accepted.
        desired.types[0].principal = Seat::Mirror;
        desired.generation = 3;
        let kept = plan(&desired, &exchanged, &persisted, after(90_001));
        assert_eq!((reason(&kept), kept.steps.len()), (Reason::Aligned, 0), "{}", kept.types[&TY].verdict.message);
        let still = plan(&desired, &exchanged, &kept.persisted, after(90_002));
        assert_eq!((reason(&still), still.persisted.tracking[&TY].unrequested_switches), (Reason::Aligned, 0));
    }
}

#[test]
fn exchanged_seats_move_after_an_approval_of_the_epoch() {
    let exchanged = renamed("M/4/C", "P/4/C", ["SQL-MIRROR", "SQL-PRIMARY"]);
    let mut desired = fail_back();
    let held = plan(&desired, &exchanged, &at_home(), NOW);
    desired.types[0].approve = held.types[&TY].epoch.clone().map(|epoch| Approval { epoch, until: None });
    let approved = plan(&desired, &exchanged, &held.persisted, after(1));
    assert_eq!(approved.persisted.operation.unwrap().cause, Cause::Approved);
}

/// An owed request, a cooldown and a fail-back belong to the servers on which they arose.
#[test]
fn other_servers_or_another_session_owe_nothing() {
    let mut persisted = at_home();
    persisted.requests.insert(TY, Request { principal: Seat::Primary, generation: 2, pending: true });
    persisted.last.insert(TY, attempt(Outcome::Succeeded));
    let mut others = renamed("M/4/C", "P/4/C", ["OTHER-A", "OTHER-B"]);
    set_guid(&mut others, 5);
    let mut anew = observation("M/4/C", "P/4/C");
    set_guid(&mut anew, 9);
    for (what, rows) in [("other servers", others), ("mirrored anew", anew)] {
        for policy in [UnrequestedSwitch::Hold, UnrequestedSwitch::FailBack] {
            let mut desired = fail_back();
            desired.policy.unrequested_switch = policy;
            let seen = plan(&desired, &rows, &persisted, after(10));
            assert_eq!((reason(&seen), seen.steps.len()), (Reason::UnexpectedPrincipal, 0), "{what} {policy:?}");
            assert!(!seen.persisted.requests[&TY].pending && seen.persisted.last.is_empty(), "{what}");
        }
    }
}

fn set_guid(observation: &mut Observation, guid: u8) {
    let pair = &mut observation.pairs[store()];
    for view in [&mut pair.primary, &mut pair.mirror] {
        let ServerObservation::Available { server, .. } = view else { panic!() };
        for database in Arc::make_mut(server).databases.values_mut() {
            database.mirroring.as_mut().unwrap().guid = Guid::from_bytes([guid; 16]);
        }
    }
}

/// A renamed server keeps its mirroring sessions, so that what was asked for is still owed.
#[test]
fn renamed_server_with_the_same_session_keeps_its_state() {
    let mut persisted = at_home();
    persisted.requests.insert(TY, Request { principal: Seat::Primary, generation: 2, pending: true });
    let rows = renamed("M/4/C", "P/4/C", ["NEW-A", "SQL-MIRROR"]);
    let seen = plan(&desired(Seat::Primary), &rows, &persisted, NOW);
    assert_eq!(seen.steps.len(), 1, "{}", seen.types[&TY].verdict.message);
}

/// F11: the session names a renamed host as it was called before.
#[test]
fn renamed_host_is_the_partner_under_its_former_name() {
    let mut rows = renamed("P/4/C", "M/4/C", ["SQL-PRIMARY", "SQL-MIRROR"]);
    let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].mirror else { panic!() };
    let server = Arc::make_mut(server);
    (server.local_name, server.name) = (Some("SQL-MIRROR".to_owned()), "NEW-B".to_owned());
    let seen = plan(&desired(Seat::Primary), &rows, &at_home(), NOW);
    assert_eq!(reason(&seen), Reason::Aligned, "{}", seen.types[&TY].verdict.message);
    let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].mirror else { panic!() };
    Arc::make_mut(server).local_name = Some("NEW-B".to_owned());
    let seen = plan(&desired(Seat::Primary), &rows, &at_home(), NOW);
    assert_eq!(reason(&seen), Reason::PartnerMismatch);
    assert!(
        seen.types[&TY]
            .verdict
            .message
            .contains("as docs/reasons/PartnerMismatch.md shows: spec.sql names another server than the partner, or")
    );
}

#[test]
fn request_of_a_later_generation_is_not_owed() {
    let mut persisted = at_home();
    persisted.requests.insert(TY, Request { principal: Seat::Primary, generation: 9, pending: true });
    let seen = plan(&desired(Seat::Primary), &observation("M/4/C", "P/4/C"), &persisted, NOW);
    assert_eq!((reason(&seen), seen.steps.len()), (Reason::UnexpectedPrincipal, 0));
}

#[test]
fn journal_of_other_servers_is_superseded() {
    let mut persisted = at_home();
    persisted.requests.insert(TY, Request { principal: Seat::Mirror, generation: 1, pending: false });
    let begun = plan(&desired(Seat::Primary), &observation("M/4/C", "P/4/C"), &persisted, NOW);
    assert_eq!(begun.steps.len(), 1);
    let mut others = renamed("M/4/C", "P/4/C", ["OTHER-A", "OTHER-B"]);
    set_guid(&mut others, 5);
    let over = plan(&desired(Seat::Primary), &others, &begun.persisted, after(1));
    assert_eq!(over.ended.unwrap().outcome, Outcome::Superseded);
    assert!(over.steps.is_empty());

    // Nor is the request owed on them, at once or later.
    let mut desired = desired(Seat::Primary);
    desired.policy.cooldown = Duration::ZERO;
    let mut persisted = begun.persisted;
    for seconds in [1, 2, 1000] {
        let seen = plan(&desired, &others, &persisted, after(seconds));
        assert_eq!((reason(&seen), seen.steps.len()), (Reason::UnexpectedPrincipal, 0), "after {seconds} s");
        persisted = seen.persisted;
    }
}

/// The type waits for the turn of another one, and does not claim to move.
#[test]
fn second_type_waits_while_the_first_one_moves() {
    let mut desired = desired(Seat::Mirror);
    desired.types.push(DesiredType { ty: DatabaseType::CentralMgmt, ..desired.types[0].clone() });
    let mut persisted = super::tests::pending(Seat::Mirror);
    persisted.requests.insert(DatabaseType::CentralMgmt, persisted.requests[&TY]);
    let rows = observation("P/4/C", "M/4/C");
    let begun = plan(&desired, &rows, &persisted, NOW);
    for plan in [&begun, &plan(&desired, &rows, &begun.persisted, NOW)] {
        let second = &plan.types[&DatabaseType::CentralMgmt];
        assert_eq!((second.verdict.reason, second.ready), (Reason::WaitingForTurn, true));
    }
}

/// A move in flight whose principal is lost for good ends, so that a forced service can be decided on.
#[test]
fn move_that_lost_its_principal_ends_after_the_deadline() {
    let mut persisted = at_home();
    persisted.requests.insert(TY, Request { principal: Seat::Primary, generation: 1, pending: false });
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/-", "M/4/-"), &persisted, NOW);
    assert_eq!(begun.steps.len(), 1);
    let lost = observation("away", "M/1/-");
    let waits = plan(&desired(Seat::Mirror), &lost, &begun.persisted, after(299));
    assert!(waits.ended.is_none());
    let over = plan(&desired(Seat::Mirror), &lost, &waits.persisted, after(300));
    assert_eq!(over.ended.as_ref().unwrap().outcome, Outcome::Unknown);
    assert_eq!(reason(&over), Reason::PrincipalLost, "{}", over.types[&TY].verdict.message);
}

/// Sequences that differ for good hold up neither a move nor the time to settle.
#[test]
fn server_that_was_away_settles_although_the_sequences_differ() {
    let mut persisted = at_home();
    persisted.requests.insert(TY, Request { principal: Seat::Primary, generation: 1, pending: false });
    let away = plan(&desired(Seat::Mirror), &observation("P/1/C", "away"), &persisted, NOW);
    let rows = observation("P/4/C/7", "M/4/C/9");
    let back = plan(&desired(Seat::Mirror), &rows, &away.persisted, after(10));
    assert_eq!(reason(&back), Reason::Unsettled);
    let settling = plan(&desired(Seat::Mirror), &rows, &back.persisted, after(310));
    assert_eq!(reason(&settling), Reason::Settling, "{}", settling.types[&TY].verdict.message);
    let moves = plan(&desired(Seat::Mirror), &rows, &settling.persisted, after(430));
    assert_eq!(moves.steps.len(), 1, "{}", moves.types[&TY].verdict.message);
}

/// A restart of which the operator saw only the start of the server is an absence too.
#[test]
fn restart_that_was_seen_as_starting_settles_first() {
    let mut starting = observation("away", "P/4/C");
    let ServerObservation::Unavailable { unavailable, .. } = &mut starting.pairs[store()].primary else { panic!() };
    unavailable.cause = UnavailableCause::ServerStarting;
    let mut persisted = at_home();
    persisted.requests.insert(TY, Request { principal: Seat::Primary, generation: 2, pending: true });
    let seen = plan(&desired(Seat::Primary), &starting, &persisted, NOW);
    let back = plan(&desired(Seat::Primary), &observation("M/4/C", "P/4/C"), &seen.persisted, after(1));
    assert_eq!((reason(&back), back.steps.len()), (Reason::Settling, 0));
}

/// A3: an approval does not release a move hours later, and a returned server gets time.
#[test]
fn approval_ends_and_a_returned_server_settles_first() {
    let drifted = observation("M/4/C", "P/4/C");
    let held = plan(&desired(Seat::Primary), &drifted, &at_home(), NOW);
    let epoch = held.types[&TY].epoch.clone().unwrap();
    let approved = |until| {
        let mut desired = desired(Seat::Primary);
        desired.types[0].approve = Some(Approval { epoch: epoch.clone(), until });
        desired
    };
    // First observed while the other server is away: not offered, not used, and over after 30 minutes.
    let away = plan(&approved(None), &observation("away", "P/1/C"), &held.persisted, after(10));
    assert!(!away.types[&TY].verdict.message.contains("set approve"), "{}", away.types[&TY].verdict.message);
    let back = plan(&approved(None), &drifted, &away.persisted, after(60));
    assert_eq!((reason(&back), back.steps.len()), (Reason::Settling, 0));
    assert_eq!(back.requeue, Requeue::At(after(60 + 120)));
    let settled = plan(&approved(None), &drifted, &back.persisted, after(180));
    assert_eq!(settled.steps.len(), 1, "{}", settled.types[&TY].verdict.message);
    let late = plan(&approved(None), &drifted, &away.persisted, after(10 + 1800));
    let late = plan(&approved(None), &drifted, &late.persisted, after(10 + 1800 + 120));
    assert_eq!((reason(&late), late.steps.len()), (Reason::UnexpectedPrincipal, 0));
    assert!(late.types[&TY].verdict.message.contains("The approval ended at 1970-01-01T00:30:10Z"));
    let ended = plan(&approved(Some(after(20))), &drifted, &held.persisted, after(20));
    assert!(ended.steps.is_empty());
    // A hiccup while it settles starts the time anew.
    let hiccup = plan(&approved(None), &observation("M/1/C", "P/1/C"), &back.persisted, after(100));
    let again = plan(&approved(None), &drifted, &hiccup.persisted, after(181));
    assert_eq!((reason(&again), again.steps.len()), (Reason::Settling, 0));
}

#[test]
fn move_to_a_newer_release_needs_an_approval() {
    let mut rows = observation("M/4/C", "P/4/C");
    let pair = &mut rows.pairs[store()];
    let ServerObservation::Available { server, .. } = &mut pair.primary else { panic!() };
    Arc::make_mut(server).version = "12.0.2000.8".to_owned();
    let mut persisted = at_home();
    let automatic = plan(&fail_back(), &rows, &persisted, NOW);
    assert_eq!((reason(&automatic), automatic.steps.len()), (Reason::OneWayMove, 0));
    persisted.requests.insert(TY, Request { principal: Seat::Mirror, generation: 1, pending: false });
    let asked = plan(&desired(Seat::Primary), &rows, &persisted, NOW);
    assert_eq!((reason(&asked), asked.steps.len()), (Reason::OneWayMove, 0), "a changed principal is not enough");
    let mut approved = desired(Seat::Primary);
    approved.types[0].approve = asked.types[&TY].epoch.clone().map(|epoch| Approval { epoch, until: None });
    assert_eq!(plan(&approved, &rows, &persisted, NOW).steps.len(), 1);
}

/// A4: each choice names the databases that it moves.
#[test]
fn split_roles_offer_three_ways_out() {
    let mut desired = desired(Seat::Mirror);
    desired.types[0].databases.push(DatabaseName::new("QoEMetrics"));
    let mut rows = observation("P/4/C", "M/4/C");
    let other = observation("M/4/C", "P/4/C");
    for seat in Seat::BOTH {
        let copied =
            other.pairs[store()].view(seat).available().unwrap().databases[&DatabaseName::new("LcsLog")].clone();
        let pair = &mut rows.pairs[store()];
        let view = if seat == Seat::Primary { &mut pair.primary } else { &mut pair.mirror };
        let ServerObservation::Available { server, .. } = view else { panic!() };
        Arc::make_mut(server).databases.insert(DatabaseName::new("QoEMetrics"), copied);
    }
    let held = plan(&desired, &rows, &PersistedState::default(), NOW);
    let message = &held.types[&TY].verdict.message;
    assert_eq!(reason(&held), Reason::SplitRoles, "{message}");
    for way in [
        "To unite on the mirror SQL-MIRROR (moves LcsLog)",
        "To unite on the primary SQL-PRIMARY (moves QoEMetrics)",
        "To leave it split: do nothing",
    ] {
        assert!(message.contains(way), "{way}: {message}");
    }
}

/// M5: a type that lags on other servers, or that the operator did not move, holds nothing up.
#[test]
fn waiting_type_blocks_only_behind_what_the_operator_moved_on_the_same_pair() {
    let mut desired = desired(Seat::Mirror);
    let lagging = DatabaseName::new("QoEMetrics");
    let second =
        DesiredType { ty: DatabaseType::Monitoring, databases: vec![lagging.clone()], ..desired.types[0].clone() };
    desired.types.push(second);
    let mut rows = observation("P/4/C", "M/4/C");
    let pair = &mut rows.pairs[store()];
    for (view, text) in [(&mut pair.primary, "M/2/C"), (&mut pair.mirror, "P/2/C")] {
        let seat = if text.starts_with('M') { Seat::Primary } else { Seat::Mirror };
        let copy = super::tests::view(seat, text).available().unwrap().databases[&DatabaseName::new("LcsLog")].clone();
        let ServerObservation::Available { server, .. } = view else { panic!() };
        Arc::make_mut(server).databases.insert(lagging.clone(), copy);
    }
    let mut persisted = super::tests::pending(Seat::Mirror);
    let free = plan(&desired, &rows, &persisted, NOW);
    assert_eq!(free.steps.len(), 1, "{}", free.types[&TY].verdict.message);
    persisted.last.insert(DatabaseType::Monitoring, attempt(Outcome::Succeeded));
    let waits = plan(&desired, &rows, &persisted, after(1));
    assert_eq!((reason(&waits), waits.steps.len()), (Reason::WaitingForTurn, 0));
    let bound = later(NOW, Policy::default().switch_deadline);
    assert_eq!(plan(&desired, &rows, &persisted, bound).steps.len(), 1, "a wait has a bound");
}

/// F10: what another resource does on the same pair.
#[test]
fn type_waits_for_the_move_of_another_resource_on_the_pair() {
    let mut rows = observation("P/4/C", "M/4/C");
    rows.turns.insert(TY, "User of lync/other, which is moving".to_owned());
    let waits = plan(&desired(Seat::Mirror), &rows, &super::tests::pending(Seat::Mirror), NOW);
    assert_eq!((reason(&waits), waits.steps.len()), (Reason::WaitingForTurn, 0));
    assert!(waits.types[&TY].verdict.message.contains("User of lync/other"));
}
