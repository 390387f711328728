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
    use super::forced_record::forced_on;
    let forced =
        Attempt { cause: Cause::ForcedService, to_server: Some("SQL-MIRROR".into()), ..attempt(Outcome::Succeeded) };
    for (a, b, server, expected) in [
        ("P/1/-", "M/1/-", "SQL-MIRROR", Some(Seat::Mirror)),
        ("P/1/-", "M/1/-", "sql-primary", Some(Seat::Primary)),
        ("P/1/-", "away", "SQL-MIRROR", Some(Seat::Mirror)),
        ("away", "P/1/-", "SQL-MIRROR", Some(Seat::Mirror)),
        ("away", "P/1/-", "SQL-PRIMARY", Some(Seat::Primary)),
        ("P/1/-", "M/1/-", "SQL-THIRD", None),
        ("away", "away", "SQL-MIRROR", Some(Seat::Mirror)),
        // Renamed since, under a name that no one remembers: it is not the other server either.
        ("away", "P/1/-", "SQL-FORMER", None),
    ] {
        let rows = observation(a, b);
        let known = settled(Seat::Primary).pair;
        let known = known.as_ref();
        let last = Attempt { to_server: Some(server.into()), ..forced.clone() };
        assert_eq!(forced_on(&last, &rows.pairs[store()], known), expected, "{a} {b} {server}");
        for other in [
            Attempt { synchronized: true, ..last.clone() },
            Attempt { outcome: Outcome::Failed, ..last.clone() },
            Attempt { cause: Cause::Intent, ..last },
        ] {
            assert_eq!(forced_on(&other, &rows.pairs[store()], known), None, "{a} {b}: {other:?}");
        }
    }
}

/// The fence that the consent vouches for was none: the old principal came back.
#[test]
fn consent_ends_with_the_return_of_the_old_principal() {
    let desired = consented(36_000);
    // Not conclusive: nothing is sent, and the consent stays.
    let mut silent = observation("away", "M/1/-");
    let ServerObservation::Unavailable { unavailable, .. } = &mut silent.pairs[store()].primary else { panic!() };
    unavailable.cause = UnavailableCause::BrowserSilent;
    let unproved = plan(&desired, &silent, &at_home(), NOW);
    assert!(unproved.steps.is_empty());
    // A connected mirror is: its principal is there, whatever keeps the operator from it.
    let mut connected = observation("away", "M/4/-");
    connected.pairs[store()].primary = silent.pairs[store()].primary.clone();
    let back = plan(&desired, &connected, &at_home(), NOW);
    assert!(plan(&desired, &observation("away", "M/1/-"), &back.persisted, after(60)).steps.is_empty());
    let lost = observation("away", "M/1/-");
    assert_eq!(plan(&desired, &lost, &unproved.persisted, after(60)).steps.len(), 1, "it applies while it is away");

    let back = plan(&desired, &observation("P/4/-", "M/4/-"), &unproved.persisted, after(60));
    assert_eq!(reason(&back), Reason::Aligned);
    let sentence = "no longer applies: it was used, or the old principal was back";
    assert!(message(&back).contains(sentence), "{}", message(&back));
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
    assert!(message(&plan(&desired, &healthy, &at_home(), after(59))).contains("Remove forceService"));
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
        ("away", "P/1/-/7", deadline - 1, None),
        ("away", "P/1/-/7", deadline, Some(Outcome::Unknown)),
        // The target is not read, and the row of the principal does not move.
        ("P/4/-", "refused", deadline - 1, None),
        ("P/4/-", "refused", deadline, Some(Outcome::Unknown)),
        ("P/3/-", "away", deadline, None),
        // The session, or the copy, is gone.
        ("NULL", "NULL", deadline, Some(Outcome::Unknown)),
        ("P/1/-/s", "away", deadline, Some(Outcome::Unknown)),
        // SQL Server may be switching, or the partners only have to reach each other.
        ("P/3/-", "M/3/-", deadline, None),
        ("P/1/-", "M/1/-", deadline, None),
        // The old principal is read: its claim counts.
        ("P/1/-/7", "P/1/-/8", deadline, None),
    ] {
        let over = plan(&desired(Seat::Mirror), &observation(a, b), &begun(), after(seconds));
        assert_eq!(over.ended.as_ref().map(|ended| ended.outcome), ended, "{a} {b} {seconds}");
        let detail = over.ended.and_then(|ended| ended.detail).unwrap_or_default();
        assert_eq!(detail.starts_with("LcsLog "), ended.is_some(), "{detail}");
    }
    let mut sent = observation("away", "P/1/-/8");
    sent.statements.insert(DatabaseName::new("LcsLog"), StatementState::Sent);
    assert!(plan(&desired(Seat::Mirror), &sent, &begun(), after(deadline)).ended.is_none(), "an answer is on its way");
}

