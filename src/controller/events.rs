//! Events and metrics: one event per change of a decision, none per poll.

use kube::runtime::events::{Event, EventType};
use tracing::{debug, info};

use crate::api::LyncPoolMirrorStatus;
use crate::controller::context::Context;
use crate::controller::object::{ResourceRef, namespace, namespaced_name};
use crate::controller::pass::Pass;
use crate::metrics::{DatabaseSnapshot, ResourceSnapshot, TypeSnapshot};
use crate::model::{Effect, Observation, Outcome, Pair, Reason, Seat};
use crate::plan::{Finding, Plan, TypePlan};

/// Kubernetes refuses a longer note.
const NOTE: usize = 1000;

/// Publishes what changed against the status before, and updates the metrics of the resource.
pub async fn report(
    ctx: &Context,
    pass: &Pass<'_>,
    status: &LyncPoolMirrorStatus,
    observation: &Observation,
    plan: &Plan,
) {
    let (resource, name, before) = (pass.resource(), pass.name(), pass.identity.status());
    let namespace = namespace(resource);
    ctx.metrics.observe(namespace, &resource.name, snapshot(status, observation, plan));
    if let Some(ended) = &plan.ended {
        ctx.metrics.move_ended(namespace, &resource.name, ended.operation.ty, ended.outcome);
    }
    for (reason, action, note) in changed_decisions(before, plan) {
        info!(resource = name, reason = reason.name(), note, "announced");
        publish_event(ctx, resource, reason, action, note).await;
    }
    if let Some(found) = new_drift(before, status) {
        publish_event(ctx, resource, Reason::PostSwitchDrift, "Compare".to_owned(), found).await;
    }
    report_second_cms(ctx, resource).await;
}

/// Two Central Management stores are legal (paired pools hold a backup): an event, once.
async fn report_second_cms(ctx: &Context, resource: &ResourceRef) {
    let (name, existing) = (namespaced_name(resource), ctx.existing());
    let others = ctx.ownership.other_central_stores(&name, |other| existing.contains(other)).join(", ");
    if !others.is_empty() && ctx.announced_once(format!("{name} and {others}")) {
        let note = format!(
            "CentralMgmt is also managed on other servers, by {others}: right for paired pools, where one of them is the backup; otherwise one of the resources names the wrong servers"
        );
        publish_event(ctx, resource, Reason::SecondCentralMgmt, "Compare".to_owned(), note).await;
    }
}

/// An event about the resource itself, not about its databases.
pub async fn publish_warning(ctx: &Context, resource: &ResourceRef, reason: Reason, problem: &str) {
    publish_event(ctx, resource, reason, "Read".to_owned(), problem.to_owned()).await;
}

async fn publish_event(ctx: &Context, resource: &ResourceRef, reason: Reason, action: String, note: String) {
    let type_ = match reason.effect() {
        Effect::Ready | Effect::Reconciling => EventType::Normal,
        Effect::Stalled => EventType::Warning,
    };
    let note = note.chars().take(NOTE).collect();
    let event = Event { type_, reason: reason.name().to_owned(), note: Some(note), action, secondary: None };
    // The status has the same content, so that a lost event loses nothing.
    if let Err(error) = ctx.recorder.publish(&event, &resource.clone().into()).await {
        debug!(resource = namespaced_name(resource), %error, "event not recorded");
    }
}

/// What a role switch left behind, when that is news.
fn new_drift(before: Option<&LyncPoolMirrorStatus>, now: &LyncPoolMirrorStatus) -> Option<String> {
    let condition = |status: &LyncPoolMirrorStatus| {
        let found = status.conditions.iter().find(|condition| condition.reason == Reason::PostSwitchDrift.name());
        found.map(|condition| condition.message.clone())
    };
    condition(now).filter(|found| before.and_then(condition).as_ref() != Some(found))
}

/// What is new against the status before. The action tells types apart: the recorder folds events that agree in it.
fn changed_decisions(before: Option<&LyncPoolMirrorStatus>, plan: &Plan) -> Vec<(Reason, String, String)> {
    let mut news = Vec::new();
    if let (Some(operation), false) = (&plan.persisted.operation, plan.steps.is_empty()) {
        let reason = if operation.attempt == 1 { Reason::MoveStarted } else { Reason::MoveRetried };
        let names = plan.steps.iter().map(|step| step.database.to_string()).collect::<Vec<_>>().join(", ");
        news.push((
            reason,
            format!("Move{}-{}", operation.ty, operation.attempt),
            format!("moving {} to the {} ({}): {names}", operation.ty, operation.to.word(), operation.cause),
        ));
    }
    if let Some(ended) = &plan.ended {
        let (reason, word) = match ended.outcome {
            Outcome::Succeeded => (Reason::MoveSucceeded, "moved"),
            Outcome::Failed => (Reason::MoveFailed, "not moved"),
            Outcome::Partial => (Reason::MoveFailed, "moved in part"),
            Outcome::Superseded => (Reason::MoveSuperseded, "move given up"),
        };
        let operation = &ended.operation;
        let detail = ended.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        news.push((
            reason,
            format!("End{}-{}", operation.ty, operation.started.as_second()),
            format!("{} to the {}: {word}{detail}", operation.ty, operation.to.word()),
        ));
    }
    for (ty, of) in &plan.types {
        let old = before.and_then(|status| status.database_types.iter().find(|old| old.type_ == *ty));
        let reason = of.verdict.reason;
        let told = matches!(reason, Reason::Moving | Reason::Verifying);
        if !told && old.is_none_or(|old| old.reason != reason.name()) {
            news.push((reason, format!("Judge{ty}"), of.verdict.message.clone()));
        }
    }
    news
}

fn snapshot(status: &LyncPoolMirrorStatus, observation: &Observation, plan: &Plan) -> ResourceSnapshot {
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    let holds = |kind: &str| condition(kind).is_some_and(|condition| condition.status == "True");
    let reason = condition("Ready").and_then(|ready| ready.reason.parse().ok()).unwrap_or(Reason::NotYetObserved);
    ResourceSnapshot {
        ready: holds("Ready"),
        reason,
        suspended: holds("Suspended"),
        weak_encryption: holds("WeakEncryption"),
        types: plan.types.values().map(|planned| type_snapshot(planned, observation)).collect(),
    }
}

fn type_snapshot(planned: &TypePlan, observation: &Observation) -> TypeSnapshot {
    let pair = observation.pair(planned.desired_type.store);
    TypeSnapshot {
        ty: planned.desired_type.ty,
        desired: planned.desired_type.principal,
        observed: planned.observed,
        reason: planned.verdict.reason,
        databases: planned.findings.iter().map(|finding| database_snapshot(finding, pair)).collect(),
    }
}

fn database_snapshot(finding: &Finding, pair: &Pair) -> DatabaseSnapshot {
    let state = |seat: Seat| {
        let row = pair.view(seat).available()?.databases.get(&finding.name)?;
        Some((seat, row.mirroring.as_ref()?.state))
    };
    DatabaseSnapshot {
        name: finding.name.to_string(),
        states: Seat::BOTH.into_iter().filter_map(state).collect(),
        redo_queue_kb: pair.redo_queue_kb(&finding.name),
    }
}
