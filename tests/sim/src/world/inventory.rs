//! The catalog views of server-level objects: logins, Agent jobs, linked servers and database owners.

use super::build::guid_from_name;
use super::views::{NAME, build_table, nvarchar};
use super::{Server, same_name};
use crate::sql::engine::Table;
use crate::value::{SqlType, Value};

const SID: SqlType = SqlType::Binary(85);

/// The principal_id of `sysadmin`, and of the first login after the one with SID 0x01.
const SYSADMIN: i32 = 3;
const FIRST: i32 = 257;

/// The fixed server roles; the first has the principal_id 3.
pub(super) const FIXED_ROLES: [&str; 8] =
    ["sysadmin", "securityadmin", "serveradmin", "setupadmin", "processadmin", "diskadmin", "dbcreator", "bulkadmin"];

/// The principal ids of the Windows logins.
pub(super) fn windows_logins(server: &Server) -> Vec<i32> {
    let logins = server.logins.iter().zip(FIRST..);
    logins.filter(|(login, _)| is_windows(server, &login.name)).map(|(_, id)| id).collect()
}

/// The principal id of a login.
fn login_id(server: &Server, name: &str) -> Option<i32> {
    let own = server.logins.iter().map(|login| login.name.as_str());
    let all = own.chain(server.inventory.logins.keys().map(String::as_str)).zip(FIRST..);
    all.into_iter().find(|(login, _)| same_name(login, name)).map(|(_, id)| id)
}

/// `sys.server_principals`: the login with SID 0x01, the fixed roles, then the logins of the configuration, then those of
/// the inventory.
pub(super) fn principals(server: &Server) -> Table {
    let own = server.logins.iter().map(|login| (login.name.clone(), sid(server, &login.name), login.disabled));
    let inventory = server.inventory.logins.keys().map(|name| (name.clone(), sid(server, name), false));
    let rows = own.chain(inventory).zip(FIRST..).map(|((name, sid, disabled), id)| {
        let ty = nvarchar(if is_windows(server, &name) { "U" } else { "S" });
        vec![nvarchar(name), Value::Int(id), Value::Binary(sid), ty, Value::Bit(disabled), nvarchar("master")]
    });
    let fixed = |name: &str, id: i32, sid: u8, kind: &str| {
        let sid = Value::Binary(vec![sid]);
        vec![nvarchar(name), Value::Int(id), sid, nvarchar(kind), Value::Bit(false), nvarchar("master")]
    };
    let roles = FIXED_ROLES.iter().zip(3u8..).map(|(role, id)| fixed(role, i32::from(id), id, "R"));
    let fixed = std::iter::once(fixed(sa_name(server), 1, 1, "S")).chain(roles);
    build_table(
        &[
            ("name", NAME, false),
            ("principal_id", SqlType::Int, false),
            ("sid", SID, true),
            ("type", SqlType::Char(1), false),
            ("is_disabled", SqlType::Bit, true),
            ("default_database_name", NAME, true),
        ],
        fixed.chain(rows).collect(),
    )
}

/// `sys.server_role_members`.
pub(super) fn role_members(server: &Server) -> Table {
    let members = server.logins.iter().zip(FIRST..).filter(|(login, _)| login.sysadmin).map(|(_, id)| id);
    let sysadmins = std::iter::once(1).chain(members).map(|id| (SYSADMIN, id));
    let others = FIXED_ROLES.iter().zip(SYSADMIN..).flat_map(|(role, id)| {
        let members = server.inventory.roles.get(*role).into_iter().flatten();
        members.filter_map(move |member| Some((id, login_id(server, member)?)))
    });
    let rows = sysadmins.chain(others).map(|(role, member)| vec![Value::Int(role), Value::Int(member)]);
    build_table(
        &[("role_principal_id", SqlType::Int, false), ("member_principal_id", SqlType::Int, false)],
        rows.collect(),
    )
}

/// `sys.sql_logins`: every login checks the password policy.
pub(super) fn sql_logins(server: &Server) -> Table {
    let count = i32::try_from(server.logins.len() + server.inventory.logins.len()).unwrap_or(i32::MAX - FIRST);
    let rows = std::iter::once(1).chain(FIRST..FIRST + count).map(|id| vec![Value::Int(id), Value::Bit(true)]);
    build_table(&[("principal_id", SqlType::Int, false), ("is_policy_checked", SqlType::Bit, true)], rows.collect())
}

/// `sys.servers`: the server itself, then its linked servers.
pub(super) fn servers(server: &Server) -> Table {
    let own = vec![nvarchar(&server.registered_name), Value::Int(0), Value::Bit(false)];
    let linked = server.inventory.linked_servers.iter().zip(1..);
    let linked = linked.map(|(name, id)| vec![nvarchar(name), Value::Int(id), Value::Bit(true)]);
    build_table(
        &[("name", NAME, false), ("server_id", SqlType::Int, false), ("is_linked", SqlType::Bit, false)],
        std::iter::once(own).chain(linked).collect(),
    )
}

/// `msdb.dbo.sysjobs`: the enabled Agent jobs.
pub(super) fn jobs(server: &Server) -> Table {
    let rows = server.inventory.jobs.iter().map(|name| vec![nvarchar(name), Value::TinyInt(1)]);
    build_table(&[("name", NAME, false), ("enabled", SqlType::TinyInt, false)], rows.collect())
}

/// `sys.databases.owner_sid`. A database without a configured owner belongs to `sa`.
pub(super) fn owner_sid(server: &Server, database: &str) -> Vec<u8> {
    match owner(server, database) {
        Some("") => vec![0xff; 16],
        Some(name) => sid(server, name),
        None => vec![1],
    }
}

pub(super) fn is_trustworthy(server: &Server, database: &str) -> bool {
    server.inventory.trustworthy.iter().any(|name| same_name(name, database))
}

fn owner<'a>(server: &'a Server, database: &str) -> Option<&'a str> {
    let mut owners = server.inventory.owners.iter();
    owners.find(|(name, _)| same_name(name, database)).map(|(_, owner)| owner.as_str())
}

fn sa_name(server: &Server) -> &str {
    server.inventory.sa_name.as_deref().unwrap_or("sa")
}

fn is_windows(server: &Server, name: &str) -> bool {
    name.contains('\\') && server.find_login(name).is_none_or(|login| login.password.is_none())
}

/// The configured SID, or one of 16 bytes that differs between servers, as `CREATE LOGIN` without SID makes it. A
/// Windows login without a configured SID has the same on all servers: its domain assigns it.
pub(super) fn sid(server: &Server, name: &str) -> Vec<u8> {
    let configured = server.inventory.logins.get(name).or(server.find_login(name).and_then(|login| login.sid.as_ref()));
    if let Some(sid) = configured.map(|digits| hex_bytes(digits)) {
        return sid;
    }
    if same_name(name, sa_name(server)) {
        return vec![1];
    }
    let folded = name.to_lowercase();
    if is_windows(server, name) {
        // S-1-5-21-x-y-z-rid
        let mut sid = vec![1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0];
        sid.extend(guid_from_name(folded.split('\\').next().unwrap_or_default()).iter().take(12));
        sid.extend(guid_from_name(&folded).iter().take(4));
        return sid;
    }
    guid_from_name(&format!("{}/{folded}", server.id)).to_vec()
}

pub(super) fn hex_bytes(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map_while(byte).collect()
}
