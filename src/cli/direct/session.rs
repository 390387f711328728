//! The pools of files for a verb: read and polled by this process, and locked by a verb that writes.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;

use crate::api::parse;
use crate::cli::cluster::client::{Cluster, ClusterArguments};
use crate::cli::direct::arguments::Chosen;
use crate::cli::direct::fresh::{Fresh, fresh, polls_are_stopped};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::memory;
use crate::cli::output;
use crate::cli::pool::{Origin, Pool};
use crate::controller::{Backend, Files};
use crate::direct::{Access, Directory, Problem, Settings};

/// What a move waits for in a status that a reading verb makes.
pub const READER: &str = "a command that moves, as this one only reads";

/// The files of one verb.
pub struct Direct<'a> {
    chosen: Chosen<'a>,
    pub directory: Arc<Directory>,
    cluster: Option<Client>,
}

impl<'a> Direct<'a> {
    /// Reads the files. `cluster`: where an operator could act on the same servers.
    pub async fn open(chosen: Chosen<'a>, cluster: &ClusterArguments, verb: &str) -> Result<Direct<'a>, Error> {
        if let Err(error) = memory::forbid_dumps() {
            output::note(&format!("Core files of this command can show passwords: {error}."));
        }
        let directory = Directory::open(chosen.settings(verb).await?)?;
        Ok(Direct { chosen, directory, cluster: Cluster::connect_if_any(cluster).await? })
    }

    pub fn backend(&self) -> Backend {
        Backend::Files(Files { directory: self.directory.clone(), cluster: self.cluster.clone() })
    }

    /// Prints the files that cannot be used. Returns the exit for them.
    pub fn report_problems(&self) -> Exit {
        let problems = self.directory.problems();
        problems.iter().for_each(|problem| output::note(&format!("Error: {}", problem.error)));
        problems.into_iter().map(|problem| Error::Direct(problem.error).exit()).max().unwrap_or(Exit::AsWanted)
    }

    /// The pools with these names or FQDNs; every pool if there are none. Nothing is polled.
    pub fn stored(&self, names: &[String]) -> Result<Vec<Pool>, Error> {
        let listed = self.listed();
        if names.is_empty() {
            return Ok(listed);
        }
        let mut found = Vec::new();
        for name in names {
            found.extend(self.matching(&listed, name)?);
        }
        Ok(found)
    }

    /// As [`Direct::stored`], with the state of this moment.
    pub async fn pools(&self, names: &[String]) -> Result<Vec<Pool>, Error> {
        let stored = self.stored(names)?;
        futures::future::join_all(stored.into_iter().map(|pool| self.polled(pool))).await.into_iter().collect()
    }

    /// The only pool, or the one with this name or FQDN. Nothing is polled.
    pub fn pool(&self, name: Option<&str>) -> Result<Pool, Error> {
        let listed = self.listed();
        let mut found = match name {
            Some(name) => self.matching(&listed, name)?,
            None => listed,
        };
        match (found.pop(), found.len(), self.directory.problems().pop()) {
            (Some(one), 0, _) => Ok(one),
            (None, _, Some(Problem { error, .. })) => Err(Error::Direct(error)),
            (last, ..) => Err(Error::ChooseOne {
                path: self.directory.settings().source.display().to_string(),
                names: last.into_iter().chain(found).map(|pool| pool.name).collect(),
            }),
        }
    }

    /// The pool of a verb that writes, with the state of this moment, which is stored. Its lock is held from now on.
    ///
    /// # Errors
    /// [`Error::Direct`] if another process has the lock, and [`Error::HeldByCluster`].
    pub async fn lock(&mut self, name: Option<&str>) -> Result<Pool, Error> {
        let pool = self.pool(name)?;
        let Some(path) = pool.origin.as_ref().map(|origin| origin.path.clone()) else { return Ok(pool) };
        let settings = Settings { source: path, access: Access::Act, ..self.directory.settings().clone() };
        self.directory = Directory::open(settings)?;
        let pool = self.pool(None)?;
        if let Some(holder) = self.backend().holder(&parse(pool.readable()?)).await {
            return Err(Error::HeldByCluster { pool: pool.reference(), holder });
        }
        output::note(&pool.title());
        if polls_are_stopped(&pool, Timestamp::now()) {
            return Ok(pool);
        }
        let Fresh { status, sends, .. } = fresh(&self.backend(), &pool, Some(READER)).await?;
        if sends {
            // The statement belongs to the pass that stores its journal.
            return Ok(pool);
        }
        let mut next = pool.readable()?.clone();
        next.status = Some(status);
        self.directory.replace_status(&pool.reference(), &next).await?;
        self.pool(None)
    }

    /// The pool with the status that this process makes of a poll.
    async fn polled(&self, pool: Pool) -> Result<Pool, Error> {
        let is_held = pool.origin.as_ref().is_some_and(|origin| origin.holder.is_some());
        if is_held || polls_are_stopped(&pool, Timestamp::now()) {
            return Ok(pool);
        }
        let Fresh { status, .. } = fresh(&self.backend(), &pool, Some(READER)).await?;
        Ok(pool.with_status(status))
    }

    fn listed(&self) -> Vec<Pool> {
        self.directory.objects().into_iter().map(|(path, object)| self.with_origin(path, object)).collect()
    }

    fn with_origin(&self, path: PathBuf, object: serde_json::Value) -> Pool {
        let mut pool = Pool::of_value(object);
        let (arguments, holder) = (self.chosen.arguments(&path), self.directory.holder(&pool.reference()));
        pool.origin = Some(Origin { path, arguments, holder });
        pool
    }

    fn matching(&self, listed: &[Pool], name: &str) -> Result<Vec<Pool>, Error> {
        let matches = |pool: &&Pool| pool.name == name || pool.fqdn().eq_ignore_ascii_case(name);
        let found: Vec<Pool> = listed.iter().filter(matches).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let known: Vec<String> = listed.iter().map(|pool| format!("{} ({})", pool.name, pool.fqdn())).collect();
        Err(Error::NoPool {
            name: name.to_owned(),
            place: self.directory.settings().source.display().to_string(),
            known: if known.is_empty() {
                "There is none.".to_owned()
            } else {
                format!("There are: {}.", known.join(", "))
            },
        })
    }
}
