//! What may be concluded from which rows: service, principal and reason of each pair of rows.

use super::tests::{NOW, TY, desired, observation, reason, settled, store, view};
use super::*;
use crate::model::*;

use ObservedPrincipal::{Mirror, Primary, Unknown as Nowhere};
use Service::{Exposed, NotServed, Protected, Unknown};

/// The rows of the primary and of the mirror, and what they prove.
#[rustfmt::skip]
const TABLE: [(&str, &str, Service, ObservedPrincipal, Reason); 58] = [
    ("P/4/C",     "M/4/C",     Protected, Primary, Reason::Aligned),
    ("P/4/-",     "M/4/-",     Protected, Primary, Reason::Aligned),
    ("P/4/D",     "M/4/D",     Exposed,   Primary, Reason::Aligned),
    ("P/4/C",     "M/4/D",     Exposed,   Primary, Reason::Aligned),
    ("P/4/C",     "refused",      Protected, Primary, Reason::LoginFailed),
    ("P/4/C",     "away",      Exposed,   Primary, Reason::ConnectionRefused),
    ("P/2/C",     "M/2/C",     Exposed,   Primary, Reason::Synchronizing),
    ("P/0/C",     "M/0/C",     Exposed,   Primary, Reason::MirroringSuspended),
    ("P/3/C",     "M/4/C",     Unknown,   Primary, Reason::FailoverInProgress),
    ("P/1/C",     "away",      Exposed,   Primary, Reason::ConnectionRefused),
    ("P/1/-",     "away",      Exposed,   Primary, Reason::ConnectionRefused),
    ("P/1/-",     "M/1/-",     Exposed,   Primary, Reason::PartnersDisconnected),
    // "Mirror, Disconnected / In Recovery": the copy of a mirror that is alone.
    ("P/1/-",     "M/1/-/r",   Exposed,   Primary, Reason::PartnersDisconnected),
    ("away",      "M/1/-/r",   Unknown,   Nowhere, Reason::PrincipalLost),
    ("P/4/C",     "M/4/C/r",   Exposed,   Primary, Reason::DatabaseRecovering),
    ("P/1/-",     "M/1/-/s",   Exposed,   Primary, Reason::DatabaseNotOnline),
    // Without quorum a principal stops serving; the row alone does not prove it while it is ONLINE.
    ("P/1/D",     "away",      Unknown,   Primary, Reason::ConnectionRefused),
    ("P/1/D",     "M/1/D",     Unknown,   Primary, Reason::PartnersDisconnected),
    ("P/1/D/r",   "M/1/D",     NotServed, Primary, Reason::NoQuorum),
    ("P/1/D/r",   "away",      Unknown,   Primary, Reason::NoQuorum),
    // The mirror alone: it does not prove whether its principal serves.
    ("away",      "M/1/-",     Unknown,   Nowhere, Reason::PrincipalLost),
    ("away",      "M/1/C",     Unknown,   Nowhere, Reason::PrincipalLost),
    ("away",      "M/1/D",     Unknown,   Nowhere, Reason::NoQuorum),
    ("refused",      "M/1/-",     Unknown,   Nowhere, Reason::LoginFailed),
    ("refused",      "M/1/D",     Unknown,   Nowhere, Reason::LoginFailed),
    ("away",      "M/0/-",     Unknown,   Nowhere, Reason::ConnectionRefused),
    ("refused",      "M/0/D",     Unknown,   Nowhere, Reason::LoginFailed),
    ("away",      "M/0/D",     Unknown,   Nowhere, Reason::ConnectionRefused),
    ("P/0/D",     "refused",      Unknown,   Primary, Reason::LoginFailed),
    // A connected mirror names its partner as the principal, and does not prove that it is open.
    ("refused",      "M/4/C",     Unknown,   Primary, Reason::LoginFailed),
    ("refused",      "M/2/C",     Unknown,   Primary, Reason::LoginFailed),
    // After a restart the columns are NULL until the database is open.
    ("NULL/r",    "M/1/-",     NotServed, Nowhere, Reason::DatabaseRecovering),
    ("NULL/r",    "P/1/C/8",   Exposed,   Mirror,  Reason::DatabaseRecovering),
    ("NULL/g",    "P/1/C/8",   Exposed,   Mirror,  Reason::DatabaseRecovering),
    ("NULL/r",    "away",      Unknown,   Nowhere, Reason::ConnectionRefused),
    // RECOVERY_PENDING is a phase of a start at first: `transition_that_never_ends` has its end.
    ("NULL/p",    "M/1/-",     NotServed, Nowhere, Reason::DatabaseRecovering),
    ("P/1/-/p",   "M/1/-",     NotServed, Primary, Reason::DatabaseRecovering),
    ("P/4/C",     "M/4/C/p",   Exposed,   Primary, Reason::DatabaseRecovering),
    ("NULL",      "M/1/C",     Exposed,   Nowhere, Reason::MirroringRemoved),
    ("NULL",      "NULL",      Exposed,   Nowhere, Reason::NotMirrored),
    ("NULL",      "NULL/g",    Exposed,   Nowhere, Reason::NotMirrored),
    ("NULL/s",    "away",      Unknown,   Nowhere, Reason::DatabaseNotOnline),
    // An isolated old principal is no split brain.
    ("P/1/D/7",   "P/1/C/8",   Exposed,   Mirror,  Reason::IsolatedPrincipal),
    ("P/1/D/7/r", "P/1/C/8",   Exposed,   Mirror,  Reason::IsolatedPrincipal),
    ("P/1/-/7",   "P/1/-/8",   Exposed,   Nowhere, Reason::TwoPrincipals),
    // The witness may give no quorum to the older one.
    ("P/1/D/8",   "P/1/C/7",   Unknown,   Nowhere, Reason::TwoPrincipals),
    ("P/1/D/8/r", "P/1/C/7",   Unknown,   Nowhere, Reason::TwoPrincipals),
    ("P/1/C/8",   "P/1/C/7",   Exposed,   Nowhere, Reason::TwoPrincipals),
    ("P/1/C/8",   "P/1/C/8",   Exposed,   Nowhere, Reason::TwoPrincipals),
    ("P/4/C",     "P/2/C/8",   Unknown,   Nowhere, Reason::Unsettled),
    // The copy of the mirror counts too.
    ("P/4/C",     "M/4/C/s",   Exposed,   Primary, Reason::DatabaseNotOnline),
    ("P/4/C/s",   "M/4/C",     NotServed, Primary, Reason::DatabaseNotOnline),
    ("P/1/-/s",   "M/1/-",     NotServed, Primary, Reason::DatabaseNotOnline),
    ("M/1/-",     "M/1/-",     NotServed, Nowhere, Reason::NoPrincipal),
    ("M/4/C",     "M/4/C",     Unknown,   Nowhere, Reason::NoPrincipal),
    ("M/4/C",     "M/4/C/8",   Unknown,   Nowhere, Reason::Unsettled),
    ("away",      "away",      Unknown,   Nowhere, Reason::ConnectionRefused),
    ("P/9/C",     "M/9/C",     Unknown,   Primary, Reason::Unsettled),
];

