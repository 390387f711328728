//! A partner that returns, or is lost, at a moment that the memory of the operator has to bridge.

use std::sync::Arc;
use std::time::Duration;

use super::tests::{
    NOW, TY, after, attempt, desired, observation, observation_of_two, pending, reason, settled, store,
};
use super::*;
use crate::model::*;

fn at_home() -> PersistedState {
    PersistedState {
        requests: [(TY, Request { principal: Seat::Primary, generation: 2, pending: false })].into(),
        tracking: [(TY, settled(Seat::Primary))].into(),
        ..PersistedState::default()
    }
}

fn message(plan: &Plan) -> &str {
    &plan.types[&TY].verdict.message
}

fn consented(until: u64) -> Desired {
    let lost = plan(&desired(Seat::Primary), &observation("away", "M/1/-"), &at_home(), NOW);
    let mut desired = desired(Seat::Primary);
    let epoch = lost.types[&TY].epoch.clone().unwrap();
    desired.types[0].force = Some(ForceService { epoch, until: after(until), fenced: true });
    desired
}

/// Which server service was forced on, from the name in the last move and the names that are read.
#[test]
fn forced_on_is_the_named_server_or_the_one_that_is_not_the_other() {
    use super::forced_service::forced_on;
    let forced =
        Attempt { cause: Cause::ForcedService, to_server: Some("SQL-MIRROR".into()), ..attempt(Outcome::Succeeded) };
    for (a, b, server, expected) in [
        ("P/1/-", "M/1/-", "SQL-MIRROR", Some(Seat::Mirror)),
        ("P/1/-", "M/1/-", "sql-primary", Some(Seat::Primary)),
        ("P/1/-", "away", "SQL-MIRROR", Some(Seat::Mirror)),
        ("away", "P/1/-", "SQL-MIRROR", Some(Seat::Mirror)),
        ("away", "P/1/-", "SQL-PRIMARY", Some(Seat::Primary)),
        ("P/1/-", "M/1/-", "SQL-THIRD", None),
        ("away", "away", "SQL-MIRROR", None),
    ] {
        let rows = observation(a, b);
        let last = Attempt { to_server: Some(server.into()), ..forced.clone() };
        assert_eq!(forced_on(&last, &rows.pairs[store()]), expected, "{a} {b} {server}");
        for other in [Attempt { synchronized: true, ..last.clone() }, Attempt { cause: Cause::Intent, ..last }] {
            assert_eq!(forced_on(&other, &rows.pairs[store()]), None, "{a} {b}: {other:?}");
        }
    }
}

/// The fence that the consent vouches for was none: the old principal came back.
#[test]
fn consent_ends_with_the_return_of_the_old_principal() {
    let desired = consented(36_000);
    // Not conclusive: nothing is sent, and the consent stays.
    let unproved = plan(&desired, &observation("refused", "M/1/-"), &at_home(), NOW);
    assert!(unproved.steps.is_empty());
    let lost = observation("away", "M/1/-");
    assert_eq!(plan(&desired, &lost, &unproved.persisted, after(60)).steps.len(), 1, "it applies while it is away");

    let back = plan(&desired, &observation("P/4/-", "M/4/-"), &unproved.persisted, after(60));
    assert_eq!(reason(&back), Reason::Aligned);
    assert!(message(&back).contains("no longer applies, as both servers were read together"), "{}", message(&back));
    let again = plan(&desired, &lost, &back.persisted, after(18_000));
    assert_eq!((reason(&again), again.steps.len()), (Reason::PrincipalLost, 0), "{}", message(&again));
    assert!(message(&again).contains("A new until is a new consent"), "{}", message(&again));
    let renewed = consented(36_001);
    assert_eq!(plan(&renewed, &lost, &again.persisted, after(18_001)).steps.len(), 1, "a new consent");
}

#[test]
fn ended_consent_is_mentioned_until_its_own_end_only() {
    let desired = consented(60);
    let healthy = observation("P/4/-", "M/4/-");
    assert!(message(&plan(&desired, &healthy, &at_home(), after(59))).contains("remove forceService"));
    assert!(!message(&plan(&desired, &healthy, &at_home(), after(60))).contains("forceService"));
}

fn begun() -> PersistedState {
    plan(&desired(Seat::Mirror), &observation("P/4/-", "M/4/-"), &pending(Seat::Mirror), NOW).persisted
}

