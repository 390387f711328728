//! Whether the operator of a cluster acts on the servers of a file. Two processes that move one pair would each take the moves
//! of the other for unrequested ones.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::time::timeout;
use tracing::debug;

use crate::api::{LyncPoolMirror, ParsedSpec, parse};
use crate::controller::object::WatchedResource;
use crate::controller::proven_pair::{Addresses, addresses};

/// A cluster that does not answer proves nothing, and must not hold back a move for long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The resource of the cluster that names a pair of this spec. None: there is none, it is suspended without a move in flight,
/// or the cluster cannot be read.
pub async fn holder(cluster: &Client, spec: &ParsedSpec) -> Option<String> {
    let api: Api<WatchedResource> = Api::all(cluster.clone());
    let listed = match timeout(PATIENCE, api.list(&ListParams::default())).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => {
            debug!(%error, "cannot read the pools of the cluster");
            return None;
        }
        Err(_) => return None,
    };
    let own = pairs(spec);
    let holds = |mirror: &&LyncPoolMirror| !is_suspended(mirror) && !pairs(&parse(mirror)).is_disjoint(&own);
    let mut mirrors = listed.items.iter().filter_map(|resource| resource.0.as_ref().ok());
    let found = mirrors.find(holds)?;
    let name = format!("{}/{}", found.namespace().unwrap_or_default(), found.name_any());
    Some(format!("the operator of a cluster, whose LyncPoolMirror {name} names the same servers"))
}

fn pairs(spec: &ParsedSpec) -> BTreeSet<Addresses> {
    spec.stores.iter().map(|store| addresses(&store.sql)).collect()
}

/// No move starts, and none is in flight.
fn is_suspended(mirror: &LyncPoolMirror) -> bool {
    let now = Timestamp::now();
    let holds = mirror.spec.suspend.as_ref().is_some_and(|suspend| suspend.until.is_none_or(|until| now < until));
    holds && mirror.status.as_ref().is_none_or(|status| status.operation.is_none())
}
