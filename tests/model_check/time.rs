//! The time of the next pass: until then, time alone does not change a plan. A settled resource has a pass about once a minute.

use jiff::{SignedDuration, Timestamp};
use lync_mirror::model::{Desired, Observation};
use lync_mirror::plan::{Plan, Requeue};

use crate::disabled::plan;

/// Nothing but time changes, and the plan stays the same until the time at which it asks for the next pass.
pub fn is_complete(decided: &Plan, desired: &Desired, observation: &Observation, now: Timestamp) -> bool {
    let minute = now + SignedDuration::from_secs(60);
    let last = match decided.requeue {
        Requeue::Now | Requeue::Soon => return true,
        Requeue::Idle => minute,
        Requeue::At(at) => minute.min(at - SignedDuration::from_secs(1)),
    };
    let then = plan(desired, observation, &decided.persisted, last.max(now));
    let shown = |plan: &Plan| {
        let types = plan.types.values().map(|of| (of.service, of.verdict.reason, of.verdict.message.clone(), of.ready));
        (types.collect::<Vec<_>>(), plan.steps.len(), plan.ended.is_some(), plan.persisted.operation.is_some())
    };
    shown(&then) == shown(decided)
}
