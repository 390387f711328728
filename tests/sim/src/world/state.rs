//! The state of the world as JSON, for `GET /state` and error messages of tests.

use serde_json::{Value, json};

use super::World;

impl World {
    /// `millis` since the start, `servers`, `databases` (one entry per mirrored database) and `failures`.
    pub fn state(&self) -> Value {
        let servers: Vec<Value> = self
            .servers
            .iter()
            .map(|server| {
                json!({"id": server.id, "name": server.name, "version": server.version, "reach": server.reach, "endpoint": server.endpoint_state})
            })
            .collect();
        let databases: Vec<Value> = self
            .mirrorings
            .iter()
            .map(|mirroring| {
                let copy = |seat: usize| {
                    let server = mirroring.partners[seat];
                    let row = self.row_at(server, &mirroring.database);
                    json!({
                        "server": self.servers[server].id,
                        "role": row.as_ref().map(|row| if row.role == 1 { "PRINCIPAL" } else { "MIRROR" }),
                        "state": row.as_ref().map(|row| state_desc(row.state)),
                        "roleSequence": row.as_ref().map(|row| row.role_sequence),
                        "serving": mirroring.copies[seat].serving,
                    })
                };
                json!({"pair": mirroring.pair, "database": mirroring.database, "primary": copy(0), "mirror": copy(1), "moving": mirroring.running_failover.is_some()})
            })
            .collect();
        json!({"millis": self.now.as_millis() as u64, "servers": servers, "databases": databases, "failures": self.failures})
    }
}

/// `mirroring_state_desc` for a `mirroring_state`.
pub(super) fn state_desc(state: u8) -> &'static str {
    match state {
        0 => "SUSPENDED",
        1 => "DISCONNECTED",
        2 => "SYNCHRONIZING",
        3 => "PENDING_FAILOVER",
        4 => "SYNCHRONIZED",
        5 => "UNSYNCHRONIZED",
        _ => "UNKNOWN",
    }
}
