//! The latest word on every resource, kept as one value each: a resource that is gone leaves no series behind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::model::{DatabaseType, Effect, MirroringState, ObservedPrincipal, Outcome, Reason, Seat};

/// What is known of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSnapshot {
    pub ready: bool,
    /// Of the resource as a whole.
    pub reason: Reason,
    pub suspended: bool,
    pub weak_encryption: bool,
    pub types: Vec<TypeSnapshot>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypeSnapshot {
    pub ty: DatabaseType,
    pub desired: Seat,
    pub observed: ObservedPrincipal,
    pub reason: Reason,
    pub databases: Vec<DatabaseSnapshot>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSnapshot {
    pub name: String,
    /// As each partner that was seen tells it.
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

    pub(super) fn moved(&self, namespace: &str, name: &str, ty: DatabaseType, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Succeeded => "Succeeded",
            Outcome::Failed => "Failed",
            Outcome::Partial => "Partial",
            Outcome::Superseded => "Superseded",
        };
        let mut shelf = self.lock();
        let entry = shelf.entry((namespace.to_owned(), name.to_owned())).or_default();
        *entry.moves.entry((ty, outcome)).or_default() += 1;
    }

    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshots({})", self.lock().len())
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The labels that every series of a resource has, and more.
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
        let shelf = self.lock();
        let resources = || shelf.iter().filter_map(|(key, entry)| Some((key, entry.snapshot.as_ref()?)));
        // The keys of every type and of every database, beside its value.
        let types = || resources().flat_map(|(key, it)| it.types.iter().map(move |ty| (key, ty.ty.into(), ty)));
        let databases =
            || types().flat_map(|(key, ty, it)| it.databases.iter().map(move |database| (key, ty, database)));
        let encoder = &mut encoder;

        let ready = resources().map(|(key, it)| (labels(key, &[]), it.ready.into()));
        gauge(encoder, "ready", "1 while the resource is Ready", ready)?;

        let stalled = resources().map(|(key, it)| (labels(key, &[]), (it.reason.effect() == Effect::Stalled).into()));
        gauge(encoder, "stalled", "1 while a person has to act", stalled)?;

        let suspended = resources().map(|(key, it)| (labels(key, &[]), it.suspended.into()));
        gauge(encoder, "suspended", "1 while the resource is suspended", suspended)?;

        let weak = resources().map(|(key, it)| (labels(key, &[]), it.weak_encryption.into()));
        gauge(encoder, "weak_encryption", "1 while spec.sql.tls.mode is Legacy or Off", weak)?;

        let whole = resources().map(|(key, it)| (labels(key, &[("reason", it.reason.name())]), 1));
        let each =
            types().map(|(key, ty, it)| (labels(key, &[("database_type", ty), ("reason", it.reason.name())]), 1));
        let help = "1 for the reason that holds now, of a database type, or without that label of the resource";
        gauge(encoder, "reason", help, whole.chain(each))?;

        let conflicts = types().filter(|(_, _, it)| it.reason == Reason::Conflict).count();
        let help = "Database types that are claimed by more than one resource, counted once for each";
        let conflicts = ConstGauge::new(i64::try_from(conflicts).unwrap_or(i64::MAX));
        conflicts.encode(encoder.encode_descriptor("conflicts", help, None, MetricType::Gauge)?)?;

        let principals = types().flat_map(|(key, ty, it)| {
            let seats = [("desired", it.desired.into()), ("observed", it.observed)];
            seats.map(|(side, seat): (_, ObservedPrincipal)| {
                (labels(key, &[("database_type", ty), ("side", side), ("seat", seat.into())]), 1)
            })
        });
        let help = "1 for the seat that is desired to hold, and the one that was observed to hold, the principal role";
        gauge(encoder, "database_principal", help, principals)?;

        let words = |state| match state {
            MirroringState::Suspended => "Suspended",
            MirroringState::Disconnected => "Disconnected",
            MirroringState::Synchronizing => "Synchronizing",
            MirroringState::PendingFailover => "PendingFailover",
            MirroringState::Synchronized => "Synchronized",
            MirroringState::Unknown => "Unknown",
        };
        let states = databases().flat_map(|(key, ty, it)| {
            it.states.iter().map(move |(seat, state)| {
                let seat = ObservedPrincipal::from(*seat).into();
                let more = [("database_type", ty), ("database", &it.name), ("seat", seat), ("state", words(*state))];
                (labels(key, &more), 1)
            })
        });
        gauge(encoder, "database_mirroring_state", "1 for the state that the partner in that seat tells", states)?;

        let queues = databases().filter_map(|(key, ty, it)| {
            Some((labels(key, &[("database_type", ty), ("database", &it.name)]), it.redo_queue_kb?))
        });
        gauge(encoder, "redo_queue_kilobytes", "Log that the mirror has not redone yet", queues)?;

        let mut family =
            encoder.encode_descriptor("moves", "Moves that ended, by outcome", None, MetricType::Counter)?;
        for (key, entry) in shelf.iter() {
            for ((ty, outcome), count) in &entry.moves {
                let labels = labels(key, &[("database_type", ty.into()), ("outcome", outcome)]);
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
