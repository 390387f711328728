//! The series of the snapshots.

use std::collections::BTreeSet;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use strum::IntoEnumIterator;

use crate::metrics::snapshot::{DatabaseSnapshot, Entries, Entry, Key, ResourceSnapshot, Snapshots, TypeSnapshot};
use crate::model::{DatabaseType, Effect, MirroringState, ObservedPrincipal, Outcome, Reason, Service};

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
        encode(&mut encoder, &self.entries())
    }
}

/// The series of every resource.
fn encode(encoder: &mut DescriptorEncoder<'_>, entries: &Entries) -> fmt::Result {
    let resources =
        Resources(entries.iter().filter_map(|(key, entry)| Some((key.as_ref(), entry.snapshot.as_ref()?))).collect());
    resources.encode_resource_gauges(encoder)?;
    resources.encode_conditions(encoder)?;
    resources.encode_reasons(encoder)?;
    resources.encode_services(encoder)?;
    resources.encode_conflicts(encoder)?;
    resources.encode_principals(encoder)?;
    resources.encode_servers(encoder)?;
    resources.encode_times(encoder)?;
    resources.encode_database_gauges(encoder)?;
    encode_counters(encoder, entries)
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

    fn encode_conditions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let series = self.0.iter().flat_map(|(key, resource)| {
            let conditions = resource.conditions.iter();
            conditions.map(move |(kind, status)| (labels(key, &[("condition", *kind), ("status", *status)]), 1))
        });
        gauge(encoder, "condition", "1 for the present status of each condition: True, False or Unknown", series)
    }

    fn encode_servers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let servers = || {
            self.0.iter().flat_map(|(key, resource)| {
                resource.servers.iter().map(move |server| (labels(key, &[("seat", &server.seat)]), server))
            })
        };
        let reachable = servers().map(|(labels, server)| (labels, server.reachable.into()));
        gauge(encoder, "server_reachable", "1 if the last poll of the server succeeded", reachable)?;
        let since = servers().filter_map(|(labels, server)| Some((labels, server.unreachable_since?)));
        let help = "Unix time of the first failed poll of a server that is not reachable";
        gauge(encoder, "server_unreachable_since_timestamp_seconds", help, since)
    }

    fn encode_times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let moves = self.0.iter().filter_map(|(key, resource)| {
            let operation = resource.operation.as_ref()?;
            let more = [("database_type", operation.ty.into()), ("cause", operation.cause.into())];
            Some((labels(key, &more), operation.started))
        });
        let help = "Unix time of the start of the move in progress";
        gauge(encoder, "operation_start_timestamp_seconds", help, moves)?;
        let ends = self.0.iter().filter_map(|(key, resource)| Some((labels(key, &[]), resource.suspended_until?)));
        gauge(
            encoder,
            "suspended_until_timestamp_seconds",
            "Unix time of the end of the suspension, if it has one",
            ends,
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

        let queues = |kilobytes: fn(&DatabaseSnapshot) -> Option<i64>| {
            self.databases().filter_map(move |(key, ty, database)| {
                let labels = labels(key, &[("database_type", ty), ("database", &database.name)]);
                Some((labels, kilobytes(database)?.saturating_mul(1_024)))
            })
        };
        let redo = queues(|database| database.redo_queue_kb);
        gauge(encoder, "redo_queue_bytes", "Log that the mirror has not redone yet, in bytes", redo)?;
        let send = queues(|database| database.send_queue_kb);
        gauge(encoder, "send_queue_bytes", "Log that the principal has not sent yet, in bytes", send)
    }
}

fn state_name(state: MirroringState) -> &'static str {
    match state {
        MirroringState::Suspended => "Suspended",
        MirroringState::Disconnected => "Disconnected",
        MirroringState::Synchronizing => "Synchronizing",
        MirroringState::PendingFailover => "PendingFailover",
        MirroringState::Synchronized => "Synchronized",
        MirroringState::Unknown(_) => "Unknown",
    }
}

/// Counters begin with 0, so that the first move is an increase.
fn encode_counters(encoder: &mut DescriptorEncoder<'_>, entries: &Entries) -> fmt::Result {
    let mut family = encoder.encode_descriptor("moves", "Moves that ended, by outcome", None, MetricType::Counter)?;
    for (key, entry) in entries {
        for ty in counted_types(entry) {
            for outcome in Outcome::iter() {
                let labels = labels(key, &[("database_type", ty.into()), ("outcome", outcome.into())]);
                let count = entry.moves.get(&(ty, outcome)).copied().unwrap_or_default();
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    let help = "Switches of a principal that no change of the spec requested";
    let mut family = encoder.encode_descriptor("unrequested_switches", help, None, MetricType::Counter)?;
    for (key, entry) in entries {
        for ty in counted_types(entry) {
            let count = entry.unrequested_switches.get(&ty).copied().unwrap_or_default();
            let labels = labels(key, &[("database_type", ty.into())]);
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// The types of the spec, and those that were counted before they left it.
fn counted_types(entry: &Entry) -> BTreeSet<DatabaseType> {
    let present = entry.snapshot.iter().flat_map(|snapshot| snapshot.types.iter().map(|ty| ty.ty));
    let moved = entry.moves.keys().map(|(ty, _)| *ty);
    present.chain(moved).chain(entry.unrequested_switches.keys().copied()).collect()
}
