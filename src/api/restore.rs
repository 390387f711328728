//! Status -> persisted state: restores the planner's state after a restart. Fields that do not parse are dropped.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    ConsentStatus, ForcedDatabaseStatus, LastMoveStatus, LyncPoolMirrorStatus, OperationDatabaseStatus,
    OperationStatus, PairIdentityStatus, ServerIdentityStatus, SessionStatus, Span, StableStatus, TransitionStatus,
    TypeTrackingStatus,
};
use crate::model::{
    Absence, Attempt, Consent, DatabaseName, Epoch, LastRoles, Operation, OperationDatabase, PairIdentity,
    PersistedState, Request, ServerIdentity, Stable, TypeTracking,
};

/// `uid`: of the resource. The status of another resource, such as one that a backup restored, is not its state.
pub fn restore_state(uid: &str, status: Option<&LyncPoolMirrorStatus>) -> PersistedState {
    let Some(status) = status.filter(|status| status.resource_uid.as_deref() == Some(uid)) else {
        return PersistedState::default();
    };
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
                    to_server: moved.to_server.clone(),
                    forced: moved
                        .forced_databases
                        .iter()
                        .map(|forced| (DatabaseName::new(&forced.name), forced.role_sequence))
                        .collect(),
                    synchronized: moved.synchronized,
                    later_failure: moved.later_failure_time.as_ref().map(|at| at.0),
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
    let server =
        |server: &ServerIdentityStatus| ServerIdentity { address: server.address.clone(), name: server.name.clone() };
    let stable = |stable: &StableStatus| Stable { epoch: Epoch::new(stable.epoch.clone()), since: stable.since.0 };
    let consent =
        |consent: &ConsentStatus| Consent { epoch: Epoch::new(consent.epoch.clone()), until: consent.until.0 };
    TypeTracking {
        pair: status
            .pair
            .as_ref()
            .map(|pair| PairIdentity { primary: server(&pair.primary), mirror: server(&pair.mirror) }),
        sessions: status
            .sessions
            .iter()
            .filter_map(|session| Some((DatabaseName::new(&session.database), session.guid.parse().ok()?)))
            .collect(),
        roles: status
            .sessions
            .iter()
            .filter_map(|session| Some((DatabaseName::new(&session.database), roles(session)?)))
            .collect(),
        last_settled_server: status.last_settled_server.clone(),
        was_aligned: status.was_aligned,
        consecutive_failures: status.consecutive_failures,
        unrequested_switches: status.unrequested_switches,
        last_unrequested_switch: status.last_unrequested_switch_time.as_ref().map(|at| at.0),
        stable: status.stable.as_ref().map(stable),
        principal_lost_since: status.principal_lost_since.as_ref().map(|at| at.0),
        consumed_consent: status.consumed_consent.as_ref().map(consent),
        ended_consents: status.ended_consents.iter().map(consent).collect(),
        approval: status.approval.as_ref().map(stable),
        transitions: status.transitions.iter().map(|transition| (transition.kind, transition.since.0)).collect(),
        sequences_differ_since: status.sequences_differ_since.as_ref().map(|at| at.0),
        absence: match (&status.back_since, status.partner_was_away) {
            (Some(since), _) => Some(Absence::BackSince(since.0)),
            (None, true) => Some(Absence::Away),
            (None, false) => None,
        },
    }
}

fn roles(session: &SessionStatus) -> Option<LastRoles> {
    let SessionStatus { principal, primary_role_sequence, mirror_role_sequence, replaced_role_sequence, .. } = session;
    Some(LastRoles {
        principal: (*principal)?,
        primary: (*primary_role_sequence)?,
        mirror: (*mirror_role_sequence)?,
        replaced: *replaced_role_sequence,
    })
}

/// The last move of a type as the status stores it.
pub fn last_move_status(last: &Attempt) -> LastMoveStatus {
    let forced = |(name, sequence): (&DatabaseName, &i32)| ForcedDatabaseStatus {
        name: name.to_string(),
        role_sequence: *sequence,
    };
    LastMoveStatus {
        ended_at: Time(last.ended),
        cause: last.cause,
        outcome: last.outcome,
        detail: last.detail.clone(),
        to_server: last.to_server.clone(),
        forced_databases: last.forced.iter().map(forced).collect(),
        synchronized: last.synchronized,
        later_failure_time: last.later_failure.map(Time),
    }
}

