//! What is wanted, already parsed: it cannot be nonsense any more.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{DatabaseName, DatabaseType, Epoch, Seat, StoreId, Window};

#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    pub pool: String,
    /// `metadata.generation` of the spec this was parsed from.
    pub generation: i64,
    /// In the order of turns, each type at most once.
    pub types: Vec<DesiredType>,
    pub suspend: Option<Suspend>,
    pub policy: Policy,
}

/// What is wanted of one database type.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredType {
    pub ty: DatabaseType,
    pub principal: Seat,
    pub databases: Vec<DatabaseName>,
    /// The pair of servers that holds the databases.
    pub store: StoreId,
    /// The one state of the type for which a held move is released.
    pub approve: Option<Epoch>,
    /// Consent to lose data, once.
    pub force: Option<ForceService>,
    /// Who wrote the fields that a move rests on, as the API server knows them.
    pub requested_by: FieldManagers,
}

/// Field managers of one database type of the spec ("Server-Side Apply", field management).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldManagers {
    pub principal: Option<String>,
    pub approve: Option<String>,
    pub force: Option<String>,
}

/// Consent to `FORCE_SERVICE_ALLOW_DATA_LOSS` (R1): for one state of the type, for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct ForceService {
    pub epoch: Epoch,
    pub until: Timestamp,
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
    /// How long a type must have been synchronized and witnessed before it fails back by itself.
    pub fail_back_after: Duration,
    /// When a fail-back may happen; empty: at any time. What the spec asks for acts at once.
    pub windows: Vec<Window>,
    /// A move that is predicted to interrupt for longer waits.
    pub max_interruption: Option<Duration>,
    pub cooldown: Duration,
    pub switch_deadline: Duration,
    /// The types that take their turn first, in this order; the others follow in Lync's order.
    pub order: Vec<DatabaseType>,
}

impl Policy {
    /// The order of turns (R17).
    pub fn turn(&self, ty: DatabaseType) -> (usize, DatabaseType) {
        (self.order.iter().position(|first| *first == ty).unwrap_or(self.order.len()), ty)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unrequested_switch: UnrequestedSwitch::Hold,
            fail_back_after: Duration::from_secs(30 * 60),
            windows: Vec::new(),
            max_interruption: None,
            cooldown: Duration::from_secs(10 * 60),
            switch_deadline: Duration::from_secs(5 * 60),
            order: Vec::new(),
        }
    }
}

/// What to do when the principal moved and no change of the spec asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum UnrequestedSwitch {
    /// Report it and wait for a person.
    #[default]
    Hold,
    /// Move it back once it has been synchronized and witnessed for `failBackAfter`, inside a maintenance window.
    FailBack,
}
