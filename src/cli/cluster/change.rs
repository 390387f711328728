//! What a verb changes in the spec: the fields, the object of its apply, and the same change as text for Git. Pure.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::{Approve, ForceServiceSpec, SuspendSpec};
use crate::cli::cluster::managed::{Path, applied_before, managers_of, other_managers_of};
use crate::cli::cluster::owner::Owner;
use crate::cli::error::Error;
use crate::cli::pool::Pool;
use crate::model::{DatabaseType, Seat};

/// Who asked for the last change, as the API server authenticated them. Everyone who may write the resource may write it.
pub const REQUESTED_BY: &str = "lyncmirror.io/requested-by";

/// One changed field of the spec.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Principal(DatabaseType, Seat),
    Approve(DatabaseType, Approve),
    Force(DatabaseType, ForceServiceSpec),
    Suspend(SuspendSpec),
    Resume,
}

/// A part of a manifest, in the order in which a manifest is written.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    spec: Part<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    database_types: Option<[Item<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspend: Option<&'a SuspendSpec>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    #[serde(rename = "type")]
    ty: DatabaseType,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Seat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approve: Option<&'a Approve>,
    #[serde(skip_serializing_if = "Option::is_none")]
    force_service: Option<&'a ForceServiceSpec>,
}

impl Change {
    /// The field as messages name it.
    pub fn field(&self) -> String {
        match self {
            Change::Principal(ty, _) => format!("spec.databaseTypes[{ty}].principal"),
            Change::Approve(ty, _) => format!("spec.databaseTypes[{ty}].approve"),
            Change::Force(ty, _) => format!("spec.databaseTypes[{ty}].forceService"),
            Change::Suspend(_) | Change::Resume => "spec.suspend".to_owned(),
        }
    }

    fn managers(&self, pool: &Pool) -> Vec<String> {
        let managed = pool.resource.as_ref().and_then(|resource| resource.metadata.managed_fields.as_deref());
        let managed = managed.unwrap_or_default();
        let of = |path: Path| managers_of(managed, path);
        match self {
            Change::Principal(ty, _) => of(&["f:spec", "f:databaseTypes", &item_key(*ty), "f:principal"]),
            Change::Approve(ty, _) => of(&["f:spec", "f:databaseTypes", &item_key(*ty), "f:approve"]),
            Change::Force(ty, _) => of(&["f:spec", "f:databaseTypes", &item_key(*ty), "f:forceService"]),
            Change::Suspend(_) | Change::Resume => of(&["f:spec", "f:suspend"]),
        }
    }

    /// The change as a part of the manifest.
    pub fn manifest(&self) -> Manifest<'_> {
        let blank = |ty: &DatabaseType| Item { ty: *ty, principal: None, approve: None, force_service: None };
        fn of_type(item: Item<'_>) -> Manifest<'_> {
            Manifest { spec: Part { database_types: Some([item]), suspend: None } }
        }
        match self {
            Change::Principal(ty, seat) => of_type(Item { principal: Some(*seat), ..blank(ty) }),
            Change::Approve(ty, approve) => of_type(Item { approve: Some(approve), ..blank(ty) }),
            Change::Force(ty, consent) => of_type(Item { force_service: Some(consent), ..blank(ty) }),
            Change::Suspend(suspend) => Manifest { spec: Part { database_types: None, suspend: Some(suspend) } },
            Change::Resume => Manifest { spec: Part { database_types: None, suspend: None } },
        }
    }

    /// The part of `spec.approve` that would stay from another owner, with its managers: an apply removes only own fields.
    fn foreign_end(&self, pool: &Pool) -> Option<(String, Vec<String>)> {
        let Change::Approve(ty, Approve { until: None, .. }) = self else { return None };
        let managed = pool.resource.as_ref().and_then(|resource| resource.metadata.managed_fields.as_deref());
        let path = ["f:spec", "f:databaseTypes", &item_key(*ty), "f:approve", "f:until"];
        let managers = other_managers_of(managed.unwrap_or_default(), &path);
        (!managers.is_empty()).then(|| (format!("{}.until", self.field()), managers))
    }

    /// True if the spec has exactly what this change wants.
    pub fn is_in(&self, spec: &Value) -> bool {
        let item = |ty: &DatabaseType| {
            let items = spec["databaseTypes"].as_array()?;
            items.iter().find(|item| item["type"] == json!(ty))
        };
        fn same<T: DeserializeOwned + PartialEq>(value: &Value, wanted: &T) -> bool {
            serde_json::from_value::<T>(value.clone()).is_ok_and(|found| found == *wanted)
        }
        match self {
            Change::Principal(ty, seat) => item(ty).is_some_and(|item| same(&item["principal"], seat)),
            Change::Approve(ty, approve) => item(ty).is_some_and(|item| same(&item["approve"], approve)),
            Change::Force(ty, consent) => item(ty).is_some_and(|item| same(&item["forceService"], consent)),
            Change::Suspend(suspend) => same(&spec["suspend"], suspend),
            Change::Resume => spec["suspend"].is_null(),
        }
    }

