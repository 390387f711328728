//! What the rows of both servers prove about the service of a database. docs/design/states.md has the table with its sources.

use crate::model::{
    Database, DatabaseName, DatabaseState, Evidence, Mirroring, MirroringState, Pair, Role, Safety, Seat, Server,
    ServerObservation, Service, WitnessLink,
};
use crate::plan::row::{is_isolated, is_named, is_stale_principal, is_witness_lost, same_name};

/// What one server shows of the service of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// The server was not read, or it hides or lacks the database.
    Unread,
    /// The database is open for clients, with its mirror synchronized and the witness connected if there is one.
    OpenProtected,
    /// The database is open for clients.
    Open,
    /// The row contradicts itself, or is in a transition: it proves neither.
    Doubtful,
    /// The database was read and is not open for clients.
    Closed,
    /// A mirror that reports a connection to its principal: closed here, and open elsewhere at the time of the row.
    Connected,
    /// The same, with all committed log, and with the witness connected if there is one.
    ConnectedSynchronized,
}

/// The service of one database. Total: what is not proved is `Unknown`.
pub fn of_database(pair: &Pair, name: &DatabaseName) -> Service {
    if let (Some(a), Some(b)) = (pair.primary.available(), pair.mirror.available())
        && same_name(&a.name, &b.name)
    {
        return Service::Unknown;
    }
    let rows = pair.row(Seat::Primary, name).zip(pair.row(Seat::Mirror, name)).filter(|(a, b)| a.guid == b.guid);
    if rows.is_some_and(|(a, b)| straddles_a_switch(a, b)) {
        return Service::Unknown;
    }
    let [mut a, mut b] = Seat::BOTH.map(|seat| copy(pair.view(seat), name));
    if let Some((primary, mirror)) = rows {
        (a, b) = (beside(a, primary, mirror), beside(b, mirror, primary));
    }
    for (seat, copy) in [(Seat::Primary, &mut a), (Seat::Mirror, &mut b)] {
        if mirrors_elsewhere(pair, seat, name) {
            *copy = Copy::Doubtful;
        }
    }
    match (a, b) {
        (Copy::OpenProtected, other) => protected(other, &pair.mirror),
        (other, Copy::OpenProtected) => protected(other, &pair.primary),
        (Copy::Open, _) | (_, Copy::Open) => Service::Exposed,
        (Copy::Doubtful | Copy::Unread, _) | (_, Copy::Doubtful | Copy::Unread) => Service::Unknown,
        (Copy::Closed, Copy::Closed | Copy::Connected | Copy::ConnectedSynchronized)
        | (Copy::Connected | Copy::ConnectedSynchronized, Copy::Closed) => Service::NotServed,
        // Each claims that the other is its principal.
        (Copy::Connected | Copy::ConnectedSynchronized, Copy::Connected | Copy::ConnectedSynchronized) => {
            Service::Unknown
        }
    }
}

/// The copy of a row beside that of its partner. Whether a witness gives quorum to the older one of two principals is not
/// documented. Without quorum, that one can be ONLINE and serves no client.
fn beside(copy: Copy, own: &Mirroring, other: &Mirroring) -> Copy {
    let is_older = [own, other].iter().all(|row| row.role == Role::Principal)
        && own.role_sequence < other.role_sequence
        && own.witness != WitnessLink::None;
    match copy {
        Copy::Open | Copy::OpenProtected if is_older => Copy::Doubtful,
        copy => copy,
    }
}

/// The principal reports a synchronized mirror. The other server must not contradict it, and must not be gone.
fn protected(other: Copy, view: &ServerObservation) -> Service {
    match (other, view) {
        (Copy::ConnectedSynchronized, _) => Service::Protected,
        // The login fails or is no sysadmin: the row of the principal is the only evidence, and it is of this pass.
        (Copy::Unread, ServerObservation::Unavailable { unavailable, .. })
            if unavailable.cause.evidence() != Evidence::NotAnswering =>
        {
            Service::Protected
        }
        (Copy::Unread, ServerObservation::Available { server, .. }) if !server.sysadmin => Service::Protected,
        _ => Service::Exposed,
    }
}

