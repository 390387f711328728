//! Writes of the verbs into the file of a pool, which stays the one place of the spec.

use serde_json::{Value, json};

use crate::cli::cluster::change::Change;
use crate::cli::cluster::write::{Write, Written};
use crate::cli::direct::session::Direct;
use crate::cli::error::Error;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::direct::Edit;
use crate::model::DatabaseType;

/// Writes the changes into the file, after this check of the pool.
pub fn write_if(
    direct: &Direct<'_>,
    pool: &Pool,
    changes: &[Change],
    how: Write,
    check: &dyn Fn(&Pool) -> Result<(), Error>,
) -> Result<Written, Error> {
    check(pool)?;
    let wanted = wanted(pool, changes);
    if how.dry_run {
        return Ok(Written { pool: as_if(pool, wanted), notes: Vec::new() });
    }
    let shown: Result<Vec<String>, Error> = changes.iter().map(|change| output::yaml(&change.manifest())).collect();
    let edits: Vec<Edit> = changes.iter().flat_map(edits).collect();
    direct.directory.edit(&pool.reference(), &edits, &wanted, shown?.join("---\n").trim_end())?;
    let written = direct.pool(None)?;
    let place = written.origin.as_ref().map(|origin| origin.path.display().to_string()).unwrap_or_default();
    let fields: Vec<String> = changes.iter().map(Change::field).collect();
    let notes = vec![format!("Changed {} in {place}.", fields.join(" and "))];
    Ok(Written { pool: written, notes })
}

/// The spec with the changes.
fn wanted(pool: &Pool, changes: &[Change]) -> Value {
    let mut object = json!({"spec": pool.object["spec"]});
    for change in changes {
        change.put(&mut object);
    }
    object["spec"].take()
}

/// The pool after the changes, without a write.
fn as_if(pool: &Pool, spec: Value) -> Pool {
    let mut object = pool.object.clone();
    if object["spec"] != spec {
        object["metadata"]["generation"] = json!(pool.generation().unwrap_or_default() + 1);
    }
    object["spec"] = spec;
    let mut next = Pool::of_value(object);
    next.origin = pool.origin.clone();
    next
}

fn edits(change: &Change) -> Vec<Edit> {
    let of = |ty: &DatabaseType, field, value| Edit { ty: Some(ty.to_string()), field, value };
    match change {
        Change::Principal(ty, seat) => vec![
            of(ty, "principal", Some(json!(seat))),
            // An approval and a consent were for the former request.
            of(ty, "approve", None),
            of(ty, "forceService", None),
        ],
        Change::Approve(ty, approve) => vec![of(ty, "approve", Some(json!(approve)))],
        Change::Force(ty, consent) => vec![of(ty, "forceService", Some(json!(consent)))],
        Change::Suspend(suspend) => vec![Edit { ty: None, field: "suspend", value: Some(json!(suspend)) }],
        Change::Resume => vec![Edit { ty: None, field: "suspend", value: None }],
    }
}
