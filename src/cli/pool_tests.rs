//! What the age of a status proves.

use super::*;
use crate::cli::fixtures::Passes;

#[test]
fn old_status_is_not_known_and_proves_no_principal() {
    let healthy = Passes::new().pass("P/4/C", "M/4/C");
    let (pool, read_at) = (healthy.pool(), healthy.now);
    let after = |minutes: u64| later(read_at, Duration::from_secs(minutes * 60));
    assert_eq!((pool.exit(after(11)), pool.exit(after(13))), (Exit::AsWanted, Exit::NotKnown));
    assert!(pool.proves(DatabaseType::User, after(11)).is_ok());
    let old = pool.proves(DatabaseType::User, after(13)).unwrap_err();
    assert!(old.to_string().starts_with("The operator last confirmed the status of lync/pool01 at "), "{old}");
    assert_eq!(old.exit().code(), 4);

    let moving = Passes::new().pass("P/4/C", "M/4/C").want("Mirror").pass("P/4/C", "M/4/C");
    let in_flight = moving.pool().proves(DatabaseType::User, moving.now).unwrap_err();
    assert!(in_flight.to_string().starts_with("A move of User is in flight."), "{in_flight}");
    let edited = healthy.edit(|_| ());
    let former = edited.pool().proves(DatabaseType::User, edited.now).unwrap_err();
    assert!(former.to_string().contains("has not processed the present spec"), "{former}");
}

#[test]
fn status_without_a_time_of_confirmation_proves_no_principal() {
    let passes = Passes::new().pass("P/4/C", "M/4/C");
    let mut pool = passes.pool();
    assert!(pool.proves(DatabaseType::User, passes.now).is_ok());
    pool.status.observed_time = None;
    let refused = pool.proves(DatabaseType::User, passes.now).unwrap_err();
    assert!(refused.to_string().contains("at a time that it does not have"), "{refused}");
}

#[test]
fn worst_exit_without_a_pool_is_not_known() {
    let healthy = Passes::new().pass("P/4/C", "M/4/C");
    assert_eq!(Pool::worst_exit(&[], healthy.now), Exit::NotKnown);
    assert_eq!(Pool::worst_exit(&[healthy.pool()], healthy.now), Exit::AsWanted);
}
