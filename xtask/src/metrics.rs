//! The reference of the metrics in Markdown, from a scrape with one series of each.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use lync_mirror::metrics::{
    DatabaseSnapshot, Metrics, OperationSnapshot, ResourceSnapshot, ServerSnapshot, TypeSnapshot,
};
use lync_mirror::model::{Cause, DatabaseType, MirroringState, ObservedPrincipal, Outcome, Reason, Seat, Service};

pub const PAGE: &str = "docs/reference/metrics.md";

const INTRODUCTION: &str = "# Metrics

Written by `make generate` from the metrics of the operator.

`/metrics` answers in the text format 0.0.4, or in OpenMetrics to a client that accepts it. By default it is
on the HTTP port. [Protect the metrics](../how-to/secure-metrics.md) describes the port with TLS.

- Only the leader exports the series of resources, which have the labels `namespace` and `name`. They are
  those of the resource, so that a scrape has to keep them (`honorLabels`). The series of a deleted or
  renamed resource end.
- A resource whose spec cannot be used has `lync_mirror_ready` 0 and `lync_mirror_stalled` 1.
- Counters begin with 0, so that `increase()` sees the first event. They belong to the process: after a
  change of the leader they begin again. `status.history` has the moves of the past.
- Times are Unix times in seconds. Queues are in bytes.

[Use the alerts](../how-to/alerts.md) lists the alerts of the chart.
";

/// The content of [`PAGE`].
///
/// # Errors
/// If a text cannot be written.
pub fn page() -> Result<String, std::fmt::Error> {
    let scrape = scrape();
    let mut page = format!("{INTRODUCTION}\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    let mut help = "";
    for line in scrape.lines() {
        if let Some((_, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = text;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let labels: Vec<String> = labels(&scrape, name).iter().map(|label| format!("`{label}`")).collect();
            writeln!(page, "| `{name}` | {kind} | {} | {} |", labels.join(", "), help.trim_end_matches('.'))?;
        }
    }
    Ok(page)
}

/// The names of the labels of all series of a family.
fn labels<'a>(scrape: &'a str, family: &str) -> BTreeSet<&'a str> {
    let samples = scrape.lines().filter_map(|line| {
        let (name, rest) = line.split_once('{')?;
        let own = name.strip_prefix(family)?;
        matches!(own, "" | "_bucket").then_some(rest)
    });
    let pairs = samples.flat_map(|labels| labels.split("\",").flat_map(|pair| pair.split('=').next()));
    pairs.filter(|label| *label != "le").collect()
}

/// A scrape of an operator with one resource that has everything.
fn scrape() -> String {
    let metrics = Metrics::new();
    let (namespace, name, ty) = ("lync", "pool01", DatabaseType::User);
    metrics.expect_results(["ok"]);
    metrics.move_ended(namespace, name, ty, Outcome::Succeeded, Duration::ZERO);
    metrics.observe(
        namespace,
        name,
        ResourceSnapshot {
            ready: true,
            reason: Reason::Aligned,
            suspended: true,
            suspended_until: Some(0),
            weak_encryption: false,
            quorum_at_risk: false,
            conditions: vec![("Ready", "True")],
            operation: Some(OperationSnapshot { ty, cause: Cause::Intent, started: 0 }),
            servers: vec![ServerSnapshot { seat: "Mirror".to_owned(), reachable: false, unreachable_since: Some(0) }],
            types: vec![TypeSnapshot {
                ty,
                desired: Seat::Primary,
                observed: ObservedPrincipal::Primary,
                reason: Reason::Aligned,
                service: Service::Protected,
                databases: vec![DatabaseSnapshot {
                    name: "rtcxds".to_owned(),
                    states: vec![(Seat::Primary, MirroringState::Synchronized)],
                    redo_queue_kb: Some(0),
                    send_queue_kb: Some(0),
                }],
            }],
        },
    );
    metrics.encode_text()
}
