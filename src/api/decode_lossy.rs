//! The readable part of a resource that cannot be decoded: its status, member by member. No I/O.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{LyncPoolMirror, LyncPoolMirrorStatus};

/// The readable part of a resource.
#[derive(Debug)]
pub struct PartialStatus {
    /// Why the resource cannot be decoded even without its status.
    pub spec_problem: Option<String>,
    pub status: LyncPoolMirrorStatus,
    /// The members of the status that cannot be read, with the reason.
    pub dropped: Vec<String>,
}

/// Decodes a resource as the API server stores it. A dropped member counts as erased: that can cost a repeated request of
/// a move, but no repeated statement, as the servers refuse one.
pub fn decode_lossy(resource: &Value) -> PartialStatus {
    let mut without_status = resource.clone();
    if let Some(object) = without_status.as_object_mut() {
        object.remove("status");
    }
    let spec_problem = LyncPoolMirror::deserialize(without_status).err().map(|problem| problem.to_string());
    let mut kept = Map::new();
    let mut dropped = Vec::new();
    for (member, value) in resource.get("status").and_then(Value::as_object).into_iter().flatten() {
        match value {
            Value::Array(items) => {
                let readable = items.iter().enumerate().filter(|(index, item)| match read(member, &json!([item])) {
                    Ok(_) => true,
                    Err(problem) => {
                        dropped.push(format!("status.{member}[{index}]: {problem}"));
                        false
                    }
                });
                kept.insert(member.clone(), readable.map(|(_, item)| item.clone()).collect());
            }
            value => match read(member, value) {
                Ok(_) => {
                    kept.insert(member.clone(), value.clone());
                }
                Err(problem) => dropped.push(format!("status.{member}: {problem}")),
            },
        }
    }
    // Each member was decoded alone, so that together they decode as well, unless one depends on another.
    let status = LyncPoolMirrorStatus::deserialize(Value::Object(kept)).unwrap_or_else(|problem| {
        dropped.push(format!("status: {problem}"));
        LyncPoolMirrorStatus::default()
    });
    PartialStatus { spec_problem, status, dropped }
}

fn read(member: &str, value: &Value) -> Result<LyncPoolMirrorStatus, serde_json::Error> {
    LyncPoolMirrorStatus::deserialize(json!({ member: value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(status: &Value) -> Value {
        let server = |host: &str| json!({"host": host});
        json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror", "metadata": {"name": "pool01"},
            "spec": {
                "poolFqdn": "pool01.example.com",
                "sql": {
                    "primary": server("sql-a"), "mirror": server("sql-b"),
                    "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
                },
                "databaseTypes": [{"type": "User", "principal": "Primary"}],
            },
            "status": status,
        })
    }

    #[test]
    fn decode_lossy_unreadable_members_are_dropped_and_named() {
        let entry = json!({
            "type": "User", "from": "Mirror", "to": "Primary", "cause": "Intent", "outcome": "Succeeded",
            "generation": 1, "startedAt": "2026-01-01T00:00:00Z", "endedAt": "2026-01-01T00:00:01Z", "databases": [],
            "attempts": 1,
        });
        let mut late = entry.clone();
        late["endedAt"] = json!("9999-12-31T23:59:59Z");
        let partial = decode_lossy(&resource(&json!({
            "principals": "User=Primary", "lastMoveTime": "9999-12-31T23:59:59Z", "history": [late, entry],
        })));
        assert_eq!(partial.spec_problem, None);
        assert_eq!(partial.status.principals.as_deref(), Some("User=Primary"));
        assert_eq!((partial.status.last_move_time, partial.status.history.len()), (None, 1));
        let dropped: Vec<_> = partial.dropped.iter().map(|dropped| dropped.split(':').next().unwrap()).collect();
        assert_eq!(dropped, ["status.history[0]", "status.lastMoveTime"]);
    }

    #[test]
    fn decode_lossy_unreadable_spec_keeps_the_status() {
        let mut resource = resource(&json!({"principals": "User=Primary"}));
        resource["spec"]["databaseTypes"][0]["principal"] = json!("Elsewhere");
        let partial = decode_lossy(&resource);
        assert!(partial.spec_problem.is_some_and(|problem| problem.contains("Elsewhere")));
        assert_eq!(partial.status.principals.as_deref(), Some("User=Primary"));
        assert!(partial.dropped.is_empty());
    }
}
