//! The progress of moves that a verb has requested: one status after the other in, lines and the end out. Pure.

use std::collections::BTreeSet;

use crate::api::DatabaseTypeStatus;
use crate::cli::exit::Exit;
use crate::cli::pool::{Pool, observed_seat};
use crate::cli::view::history::took;
use crate::model::{DatabaseType, Effect, Reason, Role, Seat};

/// How the requests stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    Open,
    /// An administrator has to act, unless the next polls of the operator show otherwise.
    Stalled(Exit),
    Ended(Exit),
}

/// The requests of one write.
#[derive(Debug, Clone)]
pub struct Follow {
    generation: Option<i64>,
    targets: Vec<Target>,
}

#[derive(Debug, Clone)]
struct Target {
    ty: DatabaseType,
    seat: Seat,
    /// By consent, whatever seat the spec wants.
    is_forced: bool,
    /// What was printed last: the reason and the attempt.
    shown: Option<(String, u32)>,
    moved: BTreeSet<String>,
    stand: Stand,
}

impl Follow {
    /// `pool`: the resource as the write returned it, with the status from before the operator acts.
    pub fn new(pool: &Pool, requests: &[(DatabaseType, Seat)]) -> Follow {
        Follow::of(pool, requests, false)
    }

    /// A forced service on the server in this seat.
    pub fn forced(pool: &Pool, ty: DatabaseType, seat: Seat) -> Follow {
        Follow::of(pool, &[(ty, seat)], true)
    }

    fn of(pool: &Pool, requests: &[(DatabaseType, Seat)], is_forced: bool) -> Follow {
        let target = |(ty, seat): &(DatabaseType, Seat)| Target {
            ty: *ty,
            seat: *seat,
            is_forced,
            shown: None,
            moved: pool.type_status(*ty).map(|of| principals(of, *seat)).unwrap_or_default(),
            stand: Stand::Open,
        };
        Follow { generation: pool.generation(), targets: requests.iter().map(target).collect() }
    }

    /// The news in this status.
    pub fn observe(&mut self, pool: &Pool) -> Vec<String> {
        if pool.status.observed_generation < self.generation {
            return Vec::new();
        }
        let generation = self.generation;
        self.targets.iter_mut().flat_map(|target| target.observe(pool, generation)).collect()
    }

    /// The worst of the requests; open while one of them is.
    pub fn stand(&self) -> Stand {
        let exits = self.targets.iter().map(|target| match target.stand {
            Stand::Open => None,
            Stand::Stalled(exit) | Stand::Ended(exit) => Some(exit),
        });
        let Some(exits) = exits.collect::<Option<Vec<Exit>>>() else { return Stand::Open };
        let worst = exits.into_iter().max().unwrap_or(Exit::AsWanted);
        let is_stalled = self.targets.iter().any(|target| matches!(target.stand, Stand::Stalled(_)));
        if is_stalled { Stand::Stalled(worst) } else { Stand::Ended(worst) }
    }
}

impl Target {
    fn observe(&mut self, pool: &Pool, generation: Option<i64>) -> Vec<String> {
        let Some(of) = pool.type_status(self.ty) else { return Vec::new() };
        let Target { ty, seat, .. } = *self;
        let mut lines = Vec::new();
        let now = principals(of, seat);
        lines.extend(
            now.difference(&self.moved).map(|name| format!("{ty}: {name} is on {}", pool.server_name(ty, seat))),
        );
        self.moved = now;
        self.stand = if self.is_forced { forced_stand(pool, of, seat) } else { stand(pool, of, seat) };
        if self.stand == Stand::Ended(Exit::AsWanted) && !self.is_forced {
            lines.push(arrived(pool, of, seat, generation));
            return lines;
        }
        let operation = pool.status.operation.as_ref().filter(|operation| operation.type_ == ty);
        let shown = (of.reason.clone(), operation.map_or(0, |operation| operation.attempt));
        if self.shown.as_ref() != Some(&shown) {
            lines.push(format!("{ty}: {}. {}", of.reason, of.message));
            self.shown = Some(shown);
        }
        lines
    }
}

fn stand(pool: &Pool, of: &DatabaseTypeStatus, seat: Seat) -> Stand {
    if of.desired != seat {
        // Another change of the spec has replaced the request.
        return Stand::Ended(Exit::ActionNeeded);
    }
    if pool.status.operation.as_ref().is_some_and(|operation| operation.type_ == of.type_) {
        return Stand::Open;
    }
    match of.reason.parse::<Reason>().map(|reason| (reason, reason.effect())) {
        Ok((reason, Effect::Ready)) if observed_seat(of) == Some(seat) => match Exit::of(of.service, reason) {
            Exit::AsWanted => Stand::Ended(Exit::AsWanted),
            // The partner or the witness can be away for a moment after a switch.
            exit => Stand::Stalled(exit),
        },
        Ok((_, Effect::Ready | Effect::Reconciling)) => Stand::Open,
        Ok((reason, Effect::Stalled)) => Stand::Stalled(Exit::of(of.service, reason)),
        Err(_) => Stand::Stalled(Exit::NotKnown),
    }
}

/// A forced service never ends as the spec wants it: the servers need an administrator afterwards.
fn forced_stand(pool: &Pool, of: &DatabaseTypeStatus, seat: Seat) -> Stand {
    let in_flight = pool.status.operation.as_ref().is_some_and(|operation| operation.type_ == of.type_);
    match of.reason.parse::<Reason>() {
        _ if in_flight => Stand::Open,
        Ok(reason) if observed_seat(of) == Some(seat) => Stand::Ended(Exit::of(of.service, reason)),
        Ok(reason) if reason.effect() != Effect::Stalled => Stand::Open,
        Ok(reason) => Stand::Stalled(Exit::of(of.service, reason)),
        Err(_) => Stand::Stalled(Exit::NotKnown),
    }
}

/// The databases with their principal in this seat.
fn principals(of: &DatabaseTypeStatus, seat: Seat) -> BTreeSet<String> {
    let on = |database: &&crate::api::DatabaseStatus| {
        let role = match seat {
            Seat::Primary => &database.state_on_primary,
            Seat::Mirror => &database.state_on_mirror,
        };
        *role == Role::Principal.to_string()
    };
    of.databases.iter().filter(on).map(|database| database.name.clone()).collect()
}

/// The end of a move, with the time from the first statement to the last answer if the operator measured it.
fn arrived(pool: &Pool, of: &DatabaseTypeStatus, seat: Seat, generation: Option<i64>) -> String {
    let server = pool.server_name(of.type_, seat);
    let entry = pool.status.history.iter().find(|entry| entry.type_ == of.type_);
    let entry = entry.filter(|entry| entry.to == seat && Some(entry.generation) >= generation);
    let time =
        entry.filter(|entry| entry.statement_millis.is_some()).map(|entry| format!(", moved in {}", took(entry)));
    format!("{}: the principal is on {server}{}. {}", of.type_, time.unwrap_or_default(), of.message)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
