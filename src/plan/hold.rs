//! The hold: the principal is not where the spec wants it, and no change of the spec asked for a move.

use crate::model::{Evidence, ObservedPrincipal, Reason, Role, Seat, UnavailableCause, UnrequestedSwitch, WitnessLink};
use crate::plan::approval::{approval_end, one_way_warning};
use crate::plan::caution;
use crate::plan::finding::{epoch, message_of_all, observed_principal};
use crate::plan::obstacle::Obstacle;
use crate::plan::text::{list, second};
use crate::plan::types::{Case, Verdict};

/// The databases with their principal in this seat.
fn on(case: &Case, seat: Seat) -> String {
    list(case.findings.iter().filter(|finding| finding.principal == Some(seat)).map(|finding| &finding.name))
}

/// The location of the principals, the reason of the hold, and the ways to end it. A move is offered only while it is possible.
pub(crate) fn held(case: &Case, obstacle: Option<&(&Obstacle, String)>) -> Verdict {
    let Case { desired_type, findings, pair, .. } = *case;
    let (wanted, other) = (desired_type.principal, desired_type.principal.other());
    let split = observed_principal(findings) == ObservedPrincipal::Split;
    let why = match case.input.desired.policy.unrequested_switch {
        UnrequestedSwitch::Hold => "policy.unrequestedSwitch: Hold",
        UnrequestedSwitch::FailBack if !case.tracking.was_aligned => {
            "policy.unrequestedSwitch: FailBack waits until the principal was in its seat once on these servers"
        }
        UnrequestedSwitch::FailBack => "policy.unrequestedSwitch: FailBack waits for a witness that both partners see",
    };
    let place = if split {
        format!(
            "The principal of {} is on the {}, and that of {} on the {}. The spec wants the {}.",
            on(case, wanted),
            pair.label(wanted),
            on(case, other),
            pair.label(other),
            wanted.word()
        )
    } else {
        format!(
            "The principal of {} is on the {}, and the spec wants the {}.",
            on(case, other),
            pair.label(other),
            wanted.word()
        )
    };
    // A resource that was created anew appears as if a change of the spec was ignored.
    let never = if case.tracking.was_aligned || split {
        ""
    } else {
        &format!(
            " This resource has no record of the principal on the {} in this session, so that its spec may be wrong.",
            wanted.word()
        )
    };
    let first = first_step(case, obstacle).unwrap_or_default();
    let mut message = format!("{place}{never}{first} The spec did not change, and the move is on hold ({why}).");
    message.push_str(&ways_out(case, obstacle, split));
    if split {
        // Each of the three ways moves other databases, so that none of them is the step.
        return Verdict::waiting(Reason::SplitRoles, message);
    }
    Verdict::waiting(Reason::UnexpectedPrincipal, message).with_step(step(case, obstacle))
}

/// The most important step of a held type whose principals are on one server.
fn step(case: &Case, obstacle: Option<&(&Obstacle, String)>) -> String {
    let Case { findings, pair, .. } = *case;
    let (wanted, other) = (case.desired_type.principal, case.desired_type.principal.other());
    let keep = format!("set principal: {other} to keep it");
    let state = epoch(findings).filter(|_| obstacle.is_none() && case.tracking.absence.is_none());
    match (state, obstacle.and_then(|(obstacle, _)| unseen(obstacle))) {
        _ if obstacle
            .is_some_and(|(obstacle, _)| matches!(obstacle, Obstacle::IsolatedPrincipal { forced: true, .. })) =>
        {
            format!("read docs/reasons/ServiceForced.md before {} is connected again", pair.short(wanted))
        }
        _ if obstacle.is_some_and(|(obstacle, _)| matches!(obstacle, Obstacle::IsolatedPrincipal { .. })) => {
            format!("repair the network of {}, then {keep}", pair.short(wanted))
        }
        (Some(state), _) if one_way_warning(case).is_some() => {
            format!("{keep}, or approve epoch {state} to move it, with no way back")
        }
        (Some(state), _) => format!("{keep}, or approve epoch {state} to move it"),
        (None, Some(seat)) if let Some(page) = caution::before_start(findings, pair, seat, true) => {
            format!("read docs/reasons/{page}.md before {} starts", pair.short(seat))
        }
        _ if let Some((Obstacle::Suspended { versions: None, .. }, _)) = obstacle
            && is_without_witness(case) =>
        {
            "run no RESUME before you read docs/reasons/ServiceForced.md".to_owned()
        }
        _ if let Some((suspended @ Obstacle::Suspended { .. }, _)) = obstacle => suspended
            .step(pair)
            .unwrap_or_else(|| "run no RESUME before you read docs/reasons/MirroringSuspended.md".to_owned()),
        (None, Some(seat)) if obstacle.is_some_and(|(obstacle, _)| does_not_answer(obstacle)) => {
            format!("bring {} back, then {keep}", pair.short(seat))
        }
        (None, Some(seat)) if obstacle.is_some_and(|(obstacle, _)| is_unresponsive(obstacle)) => {
            format!("restart SQL Server on {} if it answers no Front End, then {keep}", pair.short(seat))
        }
        (None, Some(_)) => format!("see status.servers[].message, then {keep}"),
        (None, None) if obstacle.is_some_and(|(obstacle, _)| ends_by_itself(obstacle)) => {
            format!("wait until it is synchronized, then {keep}")
        }
        (None, None) if obstacle.is_some() => format!("see status.databaseTypes[].message, then {keep}"),
        (None, None) => keep,
    }
}

