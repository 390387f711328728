//! The observation of a resource. It always succeeds: an unavailable SQL Server is a value, not an error.

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::controller::connections::Connections;
use crate::controller::context::Context;
use crate::controller::in_flight::AttemptId;
use crate::controller::movement::types_with_servers;
use crate::controller::object::ResourceRef;
use crate::controller::pass::Pass;
use crate::model::Observation;

/// Which polls an observation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The newest poll of each server.
    Latest,
    /// A poll of both partners during this pass.
    Now,
}

/// Observes the servers, the conflicts with other resources and the statements in flight.
pub async fn observe(ctx: &Context, pass: &Pass<'_>, connections: &Connections, freshness: Freshness) -> Observation {
    let mut pairs = connections.latest();
    if freshness == Freshness::Now {
        join_all(connections.stores().zip(pairs.iter_mut()).map(|(store, pair)| store.refresh(pair))).await;
    }
    let name = pass.name();
    if ctx.ownership.register(&name, &pass.spec, &pairs) {
        enqueue_conflicting(ctx, &name);
    }
    let existing = ctx.existing();
    let conflicts = ctx.ownership.conflicts(&name, |other| existing.contains(other));
    let types = types_with_servers(&pass.spec.desired.types, &pairs);
    let turns = ctx.movements.turns(&name, types.into_iter(), |other| existing.contains(other));
    let statements = match pass.operation() {
        Some(operation) => ctx.in_flight.states(&AttemptId::of(pass.uid(), operation)),
        None => BTreeMap::new(),
    };
    Observation { pairs, conflicts, turns, statements }
}

/// The resources that have not registered their databases. None: all have, so that no conflict is missed and moves may start.
pub fn unregistered(ctx: &Context) -> Option<String> {
    if !ctx.synced() {
        return Some("all, because the first list has not arrived".to_owned());
    }
    let mut missing: Vec<String> =
        ctx.existing().into_iter().filter(|name| !ctx.ownership.is_registered(name)).collect();
    missing.sort();
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn enqueue_conflicting(ctx: &Context, name: &str) {
    let existing = ctx.existing();
    for other in ctx.ownership.conflicts(name, |other| existing.contains(other)).into_values().flatten() {
        if let Some((namespace, name)) = other.split_once('/') {
            ctx.enqueue(&ResourceRef::new(name).within(namespace));
        }
    }
}
