//! Specs with problems, and what is left of each.

use serde_json::{Value, json};

use super::*;
use crate::model::Seat;

/// A resource with two types, of which Monitoring has a store of its own, after an edit of its spec.
fn parsed(edit: impl FnOnce(&mut Value)) -> ParsedSpec {
    let store = |a: &str, b: &str| {
        json!({
            "primary": {"host": a}, "mirror": {"host": b},
            "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
        })
    };
    let mut spec = json!({
        "poolFqdn": "pool01.contoso.com",
        "sql": store("sql-a", "sql-b"),
        "databaseTypes": [
            {"type": "User", "principal": "Primary"},
            {"type": "Monitoring", "principal": "Mirror", "sql": store("sql-c", "sql-d")},
        ],
    });
    edit(&mut spec);
    let resource = json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror", "metadata": {"name": "pool01"}, "spec": spec,
    });
    parse(&serde_json::from_value(resource).unwrap())
}

/// The fields with a problem, and the types that remain.
fn outcome(parsed: &ParsedSpec) -> (Vec<&str>, Vec<DatabaseType>) {
    let fields = parsed.problems.iter().map(|problem| problem.field.as_str()).collect();
    (fields, parsed.desired.types.iter().map(|desired_type| desired_type.ty).collect())
}

#[test]
fn parse_several_problems_names_each_and_keeps_the_rest() {
    let parsed = parsed(|spec| {
        spec["databaseTypes"][0]["databases"] = json!(["rtcxds", " "]);
        spec["databaseTypes"][0]["approve"] = json!({"epoch": "abc"});
        spec["databaseTypes"][1]["forceService"] =
            json!({"epoch": "1-abcd", "acceptDataLoss": false, "until": "2100-01-01T00:00:00Z"});
        spec["policy"] = json!({
            "unrequestedSwitch": "FailBack", "cooldown": "1000h",
            "maintenanceWindows": [
                {"schedule": "0 25 * * SAT", "duration": "4h", "timeZone": "Europe/Pariss"},
                {"schedule": "0 2 * * SAT", "duration": "4h", "timeZone": "Europe/Pariss"},
                {"schedule": "0 2 * * SAT", "duration": "4h", "timeZone": "Europe/Paris"},
            ],
        });
    });
    let expected = [
        ("spec.databaseTypes[0].approve.epoch", "\"abc\"", "This is not an epoch."),
        ("spec.databaseTypes[0].databases[1]", "\" \"", "This is not a database name."),
        ("spec.databaseTypes[1].forceService.acceptDataLoss", "false", "acceptDataLoss must be true"),
        ("spec.policy.maintenanceWindows[0].schedule", "\"0 25 * * SAT\"", "the hour, 0 to 23."),
        ("spec.policy.maintenanceWindows[1].timeZone", "\"Europe/Pariss\"", "This time zone does not exist."),
        ("spec.policy.cooldown", "\"1000h\"", "cooldown must be at most 720h."),
    ];
    assert_eq!(parsed.problems.len(), expected.len(), "{:#?}", parsed.problems);
    for ((field, value, part), text) in expected.iter().zip(&parsed.desired.problems) {
        assert!(text.starts_with(&format!("{field} {value}: ")) && text.contains(part), "{text}");
        assert!(text.contains("To fix: ") && text.ends_with('.'), "{text}");
    }
    let Desired { types, unusable, policy, .. } = &parsed.desired;
    assert_eq!(types.iter().map(|one| one.ty).collect::<Vec<_>>(), [DatabaseType::Monitoring]);
    assert_eq!(*unusable, [(DatabaseType::User, Seat::Primary)].into());
    assert_eq!((types[0].force.as_ref(), policy.windows.len(), policy.cooldown), (None, 1, Policy::default().cooldown));
}

