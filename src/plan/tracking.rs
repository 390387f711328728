//! The history of a type that a single poll cannot show: requests, durations and failures.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Absence, Attempt, Cause, Desired, DesiredType, Evidence, ForceService, MirroringState, Outcome, Pair,
    PersistedState, Request, Seat, ServerObservation, Stable, TransitionKind, TypeTracking, UnrequestedSwitch,
    WitnessLink, later,
};
use crate::plan::consents;
use crate::plan::finding::{Finding, epoch, seat_of};
use crate::plan::forced_record;
use crate::plan::identity::{self, SameServers};
use crate::plan::obstacle::{Obstacle, Shown};
use crate::plan::precondition::Precondition;
use crate::plan::roles;
use crate::plan::row::same_name;
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

/// How long after a forced service that failed the same consent is tried again.
pub(crate) fn failure_pause(tracking: &TypeTracking) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << tracking.consecutive_failures.saturating_sub(1).min(10)).min(QUIET)
}

/// The shortest pause after a failed move, even with policy.cooldown 0s.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// Updates the persisted state of one type from the observation.
pub(crate) fn update(
    input: &Input,
    persisted: &mut PersistedState,
    desired_type: &DesiredType,
    findings: &mut [Finding],
    ended: Option<&Ended>,
) {
    let now = input.now;
    let pair = input.observation.pair(desired_type.store);
    let moving = persisted.operation.as_ref().is_some_and(|operation| operation.ty == desired_type.ty);
    let ended = ended.filter(|ended| ended.operation.ty == desired_type.ty);
    if !moving {
        identity::forget_foreign_state(input, persisted, desired_type, findings);
    }
    let mut tracking = persisted.tracking.remove(&desired_type.ty).unwrap_or_default();
    let servers = identity::recognize(&tracking, pair, findings);
    let exchanged = servers == SameServers::Exchanged;
    if servers == SameServers::Yes {
        follow_roles(persisted, &mut tracking, desired_type, pair, findings);
    }
    track_transitions(input, &mut tracking, findings, moving);
    if update_request(input, persisted, &tracking, desired_type, findings, moving) {
        // The user changed the spec: reset the failure counters.
        (tracking.consecutive_failures, tracking.unrequested_switches, tracking.last_unrequested_switch) = (0, 0, None);
        tracking.was_aligned = false;
    }
    fulfil_request(persisted, desired_type, ended);
    let settled = findings.iter().all(|finding| finding.agreed).then(|| seat_of(findings)).flatten();
    let server = |seat: Option<Seat>| seat.and_then(|seat| Some(pair.view(seat).available()?.name.clone()));
    match ended.map(|ended| ended.outcome) {
        Some(Outcome::Succeeded) => tracking.consecutive_failures = 0,
        // A limit of the operator is no failure of the servers, which the circuit breaker would have to protect.
        Some(Outcome::Failed) if ended.is_some_and(|ended| ended.limited) => {}
        Some(Outcome::Failed | Outcome::Partial | Outcome::Unknown) => {
            tracking.consecutive_failures = tracking.consecutive_failures.saturating_add(1);
        }
        Some(Outcome::Superseded) => {}
        None if moving => {}
        None => {
            // Only a server that agrees on every database is a partner, under whatever name: the one behind a mistyped host is not.
            if findings.iter().all(|finding| finding.agreed) {
                // A renamed server is the same server, and has not switched.
                let before = tracking.last_settled_server.take();
                let name = |before| identity::present_name(&tracking, pair, findings, before);
                tracking.last_settled_server = before.map(name);
            }
            record_unrequested_switch(&mut tracking, server(settled), now);
        }
    }
    consents::follow(input, &mut tracking, desired_type, ended);
    if ended.is_some() {
        let reached = ended
            .filter(|ended| ended.outcome == Outcome::Succeeded)
            .and_then(|ended| ended.operation.to_server.clone());
        tracking.last_settled_server = reached.or(server(settled)).or(tracking.last_settled_server);
    }
    tracking.was_aligned |= settled == Some(desired_type.principal);
    tracking.stable = stable(input, &tracking, desired_type, findings, moving);
    tracking.principal_lost_since = lost_since(tracking.principal_lost_since, pair, desired_type, findings, now);
    tracking.approval = approval(tracking.approval.take(), desired_type, now);
    tracking.absence = absence(input, tracking.absence, pair, findings);
    forced_record::follow(input, persisted, desired_type, findings);
    // The seats of an exchange stay in question until the principal is where the spec wants it.
    let in_question =
        exchanged && settled != Some(desired_type.principal) && input.enforced(Precondition::SeatsNotExchanged);
    // A session that is new during a move must still be unknown when the move ends.
    if !moving && !in_question && identity::record(&mut tracking, pair, findings) {
        roles::record(&mut tracking, pair, findings);
    }
    persisted.tracking.insert(desired_type.ty, tracking);
}

