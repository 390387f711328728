//! The planner: one database type after the other, then the schedule across them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Attempt, Cause, DatabaseName, DatabaseType, Desired, DesiredType, Failover, Observation, Operation, PersistedState,
    Reason, Service, TypeTracking, later,
};
use crate::plan::finding::{Finding, assess, epoch, observed_principal, seat_of};
use crate::plan::operation::{self, OperationState};
use crate::plan::precondition::{Precondition, Preconditions};
use crate::plan::row::same_name;
use crate::plan::types::{Case, Ended, Input, Plan, Progress, Release, Requeue, TypePlan};
use crate::plan::{decide, forced_record, forced_service, schedule, statements, third_partner, tracking};

/// The servers are polled closely for this long after a move.
const AFTERCARE: Duration = Duration::from_secs(60);

/// The plan for `desired`, given the observation and the persisted state.
pub fn plan(desired: &Desired, observation: &Observation, persisted: &PersistedState, now: Timestamp) -> Plan {
    plan_with(&Preconditions::default(), desired, observation, persisted, now)
}

/// [`plan`] with chosen preconditions, for the model check.
pub fn plan_with(
    preconditions: &Preconditions,
    desired: &Desired,
    observation: &Observation,
    persisted: &PersistedState,
    now: Timestamp,
) -> Plan {
    let input = Input { preconditions, desired, observation, now };
    let mut persisted = persisted.clone();
    let mut desired_types: Vec<DesiredType> = desired.types.clone();
    desired_types.sort_by_key(|desired_type| desired_type.ty);
    let mut found: Vec<Vec<Finding>> = desired_types
        .iter()
        .map(|desired_type| {
            let pair = observation.pair(desired_type.store);
            let mut findings: Vec<Finding> =
                desired_type.databases.iter().map(|name| assess(preconditions, pair, name)).collect();
            third_partner::mark(persisted.tracking.get(&desired_type.ty), pair, &mut findings);
            findings
        })
        .collect();

    let Checked { mut steps, progress, ended } = check_operation(&input, &mut persisted);
    for (desired_type, findings) in desired_types.iter().zip(&mut found) {
        tracking::update(&input, &mut persisted, desired_type, findings, ended.as_ref());
    }
    let mut types = BTreeMap::new();
    for (desired_type, findings) in desired_types.into_iter().zip(found) {
        types.insert(desired_type.ty, type_plan(input, &persisted, desired_type, findings, progress.as_ref()));
    }
    if let Some(operation) = persisted.operation.as_ref().filter(|_| input.enforced(Precondition::OneOperation)) {
        schedule::wait_for(&input, &persisted, &mut types, operation);
    }
    if input.satisfied(Precondition::OneOperation, persisted.operation.is_none())
        && let Some((operation, begun)) = schedule::start_next(&input, &persisted, &mut types)
    {
        if let Some(plan) = types.get(&operation.ty) {
            tracking::operation_started(&mut persisted, &plan.desired_type, operation.cause, now);
        }
        steps = begun;
        persisted.operation = Some(operation);
    }
    for plan in types.values_mut() {
        // The first word of every message.
        plan.verdict.message = format!("{}. {}", plan.service, plan.verdict.message);
    }
    let requeue = requeue(desired, &types, &persisted, now);
    Plan { types, persisted, steps, ended, requeue }
}

/// What the check of the move in flight showed.
#[derive(Default)]
struct Checked {
    steps: Vec<Failover>,
    progress: Option<Progress>,
    ended: Option<Ended>,
}

fn check_operation(input: &Input, persisted: &mut PersistedState) -> Checked {
    match operation::check(input, persisted) {
        OperationState::None => Checked::default(),
        OperationState::InProgress(progress) => Checked { progress: Some(progress), ..Checked::default() },
        OperationState::Retry(operation, steps, progress) => {
            persisted.operation = Some(operation);
            Checked { steps, progress: Some(progress), ended: None }
        }
        OperationState::Ended(over) => {
            let Operation { ty, cause, .. } = over.operation;
            let attempt = Attempt {
                detail: over.detail.clone(),
                to_server: over.operation.to_server.clone(),
                forced: forced_databases(&over.operation),
                ..Attempt::new(input.now, cause, over.outcome)
            };
            forced_record::record_end(persisted, ty, attempt);
            persisted.operation = None;
            Checked { ended: Some(over), ..Checked::default() }
        }
    }
}

fn forced_databases(operation: &Operation) -> BTreeMap<DatabaseName, i32> {
    let forced = operation.databases.iter().filter(|_| operation.cause == Cause::ForcedService);
    forced.map(|database| (database.name.clone(), database.role_sequence)).collect()
}

fn type_plan(
    input: Input,
    persisted: &PersistedState,
    desired_type: DesiredType,
    findings: Vec<Finding>,
    progress: Option<&Progress>,
) -> TypePlan {
    let untracked = TypeTracking::default();
    let in_flight = persisted.operation.as_ref().filter(|operation| operation.ty == desired_type.ty);
    let case = Case {
        input,
        pair: input.observation.pair(desired_type.store),
        persisted,
        desired_type: &desired_type,
        findings: &findings,
        tracking: persisted.tracking.get(&desired_type.ty).unwrap_or(&untracked),
        progress: in_flight.and(progress),
    };
    let verdict = decide::verdict(&case);
    let next = if in_flight.is_some() { Vec::new() } else { statements::next(&case) };
    TypePlan {
        observed: observed_principal(&findings),
        epoch: epoch(&findings),
        service: Service::worst(findings.iter().map(|finding| finding.service)),
        next,
        ready: matches!(verdict.release, Release::Ready(_)),
        switched: is_switched(&case, verdict.reason),
        forced_on: forced_service::forced_seat(&case, in_flight),
        verdict,
        findings,
        desired_type,
    }
}

/// The present principal is not where the spec, or the last pass in which both servers agreed, had it.
fn is_switched(case: &Case, reason: Reason) -> bool {
    let holder = seat_of(case.findings).and_then(|seat| case.pair.view(seat).available());
    let settled = case.tracking.last_settled_server.as_deref();
    let last = case.persisted.last.get(&case.desired_type.ty);
    matches!(reason, Reason::UnexpectedPrincipal | Reason::ServiceForced)
        || last.is_some_and(Attempt::may_be_forced)
        || settled.zip(holder).is_some_and(|(settled, holder)| !same_name(settled, &holder.name))
}

fn requeue(
    desired: &Desired,
    types: &BTreeMap<DatabaseType, TypePlan>,
    persisted: &PersistedState,
    now: Timestamp,
) -> Requeue {
    if persisted.operation.as_ref().is_some_and(|operation| types.contains_key(&operation.ty)) {
        return Requeue::Now;
    }
    let fresh = persisted.last.values().any(|attempt| now < later(attempt.last_end(), AFTERCARE));
    let restless = types.values().any(|plan| {
        matches!(
            plan.verdict.reason,
            Reason::Synchronizing | Reason::Unsettled | Reason::FailoverInProgress | Reason::WaitingForTurn
        ) || plan.findings.iter().any(|finding| !finding.agreed)
    });
    if fresh && restless {
        return Requeue::Soon;
    }
    let timers = types
        .values()
        .filter_map(|plan| plan.verdict.until)
        .chain(desired.suspend.iter().filter_map(|suspend| suspend.until))
        .filter(|at| *at > now);
    timers.min().map_or(Requeue::Idle, Requeue::At)
}
