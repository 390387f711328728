//! What the API server itself refuses, rule by rule, with the words that a user reads. A rule of the CRD without a row
//! here fails the test.

use std::collections::BTreeSet;

use crate::support::Cluster;
use serde_json::{Value, json};

mod refused;

use refused::{refused_encryption, refused_hosts, refused_policies, refused_servers, refused_windows};

const NAMESPACE: &str = "cel";

fn valid() -> Value {
    json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {"name": "pool01", "namespace": NAMESPACE},
        "spec": {
            "poolFqdn": "pool01.contoso.com",
            "sql": store(),
            "databaseTypes": [{"type": "User", "principal": "Primary"}],
        },
    })
}

fn store() -> Value {
    json!({
        "primary": {"host": "sql-a.contoso.com", "instance": "RTC"},
        "mirror": {"host": "sql-b.contoso.com", "instance": "RTC"},
        "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut object = valid();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        _ => parent[key] = value,
    }
    object
}

fn first_type(value: Value) -> Value {
    let mut item = json!({"type": "User", "principal": "Primary"});
    item.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    with("/spec/databaseTypes/0", item)
}

fn policy(value: Value) -> Value {
    with("/spec/policy", value)
}

fn until(time: &str) -> Value {
    first_type(
        json!({"forceService": {"epoch": "1-abcd", "acceptDataLoss": true, "oldPrincipalFenced": true, "until": time}}),
    )
}

/// What is wrong, the spec, and parts of the answer: the field, and the way out.
type Refused = (&'static str, Value, Vec<&'static str>);

/// Specs with one thing wrong each.
fn refused() -> Vec<Refused> {
    [
        refused_pools(),
        refused_types(),
        refused_consents(),
        refused_servers(),
        refused_hosts(),
        refused_encryption(),
        refused_policies(),
        refused_windows(),
    ]
    .concat()
}

fn refused_pools() -> Vec<Refused> {
    let mut ownerless = valid();
    ownerless["spec"].as_object_mut().unwrap().remove("sql");
    let mut long_name = valid();
    long_name["metadata"]["name"] = json!("p".repeat(201));
    vec![
        ("a long name", long_name, vec!["metadata.name must not be longer than 200 characters"]),
        ("no store at all", ownerless, vec!["Every database type needs a store. To fix: set spec.sql"]),
        ("an empty pool", with("/spec/poolFqdn", json!("")), vec!["spec.poolFqdn", "should be at least 1 chars long"]),
        ("a pool with a slash", with("/spec/poolFqdn", json!("a/b")), vec!["spec.poolFqdn", "should match"]),
        (
            "no types",
            with("/spec/databaseTypes", json!([])),
            vec!["spec.databaseTypes", "should have at least 1 items"],
        ),
        (
            "a type twice",
            with(
                "/spec/databaseTypes",
                json!([{"type": "User", "principal": "Primary"}, {"type": "User", "principal": "Mirror"}]),
            ),
            vec!["spec.databaseTypes[1]", "Duplicate value"],
        ),
    ]
}

fn refused_types() -> Vec<Refused> {
    vec![
        (
            "an unknown type",
            first_type(json!({"type": "Users"})),
            vec!["databaseTypes[0].type", "Users", "\"CentralMgmt\""],
        ),
        ("an unknown seat", first_type(json!({"principal": "mirror"})), vec!["principal", "\"Primary\", \"Mirror\""]),
        (
            "a typo",
            first_type(json!({"principle": "Mirror"})),
            vec!["unknown field", "spec.databaseTypes[0].principle"],
        ),
        (
            "a database twice",
            first_type(json!({"databases": ["rtcxds", "RTCXDS"]})),
            vec!["A database is listed twice: SQL Server compares names without case. To fix: remove one"],
        ),
        ("no databases", first_type(json!({"databases": []})), vec!["databases", "should have at least 1 items"]),
        (
            "an empty name",
            first_type(json!({"databases": [""]})),
            vec!["databases[0]", "should be at least 1 chars long"],
        ),
        (
            "a long database",
            first_type(json!({"databases": ["x".repeat(129)]})),
            vec!["databases[0]", "may not be more than 128"],
        ),
    ]
}

fn refused_consents() -> Vec<Refused> {
    vec![
        ("an empty epoch", first_type(json!({"approve": {"epoch": ""}})), vec!["approve.epoch", "at least 1 chars"]),
        (
            "an approval of a word",
            first_type(json!({"approve": {"epoch": "abc"}})),
            vec!["approve.epoch", "This is not an epoch. To fix: copy"],
        ),
        (
            "a consent for a word",
            first_type(
                json!({"forceService": {"epoch": "1-ABCD", "acceptDataLoss": true, "until": "2100-01-01T00:00:00Z"}}),
            ),
            vec!["forceService.epoch", "This is not an epoch. To fix: copy"],
        ),
        ("an approval of nothing", first_type(json!({"approve": {}})), vec!["approve.epoch", "Required value"]),
        (
            "data loss not accepted",
            first_type(
                json!({"forceService": {"epoch": "1-abcd", "acceptDataLoss": false, "until": "2100-01-01T00:00:00Z"}}),
            ),
            vec!["acceptDataLoss must be true: forced service loses what the lost principal had not sent"],
        ),
        (
            "a consent without a fence",
            first_type(
                json!({"forceService": {"epoch": "1-abcd", "acceptDataLoss": true, "until": "2100-01-01T00:00:00Z"}}),
            ),
            vec!["oldPrincipalFenced must be true", "To fix: switch it off"],
        ),
        (
            "a consent for ever",
            first_type(json!({"forceService": {"epoch": "1-abcd", "acceptDataLoss": true}})),
            vec!["forceService.until", "Required value"],
        ),
        ("a consent until some time", until("tomorrow"), vec!["forceService.until", "tomorrow"]),
    ]
}

/// Every message of a CEL rule in the CRD.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for rule in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                found.insert(rule["message"].as_str().unwrap().to_owned());
            }
            map.values().for_each(|value| messages(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| messages(value, found)),
        _ => {}
    }
}

