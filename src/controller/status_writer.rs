//! Writes the status, only if it changed. The write contains the resource version that was read, so that the API server
//! rejects it after a concurrent change.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::warn;

use crate::api::{LyncPoolMirror, LyncPoolMirrorStatus, PartialStatus, decode_lossy};
use crate::controller::Error;
use crate::controller::backend::Backend;
use crate::controller::context::Context;
use crate::controller::events;
use crate::controller::in_flight::AttemptId;
use crate::controller::object::{ResourceRef, namespace, namespaced_name};
use crate::controller::pass::{Identity, Pass};
use crate::controller::snapshot;
use crate::model::{LastRead, Observation, PhaseTimings, Reason};
use crate::plan::Plan;
use crate::status::{self, Input};

/// The limit for a request, because the client retries for minutes and has no read timeout.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the status of a plan. The status contains the journal of a new move: if the write fails, no statement may be sent.
pub async fn publish(
    ctx: &Context,
    pass: &Pass<'_>,
    observation: &Observation,
    plan: &Plan,
    last_reads: &BTreeMap<String, LastRead>,
) -> Result<LyncPoolMirrorStatus, Error> {
    let timings = match (&plan.ended, pass.operation()) {
        (Some(_), Some(operation)) => ctx.in_flight.timings(&AttemptId::of(pass.uid(), operation)),
        _ => PhaseTimings::default(),
    };
    let drift = ctx.drift_schedule.report(pass.resource(), &pass.compared());
    let status = status::render(&Input {
        spec: &pass.spec,
        uid: pass.uid(),
        observation,
        plan,
        timings,
        drift: drift.as_deref(),
        last_reads,
        before: pass.identity.status(),
        now: Timestamp::now(),
    });
    match write(ctx, &pass.identity, &status).await {
        Ok(Written::Changed { replaced }) => ctx.unconfirmed.confirm(pass.resource(), &status, replaced),
        Ok(Written::Unchanged) => {}
        Err(error) => {
            ctx.unconfirmed.record(pass.resource(), events::unconfirmed(pass, &status, plan));
            return Err(error);
        }
    }
    if plan.ended.is_some() {
        ctx.in_flight.forget(pass.uid());
    }
    Ok(status)
}

/// Publishes that a resource cannot be decoded. An unreadable part of the status is dropped, so that the next pass can
/// continue without it. An unreadable spec is reported in status, metrics and an event.
pub async fn publish_undecodable(ctx: &Context, resource: &ResourceRef) -> Result<(), Error> {
    // A file that cannot be decoded is no resource.
    let Some(client) = ctx.backend.cluster() else { return Ok(()) };
    let api = undecoded(client, resource);
    let name = namespaced_name(resource);
    let Some(mut object) = read_undecoded(&api, resource).await? else { return Ok(()) };
    let raw = serde_json::to_value(&object).map_err(|source| Error::Encode { resource: name.clone(), source })?;
    let PartialStatus { spec_problem, mut status, dropped } = decode_lossy(&raw);
    let before = status.clone();
    if let Some(problem) = spec_problem {
        let problem = format!("The spec cannot be decoded: {}.", problem.trim_end_matches('.'));
        let missing = || Error::Incomplete { resource: name.clone(), field: "metadata.generation" };
        let generation = object.metadata.generation.ok_or_else(missing)?;
        status = status::undecodable(&before, &problem, generation, Timestamp::now());
        ctx.metrics.observe(namespace(resource), &resource.name, snapshot::unobserved());
        events::report_invalid_spec(ctx, resource, Some(&before), &status).await;
    }
    if !dropped.is_empty() {
        let dropped = format!("The operator dropped unreadable parts of the status: {}.", dropped.join("; "));
        warn!(resource = name, dropped, "cannot decode the status");
        events::publish_warning(ctx, resource, Reason::StatusUnreadable, &dropped).await;
    } else if status == before {
        return Ok(());
    }
    object.metadata.managed_fields = None;
    object.data["status"] = encode(resource, &status)?;
    let answer = timeout(TIMEOUT, api.replace_status(&resource.name, &PostParams::default(), &object)).await;
    written(ctx, resource, answer).map(drop)
}

fn encode(resource: &ResourceRef, status: &LyncPoolMirrorStatus) -> Result<Value, Error> {
    serde_json::to_value(status).map_err(|source| Error::Encode { resource: namespaced_name(resource), source })
}

async fn read_undecoded(api: &Api<DynamicObject>, resource: &ResourceRef) -> Result<Option<DynamicObject>, Error> {
    let what = || format!("LyncPoolMirror {}", namespaced_name(resource));
    match timeout(TIMEOUT, api.get_opt(&resource.name)).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(source)) => Err(Error::Read { what: what(), source }),
        Err(_) => Err(Error::Slow { what: format!("reading {}", what()) }),
    }
}

fn undecoded(client: &Client, resource: &ResourceRef) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<LyncPoolMirror>(&());
    Api::namespaced_with(client.clone(), namespace(resource), &kind)
}

/// Whether a write was necessary.
enum Written {
    /// `replaced`: the resource version that the write replaced. None: the API server stored nothing new, as it does not know a
    /// field of the status, so that no new version arrives.
    Changed {
        replaced: Option<String>,
    },
    Unchanged,
}

async fn write(ctx: &Context, identity: &Identity<'_>, status: &LyncPoolMirrorStatus) -> Result<Written, Error> {
    if identity.status() == Some(status) {
        return Ok(Written::Unchanged);
    }
    let resource = identity.resource;
    let mut next = identity.mirror.clone();
    next.metadata.managed_fields = None;
    next.status = Some(status.clone());
    let stored = match &ctx.backend {
        Backend::Cluster(client) => {
            let api = Api::<LyncPoolMirror>::namespaced(client.clone(), namespace(resource));
            let answer = timeout(TIMEOUT, api.replace_status(&resource.name, &PostParams::default(), &next)).await;
            written(ctx, resource, answer)?.metadata.resource_version
        }
        Backend::Files(files) => {
            let name = namespaced_name(resource);
            let stored = files.directory.replace_status(&name, &next).await?.ok_or(Error::Conflict)?;
            ctx.metrics.status_written();
            Some(stored)
        }
    };
    let read = next.metadata.resource_version;
    Ok(Written::Changed { replaced: read.filter(|read| stored.as_ref() != Some(read)) })
}

fn written<T>(
    ctx: &Context,
    resource: &ResourceRef,
    answer: Result<Result<T, kube::Error>, Elapsed>,
) -> Result<T, Error> {
    match answer {
        Ok(Ok(stored)) => {
            ctx.metrics.status_written();
            Ok(stored)
        }
        Ok(Err(kube::Error::Api(answer))) if answer.is_conflict() => Err(Error::Conflict),
        // The resource was deleted during the pass.
        Ok(Err(kube::Error::Api(answer))) if answer.is_not_found() => Err(Error::Conflict),
        Ok(Err(source)) => Err(Error::Publish { source }),
        Err(_) => Err(Error::Slow { what: format!("writing the status of {}", namespaced_name(resource)) }),
    }
}
