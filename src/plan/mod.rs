//! The decision: pure, synchronous, total. It knows no Kubernetes, no SQL and no clock; what cannot be seen is a
//! value, time is an argument, and a plan leaves no choice to those who carry it out.

mod finding;
mod follow;
mod obstacle;
mod step;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Attempt, Cause, DatabaseType, Desired, Epoch, Memory, Observation, Operation, OperationDatabase, Outcome, Reason,
    Request, Side, Wish,
};

pub use finding::{Finding, Session, judge};
pub use follow::Progress;
pub use obstacle::{Obstacle, dark_reason};
pub use step::Failover;
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
            memory
                .last
                .insert(over.operation.ty, Attempt { ended: now, outcome: over.outcome, detail: over.detail.clone() });
            memory.operation = None;
            ended = Some(over);
        }
    }
    for (wish, findings) in wishes.iter().zip(&found) {
        recall(&mut memory, desired, wish, findings);
    }

    let mut types = BTreeMap::new();
    for (wish, findings) in wishes.into_iter().zip(found) {
        let under_way = memory.operation.as_ref().filter(|operation| operation.ty == wish.ty);
        let judged = verdict::verdict(&verdict::Case {
            desired,
            seen,
            memory: &memory,
            wish: &wish,
            findings: &findings,
            progress: under_way.and(progress.as_ref()),
            suspended,
            now,
        });
        types.insert(
            wish.ty,
            TypePlan {
                observed: Observed::of(&findings),
                epoch: epoch(&findings),
                next: if under_way.is_some() { Vec::new() } else { verdict::failovers(seen, &wish, &findings) },
                verdict: judged,
                findings,
                wish,
            },
        );
    }
    if memory.operation.is_none()
        && let Some(begun) = take_turns(&mut types, desired, &memory, now)
    {
        steps = begun.1;
        memory.operation = Some(begun.0);
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

/// Keeps the memory of what was asked: a changed principal is owed until it is seen; anything else is drift.
fn recall(memory: &mut Memory, desired: &Desired, wish: &Wish, findings: &[Finding]) {
    let request = match memory.requests.get(&wish.ty) {
        Some(request) if request.principal == wish.principal => *request,
        Some(_) => Request { principal: wish.principal, generation: desired.generation, owed: true },
        // First seen: what is there already was not asked for by a change.
        None => Request { principal: wish.principal, generation: desired.generation, owed: false },
    };
    let moving = memory.operation.as_ref().is_some_and(|operation| operation.ty == wish.ty);
    let there =
        findings.iter().all(|finding| finding.agreed && finding.online && finding.principal == Some(wish.principal));
    let request = Request { owed: request.owed && (moving || !there), ..request };
    memory.requests.insert(wish.ty, request);
}

/// The state that an approval has to name. None while a database of the type shows no session.
pub fn epoch(findings: &[Finding]) -> Option<Epoch> {
    let sessions: Option<Vec<_>> =
        findings.iter().map(|finding| finding.session.map(|session| (session.guid, session.role_sequence))).collect();
    sessions.map(Epoch::of)
}

/// One type at a time, in Lync's order, CentralMgmt last, and only when the one before is synchronized again (R17).
fn take_turns(
    types: &mut BTreeMap<DatabaseType, TypePlan>,
    desired: &Desired,
    memory: &Memory,
    now: Timestamp,
) -> Option<(Operation, Vec<Failover>)> {
    let standing: Vec<(DatabaseType, Reason)> = types.iter().map(|(ty, plan)| (*ty, plan.verdict.reason)).collect();
    let blocker = |ty: DatabaseType| {
        standing.iter().find(|(other, reason)| {
            *other != ty
                && match reason {
                    Reason::Moving
                    | Reason::Verifying
                    | Reason::Synchronizing
                    | Reason::FailoverInProgress
                    | Reason::Unsettled => true,
                    Reason::Cooldown | Reason::NotYetObserved => *other < ty,
                    _ => false,
                }
        })
    };
    let mut begun: Option<(Operation, Vec<Failover>)> = None;
    for (ty, plan) in types.iter_mut() {
        let verdict::Release::Ready(cause) = plan.verdict.release else { continue };
        let before = match (&begun, blocker(*ty).filter(|(_, reason)| *reason != Reason::Moving)) {
            (Some((operation, _)), _) => Some((operation.ty, "moving")),
            (None, Some((other, _))) => Some((*other, "not settled yet")),
            (None, None) => None,
        };
        if let Some((other, state)) = before {
            plan.verdict = Verdict::waiting(
                Reason::WaitingForTurn,
                format!(
                    "{ty} moves to the {} after {other}, which is {state}: one type at a time, CentralMgmt last",
                    plan.wish.principal.word()
                ),
            );
            continue;
        }
        begun = Some((begin(desired, plan, cause, now), plan.next.clone()));
    }
    let _ = memory;
    begun
}

fn begin(desired: &Desired, plan: &TypePlan, cause: Cause, now: Timestamp) -> Operation {
    Operation {
        ty: plan.wish.ty,
        from: plan.wish.principal.other(),
        to: plan.wish.principal,
        cause,
        generation: desired.generation,
        started: now,
        attempted: now,
        deadline: later(now, desired.policy.switch_deadline),
        attempt: 1,
        databases: plan
            .next
            .iter()
            .map(|step| OperationDatabase {
                name: step.database.clone(),
                guid: step.guid,
                role_sequence: step.role_sequence,
            })
            .collect(),
    }
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

/// Saturating, so that a nonsense timestamp in an edited status cannot make a panic.
pub(crate) fn later(from: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
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
mod tests;
