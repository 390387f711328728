//! The catalog views of what a server has outside of its databases: logins, Agent jobs, linked servers, owners.

use super::views::{NAME, table, text};
use super::{Server, same_name};
use crate::sql::engine::Table;
use crate::value::{SqlType, Value};

const SID: SqlType = SqlType::Binary(85);

pub(super) fn principals(server: &Server) -> Table {
    let own = server.logins.iter().map(|login| (login.name.clone(), sid(server, &login.name), login.disabled));
    let more = server.belongings.logins.keys().map(|name| (name.clone(), sid(server, name), false));
    let rows = own.chain(more).zip(257..).map(|((name, sid, disabled), id)| {
        vec![text(name), Value::Int(id), Value::Binary(sid), text("S"), Value::Bit(disabled)]
    });
    let sa = vec![text("sa"), Value::Int(1), Value::Binary(vec![1]), text("S"), Value::Bit(false)];
    table(
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

pub(super) fn servers(server: &Server) -> Table {
    let own = vec![text(&server.name), Value::Int(0), Value::Bit(false)];
    let linked = server.belongings.linked_servers.iter().zip(1..);
    let linked = linked.map(|(name, id)| vec![text(name), Value::Int(id), Value::Bit(true)]);
    table(
        &[("name", NAME, false), ("server_id", SqlType::Int, false), ("is_linked", SqlType::Bit, false)],
        std::iter::once(own).chain(linked).collect(),
    )
}

pub(super) fn jobs(server: &Server) -> Table {
    let rows = server.belongings.jobs.iter().map(|name| vec![text(name), Value::TinyInt(1)]);
    table(&[("name", NAME, false), ("enabled", SqlType::TinyInt, false)], rows.collect())
}

pub(super) fn owner_sid(server: &Server, database: &str) -> Vec<u8> {
    match owner(server, database) {
        Some("") => vec![0xff; 16],
        Some(name) => sid(server, name),
        None => vec![1],
    }
}

pub(super) fn is_trustworthy(server: &Server, database: &str) -> bool {
    server.belongings.trustworthy.iter().any(|name| same_name(name, database))
}

fn owner<'a>(server: &'a Server, database: &str) -> Option<&'a str> {
    let mut owners = server.belongings.owners.iter();
    owners.find(|(name, _)| same_name(name, database)).map(|(_, owner)| owner.as_str())
}

/// As configured, else 16 bytes made of the name: the same on both partners, as after `sp_help_revlogin`.
fn sid(server: &Server, name: &str) -> Vec<u8> {
    if let Some(digits) = server.belongings.logins.get(name) {
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
