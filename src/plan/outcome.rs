//! What the servers show of one database of the move in flight.

use crate::model::{Cause, DatabaseState, Operation, OperationDatabase, Pair, Role, Seat};
use crate::plan::finding::Finding;
use crate::plan::obstacle::Obstacle;
use crate::plan::precondition::Precondition;
use crate::plan::types::Input;

/// What the servers show of one database of the move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatabaseOutcome {
    /// Both agree on the new roles, and the new principal is ONLINE.
    Moved,
    /// Both agree that nothing happened since the journal was written, and a failover is possible.
    Unchanged,
    /// The session is not the one of the journal, or it switched and is back.
    Diverged,
    /// In transition, or not observed.
    Pending,
}

use DatabaseOutcome::{Diverged, Moved, Pending, Unchanged};

/// The row of the new principal alone proves the switch, e.g. after a forced service: the other server may be back as a second
/// principal.
pub(crate) fn is_principal_since(pair: &Pair, survivor: Seat, journal: &OperationDatabase) -> bool {
    let server = pair.view(survivor).available();
    server.and_then(|server| server.databases.get(&journal.name)).is_some_and(|database| {
        database.state == DatabaseState::Online
            && database.mirroring.as_ref().is_some_and(|row| {
                row.role == Role::Principal && row.guid == journal.guid && row.role_sequence > journal.role_sequence
            })
    })
}

pub(crate) fn database_outcome(
    input: &Input,
    pair: &Pair,
    operation: &Operation,
    journal: &OperationDatabase,
    finding: &Finding,
) -> DatabaseOutcome {
    if operation.cause == Cause::ForcedService {
        return if is_principal_since(pair, operation.to, journal) { Moved } else { Pending };
    }
    let Some(session) = finding.session else { return Pending };
    // The equality of the sequences is not documented, so that a difference counts only within the deadline.
    let clear = match &finding.obstacle {
        None => true,
        Some(Obstacle::SequencesDiffer { .. }) => input.now >= operation.deadline,
        Some(_) => false,
    };
    if finding.agreed && !input.satisfied(Precondition::SameSessionAsJournal, session.guid == journal.guid) {
        return Diverged;
    }
    let switched =
        session.role_sequence > journal.role_sequence && input.enforced(Precondition::NotSwitchedSinceJournal);
    match (finding.agreed, finding.principal) {
        (true, Some(seat)) if seat == operation.to && switched && finding.online => Moved,
        // Role and sequence contradict each other: the two polls straddle the switch.
        (true, Some(seat)) if seat == operation.to => Pending,
        (true, Some(_)) if switched && clear => Diverged,
        (true, Some(_)) if !switched && clear => Unchanged,
        _ => Pending,
    }
}
