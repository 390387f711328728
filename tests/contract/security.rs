//! SECURITY.md: each of its statements names a test that exists, or has `none`.

use crate::files::root;

/// The tables of a page, each as its rows of cells. The first row is the header.
fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables = Vec::new();
    for block in text.split("\n\n") {
        let rows: Vec<Vec<String>> = block
            .lines()
            .filter(|line| line.starts_with('|') && !line.starts_with("|---"))
            .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
            .collect();
        if !rows.is_empty() {
            tables.push(rows);
        }
    }
    tables
}

/// What is wrong with a cell such as `` `path::function`, `path` `` or `none`.
fn fault(cell: &str) -> Option<String> {
    if cell == "none" {
        return None;
    }
    let references: Vec<&str> = cell.split(", ").filter_map(|part| part.strip_prefix('`')?.strip_suffix('`')).collect();
    if references.is_empty() || references.len() != cell.split(", ").count() {
        return Some(format!("{cell:?} names no test"));
    }
    references.into_iter().find_map(|reference| {
        let (path, function) = reference.split_once("::").unwrap_or((reference, ""));
        let Ok(text) = std::fs::read_to_string(root().join(path)) else { return Some(format!("{path} is missing")) };
        let is_there = match function {
            "" => text.contains("#[test]") || text.contains("#[tokio::test"),
            function => {
                let before = text.split(&format!("fn {function}(")).next().filter(|before| *before != text);
                // The attribute is the line above the function.
                before.and_then(|before| before.rsplit('\n').nth(1)).is_some_and(|line| line.contains("test"))
            }
        };
        (!is_there).then(|| format!("{reference} is no test"))
    })
}

#[test]
fn statement_of_the_security_page_without_a_test_is_marked() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut faults = Vec::new();
    let (mut tested, mut untested) = (0, 0);
    for table in tables(&text) {
        let header = &table[0];
        if header.last().is_none_or(|cell| cell != "Test") {
            faults.push(format!("the last column of {header:?} is not Test"));
            continue;
        }
        for row in &table[1..] {
            let cell = row.last().unwrap();
            *(if cell == "none" { &mut untested } else { &mut tested }) += 1;
            faults.extend(fault(cell));
            if row.len() != header.len() {
                faults.push(format!("{row:?} has another number of cells than {header:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(tested > 40, "this test reads the tables: {tested}");
    println!("{tested} statements with a test, {untested} without");
}

/// Prose outside of tables instructs or leads to a table. A statement there would have no test.
#[test]
fn paragraph_of_the_security_page_that_states_a_property_is_refused() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let known = [
        "Each row below",
        "Send a private report",
        "Grant the right to create",
        "These are the limits",
        "[Build and verify an image]",
    ];
    let loose: Vec<&str> = text
        .split("\n\n")
        .map(str::trim)
        .filter(|block| !block.starts_with('#') && !block.starts_with('|') && !block.is_empty())
        .filter(|block| !known.iter().any(|known| block.starts_with(known)))
        .collect();
    assert!(loose.is_empty(), "move these into a table with a test: {loose:#?}");
}

#[test]
fn fault_is_found_in_a_reference_to_a_test_that_does_not_exist() {
    for good in ["none", "`tests/contract/security.rs`", "`src/http/reviews.rs::list_of_known_tokens_has_a_limit`"] {
        assert_eq!(fault(good), None);
    }
    for bad in [
        "",
        "yes",
        "`tests/contract/missing.rs`",
        "`src/http/reviews.rs::no_such_test`",
        // A function that is no test.
        "`src/http/reviews.rs::evict_oldest`",
        "`src/http/reviews.rs::list_of_known_tokens_has_a_limit`, and more",
    ] {
        assert!(fault(bad).is_some(), "{bad}");
    }
}
