//! The loop: streams in, reconciliations out. What a reconciliation does is told in `reconcile`.

mod announce;
mod claims;
mod compose;
mod conditions;
mod context;
mod credentials;
mod drift;
mod error;
mod flights;
mod history;
mod observe;
mod perform;
mod publish;
mod reconcile;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::runtime::controller::{Config, Error as LoopError};
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use tokio_stream::wrappers::{BroadcastStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::api::keep_askers;
use crate::controller::context::Guarded;
use crate::health::{Health, Loop};
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::sql::{Deadlines, Hub};

pub use context::Context;
pub use error::Error;

/// What a run needs besides the cluster.
pub struct Settings {
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    /// How often an instance is looked at when nothing is under way.
    pub look_interval: Duration,
    pub deadlines: Deadlines,
    /// How long statements in flight may take after a stop before the lease is given up all the same.
    pub grace: Duration,
}

/// Runs until `stop`, then lets the statements in flight find their answers.
pub async fn run(
    client: Client,
    leadership: Leadership,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    stop: CancellationToken,
) {
    let scopes: Vec<Api<Guarded>> = if settings.namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        settings.namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let hub = Hub::new(settings.look_interval, settings.deadlines);
    let (context, wakes) = Context::new(client, leadership.clone(), hub.clone(), settings.deadlines, metrics.clone());
    let context = Arc::new(context);
    let wakes = Arc::new(std::sync::Mutex::new(wakes));

    let mut controllers = Vec::new();
    for scope in scopes {
        // A list that arrives but does not parse must not stop the others: hence the guard around each resource.
        let promoted = WatchStream::new(leadership.watch()).filter(|leads| futures::future::ready(*leads)).map(|_| ());
        let (resources, writer) = reflector::store();
        let watched = watcher(scope, watcher::Config::default())
            .default_backoff()
            .modify(lighten)
            .reflect(writer)
            .applied_objects();
        context.add_store(resources.clone());
        let woken = {
            let wakes = wakes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            BroadcastStream::new(wakes.resubscribe())
        };
        let woken = woken.filter_map(|wake| futures::future::ready(wake.ok()));
        let running = Controller::for_stream(watched, resources)
            .with_config(Config::default().debounce(Duration::from_millis(20)))
            .reconcile_all_on(promoted)
            .reconcile_on(woken)
            .graceful_shutdown_on(stop.clone().cancelled_owned())
            .run(reconcile::reconcile, reconcile::error_policy, context.clone())
            .for_each(|result| {
                match result {
                    Ok((object, _)) => debug!(%object, "reconciled"),
                    Err(LoopError::ObjectNotFound(object)) => debug!(%object, "gone"),
                    Err(error) => warn!(%error, "not reconciled"),
                }
                futures::future::ready(())
            });
        controllers.push(running);
    }
    let background = [
        tokio::spawn(forward_changes(hub, context.clone())),
        tokio::spawn(heartbeat(context.clone(), health)),
        tokio::spawn(stand_down(context.clone())),
    ];
    stream::iter(controllers).for_each_concurrent(None, |running| running).await;
    if tokio::time::timeout(settings.grace, context.flights.landed()).await.is_err() {
        warn!(
            "stopping with statements in flight: the journal and the role sequence tell the next leader what happened"
        );
    }
    for task in background {
        task.abort();
    }
    info!("stopped");
}

/// What is cached of a resource is what is read of it.
fn lighten(resource: &mut Guarded) {
    if let Ok(mirror) = &mut resource.0
        && let Some(managed) = &mut mirror.metadata.managed_fields
    {
        keep_askers(managed);
    }
}

/// A look that shows something new wakes the resources that need the instance.
async fn forward_changes(hub: Hub, context: Arc<Context>) {
    let mut changes = hub.changes();
    loop {
        match changes.recv().await {
            Ok(instance) => context.wake_watchers(instance),
            // Missed news: wake everybody who watches anything.
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => context.wake_all(),
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// The controller's pulse, and the figures that nobody else reports.
async fn heartbeat(context: Arc<Context>, health: Health) {
    loop {
        health.beat(Loop::Controller);
        let synced = context.synced();
        if synced {
            health.set_synced();
        }
        context.count();
        // A rollout waits for readiness: the first lists are noticed at once.
        tokio::time::sleep(Duration::from_millis(if synced { 1_000 } else { 50 })).await;
    }
}

/// A process that does not lead looks at nobody and says nothing about anybody.
async fn stand_down(context: Arc<Context>) {
    let mut leading = context.leadership.watch();
    loop {
        let leads = *leading.borrow_and_update();
        context.metrics.set_leader(leads);
        if !leads {
            context.rest();
        }
        if leading.changed().await.is_err() {
            return;
        }
    }
}
