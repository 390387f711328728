//! Rules of the code layout: dependencies of modules, pure modules, length of files, one page per reason.

use std::collections::BTreeSet;
use std::path::Path;

use lync_mirror::model::{Effect, Reason};
use strum::IntoEnumIterator;

use crate::files::{code, is_test, root, rust_files};
use crate::{metrics, reference, values};

/// A module, and the modules it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("plan", &["model"]),
    ("api", &["model"]),
    ("sql", &["model"]),
    ("status", &["api", "model", "plan", "sql"]),
    ("leader", &[]),
    ("metrics", &["model"]),
    ("http", &[]),
    ("health", &["metrics"]),
    ("telemetry", &[]),
    ("direct", &["api", "model"]),
    ("controller", &["api", "direct", "health", "leader", "metrics", "model", "plan", "sql", "status"]),
    (
        "cli",
        &[
            "api",
            "controller",
            "direct",
            "health",
            "http",
            "leader",
            "metrics",
            "model",
            "plan",
            "sql",
            "status",
            "telemetry",
        ],
    ),
];

/// Modules without I/O or a clock, and the words of I/O and clocks.
const PURE: &[&str] = &["model", "plan", "status"];
const IMPURE: &[&str] = &["kube::", "tiberius::", "tokio::", "async fn", "::now()", "SystemTime"];

/// Lines of a file without its tests.
const LIMIT: usize = 400;

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
        for word in [
            "sys.",
            "SELECT ",
            "CREATE LOGIN",
            "DROP LOGIN",
            "RAISERROR",
            "AUTHORIZATION",
            "sp_",
            "ALTER DATABASE [",
            "tiberius::",
        ] {
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
    // Advice on differences names statements, and src/sql/inventory_diff.rs has no session to send them.
    let advice = root().join("src/sql/inventory_diff.rs");
    assert!(!code(&advice).contains("ession"), "advice must not be sent");
    for path in rust_files(&root().join("src/sql")).iter().filter(|path| !is_test(path) && **path != advice) {
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
    assert_eq!(asks, [Path::new("src/plan/statements.rs")]);
}

#[test]
fn source_file_above_the_line_limit_is_refused() {
    let files = rust_files(&root().join("src")).into_iter().chain(rust_files(&root().join("tests")));
    let long: Vec<String> = files
        .map(|path| (std::fs::read_to_string(&path).unwrap().lines().count(), path))
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
        .filter(|name| name != "README")
        .collect();
    assert_eq!(reasons, pages);
    let index = std::fs::read_to_string(root().join("docs/reasons/README.md")).unwrap();
    for reason in Reason::iter() {
        let row = index.lines().find(|line| line.starts_with(&format!("| [{0}]({0}.md) |", reason.name())));
        let effect = format!("| {:?} |", reason.effect());
        assert!(
            row.is_some_and(|row| row.contains(&effect)),
            "docs/reasons/README.md: {} needs {effect}",
            reason.name()
        );
    }
    for reason in reasons {
        let page = std::fs::read_to_string(root().join(format!("docs/reasons/{reason}.md"))).unwrap();
        for part in [format!("# {reason}\n"), "## Operator behaviour\n".to_owned(), "## What to do\n".to_owned()] {
            assert!(page.contains(&part), "docs/reasons/{reason}.md lacks {part:?}");
        }
        let stuck = reason.parse::<Reason>().unwrap().effect() == Effect::Stalled;
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
    for (name, fresh) in
        [("lyncpoolmirror", reference::reference().unwrap()), ("command-line", lync_mirror::cli::reference())]
    {
        let page = std::fs::read_to_string(root().join(format!("docs/reference/{name}.md"))).unwrap_or_default();
        assert!(page == fresh, "docs/reference/{name}.md is stale: run `make generate`");
    }
    let readme = values::readme(root()).unwrap();
    let defaults = values::defaults(root()).unwrap();
    let page = metrics::page().unwrap();
    for (path, fresh) in [(values::README, readme), (values::DEFAULTS, defaults), (metrics::PAGE, page)] {
        let written = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(written == fresh, "{path} is stale: run `make generate`");
    }
}

#[test]
fn planner_without_a_precondition_is_for_the_model_check_only() {
    let users: Vec<_> = rust_files(&root().join("src"))
        .into_iter()
        .filter(|path| !is_test(path))
        .filter(|path| {
            let code = code(path);
            code.contains("Preconditions::without") || code.contains("plan_with(")
        })
        .map(|path| path.strip_prefix(root()).unwrap().to_owned())
        .collect();
    assert_eq!(users, [Path::new("src/plan/planner.rs")]);
}
