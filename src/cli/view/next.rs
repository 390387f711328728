//! The next commands for a pool: what an administrator types to approve, keep, resume or read.

use crate::cli::pool::{Pool, observed_seat};
use crate::model::{DatabaseType, Effect, ObservedPrincipal, Reason};

/// The commands with what they do; one below the other where a line is too long for the terminal.
pub fn render(pool: &Pool, program: &str, width: Option<usize>) -> String {
    let commands = commands(pool, program);
    if commands.is_empty() {
        return String::new();
    }
    let longest = |of: fn(&(String, String)) -> &String| commands.iter().map(|line| of(line).chars().count()).max();
    let (first, second) = (longest(|line| &line.0).unwrap_or_default(), longest(|line| &line.1).unwrap_or_default());
    let is_wide = width.is_none_or(|width| 2 + first + 2 + second <= width);
    let line = |(command, what): &(String, String)| match is_wide {
        true => format!("  {command:first$}  {what}\n"),
        false => format!("  {command}\n      {what}\n"),
    };
    format!("Next:\n{}", commands.iter().map(line).collect::<String>())
}

fn commands(pool: &Pool, program: &str) -> Vec<(String, String)> {
    let on = pool.arguments();
    let mut lines = Vec::new();
    let mut pages = Vec::new();
    for of in &pool.status.database_types {
        let Ok(reason) = of.reason.parse::<Reason>() else { continue };
        if reason.effect() != Effect::Stalled {
            continue;
        }
        let ty = of.type_;
        if pool.offers_approval(ty) {
            let wanted = pool.server_name(ty, of.desired);
            lines.push((
                format!("{program} approve {on} --database-type {ty}"),
                format!("moves {ty} to {wanted} ({})", of.desired.word()),
            ));
        }
        match observed_seat(of).filter(|seat| *seat != of.desired) {
            Some(seat) if pool.is_current() => lines.push((
                format!("{program} keep {on} --database-type {ty}"),
                format!("leaves {ty} on {} ({})", pool.server_name(ty, seat), seat.word()),
            )),
            _ => {}
        }
        if of.observed == ObservedPrincipal::Split && pool.is_current() {
            let other = of.desired.other();
            lines.push((
                format!("{program} failover {on} --database-type {ty} --new-principal {}", other.word()),
                format!("unites {ty} on {} ({})", pool.server_name(ty, other), other.word()),
            ));
        }
        pages.push(reason);
    }
    if pool.condition("Suspended").is_some_and(|suspended| suspended.status == "True") {
        lines.push((format!("{program} resume {on}"), "ends the suspension".to_owned()));
    }
    pages.sort();
    pages.dedup();
    lines.extend(pages.iter().map(|reason| (format!("{program} explain {reason}"), "what it means".to_owned())));
    // After the page, as it can lose data.
    let forced = |ty: &DatabaseType| pool.forced_step(*ty).is_some();
    let types = pool.status.database_types.iter().map(|of| of.type_).filter(forced);
    lines.extend(types.map(|ty| {
        let what = "can lose data; read the page first".to_owned();
        (format!("{program} force-service {on} --database-type {ty}"), what)
    }));
    lines
}
