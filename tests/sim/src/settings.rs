//! What the documentation of SQL Server leaves open, as alternatives that a test selects, and durations that real
//! servers need. The default of an undocumented behaviour is the one that is easiest for a client.
//! In JSON, field names are in camel case and unknown fields are errors.

use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The behaviour of one server. `setServerSettings` changes single fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServerSettings {
    /// After a start the instance rejects every login with 17187 for this time, in milliseconds.
    pub start_millis: u64,
    /// Then its databases leave RECOVERING one after the other, each after this time, in milliseconds.
    pub recovery_millis: u64,
    pub null_columns: NullColumns,
    pub witness_names: WitnessNames,
    /// The collation of the server is Latin1_General_CS_AS: names and texts compare with case.
    pub case_sensitive: bool,
    /// The server is a failover cluster instance with two nodes, `SQL-A-N1` (the owner) and `SQL-A-N2`.
    pub clustered: bool,
    /// The mirroring endpoint is started and rejects the handshake of every other server (the cause of error 1418).
    pub refuses_handshake: bool,
    /// Every start binds another port, as an instance with a dynamic port can.
    pub new_port_at_start: bool,
    pub browser: BrowserSettings,
}

/// Whether the mirroring columns of a database that is not open are NULL. The page of `sys.database_mirroring` documents
/// this, and also that a sysadmin reads them on a mirror, which is never open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NullColumns {
    /// NULL in the states RECOVERING, RECOVERY_PENDING, SUSPECT and OFFLINE.
    #[default]
    Recovering,
    /// Always shown.
    Never,
}

/// The form of the partner names in `sys.database_mirroring_witnesses`, which is undocumented.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WitnessNames {
    /// `SERVER\\INSTANCE`.
    #[default]
    Instances,
    /// `TCP://host:port` of the mirroring endpoints.
    Addresses,
}

/// SQL Browser at the address of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BrowserSettings {
    /// The service is stopped, for all instances at this address.
    pub stopped: bool,
    /// The service does not respond to requests for this instance.
    pub silent: bool,
    /// The response comes from this local address.
    pub answers_from: Option<IpAddr>,
    /// The response contains this port instead of the port of the instance.
    pub port: Option<u16>,
}

/// The behaviour of the mirroring sessions of a pair. `setPairSettings` changes single fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PairSettings {
    pub quorumless: Quorumless,
    /// The time between FORCE_SERVICE_ALLOW_DATA_LOSS and the change of the role, in milliseconds.
    pub force_millis: u64,
    pub force_answer: ForceAnswer,
    pub failover_answer: FailoverAnswer,
    pub lost_partner: LostPartner,
    pub dropped_client: DroppedClient,
    pub suspended_when_apart: SuspendedWhenApart,
    pub mirror_alone: MirrorAlone,
    /// A principal that is newer by any part of the version suspends the session. Documented: only a newer major
    /// version.
    pub suspend_on_any_newer: bool,
    /// A mirror database that becomes SUSPECT suspends its session.
    pub suspect_mirror_suspends: bool,
    /// The log of a suspended principal is full: CHECKPOINT in the database returns error 9002.
    pub paused_log_is_full: bool,
    /// `mirroring_partner_instance` is an empty text on both partners.
    pub empty_partner_instance: bool,
}

/// The state of a principal that has a witness and is disconnected from both other servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Quorumless {
    /// RECOVERING, with mirroring columns.
    #[default]
    Recovering,
    /// RECOVERING, and the mirroring columns are NULL.
    RecoveringNull,
    /// ONLINE, although no session can open the database.
    Online,
}

/// When FORCE_SERVICE_ALLOW_DATA_LOSS returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ForceAnswer {
    #[default]
    After,
    Before,
}

/// When and how SET PARTNER FAILOVER returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailoverAnswer {
    /// After the roles have changed.
    #[default]
    After,
    /// At once; the roles change later.
    Before,
    /// At once, and the roles do not change.
    Ignored,
    /// At once; the failover ends without a change of the roles.
    FailsLater,
}

/// The roles after a partner was lost during a manual failover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LostPartner {
    /// As before; the statement returns 1456.
    #[default]
    KeepsRoles,
    /// The target is principal; the old principal has not learned of it. The statement returns 1421.
    NewPrincipal,
    /// Both are mirrors until an administrator acts. The statement returns 1421.
    BothMirror,
}

/// The effect on a running failover of a client that disconnects or cancels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DroppedClient {
    #[default]
    GoesOn,
    Cancels,
}

/// The state that a suspended session shows while the partners are disconnected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SuspendedWhenApart {
    /// DISCONNECTED (1).
    #[default]
    Disconnected,
    /// SUSPENDED (0).
    Suspended,
}

/// `sys.databases.state` of a mirror that is disconnected from its principal. The mirroring columns are shown in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MirrorAlone {
    /// RESTORING (1).
    #[default]
    Restoring,
    /// RECOVERING (2): Management Studio shows "Mirror, Disconnected / In Recovery".
    Recovering,
}

/// The settings with some fields replaced.
///
/// # Errors
/// An unknown field or a wrong value.
pub fn with_changes<T: Serialize + DeserializeOwned>(current: &T, changes: &Map<String, Value>) -> Result<T, String> {
    let mut all = serde_json::to_value(current).map_err(|error| error.to_string())?;
    overlay(&mut all, &Value::Object(changes.clone()));
    serde_json::from_value(all).map_err(|error| format!("settings: {error}"))
}

fn overlay(target: &mut Value, changes: &Value) {
    match (target, changes) {
        (Value::Object(target), Value::Object(changes)) => {
            for (field, change) in changes {
                overlay(target.entry(field.clone()).or_insert(Value::Null), change);
            }
        }
        (target, change) => *target = change.clone(),
    }
}
