//! What is remembered of a type from pass to pass: times, approvals, settled servers and switches.

use super::tests::{NOW, TY, after, desired, observation, pending, settled};
use super::*;
use crate::model::*;

fn tracked(edit: &dyn Fn(&mut TypeTracking)) -> PersistedState {
    let mut tracking = settled(Seat::Primary);
    edit(&mut tracking);
    PersistedState { tracking: [(TY, tracking)].into(), ..PersistedState::default() }
}

/// A recorded time is kept, unless it is in the future.
#[test]
fn transition_is_tracked_since_its_first_observation() {
    for (recorded, now, expected) in
        [(None, 100, 100), (Some(50), 100, 50), (Some(100), 100, 100), (Some(101), 100, 100)]
    {
        for (a, b) in [("P/3/C", "M/3/C"), ("P/4/C/7", "M/4/C/9")] {
            let persisted = tracked(&|tracking| {
                tracking.transitions =
                    recorded.map(|seconds| (TransitionKind::FailoverInProgress, after(seconds))).into_iter().collect();
                tracking.sequences_differ_since = recorded.map(after);
            });
            let seen = plan(&desired(Seat::Primary), &observation(a, b), &persisted, after(now));
            let tracking = &seen.persisted.tracking[&TY];
            let since = tracking.transitions.get(&TransitionKind::FailoverInProgress).copied();
            let times = [since, tracking.sequences_differ_since];
            let expected = Some(after(expected));
            assert_eq!(times, if a == "P/3/C" { [expected, None] } else { [None, expected] }, "{recorded:?} {a} {b}");
        }
    }
}

#[test]
fn approval_is_tracked_since_its_epoch_was_first_observed() {
    let seen_before = Stable { epoch: Epoch::new("6-0000"), since: after(1) };
    for (epoch, since) in [("6-0000", 1), ("7-0000", 100)] {
        let mut desired = desired(Seat::Primary);
        desired.types[0].approve = Some(Approval { epoch: Epoch::new(epoch), until: None });
        let persisted = tracked(&|tracking| tracking.approval = Some(seen_before.clone()));
        let seen = plan(&desired, &observation("P/4/C", "M/4/C"), &persisted, after(100));
        let expected = Some(Stable { epoch: Epoch::new(epoch), since: after(since) });
        assert_eq!(seen.persisted.tracking[&TY].approval, expected, "{epoch}");
    }
}

/// A switch that the operator itself requested is no unrequested one, also while its statement has no answer.
#[test]
fn switch_during_a_move_is_not_unrequested() {
    let begun = plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW).persisted;
    let mut rows = observation("M/4/C/8", "P/4/C/8");
    rows.statements = [(DatabaseName::new("LcsLog"), StatementState::Sent)].into();
    let seen = plan(&desired(Seat::Mirror), &rows, &begun, after(5));
    assert!(seen.ended.is_none());
    let tracking = &seen.persisted.tracking[&TY];
    assert_eq!((tracking.unrequested_switches, tracking.last_settled_server.as_deref()), (0, Some("SQL-PRIMARY")));
    let unrequested = PersistedState { operation: None, ..begun };
    let seen = plan(&desired(Seat::Mirror), &rows, &unrequested, after(5));
    let tracking = &seen.persisted.tracking[&TY];
    assert_eq!((tracking.unrequested_switches, tracking.last_settled_server.as_deref()), (1, Some("SQL-MIRROR")));
}

