//! What follows the message of a verdict: what every reader needs beside the reason, and no verdict contains.

use crate::model::{DatabaseType, MirroringState, Pair, Reason, Role, Seat, Service, TypeTracking};
use crate::plan::TypePlan;
use crate::status::Summary;
use crate::status::quorum;

/// Each is a sentence after another one, or empty.
pub(super) fn of(planned: &TypePlan, pair: &Pair, tracking: Option<&TypeTracking>) -> String {
    // Without the move in flight, whose message has no missing step.
    let summary = Summary { planned, pair, operation: None, unreachable_since: [None; 2] };
    let step = summary.missing_step().map(|step| format!(" To fix: {step}.")).unwrap_or_default();
    let so_far = format!("{}{step}", planned.verdict.message);
    let front_end = match summary.front_end(&so_far) {
        Some(_) => " Check from a Front End whether clients are served, see docs/reasons/ServiceUnknown.md.",
        None => "",
    };
    let is_aligned = planned.verdict.reason == Reason::Aligned;
    let witness = is_aligned.then(|| quorum::lost_witness(planned, pair)).flatten().unwrap_or_default();
    let last = last_principal(pair, tracking).unwrap_or_default();
    format!("{step}{front_end}{witness}{}{}{last}", log(planned, pair), limited_functionality(planned))
}

/// What the mirror has not received stays in the log ("The Transaction Log").
fn log(planned: &TypePlan, pair: &Pair) -> &'static str {
    let mut rows = planned.findings.iter().filter_map(|finding| pair.row(finding.principal?, &finding.name));
    let keeps = rows.any(|row| {
        let apart = matches!(row.state, MirroringState::Suspended | MirroringState::Disconnected);
        apart && row.role == Role::Principal
    });
    if keeps && planned.service == Service::Exposed && !planned.verdict.message.contains("cannot be truncated") {
        " While this lasts, the log of the principal cannot be truncated."
    } else {
        ""
    }
}

/// R23: Lync users lose functions about 30 minutes after the loss of the user store.
fn limited_functionality(planned: &TypePlan) -> &'static str {
    let is_lost = planned.service == Service::NotServed && planned.desired_type.ty == DatabaseType::User;
    if is_lost && !planned.verdict.message.contains("30 minutes") {
        " Lync users fall back to limited functionality about 30 minutes after the loss."
    } else {
        ""
    }
}

/// Both servers are away: the one that was principal when both were read for the last time.
fn last_principal(pair: &Pair, tracking: Option<&TypeTracking>) -> Option<String> {
    let unread = Seat::BOTH.iter().all(|seat| pair.view(*seat).available().is_none());
    let name = tracking?.last_settled_server.as_deref().filter(|_| unread)?;
    Some(format!(" When both were last read, {name} was the principal."))
}
