//! Plan + observation + what was said before -> status. Pure; nothing in it changes on a look that shows nothing new.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    Asked, DatabaseStatus, DatabaseTypeStatus, HistoryEntry, LastMoveStatus, LyncPoolMirrorStatus, ObservedPrincipal,
    PlannedStep, RequestStatus, ServerStatus, operation_status, track_status,
};
use crate::controller::drift::Compared;
use crate::controller::{conditions, history};
use crate::model::{DatabaseName, DatabaseType, Observation, Pair, Reason, Role, Side, View};
use crate::plan::{Act, Finding, Observed, Plan, TypePlan, coarse, dark_reason, next_window, predict, words};
use crate::sql;

/// Phase timings of a move that this process made, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    pub connect: Option<i64>,
    pub statement: Option<i64>,
    pub verify: Option<i64>,
}

/// The moves that the status remembers.
const HISTORY: usize = 10;

/// The differences that the status lists.
const DIFFERENCES: usize = 50;

pub fn compose(
    asked: &Asked,
    seen: &Observation,
    plan: &Plan,
    timings: Timings,
    drift: Option<&Compared>,
    before: Option<&LyncPoolMirrorStatus>,
    now: Timestamp,
) -> LyncPoolMirrorStatus {
    let generation = asked.desired.generation;
    let old_conditions = before.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut history: Vec<HistoryEntry> =
        plan.ended.iter().map(|ended| history::entry(ended, seen, plan, timings, now)).collect();
    history.extend(before.into_iter().flat_map(|status| status.history.iter().cloned()));
    history.truncate(HISTORY);
    LyncPoolMirrorStatus {
        observed_generation: Some(generation),
        principals: Some(principals(plan)),
        last_move_time: history.first().map(|entry| entry.ended_at.clone()),
        redo_queue: seen.pairs.iter().filter_map(largest_redo).max().map(step),
        conditions: conditions::conditions(asked, seen, plan, drift, old_conditions, now),
        servers: servers(asked, seen),
        database_types: plan.types.iter().map(|(ty, of)| type_status(*ty, of, plan, seen)).collect(),
        plan: planned(plan, seen),
        next_maintenance_window: next_maintenance_window(asked, plan, now),
        operation: plan.memory.operation.as_ref().map(operation_status),
        post_switch_differences: match drift {
            Some(Compared::Differs(all)) => all.iter().take(DIFFERENCES).cloned().collect(),
            Some(Compared::Same | Compared::Unknown(_)) => Vec::new(),
            None => before.map(|status| status.post_switch_differences.clone()).unwrap_or_default(),
        },
        history,
    }
}

/// `User=Primary CentralMgmt=Mirror!`, in the order of the turns.
fn principals(plan: &Plan) -> String {
    let words = plan.types.iter().map(|(ty, of)| {
        let observed = observed(of.observed);
        let mark = if of.observed == Observed::On(of.wish.principal) { "" } else { "!" };
        format!("{ty}={observed}{mark}")
    });
    words.collect::<Vec<_>>().join(" ")
}

pub(super) fn observed(observed: Observed) -> ObservedPrincipal {
    match observed {
        Observed::On(Side::Primary) => ObservedPrincipal::Primary,
        Observed::On(Side::Mirror) => ObservedPrincipal::Mirror,
        Observed::Split => ObservedPrincipal::Split,
        Observed::Unknown => ObservedPrincipal::Unknown,
    }
}

fn servers(asked: &Asked, seen: &Observation) -> Vec<ServerStatus> {
    let mut all = Vec::new();
    for (store, pair) in asked.stores.iter().zip(&seen.pairs) {
        let prefix = if store.label.is_empty() { String::new() } else { format!("{} ", store.label) };
        let seats =
            [("Primary", Some(&pair.primary)), ("Mirror", Some(&pair.mirror)), ("Witness", pair.witness.as_ref())];
        for (seat, view) in seats.into_iter().filter_map(|(seat, view)| Some((seat, view?))) {
            let seat = format!("{prefix}{seat}");
            all.push(match view {
                View::Lit { address, server } => ServerStatus {
                    seat,
                    address: address.clone(),
                    reachable: true,
                    name: Some(server.name.clone()),
                    version: Some(server.version.clone()),
                    edition: Some(server.edition.clone()),
                    reason: None,
                    message: None,
                },
                View::Dark { address, darkness } => ServerStatus {
                    seat,
                    address: address.clone(),
                    reachable: false,
                    name: None,
                    version: None,
                    edition: None,
                    reason: Some(dark_reason(darkness.cause).name().to_owned()),
                    message: Some(darkness.detail.clone()),
                },
            });
        }
    }
    all
}

