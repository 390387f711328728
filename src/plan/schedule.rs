//! The schedule across the types: one type at a time, in order, and the journal entry of the move that begins.

use std::collections::BTreeMap;

use crate::model::{Cause, DatabaseType, Failover, Operation, OperationDatabase, Reason, later};
use crate::plan::precondition::Precondition;
use crate::plan::types::{Input, Release, TypePlan, Verdict};

/// One type at a time, in Lync's order, CentralMgmt last, and only when the one before is synchronized again (R17).
pub(crate) fn start_next(
    input: &Input,
    types: &mut BTreeMap<DatabaseType, TypePlan>,
) -> Option<(Operation, Vec<Failover>)> {
    let policy = &input.desired.policy;
    let standing: Vec<(DatabaseType, Reason)> = types.iter().map(|(ty, plan)| (*ty, plan.verdict.reason)).collect();
    let blocker = |ty: DatabaseType| {
        standing.iter().find(|(other, reason)| {
            *other != ty
                && match reason {
                    Reason::Moving
                    | Reason::Verifying
                    | Reason::Synchronizing
                    | Reason::FailoverInProgress
                    | Reason::Unsettled => input.enforced(Precondition::SettledBefore),
                    Reason::Cooldown | Reason::NotYetObserved => {
                        input.enforced(Precondition::EarlierTypeFirst) && policy.turn(*other) < policy.turn(ty)
                    }
                    _ => false,
                }
        })
    };
    let mut begun: Option<(Operation, Vec<Failover>)> = None;
    let mut turns: Vec<(&DatabaseType, &mut TypePlan)> = types.iter_mut().collect();
    if input.enforced(Precondition::InOrder) {
        turns.sort_by_key(|(ty, _)| policy.turn(**ty));
    }
    for (ty, plan) in turns {
        let Release::Ready(cause) = plan.verdict.release else { continue };
        let before = match (&begun, blocker(*ty).filter(|(_, reason)| *reason != Reason::Moving)) {
            (Some((operation, _)), _) if input.enforced(Precondition::OneTypeAtATime) => Some((operation.ty, "moving")),
            (None, Some((other, _))) => Some((*other, "not settled yet")),
            (Some(_), _) | (None, None) => None,
        };
        if let Some((other, state)) = before {
            plan.verdict = Verdict::waiting(
                Reason::WaitingForTurn,
                format!(
                    "Failover of {ty} to the {} waits for {other}, which is {state}: one type moves at a time.",
                    plan.desired_type.principal.word()
                ),
            );
            continue;
        }
        if plan.next.is_empty() {
            let message = format!("{ty}: the servers changed during this pass, and the operator polls them again.");
            plan.verdict = Verdict::waiting(Reason::Unsettled, message);
            continue;
        }
        begun = Some((new_operation(input, plan, cause), plan.next.clone()));
    }
    begun
}

fn new_operation(input: &Input, plan: &TypePlan, cause: Cause) -> Operation {
    let pair = input.observation.pair(plan.desired_type.store);
    Operation {
        ty: plan.desired_type.ty,
        from: plan.desired_type.principal.other(),
        to: plan.desired_type.principal,
        cause,
        generation: input.desired.generation,
        requested_by: match cause {
            Cause::Intent => plan.desired_type.requested_by.principal.clone(),
            Cause::Approved => plan.desired_type.requested_by.approve.clone(),
            Cause::ForcedService => plan.desired_type.requested_by.force.clone(),
            Cause::FailBack => None,
        },
        started: input.now,
        attempted: input.now,
        deadline: later(input.now, input.desired.policy.switch_deadline),
        attempt: 1,
        databases: plan
            .next
            .iter()
            .map(|step| OperationDatabase {
                name: step.database.clone(),
                guid: step.guid,
                role_sequence: step.role_sequence,
                before: pair.describe(&step.database),
            })
            .collect(),
    }
}