#[test]
fn parse_unusable_store_leaves_out_its_types_only() {
    for (field, value) in [
        ("primary", json!({"host": "sql-b"})),
        ("mirror", json!({"host": "SQL-A."})),
        ("mirror", json!({"host": "sql-a", "instance": "mssqlserver"})),
        ("mirror", json!({"host": "sql-b:1433"})),
        ("mirror", json!({"host": "sql-b", "port": 1433, "instance": "RTC"})),
        ("tls", json!({"mode": "Disabled"})),
        ("tls", json!({"mode": "Pin"})),
        ("tls", json!({"mode": "Verify", "pins": ["ab".repeat(32)]})),
        ("tls", json!({"mode": "Pin", "pins": ["ab"]})),
        ("tls", json!({"mode": "Verify", "caBundle": {"configMapRef": {"name": "CA"}}})),
        ("tls", json!({"mode": "Verify", "caBundle": {"configMapRef": {"name": "ca", "key": "a/b"}}})),
        ("tls", json!({"mode": "Pin", "pins": ["ab".repeat(32)], "caBundle": {"configMapRef": {"name": "ca"}}})),
        ("auth", json!({"method": "SqlLogin", "secretRef": {"name": "Sql"}})),
        ("auth", json!({"method": "Kerberos", "secretRef": {"name": "sql"}, "kdcs": ["dc1\n[plugins]"]})),
    ] {
        let parsed = parsed(|spec| spec["sql"][field] = value.clone());
        let (fields, types) = outcome(&parsed);
        assert!(fields.len() == 1 && fields[0].starts_with("spec.sql"), "{value}: {:?}", parsed.problems);
        assert_eq!((types, parsed.stores.iter().count()), (vec![DatabaseType::Monitoring], 1), "{value}");
        assert_eq!(parsed.desired.unusable, [(DatabaseType::User, Seat::Primary)].into(), "{value}");
    }
}

#[test]
fn parse_of_more_databases_than_a_type_can_have_is_refused() {
    for (count, problems) in [(16, 0), (17, 1), (10_000, 1)] {
        let names: Vec<String> = (0..count).map(|number| format!("database{number}")).collect();
        let parsed = parsed(|spec| spec["databaseTypes"][0]["databases"] = json!(names));
        assert_eq!(parsed.problems.len(), problems, "{count}");
        assert!(parsed.desired.types.iter().all(|desired_type| desired_type.databases.len() <= 16), "{count}");
    }
}

#[test]
fn parse_value_that_is_not_necessary_is_dropped() {
    for (edit, value, field) in [
        ("/sql/witness", json!({"host": "sql-a."}), "spec.sql.witness"),
        ("/sql/witness", json!({"host": "tcp:sql-w"}), "spec.sql.witness.host"),
        ("/sql/auth/kdcs", json!(["dc1"]), "spec.sql.auth.kdcs"),
        ("/policy", json!({"order": ["User", "User"]}), "spec.policy.order[1]"),
        ("/policy", json!({"switchDeadline": "9s"}), "spec.policy.switchDeadline"),
        ("/policy", json!({"maxInterruption": "2s"}), "spec.policy.maxInterruption"),
    ] {
        let parsed = parsed(|spec| {
            let (parent, key) = edit.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[key] = value.clone();
        });
        let (fields, types) = outcome(&parsed);
        assert_eq!((fields, types.len(), parsed.stores.iter().count()), (vec![field], 2, 2), "{value}");
        let sql = &parsed.stores.iter().next().unwrap().sql;
        assert!(sql.witness.is_none() && sql.auth.kdcs.is_none(), "{value}");
    }
}

/// A duration that cannot be used gets its default, and the other durations of the spec stay.
#[test]
fn parse_policy_replaces_only_the_duration_that_is_out_of_bounds() {
    let written = json!({
        "switchDeadline": "10m", "failBackAfter": "20m", "cooldown": "3m", "settleAfter": "4m", "maxInterruption": "50s",
    });
    let durations = |edit: Option<(&str, &str)>| {
        let mut policy = written.clone();
        if let Some((field, value)) = edit {
            policy[field] = json!(value);
        }
        let Policy { switch_deadline, fail_back_after, cooldown, settle_after, max_interruption, .. } =
            parsed(|spec| spec["policy"] = policy).desired.policy;
        [Some(switch_deadline), Some(fail_back_after), Some(cooldown), Some(settle_after), max_interruption]
            .map(|duration| duration.map(|duration| duration.as_secs()))
    };
    let usable = [Some(600), Some(1200), Some(180), Some(240), Some(50)];
    assert_eq!(durations(None), usable);
    for (index, field, value, default) in [
        (0, "switchDeadline", "9s", Some(300)),
        (1, "failBackAfter", "721h", Some(1800)),
        (2, "cooldown", "721h", Some(600)),
        (3, "settleAfter", "721h", Some(120)),
        (4, "maxInterruption", "2s", None),
    ] {
        let mut expected = usable;
        expected[index] = default;
        assert_eq!(durations(Some((field, value))), expected, "{field}");
    }
}

