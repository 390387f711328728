//! What a role switch leaves behind: found after a move on both servers, told with the way out, and gone once it is mended.

use crate::support::{Operator, Stage, condition, types, until};
use serde_json::{Value, json};

#[track_caller]
fn until_drift(stage: &Stage, status: &str, part: &str) -> Value {
    until(&format!("PostSwitchDrift is {status}: {part}"), || {
        let all = stage.status("pool01")?;
        let found = condition(&all, "PostSwitchDrift").ok_or("no PostSwitchDrift")?;
        let there = found["status"] == status && found["message"].as_str().is_some_and(|text| text.contains(part));
        if there { Ok(all.clone()) } else { Err(found.to_string()) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_switch_leaves_behind_is_told_until_it_is_mended() {
    let stage = Stage::set("drift", true).await;
    let operator = Operator::start(stage.cluster, "drift", "1s");
    let belongings = json!({
        "logins": {"backup": "07010203"}, "jobs": ["nightly"], "linkedServers": ["DW"], "trustworthy": ["rtcxds"],
        "owners": {"rtcab": "backup"},
    });
    stage.command(json!({"do": "setBelongings", "server": "a", "belongings": belongings}));
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert!(condition(&status, "PostSwitchDrift").is_none(), "nothing was switched yet: {status}");

    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    let status = until_drift(&stage, "True", "login backup is missing on the mirror");
    let all: Vec<&str> = status["postSwitchDifferences"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let starts = ["login backup", "Agent job nightly", "linked server DW", "rtcab: the owner", "rtcxds: TRUSTWORTHY"];
    assert_eq!(all.len(), starts.len(), "{all:?}");
    for start in starts {
        assert!(all.iter().any(|sentence| sentence.starts_with(start)), "{start}: {all:?}");
    }
    assert!(all[0].contains("SID = 0x07010203"), "{}", all[0]);
    assert_eq!(condition(&status, "PostSwitchDrift").unwrap()["reason"], "PostSwitchDrift");
    stage.until_ready("pool01", "True", "Aligned");
    until("an event tells it", || {
        let events = stage.cluster.get_json(&["events.events.k8s.io", "-n", "drift"])?;
        let mut all = events["items"].as_array().into_iter().flatten();
        all.find(|event| event["reason"] == "PostSwitchDrift").cloned().ok_or_else(|| events.to_string())
    });

    // The next leader asks again what was not settled; then everything has been mended.
    operator.stop();
    stage.command(json!({"do": "setBelongings", "server": "b", "belongings": belongings}));
    let _operator = Operator::start(stage.cluster, "drift", "1s");
    let status = until_drift(&stage, "False", "agree on both partners");
    assert!(status["postSwitchDifferences"].is_null());

    // A comparison that fails is told, and stops nothing.
    stage.command(json!({"do": "setBelongings", "server": "b", "belongings": {"jobsForbidden": true}}));
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    let status = until_drift(&stage, "Unknown", "229");
    assert_eq!(condition(&status, "PostSwitchDrift").unwrap()["reason"], "QueryFailed");
    stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(stage.failovers().len(), 6);
    assert_eq!(stage.sim.failures(), Vec::<String>::new());
}
