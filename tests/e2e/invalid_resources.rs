//! Invalid resources report the cause in their status and block no other resource.

use crate::support::{Operator, TestPool, condition, types, until};
use serde_json::{Value, json};

fn message(status: &Value) -> String {
    condition(status, "Ready").unwrap()["message"].as_str().unwrap().to_owned()
}

/// Another pool of the same servers, with databases of its own.
fn other(fixture: &TestPool, name: &str) -> Value {
    let mut pool = fixture.pool(name, json!([{"type": "Archiving", "principal": "Primary"}]));
    pool["spec"]["poolFqdn"] = json!(format!("{name}.example.com"));
    pool
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_resource_among_others_blocks_none_of_them() {
    let fixture = TestPool::start("unusable", true).await;
    let mut windows = other(&fixture, "windows");
    windows["spec"]["policy"] = json!({
        "unrequestedSwitch": "FailBack",
        // The API server knows the syntax of a time zone, not the names.
        "maintenanceWindows": [{"schedule": "0 3 * * SAT", "duration": "2h", "timeZone": "Europe/Pariss"}],
    });
    fixture.cluster.apply(&windows);
    let mut parked = other(&fixture, "parked");
    parked["spec"]["suspend"] = json!({"reason": "parked for ever", "until": "9999-12-31T23:59:59Z"});
    fixture.cluster.apply(&parked);
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let _operator = Operator::start(fixture.cluster, "unusable", "1s");

    fixture.until_ready("pool01", "True", "Aligned");
    let status = fixture.until_ready("windows", "False", "InvalidSpec");
    let text = message(&status);
    assert!(text.contains("maintenanceWindows[0].timeZone") && text.contains("Europe/Pariss"), "{text}");
    assert_eq!(condition(&status, "Stalled").unwrap()["status"], "True");
    let status = fixture.until_ready("parked", "False", "DatabaseMissing");
    assert_eq!(condition(&status, "Suspended").unwrap()["status"], "True");

    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    until("it has moved", || match fixture.failovers().len() {
        3 => Ok(()),
        count => Err(format!("{count} failovers; {}", fixture.status("pool01")?)),
    });
    fixture.until_ready("pool01", "True", "Aligned");
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_without_read_permission_stops_only_its_resource() {
    let fixture = TestPool::start("forbidden", true).await;
    // The chart's rule for Secrets and ConfigMaps, narrowed to these names.
    let allow = |names: Value| {
        let role = ["role", "lync-mirror-forbidden", "-n", "forbidden"];
        let rules = fixture.cluster.get_json(&role).unwrap()["rules"].as_array().unwrap().clone();
        let at = rules.iter().position(|rule| rule["resources"].to_string().contains("secrets")).unwrap();
        let patch = json!([{"op": "add", "path": format!("/rules/{at}/resourceNames"), "value": names}]).to_string();
        fixture.cluster.kubectl(&[["patch"].as_slice(), &role, &["--type=json", "-p", &patch]].concat());
    };
    let mut locked = other(&fixture, "locked");
    locked["spec"]["sql"]["auth"]["secretRef"]["name"] = json!("elsewhere");
    let pool = |user: &str| fixture.pool("pool01", types(user, "Primary"));
    allow(json!(["sql", "sql-ca"]));
    fixture.cluster.apply(&locked);
    fixture.cluster.apply(&pool("Primary"));
    let _operator = Operator::start(fixture.cluster, "forbidden", "1s");

    let text = message(&fixture.until_ready("locked", "False", "CredentialsForbidden"));
    assert!(text.contains("Secret") && text.contains("elsewhere") && text.contains("get"), "{text}");
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.cluster.apply(&pool("Mirror"));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 3);

    // Allowed again, it is noticed without a restart.
    allow(json!(["sql", "sql-ca", "elsewhere"]));
    fixture.until_ready("locked", "False", "SecretNotFound");
}
