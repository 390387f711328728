//! The gates that delay a move that the servers would allow: suspension, circuit breaker, cooldown, predicted interruption, and
//! for a fail-back time and maintenance windows. Each gate names itself and when it opens.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Absence, Cause, Outcome, Reason, Window, duration_text, later};
use crate::plan::estimate::predict;
use crate::plan::finding::epoch;
use crate::plan::precondition::Precondition;
use crate::plan::text::{coarse, list, second};
use crate::plan::tracking::{FIRST_PAUSE, Tripped, cooldown, tripped};
use crate::plan::types::{Case, Verdict};

/// The gate that is closed: suspension and circuit breaker first, then the gate that time opens last.
pub(crate) fn closed(case: &Case, cause: Cause, approved: bool) -> Option<Verdict> {
    suspension(case)
        .or_else(|| if approved { None } else { breaker(case) })
        .or_else(|| waits_for_time(case, cause))
        .or_else(|| max_interruption(case))
}

/// The latest of all times that the move waits for, so that the message names the time at which it can begin.
fn waits_for_time(case: &Case, cause: Cause) -> Option<Verdict> {
    let fails_back = cause == Cause::FailBack;
    let delay = if fails_back { fail_back_delay(case) } else { None };
    let latest = [settling(case), delay, cooldown_gate(case)].into_iter().flatten().max_by_key(|verdict| verdict.until);
    let from = latest.as_ref().and_then(|verdict| verdict.until).unwrap_or(case.input.now);
    let window = if fails_back { maintenance_window(case, from) } else { None };
    window.or(latest)
}

/// A server that was away may go away again: the move waits until it has been back for a time.
fn settling(case: &Case) -> Option<Verdict> {
    let since = match case.tracking.absence? {
        Absence::BackSince(since) => since,
        Absence::Away => case.input.now,
    };
    let end = later(since, case.input.desired.policy.settle_after);
    if case.input.satisfied(Precondition::SettledAfterAbsence, case.input.now >= end) {
        return None;
    }
    let message = format!(
        "{} waits until {} (policy.settleAfter), as a server was away and both have been synchronized since {}.",
        failover(case),
        second(end),
        second(since)
    );
    Some(Verdict { until: Some(end), ..Verdict::waiting(Reason::Settling, message) })
}

/// `Failover of User to the mirror`.
fn failover(case: &Case) -> String {
    format!("Failover of {} to the {}", case.desired_type.ty, case.pair.label(case.desired_type.principal))
}

/// `Fail-back of User to the primary`.
fn fail_back(case: &Case) -> String {
    format!("Fail-back of {} to the {}", case.desired_type.ty, case.pair.label(case.desired_type.principal))
}

fn suspension(case: &Case) -> Option<Verdict> {
    let suspend = case.input.desired.suspend.as_ref();
    let suspend = suspend.filter(|_| case.input.is_suspended() && case.input.enforced(Precondition::NotSuspended))?;
    let until = suspend.until.map_or("spec.suspend is removed".to_owned(), |until| until.to_string());
    let message = format!("{} is suspended until {until}: {}.", failover(case), suspend.reason.trim_end_matches('.'));
    Some(Verdict { until: suspend.until, ..Verdict::waiting(Reason::Suspended, message) })
}

fn breaker(case: &Case) -> Option<Verdict> {
    let (why, until) =
        match tripped(case.tracking, case.input.now).filter(|_| case.input.enforced(Precondition::CircuitClosed))? {
            Tripped::Failures(count) => {
                let detail = case.persisted.last.get(&case.desired_type.ty).and_then(|last| last.detail.as_deref());
                (
                    format!(
                        "{count} consecutive moves failed. The last one ended with: {}",
                        detail.unwrap_or("no detail").trim_end_matches('.')
                    ),
                    None,
                )
            }
            Tripped::Switches(count, until) => (
                format!("{count} unrequested switches followed each other. The circuit closes at {}", second(until)),
                Some(until),
            ),
        };
    let state = epoch(case.findings).map(|epoch| epoch.to_string()).unwrap_or_default();
    let message = format!(
        "Automatic moves of {} are disabled (circuit open). {why}. To fix: find the cause, then set approve: {{epoch: \"{state}\"}} on the type to move it now, or change principal.",
        case.desired_type.ty
    );
    let step = format!("find the cause, then set approve: {{epoch: \"{state}\"}}");
    Some(Verdict { until, ..Verdict::waiting(Reason::CircuitOpen, message).with_step(step) })
}

