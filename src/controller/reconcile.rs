//! A reconcile pass: observe, plan, publish (the journal before the act), execute, report.

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
use crate::controller::events::report;
use crate::controller::execute::execute;
use crate::controller::object::{ResourceRef, WatchedResource, namespaced_name};
use crate::controller::observe::{Freshness, observe, unregistered};
use crate::controller::pass::{Identity, Pass};
use crate::controller::status_writer::{publish, publish_invalid, publish_undecodable};
use crate::model::{Observation, ServerObservation};
use crate::plan::{Plan, Requeue, plan};

pub async fn reconcile(resource: Arc<WatchedResource>, ctx: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let name = ResourceRef::from_obj(&*resource);
    let result = match &resource.0 {
        // A promotion triggers every resource.
        _ if !ctx.leadership.leads() => Ok(Action::await_change()),
        Ok(mirror) => reconcile_decoded(mirror, &name, &ctx).await,
        Err(_) => {
            ctx.ownership.register_without_databases(&namespaced_name(&name));
            publish_undecodable(&ctx, &name).await.map(|()| Action::await_change())
        }
    };
    ctx.metrics.reconciled(result.as_ref().map_or_else(Error::category, |_| "ok"), started.elapsed());
    result
}

async fn reconcile_decoded(mirror: &LyncPoolMirror, name: &ResourceRef, ctx: &Arc<Context>) -> Result<Action, Error> {
    let identity = Identity::of(name, mirror)?;
    let spec = match parse(mirror) {
        Ok(spec) => spec,
        Err(problem) => {
            ctx.ownership.register_without_databases(&namespaced_name(name));
            publish_invalid(ctx, &identity, &problem.to_string()).await?;
            return Ok(Action::await_change());
        }
    };
    let persisted = restore_state(mirror.status.as_ref());
    run_pass(ctx, &Pass { identity, spec, persisted }).await
}

async fn run_pass(ctx: &Arc<Context>, pass: &Pass<'_>) -> Result<Action, Error> {
    let desired = &pass.spec.desired;
    let connections = connect(ctx, pass).await?;
    let mut observation = observe(ctx, pass, &connections, Freshness::Latest).await;
    let mut planned = plan(desired, &observation, &pass.persisted, now());
    if needs_fresh_observation(&planned, &observation) {
        // A move, its journal and its end rest on polls of this very pass (design rule 1).
        observation = observe(ctx, pass, &connections, Freshness::Now).await;
        planned = plan(desired, &observation, &pass.persisted, now());
    }
    if !planned.steps.is_empty()
        && let Some(unregistered) = unregistered(ctx)
    {
        info!(
            resource = pass.name(),
            unregistered, "a move waits until these resources have registered their databases"
        );
        return Ok(Action::requeue(Duration::from_millis(500)));
    }

    let status = publish(ctx, pass, &observation, &planned).await?;
    execute(ctx, pass, &connections, &planned);
    report(ctx, pass, &status, &observation, &planned).await;
    compare_when_due(ctx, pass, &connections, &planned, &status);
    Ok(requeue(&planned, &observation))
}

/// To the second, as Kubernetes writes times: a journal that was read back must be the journal that was written.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Only Kubernetes ends up here; a sick SQL Server is an observation.
pub fn error_policy(_: Arc<WatchedResource>, error: &Error, _: Arc<Context>) -> Action {
    Action::requeue(error.pause())
}

fn needs_fresh_observation(plan: &Plan, observation: &Observation) -> bool {
    let unseen = observation.pairs.iter().any(|pair| [&pair.primary, &pair.mirror].into_iter().any(not_yet));
    unseen
        || !plan.steps.is_empty()
        || plan.ended.is_some()
        || plan.persisted.operation.is_some()
        || plan.requeue == Requeue::Soon
}

fn not_yet(view: &ServerObservation) -> bool {
    matches!(view, ServerObservation::Unavailable { unavailable, .. } if unavailable.cause == crate::model::UnavailableCause::NotYetPolled)
}

/// Changes on the servers and of the resource wake a reconciliation at once; these are the timers beside that.
fn requeue(plan: &Plan, observation: &Observation) -> Action {
    let blind =
        observation.pairs.iter().any(|pair| pair.primary.available().is_none() || pair.mirror.available().is_none());
    // Not longer than a reading of a Secret may be old: a rotated password is noticed without a watch on Secrets.
    let resync = Duration::from_secs(if blind || !observation.conflicts.is_empty() { 5 } else { 10 });
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
