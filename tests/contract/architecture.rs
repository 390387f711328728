//! Rules of the code layout: dependencies of modules, pure modules, length of files, one page per reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lync_mirror::model::{Reason, Weight};
use strum::IntoEnumIterator;

/// A module, and the modules it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("plan", &["model"]),
    ("api", &["model"]),
    ("sql", &["model", "plan"]),
    ("leader", &[]),
    ("metrics", &["model"]),
    ("health", &["metrics"]),
    ("telemetry", &[]),
    ("controller", &["api", "health", "leader", "metrics", "model", "plan", "sql"]),
    ("cli", &["api", "controller", "health", "leader", "metrics", "model", "sql", "telemetry"]),
];

/// Modules without I/O or a clock, and the words of I/O and clocks.
const PURE: &[&str] = &["model", "plan"];
const IMPURE: &[&str] = &["kube::", "tiberius::", "tokio::", "async fn", "::now()", "SystemTime"];

/// Lines of a file without its tests.
const LIMIT: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(below) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a file, without its inline tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    name == "tests" || name.ends_with("_tests")
}

fn module(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn module_that_imports_another_follows_the_dependency_rules() {
    let mut faults = Vec::new();
    for path in rust_files(&root().join("src")).iter().filter(|path| !is_test(path)) {
        let module = module(path);
        if module == "lib" || module == "main" {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("{}: module {module} is not in the table", path.display()));
            continue;
        };
        let code = code(path);
        for named in code.split("crate::").skip(1) {
            let named: String = named.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            match named.as_str() {
                "" => faults.push(format!("{}: name one module per `use`", path.display())),
                named if named == module || allowed.contains(&named) => {}
                named => faults.push(format!("{}: `{module}` may not import `{named}`", path.display())),
            }
        }
        if PURE.contains(&module.as_str()) {
            let impure = IMPURE.iter().filter(|word| code.contains(**word));
            faults.extend(impure.map(|word| format!("{}: `{module}` is pure, yet contains `{word}`", path.display())));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn sql_text_outside_the_sql_module_is_refused() {
    let mut faults = Vec::new();
    for path in rust_files(&root().join("src")).iter().filter(|path| module(path) != "sql" && !is_test(path)) {
        let code = code(path);
        for word in ["sys.", "SELECT ", "tiberius::"] {
            let found = code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word));
            if found {
                faults.push(format!("{}: contains {word:?}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn statement_that_is_destructive_is_never_rendered() {
    let mut text = String::new();
    for path in rust_files(&root().join("src/sql")).iter().filter(|path| !is_test(path)) {
        text.extend(
            code(path).lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")),
        );
    }
    assert!(text.contains("SET PARTNER {option}"), "this test reads the rendered statements");
    for word in [
        "PARTNER OFF",
        "WITNESS OFF",
        "SET WITNESS",
        "PARTNER SAFETY",
        "PARTNER RESUME",
        "AUTHORIZATION",
        "SET TRUSTWORTHY",
        "ALTER ENDPOINT",
    ] {
        assert!(!text.to_uppercase().contains(word), "src/sql contains {word}");
    }
    // One statement may lose data, and one file of the planner may request it.
    assert_eq!(text.matches("ALLOW_DATA_LOSS").count(), 1);
    let asks: Vec<_> = rust_files(&root().join("src"))
        .into_iter()
        .filter(|path| !is_test(path) && code(path).contains("act: Act::ForceService"))
        .map(|path| path.strip_prefix(root()).unwrap().to_owned())
        .collect();
    assert_eq!(asks, [Path::new("src/plan/force.rs")]);
}

#[test]
fn source_file_above_the_line_limit_is_refused() {
    let files = rust_files(&root().join("src")).into_iter().chain(rust_files(&root().join("tests")));
    let long: Vec<String> = files
        .map(|path| (code(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > LIMIT)
        .map(|(lines, path)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "split these files: {long:#?}");
}

#[test]
fn source_file_without_a_module_comment_is_refused() {
    let silent: Vec<_> = rust_files(&root().join("src"))
        .into_iter()
        .filter(|path| !std::fs::read_to_string(path).unwrap().starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn reason_without_a_page_or_page_without_a_reason_is_refused() {
    let reasons: BTreeSet<String> = Reason::iter().map(|reason| reason.name().to_owned()).collect();
    let pages: BTreeSet<String> = std::fs::read_dir(root().join("docs/reasons"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(reasons, pages);
    for reason in reasons {
        let page = std::fs::read_to_string(root().join(format!("docs/reasons/{reason}.md"))).unwrap();
        for part in [
            format!("# {reason}\n"),
            "**What the operator does by itself.**".to_owned(),
            "**What you can do.**".to_owned(),
        ] {
            assert!(page.contains(&part), "docs/reasons/{reason}.md lacks {part:?}");
        }
        let stuck = reason.parse::<Reason>().unwrap().weight() == Weight::Stuck;
        assert!(!stuck || page.contains("```"), "docs/reasons/{reason}.md lacks the exact command");
    }
}

#[test]
fn generated_file_that_is_stale_is_refused() {
    let fresh = lync_mirror::cli::crd().unwrap();
    for path in ["crds/lyncpoolmirrors.yaml", "charts/lync-mirror/files/lyncpoolmirrors.yaml"] {
        let written = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(written == fresh, "{path} is stale: run `make generate`");
    }
    let page = std::fs::read_to_string(root().join("docs/reference/lyncpoolmirror.md")).unwrap_or_default();
    assert!(page == lync_mirror::cli::reference().unwrap(), "the reference is stale: run `make generate`");
}
