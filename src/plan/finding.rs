//! One database as both partners report it: the seat of the principal and the obstacle of a failover (R3, R13, R14).

use crate::model::{
    Database, DatabaseName, DatabaseState, Epoch, Evidence, Guid, Mirroring, MirroringState, ObservedPrincipal, Pair,
    Role, Seat, Server, ServerObservation, Service,
};
use crate::plan::obstacle::{Obstacle, Shown};
use crate::plan::precondition::{Precondition, Preconditions};
use crate::plan::preflight::{Half, preflight};
use crate::plan::row::{
    apart_without_quorum, is_isolated, is_named, is_stable, is_stale_principal, isolated_principal, same_name,
};
use crate::plan::service;
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
    pub service: Service,
}

/// The identity of a mirroring session, and how often its roles have switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub guid: Guid,
    /// The higher one of the two partners. Their equality is not documented.
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

fn row_state<'a>(view: &'a ServerObservation, name: &DatabaseName) -> RowState<'a> {
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
    let (primary, mirror) = (row_state(&pair.primary, name), row_state(&pair.mirror, name));
    let blank = |obstacle| Finding {
        name: name.clone(),
        principal: None,
        obstacle: Some(obstacle),
        session: None,
        agreed: false,
        online: false,
        service: service::of_database(pair, name),
    };
    if let (Some(a), Some(b)) = (pair.primary.available(), pair.mirror.available())
        && !preconditions.satisfied(Precondition::DifferentServers, !same_name(&a.name, &b.name))
    {
        return blank(Obstacle::SameServer { name: a.name.clone() });
    }
    match (&primary, &mirror) {
        (RowState::Session(a, da, ma), RowState::Session(b, db, mb)) => Finding {
            service: service::of_database(pair, name),
            ..assess_pair(preconditions, name, (a, da, ma), (b, db, mb))
        },
        (RowState::Session(_, database, mirroring), other) => {
            assess_one_sided(preconditions, pair, name, Seat::Primary, (database, mirroring), other)
        }
        (other, RowState::Session(_, database, mirroring)) => {
            assess_one_sided(preconditions, pair, name, Seat::Mirror, (database, mirroring), other)
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
            Some(Obstacle::Unavailable { seat, unavailable: unavailable.clone(), shown: None })
        }
        (RowState::Unavailable, ServerObservation::Available { .. }) | (RowState::Session(..), _) => None,
        (RowState::Absent, _) => Some(Obstacle::Missing { seat }),
        (RowState::Hidden, view) => {
            let login = view.available().map(|server| server.login.clone()).unwrap_or_default();
            Some(Obstacle::Hidden { seat, login })
        }
        (RowState::Unmirrored(database), _) => Some(match database.state {
            DatabaseState::Online => Obstacle::NotMirrored { seat, other_has_session: false },
            // "If the database is not ONLINE ..., the values of all columns ... will be NULL" (sys.database_mirroring):
            // such a row does not prove that the database is not mirrored.
            state => Obstacle::not_open(seat, state),
        }),
    }
}

/// The other server was read and is not the partner of this row.
fn partner_outside(preconditions: &Preconditions, pair: &Pair, seat: Seat, row: &Mirroring) -> Option<Obstacle> {
    let server = pair.view(seat.other()).available().filter(|_| !row.partner_instance.is_empty())?;
    let is_partner = is_named(server, &row.partner_instance);
    let (names, expected) = (row.partner_instance.clone(), server.name.clone());
    (!preconditions.satisfied(Precondition::PartnerIsTheOther, is_partner)).then_some(Obstacle::PartnerOutside {
        seat,
        names,
        expected,
    })
}

