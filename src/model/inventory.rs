//! What a server has outside of the mirrored databases, and what of a database its copies keep to themselves: a role switch
//! carries none of it along (R22).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::DatabaseName;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInventory {
    pub server: String,
    pub version: String,
    pub edition: String,
    /// SQL logins, Windows logins and groups, without those that SQL Server and the machine make for themselves.
    pub logins: BTreeMap<String, ServerLogin>,
    /// Agent jobs by name; true: enabled.
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

/// What each copy of a database has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCopy {
    /// Whose SID owns it, and the login of that SID on this server.
    pub owner_sid: Vec<u8>,
    pub owner: Option<String>,
    pub trustworthy: bool,
    pub chaining: bool,
    pub compatibility: i64,
}
