//! The approval of a held move: whether it applies to the current state, and when it ends.

use crate::model::Approval;
use crate::plan::finding::epoch;
use crate::plan::precondition::Precondition;
use crate::plan::types::Case;

/// The approval names the current state and has not ended.
pub(crate) fn is_approved(case: &Case) -> bool {
    let Some(approve) = &case.desired_type.approve else { return false };
    let state = epoch(case.findings);
    case.input.satisfied(Precondition::ApprovalNamesEpoch, Some(&approve.epoch) == state.as_ref())
        && case.input.satisfied(Precondition::ApprovalNotExpired, case.input.now < approval_end(case, approve))
}

pub(crate) fn approval_end(case: &Case, approve: &Approval) -> jiff::Timestamp {
    let seen = case.tracking.approval.as_ref().filter(|seen| seen.epoch == approve.epoch);
    approve.end(seen.map_or(case.input.now, |seen| seen.since))
}
