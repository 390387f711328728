//! State shared by all reconcile passes: clients, caches, and the resources that a change triggers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::Store;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::controller::backend::Backend;
use crate::controller::credentials::Credentials;
use crate::controller::drift_schedule::DriftSchedule;
use crate::controller::event_budget::EventBudget;
use crate::controller::in_flight::InFlightStatements;
use crate::controller::movement::Movements;
use crate::controller::object::{ResourceRef, WatchedResource, namespace, namespaced_name, resource_ref};
use crate::controller::ownership::OwnershipRegistry;
use crate::controller::retries::Retries;
use crate::controller::slots::Slots;
use crate::controller::triggers::Triggers;
use crate::controller::unconfirmed::UnconfirmedWrites;
use crate::controller::watches::Watches;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::sql::{Counters, InstanceMonitors};

/// A pass can end after the deletion of its resource and leave data. It is over by then: the requests of a pass have limits.
const LATE_PASS: Duration = Duration::from_secs(60);

pub struct Context {
    pub backend: Backend,
    /// None: no API server, so that the log is the only place of an event.
    pub recorder: Option<Recorder>,
    pub event_budget: EventBudget,
    pub leadership: Leadership,
    pub monitors: InstanceMonitors,
    pub metrics: Metrics,
    pub credentials: Credentials,
    pub in_flight: InFlightStatements,
    pub ownership: OwnershipRegistry,
    pub movements: Movements,
    pub drift_schedule: DriftSchedule,
    pub unconfirmed: UnconfirmedWrites,
    pub triggers: Triggers,
    pub watches: Watches,
    pub slots: Slots,
    pub retries: Retries,
    stores: Mutex<Vec<Store<WatchedResource>>>,
    /// The deleted resources whose data can still appear, with the time of the deletion.
    deleted: Mutex<HashMap<ResourceRef, Instant>>,
    /// A list replaced the cache of a watch, so that deletions can have been missed.
    relisted: AtomicBool,
    counted: Mutex<Counters>,
    /// Notices already published by this process.
    announced: Mutex<HashMap<ResourceRef, HashMap<String, u64>>>,
}

impl Context {
    pub fn new(
        backend: impl Into<Backend>,
        leadership: Leadership,
        monitors: InstanceMonitors,
        metrics: Metrics,
    ) -> Self {
        let backend = backend.into();
        let recorder = |client: &kube::Client| Recorder::new(client.clone(), Reporter::from("lync-mirror"));
        Self {
            recorder: backend.cluster().map(recorder),
            credentials: Credentials::new(backend.clone()),
            backend,
            event_budget: EventBudget::default(),
            leadership,
            monitors,
            metrics,
            in_flight: InFlightStatements::default(),
            ownership: OwnershipRegistry::default(),
            movements: Movements::default(),
            drift_schedule: DriftSchedule::default(),
            unconfirmed: UnconfirmedWrites::default(),
            triggers: Triggers::default(),
            watches: Watches::default(),
            slots: Slots::default(),
            retries: Retries::default(),
            stores: Mutex::default(),
            deleted: Mutex::default(),
            relisted: AtomicBool::new(false),
            counted: Mutex::default(),
            announced: Mutex::default(),
        }
    }

    pub fn add_store(&self, store: Store<WatchedResource>) {
        self.stores.lock().push(store);
    }

    /// The first list of every watched scope has arrived.
    pub fn synced(&self) -> bool {
        self.stores.lock().iter().all(|store| store.wait_until_ready().now_or_never().is_some())
    }

    /// Whether a resource (`namespace/name`) exists.
    pub fn exists(&self, resource: &str) -> bool {
        let resource = resource_ref(resource);
        self.stores.lock().iter().any(|store| store.get(&resource).is_some())
    }

