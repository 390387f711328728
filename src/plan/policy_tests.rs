//! The policies, row by row: fail-back, windows, predicted interruption, circuit breaker, forced service.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::tests::{NOW, TY, after, attempt, desired, failing_back, observation, pending, reason, settled, store};
use super::*;
use crate::model::*;

fn fail_back() -> Desired {
    let mut desired = failing_back();
    desired.policy.cooldown = Duration::ZERO;
    desired
}

/// The principal was seen in the primary seat before.
fn seen_at_home() -> PersistedState {
    PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() }
}

fn redo(observation: &mut Observation, queue: Option<i64>, rate: Option<i64>) {
    let Pair { primary, mirror, .. } = &mut observation.pairs[store()];
    for view in [primary, mirror] {
        let ServerObservation::Available { server, .. } = view else { panic!() };
        let mut changed = Server::clone(server);
        for database in changed.databases.values_mut() {
            (database.redo_queue_kb, database.redo_rate_kb) = (queue, rate);
        }
        *server = Arc::new(changed);
    }
}

#[test]
fn fail_back_before_the_delay_waits() {
    let desired = fail_back();
    let drifted = observation("M/4/C", "P/4/C");
    let unseen = plan(&desired, &drifted, &PersistedState::default(), NOW);
    assert_eq!(reason(&unseen), Reason::UnexpectedPrincipal, "never seen at home on these servers");
    let first = plan(&desired, &drifted, &seen_at_home(), NOW);
    assert_eq!(reason(&first), Reason::FailBackPending, "{}", first.types[&TY].verdict.message);
    assert_eq!(first.requeue, Requeue::At(after(1800)));
    let early = plan(&desired, &drifted, &first.persisted, after(1799));
    assert!(early.steps.is_empty());
    assert_eq!(early.persisted, first.persisted, "waiting writes nothing");
    let due = plan(&desired, &drifted, &early.persisted, after(1800));
    assert_eq!((due.steps.len(), due.persisted.operation.unwrap().cause), (1, Cause::FailBack));

    // Another state, a lost witness, a mirror that has to catch up: the clock starts anew.
    for (a, b, expected) in [
        ("M/4/C/9", "P/4/C/9", Reason::FailBackPending),
        ("M/4/D", "P/4/D", Reason::UnexpectedPrincipal),
        ("M/4/-", "P/4/-", Reason::UnexpectedPrincipal),
        ("M/2/C", "P/2/C", Reason::Synchronizing),
    ] {
        let shaken = plan(&desired, &observation(a, b), &first.persisted, after(1800));
        assert_eq!((reason(&shaken), shaken.steps.len()), (expected, 0), "{a} {b}");
        let again = plan(&desired, &drifted, &shaken.persisted, after(1801));
        assert_eq!((reason(&again), again.steps.len()), (Reason::FailBackPending, 0), "{a} {b}");
    }
}

#[test]
fn fail_back_outside_the_window_waits() {
    let mut desired = fail_back();
    desired.policy.fail_back_after = Duration::ZERO;
    // The epoch was a Thursday.
    desired.policy.windows = vec![Window::new("0 2 * * FRI", "UTC", Duration::from_secs(3600)).unwrap()];
    let drifted = observation("M/4/C", "P/4/C");
    let closed = plan(&desired, &drifted, &seen_at_home(), NOW);
    assert_eq!(reason(&closed), Reason::FailBackPending);
    let opens = 26 * 3600;
    assert!(closed.types[&TY].verdict.message.contains("1970-01-02T02:00:00Z"));
    assert!(plan(&desired, &drifted, &closed.persisted, after(opens - 1)).steps.is_empty());
    assert_eq!(plan(&desired, &drifted, &closed.persisted, after(opens)).steps.len(), 1);
    assert!(plan(&desired, &drifted, &closed.persisted, after(opens + 3600)).steps.is_empty(), "closed again");
    // What the spec asks for acts at once.
    desired.types[0].principal = Seat::Primary;
    assert_eq!(plan(&desired, &drifted, &pending(Seat::Primary), NOW).steps.len(), 1);
}

