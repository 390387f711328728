//! The newest snapshot of every resource, stored as a single value: a deleted resource leaves no series behind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::model::{DatabaseType, Effect, MirroringState, ObservedPrincipal, Outcome, Reason, Seat, Service};
use strum::IntoEnumIterator;

/// The observed state of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSnapshot {
    pub ready: bool,
    /// The reason of the whole resource.
    pub reason: Reason,
    pub suspended: bool,
    pub weak_encryption: bool,
    pub quorum_at_risk: bool,
    pub types: Vec<TypeSnapshot>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypeSnapshot {
    pub ty: DatabaseType,
    pub desired: Seat,
    pub observed: ObservedPrincipal,
    pub reason: Reason,
    pub service: Service,
    pub databases: Vec<DatabaseSnapshot>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSnapshot {
    pub name: String,
    /// The mirroring state that each available partner reports.
    pub states: Vec<(Seat, MirroringState)>,
    pub redo_queue_kb: Option<i64>,
}

#[derive(Default)]
struct Entry {
    snapshot: Option<ResourceSnapshot>,
    moves: BTreeMap<(DatabaseType, &'static str), u64>,
}

type Key = (String, String);

#[derive(Clone, Default)]
pub(super) struct Snapshots(Arc<Mutex<BTreeMap<Key, Entry>>>);

impl Snapshots {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.0.lock()
    }

    pub(super) fn observe(&self, namespace: &str, name: &str, snapshot: ResourceSnapshot) {
        self.lock().entry((namespace.to_owned(), name.to_owned())).or_default().snapshot = Some(snapshot);
    }

    pub(super) fn move_ended(&self, namespace: &str, name: &str, ty: DatabaseType, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Succeeded => "Succeeded",
            Outcome::Failed => "Failed",
            Outcome::Partial => "Partial",
            Outcome::Unknown => "Unknown",
            Outcome::Superseded => "Superseded",
        };
        let mut entries = self.lock();
        let entry = entries.entry((namespace.to_owned(), name.to_owned())).or_default();
        *entry.moves.entry((ty, outcome)).or_default() += 1;
    }

    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }

    #[cfg(test)]
    pub(super) fn resources(&self) -> usize {
        self.lock().len()
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshots({})", self.lock().len())
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The labels of a resource, followed by `more`.
fn labels<'a>((namespace, name): &'a Key, more: &[(&'static str, &'a str)]) -> Labels<'a> {
    let mut labels = vec![("namespace", namespace.as_str()), ("name", name.as_str())];
    labels.extend_from_slice(more);
    labels
}

fn gauge<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (Labels<'a>, i64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl Collector for Snapshots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let entries = self.lock();
        let resources =
            Resources(entries.iter().filter_map(|(key, entry)| Some((key, entry.snapshot.as_ref()?))).collect());
        resources.encode_resource_gauges(&mut encoder)?;
        resources.encode_reasons(&mut encoder)?;
        resources.encode_services(&mut encoder)?;
        resources.encode_conflicts(&mut encoder)?;
        resources.encode_principals(&mut encoder)?;
        resources.encode_database_gauges(&mut encoder)?;
        encode_moves(&mut encoder, &entries)
    }
}

/// The snapshots of all resources, during the encoding.
struct Resources<'a>(Vec<(&'a Key, &'a ResourceSnapshot)>);

impl<'a> Resources<'a> {
    /// Every database type of every resource, with the name of the type.
    fn types(&self) -> impl Iterator<Item = (&'a Key, &'static str, &'a TypeSnapshot)> {
        self.0.iter().flat_map(|(key, resource)| resource.types.iter().map(|ty| (*key, ty.ty.into(), ty)))
    }

    /// Every database of every resource, with the name of its type.
    fn databases(&self) -> impl Iterator<Item = (&'a Key, &'static str, &'a DatabaseSnapshot)> {
        self.types().flat_map(|(key, name, ty)| ty.databases.iter().map(move |database| (key, name, database)))
    }