/// The tracking of a type as the status stores it. None if there is nothing to persist.
pub fn tracking_status(tracking: &TypeTracking) -> Option<TypeTrackingStatus> {
    let server =
        |server: &ServerIdentity| ServerIdentityStatus { address: server.address.clone(), name: server.name.clone() };
    let stable = |stable: &Stable| StableStatus { epoch: stable.epoch.to_string(), since: Time(stable.since) };
    let consent = |consent: &Consent| ConsentStatus { epoch: consent.epoch.to_string(), until: Time(consent.until) };
    (*tracking != TypeTracking::default()).then(|| TypeTrackingStatus {
        pair: tracking
            .pair
            .as_ref()
            .map(|pair| PairIdentityStatus { primary: server(&pair.primary), mirror: server(&pair.mirror) }),
        sessions: tracking
            .sessions
            .iter()
            .map(|(name, guid)| {
                let roles = tracking.roles.get(name);
                SessionStatus {
                    database: name.to_string(),
                    guid: guid.to_string(),
                    principal: roles.map(|roles| roles.principal),
                    primary_role_sequence: roles.map(|roles| roles.primary),
                    mirror_role_sequence: roles.map(|roles| roles.mirror),
                    replaced_role_sequence: roles.and_then(|roles| roles.replaced),
                }
            })
            .collect(),
        last_settled_server: tracking.last_settled_server.clone(),
        was_aligned: tracking.was_aligned,
        consecutive_failures: tracking.consecutive_failures,
        unrequested_switches: tracking.unrequested_switches,
        last_unrequested_switch_time: tracking.last_unrequested_switch.map(Time),
        stable: tracking.stable.as_ref().map(stable),
        principal_lost_since: tracking.principal_lost_since.map(Time),
        consumed_consent: tracking.consumed_consent.as_ref().map(consent),
        ended_consents: tracking.ended_consents.iter().map(consent).collect(),
        approval: tracking.approval.as_ref().map(stable),
        transitions: tracking
            .transitions
            .iter()
            .map(|(kind, since)| TransitionStatus { kind: *kind, since: Time(*since) })
            .collect(),
        sequences_differ_since: tracking.sequences_differ_since.map(Time),
        partner_was_away: tracking.absence.is_some(),
        back_since: match tracking.absence {
            Some(Absence::BackSince(since)) => Some(Time(since)),
            Some(Absence::Away) | None => None,
        },
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
        from_server: status.from_server.clone(),
        to_server: status.to_server.clone(),
        cause: status.cause,
        generation: status.generation,
        requested_by: status.requested_via.clone(),
        started: status.started_at.0,
        attempted: status.attempted_at.0,
        deadline: status.deadline.0,
        attempt: status.attempt,
        predicted: status.predicted_interruption.map(|span| span.0),
        databases: databases.filter(|databases| !databases.is_empty())?,
    })
}

