//! The post-switch comparison of server-level objects, which a role switch does not copy (R22). It runs in the background
//! after a move, only reads, and never delays a move.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join};
use tracing::info;

use crate::api::{ConditionType, LyncPoolMirrorStatus};
use crate::controller::connections::Connections;
use crate::controller::context::Context;
use crate::controller::object::namespaced_name;
use crate::controller::pass::Pass;
use crate::model::{DatabaseName, DriftReport, Effect, ObservedPrincipal, Seat};
use crate::plan::Plan;
use crate::sql::{self, Target};

/// The targets of both seats of a store, the databases to compare, and the seat that serves them.
type Store = (Target, Target, Vec<DatabaseName>, Seat);

/// Starts a comparison if one is due: after a move, every ten minutes while the servers differ, and once per process if the
/// last comparison is missing or found differences. Returns the time until the next one, if there is one.
pub fn compare_when_due(
    ctx: &Arc<Context>,
    pass: &Pass,
    connections: &Connections,
    plan: &Plan,
    status: &LyncPoolMirrorStatus,
) -> Option<Duration> {
    let (resource, subject) = (pass.resource(), pass.compared());
    let kind: &str = ConditionType::PostSwitchDrift.into();
    let last = status.conditions.iter().find(|condition| condition.type_ == kind);
    let unsettled = !status.history.is_empty() && last.is_none_or(|condition| condition.status != "False");
    let moved = plan.ended.is_some();
    if moved {
        ctx.drift_schedule.mark_due(resource, &subject);
    }
    // A comparison starts neither during a move nor between the moves of two types.
    let reconciling = plan.types.values().any(|planned| planned.verdict.reason.effect() == Effect::Reconciling);
    let settled = plan.persisted.operation.is_none() && !reconciling;
    let stores = stores(pass, connections, plan);
    // A comparison of some of the stores would report the others as equal: those without credentials or polls too.
    let complete = pass.spec.desired.unusable.is_empty()
        && !pass.spec.desired.types.is_empty()
        && stores.len() == pass.spec.stores.iter().count();
    if !complete || !ctx.drift_schedule.start_if_due(resource, &subject, moved || unsettled, settled) {
        return ctx.drift_schedule.next(resource, &subject);
    }
    let (ctx, resource) = (ctx.clone(), resource.clone());
    tokio::spawn(async move {
        let report = compare(&ctx, &stores).await;
        info!(resource = namespaced_name(&resource), ?report, "post-switch comparison complete");
        ctx.drift_schedule.record(&resource, &subject, report);
        ctx.enqueue(&resource);
    });
    None
}

fn stores(pass: &Pass, connections: &Connections, plan: &Plan) -> Vec<Store> {
    let desired_types = &pass.spec.desired.types;
    pass.spec
        .stores
        .with_ids()
        .filter_map(|(store, _)| {
            let own = desired_types.iter().filter(|desired_type| desired_type.store == store);
            let names = own.flat_map(|desired_type| desired_type.databases.iter().cloned()).collect();
            let target = |seat| connections.target(store, seat).cloned();
            let mut here = plan.types.values().filter(|planned| planned.desired_type.store == store).peekable();
            let on_mirror = here.peek().is_some() && here.all(|planned| planned.observed == ObservedPrincipal::Mirror);
            let principal = if on_mirror { Seat::Mirror } else { Seat::Primary };
            Some((target(Seat::Primary)?, target(Seat::Mirror)?, names, principal))
        })
        .collect()
}

async fn compare(ctx: &Context, stores: &[Store]) -> DriftReport {
    let pairs = stores.iter().map(async |(primary, mirror, names, principal)| {
        let both = try_join(ctx.monitors.inventory(primary), ctx.monitors.inventory(mirror));
        both.await.map(|(primary, mirror)| sql::differences(&primary, &mirror, names, *principal))
    });
    let mut found = sql::Found::default();
    for of_pair in join_all(pairs).await {
        match of_pair {
            Ok(of_pair) => found.append(of_pair),
            Err(unavailable) => return DriftReport::Unknown(unavailable),
        }
    }
    let differences = found.into_differences();
    if differences.total() == 0 { DriftReport::InSync } else { DriftReport::Drifted(differences) }
}