/// A restarted old principal whose copy is not open, one whose row is hidden, and a mirror that is connected to it again.
#[test]
fn consent_ends_with_the_return_in_any_state_of_the_old_principal() {
    for (a, b) in [
        ("NULL/r", "M/1/-"),
        ("P/1/-/s", "M/1/-"),
        ("NULL/g", "M/1/-"),
        ("refused", "M/2/-"),
        ("refused", "M/1/-"),
        ("P/1/-", "M/1/-"),
    ] {
        let back = plan(&consented(36_000), &observation(a, b), &at_home(), after(60));
        assert!(back.steps.is_empty());
        let again = plan(&consented(36_000), &observation("away", "M/1/-"), &back.persisted, after(600));
        assert_eq!(again.steps.len(), 0, "{a} {b}: {}", message(&again));
    }
    // The moment before the mirror notices the loss.
    let stale = plan(&consented(36_000), &observation("away", "M/4/-"), &at_home(), after(60));
    assert_eq!(plan(&consented(36_000), &observation("away", "M/1/-"), &stale.persisted, after(90)).steps.len(), 1);
}

/// The operator ended between the journal and the answer. Its successor reads the old principal before the statement.
#[test]
fn forced_service_is_not_sent_again_after_the_return_of_the_old_principal() {
    let lost = observation("away", "M/1/-");
    let fired = plan(&consented(36_000), &lost, &at_home(), NOW);
    assert_eq!(fired.steps.len(), 1);
    let again = plan(&consented(36_000), &lost, &fired.persisted, after(5));
    assert_eq!(again.steps.len(), 1, "without a return, it is sent");
    let back = plan(&consented(36_000), &observation("P/4/-", "M/4/-"), &fired.persisted, after(5));
    for seconds in [60, 299, 301, 400] {
        let later = plan(&consented(36_000), &lost, &back.persisted, after(seconds));
        assert!(later.steps.is_empty(), "{seconds}: {}", message(&later));
    }
    // What a former process may have sent is given back by no answer.
    let mut unsent = lost.clone();
    let answer = Answer::NotSent { detail: "no connection".to_owned(), limited: false };
    unsent.statements.insert(DatabaseName::new("LcsLog"), StatementState::Answered(answer));
    let failed = plan(&consented(36_000), &unsent, &back.persisted, after(60));
    assert_eq!(failed.ended.as_ref().map(|ended| ended.outcome), Some(Outcome::Failed));
    assert!(plan(&consented(36_000), &lost, &failed.persisted, after(120)).steps.is_empty());
}

/// The consent is set while a planned failover is in flight, and the principal is lost after that.
#[test]
fn consent_of_a_moving_type_ends_with_the_pass_that_reads_both_servers() {
    let rows = observation("P/4/-", "M/4/-");
    let mut desired = consented(36_000);
    desired.types[0].principal = Seat::Mirror;
    let moving = plan(&desired, &rows, &begun(), after(1));
    assert!(moving.persisted.operation.is_some());
    let over = plan(&desired, &observation("away", "M/1/-"), &moving.persisted, after(400));
    assert!(over.ended.is_some() && over.steps.is_empty(), "{}", message(&over));
}

