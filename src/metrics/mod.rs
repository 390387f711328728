//! The Prometheus metrics: counters of this process, and the newest snapshot of every resource. The module depends on
//! `model` only, not on Kubernetes or SQL.

mod page;
mod process;
mod series;
mod snapshot;
#[cfg(test)]
mod tests;
mod text;

pub use page::Page;
pub use snapshot::{DatabaseSnapshot, OperationSnapshot, ResourceSnapshot, ServerSnapshot, TypeSnapshot};

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use strum::IntoEnumIterator;
use tokio::task::JoinError;

use crate::model::{Answer, DatabaseType, Outcome};
use page::Pages;
use process::Process;
use snapshot::Snapshots;

/// A counter with one label. The label has a closed set of values, which limits the number of series.
type CounterBy = Family<[(&'static str, &'static str); 1], Counter>;
type HistogramBy = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

const ANSWERS: [&str; 5] = ["Accepted", "GuardRefused", "Refused", "NotSent", "Lost"];

/// The format of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// The text format 0.0.4, which every scraper reads.
    Text,
}

/// A handle on the metrics. Clones share the counters.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    snapshots: Snapshots,
    /// By `Format`.
    pages: [Pages; 2],
    reconciles: CounterBy,
    duration: Histogram,
    move_duration: HistogramBy,
    leader: Gauge,
    statements: CounterBy,
    polls: Counter,
    poll_failures: Counter,
    connections: Counter,
    instances: Gauge,
    status_writes: Counter,
    events_dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn register(&mut self) {
        self.registry.register_collector(Box::new(Process));
        let registry = self.registry.sub_registry_with_prefix("lync_mirror");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the operator", build);
        registry.register("reconciles", "Reconcile passes by result", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of a reconcile pass",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register_with_unit(
            "move_duration",
            "Duration of a move, from its start to its verified end",
            Unit::Seconds,
            self.move_duration.clone(),
        );
        registry.register("leader", "1 while this process is the leader", self.leader.clone());
        registry.register("statements", "Failover statements by answer", self.statements.clone());
        registry.register("polls", "Polls of SQL Server instances, including failed ones", self.polls.clone());
        registry.register("poll_failures", "Failed polls", self.poll_failures.clone());
        registry.register("sql_connections", "Connections opened to SQL Server instances", self.connections.clone());
        registry.register("instances", "SQL Server instances that the operator polls", self.instances.clone());
        registry.register("status_writes", "Writes of a changed status", self.status_writes.clone());
        let dropped = self.events_dropped.clone();
        registry.register("events_dropped", "Events of namespaces that publish too many", dropped);
        registry.register_collector(Box::new(self.snapshots.clone()));
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut inner = Inner {
            registry: Registry::default(),
            snapshots: Snapshots::default(),
            pages: Default::default(),
            reconciles: CounterBy::default(),
            // 1 ms to 16 s.
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            // 1 s to 34 min.
            move_duration: HistogramBy::new_with_constructor(|| Histogram::new(exponential_buckets(1.0, 2.0, 12))),
            leader: Gauge::default(),
            statements: CounterBy::default(),
            polls: Counter::default(),
            poll_failures: Counter::default(),
            connections: Counter::default(),
            instances: Gauge::default(),
            status_writes: Counter::default(),
            events_dropped: Counter::default(),
        };
        inner.register();
        for outcome in Outcome::iter() {
            drop(inner.move_duration.get_or_create(&[("outcome", outcome.into())]));
        }
        for answer in ANSWERS {
            drop(inner.statements.get_or_create(&[("answer", answer)]));
        }
        Self(Arc::new(inner))
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encoding::text::encode(&mut text, &self.0.registry) {
            tracing::error!(%error, "cannot encode the metrics");
        }
        text
    }

    /// All metrics in the text format 0.0.4, which every scraper reads.
    pub fn encode_text(&self) -> String {
        text::classic(&self.encode())
    }

    /// The page of this moment, or that of another client a moment ago.
    ///
    /// # Errors
    /// The encoder panicked.
    pub async fn page(&self, format: Format) -> Result<Page, JoinError> {
        let (metrics, [openmetrics, text]) = (self.clone(), &self.0.pages);
        match format {
            Format::OpenMetrics => openmetrics.share(move || metrics.encode()).await,
            Format::Text => text.share(move || metrics.encode_text()).await,
        }
    }

    /// Counts results of passes from 0, so that the first one of a kind is an increase.
    pub fn expect_results(&self, results: impl IntoIterator<Item = &'static str>) {
        for result in results {
            drop(self.0.reconciles.get_or_create(&[("result", result)]));
        }
    }

    /// Replaces the snapshot of a resource.
    pub fn observe(&self, namespace: &str, name: &str, snapshot: ResourceSnapshot) {
        self.0.snapshots.observe(namespace, name, snapshot);
    }

    /// Removes the series of a deleted resource.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.0.snapshots.forget(namespace, name);
    }

    /// Removes the series of all resources. Only the leader exports them.
    pub fn forget_all(&self) {
        self.0.snapshots.forget_all();
    }

    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn resources(&self) -> usize {
        self.0.snapshots.resources()
    }

    /// Counts a move that ended. `took`: from its start to this moment.
    pub fn move_ended(&self, namespace: &str, name: &str, ty: DatabaseType, outcome: Outcome, took: Duration) {
        self.0.snapshots.move_ended(namespace, name, ty, outcome);
        self.0.move_duration.get_or_create(&[("outcome", outcome.into())]).observe(took.as_secs_f64());
    }

    /// Counts a switch that no change of the spec requested.
    pub fn unrequested_switch(&self, namespace: &str, name: &str, ty: DatabaseType) {
        self.0.snapshots.unrequested_switch(namespace, name, ty);
    }

    /// `result`: `ok`, or the category of the error.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.0.reconciles.get_or_create(&[("result", result)]).inc();
        self.0.duration.observe(took.as_secs_f64());
    }

    pub fn set_leader(&self, leads: bool) {
        self.0.leader.set(leads.into());
    }

    pub fn statement_answered(&self, answer: &Answer) {
        let answer = match answer {
            Answer::Accepted => "Accepted",
            Answer::GuardRefused { .. } => "GuardRefused",
            Answer::Refused { .. } => "Refused",
            Answer::NotSent { .. } => "NotSent",
            Answer::Lost { .. } => "Lost",
        };
        self.0.statements.get_or_create(&[("answer", answer)]).inc();
    }

    /// Adds to the number of polls and to the number of failed polls.
    pub fn polled(&self, polls: u64, failures: u64) {
        self.0.polls.inc_by(polls);
        self.0.poll_failures.inc_by(failures);
    }

    pub fn connections_opened(&self, connections: u64) {
        self.0.connections.inc_by(connections);
    }

    pub fn set_instances(&self, count: usize) {
        self.0.instances.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn status_written(&self) {
        self.0.status_writes.inc();
    }

    pub fn event_dropped(&self) {
        self.0.events_dropped.inc();
    }
}
