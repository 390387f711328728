//! The object of an apply, and the owners of what it changes.

use serde_json::json;

use super::*;

fn pool(managed: Value) -> Pool {
    Pool::of_value(json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {
            "name": "pool01", "namespace": "lync", "uid": "u", "resourceVersion": "7", "generation": 3,
            "managedFields": managed,
        },
        "spec": {
            "poolFqdn": "pool01.contoso.com",
            "sql": {
                "primary": {"host": "sql-a"}, "mirror": {"host": "sql-b"},
                "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
            },
            "databaseTypes": [
                {"type": "User", "principal": "Mirror", "approve": {"epoch": "5-abcd"}},
                {"type": "CentralMgmt", "principal": "Primary"},
            ],
            "suspend": {"reason": "patches"},
        },
    }))
}

fn entry(manager: &str, fields: &Value) -> Value {
    json!({"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields})
}

const USER: &str = "k:{\"type\":\"User\"}";

#[test]
fn apply_object_has_only_the_change_and_the_identity() {
    let change = [Change::Principal(DatabaseType::CentralMgmt, Seat::Mirror)];
    assert_eq!(
        apply_object(&pool(json!([])), &change, Some("ann")),
        json!({
            "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
            "metadata": {
                "name": "pool01", "namespace": "lync", "uid": "u", "resourceVersion": "7",
                "annotations": {"lyncmirror.io/requested-by": "ann"},
            },
            "spec": {"databaseTypes": [{"type": "CentralMgmt", "principal": "Mirror"}]},
        })
    );
}

/// An apply without a field that the manager applied before would remove it.
#[test]
fn apply_object_keeps_what_was_applied_before() {
    let before = json!({"f:spec": {
        "f:suspend": {"f:reason": {}},
        "f:databaseTypes": {USER: {"f:type": {}, "f:principal": {}, "f:approve": {"f:epoch": {}}}},
    }});
    let pool = pool(json!([entry("kubectl-lyncmirror", &before)]));
    let spec = |changes: &[Change]| apply_object(&pool, changes, None)["spec"].clone();
    let user = json!({"type": "User", "principal": "Mirror", "approve": {"epoch": "5-abcd"}});
    assert_eq!(
        spec(&[Change::Principal(DatabaseType::CentralMgmt, Seat::Mirror)]),
        json!({"suspend": {"reason": "patches"}, "databaseTypes": [user, {"type": "CentralMgmt", "principal": "Mirror"}]})
    );
    // The approval was for the former request.
    assert_eq!(
        spec(&[Change::Principal(DatabaseType::User, Seat::Primary)])["databaseTypes"],
        json!([{"type": "User", "principal": "Primary"}])
    );
    assert_eq!(spec(&[Change::Resume]), json!({"databaseTypes": [user]}));
    let other = SuspendSpec { reason: "storage".to_owned(), until: None, stop_polls: false };
    assert_eq!(spec(&[Change::Suspend(other)])["suspend"], json!({"reason": "storage"}));
    let approve = Approve { epoch: "6-abcd".to_owned(), until: None };
    assert_eq!(
        spec(&[Change::Approve(DatabaseType::User, approve)])["databaseTypes"][0]["approve"],
        json!({"epoch": "6-abcd"})
    );
}

#[test]
fn merge_patch_removes_what_another_owner_left_in_a_suspension() {
    let mut pool = pool(json!([]));
    pool.object["spec"]["suspend"] = json!({"reason": "x", "until": "2026-12-01T04:00:00Z", "stopPolls": true});
    let patch = |change: Change| merge_patch(&pool, &[change], Some("ann")).unwrap();
    let other = SuspendSpec { reason: "storage".to_owned(), until: None, stop_polls: false };
    let patched = patch(Change::Suspend(other.clone()));
    assert_eq!(patched["spec"]["suspend"], json!({"reason": "storage", "until": null, "stopPolls": null}));
    assert_eq!(patched["metadata"], json!({"resourceVersion": "7", "annotations": {REQUESTED_BY: "ann"}}));
    assert_eq!(patch(Change::Resume)["spec"], json!({"suspend": null}));
    // Without a suspension nothing has to be removed, and an apply is enough.
    pool.object["spec"]["suspend"] = Value::Null;
    assert!(merge_patch(&pool, &[Change::Suspend(other)], None).is_none());
}

#[test]
fn approval_is_refused_while_another_owner_has_its_end() {
    let end = json!({"f:spec": {"f:databaseTypes": {USER: {"f:approve": {"f:epoch": {}, "f:until": {}}}}}});
    let foreign = pool(json!([entry("kubectl-edit", &end)]));
    let approve = |until| [Change::Approve(DatabaseType::User, Approve { epoch: "6-abcd".to_owned(), until })];
    let refused = nothing_foreign_stays(&foreign, &approve(None)).unwrap_err();
    assert!(
        refused.to_string().starts_with(
            "spec.databaseTypes[User].approve.until was set by the field manager kubectl-edit, and would hold"
        ),
        "{refused}"
    );
    assert!(nothing_foreign_stays(&foreign, &approve(Some(jiff::Timestamp::UNIX_EPOCH))).is_ok());
    let own = pool(json!([entry("kubectl-lyncmirror", &end)]));
    assert!(nothing_foreign_stays(&own, &approve(None)).is_ok());
}

#[test]
fn change_is_in_a_spec_only_with_exactly_its_value() {
    let spec = json!({
        "databaseTypes": [{"type": "User", "principal": "Mirror", "approve": {"epoch": "5-abcd", "until": "2026-12-01T04:00:00Z"}}],
        "suspend": {"reason": "storage", "stopPolls": true},
    });
    let approve = Approve { epoch: "5-abcd".to_owned(), until: None };
    let suspend = |stop_polls| Change::Suspend(SuspendSpec { reason: "storage".to_owned(), until: None, stop_polls });
    assert!(Change::Principal(DatabaseType::User, Seat::Mirror).is_in(&spec));
    assert!(!Change::Principal(DatabaseType::User, Seat::Primary).is_in(&spec));
    assert!(!Change::Approve(DatabaseType::User, approve).is_in(&spec), "the end of another owner");
    assert!(suspend(true).is_in(&spec));
    assert!(!suspend(false).is_in(&spec), "stopPolls of another owner");
    assert!(!Change::Resume.is_in(&spec));
    assert!(Change::Resume.is_in(&json!({})));
}

#[test]
fn apply_object_does_not_inherit_the_user_of_the_former_change() {
    let mut pool = pool(json!([]));
    pool.object["metadata"]["annotations"] = json!({REQUESTED_BY: "bob"});
    let change = [Change::Principal(DatabaseType::User, Seat::Primary)];
    let annotation = |user| apply_object(&pool, &change, user)["metadata"]["annotations"][REQUESTED_BY].clone();
    assert_eq!((annotation(Some("ann")), annotation(None)), (json!("ann"), json!("")));
}

#[test]
fn owners_are_those_of_the_changed_fields_alone() {
    let principal = json!({"f:spec": {"f:databaseTypes": {USER: {"f:principal": {}}}}});
    let suspend = json!({"f:spec": {"f:suspend": {".": {}, "f:reason": {}}}});
    let pool = pool(json!([entry("argocd-controller", &principal), entry("kubectl-edit", &suspend)]));
    let named = |change: Change| owners(&pool, &[change]);
    let argo = Owner::Tool("Argo CD (field manager argocd-controller)".to_owned());
    assert_eq!(
        named(Change::Principal(DatabaseType::User, Seat::Primary)),
        [("spec.databaseTypes[User].principal".to_owned(), argo)]
    );
    assert_eq!(named(Change::Principal(DatabaseType::CentralMgmt, Seat::Mirror)), []);
    let approve = Approve { epoch: "6-abcd".to_owned(), until: None };
    assert_eq!(named(Change::Approve(DatabaseType::User, approve)), []);
    let administrator = Owner::Administrator("kubectl-edit".to_owned());
    assert_eq!(named(Change::Resume), [("spec.suspend".to_owned(), administrator)]);
}