/// The consent of the spec, its problem, and whether it stands.
#[test]
fn parse_consent_needs_an_epoch_accepted_data_loss_and_a_fenced_principal() {
    for (epoch, accepted, fenced, problem) in [
        ("14-5f3a", true, true, None),
        ("14-5f3a", false, true, Some("acceptDataLoss")),
        ("14-5f3a", true, false, Some("oldPrincipalFenced")),
        ("abc", true, true, Some("epoch")),
    ] {
        let parsed = parsed(|spec| {
            spec["databaseTypes"][0]["forceService"] = json!({
                "epoch": epoch, "acceptDataLoss": accepted, "oldPrincipalFenced": fenced, "until": "2100-01-01T00:00:00Z",
            });
        });
        let field = problem.map(|field| format!("spec.databaseTypes[0].forceService.{field}"));
        let (fields, types) = outcome(&parsed);
        assert_eq!((fields, types.len()), (Vec::from_iter(field.as_deref()), 2), "{epoch} {accepted} {fenced}");
        let until = "2100-01-01T00:00:00Z".parse().unwrap();
        let expected = problem.is_none().then(|| ForceService { epoch: Epoch::new(epoch), until, fenced: true });
        assert_eq!(parsed.desired.types[0].force, expected, "{epoch} {accepted} {fenced}");
    }
}

#[test]
fn parse_usable_spec_has_no_problem() {
    for (field, value) in [
        ("witness", json!({"host": "sql-w"})),
        ("mirror", json!({"host": "sql-a.", "port": 1434})),
        ("mirror", json!({"host": "sql-b.", "instance": "MSSQLSERVER"})),
        ("mirror", json!({"host": "fe80::1"})),
        ("auth", json!({"method": "Kerberos", "secretRef": {"name": "sql"}, "kdcs": ["dc1", "[::1]:88"]})),
    ] {
        let parsed = parsed(|spec| spec["sql"][field] = value);
        assert_eq!(outcome(&parsed), (Vec::new(), vec![DatabaseType::User, DatabaseType::Monitoring]));
    }
    let duplicate = parsed(|spec| spec["databaseTypes"][1]["type"] = json!("User"));
    assert_eq!(outcome(&duplicate), (vec!["spec.databaseTypes[1].type"], vec![DatabaseType::User]));
    let none = parsed(|spec| spec["databaseTypes"] = json!([]));
    assert_eq!(outcome(&none), (vec!["spec.databaseTypes"], vec![]));
}

