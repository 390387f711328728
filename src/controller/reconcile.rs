//! A reconcile pass: connect, observe, plan, publish, execute, report. The publication contains the journal, so it comes
//! before the execution.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use tracing::info;

use crate::api::{LyncPoolMirror, parse, restore_state};
use crate::controller::Error;
use crate::controller::connections::connect;
use crate::controller::context::Context;
use crate::controller::drift_check::compare_when_due;
use crate::controller::events::{report, report_applied, report_invalid_spec};
use crate::controller::execute::execute;
use crate::controller::movement::Reservation;
use crate::controller::object::{ResourceRef, WatchedResource, namespace, namespaced_name};
use crate::controller::observe::{awaited, observe};
use crate::controller::pass::{Identity, Pass};
use crate::controller::retries::spread;
use crate::controller::slots::Slot;
use crate::controller::status_writer::{publish, publish_undecodable};
use crate::model::{Observation, Pair, Reason, ServerObservation, queue_class, whole_seconds};
use crate::plan::{Plan, Requeue, plan};
use crate::sql::Purpose;

/// The time between two passes of a resource about which nothing changes, spread over the second half of it. Such a pass
/// reads a changed Secret and updates the length of the queues in the metrics.
const SETTLED: Duration = Duration::from_secs(60);
/// The same for a resource with an unavailable server, a conflict, a queue or a turn to wait for.
const UNSETTLED: Duration = Duration::from_secs(10);

pub async fn reconcile(resource: Arc<WatchedResource>, ctx: Arc<Context>) -> Result<Action, Error> {
    // A standby does nothing. The start of leadership triggers every resource.
    if !ctx.leadership.leads() {
        return Ok(Action::requeue(SETTLED));
    }
    let moves = |mirror: &LyncPoolMirror| mirror.status.as_ref().is_some_and(|status| status.operation.is_some());
    let purpose = if resource.0.as_ref().is_ok_and(moves) { Purpose::Move } else { Purpose::Poll };
    let mut slot = ctx.slots.acquire(namespace(&ResourceRef::from_obj(&*resource)), purpose).await;
    // Boxed after the wait, so that a waiting pass needs little memory.
    Box::pin(reconcile_in(&mut slot, &resource, &ctx)).await
}

async fn reconcile_in(
    slot: &mut Slot<'_>,
    resource: &Arc<WatchedResource>,
    ctx: &Arc<Context>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let name = ResourceRef::from_obj(&**resource);
    let result = match &resource.0 {
        // The lease can have expired, and the resource can have been deleted, during the wait for the slot.
        _ if !ctx.leadership.leads() => Ok(Action::requeue(SETTLED)),
        _ if !ctx.exists(&namespaced_name(&name)) => Ok(Action::await_change()),
        Ok(mirror) if ctx.unconfirmed.is_replaced(&name, mirror.metadata.resource_version.as_deref()) => {
            // The watch triggers the pass over the new version.
            Ok(Action::requeue(Duration::from_secs(1)))
        }
        Ok(mirror) => reconcile_decoded(slot, mirror, &name, ctx).await,
        Err(_) => {
            ctx.enqueue_each(ctx.movements.forget(&namespaced_name(&name)));
            ctx.ownership.begin_without_databases(&namespaced_name(&name));
            // No poll serves a spec that cannot be decoded.
            ctx.watches.set(&namespaced_name(&name), Vec::new());
            ctx.credentials.forget(&name);
            publish_undecodable(ctx, &name).await.map(|()| Action::await_change())
        }
    };
    if result.is_ok() {
        ctx.retries.forget(&name);
    }
    ctx.metrics.reconciled(result.as_ref().map_or_else(Error::category, |_| "ok"), started.elapsed());
    result
}

async fn reconcile_decoded(
    slot: &mut Slot<'_>,
    mirror: &LyncPoolMirror,
    name: &ResourceRef,
    ctx: &Arc<Context>,
) -> Result<Action, Error> {
    let identity = Identity::new(name, mirror)?;
    let persisted = restore_state(identity.uid, mirror.status.as_ref());
    run_pass(slot, ctx, &Pass { identity, spec: parse(mirror), persisted }).await
}