/// Only one server shows a session: nothing may move (R14), but the finding still reports the roles.
fn assess_one_sided(
    preconditions: &Preconditions,
    pair: &Pair,
    name: &DatabaseName,
    seat: Seat,
    (database, mirroring): (&Database, &Mirroring),
    other: &RowState,
) -> Finding {
    let finding = |principal, obstacle, online| Finding {
        name: name.clone(),
        principal,
        obstacle: Some(obstacle),
        session: Some(Session { guid: mirroring.guid, role_sequence: mirroring.role_sequence }),
        agreed: false,
        online,
        service: service::of_database(pair, name),
    };
    if let Some(obstacle) = partner_outside(preconditions, pair, seat, mirroring) {
        return finding(Some(seat).filter(|_| mirroring.role == Role::Principal), obstacle, false);
    }
    let away = matches!(other, RowState::Unavailable);
    let principal = match (mirroring.role, mirroring.state) {
        (Role::Principal, _) => Some(seat),
        // A connected mirror proves that its partner is the principal. The row of a disconnected mirror is stale, and a
        // suspended session stays suspended without a connection ("Mirroring States").
        (
            Role::Mirror,
            MirroringState::Synchronized | MirroringState::Synchronizing | MirroringState::PendingFailover,
        ) if away => Some(seat.other()),
        (Role::Mirror, _) => None,
    };
    let obstacle = match unseen(seat.other(), other, pair) {
        Some(Obstacle::NotMirrored { seat, .. }) => Obstacle::NotMirrored { seat, other_has_session: true },
        Some(Obstacle::Unavailable { unavailable, .. }) => {
            let shown = Shown::new(mirroring, database.state);
            let gone = preconditions
                .satisfied(Precondition::ForceServerGone, unavailable.cause.evidence() == Evidence::NotAnswering);
            let (witness, other) = (mirroring.witness, seat.other());
            match (mirroring.role, mirroring.state) {
                (Role::Principal, _) if is_isolated(mirroring) && database.state != DatabaseState::Online => {
                    Obstacle::NoQuorum { seat, mirror: false }
                }
                (Role::Mirror, MirroringState::Disconnected) if gone && is_isolated(mirroring) => {
                    Obstacle::NoQuorum { seat, mirror: true }
                }
                // A mirror in another state is connected to its principal.
                (Role::Mirror, state)
                    if gone
                        && preconditions.satisfied(
                            Precondition::ForceDisconnected,
                            matches!(state, MirroringState::Disconnected | MirroringState::Suspended),
                        ) =>
                {
                    let suspended = state == MirroringState::Suspended;
                    Obstacle::PrincipalLost { seat: other, unavailable, witness, suspended }
                }
                (Role::Principal | Role::Mirror, _) => {
                    Obstacle::Unavailable { seat: other, unavailable, shown: Some(shown) }
                }
            }
        }
        Some(obstacle) => obstacle,
        None => Obstacle::Unsettled,
    };
    finding(principal, obstacle, mirroring.role == Role::Principal && database.state == DatabaseState::Online)
}

