//! What the operator still owes: requests that someone else fulfilled or undid, approvals, and moves that do not settle.

use super::tests::{NOW, TY, after, attempt, desired, observation, pair, pending, reason, settled, store};
use super::*;
use crate::model::*;

fn at_home() -> PersistedState {
    PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() }
}

fn owed() -> PersistedState {
    PersistedState { tracking: at_home().tracking, ..pending(Seat::Mirror) }
}

fn message(plan: &Plan) -> &str {
    &plan.types[&TY].verdict.message
}

/// The type moved, and an administrator moved it back before the operator saw both servers.
#[test]
fn move_that_someone_undid_is_not_made_again() {
    let want = desired(Seat::Mirror);
    let begun = plan(&want, &observation("P/4/C", "M/4/C"), &owed(), NOW).persisted;
    let undone = plan(&want, &observation("P/4/C/9", "M/4/C/9"), &begun, after(5));
    assert_eq!(undone.ended.as_ref().map(|ended| ended.outcome), Some(Outcome::Superseded));
    for seconds in [6, 999_999] {
        let later = plan(&want, &observation("P/4/C/9", "M/4/C/9"), &undone.persisted, after(seconds));
        assert_eq!((reason(&later), later.steps.len()), (Reason::UnexpectedPrincipal, 0), "{}", message(&later));
    }
    // A change of the spec supersedes the move too, and stays owed.
    let back = plan(&desired(Seat::Primary), &observation("P/4/C", "M/4/C"), &begun, after(5));
    assert!(!back.ended.unwrap().diverged);
}

/// The spec keeps the principal where an automatic failover put it, while the other server is not read.
#[test]
fn principal_that_the_spec_keeps_asks_for_no_later_move() {
    for other in ["away", "refused"] {
        let kept = plan(&desired(Seat::Mirror), &observation(other, "P/1/C/8"), &owed(), NOW);
        assert!(!kept.persisted.requests[&TY].pending, "{other}");
        let failed_back =
            plan(&desired(Seat::Mirror), &observation("P/4/C/9", "M/4/C/9"), &kept.persisted, after(9999));
        assert_eq!((reason(&failed_back), failed_back.steps.len()), (Reason::UnexpectedPrincipal, 0), "{other}");
    }
    let unknown = plan(&desired(Seat::Mirror), &observation("away", "P/1/C/8"), &pending(Seat::Mirror), NOW);
    assert!(unknown.persisted.requests[&TY].pending, "no session is remembered");
    let closed = plan(&desired(Seat::Mirror), &observation("away", "P/1/C/8/r"), &owed(), NOW);
    assert!(closed.persisted.requests[&TY].pending, "not open");
}

/// The approval stays in the spec, and SQL Server refuses each failover.
#[test]
fn failures_of_approved_moves_lengthen_the_pause() {
    let mut approved = desired(Seat::Primary);
    approved.policy.cooldown = std::time::Duration::ZERO;
    let rows = observation("M/4/C", "P/4/C");
    let mut persisted = PersistedState { tracking: [(TY, settled(Seat::Mirror))].into(), ..PersistedState::default() };
    let epoch = plan(&approved, &rows, &persisted, NOW).types[&TY].epoch.clone().unwrap();
    approved.types[0].approve = Some(Approval { epoch, until: Some(after(99_999)) });
    let mut at = 0;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let begun = plan(&approved, &rows, &persisted, after(at));
        assert_eq!(begun.steps.len(), 1, "{at}: {}", message(&begun));
        let ended = plan(&approved, &rows, &begun.persisted, after(at + 400));
        assert_eq!(ended.ended.as_ref().map(|ended| ended.outcome), Some(Outcome::Failed));
        let next = ended.types[&TY].verdict.until.unwrap();
        pauses.push(next.duration_since(after(at + 400)).as_secs());
        (persisted, at) = (ended.persisted, at + 400 + u64::try_from(*pauses.last().unwrap()).unwrap());
    }
    assert_eq!(pauses, [15, 30, 60, 120]);
    // Another approval is another decision of the administrator.
    let mut again = persisted.clone();
    again.tracking.get_mut(&TY).unwrap().approval = None;
    let begun = plan(&approved, &rows, &again, after(at));
    assert_eq!(begun.persisted.tracking[&TY].consecutive_failures, 0);
}

