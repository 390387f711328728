//! The rules of the CRD against the checks of the parser: both must refuse the same values with the same message.

use kube::CustomResourceExt;
use kube::core::cel::ValidationErrors;
use serde_json::{Value, json};

use crate::api::{
    Approve, ConfigMapRef, LyncPoolMirror, MaintenanceWindow, PolicySpec, SecretRef, SqlServer, SqlStore, check, rules,
};

/// The messages of the rules that a value breaks.
fn messages(outcome: Result<(), ValidationErrors>) -> Vec<String> {
    outcome
        .err()
        .map(|errors| errors.as_slice().iter().map(|error| error.message.clone()).collect())
        .unwrap_or_default()
}

fn one(outcome: Result<(), ValidationErrors>) -> Option<String> {
    let mut all = messages(outcome);
    assert!(all.len() <= 1, "{all:?}");
    all.pop()
}

#[test]
fn every_rule_of_the_crd_ends_with_the_way_out() {
    fn rules_of(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                let rules = map.get("x-kubernetes-validations").and_then(Value::as_array);
                found.extend(rules.into_iter().flatten().map(|rule| rule["message"].as_str().unwrap().to_owned()));
                map.values().for_each(|value| rules_of(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| rules_of(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    rules_of(&serde_json::to_value(LyncPoolMirror::crd()).unwrap(), &mut found);
    assert!(found.len() > 40, "{found:#?}");
    for message in found {
        let (_, fix) = message.split_once(" To fix: ").unwrap_or_else(|| panic!("no way out: {message}"));
        assert!(fix.ends_with('.'), "{message}");
    }
}

#[test]
fn host_is_refused_alike_by_crd_and_parser() {
    for (host, expected) in [
        ("sql-a", None),
        ("sql-a.contoso.com", None),
        ("sql-a.contoso.com.", None),
        ("SQL_A", None),
        ("10.0.0.1", None),
        ("::1", None),
        ("fe80::1:2", None),
        ("::ffff:10.0.0.1", None),
        ("tcp:sql-a", Some(rules::PROTOCOL_IN_HOST)),
        ("TCP:sql-a", Some(rules::PROTOCOL_IN_HOST)),
        ("np:sql-a", Some(rules::PROTOCOL_IN_HOST)),
        ("sql-a\\RTC", Some(rules::INSTANCE_IN_HOST)),
        ("sql-a:1433", Some(rules::PORT_IN_HOST)),
        ("sql-a,1433", Some(rules::PORT_IN_HOST)),
        ("sql-a:x", Some(rules::PORT_IN_HOST)),
        ("[::1]:1433", Some(rules::PORT_IN_HOST)),
        ("sql a", Some(rules::HOST)),
        ("sql-a..contoso.com", Some(rules::HOST)),
        ("-sql", Some(rules::HOST)),
        (".", Some(rules::HOST)),
        ("xy::z", Some(rules::HOST)),
        ("[::1]", Some(rules::HOST)),
        ("sql-a/RTC", Some(rules::HOST)),
    ] {
        assert_eq!(check::host(host), expected, "parser: {host}");
        let refused = one(SqlServer::validate_cel(&json!({"host": host}), None));
        assert_eq!(refused.as_deref(), expected, "CRD: {host}");
    }
}

#[test]
fn schedule_is_refused_alike_by_crd_and_parser() {
    for (schedule, expected) in [
        ("0 2 * * SAT", None),
        ("*/10 * * * *", None),
        ("0,30 2-4 1,15 JAN-MAR,12 mon-fri", None),
        ("05 04 01 09 7", None),
        ("59 23 31 12 0", None),
        ("0 2 L * *", None),
        ("0 2 15W * *", None),
        ("0 2 * * 6#2", None),
        ("0 2 * * FRI#1,5L", None),
        ("0-30/5 8/4 * * *", None),
        ("0  2 * *  SAT", None),
        ("0 2 * *", Some(rules::FIVE_FIELDS)),
        ("0 2 * * SAT Europe/Paris", Some(rules::FIVE_FIELDS)),
        ("@daily", Some(rules::FIVE_FIELDS)),
        ("60 2 * * SAT", Some(rules::MINUTE)),
        ("-1 2 * * SAT", Some(rules::MINUTE)),
        ("+5 2 * * SAT", Some(rules::MINUTE)),
        ("005 2 * * SAT", Some(rules::MINUTE)),
        ("0/ 2 * * SAT", Some(rules::MINUTE)),
        ("0 25 * * SAT", Some(rules::HOUR)),
        ("0 24 * * SAT", Some(rules::HOUR)),
        ("0 2, * * SAT", Some(rules::HOUR)),
        ("0 2pm * * SAT", Some(rules::HOUR)),
        ("0 2 0 * SAT", Some(rules::DAY)),
        ("0 2 32 * SAT", Some(rules::DAY)),
        ("0 2 1-32 * SAT", Some(rules::DAY)),
        ("0 2 * 13 SAT", Some(rules::MONTH)),
        ("0 2 * 0 SAT", Some(rules::MONTH)),
        ("0 2 * SAT SAT", Some(rules::MONTH)),
        ("0 2 * * 8", Some(rules::WEEKDAY)),
        ("0 2 * * Someday", Some(rules::WEEKDAY)),
        ("0 2 * * 6#6", Some(rules::WEEKDAY)),
    ] {
        assert_eq!(check::schedule(schedule), expected, "parser: {schedule}");
        let window = json!({"schedule": schedule, "duration": "4h", "timeZone": "UTC"});
        assert_eq!(one(MaintenanceWindow::validate_cel(&window, None)).as_deref(), expected, "CRD: {schedule}");
        if expected.is_none() {
            let window = crate::model::Window::new(schedule, "UTC", std::time::Duration::from_secs(60));
            assert!(window.is_ok(), "{schedule}: {window:?}");
        }
    }
}

#[test]
fn time_zone_and_epoch_and_names_are_refused_alike_by_crd_and_parser() {
    let zones = [
        "UTC",
        "utc",
        "Europe/Paris",
        "America/Argentina/Buenos_Aires",
        "America/Port-au-Prince",
        "Etc/GMT+1",
        "A_b/C",
    ];
    let wrong_zones =
        ["", "CET+1", "CET", "Central Europe", "Eur0pe/Paris", "Europe/", "/Paris", "Europe/Paris/x/y", "+01:00"];
    let expected = |right: bool, message: &'static str| (!right).then_some(message);
    let all = zones.map(|zone| (zone, true)).into_iter().chain(wrong_zones.map(|zone| (zone, false)));
    for (zone, right) in all {
        assert_eq!(check::is_time_zone(zone), right, "{zone}");
        let window = json!({"schedule": "0 2 * * SAT", "duration": "4h", "timeZone": zone});
        let refused = one(MaintenanceWindow::validate_cel(&window, None));
        assert_eq!(refused.as_deref(), expected(right, rules::TIME_ZONE), "{zone}");
    }
    for (epoch, right) in
        [("14-5f3a", true), ("0-0000", true), ("abc", false), ("14-5F3A", false), ("14-5f3", false), ("-5f3a", false)]
    {
        assert_eq!(check::is_epoch(epoch), right, "{epoch}");
        let refused = one(Approve::validate_cel(&json!({"epoch": epoch}), None));
        assert_eq!(refused.as_deref(), expected(right, rules::EPOCH), "{epoch}");
    }
    for (name, right) in [
        ("sql", true),
        ("pool01-sql.x", true),
        ("Sql", false),
        ("my_sql", false),
        ("-sql", false),
        ("a..b", false),
        ("..", false),
        ("a b", false),
        ("%zz", false),
        ("../../victim/secrets/treasure", false),
        ("sql?a=1", false),
    ] {
        assert_eq!(check::is_object_name(name), right, "{name}");
        let refused = one(SecretRef::validate_cel(&json!({"name": name}), None));
        assert_eq!(refused.as_deref(), expected(right, rules::SECRET_NAME), "{name}");
        let refused = one(ConfigMapRef::validate_cel(&json!({"name": name, "key": "ca.crt"}), None));
        assert_eq!(refused.as_deref(), expected(right, rules::CONFIG_MAP_NAME), "{name}");
    }
    assert!(!check::is_object_name(&"a".repeat(254)), "the CRD has a limit of its own");
    for (key, right) in [
        ("ca.crt", true),
        ("CA_2-x", true),
        (".ca", true),
        ("ca crt", false),
        (".", false),
        ("..", false),
        ("..data", false),
        ("a/b", false),
    ] {
        assert_eq!(check::is_key(key), right, "{key}");
        let refused = one(ConfigMapRef::validate_cel(&json!({"name": "ca", "key": key}), None));
        assert_eq!(refused.as_deref(), expected(right, rules::CONFIG_MAP_KEY), "{key}");
    }
}

#[test]
fn store_with_a_server_twice_is_refused_alike_by_crd_and_parser() {
    let (a, w) = (json!({"host": "sql-a"}), json!({"host": "sql-w"}));
    for (mirror, witness, expected) in [
        (json!({"host": "sql-b"}), w.clone(), None),
        (json!({"host": "sql-a", "port": 1434}), w.clone(), None),
        (json!({"host": "sql-a", "instance": "RTC"}), w.clone(), None),
        (json!({"host": "SQL-A"}), w.clone(), Some(rules::SAME_SERVER)),
        (json!({"host": "sql-a."}), w.clone(), Some(rules::SAME_SERVER)),
        (json!({"host": "sql-a", "port": 1433}), w.clone(), Some(rules::SAME_SERVER)),
        (json!({"host": "sql-a", "instance": "MSSQLServer"}), w, Some(rules::SAME_SERVER)),
        (json!({"host": "sql-b"}), json!({"host": "sql-b", "port": 1434}), None),
        (json!({"host": "sql-b"}), json!({"host": "SQL-A."}), Some(rules::WITNESS_IS_PARTNER)),
        (json!({"host": "sql-b."}), json!({"host": "sql-b"}), Some(rules::WITNESS_IS_PARTNER)),
        (
            json!({"host": "sql-b", "instance": "RTC"}),
            json!({"host": "sql-b", "instance": "rtc"}),
            Some(rules::WITNESS_IS_PARTNER),
        ),
    ] {
        let store = json!({
            "primary": a, "mirror": mirror, "witness": witness,
            "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}}, "tls": {"mode": "Verify"},
        });
        let refused = one(SqlStore::validate_cel(&store, None));
        assert_eq!(refused.as_deref(), expected, "CRD: {store}");
        let sql: SqlStore = serde_json::from_value(store.clone()).unwrap();
        let mut broken = check::store(&sql, "spec.sql");
        broken.extend(check::witness(&sql, "spec.sql"));
        let refused: Vec<&str> = broken.iter().map(|(.., message)| message.as_str()).collect();
        assert_eq!(refused, Vec::from_iter(expected), "parser: {store}");
    }
}

#[test]
fn policy_durations_are_refused_alike_by_crd_and_parser() {
    for (field, right, wrong, message) in [
        ("switchDeadline", ["10s", "24h"], ["9s", "24h1s"], rules::SWITCH_DEADLINE),
        ("maxInterruption", ["3s", "24h"], ["2s", "25h"], rules::MAX_INTERRUPTION),
        ("failBackAfter", ["0s", "720h"], ["721h", "999999h"], rules::FAIL_BACK_AFTER),
        ("cooldown", ["0s", "720h"], ["721h", "999999h"], rules::COOLDOWN),
        ("settleAfter", ["0s", "720h"], ["721h", "999999h"], rules::SETTLE_AFTER),
    ] {
        let all = right.map(|value| (value, None)).into_iter().chain(wrong.map(|value| (value, Some(message))));
        for (value, expected) in all {
            let mut policy = json!({
                "unrequestedSwitch": "Hold", "failBackAfter": "30m", "cooldown": "10m", "switchDeadline": "5m",
            });
            policy[field] = json!(value);
            assert_eq!(one(PolicySpec::validate_cel(&policy, None)).as_deref(), expected, "CRD: {field} {value}");
            let policy: PolicySpec = serde_json::from_value(policy).unwrap();
            let broken = check::durations(&policy);
            let refused: Vec<&str> = broken.iter().map(|(.., message)| message.as_str()).collect();
            assert_eq!(refused, Vec::from_iter(expected), "parser: {field} {value}");
        }
    }
}

#[test]
fn window_duration_is_refused_alike_by_crd_and_parser() {
    for (duration, expected) in
        [("1m", None), ("168h", None), ("59s", Some(rules::WINDOW_DURATION)), ("168h1s", Some(rules::WINDOW_DURATION))]
    {
        let window = json!({"schedule": "0 2 * * SAT", "duration": duration, "timeZone": "UTC"});
        assert_eq!(one(MaintenanceWindow::validate_cel(&window, None)).as_deref(), expected, "CRD: {duration}");
        let span: crate::api::Span = duration.parse().unwrap();
        assert_eq!(check::is_window_duration(span.0), expected.is_none(), "parser: {duration}");
    }
}
