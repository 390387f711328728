//! The alerts that the chart renders, in the unit tests of promtool, and their pages.

use std::process::Command;

use super::{CHART, documents};
use crate::support::{Cluster, cannot, root, skip};
use serde_json::{Value, json};

/// The groups of rules, rendered for the namespace ops.
fn groups() -> Value {
    let enabled = "prometheusRule.enabled=true";
    let rendered = Cluster::get().helm(&["template", "x", CHART, "-n", "ops", "--set", enabled]);
    let rule = documents(&rendered).into_iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    rule["spec"]["groups"].clone()
}

#[test]
fn alerts_fire_for_what_they_describe_and_for_nothing_else() {
    let found = Command::new(root().join("tests/e2e/chart/promtool")).output().unwrap();
    if let Some(why) = cannot(&found) {
        skip("alerts", &why);
        return;
    }
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let promtool = String::from_utf8(found.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), json!({"groups": groups()}).to_string()).unwrap();
    std::fs::copy(root().join("tests/e2e/chart/alerts.yaml"), folder.path().join("alerts.yaml")).unwrap();
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "alerts.yaml"]] {
        let output = Command::new(promtool.trim()).args(arguments).current_dir(folder.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn each_alert_has_a_severity_and_a_page_that_exists() {
    let all = groups();
    let rules: Vec<&Value> =
        all.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() >= 15, "{}", rules.len());
    let tests = std::fs::read_to_string(root().join("tests/e2e/chart/alerts.yaml")).unwrap();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        assert!(rule["annotations"]["summary"].is_string(), "{name}");
        assert!(tests.contains(name) || severity == "info", "{name} has no unit test");
        let page = rule["annotations"]["runbook_url"].as_str().unwrap();
        if page.contains("{{") {
            continue; // the page of the reason: each reason has one
        }
        let (file, section) = page.split_once('#').unwrap_or((page, ""));
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
        assert!(text.to_lowercase().contains(&format!("## {section}")) || section.is_empty(), "{name}: {page}");
    }
}
