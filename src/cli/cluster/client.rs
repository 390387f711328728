//! The connection to the cluster, by the options that kubectl has.

use std::path::PathBuf;

use clap::Args;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::api::LyncPoolMirror;
use crate::cli::error::Error;
use crate::cli::view::state::Operator;

/// Which cluster and which namespace.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterArguments {
    /// Kubeconfig file. Default: the variable KUBECONFIG, else ~/.kube/config, else the service account of a pod.
    #[arg(long, value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<String>,
    /// Namespace of the pool. Default: the namespace of the context.
    #[arg(short, long, value_name = "NAME", global = true)]
    pub namespace: Option<String>,
}

/// Where the operator holds its lease, which shows whether it runs.
#[derive(Debug, Clone, Args)]
pub struct OperatorArguments {
    /// Namespace of the operator's lease.
    #[arg(long, value_name = "NAME", env = "LYNC_MIRROR_OPERATOR_NAMESPACE", default_value = "lync-mirror-system")]
    operator_namespace: String,
    /// Name of the operator's lease.
    #[arg(long, value_name = "NAME", env = "LYNC_MIRROR_LEASE_NAME", default_value = "lync-mirror")]
    lease_name: String,
}

/// A client, and the namespace of the verb.
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
    /// The administrator named the namespace.
    pub is_chosen: bool,
}

impl Cluster {
    /// # Errors
    /// Without a usable kubeconfig or service account. No request is sent.
    pub async fn connect(arguments: &ClusterArguments) -> Result<Cluster, Error> {
        let options = KubeConfigOptions { context: arguments.context.clone(), ..KubeConfigOptions::default() };
        let config = match &arguments.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(Error::Kubeconfig)?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(Error::Kubeconfig)?
            }
            None if options.context.is_some() => Config::from_kubeconfig(&options).await.map_err(Error::Kubeconfig)?,
            None => Config::infer().await.map_err(|error| Error::NoCluster(Box::new(error)))?,
        };
        let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| Error::Unreachable(Box::new(error)))?;
        Ok(Cluster { client, namespace, is_chosen: arguments.namespace.is_some() })
    }

    /// A client for the cluster that is configured, if there is one. A kubeconfig that the administrator names must be usable.
    pub async fn connect_if_any(arguments: &ClusterArguments) -> Result<Option<Client>, Error> {
        let is_named = arguments.kubeconfig.is_some() || arguments.context.is_some();
        match Cluster::connect(arguments).await {
            Ok(cluster) => Ok(Some(cluster.client)),
            Err(error) if is_named => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The pools of a namespace. Not decoded: one that this program cannot decode must not hide the others.
    pub fn pools(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<LyncPoolMirror>(&()))
    }

    pub fn all_pools(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &ApiResource::erase::<LyncPoolMirror>(&()))
    }

    /// The user as the API server knows it. None: an API server before 1.28, or it does not answer.
    pub async fn user(&self) -> Option<String> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
        review.status?.user_info?.username
    }

    /// The holder of the operator's lease. None: the caller may not read it, or it is elsewhere.
    pub async fn operator(&self, at: &OperatorArguments) -> Option<Operator> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &at.operator_namespace);
        let spec = api.get_opt(&at.lease_name).await.ok()??.spec?;
        let renewed = spec.renew_time?.0;
        let lasts = jiff::SignedDuration::from_secs(i64::from(spec.lease_duration_seconds?));
        let expires = renewed.checked_add(lasts).ok()?;
        // An operator that stops in good order clears the holder.
        Some(Operator { holder: spec.holder_identity.filter(|holder| !holder.is_empty()), renewed, expires })
    }
}
