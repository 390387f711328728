//! Status -> memory: what the operator wrote before it forgot. Whatever does not parse is forgotten, never guessed.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{LyncPoolMirrorStatus, OperationDatabaseStatus, OperationStatus, SteadyStatus, TrackStatus};
use crate::model::{Attempt, Cause, DatabaseName, Epoch, Memory, Operation, OperationDatabase, Request, Steady, Track};

pub fn remember(status: Option<&LyncPoolMirrorStatus>) -> Memory {
    let Some(status) = status else { return Memory::default() };
    let mut requests = BTreeMap::new();
    let mut last = BTreeMap::new();
    let mut tracks = BTreeMap::new();
    for ty in &status.database_types {
        if let Some(request) = &ty.request {
            requests.insert(
                ty.type_,
                Request { principal: request.principal, generation: request.generation, owed: request.owed },
            );
        }
        if let Some(moved) = &ty.last_move {
            last.insert(
                ty.type_,
                Attempt {
                    ended: moved.ended_at.0,
                    cause: moved.cause.unwrap_or(Cause::Intent),
                    outcome: moved.outcome,
                    detail: moved.detail.clone(),
                },
            );
        }
        if let Some(track) = &ty.track {
            tracks.insert(ty.type_, self::track(track));
        }
    }
    Memory { requests, operation: status.operation.as_ref().and_then(operation), last, tracks }
}

fn track(status: &TrackStatus) -> Track {
    Track {
        seat: status.seat,
        failures: status.failures,
        switches: status.switches,
        switched: status.last_switch_seen.as_ref().map(|at| at.0),
        steady: status
            .steady
            .as_ref()
            .map(|steady| Steady { epoch: Epoch::new(steady.epoch.clone()), since: steady.since.0 }),
        lost: status.principal_lost_since.as_ref().map(|at| at.0),
        consumed: status.consumed_consent.clone().map(Epoch::new),
    }
}

/// Memory -> status: what was noticed of a type over time. None when there is nothing to remember.
pub fn track_status(track: &Track) -> Option<TrackStatus> {
    (*track != Track::default()).then(|| TrackStatus {
        seat: track.seat,
        failures: track.failures,
        switches: track.switches,
        last_switch_seen: track.switched.map(Time),
        steady: track
            .steady
            .as_ref()
            .map(|steady| SteadyStatus { epoch: steady.epoch.to_string(), since: Time(steady.since) }),
        principal_lost_since: track.lost.map(Time),
        consumed_consent: track.consumed.as_ref().map(ToString::to_string),
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
        asked_by: status.requested_by.clone(),
        started: status.started_at.0,
        attempted: status.attempted_at.0,
        deadline: status.deadline.0,
        attempt: status.attempt,
        databases: databases.filter(|databases| !databases.is_empty())?,
    })
}

/// Memory -> status: the journal entry of a move.
pub fn operation_status(operation: &Operation) -> OperationStatus {
    OperationStatus {
        type_: operation.ty,
        from: operation.from,
        to: operation.to,
        cause: operation.cause,
        generation: operation.generation,
        requested_by: operation.asked_by.clone(),
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
    use crate::api::{DatabaseTypeStatus, LastMoveStatus, ObservedPrincipal, RequestStatus};
    use crate::model::{DatabaseType, Guid, Outcome, Side};

    /// Through the API server and back: what was written is what is remembered, to the second.
    #[test]
    fn a_memory_survives_its_way_through_kubernetes() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let operation = Operation {
            ty: DatabaseType::User,
            from: Side::Primary,
            to: Side::Mirror,
            cause: Cause::ForcedService,
            generation: 3,
            asked_by: Some("argocd".to_owned()),
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
        };
        let track = Track {
            seat: Some(Side::Mirror),
            failures: 2,
            switches: 1,
            switched: Some(at(1_794_000_000)),
            steady: Some(Steady { epoch: Epoch::new("5-abcd"), since: at(1_794_000_001) }),
            lost: Some(at(1_794_000_002)),
            consumed: Some(Epoch::new("4-abcd")),
        };
        let last = Attempt {
            ended: at(1_793_000_000),
            cause: Cause::FailBack,
            outcome: Outcome::Partial,
            detail: Some("why".to_owned()),
        };
        let request = Request { principal: Side::Mirror, generation: 3, owed: true };
        let ty = operation.ty;
        let memory = Memory {
            requests: [(ty, request)].into(),
            operation: Some(operation.clone()),
            last: [(ty, last.clone())].into(),
            tracks: [(ty, track.clone())].into(),
        };
        let status = LyncPoolMirrorStatus {
            operation: Some(operation_status(&operation)),
            database_types: vec![DatabaseTypeStatus {
                type_: ty,
                desired: Side::Mirror,
                observed: ObservedPrincipal::Unknown,
                reason: String::new(),
                message: String::new(),
                epoch: None,
                request: Some(RequestStatus {
                    principal: request.principal,
                    generation: request.generation,
                    owed: request.owed,
                }),
                last_move: Some(LastMoveStatus {
                    ended_at: Time(last.ended),
                    cause: Some(last.cause),
                    outcome: last.outcome,
                    detail: last.detail,
                }),
                track: track_status(&track),
                databases: Vec::new(),
            }],
            ..LyncPoolMirrorStatus::default()
        };
        let written = serde_json::to_string(&status).unwrap();
        assert_eq!(remember(Some(&serde_json::from_str(&written).unwrap())), memory);
    }
}
