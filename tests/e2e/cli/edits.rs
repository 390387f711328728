//! Random edits, replayed by a seed: what `plan -f` shows for an edit is what the operator then does, statement by statement.
//! `LYNC_MIRROR_EDITS` sets their number.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

use super::planned::plan;
use super::{aligned, object};
use crate::support::rng::seed;
use crate::support::{TestPool, types, until};

const EDITS: usize = 12;
/// The reasons of a type in the middle of a move, or before the operator has read the state after one.
const PASSING: [&str; 6] =
    ["Moving", "Verifying", "Unsettled", "Synchronizing", "FailoverInProgress", "NotYetObserved"];

fn seat(rng: &mut Rng) -> &'static str {
    if rng.bool() { "Primary" } else { "Mirror" }
}

/// The types of a status by their name.
fn entries(status: &Value) -> BTreeMap<String, Value> {
    let all = status["databaseTypes"].as_array().into_iter().flatten();
    all.map(|entry| (entry["type"].as_str().unwrap().to_owned(), entry.clone())).collect()
}

/// Each part of a spec that decides about a move, at random.
fn edited(fixture: &TestPool, namespace: &str, rng: &mut Rng) -> Value {
    let known = entries(&fixture.status("pool01").unwrap());
    let mut wanted = types(seat(rng), seat(rng));
    for item in wanted.as_array_mut().unwrap() {
        let epoch = known.get(item["type"].as_str().unwrap()).map(|entry| entry["epoch"].clone());
        match rng.u8(..4) {
            0 => item["approve"] = json!({"epoch": "99-dead"}),
            1 if epoch.as_ref().is_some_and(Value::is_string) => item["approve"] = json!({"epoch": epoch}),
            _ => {}
        }
    }
    if rng.u8(..5) == 0 {
        wanted.as_array_mut().unwrap().pop();
    }
    let mut pool = fixture.pool("pool01", wanted);
    let spec = &mut pool["spec"];
    spec["poolFqdn"] = json!(format!("{namespace}.contoso.com"));
    if rng.u8(..4) == 0 {
        let until = ["2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"][rng.usize(..2)];
        spec["suspend"] = json!({"reason": "edits", "until": until});
    }
    let policy = &mut spec["policy"];
    match rng.u8(..8) {
        0 => policy["cooldown"] = json!("1h"),
        1 => policy["maxInterruption"] = json!("3s"),
        2 => policy["order"] = json!(["CentralMgmt", "User"]),
        3 => {
            policy["unrequestedSwitch"] = json!("FailBack");
            policy["failBackAfter"] = json!("1h");
        }
        _ => {}
    }
    pool
}

/// `SERVER statement` of each statement that would be sent now, or in the turn of its type, and the reason of each type that
/// would not move.
fn forecast(text: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut statements, mut reasons, mut moves) = (Vec::new(), BTreeMap::new(), false);
    // A type whose turn comes later moves only if the type before it does.
    let turns = text.contains(": would MOVE now");
    for line in text.lines() {
        if line.contains(": would MOVE now") {
            moves = true;
        } else if let Some((ty, rest)) = line.split_once(": would not move (") {
            let reason = rest.split(')').next().unwrap();
            moves = turns && reason == "WaitingForTurn";
            if !moves {
                reasons.insert(ty.to_owned(), reason.to_owned());
            }
        } else if moves && line.contains("ALTER DATABASE") {
            let statement = line.split("  (").next().unwrap().replace("waits: ", "");
            statements.push(statement.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    statements.sort();
    (statements, reasons)
}

/// The statements of failovers that arrived at the servers since this entry of the journal.
fn sent(fixture: &TestPool, since: usize) -> Vec<String> {
    let journal = fixture.sim.journal(0);
    let failovers = journal.iter().skip(since).filter(|entry| entry.text.contains("SET PARTNER FAILOVER"));
    let mut all: Vec<String> = failovers
        .map(|entry| {
            let server = format!("SQL-{}\\RTC", entry.server.to_uppercase());
            let from = entry.text.find("ALTER DATABASE").unwrap();
            let statement = entry.text[from..].split(['\n', ';']).next().unwrap().trim().to_owned();
            format!("{server} {statement}")
        })
        .collect();
    all.sort();
    all
}

/// Waits until the operator has read the present generation and no database is in the middle of a move.
#[track_caller]
fn until_rests(fixture: &TestPool, what: &str) -> Value {
    until(&format!("no type moves after {what}"), || {
        let object = object(fixture);
        let status = &object["status"];
        if status["observedGeneration"] != object["metadata"]["generation"] {
            return Err("a status of another generation".to_owned());
        }
        // A database has a reason while something keeps it from a move, also under a type that is held.
        let rests =
            |entry: &Value| entry["databases"].as_array().into_iter().flatten().all(|one| one["reason"].is_null());
        let all = entries(status);
        // A turn passes by itself, unless the type before waits too.
        let waits = all.values().any(|entry| !matches!(entry["reason"].as_str(), Some("WaitingForTurn" | "Aligned")));
        let passes = |entry: &Value| {
            let turn = entry["reason"] == "WaitingForTurn" && !waits;
            turn || PASSING.iter().any(|one| entry["reason"] == *one) || !rests(entry)
        };
        let moving = all.iter().find(|(_, entry)| passes(entry));
        match moving {
            Some((ty, entry)) => Err(format!("{ty}: {}", entry["reason"])),
            None => Ok(status.clone()),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_of_each_random_edit_equals_what_the_operator_then_does() {
    let edits = std::env::var("LYNC_MIRROR_EDITS").ok().map_or(EDITS, |text| text.parse().unwrap());
    let seed = seed();
    println!("{edits} edits, LYNC_MIRROR_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (fixture, _operator) = aligned("cli-edits").await;
    fixture.command(json!({"do": "setSwitchMillis", "pair": "pool01", "millis": 50}));
    let (mut moved, mut held) = (0, BTreeMap::<String, usize>::new());
    for round in 0..edits {
        // Someone else moves the principal now and then, so that an approval has something to release.
        if rng.u8(..5) == 0 {
            let before = fixture.status("pool01").unwrap()["databaseTypes"][0]["epoch"].clone();
            fixture.command(json!({"do": "failover", "pair": "pool01"}));
            until("the operator has read the switch", || {
                let status = fixture.status("pool01")?;
                if status["databaseTypes"][0]["epoch"] == before { Err(before.to_string()) } else { Ok(()) }
            });
            until_rests(&fixture, "a switch by someone else");
        }
        let edit = edited(&fixture, "cli-edits", &mut rng);
        let what = format!("edit {round} of LYNC_MIRROR_SEED={seed}: {}", edit["spec"]);
        let planned = plan(&fixture, &edit);
        let (statements, reasons) = forecast(&planned.out);
        let since = fixture.sim.journal(0).len();
        fixture.cluster.apply(&edit);
        let status = until_rests(&fixture, &what);
        assert_eq!(sent(&fixture, since), statements, "{what}\n{planned:?}");
        let seen = entries(&status);
        for (ty, reason) in &reasons {
            assert_eq!(seen[ty]["reason"], *reason, "{what}\n{ty}: {}\n{planned:?}", seen[ty]);
            *held.entry(reason.clone()).or_default() += 1;
        }
        moved += usize::from(!statements.is_empty());
    }
    println!("{moved} edits moved databases; types that did not move: {held:?}");
    assert!(moved > 0 && held.len() > 1, "the edits decide something: {moved} {held:?}");
}
