//! `plan -f`: what it shows is what the operator then does.

use super::{Ran, aligned, generation, verb};
use crate::support::{TestPool, types};
use serde_json::{Value, json};

pub(super) fn plan(fixture: &TestPool, manifest: &Value) -> Ran {
    let path = fixture.cluster.dir.join(format!("{}-plan.yaml", fixture.namespace));
    std::fs::write(&path, manifest.to_string()).unwrap();
    verb(fixture, &["plan", "-f", path.to_str().unwrap()])
}

/// `SERVER statement` for each statement of the plan, sorted.
fn statements(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.contains("ALTER DATABASE") && !line.contains("waits:"));
    let mut all: Vec<String> =
        lines.map(|line| line.split("  (").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_of_an_edit_equals_what_the_operator_then_does() {
    let (fixture, _operator) = aligned("cli-plan").await;
    let before = generation(&fixture);
    let manifest = |types: Value| {
        let mut pool = fixture.pool("pool01", types);
        pool["spec"]["poolFqdn"] = json!("cli-plan.contoso.com");
        pool
    };
    let same = plan(&fixture, &manifest(types("Primary", "Primary"))).expect(0);
    assert!(same.out.contains("0 fields differ. Nothing is changed."), "{same:?}");
    let live = verb(&fixture, &["plan", "pool01"]).expect(0);
    assert!(live.out.contains("No statement comes next."), "{live:?}");

    let mut exchanged = manifest(types("Primary", "Primary"));
    let sql = exchanged["spec"]["sql"].clone();
    (exchanged["spec"]["sql"]["primary"], exchanged["spec"]["sql"]["mirror"]) =
        (sql["mirror"].clone(), sql["primary"].clone());
    let swapped = plan(&fixture, &exchanged).expect(2);
    assert!(swapped.out.contains("User: would not move (SeatsExchanged)."), "{swapped:?}");

    let mut wrong = manifest(types("Mirror", "Primary"));
    wrong["spec"]["policy"]["unrequestedSwitch"] = json!("FailBack");
    wrong["spec"]["policy"]["maintenanceWindows"] = json!([{"schedule": "0 25 * * SAT", "duration": "4h"}]);
    let refused = plan(&fixture, &wrong).expect(2);
    assert!(refused.err.contains("The API server refused the change."), "{refused:?}");
    assert!(refused.err.contains("hour"), "{refused:?}");

    let shorter = plan(&fixture, &manifest(json!([{"type": "User", "principal": "Primary"}]))).expect(0);
    assert!(shorter.out.contains("CentralMgmt: the operator would no longer watch xds, lis."), "{shorter:?}");

    let edited = manifest(types("Mirror", "Primary"));
    let planned = plan(&fixture, &edited).expect(1);
    assert!(planned.out.contains("~ databaseTypes[User].principal  Primary -> Mirror"), "{planned:?}");
    assert!(planned.out.contains("CentralMgmt: would not move (Aligned)."), "{planned:?}");
    assert_eq!((generation(&fixture), fixture.failovers().len()), (before, 0), "nothing was changed");

    let from = fixture.sim.journal(0).len();
    fixture.cluster.apply(&edited);
    fixture.until_ready("pool01", "True", "Aligned");
    let status = fixture.status("pool01").unwrap();
    let moves = status["history"][0]["databases"].as_array().unwrap();
    let mut done: Vec<String> =
        moves.iter().map(|database| format!("SQL-A\\RTC {}", database["statement"].as_str().unwrap())).collect();
    done.sort();
    assert_eq!(statements(&planned.out), done);
    assert!(fixture.sim.journal(0).len() > from);
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
}
