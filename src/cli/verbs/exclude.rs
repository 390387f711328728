//! `--exclude-database`, as -ExcludeDatabaseList of Invoke-CsDatabaseFailover. The spec decides what moves: a type moves with all
//! databases that the spec gives it, and with no other one.

use serde_json::json;

use crate::api::parse;
use crate::cli::error::Error;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::model::{DatabaseName, DatabaseType};

/// # Errors
/// [`Error::Impossible`] if a database of these names would move, with the change of the spec that leaves it out, and if none of
/// them is known, as it can be misspelled.
pub fn check(pool: &Pool, types: &[DatabaseType], excluded: &[String]) -> Result<(), Error> {
    let desired = parse(pool.readable()?).desired.types;
    let named: Vec<DatabaseName> = excluded.iter().map(DatabaseName::new).collect();
    for of in desired.iter().filter(|of| types.contains(&of.ty)) {
        let (moving, rest): (Vec<_>, Vec<_>) = of.databases.iter().partition(|name| named.contains(name));
        if let Some(name) = moving.first() {
            return Err(moves(of.ty, name, &rest)?);
        }
    }
    let elsewhere = desired.iter().flat_map(|of| &of.databases);
    let unmanaged = pool.status.unmanaged_databases.iter().map(|found| DatabaseName::new(&found.name));
    let known: Vec<DatabaseName> = elsewhere.cloned().chain(unmanaged).collect();
    match named.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Error::Impossible(format!(
            "No mirrored database {name} is known on the servers of {}. Nothing was changed. To fix: correct the name, or leave --exclude-database out: only the databases of the spec move.",
            pool.reference()
        ))),
    }
}

fn moves(ty: DatabaseType, name: &DatabaseName, rest: &[&DatabaseName]) -> Result<Error, Error> {
    let what = format!(
        "{ty} moves with all of its databases, and {name} is one of them: left behind, it would split the type. Nothing was changed."
    );
    if rest.is_empty() {
        return Ok(Error::Impossible(format!("{what} To fix: leave {ty} out of --database-type.")));
    }
    let names: Vec<&str> = rest.iter().map(|name| name.as_str()).collect();
    let part = output::yaml(&json!({"spec": {"databaseTypes": [{"type": ty, "databases": names}]}}))?;
    Ok(Error::Impossible(format!(
        "{what} To fix: if {name} is no part of the type, make this change of the spec, then repeat the command; {name} is not watched any more then.\n\n{}",
        part.trim_end()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::Passes;

    const USER: [DatabaseType; 1] = [DatabaseType::User];

    fn refused(pool: &Pool, name: &str) -> String {
        check(pool, &USER, &[name.to_owned()]).unwrap_err().to_string()
    }

    #[test]
    fn database_of_the_type_is_not_excluded_and_the_change_of_the_spec_is_named() {
        let pool = Passes::new().pass("P/4/C", "M/4/C").pool();
        let text = refused(&pool, "RTCAB");
        assert!(text.starts_with("User moves with all of its databases, and rtcab is one of them"), "{text}");
        assert!(text.contains("type: User") && text.contains("- rtcxds") && !text.contains("- rtcab"), "{text}");
        let alone = Passes::new().edit(|spec| spec["databaseTypes"][0]["databases"] = json!(["rtcab"])).pool();
        assert!(refused(&alone, "rtcab").contains("To fix: leave User out of --database-type."));
    }

    #[test]
    fn database_that_the_spec_leaves_out_stays_where_it_is_and_an_unknown_one_is_an_error() {
        let mut pool = Passes::new().pass("P/4/C", "M/4/C").pool();
        assert!(refused(&pool, "rtcap").starts_with("No mirrored database rtcap is known on the servers of "));
        let found = json!([{"name": "rtcap", "hint": ""}]);
        pool.status.unmanaged_databases = serde_json::from_value(found).unwrap();
        assert!(check(&pool, &USER, &["RtcAp".to_owned()]).is_ok());
        assert!(check(&pool, &USER, &[]).is_ok());
    }
}