/// The suspension, whether a move is in flight, and whether the polls are stopped.
#[test]
fn polls_are_stopped_only_by_a_suspension_with_stop_polls_and_without_a_move() {
    let now = "2026-11-26T10:00:00Z".parse().unwrap();
    let operation = || {
        let status = json!({
            "resourceUid": "uid-1",
            "operation": {
                "type": "User", "from": "Primary", "to": "Mirror", "cause": "Intent", "generation": 1, "attempt": 1,
                "startedAt": "2026-11-26T09:59:00Z", "attemptedAt": "2026-11-26T09:59:00Z",
                "deadline": "2026-11-26T10:04:00Z",
                "databases": [{"name": "rtcxds", "guid": "01010101-0101-0101-0101-010101010101", "roleSequence": 1}],
            },
        });
        crate::api::restore_state("uid-1", Some(&serde_json::from_value(status).unwrap())).operation
    };
    for (suspend, moving, stopped) in [
        (Value::Null, false, false),
        (json!({"reason": "patching"}), false, false),
        (json!({"reason": "patching", "stopPolls": false}), false, false),
        (json!({"reason": "patching", "stopPolls": true}), false, true),
        (json!({"reason": "patching", "stopPolls": true}), true, false),
        (json!({"reason": "patching", "stopPolls": true, "until": "2026-11-26T10:00:01Z"}), false, true),
        (json!({"reason": "patching", "stopPolls": true, "until": "2026-11-26T10:00:00Z"}), false, false),
    ] {
        let parsed = parsed(|spec| spec["suspend"] = suspend.clone());
        let operation = if moving { operation() } else { None };
        assert_eq!(operation.is_some(), moving);
        assert_eq!(parsed.polls_are_stopped(operation.as_ref(), now), stopped, "{suspend} {moving}");
    }
}

/// The place of an edit, the value, the field that is named, a part of the problem, and the types that remain.
type OutOfBounds = (&'static str, Value, &'static str, &'static str, &'static [DatabaseType]);

/// Values that only the schema refuses.
#[rustfmt::skip]
fn out_of_bounds() -> Vec<OutOfBounds> {
    use DatabaseType::{Monitoring, User};
    let long = "n".repeat(254);
    let window = |schedule: &str| json!({"schedule": schedule, "duration": "4h", "timeZone": "UTC"});
    let windows = |windows: Vec<Value>| json!({"unrequestedSwitch": "FailBack", "maintenanceWindows": windows});
    vec![
        ("/poolFqdn", json!("pool 01"), "spec.poolFqdn", "Get-CsPool", &[User, Monitoring][..]),
        ("/poolFqdn", json!(long), "spec.poolFqdn", "Get-CsPool", &[User, Monitoring][..]),
        ("/sql/primary", json!({"host": "sql-a", "port": 0}), "spec.sql.primary.port", "1 to 65535", &[Monitoring]),
        ("/sql/primary", json!({"host": "sql-a", "port": 65_536}), "spec.sql.primary.port", "1 to 65535", &[Monitoring]),
        ("/sql/mirror", json!({"host": "sql-b", "port": -1}), "spec.sql.mirror.port", "1 to 65535", &[Monitoring]),
        ("/sql/mirror", json!({"host": "sql-b", "instance": "R TC"}), "spec.sql.mirror.instance", "RTC", &[Monitoring]),
        ("/sql/mirror", json!({"host": "sql-b", "instance": ""}), "spec.sql.mirror.instance", "RTC", &[Monitoring]),
        ("/sql/mirror", json!({"host": long}), "spec.sql.mirror.host", "at most 253", &[Monitoring]),
        ("/sql/witness", json!({"host": "sql-w", "port": 0}), "spec.sql.witness.port", "1 to 65535", &[User, Monitoring][..]),
        ("/sql/auth/secretRef/name", json!(long), "spec.sql.auth.secretRef.name", "kubectl get secrets", &[Monitoring]),
        ("/databaseTypes/1/sql/primary/port", json!(0), "spec.databaseTypes[1].sql.primary.port", "1 to 65535", &[User]),
        ("/databaseTypes/0/databases", json!(vec!["d"; 17]), "spec.databaseTypes[0].databases", "16 are allowed", &[Monitoring]),
        ("/databaseTypes/0/databases", json!(["d".repeat(129)]), "spec.databaseTypes[0].databases[0]", "1 to 128", &[Monitoring]),
        ("/databaseTypes/0/approve", json!({"epoch": format!("{}-5f3a", "1".repeat(60))}), "spec.databaseTypes[0].approve.epoch", "copy the epoch", &[User, Monitoring][..]),
        ("/suspend", json!({"reason": ""}), "spec.suspend.reason", "write why", &[User, Monitoring][..]),
        ("/suspend", json!({"reason": "r".repeat(257)}), "spec.suspend.reason", "at most 256", &[User, Monitoring][..]),
        ("/policy", windows(vec![window("0 2 * * SAT"); 17]), "spec.policy.maintenanceWindows", "16 are allowed", &[User, Monitoring][..]),
        ("/policy", windows(vec![window(&format!("0 2 * *{}SAT", " ".repeat(100)))]), "spec.policy.maintenanceWindows[0].schedule", "at most 100", &[User, Monitoring][..]),
    ]
}

