//! What the tests of this module share: a spec with one type, and the status of an observation.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{LyncPoolMirrorStatus, ParsedSpec, parse};
use crate::model::{Observation, PersistedState, PhaseTimings};
use crate::plan::tests::{NOW, pair};
use crate::plan::{Plan, plan};
use crate::status::{Input, render};

pub(super) const UID: &str = "uid-1";

/// The spec of a pool with the type Archiving on the servers of the tables, after an edit.
pub(super) fn spec(edit: impl FnOnce(&mut Value)) -> ParsedSpec {
    let mut resource = json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {"name": "pool01", "generation": 2},
        "spec": {
            "poolFqdn": "pool01.contoso.com",
            "sql": {
                "primary": {"host": "sql-primary"}, "mirror": {"host": "sql-mirror"},
                "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
            },
            "databaseTypes": [{"type": "Archiving", "principal": "Mirror"}],
        },
    });
    edit(&mut resource["spec"]);
    parse(&serde_json::from_value(resource).unwrap())
}

/// The spec that wants this seat.
pub(super) fn wanting(principal: &str) -> ParsedSpec {
    spec(|spec| spec["databaseTypes"][0]["principal"] = json!(principal))
}

/// The observation of the only store.
pub(super) fn observed(a: &str, b: &str) -> Observation {
    crate::plan::tests::observation(a, b)
}

/// The observation of each store that the spec has.
pub(super) fn observed_stores(spec: &ParsedSpec, a: &str, b: &str) -> Observation {
    let (conflicts, turns, statements) = Default::default();
    Observation { pairs: spec.stores.map(|_| pair(a, b)), conflicts, turns, statements }
}

/// The status of a plan.
pub(super) fn rendered(
    spec: &ParsedSpec,
    observation: &Observation,
    plan: &Plan,
    before: Option<&LyncPoolMirrorStatus>,
) -> LyncPoolMirrorStatus {
    render(&Input {
        spec,
        uid: UID,
        observation,
        plan,
        timings: PhaseTimings::default(),
        drift: None,
        last_reads: &BTreeMap::new(),
        before,
        now: NOW,
    })
}

/// The status of a pass with this memory.
pub(super) fn status(spec: &ParsedSpec, observation: &Observation, persisted: &PersistedState) -> LyncPoolMirrorStatus {
    rendered(spec, observation, &plan(&spec.desired, observation, persisted, NOW), None)
}
