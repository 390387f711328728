//! The configuration of a simulation: servers, logins and pairs of mirrored databases.
//! In JSON, field names are in camel case and unknown fields are errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::settings::{PairSettings, ServerSettings};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    pub servers: Vec<ServerConfig>,
    #[serde(default)]
    pub pairs: Vec<PairConfig>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerConfig {
    /// The id of the server in commands, such as `a`.
    pub id: String,
    /// `SERVERPROPERTY('ServerName')`, such as `SQL-A\RTC`.
    pub name: String,
    /// `@@SERVERNAME`, if it differs from `name`: the computer was renamed without sp_addserver.
    #[serde(default)]
    pub registered_name: Option<String>,
    /// `SERVERPROPERTY('ProductVersion')`.
    #[serde(default = "default_version")]
    pub version: String,
    #[serde(default = "default_edition")]
    pub edition: String,
    #[serde(default)]
    pub logins: Vec<LoginConfig>,
    /// Makes the server an impostor: every Kerberos ticket logs in as this Windows login, and the server does not
    /// prove its own identity.
    #[serde(default)]
    pub lets_in_as: Option<String>,
    /// The TDS listen address, `ip:port`. Port 0 selects a free port.
    #[serde(default)]
    pub listen: Option<String>,
    /// The instance name that SQL Browser returns.
    #[serde(default)]
    pub instance: Option<String>,
    #[serde(default)]
    pub tls: TlsConfig,
    /// Databases without mirroring, in addition to the system databases.
    #[serde(default)]
    pub plain_databases: Vec<String>,
    #[serde(default)]
    pub endpoint: EndpointConfig,
    #[serde(default)]
    pub inventory: ServerInventory,
    #[serde(default)]
    pub settings: ServerSettings,
}

/// Server-level objects. Mirroring does not copy them to the partner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerInventory {
    /// SQL logins that only appear in `sys.server_principals`, with the SID in hexadecimal digits.
    #[serde(default)]
    pub logins: BTreeMap<String, String>,
    /// Names of the enabled Agent jobs.
    #[serde(default)]
    pub jobs: Vec<String>,
    #[serde(default)]
    pub linked_servers: Vec<String>,
    /// Reading the jobs fails with error 229 for every login.
    #[serde(default)]
    pub jobs_forbidden: bool,
    /// Databases whose copy on this server is TRUSTWORTHY.
    #[serde(default)]
    pub trustworthy: Vec<String>,
    /// Owners of the copies on this server, by database; the default is `sa`. An empty name means an owner SID that has
    /// no login on this server.
    #[serde(default)]
    pub owners: BTreeMap<String, String>,
    /// The name of the login with SID 0x01, if it was renamed.
    #[serde(default)]
    pub sa_name: Option<String>,
    /// By name.
    #[serde(default)]
    pub logon_triggers: BTreeMap<String, LogonTrigger>,
    /// Members of fixed server roles other than sysadmin, by role.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
}

/// A login and its server-level permissions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginConfig {
    pub name: String,
    /// `None` for a Windows login, `DOMAIN\\account`.
    #[serde(default)]
    pub password: Option<String>,
    /// The SID in hexadecimal digits. Without it a SQL login has its own SID on every server, and a Windows login
    /// the same SID on all servers.
    #[serde(default)]
    pub sid: Option<String>,
    #[serde(default = "default_sysadmin")]
    pub sysadmin: bool,
    #[serde(default)]
    pub view_server_state: bool,
    #[serde(default)]
    pub view_any_database: bool,
    #[serde(default)]
    pub alter_any_database: bool,
    #[serde(default)]
    pub view_any_definition: bool,
    #[serde(default)]
    pub disabled: bool,
    #[serde(default)]
    pub locked: bool,
    /// The password has expired.
    #[serde(default)]
    pub expired: bool,
}

/// A logon trigger of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogonTrigger {
    /// The login that the trigger refuses.
    pub refuses: String,
    #[serde(default)]
    pub disabled: bool,
}

