//! The pools of a folder in memory: their versions, the locks of this process, and those who watch them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::channel::mpsc;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use crate::api::LyncPoolMirror;
use crate::direct::error::Error;
use crate::direct::lock::Lock;
use crate::direct::spec_file::SpecFile;
use crate::direct::state_file::{Paths, State};

pub type Resource = DeserializeGuard<LyncPoolMirror>;

/// A file that cannot be used, and why. The others go on.
#[derive(Debug, Clone)]
pub struct Problem {
    pub path: PathBuf,
    pub error: Error,
}

/// One pool.
pub struct Pool {
    /// The file as it is listed: a link keeps its name if it leads to another file.
    pub listed: PathBuf,
    pub file: SpecFile,
    pub state: State,
    pub paths: Paths,
    /// The process that acts on the pool, if it is another one.
    pub holder: Option<String>,
    /// The resource version.
    pub version: u64,
    /// Why the latest status is not on the disk.
    pub unwritten: Option<Error>,
}

impl Pool {
    /// The resource as an API server would return it.
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
            "metadata": {
                "namespace": self.file.namespace, "name": self.file.name, "uid": self.state.uid,
                "generation": self.state.generation, "resourceVersion": self.version.to_string(),
            },
            "spec": self.file.spec, "status": self.state.status,
        })
    }

    pub fn resource(&self) -> Result<LyncPoolMirror, Error> {
        serde_json::from_value(self.object()).map_err(|cause| Error::unreadable(&self.file.path, cause))
    }

    /// Takes another content of the file. A changed spec has another generation.
    pub fn take(&mut self, file: SpecFile, version: u64) {
        if file.spec != self.state.spec {
            self.state.generation += 1;
            self.state.spec = file.spec.clone();
        }
        self.file = file;
        self.version = version;
    }
}

#[derive(Default)]
pub struct Pools {
    /// By `namespace/name`.
    pub all: BTreeMap<String, Pool>,
    pub problems: Vec<Problem>,
    watchers: Vec<mpsc::UnboundedSender<Event<Resource>>>,
    /// By their paths, until the process ends: a spec file can be away for a moment, during a statement of its pool.
    locks: BTreeMap<PathBuf, Lock>,
    /// The latest version of all. A pool that comes back has no version of its former life.
    version: u64,
}

impl Pools {
    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Takes the lock of a pool, unless this process has it. Returns whether it is new.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn lock(&mut self, path: &Path, spec: &Path, own: &str) -> Result<bool, Error> {
        if self.locks.get(path).is_some_and(|lock| lock.check().is_ok()) {
            return Ok(false);
        }
        // Two locks on one file exclude each other also in one process.
        self.locks.remove(path);
        self.locks.insert(path.to_owned(), Lock::acquire(path, spec, own)?);
        Ok(true)
    }

    /// Releases a lock under which nothing was done.
    pub fn unlock(&mut self, path: &Path) {
        self.locks.remove(path);
    }

    /// # Errors
    /// [`Error::LockLost`], and [`Error::Locked`] if this process only reads.
    pub fn check_lock(&self, pool: &Pool) -> Result<(), Error> {
        match self.locks.get(&pool.paths.lock) {
            Some(lock) => lock.check(),
            None => {
                let holder = pool.holder.clone().unwrap_or_else(|| "no process".to_owned());
                Err(Error::Locked { pool: pool.file.path.clone(), holder })
            }
        }
    }

    /// The pool that has this state.
    pub fn with_state(&self, state: &Path) -> Option<&Pool> {
        self.all.values().find(|pool| pool.paths.state == state)
    }

    /// The resources of now, then their changes.
    pub fn watch(&mut self) -> mpsc::UnboundedReceiver<Event<Resource>> {
        let (sender, receiver) = mpsc::unbounded();
        let present = self.all.values().filter_map(|pool| pool.resource().ok());
        let listed = present.map(|resource| Event::InitApply(DeserializeGuard(Ok(resource))));
        for event in [Event::Init].into_iter().chain(listed).chain([Event::InitDone]) {
            // The receiver is held here.
            let _ = sender.unbounded_send(event);
        }
        self.watchers.push(sender);
        receiver
    }

    pub fn publish_version(&mut self, name: &str) {
        let Some(Ok(resource)) = self.all.get(name).map(Pool::resource) else { return };
        self.publish(&|| Event::Apply(DeserializeGuard(Ok(resource.clone()))));
    }

    /// Removes a pool. Its lock stays.
    pub fn remove(&mut self, name: &str) {
        let removed = self.all.remove(name).map(|pool| pool.resource());
        if let Some(Ok(resource)) = removed {
            self.publish(&|| Event::Delete(DeserializeGuard(Ok(resource.clone()))));
        }
    }

    fn publish(&mut self, event: &dyn Fn() -> Event<Resource>) {
        self.watchers.retain(|watcher| watcher.unbounded_send(event()).is_ok());
    }
}
