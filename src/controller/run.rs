//! The watch streams, the controllers over them and the background tasks of a run.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::runtime::controller::{Action, Config, Error as LoopError};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use tokio_stream::wrappers::{BroadcastStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::api::retain_field_managers;
use crate::controller::Error;
use crate::controller::context::Context;
use crate::controller::object::WatchedResource;
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
    client: Client,
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
    let context = Arc::new(Context::new(client.clone(), leadership, monitors.clone(), metrics));
    let controllers: Vec<_> =
        scopes(&client, &settings.namespaces).into_iter().map(|scope| controller(&context, scope, &stop)).collect();
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

fn scopes(client: &Client, namespaces: &[String]) -> Vec<Api<WatchedResource>> {
    if namespaces.is_empty() {
        return vec![Api::all(client.clone())];
    }
    namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
}

type Reconciled = Result<(ObjectRef<WatchedResource>, Action), LoopError<Error, watcher::Error>>;

/// The controller of one watched scope.
fn controller(
    context: &Arc<Context>,
    scope: Api<WatchedResource>,
    stop: &CancellationToken,
) -> impl Stream<Item = Reconciled> + use<> {
    let promoted =
        WatchStream::new(context.leadership.subscribe()).filter(|leads| futures::future::ready(*leads)).map(|_| ());
    let triggers = BroadcastStream::new(context.triggers());
    let (resources, writer) = reflector::store();
    let watched = watcher(scope, watcher::Config::default())
        .default_backoff()
        .modify(trim_managed_fields)
        .reflect(writer)
        .applied_objects();
    context.add_store(resources.clone());
    Controller::for_stream(watched, resources)
        .with_config(Config::default().debounce(Duration::from_millis(20)))
        .reconcile_all_on(promoted)
        .reconcile_on(triggers.filter_map(|trigger| futures::future::ready(trigger.ok())))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, error_policy, context.clone())
}

async fn log_outcome(outcome: Reconciled) {
    match outcome {
        Ok((object, _)) => debug!(%object, "reconciled"),
        Err(LoopError::ObjectNotFound(object)) => debug!(%object, "deleted"),
        Err(error) => warn!(%error, "reconcile pass failed"),
    }
}

/// Drops the managed fields that `api` does not read: they use most of the memory of a cached resource.
fn trim_managed_fields(resource: &mut WatchedResource) {
    if let Ok(mirror) = &mut resource.0
        && let Some(managed) = &mut mirror.metadata.managed_fields
    {
        retain_field_managers(managed);
    }
}

/// A poll that shows a change triggers the resources that need the instance.
async fn forward_changes(monitors: InstanceMonitors, context: Arc<Context>) {
    let mut changes = monitors.changes();
    loop {
        match changes.recv().await {
            Ok(instance) => context.enqueue_watchers(instance),
            // The channel dropped changes, so every resource needs a pass.
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => context.enqueue_all(),
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Updates the liveness of the controller, and the metrics that no pass updates.
async fn heartbeat(context: Arc<Context>, health: Health) {
    loop {
        health.heartbeat(Loop::Controller);
        let synced = context.synced();
        if synced {
            health.set_synced();
        }
        context.update_counters();
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
