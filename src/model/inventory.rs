//! The server-level objects outside of the mirrored databases, and the properties that each copy of a database has of its
//! own. A role switch copies none of them (R22).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::DatabaseName;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInventory {
    pub server: String,
    pub version: String,
    pub edition: String,
    /// SQL logins, Windows logins and groups, without those that SQL Server and Windows create.
    pub logins: BTreeMap<String, ServerLogin>,
    /// Agent jobs by name. True: enabled.
    pub jobs: BTreeMap<String, bool>,
    pub linked_servers: BTreeSet<String>,
    pub copies: BTreeMap<DatabaseName, DatabaseCopy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLogin {
    pub sid: Vec<u8>,
    pub is_sql: bool,
    pub disabled: bool,
}

/// The properties of a copy of a database that mirroring does not transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCopy {
    /// The SID of the owner.
    pub owner_sid: Vec<u8>,
    /// The login with that SID on this server.
    pub owner: Option<String>,
    pub trustworthy: bool,
    pub chaining: bool,
    pub compatibility: i64,
}
