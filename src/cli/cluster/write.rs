//! Writes of the verbs: by server-side apply, under one field manager, never silently against another owner.

use crate::cli::cluster::change::{Change, apply_object, merge_patch, nothing_foreign_stays, owners};
use crate::cli::cluster::client::Cluster;
use crate::cli::cluster::managed::MANAGER;
use crate::cli::cluster::owner::Owner;
use crate::cli::error::Error;
use crate::cli::interrupt;
use crate::cli::output;
use crate::cli::pool::Pool;
use kube::api::{Patch, PatchParams, ValidationDirective};

const WHAT: &str = "lyncpoolmirrors.lyncmirror.io";

/// The operator writes the status between the read and the write, which costs a further attempt.
const ATTEMPTS: usize = 8;

/// How a change is written.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    /// Take a field that another tool owns.
    pub override_owner: bool,
    /// The API server checks the change and stores nothing.
    pub dry_run: bool,
}

/// The resource after the write, and what the administrator should know about it.
pub struct Written {
    pub pool: Pool,
    pub notes: Vec<String>,
}

impl Written {
    /// Prints the notes, and after a dry run that nothing was changed.
    pub fn print_notes(&self, how: Write) {
        self.notes.iter().for_each(|line| output::note(line));
        if how.dry_run {
            output::note("Nothing was changed (--what-if).");
        }
    }
}

/// Writes the changes to the present version of the resource, if it passes this check.
///
/// # Errors
/// [`Error::Owned`] if another tool owns a field, and the errors of the API server.
pub async fn write_if(
    cluster: &Cluster,
    pool: &Pool,
    changes: &[Change],
    how: Write,
    check: &dyn Fn(&Pool) -> Result<(), Error>,
) -> Result<Written, Error> {
    let seen = pool;
    let api = cluster.pools(&pool.namespace);
    let user = cluster.user().await;
    let mut pool = pool.clone();
    for _ in 0..ATTEMPTS {
        pool.readable()?;
        check(&pool)?;
        let owners = owners(&pool, changes);
        let notes = permitted(&owners, changes, how.override_owner)?;
        nothing_foreign_stays(&pool, changes)?;
        let mut params =
            PatchParams { dry_run: how.dry_run, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = match merge_patch(&pool, changes, user.as_deref()) {
            Some(patch) => Patch::Merge(patch),
            None => {
                // The owners were checked above for exactly this version.
                params.force = true;
                params.field_validation = Some(ValidationDirective::Strict);
                Patch::Apply(apply_object(&pool, changes, user.as_deref()))
            }
        };
        let patched = tokio::select! {
            patched = api.patch(&pool.name, &params, &patch) => patched,
            () = interrupt::requested() => return Err(unknown_end(&pool, how)),
        };
        match patched {
            Ok(object) => return Ok(Written { pool: as_wanted(Pool::new(&object)?, changes)?, notes }),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let present = api.get(&pool.name).await.map_err(|error| Error::of_request(error, "get", WHAT))?;
                pool = same_spec(seen, Pool::new(&present)?)?;
            }
            Err(error) => return Err(Error::of_request(error, "patch", WHAT)),
        }
    }
    Err(Error::Busy)
}

/// The request is on its way: the API server can have stored the change.
fn unknown_end(pool: &Pool, how: Write) -> Error {
    if how.dry_run {
        return Error::Interrupted;
    }
    Error::Unproven(format!(
        "Interrupted during the write: it is not known whether the change of {} was written. To fix: read its state.",
        pool.reference()
    ))
}

/// # Errors
/// [`Error::Unproven`] if the API server stored another value than the change wants.
fn as_wanted(stored: Pool, changes: &[Change]) -> Result<Pool, Error> {
    match changes.iter().find(|change| !change.is_in(&stored.object["spec"])) {
        None => Ok(stored),
        Some(change) => Err(Error::Unproven(format!(
            "{} of {} has another value after the write than the command wanted: another tool or a webhook changes it. To fix: read it with kubectl get lpm {} -n {} -o yaml --show-managed-fields.",
            change.field(),
            stored.reference(),
            stored.name,
            stored.namespace
        ))),
    }
}

