//! The latest word on every resource, kept as one value each: a resource that is gone leaves no series behind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::model::{DatabaseType, MirroringState, Outcome, Reason, Side, Weight};

/// What is known of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceSnapshot {
    pub ready: bool,
    /// Of the resource as a whole.
    pub reason: Reason,
    pub suspended: bool,
    pub types: Vec<TypeSnapshot>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypeSnapshot {
    pub ty: DatabaseType,
    pub desired: Side,
    pub observed: Seat,
    pub reason: Reason,
    pub databases: Vec<DatabaseSnapshot>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSnapshot {
    pub name: String,
    /// As each partner that was seen tells it.
    pub states: Vec<(Side, MirroringState)>,
    pub redo_queue_kb: Option<i64>,
}

/// Where the principal role of a type was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Seat {
    Primary,
    Mirror,
    /// Some of its databases here, some there.
    Split,
    Unknown,
}

impl From<Side> for Seat {
    fn from(side: Side) -> Self {
        match side {
            Side::Primary => Seat::Primary,
            Side::Mirror => Seat::Mirror,
        }
    }
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

        let stalled = resources().map(|(key, it)| (labels(key, &[]), (it.reason.weight() == Weight::Stuck).into()));
        gauge(encoder, "stalled", "1 while a person has to act", stalled)?;

        let suspended = resources().map(|(key, it)| (labels(key, &[]), it.suspended.into()));
        gauge(encoder, "suspended", "1 while the resource is suspended", suspended)?;

        let whole = resources().map(|(key, it)| (labels(key, &[("reason", it.reason.name())]), 1));
        let each =
            types().map(|(key, ty, it)| (labels(key, &[("database_type", ty), ("reason", it.reason.name())]), 1));
        let help = "1 for the reason that holds now, of a database type, or without that label of the resource";
        gauge(encoder, "reason", help, whole.chain(each))?;

        let conflicts = types().filter(|(_, _, it)| it.reason == Reason::Conflict).count();
        let help = "Database types that are claimed by more than one resource, counted once for each";
        gauge(encoder, "conflicts", help, [(Vec::new(), i64::try_from(conflicts).unwrap_or(i64::MAX))].into_iter())?;

        let principals = types().flat_map(|(key, ty, it)| {
            let seats = [("desired", it.desired.into()), ("observed", it.observed)];
            seats.map(|(side, seat): (_, Seat)| {
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
                let seat = Seat::from(*seat).into();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn split() -> ResourceSnapshot {
        ResourceSnapshot {
            ready: false,
            reason: Reason::SplitRoles,
            suspended: false,
            types: vec![TypeSnapshot {
                ty: DatabaseType::User,
                desired: Side::Mirror,
                observed: Seat::Split,
                reason: Reason::SplitRoles,
                databases: vec![DatabaseSnapshot {
                    name: "rtcxds".to_owned(),
                    states: vec![
                        (Side::Primary, MirroringState::Synchronized),
                        (Side::Mirror, MirroringState::Suspended),
                    ],
                    redo_queue_kb: Some(42),
                }],
            }],
        }
    }

    /// The series of resources, sorted.
    fn series(metrics: &Metrics) -> Vec<String> {
        let page = metrics.encode();
        let mut lines: Vec<_> = page.lines().filter(|line| line.contains("namespace=")).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_resource_is_told_whole() {
        let metrics = Metrics::new();
        metrics.observe("lync", "pool01", split());
        metrics.moved("lync", "pool01", DatabaseType::User, Outcome::Partial);
        let common = r#"{namespace="lync",name="pool01""#;
        let ty = r#",database_type="User""#;
        let db = r#",database="rtcxds""#;
        let expected = [
            format!(r#"database_mirroring_state{common}{ty}{db},seat="Mirror",state="Suspended"}} 1"#),
            format!(r#"database_mirroring_state{common}{ty}{db},seat="Primary",state="Synchronized"}} 1"#),
            format!(r#"database_principal{common}{ty},side="desired",seat="Mirror"}} 1"#),
            format!(r#"database_principal{common}{ty},side="observed",seat="Split"}} 1"#),
            format!(r#"moves_total{common}{ty},outcome="Partial"}} 1"#),
            format!(r#"ready{common}}} 0"#),
            format!(r#"reason{common}{ty},reason="SplitRoles"}} 1"#),
            format!(r#"reason{common},reason="SplitRoles"}} 1"#),
            format!(r#"redo_queue_kilobytes{common}{ty}{db}}} 42"#),
            format!(r#"stalled{common}}} 1"#),
            format!(r#"suspended{common}}} 0"#),
        ]
        .map(|line| format!("lync_mirror_{line}"));
        assert_eq!(series(&metrics), expected);
    }

    #[test]
    fn a_later_word_replaces_the_former() {
        let metrics = Metrics::new();
        metrics.observe("lync", "pool01", split());
        let mut aligned = split();
        aligned.ready = true;
        aligned.reason = Reason::Aligned;
        aligned.types[0].reason = Reason::Aligned;
        aligned.types[0].observed = Seat::Mirror;
        metrics.observe("lync", "pool01", aligned);
        let series = series(&metrics);
        assert!(series.contains(&r#"lync_mirror_ready{namespace="lync",name="pool01"} 1"#.to_owned()), "{series:#?}");
        assert!(series.iter().all(|line| !line.contains("Split")), "{series:#?}");
    }

    #[test]
    fn a_resource_that_is_gone_leaves_nothing() {
        let metrics = Metrics::new();
        for name in ["pool01", "pool02"] {
            metrics.observe("lync", name, split());
            metrics.moved("lync", name, DatabaseType::User, Outcome::Succeeded);
        }
        metrics.forget("lync", "pool01");
        let left = series(&metrics);
        assert!(!left.is_empty() && left.iter().all(|line| line.contains("pool02")), "{left:#?}");
        metrics.forget_all();
        assert_eq!(series(&metrics), Vec::<String>::new());
    }

    #[test]
    fn conflicts_are_counted() {
        let metrics = Metrics::new();
        assert!(metrics.encode().contains("lync_mirror_conflicts 0\n"));
        let mut snapshot = split();
        snapshot.types[0].reason = Reason::Conflict;
        metrics.observe("lync", "pool01", snapshot);
        assert!(metrics.encode().contains("lync_mirror_conflicts 1\n"));
    }
}
