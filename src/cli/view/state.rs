//! One pool in detail: service, types, messages, servers, databases and the next commands.

use jiff::Timestamp;

use crate::api::{DatabaseStatus, DatabaseTypeStatus, ServerStatus};
use crate::cli::output::coloured;
use crate::cli::pool::{Pool, observed_seat};
use crate::cli::view::{next, text};
use crate::model::{Effect, Reason, duration_text};
use crate::plan::second;

/// When the operator last renewed its lease, if the caller may read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// None: no operator holds the lease.
    pub holder: Option<String>,
    pub renewed: Timestamp,
    pub expires: Timestamp,
}

impl Operator {
    pub fn is_silent(&self, now: Timestamp) -> bool {
        self.holder.is_none() || self.expires < now
    }
}

/// How a pool is printed.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    pub wide: bool,
    pub width: Option<usize>,
    pub program: &'a str,
    pub now: Timestamp,
}

/// The conditions that are news while they are True, beside Ready.
const TRUE_IS_NEWS: [&str; 5] = ["QuorumAtRisk", "Suspended", "PostSwitchDrift", "WeakEncryption", "CredentialsStale"];

pub fn render(pool: &Pool, operator: Option<&Operator>, style: Style) -> String {
    let exit = pool.exit(style.now);
    let service = pool.service().to_string().to_uppercase();
    let head = coloured(&format!("{service}, {}", exit.words()), exit);
    let mut parts = vec![format!("{} ({}): {head}\n{}", pool.fqdn(), pool.reference(), age(pool, operator, style))];
    parts.push(types(pool, style));
    parts.push(messages(pool, style.width));
    parts.push(servers(&pool.status.servers, style));
    parts.push(databases(pool, style));
    parts.push(next::render(pool, style.program, style.width));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// Why the status may not be that of this moment.
fn age(pool: &Pool, operator: Option<&Operator>, style: Style) -> String {
    let mut lines = String::new();
    let mut line = |text: String| lines.push_str(&text::paragraph(&text, 2, style.width));
    match (pool.status.observed_generation, pool.generation()) {
        // The CRD gives a new resource the generation -1.
        (None | Some(..=0), _) => line(
            "No operator has published a status yet. To fix: check that the operator runs and watches this namespace."
                .to_owned(),
        ),
        (Some(seen), Some(present)) if seen < present => {
            line(format!(
                "The operator has not processed generation {present} of the spec yet: this is the state for generation {seen}."
            ));
        }
        _ => {}
    }
    if let Some(at) = pool.status.observed_time.as_ref().filter(|_| pool.is_old(style.now)) {
        line(format!(
            "The operator last confirmed this state at {}: it shows the past. To fix: check that the operator runs and reaches the API server.",
            second(at.0)
        ));
    }
    match pool.origin.as_ref().map(|origin| &origin.holder) {
        Some(Some(holder)) => line(format!("{holder} acts on this pool. This is the state that it has stored.")),
        Some(None) => line("Read by this command. No process acts on this pool.".to_owned()),
        None => {}
    }
    let since = operator.map(|operator| second(operator.renewed)).unwrap_or_default();
    match operator.map(|operator| (&operator.holder, operator)) {
        None => {}
        Some((None, _)) => line(format!(
            "No operator has held the lease since {since}: the state can be older than it seems. To fix: check the Pods of the operator."
        )),
        Some((Some(holder), operator)) if operator.is_silent(style.now) => line(format!(
            "The operator {holder} has not renewed its lease since {since}: the state can be older than it seems. To fix: check the Pods of the operator."
        )),
        Some((Some(holder), operator)) => {
            line(format!("Operator {holder} renewed its lease {} ago.", seconds_between(operator.renewed, style.now)));
        }
    }
    lines
}

fn seconds_between(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    duration_text(std::time::Duration::from_secs(seconds.unsigned_abs()))
}

fn types(pool: &Pool, style: Style) -> String {
    let mut header = vec!["TYPE", "WANTED", "PRINCIPAL", "SERVICE", "REASON"];
    if style.wide {
        header.extend(["EPOCH", "LAST MOVE", "OUTCOME"]);
    }
    let row = |of: &DatabaseTypeStatus| {
        let wanted = pool.type_spec(of.type_).map_or(of.desired, |spec| spec.principal);
        let seat = observed_seat(of);
        let principal = seat.map_or_else(|| of.observed.to_string(), |seat| pool.server_name(of.type_, seat));
        let mark = if seat == Some(wanted) { "" } else { " !" };
        let mut row = vec![
            of.type_.to_string(),
            pool.server_name(of.type_, wanted),
            format!("{principal}{mark}"),
            of.service.to_string(),
            of.reason.clone(),
        ];
        if style.wide {
            let last = of.last_move.as_ref();
            row.push(of.epoch.clone().unwrap_or_default());
            row.push(last.map(|last| second(last.ended_at.0)).unwrap_or_default());
            row.push(last.map(|last| last.outcome.to_string()).unwrap_or_default());
        }
        row
    };
    text::table(&header, &pool.status.database_types.iter().map(row).collect::<Vec<_>>(), style.width)
}

/// The whole text of each type that is not as the spec wants it, the problems of the spec, and the conditions that are news.
fn messages(pool: &Pool, width: Option<usize>) -> String {
    let mut lines = Vec::new();
    lines.extend(pool.spec_problem.iter().map(|problem| format!("The spec cannot be decoded: {problem}.")));
    lines.extend(pool.status.spec_problems.iter().cloned());
    let troubled = |of: &&DatabaseTypeStatus| of.reason.parse::<Reason>().map(Reason::effect) != Ok(Effect::Ready);
    let types: Vec<_> = pool.status.database_types.iter().filter(troubled).collect();
    lines.extend(types.iter().map(|of| format!("{}: {}", of.type_, of.message)));
    if let Some(operation) = &pool.status.operation {
        let name =
            |seat, name: &Option<String>| name.clone().unwrap_or_else(|| pool.server_name(operation.type_, seat));
        let predicted = operation.predicted_interruption.map(|span| format!(", predicted interruption {span}"));
        lines.push(format!(
            "In flight: {} from {} to {} since {}, attempt {}{}.",
            operation.type_,
            name(operation.from, &operation.from_server),
            name(operation.to, &operation.to_server),
            second(operation.started_at.0),
            operation.attempt,
            predicted.unwrap_or_default()
        ));
    }
    if types.is_empty() {
        lines.extend(pool.condition("Ready").map(|ready| ready.message.clone()));
    }
    let news = TRUE_IS_NEWS.iter().filter_map(|kind| pool.condition(kind)).filter(|news| news.status == "True");
    lines.extend(news.map(|news| format!("{}: {}", news.type_, news.message)));
    lines.iter().map(|line| text::paragraph(line, 0, width)).collect::<Vec<_>>().join("")
}

fn servers(servers: &[ServerStatus], style: Style) -> String {
    let row = |server: &ServerStatus| {
        let state = match (&server.reason, server.reachable) {
            (None, true) => "reachable".to_owned(),
            (Some(reason), true) => format!("reachable, {reason}"),
            (reason, false) => {
                let since = server.unreachable_since.as_ref().map(|at| format!(" since {}", second(at.0)));
                format!("{}{}", reason.as_deref().unwrap_or("unreachable"), since.unwrap_or_default())
            }
        };
        vec![
            server.seat.clone(),
            server.name.clone().unwrap_or_default(),
            server.address.clone(),
            state,
            server.version.clone().unwrap_or_default(),
        ]
    };
    let full: Vec<_> = servers.iter().map(row).collect();
    let table = text::table(&["SEAT", "SERVER", "ADDRESS", "STATE", "VERSION"], &full, style.width);
    if style.wide || !text::is_list(&table) {
        return table;
    }
    let short = |row: &Vec<String>| {
        let name = if row[1].is_empty() { &row[2] } else { &row[1] };
        vec![row[0].clone(), name.clone(), row[3].clone()]
    };
    text::table(&["SEAT", "SERVER", "STATE"], &full.iter().map(short).collect::<Vec<_>>(), style.width)
}

/// With the columns of Get-CsDatabaseMirrorState, if the terminal is wide enough, else with a column for each server.
fn databases(pool: &Pool, style: Style) -> String {
    let full = full_databases(pool, style);
    if style.wide || !text::is_list(&full) {
        return full;
    }
    let cell = |role: &str, state: &str| format!("{role} {state}").trim_end().to_owned();
    let row = |database: &DatabaseStatus| {
        vec![
            database.name.clone(),
            cell(&database.state_on_primary, &database.mirroring_status_on_primary),
            cell(&database.state_on_mirror, &database.mirroring_status_on_mirror),
            database.redo_queue.clone().unwrap_or_default(),
        ]
    };
    let all = pool.status.database_types.iter().flat_map(|of| &of.databases);
    text::table(
        &["DatabaseName", "On primary", "On mirror", "RedoQueue"],
        &all.map(row).collect::<Vec<_>>(),
        style.width,
    )
}

fn full_databases(pool: &Pool, style: Style) -> String {
    let mut header = vec![
        "DatabaseName",
        "StateOnPrimary",
        "StateOnMirror",
        "MirroringStatusOnPrimary",
        "MirroringStatusOnMirror",
        "RedoQueue",
    ];
    if style.wide {
        header.extend(["Safety", "Witness", "Reason"]);
    }
    let row = |database: &DatabaseStatus| {
        let mut row = vec![
            database.name.clone(),
            database.state_on_primary.clone(),
            database.state_on_mirror.clone(),
            database.mirroring_status_on_primary.clone(),
            database.mirroring_status_on_mirror.clone(),
            database.redo_queue.clone().unwrap_or_default(),
        ];
        if style.wide {
            row.extend(
                [&database.safety, &database.witness, &database.reason].map(|cell| cell.clone().unwrap_or_default()),
            );
        }
        row
    };
    let all = pool.status.database_types.iter().flat_map(|of| &of.databases);
    text::table(&header, &all.map(row).collect::<Vec<_>>(), style.width)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
