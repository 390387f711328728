//! The verdict of one database type, from its findings, desired state and persisted state.

use crate::model::{Cause, Effect, ForceService, Reason, Request, TransitionKind, UnrequestedSwitch, later};
use crate::plan::approval::{is_approved, one_way_warning};
use crate::plan::finding::{epoch, message_of_all, most_severe, problems_of_all};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Precondition;
use crate::plan::text::{list, second};
use crate::plan::types::{Case, Progress, Release, Verdict};
use crate::plan::{forced_service, gate, hold, identity, tracking};

/// The verdict of one type. Total. No move starts while the spec has a problem.
pub(crate) fn verdict(case: &Case) -> Verdict {
    let verdict = with_ended_consent(case, verdict_of_usable_spec(case));
    if verdict.release == Release::No
        || case.input.satisfied(Precondition::UsableSpec, case.input.desired.problems.is_empty())
    {
        return verdict;
    }
    let problems = &case.input.desired.problems;
    let more = match problems.len() {
        0 | 1 => String::new(),
        count => format!(" {} more: see status.specProblems.", count - 1),
    };
    let first = problems.first().map(String::as_str).unwrap_or_default();
    let message = format!("No move of {} starts while the spec has problems. {first}{more}", case.desired_type.ty);
    Verdict::waiting(Reason::InvalidSpec, message)
}

/// A consent that ended before its time: without this sentence it appears to be armed.
fn with_ended_consent(case: &Case, verdict: Verdict) -> Verdict {
    let has_ended = |force: &&ForceService| case.tracking.ended_consents.contains(&force.consent());
    let Some(force) = case.desired_type.force.as_ref().filter(has_ended) else { return verdict };
    if verdict.reason == Reason::PrincipalLost {
        // The message of the loss has a sentence of its own.
        return verdict;
    }
    let message = format!(
        "{} The consent to forced service until {} no longer applies: it was used, or the old principal was back while the spec had it. Remove forceService from type {}.",
        verdict.message,
        second(force.until),
        case.desired_type.ty
    );
    Verdict { message, ..verdict }
}

/// No move starts while another resource names the same databases. What the servers show stays the reason if an administrator has
/// to act on it.
fn verdict_of_usable_spec(case: &Case) -> Verdict {
    let verdict = verdict_without_conflict(case);
    let input = case.input;
    let others = input.observation.conflicts.get(&case.desired_type.ty);
    let Some(others) = others.filter(|_| input.enforced(Precondition::NoConflict)) else { return verdict };
    let conflict = format!(
        "{} is also named by {}, and resources that name the same database of the same pair all stop. To fix: remove the type from all but one of them.",
        case.desired_type.ty,
        others.join(", ")
    );
    let obstacles = case.findings.iter().filter_map(|finding| finding.obstacle.as_ref());
    let is_obstructed = obstacles.map(Obstacle::reason).any(|reason| reason.effect() == Effect::Stalled);
    if verdict.release == Release::No && (case.progress.is_some() || is_obstructed) {
        return Verdict { message: format!("{} {conflict}", verdict.message), ..verdict };
    }
    if verdict.release == Release::Ready(Cause::ForcedService) {
        let lost = forced_service::limited_functionality(case.desired_type.ty, case.tracking);
        let message = format!("{} lost its principal.{lost} Forced service waits. {conflict}", case.desired_type.ty);
        return Verdict::waiting(Reason::PrincipalLost, message);
    }
    Verdict::waiting(Reason::Conflict, conflict)
}

fn verdict_without_conflict(case: &Case) -> Verdict {
    let Case { input, desired_type, findings, .. } = *case;
    if let Some(Progress { reason, message }) = case.progress {
        return Verdict::waiting(*reason, message.clone());
    }
    let obstacle = most_severe(findings, case.pair);
    if let Some(verdict) =
        obstacle.as_ref().and_then(|(obstacle, names)| forced_service::aftermath(case, obstacle, names))
    {
        return verdict;
    }
    let aligned = findings.iter().all(|finding| finding.principal == Some(desired_type.principal));
    if aligned && input.enforced(Precondition::AlignedStays) {
        return match obstacle {
            Some((obstacle, names)) => obstructed(case, obstacle, &names),
            None => Verdict::waiting(
                Reason::Aligned,
                format!("The principal of {} is on the {}.", desired_type.ty, case.pair.label(desired_type.principal)),
            ),
        };
    }
    if let Some(verdict) = forced_service::verdict(case) {
        return verdict;
    }
    let wrong = findings.iter().any(|finding| finding.principal == Some(desired_type.principal.other()));
    if let Some((obstacle, names)) = &obstacle
        && (obstacle.questions_session() || !wrong)
    {
        return obstructed(case, obstacle, names);
    }
    released(case, obstacle)
}

