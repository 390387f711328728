//! What is wanted, already parsed: it cannot be nonsense any more.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{DatabaseName, DatabaseType, Epoch, Side};

#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    pub pool: String,
    /// `metadata.generation` of the spec this was parsed from.
    pub generation: i64,
    /// In the order of turns, each type at most once.
    pub wishes: Vec<Wish>,
    pub suspend: Option<Suspend>,
    pub policy: Policy,
}

/// What is wanted of one database type.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    pub ty: DatabaseType,
    pub principal: Side,
    pub databases: Vec<DatabaseName>,
    /// Which pair of servers: an index into `Observation::pairs`.
    pub store: usize,
    /// The one state of the type for which a held move is released.
    pub approve: Option<Epoch>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Suspend {
    pub reason: String,
    pub until: Option<Timestamp>,
}

impl Suspend {
    /// A suspension ends by itself.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub unrequested_switch: UnrequestedSwitch,
    pub cooldown: Duration,
    pub switch_deadline: Duration,
}

/// What to do when the principal moved and no change of the spec asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum UnrequestedSwitch {
    /// Report it and wait for a person.
    #[default]
    Hold,
}