/// The message about a forced service has more facts than that about an older principal, where it applies.
fn follow_roles(
    persisted: &PersistedState,
    tracking: &mut TypeTracking,
    desired_type: &DesiredType,
    pair: &Pair,
    findings: &mut [Finding],
) {
    roles::follow(tracking, pair);
    let is_forced = persisted.last.get(&desired_type.ty).is_some_and(Attempt::may_be_forced);
    if !is_forced || !findings.iter().all(|finding| finding.online) {
        roles::mark(tracking, pair, findings);
    }
}

/// A pass that proves nothing, as without credentials, does not end the loss.
fn lost_since(
    since: Option<Timestamp>,
    pair: &Pair,
    desired_type: &DesiredType,
    findings: &[Finding],
    now: Timestamp,
) -> Option<Timestamp> {
    let is_over = || consents::is_back(pair, desired_type) || findings.iter().all(|finding| finding.online);
    if is_lost(findings) { since.or(Some(now)) } else { since.filter(|_| !is_over()) }
}

fn is_lost(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| {
        matches!(
            finding.obstacle,
            Some(Obstacle::PrincipalLost { .. } | Obstacle::NoQuorum { .. } | Obstacle::ApartWithoutQuorum { .. })
        )
    })
}

/// A recorded time in the future comes from an edited status or a clock that jumped.
fn earliest(recorded: Option<Timestamp>, now: Timestamp) -> Timestamp {
    recorded.filter(|at| *at <= now).unwrap_or(now)
}

/// Since when the type has been in a transition of each kind, or during a move in a contradiction. The equality of the role
/// sequences of both partners is not documented: a difference delays a move like a transition, and no longer than one.
fn track_transitions(input: &Input, tracking: &mut TypeTracking, findings: &mut [Finding], moving: bool) {
    let now = input.now;
    if moving {
        let found = findings.iter().any(|finding| finding.obstacle.as_ref().is_some_and(Obstacle::is_contradiction));
        return track_kinds(tracking, now, found.then_some(TransitionKind::Contradiction).into_iter());
    }
    track_kinds(tracking, now, findings.iter().filter_map(|finding| finding.obstacle.as_ref()?.tracked()));
    let differs = |obstacle: &Obstacle| matches!(obstacle, Obstacle::SequencesDiffer { .. });
    let unequal = findings.iter().any(|finding| finding.obstacle.as_ref().is_some_and(differs));
    tracking.sequences_differ_since = unequal.then(|| earliest(tracking.sequences_differ_since, now));
    if tracking.sequences_differ_since.is_some_and(|since| now >= later(since, input.desired.policy.switch_deadline)) {
        for finding in findings {
            finding.obstacle.take_if(|obstacle| differs(obstacle));
        }
    }
}

/// Keeps the times of these kinds, and forgets those of the others.
fn track_kinds(tracking: &mut TypeTracking, now: Timestamp, kinds: impl Iterator<Item = TransitionKind>) {
    let known = std::mem::take(&mut tracking.transitions);
    tracking.transitions = kinds.map(|kind| (kind, earliest(known.get(&kind).copied(), now))).collect();
}

/// Since when a fail-back could be due.
fn stable(
    input: &Input,
    tracking: &TypeTracking,
    desired_type: &DesiredType,
    findings: &[Finding],
    moving: bool,
) -> Option<Stable> {
    let pair = input.observation.pair(desired_type.store);
    match (input.desired.policy.unrequested_switch, epoch(findings)) {
        (UnrequestedSwitch::FailBack, Some(epoch)) if !moving && is_stable_off_seat(pair, desired_type, findings) => {
            let since = tracking
                .stable
                .as_ref()
                .filter(|stable| {
                    input.satisfied(Precondition::StableInOneState, stable.epoch == epoch) && stable.since <= input.now
                })
                .map_or(input.now, |stable| stable.since);
            Some(Stable { epoch, since })
        }
        (UnrequestedSwitch::FailBack | UnrequestedSwitch::Hold, _) => None,
    }
}

