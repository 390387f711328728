//! The approval of a held move: whether it applies to the current state, when it ends, and what to know before it.

use crate::model::Approval;
use crate::plan::finding::epoch;
use crate::plan::precondition::Precondition;
use crate::plan::types::Case;
use crate::plan::version::is_newer_release;

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

/// What an administrator has to know before a move to the newer one of two releases. None: the move can be reversed, or a
/// version is not known.
pub(crate) fn one_way_warning(case: &Case) -> Option<String> {
    let to = case.desired_type.principal;
    let version = |seat| case.pair.view(seat).available().map(|server| server.version.as_str());
    let (from, newer) = (version(to.other())?, version(to)?);
    is_newer_release(newer, from).then(|| {
        format!(
            "The {} runs a newer release ({newer}) than the {} ({from}). After a move the session is SUSPENDED, and {} cannot go back before the other server is upgraded.",
            case.pair.label(to),
            case.pair.label(to.other()),
            case.desired_type.ty
        )
    })
}
