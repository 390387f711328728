//! The pools of one run without a cluster: what the API server is for the operator. It stores the status only for the version
//! that was read, and gives the next one to the watch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::Stream;
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::api::LyncPoolMirror;
use crate::direct::credentials::{self, Bundle, LoginData};
use crate::direct::durable::{self, folder};
use crate::direct::edit::{Edit, edited};
use crate::direct::error::Error;
use crate::direct::lock::Lock;
use crate::direct::pools::{Pool, Pools, Problem, Resource};
use crate::direct::settings::{Access, Settings};
use crate::direct::spec_file::{SpecFile, files, present};
use crate::direct::state_file::{Owner, Paths, State, paths};

pub struct Directory {
    settings: Settings,
    pools: Mutex<Pools>,
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
        let directory = Directory { settings, pools: Mutex::default(), changes: watch::Sender::new(0) };
        directory.rescan();
        Ok(Arc::new(directory))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads the files again. A file that became unusable leaves its pool with the last usable spec, as an API server refuses
    /// such an edit. A removed file removes its pool.
    pub fn rescan(&self) {
        let mut pools = self.pools.lock();
        let listed = match present(&self.settings.source) {
            Ok(listed) => listed,
            Err(error) => {
                pools.problems = vec![Problem { path: self.settings.source.clone(), error }];
                return;
            }
        };
        let files: Vec<PathBuf> = listed.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let (mut problems, mut seen) = (Vec::new(), Vec::new());
        for path in listed {
            match self.scan(&mut pools, &path, &files, &seen) {
                Ok(name) => seen.push(name),
                Err(error) => {
                    seen.extend(pools.all.iter().filter(|(_, pool)| pool.listed == path).map(name_of));
                    problems.push(Problem { path, error });
                }
            }
        }
        pools.problems = problems;
        let gone: Vec<String> = pools.all.keys().filter(|name| !seen.contains(name)).cloned().collect();
        gone.iter().for_each(|name| pools.remove(name));
        drop(pools);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Reads one file. Returns the name of its pool. `files`: all that are present, without links. `seen`: the pools before it.
    fn scan(&self, pools: &mut Pools, path: &Path, files: &[PathBuf], seen: &[String]) -> Result<String, Error> {
        let file = SpecFile::read(path)?;
        let name = file.reference();
        let Some(pool) = pools.all.get(&name) else { return self.load(pools, path, file) };
        let is_moved = pool.file.path != file.path;
        if seen.contains(&name) || (is_moved && files.contains(&pool.file.path)) {
            return Err(Error::Twice { name, first: pool.file.path.clone(), second: file.path });
        }
        if is_moved && self.paths(&file)? != pool.paths {
            // The state has the name of the file.
            pools.remove(&name);
            return self.load(pools, path, file);
        }
        if !file.pool_fqdn().eq_ignore_ascii_case(pool.file.pool_fqdn()) {
            return Err(renamed(&file, pool.file.pool_fqdn()));
        }
        self.refresh(pools, &name, path, file)?;
        Ok(name)
    }

    /// Takes what has changed in the files of a pool.
    fn refresh(&self, pools: &mut Pools, name: &str, path: &Path, file: SpecFile) -> Result<(), Error> {
        let version = pools.next_version();
        let Some(pool) = pools.all.get_mut(name) else { return Ok(()) };
        let mut is_changed = pool.file != file;
        if self.settings.access == Access::Read {
            // Another process writes the state.
            pool.holder = Lock::holder(&pool.paths.lock);
            let stored =
                State::read(&pool.paths.state, owner(name, &file))?.filter(|stored| stored.status != pool.state.status);
            is_changed |= stored.is_some();
            pool.state = stored.unwrap_or_else(|| pool.state.clone());
        }
        path.clone_into(&mut pool.listed);
        if is_changed {
            pool.take(file, version);
            pools.publish_version(name);
        }
        Ok(())
    }

    fn load(&self, pools: &mut Pools, path: &Path, file: SpecFile) -> Result<String, Error> {
        let paths = self.paths(&file)?;
        if let Some(first) = pools.with_state(&paths.state) {
            return Err(Error::OneState { state: paths.state, first: first.file.path.clone(), second: file.path });
        }
        let (is_new, holder) = match self.settings.access {
            Access::Act => (pools.lock(&paths.lock, &file.path, &self.settings.process)?, None),
            Access::Read => (false, Lock::holder(&paths.lock)),
        };
        let (name, lock) = (file.reference(), paths.lock.clone());
        match loaded(path, file, paths, holder, pools.next_version()) {
            Ok(pool) => {
                pools.all.insert(name.clone(), pool);
                pools.publish_version(&name);
                Ok(name)
            }
            Err(error) => {
                if is_new {
                    pools.unlock(&lock);
                }
                Err(error)
            }
        }
    }

    fn paths(&self, file: &SpecFile) -> Result<Paths, Error> {
        paths(&file.path, self.settings.state_dir.as_deref().unwrap_or_else(|| folder(&file.path)))
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.pools.lock().problems.clone()
    }

    /// The resources with the names of their files.
    pub fn objects(&self) -> Vec<(PathBuf, Value)> {
        self.pools.lock().all.values().map(|pool| (pool.file.path.clone(), pool.object())).collect()
    }

    /// The resource `namespace/name`.
    pub fn object(&self, name: &str) -> Option<Value> {
        self.pools.lock().all.get(name).map(Pool::object)
    }

    /// The process that acts on this pool, if it is another one.
    pub fn holder(&self, name: &str) -> Option<String> {
        self.pools.lock().all.get(name)?.holder.clone()
    }

    /// Counts the changes of the pools.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The resources, then their changes.
    pub fn watch(&self) -> impl Stream<Item = Event<Resource>> + Send + 'static + use<> {
        self.pools.lock().watch()
    }

