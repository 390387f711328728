//! One database type: findings, desired type and memory -> why something is done or not.

use crate::model::{Cause, Reason, Request, UnrequestedSwitch};
use crate::plan::finding::{epoch, most_severe};
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Rule;
use crate::plan::text::list;
use crate::plan::types::{Case, Progress, Release, Verdict};
use crate::plan::{forced_service, gate, hold, tracking};

/// The verdict of one type. Total.
pub(crate) fn verdict(case: &Case) -> Verdict {
    let Case { input, wish, findings, .. } = *case;
    if let Some(others) = input.seen.conflicts.get(&wish.ty).filter(|_| input.enforced(Rule::NoConflict)) {
        let message = format!(
            "{} is also claimed by {}: all resources that claim the same database of the same pair stop. Remove the type from all but one of them",
            wish.ty,
            others.join(", ")
        );
        return Verdict::waiting(Reason::Conflict, message);
    }
    if let Some(Progress { reason, message }) = case.progress {
        return Verdict::waiting(*reason, message.clone());
    }
    let obstacle = most_severe(findings);
    let aligned = findings.iter().all(|finding| finding.principal == Some(wish.principal));
    if aligned && input.enforced(Rule::AlignedStays) {
        return match obstacle {
            Some((obstacle, of)) => {
                forced_service::aftermath(case, obstacle, &of).unwrap_or_else(|| obstructed(obstacle, &of))
            }
            None => Verdict::waiting(
                Reason::Aligned,
                format!("{} has its principal on the {}", wish.ty, wish.principal.word()),
            ),
        };
    }
    if let Some(verdict) = forced_service::verdict(case) {
        return verdict;
    }
    let wrong = findings.iter().any(|finding| finding.principal == Some(wish.principal.other()));
    if let Some((obstacle, of)) = &obstacle
        && (obstacle.questions_session() || !wrong)
    {
        return obstructed(obstacle, of);
    }
    released(case, obstacle)
}

/// The principal is in the other seat, and the session is not in question: why the type moves now, or what it waits for.
fn released(case: &Case, obstacle: Option<(&Obstacle, String)>) -> Verdict {
    let Case { input, wish, findings, .. } = *case;
    let owed = case.memory.requests.get(&wish.ty).is_some_and(|request: &Request| request.owed);
    let state = epoch(findings);
    let approved = wish.approve.is_some() && input.satisfied(Rule::ApprovalNamesEpoch, wish.approve == state);
    let cause = match (owed, approved, input.desired.policy.unrequested_switch) {
        (true, ..) => Cause::Intent,
        (false, true, _) => Cause::Approved,
        (false, false, UnrequestedSwitch::FailBack) => Cause::FailBack,
        (false, false, UnrequestedSwitch::Hold) if !input.enforced(Rule::AskedFor) => Cause::Intent,
        (false, false, UnrequestedSwitch::Hold) => return hold::held(case, obstacle.as_ref(), state.as_ref()),
    };
    if let Some((obstacle, of)) = obstacle.filter(|_| input.enforced(Rule::NoObstacle)) {
        let message =
            format!("{} moves to the {} when this is over: {}", wish.ty, wish.principal.word(), obstacle.words(&of));
        return Verdict::waiting(obstacle.reason(), message);
    }
    let witnessed = || tracking::witnessed(case.pair, wish);
    if cause == Cause::FailBack && !input.satisfied(Rule::WitnessForFailBack, witnessed()) {
        return hold::held(case, None, state.as_ref());
    }
    if let Some(closed) = gate::closed(case, cause, approved) {
        return closed;
    }
    let names =
        list(findings.iter().filter(|finding| finding.principal != Some(wish.principal)).map(|finding| &finding.name));
    Verdict {
        reason: Reason::Moving,
        message: format!("moving {} to the {}: {names}", wish.ty, wish.principal.word()),
        release: Release::Ready(cause),
        until: None,
    }
}

fn obstructed(obstacle: &Obstacle, of: &str) -> Verdict {
    Verdict::waiting(obstacle.reason(), obstacle.words(of))
}
