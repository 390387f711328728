//! What a single look cannot show: whose wish it was, how long things have been so, and how often they went wrong.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Cause, Desired, Memory, Outcome, Pair, Request, Side, Steady, Track, UnrequestedSwitch, Wish, WitnessLink, later,
};
use crate::plan::finding::{Finding, epoch, seat_of};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Rule;
use crate::plan::types::{Ended, Input};

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
pub(crate) fn update(input: &Input, memory: &mut Memory, wish: &Wish, findings: &[Finding], ended: Option<&Ended>) {
    let now = input.now;
    let mut track = memory.tracks.remove(&wish.ty).unwrap_or_default();
    let moving = memory.operation.as_ref().is_some_and(|operation| operation.ty == wish.ty);
    if update_request(input, memory, wish, findings, moving) {
        // The user changed the spec: reset the failure counters.
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
    track.steady = match (input.desired.policy.unrequested_switch, epoch(findings)) {
        (UnrequestedSwitch::FailBack, Some(epoch))
            if !moving && is_steady(input.seen.pair(wish.store), wish, findings) =>
        {
            let since = track
                .steady
                .filter(|steady| input.satisfied(Rule::SteadyInOneState, steady.epoch == epoch) && steady.since <= now)
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
fn update_request(input: &Input, memory: &mut Memory, wish: &Wish, findings: &[Finding], moving: bool) -> bool {
    let known = memory.requests.get(&wish.ty).copied();
    let request = match known {
        Some(request) if request.principal == wish.principal => request,
        Some(_) => Request { principal: wish.principal, generation: input.desired.generation, owed: true },
        // First seen: what is there already was not asked for by a change.
        None => Request {
            principal: wish.principal,
            generation: input.desired.generation,
            owed: !input.enforced(Rule::FirstSightIsNoRequest),
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
fn is_steady(pair: &Pair, wish: &Wish, findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.obstacle.is_none())
        && findings.iter().any(|finding| finding.principal == Some(wish.principal.other()))
        && witnessed(pair, wish)
}

/// Every session of the type has a witness that both partners see.
pub(crate) fn witnessed(pair: &Pair, wish: &Wish) -> bool {
    wish.databases.iter().all(|name| {
        Side::BOTH.into_iter().all(|side| {
            let row = pair.view(side).lit().and_then(|server| server.databases.get(name)?.mirroring.as_ref());
            row.is_some_and(|row| row.witness == WitnessLink::Connected)
        })
    })
}

/// A move begins: what a person released counts as a new start, and a consent is used up.
pub(crate) fn operation_started(memory: &mut Memory, wish: &Wish, cause: Cause) {
    let track = memory.tracks.entry(wish.ty).or_default();
    match cause {
        Cause::Approved => (track.failures, track.switches, track.switched) = (0, 0, None),
        Cause::ForcedService => track.consumed = wish.force.as_ref().map(|force| force.epoch.clone()),
        Cause::Intent | Cause::FailBack => {}
    }
    track.steady = None;
}