fn copy(view: &ServerObservation, name: &DatabaseName) -> Copy {
    let Some(server) = view.available() else { return Copy::Unread };
    let Some(database) = server.databases.get(name) else { return Copy::Unread };
    match &database.mirroring {
        None => unmirrored(server, database),
        Some(row) => match row.role {
            Role::Principal => principal(database, row),
            Role::Mirror => mirror(database, row),
        },
    }
}

/// The principal of this mirror is a third server, which can serve.
fn mirrors_elsewhere(pair: &Pair, seat: Seat, name: &DatabaseName) -> bool {
    let row = pair.row(seat, name).filter(|row| row.role == Role::Mirror && !row.partner_instance.is_empty());
    let other = pair.view(seat.other()).available();
    row.zip(other).is_some_and(|(row, other)| !is_named(other, &row.partner_instance))
}

/// The columns are NULL for a database that is not mirrored, not ONLINE, or hidden from the login (sys.database_mirroring).
fn unmirrored(server: &Server, database: &Database) -> Copy {
    match (server.sysadmin, database.state) {
        (true, DatabaseState::Online) => Copy::Open,
        (false, DatabaseState::Online) | (_, DatabaseState::Unknown) => Copy::Unread,
        (
            _,
            DatabaseState::Restoring
            | DatabaseState::Recovering
            | DatabaseState::RecoveryPending
            | DatabaseState::Suspect
            | DatabaseState::Emergency
            | DatabaseState::Offline,
        ) => Copy::Closed,
    }
}

fn principal(database: &Database, row: &Mirroring) -> Copy {
    match database.state {
        DatabaseState::Online => {}
        DatabaseState::Unknown => return Copy::Doubtful,
        DatabaseState::Restoring
        | DatabaseState::Recovering
        | DatabaseState::RecoveryPending
        | DatabaseState::Suspect
        | DatabaseState::Emergency
        | DatabaseState::Offline => return Copy::Closed,
    }
    match row.state {
        // "If the principal server loses quorum, it stops serving" (Quorum), although the row is still ONLINE.
        MirroringState::Disconnected if is_isolated(row) => Copy::Doubtful,
        // SUSPENDED proves no connection of the partners, so that without the witness there may be no quorum either.
        MirroringState::Suspended if is_witness_lost(row.witness) => Copy::Doubtful,
        // Clients are being disconnected.
        MirroringState::PendingFailover | MirroringState::Unknown(_) => Copy::Doubtful,
        MirroringState::Synchronized if row.safety == Safety::Full && !is_witness_lost(row.witness) => {
            Copy::OpenProtected
        }
        MirroringState::Synchronized
        | MirroringState::Synchronizing
        | MirroringState::Suspended
        | MirroringState::Disconnected => Copy::Open,
    }
}

fn mirror(database: &Database, row: &Mirroring) -> Copy {
    match (database.state, row.state) {
        // A mirror is never ONLINE: its row and its state are of two different moments.
        (DatabaseState::Online | DatabaseState::Unknown, _) => Copy::Doubtful,
        (_, MirroringState::Unknown(_)) => Copy::Doubtful,
        // Without its witness the mirror cannot fail over automatically, whatever the principal sees.
        (DatabaseState::Restoring, MirroringState::Synchronized) if !is_witness_lost(row.witness) => {
            Copy::ConnectedSynchronized
        }
        (
            DatabaseState::Restoring,
            MirroringState::Synchronized | MirroringState::Synchronizing | MirroringState::PendingFailover,
        ) => Copy::Connected,
        (_, MirroringState::Suspended | MirroringState::Disconnected) => Copy::Closed,
        (_, MirroringState::Synchronized | MirroringState::Synchronizing | MirroringState::PendingFailover) => {
            Copy::Closed
        }
    }
}

/// The two rows are of two different moments, before and after a switch.
fn straddles_a_switch(a: &Mirroring, b: &Mirroring) -> bool {
    match (a.role, b.role) {
        (Role::Principal, Role::Principal) => is_stale_principal(a, b),
        (Role::Mirror, Role::Mirror) => a.role_sequence != b.role_sequence,
        (Role::Principal, Role::Mirror) | (Role::Mirror, Role::Principal) => false,
    }
}
