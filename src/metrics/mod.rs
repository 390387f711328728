//! Numbers for Prometheus: counters of what this process did, and the latest word on every resource. Plain types and
//! the words of the domain; no Kubernetes, no SQL.

mod snapshot;
#[cfg(test)]
mod tests;

pub use snapshot::{DatabaseSnapshot, ResourceSnapshot, TypeSnapshot};

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::model::{Answer, DatabaseType, Outcome};
use snapshot::Snapshots;

/// A counter by one label, whose values are a closed set.
type CounterBy = Family<[(&'static str, &'static str); 1], Counter>;

/// A handle on the numbers; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    registry: Registry,
    snapshots: Snapshots,
    reconciles: CounterBy,
    duration: Histogram,
    leader: Gauge,
    statements: CounterBy,
    looks: Counter,
    dark_looks: Counter,
    connections: Counter,
    instances: Gauge,
    status_writes: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut numbers = Numbers {
            registry: Registry::with_prefix("lync_mirror"),
            snapshots: Snapshots::default(),
            reconciles: CounterBy::default(),
            // 1 ms to 16 s.
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            leader: Gauge::default(),
            statements: CounterBy::default(),
            looks: Counter::default(),
            dark_looks: Counter::default(),
            connections: Counter::default(),
            instances: Gauge::default(),
            status_writes: Counter::default(),
        };
        let registry = &mut numbers.registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of this operator", build);
        registry.register("reconciles", "Passes over a resource, by how they ended", numbers.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "How long a pass over a resource took",
            Unit::Seconds,
            numbers.duration.clone(),
        );
        registry.register("leader", "1 while this process holds the lease and may act", numbers.leader.clone());
        registry.register("statements", "Failover statements, by how they were answered", numbers.statements.clone());
        registry.register("looks", "Looks at a SQL Server instance, dark ones included", numbers.looks.clone());
        registry.register("dark_looks", "Looks that saw nothing", numbers.dark_looks.clone());
        registry.register("sql_connections", "Connections opened to SQL Servers", numbers.connections.clone());
        registry.register("instances", "SQL Server instances that are being looked at", numbers.instances.clone());
        registry.register("status_writes", "Writes of a status that differed", numbers.status_writes.clone());
        registry.register_collector(Box::new(numbers.snapshots.clone()));
        Self(Arc::new(numbers))
    }

    /// Everything, as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        if let Err(error) = text::encode(&mut page, &self.0.registry) {
            tracing::error!(%error, "metrics not encoded");
        }
        page
    }

    /// The latest word on a resource: it replaces the former one.
    pub fn observe(&self, namespace: &str, name: &str, snapshot: ResourceSnapshot) {
        self.0.snapshots.observe(namespace, name, snapshot);
    }

    /// The resource is gone, and so are its series.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.0.snapshots.forget(namespace, name);
    }

    /// This process leads no more: the word on every resource is the leader's.
    pub fn forget_all(&self) {
        self.0.snapshots.forget_all();
    }

    pub fn moved(&self, namespace: &str, name: &str, ty: DatabaseType, outcome: Outcome) {
        self.0.snapshots.moved(namespace, name, ty, outcome);
    }

    /// `result`: `ok`, or the category of the error; from a closed set.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.0.reconciles.get_or_create(&[("result", result)]).inc();
        self.0.duration.observe(took.as_secs_f64());
    }

    pub fn set_leader(&self, leads: bool) {
        self.0.leader.set(leads.into());
    }

    pub fn answered(&self, answer: &Answer) {
        let answer = match answer {
            Answer::Accepted => "Accepted",
            Answer::GuardRefused { .. } => "GuardRefused",
            Answer::Refused { .. } => "Refused",
            Answer::NotSent { .. } => "NotSent",
            Answer::Lost { .. } => "Lost",
        };
        self.0.statements.get_or_create(&[("answer", answer)]).inc();
    }

    /// So many more looks, so many of them dark.
    pub fn looked(&self, looks: u64, unavailable: u64) {
        self.0.looks.inc_by(looks);
        self.0.dark_looks.inc_by(unavailable);
    }

    pub fn connected(&self, connections: u64) {
        self.0.connections.inc_by(connections);
    }

    pub fn set_instances(&self, count: usize) {
        self.0.instances.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn status_written(&self) {
        self.0.status_writes.inc();
    }
}