/// A partner that was away counts as away until it has been back and synchronized for policy.settleAfter.
fn absence(input: &Input, before: Option<Absence>, pair: &Pair, findings: &[Finding]) -> Option<Absence> {
    let silent = Seat::BOTH.into_iter().any(|seat| match pair.view(seat) {
        ServerObservation::Available { .. } => false,
        ServerObservation::Unavailable { unavailable, .. } => {
            unavailable.cause.evidence() == Evidence::NotAnswering || unavailable.cause.is_restart()
        }
    });
    let apart = findings.iter().any(|finding| {
        matches!(
            finding.obstacle,
            Some(
                Obstacle::Disconnected
                    | Obstacle::PrincipalLost { .. }
                    | Obstacle::NoQuorum { .. }
                    | Obstacle::ApartWithoutQuorum { .. }
                    | Obstacle::OlderPrincipal { .. }
                    | Obstacle::IsolatedPrincipal { .. }
                    | Obstacle::Recovering { .. }
                    | Obstacle::Unavailable { shown: Some(Shown { state: MirroringState::Disconnected, .. }), .. }
            )
        )
    });
    if silent || apart {
        return Some(Absence::Away);
    }
    let synchronized = findings.iter().all(|finding| finding.obstacle.is_none());
    let since = match before? {
        Absence::BackSince(since) if synchronized && since <= input.now => since,
        Absence::Away | Absence::BackSince(_) if synchronized => input.now,
        Absence::Away | Absence::BackSince(_) => return Some(Absence::Away),
    };
    (input.now < later(since, input.desired.policy.settle_after)).then_some(Absence::BackSince(since))
}

/// A changed principal is pending until both servers show it; any other difference is unrequested. True if the spec
/// changed the principal.
fn update_request(
    input: &Input,
    persisted: &mut PersistedState,
    tracking: &TypeTracking,
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
    let is_forced = persisted.last.get(&desired_type.ty).is_some_and(Attempt::may_be_forced);
    let is_known = |finding: &Finding| !is_forced && identity::is_known_session(&tracking.sessions, finding);
    // A principal that is read alone is enough: the spec then keeps what is there, and asks for no move of later.
    let there = findings.iter().all(|finding| {
        (finding.agreed || is_known(finding)) && finding.online && finding.principal == Some(desired_type.principal)
    });
    persisted.requests.insert(desired_type.ty, Request { pending: request.pending && (moving || !there), ..request });
    known.is_some_and(|known| known.principal != desired_type.principal)
}

/// The approval in the spec, since it was first seen.
fn approval(seen: Option<Stable>, desired_type: &DesiredType, now: Timestamp) -> Option<Stable> {
    let approve = desired_type.approve.as_ref()?;
    let known = seen.filter(|seen| seen.epoch == approve.epoch);
    Some(known.unwrap_or_else(|| Stable { epoch: approve.epoch.clone(), since: now }))
}

/// A move that succeeded has fulfilled its request, also where only the new principal was read, and so has one whose databases
/// someone else moved on: what follows is another change, which the spec does not request.
fn fulfil_request(persisted: &mut PersistedState, desired_type: &DesiredType, ended: Option<&Ended>) {
    let reached = |ended: &Ended| {
        (ended.outcome == Outcome::Succeeded || ended.diverged) && ended.operation.to == desired_type.principal
    };
    if ended.is_some_and(reached) {
        persisted.requests.entry(desired_type.ty).and_modify(|request| request.pending = false);
    }
}

/// The type moved without the operator: by an automatic failover, or by a DBA.
fn record_unrequested_switch(tracking: &mut TypeTracking, settled: Option<String>, now: Timestamp) {
    let Some(server) = settled else { return };
    if tracking.last_settled_server.as_deref().is_some_and(|before| !same_name(before, &server)) {
        let fresh = tracking.last_unrequested_switch.is_some_and(|switched| now < later(switched, QUIET));
        tracking.unrequested_switches = if fresh { tracking.unrequested_switches.saturating_add(1) } else { 1 };
        tracking.last_unrequested_switch = Some(now);
    }
    tracking.last_settled_server = Some(server);
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
        Seat::BOTH.into_iter().all(|seat| pair.row(seat, name).is_some_and(|row| row.witness == WitnessLink::Connected))
    })
}

/// Records the start of a move: an approval resets the failure counters, and a consent is consumed.
pub(crate) fn operation_started(
    persisted: &mut PersistedState,
    desired_type: &DesiredType,
    cause: Cause,
    now: Timestamp,
) {
    let last = persisted.last.get(&desired_type.ty).map(Attempt::last_end);
    let tracking = persisted.tracking.entry(desired_type.ty).or_default();
    let since = tracking.approval.as_ref().map(|approval| approval.since);
    let is_new_approval = last.zip(since).is_none_or(|(ended, since)| since >= ended);
    match cause {
        // An approval resets them once. The failures of its own moves count.
        Cause::Approved if is_new_approval => {
            (tracking.consecutive_failures, tracking.unrequested_switches, tracking.last_unrequested_switch) =
                (0, 0, None)
        }
        Cause::ForcedService => {
            let used = desired_type.force.as_ref().map(ForceService::consent);
            if let Some(before) = std::mem::replace(&mut tracking.consumed_consent, used) {
                consents::end(tracking, before, now);
            }
        }
        Cause::Approved | Cause::Intent | Cause::FailBack => {}
    }
    tracking.stable = None;
}
