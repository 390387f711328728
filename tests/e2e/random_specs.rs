//! Valid, invalid and refused specs in a random order, replayed by a seed. Whenever the spec is valid again, the resource becomes
//! Ready, and no failover happened that no spec requested.

use crate::support::rng::seed;
use crate::support::{Operator, TestPool, condition, log_path, types, until};
use fastrand::Rng;
use serde_json::{Value, json};

const ROUNDS: usize = 20;

type Edit = (&'static str, fn(&TestPool, &mut Value));

fn policy(pool: &mut Value, field: &str, value: Value) {
    pool["spec"]["policy"][field] = value;
}

/// Accepted by the API server; some of them cannot be fulfilled.
const ACCEPTED: [Edit; 20] = [
    ("User on the mirror", |_, pool| pool["spec"]["databaseTypes"][0]["principal"] = json!("Mirror")),
    ("User on the primary", |_, pool| pool["spec"]["databaseTypes"][0]["principal"] = json!("Primary")),
    ("CentralMgmt on the mirror", |_, pool| pool["spec"]["databaseTypes"][1]["principal"] = json!("Mirror")),
    ("suspended", |_, pool| pool["spec"]["suspend"] = json!({"reason": "random-specs"})),
    ("suspended until yesterday", |_, pool| {
        pool["spec"]["suspend"] = json!({"reason": "random-specs", "until": "2020-01-01T00:00:00Z"});
    }),
    ("a fail-back in a window", |_, pool| {
        policy(pool, "unrequestedSwitch", json!("FailBack"));
        policy(pool, "failBackAfter", json!("0s"));
        let window = json!({"schedule": "0 3 * * *", "duration": "1h", "timeZone": "Europe/Paris"});
        policy(pool, "maintenanceWindows", json!([window]));
    }),
    ("a time zone that does not exist", |_, pool| {
        policy(pool, "unrequestedSwitch", json!("FailBack"));
        let window = json!({"schedule": "0 3 * * SAT", "duration": "1h", "timeZone": "Europe/Pariss"});
        policy(pool, "maintenanceWindows", json!([window]));
    }),
    ("short interruptions", |_, pool| policy(pool, "maxInterruption", json!("3s"))),
    ("another order", |_, pool| policy(pool, "order", json!(["CentralMgmt", "User"]))),
    ("a stale approval", |_, pool| pool["spec"]["databaseTypes"][0]["approve"] = json!({"epoch": "99-dead"})),
    ("a stale consent", |_, pool| {
        pool["spec"]["databaseTypes"][0]["forceService"] = json!({"epoch": "99-dead", "acceptDataLoss": true, "oldPrincipalFenced": true, "until": "2100-01-01T00:00:00Z"});
    }),
    ("fewer databases", |_, pool| pool["spec"]["databaseTypes"][0]["databases"] = json!(["rtcxds", "rtcab"])),
    ("a database that is none", |_, pool| {
        pool["spec"]["databaseTypes"][0]["databases"] = json!(["rtcxds", "rtcxdz"]);
    }),
    ("a type that is not there", |_, pool| {
        let types = pool["spec"]["databaseTypes"].as_array_mut().unwrap();
        types.push(json!({"type": "Archiving", "principal": "Primary"}));
    }),
    ("a port without a listener", |_, pool| pool["spec"]["sql"]["primary"]["port"] = json!(1)),
    ("a server of another pool", |fixture, pool| pool["spec"]["sql"]["mirror"] = fixture.server("d")),
    ("the servers swapped", |fixture, pool| {
        pool["spec"]["sql"]["primary"] = fixture.server("b");
        pool["spec"]["sql"]["mirror"] = fixture.server("a");
    }),
    ("a Secret that is not there", |_, pool| {
        pool["spec"]["sql"]["auth"]["secretRef"]["name"] = json!("elsewhere");
    }),
    ("any certificate", |_, pool| pool["spec"]["sql"]["tls"] = json!({"mode": "TrustServerCertificate"})),
    ("a CA that is not there", |_, pool| {
        pool["spec"]["sql"]["tls"]["caBundle"]["configMapRef"]["name"] = json!("elsewhere");
    }),
];

/// Refused by the API server: the resource stays as it was.
const REFUSED: [Edit; 6] = [
    ("a type twice", |_, pool| {
        let types = pool["spec"]["databaseTypes"].as_array_mut().unwrap();
        types.push(json!({"type": "User", "principal": "Primary"}));
    }),
    ("another pool", |_, pool| pool["spec"]["poolFqdn"] = json!("pool02.contoso.com")),
    ("a server that mirrors itself", |fixture, pool| pool["spec"]["sql"]["mirror"] = fixture.server("a")),
    ("a seat that is none", |_, pool| pool["spec"]["databaseTypes"][0]["principal"] = json!("Secondary")),
    ("a database without a name", |_, pool| pool["spec"]["databaseTypes"][0]["databases"] = json!([""])),
    ("windows without a fail-back", |_, pool| {
        policy(pool, "unrequestedSwitch", json!("Hold"));
        let window = json!({"schedule": "0 3 * * *", "duration": "1h", "timeZone": "Europe/Paris"});
        policy(pool, "maintenanceWindows", json!([window]));
    }),
];

fn seat(rng: &mut Rng) -> &'static str {
    if rng.usize(..2) == 0 { "Primary" } else { "Mirror" }
}

