//! The field managers of the fields that request a move, from `metadata.managedFields`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use crate::model::{DatabaseType, FieldManagers};

/// The managers of a type's `principal`, `approve` and `forceService`; the newest where several share a field.
pub fn field_managers(managed: &[ManagedFieldsEntry], ty: DatabaseType) -> FieldManagers {
    let key = format!("k:{{\"type\":\"{ty}\"}}");
    let owner = |field: &str| {
        let owns = |entry: &&ManagedFieldsEntry| {
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
            let item = fields.and_then(|fields| fields.get("f:spec")?.get("f:databaseTypes")?.get(&key));
            item.is_some_and(|item| item.get(field).is_some_and(Value::is_object))
        };
        let newest = managed.iter().filter(owns).max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
        newest.and_then(|entry| entry.manager.clone())
    };
    FieldManagers { principal: owner("f:principal"), approve: owner("f:approve"), force: owner("f:forceService") }
}

/// Removes what `field_managers` does not read: the managed fields are most of the memory of a cached resource.
pub fn retain_field_managers(managed: &mut Vec<ManagedFieldsEntry>) {
    managed.retain_mut(|entry| {
        let Some(fields) = &mut entry.fields_v1 else { return false };
        let types = fields.0.pointer_mut("/f:spec/f:databaseTypes").and_then(Value::as_object_mut);
        let kept: serde_json::Map<String, Value> = types
            .into_iter()
            .flatten()
            .filter_map(|(key, item)| {
                let mut item = item.take();
                item.as_object_mut()?
                    .retain(|field, _| ["f:principal", "f:approve", "f:forceService"].contains(&field.as_str()));
                Some((key.clone(), item))
            })
            .collect();
        let any = !kept.is_empty();
        fields.0 = serde_json::json!({"f:spec": {"f:databaseTypes": kept}});
        any
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn field_managers_of_a_shared_field_is_the_newest() {
        let entry = |manager: &str, time: &str, fields: Value| {
            serde_json::from_value(json!({
                "manager": manager, "operation": "Apply", "apiVersion": "lyncmirror.io/v1alpha1", "time": time,
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:databaseTypes": {"k:{\"type\":\"User\"}": fields}}},
            }))
            .unwrap()
        };
        let mut managed = vec![
            entry("argocd", "2026-11-24T01:00:00Z", json!({".": {}, "f:principal": {}, "f:type": {}})),
            entry("kubectl-edit", "2026-11-24T02:00:00Z", json!({"f:principal": {}})),
            entry("kubectl-patch", "2026-11-24T03:00:00Z", json!({"f:approve": {"f:epoch": {}}})),
        ];
        let found = field_managers(&managed, DatabaseType::User);
        assert_eq!(found.principal.as_deref(), Some("kubectl-edit"));
        assert_eq!(found.approve.as_deref(), Some("kubectl-patch"));
        assert_eq!(found.force, None);
        assert_eq!(field_managers(&managed, DatabaseType::CentralMgmt), FieldManagers::default());

        let status = json!({"manager": "lync-mirror", "fieldsV1": {"f:status": {"f:conditions": {}}}});
        managed.push(serde_json::from_value(status).unwrap());
        retain_field_managers(&mut managed);
        assert_eq!(managed.len(), 3);
        assert_eq!(field_managers(&managed, DatabaseType::User), found);
    }
}
