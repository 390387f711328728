//! Two polls of two moments, renamed servers and three servers apart: what they do not prove.

use std::sync::Arc;

use super::tests::{NOW, TY, after, desired, observation, pending, reason, settled, store};
use super::*;
use crate::model::*;

fn known() -> PersistedState {
    PersistedState {
        requests: [(TY, Request { principal: Seat::Primary, generation: 2, pending: false })].into(),
        tracking: [(TY, settled(Seat::Primary))].into(),
        ..PersistedState::default()
    }
}

/// All three servers lost each other after an automatic failover. Neither principal has quorum, so that there is no copy to
/// choose.
#[test]
fn two_principals_without_quorum_serve_no_client() {
    for (a, b, service, observed) in [
        ("P/1/D/7/r", "P/1/D/8/r", Service::NotServed, ObservedPrincipal::Mirror),
        ("P/1/D/8/r", "P/1/D/7/r", Service::NotServed, ObservedPrincipal::Primary),
        // The row is still ONLINE, although SQL Server stops serving.
        ("P/1/D/7", "P/1/D/8", Service::Unknown, ObservedPrincipal::Mirror),
        ("P/1/D/7/r", "P/1/D/8", Service::Unknown, ObservedPrincipal::Mirror),
        ("P/1/D/7/r", "P/1/D/7/r", Service::NotServed, ObservedPrincipal::Unknown),
    ] {
        let apart = plan(&desired(Seat::Primary), &observation(a, b), &known(), NOW);
        let planned = &apart.types[&TY];
        assert_eq!(
            (reason(&apart), planned.service, planned.observed),
            (Reason::NoQuorum, service, observed),
            "{a} {b}"
        );
        let message = &planned.verdict.message;
        assert!(message.contains("neither its partner nor the witness") && !message.contains("copy"), "{message}");
        assert!(apart.steps.is_empty() && planned.next.is_empty(), "{a} {b}");
    }
    let newer = plan(&desired(Seat::Primary), &observation("P/1/D/7/r", "P/1/D/8/r"), &known(), NOW);
    let message = &newer.types[&TY].verdict.message;
    assert!(
        message.contains("To fix: connect the mirror SQL-MIRROR with its partner or the witness again."),
        "{message}"
    );
    assert_eq!(
        newer.types[&TY].verdict.step.as_deref(),
        Some("connect SQL-MIRROR with its partner or the witness again")
    );
    let equal = plan(&desired(Seat::Primary), &observation("P/1/D/7/r", "P/1/D/7/r"), &known(), NOW);
    assert_eq!(equal.types[&TY].verdict.step.as_deref(), Some("connect the two servers again"));
    // With the witness on one side, or without one, each is a case of its own.
    for (a, b, other) in [
        ("P/1/D/7", "P/1/C/8", Reason::UnexpectedPrincipal),
        ("P/1/-/7", "P/1/-/8", Reason::TwoPrincipals),
        ("P/1/D/7", "P/1/-/8", Reason::UnexpectedPrincipal),
    ] {
        assert_eq!(reason(&plan(&desired(Seat::Primary), &observation(a, b), &known(), NOW)), other, "{a} {b}");
    }
}

#[test]
fn transition_does_not_inherit_the_begin_of_another_kind() {
    let bound = Policy::default().switch_deadline.as_secs();
    for (first, second, begins) in [
        (("NULL/r", "M/1/-"), ("P/3/C", "M/3/C"), Reason::FailoverInProgress),
        (("NULL/r", "M/1/-"), ("NULL/p", "M/1/-"), Reason::DatabaseRecovering),
        (("NULL/g", "M/1/-"), ("NULL/r", "M/1/-"), Reason::DatabaseRecovering),
        (("P/3/C", "M/3/C"), ("P/1/C", "M/4/C"), Reason::Unsettled),
    ] {
        let at = |(a, b), persisted: &PersistedState, seconds| {
            plan(&desired(Seat::Primary), &observation(a, b), persisted, after(seconds))
        };
        let before = at(first, &known(), 0);
        let changed = at(second, &before.persisted, bound - 1);
        let still = at(second, &changed.persisted, bound);
        assert_eq!(reason(&still), begins, "{first:?} {second:?}: this kind has lasted for a second");
        let last = at(second, &still.persisted, 2 * bound - 2);
        assert_eq!(reason(&last), begins, "{first:?} {second:?}");
        assert_eq!(last.requeue, Requeue::At(after(2 * bound - 1)), "{first:?} {second:?}");
        let overdue = at(second, &last.persisted, 2 * bound - 1);
        assert_ne!(reason(&overdue), begins, "{first:?} {second:?}");
        assert_eq!(reason(&overdue).effect(), Effect::Stalled, "{first:?} {second:?}");
    }
}

/// A transition before a move is not the one after it.
#[test]
fn transition_does_not_inherit_the_begin_of_one_before_a_move() {
    let unsettled = |persisted: &PersistedState, seconds| {
        plan(&desired(Seat::Mirror), &observation("P/1/C", "M/4/C"), persisted, after(seconds))
    };
    let before = unsettled(&pending(Seat::Mirror), 0);
    assert_eq!(before.persisted.tracking[&TY].transitions.len(), 1);
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &before.persisted, after(10));
    assert!(begun.persisted.operation.is_some());
    let moving = unsettled(&begun.persisted, 12);
    assert!(moving.persisted.tracking[&TY].transitions.is_empty());
}

