//! Whose turn it is: one type at a time, in order, and the journal entry of the move that begins.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{Cause, DatabaseType, Desired, Observation, Operation, OperationDatabase, Reason, later};
use crate::plan::rule::stands;
use crate::plan::verdict::{Release, Verdict};
use crate::plan::{Failover, Rule, TypePlan};

/// One type at a time, in Lync's order, CentralMgmt last, and only when the one before is synchronized again (R17).
pub(crate) fn take(
    types: &mut BTreeMap<DatabaseType, TypePlan>,
    desired: &Desired,
    seen: &Observation,
    now: Timestamp,
) -> Option<(Operation, Vec<Failover>)> {
    let policy = &desired.policy;
    let standing: Vec<(DatabaseType, Reason)> = types.iter().map(|(ty, plan)| (*ty, plan.verdict.reason)).collect();
    let blocker = |ty: DatabaseType| {
        standing.iter().find(|(other, reason)| {
            *other != ty
                && match reason {
                    Reason::Moving
                    | Reason::Verifying
                    | Reason::Synchronizing
                    | Reason::FailoverInProgress
                    | Reason::Unsettled => stands(Rule::SettledBefore),
                    Reason::Cooldown | Reason::NotYetObserved => {
                        stands(Rule::EarlierTypeFirst) && policy.turn(*other) < policy.turn(ty)
                    }
                    _ => false,
                }
        })
    };
    let mut begun: Option<(Operation, Vec<Failover>)> = None;
    let mut turns: Vec<(&DatabaseType, &mut TypePlan)> = types.iter_mut().collect();
    if stands(Rule::InOrder) {
        turns.sort_by_key(|(ty, _)| policy.turn(**ty));
    }
    for (ty, plan) in turns {
        let Release::Ready(cause) = plan.verdict.release else { continue };
        let before = match (&begun, blocker(*ty).filter(|(_, reason)| *reason != Reason::Moving)) {
            (Some((operation, _)), _) if stands(Rule::OneTypeAtATime) => Some((operation.ty, "moving")),
            (None, Some((other, _))) => Some((*other, "not settled yet")),
            (Some(_), _) | (None, None) => None,
        };
        if let Some((other, state)) = before {
            plan.verdict = Verdict::waiting(
                Reason::WaitingForTurn,
                format!(
                    "{ty} moves to the {} after {other}, which is {state}: one type at a time",
                    plan.wish.principal.word()
                ),
            );
            continue;
        }
        if plan.next.is_empty() {
            let message = format!("{ty}: the servers changed while they were looked at; they are looked at again");
            plan.verdict = Verdict::waiting(Reason::Unsettled, message);
            continue;
        }
        begun = Some((begin(desired, seen, plan, cause, now), plan.next.clone()));
    }
    begun
}

fn begin(desired: &Desired, seen: &Observation, plan: &TypePlan, cause: Cause, now: Timestamp) -> Operation {
    Operation {
        ty: plan.wish.ty,
        from: plan.wish.principal.other(),
        to: plan.wish.principal,
        cause,
        generation: desired.generation,
        asked_by: match cause {
            Cause::Intent => plan.wish.asked_by.principal.clone(),
            Cause::Approved => plan.wish.asked_by.approve.clone(),
            Cause::ForcedService => plan.wish.asked_by.force.clone(),
            Cause::FailBack => None,
        },
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
                before: seen.pairs.get(plan.wish.store).map(|pair| pair.words(&step.database)).unwrap_or_default(),
            })
            .collect(),
    }
}
