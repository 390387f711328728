//! The statements that the verdict of a type may release, each with the values that the batch checks again on the server.

use crate::model::{Act, Failover};
use crate::plan::finding::Finding;
use crate::plan::forced_service;
use crate::plan::precondition::Precondition;
use crate::plan::types::Case;

/// Every statement that comes next for a type, whether a failover or a forced service.
pub(crate) fn next(case: &Case) -> Vec<Failover> {
    let planned = failovers(case, case.findings);
    if planned.is_empty() { forced(case) } else { planned }
}

/// The failovers that would bring these databases to their seat. Empty unless all of them pass the preflight checks
/// (R5: check all first).
pub(crate) fn failovers(case: &Case, findings: &[Finding]) -> Vec<Failover> {
    let on = case.desired_type.principal.other();
    let (Some(server), Some(_)) = (case.pair.view(on).available(), case.pair.view(on.other()).available()) else {
        return Vec::new();
    };
    let ready = findings.iter().all(|finding| finding.obstacle.is_none());
    if !case.input.satisfied(Precondition::AllPassPreflight, ready) {
        return Vec::new();
    }
    findings
        .iter()
        .filter(|finding| finding.principal == Some(on))
        .filter_map(|finding| {
            let row = case.pair.row(on, &finding.name)?;
            Some(Failover {
                act: Act::Failover,
                // The spelling of the server, as its collation may be case-sensitive.
                database: server.databases.get_key_value(&finding.name).map_or(&finding.name, |(name, _)| name).clone(),
                on,
                server: server.name.clone(),
                partner: row.partner_instance.clone(),
                guid: row.guid,
                role_sequence: row.role_sequence,
            })
        })
        .collect()
}

/// The statements that force service on the surviving mirror. Empty unless R2 allows it for every database.
pub(crate) fn forced(case: &Case) -> Vec<Failover> {
    let Some(survivor) = forced_service::survivor(case.findings) else { return Vec::new() };
    let Some(server) = case.pair.view(survivor).available() else { return Vec::new() };
    if forced_service::refusal(case, survivor).is_some() {
        return Vec::new();
    }
    case.findings
        .iter()
        .filter(|finding| forced_service::lost_seat(finding).is_some())
        .filter_map(|finding| {
            let (name, database) = server.databases.get_key_value(&finding.name)?;
            let row = database.mirroring.as_ref()?;
            Some(Failover {
                act: Act::ForceService,
                database: name.clone(),
                on: survivor,
                server: server.name.clone(),
                partner: row.partner_instance.clone(),
                guid: row.guid,
                role_sequence: row.role_sequence,
            })
        })
        .collect()
}
