//! The metrics text, line by line.

use super::*;
use crate::model::{MirroringState, ObservedPrincipal, Reason, Seat, Service};

#[test]
fn encode_after_updates_of_a_clone_contains_the_documented_series() {
    let metrics = Metrics::new();
    let clone = metrics.clone();
    clone.reconciled("ok", Duration::from_millis(3));
    clone.reconciled("ok", Duration::from_millis(5));
    clone.reconciled("conflict", Duration::from_millis(5));
    clone.set_leader(true);
    clone.statement_answered(&Answer::Refused { number: 1404, detail: "not a label".to_owned() });
    clone.polled(2, 1);
    clone.connections_opened(1);
    clone.set_instances(2);
    clone.status_written();
    clone.event_dropped();

    let page = metrics.encode();
    for line in [
        "lync_mirror_reconciles_total{result=\"ok\"} 2",
        "lync_mirror_reconciles_total{result=\"conflict\"} 1",
        "lync_mirror_reconcile_duration_seconds_count 3",
        "lync_mirror_leader 1",
        "lync_mirror_statements_total{answer=\"Refused\"} 1",
        "lync_mirror_polls_total 2",
        "lync_mirror_poll_failures_total 1",
        "lync_mirror_sql_connections_total 1",
        "lync_mirror_instances 2",
        "lync_mirror_status_writes_total 1",
        "lync_mirror_events_dropped_total 1",
        concat!("lync_mirror_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "# EOF",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
    assert!(!page.contains("not a label"));
}

#[test]
fn encode_of_every_metric_includes_a_help_text() {
    let page = Metrics::new().encode();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(page.contains(&format!("# HELP {name} ")), "{name}");
    }
}

fn split() -> ResourceSnapshot {
    ResourceSnapshot {
        ready: false,
        reason: Reason::SplitRoles,
        suspended: false,
        weak_encryption: false,
        quorum_at_risk: true,
        types: vec![TypeSnapshot {
            ty: DatabaseType::User,
            desired: Seat::Mirror,
            observed: ObservedPrincipal::Split,
            reason: Reason::SplitRoles,
            service: Service::Exposed,
            databases: vec![DatabaseSnapshot {
                name: "rtcxds".to_owned(),
                states: vec![(Seat::Primary, MirroringState::Synchronized), (Seat::Mirror, MirroringState::Suspended)],
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
fn encode_of_a_snapshot_contains_all_its_series() {
    let metrics = Metrics::new();
    metrics.observe("lync", "pool01", split());
    metrics.move_ended("lync", "pool01", DatabaseType::User, Outcome::Partial);
    let common = r#"{namespace="lync",name="pool01""#;
    let ty = r#",database_type="User""#;
    let db = r#",database="rtcxds""#;
    let expected = [
        format!(r#"database_mirroring_state{common}{ty}{db},seat="Mirror",state="Suspended"}} 1"#),
        format!(r#"database_mirroring_state{common}{ty}{db},seat="Primary",state="Synchronized"}} 1"#),
        format!(r#"database_principal{common}{ty},side="desired",seat="Mirror"}} 1"#),
        format!(r#"database_principal{common}{ty},side="observed",seat="Split"}} 1"#),
        format!(r#"moves_total{common}{ty},outcome="Partial"}} 1"#),
        format!(r#"quorum_at_risk{common}}} 1"#),
        format!(r#"ready{common}}} 0"#),
        format!(r#"reason{common}{ty},reason="SplitRoles"}} 1"#),
        format!(r#"reason{common},reason="SplitRoles"}} 1"#),
        format!(r#"redo_queue_kilobytes{common}{ty}{db}}} 42"#),
        format!(r#"service{common}{ty},service="Exposed"}} 1"#),
        format!(r#"service{common}{ty},service="NotServed"}} 0"#),
        format!(r#"service{common}{ty},service="Protected"}} 0"#),
        format!(r#"service{common}{ty},service="Unknown"}} 0"#),
        format!(r#"stalled{common}}} 1"#),
        format!(r#"suspended{common}}} 0"#),
        format!(r#"weak_encryption{common}}} 0"#),
    ]
    .map(|line| format!("lync_mirror_{line}"));
    assert_eq!(series(&metrics), expected);
}

#[test]
fn observe_of_a_newer_snapshot_replaces_the_former() {
    let metrics = Metrics::new();
    metrics.observe("lync", "pool01", split());
    let mut aligned = split();
    aligned.ready = true;
    aligned.reason = Reason::Aligned;
    aligned.types[0].reason = Reason::Aligned;
    aligned.types[0].observed = ObservedPrincipal::Mirror;
    metrics.observe("lync", "pool01", aligned);
    let series = series(&metrics);
    assert!(series.contains(&r#"lync_mirror_ready{namespace="lync",name="pool01"} 1"#.to_owned()), "{series:#?}");
    assert!(series.iter().all(|line| !line.contains("Split")), "{series:#?}");
}

#[test]
fn forget_of_a_resource_removes_its_series() {
    let metrics = Metrics::new();
    for name in ["pool01", "pool02"] {
        metrics.observe("lync", name, split());
        metrics.move_ended("lync", name, DatabaseType::User, Outcome::Succeeded);
    }
    metrics.forget("lync", "pool01");
    let left = series(&metrics);
    assert!(!left.is_empty() && left.iter().all(|line| line.contains("pool02")), "{left:#?}");
    metrics.forget_all();
    assert_eq!(series(&metrics), Vec::<String>::new());
}

#[test]
fn encode_of_a_conflict_counts_the_database_type() {
    let metrics = Metrics::new();
    assert!(metrics.encode().contains("lync_mirror_conflicts 0\n"));
    let mut snapshot = split();
    snapshot.types[0].reason = Reason::Conflict;
    metrics.observe("lync", "pool01", snapshot);
    assert!(metrics.encode().contains("lync_mirror_conflicts 1\n"));
}