/// The rows after a move, its outcome, and the server that counts as the settled one.
#[test]
fn end_of_a_move_settles_the_type_on_its_server_only_if_it_succeeded() {
    for (a, b, outcome, server, failures) in [
        ("M/4/C/8", "P/4/C/8", Outcome::Succeeded, "SQL-MIRROR", 0),
        ("P/4/C", "M/4/C", Outcome::Failed, "SQL-PRIMARY", 1),
    ] {
        let begun = plan(&desired(Seat::Mirror), &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
        let over = plan(&desired(Seat::Mirror), &observation(a, b), &begun.persisted, after(300));
        assert_eq!(over.ended.unwrap().outcome, outcome);
        let tracking = &over.persisted.tracking[&TY];
        assert_eq!(tracking.last_settled_server.as_deref(), Some(server), "{outcome:?}");
        assert_eq!((tracking.consecutive_failures, tracking.unrequested_switches), (failures, 0), "{outcome:?}");
    }
}

/// The absence that is recorded, the rows of this pass, and the absence after it.
#[test]
fn absence_ends_after_the_servers_have_been_back_and_synchronized_for_a_time() {
    use Absence::{Away, BackSince};
    for (before, a, b, expected) in [
        (None, "P/4/C", "M/4/C", None),
        (Some(Away), "P/4/C", "M/4/C", Some(BackSince(after(200)))),
        (Some(Away), "P/2/C", "M/2/C", Some(Away)),
        (Some(BackSince(after(150))), "P/4/C", "M/4/C", Some(BackSince(after(150)))),
        (Some(BackSince(after(80))), "P/4/C", "M/4/C", None),
        (Some(BackSince(after(81))), "P/4/C", "M/4/C", Some(BackSince(after(81)))),
        (Some(BackSince(after(150))), "P/2/C", "M/2/C", Some(Away)),
        (Some(BackSince(after(150))), "P/1/C", "M/1/C", Some(Away)),
        // A time in the future comes from an edited status.
        (Some(BackSince(after(201))), "P/4/C", "M/4/C", Some(BackSince(after(200)))),
        (Some(BackSince(after(900))), "P/2/C", "M/2/C", Some(Away)),
    ] {
        let persisted = tracked(&|tracking| tracking.absence = before);
        let seen = plan(&desired(Seat::Primary), &observation(a, b), &persisted, after(200));
        assert_eq!(seen.persisted.tracking[&TY].absence, expected, "{before:?} {a} {b}");
    }
}

/// The last move, the rows of this pass, and whether a lost answer turns out to have forced service.
#[test]
fn forced_service_of_unknown_outcome_succeeded_if_its_server_is_principal() {
    let unknown = || Attempt {
        cause: Cause::ForcedService,
        to_server: Some("SQL-MIRROR".to_owned()),
        forced: [(DatabaseName::new("LcsLog"), 7)].into(),
        ..super::tests::attempt(Outcome::Unknown)
    };
    let two = || Attempt {
        forced: [("LcsLog", 7), ("QoEMetrics", 7)].map(|(name, at)| (DatabaseName::new(name), at)).into(),
        ..unknown()
    };
    let synchronized = || Attempt { synchronized: true, ..unknown() };
    let failover = || Attempt { cause: Cause::Intent, ..unknown() };
    let failed = || Attempt { outcome: Outcome::Failed, ..unknown() };
    for (last, a, b, expected) in [
        (unknown(), "away", "P/1/-/8", Outcome::Succeeded),
        (unknown(), "away", "M/1/-", Outcome::Unknown),
        (unknown(), "away", "P/1/-/7", Outcome::Unknown),
        (two(), "away", "P/1/-/8", Outcome::Unknown),
        (unknown(), "P/1/-", "away", Outcome::Unknown),
        (unknown(), "P/1/-", "M/1/-", Outcome::Unknown),
        (synchronized(), "away", "P/1/-/8", Outcome::Unknown),
        (failover(), "away", "P/1/-/8", Outcome::Unknown),
        (failed(), "away", "P/1/-/8", Outcome::Failed),
    ] {
        let mut persisted = tracked(&|_| ());
        persisted.last.insert(TY, last.clone());
        let seen = plan(&desired(Seat::Primary), &observation(a, b), &persisted, after(5));
        assert_eq!(seen.persisted.last[&TY].outcome, expected, "{last:?} {a} {b}");
    }
}

/// A switch within a day of the one before continues the count.
#[test]
fn unrequested_switches_count_within_a_day_of_each_other() {
    let day = 24 * 3600;
    for (seconds, expected) in [(day - 1, 3), (day, 1)] {
        let persisted = tracked(&|tracking| {
            (tracking.unrequested_switches, tracking.last_unrequested_switch) = (2, Some(NOW));
        });
        let seen = plan(&desired(Seat::Primary), &observation("M/4/C", "P/4/C"), &persisted, after(seconds));
        assert_eq!(seen.persisted.tracking[&TY].unrequested_switches, expected, "{seconds}");
    }
}
