//! One database as both partners report it: the seat of the principal and the obstacle of a failover (R3, R13, R14).

use crate::model::{
    Database, DatabaseName, DatabaseState, Epoch, Guid, Mirroring, MirroringState, ObservedPrincipal, Pair, Role,
    Safety, Seat, Server, ServerObservation, WitnessLink,
};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::{Precondition, Preconditions};
use crate::plan::text::list;

/// The assessment of one database in this pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub name: DatabaseName,
    /// The seat that holds the principal role, if no observation contradicts it.
    pub principal: Option<Seat>,
    /// None: every condition of a planned failover holds on both servers in this pass.
    pub obstacle: Option<Obstacle>,
    pub session: Option<Session>,
    /// Both partners were read and hold complementary roles of one session.
    pub agreed: bool,
    /// The principal was read, and its database is ONLINE.
    pub online: bool,
}

/// The identity of a mirroring session, and how often its roles have switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub guid: Guid,
    pub role_sequence: i32,
}

/// What one server shows of the database.
enum RowState<'a> {
    Unavailable,
    Absent,
    Hidden,
    Unmirrored(&'a Database),
    Session(&'a Server, &'a Database, &'a Mirroring),
}

fn row<'a>(view: &'a ServerObservation, name: &DatabaseName) -> RowState<'a> {
    let Some(server) = view.available() else { return RowState::Unavailable };
    match server.databases.get(name) {
        None if server.view_any_database || server.sysadmin => RowState::Absent,
        None => RowState::Hidden,
        Some(database) => match &database.mirroring {
            Some(mirroring) => RowState::Session(server, database, mirroring),
            // NULL columns have four causes (sys.database_mirroring); only sysadmin rules one of them out (S25).
            None if server.sysadmin => RowState::Unmirrored(database),
            None => RowState::Hidden,
        },
    }
}

/// Assesses one database. Total: every observation has a finding.
pub fn assess(preconditions: &Preconditions, pair: &Pair, name: &DatabaseName) -> Finding {
    let (primary, mirror) = (row(&pair.primary, name), row(&pair.mirror, name));
    let blank = |obstacle| Finding {
        name: name.clone(),
        principal: None,
        obstacle: Some(obstacle),
        session: None,
        agreed: false,
        online: false,
    };
    if let (Some(a), Some(b)) = (pair.primary.available(), pair.mirror.available())
        && !preconditions.satisfied(Precondition::DifferentServers, !same_name(&a.name, &b.name))
    {
        return blank(Obstacle::SameServer { name: a.name.clone() });
    }
    match (&primary, &mirror) {
        (RowState::Session(a, da, ma), RowState::Session(b, db, mb)) => {
            assess_pair(preconditions, name, (a, da, ma), (b, db, mb))
        }
        (RowState::Session(_, database, mirroring), other) => {
            assess_one_sided(name, Seat::Primary, database, mirroring, other, pair)
        }
        (other, RowState::Session(_, database, mirroring)) => {
            assess_one_sided(name, Seat::Mirror, database, mirroring, other, pair)
        }
        (a, b) => blank(
            unseen(Seat::Primary, a, pair)
                .into_iter()
                .chain(unseen(Seat::Mirror, b, pair))
                .min_by_key(Obstacle::severity)
                .unwrap_or(Obstacle::NotMirrored { seat: Seat::Primary, other_has_session: false }),
        ),
    }
}

/// Why there is no session row in this seat.
fn unseen(seat: Seat, row: &RowState, pair: &Pair) -> Option<Obstacle> {
    match (row, pair.view(seat)) {
        (RowState::Unavailable, ServerObservation::Unavailable { unavailable, .. }) => {
            Some(Obstacle::Unavailable { seat, unavailable: unavailable.clone(), exposed: false })
        }
        (RowState::Unavailable, ServerObservation::Available { .. }) | (RowState::Session(..), _) => None,
        (RowState::Absent, _) => Some(Obstacle::Missing { seat }),
        (RowState::Hidden, view) => {
            let login = view.available().map(|server| server.login.clone()).unwrap_or_default();
            Some(Obstacle::Hidden { seat, login })
        }
        (RowState::Unmirrored(database), _) => Some(match database.state {
            DatabaseState::Online | DatabaseState::Restoring | DatabaseState::Recovering => {
                Obstacle::NotMirrored { seat, other_has_session: false }
            }
            state => Obstacle::NotOnline { seat, state },
        }),
    }
}

