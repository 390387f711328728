//! The hold: the principal is not where the spec wants it, and no change of the spec asked for a move.

use crate::model::{Epoch, ObservedPrincipal, Reason, UnrequestedSwitch};
use crate::plan::finding::observed_principal;
use crate::plan::obstacle::Obstacle;
use crate::plan::text::list;
use crate::plan::types::{Case, Verdict};

/// What the databases show, why they are held, and the two ways out.
pub(crate) fn held(case: &Case, obstacle: Option<&(&Obstacle, String)>, state: Option<&Epoch>) -> Verdict {
    let Case { desired_type, findings, .. } = *case;
    let split = observed_principal(findings) == ObservedPrincipal::Split;
    let wrong = list(
        findings
            .iter()
            .filter(|finding| finding.principal == Some(desired_type.principal.other()))
            .map(|finding| &finding.name),
    );
    let where_ = desired_type.principal.other().word();
    let address = case.pair.view(desired_type.principal.other()).address();
    let mut message = format!(
        "{wrong} {} the principal on the {where_} ({address}), the spec says {}, and no change of the spec asked for a move: held ({}).",
        if wrong.contains(',') { "have" } else { "has" },
        desired_type.principal,
        match case.input.desired.policy.unrequested_switch {
            UnrequestedSwitch::Hold => "policy.unrequestedSwitch: Hold",
            UnrequestedSwitch::FailBack =>
                "policy.unrequestedSwitch: FailBack waits for a witness that both partners see",
        }
    );
    if let Some((obstacle, of)) = obstacle {
        message.push_str(&format!(" A move back is not possible now: {}.", obstacle.words(of).trim_end_matches('.')));
    }
    match (state, &desired_type.approve) {
        (Some(state), Some(approve)) => message.push_str(&format!(
            " spec.databaseTypes[{}].approve.epoch {approve} is not the present epoch {state} and does nothing.",
            desired_type.ty
        )),
        (Some(state), None) => message.push_str(&format!(
            " To move it back: set approve: {{epoch: \"{state}\"}} on type {}. To keep it: set principal: {}.",
            desired_type.ty,
            desired_type.principal.other()
        )),
        (None, _) => {}
    }
    Verdict::waiting(if split { Reason::SplitRoles } else { Reason::UnexpectedPrincipal }, message)
}
