//! The conditions of a planned failover, on complementary roles of one session (R3).

use crate::model::{Database, DatabaseState, Mirroring, MirroringState, Safety, Seat, Server};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::{Precondition, Preconditions};
use crate::plan::row::is_isolated;
use crate::plan::version::is_newer;

/// A server, a database on it, and its row.
pub(crate) type Half<'a> = (&'a Server, &'a Database, &'a Mirroring);

/// The first obstacle. `seat`: that of the principal.
pub(crate) fn preflight(preconditions: &Preconditions, seat: Seat, held: Half, following: Half) -> Option<Obstacle> {
    copies(preconditions, seat, held, following)
        .or_else(|| safety_off(preconditions, held, following))
        .or_else(|| session_state(preconditions, seat, held, following))
        .or_else(|| endpoint(preconditions, seat, held, following))
        .or_else(|| undocumented(preconditions, held, following))
}

/// The principal is ONLINE and its mirror RESTORING. A copy in another state explains the state of the session, so it is first.
fn copies(
    preconditions: &Preconditions,
    seat: Seat,
    (_, database, principal): Half,
    (_, copy, following): Half,
) -> Option<Obstacle> {
    if !preconditions.satisfied(Precondition::DatabaseOnline, database.state == DatabaseState::Online) {
        return Some(if is_isolated(principal) {
            Obstacle::NoQuorum { seat, mirror: false }
        } else {
            Obstacle::not_open(seat, database.state)
        });
    }
    // "Mirror, Disconnected / In Recovery": without its partner, a mirror can show RECOVERING for as long as it is alone.
    let waits = copy.state == DatabaseState::Recovering && following.state == MirroringState::Disconnected;
    let usable = copy.state == DatabaseState::Restoring || waits;
    (!preconditions.satisfied(Precondition::MirrorRestoring, usable))
        .then(|| Obstacle::not_open(seat.other(), copy.state))
}

/// Safety UNKNOWN is no proof that safety is OFF.
fn safety_off(preconditions: &Preconditions, (.., principal): Half, (.., mirror): Half) -> Option<Obstacle> {
    let off = [principal.safety, mirror.safety].contains(&Safety::Off);
    (!preconditions.satisfied(Precondition::SafetyFull, !off)).then_some(Obstacle::SafetyOff)
}

fn session_state(preconditions: &Preconditions, seat: Seat, held: Half, following: Half) -> Option<Obstacle> {
    use MirroringState::*;
    let ((server, _, principal), (partner, _, mirror)) = (held, following);
    // A stopped endpoint explains a lost connection.
    let apart = |obstacle| endpoint(preconditions, seat, held, following).or(Some(obstacle));
    match (effective(preconditions, principal.state), effective(preconditions, mirror.state)) {
        (Suspended, _) | (_, Suspended) => {
            let newer = is_newer(&server.version, &partner.version);
            let versions = newer.then(|| (server.version.clone(), partner.version.clone()));
            Some(Obstacle::Suspended { principal: seat, versions })
        }
        (PendingFailover, _) | (_, PendingFailover) => Some(Obstacle::FailoverInProgress),
        (Disconnected, Disconnected) => apart(Obstacle::Disconnected),
        // The partners normally report one state: two different ones are a transition, or rows of two moments.
        (Disconnected, _) | (_, Disconnected) => apart(Obstacle::Unsettled),
        (Synchronizing, _) | (_, Synchronizing) => Some(Obstacle::Synchronizing),
        (Unknown(number), _) => Some(Obstacle::UndocumentedState { seat, number }),
        (_, Unknown(number)) => Some(Obstacle::UndocumentedState { seat: seat.other(), number }),
        (Synchronized, Synchronized) => None,
    }
}

fn endpoint(preconditions: &Preconditions, seat: Seat, (server, ..): Half, (partner, ..): Half) -> Option<Obstacle> {
    let missing = [(seat, server), (seat.other(), partner)].into_iter().find(|(_, server)| {
        let usable = server.endpoint.as_ref().is_some_and(|endpoint| endpoint.started && endpoint.partner);
        !preconditions.satisfied(Precondition::EndpointStarted, usable)
    });
    missing.map(|(seat, server)| Obstacle::EndpointStopped { seat, endpoint: server.endpoint.clone() })
}

/// What Microsoft does not document: it delays a move for a time and is reported.
fn undocumented(preconditions: &Preconditions, (.., principal): Half, (.., mirror): Half) -> Option<Obstacle> {
    if !preconditions
        .satisfied(Precondition::SafetyFull, [principal.safety, mirror.safety] == [Safety::Full, Safety::Full])
    {
        return Some(Obstacle::Unsettled);
    }
    let (ours, theirs) = (principal.role_sequence, mirror.role_sequence);
    (!preconditions.satisfied(Precondition::SameRoleSequence, ours == theirs))
        .then_some(Obstacle::SequencesDiffer { principal: ours, mirror: theirs })
}

/// The effective state in the preflight: a state whose precondition is not enforced counts as SYNCHRONIZED.
fn effective(preconditions: &Preconditions, state: MirroringState) -> MirroringState {
    let precondition = match state {
        MirroringState::Suspended => Precondition::MirroringNotSuspended,
        MirroringState::PendingFailover => Precondition::NoFailoverUnderWay,
        MirroringState::Disconnected => Precondition::PartnersConnected,
        MirroringState::Synchronizing => Precondition::CaughtUp,
        MirroringState::Unknown(_) => Precondition::StateKnown,
        MirroringState::Synchronized => return state,
    };
    if preconditions.enforced(precondition) { state } else { MirroringState::Synchronized }
}