/// The old principal dies before both servers agree on the new roles. Without an end, the move would occupy the resource.
#[test]
fn move_whose_new_principal_serves_alone_ends_at_its_deadline() {
    let deadline = 300;
    for (a, b, seconds, ended) in [
        ("away", "P/1/-/8", deadline - 1, None),
        ("away", "P/1/-/8", deadline, Some(Outcome::Succeeded)),
        ("refused", "P/1/-/8", deadline, Some(Outcome::Succeeded)),
        // The switch is not proved.
        ("away", "P/1/-/7", deadline, None),
        // The old principal is read: its claim counts.
        ("P/1/-/7", "P/1/-/8", deadline, None),
    ] {
        let over = plan(&desired(Seat::Mirror), &observation(a, b), &begun(), after(seconds));
        assert_eq!(over.ended.as_ref().map(|ended| ended.outcome), ended, "{a} {b} {seconds}");
    }
    let mut sent = observation("away", "P/1/-/8");
    sent.statements.insert(DatabaseName::new("LcsLog"), StatementState::Sent);
    assert!(plan(&desired(Seat::Mirror), &sent, &begun(), after(deadline)).ended.is_none(), "an answer is on its way");
}

/// One database has switched, and the other one is unchanged on a server that is gone.
#[test]
fn loss_of_the_principal_during_a_move_is_the_reason_before_the_deadline() {
    let (desired, lost) = (desired(Seat::Mirror), observation("away", "M/1/-"));
    let first = plan(&desired, &lost, &begun(), after(10));
    assert_eq!(reason(&first), Reason::Verifying, "a restart takes a moment");
    let second = plan(&desired, &lost, &first.persisted, after(12));
    assert_eq!((reason(&second), second.steps.len()), (Reason::PrincipalLost, 0), "{}", message(&second));
    assert!(message(&second).contains("Until 1970-01-01T00:05:00Z"), "{}", message(&second));
    assert!(second.persisted.operation.is_some());
    assert_eq!(reason(&plan(&desired, &lost, &first.persisted, after(11))), Reason::Verifying);
    assert_eq!(reason(&plan(&desired, &lost, &second.persisted, after(200))), Reason::PrincipalLost);
    let mut sent = lost.clone();
    sent.statements.insert(DatabaseName::new("LcsLog"), StatementState::Sent);
    assert_eq!(reason(&plan(&desired, &sent, &first.persisted, after(12))), Reason::Moving);
}

/// The loss of one type stays the reason while another one moves.
#[test]
fn forced_service_that_waits_for_another_move_keeps_the_loss_as_its_reason() {
    let mut desired = consented(36_000);
    let moving = plan(&desired, &observation("P/4/-", "M/4/-"), &pending(Seat::Mirror), NOW).persisted.operation;
    assert!(moving.is_none(), "the spec wants the primary");
    let mut other = desired.types[0].clone();
    (other.ty, other.principal, other.force) = (DatabaseType::Monitoring, Seat::Mirror, None);
    other.databases = vec![DatabaseName::new("QoEMetrics")];
    desired.types.push(other);
    let mut persisted = at_home();
    let operation = Operation { ty: DatabaseType::Monitoring, ..begun().operation.unwrap() };
    persisted.operation = Some(operation);
    let rows = observation_of_two(["away", "M/1/-"], ["away", "M/1/-"]);
    let waits = plan(&desired, &rows, &persisted, after(1));
    assert_eq!((reason(&waits), waits.steps.len()), (Reason::PrincipalLost, 0), "{}", message(&waits));
    assert!(message(&waits).contains("waits for Monitoring, which is moving"), "{}", message(&waits));
}

#[test]
fn withdrawn_approval_or_policy_ends_the_attempts() {
    let (rows, home) = (observation("M/4/C", "P/4/C"), at_home());
    let held = plan(&desired(Seat::Primary), &rows, &home, NOW);
    let mut approved = desired(Seat::Primary);
    approved.types[0].approve = held.types[&TY].epoch.clone().map(|epoch| Approval { epoch, until: None });
    let sent = plan(&approved, &rows, &held.persisted, NOW);
    assert_eq!(sent.steps.len(), 1);
    assert_eq!(plan(&approved, &rows, &sent.persisted, after(2)).steps.len(), 1, "a further attempt");
    let over = plan(&desired(Seat::Primary), &rows, &sent.persisted, after(2));
    assert_eq!((over.ended.unwrap().outcome, over.steps.len()), (Outcome::Superseded, 0));

    let mut back = desired(Seat::Primary);
    back.policy.unrequested_switch = UnrequestedSwitch::FailBack;
    back.policy.fail_back_after = Duration::ZERO;
    let sent = plan(&back, &rows, &home, NOW);
    assert_eq!(sent.steps.len(), 1, "{}", message(&sent));
    assert_eq!(plan(&back, &rows, &sent.persisted, after(2)).steps.len(), 1);
    let over = plan(&desired(Seat::Primary), &rows, &sent.persisted, after(2));
    assert_eq!((over.ended.unwrap().outcome, over.steps.len()), (Outcome::Superseded, 0));
}

