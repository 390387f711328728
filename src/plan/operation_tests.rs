//! The move in flight, row by row: its attempts, its end, and what its message names.

use std::collections::BTreeMap;

use super::tests::{NOW, TY, after, desired, observation, observation_of_two, pending, reason, settled, store};
use super::*;
use crate::model::*;

/// The state after the move to the mirror has begun, with an edited journal.
fn begun(edit: &dyn Fn(&mut Operation)) -> PersistedState {
    let mut begun = plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW).persisted;
    edit(begun.operation.as_mut().unwrap());
    begun
}

/// What follows when the servers show these rows after some seconds.
fn then(persisted: &PersistedState, a: &str, b: &str, seconds: u64) -> Plan {
    plan(&desired(Seat::Mirror), &observation(a, b), persisted, after(seconds))
}

fn outcome(plan: &Plan) -> Option<Outcome> {
    plan.ended.as_ref().map(|ended| ended.outcome)
}

fn message(plan: &Plan) -> &str {
    &plan.types[&TY].verdict.message
}

#[test]
fn attempt_that_moved_nothing_is_repeated_after_a_pause_that_grows() {
    for (attempt, pause) in [(1, 1), (2, 5), (3, 15)] {
        let persisted = begun(&|operation| operation.attempt = attempt);
        let early = then(&persisted, "P/4/C", "M/4/C", pause - 1);
        assert_eq!((reason(&early), early.steps.len()), (Reason::Verifying, 0), "{attempt}");
        assert!(message(&early).contains("LcsLog"), "{}", message(&early));
        let again = then(&persisted, "P/4/C", "M/4/C", pause);
        assert_eq!(again.steps.len(), 1, "{attempt}");
        assert!(message(&again).contains("LcsLog"), "{}", message(&again));
        let operation = again.persisted.operation.unwrap();
        assert_eq!((operation.attempt, operation.attempted), (attempt + 1, after(pause)));
    }
}

#[test]
fn attempts_end_with_the_last_one_and_at_the_deadline() {
    for (attempt, seconds, ends) in [(ATTEMPTS - 1, 299, false), (ATTEMPTS, 299, true), (1, 300, true)] {
        let over = then(&begun(&|operation| operation.attempt = attempt), "P/4/C", "M/4/C", seconds);
        assert_eq!(over.steps.is_empty(), ends, "{attempt} {seconds}");
        assert_eq!(outcome(&over), ends.then_some(Outcome::Failed), "{attempt} {seconds}");
        if let Some(ended) = over.ended {
            assert!(ended.detail.unwrap().starts_with("LcsLog not moved"), "{attempt} {seconds}");
        }
    }
}

#[test]
fn attempt_is_not_repeated_while_suspended_or_in_conflict() {
    let persisted = begun(&|_| ());
    for (suspended, conflict) in [(true, false), (false, true)] {
        let (mut desired, mut rows) = (desired(Seat::Mirror), observation("P/4/C", "M/4/C"));
        desired.suspend = suspended.then(|| Suspend { reason: "patching".to_owned(), until: None });
        if conflict {
            rows.conflicts.insert(TY, vec!["lync/other".to_owned()]);
        }
        let over = plan(&desired, &rows, &persisted, after(60));
        assert_eq!((outcome(&over), over.steps.len()), (Some(Outcome::Failed), 0), "{suspended} {conflict}");
    }
}

#[test]
fn move_that_is_under_way_at_its_deadline_is_overdue_and_does_not_end() {
    for (seconds, expected) in [(299, Reason::Verifying), (300, Reason::SwitchOverdue)] {
        let seen = then(&begun(&|_| ()), "P/3/C", "M/3/C", seconds);
        assert_eq!((reason(&seen), outcome(&seen)), (expected, None), "{seconds}");
    }
}

/// The principal is where the move wants it, and the sequence does not show a switch yet.
#[test]
fn principal_that_moved_without_a_later_sequence_is_awaited() {
    for (a, b) in [("M/4/C/7", "P/4/C/7"), ("M/4/C/8/g", "P/4/C/8/r")] {
        let seen = then(&begun(&|_| ()), a, b, 60);
        assert_eq!((reason(&seen), outcome(&seen), seen.steps.len()), (Reason::Verifying, None, 0), "{a} {b}");
    }
}

#[test]
fn sequences_that_differ_are_a_divergence_only_at_the_deadline() {
    for (seconds, expected) in [(10, None), (299, None), (300, Some(Outcome::Superseded))] {
        let seen = then(&begun(&|_| ()), "P/4/C/7", "M/4/C/9", seconds);
        assert_eq!((outcome(&seen), seen.steps.len()), (expected, 0), "{seconds}");
    }
}

