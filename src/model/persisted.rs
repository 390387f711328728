//! The state that must survive a restart: requests, the operation in progress and the ends of the last moves. The status
//! of the resource stores it. It never replaces an observation of the servers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

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
    /// The history of each type, which a single poll cannot show.
    pub tracking: BTreeMap<DatabaseType, TypeTracking>,
}

/// The history of a type. It applies only to the servers and the sessions that it names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TypeTracking {
    /// The servers that the type was last seen on, both in one pass and as partners of one session.
    pub pair: Option<PairIdentity>,
    /// The mirroring session of each database when both servers last agreed.
    pub sessions: BTreeMap<DatabaseName, Guid>,
    /// The roles of each database in this session, as the operator last read them from each partner.
    pub roles: BTreeMap<DatabaseName, LastRoles>,
    /// The server that held all principals of the type when both servers last agreed.
    pub last_settled_server: Option<String>,
    /// The principal was in the requested seat once, on these servers. Only then a later difference is a switch.
    pub was_aligned: bool,
    /// The number of consecutive failed moves.
    pub consecutive_failures: u32,
    /// The number of unrequested switches, each within a day of the previous one.
    pub unrequested_switches: u32,
    pub last_unrequested_switch: Option<Timestamp>,
    /// Since when the type has been in the other seat and in an unchanged epoch, synchronized and with a connected witness.
    pub stable: Option<Stable>,
    /// Since when the mirror has had no principal.
    pub principal_lost_since: Option<Timestamp>,
    /// The consent to forced service that was used. It applies again only if no server received a statement.
    pub consumed_consent: Option<Consent>,
    /// Consents that ended before their time: the old principal was back, or another one was used after them.
    pub ended_consents: Vec<Consent>,
    /// The approval in the spec, and when it was first observed.
    pub approval: Option<Stable>,
    /// Since when a database of the type has been in a state that must not last, for each kind of it.
    pub transitions: BTreeMap<TransitionKind, Timestamp>,
    /// Since when the role sequences of both partners have differed.
    pub sequences_differ_since: Option<Timestamp>,
    /// A partner was away, and has not been back for policy.settleAfter.
    pub absence: Option<Absence>,
}

/// Which partner was the last to become principal, as far as the operator read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRoles {
    pub principal: Seat,
    /// The role sequence in the row of the primary, and in that of the mirror. Each is compared only with a later one of the same
    /// server: the equality of both is not documented.
    pub primary: i32,
    pub mirror: i32,
    /// The role sequence of the other one when it was last read as principal, before this one took over. None: both agreed since.
    pub replaced: Option<i32>,
}

impl LastRoles {
    pub fn sequence(&self, seat: Seat) -> i32 {
        match seat {
            Seat::Primary => self.primary,
            Seat::Mirror => self.mirror,
        }
    }
}

/// A state that must not last. Each kind of it has a begin of its own.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumIter,
)]
pub enum TransitionKind {
    Restoring,
    Recovering,
    RecoveryPending,
    FailoverInProgress,
    Unsettled,
    /// Mirroring is SUSPENDED: it lasts until an administrator resumes it.
    Suspended,
    /// Two principals or two mirrors during a move. Two polls can show that for the moment of a switch.
    Contradiction,
}

/// A partner that was away: unavailable, or not connected to the other partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    Away,
    /// Back since this time, with every database synchronized.
    BackSince(Timestamp),
}

/// The two servers of a pair, as the spec and as the servers themselves name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairIdentity {
    pub primary: ServerIdentity,
    pub mirror: ServerIdentity,
}

impl PairIdentity {
    pub fn server(&self, seat: Seat) -> &ServerIdentity {
        match seat {
            Seat::Primary => &self.primary,
            Seat::Mirror => &self.mirror,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The address in the spec.
    pub address: String,
    /// `SERVERPROPERTY('ServerName')`.
    pub name: String,
}

/// A consent to forced service. A new `until` for the same epoch is a new consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    pub epoch: Epoch,
    pub until: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stable {
    pub epoch: Epoch,
    pub since: Timestamp,
}

/// The principal that the spec last requested for a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub principal: Seat,
    /// The first generation of the spec with this request.
    pub generation: i64,
    /// True from the change of the spec until the principal is observed in the requested seat.
    pub pending: bool,
}

/// The cause of a move.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display, strum::IntoStaticStr,
)]
pub enum Cause {
    /// The spec requested another principal.
    Intent,
    /// An administrator approved a held move.
    Approved,
    /// policy.unrequestedSwitch: FailBack.
    FailBack,
    /// An administrator consented to forced service, which can lose data.
    ForcedService,
}

