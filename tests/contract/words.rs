//! Words that this project does not use, and terms that the glossary must define.

use std::collections::BTreeSet;

use crate::documents::texts;
use crate::files::root;

/// Retired words, each in every form, and what to write instead.
const RETIRED: &[(&str, &str)] = &[
    ("nobody somebody anybody everybody whoever whom", "the component, server or role that acts"),
    ("dice", "random"),
    ("ring rings", "test suite"),
    ("night nights", "scenario"),
    ("house", "code layout"),
    ("room rooms", "module"),
    ("door doors", "dependency rule"),
    ("eye eyes", "connections"),
    ("hub", "instance monitors"),
    ("flight flights flying fly landed", "statement in flight"),
    ("look looks looked looking", "poll, read, check"),
    ("dark darkness lit", "unavailable, available"),
    ("wish wishes", "desired type"),
    ("asker askers", "field managers"),
    ("belongings", "server inventory"),
    ("salvage salvaged", "decode"),
    ("spokesman", "primary type"),
    ("sweep", "prune"),
    ("lighten", "trim"),
    ("tell tells told telling tale", "show, publish, report"),
    ("say says said saying", "state, print, report"),
    ("mend mends mended", "fix, repair, reconnect"),
    ("play plays played", "run"),
    ("story", "scenario"),
    ("scenery", "fixture"),
];

/// `(part of a path, word, why it stays)`.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("deploy/license-texts", "", "the text of a license"),
    ("docs/decisions/", "hub", "the name of Artifact Hub"),
    ("tests/e2e/chart/", "hub", "the name of Artifact Hub"),
    ("charts/lync-mirror/LICENSE", "", "the text of a license"),
    ("tests/contract/words.rs", "", "this list"),
    ("Cargo.toml", "ring", "a feature of the TLS library"),
    ("src/http/tls.rs", "ring", "a provider of the TLS library"),
    ("docs/decisions/", "ring", "a feature of the TLS library"),
    ("tests/control-plane/go.sum", "", "hashes"),
    ("tests/gitops/go.sum", "", "hashes"),
    ("src/cli/view/report.css", "dark", "a value of CSS"),
    ("src/cli/view/golden/report.html", "dark", "a value of CSS"),
    ("CHANGELOG.md", "look", "the former name of a flag"),
    ("CHANGELOG.md", "looks", "the former name of a metric"),
    ("CHANGELOG.md", "dark", "the former name of a metric"),
];

/// The words of a line in lower case: identifiers fall apart at `_` and where a capital follows a small letter.
fn words(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut before = ' ';
    for c in line.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && before.is_lowercase()) {
            all.push(String::new());
        }
        if c.is_alphabetic() {
            all.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = c;
    }
    all.retain(|word| !word.is_empty());
    all
}

/// The retired words of a line.
fn retired(line: &str) -> Vec<String> {
    let words = words(line);
    let is_retired = |index: &usize| {
        let (word, before) = (words[*index].as_str(), index.checked_sub(1).map_or("", |index| words[index].as_str()));
        let listed = RETIRED.iter().any(|(forms, _)| forms.split(' ').any(|form| form == word));
        // "in flight" is a standard term.
        (listed && !(word == "flight" && before == "in")) || (word == "person" && before == "a")
    };
    (0..words.len()).filter(is_retired).map(|index| words[index].clone()).collect()
}

#[test]
fn retired_word_in_code_or_documents_is_refused() {
    let mut found = Vec::new();
    for (path, text) in texts() {
        let path = path.display().to_string();
        for (number, line) in text.lines().enumerate() {
            for word in retired(line) {
                let allowed = |(part, allowed, _): &(&str, &str, &str)| {
                    path.starts_with(part) && (allowed.is_empty() || *allowed == word)
                };
                if !ALLOWED.iter().any(allowed) {
                    found.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "write as docs/design/glossary.md does: {found:#?}");
}

#[test]
fn retired_word_inside_an_identifier_is_found() {
    assert_eq!(retired("let dark_looks = 1;"), ["dark", "looks"]);
    assert_eq!(retired("struct NobodyLeads"), ["nobody"]);
    assert_eq!(retired("a statement in flight, string, landscape, unlit"), Vec::<String>::new());
    assert_eq!(retired("a person decides"), ["person"]);
}

/// Terms of art that README and the CRD's field descriptions use. A new one needs an entry in the glossary.
const TERMS: &[&str] = &[
    "seat",
    "role",
    "principal",
    "mirror",
    "witness",
    "quorum",
    "partner",
    "epoch",
    "role sequence",
    "redo queue",
    "fail back",
    "forced service",
    "approve",
    "hold",
    "journal",
    "condition",
    "reason",
    "database type",
    "pool",
    "cooldown",
    "circuit breaker",
    "maintenance window",
    "drift",
    "lease",
    "keytab",
    "KDC",
    "SPN",
    "SQL Server Browser",
];

#[test]
fn term_of_art_without_a_glossary_entry_is_refused() {
    let glossary = std::fs::read_to_string(root().join("docs/design/glossary.md")).unwrap().to_lowercase();
    let crd = std::fs::read_to_string(root().join("crds/lyncpoolmirrors.yaml")).unwrap().to_lowercase();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap().to_lowercase();
    // `- **Primary, mirror (seats)**: ...` defines two terms.
    let titles = glossary.lines().filter_map(|line| line.split("**").nth(1));
    let defined: BTreeSet<&str> =
        titles.flat_map(|title| title.split(", ")).map(|term| term.split(" (").next().unwrap()).collect();
    for term in TERMS {
        let term = term.to_lowercase();
        assert!(crd.contains(&term) || readme.contains(&term), "{term:?} is used nowhere: remove it from this list");
        assert!(defined.contains(term.as_str()), "docs/design/glossary.md has no entry for {term:?}: {defined:?}");
    }
}
