//! The forecast against the planner itself: from the status alone, the same decision as from the full observation.

use expect_test::expect;
use serde_json::{Value, json};

use super::*;
use crate::cli::fixtures::Passes;
use crate::cli::view;

/// Rows with obstacles of every kind that the status shows, and without.
#[rustfmt::skip]
const ROWS: [[&str; 2]; 22] = [
    ["P/4/C", "M/4/C"], ["P/4/-", "M/4/-"], ["P/2/C", "M/2/C"], ["P/3/C", "M/4/C"], ["M/2/C/8", "P/2/C/8"],
    ["P/1/C", "away"], ["P/1/-", "away"], ["P/1/D/r", "away"], ["away", "P/1/C/8"], ["M/4/C/8", "P/4/C/8"],
    ["away", "M/1/-"], ["away", "M/1/D"], ["away", "P/0/-/8"], ["M/0/-/8", "P/0/-/8"], ["P/0/C", "M/0/C"],
    ["P/4/D", "M/4/D"], ["P/1/C", "M/1/C"], ["P/1/-", "P/1/-/8"], ["away", "away"], ["NULL", "NULL"],
    ["refused", "P/4/C/8"], ["P/4/C", "M/4/C/s"],
];

type Edit = (&'static str, fn(&mut Value));

fn edits() -> Vec<Edit> {
    vec![
        ("nothing", |_| ()),
        ("other principal", |spec| spec["databaseTypes"][0]["principal"] = json!("Mirror")),
        ("suspended", |spec| {
            spec["databaseTypes"][0]["principal"] = json!("Mirror");
            spec["suspend"] = json!({"reason": "patches"});
        }),
        ("exchanged servers", |spec| {
            let sql = spec["sql"].clone();
            (spec["sql"]["primary"], spec["sql"]["mirror"]) = (sql["mirror"].clone(), sql["primary"].clone());
        }),
        ("problem", |spec| {
            spec["databaseTypes"][0]["principal"] = json!("Mirror");
            spec["policy"]["cooldown"] = json!("721h");
        }),
        ("fail back", |spec| spec["policy"]["unrequestedSwitch"] = json!("FailBack")),
        ("shorter list", |spec| {
            spec["databaseTypes"][0]["databases"] = json!(["rtcxds"]);
            spec["databaseTypes"][0]["principal"] = json!("Mirror");
        }),
    ]
}

/// The decision from the full observation, in the form of a forecast.
fn truth(edited: Passes, rows: [&str; 2]) -> (Reason, usize) {
    let (_, plan) = edited.pass(rows[0], rows[1]).last.unwrap();
    let planned = &plan.types[&DatabaseType::User];
    (planned.verdict.reason, plan.steps.len())
}

fn exchange(rows: [&'static str; 2], name: &str) -> [&'static str; 2] {
    if name == "exchanged servers" { [rows[1], rows[0]] } else { rows }
}

/// Every row with every edit: the same reason and the same number of statements, or not known.
#[test]
fn forecast_equals_the_decision_of_the_operator_or_is_not_known() {
    let (mut known, mut unknown) = (0, Vec::new());
    for rows in ROWS {
        for (name, edit) in edits() {
            let live = || Passes::new().pass("P/4/C", "M/4/C").pass(rows[0], rows[1]);
            let edited = live().edit(edit);
            let forecast = forecast(&live().pool(), &edited.resource(), edited.now);
            let foreseen = match &forecast.types[0].decision {
                Decision::Move { steps } => (Reason::Moving, steps.len()),
                Decision::Hold { reason, .. } | Decision::Nothing { reason } => (*reason, 0),
                Decision::Unknown { why } => {
                    unknown.push(format!("{rows:?} {name}: {why}"));
                    continue;
                }
            };
            if name == "exchanged servers" {
                // The tables name the servers by their seat, so that only the reason is comparable.
                assert!(
                    [Reason::SeatsExchanged].contains(&foreseen.0) || foreseen.1 == 0,
                    "{rows:?} {name}: {foreseen:?}"
                );
                continue;
            }
            assert_eq!(foreseen, truth(edited, exchange(rows, name)), "{rows:?} {name}");
            known += 1;
        }
    }
    let total = known + unknown.len();
    assert!(known * 10 >= total * 8, "{known} of {total} decisions are known; not known: {unknown:#?}");
}

/// A change of some fields at random.
fn random_edit(random: &mut fastrand::Rng, spec: &mut Value) {
    let seats = ["Primary", "Mirror"];
    spec["databaseTypes"][0]["principal"] = json!(random.choice(seats));
    if random.u8(..4) == 0 {
        let lists = [json!(["rtcxds"]), json!(["rtcab", "rtcshared"]), json!(["rtcxds", "rtcshared", "rtcab"])];
        spec["databaseTypes"][0]["databases"] = random.choice(lists).unwrap();
    }
    if random.u8(..4) == 0 {
        spec["suspend"] = json!({"reason": "patches"});
    }
    if random.u8(..4) == 0 {
        let epochs = ["21-1c1e", "22-1c1e", "24-1c1e", "1-dead"];
        spec["databaseTypes"][0]["approve"] = json!({"epoch": random.choice(epochs)});
    }
    let policy = &mut spec["policy"];
    policy["unrequestedSwitch"] = json!(random.choice(["Hold", "FailBack"]));
    policy["cooldown"] = json!(random.choice(["0s", "10m", "721h"]));
    policy["maxInterruption"] = json!(random.choice(["3s", "1m"]));
    policy["failBackAfter"] = json!(random.choice(["0s", "30m"]));
    policy["settleAfter"] = json!(random.choice(["0s", "2m"]));
}

/// Random histories and random edits: the same reason and the same statements, or not known.
#[test]
fn forecast_of_random_edits_equals_the_decision_of_the_operator() {
    let seed = std::env::var("LYNC_MIRROR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(15);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut known, mut moves) = (0, 0);
    for number in 0..400 {
        let mut history = vec![[ROWS[0]; 3]];
        for _ in 0..random.usize(..3) {
            let rows = *random.choice(&ROWS).unwrap();
            // One database of the type can differ.
            let other = if random.bool() { *random.choice(&ROWS[..5]).unwrap() } else { rows };
            let alike = rows.iter().zip(other).all(|(a, b)| is_away(a) == is_away(b));
            history.push([rows, rows, if alike { other } else { rows }]);
        }
        let rows = *history.last().unwrap();
        let live = || history.iter().fold(Passes::new(), |passes, rows| passes.after(60).pass_with(*rows));
        let mut spec = live().spec;
        random_edit(&mut random, &mut spec);
        let edited = live().edit(|old| *old = spec.clone());
        let forecast = forecast(&live().pool(), &edited.resource(), edited.now);
        let foreseen = match &forecast.types[0].decision {
            Decision::Unknown { .. } => continue,
            Decision::Move { steps } => (Reason::Moving, steps.clone()),
            Decision::Hold { reason, .. } | Decision::Nothing { reason } => (*reason, Vec::new()),
        };
        let (_, plan) = edited.pass_with(rows).last.unwrap();
        let text = |step: &Failover| (step.server.clone(), sql::statement(step.act, &step.database));
        let done: Vec<_> = plan.steps.iter().map(text).collect();
        let foreseen_steps: Vec<_> = foreseen.1.into_iter().map(|step| (step.server, step.statement)).collect();
        let reason = plan.types[&DatabaseType::User].verdict.reason;
        assert_eq!((foreseen.0, foreseen_steps), (reason, done), "seed {seed}, edit {number}: {history:?} {spec}");
        known += 1;
        moves += usize::from(reason == Reason::Moving);
    }
    assert!(known >= 200 && moves >= 20, "seed {seed}: {known} known, {moves} moves");
}

fn is_away(row: &str) -> bool {
    ["away", "refused"].contains(&row)
}

fn rendered(live: &Passes, edited: &Passes) -> String {
    view::forecast::render(&forecast(&live.pool(), &edited.resource(), live.now), None)
}

#[test]
fn forecast_of_each_kind_as_text() {
    let healthy = || Passes::new().pass("P/4/C", "M/4/C");
    let mut text = String::new();
    for (name, edit) in edits() {
        text.push_str(&format!("== {name}\n{}", rendered(&healthy(), &healthy().edit(edit))));
    }
    let behind = rendered(&healthy().want("Mirror"), &healthy().want("Mirror"));
    text.push_str(&format!("== a spec that the operator has not processed\n{behind}"));
    let more = healthy().edit(|spec| {
        spec["databaseTypes"][0]["databases"] = json!(["rtcxds", "rtcnew"]);
        spec["databaseTypes"].as_array_mut().unwrap().push(json!({"type": "Archiving", "principal": "Primary"}));
    });
    text.push_str(&format!("== more databases and types\n{}", rendered(&healthy(), &more)));
    let other = healthy().edit(|spec| spec["databaseTypes"][0]["type"] = json!("Monitoring"));
    text.push_str(&format!("== another type\n{}", rendered(&healthy(), &other)));
    expect![[r#"
        == nothing
        User: would not move (Aligned).
        == other principal
        User: would MOVE now.
          SQL-PRIMARY\RTC  ALTER DATABASE [rtcxds] SET PARTNER FAILOVER  (interruption about 3s)
          SQL-PRIMARY\RTC  ALTER DATABASE [rtcshared] SET PARTNER FAILOVER  (interruption about 3s)
          SQL-PRIMARY\RTC  ALTER DATABASE [rtcab] SET PARTNER FAILOVER  (interruption about 3s)
        == suspended
        User: would not move (Suspended). Protected. Failover of User to the mirror SQL-MIRROR\RTC is suspended until spec.suspend is removed: patches.
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcxds] SET PARTNER FAILOVER  (interruption about 3s)
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcshared] SET PARTNER FAILOVER  (interruption about 3s)
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcab] SET PARTNER FAILOVER  (interruption about 3s)
        == exchanged servers
        User: would not move (SeatsExchanged). Protected. spec.sql exchanged primary and mirror: the primary SQL-MIRROR\RTC and the mirror SQL-PRIMARY\RTC had the other seats before. Nothing was moved, and nothing will be. To fix: exchange them back, or set principal: Mirror on type User to keep the databases where they are. To move it (interrupts rtcxds, rtcshared, rtcab): set approve: {epoch: "21-1c1e"} on type User.
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcxds] SET PARTNER FAILOVER  (interruption about 3s)
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcshared] SET PARTNER FAILOVER  (interruption about 3s)
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcab] SET PARTNER FAILOVER  (interruption about 3s)
        == problem
        REFUSED: spec.policy.cooldown "721h": cooldown must be at most 720h. To fix: set a shorter time, e.g. 10m, or use spec.suspend to stop all moves. No type moves while this stands.
        User: would not move (InvalidSpec). Protected. No move of User starts while the spec has problems. spec.policy.cooldown "721h": cooldown must be at most 720h. To fix: set a shorter time, e.g. 10m, or use spec.suspend to stop all moves.
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcxds] SET PARTNER FAILOVER  (interruption about 3s)
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcshared] SET PARTNER FAILOVER  (interruption about 3s)
          waits: SQL-PRIMARY\RTC  ALTER DATABASE [rtcab] SET PARTNER FAILOVER  (interruption about 3s)
        == fail back
        User: would not move (Aligned).
        == shorter list
        User: would MOVE now.
          SQL-PRIMARY\RTC  ALTER DATABASE [rtcxds] SET PARTNER FAILOVER  (interruption about 3s)
        == a spec that the operator has not processed
        User: not known. The operator has not processed the present spec yet.
        == more databases and types
        User: not known. The operator has not read rtcnew yet.
        Archiving: not known. The operator has not read its databases yet.
        == another type
        Monitoring: not known. The operator has not read its databases yet.
        User: the operator would no longer watch rtcxds, rtcshared, rtcab.
    "#]].assert_eq(&text);
}
