//! The read-only batch that reads the server-level objects, and its rows as [`ServerInventory`]. `inventory_diff`
//! compares two inventories.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use tiberius::Row;

use crate::model::{DatabaseCopy, DatabaseName, ServerInventory, ServerLogin, Unavailable};
use crate::sql::column::{self, bytes, integer, required};
use crate::sql::error::{self, Phase};
use crate::sql::logins_by_sid::first_by_sid;
use crate::sql::session::{Failure, Session};

/// Legal from SQL Server 2008 R2 on ("sys.server_principals", "sys.sql_logins", "dbo.sysjobs", "sys.servers",
/// "sys.databases", "sys.server_role_members", "sys.dm_os_cluster_nodes"). It reads no password hash.
pub const INVENTORY: &str = include_str!("inventory.sql");

/// Reads the inventory of one server over a session of its own.
///
/// # Errors
/// The cause for which the server is unavailable.
pub async fn read_inventory(
    session: Session,
    address: &str,
    deadline: Duration,
) -> Result<ServerInventory, Unavailable> {
    let failed = |failure: Failure| failure.unavailable(address, deadline);
    let (_, results) = session.query(INVENTORY, deadline).await.map_err(failed)?;
    read(&results).map_err(|what| error::protocol_error(address, Phase::Poll, what))
}

fn read(results: &[Vec<Row>]) -> Result<ServerInventory, String> {
    let [properties, logins, jobs, linked, databases, roles, nodes] = results else {
        return Err(format!("{} result sets instead of 7", results.len()));
    };
    let [properties] = properties.as_slice() else { return Err("not one row of server properties".into()) };
    let name = |row: &Row| required(column::name(row, "name")?, "name");
    let server = required(column::name(properties, "server_name")?, "server_name")?;
    let mut by_name = BTreeMap::new();
    for row in logins {
        let login = ServerLogin {
            sid: bytes(row, "sid")?.unwrap_or_default(),
            is_sql: column::name(row, "type")?.is_some_and(|kind| kind.trim() == "S"),
            disabled: integer(row, "is_disabled")? == Some(1),
            default_database: column::name(row, "default_database_name")?,
            policy_checked: integer(row, "is_policy_checked")?.map(|checked| checked == 1),
            server_roles: BTreeSet::new(),
        };
        by_name.insert(name(row)?, login);
    }
    for row in roles {
        let role = required(column::name(row, "server_role")?, "server_role")?;
        if let Some(login) = by_name.get_mut(&name(row)?) {
            login.server_roles.insert(role);
        }
    }
    let copies = databases.iter().map(|row| {
        let copy = DatabaseCopy {
            owner_sid: bytes(row, "owner_sid")?.unwrap_or_default(),
            owner: None,
            trustworthy: integer(row, "is_trustworthy_on")? == Some(1),
            chaining: integer(row, "is_db_chaining_on")? == Some(1),
            compatibility: integer(row, "compatibility_level")?.unwrap_or_default(),
        };
        Ok((DatabaseName::new(name(row)?), copy))
    });
    let mut copies = copies.collect::<Result<_, String>>()?;
    name_owners(&mut copies, &by_name);
    let jobs = jobs.iter().map(|row| Ok((name(row)?, integer(row, "enabled")? == Some(1))));
    let jobs = jobs.collect::<Result<BTreeMap<_, _>, String>>()?;
    let linked_servers = linked.iter().map(name).collect::<Result<BTreeSet<_>, String>>()?;
    // The accounts of a node of a failover cluster exist on this node only.
    let mut machines = nodes.iter().map(name).collect::<Result<Vec<_>, String>>()?;
    machines.push(server.split('\\').next().unwrap_or(&server).to_owned());
    let local = local_domains(&machines);
    by_name.retain(|login, _| !is_machine_local(login, &local));
    Ok(ServerInventory {
        own_login: column::name(properties, "own_login")?.unwrap_or_default(),
        version: column::name(properties, "product_version")?.unwrap_or_default(),
        edition: column::name(properties, "edition")?.unwrap_or_default(),
        server,
        logins: by_name,
        jobs,
        linked_servers,
        copies,
    })
}