#[test]
fn crd_rule_broken_by_a_spec_names_field_and_remedy() {
    let cluster = Cluster::get();
    cluster.kubectl(&["create", "namespace", NAMESPACE]);
    cluster.apply(&valid());
    let mut answers = Vec::new();
    for (name, object, words) in refused() {
        let answer = cluster.try_apply(&object).expect_err(name);
        for word in words {
            assert!(answer.contains(word), "{name}: {word:?} is not in: {answer}");
        }
        answers.push(answer);
    }
    let answer = cluster.try_apply(&with("/spec/poolFqdn", json!("pool02.contoso.com"))).expect_err("immutable");
    assert!(answer.contains("poolFqdn cannot change: a resource belongs to one pool"), "{answer}");
    answers.push(answer);

    let mut rules = BTreeSet::new();
    messages(&cluster.get_json(&["crd", "lyncpoolmirrors.lyncmirror.io"]).unwrap(), &mut rules);
    let silent: Vec<&String> =
        rules.iter().filter(|rule| !answers.iter().any(|answer| answer.contains(*rule))).collect();
    assert!(silent.is_empty(), "rules that no row broke: {silent:#?}");
    println!("{} specs refused, {} CEL rules, all of them broken", answers.len(), rules.len());
}

#[test]
fn crd_with_a_valid_spec_accepts_the_resource() {
    let cluster = Cluster::get();
    cluster.try_apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "right"}})).unwrap();
    let full = policy(json!({
        "unrequestedSwitch": "FailBack", "failBackAfter": "1h", "maxInterruption": "30s", "cooldown": "0s",
        "switchDeadline": "10s", "order": ["CentralMgmt", "User"],
        "maintenanceWindows": [
            {"schedule": "0 2 * * SAT", "duration": "4h", "timeZone": "Europe/Paris"},
            {"schedule": "*/15 1-3,5 L JAN-mar,12 6#2,sun", "duration": "1m", "timeZone": "Etc/GMT+1"},
            {"schedule": "59 23 15W * 7", "duration": "168h"},
        ],
    }));
    for (name, mut object) in [
        ("everything", full),
        (
            "pins as openssl prints them",
            with("/spec/sql/tls", json!({"mode": "Pin", "pins": [vec!["AB"; 32].join(":"), "ab".repeat(32)]})),
        ),
        (
            "a keytab, in the clear",
            with("/spec/sql", {
                let mut store = store();
                store["auth"] =
                    json!({"method": "Kerberos", "secretRef": {"name": "sql"}, "kdcs": ["dc1", "[::1]:88"]});
                store["tls"] = json!({"mode": "Disabled"});
                store
            }),
        ),
        ("legacy", with("/spec/sql/tls", json!({"mode": "Legacy"}))),
        ("a final dot", with("/spec/sql/mirror", json!({"host": "sql-b.contoso.com.", "instance": "MSSQLSERVER"}))),
        ("IPv6", with("/spec/sql/witness", json!({"host": "fe80::10:1", "port": 1433}))),
        ("an approval", first_type(json!({"approve": {"epoch": "14-5f3a"}}))),
        ("ports", with("/spec/sql/primary", json!({"host": "10.0.0.1", "port": 49172}))),
        (
            "two instances of one host",
            with("/spec/sql/mirror", json!({"host": "sql-a.contoso.com", "instance": "RTC2"})),
        ),
        ("unusual names", first_type(json!({"databases": ["rtc'xds]", "Übersicht"]}))),
        ("a consent", until("2100-01-01T00:00:00Z")),
    ] {
        object["metadata"]["namespace"] = json!("right");
        cluster.try_apply(&object).unwrap_or_else(|answer| panic!("{name}: {answer}"));
    }
    cluster.kubectl(&["create", "namespace", "lync"]);
    for sample in std::fs::read_dir(crate::support::root().join("deploy/samples")).unwrap() {
        let path = sample.unwrap().path();
        cluster.kubectl(&["apply", "--dry-run=server", "-f", &path.to_string_lossy()]);
    }
}
