//! Every rendered statement against its golden file. tests/grammar and tests/clients read the same files.
//! `UPDATE_EXPECT=1` rewrites them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::{Act, DatabaseName, Failover, Guid, Seat};
use crate::sql::fail_over::batch;

/// Database and server names that try to break out of their delimiters, by kind.
fn hostile() -> [(&'static str, String); 6] {
    [
        ("brackets", "a]; DROP DATABASE [x]--".into()),
        ("quotes", "it's \"N'' OR 1=1 --".into()),
        ("comments", "a/*b--c*/d".into()),
        ("unicode", "Jürgen Ω データベース 𝕏\u{202e}\u{feff}".into()),
        ("lines", "a\nGO\nb\tc".into()),
        // Each character is doubled: the longest text of a name of 128 UTF-16 units.
        ("longest", "]'".repeat(64)),
    ]
}

fn step(act: Act, database: &str, server: &str, partner: &str) -> Failover {
    let on = match act {
        Act::Failover => Seat::Primary,
        Act::ForceService => Seat::Mirror,
    };
    let database = DatabaseName::new(database);
    Failover {
        act,
        database,
        on,
        server: server.into(),
        partner: partner.into(),
        guid: Guid::from_bytes([0xab; 16]),
        role_sequence: 7,
    }
}

fn statements() -> BTreeMap<String, String> {
    let mut statements = BTreeMap::new();
    for (act, verb) in [(Act::Failover, "fail_over"), (Act::ForceService, "force_service")] {
        let (server, partner) = match act {
            Act::Failover => (r"SQL-A\RTC", r"SQL-B\RTC"),
            Act::ForceService => (r"SQL-B\RTC", r"SQL-A\RTC"),
        };
        statements.insert(verb.to_owned(), batch(&step(act, "rtcxds", server, partner)).unwrap());
        for (what, name) in hostile() {
            statements.insert(format!("{verb}.{what}"), batch(&step(act, &name, &name, &name)).unwrap());
        }
    }
    statements
}

#[test]
fn batch_equals_its_golden_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sql/golden");
    let statements = statements();
    for (name, text) in &statements {
        expect_test::expect_file![folder.join(format!("{name}.sql"))].assert_eq(text);
    }
    let written = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(written, statements.len(), "{} contains a file without a statement", folder.display());
}
