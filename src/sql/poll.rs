//! The batch of a poll and its rows as a [`Server`]. The planner interprets the values.

use std::collections::BTreeMap;
use std::time::Duration;

use tiberius::Row;

use crate::model::{
    Database, DatabaseName, DatabaseState, MemoryShare, Mirroring, MirroringEndpoint, MirroringState, Role, Safety,
    Server, Unavailable, WitnessLink, Witnessed,
};
use crate::sql::column::{guid, integer, name, required};
use crate::sql::error::{self, Phase};
use crate::sql::session::{Failure, Session};

/// Everything about an instance in one round trip. Legal from SQL Server 2008 R2 on ("sys.database_mirroring",
/// "sys.database_mirroring_endpoints", "sys.database_mirroring_witnesses", "SQL Server, Database Mirroring Object").
pub const POLL: &str = include_str!("poll.sql");

/// Why a poll failed.
#[derive(Debug)]
pub struct PollFailure {
    pub unavailable: Unavailable,
    /// The connection ended before the first byte of the response, so that the session may have ended before the poll.
    pub unanswered: bool,
}

/// Polls an instance over a session, which is returned for the next poll. `address` appears in the error details.
///
/// # Errors
/// The cause for which the instance is unavailable; the session is then closed.
pub async fn poll(session: Session, address: &str, deadline: Duration) -> Result<(Session, Server), PollFailure> {
    let (session, results) = session.query(POLL, deadline).await.map_err(|failure| PollFailure {
        unanswered: matches!(failure, Failure::Unanswered),
        unavailable: failure.unavailable(address, deadline),
    })?;
    let server = read(&results).map_err(|what| PollFailure {
        unavailable: error::protocol_error(address, Phase::Poll, what),
        unanswered: false,
    })?;
    Ok((session, server))
}

fn read(results: &[Vec<Row>]) -> Result<Server, String> {
    let [properties, databases, endpoints, witnessed, counters] = results else {
        return Err(format!("{} result sets instead of 5", results.len()));
    };
    let [properties] = properties.as_slice() else { return Err("not one row of server properties".into()) };
    let required_text = |column| required(name(properties, column)?, column);
    let flag = |column| Ok::<_, String>(integer(properties, column)? == Some(1));

    let mut witnesses = witnessed.iter().filter_map(|row| witness(row).transpose()).collect::<Result<Vec<_>, _>>()?;
    witnesses.shrink_to_fit();
    let mut databases = by_name(databases)?;
    for row in counters {
        read_counter(row, &mut databases)?;
    }
    Ok(Server {
        name: required_text("server_name")?,
        local_name: name(properties, "local_name")?,
        version: required_text("product_version")?,
        edition: name(properties, "edition")?.unwrap_or_default(),
        login: name(properties, "login_name")?.unwrap_or_default(),
        sysadmin: flag("is_sysadmin")?,
        view_server_state: flag("can_view_server_state")?,
        view_any_database: flag("can_view_any_database")?,
        endpoint: endpoints.first().map(endpoint).transpose()?,
        // The nodes of a tree that grew in order are half empty, and those of a collected one are full.
        databases: databases.into_iter().collect(),
        witnessed: witnesses,
        stale_login: None,
        memory: MemoryShare::default(),
    })
}

/// A case-sensitive server can have two databases whose names are equal here. The mirrored one counts, in its own spelling: a
/// copy beside it must not hide its session.
fn by_name(rows: &[Row]) -> Result<BTreeMap<DatabaseName, Database>, String> {
    let mut databases = BTreeMap::new();
    for row in rows {
        let (name, database) = database(row)?;
        if database.mirroring.is_some() || !databases.contains_key(&name) {
            databases.remove(&name);
            databases.insert(name, database);
        }
    }
    Ok(databases)
}

fn database(row: &Row) -> Result<(DatabaseName, Database), String> {
    let name = DatabaseName::new(required(name(row, "name")?, "name")?);
    let state = state(integer(row, "state")?);
    Ok((
        name,
        Database {
            state,
            mirroring: mirroring(row)?,
            redo_queue_kb: None,
            send_queue_kb: None,
            redone_bytes: None,
            redo_rate_kb: None,
        },
    ))
}

