//! A walk through specs, good, bad and refused, in a random order that a seed tells again: whenever the spec is good again, the
//! resource comes back to Ready, and nothing was done that no spec asked for.

use crate::support::rng::{Dice, seed};
use crate::support::{Operator, Stage, condition, log_path, types, until};
use serde_json::{Value, json};

const ROUNDS: usize = 20;

type Edit = (&'static str, fn(&Stage, &mut Value));

fn policy(pool: &mut Value, field: &str, value: Value) {
    pool["spec"]["policy"][field] = value;
}

/// Accepted by the API server; some of them cannot be fulfilled.
const ACCEPTED: [Edit; 20] = [
    ("User on the mirror", |_, pool| pool["spec"]["databaseTypes"][0]["principal"] = json!("Mirror")),
    ("User on the primary", |_, pool| pool["spec"]["databaseTypes"][0]["principal"] = json!("Primary")),
    ("CentralMgmt on the mirror", |_, pool| pool["spec"]["databaseTypes"][1]["principal"] = json!("Mirror")),
    ("suspended", |_, pool| pool["spec"]["suspend"] = json!({"reason": "walk"})),
    ("suspended until yesterday", |_, pool| {
        pool["spec"]["suspend"] = json!({"reason": "walk", "until": "2020-01-01T00:00:00Z"});
    }),
    ("a fail-back by night", |_, pool| {
        policy(pool, "unrequestedSwitch", json!("FailBack"));
        policy(pool, "failBackAfter", json!("0s"));
        let window = json!({"schedule": "0 3 * * *", "duration": "1h", "timeZone": "Europe/Paris"});
        policy(pool, "maintenanceWindows", json!([window]));
    }),
    ("a window that is none", |_, pool| {
        policy(pool, "unrequestedSwitch", json!("FailBack"));
        let window = json!({"schedule": "0 3 * * Someday", "duration": "1h", "timeZone": "Europe/Paris"});
        policy(pool, "maintenanceWindows", json!([window]));
    }),
    ("short interruptions", |_, pool| policy(pool, "maxInterruption", json!("3s"))),
    ("another order", |_, pool| policy(pool, "order", json!(["CentralMgmt", "User"]))),
    ("a stale approval", |_, pool| pool["spec"]["databaseTypes"][0]["approve"] = json!({"epoch": "99-dead"})),
    ("a stale consent", |_, pool| {
        pool["spec"]["databaseTypes"][0]["forceService"] =
            json!({"epoch": "99-dead", "acceptDataLoss": true, "until": "2100-01-01T00:00:00Z"});
    }),
    ("fewer databases", |_, pool| pool["spec"]["databaseTypes"][0]["databases"] = json!(["rtcxds", "rtcab"])),
    ("a database that is none", |_, pool| {
        pool["spec"]["databaseTypes"][0]["databases"] = json!(["rtcxds", "rtcxdz"]);
    }),
    ("a type that is not there", |_, pool| {
        let types = pool["spec"]["databaseTypes"].as_array_mut().unwrap();
        types.push(json!({"type": "Archiving", "principal": "Primary"}));
    }),
    ("a port where nobody listens", |_, pool| pool["spec"]["sql"]["primary"]["port"] = json!(1)),
    ("a server of another pool", |stage, pool| pool["spec"]["sql"]["mirror"] = stage.server("d")),
    ("the servers swapped", |stage, pool| {
        pool["spec"]["sql"]["primary"] = stage.server("b");
        pool["spec"]["sql"]["mirror"] = stage.server("a");
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
    ("a server that mirrors itself", |stage, pool| pool["spec"]["sql"]["mirror"] = stage.server("a")),
    ("a seat that is none", |_, pool| pool["spec"]["databaseTypes"][0]["principal"] = json!("Secondary")),
    ("a database without a name", |_, pool| pool["spec"]["databaseTypes"][0]["databases"] = json!([""])),
    ("windows without a fail-back", |_, pool| {
        policy(pool, "unrequestedSwitch", json!("Hold"));
        let window = json!({"schedule": "0 3 * * *", "duration": "1h", "timeZone": "Europe/Paris"});
        policy(pool, "maintenanceWindows", json!([window]));
    }),
];

fn seat(dice: &mut Dice) -> &'static str {
    if dice.below(2) == 0 { "Primary" } else { "Mirror" }
}

/// Waits until the good spec is fulfilled. What was not asked for by a change is held: then as the message says.
#[track_caller]
fn until_aligned(stage: &Stage, user: &str, central: &str, told: &str) {
    until(&format!("Ready after {told}"), || {
        let object = stage.cluster.get_json(&["lpm", "pool01", "-n", "walk"])?;
        let status = &object["status"];
        let ready = condition(status, "Ready").ok_or("no Ready condition")?;
        if ready["observedGeneration"] != object["metadata"]["generation"] {
            return Err("a status of another generation".to_owned());
        }
        let reason = ready["reason"].as_str().unwrap_or_default();
        if matches!(reason, "UnexpectedPrincipal" | "SplitRoles" | "CircuitOpen") {
            let mut types = object["spec"]["databaseTypes"].clone();
            for (item, of) in types.as_array_mut().unwrap().iter_mut().zip(status["databaseTypes"].as_array().unwrap())
            {
                if of["reason"] == reason {
                    item["approve"] = json!({"epoch": of["epoch"]});
                }
            }
            stage.patch("pool01", &json!({"spec": {"databaseTypes": types}}));
        }
        let there = status["principals"] == format!("User={user} CentralMgmt={central}");
        if there && reason == "Aligned" { Ok(()) } else { Err(format!("{ready}")) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_spec_is_fulfilled_whatever_was_there_before() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let stage = Stage::set("walk", true).await;
    let mut operator = Operator::start(stage.cluster, "walk", "1s");
    stage.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 50}));
    let good = |user: &str, central: &str| stage.pool("pool01", types(user, central));
    stage.cluster.apply(&good("Primary", "Primary"));
    until_aligned(&stage, "Primary", "Primary", "the first spec");

    let (mut applied, mut told) = (0, String::new());
    for round in 0..ROUNDS {
        for _ in 0..1 + dice.below(4) {
            let mut pool = good(seat(&mut dice), "Primary");
            let names: Vec<&str> = (0..1 + dice.below(2))
                .map(|_| {
                    let (name, edit) = dice.of(&ACCEPTED);
                    edit(&stage, &mut pool);
                    *name
                })
                .collect();
            if dice.below(4) == 0 {
                // Alone: beside another edit it may be right.
                let (name, edit) = dice.of(&REFUSED);
                let mut pool = good("Primary", "Primary");
                edit(&stage, &mut pool);
                let before = stage.cluster.get_json(&["lpm", "pool01", "-n", "walk"]).unwrap()["spec"].clone();
                let refused = stage.cluster.try_apply(&pool).expect_err(name);
                assert!(refused.contains("spec"), "seed {seed}, {name}: {refused}");
                let after = stage.cluster.get_json(&["lpm", "pool01", "-n", "walk"]).unwrap()["spec"].clone();
                assert_eq!(before, after, "seed {seed}, {name}");
                continue;
            }
            // Two edits may contradict each other: then the spec is refused, and that is an answer too.
            applied += usize::from(stage.cluster.try_apply(&pool).is_ok());
            told = names.join(" + ");
            // Sometimes it is answered before the next one comes.
            if dice.below(2) == 0 {
                until(&format!("seed {seed}: {told} is answered"), || {
                    let object = stage.cluster.get_json(&["lpm", "pool01", "-n", "walk"])?;
                    let seen = &object["status"]["observedGeneration"];
                    if *seen == object["metadata"]["generation"] { Ok(()) } else { Err(seen.to_string()) }
                });
            }
        }
        let (user, central) = (seat(&mut dice), seat(&mut dice));
        stage.cluster.apply(&good(user, central));
        applied += 1;
        until_aligned(&stage, user, central, &format!("seed {seed}, round {round}: {told}"));
    }
    let failovers = stage.failovers();
    assert!(!failovers.is_empty() && failovers.len() <= 5 * applied, "seed {seed}: {} failovers", failovers.len());
    assert_eq!(stage.sim.failures(), Vec::<String>::new(), "seed {seed}");
    assert!(operator.lives(), "seed {seed}: the operator ended by itself");
    let log = std::fs::read_to_string(log_path("walk")).unwrap();
    assert!(!log.contains("panicked"), "seed {seed}: {}", log_path("walk").display());
    println!("seed {seed}: {applied} specs, {} failovers", failovers.len());
}