fn type_status(ty: DatabaseType, of: &TypePlan, plan: &Plan, seen: &Observation) -> DatabaseTypeStatus {
    let pair = seen.pairs.get(of.wish.store);
    DatabaseTypeStatus {
        type_: ty,
        desired: of.wish.principal,
        observed: observed(of.observed),
        reason: of.verdict.reason.name().to_owned(),
        message: of.verdict.message.clone(),
        epoch: of.epoch.as_ref().map(ToString::to_string),
        request: plan.memory.requests.get(&ty).map(|request| RequestStatus {
            principal: request.principal,
            generation: request.generation,
            owed: request.owed,
        }),
        last_move: plan.memory.last.get(&ty).map(|last| LastMoveStatus {
            ended_at: Time(last.ended),
            cause: Some(last.cause),
            outcome: last.outcome,
            detail: last.detail.clone(),
        }),
        track: plan.memory.tracks.get(&ty).and_then(track_status),
        databases: of.findings.iter().filter_map(|finding| Some(database_status(finding, pair?))).collect(),
    }
}

fn database_status(finding: &Finding, pair: &Pair) -> DatabaseStatus {
    let [(state_on_primary, mirroring_status_on_primary), (state_on_mirror, mirroring_status_on_mirror)] =
        [&pair.primary, &pair.mirror].map(|view| cmdlet_words(view, &finding.name));
    let session = |side: Side| pair.view(side).lit()?.databases.get(&finding.name)?.mirroring.as_ref();
    let holder =
        finding.principal.and_then(session).or_else(|| session(Side::Primary)).or_else(|| session(Side::Mirror));
    DatabaseStatus {
        name: finding.name.to_string(),
        state_on_primary,
        state_on_mirror,
        mirroring_status_on_primary,
        mirroring_status_on_mirror,
        safety: holder.map(|mirroring| mirroring.safety.to_string()),
        witness: holder.map(|mirroring| mirroring.witness.to_string()),
        redo_queue: redo(pair, &finding.name).map(step),
        reason: finding.obstacle.as_ref().map(|obstacle| obstacle.reason().name().to_owned()),
    }
}

/// The words of Get-CsDatabaseMirrorState.
fn cmdlet_words(view: &View, name: &DatabaseName) -> (String, String) {
    let mirroring = view.lit().and_then(|server| server.databases.get(name)?.mirroring.as_ref());
    match mirroring {
        Some(mirroring) => (mirroring.role.to_string(), mirroring.state.to_string()),
        None => ("DatabaseInaccessibleOrMirroringNotEnabled".to_owned(), String::new()),
    }
}

/// The redo queue lives on whichever side is mirror now, in KB.
pub(super) fn redo(pair: &Pair, name: &DatabaseName) -> Option<i64> {
    [&pair.primary, &pair.mirror].into_iter().filter_map(View::lit).find_map(|server| {
        let database = server.databases.get(name)?;
        (database.mirroring.as_ref()?.role == Role::Mirror).then_some(database.redo_queue_kb)?
    })
}

fn largest_redo(pair: &Pair) -> Option<i64> {
    let names: BTreeMap<&DatabaseName, ()> = [&pair.primary, &pair.mirror]
        .into_iter()
        .filter_map(View::lit)
        .flat_map(|server| server.databases.keys())
        .map(|name| (name, ()))
        .collect();
    names.keys().filter_map(|name| redo(pair, name)).max()
}

/// Coarse on purpose: an exact figure would be a write at every look.
fn step(kb: i64) -> String {
    match kb {
        ..1_024 => "<1MB",
        1_024..10_240 => "<10MB",
        10_240..102_400 => "<100MB",
        102_400..1_048_576 => "<1GB",
        1_048_576.. => ">=1GB",
    }
    .to_owned()
}

fn planned(plan: &Plan, seen: &Observation) -> Vec<PlannedStep> {
    plan.types
        .iter()
        .flat_map(|(ty, of)| {
            of.next.iter().map(|step| PlannedStep {
                type_: *ty,
                database: step.database.to_string(),
                statement: sql::statement(step.act, &step.database),
                server: step.server.clone(),
                seat: step.on,
                why: of.verdict.reason.name().to_owned(),
                predicted_interruption: seen
                    .pairs
                    .get(of.wish.store)
                    .filter(|_| step.act == Act::Failover)
                    .and_then(|pair| predict(pair, &step.database))
                    .map(|exact| words(coarse(exact))),
            })
        })
        .collect()
}

/// Only while a fail-back waits: otherwise it would change with every window that passes.
fn next_maintenance_window(asked: &Asked, plan: &Plan, now: Timestamp) -> Option<Time> {
    plan.types.values().find(|of| of.verdict.reason == Reason::FailBackPending)?;
    next_window(&asked.desired.policy.windows, now).map(|(at, _)| Time(at))
}
