//! The status of a resource. The operator also restores its state from it after a restart, see `api::restore`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Span, TypeTrackingStatus};
use crate::model::{Cause, DatabaseType, ObservedPrincipal, Outcome, Seat, Service};

/// The observed state, the next planned step and, if nothing is planned, the reason.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LyncPoolMirrorStatus {
    /// The generation of the spec that this status is based on, or -1 before the first status of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The UID of the resource that this status belongs to. The operator ignores what a backup restored onto another resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_uid: Option<String>,
    /// The worst service of all database types: Protected (served, synchronized, with a connected witness if there is one), Exposed (served; a further loss stops or endangers it), Unknown (cannot be determined from what the operator sees) or NotServed (the servers that could serve it were read and do not).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The observed principal of each type; `!` marks one that is not where the spec wants it, or that is not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principals: Option<String>,
    /// When the last move ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_move_time: Option<Time>,
    /// When the operator last wrote this status or confirmed it: at least every 10 minutes while it runs and can decode the spec. If it is older, the status shows the past: no operator runs, it cannot reach the API server, or the spec cannot be decoded (see the condition Ready).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,
    /// The largest redo queue of all mirrors as a range, e.g. `<10MB`. The exact size is in the metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo_queue: Option<String>,
    /// The problems of the spec, each with its field, its value and the fix; at most 20 entries. No move starts until they are corrected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spec_problems: Vec<String>,
    /// The conditions of the resource. Each message is one line of at most 160 characters; the whole text is in databaseTypes[].message, servers[].message and specProblems. Types: Ready, Reconciling, Stalled, PrincipalsAligned, Synchronized, PartnersReachable, QuorumAtRisk, Serving, Suspended, PostSwitchDrift, WeakEncryption, CredentialsStale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The observed state of each server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerStatus>,
    /// The decision and the databases of each database type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub database_types: Vec<DatabaseTypeStatus>,
    /// The databases that are mirrored on these servers and that the spec does not name, at most 50. They are no obstacle, and the operator neither moves nor watches them. Another resource may name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub unmanaged_databases: Vec<UnmanagedDatabase>,
    /// The statements that the operator sends next, and the reason why they wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlannedStep>,
    /// The journal of the move in flight, written before its first statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationStatus>,
    /// When the next maintenance window opens, while a fail-back waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_maintenance_window: Option<Time>,
    /// Logins, Agent jobs, linked servers and database options that differ between the partners after the last role switch. Each entry ends with its fix; at most 50 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_switch_differences: Vec<String>,
    /// The last ten moves, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
}

/// The observed state of one SQL Server.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Primary, Mirror or Witness; with the type in front when the type has a store of its own.
    pub seat: String,
    /// The address of the server as spec.sql names it.
    pub address: String,
    /// True if the last poll of the server succeeded.
    pub reachable: bool,
    /// The name that the server reports (SERVERPROPERTY('ServerName')).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The product version that the server reports, e.g. `11.0.7001.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The edition that the server reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// Why the server is not reachable, or CredentialsStale: one of the reasons of docs/reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The cause and its fix, if the server is not reachable or refuses a fresh login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// If the server is not reachable: when the operator first failed to read it at this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_since: Option<Time>,
    /// If the server is not reachable: when the operator last read it at this address. Absent if it never did, or did so only before its last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_read_time: Option<Time>,
    /// The TCP port of the last accepted login, if spec.sql names an instance without a port. The operator connects to it while the SQL Server Browser returns no port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_port: Option<i32>,
}

/// The decision about one database type and the state of its databases.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseTypeStatus {
    /// The database type.
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    /// The seat that the spec wants.
    pub desired: Seat,
    /// The observed seat of the principal: Primary, Mirror, Split or Unknown.
    pub observed: ObservedPrincipal,
    /// Whether clients are served, as far as the servers prove it: Protected, Exposed, Unknown or NotServed.
    #[serde(default)]
    pub service: Service,
    /// The reason of the decision: one of the reasons of docs/reasons.
    pub reason: String,
    /// The whole text: the service, what happened, its cause and how to fix it. Condition Ready has a summary of it.
    pub message: String,
    /// Identifies the current state. `approve` and `forceService` must name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// The principal that the spec last requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestStatus>,
    /// How the last move of the type ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_move: Option<LastMoveStatus>,
    /// The history of the type that a single poll cannot show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<TypeTrackingStatus>,
    /// The databases of the type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub databases: Vec<DatabaseStatus>,
}

/// The principal that the spec requests, and whether the request is fulfilled.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestStatus {
    /// The requested seat of the principal.
    pub principal: Seat,
    /// The generation of the spec that first requested this principal.
    pub generation: i64,
    /// True after a change of the spec until both servers show the requested principal.
    pub pending: bool,
}

/// The result of the last move of a type.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastMoveStatus {
    /// When the move ended.
    pub ended_at: Time,
    /// Why the operator made the move: Intent (a changed spec), Approved, FailBack or ForcedService.
    pub cause: Cause,
    /// The result: Succeeded, Partial (some databases moved), Failed, Unknown (the effect of the statements was not observed) or Superseded (the spec or the servers changed otherwise).
    pub outcome: Outcome,
    /// The cause of the result, if the move did not simply succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The server that was to receive the principal role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_server: Option<String>,
    /// The databases that service was forced for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub forced_databases: Vec<ForcedDatabaseStatus>,
    /// True once both partners were synchronized after the move, or both agreed on the other principal. A forced service is over then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub synchronized: bool,
    /// When a later move ended that moved nothing. This move stays the last one that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later_failure_time: Option<Time>,
}