/// A8: the delay ends after the window of this week, so that the first message has the window of the next one.
#[test]
fn fail_back_with_a_delay_and_windows_names_the_first_window_after_the_delay() {
    let mut desired = fail_back();
    desired.policy.fail_back_after = Duration::from_secs(30 * 3600);
    desired.policy.windows = vec![Window::new("0 2 * * FRI", "UTC", Duration::from_secs(3600)).unwrap()];
    let drifted = observation("M/4/C", "P/4/C");
    let first = plan(&desired, &drifted, &seen_at_home(), NOW);
    assert_eq!(reason(&first), Reason::FailBackPending);
    let message = &first.types[&TY].verdict.message;
    assert!(message.contains("1970-01-09T02:00:00Z") && !message.contains("1970-01-02"), "{message}");
    let week = 7 * 86_400 + 26 * 3600;
    assert!(plan(&desired, &drifted, &first.persisted, after(week - 1)).steps.is_empty());
    assert_eq!(plan(&desired, &drifted, &first.persisted, after(week)).steps.len(), 1);
}

#[test]
fn plan_predicted_interruption_above_the_limit_waits() {
    let mut desired = desired(Seat::Mirror);
    desired.policy.max_interruption = Some(Duration::from_secs(30));
    let persisted = pending(Seat::Mirror);
    for (queue, rate, steps) in [
        (Some(0), None, 1),
        (Some(20 * 1024), None, 1),       // 3 s + 20 s at the assumed rate
        (Some(40 * 1024), None, 0),       // 43 s
        (Some(40 * 1024), Some(4096), 1), // 13 s at the rate that was seen
        (None, Some(4096), 0),            // not seen: not known
    ] {
        let mut now = observation("P/4/C", "M/4/C");
        redo(&mut now, queue, rate);
        let plan = plan(&desired, &now, &persisted, NOW);
        assert_eq!(plan.steps.len(), steps, "{queue:?} {rate:?}: {}", plan.types[&TY].verdict.message);
        assert_eq!(reason(&plan) == Reason::InterruptionTooLong, steps == 0);
    }
}

#[test]
fn breaker_after_three_failures_opens_until_an_approval() {
    let desired = desired(Seat::Mirror);
    let healthy = observation("P/4/C", "M/4/C");
    let mut persisted = pending(Seat::Mirror);
    persisted.last.insert(TY, attempt(Outcome::Failed));
    let with = |persisted: &PersistedState, failures| {
        let tracking = TypeTracking { consecutive_failures: failures, ..settled(Seat::Primary) };
        PersistedState {
            tracking: [(TY, tracking)].into(),
            requests: [(TY, Request { principal: Seat::Mirror, generation: 2, pending: true })].into(),
            ..persisted.clone()
        }
    };
    // Every failure doubles the pause.
    assert_eq!(reason(&plan(&desired, &healthy, &with(&persisted, 1), after(599))), Reason::MoveFailed);
    assert_eq!(plan(&desired, &healthy, &with(&persisted, 1), after(600)).steps.len(), 1);
    assert_eq!(reason(&plan(&desired, &healthy, &with(&persisted, 2), after(1199))), Reason::MoveFailed);
    assert_eq!(plan(&desired, &healthy, &with(&persisted, 2), after(1200)).steps.len(), 1);
    let open = plan(&desired, &healthy, &with(&persisted, TRIPS), after(1_000_000));
    assert_eq!((reason(&open), open.steps.len()), (Reason::CircuitOpen, 0));

    let mut approved = desired.clone();
    approved.types[0].approve = open.types[&TY].epoch.clone().map(|epoch| Approval { epoch, until: None });
    assert_eq!(plan(&approved, &healthy, &open.persisted, after(1_000_000)).steps.len(), 1);
    let mut back = desired.clone();
    back.types[0].principal = Seat::Primary;
    let turned = plan(&back, &healthy, &open.persisted, after(1_000_000));
    assert_eq!(turned.persisted.tracking[&TY].consecutive_failures, 0, "a changed principal is a new start");
}