async fn run_pass(slot: &mut Slot<'_>, ctx: &Arc<Context>, pass: &Pass<'_>) -> Result<Action, Error> {
    let desired = &pass.spec.desired;
    report_applied(ctx, pass).await;
    ctx.ownership.begin(&pass.name(), &pass.spec);
    let connections = connect(ctx, pass).await;
    if connections.are_unpolled() {
        // The end of the first poll triggers the next pass.
        return Ok(Action::requeue(UNSETTLED));
    }
    let mut observation = observe(ctx, pass, &connections);
    let mut planned = plan(desired, &observation, &pass.persisted, now());
    if needs_fresh_observation(&planned) {
        // A move, its journal and its end require polls of the same pass (design rule 1).
        slot.release_during(connections.refresh()).await;
        observation = observe(ctx, pass, &connections);
        planned = plan(desired, &observation, &pass.persisted, now());
    }
    if !planned.steps.is_empty()
        && let Some(holder) = ctx.backend.holder(&pass.spec).await
    {
        info!(resource = pass.name(), holder, "a move waits, because another operator acts on the same servers");
        hold_for(&mut observation, pass, &holder);
        planned = plan(desired, &observation, &pass.persisted, now());
    }
    if !planned.steps.is_empty()
        && let Some(awaited) = awaited(ctx, &pass.name())
    {
        info!(resource = pass.name(), awaited, "a move waits for the first observation of these resources");
        return Ok(Action::requeue(Duration::from_millis(500)));
    }

    let before = ctx.movements.of(&pass.name());
    match ctx.movements.reserve(pass, &planned, &observation, |other| ctx.exists(other)) {
        Reservation::Recorded { waiting } => ctx.enqueue_each(waiting),
        Reservation::Occupied => {
            info!(
                resource = pass.name(),
                "a move waits, because another resource has begun one on the same pair of servers"
            );
            return Ok(Action::requeue(Duration::from_millis(500)));
        }
    }

    ctx.ownership.reserved(&pass.name());
    let published = publish(ctx, pass, &observation, &planned, &connections.last_reads()).await;
    if published.is_err() && !planned.steps.is_empty() {
        // Nothing is sent without its journal. The next pass reserves the pair again.
        ctx.enqueue_each(ctx.movements.restore(&pass.name(), before));
    }
    let status = published?;
    execute(ctx, pass, &connections, &planned);
    report_invalid_spec(ctx, pass.resource(), pass.identity.status(), &status).await;
    report(ctx, pass, &status, &observation, &planned).await;
    let next_comparison = compare_when_due(ctx, pass, &connections, &planned, &status);
    Ok(Action::requeue(pause(&planned, &observation, next_comparison)))
}

/// Every type waits for the operator of a cluster, unless its move is in flight.
fn hold_for(observation: &mut Observation, pass: &Pass<'_>, holder: &str) {
    let types = pass.spec.desired.types.iter().map(|desired_type| desired_type.ty);
    observation.turns.extend(types.map(|ty| (ty, holder.to_owned())));
}

fn now() -> Timestamp {
    whole_seconds(Timestamp::now())
}

/// Handles errors of the Kubernetes API only. An unavailable SQL Server is an observation, not an error.
pub fn error_policy(resource: Arc<WatchedResource>, error: &Error, ctx: Arc<Context>) -> Action {
    Action::requeue(ctx.retries.failed(&ResourceRef::from_obj(&*resource), error))
}

fn needs_fresh_observation(plan: &Plan) -> bool {
    !plan.steps.is_empty()
        || plan.ended.is_some()
        || plan.persisted.operation.as_ref().is_some_and(|operation| plan.types.contains_key(&operation.ty))
        || plan.requeue == Requeue::Soon
}

/// The time until the next pass, if no change of the servers, of the resource or of another resource triggers one before.
fn pause(plan: &Plan, observation: &Observation, next_comparison: Option<Duration>) -> Duration {
    let pairs = || observation.pairs.iter();
    let is_away = |pair: &Pair| pair.primary.available().is_none() || pair.mirror.available().is_none();
    let is_refused = |pair: &Pair| {
        [&pair.primary, &pair.mirror].into_iter().chain(&pair.witness).any(ServerObservation::is_refused_login)
    };
    let has_queue = |pair: &Pair| pair.largest_redo_queue_kb().is_some_and(|kb| queue_class(kb) > 0);
    let unsettled = !observation.conflicts.is_empty() || !observation.turns.is_empty();
    // The credentials of a server that is away can become readable, and the metrics show the queue.
    let timed = |reason: Reason| matches!(reason, Reason::InterruptionTooLong | Reason::WaitingForTurn);
    let unsettled = unsettled || plan.types.values().any(|planned| timed(planned.verdict.reason));
    let watched = unsettled || pairs().any(|pair| is_away(pair) || is_refused(pair) || has_queue(pair));
    let resync = if watched { UNSETTLED } else { spread(SETTLED, RandomState::new().hash_one(())) };
    let resync = next_comparison.map_or(resync, |at| at.min(resync));
    match plan.requeue {
        Requeue::Now => Duration::from_millis(250),
        Requeue::Soon => Duration::from_millis(500),
        Requeue::At(at) => {
            let left = at.duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or(Duration::ZERO).saturating_add(Duration::from_millis(50)).min(resync)
        }
        Requeue::Idle => resync,
    }
}
