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
