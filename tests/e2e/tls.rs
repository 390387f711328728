//! The TLS policies of a resource, end to end: a wrong pin is reported with the right one, and Legacy is visible in the status.

use crate::support::{Operator, TestPool, condition, types, until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn pin_that_is_wrong_is_corrected_from_the_status() {
    let fixture = TestPool::start("pins", true).await;
    let operator = Operator::start(fixture.cluster, "pins", "1s");
    let mut pins = vec!["00".repeat(32)];
    let pool = |tls: Value| {
        let mut pool = fixture.pool("pool01", types("Primary", "Primary"));
        pool["spec"]["sql"]["tls"] = tls;
        pool
    };
    fixture.cluster.apply(&pool(json!({"mode": "Pin", "pins": pins})));
    fixture.until_ready("pool01", "False", "TlsFailed");
    // The status shows the fingerprint of every rejected server.
    let shown = until("all fingerprints are shown", || {
        let status = fixture.status("pool01")?;
        let servers = status["servers"].as_array().cloned().unwrap_or_default();
        let words = servers.iter().filter_map(|server| server["message"].as_str());
        let found: Vec<String> = words
            .filter_map(|words| words.split_once("fingerprint ")?.1.split_once(", which")?.0.to_owned().into())
            .collect();
        if found.len() == 3 { Ok(found) } else { Err(status["servers"].to_string()) }
    });
    pins.extend(shown);
    fixture.cluster.apply(&pool(json!({"mode": "Pin", "pins": pins})));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert!(condition(&status, "WeakEncryption").is_none());

    fixture.cluster.apply(&pool(json!({"mode": "Legacy"})));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    let weak = condition(&status, "WeakEncryption").unwrap();
    assert_eq!((&weak["status"], &weak["reason"]), (&json!("True"), &json!("LegacyTls")));
    let page = fetch(&operator.address(), "/metrics");
    assert!(page.contains("lync_mirror_weak_encryption{namespace=\"pins\",name=\"pool01\"} 1"), "{page}");

    fixture.cluster.apply(&pool(json!({"mode": "TrustServerCertificate"})));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert!(condition(&status, "WeakEncryption").is_none(), "{status}");
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());
}

pub fn fetch(address: &str, path: &str) -> String {
    let output =
        std::process::Command::new("curl").args(["-sS", "--noproxy", "*", &format!("http://{address}{path}")]).output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}
