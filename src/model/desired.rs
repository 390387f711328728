//! The validated desired state.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Consent, DatabaseName, DatabaseType, Epoch, Seat, StoreId, Window, later};

#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    pub pool: String,
    /// `metadata.generation` of the spec this was parsed from.
    pub generation: i64,
    /// In the order of the moves, each type at most once.
    pub types: Vec<DesiredType>,
    pub suspend: Option<Suspend>,
    pub policy: Policy,
    /// The problems of the spec, each with field, value and fix. No move starts while there is one.
    pub problems: Vec<String>,
    /// The types that are not in `types`, because their own part of the spec cannot be used, and their desired principal.
    pub unusable: BTreeMap<DatabaseType, Seat>,
}

/// The desired state of a database type.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredType {
    pub ty: DatabaseType,
    pub principal: Seat,
    pub databases: Vec<DatabaseName>,
    /// The pair of servers that holds the databases.
    pub store: StoreId,
    /// Approval: the epoch for which a held move is released.
    pub approve: Option<Approval>,
    /// Consent to forced service, which can lose data. It applies once.
    pub force: Option<ForceService>,
    /// The field managers of the fields that cause a move.
    pub requested_by: FieldManagers,
}

/// The field managers of a database type in the spec. Kubernetes documents field managers under Server-Side Apply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldManagers {
    pub principal: Option<String>,
    pub approve: Option<String>,
    pub force: Option<String>,
}

/// Approval of a held move, limited to an epoch of the type and to a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    pub epoch: Epoch,
    /// None: it ends [`Approval::LIFETIME`] after it was first observed.
    pub until: Option<Timestamp>,
}

impl Approval {
    /// An approval without an end of its own must not release a move days later.
    pub const LIFETIME: Duration = Duration::from_secs(30 * 60);

    pub fn end(&self, first_observed: Timestamp) -> Timestamp {
        self.until.unwrap_or_else(|| later(first_observed, Self::LIFETIME))
    }
}

/// Consent to `FORCE_SERVICE_ALLOW_DATA_LOSS` (R1), limited to an epoch of the type and to a time.
#[derive(Debug, Clone, PartialEq)]
pub struct ForceService {
    pub epoch: Epoch,
    pub until: Timestamp,
    /// An administrator vouches that the old principal cannot serve clients any more.
    pub fenced: bool,
}

impl ForceService {
    pub fn consent(&self) -> Consent {
        Consent { epoch: self.epoch.clone(), until: self.until }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Suspend {
    pub reason: String,
    pub until: Option<Timestamp>,
}

impl Suspend {
    /// True until the end of the suspension. A suspension without an end holds always.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub unrequested_switch: UnrequestedSwitch,
    /// The time for which a type must be synchronized, with a connected witness, before an automatic fail-back.
    pub fail_back_after: Duration,
    /// The windows for fail-backs. Empty: at any time. A change of the spec acts outside of the windows too.
    pub windows: Vec<Window>,
    /// A move with a longer predicted interruption waits.
    pub max_interruption: Option<Duration>,
    pub cooldown: Duration,
    /// A partner that was away must be back and synchronized for this long before a move.
    pub settle_after: Duration,
    pub switch_deadline: Duration,
    /// The types that move first, in this order. The other types follow in the order of [`DatabaseType`].
    pub order: Vec<DatabaseType>,
}

impl Policy {
    /// The sort key for the order of the moves (R17).
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
            settle_after: Duration::from_secs(2 * 60),
            switch_deadline: Duration::from_secs(5 * 60),
            order: Vec::new(),
        }
    }
}

/// The reaction to a move of the principal that no change of the spec requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum UnrequestedSwitch {
    /// Report the move and wait for an approval.
    #[default]
    Hold,
    /// Move the principal back inside a maintenance window, after `failBackAfter` with synchronized databases and a
    /// connected witness.
    FailBack,
}
