//! State shared by all reconcile passes: clients, caches, and the resources that a change triggers.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::Store;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::controller::credentials::Credentials;
use crate::controller::drift_schedule::DriftSchedule;
use crate::controller::in_flight::InFlightStatements;
use crate::controller::movement::Movements;
use crate::controller::object::{ResourceRef, WatchedResource, namespace, namespaced_name};
use crate::controller::ownership::OwnershipRegistry;
use crate::controller::unconfirmed::UnconfirmedWrites;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::sql::{Counters, InstanceMonitors, MonitorHandle};

/// Capacity of the trigger channel. A lagging controller misses triggers and falls back to its periodic resync.
const TRIGGERS: usize = 4096;

pub struct Context {
    pub client: Client,
    pub recorder: Recorder,
    pub leadership: Leadership,
    pub monitors: InstanceMonitors,
    pub metrics: Metrics,
    pub credentials: Credentials,
    pub in_flight: InFlightStatements,
    pub ownership: OwnershipRegistry,
    pub movements: Movements,
    pub drift_schedule: DriftSchedule,
    pub unconfirmed: UnconfirmedWrites,
    triggers: broadcast::Sender<ResourceRef>,
    watches: Mutex<HashMap<ResourceRef, Vec<Arc<MonitorHandle>>>>,
    stores: Mutex<Vec<Store<WatchedResource>>>,
    counted: Mutex<Counters>,
    /// Notices already published by this process.
    announced: Mutex<HashMap<ResourceRef, HashMap<String, u64>>>,
}

impl Context {
    pub fn new(client: Client, leadership: Leadership, monitors: InstanceMonitors, metrics: Metrics) -> Self {
        Self {
            recorder: Recorder::new(client.clone(), Reporter::from("lync-mirror")),
            credentials: Credentials::new(client.clone()),
            client,
            leadership,
            monitors,
            metrics,
            in_flight: InFlightStatements::default(),
            ownership: OwnershipRegistry::default(),
            movements: Movements::default(),
            drift_schedule: DriftSchedule::default(),
            unconfirmed: UnconfirmedWrites::default(),
            triggers: broadcast::Sender::new(TRIGGERS),
            watches: Mutex::default(),
            stores: Mutex::default(),
            counted: Mutex::default(),
            announced: Mutex::default(),
        }
    }

    /// Receives the resources that need a reconcile pass.
    pub fn triggers(&self) -> broadcast::Receiver<ResourceRef> {
        self.triggers.subscribe()
    }

    pub fn add_store(&self, store: Store<WatchedResource>) {
        self.stores.lock().push(store);
    }

    /// The first list of every watched scope has arrived.
    pub fn synced(&self) -> bool {
        use futures::FutureExt;
        self.stores.lock().iter().all(|store| store.wait_until_ready().now_or_never().is_some())
    }

    /// `namespace/name` of every resource that exists.
    pub fn existing(&self) -> HashSet<String> {
        self.stores
            .lock()
            .iter()
            .flat_map(|store| store.state())
            .map(|resource| namespaced_name(&ResourceRef::from_obj(&*resource)))
            .collect()
    }

    pub fn enqueue(&self, resource: &ResourceRef) {
        // The channel has no receiver only while no controller runs.
        let _ = self.triggers.send(resource.clone());
    }

    pub fn enqueue_all(&self) {
        let resources: Vec<ResourceRef> = self.watches.lock().keys().cloned().collect();
        resources.iter().for_each(|resource| self.enqueue(resource));
    }

    /// Triggers the resources that need this instance.
    pub fn enqueue_watchers(&self, instance: u64) {
        let watching: Vec<ResourceRef> = self
            .watches
            .lock()
            .iter()
            .filter(|(_, watches)| watches.iter().any(|watch| watch.id() == instance))
            .map(|(resource, _)| resource.clone())
            .collect();
        watching.iter().for_each(|resource| self.enqueue(resource));
    }

    /// Replaces the instances that a resource needs. Polling of an instance ends when no resource needs it.
    pub fn watch(&self, resource: &ResourceRef, watches: Vec<Arc<MonitorHandle>>) {
        self.watches.lock().insert(resource.clone(), watches);
    }

    /// Records a notice. True if the last one of the resource about the same subject was another one. Only a digest is kept, as
    /// a notice can name every other resource.
    pub fn announced_once(&self, resource: &ResourceRef, about: String, notice: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        notice.hash(&mut hasher);
        let digest = hasher.finish();
        self.announced.lock().entry(resource.clone()).or_default().insert(about, digest) != Some(digest)
    }

    /// Drops the cached data of a deleted resource.
    pub fn forget(&self, resource: &ResourceRef) {
        self.watches.lock().remove(resource);
        self.credentials.forget(resource);
        self.announced.lock().remove(resource);
        self.ownership.release(&namespaced_name(resource));
        self.movements.forget(&namespaced_name(resource));
        self.drift_schedule.forget(resource);
        self.unconfirmed.forget(resource);
        self.metrics.forget(namespace(resource), &resource.name);
    }

    /// Drops the cached data of all deleted resources, because a deletion triggers no pass.
    pub fn prune_deleted(&self) {
        let existing = self.existing();
        let deleted: Vec<ResourceRef> = self
            .watches
            .lock()
            .keys()
            .filter(|resource| !existing.contains(&namespaced_name(resource)))
            .cloned()
            .collect();
        for resource in deleted {
            self.forget(&resource);
            // The deletion can end a conflict with other resources.
            self.enqueue_all();
        }
        // A pass that ended after the deletion, or a term that ended before it, leaves entries of a resource without watches.
        let exists = |resource: &ResourceRef| existing.contains(&namespaced_name(resource));
        self.announced.lock().retain(|resource, _| exists(resource));
        self.unconfirmed.retain(exists);
        self.credentials.retain(exists);
    }

    /// Leadership lost: stop polling.
    pub fn on_leadership_lost(&self) {
        self.watches.lock().clear();
        self.announced.lock().clear();
        self.credentials.forget_all();
        // Reports are out of date when this process leads again, because another leader can move principals meanwhile.
        self.drift_schedule.forget_all();
        self.movements.forget_all();
        // The next term begins with a pass of every resource before any move.
        self.ownership.release_all();
        self.metrics.forget_all();
    }

    /// Copies the SQL counters into the metrics and prunes deleted resources.
    pub fn update_counters(&self) {
        if self.synced() {
            self.prune_deleted();
        }
        let now = self.monitors.counters();
        let mut before = self.counted.lock();
        self.metrics.polled(now.polls - before.polls, now.poll_failures - before.poll_failures);
        self.metrics.connections_opened(now.connections - before.connections);
        self.metrics.set_instances(self.monitors.instances());
        *before = now;
    }
}