/// Only one server shows a session: nothing may move (R14), but the finding still reports the roles.
fn assess_one_sided(
    name: &DatabaseName,
    seat: Seat,
    database: &Database,
    mirroring: &Mirroring,
    other: &RowState,
    pair: &Pair,
) -> Finding {
    let disconnected = matches!(mirroring.state, MirroringState::Disconnected | MirroringState::Suspended);
    let away = matches!(other, RowState::Unavailable);
    let principal = match mirroring.role {
        Role::Principal => Some(seat),
        // A connected mirror proves that its partner is the principal; the row of a disconnected mirror is stale.
        Role::Mirror if !disconnected && away => Some(seat.other()),
        Role::Mirror => None,
    };
    let obstacle = match (mirroring.role, unseen(seat.other(), other, pair)) {
        (_, Some(Obstacle::NotMirrored { seat, .. })) => Obstacle::NotMirrored { seat, other_has_session: true },
        (_, Some(obstacle)) if !away => obstacle,
        (_, Some(_)) if disconnected && is_lost(mirroring.witness) => Obstacle::NoQuorum { seat },
        (Role::Mirror, Some(Obstacle::Unavailable { unavailable, .. })) if disconnected => {
            Obstacle::PrincipalLost { seat: seat.other(), unavailable, witness: mirroring.witness }
        }
        (_, Some(Obstacle::Unavailable { seat, unavailable, .. })) => {
            Obstacle::Unavailable { seat, unavailable, exposed: disconnected }
        }
        (_, Some(obstacle)) => obstacle,
        (_, None) => Obstacle::Unsettled,
    };
    Finding {
        name: name.clone(),
        principal,
        obstacle: Some(obstacle),
        session: Some(Session { guid: mirroring.guid, role_sequence: mirroring.role_sequence }),
        agreed: false,
        online: mirroring.role == Role::Principal && database.state == DatabaseState::Online,
    }
}

type Half<'a> = (&'a Server, &'a Database, &'a Mirroring);

/// Both servers show a session.
fn assess_pair(preconditions: &Preconditions, name: &DatabaseName, primary: Half, mirror: Half) -> Finding {
    let (a, b) = (primary.2, mirror.2);
    let finding = |principal, obstacle, agreed, online| Finding {
        name: name.clone(),
        principal,
        obstacle,
        session: preconditions
            .satisfied(Precondition::SameGuid, a.guid == b.guid)
            .then_some(Session { guid: a.guid, role_sequence: a.role_sequence.max(b.role_sequence) }),
        agreed,
        online,
    };
    if !preconditions.satisfied(Precondition::SameGuid, a.guid == b.guid) {
        return finding(None, Some(Obstacle::GuidDiffers { primary: a.guid, mirror: b.guid }), false, false);
    }
    for (seat, own, partner) in [(Seat::Primary, a, mirror.0), (Seat::Mirror, b, primary.0)] {
        if !preconditions.satisfied(Precondition::PartnerIsTheOther, same_name(&own.partner_instance, &partner.name)) {
            let obstacle =
                Obstacle::PartnerOutside { seat, names: own.partner_instance.clone(), expected: partner.name.clone() };
            return finding(None, Some(obstacle), false, false);
        }
    }
    let (seat, held, following) = match (a.role, b.role) {
        (Role::Principal, Role::Mirror) => (Seat::Primary, primary, mirror),
        (Role::Mirror, Role::Principal) => (Seat::Mirror, mirror, primary),
        (Role::Principal, Role::Principal) if !preconditions.enforced(Precondition::ComplementaryRoles) => {
            (Seat::Primary, primary, mirror)
        }
        (Role::Principal, Role::Principal) => {
            return finding(
                None,
                Some(if is_stale_principal(a, b) { Obstacle::Unsettled } else { Obstacle::TwoPrincipals }),
                false,
                false,
            );
        }
        (Role::Mirror, Role::Mirror) if a.role_sequence == b.role_sequence && is_stable(a) && is_stable(b) => {
            return finding(None, Some(Obstacle::NoPrincipal), false, false);
        }
        (Role::Mirror, Role::Mirror) => return finding(None, Some(Obstacle::Unsettled), false, false),
    };
    let online = held.1.state == DatabaseState::Online;
    finding(Some(seat), preflight(preconditions, seat, held, following), true, online)
}

