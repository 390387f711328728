//! The whole world as JSON, for people and tests.

use serde_json::{Value, json};

use super::World;

impl World {
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
                let half = |seat: usize| {
                    let server = mirroring.partners[seat];
                    let row = self.row_at(server, &mirroring.database);
                    json!({
                        "server": self.servers[server].id,
                        "role": row.as_ref().map(|row| if row.role == 1 { "PRINCIPAL" } else { "MIRROR" }),
                        "state": row.as_ref().map(|row| word(row.state)),
                        "roleSequence": row.as_ref().map(|row| row.role_sequence),
                        "serving": mirroring.halves[seat].serving,
                    })
                };
                json!({"pair": mirroring.pair, "database": mirroring.database, "primary": half(0), "mirror": half(1), "moving": mirroring.running.is_some()})
            })
            .collect();
        json!({"millis": self.now.as_millis() as u64, "servers": servers, "databases": databases, "failures": self.failures})
    }
}

pub(super) fn word(state: u8) -> &'static str {
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