/// Git takes a later consent back, and with it an earlier one returns.
#[test]
fn ended_consent_is_remembered_beside_a_later_one() {
    let lost = observation("away", "M/1/-");
    let back = plan(&consented(36_000), &observation("P/4/-", "M/4/-"), &at_home(), NOW);
    let fired = plan(&consented(36_001), &lost, &back.persisted, after(60));
    assert_eq!(fired.steps.len(), 1);
    let mut unsent = lost.clone();
    let answer = Answer::NotSent { detail: "no connection".to_owned(), limited: false };
    unsent.statements.insert(DatabaseName::new("LcsLog"), StatementState::Answered(answer));
    let given_back = plan(&consented(36_001), &unsent, &fired.persisted, after(65));
    assert_eq!(given_back.persisted.tracking[&TY].consumed_consent, None);
    assert!(plan(&consented(36_000), &lost, &given_back.persisted, after(120)).steps.is_empty(), "the earlier one");
    assert_eq!(plan(&consented(36_001), &lost, &given_back.persisted, after(120)).steps.len(), 1, "the later one");
    assert!(plan(&consented(36_000), &lost, &given_back.persisted, after(36_000)).steps.is_empty(), "its own end");
}

/// The survivor is lost before a poll shows the effect, and the old principal starts.
#[test]
fn forced_service_whose_survivor_is_lost_ends_and_names_the_old_principal() {
    let fired = plan(&consented(36_000), &observation("away", "M/1/-"), &at_home(), NOW);
    let mut accepted = observation("away", "away");
    accepted.statements.insert(DatabaseName::new("LcsLog"), StatementState::Answered(Answer::Accepted));
    let gone = plan(&desired(Seat::Primary), &accepted, &fired.persisted, after(10));
    assert!(gone.ended.is_none());
    let mut open = observation("P/1/-/7", "away");
    open.statements.clone_from(&accepted.statements);
    let started = plan(&desired(Seat::Primary), &open, &gone.persisted, after(20));
    assert!(!started.types[&TY].is_aligned(), "service was forced on the other server");
    let over = plan(&desired(Seat::Primary), &open, &started.persisted, after(301));
    assert_eq!(over.ended.as_ref().map(|ended| ended.outcome), Some(Outcome::Unknown));
    let next = plan(&desired(Seat::Primary), &observation("P/1/-/7", "away"), &over.persisted, after(310));
    assert!(message(&next).contains("service may have been forced on the mirror"), "{}", message(&next));
    assert!(message(&next).contains("cut all clients off the primary") && !next.types[&TY].is_aligned());
}

/// A forced service that the guard refused took no effect: the principal where the spec wants it is aligned.
#[test]
fn failed_forced_service_marks_no_server() {
    let mut persisted = at_home();
    persisted.last.insert(
        TY,
        Attempt { cause: Cause::ForcedService, to_server: Some("SQL-MIRROR".into()), ..attempt(Outcome::Failed) },
    );
    let rows = plan(&desired(Seat::Primary), &observation("P/2/-", "M/2/-"), &persisted, NOW);
    assert!(rows.types[&TY].is_aligned() && rows.types[&TY].forced_on.is_none());
}

/// The move ended while only the new principal was read. A later switch is a change of its own.
#[test]
fn move_that_ended_as_succeeded_requests_nothing_more() {
    let over = plan(&desired(Seat::Mirror), &observation("away", "P/1/-/8"), &begun(), after(300));
    assert_eq!(over.ended.as_ref().map(|ended| ended.outcome), Some(Outcome::Succeeded));
    assert!(!over.persisted.requests[&TY].pending);
    let back = plan(&desired(Seat::Mirror), &observation("P/4/-/9", "M/4/-/9"), &over.persisted, after(36_000));
    let later = plan(&desired(Seat::Mirror), &observation("P/4/-/9", "M/4/-/9"), &back.persisted, after(72_000));
    assert_eq!((reason(&later), later.steps.len()), (Reason::UnexpectedPrincipal, 0), "{}", message(&later));
}

/// The only database of the move has lost its principal.
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
    // An approval of another state did not release this move. Nor does the former one that is set again.
    let first = approved.types[0].approve.clone();
    approved.types[0].approve = Some(Approval { epoch: Epoch::new("1-abcd"), until: None });
    let over = plan(&approved, &rows, &sent.persisted, after(2));
    assert_eq!((over.ended.unwrap().outcome, over.steps.len()), (Outcome::Superseded, 0));
    let mut unanswered = rows.clone();
    unanswered.statements.insert(DatabaseName::new("LcsLog"), StatementState::Sent);
    let replaced = plan(&approved, &unanswered, &sent.persisted, after(2));
    approved.types[0].approve = first;
    let again = plan(&approved, &unanswered, &replaced.persisted, after(3));
    let over = plan(&approved, &rows, &again.persisted, after(4));
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