/// `sys.databases.state`; NULL while a database is being closed.
fn state(number: Option<i64>) -> DatabaseState {
    match number {
        Some(0) => DatabaseState::Online,
        Some(1) => DatabaseState::Restoring,
        Some(2) => DatabaseState::Recovering,
        Some(3) => DatabaseState::RecoveryPending,
        Some(4) => DatabaseState::Suspect,
        Some(5) => DatabaseState::Emergency,
        Some(6) => DatabaseState::Offline,
        _ => DatabaseState::Unknown,
    }
}

fn mirroring(row: &Row) -> Result<Option<Mirroring>, String> {
    let state = integer(row, "mirroring_state")?;
    let role = integer(row, "mirroring_role")?;
    let sequence = integer(row, "mirroring_role_sequence")?;
    let safety = integer(row, "mirroring_safety_level")?;
    let witness_state = integer(row, "mirroring_witness_state")?;
    let witness_name = name(row, "mirroring_witness_name")?.unwrap_or_default();
    let partner_name = name(row, "mirroring_partner_name")?.unwrap_or_default();
    let partner_instance = name(row, "mirroring_partner_instance")?.unwrap_or_default();
    let guid = guid(row, "mirroring_guid")?;
    // The columns are NULL together. A row with only some of them is inconsistent and counts as not mirrored.
    let (Some(guid), Some(state), Some(role), Some(sequence)) = (guid, state, role, sequence) else { return Ok(None) };
    Ok(Some(Mirroring {
        guid,
        state: match state {
            0 => MirroringState::Suspended,
            1 => MirroringState::Disconnected,
            2 => MirroringState::Synchronizing,
            3 => MirroringState::PendingFailover,
            4 => MirroringState::Synchronized,
            other => MirroringState::Unknown(other),
        },
        role: match role {
            1 => Role::Principal,
            2 => Role::Mirror,
            other => return Err(format!("{other} is not a mirroring_role")),
        },
        role_sequence: i32::try_from(sequence).map_err(|_| "mirroring_role_sequence is not an int")?,
        safety: match safety {
            Some(1) => Safety::Off,
            Some(2) => Safety::Full,
            _ => Safety::Unknown,
        },
        partner_name,
        partner_instance,
        witness: match (witness_name.is_empty(), witness_state) {
            (true, _) => WitnessLink::None,
            (false, Some(1)) => WitnessLink::Connected,
            (false, Some(2)) => WitnessLink::Disconnected,
            (false, _) => WitnessLink::Unknown,
        },
        witness_name,
    }))
}

fn endpoint(row: &Row) -> Result<MirroringEndpoint, String> {
    Ok(MirroringEndpoint {
        name: required(name(row, "name")?, "name")?,
        started: integer(row, "state")? == Some(0),
        partner: matches!(integer(row, "role")?, Some(1 | 3)),
        port: integer(row, "port")?.and_then(|port| i32::try_from(port).ok()),
    })
}

/// `None` if a column is NULL. Such a row is skipped: the sessions of other pools must not hide this server.
fn witness(row: &Row) -> Result<Option<Witnessed>, String> {
    let database = name(row, "database_name")?;
    let sequence = integer(row, "role_sequence_number")?;
    let (Some(database), Some(guid), Some(sequence)) = (database, guid(row, "mirroring_guid")?, sequence) else {
        return Ok(None);
    };
    Ok(Some(Witnessed {
        database: DatabaseName::new(database),
        guid,
        principal: name(row, "principal_server_name")?.unwrap_or_default(),
        mirror: name(row, "mirror_server_name")?.unwrap_or_default(),
        role_sequence: i32::try_from(sequence).map_err(|_| "role_sequence_number is not an int")?,
    }))
}

fn read_counter(row: &Row, databases: &mut BTreeMap<DatabaseName, Database>) -> Result<(), String> {
    let counter = name(row, "counter_name")?.unwrap_or_default();
    let name = DatabaseName::new(name(row, "database_name")?.unwrap_or_default());
    let value = integer(row, "cntr_value")?;
    // `_Total` is not a database.
    let Some(database) = databases.get_mut(&name) else { return Ok(()) };
    match counter.trim_end() {
        "Redo Queue KB" => database.redo_queue_kb = value,
        "Log Send Queue KB" => database.send_queue_kb = value,
        // In this view, a counter "per second" is a sum since the start. `redo_rate` derives the rate from two polls.
        "Redo Bytes/sec" => database.redone_bytes = value,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
#[path = "poll_tests.rs"]
mod tests;
