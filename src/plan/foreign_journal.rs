//! Whether the journal of a move is of the servers and of the spec of this pass.

use crate::model::{DesiredType, Operation, Pair, Seat};
use crate::plan::precondition::Precondition;
use crate::plan::row::same_name;
use crate::plan::types::Input;

/// Why the journal is not of these servers or of this spec.
pub(crate) fn cause(input: &Input, operation: &Operation, desired_type: &DesiredType) -> Option<String> {
    let pair = input.observation.pair(desired_type.store);
    let others = !same_servers(operation, pair);
    if !input.satisfied(Precondition::SameServers, !others) {
        return Some("spec.sql names other servers than the ones of the move".to_owned());
    }
    (!input.satisfied(Precondition::RequestOfThisSpec, operation.generation <= input.desired.generation))
        .then(|| "the journal is of a later generation of the spec, as of a restored status".to_owned())
}

/// True unless the servers that were read contradict the journal. A server that was renamed during the move keeps its sessions. It
/// is the same server, unless it has the name of the other one.
fn same_servers(operation: &Operation, pair: &Pair) -> bool {
    let is = |seat, journaled: &Option<String>| {
        pair.view(seat).available().zip(journaled.as_deref()).map(|(server, name)| same_name(&server.name, name))
    };
    let (from, to) = (&operation.from_server, &operation.to_server);
    let exchanged = is(operation.from, to) == Some(true) || is(operation.to, from) == Some(true);
    let differs = is(operation.from, from) == Some(false) || is(operation.to, to) == Some(false);
    let has_session = |seat| {
        let server = pair.view(seat).available();
        operation.databases.iter().any(|journal| {
            let row = server.and_then(|server| server.databases.get(&journal.name)?.mirroring.as_ref());
            row.is_some_and(|row| row.guid == journal.guid)
        })
    };
    !differs || !exchanged && Seat::BOTH.into_iter().any(has_session)
}
