//! The policies on real parts: a fail-back by itself, and a forced service by consent, end to end.

use crate::support::{Operator, Stage, condition, types, until};
use serde_json::{Value, json};

fn of_type<'a>(status: &'a Value, ty: &str) -> &'a Value {
    status["databaseTypes"].as_array().unwrap().iter().find(|of| of["type"] == ty).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fail_back_brings_the_principals_home() {
    let stage = Stage::set("failback", true).await;
    let _operator = Operator::start(stage.cluster, "failback", "1s");
    let mut pool = stage.pool("pool01", types("Primary", "Primary"));
    pool["spec"]["policy"] = json!({
        "unrequestedSwitch": "FailBack", "failBackAfter": "2s", "cooldown": "0s",
        "maintenanceWindows": [{"schedule": "* * * * *", "duration": "2m", "timeZone": "Europe/Paris"}],
    });
    stage.cluster.apply(&pool);
    stage.until_ready("pool01", "True", "Aligned");
    stage.command(json!({"do": "kill", "server": "a"}));
    until("the witness moved everything", || {
        let failovers = stage.failovers();
        if failovers.len() == 5 { Ok(()) } else { Err(format!("{failovers:?}")) }
    });
    stage.command(json!({"do": "start", "server": "a"}));
    stage.until_ready("pool01", "False", "FailBackPending");
    let status = stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");
    assert_eq!(stage.failovers().len(), 10, "{:?}", stage.failovers());
    let causes: Vec<&Value> = status["history"].as_array().unwrap().iter().map(|entry| &entry["cause"]).collect();
    assert_eq!(causes, [&json!("FailBack"), &json!("FailBack")]);
    assert_eq!(of_type(&status, "User")["track"]["switches"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn service_is_forced_once_by_consent_and_nothing_is_resumed() {
    let stage = Stage::set("forced", false).await;
    let _operator = Operator::start(stage.cluster, "forced", "1s");
    let user = |principal: &str, force: Value| {
        let mut item = json!({"type": "User", "principal": principal});
        if !force.is_null() {
            item["forceService"] = force;
        }
        stage.cluster.apply(&stage.pool("pool01", json!([item])));
    };
    user("Primary", Value::Null);
    stage.until_ready("pool01", "True", "Aligned");
    stage.command(json!({"do": "kill", "server": "a"}));
    let status = stage.until_ready("pool01", "False", "PrincipalLost");
    assert_eq!(status["plan"], Value::Null, "the spec still wants the lost seat: nothing is planned");

    user("Mirror", Value::Null);
    let planned = |status: &Value| status["plan"][0]["statement"].as_str().map(str::to_owned);
    until("the plan shows what a consent would do", || {
        let status = stage.status("pool01")?;
        match planned(&status) {
            Some(text) if text == "ALTER DATABASE [rtcxds] SET PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let epoch = of_type(&stage.status("pool01").unwrap(), "User")["epoch"].as_str().unwrap().to_owned();
    user("Mirror", json!({"epoch": "1-dead", "acceptDataLoss": true, "until": "2100-01-01T00:00:00Z"}));
    let status = stage.until_ready("pool01", "False", "PrincipalLost");
    let message = condition(&status, "Ready").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("it does nothing"), "{message}");
    assert_eq!(stage.failovers(), Vec::<String>::new());

    user("Mirror", json!({"epoch": epoch, "acceptDataLoss": true, "until": "2100-01-01T00:00:00Z"}));
    let status = stage.until_ready("pool01", "False", "ServiceForced");
    assert_eq!(stage.failovers().len(), 3, "{:?}", stage.failovers());
    assert_eq!(status["history"][0]["cause"], "ForcedService");
    assert_eq!(status["principals"], "User=Mirror");

    stage.command(json!({"do": "start", "server": "a"}));
    until("both servers show the suspended session", || {
        let status = stage.status("pool01")?;
        let message = condition(&status, "Ready").ok_or("no Ready")?["message"].to_string();
        if message.contains("Decide which data to keep") { Ok(()) } else { Err(message) }
    });
    assert_eq!(stage.failovers().len(), 3, "{:?}", stage.failovers());
    stage.command(json!({"do": "resume", "pair": "pool01"}));
    stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(stage.sim.failures(), Vec::<String>::new());
}