/// The session no longer allows a failover, so that the move cannot settle.
#[test]
fn move_whose_session_cannot_fail_over_ends_at_its_deadline() {
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &owed(), NOW).persisted;
    for (a, b, outcome) in [
        ("P/0/C", "M/0/C", Some(Outcome::Unknown)),
        ("P/1/D/7", "P/1/C/8", Some(Outcome::Succeeded)),
        // The partners may only have to reach each other.
        ("P/1/C", "M/1/C", None),
    ] {
        assert!(plan(&desired(Seat::Mirror), &observation(a, b), &begun, after(299)).ended.is_none(), "{a} {b}");
        let over = plan(&desired(Seat::Mirror), &observation(a, b), &begun, after(300));
        assert_eq!(over.ended.map(|ended| ended.outcome), outcome, "{a} {b}");
    }
}

/// One database moved and its old principal is isolated. The other one did not move.
#[test]
fn move_of_a_part_of_the_databases_has_not_succeeded() {
    let mut want = desired(Seat::Mirror);
    want.types[0].databases.push(DatabaseName::new("QoEMetrics"));
    let healthy = super::tests::observation_of_two(["P/4/C", "M/4/C"], ["P/4/C", "M/4/C"]);
    let begun = plan(&want, &healthy, &owed(), NOW).persisted;
    for (second, outcome) in [(["P/4/C", "M/4/C"], Outcome::Partial), (["M/4/C/8", "P/4/C/8"], Outcome::Succeeded)] {
        let rows = super::tests::observation_of_two(["P/1/D/7", "P/1/C/8"], second);
        let over = plan(&want, &rows, &begun, after(300));
        assert_eq!(over.ended.map(|ended| ended.outcome), Some(outcome), "{second:?}");
    }
}

/// Two stores: a move that cannot settle on one pair does not hold up a forced service on the other one for ever.
#[test]
fn consented_forced_service_follows_a_stuck_move_of_another_pair() {
    let mut rows = observation("away", "M/1/-");
    let second = rows.pairs.push(pair("P/0/C", "M/0/C"));
    let mut want = desired(Seat::Primary);
    let other =
        DesiredType { ty: DatabaseType::Monitoring, principal: Seat::Mirror, store: second, ..want.types[0].clone() };
    want.types.push(other);
    let epoch = plan(&want, &rows, &at_home(), NOW).types[&TY].epoch.clone().unwrap();
    want.types[0].force = Some(ForceService { epoch, until: after(9999), fenced: true });
    let mut persisted = at_home();
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &owed(), NOW).persisted.operation.unwrap();
    persisted.operation = Some(Operation { ty: DatabaseType::Monitoring, ..begun });
    let waits = plan(&want, &rows, &persisted, after(299));
    assert_eq!((reason(&waits), waits.steps.len()), (Reason::PrincipalLost, 0));
    let over = plan(&want, &rows, &waits.persisted, after(300));
    assert_eq!(over.steps.len(), 1, "{}", message(&over));
}

