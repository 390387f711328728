//! The decision: pure, synchronous, total. It knows no Kubernetes, no SQL and no clock; what cannot be seen is a
//! value, time is an argument, and a plan leaves no choice to those who carry it out.

mod drift;
mod finding;
mod follow;
mod force;
mod gate;
mod interruption;
mod obstacle;
pub(crate) mod rule;
mod step;
mod track;
mod turns;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Attempt, DatabaseType, Desired, Epoch, Memory, Observation, Operation, Outcome, Reason, Side, Track, Wish, later,
};

pub use drift::differences;
pub use finding::{Finding, Session, judge};
pub use follow::Progress;
pub use gate::{coarse, next as next_window, words};
pub use interruption::predict;
pub use obstacle::{Obstacle, dark_reason};
pub(crate) use rule::{Rule, holds};
pub use step::{Act, Failover};
pub use track::TRIPS;
pub use verdict::{Observed, Verdict};

/// A further attempt is made only after a look that shows that the former one moved nothing.
pub const ATTEMPTS: u32 = 4;

/// What to do, what to say, what to remember, and when to look again.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub types: BTreeMap<DatabaseType, TypePlan>,
    /// What must be written down before the steps are taken.
    pub memory: Memory,
    /// The databases to fail over now, all at once; empty unless `memory.operation` has just begun or is tried again.
    pub steps: Vec<Failover>,
    /// The move that this observation showed to be over.
    pub ended: Option<Ended>,
    pub pace: Pace,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypePlan {
    pub wish: Wish,
    pub observed: Observed,
    pub verdict: Verdict,
    pub epoch: Option<Epoch>,
    pub findings: Vec<Finding>,
    /// What will be sent once the verdict lets it.
    pub next: Vec<Failover>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub operation: Operation,
    pub outcome: Outcome,
    pub detail: Option<String>,
}

/// When to look again, if nothing changes on the servers before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A move is under way: look again as soon as the last look is digested.
    Now,
    /// A move has just ended: look until the mirror has caught up.
    Soon,
    /// Nothing is under way until this time, or until somebody changes something.
    At(Timestamp),
    Idle,
}

/// After a move the servers are watched closely for this long.
const AFTERCARE: Duration = Duration::from_secs(60);

/// What to do about `desired`, given what was `seen` and what is remembered.
pub fn plan(desired: &Desired, seen: &Observation, memory: &Memory, now: Timestamp) -> Plan {
    let mut memory = memory.clone();
    let mut wishes: Vec<Wish> = desired.wishes.clone();
    wishes.sort_by_key(|wish| wish.ty);
    let found: Vec<Vec<Finding>> =
        wishes.iter().map(|wish| wish.databases.iter().map(|name| find(seen, wish, name)).collect()).collect();

    let suspended = desired.suspend.as_ref().is_some_and(|suspend| suspend.holds(now));
    let followed = follow::follow(desired, seen, &memory, suspended, now);
    let mut ended = None;
    let mut steps = Vec::new();
    let mut progress = None;
    match followed {
        follow::Followed::None => {}
        follow::Followed::Going(words) => progress = Some(words),
        follow::Followed::Again(operation, again, words) => {
            memory.operation = Some(operation);
            steps = again;
            progress = Some(words);
        }
        follow::Followed::Over(over) => {
            memory.last.insert(
                over.operation.ty,
                Attempt { ended: now, cause: over.operation.cause, outcome: over.outcome, detail: over.detail.clone() },
            );
            memory.operation = None;
            ended = Some(over);
        }
    }
    for (wish, findings) in wishes.iter().zip(&found) {
        track::update(&mut memory, desired, seen, wish, findings, ended.as_ref(), now);
    }

    let mut types = BTreeMap::new();
    let untracked = Track::default();
    for (wish, findings) in wishes.into_iter().zip(found) {
        let track = memory.tracks.get(&wish.ty).unwrap_or(&untracked);
        let under_way = memory.operation.as_ref().filter(|operation| operation.ty == wish.ty);
        let judged = verdict::verdict(&verdict::Case {
            desired,
            seen,
            memory: &memory,
            wish: &wish,
            findings: &findings,
            track,
            progress: under_way.and(progress.as_ref()),
            suspended,
            now,
        });
        types.insert(
            wish.ty,
            TypePlan {
                observed: Observed::of(&findings),
                epoch: epoch(&findings),
                next: if under_way.is_some() { Vec::new() } else { verdict::steps(seen, &wish, &findings, track) },
                verdict: judged,
                findings,
                wish,
            },
        );
    }
    if holds(Rule::OneOperation, memory.operation.is_none())
        && let Some((operation, begun)) = turns::take(&mut types, desired, seen, now)
    {
        if let Some(of) = types.get(&operation.ty) {
            track::begun(&mut memory, &of.wish, operation.cause);
        }
        steps = begun;
        memory.operation = Some(operation);
    }
    let pace = pace(desired, &types, &memory, now);
    Plan { types, memory, steps, ended, pace }
}

fn find(seen: &Observation, wish: &Wish, name: &crate::model::DatabaseName) -> Finding {
    match seen.pairs.get(wish.store) {
        Some(pair) => judge(pair, name),
        None => Finding {
            name: name.clone(),
            principal: None,
            obstacle: Some(Obstacle::Unsettled),
            session: None,
            agreed: false,
            online: false,
        },
    }
}

/// The state that an approval has to name. None while a database of the type shows no session.
pub fn epoch(findings: &[Finding]) -> Option<Epoch> {
    let sessions: Option<Vec<_>> =
        findings.iter().map(|finding| finding.session.map(|session| (session.guid, session.role_sequence))).collect();
    sessions.map(Epoch::of)
}

fn pace(desired: &Desired, types: &BTreeMap<DatabaseType, TypePlan>, memory: &Memory, now: Timestamp) -> Pace {
    if memory.operation.is_some() {
        return Pace::Now;
    }
    let fresh = memory.last.values().any(|attempt| now < later(attempt.ended, AFTERCARE));
    let restless = types.values().any(|plan| {
        matches!(
            plan.verdict.reason,
            Reason::Synchronizing | Reason::Unsettled | Reason::FailoverInProgress | Reason::WaitingForTurn
        ) || plan.findings.iter().any(|finding| !finding.agreed)
    });
    if fresh && restless {
        return Pace::Soon;
    }
    let timers = types
        .values()
        .filter_map(|plan| plan.verdict.until)
        .chain(desired.suspend.iter().filter_map(|suspend| suspend.until))
        .filter(|at| *at > now);
    timers.min().map_or(Pace::Idle, Pace::At)
}

/// `rtcxds, rtcab`, for messages.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a crate::model::DatabaseName>) -> String {
    names.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The seats in which the databases of an operation were seen afterwards.
pub(crate) fn seat_of(findings: &[Finding]) -> Option<Side> {
    let mut seats = findings.iter().map(|finding| finding.principal);
    let first = seats.next()??;
    seats.all(|seat| seat == Some(first)).then_some(first)
}

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
