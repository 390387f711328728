//! The pools of one run without a cluster: what the API server is for the operator. It stores the status only for the version
//! that was read, and gives the next one to the watch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::Stream;
use futures::channel::mpsc;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api::LyncPoolMirror;
use crate::direct::credentials::{self, Bundle, LoginData};
use crate::direct::durable::{self, folder};
use crate::direct::edit::{Edit, edited};
use crate::direct::error::Error;
use crate::direct::lock::Lock;
use crate::direct::settings::{Access, Settings};
use crate::direct::spec_file::{SpecFile, files, present};
use crate::direct::state_file::{Owner, State, paths};

type Resource = DeserializeGuard<LyncPoolMirror>;

/// A file that cannot be used, and why. The others go on.
#[derive(Debug, Clone)]
pub struct Problem {
    pub path: PathBuf,
    pub error: Error,
}

/// One pool.
struct Pool {
    file: SpecFile,
    state: State,
    state_path: PathBuf,
    /// None: this process only reads.
    lock: Option<Lock>,
    /// The process that acts on the pool, if it is another one.
    holder: Option<String>,
    /// The resource version.
    version: u64,
}

impl Pool {
    /// The resource as an API server would return it.
    fn object(&self) -> Value {
        json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
            "metadata": {
                "namespace": self.file.namespace, "name": self.file.name, "uid": self.state.uid,
                "generation": self.state.generation, "resourceVersion": self.version.to_string(),
            },
            "spec": self.file.spec, "status": self.state.status,
        })
    }

    fn resource(&self) -> Result<LyncPoolMirror, Error> {
        serde_json::from_value(self.object()).map_err(|cause| Error::unreadable(&self.file.path, cause))
    }

    /// Takes another content of the file. A changed spec has another generation.
    fn take(&mut self, file: SpecFile) {
        if file.spec != self.state.spec {
            self.state.generation += 1;
            self.state.spec = file.spec.clone();
        }
        self.file = file;
        self.version += 1;
    }
}

#[derive(Default)]
struct Inner {
    /// By `namespace/name`.
    pools: BTreeMap<String, Pool>,
    problems: Vec<Problem>,
    watchers: Vec<mpsc::UnboundedSender<Event<Resource>>>,
}

impl Inner {
    fn publish(&mut self, event: &dyn Fn() -> Option<Event<Resource>>) {
        self.watchers.retain(|watcher| event().is_none_or(|event| watcher.unbounded_send(event).is_ok()));
    }

    fn publish_version(&mut self, name: &str) {
        let Some(Ok(resource)) = self.pools.get(name).map(Pool::resource) else { return };
        self.publish(&|| Some(Event::Apply(DeserializeGuard(Ok(resource.clone())))));
    }
}