/// What the server requires of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TlsMode {
    /// The server does not support TLS.
    #[default]
    Off,
    /// TLS covers the login; the client can request it for the whole connection.
    LoginOnly,
    /// TLS covers the whole connection.
    Required,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsConfig {
    #[serde(default)]
    pub mode: TlsMode,
    /// The subject alternative names of the certificate, in addition to the IP address and `localhost`.
    #[serde(default)]
    pub certificate_names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointConfig {
    #[serde(default = "default_endpoint_name")]
    pub name: String,
    /// Default: 5022, on a witness 7022.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub state: EndpointState,
    /// The host in `TCP://host:port`. Default: the machine name of the server in lower case.
    #[serde(default)]
    pub host: Option<String>,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self { name: default_endpoint_name(), port: None, state: EndpointState::Started, host: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    #[default]
    Started,
    Stopped,
    Disabled,
}

/// Transaction safety: FULL is synchronous, OFF asynchronous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Safety {
    #[default]
    Full,
    Off,
}

/// Two partners, an optional witness and the databases that are mirrored. The server fields are server ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairConfig {
    pub name: String,
    /// The server that is the principal at the start.
    pub primary: String,
    pub mirror: String,
    #[serde(default)]
    pub witness: Option<String>,
    pub databases: Vec<String>,
    /// A GUID is derived from this text and the names of pair and database. Real pairs never share a GUID, so two simulations
    /// with pairs of one name need different texts.
    #[serde(default)]
    pub guid_seed: String,
    #[serde(default)]
    pub safety: Safety,
    /// Duration of the failover of one database after its redo, in milliseconds.
    #[serde(default = "default_millis")]
    pub switch_millis: u64,
    /// Redo queue of the mirror, in KB.
    #[serde(default)]
    pub redo_queue_kb: u64,
    /// Redo rate of the mirror, in KB per second.
    #[serde(default = "default_redo_rate", rename = "redoRateKbPerS")]
    pub redo_rate_kb_per_s: u64,
    /// The partner timeout: how long the loss of a partner or of the witness stays undetected, in seconds.
    #[serde(default = "default_timeout_seconds")]
    pub timeout_seconds: f64,
    /// How long partners are SYNCHRONIZING after they reconnect, in milliseconds.
    #[serde(default = "default_millis")]
    pub resync_millis: u64,
    #[serde(default = "default_role_sequence")]
    pub role_sequence: i32,
    /// Reports a missing witness as an empty name with state 0, as some instances do, and not as NULL.
    #[serde(default)]
    pub empty_witness_name: bool,
    #[serde(default)]
    pub settings: PairSettings,
}

/// An invalid configuration. The message contains the field and its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Servers `a` and `b` and witness `w`, with the databases of type User mirrored from `a` to `b`.
    /// The login is `operator` with the password `secret`.
    pub fn sample() -> Config {
        Config {
            servers: vec![
                ServerConfig::sample("a", r"SQL-A\RTC"),
                ServerConfig::sample("b", r"SQL-B\RTC"),
                ServerConfig::sample("w", r"SQL-W\RTC"),
            ],
            pairs: vec![PairConfig {
                name: "user".to_owned(),
                primary: "a".to_owned(),
                mirror: "b".to_owned(),
                witness: Some("w".to_owned()),
                databases: ["rtcab", "rtcshared", "rtcxds"].map(str::to_owned).to_vec(),
                guid_seed: String::new(),
                safety: Safety::Full,
                switch_millis: default_millis(),
                redo_queue_kb: 0,
                redo_rate_kb_per_s: default_redo_rate(),
                timeout_seconds: default_timeout_seconds(),
                resync_millis: default_millis(),
                role_sequence: 1,
                empty_witness_name: false,
                settings: PairSettings::default(),
            }],
        }
    }
}

impl ServerConfig {
    /// A server with the sysadmin login `operator` and the password `secret`.
    pub fn sample(id: &str, name: &str) -> ServerConfig {
        ServerConfig {
            id: id.to_owned(),
            name: name.to_owned(),
            registered_name: None,
            version: default_version(),
            edition: default_edition(),
            lets_in_as: None,
            logins: vec![LoginConfig {
                name: "operator".to_owned(),
                password: Some("secret".to_owned()),
                sid: None,
                sysadmin: true,
                view_server_state: false,
                view_any_database: false,
                alter_any_database: false,
                view_any_definition: false,
                disabled: false,
                locked: false,
                expired: false,
            }],
            listen: None,
            instance: None,
            tls: TlsConfig::default(),
            plain_databases: Vec::new(),
            endpoint: EndpointConfig::default(),
            inventory: ServerInventory::default(),
            settings: ServerSettings::default(),
        }
    }
}

fn default_version() -> String {
    "11.0.7001.0".to_owned()
}

fn default_edition() -> String {
    "Standard Edition (64-bit)".to_owned()
}

fn default_endpoint_name() -> String {
    "mirroring_endpoint".to_owned()
}

fn default_sysadmin() -> bool {
    true
}

fn default_millis() -> u64 {
    50
}

fn default_redo_rate() -> u64 {
    10_000
}

fn default_timeout_seconds() -> f64 {
    10.0
}

fn default_role_sequence() -> i32 {
    1
}
