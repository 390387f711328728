//! cargo-deny judges every crate of Cargo.lock by deny.toml, and every action of the workflows is named by its commit.

use std::process::Command;

use serde_json::Value;

use crate::files::root;
use crate::support::{cannot, print_now, skip};

/// The last line that cargo-deny prints, or why it cannot run here.
#[track_caller]
fn deny(check: &str) -> Result<String, String> {
    let output = Command::new(root().join("tests/supply-chain/deny")).arg(check).output().unwrap();
    if let Some(why) = cannot(&output) {
        return Err(why);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn crate_with_another_licence_a_ban_or_another_source_is_refused() {
    match deny("policy") {
        Ok(answer) => assert_eq!(answer, "bans ok, licenses ok, sources ok"),
        Err(why) => skip("licences, bans and sources", &why),
    }
}

/// The names in the sections `dependencies` of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(manifest)).unwrap();
    let (_, rest) = text.split_once("\n[dependencies]\n").unwrap();
    let section = rest.split("\n[").next().unwrap();
    let named = section.lines().filter_map(|line| line.split_once(" = ")).filter(|(_, what)| !what.contains("path = "));
    named.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn dependency_without_a_reason_in_the_decision_record_is_refused() {
    let record = std::fs::read_to_string(root().join("docs/decisions/0002-dependencies.md")).unwrap();
    let rows: Vec<&str> = record.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    for name in ["Cargo.toml", "xtask/Cargo.toml"].map(dependencies).concat() {
        let quoted = format!("`{name}`");
        assert!(
            rows.iter().any(|row| row.contains(&quoted)),
            "docs/decisions/0002-dependencies.md has no row for {name}"
        );
    }
}

/// A machine without a way to the database is no failure, as the crates are the same. On the runners of the forge, which reach it,
/// nothing excuses a check that was not made.
#[test]
fn crate_with_a_known_vulnerability_is_refused_where_the_database_can_be_reached() {
    match deny("advisories") {
        Ok(answer) => assert_eq!(answer, "advisories ok"),
        Err(why) => {
            assert!(std::env::var_os("GITHUB_ACTIONS").is_none(), "advisories were not checked: {why}");
            print_now(&format!("skipped: advisories were NOT checked: {why}"));
        }
    }
}

fn workflows() -> Vec<(String, String)> {
    let files = std::fs::read_dir(root().join(".github/workflows")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn action_without_a_commit_is_refused() {
    let mut loose = Vec::new();
    for (path, text) in workflows() {
        for action in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            let commit = action.split_once('@').map_or("", |(_, after)| after.split(' ').next().unwrap_or_default());
            let pinned = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            // A workflow of the same commit.
            let own = action.starts_with("./.github/workflows/");
            if !own && (!pinned || !action.contains(" # v")) {
                loose.push(format!("{path}: {action}"));
            }
        }
    }
    assert!(loose.is_empty(), "{loose:#?}");
}

fn workflow(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join(".github/workflows").join(name)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn release_without_green_tests_and_advisories_is_not_published() {
    let release = workflow("release.yml");
    let jobs = release["jobs"].as_object().unwrap();
    for called in ["test", "advisories"] {
        assert_eq!(jobs[called]["uses"], format!("./.github/workflows/{called}.yml"));
        let triggers = &workflow(&format!("{called}.yml"))["on"];
        assert!(triggers.as_object().unwrap().contains_key("workflow_call"), "{triggers}");
    }
    for (name, job) in jobs.iter().filter(|(_, job)| job["uses"].is_null()) {
        let needs = job["needs"].as_array().unwrap_or_else(|| panic!("{name} needs nothing"));
        assert!(["test", "advisories"].iter().all(|called| needs.contains(&(*called).into())), "{name}: {needs:?}");
    }
}

#[test]
fn advisories_are_checked_without_a_change() {
    let schedule = &workflow("advisories.yml")["on"]["schedule"];
    assert!(schedule[0]["cron"].is_string(), "{schedule}");
}

#[test]
fn base_image_without_a_digest_is_refused() {
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let mut stages = vec!["scratch"];
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let (base, stage) = line.split_once(" AS ").unwrap_or((line, ""));
        let digest = base.split_once("@sha256:").map_or("", |(_, digest)| digest);
        assert!(stages.contains(&base) || digest.len() == 64, "{base}");
        stages.push(stage);
    }
    assert!(stages.len() > 2, "this test reads the stages");
}

#[test]
fn version_of_the_image_the_chart_and_the_package_are_the_same() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let label = format!("org.opencontainers.image.version=\"{version}\"");
    assert!(read("Dockerfile").contains(&label), "Dockerfile lacks {label}");
    let chart = read("charts/lync-mirror/Chart.yaml");
    for line in [format!("version: {version}"), format!("appVersion: {version}")] {
        assert!(chart.replace('"', "").lines().any(|found| found == line), "Chart.yaml lacks {line}");
    }
}

#[test]
fn crate_in_the_binary_without_a_license_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(root().join("deploy/licenses")).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates = std::fs::read_to_string(folder.path().join("crates")).unwrap();
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut names = Vec::new();
    for line in crates.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert!(lock.contains(&format!("name = \"{}\"\nversion = \"{}\"\n", fields[0], fields[1])), "{line}");
        assert!(!fields[2].is_empty() && !fields[3].is_empty(), "{line}");
        for sum in fields[3].split(' ') {
            let text = std::fs::read(folder.path().join("texts").join(sum)).unwrap();
            assert!(text.len() > 100, "{line}");
        }
        names.push(fields[0]);
    }
    for linked in ["hickory-resolver", "kube", "libgssapi", "openssl", "tiberius", "tokio"] {
        assert!(names.contains(&linked), "{linked} is not listed");
    }
    assert!(!names.contains(&"expect-test"), "code of tests is not in the binary");
}
