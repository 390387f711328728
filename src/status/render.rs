//! Plan, observation and previous status -> status. Pure. A poll without news must not change the status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    DatabaseStatus, DatabaseTypeStatus, LyncPoolMirrorStatus, ParsedSpec, PlannedStep, RequestStatus, ServerStatus,
    last_move_status, operation_status, tracking_status,
};
use crate::model::{
    Act, DatabaseName, Desired, DesiredType, Failover, Observation, Pair, Reason, Role, Seat, ServerObservation,
    Service, duration_text, queue_class,
};
use crate::plan::{Finding, Obstacle, Plan, Severity, TypePlan, coarse, next_window, predict};
use crate::sql;
use crate::status::age::confirmed;
use crate::status::drift;
use crate::status::input::Input;
use crate::status::servers::{self, Memory};
use crate::status::{conditions, history, limits, remarks, unmanaged, unobserved};

/// The largest number of problems of the spec in the status.
pub(super) const PROBLEMS: usize = 20;

pub fn render(input: &Input) -> LyncPoolMirrorStatus {
    let Input { spec, observation, plan, now, .. } = *input;
    // A backup may have restored the status of another resource.
    let before = input.before.filter(|status| status.resource_uid.as_deref() == Some(input.uid));
    let history = history::history(input);
    let remembered = before.map(|status| status.servers.as_slice()).unwrap_or_default();
    let memory = Memory { before: remembered, last_reads: input.last_reads, now };
    let servers = servers::servers(spec, observation, plan, memory);
    let comparison = drift::comparison(input);
    let status = limits::bounded(LyncPoolMirrorStatus {
        observed_generation: Some(spec.desired.generation),
        resource_uid: Some(input.uid.to_owned()),
        service: Some(service(plan, &spec.desired)),
        principals: Some(principals(plan, &spec.desired)),
        last_move_time: history.first().map(|entry| entry.ended_at.clone()),
        redo_queue: observation.pairs.iter().filter_map(Pair::largest_redo_queue_kb).max().map(redo_bucket),
        spec_problems: spec.desired.problems.iter().take(PROBLEMS).cloned().collect(),
        conditions: conditions::conditions(input, &servers, &comparison),
        database_types: plan
            .types
            .values()
            .map(|planned| type_status(planned, plan, observation, &servers))
            .chain(unobserved::types(&spec.desired, before))
            .collect(),
        servers,
        unmanaged_databases: unmanaged::databases(spec, observation),
        plan: planned_statements(plan, observation),
        next_maintenance_window: next_maintenance_window(spec, plan, now),
        operation: plan.persisted.operation.as_ref().map(operation_status),
        post_switch_differences: drift::differences(&comparison, before),
        history,
        observed_time: None,
    });
    confirmed(status, before, now)
}

/// The worst service of all types. What the operator does not observe is Unknown.
fn service(plan: &Plan, desired: &Desired) -> Service {
    let unobserved = desired.unusable.keys().map(|_| Service::Unknown);
    Service::worst(plan.types.values().map(|planned| planned.service).chain(unobserved))
}

/// `User=Primary CentralMgmt=Mirror!`, in the order of the turns.
fn principals(plan: &Plan, desired: &Desired) -> String {
    let entries = plan.types.iter().map(|(ty, planned)| {
        let observed = planned.observed;
        // A principal without quorum serves no client, whether or not that is proved.
        let serves = planned.service != Service::NotServed && planned.verdict.reason != Reason::NoQuorum;
        let mark = if planned.is_aligned() && serves { "" } else { "!" };
        format!("{ty}={observed}{mark}")
    });
    let unobserved = desired.unusable.keys().map(|ty| unobserved::principal(*ty));
    entries.chain(unobserved).collect::<Vec<_>>().join(" ")
}

fn type_status(
    planned: &TypePlan,
    plan: &Plan,
    observation: &Observation,
    servers: &[ServerStatus],
) -> DatabaseTypeStatus {
    let ty = planned.desired_type.ty;
    let pair = observation.pair(planned.desired_type.store);
    DatabaseTypeStatus {
        type_: ty,
        desired: planned.desired_type.principal,
        observed: planned.observed,
        service: planned.service,
        reason: planned.verdict.reason.name().to_owned(),
        message: format!(
            "{}{}{}",
            planned.verdict.message,
            remarks::of(planned, pair, plan.persisted.tracking.get(&ty)),
            servers::absences(pair, servers)
        ),
        epoch: planned.epoch.as_ref().map(ToString::to_string),
        request: plan.persisted.requests.get(&ty).map(|request| RequestStatus {
            principal: request.principal,
            generation: request.generation,
            pending: request.pending,
        }),
        last_move: plan.persisted.last.get(&ty).map(last_move_status),
        tracking: plan.persisted.tracking.get(&ty).and_then(tracking_status),
        databases: planned.findings.iter().map(|finding| database_status(finding, pair)).collect(),
    }
}

