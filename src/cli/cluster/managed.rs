//! Managed fields: which manager owns a field, and what an own apply must repeat. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value};

/// The field manager of every write of the verbs.
pub const MANAGER: &str = "kubectl-lyncmirror";

/// A path in `fieldsV1`, e.g. `f:spec`, `f:suspend`.
pub type Path<'a> = &'a [&'a str];

/// The managers of a field or of a part of it, without [`MANAGER`].
pub fn managers_of(managed: &[ManagedFieldsEntry], path: Path) -> Vec<String> {
    let owns = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| path.iter().try_fold(fields, |at, step| at.get(step)).is_some())
    };
    let mut managers: Vec<String> = managed
        .iter()
        .filter(|entry| entry.subresource.is_none())
        .filter(owns)
        .filter_map(|entry| entry.manager.clone())
        .filter(|manager| manager != MANAGER)
        .collect();
    managers.sort();
    managers.dedup();
    managers
}

/// The managers of a field whose value an own apply does not remove: every other manager, and own writes other than an apply.
pub fn other_managers_of(managed: &[ManagedFieldsEntry], path: Path) -> Vec<String> {
    let others: Vec<ManagedFieldsEntry> = managed
        .iter()
        .filter(|entry| entry.operation.as_deref() != Some("Apply") || entry.manager.as_deref() != Some(MANAGER))
        .map(|entry| {
            let manager = entry.manager.clone().map(|manager| match manager.as_str() {
                MANAGER => format!("{MANAGER} (update)"),
                _ => manager,
            });
            ManagedFieldsEntry { manager, ..entry.clone() }
        })
        .collect();
    managers_of(&others, path)
}

/// True if the verbs have written this field or a part of it.
pub fn is_own(managed: &[ManagedFieldsEntry], path: Path) -> bool {
    let own = managed.iter().filter(|entry| entry.manager.as_deref() == Some(MANAGER) && entry.subresource.is_none());
    own.filter_map(|entry| entry.fields_v1.as_ref())
        .any(|fields| path.iter().try_fold(&fields.0, |at, step| at.get(step)).is_some())
}

/// The fields of the object that [`MANAGER`] applied before, with their present values. An apply that leaves one of them out
/// removes it, so that each apply begins with them.
pub fn applied_before(object: &Value, managed: &[ManagedFieldsEntry]) -> Value {
    let own = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.is_none()
    };
    let fields = managed.iter().find(own).and_then(|entry| entry.fields_v1.as_ref());
    fields.and_then(|fields| extract(&fields.0, object)).unwrap_or_else(|| Value::Object(Map::new()))
}

fn extract(fields: &Value, live: &Value) -> Option<Value> {
    let fields = fields.as_object()?;
    if fields.keys().all(|key| key == ".") {
        return Some(live.clone());
    }
    match live {
        Value::Object(live) => {
            let members = fields.iter().filter_map(|(key, below)| {
                let name = key.strip_prefix("f:")?;
                Some((name.to_owned(), extract(below, live.get(name)?)?))
            });
            Some(Value::Object(members.collect()))
        }
        Value::Array(items) => {
            let members = fields.iter().filter_map(|(key, below)| {
                let key: Map<String, Value> = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
                let item = items.iter().find(|item| key.iter().all(|(name, value)| item.get(name) == Some(value)))?;
                let mut kept = extract(below, item)?;
                kept.as_object_mut()?.extend(key);
                Some(kept)
            });
            Some(Value::Array(members.collect()))
        }
        leaf => Some(leaf.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        serde_json::from_value(json!({"manager": manager, "operation": operation, "fieldsV1": fields})).unwrap()
    }

    fn of_user(fields: Value) -> Value {
        json!({"f:spec": {"f:databaseTypes": {"k:{\"type\":\"User\"}": fields}}})
    }

    const PRINCIPAL: Path = &["f:spec", "f:databaseTypes", "k:{\"type\":\"User\"}", "f:principal"];

    #[test]
    fn managers_of_a_field_are_those_that_own_it_or_a_part_of_it() {
        let mut managed = vec![
            entry("argocd-controller", "Apply", of_user(json!({".": {}, "f:principal": {}, "f:type": {}}))),
            entry("kubectl-edit", "Update", of_user(json!({"f:approve": {".": {}, "f:epoch": {}}}))),
            entry(MANAGER, "Apply", of_user(json!({"f:principal": {}}))),
        ];
        assert_eq!(managers_of(&managed, PRINCIPAL), ["argocd-controller"]);
        let approve = ["f:spec", "f:databaseTypes", "k:{\"type\":\"User\"}", "f:approve"];
        assert_eq!(managers_of(&managed, &approve), ["kubectl-edit"]);
        assert_eq!(managers_of(&managed, &["f:spec", "f:suspend"]), [""; 0]);
        managed[0].subresource = Some("status".to_owned());
        assert_eq!(managers_of(&managed, PRINCIPAL), [""; 0]);
    }

    #[test]
    fn applied_before_has_only_the_own_fields_with_their_present_values() {
        let object = json!({
            "metadata": {"name": "pool01", "annotations": {"lyncmirror.io/requested-by": "ann", "other": "x"}},
            "spec": {
                "poolFqdn": "pool01",
                "suspend": {"reason": "patches", "until": "2026-12-01T04:00:00Z"},
                "databaseTypes": [
                    {"type": "User", "principal": "Mirror", "databases": ["rtcxds"]},
                    {"type": "CentralMgmt", "principal": "Primary"},
                ],
            },
        });
        let fields = json!({
            "f:metadata": {"f:annotations": {"f:lyncmirror.io/requested-by": {}}},
            "f:spec": {
                "f:suspend": {"f:reason": {}},
                "f:databaseTypes": {"k:{\"type\":\"User\"}": {".": {}, "f:type": {}, "f:principal": {}}},
            },
        });
        let managed = [entry("kubectl", "Apply", of_user(json!({"f:databases": {}}))), entry(MANAGER, "Apply", fields)];
        assert_eq!(
            applied_before(&object, &managed),
            json!({
                "metadata": {"annotations": {"lyncmirror.io/requested-by": "ann"}},
                "spec": {
                    "suspend": {"reason": "patches"},
                    "databaseTypes": [{"type": "User", "principal": "Mirror"}],
                },
            })
        );
        assert_eq!(applied_before(&object, &managed[..1]), json!({}));
    }
}
