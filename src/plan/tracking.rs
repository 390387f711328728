//! The history of a type that a single poll cannot show: requests, durations and failures.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Cause, Desired, DesiredType, Outcome, Pair, PersistedState, Request, Seat, Stable, TypeTracking, UnrequestedSwitch,
    WitnessLink, later,
};
use crate::plan::finding::{Finding, epoch, seat_of};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Precondition;
use crate::plan::types::{Ended, Input};

/// Failed moves, or unrequested switches within a day of each other, after which the circuit breaker of a type opens (R9).
pub const TRIPS: u32 = 3;
const QUIET: Duration = Duration::from_secs(24 * 3600);

/// Why the circuit breaker of a type is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tripped {
    Failures(u32),
    /// Closes by itself at this time if the type stays quiet.
    Switches(u32, Timestamp),
}

pub(crate) fn tripped(tracking: &TypeTracking, now: Timestamp) -> Option<Tripped> {
    if tracking.consecutive_failures >= TRIPS {
        return Some(Tripped::Failures(tracking.consecutive_failures));
    }
    let quiet = later(tracking.last_unrequested_switch?, QUIET);
    (tracking.unrequested_switches >= TRIPS && now < quiet)
        .then_some(Tripped::Switches(tracking.unrequested_switches, quiet))
}

/// How long after the end of a move the next one of the type may start: longer with every failure (R9).
pub(crate) fn cooldown(desired: &Desired, tracking: &TypeTracking) -> Duration {
    let Some(doublings) = tracking.consecutive_failures.checked_sub(1) else { return desired.policy.cooldown };
    desired.policy.cooldown.max(FIRST_PAUSE).saturating_mul(1 << doublings.min(10)).min(QUIET)
}

/// The shortest pause after a failed move, even with policy.cooldown 0s.
const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// Updates the persisted state of one type from the observation.
pub(crate) fn update(
    input: &Input,
    persisted: &mut PersistedState,
    desired_type: &DesiredType,
    findings: &[Finding],
    ended: Option<&Ended>,
) {
    let now = input.now;
    let mut tracking = persisted.tracking.remove(&desired_type.ty).unwrap_or_default();
    let moving = persisted.operation.as_ref().is_some_and(|operation| operation.ty == desired_type.ty);
    if update_request(input, persisted, desired_type, findings, moving) {
        // The user changed the spec: reset the failure counters.
        (tracking.consecutive_failures, tracking.unrequested_switches, tracking.last_unrequested_switch) = (0, 0, None);
    }
    let ended = ended.filter(|ended| ended.operation.ty == desired_type.ty);
    let settled = findings.iter().all(|finding| finding.agreed).then(|| seat_of(findings)).flatten();
    match ended.map(|ended| (ended.outcome, ended.operation.to)) {
        Some((Outcome::Succeeded, to)) => (tracking.consecutive_failures, tracking.last_settled_seat) = (0, Some(to)),
        Some((Outcome::Failed | Outcome::Partial, _)) => {
            tracking.consecutive_failures = tracking.consecutive_failures.saturating_add(1);
            tracking.last_settled_seat = settled.or(tracking.last_settled_seat);
        }
        Some((Outcome::Superseded, _)) => tracking.last_settled_seat = settled.or(tracking.last_settled_seat),
        None if moving => {}
        None => record_unrequested_switch(&mut tracking, settled, now),
    }
    tracking.stable = match (input.desired.policy.unrequested_switch, epoch(findings)) {
        (UnrequestedSwitch::FailBack, Some(epoch))
            if !moving && is_stable_off_seat(input.observation.pair(desired_type.store), desired_type, findings) =>
        {
            let since = tracking
                .stable
                .filter(|stable| {
                    input.satisfied(Precondition::StableInOneState, stable.epoch == epoch) && stable.since <= now
                })
                .map_or(now, |stable| stable.since);
            Some(Stable { epoch, since })
        }
        (UnrequestedSwitch::FailBack | UnrequestedSwitch::Hold, _) => None,
    };
    let lost = findings
        .iter()
        .any(|finding| matches!(finding.obstacle, Some(Obstacle::PrincipalLost { .. } | Obstacle::NoQuorum { .. })));
    tracking.principal_lost_since = lost.then(|| tracking.principal_lost_since.unwrap_or(now));
    persisted.tracking.insert(desired_type.ty, tracking);
}

/// A changed principal is pending until both servers show it; any other difference is unrequested. True if the spec
/// changed the principal.
fn update_request(
    input: &Input,
    persisted: &mut PersistedState,
    desired_type: &DesiredType,
    findings: &[Finding],
    moving: bool,
) -> bool {
    let known = persisted.requests.get(&desired_type.ty).copied();
    let request = match known {
        Some(request) if request.principal == desired_type.principal => request,
        Some(_) => Request { principal: desired_type.principal, generation: input.desired.generation, pending: true },
        // First observation: no change of the spec requested the present state.
        None => Request {
            principal: desired_type.principal,
            generation: input.desired.generation,
            pending: !input.enforced(Precondition::FirstObservationIsNoRequest),
        },
    };
    let there = findings
        .iter()
        .all(|finding| finding.agreed && finding.online && finding.principal == Some(desired_type.principal));
    persisted.requests.insert(desired_type.ty, Request { pending: request.pending && (moving || !there), ..request });
    known.is_some_and(|known| known.principal != desired_type.principal)
}

/// The type moved without the operator: by an automatic failover, or by a DBA.
fn record_unrequested_switch(tracking: &mut TypeTracking, settled: Option<Seat>, now: Timestamp) {
    let Some(seat) = settled else { return };
    if tracking.last_settled_seat.is_some_and(|before| before != seat) {
        let fresh = tracking.last_unrequested_switch.is_some_and(|switched| now < later(switched, QUIET));
        tracking.unrequested_switches = if fresh { tracking.unrequested_switches.saturating_add(1) } else { 1 };
        tracking.last_unrequested_switch = Some(now);
    }
    tracking.last_settled_seat = Some(seat);
}

/// In the other seat, without an obstacle, and with the witness connected on both servers (R8, R15).
fn is_stable_off_seat(pair: &Pair, desired_type: &DesiredType, findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.obstacle.is_none())
        && findings.iter().any(|finding| finding.principal == Some(desired_type.principal.other()))
        && witnessed(pair, desired_type)
}

/// Every session of the type has a witness that both partners are connected to.
pub(crate) fn witnessed(pair: &Pair, desired_type: &DesiredType) -> bool {
    desired_type.databases.iter().all(|name| {
        Seat::BOTH.into_iter().all(|seat| {
            let row = pair.view(seat).available().and_then(|server| server.databases.get(name)?.mirroring.as_ref());
            row.is_some_and(|row| row.witness == WitnessLink::Connected)
        })
    })
}

/// Records the start of a move: an approval resets the failure counters, and a consent is consumed.
pub(crate) fn operation_started(persisted: &mut PersistedState, desired_type: &DesiredType, cause: Cause) {
    let tracking = persisted.tracking.entry(desired_type.ty).or_default();
    match cause {
        Cause::Approved => {
            (tracking.consecutive_failures, tracking.unrequested_switches, tracking.last_unrequested_switch) =
                (0, 0, None)
        }
        Cause::ForcedService => {
            tracking.consumed_consent_epoch = desired_type.force.as_ref().map(|force| force.epoch.clone())
        }
        Cause::Intent | Cause::FailBack => {}
    }
    tracking.stable = None;
}