/// The principal is in the other seat, and the session is not in question: the reason why the type moves now or waits.
fn released(case: &Case, obstacle: Option<(&Obstacle, String)>) -> Verdict {
    let Case { input, desired_type, tracking, .. } = *case;
    let pending = case.persisted.requests.get(&desired_type.ty).is_some_and(|request: &Request| request.pending);
    let approved = is_approved(case);
    let exchanged = identity::exchanged(tracking, case.pair, case.findings);
    if !input.satisfied(Precondition::SeatsNotExchanged, !exchanged || approved) {
        return hold::exchanged(case, obstacle.as_ref());
    }
    let cause = match (pending, approved, input.desired.policy.unrequested_switch) {
        (true, ..) => Cause::Intent,
        (false, true, _) => Cause::Approved,
        (false, false, UnrequestedSwitch::FailBack)
            if input.satisfied(Precondition::AlignedBeforeFailBack, tracking.was_aligned) =>
        {
            Cause::FailBack
        }
        (false, false, UnrequestedSwitch::Hold) if !input.enforced(Precondition::Requested) => Cause::Intent,
        (false, false, UnrequestedSwitch::Hold | UnrequestedSwitch::FailBack) => {
            return hold::held(case, obstacle.as_ref());
        }
    };
    if let Some((obstacle, names)) = obstacle.filter(|_| input.enforced(Precondition::NoObstacle)) {
        let verdict = obstructed(case, obstacle, &names);
        let message = format!(
            "{} will fail over to the {} once the obstacle is gone. {}",
            desired_type.ty,
            case.pair.label(desired_type.principal),
            verdict.message
        );
        return Verdict { message, ..verdict };
    }
    let witnessed = || tracking::witnessed(case.pair, desired_type);
    if cause == Cause::FailBack && !input.satisfied(Precondition::WitnessForFailBack, witnessed()) {
        return hold::held(case, None);
    }
    if let Some(one_way) = one_way(case, approved) {
        return one_way;
    }
    if let Some(closed) = gate::closed(case, cause, approved) {
        return closed;
    }
    Verdict {
        reason: Reason::Moving,
        message: format!(
            "Failing over {} to the {}: {}.",
            desired_type.ty,
            case.pair.label(desired_type.principal),
            list(moved(case))
        ),
        release: Release::Ready(cause),
        until: None,
        step: None,
    }
}

/// The databases that a move to the desired seat would interrupt.
pub(crate) fn moved<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a crate::model::DatabaseName> {
    let wanted = case.desired_type.principal;
    case.findings.iter().filter(move |finding| finding.principal != Some(wanted)).map(|finding| &finding.name)
}

/// A database that was open under a newer release cannot go back before the other server is upgraded too ("Upgrading Mirrored
/// Instances"). Only an administrator decides that.
fn one_way(case: &Case, approved: bool) -> Option<Verdict> {
    let warning = one_way_warning(case)?;
    if case.input.satisfied(Precondition::OneWayApproved, approved) {
        return None;
    }
    let state = epoch(case.findings).map(|epoch| epoch.to_string()).unwrap_or_default();
    let (ty, wanted) = (case.desired_type.ty, case.desired_type.principal);
    let keep = wanted.other();
    let message = format!(
        "{warning} To keep it where it is: set principal: {keep} on type {ty}. To move it anyway, with no way back: set approve: {{epoch: \"{state}\"}} on type {ty}."
    );
    let step = format!("set principal: {keep}, or read docs/reasons/OneWayMove.md");
    Some(Verdict::waiting(Reason::OneWayMove, message).with_step(step))
}

/// A transition is bounded: SQL Server leaves it by itself, or an administrator has to act.
fn obstructed(case: &Case, obstacle: &Obstacle, names: &str) -> Verdict {
    let mut message = message_of_all(case.findings, case.pair, obstacle, names);
    if let (Obstacle::Suspended { .. }, Some(since)) =
        (obstacle, case.tracking.transitions.get(&TransitionKind::Suspended))
    {
        message.push_str(&format!(" The operator first read this state at {}.", second(*since)));
    }
    let verdict = Verdict { step: obstacle.step(case.pair), ..Verdict::waiting(obstacle.reason(), message) };
    let since = match obstacle {
        Obstacle::SequencesDiffer { .. } => case.tracking.sequences_differ_since,
        _ => obstacle.transition().and_then(|kind| case.tracking.transitions.get(&kind).copied()),
    };
    let Some(since) = since else { return verdict };
    let end = later(since, case.input.desired.policy.switch_deadline);
    if case.input.now < end {
        return Verdict { until: Some(end), ..verdict };
    }
    let (reason, fix) = obstacle.overdue();
    // Without the first fix: to wait is no step any more.
    let message = format!(
        "{} This has lasted since {}, longer than policy.switchDeadline. To fix: {fix}.",
        problems_of_all(case.findings, case.pair, obstacle, format!("{names}: {}.", obstacle.problem(case.pair))),
        second(since)
    );
    Verdict::waiting(reason, message)
}