#[test]
fn breaker_after_three_unrequested_switches_opens_for_a_day() {
    let mut desired = fail_back();
    desired.policy.fail_back_after = Duration::ZERO;
    let (home, away) = ("P/4/C", "M/4/C");
    let mut persisted = plan(&desired, &observation(home, away), &PersistedState::default(), NOW).persisted;
    for round in 1..=TRIPS {
        // The witness moves it away; the fail-back brings it home.
        let drifted = plan(&desired, &observation(away, home), &persisted, after(u64::from(round) * 100));
        assert_eq!(drifted.persisted.tracking[&TY].unrequested_switches, round);
        assert_eq!(drifted.steps.is_empty(), round == TRIPS, "{}", drifted.types[&TY].verdict.message);
        assert_eq!(reason(&drifted) == Reason::CircuitOpen, round == TRIPS);
        if round == TRIPS {
            let next_day = plan(&desired, &observation(away, home), &drifted.persisted, after(25 * 3600));
            assert_eq!(next_day.steps.len(), 1, "a quiet day closes it");
        }
        persisted = drifted.persisted;
        if let Some(operation) = persisted.operation.take() {
            persisted.last.insert(TY, Attempt { ended: NOW, cause: operation.cause, ..attempt(Outcome::Succeeded) });
            persisted.tracking.get_mut(&TY).unwrap().last_settled_server = Some("SQL-PRIMARY".to_owned());
        }
    }
}

#[test]
fn cooldown_with_an_end_in_the_future_does_not_delay() {
    let mut persisted = pending(Seat::Mirror);
    for (ended, steps) in [(after(200), 0), (after(400), 1), (Timestamp::MAX, 1)] {
        persisted.last.insert(TY, Attempt { ended, ..attempt(Outcome::Succeeded) });
        assert_eq!(
            plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &persisted, NOW).steps.len(),
            steps,
            "{ended}"
        );
    }
}

#[test]
fn schedule_with_policy_order_moves_the_listed_type_first() {
    let mut desired = desired(Seat::Mirror);
    let central = DesiredType { ty: DatabaseType::CentralMgmt, ..desired.types[0].clone() };
    desired.types.push(central);
    desired.policy.order = vec![DatabaseType::CentralMgmt];
    let mut persisted = pending(Seat::Mirror);
    persisted.requests.insert(DatabaseType::CentralMgmt, persisted.requests[&TY]);
    let begun = plan(&desired, &observation("P/4/C", "M/4/C"), &persisted, NOW);
    assert_eq!(begun.persisted.operation.unwrap().ty, DatabaseType::CentralMgmt);
}

#[test]
fn operation_without_an_answer_is_not_retried() {
    let desired = desired(Seat::Mirror);
    let mut now_seen = observation("P/4/C", "M/4/C");
    let begun = plan(&desired, &now_seen, &pending(Seat::Mirror), NOW);
    let name = DatabaseName::new("LcsLog");
    for seconds in [1, 60, 299, 301, 86_400] {
        now_seen.statements = [(name.clone(), StatementState::Sent)].into();
        let waiting = plan(&desired, &now_seen, &begun.persisted, after(seconds));
        assert!(waiting.steps.is_empty() && waiting.ended.is_none(), "after {seconds} s");
        assert_eq!(reason(&waiting) == Reason::SwitchOverdue, seconds > 300, "after {seconds} s");
    }
    // Refused, and the servers show that nothing happened: a second attempt, after a pause.
    let refused = Answer::Refused { number: 1404, detail: "busy".to_owned() };
    now_seen.statements = [(name, StatementState::Answered(refused))].into();
    assert!(plan(&desired, &now_seen, &begun.persisted, NOW).steps.is_empty());
    let again = plan(&desired, &now_seen, &begun.persisted, after(1));
    assert_eq!((again.steps.len(), again.persisted.operation.unwrap().attempt), (1, 2));
}

#[test]
fn breaker_counts_no_move_that_a_limit_of_the_operator_prevented() {
    let desired = desired(Seat::Mirror);
    let healthy = observation("P/4/C", "M/4/C");
    let begun = plan(&desired, &healthy, &pending(Seat::Mirror), NOW);
    for (limited, failures) in [(true, 0), (false, 1)] {
        let answer = Answer::NotSent { detail: "no connection".to_owned(), limited };
        let mut seen = healthy.clone();
        seen.statements = [(DatabaseName::new("LcsLog"), StatementState::Answered(answer))].into();
        let ended = plan(&desired, &seen, &begun.persisted, after(400));
        assert!(ended.ended.is_some(), "the deadline has passed");
        assert_eq!(ended.persisted.tracking[&TY].consecutive_failures, failures, "limited: {limited}");
        assert_eq!(ended.persisted.last[&TY].outcome, Outcome::Failed);
    }
}