#[test]
fn message_of_a_move_names_the_databases_that_moved() {
    let mut desired = desired(Seat::Mirror);
    desired.types[0].databases.push(DatabaseName::new("QoEMetrics"));
    let rows = observation_of_two(["P/4/C/7", "M/4/C/7"], ["P/4/C/9", "M/4/C/9"]);
    let begun = plan(&desired, &rows, &pending(Seat::Mirror), NOW);
    let journal = begun.persisted.operation.as_ref().unwrap();
    let sequences: BTreeMap<&str, i32> =
        journal.databases.iter().map(|database| (database.name.as_str(), database.role_sequence)).collect();
    assert_eq!(sequences, [("LcsLog", 7), ("QoEMetrics", 9)].into());

    let none = plan(&desired, &observation_of_two(["P/3/C", "M/3/C"], ["P/3/C/9", "M/3/C/9"]), &begun.persisted, NOW);
    assert!(!message(&none).contains("Moved:"), "{}", message(&none));
    let rows = observation_of_two(["M/4/C/8", "P/4/C/8"], ["P/3/C/9", "M/3/C/9"]);
    let one = plan(&desired, &rows, &begun.persisted, NOW);
    assert!(message(&one).contains(" Moved: LcsLog."), "{}", message(&one));
}

/// The row of the survivor after a forced service, and whether it proves that service was forced.
#[test]
fn forced_service_is_proved_by_a_later_open_principal_of_the_session() {
    let mut desired = desired(Seat::Primary);
    let tracked = PersistedState { tracking: [(TY, settled(Seat::Primary))].into(), ..PersistedState::default() };
    let lost = observation("away", "M/1/-");
    let epoch = plan(&desired, &lost, &tracked, NOW).types[&TY].epoch.clone().unwrap();
    desired.types[0].force = Some(ForceService { epoch, until: after(3600), fenced: true });
    let forced = plan(&desired, &lost, &tracked, NOW).persisted;
    assert!(forced.operation.is_some());
    for (row, guid, proved) in [
        ("P/0/-/8", 1, true),
        ("P/0/-/8/r", 1, false),
        ("P/0/-/7", 1, false),
        ("P/0/-/8", 9, false),
        ("M/1/-/8", 1, false),
    ] {
        let mut seen = observation("away", row);
        let ServerObservation::Available { server, .. } = &mut seen.pairs[store()].mirror else { panic!() };
        for database in std::sync::Arc::make_mut(server).databases.values_mut() {
            database.mirroring.as_mut().unwrap().guid = Guid::from_bytes([guid; 16]);
        }
        seen.statements = [(DatabaseName::new("LcsLog"), StatementState::Sent)].into();
        let over = plan(&desired, &seen, &forced, after(5));
        assert_eq!(outcome(&over), proved.then_some(Outcome::Succeeded), "{row} {guid}: {}", message(&over));
    }
}

/// When the servers are polled again, after the end of a move.
#[test]
fn requeue_after_a_move_is_close_while_something_is_not_settled() {
    for (a, b, seconds, expected) in [
        ("P/2/C", "M/2/C", 59, Requeue::Soon),
        ("P/1/C", "away", 59, Requeue::Soon),
        ("P/4/C", "M/4/C", 59, Requeue::Idle),
        ("P/2/C", "M/2/C", 60, Requeue::Idle),
        ("P/1/C", "away", 60, Requeue::Idle),
    ] {
        let mut persisted = PersistedState::default();
        persisted.last.insert(TY, super::tests::attempt(Outcome::Succeeded));
        let seen = plan(&desired(Seat::Primary), &observation(a, b), &persisted, after(seconds));
        assert_eq!(seen.requeue, expected, "{a} {b} {seconds}");
    }
    let mut desired = desired(Seat::Primary);
    desired.suspend = Some(Suspend { reason: "patching".to_owned(), until: Some(NOW) });
    let ended = plan(&desired, &observation("P/4/C", "M/4/C"), &PersistedState::default(), NOW);
    assert_eq!(ended.requeue, Requeue::Idle, "the suspension ends now");
}

/// One answer for all databases is written once.
#[test]
fn equal_answers_of_several_databases_are_one() {
    let mut want = desired(Seat::Mirror);
    want.types[0].databases.push(DatabaseName::new("QoEMetrics"));
    let mut rows = observation_of_two(["P/4/C", "M/4/C"], ["P/4/C", "M/4/C"]);
    let begun = plan(&want, &rows, &pending(Seat::Mirror), NOW).persisted;
    for (second, expected) in [
        ("busy", "Cause: LcsLog, QoEMetrics: error 1404: busy."),
        ("full", "Cause: LcsLog: error 1404: busy; QoEMetrics: error 1404: full."),
    ] {
        rows.statements = [("LcsLog", "busy"), ("QoEMetrics", second)]
            .map(|(name, detail)| {
                let answer = Answer::Refused { number: 1404, detail: detail.to_owned() };
                (DatabaseName::new(name), StatementState::Answered(answer))
            })
            .into();
        let again = plan(&want, &rows, &begun, after(1));
        assert!(message(&again).contains(expected), "{}", message(&again));
    }
}
