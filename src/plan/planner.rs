//! The planner: one database type after the other, then the schedule across them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{
    Attempt, DatabaseType, Desired, Failover, Memory, Observation, Operation, Reason, Track, Wish, later,
};
use crate::plan::finding::{Finding, epoch, judge};
use crate::plan::operation::{self, OperationState};
use crate::plan::precondition::{Preconditions, Rule};
use crate::plan::types::{Case, Ended, Input, Observed, Pace, Plan, Progress, TypePlan};
use crate::plan::{decide, schedule, statements, tracking};

/// The servers are polled closely for this long after a move.
const AFTERCARE: Duration = Duration::from_secs(60);

/// What to do about `desired`, given what was `seen` and what is remembered.
pub fn plan(desired: &Desired, seen: &Observation, memory: &Memory, now: Timestamp) -> Plan {
    plan_with(&Preconditions::default(), desired, seen, memory, now)
}

/// [`plan`] with chosen preconditions, for the model check.
pub fn plan_with(
    rules: &Preconditions,
    desired: &Desired,
    seen: &Observation,
    memory: &Memory,
    now: Timestamp,
) -> Plan {
    let input = Input { rules, desired, seen, now };
    let mut memory = memory.clone();
    let mut wishes: Vec<Wish> = desired.wishes.clone();
    wishes.sort_by_key(|wish| wish.ty);
    let found: Vec<Vec<Finding>> = wishes
        .iter()
        .map(|wish| wish.databases.iter().map(|name| judge(rules, seen.pair(wish.store), name)).collect())
        .collect();

    let Checked { mut steps, progress, ended } = check_operation(&input, &mut memory);
    for (wish, findings) in wishes.iter().zip(&found) {
        tracking::update(&input, &mut memory, wish, findings, ended.as_ref());
    }
    let mut types = BTreeMap::new();
    for (wish, findings) in wishes.into_iter().zip(found) {
        types.insert(wish.ty, type_plan(input, &memory, wish, findings, progress.as_ref()));
    }
    if input.satisfied(Rule::OneOperation, memory.operation.is_none())
        && let Some((operation, begun)) = schedule::start_next(&input, &mut types)
    {
        if let Some(plan) = types.get(&operation.ty) {
            tracking::operation_started(&mut memory, &plan.wish, operation.cause);
        }
        steps = begun;
        memory.operation = Some(operation);
    }
    let pace = pace(desired, &types, &memory, now);
    Plan { types, memory, steps, ended, pace }
}

/// What the check of the move in flight showed.
#[derive(Default)]
struct Checked {
    steps: Vec<Failover>,
    progress: Option<Progress>,
    ended: Option<Ended>,
}

fn check_operation(input: &Input, memory: &mut Memory) -> Checked {
    match operation::check(input, memory) {
        OperationState::None => Checked::default(),
        OperationState::InProgress(progress) => Checked { progress: Some(progress), ..Checked::default() },
        OperationState::Retry(operation, steps, progress) => {
            memory.operation = Some(operation);
            Checked { steps, progress: Some(progress), ended: None }
        }
        OperationState::Ended(over) => {
            let Operation { ty, cause, .. } = over.operation;
            let attempt = Attempt { ended: input.now, cause, outcome: over.outcome, detail: over.detail.clone() };
            memory.last.insert(ty, attempt);
            memory.operation = None;
            Checked { ended: Some(over), ..Checked::default() }
        }
    }
}

fn type_plan(
    input: Input,
    memory: &Memory,
    wish: Wish,
    findings: Vec<Finding>,
    progress: Option<&Progress>,
) -> TypePlan {
    let untracked = Track::default();
    let in_flight = memory.operation.as_ref().filter(|operation| operation.ty == wish.ty);
    let case = Case {
        input,
        pair: input.seen.pair(wish.store),
        memory,
        wish: &wish,
        findings: &findings,
        track: memory.tracks.get(&wish.ty).unwrap_or(&untracked),
        progress: in_flight.and(progress),
    };
    let verdict = decide::verdict(&case);
    let next = if in_flight.is_some() { Vec::new() } else { statements::next(&case) };
    TypePlan { observed: Observed::of(&findings), epoch: epoch(&findings), next, verdict, findings, wish }
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