/// Service was forced on the mirror. Then the mirror is lost, and the old principal is started.
#[test]
fn old_principal_that_is_open_after_forced_service_is_called_one() {
    let fired = plan(&consented(36_000), &observation("away", "M/1/-"), &at_home(), NOW);
    let forced = plan(&desired(Seat::Primary), &observation("away", "P/1/-/8"), &fired.persisted, after(5));
    assert_eq!(forced.ended.as_ref().unwrap().outcome, Outcome::Succeeded);
    for (a, b, open) in
        [("away", "P/1/-/8", false), ("P/1/-/7", "away", true), ("P/1/-/7", "refused", true), ("away", "away", false)]
    {
        let seen = plan(&desired(Seat::Primary), &observation(a, b), &forced.persisted, after(60));
        assert_eq!(message(&seen).contains("cut all clients off the primary SQL-PRIMARY"), open, "{}", message(&seen));
        let planned = &seen.types[&TY];
        if open {
            assert_eq!(planned.verdict.reason, Reason::ServiceForced);
            assert_eq!((planned.forced_on, planned.is_aligned()), (Some(Seat::Mirror), false));
        }
    }
}

/// A DBA forced service by hand, and the spec was changed to keep it there. The page before the start is still needed.
#[test]
fn kept_principal_of_a_manual_forced_service_keeps_the_caution() {
    let rows = observation("away", "P/1/-/8");
    let held = plan(&desired(Seat::Primary), &rows, &at_home(), NOW);
    let kept = plan(&desired(Seat::Mirror), &rows, &held.persisted, after(60));
    let page = |plan: &Plan| plan.types[&TY].before_start(&rows.pairs[store()], Seat::Primary);
    assert_eq!((page(&held), page(&kept)), (Some(Reason::ServiceForced), Some(Reason::ServiceForced)));
    // Both agreed on the new principal before the other server went away.
    let agreed = plan(&desired(Seat::Mirror), &observation("M/4/-/8", "P/4/-/8"), &kept.persisted, after(70));
    let away = plan(&desired(Seat::Mirror), &rows, &agreed.persisted, after(80));
    assert_eq!(page(&away), None);
}

#[test]
fn hold_before_a_move_to_a_newer_release_states_that_there_is_no_way_back() {
    let mut rows = observation("M/4/C", "P/4/C");
    let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].primary else { panic!() };
    Arc::make_mut(server).version = "12.0.2000.8".to_owned();
    let held = plan(&desired(Seat::Primary), &rows, &at_home(), NOW);
    assert_eq!(reason(&held), Reason::UnexpectedPrincipal);
    assert!(message(&held).contains("12.0.2000.8") && message(&held).contains("cannot go back"), "{}", message(&held));
    let step = held.types[&TY].verdict.step.as_deref().unwrap();
    assert!(step.ends_with("to move it, with no way back"), "{step}");
    let mut tripped = at_home();
    tripped.requests.get_mut(&TY).unwrap().pending = true;
    tripped.tracking.get_mut(&TY).unwrap().consecutive_failures = 3;
    // The version is the reason before the circuit breaker.
    assert_eq!(reason(&plan(&desired(Seat::Primary), &rows, &tripped, NOW)), Reason::OneWayMove);
}

/// An unknown link to the witness does not show that the older principal closed its database.
#[test]
fn older_principal_with_an_unknown_link_to_its_witness_is_a_second_principal() {
    for (witness, expected) in
        [(WitnessLink::Disconnected, Reason::UnexpectedPrincipal), (WitnessLink::Unknown, Reason::TwoPrincipals)]
    {
        let mut rows = observation("P/1/D/7", "P/1/C/8");
        let ServerObservation::Available { server, .. } = &mut rows.pairs[store()].primary else { panic!() };
        for database in Arc::make_mut(server).databases.values_mut() {
            database.mirroring.as_mut().unwrap().witness = witness;
        }
        let seen = plan(&desired(Seat::Primary), &rows, &at_home(), NOW);
        assert_eq!(reason(&seen), expected, "{witness:?}: {}", message(&seen));
    }
}

#[test]
fn refusal_after_an_edited_address_asks_to_undo_the_edit() {
    let mut edited = at_home();
    edited.tracking.get_mut(&TY).unwrap().pair.as_mut().unwrap().primary.address = "sql-p\\RTC".to_owned();
    let refused = plan(&consented(3600), &observation("away", "M/1/-"), &edited, NOW);
    assert!(refused.steps.is_empty());
    assert!(
        message(&refused).contains("sql-p\\RTC") && message(&refused).contains("undo this change"),
        "{}",
        message(&refused)
    );
}
