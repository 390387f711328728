//! One row of the mirroring catalog, typed, as a sysadmin sees it; lies included.

use super::{Role, Seat, World, other};
use crate::config::Safety;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRow {
    /// `sys.databases.state`.
    pub database_state: u8,
    pub guid: [u8; 16],
    pub role: u8,
    pub state: u8,
    pub role_sequence: i32,
    pub safety: u8,
    pub safety_sequence: i32,
    pub partner_name: String,
    pub partner_instance: String,
    pub witness_name: Option<String>,
    pub witness_state: Option<u8>,
}

impl World {
    /// None: no such database, or not mirrored on this server.
    pub fn row(&self, server: &str, database: &str) -> Option<MirrorRow> {
        self.row_at(self.find_server(server)?, database)
    }

    pub(crate) fn row_at(&self, server: usize, database: &str) -> Option<MirrorRow> {
        let (index, seat) = self.find_mirroring(server, database)?;
        let mirroring = &self.mirrorings[index];
        let half = &mirroring.halves[seat];
        if !half.mirrored {
            return None;
        }
        let partner = &self.servers[mirroring.partners[other(seat)]];
        let mut row = MirrorRow {
            database_state: self.database_state(server, database),
            guid: mirroring.guid,
            role: if half.role == Role::Principal { 1 } else { 2 },
            state: mirroring.state(seat, self.now),
            role_sequence: half.role_sequence,
            safety: if mirroring.safety == Safety::Full { 2 } else { 1 },
            safety_sequence: mirroring.safety_sequence,
            partner_name: partner.endpoint_address.clone(),
            partner_instance: partner.name.clone(),
            witness_name: self.witness_name(index),
            witness_state: mirroring.witness_state(seat).or(mirroring.empty_witness_name.then_some(0)),
        };
        if let Some(lie) = self.servers[server].lies.get(&database.to_lowercase()) {
            row.role = lie.role.unwrap_or(row.role);
            row.state = lie.state.unwrap_or(row.state);
            row.role_sequence = lie.role_sequence.unwrap_or(row.role_sequence);
            row.partner_instance = lie.partner_instance.clone().unwrap_or(row.partner_instance);
            row.guid = lie.guid.as_deref().and_then(hex).unwrap_or(row.guid);
        }
        Some(row)
    }

    fn witness_name(&self, index: usize) -> Option<String> {
        let mirroring = &self.mirrorings[index];
        let named = mirroring.witness.map(|witness| self.servers[witness].endpoint_address.clone());
        named.or(mirroring.empty_witness_name.then(String::new))
    }

    /// What the mirror in this seat has still to redo; nothing on a principal.
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
