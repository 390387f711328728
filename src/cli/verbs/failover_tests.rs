//! What `failover`, `approve` and `keep` do in each state.

use super::*;
use crate::cli::fixtures::Passes;
use crate::cli::verbs::approve::offered;

fn step_to(passes: &Passes, to: Seat) -> Step {
    step(&passes.pool(), DatabaseType::User, to).unwrap().0
}

#[test]
fn failover_changes_the_principal_or_approves_what_is_held() {
    let healthy = Passes::new().pass("P/4/C", "M/4/C");
    let to = |seat| Step::Change(Change::Principal(DatabaseType::User, seat));
    assert_eq!(step_to(&healthy, Seat::Mirror), to(Seat::Mirror));
    assert_eq!(step_to(&healthy, Seat::Primary), Step::Done);

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

#[test]
fn failover_of_a_request_that_waits_writes_nothing() {
    let waits = Passes::new().pass("P/4/C", "M/4/C").want("Mirror").pass("P/2/C", "M/2/C");
    assert_eq!(step_to(&waits, Seat::Mirror), Step::Requested);
    let refused = offered(&waits.pool(), DatabaseType::User, None).unwrap_err();
    assert!(refused.to_string().starts_with("There is no move of User to approve now (Synchronizing)."), "{refused}");
}

#[test]
fn failover_of_a_type_that_the_spec_does_not_have_names_those_it_has() {
    let error = step(&Passes::new().pool(), DatabaseType::Archiving, Seat::Mirror).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lync/pool01 does not manage Archiving; it manages User. To fix: add Archiving to spec.databaseTypes."
    );
}