    /// Stores the status of this version of a resource, on the disk when this returns. Returns the next version. None: the
    /// resource changed since that version, so that nothing was stored.
    ///
    /// # Errors
    /// [`Error::Write`] and [`Error::LockLost`]. The former status is then still stored.
    pub async fn replace_status(&self, name: &str, next: &LyncPoolMirror) -> Result<Option<String>, Error> {
        let stored = self.store(name, next).await;
        let error = stored.as_ref().err().cloned();
        if matches!(stored, Ok(None)) {
            return stored;
        }
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.all.get_mut(name) {
            pool.unwritten = error;
        }
        drop(pools);
        self.changes.send_modify(|count| *count += 1);
        stored
    }

    async fn store(&self, name: &str, next: &LyncPoolMirror) -> Result<Option<String>, Error> {
        let (state, path, version) = {
            let pools = self.pools.lock();
            let Some(pool) = pools.all.get(name) else { return Ok(None) };
            if next.metadata.resource_version.as_deref() != Some(&*pool.version.to_string()) {
                return Ok(None);
            }
            pools.check_lock(pool)?;
            let status = next.status.clone().unwrap_or_default();
            (pool.state.with_status(status), pool.paths.state.clone(), pool.version)
        };
        let stored = state.clone();
        let written = tokio::task::spawn_blocking(move || state.write(&path)).await;
        written.map_err(|cause| Error::write(Path::new(name), cause))??;
        let mut pools = self.pools.lock();
        let next = pools.next_version();
        let Some(pool) = pools.all.get_mut(name) else { return Ok(None) };
        pool.state.status = stored.status;
        // An edit of the spec during the write has a version of its own.
        if pool.version == version {
            pool.version = next;
        }
        let version = pool.version.to_string();
        pools.publish_version(name);
        Ok(Some(version))
    }

    /// Why the latest status of a pool is not on the disk. No statement is sent without it.
    pub fn unwritten(&self, name: &str) -> Option<Error> {
        self.pools.lock().all.get(name)?.unwritten.clone()
    }

    /// Whether this process may still send a statement for a pool.
    ///
    /// # Errors
    /// [`Error::LockLost`], and [`Error::Unreadable`] if the file was removed.
    pub fn check_lock(&self, name: &str) -> Result<(), Error> {
        let pools = self.pools.lock();
        match pools.all.get(name) {
            Some(pool) => pools.check_lock(pool),
            None => Err(Error::unreadable(&self.settings.source, format!("it has no pool {name} any more"))),
        }
    }

    /// Writes these edits into the spec file. `wanted`: the spec that results. `shown`: the change as text for an administrator.
    ///
    /// # Errors
    /// [`Error::Changed`] if the file changed since it was read, [`Error::NotEdited`] and [`Error::Write`].
    pub fn edit(&self, name: &str, edits: &[Edit], wanted: &Value, shown: &str) -> Result<(), Error> {
        let (path, text) = {
            let pools = self.pools.lock();
            let Some(pool) = pools.all.get(name) else {
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

fn owner<'a>(name: &'a str, file: &'a SpecFile) -> Owner<'a> {
    Owner { name, pool_fqdn: file.pool_fqdn(), spec: &file.path }
}

/// The pool of a file that is seen for the first time by this process, or again.
fn loaded(listed: &Path, file: SpecFile, paths: Paths, holder: Option<String>, version: u64) -> Result<Pool, Error> {
    let name = file.reference();
    let owner = owner(&name, &file);
    let state = match State::read(&paths.state, owner)? {
        Some(state) => state,
        None => State::new(owner, new_uid(&paths.state)?, file.spec.clone()),
    };
    let listed = listed.to_owned();
    let mut pool = Pool { listed, file: file.clone(), state, paths, holder, version, unwritten: None };
    pool.take(file, version);
    pool.resource()?;
    Ok(pool)
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
