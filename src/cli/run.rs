//! `lync-mirror run`: start-up and orderly stop of the operator.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use hyper::header::{HeaderValue, USER_AGENT};
use ipnet::IpNet;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::Span;
use crate::cli::cluster::client::{Cluster, ClusterArguments};
use crate::cli::direct::arguments::DirectArguments;
use crate::cli::election::Election;
use crate::cli::listen::listen;
use crate::cli::{descriptors, memory, run_direct};
use crate::controller::{self, Backend, Settings};
use crate::direct::{Access as FileAccess, Settings as Files};
use crate::health::{self, Health, Loop};
use crate::http::{self, Access, Certificate};
use crate::leader::{self, Leadership, Timing};
use crate::metrics::Metrics;
use crate::sql::{Deadlines, Limits, Sizes, kerberos_helper};
use crate::telemetry::{self, LogFormat};

/// In the audit log of the API server, and in the managed fields of what the operator writes.
const NAME: &str = concat!("lync-mirror/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Args)]
pub struct Run {
    /// Namespaces to watch, separated by commas. Default: all namespaces.
    #[arg(long = "namespace-scope", env = "LYNC_MIRROR_WATCH_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Address and port of /livez and /readyz, and of /metrics without --metrics-listen. [::] is IPv4 and IPv6.
    #[arg(long, env = "LYNC_MIRROR_LISTEN", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Address and port of /metrics over TLS, for clients that the API server authenticates and authorizes.
    #[arg(long, env = "LYNC_MIRROR_METRICS_LISTEN", requires = "metrics_tls_folder")]
    metrics_listen: Option<SocketAddr>,
    /// Folder with the certificate (tls.crt) and the private key (tls.key) of --metrics-listen.
    #[arg(long, env = "LYNC_MIRROR_METRICS_TLS_FOLDER", requires = "metrics_listen")]
    metrics_tls_folder: Option<PathBuf>,
    /// Poll interval per SQL Server instance when idle, e.g. 10s.
    #[arg(long, env = "LYNC_MIRROR_POLL_INTERVAL", default_value = "10s")]
    pub poll_interval: Span,
    /// Interval of the additional login that checks the credentials while a connection is open, e.g. 5m.
    #[arg(long, env = "LYNC_MIRROR_LOGIN_CHECK_INTERVAL", default_value = "5m")]
    login_check_interval: Span,
    /// Networks that the operator does not connect to as SQL Servers, separated by commas, e.g. 169.254.0.0/16,127.0.0.0/8.
    #[arg(long, env = "LYNC_MIRROR_DENY_NETWORKS", value_delimiter = ',', default_value = Limits::DENIED)]
    deny_networks: Vec<IpNet>,
    #[command(flatten)]
    election: Election,
    /// Namespace of the Lease. Default: the namespace of the pod or of the kubeconfig.
    #[arg(long, env = "POD_NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of this replica. The operator adds a random suffix.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Log format.
    #[arg(long, env = "LYNC_MIRROR_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Log filter, e.g. info or lync_mirror=debug,info.
    #[arg(long, env = "LYNC_MIRROR_LOG", default_value = "info")]
    log_filter: String,
    #[command(flatten)]
    direct: DirectArguments,
}

impl Run {
    pub fn start(self) -> anyhow::Result<()> {
        telemetry::init(self.log_format, &self.log_filter)?;
        if let Err(error) = memory::forbid_dumps() {
            warn!(%error, "core files and other processes of this user can show passwords, as the kernel refuses to forbid it");
        }
        if self.poll_interval.0.is_zero() {
            anyhow::bail!("--poll-interval is zero. To fix: set it to 1s or more.");
        }
        if self.login_check_interval.0.is_zero() {
            anyhow::bail!("--login-check-interval is zero. To fix: set it to 1m or more.");
        }
        let timing = self.election.timing()?;
        let workers = Builder::new_multi_thread().enable_all().build()?;
        match workers.block_on(self.files())? {
            Some(files) => workers.block_on(self.operate_files(files)),
            // The lease, the probes and the metrics have a thread of their own: no work for a tenant delays them.
            None => {
                Builder::new_current_thread().enable_all().build()?.block_on(self.operate(timing, workers.handle()))
            }
        }
    }

    /// The files of `--direct`.
    async fn files(&self) -> anyhow::Result<Option<Files>> {
        let Some(chosen) = self.direct.chosen()? else { return Ok(None) };
        Ok(Some(Files { access: FileAccess::Act, ..chosen.settings("run").await? }))
    }

    /// Without a cluster: files in the place of the API server, and their locks in the place of the lease.
    async fn operate_files(self, files: Files) -> anyhow::Result<()> {
        if self.metrics_listen.is_some() {
            anyhow::bail!("--metrics-listen needs an API server. To fix: remove it, and read /metrics at --listen.");
        }
        let directory = run_direct::open(files)?;
        let cluster = Cluster::connect_if_any(&ClusterArguments::default()).await?;
        let listener = listen("--listen", self.listen).await?;
        info!(version = env!("CARGO_PKG_VERSION"), listen = %listener.local_addr()?, cluster = cluster.is_some(), "starting without a cluster");
        let (metrics, health) = (Metrics::new(), Health::new());
        let (stop, close) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(stop_on_signal(stop.clone(), health.clone())?);
        let router = health::probes(health.clone()).merge(health::metrics_page(metrics.clone()));
        let serving = tokio::spawn(http::serve(listener, router, None, close.clone()));
        tokio::spawn(run_direct::rescan(directory.clone(), health.clone(), stop.clone()));
        let backend = Backend::Files(controller::Files { directory, cluster });
        let settings = self.settings();
        controller::run(backend, Leadership::without_election(), settings, metrics, health, stop).await;
        close.cancel();
        serving.await?;
        Ok(())
    }

    fn settings(self) -> Settings {
        Settings {
            namespaces: self.namespaces.into_iter().filter(|namespace| !namespace.is_empty()).collect(),
            poll_interval: self.poll_interval.0,
            login_check_interval: self.login_check_interval.0,
            deadlines: Deadlines::default(),
            limits: limits(self.deny_networks),
            grace: Duration::from_secs(30),
        }
    }

    /// `workers`: runs the reconcile passes and all that they need.
    async fn operate(self, timing: Timing, workers: &Handle) -> anyhow::Result<()> {
        let mut config = Config::infer()
            .await
            .context("No cluster: found neither a kubeconfig nor the service account of a pod.")?;
        // The API server also takes the field manager from it.
        config.headers.push((USER_AGENT, HeaderValue::from_static(NAME)));
        let namespace = self.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        // The renewals of the lease must not wait for a connection that the reconcile passes use.
        let lease_client = Client::try_from(config.clone())?;
        let client = {
            // Its task runs there, and each connection where its request is sent: no request of this thread uses this client.
            let _entered = workers.enter();
            Client::try_from(config)?
        };
        let listener = listen("--listen", self.listen).await?;
        let secure = self.secure_port().await?;
        let identity = self.identity();
        info!(version = env!("CARGO_PKG_VERSION"), identity, listen = %listener.local_addr()?, "starting");

        let (metrics, health) = (Metrics::new(), Health::new());
        // Cancelled in this order: no new work, statements complete, lease released, probes closed.
        let (stop, resign, close) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        tokio::spawn(stop_on_signal(stop.clone(), health.clone())?);
        let (mut serving, mut router) = (JoinSet::new(), health::probes(health.clone()));
        let page = health::metrics_page(metrics.clone());
        match secure {
            None => router = router.merge(page),
            Some((port, certificate)) => {
                info!(metrics = %port.local_addr()?, "metrics need authorization");
                let page = http::protect(page, Access::new(lease_client.clone()));
                serving.spawn(http::serve(port, page, Some(certificate), close.clone()));
            }
        }
        serving.spawn(http::serve(listener, router, None, close.clone()));
        let leadership =
            leader::campaign(lease_client, &namespace, &self.election.lease_name, identity, resign.clone(), timing);
        tokio::spawn(report_rounds(leadership.clone(), health.clone()));
        let settings = self.settings();
        workers.spawn(controller::run(client.into(), leadership.clone(), settings, metrics, health, stop)).await?;
        resign.cancel();
        leadership.resigned().await;
        close.cancel();
        while let Some(ended) = serving.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// The port for metrics alone, if there is one.
    async fn secure_port(&self) -> anyhow::Result<Option<(TcpListener, Certificate)>> {
        let (Some(address), Some(folder)) = (self.metrics_listen, &self.metrics_tls_folder) else { return Ok(None) };
        let certificate = Certificate::read(folder).context(
            "The metrics have no certificate. To fix: set --metrics-tls-folder to a folder with tls.crt and tls.key.",
        )?;
        Ok(Some((listen("--metrics-listen", address).await?, certificate)))
    }

    /// Unique to this process: two pods with the same name must not share a lease.
    fn identity(&self) -> String {
        let name = self
            .identity
            .clone()
            .or_else(|| std::env::var("HOSTNAME").ok())
            .unwrap_or_else(|| "lync-mirror".to_owned());
        format!("{name}-{:08x}", RandomState::new().hash_one(std::process::id()) as u32)
    }
}

/// The limits that the descriptors of the process allow.
fn limits(denied: Vec<IpNet>) -> Limits {
    let descriptors = descriptors::raise_limit();
    let sizes = Sizes::for_descriptors(descriptors);
    let Sizes { connections, lookups, helpers } = sizes;
    info!(descriptors, connections, lookups, helpers, "limits of this process");
    kerberos_helper::report_restriction();
    Limits::new(sizes, denied)
}

fn stop_on_signal(stop: CancellationToken, health: Health) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        info!("stop requested");
        health.set_stopping();
        stop.cancel();
    })
}

async fn report_rounds(leadership: Leadership, health: Health) {
    let mut rounds = leadership.rounds();
    while rounds.changed().await.is_ok() {
        health.heartbeat(Loop::Lease);
    }
}