    /// Writes the field into the object of an apply.
    pub fn put(&self, object: &mut Value) {
        match self {
            Change::Principal(ty, seat) => edit_item(object, *ty, |item| {
                item.insert("principal".to_owned(), json!(seat));
                // An approval and a consent were for the former request.
                item.remove("approve");
                item.remove("forceService");
            }),
            Change::Approve(ty, approve) => edit_item(object, *ty, |item| {
                item.insert("approve".to_owned(), json!(approve));
            }),
            Change::Force(ty, consent) => edit_item(object, *ty, |item| {
                item.insert("forceService".to_owned(), json!(consent));
            }),
            Change::Suspend(suspend) => object["spec"]["suspend"] = json!(suspend),
            Change::Resume => {
                if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                    spec.remove("suspend");
                }
            }
        }
    }
}

fn item_key(ty: DatabaseType) -> String {
    format!("k:{{\"type\":\"{ty}\"}}")
}

/// Edits the entry of a type in `spec.databaseTypes` of an apply; a new one if there is none.
fn edit_item(object: &mut Value, ty: DatabaseType, edit: impl FnOnce(&mut Map<String, Value>)) {
    let mut items = match object["spec"]["databaseTypes"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let at = items.iter().position(|item| item["type"] == json!(ty)).unwrap_or(items.len());
    let mut item = match (at < items.len()).then(|| items.remove(at)) {
        Some(Value::Object(item)) => item,
        _ => Map::from_iter([("type".to_owned(), json!(ty))]),
    };
    edit(&mut item);
    items.insert(at, Value::Object(item));
    object["spec"]["databaseTypes"] = Value::Array(items);
}

/// The object of the apply: what was applied before, with these changes. The version makes the API server refuse it if the
/// resource has changed since it was read.
pub fn apply_object(pool: &Pool, changes: &[Change], user: Option<&str>) -> Value {
    let managed = pool.resource.as_ref().and_then(|resource| resource.metadata.managed_fields.as_deref());
    let mut object = applied_before(&pool.object, managed.unwrap_or_default());
    for change in changes {
        change.put(&mut object);
    }
    if let Some(user) = user {
        object["metadata"]["annotations"][REQUESTED_BY] = json!(user);
    } else if pool.object["metadata"]["annotations"].get(REQUESTED_BY).is_some() {
        // The user of the former change is not that of this one. Not removed: the field can be that of another operation.
        object["metadata"]["annotations"][REQUESTED_BY] = json!("");
    }
    for (field, value) in [("apiVersion", &pool.object["apiVersion"]), ("kind", &pool.object["kind"])] {
        object[field] = value.clone();
    }
    for field in ["name", "namespace", "uid", "resourceVersion"] {
        object["metadata"][field] = pool.object["metadata"][field].clone();
    }
    object
}

/// The merge patch of a suspension or its end: an apply does not remove what another manager has, e.g. `stopPolls`.
pub fn merge_patch(pool: &Pool, changes: &[Change], user: Option<&str>) -> Option<Value> {
    let [change] = changes else { return None };
    let suspend = match change {
        Change::Resume => Value::Null,
        Change::Suspend(suspend) => {
            let mut wanted = json!(suspend);
            for field in pool.object["spec"]["suspend"].as_object()?.keys() {
                if wanted.get(field).is_none() {
                    wanted[field] = Value::Null;
                }
            }
            wanted
        }
        _ => return None,
    };
    Some(json!({
        "metadata": {
            "resourceVersion": pool.object["metadata"]["resourceVersion"],
            "annotations": {REQUESTED_BY: user},
        },
        "spec": {"suspend": suspend},
    }))
}

/// # Errors
/// [`Error::Owned`] if an apply would leave a part of the former value of another owner.
pub fn nothing_foreign_stays(pool: &Pool, changes: &[Change]) -> Result<(), Error> {
    match changes.iter().find_map(|change| change.foreign_end(pool)) {
        None => Ok(()),
        Some((field, managers)) => Err(Error::Owned(format!(
            "{field} was set by the field manager {}, and would hold for this approval too. Nothing was changed. To fix: set the end with --for or --until, or remove that field there.",
            managers.join(" and ")
        ))),
    }
}

/// Each changed field with its other owners.
pub fn owners(pool: &Pool, changes: &[Change]) -> Vec<(String, Owner)> {
    let of = |change: &Change| {
        let managers = change.managers(pool).into_iter();
        managers.map(|manager| (change.field(), Owner::of(&manager, &pool.object))).collect::<Vec<_>>()
    };
    changes.iter().flat_map(of).collect()
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
