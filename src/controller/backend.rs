//! Where the resources of a run are, with their credentials: a cluster, or files of this computer. Everything else of a pass
//! is the same for both.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use crate::api::ParsedSpec;
use crate::controller::cluster_holder::holder;
use crate::controller::object::WatchedResource;
use crate::direct::{self, Directory};

/// The changes of the resources.
pub type Events = BoxStream<'static, Result<watcher::Event<WatchedResource>, watcher::Error>>;

#[derive(Clone)]
pub enum Backend {
    Cluster(Client),
    Files(Files),
}

/// Files, and a cluster whose operator could hold the same servers.
#[derive(Clone)]
pub struct Files {
    pub directory: Arc<Directory>,
    pub cluster: Option<Client>,
}

impl From<Client> for Backend {
    fn from(client: Client) -> Backend {
        Backend::Cluster(client)
    }
}

/// The resources in one response of a list: each can have the size that etcd takes.
const PAGE: u32 = 50;

impl Backend {
    /// The cluster of the resources.
    pub fn cluster(&self) -> Option<&Client> {
        match self {
            Backend::Cluster(client) => Some(client),
            Backend::Files(_) => None,
        }
    }

    /// The resources of a namespace, or of all.
    pub fn watch(&self, scope: Option<&str>) -> Events {
        match self {
            Backend::Cluster(client) => {
                let api: Api<WatchedResource> = match scope {
                    None => Api::all(client.clone()),
                    Some(namespace) => Api::namespaced(client.clone(), namespace),
                };
                watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff().boxed()
            }
            Backend::Files(files) => files.directory.watch().map(Ok).boxed(),
        }
    }

    /// What a move of these servers waits for outside of this process: the operator of a cluster that can be read.
    pub async fn holder(&self, spec: &ParsedSpec) -> Option<String> {
        match self {
            Backend::Cluster(_) => None,
            Backend::Files(Files { cluster, .. }) => holder(cluster.as_ref()?, spec).await,
        }
    }

    /// Whether this process still has the lock of a pool. In a cluster, the lease takes its place.
    ///
    /// # Errors
    /// The lock is lost, or the pool has no file any more.
    pub fn check_lock(&self, name: &str) -> Result<(), direct::Error> {
        match self {
            Backend::Cluster(_) => Ok(()),
            Backend::Files(Files { directory, .. }) => directory.check_lock(name),
        }
    }
}