/// As an older CRD may let such values pass: the field, its value and the way out are named, the servers of the rest are
/// still observed, and nothing else is stopped.
#[test]
fn parse_value_out_of_the_bounds_of_the_schema_names_it_and_keeps_the_rest() {
    for (edit, value, field, part, types) in out_of_bounds() {
        let parsed = parsed(|spec| {
            let (parent, key) = edit.rsplit_once('/').unwrap();
            let parent = spec.pointer_mut(parent).unwrap();
            parent[key] = value.clone();
        });
        assert_eq!(outcome(&parsed), (vec![field], types.to_vec()), "{value}");
        let text = &parsed.desired.problems[0];
        assert!(text.starts_with(&format!("{field} ")) && text.contains(part), "{text}");
        assert!(text.contains("To fix: ") && text.ends_with('.') && text.len() < 400, "{text}");
        assert_eq!(parsed.desired.suspend.is_some(), edit == "/suspend", "a suspension holds in any case");
    }
}

/// The longest values of the schema.
#[test]
fn parse_value_at_the_bound_of_the_schema_is_used() {
    let parsed = parsed(|spec| {
        spec["databaseTypes"][0]["databases"] = json!(["d".repeat(128)]);
        spec["databaseTypes"][0]["approve"] = json!({"epoch": format!("{}-5f3a", "1".repeat(59))});
    });
    assert_eq!(outcome(&parsed), (Vec::new(), vec![DatabaseType::User, DatabaseType::Monitoring]));
    assert!(parsed.desired.types[0].approve.is_some());
}

/// The time zone of a window, and whether its format, its existence or nothing is the problem.
#[test]
fn parse_time_zone_is_checked_by_format_length_and_existence() {
    let of_length = |length: usize| json!(format!("Area/{}", "b".repeat(length - 5)));
    let missing = "This time zone does not exist.";
    for (zone, problem) in [
        (json!("Europe/Paris"), None),
        (json!("CET"), Some(rules::TIME_ZONE)),
        (of_length(64), Some(missing)),
        (of_length(65), Some(rules::TIME_ZONE)),
        (of_length(66), Some(rules::TIME_ZONE)),
    ] {
        let parsed = parsed(|spec| {
            let window = json!({"schedule": "0 2 * * SAT", "duration": "4h", "timeZone": zone});
            spec["policy"] = json!({"unrequestedSwitch": "FailBack", "maintenanceWindows": [window]});
        });
        let found = parsed.problems.first().map(|problem| problem.problem.as_str());
        assert!(
            found.map_or(problem.is_none(), |found| problem.is_some_and(|part| found.starts_with(part))),
            "{zone} {found:?}"
        );
    }
}

#[test]
fn parse_value_that_is_left_out_has_its_default() {
    let parsed = parsed(|spec| {
        spec["sql"]["tls"] = json!({"mode": "Verify", "caBundle": {"configMapRef": {"name": "ca"}}});
        let window = json!({"schedule": "0 2 * * SAT", "duration": "4h"});
        spec["policy"] = json!({"unrequestedSwitch": "FailBack", "maintenanceWindows": [window]});
    });
    assert_eq!(parsed.desired.policy.windows[0].to_string(), "0 2 * * SAT UTC");
    let sql = &parsed.stores.iter().next().unwrap().sql;
    assert_eq!(sql.tls.ca_bundle.as_ref().unwrap().config_map_ref.key, "ca.crt");
    for (port, expected) in
        [(None, None), (Some(0), Some(0)), (Some(1), Some(1)), (Some(1434), Some(1434)), (Some(65_536), None)]
    {
        assert_eq!(crate::api::SqlServer { port, ..sql.primary.clone() }.tcp_port(), expected, "{port:?}");
    }
}
