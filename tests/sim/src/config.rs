//! How a world looks when it begins: servers, their logins, and the pairs of mirrored databases.
//! Only shapes and their defaults live here; nothing here changes afterwards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    pub servers: Vec<ServerConfig>,
    #[serde(default)]
    pub pairs: Vec<PairConfig>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerConfig {
    /// The key in control commands, such as `a`.
    pub id: String,
    /// `SERVERPROPERTY('ServerName')`, such as `SQL-A\RTC`.
    pub name: String,
    #[serde(default = "default_version")]
    pub version: String,
    #[serde(default = "default_edition")]
    pub edition: String,
    #[serde(default)]
    pub logins: Vec<LoginConfig>,
    /// The Windows login of whoever brings any ticket at all, and nothing is proven to him: an impostor.
    #[serde(default)]
    pub lets_in_as: Option<String>,
    /// Where the TDS side listens, `ip:port`.
    #[serde(default)]
    pub listen: Option<String>,
    /// The instance name that the browser answers with.
    #[serde(default)]
    pub instance: Option<String>,
    #[serde(default)]
    pub tls: TlsConfig,
    /// Databases without mirroring, besides the system ones.
    #[serde(default)]
    pub plain_databases: Vec<String>,
    #[serde(default)]
    pub endpoint: EndpointConfig,
    #[serde(default)]
    pub belongings: Belongings,
}

/// What a server has outside of its databases: mirroring carries none of it to the partner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Belongings {
    /// SQL logins besides those that can log in here, with their SID in hexadecimal digits.
    #[serde(default)]
    pub logins: BTreeMap<String, String>,
    /// Enabled Agent jobs.
    #[serde(default)]
    pub jobs: Vec<String>,
    #[serde(default)]
    pub linked_servers: Vec<String>,
    /// Nobody may read the jobs: error 229.
    #[serde(default)]
    pub jobs_forbidden: bool,
    /// Databases whose copy here is TRUSTWORTHY.
    #[serde(default)]
    pub trustworthy: Vec<String>,
    /// Owners of the copies here, by database; the others belong to sa. An empty name is an owner without a login here.
    #[serde(default)]
    pub owners: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginConfig {
    pub name: String,
    /// None: a Windows login, `DOMAIN\\account`.
    #[serde(default)]
    pub password: Option<String>,
    #[serde(default = "yes")]
    pub sysadmin: bool,
    #[serde(default)]
    pub view_server_state: bool,
    #[serde(default)]
    pub view_any_database: bool,
    #[serde(default)]
    pub alter_any_database: bool,
    #[serde(default)]
    pub disabled: bool,
    #[serde(default)]
    pub locked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TlsMode {
    #[default]
    Off,
    LoginOnly,
    Required,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsConfig {
    #[serde(default)]
    pub mode: TlsMode,
    /// The names that the certificate of this server carries.
    #[serde(default)]
    pub certificate_names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointConfig {
    #[serde(default = "default_endpoint_name")]
    pub name: String,
    /// Defaults to 5022, and to 7022 on a witness.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub state: EndpointState,
    /// The host in `TCP://host:port`; defaults to the machine name of the server.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Safety {
    #[default]
    Full,
    Off,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairConfig {
    pub name: String,
    /// The server that is principal when the world begins.
    pub primary: String,
    pub mirror: String,
    #[serde(default)]
    pub witness: Option<String>,
    pub databases: Vec<String>,
    #[serde(default)]
    pub safety: Safety,
    /// How long one database takes to fail over, besides its redo.
    #[serde(default = "fifty")]
    pub switch_millis: u64,
    #[serde(default)]
    pub redo_queue_kb: u64,
    #[serde(default = "default_redo_rate", rename = "redoRateKbPerS")]
    pub redo_rate_kb_per_s: u64,
    /// How long it takes until the loss of a partner or of the witness is noticed.
    #[serde(default = "ten")]
    pub timeout_seconds: f64,
    /// How long partners are SYNCHRONIZING when they meet again.
    #[serde(default = "fifty")]
    pub resync_millis: u64,
    #[serde(default = "one")]
    pub role_sequence: i32,
    /// Real instances also show "no witness" as an empty name with state 0.
    #[serde(default)]
    pub empty_witness_name: bool,
}

/// Why a world cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Two servers `a` and `b` and a witness `w`, with the databases of type User mirrored from `a` to `b`.
    /// The login is `operator`, its password `secret`.
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
                safety: Safety::Full,
                switch_millis: fifty(),
                redo_queue_kb: 0,
                redo_rate_kb_per_s: default_redo_rate(),
                timeout_seconds: ten(),
                resync_millis: fifty(),
                role_sequence: 1,
                empty_witness_name: false,
            }],
        }
    }
}

impl ServerConfig {
    pub fn sample(id: &str, name: &str) -> ServerConfig {
        ServerConfig {
            id: id.to_owned(),
            name: name.to_owned(),
            version: default_version(),
            edition: default_edition(),
            lets_in_as: None,
            logins: vec![LoginConfig {
                name: "operator".to_owned(),
                password: Some("secret".to_owned()),
                sysadmin: true,
                view_server_state: false,
                view_any_database: false,
                alter_any_database: false,
                disabled: false,
                locked: false,
            }],
            listen: None,
            instance: None,
            tls: TlsConfig::default(),
            plain_databases: Vec::new(),
            endpoint: EndpointConfig::default(),
            belongings: Belongings::default(),
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

fn yes() -> bool {
    true
}

fn fifty() -> u64 {
    50
}

fn default_redo_rate() -> u64 {
    10_000
}

fn ten() -> f64 {
    10.0
}

fn one() -> i32 {
    1
}