/// The conditions of a planned failover, on complementary roles of one session (R3).
fn preflight(
    preconditions: &Preconditions,
    seat: Seat,
    (server, database, principal): Half,
    (partner, _, mirror): Half,
) -> Option<Obstacle> {
    use MirroringState::*;
    if !preconditions
        .satisfied(Precondition::SafetyFull, principal.safety == Safety::Full && mirror.safety == Safety::Full)
    {
        return Some(Obstacle::SafetyOff);
    }
    match (effective(preconditions, principal.state), effective(preconditions, mirror.state)) {
        (Suspended, _) | (_, Suspended) => {
            let versions =
                (server.version != partner.version).then(|| (server.version.clone(), partner.version.clone()));
            return Some(Obstacle::Suspended { versions });
        }
        (PendingFailover, _) | (_, PendingFailover) => return Some(Obstacle::FailoverInProgress),
        (Disconnected, Disconnected) if is_lost(principal.witness) => return Some(Obstacle::NoQuorum { seat }),
        (Disconnected, Disconnected) => return Some(Obstacle::Disconnected),
        // The partners normally report one state: two different ones are a transition, or a stale read.
        (Disconnected, _) | (_, Disconnected) => return Some(Obstacle::Unsettled),
        (Synchronizing, _) | (_, Synchronizing) => return Some(Obstacle::Synchronizing),
        (Unknown, _) | (_, Unknown) => return Some(Obstacle::Unsettled),
        (Synchronized, Synchronized) => {}
    }
    if !preconditions.satisfied(Precondition::SameRoleSequence, principal.role_sequence == mirror.role_sequence) {
        return Some(Obstacle::Unsettled);
    }
    if !preconditions.satisfied(Precondition::DatabaseOnline, database.state == DatabaseState::Online) {
        return Some(Obstacle::NotOnline { seat, state: database.state });
    }
    for (seat, server) in [(seat, server), (seat.other(), partner)] {
        let serves = server.endpoint.as_ref().is_some_and(|endpoint| endpoint.started && endpoint.partner);
        if !preconditions.satisfied(Precondition::EndpointStarted, serves) {
            return Some(Obstacle::EndpointStopped { seat, endpoint: server.endpoint.clone() });
        }
    }
    None
}

/// The effective state in the preflight: a state whose precondition is not enforced counts as SYNCHRONIZED.
fn effective(preconditions: &Preconditions, state: MirroringState) -> MirroringState {
    let precondition = match state {
        MirroringState::Suspended => Precondition::MirroringNotSuspended,
        MirroringState::PendingFailover => Precondition::NoFailoverUnderWay,
        MirroringState::Disconnected => Precondition::PartnersConnected,
        MirroringState::Synchronizing => Precondition::CaughtUp,
        MirroringState::Unknown => Precondition::StateKnown,
        MirroringState::Synchronized => return state,
    };
    if preconditions.enforced(precondition) { state } else { MirroringState::Synchronized }
}

fn is_lost(witness: WitnessLink) -> bool {
    match witness {
        WitnessLink::Disconnected | WitnessLink::Unknown => true,
        WitnessLink::None | WitnessLink::Connected => false,
    }
}

fn is_stable(row: &Mirroring) -> bool {
    matches!(row.state, MirroringState::Synchronized | MirroringState::Disconnected | MirroringState::Suspended)
}

/// Two principals in two polls a moment apart are a switch in transition, as long as the older row was still connected
/// when it was read. In a true split brain the older row is disconnected or suspended (S22).
fn is_stale_principal(a: &Mirroring, b: &Mirroring) -> bool {
    let older = if a.role_sequence <= b.role_sequence { a } else { b };
    a.role_sequence != b.role_sequence
        && matches!(
            older.state,
            MirroringState::Synchronized | MirroringState::Synchronizing | MirroringState::PendingFailover
        )
}

/// Server names compare without case, as Windows does.
fn same_name(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// The epoch of the current state, which an approval has to name. None while a database of the type shows no session.
pub fn epoch(findings: &[Finding]) -> Option<Epoch> {
    let sessions: Option<Vec<_>> =
        findings.iter().map(|finding| finding.session.map(|session| (session.guid, session.role_sequence))).collect();
    sessions.map(Epoch::of)
}

/// The seat that holds the principal of every database, if it is one seat.
pub(crate) fn seat_of(findings: &[Finding]) -> Option<Seat> {
    let mut seats = findings.iter().map(|finding| finding.principal);
    let first = seats.next()??;
    seats.all(|seat| seat == Some(first)).then_some(first)
}

/// The most severe obstacle, and the databases that share its severity.
pub(crate) fn most_severe(findings: &[Finding]) -> Option<(&Obstacle, String)> {
    let obstacles = || findings.iter().filter_map(|finding| finding.obstacle.as_ref());
    let worst = obstacles().min_by_key(|obstacle| obstacle.severity())?;
    let shares =
        |finding: &&Finding| finding.obstacle.as_ref().is_some_and(|other| other.severity() == worst.severity());
    Some((worst, list(findings.iter().filter(shares).map(|finding| &finding.name))))
}

/// The observed seat of the principals of these databases.
pub(crate) fn observed_principal(findings: &[Finding]) -> ObservedPrincipal {
    if let Some(seat) = seat_of(findings) {
        return seat.into();
    }
    let on = |seat| findings.iter().any(|finding| finding.principal == Some(seat));
    if on(Seat::Primary) && on(Seat::Mirror) { ObservedPrincipal::Split } else { ObservedPrincipal::Unknown }
}
