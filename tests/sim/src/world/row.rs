//! One row of `sys.database_mirroring` as a sysadmin sees it, with catalog overrides applied.

use super::{Role, Seat, World, other};
use crate::config::Safety;

/// The row of one database. The numbers are those of `sys.database_mirroring`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRow {
    /// `sys.databases.state`.
    pub database_state: u8,
    pub guid: [u8; 16],
    /// 1 principal, 2 mirror.
    pub role: u8,
    /// 0 suspended, 1 disconnected, 2 synchronizing, 3 pending failover, 4 synchronized.
    pub state: u8,
    pub role_sequence: i32,
    /// 1 OFF, 2 FULL.
    pub safety: u8,
    pub safety_sequence: i32,
    /// The address of the partner's endpoint, `TCP://host:port`.
    pub partner_name: String,
    pub partner_instance: String,
    pub witness_name: Option<String>,
    /// 0 unknown, 1 connected, 2 disconnected.
    pub witness_state: Option<u8>,
    pub connection_timeout: i32,
}

impl World {
    /// The row of a database on a server (by id), as a sysadmin reads it; `None` if the mirroring columns are NULL or the
    /// database does not exist.
    pub fn row(&self, server: &str, database: &str) -> Option<MirrorRow> {
        let server = self.find_server(server)?;
        self.row_at(server, database).filter(|_| !self.hides_mirroring(server, database))
    }

    pub(crate) fn row_at(&self, server: usize, database: &str) -> Option<MirrorRow> {
        let (index, seat) = self.find_mirroring(server, database)?;
        let mirroring = &self.mirrorings[index];
        let copy = &mirroring.copies[seat];
        if !copy.mirrored {
            return None;
        }
        let partner = &self.servers[mirroring.partners[other(seat)]];
        let mut row = MirrorRow {
            database_state: self.database_state(server, database),
            guid: mirroring.guid,
            role: if copy.role == Role::Principal { 1 } else { 2 },
            state: mirroring.state(seat, self.now),
            role_sequence: copy.role_sequence,
            safety: if mirroring.safety == Safety::Full { 2 } else { 1 },
            safety_sequence: mirroring.safety_sequence,
            partner_name: partner.endpoint_address.clone(),
            partner_instance: mirroring.partner_instance(seat),
            witness_name: self.witness_name(index),
            connection_timeout: mirroring.connection_timeout,
            witness_state: mirroring.witness_state(seat).or(mirroring.empty_witness_name.then_some(0)),
        };
        if let Some(over) = self.servers[server].catalog_overrides.get(&database.to_lowercase()) {
            row.role = over.role.unwrap_or(row.role);
            row.state = over.state.unwrap_or(row.state);
            row.role_sequence = over.role_sequence.unwrap_or(row.role_sequence);
            row.partner_instance = over.partner_instance.clone().unwrap_or(row.partner_instance);
            row.guid = over.guid.as_deref().and_then(hex).unwrap_or(row.guid);
        }
        Some(row)
    }

    fn witness_name(&self, index: usize) -> Option<String> {
        let mirroring = &self.mirrorings[index];
        let named = mirroring.witness.map(|witness| self.servers[witness].endpoint_address.clone());
        named.or(mirroring.empty_witness_name.then(String::new))
    }

    /// The redo queue of the database on this server, in KB; `None` on a principal.
    pub(crate) fn redo_kb(&self, server: usize, database: &str) -> Option<u64> {
        let (index, seat): (usize, Seat) = self.find_mirroring(server, database)?;
        let mirroring = &self.mirrorings[index];
        mirroring.is_restoring(seat).then(|| mirroring.redo_left_kb(self.now))
    }
}

fn hex(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
