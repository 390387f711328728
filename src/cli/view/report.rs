//! A report of pools as one HTML file, without scripts and without anything that a browser has to load.

use std::fmt::Write;

use jiff::Timestamp;

use crate::api::{DatabaseStatus, DatabaseTypeStatus, HistoryEntry, ServerStatus};
use crate::cli::exit::Exit;
use crate::cli::pool::{Pool, observed_seat};
use crate::cli::view::history;
use crate::model::MirroringState;
use crate::plan::second;

const STYLE: &str = include_str!("report.css");

pub fn html(pools: &[Pool], now: Timestamp) -> String {
    let names: Vec<&str> = pools.iter().map(Pool::fqdn).collect();
    let title = escape(&format!("Mirror state of {}", names.join(", ")));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>Written at {} by lync-mirror {}.</p>\n",
        second(now),
        env!("CARGO_PKG_VERSION")
    );
    pools.iter().for_each(|pool| page.push_str(&section(pool, now)));
    page.push_str("</body>\n</html>\n");
    page
}

fn section(pool: &Pool, now: Timestamp) -> String {
    let exit = pool.exit(now);
    let mut text = format!(
        "<h2>{} <small>{}</small> <span class=\"{}\">{}, {}</span></h2>\n",
        escape(pool.fqdn()),
        escape(&pool.reference()),
        class(exit),
        pool.service(),
        exit.words()
    );
    if let Some(at) = pool.status.observed_time.as_ref().filter(|_| pool.is_old(now)) {
        let _ = writeln!(
            text,
            "<p class=\"act\">The operator last confirmed this state at {}: it shows the past.</p>",
            second(at.0)
        );
    }
    if !pool.is_current() {
        text.push_str("<p class=\"act\">The operator has not processed the present spec yet.</p>\n");
    }
    let problems = pool.spec_problem.iter().chain(&pool.status.spec_problems);
    problems.for_each(|problem| paragraph(&mut text, "act", problem));
    text.push_str(&types(pool));
    text.push_str(&servers(&pool.status.servers));
    text.push_str(&databases(pool));
    text.push_str(&conditions(pool));
    text.push_str(&plan(pool));
    text.push_str(&moves(pool));
    if !pool.status.post_switch_differences.is_empty() {
        text.push_str("<h3>Differences between the servers</h3>\n<ul>\n");
        let differences = pool.status.post_switch_differences.iter();
        differences.for_each(|difference| item(&mut text, difference));
        text.push_str("</ul>\n");
    }
    text
}

fn types(pool: &Pool) -> String {
    let row = |of: &DatabaseTypeStatus| {
        let wanted = pool.type_spec(of.type_).map_or(of.desired, |spec| spec.principal);
        let seat = observed_seat(of);
        let principal = seat.map_or_else(|| of.observed.to_string(), |seat| pool.server_name(of.type_, seat));
        let marked = if seat == Some(wanted) { Cell::plain(principal) } else { Cell::bad(principal) };
        vec![
            Cell::plain(of.type_.to_string()),
            Cell::plain(pool.server_name(of.type_, wanted)),
            marked,
            Cell::plain(of.service.to_string()),
            Cell::plain(of.reason.clone()),
            Cell::plain(of.message.clone()),
        ]
    };
    let header = ["Type", "Wanted", "Principal", "Service", "Reason", "Message"];
    table("Database types", &header, pool.status.database_types.iter().map(row))
}

fn servers(servers: &[ServerStatus]) -> String {
    let row = |server: &ServerStatus| {
        let state = match (&server.reason, server.reachable) {
            (None, true) => Cell::plain("reachable"),
            (Some(reason), true) => Cell::bad(format!("reachable, {reason}")),
            (reason, false) => Cell::bad(reason.clone().unwrap_or_else(|| "unreachable".to_owned())),
        };
        let text = |value: &Option<String>| Cell::plain(value.clone().unwrap_or_default());
        vec![
            Cell::plain(server.seat.clone()),
            text(&server.name),
            Cell::plain(server.address.clone()),
            state,
            text(&server.version),
            text(&server.edition),
            Cell::plain(server.unreachable_since.as_ref().map(|at| second(at.0)).unwrap_or_default()),
            text(&server.message),
        ]
    };
    let header = ["Seat", "Server", "Address", "State", "Version", "Edition", "Unreachable since", "Message"];
    table("Servers", &header, servers.iter().map(row))
}

fn databases(pool: &Pool) -> String {
    let synchronized = MirroringState::Synchronized.to_string();
    let state = |text: &str| if text == synchronized { Cell::plain(text) } else { Cell::bad(text) };
    let rows = pool.status.database_types.iter().flat_map(|of| of.databases.iter().map(move |row| (of, row)));
    let row = |(of, row): (&DatabaseTypeStatus, &DatabaseStatus)| {
        let text = |value: &Option<String>| Cell::plain(value.clone().unwrap_or_default());
        vec![
            Cell::plain(of.type_.to_string()),
            Cell::plain(row.name.clone()),
            Cell::plain(row.state_on_primary.clone()),
            Cell::plain(row.state_on_mirror.clone()),
            state(&row.mirroring_status_on_primary),
            state(&row.mirroring_status_on_mirror),
            text(&row.safety),
            text(&row.witness),
            text(&row.redo_queue),
            text(&row.reason),
        ]
    };
    let header = [
        "Type",
        "DatabaseName",
        "StateOnPrimary",
        "StateOnMirror",
        "MirroringStatusOnPrimary",
        "MirroringStatusOnMirror",
        "Safety",
        "Witness",
        "RedoQueue",
        "Reason",
    ];
    table("Databases", &header, rows.map(row))
}

