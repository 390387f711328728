//! The history of a type in the status, which the operator restores after a restart.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Seat, TransitionKind};

/// The history of a type that a single poll cannot show. The operator restores it after a restart.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TypeTrackingStatus {
    /// The servers that the type was last seen on. What is tracked applies only to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairIdentityStatus>,
    /// The mirroring session of each database when both servers last agreed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["database".into()]))]
    pub sessions: Vec<SessionStatus>,
    /// The server that held the principals when both servers last agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_settled_server: Option<String>,
    /// True once the principal was in the requested seat on these servers. Only then policy.unrequestedSwitch FailBack applies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_aligned: bool,
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
    /// The consent to forced service that has been used. The same consent applies again only if no server received a statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_consent: Option<ConsentStatus>,
    /// The consents that ended before their time, because the old principal was back or another consent was used. They never apply
    /// again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_consents: Vec<ConsentStatus>,
    /// The approval in the spec, and when the operator first observed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<StableStatus>,
    /// Since when a database has been in a state that must not last, for each kind of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into()]))]
    pub transitions: Vec<TransitionStatus>,
    /// Since when the role sequences of both partners have differed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequences_differ_since: Option<Time>,
    /// True while a partner is away, or has not been back for policy.settleAfter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partner_was_away: bool,
    /// Since when both partners have been back, with all databases synchronized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_since: Option<Time>,
}

/// The two servers of a pair.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairIdentityStatus {
    /// The server in the primary seat.
    pub primary: ServerIdentityStatus,
    /// The server in the mirror seat.
    pub mirror: ServerIdentityStatus,
}

/// One server of a pair.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerIdentityStatus {
    /// The address of the server in the spec.
    pub address: String,
    /// The name that the server reports.
    pub name: String,
}

/// The mirroring session of a database.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// The name of the database.
    pub database: String,
    /// The mirroring_guid of the session.
    pub guid: String,
    /// The seat whose server was the last to become principal, as far as the operator read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Seat>,
    /// The mirroring_role_sequence that the primary last showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_role_sequence: Option<i32>,
    /// The mirroring_role_sequence that the mirror last showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror_role_sequence: Option<i32>,
    /// The mirroring_role_sequence with which the other server was principal before, until both agree again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_role_sequence: Option<i32>,
}

/// A state that must not last.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransitionStatus {
    /// The kind of the state.
    pub kind: TransitionKind,
    /// When a database was first observed in it.
    pub since: Time,
}

/// A consent to forced service.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentStatus {
    /// The epoch of the consent.
    pub epoch: String,
    /// The end of the consent.
    pub until: Time,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A state that has lasted for some time.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StableStatus {
    /// The epoch of the state.
    pub epoch: String,
    /// When the state was first observed.
    pub since: Time,
}