/// The journal of a move. The controller writes it before the first statement, with the resource version that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub ty: DatabaseType,
    pub from: Seat,
    pub to: Seat,
    /// The names that the servers in these seats reported.
    pub from_server: Option<String>,
    pub to_server: Option<String>,
    pub cause: Cause,
    pub generation: i64,
    /// The field manager that requested the move, if the API server recorded it.
    pub requested_by: Option<String>,
    pub started: Timestamp,
    pub deadline: Timestamp,
    /// The time of the decision for the current attempt.
    pub attempted: Timestamp,
    /// Counts from 1. A further attempt requires a poll that shows no effect of the former attempt.
    pub attempt: u32,
    /// The predicted interruption of the clients at the decision. None: the redo queue was not visible.
    pub predicted: Option<Duration>,
    pub databases: Vec<OperationDatabase>,
}

/// The state of a database at the decision for the move. The guard compares the server with it.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationDatabase {
    pub name: DatabaseName,
    pub guid: Guid,
    pub role_sequence: i32,
    /// A description of both partners for the administrator.
    pub before: String,
}

#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
pub enum Outcome {
    /// Both servers report the new roles, and the new principal is online.
    Succeeded,
    /// The servers rejected the statements, or all attempts failed. No database moved.
    Failed,
    /// Some databases moved and some did not.
    Partial,
    /// The effect of the statements was not observed in time. It may still show.
    Unknown,
    /// SQL Server or another client moved the databases.
    Superseded,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub ended: Timestamp,
    pub cause: Cause,
    pub outcome: Outcome,
    /// The problem, for the administrator.
    pub detail: Option<String>,
    /// The server that was to receive the principal role.
    pub to_server: Option<String>,
    /// The databases of a forced service, and their role sequences before it. Empty after another move.
    pub forced: BTreeMap<DatabaseName, i32>,
    /// Both partners were synchronized after the end of the move, or both agreed on the other principal. A forced service is over
    /// then.
    pub synchronized: bool,
    /// A later move of the type ended at this time and moved nothing. This move stays the last one that did.
    pub later_failure: Option<Timestamp>,
}

impl Attempt {
    /// An ended move of which nothing more is known.
    pub fn new(ended: Timestamp, cause: Cause, outcome: Outcome) -> Self {
        Self {
            ended,
            cause,
            outcome,
            detail: None,
            to_server: None,
            forced: BTreeMap::new(),
            synchronized: false,
            later_failure: None,
        }
    }

    /// When the newest move of the type ended.
    pub fn last_end(&self) -> Timestamp {
        self.later_failure.unwrap_or(self.ended)
    }

    /// A forced service that took effect, or may have, and whose partners were not synchronized again.
    pub fn may_be_forced(&self) -> bool {
        let took_effect = match self.outcome {
            Outcome::Succeeded | Outcome::Partial | Outcome::Unknown => true,
            Outcome::Failed | Outcome::Superseded => false,
        };
        self.cause == Cause::ForcedService && took_effect && !self.synchronized
    }
}

/// A name for the state of a type, which an approval repeats: the sum of the role sequences, and a digest of the guids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(String);

impl Epoch {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `databases`: the guid and the role sequence of each database of the type.
    pub fn of(databases: impl IntoIterator<Item = (Guid, i32)>) -> Self {
        let mut all: Vec<_> = databases.into_iter().collect();
        all.sort();
        let sum: i64 = all.iter().map(|(_, sequence)| i64::from(*sequence)).sum();
        // FNV-1a is short and stable across versions. It only has to distinguish sessions and is no secret.
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
    fn epoch_after_a_switch_or_with_another_session_differs() {
        let (a, b) = (Guid::from_bytes([1; 16]), Guid::from_bytes([2; 16]));
        let before = Epoch::of([(a, 3), (b, 4)]);
        assert_eq!(before, Epoch::of([(b, 4), (a, 3)]), "the order of the databases has no effect");
        assert!(before.as_str().starts_with("7-"), "{before}");
        assert_ne!(before, Epoch::of([(a, 4), (b, 4)]));
        assert_ne!(before, Epoch::of([(a, 3), (Guid::from_bytes([3; 16]), 4)]));
    }
}
