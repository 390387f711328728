//! What `keep` does for each state.

use std::time::Duration;

use super::*;
use crate::cli::fixtures::Passes;
use crate::model::later;

const USER: [DatabaseType; 1] = [DatabaseType::User];

#[test]
fn keep_takes_the_seat_of_a_status_of_this_moment_alone() {
    let moved = Passes::new().pass("P/4/C", "M/4/C").pass("away", "P/1/C");
    let pool = moved.pool();
    let found = changes(&pool, &[], moved.now).unwrap();
    assert_eq!(found.changes, [(DatabaseType::User, Seat::Mirror)]);
    assert_eq!(found.lines(false), ["User: SQL-MIRROR\\RTC (mirror) becomes the wanted principal."]);
    assert_eq!(found.lines(true), ["User: SQL-MIRROR\\RTC (mirror) would become the wanted principal."]);
    let old = changes(&pool, &[], later(moved.now, Duration::from_secs(13 * 60))).unwrap_err();
    assert_eq!(old.exit().code(), 4);
    // The status is of the former spec.
    let edited = moved.edit(|_| ());
    assert_eq!(changes(&edited.pool(), &USER, edited.now).unwrap_err().exit().code(), 4);
    let moving = Passes::new().pass("P/4/C", "M/4/C").want("Mirror").pass("P/4/C", "M/4/C");
    let in_flight = changes(&moving.pool(), &[], moving.now).unwrap_err();
    assert!(in_flight.to_string().starts_with("A move of User is in flight."), "{in_flight}");
}

#[test]
fn keep_names_the_types_that_it_skips() {
    let away = Passes::new().pass("away", "away");
    let found = changes(&away.pool(), &[], away.now).unwrap();
    assert_eq!(found.lines(false), ["User: skipped. Its principals are not known: there is nothing to keep."]);
    assert_eq!((found.changes.len(), found.skipped), (0, Exit::NotKnown));
    let split = Passes::new().pass_with([["P/4/C", "M/4/C"], ["P/4/C", "M/4/C"], ["M/4/C/8", "P/4/C/8"]]);
    assert_eq!(changes(&split.pool(), &[], split.now).unwrap().skipped, Exit::ActionNeeded);
    assert!(changes(&split.pool(), &USER, split.now).is_err());
}
