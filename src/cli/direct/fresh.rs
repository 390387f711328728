//! One pass of the operator without its writes and statements: the status that it would publish, if it ran here.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{LyncPoolMirrorStatus, parse, restore_state};
use crate::cli::descriptors;
use crate::cli::error::Error;
use crate::cli::pool::Pool;
use crate::controller::{Backend, StoreCredentials, probe};
use crate::model::{Observation, PhaseTimings};
use crate::plan::plan;
use crate::sql::{Limits, Sizes};
use crate::status::{Input, render};

/// The result of the pass.
pub struct Fresh {
    pub status: LyncPoolMirrorStatus,
    pub credentials: Vec<StoreCredentials>,
    /// The planner would send a statement now. The status is then not that of a pass that sends nothing.
    pub sends: bool,
}

/// Polls every server once. `waits_for`: what every move waits for, as this process does not move.
pub async fn fresh(backend: &Backend, pool: &Pool, waits_for: Option<&str>) -> Result<Fresh, Error> {
    let resource = pool.readable()?;
    let spec = parse(resource);
    let probe = probe(backend.clone(), resource, &spec, limits()).await;
    let types = spec.desired.types.iter().map(|desired_type| desired_type.ty);
    let turns: BTreeMap<_, _> =
        waits_for.map(|what| types.map(|ty| (ty, what.to_owned())).collect()).unwrap_or_default();
    let observation =
        Observation { pairs: probe.pairs, conflicts: Default::default(), turns, statements: Default::default() };
    let uid = resource.metadata.uid.as_deref().unwrap_or_default();
    let now = Timestamp::now();
    let planned = plan(&spec.desired, &observation, &restore_state(uid, Some(&pool.status)), now);
    let status = render(&Input {
        spec: &spec,
        uid,
        observation: &observation,
        plan: &planned,
        timings: PhaseTimings::default(),
        drift: None,
        last_reads: &Default::default(),
        before: Some(&pool.status),
        now,
    });
    Ok(Fresh { status, credentials: probe.credentials, sends: !planned.steps.is_empty() })
}

/// True if the administrator wants no connection to the servers now.
pub fn polls_are_stopped(pool: &Pool, now: Timestamp) -> bool {
    let Some(resource) = &pool.resource else { return false };
    let operation = restore_state(pool.uid(), Some(&pool.status)).operation;
    parse(resource).polls_are_stopped(operation.as_ref(), now)
}

/// The limits of a verb, with the networks that the operator refuses by default.
pub fn limits() -> Limits {
    let denied = Limits::DENIED.split(',').filter_map(|network| network.parse().ok()).collect();
    Limits::new(Sizes::for_descriptors(descriptors::raise_limit()), denied)
}
