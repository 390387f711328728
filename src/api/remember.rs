//! Status -> memory: what the operator wrote before it forgot. Whatever does not parse is forgotten, never guessed.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{LyncPoolMirrorStatus, OperationDatabaseStatus, OperationStatus};
use crate::model::{Attempt, DatabaseName, Memory, Operation, OperationDatabase, Request};

pub fn remember(status: Option<&LyncPoolMirrorStatus>) -> Memory {
    let Some(status) = status else { return Memory::default() };
    let mut requests = BTreeMap::new();
    let mut last = BTreeMap::new();
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
                Attempt { ended: moved.ended_at.0, outcome: moved.outcome, detail: moved.detail.clone() },
            );
        }
    }
    Memory { requests, operation: status.operation.as_ref().and_then(operation), last }
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
            })
        })
        .collect();
    Some(Operation {
        ty: status.type_,
        from: status.from,
        to: status.to,
        cause: status.cause,
        generation: status.generation,
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
            })
            .collect(),
    }
}
