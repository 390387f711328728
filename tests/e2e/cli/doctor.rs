//! `doctor`: every fault at once, and none.

use super::{aligned, verb};
use crate::support::Operator;
use serde_json::{Value, json};

/// The result of each area.
fn results(out: &str) -> Vec<(String, String)> {
    let checks: Value = serde_json::from_str(out).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    checks.as_array().unwrap().iter().map(|check| (text(&check["area"]), text(&check["result"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_every_fault_at_once() {
    let (fixture, operator): (_, Operator) = aligned("cli-doctor").await;
    let lease = ["--operator-namespace", "cli-doctor", "--lease-name", "lync-mirror-cli-doctor"];
    let doctor = || verb(&fixture, &[&["doctor", "pool01"][..], &lease].concat());
    let healthy = doctor().expect(0);
    assert!(healthy.out.contains("0 to fix, 0 not known."), "{healthy:?}");
    assert!(healthy.out.contains("SQL-A\\RTC"), "{healthy:?}");

    // A stopped operator, a server that is down, and a database that another session holds back.
    assert_eq!(operator.stop(), Some(0));
    fixture.command(json!({"do": "kill", "server": "w"}));
    fixture.command(json!({"do": "suspend", "pair": "pool01", "database": "rtcab"}));
    let faults = doctor().expect(2);
    for words in ["It has not renewed its lease", "Witness", "QuorumAtRisk", "rtcab"] {
        assert!(faults.out.contains(words), "{words}: {faults:?}");
    }

    // The Secret and the ConfigMap at once.
    fixture.cluster.kubectl(&["delete", "secret", "sql", "-n", "cli-doctor"]);
    fixture.cluster.kubectl(&["delete", "configmap", "sql-ca", "-n", "cli-doctor"]);
    let unread = verb(&fixture, &[&["doctor", "pool01", "--json"][..], &lease].concat()).expect(4);
    let found = results(&unread.out);
    for area in ["operator", "login", "tls"] {
        assert!(found.contains(&(area.to_owned(), "fail".to_owned())), "{area}: {found:?}");
    }
    assert!(found.contains(&("Primary".to_owned(), "notKnown".to_owned())), "{found:?}");
}
