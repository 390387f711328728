//! The hold: the principal is not where the spec wants it, and no change of the spec asked for a move.

use crate::model::{Epoch, ObservedPrincipal, Reason, UnrequestedSwitch};
use crate::plan::finding::observed_principal;
use crate::plan::obstacle::Obstacle;
use crate::plan::text::list;
use crate::plan::types::{Case, Verdict};

/// The location of the principals, the reason of the hold, and the two ways to end it.
pub(crate) fn held(case: &Case, obstacle: Option<&(&Obstacle, String)>, epoch: Option<&Epoch>) -> Verdict {
    let Case { desired_type, findings, .. } = *case;
    let split = observed_principal(findings) == ObservedPrincipal::Split;
    let wrong = list(
        findings
            .iter()
            .filter(|finding| finding.principal == Some(desired_type.principal.other()))
            .map(|finding| &finding.name),
    );
    let seat_word = desired_type.principal.other().word();
    let address = case.pair.view(desired_type.principal.other()).address();
    let why = match case.input.desired.policy.unrequested_switch {
        UnrequestedSwitch::Hold => "policy.unrequestedSwitch: Hold",
        UnrequestedSwitch::FailBack => "policy.unrequestedSwitch: FailBack waits for a witness that both partners see",
    };
    let mut message = format!(
        "The principal of {wrong} is on the {seat_word} ({address}) but the spec wants the {}. No change of the spec requested a move, so the move is on hold ({why}).",
        desired_type.principal.word(),
    );
    if let Some((obstacle, names)) = obstacle {
        message.push_str(&format!(" A move back is not possible now. {}", obstacle.message(names)));
    }
    match (epoch, &desired_type.approve) {
        (Some(epoch), Some(approve)) => message.push_str(&format!(
            " approve.epoch {approve} of type {} does not apply, as the current epoch is {epoch}.",
            desired_type.ty
        )),
        (Some(epoch), None) => message.push_str(&format!(
            " To move it back: set approve: {{epoch: \"{epoch}\"}} on type {}. To keep it: set principal: {}.",
            desired_type.ty,
            desired_type.principal.other()
        )),
        (None, _) => {}
    }
    Verdict::waiting(if split { Reason::SplitRoles } else { Reason::UnexpectedPrincipal }, message)
}
