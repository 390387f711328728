//! Events and metrics of a pass. A change of a decision publishes an event, a poll does not.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::api::{LyncPoolMirror, LyncPoolMirrorStatus, restore_state};
use crate::controller::announce::{Announcement, announcements, deleted_during};
use crate::controller::context::Context;
use crate::controller::event_budget::Grant;
use crate::controller::object::{ResourceRef, namespace, namespaced_name};
use crate::controller::pass::Pass;
use crate::controller::snapshot;
use crate::controller::unconfirmed::{Digest, UnconfirmedWrite};
use crate::model::{Observation, Reason};
use crate::plan::Plan;

/// The API server rejects a longer note.
const NOTE_LIMIT: usize = 1000;
/// The limit for an event, because the client retries for minutes while the pass holds its slot.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);

/// Publishes the changes since the last status as events, and updates the metrics of the resource.
pub async fn report(
    ctx: &Context,
    pass: &Pass<'_>,
    status: &LyncPoolMirrorStatus,
    observation: &Observation,
    plan: &Plan,
) {
    let (resource, name, before) = (pass.resource(), pass.name(), pass.identity.status());
    let namespace = namespace(resource);
    ctx.metrics.observe(namespace, &resource.name, snapshot::of(&pass.identity, status, observation, plan));
    if let Some(ended) = &plan.ended {
        let took = snapshot::took(&ended.operation, Timestamp::now());
        ctx.metrics.move_ended(namespace, &resource.name, ended.operation.ty, ended.outcome, took);
    }
    for ty in snapshot::unrequested_switches(before, status) {
        ctx.metrics.unrequested_switch(namespace, &resource.name, ty);
    }
    for announcement in announcements(before, status, plan) {
        info!(resource = name, reason = announcement.reason.name(), note = announcement.note, "publishing an event");
        publish_event(ctx, resource, announcement).await;
    }
    report_second_cms(ctx, resource).await;
}

/// What a pass would publish after a successful write of its status.
pub fn unconfirmed(pass: &Pass<'_>, status: &LyncPoolMirrorStatus, plan: &Plan) -> UnconfirmedWrite {
    let before = pass.identity.status();
    let invalid = new_spec_problem(before, status);
    let invalid = invalid.map(|problem| warning(Reason::InvalidSpec, &problem));
    UnconfirmedWrite {
        uid: pass.uid().to_owned(),
        status: Digest::of(status),
        announcements: announcements(before, status, plan).into_iter().chain(invalid).collect(),
        ended: plan.ended.as_ref().map(|ended| {
            let operation = &ended.operation;
            (operation.ty, ended.outcome, snapshot::took(operation, Timestamp::now()))
        }),
    }
}

/// Publishes what an earlier pass could not, because the API server did not confirm the status that it then applied.
pub async fn report_applied(ctx: &Context, pass: &Pass<'_>) {
    let resource = pass.resource();
    let Some(write) = ctx.unconfirmed.applied(resource, pass.uid(), pass.identity.status()) else { return };
    if let Some((ty, outcome, took)) = write.ended {
        // What the pass that ended the move could not do either.
        ctx.in_flight.forget(pass.uid());
        ctx.drift_schedule.mark_due(resource, &pass.compared());
        ctx.metrics.move_ended(namespace(resource), &resource.name, ty, outcome, took);
    }
    for announcement in write.announcements {
        let (reason, note) = (announcement.reason.name(), &announcement.note);
        info!(resource = pass.name(), reason, note, "publishing an event of a write that was not confirmed");
        publish_event(ctx, resource, announcement).await;
    }
}

/// Publishes that a resource was deleted during its move.
pub async fn report_deletion(ctx: Arc<Context>, resource: ResourceRef, mirror: LyncPoolMirror) {
    let Some(uid) = mirror.metadata.uid.as_deref() else { return };
    let Some(operation) = restore_state(uid, mirror.status.as_ref()).operation else { return };
    let announcement = deleted_during(&operation);
    warn!(resource = namespaced_name(&resource), note = announcement.note, "deleted during a move");
    publish_event(&ctx, &resource, announcement).await;
}

/// Publishes an event if another resource has a Central Management store too. Paired pools have a backup, so it is no error.
async fn report_second_cms(ctx: &Context, resource: &ResourceRef) {
    let name = namespaced_name(resource);
    let others = ctx.ownership.other_central_stores(&name, |other| ctx.exists(other)).join(", ");
    if !others.is_empty() && ctx.announced_once(resource, Reason::SecondCentralMgmt.name().to_owned(), &others) {
        let note = format!(
            "CentralMgmt is also managed on other servers by {others}. Paired pools need that for the backup. To fix any other case: correct the servers in the spec of the wrong resource."
        );
        publish_event(ctx, resource, Announcement::new(Reason::SecondCentralMgmt, "Compare", note)).await;
    }
}

/// Publishes an event about the resource itself, not about its databases.
pub async fn publish_warning(ctx: &Context, resource: &ResourceRef, reason: Reason, problem: &str) {
    publish_event(ctx, resource, warning(reason, problem)).await;
}

fn warning(reason: Reason, problem: &str) -> Announcement {
    // The recorder merges events with the same action and drops the later note, so the action contains a hash of the note.
    let mut hasher = DefaultHasher::new();
    problem.hash(&mut hasher);
    Announcement::new(reason, format!("Read-{:08x}", hasher.finish() & 0xffff_ffff), problem)
}

/// Publishes the problems of a spec, once for each text.
pub async fn report_invalid_spec(
    ctx: &Context,
    resource: &ResourceRef,
    before: Option<&LyncPoolMirrorStatus>,
    now: &LyncPoolMirrorStatus,
) {
    if let Some(problem) = new_spec_problem(before, now) {
        warn!(resource = namespaced_name(resource), problem, "invalid spec");
        publish_warning(ctx, resource, Reason::InvalidSpec, &problem).await;
    }
}

fn new_spec_problem(before: Option<&LyncPoolMirrorStatus>, now: &LyncPoolMirrorStatus) -> Option<String> {
    let problems = &now.spec_problems;
    let known = before.is_some_and(|before| before.spec_problems == *problems);
    (!problems.is_empty() && !known)
        .then(|| format!("{} No move starts until the spec is corrected.", problems.join(" ")))
}

async fn publish_event(ctx: &Context, resource: &ResourceRef, announcement: Announcement) {
    let Some(recorder) = &ctx.recorder else { return };
    let Announcement { warns, reason, action, note } = announcement;
    let namespace = namespace(resource);
    if let Grant::Drop { is_news } = ctx.event_budget.take(namespace, reason, Instant::now()) {
        ctx.metrics.event_dropped();
        if is_news {
            warn!(namespace, "the resources of the namespace change too often, so that their events are dropped");
        }
        return;
    }
    let type_ = if warns { EventType::Warning } else { EventType::Normal };
    let note = note.chars().take(NOTE_LIMIT).collect();
    let event = Event { type_, reason: reason.name().to_owned(), note: Some(note), action, secondary: None };
    let reference = resource.clone().into();
    // The status contains the same information, so that a failure is not an error.
    match timeout(PUBLISH_TIMEOUT, recorder.publish(&event, &reference)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(resource = namespaced_name(resource), %error, "cannot publish the event"),
        Err(_) => debug!(resource = namespaced_name(resource), "cannot publish the event in time"),
    }
}
