//! The watch streams, the controllers over them and the background tasks of a run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::Resource;
use kube::core::ObjectMeta;
use kube::runtime::controller::{Action, Config, Error as LoopError};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use strum::VariantNames;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::api::retain_field_managers;
use crate::controller::Error;
use crate::controller::backend::Backend;
use crate::controller::context::Context;
use crate::controller::events::report_deletion;
use crate::controller::object::{ResourceRef, WatchedResource};
use crate::controller::reconcile::{error_policy, reconcile};
use crate::health::{Health, Loop};
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::sql::{Deadlines, InstanceMonitors, Limits};

/// The settings of a run.
pub struct Settings {
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    /// Poll interval per SQL Server instance when idle.
    pub poll_interval: Duration,
    /// Interval of the additional logins that check the credentials.
    pub login_check_interval: Duration,
    pub deadlines: Deadlines,
    pub limits: Limits,
    /// The limit for statements in flight after a stop. The operator then releases the lease without their answers.
    pub grace: Duration,
}

/// Runs until `stop`, then waits up to `Settings::grace` for the answers of the statements in flight.
pub async fn run(
    backend: Backend,
    leadership: Leadership,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) {
    let monitors = InstanceMonitors::with_login_verification(
        settings.poll_interval,
        settings.login_check_interval,
        settings.deadlines,
        settings.limits,
    );
    metrics.expect_results(std::iter::once("ok").chain(Error::VARIANTS.iter().copied()));
    let context = Arc::new(Context::new(backend, leadership, monitors.clone(), metrics));
    let scopes = scopes(&settings.namespaces);
    let controllers: Vec<_> = scopes.into_iter().map(|scope| controller(&context, scope, &stop)).collect();
    let background = [
        tokio::spawn(forward_changes(monitors, context.clone())),
        tokio::spawn(heartbeat(context.clone(), health)),
        tokio::spawn(follow_leadership(context.clone())),
    ];
    stream::iter(controllers).for_each_concurrent(None, |running| running.for_each(log_outcome)).await;
    if tokio::time::timeout(settings.grace, context.in_flight.wait_idle()).await.is_err() {
        warn!("stopping with statements in flight: the next leader reads their outcome from journal and role sequence");
    }
    for task in background {
        task.abort();
    }
    info!("stopped");
}

/// The namespaces to watch, one by one. None: all of them together.
fn scopes(namespaces: &[String]) -> Vec<Option<&str>> {
    // Two controllers of one namespace would reconcile a resource at the same time.
    let distinct: BTreeSet<&str> = namespaces.iter().map(String::as_str).collect();
    if distinct.is_empty() { vec![None] } else { distinct.into_iter().map(Some).collect() }
}

type Reconciled = Result<(ObjectRef<WatchedResource>, Action), LoopError<Error, watcher::Error>>;

/// The controller of one watched scope.
fn controller(
    context: &Arc<Context>,
    scope: Option<&str>,
    stop: &CancellationToken,
) -> impl Stream<Item = Reconciled> + use<> {
    let promoted =
        WatchStream::new(context.leadership.subscribe()).filter(|leads| futures::future::ready(*leads)).map(|_| ());
    let (resources, writer) = reflector::store();
    let deletions = context.clone();
    let watched = context
        .backend
        .watch(scope)
        .modify(trim)
        .reflect(writer)
        .inspect_ok(move |event| record_deletions(&deletions, event))
        .applied_objects();
    context.add_store(resources.clone());
    Controller::for_stream(watched, resources)
        .with_config(Config::default().debounce(Duration::from_millis(20)))
        .reconcile_all_on(promoted)
        .reconcile_on(context.triggers.subscribe(scope))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, error_policy, context.clone())
}

/// A deletion triggers no pass.
fn record_deletions(context: &Arc<Context>, event: &watcher::Event<WatchedResource>) {
    match event {
        watcher::Event::Delete(resource) => {
            let name = ResourceRef::from_obj(resource);
            context.on_deleted(name.clone());
            if let Ok(mirror) = &resource.0
                && context.leadership.leads()
            {
                tokio::spawn(report_deletion(context.clone(), name, mirror.clone()));
            }
        }
        watcher::Event::InitDone => context.on_relisted(),
        watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Apply(_) => {}
    }
}

async fn log_outcome(outcome: Reconciled) {
    match outcome {
        Ok((object, _)) => debug!(%object, "reconciled"),
        Err(LoopError::ObjectNotFound(object)) => debug!(%object, "deleted"),
        Err(error) => warn!(%error, "reconcile pass failed"),
    }
}

