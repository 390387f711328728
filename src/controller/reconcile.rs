//! The story, in one screen: observe, plan, publish (the journal before the act), perform.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use tracing::info;

use crate::api::{LyncPoolMirror, parse, remember};
use crate::controller::Error;
use crate::controller::context::{Context, Guarded, Ref, key};
use crate::controller::observe::Freshness;
use crate::model::{Observation, View};
use crate::plan::{Pace, Plan, plan};

pub async fn reconcile(resource: Arc<Guarded>, ctx: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let name = ObjectRef::from_obj(&*resource);
    let result = match &resource.0 {
        _ if !ctx.leadership.leads() => Ok(Action::await_change()), // being promoted wakes every resource
        Ok(mirror) => pass(mirror, &name, &ctx).await,
        Err(_) => {
            ctx.claims.acknowledge(&key(&name));
            ctx.publish_undecodable(&name).await.map(|()| Action::await_change())
        }
    };
    ctx.metrics.reconciled(result.as_ref().map_or_else(Error::category, |_| "ok"), started.elapsed());
    result
}

async fn pass(mirror: &LyncPoolMirror, name: &Ref, ctx: &Arc<Context>) -> Result<Action, Error> {
    let asked = match parse(mirror) {
        Ok(asked) => asked,
        Err(problem) => {
            ctx.claims.acknowledge(&key(name));
            ctx.publish_invalid(mirror, name, &problem.to_string()).await?;
            return Ok(Action::await_change());
        }
    };
    let uid = mirror.metadata.uid.as_deref().unwrap_or_default();
    let memory = remember(mirror.status.as_ref());

    let eyes = ctx.open_eyes(name, &asked).await?;
    let mut seen = ctx.observe(name, &asked, &eyes, &memory, uid, Freshness::Latest).await;
    let mut plan = plan(&asked.desired, &seen, &memory, now());
    if is_delicate(&plan, &seen) {
        // A move, its journal and its end rest on looks of this very pass (design rule 1).
        seen = ctx.observe(name, &asked, &eyes, &memory, uid, Freshness::Now).await;
        plan = crate::plan::plan(&asked.desired, &seen, &memory, now());
    }
    if !plan.steps.is_empty()
        && let Some(unknown) = ctx.unknown_claims()
    {
        info!(resource = key(name), unknown, "a move waits until these resources have said what they claim");
        return Ok(Action::requeue(Duration::from_millis(500)));
    }

    let written = ctx.publish(mirror, name, &asked, &seen, &plan, &memory).await?;
    ctx.perform(name, uid, &asked, &eyes, &plan);
    ctx.announce(name, mirror, &written, &seen, &plan).await;
    ctx.compare_when_due(name, uid, &asked, &eyes, &plan, &written);
    Ok(again(&plan, &seen))
}

/// To the second, as Kubernetes writes times: a journal that was read back must be the journal that was written.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Only Kubernetes ends up here; a sick SQL Server is an observation.
pub fn error_policy(_: Arc<Guarded>, error: &Error, _: Arc<Context>) -> Action {
    Action::requeue(error.pause())
}

fn is_delicate(plan: &Plan, seen: &Observation) -> bool {
    let unseen = seen.pairs.iter().any(|pair| [&pair.primary, &pair.mirror].into_iter().any(not_yet));
    unseen
        || !plan.steps.is_empty()
        || plan.ended.is_some()
        || plan.memory.operation.is_some()
        || plan.pace == Pace::Soon
}

fn not_yet(view: &View) -> bool {
    matches!(view, View::Dark { darkness, .. } if darkness.cause == crate::model::Dark::NotYetLooked)
}

/// Changes on the servers and of the resource wake a reconciliation at once; these are the timers beside that.
fn again(plan: &Plan, seen: &Observation) -> Action {
    let blind = seen.pairs.iter().any(|pair| pair.primary.lit().is_none() || pair.mirror.lit().is_none());
    // Not longer than a reading of a Secret may be old: a rotated password is noticed without a watch on Secrets.
    let resync = Duration::from_secs(if blind || !seen.conflicts.is_empty() { 5 } else { 10 });
    Action::requeue(match plan.pace {
        Pace::Now => Duration::from_millis(250),
        Pace::Soon => Duration::from_millis(500),
        Pace::At(at) => {
            let left = at.duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or(Duration::ZERO).saturating_add(Duration::from_millis(50)).min(resync)
        }
        Pace::Idle => resync,
    })
}