fn conditions(pool: &Pool) -> String {
    let row = |of: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        let cells = [&of.type_, &of.status, &of.reason, &second(of.last_transition_time.0), &of.message];
        cells.map(|cell| Cell::plain(cell.as_str())).to_vec()
    };
    table("Conditions", &["Condition", "Status", "Reason", "Since", "Message"], pool.status.conditions.iter().map(row))
}

fn plan(pool: &Pool) -> String {
    let row = |step: &crate::api::PlannedStep| {
        vec![
            Cell::plain(step.type_.to_string()),
            Cell::plain(step.server.clone()),
            Cell::plain(step.statement.clone()),
            Cell::plain(step.predicted_interruption.clone().unwrap_or_default()),
            Cell::plain(step.why.clone()),
        ]
    };
    let header = ["Type", "Server", "Statement", "Predicted interruption", "Waits for"];
    table("Next statements", &header, pool.status.plan.iter().map(row))
}

fn moves(pool: &Pool) -> String {
    let mut text = String::new();
    for entry in &pool.status.history {
        let HistoryEntry { type_, from, to, from_server, to_server, outcome, ended_at, .. } = entry;
        let name =
            |server: &Option<String>, seat: &crate::model::Seat| server.clone().unwrap_or_else(|| seat.to_string());
        let summary = format!(
            "{} {type_} from {} to {}: {outcome}, {}",
            second(ended_at.0),
            name(from_server, from),
            name(to_server, to),
            history::took(entry)
        );
        let _ = write!(
            text,
            "<details>\n<summary>{}</summary>\n<pre>{}</pre>\n</details>\n",
            escape(&summary),
            escape(&history::one(entry, None))
        );
    }
    if text.is_empty() { String::new() } else { format!("<h3>Moves</h3>\n{text}") }
}

/// A cell, red if it is not as it should be.
#[derive(Clone)]
struct Cell {
    text: String,
    is_bad: bool,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), is_bad: false }
    }

    fn bad(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), is_bad: true }
    }
}

/// Nothing without rows.
fn table(title: &str, header: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let mut body = String::new();
    for row in rows {
        body.push_str("<tr>");
        for Cell { text, is_bad } in row {
            let class = if is_bad { " class=\"bad\"" } else { "" };
            // A missing value that should be there is named, so that it does not depend on the colour.
            let text = if is_bad && text.is_empty() { "not read".to_owned() } else { text };
            let _ = write!(body, "<td{class}>{}</td>", escape(&text));
        }
        body.push_str("</tr>\n");
    }
    if body.is_empty() {
        return String::new();
    }
    let header: String = header.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
    format!(
        "<h3>{title}</h3>\n<div class=\"wide\">\n<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )
}

fn class(exit: Exit) -> &'static str {
    match exit {
        Exit::AsWanted => "fine",
        Exit::OnItsWay => "way",
        Exit::ActionNeeded | Exit::NotKnown => "act",
        Exit::NotServed => "down",
    }
}

fn paragraph(text: &mut String, class: &str, content: &str) {
    let _ = writeln!(text, "<p class=\"{class}\">{}</p>", escape(content));
}

fn item(text: &mut String, content: &str) {
    let _ = writeln!(text, "<li>{}</li>", escape(content));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;
    use crate::cli::fixtures::Passes;

    /// No script, no address to load, each element closed, and the headings in order.
    fn check(page: &str) {
        for loaded in
            ["<script", "<link", "<img", "<iframe", "http:", "https:", "url(", "@import", " src=", " href=", " on"]
        {
            let markup: Vec<&str> = page.split(['<', '>']).skip(1).step_by(2).collect();
            let bare = loaded.trim_start_matches('<');
            let found =
                markup.iter().find(|tag| tag.starts_with(bare) || (loaded.starts_with(' ') && tag.contains(loaded)));
            assert!(found.is_none(), "{loaded}: {found:?}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
        for element in ["h1", "h2", "h3", "table", "tr", "td", "th", "div", "details", "summary", "pre", "p", "span"] {
            let opened = page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
            assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        }
        let levels: Vec<char> =
            page.split("<h").skip(1).filter_map(|rest| rest.chars().next()).filter(char::is_ascii_digit).collect();
        assert!(levels.windows(2).all(|pair| pair[1] <= char::from(pair[0] as u8 + 1)), "{levels:?}");
    }

    #[test]
    fn report_of_a_pool_loads_nothing_and_is_well_formed() {
        let moving = Passes::new().pass("P/4/C", "M/4/C").want("Mirror").pass("P/4/C", "M/4/C");
        let moved = moving.after(1).pass("M/4/C/8", "P/4/C/8").after(60);
        let page = html(&[moved.pool(), moved.pass("P/1/C/9", "away").pool()], crate::plan::tests::NOW);
        check(&page);
        expect_file!["golden/report.html"].assert_eq(&page);
    }

    #[test]
    fn report_shows_text_of_the_servers_as_text() {
        let mut passes = Passes::new().pass("P/4/C", "M/4/C");
        passes.before.as_mut().unwrap().servers[0].name = Some("<script>alert('x')</script> & \"y\"".to_owned());
        let page = html(&[passes.pool()], passes.now);
        check(&page);
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;"), "{page}");
    }
}
