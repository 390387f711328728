//! A reconcile pass: connect, observe, plan, publish, execute, report. The publication contains the journal, so it comes
//! before the execution.

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
use crate::controller::object::{ResourceRef, WatchedResource, namespaced_name};
use crate::controller::observe::{Freshness, awaited, observe};
use crate::controller::pass::{Identity, Pass};
use crate::controller::status_writer::{publish, publish_undecodable};
use crate::model::{Observation, ServerObservation, UnavailableCause};
use crate::plan::{Plan, Requeue, plan};

pub async fn reconcile(resource: Arc<WatchedResource>, ctx: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let name = ResourceRef::from_obj(&*resource);
    let result = match &resource.0 {
        // A standby does nothing. The start of leadership triggers every resource.
        _ if !ctx.leadership.leads() => Ok(Action::await_change()),
        Ok(mirror) => reconcile_decoded(mirror, &name, &ctx).await,
        Err(_) => {
            ctx.movements.forget(&namespaced_name(&name));
            ctx.ownership.begin_without_databases(&namespaced_name(&name));
            // No poll serves a spec that cannot be decoded. The entry lets the deletion of the resource prune its metrics.
            ctx.watch(&name, Vec::new());
            ctx.credentials.forget(&name);
            publish_undecodable(&ctx, &name).await.map(|()| Action::await_change())
        }
    };
    ctx.metrics.reconciled(result.as_ref().map_or_else(Error::category, |_| "ok"), started.elapsed());
    result
}

async fn reconcile_decoded(mirror: &LyncPoolMirror, name: &ResourceRef, ctx: &Arc<Context>) -> Result<Action, Error> {
    let identity = Identity::new(name, mirror)?;
    let persisted = restore_state(identity.uid, mirror.status.as_ref());
    run_pass(ctx, &Pass { identity, spec: parse(mirror), persisted }).await
}

async fn run_pass(ctx: &Arc<Context>, pass: &Pass<'_>) -> Result<Action, Error> {
    let desired = &pass.spec.desired;
    report_applied(ctx, pass).await;
    ctx.ownership.begin(&pass.name(), &pass.spec);
    let connections = connect(ctx, pass).await;
    let mut observation = observe(ctx, pass, &connections, Freshness::Latest).await;
    let mut planned = plan(desired, &observation, &pass.persisted, now());
    if needs_fresh_observation(&planned, &observation) {
        // A move, its journal and its end require polls of the same pass (design rule 1).
        observation = observe(ctx, pass, &connections, Freshness::Now).await;
        planned = plan(desired, &observation, &pass.persisted, now());
    }
    if !planned.steps.is_empty()
        && let Some(awaited) = awaited(ctx, &pass.name())
    {
        info!(resource = pass.name(), awaited, "a move waits for the first observation of these resources");
        return Ok(Action::requeue(Duration::from_millis(500)));
    }

    let existing = ctx.existing();
    let before = ctx.movements.of(&pass.name());
    if !ctx.movements.reserve(pass, &planned, &observation, |other| existing.contains(other)) {
        info!(
            resource = pass.name(),
            "a move waits, because another resource has begun one on the same pair of servers"
        );
        return Ok(Action::requeue(Duration::from_millis(500)));
    }

    ctx.ownership.reserved(&pass.name());
    let published = publish(ctx, pass, &observation, &planned, &connections.last_reads()).await;
    if published.is_err() && !planned.steps.is_empty() {
        // Nothing is sent without its journal. The next pass reserves the pair again.
        ctx.movements.restore(&pass.name(), before);
    }
    let status = published?;
    execute(ctx, pass, &connections, &planned);
    report_invalid_spec(ctx, pass.resource(), pass.identity.status(), &status).await;
    report(ctx, pass, &status, &observation, &planned).await;
    compare_when_due(ctx, pass, &connections, &planned, &status);
    Ok(requeue(&planned, &observation))
}

/// The current time in whole seconds, as Kubernetes writes times: a journal must not change when it is read back.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Handles errors of the Kubernetes API only. An unavailable SQL Server is an observation, not an error.
pub fn error_policy(_: Arc<WatchedResource>, error: &Error, _: Arc<Context>) -> Action {
    Action::requeue(error.pause())
}

fn needs_fresh_observation(plan: &Plan, observation: &Observation) -> bool {
    let unpolled =
        observation.pairs.iter().any(|pair| [&pair.primary, &pair.mirror].into_iter().any(is_not_yet_polled));
    unpolled
        || !plan.steps.is_empty()
        || plan.ended.is_some()
        || plan.persisted.operation.as_ref().is_some_and(|operation| plan.types.contains_key(&operation.ty))
        || plan.requeue == Requeue::Soon
}

fn is_not_yet_polled(server: &ServerObservation) -> bool {
    matches!(server, ServerObservation::Unavailable { unavailable, .. } if unavailable.cause == UnavailableCause::NotYetPolled)
}

/// The time of the next pass. Changes of the servers and of the resource trigger an earlier pass.
fn requeue(plan: &Plan, observation: &Observation) -> Action {
    let has_unavailable_partner =
        observation.pairs.iter().any(|pair| pair.primary.available().is_none() || pair.mirror.available().is_none());
    // At most the maximum age of a cached Secret, so that a rotated password is picked up without a watch of Secrets.
    let resync = Duration::from_secs(if has_unavailable_partner || !observation.conflicts.is_empty() { 5 } else { 10 });
    Action::requeue(match plan.requeue {
        Requeue::Now => Duration::from_millis(250),
        Requeue::Soon => Duration::from_millis(500),
        Requeue::At(at) => {
            let left = at.duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or(Duration::ZERO).saturating_add(Duration::from_millis(50)).min(resync)
        }
        Requeue::Idle => resync,
    })
}