/// Both servers show a session.
fn assess_pair(preconditions: &Preconditions, name: &DatabaseName, primary: Half, mirror: Half) -> Finding {
    let (a, b) = (primary.2, mirror.2);
    let same_session = preconditions.satisfied(Precondition::SameGuid, a.guid == b.guid);
    let finding = |principal, obstacle, agreed, online| Finding {
        name: name.clone(),
        principal,
        obstacle,
        session: same_session.then_some(Session { guid: a.guid, role_sequence: a.role_sequence.max(b.role_sequence) }),
        agreed,
        online,
        service: Service::Unknown,
    };
    let contested = |obstacle| finding(None, Some(obstacle), false, false);
    if !same_session {
        let [primary, mirror] = [primary, mirror].map(|half| Shown::new(half.2, half.1.state));
        return contested(if (a.role, b.role) == (Role::Principal, Role::Principal) {
            Obstacle::TwoPrincipals { sessions: Some((primary, mirror)) }
        } else {
            Obstacle::GuidDiffers { primary, mirror }
        });
    }
    let (seat, held, following) = match (a.role, b.role) {
        (Role::Principal, Role::Mirror) => (Seat::Primary, primary, mirror),
        (Role::Mirror, Role::Principal) => (Seat::Mirror, mirror, primary),
        (Role::Principal, Role::Principal) if !preconditions.enforced(Precondition::ComplementaryRoles) => {
            (Seat::Primary, primary, mirror)
        }
        (Role::Principal, Role::Principal) => {
            return match (apart_without_quorum(a, b), isolated_principal(a, b)) {
                (Some(newer), _) => finding(newer, Some(Obstacle::ApartWithoutQuorum { newer }), false, false),
                (None, Some(old)) => {
                    let serving = if old == Seat::Primary { mirror.1 } else { primary.1 };
                    let online = serving.state == DatabaseState::Online;
                    let newer = if old == Seat::Primary { b } else { a };
                    let forced = newer.state == MirroringState::Suspended;
                    finding(Some(old.other()), Some(Obstacle::IsolatedPrincipal { seat: old, forced }), false, online)
                }
                (None, None) if is_stale_principal(a, b) => contested(Obstacle::Unsettled),
                (None, None) => contested(Obstacle::TwoPrincipals { sessions: None }),
            };
        }
        (Role::Mirror, Role::Mirror) if a.role_sequence == b.role_sequence && is_stable(a) && is_stable(b) => {
            return contested(Obstacle::NoPrincipal);
        }
        (Role::Mirror, Role::Mirror) => return contested(Obstacle::Unsettled),
    };
    let online = held.1.state == DatabaseState::Online;
    for (seat, own, partner) in [(Seat::Primary, a, mirror.0), (Seat::Mirror, b, primary.0)] {
        if !preconditions.satisfied(Precondition::PartnerIsTheOther, is_named(partner, &own.partner_instance)) {
            let obstacle =
                Obstacle::PartnerOutside { seat, names: own.partner_instance.clone(), expected: partner.name.clone() };
            return finding(None, Some(obstacle), false, false);
        }
    }
    finding(Some(seat), preflight(preconditions, seat, held, following), true, online)
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

/// The most severe obstacle, and the databases that share it with the same facts.
pub(crate) fn most_severe<'a>(findings: &'a [Finding], pair: &Pair) -> Option<(&'a Obstacle, String)> {
    let obstacles = || findings.iter().filter_map(|finding| finding.obstacle.as_ref());
    let worst = obstacles().min_by_key(|obstacle| obstacle.severity())?;
    Some((worst, list(alike(findings, worst, pair))))
}

/// The databases whose obstacle reads like this one.
fn alike<'a>(
    findings: &'a [Finding],
    obstacle: &Obstacle,
    pair: &'a Pair,
) -> impl Iterator<Item = &'a DatabaseName> + use<'a> {
    let (severity, problem) = (obstacle.severity(), obstacle.problem(pair));
    let alike = move |other: &Obstacle| other.severity() == severity && other.problem(pair) == problem;
    findings.iter().filter(move |finding| finding.obstacle.as_ref().is_some_and(&alike)).map(|finding| &finding.name)
}

/// The message of an obstacle of these databases, with those of equal severity whose facts are different: what one database
/// shows is not true of another.
pub(crate) fn message_of_all(findings: &[Finding], pair: &Pair, obstacle: &Obstacle, names: &str) -> String {
    problems_of_all(findings, pair, obstacle, obstacle.message(names, pair))
}

/// `message`: of the obstacle. What is observed of the others of the same severity follows it.
pub(crate) fn problems_of_all(findings: &[Finding], pair: &Pair, obstacle: &Obstacle, mut message: String) -> String {
    let mut listed = vec![obstacle.problem(pair)];
    for other in findings.iter().filter_map(|finding| finding.obstacle.as_ref()) {
        let problem = other.problem(pair);
        if other.severity() == obstacle.severity() && !listed.contains(&problem) {
            let names = list(alike(findings, other, pair));
            message.push_str(&format!(" Also {names}: {problem}."));
            listed.push(problem);
        }
    }
    message
}

/// The observed seat of the principals of these databases.
pub(crate) fn observed_principal(findings: &[Finding]) -> ObservedPrincipal {
    if let Some(seat) = seat_of(findings) {
        return seat.into();
    }
    let on = |seat| findings.iter().any(|finding| finding.principal == Some(seat));
    if on(Seat::Primary) && on(Seat::Mirror) { ObservedPrincipal::Split } else { ObservedPrincipal::Unknown }
}
