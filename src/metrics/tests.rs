//! The metrics text, line by line.

use super::*;
use crate::model::{Cause, MirroringState, ObservedPrincipal, Reason, Seat, Service};

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
        suspended_until: Some(1_800_000_000),
        weak_encryption: false,
        quorum_at_risk: true,
        conditions: vec![("Ready", "False"), ("Serving", "Unknown")],
        operation: Some(OperationSnapshot { ty: DatabaseType::User, cause: Cause::FailBack, started: 1_700_000_000 }),
        servers: vec![
            ServerSnapshot { seat: "Primary".to_owned(), reachable: true, unreachable_since: None },
            ServerSnapshot { seat: "Mirror".to_owned(), reachable: false, unreachable_since: Some(1_700_000_001) },
        ],
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
                send_queue_kb: Some(1),
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
    metrics.move_ended("lync", "pool01", DatabaseType::User, Outcome::Partial, Duration::from_secs(3));
    let common = r#"{namespace="lync",name="pool01""#;
    let ty = r#",database_type="User""#;
    let db = r#",database="rtcxds""#;
    metrics.unrequested_switch("lync", "pool01", DatabaseType::User);
    let expected = [
        format!(r#"condition{common},condition="Ready",status="False"}} 1"#),
        format!(r#"condition{common},condition="Serving",status="Unknown"}} 1"#),
        format!(r#"database_mirroring_state{common}{ty}{db},seat="Mirror",state="Suspended"}} 1"#),
        format!(r#"database_mirroring_state{common}{ty}{db},seat="Primary",state="Synchronized"}} 1"#),
        format!(r#"database_principal{common}{ty},side="desired",seat="Mirror"}} 1"#),
        format!(r#"database_principal{common}{ty},side="observed",seat="Split"}} 1"#),
        format!(r#"moves_total{common}{ty},outcome="Failed"}} 0"#),
        format!(r#"moves_total{common}{ty},outcome="Partial"}} 1"#),
        format!(r#"moves_total{common}{ty},outcome="Succeeded"}} 0"#),
        format!(r#"moves_total{common}{ty},outcome="Superseded"}} 0"#),
        format!(r#"moves_total{common}{ty},outcome="Unknown"}} 0"#),
        format!(r#"operation_start_timestamp_seconds{common}{ty},cause="FailBack"}} 1700000000"#),
        format!(r#"quorum_at_risk{common}}} 1"#),
        format!(r#"ready{common}}} 0"#),
        format!(r#"reason{common}{ty},reason="SplitRoles"}} 1"#),
        format!(r#"reason{common},reason="SplitRoles"}} 1"#),
        format!(r#"redo_queue_bytes{common}{ty}{db}}} 43008"#),
        format!(r#"send_queue_bytes{common}{ty}{db}}} 1024"#),
        format!(r#"server_reachable{common},seat="Mirror"}} 0"#),
        format!(r#"server_reachable{common},seat="Primary"}} 1"#),
        format!(r#"server_unreachable_since_timestamp_seconds{common},seat="Mirror"}} 1700000001"#),
        format!(r#"service{common}{ty},service="Exposed"}} 1"#),
        format!(r#"service{common}{ty},service="NotServed"}} 0"#),
        format!(r#"service{common}{ty},service="Protected"}} 0"#),
        format!(r#"service{common}{ty},service="Unknown"}} 0"#),
        format!(r#"stalled{common}}} 1"#),
        format!(r#"suspended_until_timestamp_seconds{common}}} 1800000000"#),
        format!(r#"suspended{common}}} 0"#),
        format!(r#"unrequested_switches_total{common}{ty}}} 1"#),
        format!(r#"weak_encryption{common}}} 0"#),
    ]
    .map(|line| format!("lync_mirror_{line}"));
    let mut expected = expected.to_vec();
    expected.sort();
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
        metrics.move_ended("lync", name, DatabaseType::User, Outcome::Succeeded, Duration::from_secs(3));
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

#[test]
fn encode_before_the_first_event_has_zero_samples() {
    let metrics = Metrics::new();
    metrics.expect_results(["ok", "Conflict"]);
    let page = metrics.encode();
    for line in [
        "lync_mirror_reconciles_total{result=\"ok\"} 0",
        "lync_mirror_reconciles_total{result=\"Conflict\"} 0",
        "lync_mirror_statements_total{answer=\"Lost\"} 0",
        "lync_mirror_move_duration_seconds_count{outcome=\"Failed\"} 0",
        "lync_mirror_polls_total 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
}

#[test]
fn encode_contains_the_metrics_of_the_process() {
    let page = Metrics::new().encode();
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is missing in\n{page}")).parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 100_000.0);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
    assert!(value("process_start_time_seconds") > 1_500_000_000.0);
    assert!(value("process_cpu_seconds_total") >= 0.0 && value("process_threads") >= 1.0);
}

/// The conventions of Prometheus: base units, and `_total` for counters only.
#[test]
fn name_of_a_metric_follows_the_conventions() {
    let metrics = Metrics::new();
    metrics.observe("lync", "pool01", split());
    let page = metrics.encode_text();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        for unit in ["kilobytes", "milliseconds", "minutes", "percent"] {
            assert!(!name.contains(unit), "{name}");
        }
        assert!(name.starts_with("lync_mirror_") || name.starts_with("process_"), "{name}");
        assert_eq!(page.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
    }
    assert!(!page.contains("# EOF") && !page.contains("# UNIT"));
}