/// What the servers show while another resource names the same databases.
#[test]
fn conflict_hides_no_state_that_an_administrator_has_to_act_on() {
    for (a, b, expected) in [
        ("P/1/-/7", "P/1/-/8", Reason::TwoPrincipals),
        ("away", "M/1/-", Reason::PrincipalLost),
        ("P/0/C", "M/0/C", Reason::MirroringSuspended),
        ("P/4/C", "M/4/C", Reason::Conflict),
        ("P/2/C", "M/2/C", Reason::Conflict),
        ("M/2/C", "P/2/C", Reason::Conflict),
        ("M/4/C", "P/4/C", Reason::Conflict),
    ] {
        let mut rows = observation(a, b);
        rows.conflicts.insert(TY, vec!["other/pool".to_owned()]);
        let mut want = desired(Seat::Primary);
        for consented in [false, true] {
            let epoch = plan(&want, &rows, &at_home(), NOW).types[&TY].epoch.clone();
            want.types[0].force =
                epoch.filter(|_| consented).map(|epoch| ForceService { epoch, until: after(99), fenced: true });
            let seen = plan(&want, &rows, &at_home(), NOW);
            assert_eq!((reason(&seen), seen.steps.len()), (expected, 0), "{a} {b}: {}", message(&seen));
            assert!(message(&seen).contains("is also named by other/pool"), "{}", message(&seen));
        }
    }
    let mut rows = observation("away", "P/1/-/8");
    rows.conflicts.insert(TY, vec!["other/pool".to_owned()]);
    let mut persisted = at_home();
    let last =
        Attempt { cause: Cause::ForcedService, to_server: Some("SQL-MIRROR".into()), ..attempt(Outcome::Succeeded) };
    persisted.last.insert(TY, last);
    let seen = plan(&desired(Seat::Mirror), &rows, &persisted, NOW);
    let page = seen.types[&TY].before_start(&rows.pairs[store()], Seat::Primary);
    assert_eq!(page, Some(Reason::ServiceForced), "{}", message(&seen));
}

/// R23: one pass that proves nothing of the servers does not begin the time anew.
#[test]
fn loss_begins_once_until_a_server_proves_its_end() {
    let since = |persisted: &PersistedState| persisted.tracking[&TY].principal_lost_since;
    let lost = plan(&desired(Seat::Primary), &observation("away", "M/1/-"), &at_home(), NOW).persisted;
    assert_eq!(since(&lost), Some(NOW));
    for (cause, kept) in [
        (UnavailableCause::CredentialsUnreadable, true),
        (UnavailableCause::ResolverSilent, true),
        (UnavailableCause::OperatorLimited, true),
        (UnavailableCause::NotYetPolled, true),
        (UnavailableCause::LoginFailed, false),
    ] {
        let mut rows = observation("away", "M/1/-");
        let ServerObservation::Unavailable { unavailable, .. } = &mut rows.pairs[store()].primary else { panic!() };
        unavailable.cause = cause;
        let unproved = plan(&desired(Seat::Primary), &rows, &lost, after(60)).persisted;
        assert_eq!(since(&unproved), kept.then_some(NOW), "{cause:?}");
    }
    for (a, b) in [("P/1/-", "M/1/-"), ("away", "P/1/-/8"), ("P/1/-", "away")] {
        assert_eq!(
            since(&plan(&desired(Seat::Primary), &observation(a, b), &lost, after(60)).persisted),
            None,
            "{a} {b}"
        );
    }
}

/// The mirror in the primary seat belongs to a third server, which can serve.
#[test]
fn mirror_of_a_third_server_proves_no_outage() {
    for other in ["M/1/-", "NULL/g", "NULL/r"] {
        let mut rows = observation("M/4/-", other);
        let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].primary else { panic!() };
        for database in std::sync::Arc::make_mut(server).databases.values_mut() {
            let row = database.mirroring.as_mut().unwrap();
            (row.partner_instance, row.guid) = ("SQL-THIRD".to_owned(), Guid::from_bytes([9; 16]));
        }
        let seen = plan(&desired(Seat::Primary), &rows, &at_home(), NOW);
        assert_eq!(seen.types[&TY].service, Service::Unknown, "{other}: {}", message(&seen));
        assert!(message(&seen).contains("SQL-THIRD"), "{other}: {}", message(&seen));
        assert_eq!(seen.types[&TY].observed, ObservedPrincipal::Unknown, "{other}");
    }
    let mut rows = observation("P/4/-", "NULL/g");
    let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].primary else { panic!() };
    for database in std::sync::Arc::make_mut(server).databases.values_mut() {
        database.mirroring.as_mut().unwrap().partner_instance = "SQL-THIRD".to_owned();
    }
    let seen = plan(&desired(Seat::Primary), &rows, &at_home(), NOW);
    assert_eq!((reason(&seen), seen.types[&TY].observed), (Reason::PartnerMismatch, ObservedPrincipal::Primary));
}
