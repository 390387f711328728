//! Whether the journal of a move is of the servers and of the spec of this pass.

use crate::model::{DatabaseState, DesiredType, Operation, Pair, Seat};
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

/// True unless a server that was read contradicts the journal. A server that was renamed during the move keeps its sessions, and is
/// the same server, unless it has the name of the other one.
fn same_servers(operation: &Operation, pair: &Pair) -> bool {
    let is = |seat, journaled: &Option<String>| {
        pair.view(seat).available().zip(journaled.as_deref()).map(|(server, name)| same_name(&server.name, name))
    };
    let (from, to) = (&operation.from_server, &operation.to_server);
    let exchanged = is(operation.from, to) == Some(true) || is(operation.to, from) == Some(true);
    let renamed = |seat: Seat| {
        let Some(server) = pair.view(seat).available() else { return true };
        let databases = operation.databases.iter();
        databases.filter_map(|journal| Some((journal, server.databases.get(&journal.name)?))).any(
            |(journal, database)| {
                match &database.mirroring {
                    Some(row) => row.guid == journal.guid,
                    // The columns of a database that is not open are NULL.
                    None => database.state != DatabaseState::Online,
                }
            },
        )
    };
    let same = |seat, journaled| is(seat, journaled) != Some(false) || renamed(seat);
    !exchanged && same(operation.from, from) && same(operation.to, to)
}
