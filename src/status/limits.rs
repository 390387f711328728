//! The limits of a status. etcd refuses an object of 1.5 MiB, and then the operator could not write the journal of a move,
//! so nothing that a server or a spec contains may make a status as large. Pure.

use std::io;

use crate::api::{
    DatabaseStatus, DatabaseTypeStatus, HistoryEntry, LyncPoolMirrorStatus, OperationStatus, PlannedStep, ServerStatus,
};
use crate::model::Differences;
use crate::sql::cut;

/// The longest texts, in characters.
const NAME: usize = 128;
/// The spec allows a host of 253 and an instance of 16 characters.
const ADDRESS: usize = 300;
const STATEMENT: usize = 400;
const ANSWER: usize = 256;
const DETAIL: usize = 512;
const MESSAGE: usize = 2048;

/// The largest number of databases of a type, in its list and in each of its moves. The spec allows 16.
const DATABASES: usize = 16;
/// The largest number of servers and of planned statements: those of seven types.
const SERVERS: usize = 24;
const STATEMENTS: usize = 7 * DATABASES;
/// The largest status in bytes of JSON, beside which spec and metadata fit.
const LARGEST: usize = 900_000;

/// The status within its limits. A status within them is not changed. The builder of conditions limits their messages.
pub fn bounded(mut status: LyncPoolMirrorStatus) -> LyncPoolMirrorStatus {
    status.servers.truncate(SERVERS);
    status.servers.iter_mut().for_each(server);
    status.database_types.iter_mut().for_each(database_type);
    status.plan.truncate(STATEMENTS);
    status.plan.iter_mut().for_each(planned);
    status.operation.iter_mut().for_each(operation);
    status.spec_problems.iter_mut().for_each(|problem| cut(problem, DETAIL));
    status.unmanaged_databases.iter_mut().for_each(|database| cut_name(&mut database.name, NAME));
    let total = status.post_switch_differences.len();
    status.post_switch_differences = differences(status.post_switch_differences, total);
    status.history.iter_mut().for_each(entry);
    while status.history.len() > 1 && size(&status) > LARGEST {
        status.history.pop();
    }
    status
}

/// A name is never changed otherwise: a later pass compares it with that of a server.
fn cut_name(name: &mut String, longest: usize) {
    if let Some((end, _)) = name.char_indices().nth(longest) {
        name.truncate(end);
    }
}

fn cut_optional_name(name: &mut Option<String>) {
    name.iter_mut().for_each(|name| cut_name(name, NAME));
}

fn cut_optional(text: &mut Option<String>, longest: usize) {
    text.iter_mut().for_each(|text| cut(text, longest));
}

fn server(server: &mut ServerStatus) {
    cut_name(&mut server.address, ADDRESS);
    [&mut server.name, &mut server.version, &mut server.edition].into_iter().for_each(cut_optional_name);
    cut_optional(&mut server.message, DETAIL);
}

fn database_type(of_type: &mut DatabaseTypeStatus) {
    cut(&mut of_type.message, MESSAGE);
    if let Some(last) = &mut of_type.last_move {
        cut_optional(&mut last.detail, DETAIL);
        cut_optional_name(&mut last.to_server);
        last.forced_databases.truncate(DATABASES);
        last.forced_databases.iter_mut().for_each(|forced| cut_name(&mut forced.name, NAME));
    }
    of_type.databases.truncate(DATABASES);
    of_type.databases.iter_mut().for_each(|DatabaseStatus { name, .. }| cut_name(name, NAME));
    if let Some(tracking) = &mut of_type.tracking {
        tracking.sessions.truncate(DATABASES);
        tracking.sessions.iter_mut().for_each(|session| cut_name(&mut session.database, NAME));
        cut_optional_name(&mut tracking.last_settled_server);
        if let Some(pair) = &mut tracking.pair {
            for server in [&mut pair.primary, &mut pair.mirror] {
                cut_name(&mut server.address, ADDRESS);
                cut_name(&mut server.name, NAME);
            }
        }
    }
}

fn planned(step: &mut PlannedStep) {
    cut_name(&mut step.database, NAME);
    cut(&mut step.statement, STATEMENT);
    cut_name(&mut step.server, ADDRESS);
}

fn operation(operation: &mut OperationStatus) {
    [&mut operation.from_server, &mut operation.to_server, &mut operation.requested_via]
        .into_iter()
        .for_each(cut_optional_name);
    operation.databases.truncate(DATABASES);
    for database in &mut operation.databases {
        cut_name(&mut database.name, NAME);
        cut(&mut database.before, ANSWER);
    }
}

fn entry(entry: &mut HistoryEntry) {
    [&mut entry.from_server, &mut entry.to_server, &mut entry.requested_via].into_iter().for_each(cut_optional_name);
    cut(&mut entry.why, DETAIL);
    cut_optional(&mut entry.detail, DETAIL);
    entry.databases.truncate(DATABASES);
    for database in &mut entry.databases {
        cut_name(&mut database.name, NAME);
        cut(&mut database.statement, STATEMENT);
        cut_optional(&mut database.answer, ANSWER);
        cut(&mut database.before, ANSWER);
        cut(&mut database.after, ANSWER);
    }
}

/// The first of `total` differences. If they are too many, the last text counts the rest.
pub(super) fn differences(mut first: Vec<String>, total: usize) -> Vec<String> {
    if total > Differences::MOST {
        first.truncate(Differences::MOST - 1);
        let more = total - first.len();
        first.push(format!("Note: and {more} more. To fix: resolve the differences above first."));
    }
    first.iter_mut().for_each(|text| cut(text, Differences::LONGEST));
    first
}

/// The size as JSON in bytes.
fn size(status: &LyncPoolMirrorStatus) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, status) {
        Ok(()) => count.0,
        // The write of the status reports the error.
        Err(_) => 0,
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
