//! What a plan consists of, and what each part of the planner receives.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{
    Cause, DatabaseType, Desired, DesiredType, Epoch, Failover, Observation, ObservedPrincipal, Operation, Outcome,
    Pair, PersistedState, Reason, Seat, Service, TypeTracking,
};
use crate::plan::caution;
use crate::plan::finding::Finding;
use crate::plan::precondition::{Precondition, Preconditions};

/// A further attempt is made only after an observation that shows that the former one moved nothing.
pub const ATTEMPTS: u32 = 4;

/// The statements to send, the state to publish and persist, and the time of the next reconcile.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub types: BTreeMap<DatabaseType, TypePlan>,
    /// The state that must be in the status before the steps are sent.
    pub persisted: PersistedState,
    /// The databases to fail over now, all at once; empty unless `persisted.operation` has just begun or is retried.
    pub steps: Vec<Failover>,
    /// The move that this observation showed to be over.
    pub ended: Option<Ended>,
    pub requeue: Requeue,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypePlan {
    pub desired_type: DesiredType,
    pub observed: ObservedPrincipal,
    pub verdict: Verdict,
    pub epoch: Option<Epoch>,
    pub findings: Vec<Finding>,
    /// The statements that are sent once the verdict releases them.
    pub next: Vec<Failover>,
    pub service: Service,
    /// Only the turn of the type is missing, or was missing before it began.
    pub ready: bool,
    /// No planned failover made the present principal.
    pub switched: bool,
    /// The seat of the server that service was forced on, until the partners are synchronized again.
    pub forced_on: Option<Seat>,
}

impl TypePlan {
    /// The operator sees the principal in the requested seat. An old principal that is open after a forced service is none.
    pub fn is_aligned(&self) -> bool {
        let wanted = self.desired_type.principal;
        self.observed == wanted.into() && self.forced_on.is_none_or(|seat| seat == wanted)
    }

    /// The reason whose page has to be read before the server in this seat starts, if its return is a risk for the type.
    pub fn before_start(&self, pair: &Pair, seat: Seat) -> Option<Reason> {
        // Also while it is in flight: the survivor is still the mirror then.
        if self.forced_on == Some(seat.other()) && caution::may_be_started(pair, seat) {
            return Some(Reason::ServiceForced);
        }
        caution::before_start(&self.findings, pair, seat, self.switched)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub operation: Operation,
    pub outcome: Outcome,
    pub detail: Option<String>,
    /// A database switched during the move and is not where the move wanted it: someone else moved it.
    pub diverged: bool,
    /// No server received a statement of the move.
    pub nothing_sent: bool,
    /// A statement of the last attempt was not sent because of a limit of the operator itself.
    pub limited: bool,
}

/// When to reconcile again, if nothing changes on the servers before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeue {
    /// A move is under way: poll again as soon as the last poll is processed.
    Now,
    /// A move has just ended: poll until the mirror has caught up.
    Soon,
    /// Nothing is under way until this time, or until something changes.
    At(Timestamp),
    Idle,
}

/// Whether a move may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    No,
    /// Only the turn of the type is missing.
    Ready(Cause),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub reason: Reason,
    pub message: String,
    pub release: Release,
    /// When time alone changes this verdict.
    pub until: Option<Timestamp>,
    /// The most important step of the administrator, for the summary: an imperative without a period. None: the reason has
    /// a fixed one.
    pub step: Option<String>,
}

impl Verdict {
    pub(crate) fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), release: Release::No, until: None, step: None }
    }

    pub(crate) fn with_step(self, step: impl Into<String>) -> Self {
        Self { step: Some(step.into()), ..self }
    }
}

/// The progress of a move in flight, for the verdict of its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub reason: Reason,
    pub message: String,
}

/// The input of one plan.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub preconditions: &'a Preconditions,
    pub desired: &'a Desired,
    pub observation: &'a Observation,
    pub now: Timestamp,
}

impl Input<'_> {
    /// See [`Preconditions::enforced`].
    pub fn enforced(&self, precondition: Precondition) -> bool {
        self.preconditions.enforced(precondition)
    }

    /// See [`Preconditions::satisfied`].
    pub fn satisfied(&self, precondition: Precondition, condition: bool) -> bool {
        self.preconditions.satisfied(precondition, condition)
    }

    pub fn is_suspended(&self) -> bool {
        self.desired.suspend.as_ref().is_some_and(|suspend| suspend.holds(self.now))
    }
}

/// A database type with its desired state, its observation and its persisted state.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub input: Input<'a>,
    pub pair: &'a Pair,
    pub persisted: &'a PersistedState,
    pub desired_type: &'a DesiredType,
    pub findings: &'a [Finding],
    pub tracking: &'a TypeTracking,
    pub progress: Option<&'a Progress>,
}