/// R8: synchronized with a connected witness for policy.failBackAfter.
fn fail_back_delay(case: &Case) -> Option<Verdict> {
    let since = case.tracking.stable.as_ref().map_or(case.input.now, |stable| stable.since);
    let due = later(since, case.input.desired.policy.fail_back_after);
    (!case.input.satisfied(Precondition::StableForFailBack, case.input.now >= due)).then(|| {
        pending(
            case,
            due,
            &format!(
                "it has been synchronized with a connected witness since {} (policy.failBackAfter)",
                second(since)
            ),
        )
    })
}

/// The largest accepted clock difference between two replicas.
const SKEW: Duration = Duration::from_secs(300);

fn cooldown_gate(case: &Case) -> Option<Verdict> {
    // An end in the future comes from an edited status or a clock that jumped, and must not delay a move.
    let last =
        case.persisted.last.get(&case.desired_type.ty).filter(|last| last.last_end() <= later(case.input.now, SKEW))?;
    // A limit of the operator counts as no failure, and is not over at once either.
    let shortest = if last.outcome == Outcome::Failed { FIRST_PAUSE } else { Duration::ZERO };
    let end = later(last.last_end(), cooldown(case.input.desired, case.tracking).max(shortest));
    if case.input.satisfied(Precondition::Cooldown, case.input.now >= end) {
        return None;
    }
    let (reason, message) = match last.outcome {
        Outcome::Failed | Outcome::Partial | Outcome::Unknown => (
            Reason::MoveFailed,
            format!(
                "{} waits until {}{}. The last move failed: {}.",
                failover(case),
                second(end),
                // A limit of the operator counts as no failure.
                if case.tracking.consecutive_failures > 0 { ", and every failure lengthens the pause" } else { "" },
                last.detail.as_deref().unwrap_or("no detail").trim_end_matches('.')
            ),
        ),
        Outcome::Succeeded | Outcome::Superseded => (
            Reason::Cooldown,
            format!(
                "{} waits until {} (policy.cooldown): the last move ended at {}. To move at once: set policy.cooldown to 0s.",
                failover(case),
                second(end),
                second(last.last_end())
            ),
        ),
    };
    Some(Verdict { until: Some(end), ..Verdict::waiting(reason, message) })
}

/// R16: a move with a predicted interruption above policy.maxInterruption does not start.
fn max_interruption(case: &Case) -> Option<Verdict> {
    let most =
        case.input.desired.policy.max_interruption.filter(|_| case.input.enforced(Precondition::MaxInterruption))?;
    let moved = || case.findings.iter().filter(|finding| finding.principal != Some(case.desired_type.principal));
    let unknown =
        list(moved().filter(|finding| predict(case.pair, &finding.name).is_none()).map(|finding| &finding.name));
    if unknown.is_empty() {
        let (name, longest) = moved()
            .filter_map(|finding| Some((&finding.name, predict(case.pair, &finding.name)?)))
            .max_by_key(|(_, length)| *length)?;
        if longest <= most {
            return None;
        }
        let message = format!(
            "{} waits: the predicted interruption ({}, from the redo queue of {name}) exceeds policy.maxInterruption ({}).",
            failover(case),
            duration_text(coarse(longest)),
            duration_text(most)
        );
        return Some(Verdict::waiting(Reason::InterruptionTooLong, message));
    }
    let step = "grant VIEW SERVER STATE to the login, or remove policy.maxInterruption";
    let message = format!(
        "{} waits until its interruption can be predicted (policy.maxInterruption): the redo queue of {unknown} is not visible. To fix: {step}.",
        failover(case)
    );
    Some(Verdict::waiting(Reason::InterruptionTooLong, message).with_step(step))
}

/// `from`: the time at which every other gate is open.
fn maintenance_window(case: &Case, from: Timestamp) -> Option<Verdict> {
    let windows = &case.input.desired.policy.windows;
    let open = windows.iter().any(|window| window.open_until(from).is_some());
    if windows.is_empty() || case.input.satisfied(Precondition::MaintenanceWindow, open) {
        return None;
    }
    let Some((at, window)) = next(windows, from) else {
        let message = format!(
            "{} waits for a maintenance window: none of policy.maintenanceWindows ever opens. To fix: correct their schedule.",
            fail_back(case)
        );
        let step = "correct policy.maintenanceWindows, of which none ever opens";
        return Some(Verdict::waiting(Reason::FailBackPending, message).with_step(step));
    };
    Some(pending(case, at, &format!("the next maintenance window ({window}) opens then")))
}

fn pending(case: &Case, at: Timestamp, why: &str) -> Verdict {
    let message = format!("{} waits until {} or later: {why}.", fail_back(case), second(at));
    Verdict { until: Some(at), ..Verdict::waiting(Reason::FailBackPending, message) }
}

/// The window that opens next.
pub fn next(windows: &[Window], now: Timestamp) -> Option<(Timestamp, &Window)> {
    windows.iter().filter_map(|window| Some((window.next(now)?, window))).min_by_key(|(at, _)| *at)
}
