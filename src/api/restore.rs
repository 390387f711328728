//! Status -> persisted state: restores the planner's state after a restart. Fields that do not parse are dropped.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{LyncPoolMirrorStatus, OperationDatabaseStatus, OperationStatus, StableStatus, TypeTrackingStatus};
use crate::model::{
    Attempt, DatabaseName, Epoch, Operation, OperationDatabase, PersistedState, Request, Stable, TypeTracking,
};

pub fn restore_state(status: Option<&LyncPoolMirrorStatus>) -> PersistedState {
    let Some(status) = status else { return PersistedState::default() };
    let mut requests = BTreeMap::new();
    let mut last = BTreeMap::new();
    let mut tracking = BTreeMap::new();
    for ty in &status.database_types {
        if let Some(request) = &ty.request {
            requests.insert(
                ty.type_,
                Request { principal: request.principal, generation: request.generation, pending: request.pending },
            );
        }
        if let Some(moved) = &ty.last_move {
            last.insert(
                ty.type_,
                Attempt {
                    ended: moved.ended_at.0,
                    cause: moved.cause,
                    outcome: moved.outcome,
                    detail: moved.detail.clone(),
                },
            );
        }
        if let Some(status) = &ty.tracking {
            tracking.insert(ty.type_, tracking_of(status));
        }
    }
    PersistedState { requests, operation: status.operation.as_ref().and_then(operation), last, tracking }
}

fn tracking_of(status: &TypeTrackingStatus) -> TypeTracking {
    TypeTracking {
        last_settled_seat: status.last_settled_seat,
        consecutive_failures: status.consecutive_failures,
        unrequested_switches: status.unrequested_switches,
        last_unrequested_switch: status.last_unrequested_switch_time.as_ref().map(|at| at.0),
        stable: status
            .stable
            .as_ref()
            .map(|stable| Stable { epoch: Epoch::new(stable.epoch.clone()), since: stable.since.0 }),
        principal_lost_since: status.principal_lost_since.as_ref().map(|at| at.0),
        consumed_consent_epoch: status.consumed_consent_epoch.clone().map(Epoch::new),
    }
}

/// The tracking of a type as the status stores it. None if there is nothing to persist.
pub fn tracking_status(tracking: &TypeTracking) -> Option<TypeTrackingStatus> {
    (*tracking != TypeTracking::default()).then(|| TypeTrackingStatus {
        last_settled_seat: tracking.last_settled_seat,
        consecutive_failures: tracking.consecutive_failures,
        unrequested_switches: tracking.unrequested_switches,
        last_unrequested_switch_time: tracking.last_unrequested_switch.map(Time),
        stable: tracking
            .stable
            .as_ref()
            .map(|stable| StableStatus { epoch: stable.epoch.to_string(), since: Time(stable.since) }),
        principal_lost_since: tracking.principal_lost_since.map(Time),
        consumed_consent_epoch: tracking.consumed_consent_epoch.as_ref().map(ToString::to_string),
    })
}

fn operation(status: &OperationStatus) -> Option<Operation> {
    let databases: Option<Vec<OperationDatabase>> = status
        .databases
        .iter()
        .map(|database| {
            Some(OperationDatabase {
                name: DatabaseName::new(&database.name),
                guid: database.guid.parse().ok()?,
                role_sequence: database.role_sequence,
                before: database.before.clone(),
            })
        })
        .collect();
    Some(Operation {
        ty: status.type_,
        from: status.from,
        to: status.to,
        cause: status.cause,
        generation: status.generation,
        requested_by: status.requested_via.clone(),
        started: status.started_at.0,
        attempted: status.attempted_at.0,
        deadline: status.deadline.0,
        attempt: status.attempt,
        databases: databases.filter(|databases| !databases.is_empty())?,
    })
}

/// The journal entry of a move as the status stores it.
pub fn operation_status(operation: &Operation) -> OperationStatus {
    OperationStatus {
        type_: operation.ty,
        from: operation.from,
        to: operation.to,
        cause: operation.cause,
        generation: operation.generation,
        requested_via: operation.requested_by.clone(),
        started_at: Time(operation.started),
        attempted_at: Time(operation.attempted),
        deadline: Time(operation.deadline),
        attempt: operation.attempt,
        databases: operation
            .databases
            .iter()
            .map(|database| OperationDatabaseStatus {
                name: database.name.to_string(),
                guid: database.guid.to_string(),
                role_sequence: database.role_sequence,
                before: database.before.clone(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DatabaseTypeStatus, LastMoveStatus, RequestStatus};
    use crate::model::{Cause, DatabaseType, Guid, ObservedPrincipal, Outcome, Seat};

    fn operation(at: impl Fn(i64) -> jiff::Timestamp) -> Operation {
        Operation {
            ty: DatabaseType::User,
            from: Seat::Primary,
            to: Seat::Mirror,
            cause: Cause::ForcedService,
            generation: 3,
            requested_by: Some("argocd".to_owned()),
            started: at(1_795_000_000),
            attempted: at(1_795_000_007),
            deadline: at(1_795_000_300),
            attempt: 2,
            databases: vec![OperationDatabase {
                name: DatabaseName::new("rtcxds"),
                guid: Guid::from_bytes([7; 16]),
                role_sequence: 5,
                before: "primary not seen".to_owned(),
            }],
        }
    }

    /// Serialized to the status and back, the state is the same, to the second.
    #[test]
    fn restore_state_of_a_written_status_is_the_same_state() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let operation = operation(at);
        let tracking = TypeTracking {
            last_settled_seat: Some(Seat::Mirror),
            consecutive_failures: 2,
            unrequested_switches: 1,
            last_unrequested_switch: Some(at(1_794_000_000)),
            stable: Some(Stable { epoch: Epoch::new("5-abcd"), since: at(1_794_000_001) }),
            principal_lost_since: Some(at(1_794_000_002)),
            consumed_consent_epoch: Some(Epoch::new("4-abcd")),
        };
        let last = Attempt {
            ended: at(1_793_000_000),
            cause: Cause::FailBack,
            outcome: Outcome::Partial,
            detail: Some("why".to_owned()),
        };
        let request = Request { principal: Seat::Mirror, generation: 3, pending: true };
        let ty = operation.ty;
        let persisted = PersistedState {
            requests: [(ty, request)].into(),
            operation: Some(operation.clone()),
            last: [(ty, last.clone())].into(),
            tracking: [(ty, tracking.clone())].into(),
        };
        let status = LyncPoolMirrorStatus {
            operation: Some(operation_status(&operation)),
            database_types: vec![DatabaseTypeStatus {
                type_: ty,
                desired: Seat::Mirror,
                observed: ObservedPrincipal::Unknown,
                reason: String::new(),
                message: String::new(),
                epoch: None,
                request: Some(RequestStatus {
                    principal: request.principal,
                    generation: request.generation,
                    pending: request.pending,
                }),
                last_move: Some(LastMoveStatus {
                    ended_at: Time(last.ended),
                    cause: last.cause,
                    outcome: last.outcome,
                    detail: last.detail,
                }),
                tracking: tracking_status(&tracking),
                databases: Vec::new(),
            }],
            ..LyncPoolMirrorStatus::default()
        };
        let written = serde_json::to_string(&status).unwrap();
        assert_eq!(restore_state(Some(&serde_json::from_str(&written).unwrap())), persisted);
    }
}