/// The present version, if only its status changed since the administrator saw it.
fn same_spec(seen: &Pool, present: Pool) -> Result<Pool, Error> {
    let is_same = seen.uid() == present.uid() && seen.generation() == present.generation();
    if is_same { Ok(present) } else { Err(Error::Changed { pool: present.reference() }) }
}

/// What the administrator should know about the other owners.
///
/// # Errors
/// [`Error::Owned`] if a tool owns a field, unless that is overridden.
fn permitted(owners: &[(String, Owner)], changes: &[Change], is_overridden: bool) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    for (field, owner) in owners {
        match owner {
            Owner::Tool(who) if !is_overridden => {
                let manifests: Vec<String> = changes.iter().map(git).collect::<Result<_, _>>()?;
                return Err(Error::Owned(format!(
                    "{field} belongs to {who}, which can restore its value. Nothing was changed. To fix: make this change there, or repeat the command with --override.\n\n{}",
                    manifests.join("---\n").trim_end()
                )));
            }
            Owner::Tool(who) => notes.push(format!("{field} belonged to {who}, which can restore its value: change it there too.")),
            Owner::File(manager) => notes.push(format!(
                "{field} was set by kubectl apply (field manager {manager}): change it in that file too, or the next apply restores it."
            )),
            Owner::Administrator(_) => {}
        }
    }
    notes.dedup();
    Ok(notes)
}

/// The change as a part of the manifest, for Git.
fn git(change: &Change) -> Result<String, Error> {
    if *change == Change::Resume {
        return Ok("# Remove this from the manifest:\nspec:\n  suspend: ...\n".to_owned());
    }
    output::yaml(&change.manifest())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixtures::Passes;
    use crate::model::{DatabaseType, Seat};

    #[test]
    fn write_goes_on_only_with_the_spec_that_was_seen() {
        let seen = Passes::new().pass("P/4/C", "M/4/C");
        let status_changed = Passes::new().pass("P/4/C", "away").pool();
        assert!(same_spec(&seen.pool(), status_changed.clone()).is_ok());
        let mut created_anew = status_changed;
        created_anew.object["metadata"]["uid"] = json!("uid-2");
        for other in [created_anew, Passes::new().edit(|_| ()).pool()] {
            let refused = same_spec(&seen.pool(), other).err().unwrap();
            assert!(refused.to_string().starts_with("The spec of lync/pool01 changed since it was read"), "{refused}");
        }
    }

    #[test]
    fn permitted_refuses_a_tool_and_prints_the_change_for_git() {
        let change = [Change::Principal(DatabaseType::User, Seat::Mirror)];
        let field = change[0].field();
        let tool = [(
            field.clone(),
            Owner::Tool("the Argo CD application pools (field manager argocd-controller)".to_owned()),
        )];
        let refused = permitted(&tool, &change, false).unwrap_err();
        assert_eq!(refused.exit().code(), 2);
        expect_test::expect![[r#"
            spec.databaseTypes[User].principal belongs to the Argo CD application pools (field manager argocd-controller), which can restore its value. Nothing was changed. To fix: make this change there, or repeat the command with --override.

            spec:
              databaseTypes:
              - type: User
                principal: Mirror"#]]
        .assert_eq(&refused.to_string());
        assert_eq!(permitted(&tool, &change, true).unwrap().len(), 1);
        let file = [(field.clone(), Owner::File("kubectl".to_owned()))];
        assert_eq!(permitted(&file, &change, false).unwrap().len(), 1);
        let administrator = [(field, Owner::Administrator("kubectl-edit".to_owned()))];
        assert_eq!(permitted(&administrator, &change, false).unwrap(), [""; 0]);
    }
}
