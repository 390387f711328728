//! The server-level objects outside of the mirrored databases, and the properties that each copy of a database has of its
//! own. A role switch copies none of them (R22).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::DatabaseName;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInventory {
    pub server: String,
    pub version: String,
    pub edition: String,
    /// The login of the operator on this server. Its differences are reported where they matter: a poll fails.
    pub own_login: String,
    /// SQL logins, Windows logins and groups, without those that SQL Server and Windows create.
    pub logins: BTreeMap<String, ServerLogin>,
    /// Agent jobs by name. True: enabled.
    pub jobs: BTreeMap<String, bool>,
    pub linked_servers: BTreeSet<String>,
    pub copies: BTreeMap<DatabaseName, DatabaseCopy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLogin {
    /// Empty: the server shows none. It is equal to no other SID.
    pub sid: Vec<u8>,
    pub is_sql: bool,
    pub disabled: bool,
    pub default_database: Option<String>,
    /// CHECK_POLICY of a SQL login.
    pub policy_checked: Option<bool>,
    pub server_roles: BTreeSet<String>,
}

/// The properties of a copy of a database that mirroring does not transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCopy {
    /// The SID of the owner. Empty: the server shows none.
    pub owner_sid: Vec<u8>,
    /// The login with that SID on this server.
    pub owner: Option<String>,
    pub trustworthy: bool,
    pub chaining: bool,
    pub compatibility: i64,
}
