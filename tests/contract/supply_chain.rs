//! cargo-deny judges every crate of Cargo.lock by deny.toml, and every action of the workflows is named by its commit.

use std::process::Command;

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

/// A machine without a way to the database is no failure, in CI neither: the crates are the same as with it.
#[test]
fn crate_with_a_known_vulnerability_is_refused_where_the_database_can_be_reached() {
    match deny("advisories") {
        Ok(answer) => assert_eq!(answer, "advisories ok"),
        Err(why) => print_now(&format!("skipped: advisories: {why}")),
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
            if !pinned || !action.contains(" # v") {
                loose.push(format!("{path}: {action}"));
            }
        }
    }
    assert!(loose.is_empty(), "{loose:#?}");
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
