//! The verdict of one database type, from its findings, desired state and persisted state.

use crate::model::{Cause, Reason, Request, UnrequestedSwitch};
use crate::plan::finding::{epoch, most_severe};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Precondition;
use crate::plan::text::list;
use crate::plan::types::{Case, Progress, Release, Verdict};
use crate::plan::{forced_service, gate, hold, tracking};

/// The verdict of one type. Total. No move starts while the spec has a problem.
pub(crate) fn verdict(case: &Case) -> Verdict {
    let verdict = verdict_of_usable_spec(case);
    if verdict.release == Release::No
        || case.input.satisfied(Precondition::UsableSpec, case.input.desired.problems.is_empty())
    {
        return verdict;
    }
    let message = format!(
        "No move of {} starts while the spec has problems. To fix: correct the fields that condition Ready names.",
        case.desired_type.ty
    );
    Verdict::waiting(Reason::InvalidSpec, message)
}

fn verdict_of_usable_spec(case: &Case) -> Verdict {
    let Case { input, desired_type, findings, .. } = *case;
    if let Some(others) =
        input.observation.conflicts.get(&desired_type.ty).filter(|_| input.enforced(Precondition::NoConflict))
    {
        let message = format!(
            "{} is also named by {}: resources that name the same database of the same pair all stop. To fix: remove the type from all but one of them.",
            desired_type.ty,
            others.join(", ")
        );
        return Verdict::waiting(Reason::Conflict, message);
    }
    if let Some(Progress { reason, message }) = case.progress {
        return Verdict::waiting(*reason, message.clone());
    }
    let obstacle = most_severe(findings);
    let aligned = findings.iter().all(|finding| finding.principal == Some(desired_type.principal));
    if aligned && input.enforced(Precondition::AlignedStays) {
        return match obstacle {
            Some((obstacle, names)) => {
                forced_service::aftermath(case, obstacle, &names).unwrap_or_else(|| obstructed(obstacle, &names))
            }
            None => Verdict::waiting(
                Reason::Aligned,
                format!("The principal of {} is on the {}.", desired_type.ty, desired_type.principal.word()),
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
        return obstructed(obstacle, names);
    }
    released(case, obstacle)
}

/// The principal is in the other seat, and the session is not in question: the reason why the type moves now or waits.
fn released(case: &Case, obstacle: Option<(&Obstacle, String)>) -> Verdict {
    let Case { input, desired_type, findings, .. } = *case;
    let pending = case.persisted.requests.get(&desired_type.ty).is_some_and(|request: &Request| request.pending);
    let state = epoch(findings);
    let approved = desired_type.approve.is_some()
        && input.satisfied(Precondition::ApprovalNamesEpoch, desired_type.approve == state);
    let cause = match (pending, approved, input.desired.policy.unrequested_switch) {
        (true, ..) => Cause::Intent,
        (false, true, _) => Cause::Approved,
        (false, false, UnrequestedSwitch::FailBack) => Cause::FailBack,
        (false, false, UnrequestedSwitch::Hold) if !input.enforced(Precondition::Requested) => Cause::Intent,
        (false, false, UnrequestedSwitch::Hold) => return hold::held(case, obstacle.as_ref(), state.as_ref()),
    };
    if let Some((obstacle, names)) = obstacle.filter(|_| input.enforced(Precondition::NoObstacle)) {
        let message = format!(
            "{} will fail over to the {} once the obstacle is gone. {}",
            desired_type.ty,
            desired_type.principal.word(),
            obstacle.message(&names)
        );
        return Verdict::waiting(obstacle.reason(), message);
    }
    let witnessed = || tracking::witnessed(case.pair, desired_type);
    if cause == Cause::FailBack && !input.satisfied(Precondition::WitnessForFailBack, witnessed()) {
        return hold::held(case, None, state.as_ref());
    }
    if let Some(closed) = gate::closed(case, cause, approved) {
        return closed;
    }
    let names = list(
        findings
            .iter()
            .filter(|finding| finding.principal != Some(desired_type.principal))
            .map(|finding| &finding.name),
    );
    Verdict {
        reason: Reason::Moving,
        message: format!("Failing over {} to the {}: {names}.", desired_type.ty, desired_type.principal.word()),
        release: Release::Ready(cause),
        until: None,
    }
}

fn obstructed(obstacle: &Obstacle, names: &str) -> Verdict {
    Verdict::waiting(obstacle.reason(), obstacle.message(names))
}
