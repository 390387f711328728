//! The observation of a resource. It always succeeds: an unavailable SQL Server is a value, not an error.

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;

use crate::controller::connections::Connections;
use crate::controller::context::Context;
use crate::controller::in_flight::AttemptId;
use crate::controller::movement::types_with_pairs;
use crate::controller::object::shown_name;
use crate::controller::ownership::Rivals;
use crate::controller::pass::Pass;
use crate::controller::running::move_id;
use crate::model::{DatabaseType, Observation};

/// Observes the newest polls of the servers, the conflicts with other resources and the statements in flight.
pub fn observe(ctx: &Context, pass: &Pass<'_>, connections: &Connections) -> Observation {
    let pairs = connections.latest();
    let name = pass.name();
    ctx.enqueue_each(ctx.ownership.register(&name, &pass.spec, &pairs, pass.operation().is_some()));
    let conflicts = ctx.ownership.conflicts(&name, |other| ctx.exists(other));
    log_conflicts(ctx, pass, &conflicts);
    let conflicts = conflicts.into_iter().map(|(ty, rivals)| (ty, shown(&name, &rivals))).collect();
    let types = types_with_pairs(&pass.spec, &pairs);
    let own = pass.operation().map(|operation| move_id(pass.uid(), operation.ty, operation.started));
    let turns = ctx.movements.turns((&name, own.as_ref()), types.into_iter(), |other| ctx.exists(other));
    let statements = match pass.operation() {
        Some(operation) => ctx.in_flight.states(&AttemptId::of(pass.uid(), operation)),
        None => BTreeMap::new(),
    };
    Observation { pairs, conflicts, turns, statements }
}

/// The resources that a move of this resource waits for at the start of a term. None: no conflict can be missed, or the wait
/// has been long enough.
pub fn awaited(ctx: &Context, name: &str) -> Option<String> {
    if !ctx.synced() && ctx.ownership.may_wait() {
        return Some("all, because the first list has not arrived".to_owned());
    }
    let awaited = ctx.ownership.awaited(name, std::iter::once_with(|| ctx.existing()).flatten());
    (!awaited.is_empty()).then(|| awaited.into_iter().collect::<Vec<_>>().join(", "))
}

/// The status names no resource of another namespace, and does not change with each one beyond the first.
fn shown(name: &str, rivals: &Rivals) -> Vec<String> {
    let named: BTreeSet<String> = rivals.named.iter().map(|other| shown_name(name, other)).collect();
    named.into_iter().chain(rivals.has_more().then(|| "others".to_owned())).collect()
}

/// The log of the operator names resources of all namespaces.
fn log_conflicts(ctx: &Context, pass: &Pass<'_>, conflicts: &BTreeMap<DatabaseType, Rivals>) {
    for (ty, rivals) in conflicts {
        if ctx.announced_once(pass.resource(), ty.to_string(), &rivals.notice()) {
            let (resource, count, others) = (pass.name(), rivals.count, rivals.named.join(", "));
            info!(resource, %ty, count, others, "other resources name the same databases, so that none of them moves the type");
        }
    }
}