/// What comes first about a server that is not read: the warning before the start of one that can serve a second copy, or the
/// return of one that does not answer.
fn first_step(case: &Case, obstacle: Option<&(&Obstacle, String)>) -> Option<String> {
    let obstacle = obstacle?.0;
    if matches!(obstacle, Obstacle::Suspended { .. }) && is_without_witness(case) {
        let survivor = case.pair.label(case.desired_type.principal.other());
        return Some(format!(" Service may have been forced on the {survivor}."));
    }
    let seat = unseen(obstacle)?;
    let server = case.pair.label(seat);
    match caution::before_start(case.findings, case.pair, seat, true) {
        Some(page) => {
            let forced = if page == Reason::ServiceForced {
                format!(" Service may have been forced on the {}.", case.pair.label(seat.other()))
            } else {
                String::new()
            };
            Some(format!(
                "{forced} Do not start the {server} before you have read docs/reasons/{page}.md: it can serve a second copy."
            ))
        }
        None => does_not_answer(obstacle).then(|| format!(" To fix: bring the {server} back.")),
    }
}

/// Without a witness there is no automatic failover: an administrator failed over, or forced service.
fn is_without_witness(case: &Case) -> bool {
    let other = case.desired_type.principal.other();
    let mut rows = case.findings.iter().filter_map(|finding| case.pair.row(other, &finding.name));
    rows.any(|row| row.role == Role::Principal && row.witness == WitnessLink::None)
}

/// SQL Server ends this state without an administrator.
fn ends_by_itself(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Synchronizing) || obstacle.transition().is_some()
}

/// The server that the operator does not see may be down, and not only refuse the operator.
fn does_not_answer(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Unavailable { unavailable, .. } if unavailable.cause.evidence() == Evidence::NotAnswering)
}

/// It accepts connections and does not answer.
fn is_unresponsive(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Unavailable { unavailable, .. } if unavailable.cause == UnavailableCause::Unresponsive)
}

/// The seat of the server that the operator does not see.
fn unseen(obstacle: &Obstacle) -> Option<Seat> {
    match obstacle {
        Obstacle::Unavailable { seat, .. } => Some(*seat),
        _ => None,
    }
}

fn ways_out(case: &Case, obstacle: Option<&(&Obstacle, String)>, split: bool) -> String {
    let Case { desired_type, pair, .. } = *case;
    let (wanted, other, ty) = (desired_type.principal, desired_type.principal.other(), desired_type.ty);
    let mut text =
        if split { String::new() } else { format!(" To keep it there: set principal: {other} on type {ty}.") };
    match obstacle {
        Some((obstacle, names)) => {
            text.push_str(&format!(
                " A move is not possible now. {}",
                message_of_all(case.findings, pair, obstacle, names)
            ));
        }
        None if case.tracking.absence.is_some() => {
            text.push_str(
                " A server was away: a move is possible once both have been synchronized for policy.settleAfter.",
            );
        }
        None => text.push_str(&approval(case, split)),
    }
    if split {
        text.push_str(&format!(
            " To unite on the {} (moves {}): set principal: {other}. To leave it split: do nothing.",
            pair.label(other),
            on(case, wanted)
        ));
    }
    text
}

/// How to approve the move, or why the approval in the spec does not apply.
fn approval(case: &Case, split: bool) -> String {
    let Case { desired_type, pair, .. } = *case;
    let Some(state) = epoch(case.findings) else { return String::new() };
    let old = match &desired_type.approve {
        Some(approve) if approve.epoch != state => {
            format!(" approve.epoch {} does not apply, as the current epoch is {state}.", approve.epoch)
        }
        Some(approve) => format!(" The approval ended at {}.", second(approval_end(case, approve))),
        None => String::new(),
    };
    let moved = on(case, desired_type.principal.other());
    let aim = if split {
        format!("To unite on the {} (moves {moved})", pair.label(desired_type.principal))
    } else {
        format!("To move it (interrupts {moved})")
    };
    let warning = one_way_warning(case).map(|warning| format!(" {warning}")).unwrap_or_default();
    format!("{old}{warning} {aim}: set approve: {{epoch: \"{state}\"}} on type {}.", desired_type.ty)
}

/// The spec exchanged the two servers: labels moved, and no database.
pub(crate) fn exchanged(case: &Case, obstacle: Option<&(&Obstacle, String)>) -> Verdict {
    let Case { desired_type, pair, .. } = *case;
    let other = desired_type.principal.other();
    let mut message = format!(
        "spec.sql exchanged primary and mirror: the {} and the {} had the other seats before. Nothing was moved, and nothing will be. To fix: exchange them back, or set principal: {other} on type {} to keep the databases where they are.",
        pair.label(Seat::Primary),
        pair.label(Seat::Mirror),
        desired_type.ty
    );
    if obstacle.is_none() && case.tracking.absence.is_none() {
        message.push_str(&approval(case, false));
    }
    let step = format!("exchange them back, or set principal: {other} to keep it");
    Verdict::waiting(Reason::SeatsExchanged, message).with_step(step)
}
