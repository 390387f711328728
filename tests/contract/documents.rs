//! The documents of this repository: what the tree cites exists, links resolve, and retired words are gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::files::root;

/// Text files below these paths are read.
const TEXTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "Dockerfile",
    "src",
    "tests",
    "docs",
    "charts",
    "deploy",
    "xtask",
];

/// Every text file that git tracks below [`TEXTS`], by its path from the root.
pub fn texts() -> Vec<(PathBuf, String)> {
    let mut git = std::process::Command::new("git");
    let listed = git.args(["ls-files", "-z", "--"]).args(TEXTS).current_dir(root()).output().expect("git runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let paths = listed.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from);
    paths.filter_map(|path| Some((path.clone(), std::fs::read_to_string(root().join(&path)).ok()?))).collect()
}

fn headings(path: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let titles = text.lines().filter_map(|line| line.strip_prefix("### "));
    titles.map(|title| title.split_whitespace().take(1).collect::<String>()).collect()
}

/// The words of a text: identifiers fall apart at `_`, so that `role_sequence` has two.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// `R7` or `S21`, if the word is such a number. `R2` after `2008` is a release of SQL Server.
fn number<'a>(word: &'a str, before: &str) -> Option<&'a str> {
    let digits = word.strip_prefix(['R', 'S'])?;
    let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && before != "2008").then_some(word)
}

#[test]
fn rule_or_state_number_without_a_heading_is_refused() {
    let known: BTreeSet<String> =
        headings("docs/design/rules.md").into_iter().chain(headings("docs/design/states.md")).collect();
    assert!(known.contains("R1") && known.contains("S1"), "{known:?}");
    let mut unknown = Vec::new();
    for (path, text) in
        texts().iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "rs" || kind == "md"))
    {
        let mut before = "";
        for word in words(text) {
            if let Some(number) = number(word, before).filter(|number| !known.contains(*number)) {
                unknown.push(format!("{}: {number}", path.display()));
            }
            before = word;
        }
    }
    assert!(unknown.is_empty(), "no heading in docs/design: {unknown:#?}");
}

#[test]
fn design_rule_number_without_a_heading_is_refused() {
    let rules = std::fs::read_to_string(root().join("docs/design/rules.md")).unwrap();
    let mut unknown = Vec::new();
    for (path, text) in texts() {
        for cited in text.to_lowercase().split("design rule ").skip(1) {
            let number: String = cited.chars().take_while(char::is_ascii_digit).collect();
            if !number.is_empty() && !rules.contains(&format!("### Design rule {number} ")) {
                unknown.push(format!("{}: design rule {number}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "no heading in docs/design/rules.md: {unknown:#?}");
}

#[test]
fn decision_record_that_is_cited_exists_and_is_in_the_index() {
    let records: Vec<String> = std::fs::read_dir(root().join("docs/decisions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    let index = std::fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    for record in &records {
        let text = std::fs::read_to_string(root().join("docs/decisions").join(record)).unwrap();
        assert!(index.contains(record.as_str()), "docs/decisions/README.md does not list {record}");
        assert!(text.starts_with(&format!("# {}: ", &record[..4])), "{record} does not begin with its number");
        for part in ["## Context", "## Decision", "## Consequences"] {
            assert!(text.contains(part), "{record} lacks {part:?}");
        }
    }
    for (path, text) in texts() {
        for cited in text.to_lowercase().split("decision 0").skip(1) {
            let number: String = cited.chars().take_while(char::is_ascii_digit).collect();
            let exists = records.iter().any(|record| record.starts_with(&format!("0{number}")));
            assert!(number.is_empty() || exists, "{}: decision 0{number} has no record", path.display());
        }
    }
}

/// `#some-heading` as forges make it from a heading.
fn anchor(title: &str) -> String {
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

fn has_anchor(text: &str, wanted: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line.trim_start_matches('#').trim()) == wanted)
}

#[test]
fn link_that_leads_nowhere_is_refused() {
    let mut broken = Vec::new();
    for (path, text) in texts().iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "md")) {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, fragment) = link.split_once('#').map_or((link, None), |(file, fragment)| (file, Some(fragment)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap_or(Path::new("")).join(file) };
            let full = root().join(&target);
            let fine = match fragment {
                _ if !full.exists() => false,
                None => true,
                Some(fragment) => std::fs::read_to_string(&full).is_ok_and(|text| has_anchor(&text, fragment)),
            };
            if !fine {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Folders of this repository, as inline code names them.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "charts/", "deploy/", "crds/", "xtask/"];

#[test]
fn path_in_inline_code_that_does_not_exist_is_refused() {
    let mut missing = Vec::new();
    for (path, text) in texts().iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "md")) {
        for code in
            text.split('`').skip(1).step_by(2).filter(|code| FOLDERS.iter().any(|folder| code.starts_with(folder)))
        {
            let is_path = code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
            // Capitals stand for a name that the reader chooses.
            let placeholder = code.contains("NAME") || code.contains("NUMBER");
            if is_path && !placeholder && !root().join(code).exists() {
                missing.push(format!("{}: {code}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
