//! Resources that cannot be used say so in their status, and stand in nobody's way.

use crate::support::{Operator, Stage, condition, types, until};
use serde_json::{Value, json};

fn message(status: &Value) -> String {
    condition(status, "Ready").unwrap()["message"].as_str().unwrap().to_owned()
}

/// Another pool of the same servers: its databases are nobody else's.
fn other(stage: &Stage, name: &str) -> Value {
    let mut pool = stage.pool(name, json!([{"type": "Archiving", "principal": "Primary"}]));
    pool["spec"]["poolFqdn"] = json!(format!("{name}.example.com"));
    pool
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_resource_stands_in_nobodys_way() {
    let stage = Stage::set("unusable", true).await;
    let mut windows = other(&stage, "windows");
    windows["spec"]["policy"] = json!({
        "unrequestedSwitch": "FailBack",
        "maintenanceWindows": [{"schedule": "0 3 * * Someday", "duration": "2h", "timeZone": "Europe/Paris"}],
    });
    stage.cluster.apply(&windows);
    let mut parked = other(&stage, "parked");
    parked["spec"]["suspend"] = json!({"reason": "parked for ever", "until": "9999-12-31T23:59:59Z"});
    stage.cluster.apply(&parked);
    stage.cluster.apply(&stage.pool("pool01", types("Primary", "Primary")));
    let _operator = Operator::start(stage.cluster, "unusable", "1s");

    stage.until_ready("pool01", "True", "Aligned");
    let status = stage.until_ready("windows", "False", "InvalidSpec");
    let said = message(&status);
    assert!(said.contains("maintenanceWindows[0]") && said.contains("Someday"), "{said}");
    assert_eq!(condition(&status, "Stalled").unwrap()["status"], "True");
    let status = stage.until_ready("parked", "False", "DatabaseMissing");
    assert_eq!(condition(&status, "Suspended").unwrap()["status"], "True");

    stage.cluster.apply(&stage.pool("pool01", types("Mirror", "Primary")));
    until("it has moved", || match stage.failovers().len() {
        3 => Ok(()),
        count => Err(format!("{count} failovers; {}", stage.status("pool01")?)),
    });
    stage.until_ready("pool01", "True", "Aligned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_may_not_be_read_is_told_and_stops_its_own_resource_alone() {
    let stage = Stage::set("forbidden", true).await;
    // The chart's rule for Secrets and ConfigMaps, narrowed to these names.
    let allow = |names: Value| {
        let role = ["role", "lync-mirror-forbidden", "-n", "forbidden"];
        let rules = stage.cluster.get_json(&role).unwrap()["rules"].as_array().unwrap().clone();
        let at = rules.iter().position(|rule| rule["resources"].to_string().contains("secrets")).unwrap();
        let patch = json!([{"op": "add", "path": format!("/rules/{at}/resourceNames"), "value": names}]).to_string();
        stage.cluster.kubectl(&[["patch"].as_slice(), &role, &["--type=json", "-p", &patch]].concat());
    };
    let mut locked = other(&stage, "locked");
    locked["spec"]["sql"]["auth"]["secretRef"]["name"] = json!("elsewhere");
    let pool = |user: &str| stage.pool("pool01", types(user, "Primary"));
    allow(json!(["sql", "sql-ca"]));
    stage.cluster.apply(&locked);
    stage.cluster.apply(&pool("Primary"));
    let _operator = Operator::start(stage.cluster, "forbidden", "1s");

    let said = message(&stage.until_ready("locked", "False", "CredentialsForbidden"));
    assert!(said.contains("Secret") && said.contains("elsewhere") && said.contains("get"), "{said}");
    stage.until_ready("pool01", "True", "Aligned");
    stage.cluster.apply(&pool("Mirror"));
    stage.until_ready("pool01", "True", "Aligned");
    assert_eq!(stage.failovers().len(), 3);

    // Allowed again, it is noticed without a restart.
    allow(json!(["sql", "sql-ca", "elsewhere"]));
    stage.until_ready("locked", "False", "SecretNotFound");
}