    /// `namespace/name` of every resource that exists. Its cost grows with their number.
    pub fn existing(&self) -> Vec<String> {
        let stores = self.stores.lock();
        let all = stores.iter().flat_map(Store::state);
        all.map(|resource| namespaced_name(&ResourceRef::from_obj(&*resource))).collect()
    }

    pub fn enqueue(&self, resource: &ResourceRef) {
        self.triggers.enqueue(resource);
    }

    /// Triggers these resources (`namespace/name`).
    pub fn enqueue_each(&self, resources: impl IntoIterator<Item = impl AsRef<str>>) {
        resources.into_iter().for_each(|resource| self.enqueue(&resource_ref(resource.as_ref())));
    }

    pub fn enqueue_all(&self) {
        self.enqueue_each(self.watches.resources());
    }

    /// Records a notice. True if the last one of the resource about the same subject was another one. Only a digest is kept, as
    /// a notice can name every other resource.
    pub fn announced_once(&self, resource: &ResourceRef, about: String, notice: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        notice.hash(&mut hasher);
        let digest = hasher.finish();
        self.announced.lock().entry(resource.clone()).or_default().insert(about, digest) != Some(digest)
    }

    /// Drops the cached data of a deleted resource, and triggers the resources that it can have stopped.
    pub fn forget(&self, resource: &ResourceRef) {
        let name = namespaced_name(resource);
        self.watches.forget(&name);
        self.credentials.forget(resource);
        self.announced.lock().remove(resource);
        self.enqueue_each(self.ownership.release(&name));
        self.enqueue_each(self.movements.forget(&name));
        self.drift_schedule.forget(resource);
        self.unconfirmed.forget(resource);
        self.retries.forget(resource);
        self.metrics.forget(namespace(resource), &resource.name);
    }

    /// Records a deletion. It triggers no pass, so that [`Context::prune_deleted`] drops the data.
    pub fn on_deleted(&self, resource: ResourceRef) {
        self.deleted.lock().insert(resource, Instant::now());
    }

    /// Records that a list has replaced the cache of a watch.
    pub fn on_relisted(&self) {
        self.relisted.store(true, Ordering::Relaxed);
    }

    /// Drops the cached data of deleted resources.
    pub fn prune_deleted(&self) {
        if self.synced() && self.relisted.swap(false, Ordering::Relaxed) {
            let known = self.watches.resources().into_iter().filter(|resource| !self.exists(resource));
            known.for_each(|resource| self.on_deleted(resource_ref(&resource)));
        }
        let deleted: Vec<ResourceRef> = {
            let mut deleted = self.deleted.lock();
            let late: Vec<ResourceRef> = deleted.keys().cloned().collect();
            deleted.retain(|_, at| at.elapsed() < LATE_PASS);
            late
        };
        // A resource that was created again keeps its data.
        let deleted = deleted.iter().filter(|resource| !self.exists(&namespaced_name(resource)));
        deleted.for_each(|resource| self.forget(resource));
    }

    /// Leadership lost: stop polling.
    pub fn on_leadership_lost(&self) {
        self.watches.forget_all();
        self.announced.lock().clear();
        self.credentials.forget_all();
        // Reports are out of date when this process leads again, because another leader can move principals meanwhile.
        self.drift_schedule.forget_all();
        self.movements.forget_all();
        // The next term begins with a pass of every resource before any move.
        self.ownership.release_all();
        self.metrics.forget_all();
        if self.leadership.leads() {
            // A term that began meanwhile has lost its data too.
            self.enqueue_each(self.existing());
        }
    }

    /// Copies the SQL counters into the metrics.
    pub fn update_counters(&self) {
        let now = self.monitors.counters();
        let mut before = self.counted.lock();
        self.metrics.polled(now.polls - before.polls, now.poll_failures - before.poll_failures);
        self.metrics.connections_opened(now.connections - before.connections);
        self.metrics.set_instances(self.monitors.instances());
        *before = now;
    }
}

#[cfg(test)]
#[path = "churn_tests.rs"]
mod churn;
#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