/// Drops the metadata that the operator does not read: the writer of a resource chooses its size, and managed fields and the
/// annotation of `kubectl apply` are larger than the spec. A write of the status keeps the metadata that the API server has.
fn trim(resource: &mut WatchedResource) {
    let metadata = resource.meta_mut();
    let all = std::mem::take(metadata);
    *metadata = ObjectMeta {
        name: all.name,
        namespace: all.namespace,
        uid: all.uid,
        generation: all.generation,
        resource_version: all.resource_version,
        managed_fields: all.managed_fields,
        ..ObjectMeta::default()
    };
    if let Some(managed) = &mut metadata.managed_fields {
        retain_field_managers(managed);
    }
}

/// A poll that shows a change triggers the resources that need the instance.
async fn forward_changes(monitors: InstanceMonitors, context: Arc<Context>) {
    let mut changes = monitors.changes();
    loop {
        match changes.recv().await {
            Ok(instance) => context.enqueue_each(context.watches.of(instance)),
            // The channel dropped changes, so every resource needs a pass.
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => context.enqueue_all(),
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// The number of heartbeats after which the data of all resources is compared with the list, in case a deletion was missed.
const FULL_PRUNE: u32 = 60;

/// Updates the liveness of the controller, and the metrics that no pass updates.
async fn heartbeat(context: Arc<Context>, health: Health) {
    let mut beat: u32 = 0;
    loop {
        health.heartbeat(Loop::Controller);
        let synced = context.synced();
        if synced {
            health.set_synced();
        }
        context.update_counters();
        if beat.is_multiple_of(FULL_PRUNE) {
            context.on_relisted();
        }
        context.prune_deleted();
        beat = beat.wrapping_add(1);
        // A pass that outlasted the term has stored credentials and connections again.
        if !context.leadership.leads() {
            context.on_leadership_lost();
        }
        // A rollout waits for readiness: a short interval detects the first lists soon.
        tokio::time::sleep(Duration::from_millis(if synced { 1_000 } else { 50 })).await;
    }
}

/// Standby replicas neither poll SQL Server nor export per-resource metrics.
async fn follow_leadership(context: Arc<Context>) {
    let mut leading = context.leadership.subscribe();
    loop {
        let leads = *leading.borrow_and_update();
        context.metrics.set_leader(leads);
        if !leads {
            context.on_leadership_lost();
        }
        if leading.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::fixture::resource;

    #[test]
    fn trim_keeps_the_metadata_that_the_operator_reads() {
        let mut resource = resource("pool01", "u1", [1, 2]);
        let mut read = resource["metadata"].clone();
        for (field, value) in [
            ("annotations", json!({"notes": "x".repeat(200_000)})),
            ("labels", json!({"team": "voice"})),
            ("ownerReferences", json!([{"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": "u2"}])),
            ("finalizers", json!(["contoso.com/keep"])),
            ("generateName", json!("pool")),
            ("creationTimestamp", json!("2026-11-28T12:00:00Z")),
        ] {
            resource["metadata"][field] = value;
        }
        let manager = |fields: serde_json::Value| json!([{"manager": "kubectl", "fieldsV1": fields}]);
        let principal = json!({"k:{\"type\":\"User\"}": {"f:principal": {}, "f:databases": {}}});
        resource["metadata"]["managedFields"] =
            manager(json!({"f:metadata": {"f:annotations": {}}, "f:spec": {"f:databaseTypes": principal}}));
        let kept = json!({"k:{\"type\":\"User\"}": {"f:principal": {}}});
        read["managedFields"] = manager(json!({"f:spec": {"f:databaseTypes": kept}}));
        let mut undecodable = resource.clone();
        undecodable["spec"] = json!("none");
        for resource in [resource, undecodable] {
            let mut watched: WatchedResource = serde_json::from_value(resource).unwrap();
            trim(&mut watched);
            assert_eq!(serde_json::to_value(watched.meta()).unwrap(), read, "{}", watched.0.is_ok());
        }
    }

    #[test]
    fn namespace_that_is_named_twice_is_one_scope() {
        let named = ["lync", "other", "lync"].map(str::to_owned);
        assert_eq!(scopes(&named), [Some("lync"), Some("other")]);
        assert_eq!(scopes(&[]), [None]);
    }
}