/// The operator was restarted in mid-move: no answer is known, and the two polls are of two moments of the switch.
#[test]
fn contradiction_in_one_pass_is_none() {
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/-", "M/4/-"), &pending(Seat::Mirror), NOW);
    assert!(begun.persisted.operation.is_some());
    let seen = |a: &str, b: &str, persisted: &PersistedState, seconds| {
        plan(&desired(Seat::Mirror), &observation(a, b), persisted, after(seconds))
    };
    for (a, b, lasting) in [("P/1/-/7", "P/1/-/8", Reason::TwoPrincipals), ("M/1/-", "M/1/-", Reason::NoPrincipal)] {
        let first = seen(a, b, &begun.persisted, 20);
        assert_eq!(reason(&first), Reason::Verifying, "{a} {b}: {}", first.types[&TY].verdict.message);
        assert_eq!(reason(&seen(a, b, &first.persisted, 21)), Reason::Verifying, "{a} {b}: of the same moment");
        assert_eq!(reason(&seen(a, b, &first.persisted, 22)), lasting, "{a} {b}");
        // In between, the servers agreed.
        let between = seen("P/4/-", "M/4/-", &first.persisted, 21);
        assert!(between.persisted.tracking[&TY].transitions.is_empty(), "{a} {b}");
        let mut again = between.persisted.clone();
        again.operation = begun.persisted.operation.clone();
        assert_eq!(reason(&seen(a, b, &again, 40)), Reason::Verifying, "{a} {b}: another moment");
    }
}

/// The names of both servers, each with its partner's. The session is the known one.
fn named([primary, mirror]: [&str; 2], a: &str, b: &str) -> Observation {
    let mut rows = observation(a, b);
    let pair = &mut rows.pairs[store()];
    for (view, name, partner) in [(&mut pair.primary, primary, mirror), (&mut pair.mirror, mirror, primary)] {
        let ServerObservation::Available { server, .. } = view else { continue };
        let server = Arc::make_mut(server);
        server.name = name.to_owned();
        for row in server.databases.values_mut().filter_map(|database| database.mirroring.as_mut()) {
            row.partner_instance = partner.to_owned();
        }
    }
    rows
}

#[test]
fn renamed_server_has_not_switched() {
    let switches = |names, a, b| {
        let seen = plan(&desired(Seat::Primary), &named(names, a, b), &known(), after(10));
        let again = plan(&desired(Seat::Primary), &named(names, a, b), &seen.persisted, after(20));
        let tracking = &again.persisted.tracking[&TY];
        let settled = tracking.last_settled_server.clone().unwrap_or_default();
        (tracking.unrequested_switches, tracking.last_unrequested_switch.is_some(), settled)
    };
    let (here, there) = (("P/4/C", "M/4/C"), ("M/4/C", "P/4/C"));
    for (names, (a, b), expected) in [
        (["NEW-A", "SQL-MIRROR"], here, (0, false, "NEW-A")),
        (["SQL-PRIMARY", "NEW-B"], here, (0, false, "SQL-PRIMARY")),
        (["NEW-A", "NEW-B"], here, (0, false, "NEW-A")),
        // Renamed and switched.
        (["NEW-A", "SQL-MIRROR"], there, (1, true, "SQL-MIRROR")),
        (["NEW-A", "NEW-B"], there, (1, true, "NEW-B")),
        (["SQL-PRIMARY", "SQL-MIRROR"], there, (1, true, "SQL-MIRROR")),
        // Exchanged in the spec: the principal stayed on its server, and in the other case it went to the other one.
        (["SQL-MIRROR", "SQL-PRIMARY"], there, (0, false, "SQL-PRIMARY")),
        (["SQL-MIRROR", "SQL-PRIMARY"], here, (1, true, "SQL-MIRROR")),
    ] {
        let (count, dated, server) = switches(names, a, b);
        assert_eq!((count, dated, server.as_str()), expected, "{names:?} {a} {b}");
    }
}

#[test]
fn forced_service_after_suspension_names_what_is_lost() {
    let price = |row| {
        let lost = plan(&desired(Seat::Primary), &observation("away", row), &known(), NOW);
        lost.types[&TY].verdict.message.clone()
    };
    let suspended = price("M/0/-");
    assert!(suspended.contains("ends where mirroring was SUSPENDED: every later change is lost"), "{suspended}");
    let disconnected = price("M/1/-");
    assert!(disconnected.contains("without what the old principal had not sent"), "{disconnected}");
}

/// As the model check plans without it.
#[test]
fn first_observation_is_a_request_without_the_precondition() {
    for (disabled, pending) in [(Precondition::FirstObservationIsNoRequest, true), (Precondition::Cooldown, false)] {
        let rows = observation("M/4/-", "P/4/-");
        let preconditions = Preconditions::without(&[disabled]);
        let first = plan_with(&preconditions, &desired(Seat::Primary), &rows, &PersistedState::default(), NOW);
        assert_eq!(first.persisted.requests[&TY].pending, pending, "without {disabled:?}");
    }
}

#[test]
fn cause_of_the_resource_is_one_sentence_for_both_servers() {
    let secret = Unavailable {
        cause: UnavailableCause::SecretNotFound,
        detail: "The Secret \"sql\" does not exist.".to_owned(),
    };
    let mut rows = observation("away", "away");
    let pair = &mut rows.pairs[store()];
    for view in [&mut pair.primary, &mut pair.mirror] {
        let ServerObservation::Unavailable { unavailable, .. } = view else { panic!() };
        *unavailable = secret.clone();
    }
    let message = &plan(&desired(Seat::Primary), &rows, &known(), NOW).types[&TY].verdict.message;
    assert_eq!(message.matches("The Secret").count(), 1, "{message}");
    assert!(message.contains("sql-primary") && message.contains(" and the mirror"), "{message}");
}
