//! The states as a status: conditions, columns and history, each as a row of a golden file. `UPDATE_EXPECT=1`
//! writes the files anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use expect_test::expect_file;

use crate::api::LyncPoolMirrorStatus;
use crate::model::*;
use crate::plan::plan;
use crate::plan::tests::{NOW, observation, pending};
use crate::status::{LIMIT, fixtures};

/// State, what the primary reports, what the mirror reports: as in the tables of the planner. S26 needs two databases and
/// S27 two versions: tests/scenarios has them.
const STATES: [(&str, &str, &str); 31] = [
    ("S1 healthy, witness", "P/4/C", "M/4/C"),
    ("S2 healthy, no witness", "P/4/-", "M/4/-"),
    ("S3 catching up", "P/2/C", "M/2/C"),
    ("S4 failover running", "P/3/C", "M/4/C"),
    ("S5 just after the failover", "M/2/C/8", "P/2/C/8"),
    ("S6 mirror lost, witness", "P/1/C", AWAY),
    ("S7 mirror lost, no witness", "P/1/-", AWAY),
    ("S8 mirror and witness lost", "P/1/D", AWAY),
    ("S9 automatic failover", AWAY, "P/1/C/8"),
    ("S10 the old principal is back", "M/4/C/8", "P/4/C/8"),
    ("S11 principal lost, no witness", AWAY, "M/1/-"),
    ("S12 principal and witness lost", AWAY, "M/1/D"),
    ("S13 principal lost while catching up", AWAY, "M/1/C"),
    ("S14 service forced, the old principal is away", AWAY, "P/0/-/8"),
    ("S15 the old principal returns after a forced service", "M/0/-/8", "P/0/-/8"),
    ("S16 resumed after a forced service", "M/2/-/8", "P/2/-/8"),
    ("S17 paused by an administrator", "P/0/C", "M/0/C"),
    ("S18 suspended by an error", "P/0/-", "M/0/-"),
    ("S19 witness lost", "P/4/D", "M/4/D"),
    ("S20 link cut, witness", "P/1/C", "M/1/C"),
    ("S21 link cut, no witness", "P/1/-", "M/1/-"),
    ("S22 split brain", "P/1/-", "P/1/-/8"),
    ("S23 mirror and witness only", AWAY, "M/1/C"),
    ("S24 session removed on one side", "NULL", "M/1/C"),
    ("S25 not mirrored", "NULL", "NULL"),
    ("S28 isolated principal", "P/1/D/7", "P/1/C/8"),
    ("S58 endpoint of the mirror stopped", "P/1/C", "M/1/D"),
    ("only the mirror has lost the witness", "P/4/C", "M/4/D"),
    ("both mirrors", "M/4/C", "M/4/C"),
    ("sequences differ", "P/4/C", "M/4/C/8"),
    ("both away", AWAY, AWAY),
];

const AWAY: &str = "away";

/// The status of a pool whose spec does not change, and of one whose spec has just asked for the other seat.
fn status(principal: &str, persisted: &PersistedState, (a, b): (&str, &str)) -> LyncPoolMirrorStatus {
    fixtures::status(&fixtures::wanting(principal), &observation(a, b), persisted)
}

/// The absolute path: a test binary that runs without cargo has no other way to find its files.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/status/golden").join(name)
}

fn conditions(status: &LyncPoolMirrorStatus) -> String {
    status.conditions.iter().fold(String::new(), |mut text, condition| {
        let _ =
            writeln!(text, "  {}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message);
        text
    })
}

#[test]
fn conditions_of_every_state_equal_their_golden_file() {
    let mut table = String::new();
    for (name, a, b) in STATES {
        for (wanted, persisted) in [("Primary", PersistedState::default()), ("Mirror", pending(Seat::Mirror))] {
            let status = status(wanted, &persisted, (a, b));
            for condition in &status.conditions {
                let message = &condition.message;
                assert!(message.chars().count() <= LIMIT && !message.ends_with("..."), "{name}: {message}");
            }
            let principals = status.principals.as_deref().unwrap_or_default();
            let _ = writeln!(table, "{name}, spec wants {wanted}: {principals}\n{}", conditions(&status));
        }
    }
    expect_file![golden("conditions.txt")].assert_eq(&table);
}

#[test]
fn status_of_every_state_equals_its_golden_file() {
    let mut table = String::new();
    for (name, a, b) in STATES {
        let mut status = status("Mirror", &pending(Seat::Mirror), (a, b));
        status.conditions.clear();
        let _ = writeln!(table, "{name}\n{}\n", serde_json::to_string_pretty(&status).unwrap());
    }
    expect_file![golden("status.txt")].assert_eq(&table);
}

#[test]
fn history_of_every_ending_equals_its_golden_file() {
    let begun = plan(&fixtures::wanting("Mirror").desired, &observation("P/4/C", "M/4/C"), &pending(Seat::Mirror), NOW);
    assert!(begun.persisted.operation.is_some());
    let mut table = String::new();
    for (name, a, b) in [
        ("both servers agree on the new roles", "M/4/C/8", "P/4/C/8"),
        ("still in transition", "M/2/C/8", "P/3/C/8"),
        ("nothing happened", "P/4/C", "M/4/C"),
        ("switched and back", "P/4/C/9", "M/4/C/9"),
    ] {
        let status = status("Mirror", &begun.persisted, (a, b));
        let _ = writeln!(table, "{name}\n{}\n", serde_json::to_string_pretty(&status.history).unwrap());
    }
    expect_file![golden("history.txt")].assert_eq(&table);
}
