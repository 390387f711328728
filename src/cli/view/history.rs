//! The moves of a pool: a table, rows for scripts, and one move with its statements.

use serde::Serialize;

use crate::api::HistoryEntry;
use crate::cli::pool::Pool;
use crate::cli::view::text;
use crate::model::{Cause, DatabaseType, Outcome};
use crate::plan::second;

/// One move, for scripts. The names are stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Row {
    pool_fqdn: String,
    namespace: String,
    name: String,
    number: usize,
    database_type: DatabaseType,
    from: String,
    to: String,
    cause: Cause,
    outcome: Outcome,
    started_at: String,
    ended_at: String,
    statement_millis: Option<i64>,
    attempts: u32,
    generation: i64,
    requested_via: String,
    why: String,
    detail: String,
}

/// Newest first, numbered from 1.
pub fn rows(pool: &Pool) -> Vec<Row> {
    let row = |(index, entry): (usize, &HistoryEntry)| Row {
        pool_fqdn: pool.fqdn().to_owned(),
        namespace: pool.namespace.clone(),
        name: pool.name.clone(),
        number: index + 1,
        database_type: entry.type_,
        from: from(entry),
        to: to(entry),
        cause: entry.cause,
        outcome: entry.outcome,
        started_at: second(entry.started_at.0),
        ended_at: second(entry.ended_at.0),
        statement_millis: entry.statement_millis,
        attempts: entry.attempts,
        generation: entry.generation,
        requested_via: entry.requested_via.clone().unwrap_or_default(),
        why: entry.why.clone(),
        detail: entry.detail.clone().unwrap_or_default(),
    };
    pool.status.history.iter().enumerate().map(row).collect()
}

fn from(entry: &HistoryEntry) -> String {
    entry.from_server.clone().unwrap_or_else(|| entry.from.to_string())
}

fn to(entry: &HistoryEntry) -> String {
    entry.to_server.clone().unwrap_or_else(|| entry.to.to_string())
}

/// The time from the first statement to the last answer, else `-`: the operator was restarted in between.
pub fn took(entry: &HistoryEntry) -> String {
    match entry.statement_millis {
        Some(millis) => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        None => "-".to_owned(),
    }
}

pub fn render(pool: &Pool, width: Option<usize>) -> String {
    if pool.status.history.is_empty() {
        return format!("{} ({}): the operator has made no move.\n", pool.fqdn(), pool.reference());
    }
    let row = |(index, entry): (usize, &HistoryEntry)| {
        vec![
            (index + 1).to_string(),
            second(entry.ended_at.0),
            entry.type_.to_string(),
            from(entry),
            to(entry),
            entry.cause.to_string(),
            entry.outcome.to_string(),
            took(entry),
            entry.requested_via.clone().unwrap_or_default(),
            format!("generation {}", entry.generation),
        ]
    };
    let header = ["MOVE", "ENDED", "TYPE", "FROM", "TO", "CAUSE", "OUTCOME", "TOOK", "VIA", "SPEC"];
    let rows: Vec<_> = pool.status.history.iter().enumerate().map(row).collect();
    format!("{} ({})\n{}", pool.fqdn(), pool.reference(), text::table(&header, &rows, width))
}

/// One move: why, how it ended, and each statement with its answer and the states before and after.
pub fn one(entry: &HistoryEntry, width: Option<usize>) -> String {
    let mut lines = vec![
        format!("{} from {} to {}: {}", entry.type_, from(entry), to(entry), entry.outcome),
        format!(
            "Started {}, ended {}, attempts: {}, {}.",
            second(entry.started_at.0),
            second(entry.ended_at.0),
            entry.attempts,
            took(entry)
        ),
        entry.why.clone(),
    ];
    lines.extend(entry.requested_via.iter().map(|manager| format!("Requested via {manager}.")));
    lines.extend(entry.detail.clone());
    let head: String = lines.iter().map(|line| text::paragraph(line, 0, width)).collect();
    let databases = entry.databases.iter().map(|database| {
        let rows = [
            Some(("before", database.before.clone())),
            Some(("sent", database.statement.clone())),
            database.answer.clone().map(|answer| ("answer", answer)),
            Some(("after", database.after.clone())),
        ];
        let line = |(title, value): (&str, String)| text::paragraph(&format!("{title}: {value}"), 2, width);
        format!("\n{}\n{}", database.name, rows.into_iter().flatten().map(line).collect::<String>())
    });
    head + &databases.collect::<String>()
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
