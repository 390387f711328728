//! What all reconciliations share: clients, caches, and who must be woken by what.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::broadcast;

use crate::api::LyncPoolMirror;
use crate::controller::claims::Claims;
use crate::controller::credentials::Credentials;
use crate::controller::drift::Drift;
use crate::controller::flights::Flights;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::sql::{Deadlines, Hub, Watch};

/// One undecodable resource must not stop the watch of all.
pub type Guarded = DeserializeGuard<LyncPoolMirror>;
pub type Ref = ObjectRef<Guarded>;

/// How many wake-ups may wait; who misses one is woken by its timer.
const WAKES: usize = 4096;

pub struct Context {
    pub client: Client,
    pub recorder: Recorder,
    pub leadership: Leadership,
    pub hub: Hub,
    pub deadlines: Deadlines,
    pub metrics: Metrics,
    pub credentials: Credentials,
    pub flights: Flights,
    pub claims: Claims,
    pub drift: Drift,
    wake: broadcast::Sender<Ref>,
    watches: Mutex<HashMap<Ref, Vec<Arc<Watch>>>>,
    stores: Mutex<Vec<Store<Guarded>>>,
    counted: Mutex<crate::sql::Counters>,
    /// What was said once and need not be said again by this process.
    said: Mutex<HashSet<String>>,
}

impl Context {
    pub fn new(
        client: Client,
        leadership: Leadership,
        hub: Hub,
        deadlines: Deadlines,
        metrics: Metrics,
    ) -> (Self, broadcast::Receiver<Ref>) {
        let (wake, woken) = broadcast::channel(WAKES);
        let context = Self {
            recorder: Recorder::new(client.clone(), Reporter::from("lync-mirror")),
            credentials: Credentials::new(client.clone()),
            client,
            leadership,
            hub,
            deadlines,
            metrics,
            flights: Flights::default(),
            claims: Claims::default(),
            drift: Drift::default(),
            wake,
            watches: Mutex::default(),
            stores: Mutex::default(),
            counted: Mutex::default(),
            said: Mutex::default(),
        };
        (context, woken)
    }

    pub fn add_store(&self, store: Store<Guarded>) {
        lock(&self.stores).push(store);
    }

    /// The first list of every watched scope has arrived.
    pub fn synced(&self) -> bool {
        use futures::FutureExt;
        lock(&self.stores).iter().all(|store| store.wait_until_ready().now_or_never().is_some())
    }

    /// `namespace/name` of every resource that exists.
    pub fn existing(&self) -> HashSet<String> {
        lock(&self.stores)
            .iter()
            .flat_map(|store| store.state())
            .map(|resource| key(&Ref::from_obj(&*resource)))
            .collect()
    }

    pub fn wake(&self, resource: &Ref) {
        // Without receivers there is no controller, and nobody to wake.
        let _ = self.wake.send(resource.clone());
    }

    pub fn wake_all(&self) {
        let all: Vec<Ref> = lock(&self.watches).keys().cloned().collect();
        all.iter().for_each(|resource| self.wake(resource));
    }

    /// Wakes the resources that look at this instance.
    pub fn wake_watchers(&self, instance: u64) {
        let watching: Vec<Ref> = lock(&self.watches)
            .iter()
            .filter(|(_, watches)| watches.iter().any(|watch| watch.id() == instance))
            .map(|(resource, _)| resource.clone())
            .collect();
        watching.iter().for_each(|resource| self.wake(resource));
    }

    /// The instances that a resource needs from now on; those that nobody needs any more are no longer looked at.
    pub fn watch(&self, resource: &Ref, watches: Vec<Arc<Watch>>) {
        lock(&self.watches).insert(resource.clone(), watches);
    }

    /// True the first time.
    pub fn first_time(&self, saying: String) -> bool {
        lock(&self.said).insert(saying)
    }

    /// Whatever is kept of a resource that is gone.
    pub fn forget(&self, resource: &Ref) {
        lock(&self.watches).remove(resource);
        self.claims.withdraw(&key(resource));
        self.drift.forget(resource);
        self.metrics.forget(resource.namespace.as_deref().unwrap_or_default(), &resource.name);
    }

    /// Drops what is kept of resources that do not exist any more: a deletion wakes nobody.
    pub fn sweep(&self) {
        let existing = self.existing();
        let gone: Vec<Ref> =
            lock(&self.watches).keys().filter(|resource| !existing.contains(&key(resource))).cloned().collect();
        for resource in gone {
            self.forget(&resource);
            // Its rivals may be free now.
            self.wake_all();
        }
    }

    /// Not leading any more: nothing is looked at.
    pub fn rest(&self) {
        lock(&self.watches).clear();
        // Another one compares now: what was found here is not the last word when this one leads again.
        self.drift.forget_all();
        self.metrics.forget_all();
    }

    /// Carries the counters of the SQL room over to the metrics, and forgets the dead.
    pub fn count(&self) {
        if self.synced() {
            self.sweep();
        }
        let now = self.hub.counters();
        let mut before = lock(&self.counted);
        self.metrics.looked(now.looks - before.looks, now.dark_looks - before.dark_looks);
        self.metrics.connected(now.connections - before.connections);
        self.metrics.set_instances(self.hub.instances());
        *before = now;
    }
}

/// `namespace/name`.
pub fn key(resource: &Ref) -> String {
    format!("{}/{}", resource.namespace.as_deref().unwrap_or_default(), resource.name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
