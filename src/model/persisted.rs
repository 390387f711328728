//! What must survive a restart: what was asked, what is under way, when the last move ended. It lives in the status
//! of the resource and reaches the planner as data; it never says what is true of the servers.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{DatabaseName, DatabaseType, Guid, Seat};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct PersistedState {
    pub requests: BTreeMap<DatabaseType, Request>,
    /// The move in flight: at most one per pool (R17).
    pub operation: Option<Operation>,
    /// The newest ended move of each type.
    pub last: BTreeMap<DatabaseType, Attempt>,
    /// What was noticed of each type over time.
    pub tracking: BTreeMap<DatabaseType, TypeTracking>,
}

/// What one poll cannot show: how a type has behaved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TypeTracking {
    /// The seat that held all principals of the type when both servers last agreed.
    pub last_settled_seat: Option<Seat>,
    /// Moves that failed, in a row.
    pub consecutive_failures: u32,
    /// Unrequested switches, each within a day of the one before.
    pub unrequested_switches: u32,
    pub last_unrequested_switch: Option<Timestamp>,
    /// Since when the type has been in the other seat, synchronized and witnessed, in one and the same state.
    pub stable: Option<Stable>,
    /// Since when the mirror has been without its principal.
    pub principal_lost_since: Option<Timestamp>,
    /// The state for which consent to a forced service has been used: it never applies again.
    pub consumed_consent_epoch: Option<Epoch>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stable {
    pub epoch: Epoch,
    pub since: Timestamp,
}

/// What the spec last asked of a type, and whether that is still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub principal: Seat,
    /// The generation of the spec that first asked for it.
    pub generation: i64,
    /// True from the change of the spec until the principal is seen there: a move that was asked for.
    pub pending: bool,
}

/// Why a move is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum Cause {
    /// The spec asked for another principal.
    Intent,
    /// A person approved a held move.
    Approved,
    /// policy.unrequestedSwitch: FailBack.
    FailBack,
    /// A person consented to forced service: data may be lost.
    ForcedService,
}

/// The journal of a move: written before the first statement, with the resource version that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub ty: DatabaseType,
    pub from: Seat,
    pub to: Seat,
    pub cause: Cause,
    pub generation: i64,
    /// Who asked for it, if the API server knows.
    pub requested_by: Option<String>,
    pub started: Timestamp,
    pub deadline: Timestamp,
    /// When the current attempt was decided.
    pub attempted: Timestamp,
    /// Counts from 1; a further attempt follows only after a look that shows that the former did not happen.
    pub attempt: u32,
    pub databases: Vec<OperationDatabase>,
}

/// What one database looked like when the move was decided: the guard's evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationDatabase {
    pub name: DatabaseName,
    pub guid: Guid,
    pub role_sequence: i32,
    /// What both partners showed, for a person.
    pub before: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum Outcome {
    /// Both servers agreed on the new roles and the new principal was online.
    Succeeded,
    /// The servers refused, or the attempts were used up; no database moved.
    Failed,
    /// Some databases moved and some did not.
    Partial,
    /// The servers were already moving otherwise, or somebody else moved them.
    Superseded,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub ended: Timestamp,
    pub cause: Cause,
    pub outcome: Outcome,
    /// What went wrong, for a person.
    pub detail: Option<String>,
}

/// The state of a type that an approval names: the sum of the role sequences, and a digest of the guids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(String);

impl Epoch {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `databases`: the guid and the role sequence of every database of the type.
    pub fn of(databases: impl IntoIterator<Item = (Guid, i32)>) -> Self {
        let mut all: Vec<_> = databases.into_iter().collect();
        all.sort();
        let sum: i64 = all.iter().map(|(_, sequence)| i64::from(*sequence)).sum();
        // FNV-1a: short, stable across versions; it tells sessions apart and is no secret.
        let digest = all
            .iter()
            .flat_map(|(guid, _)| guid.to_bytes())
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self(format!("{sum}-{:04x}", (digest >> 16) ^ (digest & 0xffff)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_changes_with_every_switch_and_every_session() {
        let (a, b) = (Guid::from_bytes([1; 16]), Guid::from_bytes([2; 16]));
        let before = Epoch::of([(a, 3), (b, 4)]);
        assert_eq!(before, Epoch::of([(b, 4), (a, 3)]), "the order of the databases does not matter");
        assert!(before.as_str().starts_with("7-"), "{before}");
        assert_ne!(before, Epoch::of([(a, 4), (b, 4)]));
        assert_ne!(before, Epoch::of([(a, 3), (Guid::from_bytes([3; 16]), 4)]));
    }
}
