//! What a test or a person may do to a world, by name. How it is done lives in `control`.

use serde::{Deserialize, Serialize};

use crate::config::{Belongings, EndpointState, Safety};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Command {
    Kill {
        server: String,
    },
    Start {
        server: String,
    },
    Pause {
        server: String,
    },
    Unpause {
        server: String,
    },
    Cut {
        a: String,
        b: String,
    },
    Mend {
        a: String,
        b: String,
    },
    MendAll,
    Suspend {
        pair: String,
        #[serde(default)]
        database: Option<String>,
    },
    Resume {
        pair: String,
        #[serde(default)]
        database: Option<String>,
    },
    SetSafety {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        safety: Safety,
    },
    SetRedo {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        queue_kb: u64,
        #[serde(default, rename = "rateKbPerS")]
        rate_kb_per_s: Option<u64>,
    },
    SetBelongings {
        server: String,
        belongings: Belongings,
    },
    SetSwitchMillis {
        pair: String,
        millis: u64,
    },
    SetEndpoint {
        server: String,
        state: EndpointState,
    },
    SetPassword {
        server: String,
        login: String,
        password: String,
    },
    SetSysadmin {
        server: String,
        login: String,
        sysadmin: bool,
    },
    /// On this side only while the partner is away, else on both.
    RemoveMirroring {
        pair: String,
        database: String,
        server: String,
    },
    SetDatabaseState {
        server: String,
        database: String,
        state: u8,
    },
    SetRoleSequence {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        role_sequence: i32,
    },
    /// A DBA's manual failover.
    Failover {
        pair: String,
        #[serde(default)]
        database: Option<String>,
    },
    Force {
        pair: String,
        #[serde(default)]
        database: Option<String>,
    },
    SlowStatements {
        server: String,
        millis: u64,
    },
    /// The next ALTER DATABASE statements answer this error and do nothing.
    FailStatement {
        server: String,
        number: u32,
        #[serde(default = "sixteen")]
        class: u8,
        #[serde(default = "once")]
        times: u32,
    },
    /// The next ALTER DATABASE statements act, and answer this error all the same.
    FailAfter {
        server: String,
        number: u32,
        #[serde(default = "sixteen")]
        class: u8,
        #[serde(default = "once")]
        times: u32,
    },
    /// SYNCHRONIZING for so long.
    Desync {
        pair: String,
        #[serde(default)]
        database: Option<String>,
        millis: u64,
    },
    SetVersion {
        server: String,
        version: String,
    },
    /// What this server claims in its catalog from now on.
    Lie {
        server: String,
        database: String,
        #[serde(flatten)]
        lie: Lie,
    },
    ClearLies,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lie {
    #[serde(default)]
    pub role: Option<u8>,
    #[serde(default)]
    pub state: Option<u8>,
    /// Another session's guid, as 32 hex digits.
    #[serde(default)]
    pub guid: Option<String>,
    #[serde(default)]
    pub role_sequence: Option<i32>,
    #[serde(default)]
    pub partner_instance: Option<String>,
}

fn sixteen() -> u8 {
    16
}

fn once() -> u32 {
    1
}
