//! What the controller answers. It is also the operator's memory across restarts: see `api::remember`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Cause, DatabaseType, ObservedPrincipal, Outcome, Seat};

/// What the operator sees, what it does next, and why it does nothing.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LyncPoolMirrorStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The observed principal of each type; `!` marks one that is not where the spec wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principals: Option<String>,
    /// When the last move ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_move_time: Option<Time>,
    /// The largest redo queue of all mirrors, in steps, so that it does not change at each look; the metrics have the figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo_queue: Option<String>,
    /// Ready, Reconciling, Stalled, PrincipalsAligned, Synchronized, PartnersReachable, QuorumAtRisk, Suspended, PostSwitchDrift, WeakEncryption.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What was seen of each server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerStatus>,
    /// Verdict and databases of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub database_types: Vec<DatabaseTypeStatus>,
    /// The statements that come next, and what they wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlannedStep>,
    /// The journal of the move in flight, written before its first statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// When the next maintenance window opens, while a fail-back waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_maintenance_window: Option<Time>,
    /// What the last role switch did not carry along: logins, Agent jobs, linked servers and the options of the copies that
    /// differ between the partners. Each with the way out; at most fifty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_switch_differences: Vec<String>,
    /// The last ten moves, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Primary, Mirror or Witness; with the type in front when the type has a store of its own.
    pub seat: String,
    /// How the spec names it.
    pub address: String,
    pub reachable: bool,
    /// What the server says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// Why it is not reachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseTypeStatus {
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    /// The seat that the spec wants.
    pub desired: Seat,
    pub observed: ObservedPrincipal,
    /// One of the reasons of docs/reasons.
    pub reason: String,
    pub message: String,
    /// Names this very state for `spec.databaseTypes[].approve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// What the spec last asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestStatus>,
    /// How the last move of the type ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_move: Option<LastMoveStatus>,
    /// What was noticed of the type over time: the operator's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<TypeTrackingStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub databases: Vec<DatabaseStatus>,
}

/// What one poll cannot show: how the type has behaved. The operator restores it after a restart.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypeTrackingStatus {
    /// The seat that held the principals when both servers last agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_settled_seat: Option<Seat>,
    /// Failed moves in a row. At 3 the circuit breaker opens (CircuitOpen).
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(with = "i32")]
    pub consecutive_failures: u32,
    /// Switches without a change of the spec, each within a day of the one before. At 3 the circuit breaker opens (CircuitOpen).
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(with = "i32")]
    pub unrequested_switches: u32,
    /// When the last switch without a change of the spec was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_unrequested_switch_time: Option<Time>,
    /// Since when the type has been in the other seat, synchronized and with a connected witness (policy.failBackAfter).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<StableStatus>,
    /// Since when the mirror has been without its principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_lost_since: Option<Time>,
    /// The epoch for which a consent to forced service has been used. That consent never applies again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_consent_epoch: Option<String>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StableStatus {
    /// The state that has lasted.
    pub epoch: String,
    pub since: Time,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestStatus {
    pub principal: Seat,
    /// The generation of the spec that first asked for it.
    pub generation: i64,
    /// True while the change of the spec has not been fulfilled.
    pub pending: bool,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastMoveStatus {
    pub ended_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// In the words of Get-CsDatabaseMirrorState.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    pub name: String,
    /// Principal, Mirror or DatabaseInaccessibleOrMirroringNotEnabled.
    pub state_on_primary: String,
    pub state_on_mirror: String,
    /// Synchronized, Synchronizing, Suspended, Disconnected, PendingFailover; empty when not seen.
    pub mirroring_status_on_primary: String,
    pub mirroring_status_on_mirror: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<String>,
    /// None, Connected, Disconnected or Unknown, as the principal sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo_queue: Option<String>,
    /// What stands in the way of a failover of this database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    pub database: String,
    /// The statement; it is sent inside a batch that checks role, state, safety, guid and role sequence first.
    pub statement: String,
    /// The server that gets it.
    pub server: String,
    pub seat: Seat,
    /// What it waits for.
    pub why: String,
    /// How long it will keep the clients out, from the redo queue, in steps. Absent when the queue is not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_interruption: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    pub from: Seat,
    pub to: Seat,
    pub cause: Cause,
    pub generation: i64,
    /// Who changed the spec, as the API server knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    pub started_at: Time,
    pub attempted_at: Time,
    pub deadline: Time,
    #[schemars(with = "i32")]
    pub attempt: u32,
    pub databases: Vec<OperationDatabaseStatus>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationDatabaseStatus {
    pub name: String,
    pub guid: String,
    /// Before the move. A higher one afterwards proves that the roles switched.
    pub role_sequence: i32,
    /// What both partners showed before the move.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    pub from: Seat,
    pub to: Seat,
    pub cause: Cause,
    pub outcome: Outcome,
    pub generation: i64,
    /// Who changed the spec, as the API server knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Why it was made, and why then.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    pub started_at: Time,
    pub ended_at: Time,
    pub databases: Vec<HistoryDatabase>,
    #[schemars(with = "i32")]
    pub attempts: u32,
    /// Milliseconds from the decision to open connections, when this process made the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_millis: Option<i64>,
    /// Milliseconds from the first statement sent to the last answer: the interruption, as the operator saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_millis: Option<i64>,
    /// Milliseconds from the last answer to the look that proved the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_millis: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What was sent for one database, what came back, and what both partners showed before and after.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryDatabase {
    pub name: String,
    /// The statement; it was sent inside a batch that checks role, state, guid and role sequence first.
    pub statement: String,
    /// What came back to this process. Absent when the operator was restarted in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    pub before: String,
    pub after: String,
}
