//! The commands of a test or of `POST /do`. Module `control` executes them.

use serde::{Deserialize, Serialize};

use serde_json::{Map, Value};

use crate::config::{EndpointState, Safety, ServerInventory};

/// One command. In JSON, field `do` holds the verb and the fields are in camel case. `server`, `a` and `b` are server
/// ids, `pair` is a pair name; a command without `database` applies to every database of the pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Command {
    /// Stops the server process: its port refuses connections.
    Kill {
        server: String,
    },
    /// Starts a server that was killed.
    Start {
        server: String,
    },
    /// Freezes the server: it accepts TCP connections and answers nothing.
    Pause {
        server: String,
    },
    /// Ends a freeze.
    Unpause {
        server: String,
    },
    /// Cuts the mirroring connection between two servers. Client connections are not affected.
    Cut {
        a: String,
        b: String,
    },
    /// Restores the mirroring connection between two servers.
    Reconnect {
        a: String,
        b: String,
    },
    /// Restores all mirroring connections.
    ReconnectAll,
    /// Suspends mirroring, as `SET PARTNER SUSPEND` does.
    Suspend {
        pair: String,
        #[serde(default)]
        database: Option<String>,
    },
    /// Resumes mirroring, as `SET PARTNER RESUME` does.
    Resume {
        pair: String,
        #[serde(default)]
        database: Option<String>,
    },
    /// Sets the transaction safety, as `SET PARTNER SAFETY` does.
    SetSafety {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        safety: Safety,
    },
    /// Sets the redo queue of the mirror, in KB, and the redo rate, in KB per second. Without a rate the old one stays.
    SetRedo {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        queue_kb: u64,
        #[serde(default, rename = "rateKbPerS")]
        rate_kb_per_s: Option<u64>,
    },
    /// Replaces the server-level objects of a server.
    SetInventory {
        server: String,
        inventory: ServerInventory,
    },
    /// Sets how long a failover takes after the redo, in milliseconds.
    SetSwitchMillis {
        pair: String,
        millis: u64,
    },
    /// Sets the state of the mirroring endpoint.
    SetEndpoint {
        server: String,
        state: EndpointState,
    },
    /// Sets the password of a SQL login.
    SetPassword {
        server: String,
        login: String,
        password: String,
    },
    /// Grants or revokes the `sysadmin` role.
    SetSysadmin {
        server: String,
        login: String,
        sysadmin: bool,
    },
    /// Removes mirroring on both partners, or only on `server` while the partners are disconnected.
    RemoveMirroring {
        pair: String,
        database: String,
        server: String,
    },
    /// Overrides `sys.databases.state` of a database on one server. `null` ends the override.
    SetDatabaseState {
        server: String,
        database: String,
        state: Option<u8>,
    },
    /// Sets `mirroring_role_sequence` on both partners and the witness.
    SetRoleSequence {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        role_sequence: i32,
    },
    /// A manual failover by an administrator.
    Failover {
        pair: String,
        #[serde(default)]
        database: Option<String>,
    },
    /// Forces service on the mirror (`FORCE_SERVICE_ALLOW_DATA_LOSS`).
    Force {
        pair: String,
        #[serde(default)]
        database: Option<String>,
    },
    /// Adds this time, in milliseconds, to every failover that starts on the server.
    SlowStatements {
        server: String,
        millis: u64,
    },
    /// The next `times` ALTER DATABASE statements return this error and change nothing.
    FailStatement {
        server: String,
        number: u32,
        #[serde(default = "default_class")]
        class: u8,
        #[serde(default = "default_times")]
        times: u32,
    },
    /// The next `times` ALTER DATABASE statements are executed and still return this error.
    FailAfter {
        server: String,
        number: u32,
        #[serde(default = "default_class")]
        class: u8,
        #[serde(default = "default_times")]
        times: u32,
    },
    /// Sets the databases to SYNCHRONIZING for this time, in milliseconds. The principal sends `unsentKb` of log in it.
    Desync {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        millis: u64,
        #[serde(default)]
        unsent_kb: u64,
    },
    /// The log that the clients of a principal write, in KB per second.
    SetLogRate {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        kb_per_s: u64,
    },
    /// Sets the product version, such as `12.0.6024.0`.
    SetVersion {
        server: String,
        version: String,
    },
    /// Overrides what the catalog views of one server show for a database.
    Lie {
        server: String,
        database: String,
        #[serde(flatten)]
        values: CatalogOverride,
    },
    /// Removes all overrides of catalog views.
    ClearLies,
    /// Changes single fields of `ServerSettings`.
    SetServerSettings {
        server: String,
        settings: Map<String, Value>,
    },
    /// Changes single fields of `PairSettings`.
    SetPairSettings {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        settings: Map<String, Value>,
    },
    /// Renames the computer: `SERVERPROPERTY('ServerName')` changes, `@@SERVERNAME` and the partner's
    /// `mirroring_partner_instance` keep the old name.
    Rename {
        server: String,
        name: String,
    },
    /// The next `times` logins, or without `times` all logins, get this error.
    RefuseLogins {
        server: String,
        number: u32,
        #[serde(default)]
        class: Option<u8>,
        #[serde(default)]
        times: Option<u32>,
        /// Only this login.
        #[serde(default)]
        login: Option<String>,
    },
    /// Locks a SQL login, or lets its password expire.
    SetLogin {
        server: String,
        login: String,
        #[serde(default)]
        locked: bool,
        #[serde(default)]
        expired: bool,
    },
    /// Ends `refuseLogins`.
    AcceptLogins {
        server: String,
    },
    /// Another session locks the catalog: a SELECT from `sys.databases` or `sys.database_mirroring` waits.
    LockCatalog {
        server: String,
    },
    UnlockCatalog {
        server: String,
    },
    /// Sets or, with `null`, removes the witness, without the checks of `SET WITNESS`.
    SetWitness {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        witness: Option<String>,
    },
    /// The database of `server` leaves its session without notice to its partner, and is principal of a new session,
    /// with another GUID, of pair `newPair` with server `partner`.
    MirrorElsewhere {
        server: String,
        database: String,
        partner: String,
        new_pair: String,
    },
}

/// Values that replace columns of `sys.database_mirroring`. `None` keeps the real value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogOverride {
    #[serde(default)]
    pub role: Option<u8>,
    #[serde(default)]
    pub state: Option<u8>,
    /// `mirroring_guid` as 32 hexadecimal digits; hyphens are ignored.
    #[serde(default)]
    pub guid: Option<String>,
    #[serde(default)]
    pub role_sequence: Option<i32>,
    #[serde(default)]
    pub partner_instance: Option<String>,
}

fn default_class() -> u8 {
    16
}

fn default_times() -> u32 {
    1
}
