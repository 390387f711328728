//! Where the pools of a verb are: a cluster with an operator, or files without one.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::runtime::{WatchStreamExt, watcher};
use tokio_stream::wrappers::IntervalStream;

use crate::cli::arguments::PoolsArguments;
use crate::cli::cluster::change::Change;
use crate::cli::cluster::client::{Cluster, ClusterArguments, OperatorArguments};
use crate::cli::cluster::find;
use crate::cli::cluster::write::{self, Write, Written};
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::direct::session::Direct;
use crate::cli::direct::write as files;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::pool::Pool;
use crate::cli::view::state::Operator;

/// Between two polls of `--watch` without a cluster.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

pub enum Source<'a> {
    Cluster(Cluster),
    Direct(Direct<'a>),
}

impl<'a> Source<'a> {
    /// `verb`: as other processes name this one.
    pub async fn open(
        cluster: &ClusterArguments,
        direct: &'a DirectArguments,
        verb: &str,
    ) -> Result<Source<'a>, Error> {
        match direct.chosen()? {
            None => Ok(Source::Cluster(Cluster::connect(cluster).await?)),
            Some(chosen) => Ok(Source::Direct(Direct::open(chosen, cluster, verb).await?)),
        }
    }

    /// The pools of a verb that reads. Files that cannot be used are printed.
    pub async fn pools(&self, arguments: &PoolsArguments) -> Result<(Vec<Pool>, Exit), Error> {
        match self {
            Source::Cluster(cluster) => Ok((find::pools(cluster, arguments).await?, Exit::AsWanted)),
            Source::Direct(direct) => Ok((direct.pools(&arguments.pools).await?, direct.report_problems())),
        }
    }

    /// As [`Source::pools`], with the status that is stored: nothing is polled.
    pub async fn stored(&self, arguments: &PoolsArguments) -> Result<(Vec<Pool>, Exit), Error> {
        match self {
            Source::Cluster(_) => self.pools(arguments).await,
            Source::Direct(direct) => Ok((direct.stored(&arguments.pools)?, direct.report_problems())),
        }
    }

    /// The pool of a verb that writes. Without a cluster, this process has its lock from now on.
    pub async fn pool_to_write(&mut self, name: Option<&str>) -> Result<Pool, Error> {
        match self {
            Source::Cluster(cluster) => find::pool_to_write(cluster, name.unwrap_or_default()).await,
            Source::Direct(direct) => direct.lock(name).await,
        }
    }

    /// The present version of a pool that this verb has written.
    pub async fn again(&self, pool: &Pool) -> Result<Pool, Error> {
        match self {
            Source::Cluster(cluster) => find::pool_in(cluster, &pool.namespace, &pool.name).await,
            Source::Direct(direct) => direct.pool(None),
        }
    }

    pub async fn write(&self, pool: &Pool, changes: &[Change], how: Write) -> Result<Written, Error> {
        self.write_if(pool, changes, how, &|_| Ok(())).await
    }

    /// As [`Source::write`], but only to a version of the pool that passes this check.
    pub async fn write_if(
        &self,
        pool: &Pool,
        changes: &[Change],
        how: Write,
        check: &dyn Fn(&Pool) -> Result<(), Error>,
    ) -> Result<Written, Error> {
        match self {
            Source::Cluster(cluster) => write::write_if(cluster, pool, changes, how, check).await,
            Source::Direct(direct) => files::write_if(direct, pool, changes, how, check),
        }
    }

    /// What is printed instead of no pools, with the way out.
    pub fn no_pool(&self, arguments: &PoolsArguments) -> String {
        match self {
            Source::Cluster(cluster) => arguments.no_pool(&cluster.namespace),
            Source::Direct(direct) => format!(
                "There is no pool in {}. To fix: pass a file of a LyncPoolMirror, or a folder with such files, to -f.",
                direct.directory.settings().source.display()
            ),
        }
    }

    /// An item whenever the pools can have changed. Without a cluster only a poll shows that.
    pub fn events(&self, pools: &[Pool], arguments: &PoolsArguments) -> BoxStream<'static, ()> {
        match self {
            Source::Cluster(cluster) => {
                let in_one = pools.iter().all(|pool| pool.namespace == cluster.namespace) && !arguments.all_namespaces;
                let api = if in_one { cluster.pools(&cluster.namespace) } else { cluster.all_pools() };
                watcher(api, watcher::Config::default()).default_backoff().map(|_| ()).boxed()
            }
            Source::Direct(direct) => {
                let directory = direct.directory.clone();
                let every = tokio::time::interval(POLL_INTERVAL);
                IntervalStream::new(every).map(move |_| directory.rescan()).boxed()
            }
        }
    }

    /// The holder of the operator's lease. Without a cluster there is none.
    pub async fn operator(&self, at: &OperatorArguments) -> Option<Operator> {
        match self {
            Source::Cluster(cluster) => cluster.operator(at).await,
            Source::Direct(_) => None,
        }
    }
}
