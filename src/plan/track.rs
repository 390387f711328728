//! What a single look cannot show: whose wish it was, how long things have been so, and how often they went wrong.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Cause, Desired, Memory, Observation, Outcome, Request, Side, Steady, Track, UnrequestedSwitch, Wish, WitnessLink,
    later,
};
use crate::plan::rule::stands;
use crate::plan::{Ended, Finding, Obstacle, Rule, epoch, holds, seat_of};

/// Failed moves, or unrequested switches within a day of each other, after which a type is left alone (R9).
pub const TRIPS: u32 = 3;
const QUIET: Duration = Duration::from_secs(24 * 3600);

/// Why the operator leaves a type alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tripped {
    Failures(u32),
    /// Closes by itself at this time if the type stays quiet.
    Switches(u32, Timestamp),
}

pub(crate) fn tripped(track: &Track, now: Timestamp) -> Option<Tripped> {
    if track.failures >= TRIPS {
        return Some(Tripped::Failures(track.failures));
    }
    let quiet = later(track.switched?, QUIET);
    (track.switches >= TRIPS && now < quiet).then_some(Tripped::Switches(track.switches, quiet))
}

/// How long after the end of a move the next one of the type may start: longer with every failure (R9).
pub(crate) fn cooldown(desired: &Desired, track: &Track) -> Duration {
    let Some(doublings) = track.failures.checked_sub(1) else { return desired.policy.cooldown };
    desired.policy.cooldown.max(FIRST_PAUSE).saturating_mul(1 << doublings.min(10)).min(QUIET)
}

/// Even with policy.cooldown 0s a move that failed is not tried again at once.
const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// Brings the memory of one type up to what is seen.
pub(crate) fn update(
    memory: &mut Memory,
    desired: &Desired,
    seen: &Observation,
    wish: &Wish,
    findings: &[Finding],
    ended: Option<&Ended>,
    now: Timestamp,
) {
    let mut track = memory.tracks.remove(&wish.ty).unwrap_or_default();
    let moving = memory.operation.as_ref().is_some_and(|operation| operation.ty == wish.ty);
    if recall(memory, desired, wish, findings, moving) {
        // A person has spoken.
        (track.failures, track.switches, track.switched) = (0, 0, None);
    }
    let ended = ended.filter(|ended| ended.operation.ty == wish.ty);
    let settled = findings.iter().all(|finding| finding.agreed).then(|| seat_of(findings)).flatten();
    match ended.map(|ended| (ended.outcome, ended.operation.to)) {
        Some((Outcome::Succeeded, to)) => (track.failures, track.seat) = (0, Some(to)),
        Some((Outcome::Failed | Outcome::Partial, _)) => {
            track.failures = track.failures.saturating_add(1);
            track.seat = settled.or(track.seat);
        }
        Some((Outcome::Superseded, _)) => track.seat = settled.or(track.seat),
        None if moving => {}
        None => notice(&mut track, settled, now),
    }
    track.steady = match (desired.policy.unrequested_switch, epoch(findings)) {
        (UnrequestedSwitch::FailBack, Some(epoch)) if !moving && is_steady(seen, wish, findings) => {
            let since = track
                .steady
                .filter(|steady| holds(Rule::SteadyInOneState, steady.epoch == epoch) && steady.since <= now)
                .map_or(now, |steady| steady.since);
            Some(Steady { epoch, since })
        }
        (UnrequestedSwitch::FailBack | UnrequestedSwitch::Hold, _) => None,
    };
    let lost = findings
        .iter()
        .any(|finding| matches!(finding.obstacle, Some(Obstacle::PrincipalLost { .. } | Obstacle::NoQuorum { .. })));
    track.lost = lost.then(|| track.lost.unwrap_or(now));
    memory.tracks.insert(wish.ty, track);
}

/// A changed principal is owed until it is seen; anything else is drift. True when the wish is a new one.
fn recall(memory: &mut Memory, desired: &Desired, wish: &Wish, findings: &[Finding], moving: bool) -> bool {
    let known = memory.requests.get(&wish.ty).copied();
    let request = match known {
        Some(request) if request.principal == wish.principal => request,
        Some(_) => Request { principal: wish.principal, generation: desired.generation, owed: true },
        // First seen: what is there already was not asked for by a change.
        None => Request {
            principal: wish.principal,
            generation: desired.generation,
            owed: !stands(Rule::FirstSightIsNoRequest),
        },
    };
    let there =
        findings.iter().all(|finding| finding.agreed && finding.online && finding.principal == Some(wish.principal));
    memory.requests.insert(wish.ty, Request { owed: request.owed && (moving || !there), ..request });
    known.is_some_and(|known| known.principal != wish.principal)
}

/// Somebody else moved the type: the witness, or a DBA.
fn notice(track: &mut Track, settled: Option<Side>, now: Timestamp) {
    let Some(seat) = settled else { return };
    if track.seat.is_some_and(|before| before != seat) {
        let fresh = track.switched.is_some_and(|switched| now < later(switched, QUIET));
        track.switches = if fresh { track.switches.saturating_add(1) } else { 1 };
        track.switched = Some(now);
    }
    track.seat = Some(seat);
}

/// Off its seat, in full health, and the witness connected on both sides (R8, R15).
fn is_steady(seen: &Observation, wish: &Wish, findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.obstacle.is_none())
        && findings.iter().any(|finding| finding.principal == Some(wish.principal.other()))
        && witnessed(seen, wish)
}

/// Every session of the type has a witness that both partners see.
pub(crate) fn witnessed(seen: &Observation, wish: &Wish) -> bool {
    let Some(pair) = seen.pairs.get(wish.store) else { return false };
    wish.databases.iter().all(|name| {
        Side::BOTH.into_iter().all(|side| {
            let row = pair.view(side).lit().and_then(|server| server.databases.get(name)?.mirroring.as_ref());
            row.is_some_and(|row| row.witness == WitnessLink::Connected)
        })
    })
}

/// A move begins: what a person released counts as a new start, and a consent is used up.
pub(crate) fn begun(memory: &mut Memory, wish: &Wish, cause: Cause) {
    let track = memory.tracks.entry(wish.ty).or_default();
    match cause {
        Cause::Approved => (track.failures, track.switches, track.switched) = (0, 0, None),
        Cause::ForcedService => track.consumed = wish.force.as_ref().map(|force| force.epoch.clone()),
        Cause::Intent | Cause::FailBack => {}
    }
    track.steady = None;
}