fn seen(want: Seat, a: &str, b: &str) -> Plan {
    let persisted = PersistedState { tracking: [(TY, settled(want))].into(), ..PersistedState::default() };
    plan(&desired(want), &observation(a, b), &persisted, NOW)
}

#[test]
fn rows_of_both_servers_prove_their_service_principal_and_reason() {
    for (a, b, service, observed, expected) in TABLE {
        let want = if observed == Mirror { Seat::Mirror } else { Seat::Primary };
        let decided = seen(want, a, b);
        let of = &decided.types[&TY];
        let got = (of.service, of.observed, of.verdict.reason);
        assert_eq!(got, (service, observed, expected), "{a} {b}: {}", of.verdict.message);
        assert!(of.verdict.message.starts_with(&format!("{service}. ")), "{a} {b}: {}", of.verdict.message);
        assert!(decided.steps.is_empty(), "{a} {b}");
    }
}

/// A6: both servers are named, unlike a wrong name of one.
#[test]
fn message_of_two_lost_servers_names_both() {
    let lost = seen(Seat::Primary, "away", "away");
    let message = &lost.types[&TY].verdict.message;
    for part in ["Unknown. ", "sql-primary refuses connections", "does not see the mirror sql-mirror either"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// L1, L2: what one row shows beside the state of the session.
#[test]
fn message_of_a_state_names_its_own_cause() {
    let mut apart = observation("P/1/-", "M/1/-");
    let Pair { primary, mirror, .. } = &mut apart.pairs[store()];
    for view in [primary, mirror] {
        let ServerObservation::Available { server, .. } = view else { panic!() };
        for database in std::sync::Arc::make_mut(server).databases.values_mut() {
            // The level while the partners are not connected is not documented.
            database.mirroring.as_mut().unwrap().safety = Safety::Unknown;
        }
    }
    let persisted = PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() };
    let decided = plan(&desired(Seat::Primary), &apart, &persisted, NOW);
    assert_eq!(reason(&decided), Reason::PartnersDisconnected);

    let undocumented = seen(Seat::Primary, "P/4/C", "M/5/C");
    let message = &undocumented.types[&TY].verdict.message;
    let expected = "mirroring_state on the mirror SQL-MIRROR is 5, which SQL Server does not document";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn suspended_session_has_the_time_since_when_it_was_read() {
    let first = seen(Seat::Primary, "P/0/C", "M/0/C");
    for (a, b, since) in [("P/0/C", "M/0/C", "1970-01-01T00:00:00Z"), ("P/0/C", "M/4/C", "1970-01-01T00:00:00Z")] {
        let later = plan(&desired(Seat::Primary), &observation(a, b), &first.persisted, super::tests::after(9_000));
        assert_eq!(reason(&later), Reason::MirroringSuspended, "no transition that ends");
        assert!(later.types[&TY].verdict.message.contains(&format!("first read this state at {since}")));
    }
    let resumed = plan(&desired(Seat::Primary), &observation("P/4/C", "M/4/C"), &first.persisted, NOW);
    let again =
        plan(&desired(Seat::Primary), &observation("P/0/C", "M/0/C"), &resumed.persisted, super::tests::after(60));
    assert!(again.types[&TY].verdict.message.contains("at 1970-01-01T00:01:00Z"));
}

/// On call, the step is read before the policy.
#[test]
fn message_of_a_held_move_begins_with_the_server_that_is_not_read() {
    for (b, first) in [
        ("P/1/C/8", " To fix: bring the primary sql-primary back. The spec did not change"),
        (
            "P/0/-/8",
            " Service may have been forced on the mirror SQL-MIRROR. Do not start the primary sql-primary before",
        ),
    ] {
        let held = seen(Seat::Primary, "away", b);
        assert_eq!(reason(&held), Reason::UnexpectedPrincipal);
        let message = &held.types[&TY].verdict.message;
        assert!(message.contains(&format!("and the spec wants the primary.{first}")), "{message}");
    }
    // The server is there: it refuses the operator, and nothing has to bring it back.
    let refused = &seen(Seat::Primary, "refused", "P/1/C/8").types[&TY].verdict;
    assert!(!refused.message.contains("bring the"), "{}", refused.message);
    let step = refused.step.as_deref().unwrap_or_default();
    assert!(step.starts_with("see status.servers[].message, then set principal"), "{step}");
}

/// The same rows in exchanged seats lead to the same conclusions.
#[test]
fn assessment_of_exchanged_rows_is_symmetric() {
    for (a, b) in
        [("P/1/D/7", "P/1/C/8"), ("away", "M/1/-"), ("NULL/r", "M/1/-"), ("P/4/C", "M/4/C/s"), ("refused", "M/4/C")]
    {
        let (there, here) = (seen(Seat::Primary, a, b), seen(Seat::Mirror, b, a));
        assert_eq!(there.types[&TY].service, here.types[&TY].service, "{a} {b}");
        assert_eq!(reason(&there), reason(&here), "{a} {b}");
    }
}

#[test]
fn transition_that_never_ends_is_overdue_with_its_begin() {
    for (a, b, ends) in [
        ("P/3/C", "M/3/C", Reason::TransitionOverdue),
        ("P/1/C", "M/4/C", Reason::TransitionOverdue),
        ("NULL/r", "M/1/-", Reason::TransitionOverdue),
        ("P/9/C", "M/9/C", Reason::TransitionOverdue),
        // "Additional action by the user is required" (Database States), once it is no phase of a start any more.
        ("NULL/p", "M/1/-", Reason::DatabaseNotOnline),
        ("P/4/C", "M/4/C/p", Reason::DatabaseNotOnline),
    ] {
        let first = seen(Seat::Primary, a, b);
        assert_eq!(first.types[&TY].verdict.reason.effect(), Effect::Reconciling, "{a} {b}");
        let bound = Policy::default().switch_deadline;
        assert_eq!(first.requeue, Requeue::At(later(NOW, bound)), "{a} {b}");
        let overdue = plan(&desired(Seat::Primary), &observation(a, b), &first.persisted, later(NOW, bound));
        assert_eq!(reason(&overdue), ends, "{a} {b}");
        assert!(overdue.types[&TY].verdict.message.contains("since 1970-01-01T00:00:00Z"), "{a} {b}");
    }
}

/// The link was lost in mid-move: what no switch shows for longer than a moment is reported, and not only at the deadline.
#[test]
fn contradiction_after_a_failover_is_reported_before_its_deadline() {
    let persisted = PersistedState {
        requests: [(TY, Request { principal: Seat::Primary, generation: 1, pending: false })].into(),
        ..PersistedState::default()
    };
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/-", "M/4/-"), &persisted, NOW);
    assert_eq!(begun.steps.len(), 1);
    let then = |a: &str, b: &str, state: StatementState| {
        let mut rows = observation(a, b);
        rows.statements = [(DatabaseName::new("LcsLog"), state)].into();
        let at = |seconds| later(NOW, std::time::Duration::from_secs(seconds));
        let first = plan(&desired(Seat::Mirror), &rows, &begun.persisted, at(5));
        let decided = plan(&desired(Seat::Mirror), &rows, &first.persisted, at(7));
        assert!(decided.steps.is_empty() && decided.persisted.operation.is_some(), "{a} {b}");
        (reason(&decided), decided.types[&TY].verdict.message.clone())
    };
    let lost = || StatementState::Answered(Answer::Lost { detail: "error 1421".to_owned() });
    let (split, message) = then("P/1/-/7", "P/1/-/8", lost());
    assert_eq!(split, Reason::TwoPrincipals, "{message}");
    assert!(!message.contains("left)") && message.contains("will not be retried"), "{message}");
    assert_eq!(then("M/1/-", "M/1/-", lost()).0, Reason::NoPrincipal);
    assert_eq!(then("P/1/-/7", "P/1/-/8", StatementState::Sent).0, Reason::Moving, "the answer may explain it");
    // Polls of two moments of a switch are no contradiction.
    assert_eq!(then("P/4/-/7", "P/2/-/8", lost()).0, Reason::Verifying);
    assert_eq!(then("M/4/-/8", "M/4/-/7", lost()).0, Reason::Verifying);
    let (_, message) = then("P/1/-", "M/1/-", lost());
    assert!(!message.contains("left)"), "a failed statement needs no more time: {message}");
}

/// The equality of the sequences is not documented: after the bound it no longer holds a move back.
#[test]
fn unequal_sequences_delay_a_move_for_the_bound_only() {
    let persisted = PersistedState {
        requests: [(TY, Request { principal: Seat::Primary, generation: 1, pending: false })].into(),
        ..PersistedState::default()
    };
    let rows = observation("P/4/C/7", "M/4/C/9");
    let waits = plan(&desired(Seat::Mirror), &rows, &persisted, NOW);
    assert_eq!((reason(&waits), waits.steps.len()), (Reason::Unsettled, 0));
    let bound = later(NOW, Policy::default().switch_deadline);
    let moves = plan(&desired(Seat::Mirror), &rows, &waits.persisted, bound);
    assert_eq!(moves.steps.len(), 1, "{}", moves.types[&TY].verdict.message);
    assert_eq!(moves.steps[0].role_sequence, 7, "the guard compares the row of the principal");
    let done = observation("M/4/C/10", "P/4/C/8");
    let ended = plan(&desired(Seat::Mirror), &done, &moves.persisted, later(bound, std::time::Duration::from_secs(2)));
    assert_eq!(ended.ended.unwrap().outcome, Outcome::Succeeded);
}

#[test]
fn suspended_session_is_a_version_mismatch_only_if_the_principal_is_newer() {
    let with = |principal: &str, mirror: &str| {
        let mut rows = observation("P/0/-", "M/0/-");
        let pair = &mut rows.pairs[store()];
        for (view, version) in [(&mut pair.primary, principal), (&mut pair.mirror, mirror)] {
            let ServerObservation::Available { server, .. } = view else { panic!() };
            std::sync::Arc::make_mut(server).version = version.to_owned();
        }
        let decided = plan(&desired(Seat::Primary), &rows, &PersistedState::default(), NOW);
        let message = decided.types[&TY].verdict.message.clone();
        assert!(message.contains("RESUME after a forced service destroys"), "{message}");
        reason(&decided)
    };
    assert_eq!(with("11.0.7507.2", "11.0.7001.0"), Reason::VersionMismatch);
    assert_eq!(with("11.0.7001.0", "11.0.7507.2"), Reason::MirroringSuspended, "the normal order of a rolling patch");
    assert_eq!(with("11.0.7001.0", "11.0.7001.0"), Reason::MirroringSuspended);
}

#[test]
fn view_of_a_server_that_is_not_seen_has_no_row() {
    assert!(view(Seat::Primary, "away").available().is_none());
}