/// A database that service was forced for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForcedDatabaseStatus {
    /// The name of the database.
    pub name: String,
    /// The mirroring_role_sequence before the forced service.
    pub role_sequence: i32,
}

/// The state of one database, with the values of Get-CsDatabaseMirrorState.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// The name of the database.
    pub name: String,
    /// The role on the primary: Principal, Mirror or DatabaseInaccessibleOrMirroringNotEnabled.
    pub state_on_primary: String,
    /// The role on the mirror, with the same values.
    pub state_on_mirror: String,
    /// The mirroring state on the primary: Synchronized, Synchronizing, Suspended, Disconnected or PendingFailover. Empty if not observed.
    pub mirroring_status_on_primary: String,
    /// The mirroring state on the mirror, with the same values.
    pub mirroring_status_on_mirror: String,
    /// The transaction safety of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<String>,
    /// The witness connection that the principal reports: None, Connected, Disconnected or Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
    /// The redo queue of the mirror copy as a range, e.g. `<10MB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo_queue: Option<String>,
    /// The reason why this database cannot fail over now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A mirrored database that the spec does not name.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnmanagedDatabase {
    /// The name of the database.
    pub name: String,
    /// What it may belong to, and how to manage it.
    pub hint: String,
}

/// A statement that the operator sends next.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// The database type.
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    /// The name of the database.
    pub database: String,
    /// The T-SQL statement. The operator sends it inside a batch that first checks role, state, safety, guid and role sequence.
    pub statement: String,
    /// The server that receives the statement.
    pub server: String,
    /// The seat of that server.
    pub seat: Seat,
    /// The reason of the type, e.g. what the statement waits for.
    pub why: String,
    /// The predicted interruption of the clients, rounded up, e.g. `10s`. Absent if the redo queue is not visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_interruption: Option<String>,
}

/// The journal of the move in flight.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// The database type.
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    /// The seat that gives up the principal role.
    pub from: Seat,
    /// The seat that receives the principal role.
    pub to: Seat,
    /// The name of the server in the seat `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_server: Option<String>,
    /// The name of the server in the seat `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_server: Option<String>,
    /// Why the operator makes the move: Intent (a changed spec), Approved, FailBack or ForcedService.
    pub cause: Cause,
    /// The generation of the spec that the move is based on.
    pub generation: i64,
    /// The field manager that last set the field of the spec that requests the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_via: Option<String>,
    /// When the move started.
    pub started_at: Time,
    /// When the last attempt started.
    pub attempted_at: Time,
    /// When the move becomes overdue (policy.switchDeadline).
    pub deadline: Time,
    /// The number of the current attempt, from 1.
    #[schemars(with = "i32")]
    pub attempt: u32,
    /// The predicted interruption of the clients at the start of the move, rounded up, e.g. `10s`. Absent if the redo queue was not visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_interruption: Option<Span>,
    /// The databases of the move.
    pub databases: Vec<OperationDatabaseStatus>,
}

/// One database of the move in flight.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationDatabaseStatus {
    /// The name of the database.
    pub name: String,
    /// The mirroring_guid of the session.
    pub guid: String,
    /// The mirroring_role_sequence before the move. A higher value afterwards proves that the roles switched.
    pub role_sequence: i32,
    /// The state on both partners before the move.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
}

/// A move that has ended.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The database type.
    #[serde(rename = "type")]
    pub type_: DatabaseType,
    /// The seat that held the principal role before the move.
    pub from: Seat,
    /// The seat that was to receive the principal role.
    pub to: Seat,
    /// The name of the server in the seat `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_server: Option<String>,
    /// The name of the server in the seat `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_server: Option<String>,
    /// Why the operator made the move: Intent (a changed spec), Approved, FailBack or ForcedService.
    pub cause: Cause,
    /// The result: Succeeded, Partial (some databases moved), Failed, Unknown (the effect of the statements was not observed) or Superseded (the spec or the servers changed otherwise).
    pub outcome: Outcome,
    /// The generation of the spec that the move was based on.
    pub generation: i64,
    /// The field manager that last set the field of the spec that requests the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_via: Option<String>,
    /// Why the operator made the move, as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// When the move started.
    pub started_at: Time,
    /// When the move ended.
    pub ended_at: Time,
    /// The databases of the move.
    pub databases: Vec<HistoryDatabase>,
    /// The number of attempts.
    #[schemars(with = "i32")]
    pub attempts: u32,
    /// Milliseconds from the decision to open connections, when this process made the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_millis: Option<i64>,
    /// Milliseconds from the first statement sent to the last answer: the interruption that the operator measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_millis: Option<i64>,
    /// Milliseconds from the last answer to the poll that proved the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_millis: Option<i64>,
    /// The cause of the outcome, if the move did not simply succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One database of a move: the statement, its answer, and the state on both partners before and after.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryDatabase {
    /// The name of the database.
    pub name: String,
    /// The T-SQL statement. The operator sent it inside a batch that first checks role, state, guid and role sequence.
    pub statement: String,
    /// The answer of the server. Absent if the operator was restarted in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The state on both partners before the move.
    pub before: String,
    /// The state on both partners after the move.
    pub after: String,
}