fn database_status(finding: &Finding, pair: &Pair) -> DatabaseStatus {
    let [(state_on_primary, mirroring_status_on_primary), (state_on_mirror, mirroring_status_on_mirror)] =
        [&pair.primary, &pair.mirror].map(|view| cmdlet_state(view, &finding.name));
    let session = |seat: Seat| pair.row(seat, &finding.name);
    let holder =
        finding.principal.and_then(session).or_else(|| session(Seat::Primary)).or_else(|| session(Seat::Mirror));
    DatabaseStatus {
        name: finding.name.to_string(),
        state_on_primary,
        state_on_mirror,
        mirroring_status_on_primary,
        mirroring_status_on_mirror,
        safety: holder.map(|mirroring| mirroring.safety.to_string()),
        witness: holder.map(|mirroring| mirroring.witness.to_string()),
        redo_queue: pair.redo_queue_kb(&finding.name).map(redo_bucket),
        reason: finding.obstacle.as_ref().map(|obstacle| obstacle.reason().name().to_owned()),
    }
}

/// Role and state with the values of Get-CsDatabaseMirrorState.
fn cmdlet_state(view: &ServerObservation, name: &DatabaseName) -> (String, String) {
    let mirroring = view.available().and_then(|server| server.databases.get(name)?.mirroring.as_ref());
    match mirroring {
        Some(mirroring) => (mirroring.role.to_string(), mirroring.state.to_string()),
        None => ("DatabaseInaccessibleOrMirroringNotEnabled".to_owned(), String::new()),
    }
}

/// A range, because an exact size would cause a write of the status after every poll.
fn redo_bucket(kb: i64) -> String {
    ["<1MB", "<10MB", "<100MB", "<1GB", ">=1GB"][queue_class(kb)].to_owned()
}

/// Every statement that the spec wants next, also while an obstacle holds it back: `why` names what it waits for.
fn planned_statements(plan: &Plan, observation: &Observation) -> Vec<PlannedStep> {
    let mut steps = Vec::new();
    for planned in plan.types.values() {
        if is_stopped(planned) {
            continue;
        }
        if planned.next.is_empty() {
            let pair = observation.pair(planned.desired_type.store);
            let settled = is_settled(plan, planned);
            let wanted = planned.findings.iter().filter(|finding| is_wanted(planned, finding, pair, settled));
            steps.extend(wanted.map(|finding| wanted_statement(planned, &finding.name, observation)));
        } else {
            steps.extend(planned.next.iter().map(|step| planned_statement(planned, step, observation)));
        }
    }
    steps
}

/// No statement follows from this state by itself: the session is in doubt, or the last failover is not retried.
fn is_stopped(planned: &TypePlan) -> bool {
    planned.verdict.reason == Reason::SwitchOverdue
        || planned.findings.iter().any(|finding| match &finding.obstacle {
            Some(Obstacle::IsolatedPrincipal { .. }) => planned.verdict.reason == Reason::UnexpectedPrincipal,
            // A failover to an older version is not possible.
            Some(Obstacle::ApartWithoutQuorum { .. } | Obstacle::Suspended { versions: Some(_), .. }) => true,
            Some(obstacle) => obstacle.severity() <= Severity::PartnerOutside,
            None => false,
        })
}

/// The principals were last observed in the seat that the spec wants, and no move is requested.
fn is_settled(plan: &Plan, planned: &TypePlan) -> bool {
    let DesiredType { ty, principal, .. } = &planned.desired_type;
    let requested = plan.persisted.requests.get(ty).is_some_and(|request| request.pending);
    let last = plan.persisted.tracking.get(ty).and_then(|tracking| {
        Some((tracking.pair.as_ref()?.server(*principal).name.as_str(), tracking.last_settled_server.as_deref()?))
    });
    !requested && last.is_some_and(|(wanted, last)| wanted.eq_ignore_ascii_case(last))
}

/// The principal of the database is, or may be, in the other seat than the spec wants.
fn is_wanted(planned: &TypePlan, finding: &Finding, pair: &Pair, settled: bool) -> bool {
    let other = planned.desired_type.principal.other();
    match finding.principal {
        Some(seat) => seat == other,
        None if settled => false,
        None => pair.row(other, &finding.name).is_none_or(|row| row.role != Role::Mirror),
    }
}

fn wanted_statement(planned: &TypePlan, name: &DatabaseName, observation: &Observation) -> PlannedStep {
    let pair = observation.pair(planned.desired_type.store);
    let seat = planned.desired_type.principal.other();
    let view = pair.view(seat);
    PlannedStep {
        type_: planned.desired_type.ty,
        database: name.to_string(),
        statement: sql::statement(Act::Failover, name),
        server: view.available().map_or_else(|| view.address().to_owned(), |server| server.name.clone()),
        seat,
        why: planned.verdict.reason.name().to_owned(),
        predicted_interruption: predict(pair, name).map(|exact| duration_text(coarse(exact))),
    }
}

fn planned_statement(planned: &TypePlan, step: &Failover, observation: &Observation) -> PlannedStep {
    let predicted = match step.act {
        Act::Failover => predict(observation.pair(planned.desired_type.store), &step.database),
        Act::ForceService => None,
    };
    PlannedStep {
        type_: planned.desired_type.ty,
        database: step.database.to_string(),
        statement: sql::statement(step.act, &step.database),
        server: step.server.clone(),
        seat: step.on,
        why: planned.verdict.reason.name().to_owned(),
        predicted_interruption: predicted.map(|exact| duration_text(coarse(exact))),
    }
}

/// Set only while a fail-back waits, because it would otherwise change with every past window.
fn next_maintenance_window(spec: &ParsedSpec, plan: &Plan, now: Timestamp) -> Option<Time> {
    plan.types.values().find(|planned| planned.verdict.reason == Reason::FailBackPending)?;
    next_window(&spec.desired.policy.windows, now).map(|(at, _)| Time(at))
}
