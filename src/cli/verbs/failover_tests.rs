//! What `failover`, `approve` and `keep` do in each state.

use super::*;
use crate::cli::fixtures::Passes;
use crate::cli::verbs::approve::offered;
use crate::model::later;
use crate::plan::tests::NOW;

fn step_to(passes: &Passes, to: Seat) -> Step {
    step(&passes.pool(), DatabaseType::User, to, passes.now).unwrap().0
}

#[test]
fn failover_changes_the_principal_or_approves_what_is_held() {
    let healthy = Passes::new().pass("P/4/C", "M/4/C");
    let to = |seat| Step::Change(Change::Principal(DatabaseType::User, seat));
    assert_eq!(step_to(&healthy, Seat::Mirror), to(Seat::Mirror));
    assert_eq!(step_to(&healthy, Seat::Primary), Step::Done(Exit::AsWanted));

    // The witness moved the principal, and the old principal is back.
    let held = healthy.pass("away", "P/1/C").pass("M/4/C/8", "P/4/C/8");
    let epoch = held.pool().status.database_types[0].epoch.clone().unwrap();
    let approval = Approve { epoch: epoch.clone(), until: None };
    assert_eq!(step_to(&held, Seat::Primary), Step::Change(Change::Approve(DatabaseType::User, approval)));
    assert_eq!(step_to(&held, Seat::Mirror), to(Seat::Mirror), "the wanted principal without a move");
    assert_eq!(offered(&held.pool(), DatabaseType::User, Some(&epoch)).unwrap(), epoch);
    let stale = offered(&held.pool(), DatabaseType::User, Some("1-dead")).unwrap_err();
    assert!(
        stale.to_string().contains(&format!("is epoch {epoch}, and no longer 1-dead: nothing was approved")),
        "{stale}"
    );
    // The status is of the former spec.
    assert_eq!(step_to(&held.edit(|_| ()), Seat::Primary), Step::Requested);
}

/// A repeated request must not release a move that the operator holds for a split.
#[test]
fn failover_of_a_move_that_is_held_for_another_reason_names_the_approval() {
    let here = ["P/4/C", "M/4/C"];
    let split = Passes::new().pass(here[0], here[1]).pass_with([here, here, ["M/4/C/8", "P/4/C/8"]]);
    let pool = split.pool();
    let of = &pool.status.database_types[0];
    assert!(pool.offers_approval(DatabaseType::User), "{} {}", of.reason, of.message);
    let refused = step(&pool, DatabaseType::User, Seat::Primary, split.now).unwrap_err();
    let epoch = of.epoch.clone().unwrap();
    assert!(refused.to_string().starts_with("The operator holds the move of User (SplitRoles)."), "{refused}");
    assert!(refused.to_string().contains(&of.message), "{refused}");
    let command = format!("approve pool01 -n lync --database-type User --epoch {epoch}.");
    assert!(refused.to_string().ends_with(&command), "{refused}");
    assert_eq!(refused.exit().code(), 2);
}

#[test]
fn failover_that_is_done_needs_a_status_of_this_moment() {
    let healthy = Passes::new().pass("P/4/C", "M/4/C");
    let at = |minutes: u64| later(healthy.now, std::time::Duration::from_secs(minutes * 60));
    let done = |now| step(&healthy.pool(), DatabaseType::User, Seat::Primary, now);
    assert_eq!(done(at(11)).unwrap().0, Step::Done(Exit::AsWanted));
    assert_eq!(done(at(13)).unwrap_err().exit().code(), 4);
    let exposed = Passes::new().pass("P/4/D", "M/4/D");
    assert_eq!(step_to(&exposed, Seat::Primary), Step::Done(Exit::ActionNeeded));
}

#[test]
fn failover_of_a_request_that_waits_writes_nothing() {
    let waits = Passes::new().pass("P/4/C", "M/4/C").want("Mirror").pass("P/2/C", "M/2/C");
    assert_eq!(step_to(&waits, Seat::Mirror), Step::Requested);
    let refused = offered(&waits.pool(), DatabaseType::User, None).unwrap_err();
    assert!(refused.to_string().starts_with("There is no move of User to approve now (Synchronizing)."), "{refused}");
}

#[test]
fn failover_of_a_type_that_the_spec_does_not_have_names_those_it_has() {
    let error = step(&Passes::new().pool(), DatabaseType::Archiving, Seat::Mirror, NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lync/pool01 does not manage Archiving; it manages User. To fix: add Archiving to spec.databaseTypes."
    );
}
