//! A spec with problems: no move starts, and a move in flight is followed to its end.

use std::collections::BTreeMap;

use super::tests::{NOW, TY, desired, observation, pending, reason};
use super::*;
use crate::model::*;

fn with_problem(mut desired: Desired) -> Desired {
    desired.problems = vec!["spec.policy.cooldown \"1000h\": too long.".to_owned()];
    desired
}

#[test]
fn plan_with_a_spec_problem_starts_no_move() {
    let wanted =
        |desired: &Desired, persisted: &PersistedState| plan(desired, &observation("P/4/C", "M/4/C"), persisted, NOW);
    let to_mirror = desired(Seat::Mirror);
    assert_eq!(wanted(&to_mirror, &pending(Seat::Mirror)).steps.len(), 1);
    let held = wanted(&with_problem(to_mirror.clone()), &pending(Seat::Mirror));
    assert_eq!((reason(&held), held.steps.len()), (Reason::InvalidSpec, 0));
    assert!(held.persisted.operation.is_none());
    assert!(held.persisted.requests[&TY].pending, "the request stays pending");
    let message = &held.types[&TY].verdict.message;
    assert!(
        message.contains("Archiving") && message.contains("spec.policy.cooldown \"1000h\": too long."),
        "{message}"
    );

    // After the correction the pending request moves the type.
    assert_eq!(wanted(&to_mirror, &held.persisted).steps.len(), 1);
    let aligned = plan(&with_problem(desired(Seat::Primary)), &observation("P/4/C", "M/4/C"), &held.persisted, NOW);
    assert_eq!(reason(&aligned), Reason::Aligned);
    // A type that could not move anyway keeps its own reason.
    let obstructed = plan(&with_problem(to_mirror), &observation("P/4/C", "away"), &pending(Seat::Mirror), NOW);
    assert_eq!(reason(&obstructed), Reason::ConnectionRefused);
}

#[test]
fn operation_in_flight_with_a_spec_problem_is_followed_to_its_end() {
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
    assert_eq!(begun.steps.len(), 1);
    let invalid = with_problem(desired(Seat::Mirror));
    let open = plan(&invalid, &observation("P/3/C", "M/4/C"), &begun.persisted, NOW);
    assert_eq!((open.ended.is_some(), open.requeue), (false, Requeue::Now));
    let ended = plan(&invalid, &observation("M/4/C/8", "P/4/C/8"), &open.persisted, NOW);
    assert_eq!(ended.ended.as_ref().map(|ended| ended.outcome), Some(Outcome::Succeeded));
}

#[test]
fn operation_of_an_unusable_type_is_kept_until_the_spec_is_usable() {
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
    let mut unusable = with_problem(desired(Seat::Mirror));
    unusable.types.clear();
    unusable.unusable = BTreeMap::from([(TY, Seat::Mirror)]);
    let kept = plan(&unusable, &observation("M/4/C/8", "P/4/C/8"), &begun.persisted, NOW);
    assert_eq!(kept.persisted.operation, begun.persisted.operation);
    assert!(kept.ended.is_none() && kept.steps.is_empty() && kept.types.is_empty());
    assert_eq!(kept.requeue, Requeue::Idle, "no poll shows the outcome, so the operator does not hurry");
    assert_eq!(kept.persisted.requests, begun.persisted.requests);

    let ended = plan(&desired(Seat::Mirror), &observation("M/4/C/8", "P/4/C/8"), &kept.persisted, NOW);
    assert_eq!(ended.ended.as_ref().map(|ended| ended.outcome), Some(Outcome::Succeeded));
}
