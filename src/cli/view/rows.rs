//! The rows of `state -o csv` and the documents of `state -o json` and `-o yaml`. Scripts read them: names are stable.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::LyncPoolMirrorStatus;
use crate::cli::pool::{Pool, observed_seat};
use crate::model::{DatabaseType, Seat};

/// One database. The first seven columns have the names of Get-CsDatabaseMirrorState.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Row {
    pool_fqdn: String,
    database_type: DatabaseType,
    database_name: String,
    state_on_primary: String,
    state_on_mirror: String,
    mirroring_status_on_primary: String,
    mirroring_status_on_mirror: String,
    namespace: String,
    name: String,
    wanted: Seat,
    wanted_server: String,
    principal: String,
    principal_server: String,
    service: String,
    reason: String,
    safety: String,
    witness: String,
    redo_queue: String,
    database_reason: String,
    epoch: String,
}

pub fn rows(pool: &Pool) -> Vec<Row> {
    let of_type = |of: &crate::api::DatabaseTypeStatus| {
        let seat = observed_seat(of);
        let wanted = pool.type_spec(of.type_).map_or(of.desired, |spec| spec.principal);
        let row = |database: &crate::api::DatabaseStatus| Row {
            pool_fqdn: pool.fqdn().to_owned(),
            database_type: of.type_,
            database_name: database.name.clone(),
            state_on_primary: database.state_on_primary.clone(),
            state_on_mirror: database.state_on_mirror.clone(),
            mirroring_status_on_primary: database.mirroring_status_on_primary.clone(),
            mirroring_status_on_mirror: database.mirroring_status_on_mirror.clone(),
            namespace: pool.namespace.clone(),
            name: pool.name.clone(),
            wanted,
            wanted_server: pool.server_name(of.type_, wanted),
            principal: of.observed.to_string(),
            principal_server: seat.map(|seat| pool.server_name(of.type_, seat)).unwrap_or_default(),
            service: of.service.to_string(),
            reason: of.reason.clone(),
            safety: database.safety.clone().unwrap_or_default(),
            witness: database.witness.clone().unwrap_or_default(),
            redo_queue: database.redo_queue.clone().unwrap_or_default(),
            database_reason: database.reason.clone().unwrap_or_default(),
            epoch: of.epoch.clone().unwrap_or_default(),
        };
        of.databases.iter().map(row).collect::<Vec<_>>()
    };
    pool.status.database_types.iter().flat_map(of_type).collect()
}

/// A pool as JSON or YAML: its identity, the exit, and the status as the API server has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    namespace: &'a str,
    name: &'a str,
    pool_fqdn: &'a str,
    generation: Option<i64>,
    state: crate::cli::exit::Exit,
    exit_code: u8,
    status: &'a LyncPoolMirrorStatus,
}

pub fn document(pool: &Pool, now: Timestamp) -> Document<'_> {
    Document {
        namespace: &pool.namespace,
        name: &pool.name,
        pool_fqdn: pool.fqdn(),
        generation: pool.generation(),
        state: pool.exit(now),
        exit_code: pool.exit(now).code(),
        status: &pool.status,
    }
}