/// Waits until the valid spec is fulfilled. A held move is approved, as its message advises.
#[track_caller]
fn until_aligned(fixture: &TestPool, user: &str, central: &str, edits: &str) {
    until(&format!("Ready after {edits}"), || {
        let object = fixture.cluster.get_json(&["lpm", "pool01", "-n", "random-specs"])?;
        let status = &object["status"];
        let ready = condition(status, "Ready").ok_or("no Ready condition")?;
        if ready["observedGeneration"] != object["metadata"]["generation"] {
            return Err("a status of another generation".to_owned());
        }
        let reason = ready["reason"].as_str().unwrap_or_default();
        if matches!(reason, "UnexpectedPrincipal" | "SplitRoles" | "CircuitOpen") {
            let mut types = object["spec"]["databaseTypes"].clone();
            for (item, entry) in
                types.as_array_mut().unwrap().iter_mut().zip(status["databaseTypes"].as_array().unwrap())
            {
                if entry["reason"] == reason {
                    item["approve"] = json!({"epoch": entry["epoch"]});
                }
            }
            fixture.patch("pool01", &json!({"spec": {"databaseTypes": types}}));
        }
        let there = status["principals"] == format!("User={user} CentralMgmt={central}");
        if there && reason == "Aligned" { Ok(()) } else { Err(format!("{ready}")) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_spec_after_random_specs_is_fulfilled() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let fixture = TestPool::start("random-specs", true).await;
    let mut operator = Operator::start(fixture.cluster, "random-specs", "1s");
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 50}));
    let good = |user: &str, central: &str| fixture.pool("pool01", types(user, central));
    fixture.cluster.apply(&good("Primary", "Primary"));
    until_aligned(&fixture, "Primary", "Primary", "the first spec");

    let (mut applied, mut edits) = (0, String::new());
    for round in 0..ROUNDS {
        for _ in 0..1 + rng.usize(..4) {
            let mut pool = good(seat(&mut rng), "Primary");
            let names: Vec<&str> = (0..1 + rng.usize(..2))
                .map(|_| {
                    let (name, edit) = rng.choice(&ACCEPTED).unwrap();
                    edit(&fixture, &mut pool);
                    *name
                })
                .collect();
            if rng.usize(..4) == 0 {
                // Alone: with another edit it may be valid.
                let (name, edit) = rng.choice(&REFUSED).unwrap();
                let mut pool = good("Primary", "Primary");
                edit(&fixture, &mut pool);
                let before =
                    fixture.cluster.get_json(&["lpm", "pool01", "-n", "random-specs"]).unwrap()["spec"].clone();
                let refused = fixture.cluster.try_apply(&pool).expect_err(name);
                assert!(refused.contains("spec"), "seed {seed}, {name}: {refused}");
                let after = fixture.cluster.get_json(&["lpm", "pool01", "-n", "random-specs"]).unwrap()["spec"].clone();
                assert_eq!(before, after, "seed {seed}, {name}");
                continue;
            }
            // Two edits may contradict each other: then the spec may be refused.
            applied += usize::from(fixture.cluster.try_apply(&pool).is_ok());
            edits = names.join(" + ");
            // Sometimes the operator has written a status before the next edit.
            if rng.usize(..2) == 0 {
                until(&format!("seed {seed}: {edits} is answered"), || {
                    let object = fixture.cluster.get_json(&["lpm", "pool01", "-n", "random-specs"])?;
                    let seen = &object["status"]["observedGeneration"];
                    if *seen == object["metadata"]["generation"] { Ok(()) } else { Err(seen.to_string()) }
                });
            }
        }
        let (user, central) = (seat(&mut rng), seat(&mut rng));
        fixture.cluster.apply(&good(user, central));
        applied += 1;
        until_aligned(&fixture, user, central, &format!("seed {seed}, round {round}: {edits}"));
    }
    let failovers = fixture.failovers();
    assert!(!failovers.is_empty() && failovers.len() <= 5 * applied, "seed {seed}: {} failovers", failovers.len());
    assert_eq!(fixture.sim.failures(), Vec::<String>::new(), "seed {seed}");
    assert!(operator.is_running(), "seed {seed}: the operator ended by itself");
    let log = std::fs::read_to_string(log_path("random-specs")).unwrap();
    assert!(!log.contains("panicked"), "seed {seed}: {}", log_path("random-specs").display());
    println!("seed {seed}: {applied} specs, {} failovers", failovers.len());
}
