//! The policies end to end: an automatic fail-back, and a forced service by consent.

use crate::support::{Operator, TestPool, types, until};
use serde_json::{Value, json};

fn of_type<'a>(status: &'a Value, ty: &str) -> &'a Value {
    status["databaseTypes"].as_array().unwrap().iter().find(|of| of["type"] == ty).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fail_back_after_a_switch_returns_the_principals() {
    let fixture = TestPool::start("failback", true).await;
    let _operator = Operator::start(fixture.cluster, "failback", "1s");
    let mut pool = fixture.pool("pool01", types("Primary", "Primary"));
    pool["spec"]["policy"] = json!({
        "unrequestedSwitch": "FailBack", "failBackAfter": "2s", "cooldown": "0s", "settleAfter": "0s",
        "maintenanceWindows": [{"schedule": "* * * * *", "duration": "2m", "timeZone": "Europe/Paris"}],
    });
    fixture.cluster.apply(&pool);
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.command(json!({"do": "kill", "server": "a"}));
    until("the witness moved everything", || {
        let failovers = fixture.failovers();
        if failovers.len() == 5 { Ok(()) } else { Err(format!("{failovers:?}")) }
    });
    fixture.command(json!({"do": "start", "server": "a"}));
    fixture.until_ready("pool01", "False", "FailBackPending");
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");
    assert_eq!(fixture.failovers().len(), 10, "{:?}", fixture.failovers());
    let causes: Vec<&Value> = status["history"].as_array().unwrap().iter().map(|entry| &entry["cause"]).collect();
    assert_eq!(causes, [&json!("FailBack"), &json!("FailBack")]);
    assert_eq!(of_type(&status, "User")["tracking"]["unrequestedSwitches"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_service_with_consent_runs_once_and_resumes_nothing() {
    let fixture = TestPool::start("forced", false).await;
    let _operator = Operator::start(fixture.cluster, "forced", "1s");
    let user = |principal: &str, force: Value| {
        let mut item = json!({"type": "User", "principal": principal});
        if !force.is_null() {
            item["forceService"] = force;
        }
        fixture.cluster.apply(&fixture.pool("pool01", json!([item])));
    };
    user("Primary", Value::Null);
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.command(json!({"do": "kill", "server": "a"}));
    let status = fixture.until_ready("pool01", "False", "PrincipalLost");
    assert_eq!(of_type(&status, "User")["service"], "Unknown", "the servers do not prove that no client is served");
    let planned = |status: &Value| status["plan"][0]["statement"].as_str().map(str::to_owned);
    until("the plan shows what a consent would do", || {
        let status = fixture.status("pool01")?;
        match planned(&status) {
            Some(text) if text == "ALTER DATABASE [rtcxds] SET PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let epoch = of_type(&fixture.status("pool01").unwrap(), "User")["epoch"].as_str().unwrap().to_owned();
    user(
        "Primary",
        json!({"epoch": "1-dead", "acceptDataLoss": true, "oldPrincipalFenced": true, "until": "2100-01-01T00:00:00Z"}),
    );
    let status = fixture.until_ready("pool01", "False", "PrincipalLost");
    let message = of_type(&status, "User")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("does not apply"), "{message}");
    assert_eq!(fixture.failovers(), Vec::<String>::new());

    user(
        "Primary",
        json!({"epoch": epoch, "acceptDataLoss": true, "oldPrincipalFenced": true, "until": "2100-01-01T00:00:00Z"}),
    );
    let status = fixture.until_ready("pool01", "False", "ServiceForced");
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
    assert_eq!(status["history"][0]["cause"], "ForcedService");
    assert_eq!(status["principals"], "User=Mirror!");

    fixture.command(json!({"do": "start", "server": "a"}));
    until("both servers show the suspended session", || {
        let status = fixture.status("pool01")?;
        let message = of_type(&status, "User")["message"].to_string();
        if message.contains("RESUME destroys it") { Ok(()) } else { Err(message) }
    });
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
    fixture.command(json!({"do": "resume", "pair": "pool01"}));
    fixture.until_ready("pool01", "False", "UnexpectedPrincipal");
    user("Mirror", Value::Null);
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());
}
