//! The memory of the observations that the operator keeps between polls, over the whole process: all databases and witness
//! sessions of each server, because the monitor does not know which of them a resource names.

use std::sync::Arc;

use crate::model::{Database, DatabaseName, MemoryShare, MirroringEndpoint, Server, Witnessed};
use crate::sql::memory_budget::{Exhausted, MemoryBudget, Size};

/// A namespace that is alone keeps 15 MiB: 40,000 databases on many servers, or two partners with 10,000 each, as the previous
/// observation of a server still exists while the next one is read. A pool needs less than `always`.
const SIZE: Size = Size { total: 32 << 20, reserve: 2 << 20, floor: 256 << 10, always: 8 << 10, step: 1 };

/// The part of a row in the links and the free places of a tree with full nodes.
const LINKS: usize = 24;
const DATABASE: usize = size_of::<DatabaseName>() + size_of::<Database>() + LINKS;
/// The server itself, its counters of references and its share.
const SERVER: usize = size_of::<Server>() + 128;

/// The memory of all observations; cheap to clone.
#[derive(Debug, Clone)]
pub struct ObservationMemory(MemoryBudget);

impl Default for ObservationMemory {
    fn default() -> Self {
        Self(MemoryBudget::new(SIZE))
    }
}

impl ObservationMemory {
    /// The server with its share, which it has until its last copy is dropped. A former observation has a share of its own.
    ///
    /// # Errors
    /// Why the namespace cannot keep the server.
    pub fn keep(&self, namespace: &Arc<str>, mut server: Server) -> Result<Arc<Server>, Exhausted> {
        let mut share = self.0.begin(namespace);
        share.grow(cost(&server))?;
        server.memory = MemoryShare::new(share);
        Ok(Arc::new(server))
    }

    /// A budget of a part of the usual size, for a test with short responses.
    #[cfg(test)]
    pub fn divided(by: usize) -> Self {
        Self(MemoryBudget::new(Size { total: SIZE.total / by, reserve: SIZE.reserve / by, ..SIZE }))
    }

    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.0.taken()
    }
}

/// The size of the block that an allocator makes for a text.
fn text(text: &str) -> usize {
    if text.is_empty() { 0 } else { (text.len() + 8).next_multiple_of(16).max(32) }
}

/// About the bytes that the server takes. The texts have no spare capacity, because `column` copies them.
fn cost(server: &Server) -> usize {
    let Server { name, local_name, version, edition, login, endpoint, databases, witnessed, stale_login, .. } = server;
    let endpoint = endpoint.as_ref().map_or("", |MirroringEndpoint { name, .. }| name);
    let stale_login = stale_login.as_ref().map_or("", |unavailable| &unavailable.detail);
    let local_name = local_name.as_deref().unwrap_or_default();
    let own = [name, local_name, version, edition, login, endpoint, stale_login].into_iter().map(text).sum::<usize>();
    let databases = databases.iter().map(|(name, Database { mirroring, .. })| {
        let mirroring = mirroring
            .as_ref()
            .map_or(0, |row| text(&row.partner_name) + text(&row.partner_instance) + text(&row.witness_name));
        DATABASE + text(name.as_str()) + mirroring
    });
    let witnessed = witnessed.iter().map(|Witnessed { database, principal, mirror, .. }| {
        size_of::<Witnessed>() + text(database.as_str()) + text(principal) + text(mirror)
    });
    SERVER + own + databases.sum::<usize>() + witnessed.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{DatabaseState, Guid, Mirroring, MirroringState, Role, Safety, WitnessLink};

    fn mirroring() -> Mirroring {
        Mirroring {
            guid: Guid::from_bytes([7; 16]),
            state: MirroringState::Synchronized,
            role: Role::Principal,
            role_sequence: 1,
            safety: Safety::Full,
            partner_name: "TCP://sql-b.contoso.com:5022".to_owned(),
            partner_instance: "SQL-B\\RTC".to_owned(),
            witness: WitnessLink::Connected,
            witness_name: "TCP://sql-w.contoso.com:5022".to_owned(),
        }
    }

    /// With so many mirrored databases.
    fn server(databases: usize) -> Server {
        let database = Database {
            state: DatabaseState::Online,
            mirroring: Some(mirroring()),
            redo_queue_kb: Some(0),
            send_queue_kb: Some(0),
            redone_bytes: Some(0),
            redo_rate_kb: None,
        };
        let rows = (0..databases).map(|at| (DatabaseName::new(format!("database{at:05}")), database.clone()));
        Server {
            name: "SQL-A\\RTC".to_owned(),
            local_name: None,
            version: "11.0.7001.0".to_owned(),
            edition: "Standard Edition".to_owned(),
            login: "lync".to_owned(),
            sysadmin: true,
            view_server_state: true,
            view_any_database: true,
            endpoint: None,
            databases: rows.collect::<BTreeMap<_, _>>(),
            witnessed: Vec::new(),
            stale_login: None,
            memory: MemoryShare::default(),
        }
    }

    #[test]
    fn keep_of_honest_servers_of_one_namespace_is_granted() {
        let memory = ObservationMemory::default();
        let lync = "lync".into();
        let keep = |databases: usize| memory.keep(&lync, server(databases));
        let pool: Vec<_> = (0..1000).map(|_| keep(15)).collect();
        assert!(pool.iter().all(Result::is_ok) && memory.taken() == 0, "the databases of a pool need no share");
        let many: Vec<_> = (0..200).map(|_| keep(100)).collect();
        assert!(many.iter().all(Result::is_ok), "200 servers with 100 databases each: {}", memory.taken());
        let again = (keep(100), keep(100));
        assert!(again.0.is_ok() && again.1.is_ok(), "the next observations beside the former ones");
        drop((many, again));
        // Both partners, each with the observation that is replaced.
        let partners: Vec<_> = (0..4).map(|_| keep(10_000)).collect();
        assert!(partners.iter().all(Result::is_ok), "10,000 databases: {}", cost(&server(10_000)));
        drop(partners);
        assert_eq!(memory.taken(), 0);
    }

    #[test]
    fn share_of_an_observation_ends_with_its_last_copy() {
        let memory = ObservationMemory::default();
        let kept = memory.keep(&"lync".into(), server(100)).unwrap();
        let taken = memory.taken();
        assert!(taken > 0);
        let pass = kept.clone();
        drop(kept);
        assert_eq!(memory.taken(), taken, "a pass holds the replaced observation");
        drop(pass);
        assert_eq!(memory.taken(), 0);
    }

    #[test]
    fn cost_counts_each_row_and_each_text() {
        let base = cost(&server(0));
        let long = |field: fn(&mut Mirroring) -> &mut String| {
            let mut one = server(1);
            for database in one.databases.values_mut() {
                *field(database.mirroring.as_mut().unwrap()) = "x".repeat(128);
            }
            cost(&one)
        };
        let row = cost(&server(1)) - base;
        assert!(row > size_of::<Database>() && row < 512, "{row}");
        for field in [
            (|row| &mut row.partner_name) as fn(&mut Mirroring) -> &mut String,
            |row| &mut row.partner_instance,
            |row| &mut row.witness_name,
        ] {
            assert!(long(field) >= base + row + 80);
        }
        let (principal, mirror) = ("p".repeat(128), "m".repeat(128));
        let row =
            Witnessed { database: DatabaseName::new("d"), guid: mirroring().guid, principal, mirror, role_sequence: 1 };
        let witness = Server { witnessed: vec![row; 10], ..server(0) };
        assert!(cost(&witness) >= base + 10 * (size_of::<Witnessed>() + 256));
    }
}
