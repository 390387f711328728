//! The dashboard of the chart: every query, evaluated by promtool over a scrape of the operator, has a result.

use std::process::Command;

use super::{CHART, documents};
use crate::support::{Cluster, Operator, TestPool, cannot, root, skip, types};
use crate::tls::fetch;
use serde_json::{Value, json};

/// The dashboard in the ConfigMap that the chart renders.
fn dashboard() -> Value {
    let rendered = Cluster::get().helm(&["template", "x", CHART, "-n", "ops", "--set", "dashboard.enabled=true"]);
    let all = documents(&rendered);
    let map = all.iter().find(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1").unwrap();
    serde_json::from_str(map["data"]["lync-mirror.json"].as_str().unwrap()).unwrap()
}

/// Each query with its panel, and with what Grafana fills in.
fn queries() -> Vec<(String, String)> {
    let fill = |query: &str| {
        let filled = query.replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$pool", ".*");
        assert!(!filled.contains('$'), "{filled}");
        filled
    };
    let all = dashboard();
    let panels = all["panels"].as_array().unwrap().iter();
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
    };
    panels.flat_map(of_panel).map(|(title, query)| (title, fill(&query))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_over_a_scrape_of_the_operator_has_a_result() {
    let found = Command::new(root().join("tests/e2e/chart/promtool")).output().unwrap();
    if let Some(why) = cannot(&found) {
        skip("dashboard", &why);
        return;
    }
    let promtool = String::from_utf8(found.stdout).unwrap();
    let fixture = TestPool::start("dashboard", true).await;
    let operator = Operator::start(fixture.cluster, "dashboard", "1s");
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");

    let page = fetch(&operator.address(), "/metrics");
    let series = page.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        json!({"series": series, "values": format!("{value}x20")})
    });
    let queries = queries();
    assert!(queries.len() > 20, "{}", queries.len());
    let expected = queries.iter().map(|(_, query)| {
        let has_result = format!("clamp_max(count({query}), 1)");
        json!({"expr": has_result, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": 1}]})
    });
    let test = json!({
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": series.collect::<Vec<_>>(),
            "promql_expr_test": expected.collect::<Vec<_>>(),
        }],
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dashboard.yaml"), test.to_string()).unwrap();
    let mut command = Command::new(promtool.trim());
    let output = command.args(["test", "rules", "dashboard.yaml"]).current_dir(folder.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
