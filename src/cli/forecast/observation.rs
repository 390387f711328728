//! An observation from a status. The status has roles, states, names and the reason of each obstacle. What it does not have
//! is set to the value that is no obstacle: a database without a reason had none. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use strum::IntoEnumIterator;

use crate::api::{DatabaseStatus, DatabaseTypeStatus, ParsedSpec, ServerStatus, SqlServer, Store};
use crate::cli::pool::Pool;
use crate::model::{
    Database, DatabaseName, DatabaseState, Guid, MemoryShare, Mirroring, MirroringEndpoint, MirroringState,
    Observation, Pair, Reason, Role, Safety, Seat, Server, ServerObservation, Unavailable, UnavailableCause,
    WitnessLink,
};

/// The observation for a spec, which may be another one than that of the status. A server that the status does not have is
/// not polled yet.
pub fn observation(pool: &Pool, spec: &ParsedSpec) -> Observation {
    Observation {
        pairs: spec.stores.map(|store| pair(pool, store)),
        conflicts: BTreeMap::new(),
        turns: BTreeMap::new(),
        statements: BTreeMap::new(),
    }
}

fn pair(pool: &Pool, store: &Store) -> Pair {
    let view = |server: &SqlServer| view(pool, &server.address());
    Pair {
        primary: view(&store.sql.primary),
        mirror: view(&store.sql.mirror),
        witness: store.sql.witness.as_ref().map(view),
    }
}

/// By address: a server keeps its databases in whatever seat the spec puts it.
fn view(pool: &Pool, address: &str) -> ServerObservation {
    let unavailable = |cause, detail: &str| ServerObservation::Unavailable {
        address: address.to_owned(),
        unavailable: Unavailable { cause, detail: detail.to_owned() },
    };
    let servers = &pool.status.servers;
    let Some(status) = servers.iter().find(|server| server.address.eq_ignore_ascii_case(address)) else {
        return unavailable(UnavailableCause::NotYetPolled, "The status does not have this server.");
    };
    if !status.reachable {
        let reason = status.reason.as_deref().and_then(|reason| reason.parse::<Reason>().ok());
        let cause = UnavailableCause::iter().find(|cause| Some(cause.reason()) == reason);
        let detail = status.message.as_deref().unwrap_or_default();
        return unavailable(cause.unwrap_or(UnavailableCause::ProtocolError), detail);
    }
    ServerObservation::Available { address: address.to_owned(), server: Arc::new(server(pool, status)) }
}

fn server(pool: &Pool, status: &ServerStatus) -> Server {
    let name = status.name.clone().unwrap_or_else(|| status.address.clone());
    let mut databases = BTreeMap::new();
    for of in &pool.status.database_types {
        for (index, row) in of.databases.iter().enumerate() {
            let Some(seat) = seat_of(pool, of, status) else { continue };
            if let Some(database) = database(pool, of, (index, row), seat) {
                databases.insert(DatabaseName::new(&row.name), database);
            }
        }
    }
    Server {
        local_name: Some(name.clone()),
        name,
        version: status.version.clone().unwrap_or_default(),
        edition: status.edition.clone().unwrap_or_default(),
        login: String::new(),
        sysadmin: true,
        view_server_state: true,
        view_any_database: true,
        endpoint: Some(MirroringEndpoint { name: String::new(), started: true, partner: true, port: None }),
        databases,
        witnessed: Vec::new(),
        stale_login: None,
        memory: MemoryShare::default(),
    }
}

/// The seat of the server for the type.
fn seat_of(pool: &Pool, of: &DatabaseTypeStatus, status: &ServerStatus) -> Option<Seat> {
    let is = |seat: &Seat| pool.server(of.type_, *seat).is_some_and(|server| server.address == status.address);
    Seat::BOTH.into_iter().find(is)
}

/// None: the server has no row of it.
fn database(pool: &Pool, of: &DatabaseTypeStatus, row: (usize, &DatabaseStatus), seat: Seat) -> Option<Database> {
    let (index, row) = row;
    let (role, state) = match seat {
        Seat::Primary => (&row.state_on_primary, &row.mirroring_status_on_primary),
        Seat::Mirror => (&row.state_on_mirror, &row.mirroring_status_on_mirror),
    };
    let role = [Role::Principal, Role::Mirror].into_iter().find(|known| known.to_string() == *role)?;
    let (safety, witness) = (row.safety.as_deref(), row.witness.as_deref());
    Some(Database {
        state: if role == Role::Principal { DatabaseState::Online } else { DatabaseState::Restoring },
        mirroring: Some(Mirroring {
            guid: guid(of, index, &row.name),
            state: mirroring_state(state),
            role,
            role_sequence: role_sequence(of, index),
            safety: if safety == Some("Off") { Safety::Off } else { Safety::Full },
            partner_name: String::new(),
            partner_instance: pool.server_name(of.type_, seat.other()),
            witness: match witness {
                Some("Connected") => WitnessLink::Connected,
                Some("Disconnected") => WitnessLink::Disconnected,
                Some("None") => WitnessLink::None,
                _ => WitnessLink::Unknown,
            },
            witness_name: String::new(),
        }),
        redo_queue_kb: row.redo_queue.as_deref().map(largest_queue),
        send_queue_kb: None,
        redone_bytes: None,
        redo_rate_kb: None,
    })
}

fn mirroring_state(text: &str) -> MirroringState {
    let known = [
        MirroringState::Suspended,
        MirroringState::Disconnected,
        MirroringState::Synchronizing,
        MirroringState::PendingFailover,
        MirroringState::Synchronized,
    ];
    // The status has no number of an undocumented state.
    known.into_iter().find(|state| state.to_string() == text).unwrap_or(MirroringState::Unknown(-1))
}

/// The session that the operator remembers, else one of its own for each database.
fn guid(of: &DatabaseTypeStatus, index: usize, name: &str) -> Guid {
    let sessions = of.tracking.iter().flat_map(|tracking| &tracking.sessions);
    let known = sessions.into_iter().find(|session| session.database.eq_ignore_ascii_case(name));
    let other = Guid::from_bytes([u8::try_from(index + 1).unwrap_or(u8::MAX); 16]);
    known.and_then(|session| session.guid.parse().ok()).unwrap_or(other)
}

/// The epoch has the sum of the role sequences. Only this sum decides whether an approval applies.
fn role_sequence(of: &DatabaseTypeStatus, index: usize) -> i32 {
    let sum = of.epoch.as_deref().and_then(|epoch| epoch.split('-').next()?.parse::<i32>().ok()).unwrap_or_default();
    if index == 0 { sum } else { 0 }
}

/// In KB: the upper bound of the range, which the status has instead of the size.
fn largest_queue(range: &str) -> i64 {
    match range {
        "<1MB" => 0,
        "<10MB" => 10_239,
        "<100MB" => 102_399,
        "<1GB" => 1_048_575,
        _ => 1_048_576,
    }
}
