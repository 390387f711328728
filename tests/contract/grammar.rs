//! Microsoft's own T-SQL parsers of SQL Server 2008 R2, 2012 and 2014 read every text that the operator can send, and read
//! each hostile name as intended. They do not check object or column names: the simulated pair does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{cannot, root, skip};

const VERSIONS: [&str; 3] = ["2008R2", "2012", "2014"];

/// The names of the golden files, as a server should understand them; `\` escapes as in a program.
const NAMES: [(&str, &str); 6] = [
    ("brackets", "a]; DROP DATABASE [x]--"),
    ("quotes", "it's \"N'' OR 1=1 --"),
    ("comments", "a/*b--c*/d"),
    ("unicode", "Jürgen Ω データベース 𝕏\u{202e}\u{feff}"),
    ("lines", r"a\nGO\nb\tc"),
    (
        "longest",
        "]']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']']'",
    ),
];

/// The result of a parser for a file: Ok has the number of batches and the failovers in it.
type Answers = BTreeMap<(String, String), Result<(String, String), String>>;

fn parser() -> Option<PathBuf> {
    let built = Command::new(root().join("tests/grammar/parser")).output().unwrap();
    if let Some(why) = cannot(&built) {
        skip("grammar", &why);
        return None;
    }
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(String::from_utf8(built.stdout).unwrap().trim().into())
}

fn read(parser: &Path, files: &[PathBuf]) -> Answers {
    let output = Command::new(parser)
        .args(files)
        .env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1")
        .env("COMPlus_EnableDiagnostics", "0")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| match line.split('\t').collect::<Vec<_>>()[..] {
        [file, version, "ok", batches, _, moves] => {
            ((file.to_owned(), version.to_owned()), Ok((batches.to_owned(), moves.to_owned())))
        }
        [file, version, "error", why] => ((file.to_owned(), version.to_owned()), Err(why.to_owned())),
        _ => panic!("the parser wrote {line:?}"),
    };
    text.lines().map(line).collect()
}

/// The batches that are always the same, and the statements as they are rendered.
fn texts() -> Vec<PathBuf> {
    let files = |folder| fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = files("src/sql").chain(files("src/sql/golden")).collect();
    all.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    all.sort();
    all
}

#[test]
fn microsoft_parsers_on_every_statement_read_the_intended_names() {
    let Some(parser) = parser() else { return };
    let files = texts();
    let answers = read(&parser, &files);
    assert_eq!(answers.len(), files.len() * VERSIONS.len());
    let mut moves = 0;
    for ((file, version), verdict) in &answers {
        let (batches, found) = verdict.as_ref().unwrap_or_else(|why| panic!("{file} on {version}: {why}"));
        assert_eq!(batches, "1", "{file} on {version} is not one batch");
        let (what, name) = file.trim_end_matches(".sql").split_once('.').unwrap_or((file.trim_end_matches(".sql"), ""));
        let name = NAMES.iter().find(|(what, _)| *what == name).map_or("rtcxds", |(_, name)| name);
        let expected = match what {
            "poll" | "inventory" => String::new(),
            "fail_over" => format!("AlterDatabaseSetStatement Failover {name}"),
            "force_service" => format!("AlterDatabaseSetStatement ForceServiceAllowDataLoss {name}"),
            other => panic!("{file}: no expectation for {other}"),
        };
        assert_eq!(*found, expected, "{file} on {version}");
        moves += usize::from(!found.is_empty());
    }
    println!("grammar: {} texts x {} parsers read, {moves} moves named as intended", files.len(), VERSIONS.len());
}

/// Shows that this suite can fail: what these servers refuse, their parsers refuse too.
#[test]
fn microsoft_parsers_on_invalid_statements_refuse_as_the_servers_do() {
    let Some(parser) = parser() else { return };
    let fail_over = fs::read_to_string(root().join("src/sql/golden/fail_over.sql")).unwrap();
    let all = VERSIONS.as_slice();
    let rows: [(&str, String, &[&str]); 6] = [
        ("misspelt", fail_over.replace("PARTNER FAILOVER", "PARTNER FAILOVR"), all),
        ("unquoted", fail_over.replace("[rtcxds]", "[rtc]xds]"), all),
        ("unclosed", fail_over.replace("N'rtcxds'", "N'rtc'xds'"), all),
        // Legal from 2012 on, and from 2016 on.
        ("paging", "SELECT name FROM sys.databases ORDER BY name OFFSET 1 ROWS;".into(), &["2008R2"]),
        ("dropping", "DROP TABLE IF EXISTS t;".into(), all),
        ("whole", fail_over.clone(), &[]),
    ];
    let folder = std::env::temp_dir().join(format!("lync-mirror-grammar-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let files: Vec<PathBuf> = rows.iter().map(|(name, ..)| folder.join(format!("{name}.sql"))).collect();
    for (file, (_, text, _)) in files.iter().zip(&rows) {
        fs::write(file, text).unwrap();
    }
    let answers = read(&parser, &files);
    fs::remove_dir_all(&folder).unwrap();
    for (name, _, refusing) in &rows {
        for version in VERSIONS {
            let verdict = &answers[&(format!("{name}.sql"), version.to_owned())];
            assert_eq!(verdict.is_err(), refusing.contains(&version), "{name} on {version}: {verdict:?}");
        }
    }
}
