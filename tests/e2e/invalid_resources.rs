//! Invalid resources report the cause in their status and block no other resource.

use crate::support::{Operator, TestPool, condition, types, until};
use crate::tls::fetch;
use serde_json::{Value, json};

fn problem(status: &Value) -> String {
    status["specProblems"][0].as_str().unwrap().to_owned()
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
    // The databases of an unusable spec stay claimed, so that the two must not name the same ones.
    parked["spec"]["databaseTypes"][0]["databases"] = json!(["LcsLog2"]);
    parked["spec"]["suspend"] = json!({"reason": "parked for ever", "until": "9999-12-31T23:59:59Z"});
    fixture.cluster.apply(&parked);
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let _operator = Operator::start(fixture.cluster, "unusable", "1s");

    fixture.until_ready("pool01", "True", "Aligned");
    let status = fixture.until_ready("windows", "False", "InvalidSpec");
    let text = problem(&status);
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

/// The API server knows the syntax of a time zone, not the names, and the order of a range. Older CRDs accepted hour 25.
#[tokio::test(flavor = "multi_thread")]
async fn resource_with_a_spec_problem_and_a_lost_principal_shows_the_servers_as_they_are() {
    let fixture = TestPool::start("half-usable", true).await;
    let operator = Operator::start(fixture.cluster, "half-usable", "1s");
    let mut pool = fixture.pool("pool01", types("Primary", "Primary"));
    fixture.cluster.apply(&pool);
    fixture.until_ready("pool01", "True", "Aligned");

    pool["spec"]["policy"] = json!({
        "unrequestedSwitch": "FailBack", "failBackAfter": "0s", "cooldown": "0s", "settleAfter": "0s",
        "maintenanceWindows": [{"schedule": "0 5-3 * * SAT", "duration": "2h", "timeZone": "Europe/Paris"}],
    });
    fixture.cluster.apply(&pool);
    let text = problem(&fixture.until_ready("pool01", "False", "InvalidSpec"));
    assert!(text.starts_with("spec.policy.maintenanceWindows[0].schedule \"0 5-3 * * SAT\": "), "{text}");
    assert!(text.contains("To fix: "), "{text}");
    let status = fixture.status("pool01").unwrap();
    let ready = condition(&status, "Ready").unwrap()["message"].as_str().unwrap();
    assert!(ready.starts_with("Protected. spec.policy.maintenanceWindows[0].schedule"), "{ready}");

    fixture.command(json!({"do": "kill", "server": "a"}));
    let status = until("the status shows the dead server and the new principal", || {
        let status = fixture.status("pool01")?;
        let reachable = |index: usize| status["servers"][index]["reachable"] == true;
        let there = status["principals"] == "User=Mirror! CentralMgmt=Mirror!" && !reachable(0) && reachable(1);
        if there { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(condition(&status, "Ready").unwrap()["reason"], "InvalidSpec");
    assert_eq!(condition(&status, "Stalled").unwrap()["status"], "True");
    let page = fetch(&operator.address(), "/metrics");
    for line in [
        "lync_mirror_ready{namespace=\"half-usable\",name=\"pool01\"} 0",
        "lync_mirror_stalled{namespace=\"half-usable\",name=\"pool01\"} 1",
        "lync_mirror_reason{namespace=\"half-usable\",name=\"pool01\",reason=\"InvalidSpec\"} 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in {page}");
    }
    let events = fixture.cluster.get_json(&["events.events.k8s.io", "-n", "half-usable"]).unwrap();
    let all = events["items"].as_array().unwrap().iter();
    let invalid: Vec<&Value> = all.filter(|event| event["reason"] == "InvalidSpec").collect();
    assert!(invalid.len() == 1 && invalid[0]["type"] == "Warning", "{invalid:?}");

    // Both servers are back, but the problem still holds the fail-back. The corrected spec releases it.
    fixture.command(json!({"do": "start", "server": "a"}));
    until("both servers are reachable", || {
        let status = fixture.status("pool01")?;
        let of_type = &status["databaseTypes"][0];
        if of_type["reason"] == "InvalidSpec" { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(fixture.failovers().len(), 5, "only the witness moved the principals");
    pool["spec"]["policy"]["maintenanceWindows"] = json!([]);
    fixture.cluster.apply(&pool);
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(status["principals"], "User=Primary CentralMgmt=Primary");
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

    let status = fixture.until_ready("locked", "False", "CredentialsForbidden");
    let text = status["databaseTypes"][0]["message"].as_str().unwrap();
    assert!(text.contains("Secret") && text.contains("elsewhere") && text.contains("get"), "{text}");
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.cluster.apply(&pool("Mirror"));
    fixture.until_ready("pool01", "True", "Aligned");
    assert_eq!(fixture.failovers().len(), 3);

    // Allowed again, it is noticed without a restart.
    allow(json!(["sql", "sql-ca", "elsewhere"]));
    fixture.until_ready("locked", "False", "SecretNotFound");
}

/// A spec that names the servers of a pool does not stop it: only an accepted login counts.
#[tokio::test(flavor = "multi_thread")]
async fn resource_without_an_accepted_login_stops_no_other_of_the_same_databases() {
    let fixture = TestPool::start("squatted", true).await;
    let mut squat = fixture.pool("squat", types("Mirror", "Mirror"));
    squat["spec"]["sql"]["auth"]["secretRef"]["name"] = json!("elsewhere");
    squat["spec"]["suspend"] = json!({"reason": "mine"});
    fixture.cluster.apply(&squat);
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    let _operator = Operator::start(fixture.cluster, "squatted", "1s");
    let status = fixture.until_ready("squat", "False", "SecretNotFound");
    assert!(!status.to_string().contains("pool01"), "{status}");
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert!(
        status["principals"] == "User=Mirror CentralMgmt=Primary" && !status.to_string().contains("squat"),
        "{status}"
    );

    // With the right Secret, it is a conflict.
    squat["spec"]["sql"]["auth"]["secretRef"]["name"] = json!("sql");
    fixture.cluster.apply(&squat);
    fixture.until_ready("squat", "False", "Conflict");
    fixture.until_ready("pool01", "False", "Conflict");
}