/// Sets the owner of each copy: the first login by name with its SID.
fn name_owners(copies: &mut BTreeMap<DatabaseName, DatabaseCopy>, logins: &BTreeMap<String, ServerLogin>) {
    let owners = first_by_sid(logins.iter());
    for copy in copies.values_mut() {
        copy.owner = owners.get(copy.owner_sid.as_slice()).map(|(name, _)| (*name).clone());
    }
}

/// The domains of the logins that exist on one machine only, in lower case.
fn local_domains(machines: &[String]) -> HashSet<String> {
    let windows = ["NT SERVICE", "NT AUTHORITY", "BUILTIN"];
    machines.iter().map(String::as_str).chain(windows).map(str::to_ascii_lowercase).collect()
}

/// Whether a login belongs to SQL Server or to the machine. Such logins differ between servers by design.
fn is_machine_local(login: &str, local: &HashSet<String>) -> bool {
    let Some((domain, _)) = login.split_once('\\') else { return login.starts_with("##") };
    local.contains(&domain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_machine_local_recognizes_logins_of_the_machine() {
        let machines = local_domains(&["SQL-A", "NODE1"].map(str::to_owned));
        for local in [
            "##MS_PolicyEventProcessingLogin##",
            "NT SERVICE\\MSSQL$RTC",
            "SQL-A\\Administrator",
            "builtin\\Users",
            "node1\\x",
        ] {
            assert!(is_machine_local(local, &machines), "{local}");
        }
        for shared in ["sa", "CONTOSO\\RTCComponentUniversalServices", "backup"] {
            assert!(!is_machine_local(shared, &machines), "{shared}");
        }
    }

    fn login(sid: &[u8]) -> ServerLogin {
        ServerLogin {
            sid: sid.to_vec(),
            is_sql: true,
            disabled: false,
            default_database: None,
            policy_checked: None,
            server_roles: BTreeSet::new(),
        }
    }

    fn owned_by(sid: &[u8]) -> DatabaseCopy {
        DatabaseCopy { owner_sid: sid.to_vec(), owner: None, trustworthy: false, chaining: false, compatibility: 110 }
    }

    #[test]
    fn owner_is_the_first_login_by_name_with_the_sid() {
        let logins = [("b", [7].as_slice()), ("a", &[7]), ("c", &[8]), ("hidden", &[])];
        let logins = logins.map(|(name, sid)| (name.to_owned(), login(sid))).into();
        for (sid, expected) in [([7].as_slice(), Some("a")), (&[8], Some("c")), (&[9], None), (&[], None)] {
            let mut copies = [(DatabaseName::new("rtcxds"), owned_by(sid))].into();
            name_owners(&mut copies, &logins);
            assert_eq!(copies[&DatabaseName::new("rtcxds")].owner.as_deref(), expected, "{sid:?}");
        }
    }

    /// A search of every login for each database would take minutes.
    #[test]
    fn owners_of_many_databases_are_found_among_many_logins() {
        let logins =
            (0..50_000_u32).map(|number| (format!("login {number:05}"), login(&number.to_be_bytes()))).collect();
        let last = 49_999_u32.to_be_bytes();
        let copies = (0..20_000).map(|number| (DatabaseName::new(format!("database {number}")), owned_by(&last)));
        let mut copies: BTreeMap<_, _> = copies.collect();
        name_owners(&mut copies, &logins);
        assert_eq!(copies.len(), 20_000);
        assert!(copies.values().all(|copy| copy.owner.as_deref() == Some("login 49999")));
    }

    /// A comparison of every login with each node would take minutes.
    #[test]
    fn logins_of_many_machines_are_recognized_among_many_nodes() {
        let nodes: Vec<String> = (0..50_000).map(|number| format!("NODE{number}")).collect();
        let local = local_domains(&nodes);
        let kept = (0..50_000).filter(|number| !is_machine_local(&format!("node{}\\x", number + 1), &local));
        assert_eq!(kept.collect::<Vec<_>>(), [49_999]);
    }
}
