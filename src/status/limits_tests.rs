//! Statuses of 10,000 databases, and of servers that answer with texts of any length.

use serde_json::{Value, json};

use super::*;

fn repeated(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

const TYPES: [&str; 7] =
    ["User", "Application", "CentralMgmt", "Monitoring", "Archiving", "PersistentChat", "PersistentChatCompliance"];

fn database_type(text: &str, count: usize, index: usize) -> Value {
    let time = "2026-11-26T00:00:00Z";
    let session = |index: usize| {
        json!({
            "database": format!("{index} {text}"), "guid": "g", "principal": "Primary",
            "primaryRoleSequence": i32::MIN, "mirrorRoleSequence": i32::MIN, "replacedRoleSequence": i32::MIN,
        })
    };
    let seat = json!({"address": text, "name": text});
    let database = |index: usize| {
        json!({
            "name": format!("{index} {text}"), "stateOnPrimary": "Principal", "stateOnMirror": "Mirror",
            "mirroringStatusOnPrimary": "Synchronized", "mirroringStatusOnMirror": "Synchronized",
        })
    };
    json!({
        "type": TYPES[index], "desired": "Primary", "observed": "Primary", "service": "Unknown", "reason": "R",
        "message": text, "databases": repeated(count, database),
        "lastMove": {"endedAt": time, "cause": "Intent", "outcome": "Failed", "detail": text, "toServer": text,
            "forcedDatabases": repeated(count, |index| json!({"name": format!("{index} {text}"), "roleSequence": i32::MIN}))},
        "tracking": {"pair": {"primary": seat, "mirror": seat}, "sessions": repeated(count, session), "lastSettledServer": text},
    })
}

/// A status in which every text of a server is `text`, and every list has `count` items.
fn status(text: &str, count: usize) -> LyncPoolMirrorStatus {
    let time = "2026-11-26T00:00:00Z";
    let draft = |kind| crate::api::ConditionDraft::true_(kind, crate::model::Reason::Aligned, text);
    let conditions: Vec<_> = <crate::api::ConditionType as strum::IntoEnumIterator>::iter()
        .map(|kind| draft(kind).since(&[], 1, jiff::Timestamp::UNIX_EPOCH))
        .collect();
    let of_type = |index| database_type(text, count, index);
    let moved = |index: usize| json!({"name": format!("{index} {text}"), "statement": text, "answer": text, "before": text, "after": text});
    let history = |_| {
        json!({
            "type": "User", "from": "Primary", "to": "Mirror", "fromServer": text, "toServer": text, "cause": "Intent",
            "outcome": "Failed", "generation": 1, "requestedVia": text, "why": text, "startedAt": time, "endedAt": time,
            "databases": repeated(count, moved), "attempts": 1, "detail": text,
        })
    };
    let in_flight =
        |index: usize| json!({"name": format!("{index} {text}"), "guid": "g", "roleSequence": 1, "before": text});
    let step = |_| {
        json!({
            "type": "User", "database": text, "statement": text, "server": text, "seat": "Primary", "why": "R",
        })
    };
    let server = |_| {
        json!({
            "seat": "Primary", "address": text, "reachable": true, "name": text, "version": text, "edition": text,
            "message": text,
        })
    };
    let status = json!({
        "conditions": conditions,
        "servers": repeated(count, server),
        "databaseTypes": repeated(TYPES.len(), of_type),
        "plan": repeated(count, step),
        "operation": {
            "type": "User", "from": "Primary", "to": "Mirror", "fromServer": text, "toServer": text, "cause": "Intent",
            "generation": 1, "startedAt": time, "attemptedAt": time, "deadline": time, "attempt": 1,
            "databases": repeated(count, in_flight),
        },
        "postSwitchDifferences": repeated(count, |_| json!(text)),
        "history": repeated(10, history),
    });
    serde_json::from_value(status).unwrap()
}

#[test]
fn bounded_status_of_any_texts_and_lists_is_taken_by_etcd() {
    let scary = "\u{1f600}".repeat(300);
    for (text, count) in [("SQL-A", 10_000), ("\"\\", 200), (scary.as_str(), 200), ("\u{1}\u{1b}[2J\n", 200)] {
        let bounded = bounded(status(text, count));
        assert!(size(&bounded) < LARGEST, "{} bytes of {text:.20}", size(&bounded));
        assert!(bounded.database_types.iter().all(|of_type| of_type.databases.len() == DATABASES));
        assert!(!bounded.history.is_empty());
        assert_eq!(super::bounded(bounded.clone()), bounded, "a second pass changes nothing");
    }
}

#[test]
fn bounded_status_of_a_hostile_server_is_taken_by_etcd() {
    let mut hostile = status("SQL-A", 3);
    let name = "\u{1f600}".repeat(2_000_000);
    hostile.servers[0].name = Some(name.clone());
    hostile.servers[0].message = Some(name.clone());
    hostile.database_types[0].message = name.clone();
    hostile.history[0].databases[0].answer = Some(name);
    let bounded = bounded(hostile);
    assert!(size(&bounded) < 100_000, "{}", size(&bounded));
    assert_eq!(bounded.servers[0].name.as_ref().unwrap().chars().filter(|c| *c == '\u{1f600}').count(), NAME);
}

#[test]
fn bounded_differences_count_the_rest() {
    let bounded = bounded(status("SQL-A", 10_000));
    assert_eq!(bounded.post_switch_differences.len(), Differences::MOST);
    let last = bounded.post_switch_differences.last().unwrap();
    assert!(last.contains("and 9951 more"), "{last}");
}

#[test]
fn bounded_usual_status_is_unchanged() {
    let usual = status("SQL-A is as it was.", 3);
    assert_eq!(bounded(usual.clone()), usual);
}

/// The last entry of the history stays, also where another part is too long.
#[test]
fn bounded_history_loses_entries_only_beyond_the_largest_status() {
    let with = |entries: usize, size_of: usize| {
        let mut long = status("SQL-A", 1);
        long.history.truncate(entries);
        let padding = size_of.saturating_sub(size(&long));
        long.conditions[0].message.push_str(&"x".repeat(padding));
        assert_eq!([size(&long), serde_json::to_vec(&long).unwrap().len()], [size_of; 2]);
        bounded(long).history.len()
    };
    assert_eq!([with(10, LARGEST), with(10, LARGEST + 1), with(10, 2 * LARGEST), with(1, 2 * LARGEST)], [10, 9, 1, 1]);
}

#[test]
fn bounded_plan_has_short_statements() {
    let long = "x".repeat(10_000);
    let bounded = bounded(status(&long, 2));
    let step = &bounded.plan[0];
    let longest = [(&step.database, NAME), (&step.statement, STATEMENT), (&step.server, ADDRESS)];
    // An ellipsis marks what was cut.
    assert!(longest.into_iter().all(|(text, longest)| text.chars().count() <= longest + 1), "{step:?}");
}

#[test]
fn bounded_plan_has_the_statements_of_seven_types() {
    assert_eq!(bounded(status("x", 200)).plan.len(), 112);
}
