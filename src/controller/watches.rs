//! Which resources need which instances.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::controller::index::Index;
use crate::sql::MonitorHandle;

/// The monitors of every resource, by `namespace/name`. Polling of an instance ends when no resource needs it.
#[derive(Default)]
pub struct Watches(Mutex<State>);

#[derive(Default)]
struct State {
    monitors: HashMap<Arc<str>, Vec<Arc<MonitorHandle>>>,
    by_instance: Index<u64>,
}

fn ids(monitors: &[Arc<MonitorHandle>]) -> BTreeSet<u64> {
    monitors.iter().map(|monitor| monitor.id()).collect()
}

impl Watches {
    /// Replaces the instances that a resource needs.
    pub fn set(&self, resource: &str, monitors: Vec<Arc<MonitorHandle>>) {
        let (resource, needed): (Arc<str>, _) = (resource.into(), ids(&monitors));
        let before = {
            let mut state = self.0.lock();
            let before = state.monitors.insert(resource.clone(), monitors);
            let had = before.as_deref().map(ids).unwrap_or_default();
            if had != needed {
                state.by_instance.replace(&resource, had, needed);
            }
            before
        };
        // The last handle of an instance ends its task, which needs other locks.
        drop(before);
    }

    pub fn forget(&self, resource: &str) {
        let before = {
            let (mut state, resource) = (self.0.lock(), Arc::from(resource));
            let before = state.monitors.remove(&resource);
            state.by_instance.replace(&resource, before.as_deref().map(ids).unwrap_or_default(), []);
            before
        };
        drop(before);
    }

    pub fn forget_all(&self) {
        let before = std::mem::take(&mut *self.0.lock());
        drop(before);
    }

    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        let state = self.0.lock();
        state.monitors.len() + state.by_instance.entries()
    }

    /// The resources that need this instance.
    pub fn of(&self, instance: u64) -> Vec<String> {
        self.0.lock().by_instance.others(&instance, "").map(ToString::to_string).collect()
    }

    pub fn resources(&self) -> Vec<String> {
        self.0.lock().monitors.keys().map(ToString::to_string).collect()
    }
}
