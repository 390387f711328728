//! Builds a world from its configuration and validates the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::mirroring::{DatabaseCopy, Link};
use super::server::SYSTEM_DATABASES;
use super::{Mirroring, Reach, Role, Server, Sync, World, same_name};
use crate::config::{Config, ConfigError, PairConfig, ServerConfig};

impl World {
    /// Builds the servers and the mirroring sessions, all up, connected and synchronized at time 0.
    ///
    /// # Errors
    /// A duplicate or empty server id or name, an unknown server in a pair, a pair that uses a server twice, a database
    /// that a partner already has, two databases of a server whose names differ only in case, or a timeout that is not a
    /// valid duration.
    pub fn new(config: &Config) -> Result<World, ConfigError> {
        let mut servers: Vec<Server> = Vec::new();
        for server in &config.servers {
            if server.id.is_empty() || servers.iter().any(|other| same_name(&other.id, &server.id)) {
                return Err(ConfigError(format!("servers[].id {:?}: the id must be unique and not empty", server.id)));
            }
            if server.name.is_empty() || servers.iter().any(|other| same_name(&other.name, &server.name)) {
                return Err(ConfigError(format!(
                    "servers[].name {:?}: the name must be unique and not empty",
                    server.name
                )));
            }
            let is_witness =
                config.pairs.iter().any(|pair| pair.witness.as_deref().is_some_and(|id| same_name(id, &server.id)));
            servers.push(build_server(server, is_witness));
        }
        let mut mirrorings = Vec::new();
        for pair in &config.pairs {
            build_pair(pair, &mut servers, &mut mirrorings)?;
        }
        servers.iter().try_for_each(check_database_names)?;
        let mut world = World {
            failures: Vec::new(),
            now: Duration::ZERO,
            version: 1,
            servers,
            mirrorings,
            cuts: BTreeSet::new(),
            sessions: BTreeMap::new(),
            next_session: 51,
            failover_outcomes: BTreeMap::new(),
            next_failover_id: 1,
            failovers: Vec::new(),
            service_changes: Vec::new(),
            backups: BTreeMap::new(),
            timers: BTreeSet::new(),
        };
        (0..world.servers.len()).for_each(|server| world.log_start(server));
        world.apply_transitions();
        Ok(world)
    }
}

fn build_server(config: &ServerConfig, is_witness: bool) -> Server {
    let port = config.endpoint.port.unwrap_or(if is_witness { 7022 } else { 5022 });
    let machine = config.name.split('\\').next().unwrap_or(&config.name);
    let host = config.endpoint.host.clone().unwrap_or_else(|| machine.to_lowercase());
    let system = SYSTEM_DATABASES.map(str::to_owned);
    Server {
        id: config.id.clone(),
        name: config.name.clone(),
        registered_name: config.registered_name.clone().unwrap_or_else(|| config.name.clone()),
        version: config.version.clone(),
        edition: config.edition.clone(),
        logins: config.logins.clone(),
        endpoint_name: config.endpoint.name.clone(),
        endpoint_address: format!("TCP://{host}:{port}"),
        endpoint_port: port,
        endpoint_state: config.endpoint.state,
        reach: Reach::Up,
        settings: config.settings.clone(),
        starts: 0,
        ready_at: Duration::ZERO,
        recovered_at: BTreeMap::new(),
        login_refusals: Vec::new(),
        catalog_locked: false,
        databases: system.into_iter().chain(config.plain_databases.iter().cloned()).collect(),
        states: BTreeMap::new(),
        catalog_overrides: BTreeMap::new(),
        inventory: config.inventory.clone(),
        slow_millis: 0,
        injected_error: None,
        injected_error_after: None,
        error_log: Vec::new(),
    }
}

/// SQL Server allows two names that differ only in case if its collation is case-sensitive. The state of a copy is kept by the
/// name without case here, so that they are refused.
fn check_database_names(server: &Server) -> Result<(), ConfigError> {
    for (at, name) in server.databases.iter().enumerate() {
        if let Some(other) = server.databases[..at].iter().find(|other| same_name(other, name)) {
            return Err(ConfigError(format!(
                "{}: databases {other:?} and {name:?}: names that differ only in case are not simulated",
                server.name
            )));
        }
    }
    Ok(())
}

