//! The TLS policies of a resource, end to end: a pin that is wrong is answered with the right one, and Legacy is seen by everybody.

use crate::support::{Operator, Stage, condition, types, until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_corrected_by_what_the_status_says() {
    let stage = Stage::set("pins", true).await;
    let operator = Operator::start(stage.cluster, "pins", "1s");
    let mut pins = vec!["00".repeat(32)];
    let pool = |tls: Value| {
        let mut pool = stage.pool("pool01", types("Primary", "Primary"));
        pool["spec"]["sql"]["tls"] = tls;
        pool
    };
    stage.cluster.apply(&pool(json!({"mode": "Pin", "pins": pins})));
    stage.until_ready("pool01", "False", "TlsFailed");
    // Every server that is refused shows its own fingerprint.
    let shown = until("all fingerprints are shown", || {
        let status = stage.status("pool01")?;
        let servers = status["servers"].as_array().cloned().unwrap_or_default();
        let words = servers.iter().filter_map(|server| server["message"].as_str());
        let found: Vec<String> = words
            .filter_map(|words| words.split_once("fingerprint ")?.1.split_once(", which")?.0.to_owned().into())
            .collect();
        if found.len() == 3 { Ok(found) } else { Err(status["servers"].to_string()) }
    });
    pins.extend(shown);
    stage.cluster.apply(&pool(json!({"mode": "Pin", "pins": pins})));
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert!(condition(&status, "WeakEncryption").is_none());

    stage.cluster.apply(&pool(json!({"mode": "Legacy"})));
    let status = stage.until_ready("pool01", "True", "Aligned");
    let weak = condition(&status, "WeakEncryption").unwrap();
    assert_eq!((&weak["status"], &weak["reason"]), (&json!("True"), &json!("LegacyTls")));
    let page = fetch(&operator.address(), "/metrics");
    assert!(page.contains("lync_mirror_weak_encryption{namespace=\"pins\",name=\"pool01\"} 1"), "{page}");

    stage.cluster.apply(&pool(json!({"mode": "TrustServerCertificate"})));
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert!(condition(&status, "WeakEncryption").is_none(), "{status}");
    assert_eq!(stage.sim.failures(), Vec::<String>::new());
}

fn fetch(address: &str, path: &str) -> String {
    let output =
        std::process::Command::new("curl").args(["-sS", "--noproxy", "*", &format!("http://{address}{path}")]).output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}