pub struct Directory {
    settings: Settings,
    inner: Mutex<Inner>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

impl Directory {
    /// Reads all files. Those that cannot be used are in [`Directory::problems`].
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the path of the settings has no spec file.
    pub fn open(settings: Settings) -> Result<Arc<Directory>, Error> {
        files(&settings.source)?;
        let directory = Directory { settings, inner: Mutex::default(), changes: watch::Sender::new(0) };
        directory.rescan();
        Ok(Arc::new(directory))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads the files again. A file that became unusable leaves its pool with the last usable spec, as an API server refuses
    /// such an edit. A removed file removes its pool.
    pub fn rescan(&self) {
        let mut inner = self.inner.lock();
        let listed = match present(&self.settings.source) {
            Ok(listed) => listed,
            Err(error) => {
                inner.problems = vec![Problem { path: self.settings.source.clone(), error }];
                return;
            }
        };
        let (mut problems, mut seen) = (Vec::new(), Vec::new());
        for path in listed {
            match self.scan(&mut inner, &path, &seen) {
                Ok(name) => seen.push(name),
                Err(error) => {
                    seen.extend(inner.pools.iter().filter(|(_, pool)| is_same(&pool.file.path, &path)).map(name_of));
                    problems.push(Problem { path, error });
                }
            }
        }
        inner.problems = problems;
        let gone: Vec<String> = inner.pools.keys().filter(|name| !seen.contains(name)).cloned().collect();
        for name in gone {
            let removed = inner.pools.remove(&name).map(|pool| pool.resource());
            if let Some(Ok(resource)) = removed {
                inner.publish(&|| Some(Event::Delete(DeserializeGuard(Ok(resource.clone())))));
            }
        }
        drop(inner);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Reads one file. Returns the name of its pool.
    fn scan(&self, inner: &mut Inner, path: &Path, present: &[String]) -> Result<String, Error> {
        let file = SpecFile::read(path)?;
        let name = file.reference();
        if let Some(pool) = inner.pools.get_mut(&name) {
            if pool.file.path != file.path || present.contains(&name) {
                return Err(Error::Twice { name, first: pool.file.path.clone(), second: file.path });
            }
            if !file.pool_fqdn().eq_ignore_ascii_case(pool.file.pool_fqdn()) {
                return Err(renamed(&file, pool.file.pool_fqdn()));
            }
            if pool.file.text != file.text {
                pool.take(file);
                inner.publish_version(&name);
            }
            return Ok(name);
        }
        let pool = self.load(file)?;
        inner.pools.insert(name.clone(), pool);
        inner.publish_version(&name);
        Ok(name)
    }

    fn load(&self, file: SpecFile) -> Result<Pool, Error> {
        let own_folder = folder(&file.path).to_owned();
        let (state_path, lock_path) = paths(&file.path, self.settings.state_dir.as_ref().unwrap_or(&own_folder));
        let (lock, holder) = match self.settings.access {
            Access::Act => (Some(Lock::acquire(&lock_path, &file.path, &self.settings.process)?), None),
            Access::Read => (None, Lock::holder(&lock_path)),
        };
        let reference = file.reference();
        let owner = Owner { name: &reference, pool_fqdn: file.pool_fqdn(), spec: &file.path };
        let state = match State::read(&state_path, owner)? {
            Some(state) => state,
            None => State::new(owner, new_uid(&state_path)?, file.spec.clone()),
        };
        let mut pool = Pool { file: file.clone(), state, state_path, lock, holder, version: 0 };
        pool.take(file);
        pool.resource()?;
        Ok(pool)
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.inner.lock().problems.clone()
    }

    /// The resources with the names of their files.
    pub fn objects(&self) -> Vec<(PathBuf, Value)> {
        self.inner.lock().pools.values().map(|pool| (pool.file.path.clone(), pool.object())).collect()
    }

    /// The resource `namespace/name`.
    pub fn object(&self, name: &str) -> Option<Value> {
        self.inner.lock().pools.get(name).map(Pool::object)
    }

    /// The process that acts on this pool, if it is another one.
    pub fn holder(&self, name: &str) -> Option<String> {
        self.inner.lock().pools.get(name)?.holder.clone()
    }

    /// Counts the changes of the pools.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The resources, then their changes.
    pub fn watch(&self) -> impl Stream<Item = Event<Resource>> + Send + 'static + use<> {
        let (sender, receiver) = mpsc::unbounded();
        let mut inner = self.inner.lock();
        let present = inner.pools.values().filter_map(|pool| pool.resource().ok());
        let listed = present.map(|resource| Event::InitApply(DeserializeGuard(Ok(resource))));
        for event in [Event::Init].into_iter().chain(listed).chain([Event::InitDone]) {
            // The receiver is held here.
            let _ = sender.unbounded_send(event);
        }
        inner.watchers.push(sender);
        receiver
    }

    /// Stores the status of this version of a resource, on the disk when this returns. Returns the next version. None: the
    /// resource changed since that version, so that nothing was stored.
    ///
    /// # Errors
    /// [`Error::Write`] and [`Error::LockLost`]. The former status is then still stored.
    pub async fn replace_status(&self, name: &str, next: &LyncPoolMirror) -> Result<Option<String>, Error> {
        let (state, path, version) = {
            let inner = self.inner.lock();
            let Some(pool) = inner.pools.get(name) else { return Ok(None) };
            if next.metadata.resource_version.as_deref() != Some(&*pool.version.to_string()) {
                return Ok(None);
            }
            let Some(lock) = &pool.lock else {
                let holder = pool.holder.clone().unwrap_or_else(|| "no process".to_owned());
                return Err(Error::Locked { pool: pool.file.path.clone(), holder });
            };
            lock.check()?;
            let status = next.status.clone().unwrap_or_default();
            (pool.state.with_status(status), pool.state_path.clone(), pool.version)
        };
        let stored = state.clone();
        let written = tokio::task::spawn_blocking(move || state.write(&path)).await;
        written.map_err(|cause| Error::write(Path::new(name), cause))??;
        let mut inner = self.inner.lock();
        let Some(pool) = inner.pools.get_mut(name) else { return Ok(None) };
        pool.state.status = stored.status;
        // An edit of the spec during the write has a version of its own.
        let next = if pool.version == version { pool.version + 1 } else { pool.version };
        pool.version = next;
        inner.publish_version(name);
        drop(inner);
        self.changes.send_modify(|count| *count += 1);
        Ok(Some(next.to_string()))
    }

    /// Writes these edits into the spec file. `wanted`: the spec that results. `shown`: the change as text for an administrator.
    ///
    /// # Errors
    /// [`Error::Changed`] if the file changed since it was read, [`Error::NotEdited`] and [`Error::Write`].
    pub fn edit(&self, name: &str, edits: &[Edit], wanted: &Value, shown: &str) -> Result<(), Error> {
        let (path, text) = {
            let inner = self.inner.lock();
            let Some(pool) = inner.pools.get(name) else {
                return Err(Error::unreadable(&self.settings.source, format!("it has no pool {name}")));
            };
            (pool.file.path.clone(), pool.file.text.clone())
        };
        if SpecFile::read(&path)?.text != text {
            return Err(Error::Changed { path });
        }
        let Some(after) = edited(&text, edits, wanted) else {
            let cause = "its layout is not one key on each line".to_owned();
            return Err(Error::NotEdited { path, cause, wanted: shown.to_owned() });
        };
        SpecFile::parse(&path, after.clone())?;
        durable::replace(&path, after.as_bytes())?;
        self.rescan();
        Ok(())
    }

    /// # Errors
    /// The message for the status.
    pub async fn login(&self) -> Result<LoginData, String> {
        let from = self.settings.login.clone();
        let read = tokio::task::spawn_blocking(move || credentials::login(&from)).await;
        read.map_err(|error| error.to_string())?
    }

    /// # Errors
    /// The message for the status.
    pub async fn ca_bundle(&self) -> Result<Option<Bundle>, String> {
        let Some(path) = self.settings.ca_bundle.clone() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || credentials::bundle(&path)).await;
        read.map_err(|error| error.to_string())?.map(Some)
    }
}

fn name_of((name, _): (&String, &Pool)) -> String {
    name.clone()
}

fn is_same(known: &Path, path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path == known)
}

/// `spec.poolFqdn` is immutable, as in a cluster.
fn renamed(file: &SpecFile, former: &str) -> Error {
    Error::Field {
        path: file.path.clone(),
        field: "spec.poolFqdn".to_owned(),
        value: format!("{:?}", file.pool_fqdn()),
        problem: format!("The field is immutable. To fix: write {former:?}, or use another file for another pool."),
    }
}

fn new_uid(path: &Path) -> Result<String, Error> {
    let mut bytes = [0; 16];
    openssl::rand::rand_bytes(&mut bytes).map_err(|cause| Error::write(path, cause))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