fn build_pair(pair: &PairConfig, servers: &mut [Server], mirrorings: &mut Vec<Mirroring>) -> Result<(), ConfigError> {
    let find = |field: &str, id: &str| {
        servers
            .iter()
            .position(|server| same_name(&server.id, id))
            .ok_or_else(|| ConfigError(format!("pairs[{}].{field} {id:?}: no server has this id", pair.name)))
    };
    let partners = [find("primary", &pair.primary)?, find("mirror", &pair.mirror)?];
    let witness = pair.witness.as_deref().map(|id| find("witness", id)).transpose()?;
    if partners[0] == partners[1] || witness.is_some_and(|witness| partners.contains(&witness)) {
        return Err(ConfigError(format!(
            "pairs[{}]: primary, mirror and witness must be different servers",
            pair.name
        )));
    }
    let timeout = Duration::try_from_secs_f64(pair.timeout_seconds).map_err(|error| {
        ConfigError(format!("pairs[{}].timeoutSeconds {}: {error}", pair.name, pair.timeout_seconds))
    })?;
    for database in &pair.databases {
        for partner in partners {
            if servers[partner].database_id(database).is_some() {
                let name = &servers[partner].name;
                return Err(ConfigError(format!(
                    "pairs[{}].databases {database:?}: {name} already has this database",
                    pair.name
                )));
            }
            servers[partner].databases.push(database.clone());
        }
        let names = partners.map(|partner| servers[partner].name.clone());
        mirrorings.push(build_mirroring(pair, database, (partners, names), witness, timeout));
    }
    Ok(())
}

/// A connected and synchronized mirroring session of one database.
fn build_mirroring(
    pair: &PairConfig,
    database: &str,
    (partners, partner_names): ([usize; 2], [String; 2]),
    witness: Option<usize>,
    timeout: Duration,
) -> Mirroring {
    let copy = |role| DatabaseCopy {
        mirrored: true,
        role,
        role_sequence: pair.role_sequence,
        forced: false,
        serving: false,
        abandoned: false,
        open: false,
    };
    let link = Link { end_connected: [true; 2], lost_at: None };
    Mirroring {
        pair: pair.name.clone(),
        database: database.to_owned(),
        guid: guid_from_name(&format!("{}{}/{database}", pair.guid_seed, pair.name)),
        partners,
        partner_names,
        witness,
        witness_dropped: false,
        connection_timeout: 10,
        settings: pair.settings.clone(),
        empty_witness_name: pair.empty_witness_name,
        copies: [copy(Role::Principal), copy(Role::Mirror)],
        witness_sequence: pair.role_sequence,
        witness_principal: 0,
        links: [link.clone(), link.clone(), link],
        safety: pair.safety,
        safety_sequence: 1,
        sync: Sync::Synchronized,
        suspended: false,
        automatic_failover_ready: false,
        disconnected_until: Duration::ZERO,
        running_failover: None,
        redo_queue_kb: pair.redo_queue_kb,
        redo_rate_kb_per_s: pair.redo_rate_kb_per_s,
        log_rate_kb_per_s: 0,
        log: Default::default(),
        switch: Duration::from_millis(pair.switch_millis),
        timeout,
        resync: Duration::from_millis(pair.resync_millis),
    }
}

/// A version 4 GUID derived from the name, so that every run has the same GUIDs. Each half is an FNV-1a hash with its
/// own seed.
pub(super) fn guid_from_name(name: &str) -> [u8; 16] {
    let hash =
        |seed: u64| name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash(0xcbf2_9ce4_8422_2325).to_be_bytes());
    bytes[8..].copy_from_slice(&hash(0x8422_2325_cbf2_9ce4).to_be_bytes());
    bytes[6] = 0x40 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    bytes
}
