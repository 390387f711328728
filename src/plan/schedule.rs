//! The schedule across the types: one type of a pair at a time, in order, and the journal entry of the move that begins.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{
    Act, Cause, DatabaseType, Failover, Operation, OperationDatabase, Pair, PersistedState, Policy, Reason, StoreId,
    later,
};
use crate::plan::estimate::predict;
use crate::plan::forced_service::limited_functionality;
use crate::plan::precondition::Precondition;
use crate::plan::text::second;
use crate::plan::types::{Input, Release, TypePlan, Verdict};

/// What the schedule needs of a type that another type could wait for.
struct Standing {
    ty: DatabaseType,
    store: StoreId,
    reason: Reason,
    /// The operator moved the type a moment ago: until this time, the next type waits until it is synchronized again.
    follows_until: Option<Timestamp>,
}

/// One type of a pair at a time, in Lync's order, CentralMgmt last, and only when the one that the operator moved before is
/// synchronized again (R17).
pub(crate) fn start_next(
    input: &Input,
    persisted: &PersistedState,
    types: &mut BTreeMap<DatabaseType, TypePlan>,
) -> Option<(Operation, Vec<Failover>)> {
    let policy = &input.desired.policy;
    let standing: Vec<Standing> = types
        .iter()
        .map(|(ty, plan)| Standing {
            ty: *ty,
            store: plan.desired_type.store,
            reason: plan.verdict.reason,
            follows_until: persisted.last.get(ty).map(|last| later(last.last_end(), policy.switch_deadline)),
        })
        .collect();
    let mut begun: Option<(Operation, Vec<Failover>)> = None;
    let mut turns: Vec<(&DatabaseType, &mut TypePlan)> = types.iter_mut().collect();
    if input.enforced(Precondition::InOrder) {
        turns.sort_by_key(|(ty, _)| policy.turn(**ty));
    }
    for (ty, plan) in turns {
        let Release::Ready(cause) = plan.verdict.release else { continue };
        let waits_for = match &begun {
            Some((operation, _)) if input.enforced(Precondition::OneTypeAtATime) => {
                Some(format!("{}, which is moving", operation.ty))
            }
            Some(_) => None,
            None => blocker(input, &standing, *ty, plan),
        };
        if let Some(other) = waits_for {
            plan.verdict = waiting(input, persisted, plan, &other);
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

/// A move is in flight: every other type that is ready waits for it.
pub(crate) fn wait_for(
    input: &Input,
    persisted: &PersistedState,
    types: &mut BTreeMap<DatabaseType, TypePlan>,
    operation: &Operation,
) {
    for plan in types.values_mut().filter(|plan| plan.desired_type.ty != operation.ty && plan.ready) {
        plan.verdict = waiting(input, persisted, plan, &format!("{}, which is moving", operation.ty));
    }
}

fn waiting(input: &Input, persisted: &PersistedState, plan: &TypePlan, other: &str) -> Verdict {
    let ty = plan.desired_type.ty;
    if plan.verdict.release == Release::Ready(Cause::ForcedService) {
        // The loss stays the reason: it is what an administrator has to know.
        let since = persisted.tracking.get(&ty).map(|tracking| limited_functionality(ty, tracking)).unwrap_or_default();
        let message = format!(
            "{ty} lost its principal.{since} Forced service, which the spec consents to, waits for {other}: one move at a time."
        );
        return Verdict::waiting(Reason::PrincipalLost, message);
    }
    let message = format!(
        "Failover of {ty} to the {} waits for {other}: one type moves at a time.",
        input.observation.pair(plan.desired_type.store).label(plan.desired_type.principal)
    );
    Verdict::waiting(Reason::WaitingForTurn, message)
}

/// What a type that is ready to move waits for.
fn blocker(input: &Input, standing: &[Standing], ty: DatabaseType, plan: &TypePlan) -> Option<String> {
    let pair = |store| input.observation.pair(store);
    let blocks = |other: &&Standing| {
        let follows = other.follows_until.is_some_and(|until| input.now < until);
        other.ty != ty
            && same_servers(pair(other.store), pair(plan.desired_type.store))
            && match other.reason {
                Reason::Synchronizing | Reason::FailoverInProgress | Reason::Unsettled | Reason::DatabaseRecovering => {
                    follows && input.enforced(Precondition::SettledBefore)
                }
                Reason::Cooldown | Reason::Settling | Reason::NotYetObserved => {
                    input.enforced(Precondition::EarlierTypeFirst) && is_earlier(other.ty, ty, &input.desired.policy)
                }
                _ => false,
            }
    };
    if let Some(other) = standing.iter().find(blocks) {
        let until = other.follows_until.filter(|until| input.now < *until);
        let limit = until.map(|until| format!(" (at most until {})", second(until))).unwrap_or_default();
        return Some(format!("{}, which is not settled yet{limit}", other.ty));
    }
    let other = input.observation.turns.get(&ty).filter(|_| input.enforced(Precondition::TurnOfThePair))?;
    Some(other.clone())
}

/// The turns of two types are never equal.
fn is_earlier(ty: DatabaseType, other: DatabaseType, policy: &Policy) -> bool {
    policy.turn(ty) < policy.turn(other)
}

/// Two stores of one resource can name the same servers.
fn same_servers(a: &Pair, b: &Pair) -> bool {
    let names = |pair: &Pair| {
        let mut names = [&pair.primary, &pair.mirror].map(|view| {
            view.available().map_or_else(|| view.address().to_lowercase(), |server| server.name.to_lowercase())
        });
        names.sort();
        names
    };
    names(a) == names(b)
}

fn new_operation(input: &Input, plan: &TypePlan, cause: Cause) -> Operation {
    let pair = input.observation.pair(plan.desired_type.store);
    let to = match plan.next.first().map(|step| (step.act, step.on)) {
        Some((Act::ForceService, on)) => on,
        Some((Act::Failover, _)) | None => plan.desired_type.principal,
    };
    let server = |seat| pair.view(seat).available().map(|server| server.name.clone());
    let journaled = |step: &Failover| OperationDatabase {
        name: step.database.clone(),
        guid: step.guid,
        // The higher one of both partners, so that a higher one later proves a switch.
        role_sequence: plan
            .findings
            .iter()
            .find(|finding| finding.name == step.database)
            .and_then(|finding| finding.session)
            .map_or(step.role_sequence, |session| session.role_sequence),
        before: pair.describe(&step.database),
    };
    let failovers = plan.next.iter().filter(|step| step.act == Act::Failover);
    Operation {
        ty: plan.desired_type.ty,
        from: to.other(),
        to,
        from_server: server(to.other()),
        to_server: server(to),
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
        predicted: failovers.filter_map(|step| predict(pair, &step.database)).max(),
        databases: plan.next.iter().map(journaled).collect(),
    }
}