/// The journal entry of a move as the status stores it.
pub fn operation_status(operation: &Operation) -> OperationStatus {
    OperationStatus {
        type_: operation.ty,
        from: operation.from,
        to: operation.to,
        from_server: operation.from_server.clone(),
        to_server: operation.to_server.clone(),
        cause: operation.cause,
        generation: operation.generation,
        requested_via: operation.requested_by.clone(),
        started_at: Time(operation.started),
        attempted_at: Time(operation.attempted),
        deadline: Time(operation.deadline),
        attempt: operation.attempt,
        predicted_interruption: operation.predicted.map(Span),
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
    use crate::api::{DatabaseTypeStatus, RequestStatus};
    use crate::model::{Cause, DatabaseType, Guid, ObservedPrincipal, Outcome, Seat, Service, TransitionKind};
    use strum::IntoEnumIterator;

    fn operation(at: impl Fn(i64) -> jiff::Timestamp) -> Operation {
        Operation {
            ty: DatabaseType::User,
            from: Seat::Primary,
            to: Seat::Mirror,
            from_server: Some("SQL-A".to_owned()),
            to_server: Some("SQL-B".to_owned()),
            cause: Cause::ForcedService,
            generation: 3,
            requested_by: Some("argocd".to_owned()),
            started: at(1_795_000_000),
            attempted: at(1_795_000_007),
            deadline: at(1_795_000_300),
            attempt: 2,
            predicted: Some(std::time::Duration::from_secs(45)),
            databases: vec![OperationDatabase {
                name: DatabaseName::new("rtcxds"),
                guid: Guid::from_bytes([7; 16]),
                role_sequence: 5,
                before: "primary not seen".to_owned(),
            }],
        }
    }

    fn tracking(at: impl Fn(i64) -> jiff::Timestamp) -> TypeTracking {
        let server = |name: &str| ServerIdentity { address: format!("{name}.contoso.com,1433"), name: name.to_owned() };
        TypeTracking {
            pair: Some(PairIdentity { primary: server("SQL-A"), mirror: server("SQL-B") }),
            sessions: [(DatabaseName::new("rtcxds"), Guid::from_bytes([7; 16]))].into(),
            roles: [(
                DatabaseName::new("rtcxds"),
                LastRoles { principal: Seat::Mirror, primary: 7, mirror: 8, replaced: Some(7) },
            )]
            .into(),
            last_settled_server: Some("SQL-B".to_owned()),
            was_aligned: true,
            consecutive_failures: 2,
            unrequested_switches: 1,
            last_unrequested_switch: Some(at(1_794_000_000)),
            stable: Some(Stable { epoch: Epoch::new("5-abcd"), since: at(1_794_000_001) }),
            principal_lost_since: Some(at(1_794_000_002)),
            consumed_consent: Some(Consent { epoch: Epoch::new("4-abcd"), until: at(1_795_000_000) }),
            ended_consents: vec![Consent { epoch: Epoch::new("3-abcd"), until: at(1_794_900_000) }],
            approval: Some(Stable { epoch: Epoch::new("5-abcd"), since: at(1_794_000_003) }),
            transitions: TransitionKind::iter().map(|kind| (kind, at(1_794_000_004 + kind as i64))).collect(),
            sequences_differ_since: Some(at(1_794_000_006)),
            absence: Some(Absence::BackSince(at(1_794_000_005))),
        }
    }

    /// Serialized to the status and back, the state is the same, to the second.
    #[test]
    fn restore_state_of_a_written_status_is_the_same_state() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let operation = operation(at);
        let tracking = tracking(at);
        let last = Attempt {
            ended: at(1_793_000_000),
            cause: Cause::FailBack,
            outcome: Outcome::Partial,
            detail: Some("why".to_owned()),
            to_server: Some("SQL-A".to_owned()),
            forced: [(DatabaseName::new("rtcxds"), 7)].into(),
            synchronized: true,
            later_failure: Some(at(1_793_000_100)),
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
            resource_uid: Some("uid-1".to_owned()),
            operation: Some(operation_status(&operation)),
            database_types: vec![DatabaseTypeStatus {
                type_: ty,
                desired: Seat::Mirror,
                observed: ObservedPrincipal::Unknown,
                service: Service::Exposed,
                reason: String::new(),
                message: String::new(),
                epoch: None,
                request: Some(RequestStatus {
                    principal: request.principal,
                    generation: request.generation,
                    pending: request.pending,
                }),
                last_move: Some(last_move_status(&last)),
                tracking: tracking_status(&tracking),
                databases: Vec::new(),
            }],
            ..LyncPoolMirrorStatus::default()
        };
        let written = serde_json::to_string(&status).unwrap();
        let read = serde_json::from_str(&written).unwrap();
        assert_eq!(restore_state("uid-1", Some(&read)), persisted);
        assert_eq!(restore_state("uid-2", Some(&read)), PersistedState::default(), "the status of another resource");
    }
}
