//! What a pass reports to the metrics.

use std::time::Duration;

use jiff::Timestamp;
use strum::IntoEnumIterator;

use crate::api::{ConditionType, LyncPoolMirrorStatus, ServerStatus};
use crate::controller::pass::Identity;
use crate::metrics::{DatabaseSnapshot, OperationSnapshot, ResourceSnapshot, ServerSnapshot, TypeSnapshot};
use crate::model::{DatabaseType, Observation, Operation, Pair, Reason, Seat};
use crate::plan::{Finding, Plan, TypePlan};

/// The metrics of a resource whose spec cannot be decoded.
pub fn unobserved() -> ResourceSnapshot {
    ResourceSnapshot {
        ready: false,
        reason: Reason::InvalidSpec,
        suspended: false,
        suspended_until: None,
        weak_encryption: false,
        quorum_at_risk: false,
        conditions: vec![(ConditionType::Ready.into(), "False"), (ConditionType::Stalled.into(), "True")],
        operation: None,
        servers: Vec::new(),
        types: Vec::new(),
    }
}

pub fn of(
    identity: &Identity<'_>,
    status: &LyncPoolMirrorStatus,
    observation: &Observation,
    plan: &Plan,
) -> ResourceSnapshot {
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    let is_true = |kind: &str| condition(kind).is_some_and(|condition| condition.status == "True");
    let reason = condition("Ready").and_then(|ready| ready.reason.parse().ok()).unwrap_or(Reason::NotYetObserved);
    let suspended = is_true("Suspended");
    let suspend = identity.mirror.spec.suspend.as_ref().filter(|_| suspended);
    let operation = plan.persisted.operation.as_ref();
    ResourceSnapshot {
        ready: is_true("Ready"),
        reason,
        suspended,
        suspended_until: suspend.and_then(|suspend| suspend.until).map(Timestamp::as_second),
        weak_encryption: is_true("WeakEncryption"),
        quorum_at_risk: is_true("QuorumAtRisk"),
        conditions: conditions(status),
        operation: operation.map(|operation| OperationSnapshot {
            ty: operation.ty,
            cause: operation.cause,
            started: operation.started.as_second(),
        }),
        servers: status.servers.iter().map(server).collect(),
        types: plan.types.values().map(|planned| of_type(planned, observation)).collect(),
    }
}

/// From the start of a move to its end.
pub fn took(operation: &Operation, end: Timestamp) -> Duration {
    // A clock that was set back is no duration.
    end.duration_since(operation.started).try_into().unwrap_or_default()
}

/// The types with a switch that no change of the spec requested, since the last status.
pub fn unrequested_switches(before: Option<&LyncPoolMirrorStatus>, now: &LyncPoolMirrorStatus) -> Vec<DatabaseType> {
    let last = |status: &LyncPoolMirrorStatus, ty: DatabaseType| {
        let of = status.database_types.iter().find(|of| of.type_ == ty)?;
        of.tracking.as_ref()?.last_unrequested_switch_time.clone()
    };
    let own = before.filter(|before| before.resource_uid == now.resource_uid);
    let types = now.database_types.iter().map(|of| of.type_);
    types.filter(|ty| last(now, *ty).is_some_and(|time| own.and_then(|own| last(own, *ty)) != Some(time))).collect()
}

fn conditions(status: &LyncPoolMirrorStatus) -> Vec<(&'static str, &'static str)> {
    let known = ConditionType::iter().map(<&'static str>::from);
    known
        .filter_map(|kind| {
            let condition = status.conditions.iter().find(|condition| condition.type_ == kind)?;
            let status = match condition.status.as_str() {
                "True" => "True",
                "False" => "False",
                _ => "Unknown",
            };
            Some((kind, status))
        })
        .collect()
}

fn server(status: &ServerStatus) -> ServerSnapshot {
    ServerSnapshot {
        seat: status.seat.clone(),
        reachable: status.reachable,
        unreachable_since: status.unreachable_since.as_ref().map(|since| since.0.as_second()),
    }
}

fn of_type(planned: &TypePlan, observation: &Observation) -> TypeSnapshot {
    let pair = observation.pair(planned.desired_type.store);
    TypeSnapshot {
        ty: planned.desired_type.ty,
        desired: planned.desired_type.principal,
        observed: planned.observed,
        reason: planned.verdict.reason,
        service: planned.service,
        databases: planned.findings.iter().map(|finding| database(finding, pair)).collect(),
    }
}

fn database(finding: &Finding, pair: &Pair) -> DatabaseSnapshot {
    let state = |seat: Seat| {
        let row = pair.view(seat).available()?.databases.get(&finding.name)?;
        Some((seat, row.mirroring.as_ref()?.state))
    };
    DatabaseSnapshot {
        name: finding.name.to_string(),
        states: Seat::BOTH.into_iter().filter_map(state).collect(),
        redo_queue_kb: pair.redo_queue_kb(&finding.name),
        send_queue_kb: pair.send_queue_kb(&finding.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unrequested_switch_is_counted_once() {
        let status = |uid: &str, time: Option<&str>| -> LyncPoolMirrorStatus {
            let mut tracking = json!({});
            if let Some(time) = time {
                tracking["lastUnrequestedSwitchTime"] = json!(time);
            }
            let ty = json!({
                "type": "User", "desired": "Primary", "observed": "Primary", "reason": "Aligned", "message": "",
                "databases": [], "tracking": tracking,
            });
            serde_json::from_value(json!({"resourceUid": uid, "databaseTypes": [ty]})).unwrap()
        };
        let (first, second) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z"));
        for (before, now, counted) in
            [(None, None, 0), (None, first, 1), (first, first, 0), (first, second, 1), (first, None, 0)]
        {
            let found = unrequested_switches(Some(&status("a", before)), &status("a", now));
            assert_eq!(found.len(), counted, "{before:?} {now:?}");
        }
        assert_eq!(unrequested_switches(None, &status("a", first)), [DatabaseType::User]);
    }
}
