//! Differences of metadata after a role switch: found on both servers, reported with the remedy, and gone after the repair.

use crate::support::{Operator, TestPool, condition, types, until};
use serde_json::{Value, json};

#[track_caller]
fn until_drift(fixture: &TestPool, status: &str, part: &str) -> Value {
    until(&format!("PostSwitchDrift is {status}: {part}"), || {
        let all = fixture.status("pool01")?;
        let found = condition(&all, "PostSwitchDrift").ok_or("no PostSwitchDrift")?;
        let text = if status == "True" { &all["postSwitchDifferences"] } else { &found["message"] };
        let there = found["status"] == status && text.to_string().contains(part);
        if there { Ok(all.clone()) } else { Err(found.to_string()) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_drift_after_a_move_is_reported_until_repaired() {
    let fixture = TestPool::start("drift", true).await;
    let operator = Operator::start(fixture.cluster, "drift", "1s");
    let inventory = json!({
        "logins": {"backup": "07010203"}, "jobs": ["nightly"], "linkedServers": ["DW"], "trustworthy": ["rtcxds"],
        "owners": {"rtcab": "backup"},
    });
    fixture.command(json!({"do": "setInventory", "server": "a", "inventory": inventory}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert!(condition(&status, "PostSwitchDrift").is_none(), "nothing was switched yet: {status}");

    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    let status = until_drift(&fixture, "True", "Login backup is missing on the mirror");
    let all: Vec<&str> = status["postSwitchDifferences"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let starts = [
        "Risk: Login backup",
        "Risk: Agent job nightly",
        "Risk: Linked server DW",
        "Risk: The copy of rtcab on the primary is owned by backup",
        "Note: TRUSTWORTHY of rtcxds",
    ];
    assert_eq!(all.len(), starts.len(), "{all:?}");
    for start in starts {
        assert!(all.iter().any(|sentence| sentence.starts_with(start)), "{start}: {all:?}");
    }
    assert!(all[0].contains("WITH PASSWORD = <hash> HASHED, SID = 0x07010203"), "{}", all[0]);
    let text = condition(&status, "PostSwitchDrift").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(text.ends_with("Passwords and permissions are not compared."), "{text}");
    assert_eq!(condition(&status, "PostSwitchDrift").unwrap()["reason"], "PostSwitchDrift");
    fixture.until_ready("pool01", "True", "Aligned");
    until("an event reports it", || {
        let events = fixture.cluster.get_json(&["events.events.k8s.io", "-n", "drift"])?;
        let mut all = events["items"].as_array().into_iter().flatten();
        all.find(|event| event["reason"] == "PostSwitchDrift").cloned().ok_or_else(|| events.to_string())
    });

    // The next leader repeats an unfinished check; then everything is repaired.
    operator.stop();
    fixture.command(json!({"do": "setInventory", "server": "b", "inventory": inventory}));
    let _operator = Operator::start(fixture.cluster, "drift", "1s");
    let status = until_drift(&fixture, "False", "agree on both partners");
    assert!(status["postSwitchDifferences"].is_null());

    // A check that fails is reported and stops nothing.
    fixture.command(json!({"do": "setInventory", "server": "b", "inventory": {"jobsForbidden": true}}));
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let status = until_drift(&fixture, "Unknown", "229");
    assert_eq!(condition(&status, "PostSwitchDrift").unwrap()["reason"], "QueryFailed");
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 6);
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());
}
