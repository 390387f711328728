//! Every statement that is rendered for a SQL Server, to the letter, as files that other readers of T-SQL judge too
//! (tests/grammar, tests/clients). `UPDATE_EXPECT=1` writes them anew.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::{Act, DatabaseName, Failover, Guid, Seat};
use crate::sql::fail_over::batch;

/// The names that a statement has to survive, by what is hostile about them.
fn hostile() -> [(&'static str, String); 6] {
    [
        ("brackets", "a]; DROP DATABASE [x]--".into()),
        ("quotes", "it's \"N'' OR 1=1 --".into()),
        ("comments", "a/*b--c*/d".into()),
        ("unicode", "Jürgen Ω データベース 𝕏\u{202e}\u{feff}".into()),
        ("lines", "a\nGO\nb\tc".into()),
        // Each doubled, they are the longest text that a name of 128 UTF-16 units becomes.
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
    assert_eq!(written, statements.len(), "{} holds a file that nothing renders", folder.display());
}