    fn encode_resource_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let series = |value: fn(&ResourceSnapshot) -> bool| {
            self.0.iter().map(move |(key, resource)| (labels(key, &[]), value(resource).into()))
        };
        gauge(encoder, "ready", "1 while the resource is Ready", series(|resource| resource.ready))?;
        let stalled = series(|resource| resource.reason.effect() == Effect::Stalled);
        gauge(encoder, "stalled", "1 while the resource is Stalled and an administrator has to act", stalled)?;
        gauge(encoder, "suspended", "1 while the resource is suspended", series(|resource| resource.suspended))?;
        let weak = series(|resource| resource.weak_encryption);
        gauge(encoder, "weak_encryption", "1 while spec.sql.tls.mode is Legacy or Disabled", weak)?;
        let quorum = series(|resource| resource.quorum_at_risk);
        gauge(
            encoder,
            "quorum_at_risk",
            "1 while the condition QuorumAtRisk is True, e.g. after the loss of a witness",
            quorum,
        )
    }

    fn encode_reasons(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let of_resources = self.0.iter().map(|(key, resource)| (labels(key, &[("reason", resource.reason.name())]), 1));
        let of_types = self
            .types()
            .map(|(key, name, ty)| (labels(key, &[("database_type", name), ("reason", ty.reason.name())]), 1));
        let help = "1 for the current reason of a database type, or of the resource if the series has no database_type";
        gauge(encoder, "reason", help, of_resources.chain(of_types))
    }

    fn encode_services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let series = self.types().flat_map(|(key, name, ty)| {
            Service::iter().map(move |service| {
                let more = [("database_type", name), ("service", service.into())];
                (labels(key, &more), (service == ty.service).into())
            })
        });
        gauge(
            encoder,
            "service",
            "1 for the service of a database type: Protected, Exposed, Unknown or NotServed",
            series,
        )
    }

    fn encode_conflicts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let conflicts = self.types().filter(|(_, _, ty)| ty.reason == Reason::Conflict).count();
        let help = "Database types in conflict with another resource, counted for each resource";
        let family = encoder.encode_descriptor("conflicts", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(conflicts).unwrap_or(i64::MAX)).encode(family)
    }

    fn encode_principals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let series = self.types().flat_map(|(key, name, ty)| {
            let seats = [("desired", ObservedPrincipal::from(ty.desired)), ("observed", ty.observed)];
            seats
                .map(|(side, seat)| (labels(key, &[("database_type", name), ("side", side), ("seat", seat.into())]), 1))
        });
        gauge(encoder, "database_principal", "1 for the desired and for the observed seat of the principal", series)
    }

    fn encode_database_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.databases().flat_map(|(key, ty, database)| {
            database.states.iter().map(move |(seat, state)| {
                let (seat, state) = (ObservedPrincipal::from(*seat).into(), state_name(*state));
                let more = [("database_type", ty), ("database", &database.name), ("seat", seat), ("state", state)];
                (labels(key, &more), 1)
            })
        });
        let help = "1 for the mirroring state that the partner in this seat reports";
        gauge(encoder, "database_mirroring_state", help, states)?;

        let queues = self.databases().filter_map(|(key, ty, database)| {
            Some((labels(key, &[("database_type", ty), ("database", &database.name)]), database.redo_queue_kb?))
        });
        gauge(encoder, "redo_queue_kilobytes", "Log that the mirror has not redone yet", queues)
    }
}

fn state_name(state: MirroringState) -> &'static str {
    match state {
        MirroringState::Suspended => "Suspended",
        MirroringState::Disconnected => "Disconnected",
        MirroringState::Synchronizing => "Synchronizing",
        MirroringState::PendingFailover => "PendingFailover",
        MirroringState::Synchronized => "Synchronized",
        MirroringState::Unknown => "Unknown",
    }
}

fn encode_moves(encoder: &mut DescriptorEncoder<'_>, entries: &BTreeMap<Key, Entry>) -> fmt::Result {
    let mut family = encoder.encode_descriptor("moves", "Moves that ended, by outcome", None, MetricType::Counter)?;
    for (key, entry) in entries {
        for ((ty, outcome), count) in &entry.moves {
            let labels = labels(key, &[("database_type", ty.into()), ("outcome", outcome)]);
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
