//! Forced service, row by row: the states in which it is possible, the consent, and what follows.

use std::time::Duration;

use jiff::Timestamp;

use super::tests::{NOW, TY, after, desired, observation, reason, settled, store};
use super::*;
use crate::model::*;

fn lost() -> PersistedState {
    let request = Request { principal: Seat::Primary, generation: 2, pending: false };
    PersistedState {
        tracking: [(TY, settled(Seat::Primary))].into(),
        requests: [(TY, request)].into(),
        ..PersistedState::default()
    }
}

fn consented(epoch: &str, until: Timestamp) -> Desired {
    let mut desired = desired(Seat::Primary);
    desired.types[0].force = Some(ForceService { epoch: Epoch::new(epoch), until, fenced: true });
    desired
}

fn epoch_of(a: &str, b: &str) -> String {
    let shown = plan(&desired(Seat::Primary), &observation(a, b), &lost(), NOW);
    shown.types[&TY].epoch.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn plan_forces_service_only_in_the_documented_state() {
    let hour = after(3600);
    for (name, a, b, forced) in [
        ("S11 principal lost, no witness", "away", "M/1/-", true),
        ("S11 suspended instead", "away", "M/0/-", true),
        ("S11 suspended, with a witness", "away", "M/0/C", false),
        ("still connected", "away", "M/2/-", false),
        ("the other server refuses the login", "refused", "M/1/-", false),
        ("S12 witness lost too", "away", "M/1/D", false),
        ("S13 witness connected", "away", "M/1/C", false),
        ("S14 forced already", "away", "P/0/-", false),
        ("S20 link cut, witness", "P/1/C", "M/1/C", false),
        ("S21 link cut, both alive", "P/1/-", "M/1/-", false),
        ("S22 split brain", "P/1/-", "P/1/-/8", false),
        ("healthy", "P/4/-", "M/4/-", false),
    ] {
        let desired = consented(&epoch_of(a, b), hour);
        let plan = plan(&desired, &observation(a, b), &lost(), NOW);
        let acts: Vec<Act> = plan.steps.iter().map(|step| step.act).collect();
        assert_eq!(acts.contains(&Act::ForceService), forced, "{name}: {}", plan.types[&TY].verdict.message);
    }
}

#[test]
fn consent_applies_once_to_one_state_until_its_end() {
    let (a, b) = ("away", "M/1/-");
    let epoch = epoch_of(a, b);
    let decide = |desired: &Desired, persisted: &PersistedState, now| plan(desired, &observation(a, b), persisted, now);
    let hour = after(3600);
    assert!(decide(&desired(Seat::Primary), &lost(), NOW).steps.is_empty(), "no consent");
    assert!(decide(&consented("6-0000", hour), &lost(), NOW).steps.is_empty(), "another state");
    assert!(decide(&consented(&epoch, hour), &lost(), hour).steps.is_empty(), "ended");
    let mut held = consented(&epoch, hour);
    held.suspend = Some(Suspend { reason: "patching".to_owned(), until: None });
    assert!(decide(&held, &lost(), NOW).steps.is_empty(), "suspended");
    let mut unfenced = consented(&epoch, hour);
    unfenced.types[0].force.as_mut().unwrap().fenced = false;
    let refused = decide(&unfenced, &lost(), NOW);
    assert!(refused.steps.is_empty(), "no one vouches for the fence");
    assert!(refused.types[&TY].verdict.message.contains("oldPrincipalFenced: true"));
    let mut moved = lost();
    moved.tracking.get_mut(&TY).unwrap().pair.as_mut().unwrap().primary.address = "sql-c".to_owned();
    assert!(decide(&consented(&epoch, hour), &moved, NOW).steps.is_empty(), "the address was edited since");
    assert!(decide(&consented(&epoch, hour), &PersistedState::default(), NOW).steps.is_empty(), "never seen together");

    let fired = decide(&consented(&epoch, hour), &lost(), NOW);
    assert_eq!((fired.steps.len(), fired.steps[0].on), (1, Seat::Mirror));
    // Nothing shows that it happened: the outcome is unknown, and the consent is used up.
    let operation = fired.persisted.operation.clone().unwrap();
    let late = later(operation.deadline, Duration::from_secs(1));
    let given_up = decide(&consented(&epoch, hour), &fired.persisted, late);
    assert_eq!(given_up.ended.as_ref().unwrap().outcome, Outcome::Unknown);
    assert!(given_up.steps.is_empty());
    let again = decide(&consented(&epoch, hour), &given_up.persisted, later(late, Duration::from_secs(60)));
    assert!(again.steps.is_empty(), "{}", again.types[&TY].verdict.message);
    let renewed = decide(&consented(&epoch, after(99_999)), &given_up.persisted, later(late, Duration::from_secs(60)));
    assert_eq!(renewed.steps.len(), 1, "a new until is a new consent");
}

#[test]
fn consent_after_a_restart_before_the_statement_is_kept() {
    let (a, b) = ("away", "M/1/-");
    let desired = consented(&epoch_of(a, b), after(3600));
    let fired = plan(&desired, &observation(a, b), &lost(), NOW);
    let name = fired.steps[0].database.clone();
    let resume = |a: &str, b: &str, desired: &Desired, statement: Option<StatementState>, now| {
        let mut observation = observation(a, b);
        observation.statements.extend(statement.map(|statement| (name.clone(), statement)));
        plan(desired, &observation, &fired.persisted, now)
    };
    // No statement in flight is known: a former process planned it. The same statement is sent again with the same guard.
    let again = resume(a, b, &desired, None, after(5));
    assert_eq!(again.steps, fired.steps);
    assert_eq!(again.persisted.operation.as_ref().unwrap().attempt, 2);
    assert_eq!(again.persisted.tracking, fired.persisted.tracking, "the consent stays used");
    assert!(resume(a, b, &desired, None, NOW).steps.is_empty(), "a statement on its way gets the time to show");
    let message = &again.types[&TY].verdict.message;
    assert!(message.contains("service of LcsLog on the mirror SQL-MIRROR"), "{message}");
    assert_eq!(resume(a, b, &desired, None, after(299)).steps.len(), 1);
    assert!(resume(a, b, &desired, None, after(300)).steps.is_empty(), "the deadline of the journal");
    let mut last_attempt = fired.persisted.clone();
    last_attempt.operation.as_mut().unwrap().attempt = ATTEMPTS;
    assert!(plan(&desired, &observation(a, b), &last_attempt, after(60)).steps.is_empty(), "the last attempt");

    let lost = Answer::Lost { detail: String::new() };
    for statement in [StatementState::Sent, StatementState::Answered(lost), StatementState::Answered(Answer::Accepted)]
    {
        assert!(resume(a, b, &desired, Some(statement.clone()), after(5)).steps.is_empty(), "{statement:?}");
    }
    let mut suspended = desired.clone();
    suspended.suspend = Some(Suspend { reason: "patching".to_owned(), until: None });
    let mut withdrawn = desired.clone();
    withdrawn.types[0].force = None;
    let mut ended = desired.clone();
    ended.types[0].force.as_mut().unwrap().until = after(4);
    let mut unfenced = desired.clone();
    unfenced.types[0].force.as_mut().unwrap().fenced = false;
    for changed in [suspended, withdrawn, ended, unfenced] {
        assert!(resume(a, b, &changed, None, after(5)).steps.is_empty(), "{changed:?}");
    }
    for (a, b) in [("away", "P/0/-/8"), ("away", "M/1/-/9"), ("away", "M/1/D"), ("P/1/-", "M/1/-"), ("away", "away")] {
        assert!(resume(a, b, &desired, None, after(5)).steps.is_empty(), "{a} {b}");
    }
}

#[test]
fn statement_is_not_sent_again_once_its_consent_has_ended() {
    let lost_principal = observation("away", "M/1/-");
    let desired = consented(&epoch_of("away", "M/1/-"), after(60));
    let fired = plan(&desired, &lost_principal, &lost(), NOW);
    assert_eq!(fired.steps.len(), 1);
    for (seconds, steps) in [(59, 1), (60, 0), (61, 0)] {
        assert_eq!(plan(&desired, &lost_principal, &fired.persisted, after(seconds)).steps.len(), steps, "{seconds}");
    }
}

#[test]
fn refusal_of_a_server_that_answers_names_the_cause() {
    let epoch = epoch_of("away", "M/1/-");
    for cause in [
        UnavailableCause::LoginFailed,
        UnavailableCause::TlsFailed,
        UnavailableCause::HostNotFound,
        UnavailableCause::Unresponsive,
        UnavailableCause::PollsStopped,
        UnavailableCause::SecretNotFound,
    ] {
        let mut observation = observation("away", "M/1/-");
        let ServerObservation::Unavailable { unavailable, .. } = &mut observation.pairs[store()].primary else {
            panic!()
        };
        unavailable.cause = cause;
        let plan = plan(&consented(&epoch, after(60)), &observation, &lost(), NOW);
        assert!(plan.steps.is_empty(), "{cause:?}");
        assert_ne!(reason(&plan), Reason::PrincipalLost, "{cause:?}");
        let message = &plan.types[&TY].verdict.message;
        assert!(message.contains("LcsLog") && message.contains("refused"), "{message}");
    }
}

/// A consent beside an open principal is no reason to refuse anything: nothing is asked for.
#[test]
fn consent_beside_a_principal_that_serves_is_not_refused() {
    let served = plan(&consented("6-0000", after(60)), &observation("away", "P/1/C"), &lost(), NOW);
    assert_eq!((reason(&served), served.steps.len()), (Reason::UnexpectedPrincipal, 0));
    assert!(!served.types[&TY].verdict.message.contains("refused"), "{}", served.types[&TY].verdict.message);
}

/// When time alone changes the verdict: until the consent ends.
#[test]
fn consent_that_does_not_apply_is_considered_again_when_it_ends() {
    for (until, seconds, expected) in [(60, 0, Some(60)), (60, 59, Some(60)), (60, 60, None), (60, 61, None)] {
        let held = plan(&consented("6-0000", after(until)), &observation("away", "M/1/-"), &lost(), after(seconds));
        assert_eq!(held.types[&TY].verdict.until, expected.map(after), "{until} {seconds}");
    }
}

/// Only a forced service that sent nothing is repeated after a pause.
#[test]
fn consent_is_not_delayed_by_another_attempt() {
    let consented = consented(&epoch_of("away", "M/1/-"), after(3600));
    for (cause, outcome, steps) in [
        (Cause::ForcedService, Outcome::Failed, 0),
        (Cause::ForcedService, Outcome::Unknown, 1),
        (Cause::Intent, Outcome::Failed, 1),
    ] {
        let mut persisted = lost();
        persisted.last.insert(TY, Attempt { cause, ..super::tests::attempt(outcome) });
        let decided = plan(&consented, &observation("away", "M/1/-"), &persisted, after(1));
        assert_eq!(decided.steps.len(), steps, "{cause:?} {outcome:?}");
    }
}

/// A type with two databases: the rows of the second one on the surviving mirror, and the databases that are forced.
#[test]
fn forced_service_of_a_type_needs_every_database_lost_or_served_here() {
    for (second, forced) in
        [("M/1/-", &["LcsLog", "QoEMetrics"][..]), ("P/1/-/8", &["LcsLog"]), ("M/1/C", &[]), ("M/2/-", &[])]
    {
        let rows = super::tests::observation_of_two(["away", "M/1/-"], ["M/1/-", second]);
        let mut desired = desired(Seat::Primary);
        desired.types[0].databases.push(DatabaseName::new("QoEMetrics"));
        let mut known = lost();
        let sessions = &mut known.tracking.get_mut(&TY).unwrap().sessions;
        sessions.insert(DatabaseName::new("QoEMetrics"), Guid::from_bytes([1; 16]));
        let epoch = plan(&desired, &rows, &known, NOW).types[&TY].epoch.clone().unwrap();
        desired.types[0].force = Some(ForceService { epoch, until: after(3600), fenced: true });
        let decided = plan(&desired, &rows, &known, NOW);
        let names: Vec<&str> = decided.steps.iter().map(|step| step.database.as_str()).collect();
        assert_eq!(names, forced, "{second}: {}", decided.types[&TY].verdict.message);
    }
}

/// The last move of the type, and the reason while the session is SUSPENDED.
#[test]
fn aftermath_follows_only_a_forced_service_that_happened() {
    for (cause, outcome, expected) in [
        (Cause::ForcedService, Outcome::Succeeded, Reason::ServiceForced),
        (Cause::ForcedService, Outcome::Partial, Reason::ServiceForced),
        (Cause::ForcedService, Outcome::Failed, Reason::MirroringSuspended),
        (Cause::Intent, Outcome::Succeeded, Reason::MirroringSuspended),
    ] {
        let mut persisted = lost();
        persisted.last.insert(TY, Attempt { cause, ..super::tests::attempt(outcome) });
        let seen = plan(&desired(Seat::Primary), &observation("P/0/-", "M/0/-"), &persisted, NOW);
        assert_eq!(reason(&seen), expected, "{cause:?} {outcome:?}");
    }
}

/// A later attempt that moved nothing does not make the forced service undone. It is paused after.
#[test]
fn forced_service_stays_recorded_after_a_later_attempt_that_failed() {
    let forced = |outcome| Attempt {
        cause: Cause::ForcedService,
        to_server: Some("SQL-MIRROR".into()),
        ended: after(5),
        ..super::tests::attempt(outcome)
    };
    for (before, ended, kept) in [
        (Outcome::Partial, Outcome::Failed, true),
        (Outcome::Unknown, Outcome::Superseded, true),
        (Outcome::Partial, Outcome::Succeeded, false),
        (Outcome::Failed, Outcome::Failed, false),
        (Outcome::Unknown, Outcome::Unknown, false),
    ] {
        let mut persisted = lost();
        persisted.last.insert(TY, forced(before));
        let later = Attempt { ended: after(60), ..forced(ended) };
        super::forced_record::record_end(&mut persisted, TY, later.clone());
        let expected = if kept { Attempt { later_failure: Some(after(60)), ..forced(before) } } else { later };
        assert_eq!(persisted.last[&TY], expected, "{before} {ended}");
    }
    let mut persisted = lost();
    persisted.last.insert(TY, forced(Outcome::Succeeded));
    super::forced_record::record_end(&mut persisted, TY, forced(Outcome::Unknown));
    assert_eq!(persisted.last[&TY].outcome, Outcome::Partial, "a part of it is known");
    let of = |names: &[&str]| names.iter().map(|name| (DatabaseName::new(*name), 7)).collect();
    for (cause, server, expected) in [
        (Cause::ForcedService, "SQL-MIRROR", of(&["LcsLog", "QoEMetrics"])),
        (Cause::ForcedService, "SQL-PRIMARY", of(&["QoEMetrics"])),
        (Cause::Intent, "SQL-MIRROR", of(&["QoEMetrics"])),
    ] {
        let mut persisted = lost();
        persisted.last.insert(TY, Attempt { forced: of(&["LcsLog"]), ..forced(Outcome::Partial) });
        let to_server = Some(server.to_owned());
        let later = Attempt { cause, to_server, forced: of(&["QoEMetrics"]), ..forced(Outcome::Succeeded) };
        super::forced_record::record_end(&mut persisted, TY, later);
        assert_eq!(persisted.last[&TY].forced, expected, "{cause} {server}");
    }
    let consented = consented(&epoch_of("away", "M/1/-"), after(3600));
    let mut persisted = lost();
    persisted.last.insert(TY, Attempt { later_failure: Some(after(60)), ..forced(Outcome::Partial) });
    for (seconds, steps) in [(74, 0), (75, 1)] {
        let decided = plan(&consented, &observation("away", "M/1/-"), &persisted, after(seconds));
        assert_eq!(decided.steps.len(), steps, "{seconds}: {}", decided.types[&TY].verdict.message);
    }
}

#[test]
fn aftermath_of_a_forced_service_resumes_nothing() {
    let epoch = epoch_of("away", "M/1/-");
    let desired = consented(&epoch, after(3600));
    let fired = plan(&desired, &observation("away", "M/1/-"), &lost(), NOW);
    let served = plan(&desired, &observation("away", "P/0/-/8"), &fired.persisted, after(5));
    assert_eq!(served.ended.as_ref().unwrap().outcome, Outcome::Succeeded);
    assert_eq!(reason(&served), Reason::ServiceForced, "{}", served.types[&TY].verdict.message);
    let back = plan(&desired, &observation("M/0/-/8", "P/0/-/8"), &served.persisted, after(999_999));
    assert_eq!((reason(&back), back.steps.len()), (Reason::ServiceForced, 0));
    assert!(back.types[&TY].verdict.message.contains("RESUME destroys it"));
    let healed = plan(&desired, &observation("M/4/-/8", "P/4/-/8"), &back.persisted, after(999_999));
    assert_eq!(reason(&healed), Reason::UnexpectedPrincipal, "the operator never moves it back by itself");
    let cut = plan(&desired, &observation("M/1/-/8", "P/1/-/8"), &healed.persisted, after(1_000_050));
    assert_eq!(reason(&cut), Reason::UnexpectedPrincipal, "a later incident is not the forced service");
    assert!(!cut.types[&TY].verdict.message.contains("forced"), "{}", cut.types[&TY].verdict.message);
}

#[test]
fn message_of_a_lost_principal_names_the_time_limit() {
    let first = plan(&desired(Seat::Primary), &observation("away", "M/1/-"), &lost(), NOW);
    assert_eq!(first.persisted.tracking[&TY].principal_lost_since, Some(NOW));
    let message = &plan(&desired(Seat::Primary), &observation("away", "M/1/-"), &first.persisted, after(60)).types[&TY]
        .verdict
        .message;
    assert!(!message.contains("30 minutes"), "only the user store has this limit: {message}");
    assert!(
        message.contains("docs/how-to/force-service.md from step 0") && message.contains("The epoch of Archiving is "),
        "{message}"
    );
    assert!(!message.contains("acceptDataLoss"), "nothing to paste: {message}");
}

/// The answer to the one statement, and what the survivor shows a moment later.
fn answered(answer: Answer, b: &str, seconds: u64) -> (Plan, PersistedState) {
    let desired = consented(&epoch_of("away", "M/1/-"), after(3600));
    let fired = plan(&desired, &observation("away", "M/1/-"), &lost(), NOW);
    let mut seen = observation("away", b);
    seen.statements = [(fired.steps[0].database.clone(), StatementState::Answered(answer))].into();
    let next = plan(&desired, &seen, &fired.persisted, after(seconds));
    let persisted = next.persisted.clone();
    (next, persisted)
}

#[test]
fn forced_service_with_a_lost_answer_is_unknown_until_deadline_and_row_speak() {
    let detail = || "the connection broke".to_owned();
    let (early, _) = answered(Answer::Lost { detail: detail() }, "M/1/-", 20);
    assert!(early.ended.is_none() && early.steps.is_empty(), "{}", early.types[&TY].verdict.message);
    let (late, persisted) = answered(Answer::Lost { detail: detail() }, "M/1/-", 301);
    assert_eq!(late.ended.as_ref().unwrap().outcome, Outcome::Unknown);
    // It takes effect minutes later: it is the forced service all the same.
    let desired = consented("6-0000", after(3600));
    let shown = plan(&desired, &observation("away", "P/0/-/8"), &persisted, after(400));
    assert_eq!(reason(&shown), Reason::ServiceForced, "{}", shown.types[&TY].verdict.message);
    assert_eq!(shown.persisted.last[&TY].outcome, Outcome::Succeeded);
}

#[test]
fn forced_service_that_was_not_sent_gives_the_consent_back() {
    let detail = || "the login timed out".to_owned();
    let (ended, persisted) = answered(Answer::NotSent { detail: detail(), limited: false }, "M/1/-", 5);
    assert_eq!(ended.ended.as_ref().unwrap().outcome, Outcome::Failed);
    assert_eq!(persisted.tracking[&TY].consumed_consent, None);
    let desired = consented(&epoch_of("away", "M/1/-"), after(3600));
    let again = |seconds| plan(&desired, &observation("away", "M/1/-"), &persisted, after(seconds)).steps.len();
    assert_eq!((again(6), again(30)), (0, 1), "again after a pause");
    // A guard that refuses has read another state than the one that the consent is for.
    for answer in [Answer::Refused { number: 1455, detail: detail() }, Answer::GuardRefused { detail: detail() }] {
        let (refused, persisted) = answered(answer.clone(), "M/1/-", 5);
        assert_eq!(refused.ended.as_ref().unwrap().outcome, Outcome::Failed, "{answer:?}");
        assert!(persisted.tracking[&TY].consumed_consent.is_some(), "{answer:?}: a statement that was sent used it");
        assert!(plan(&desired, &observation("away", "M/1/-"), &persisted, after(90)).steps.is_empty(), "{answer:?}");
    }
}

#[test]
fn forced_service_beside_a_returned_principal_is_two_principals_at_once() {
    let desired = consented(&epoch_of("away", "M/1/-"), after(3600));
    let fired = plan(&desired, &observation("away", "M/1/-"), &lost(), NOW);
    let both = plan(&desired, &observation("P/1/-", "P/1/-/8"), &fired.persisted, after(3));
    assert_eq!(both.ended.as_ref().unwrap().outcome, Outcome::Succeeded);
    assert_eq!(reason(&both), Reason::TwoPrincipals, "{}", both.types[&TY].verdict.message);
}

#[test]
fn refusal_that_no_edit_lifts_precedes_the_missing_fence() {
    let mut desired = consented(&epoch_of("away", "M/1/C"), after(3600));
    desired.types[0].force.as_mut().unwrap().fenced = false;
    let refused = plan(&desired, &observation("away", "M/1/C"), &lost(), NOW);
    let message = &refused.types[&TY].verdict.message;
    assert!(message.contains("has a witness") && !message.contains("oldPrincipalFenced"), "{message}");
}

#[test]
fn lost_principal_of_user_databases_names_the_begin_of_limited_functionality() {
    let mut desired = desired(Seat::Primary);
    desired.types[0].ty = DatabaseType::User;
    let lost = plan(&desired, &observation("away", "M/1/-"), &PersistedState::default(), NOW);
    let message = &lost.types[&DatabaseType::User].verdict.message;
    let times = [second(NOW), second(after(1800))];
    assert!(message.contains(&format!("First observed at {}.", times[0])), "{message}");
    assert!(message.contains(&format!("30 minutes after the loss ({})", times[1])), "{message}");
}
