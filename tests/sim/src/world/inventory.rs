//! The catalog views of server-level objects: logins, Agent jobs, linked servers and database owners.

use super::views::{NAME, build_table, nvarchar};
use super::{Server, same_name};
use crate::sql::engine::Table;
use crate::value::{SqlType, Value};

const SID: SqlType = SqlType::Binary(85);

/// `sys.server_principals`: `sa`, then the logins of the configuration, then those of the inventory.
pub(super) fn principals(server: &Server) -> Table {
    let own = server.logins.iter().map(|login| (login.name.clone(), sid(server, &login.name), login.disabled));
    let inventory = server.inventory.logins.keys().map(|name| (name.clone(), sid(server, name), false));
    let rows = own.chain(inventory).zip(257..).map(|((name, sid, disabled), id)| {
        vec![nvarchar(name), Value::Int(id), Value::Binary(sid), nvarchar("S"), Value::Bit(disabled)]
    });
    let sa = vec![nvarchar("sa"), Value::Int(1), Value::Binary(vec![1]), nvarchar("S"), Value::Bit(false)];
    build_table(
        &[
            ("name", NAME, false),
            ("principal_id", SqlType::Int, false),
            ("sid", SID, true),
            ("type", SqlType::NVarChar(1), false),
            ("is_disabled", SqlType::Bit, true),
        ],
        std::iter::once(sa).chain(rows).collect(),
    )
}

/// `sys.servers`: the server itself, then its linked servers.
pub(super) fn servers(server: &Server) -> Table {
    let own = vec![nvarchar(&server.name), Value::Int(0), Value::Bit(false)];
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

/// The configured SID, or 16 bytes derived from the name. A derived SID is equal on both partners, as after
/// `sp_help_revlogin`.
fn sid(server: &Server, name: &str) -> Vec<u8> {
    if let Some(digits) = server.inventory.logins.get(name) {
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        return (0..digits.len()).step_by(2).map_while(byte).collect();
    }
    if same_name(name, "sa") {
        return vec![1];
    }
    let mut sid: Vec<u8> = name.to_lowercase().bytes().chain(std::iter::repeat(0x5a)).take(16).collect();
    sid[15] = 0x01;
    sid
}
