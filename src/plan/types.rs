//! What a plan consists of, and what each part of the planner receives.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{
    Cause, DatabaseType, Desired, Epoch, Failover, Memory, Observation, Operation, Outcome, Pair, Reason, Side, Track,
    Wish,
};
use crate::plan::finding::{Finding, seat_of};
use crate::plan::precondition::{Preconditions, Rule};

/// A further attempt is made only after an observation that shows that the former one moved nothing.
pub const ATTEMPTS: u32 = 4;

/// What to do, what to publish, what to remember, and when to reconcile again.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub types: BTreeMap<DatabaseType, TypePlan>,
    /// What must be written down before the steps are taken.
    pub memory: Memory,
    /// The databases to fail over now, all at once; empty unless `memory.operation` has just begun or is tried again.
    pub steps: Vec<Failover>,
    /// The move that this observation showed to be over.
    pub ended: Option<Ended>,
    pub pace: Pace,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TypePlan {
    pub wish: Wish,
    pub observed: Observed,
    pub verdict: Verdict,
    pub epoch: Option<Epoch>,
    pub findings: Vec<Finding>,
    /// What will be sent once the verdict lets it.
    pub next: Vec<Failover>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub operation: Operation,
    pub outcome: Outcome,
    pub detail: Option<String>,
}

/// When to reconcile again, if nothing changes on the servers before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A move is under way: poll again as soon as the last poll is processed.
    Now,
    /// A move has just ended: poll until the mirror has caught up.
    Soon,
    /// Nothing is under way until this time, or until something changes.
    At(Timestamp),
    Idle,
}

/// Where the principals of a type are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    On(Side),
    Split,
    Unknown,
}

impl Observed {
    pub fn of(findings: &[Finding]) -> Self {
        if let Some(side) = seat_of(findings) {
            return Observed::On(side);
        }
        let on = |side| findings.iter().any(|finding| finding.principal == Some(side));
        if on(Side::Primary) && on(Side::Mirror) { Observed::Split } else { Observed::Unknown }
    }
}

/// Whether a move may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    No,
    /// All that is missing is the turn.
    Ready(Cause),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub reason: Reason,
    pub message: String,
    pub release: Release,
    /// When time alone changes this verdict.
    pub until: Option<Timestamp>,
}

impl Verdict {
    pub(crate) fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), release: Release::No, until: None }
    }
}

/// Where a move stands, for the verdict of its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub reason: Reason,
    pub message: String,
}

/// The input of one plan.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub rules: &'a Preconditions,
    pub desired: &'a Desired,
    pub seen: &'a Observation,
    pub now: Timestamp,
}

impl Input<'_> {
    /// See [`Preconditions::enforced`].
    pub fn enforced(&self, rule: Rule) -> bool {
        self.rules.enforced(rule)
    }

    /// See [`Preconditions::satisfied`].
    pub fn satisfied(&self, rule: Rule, condition: bool) -> bool {
        self.rules.satisfied(rule, condition)
    }

    pub fn is_suspended(&self) -> bool {
        self.desired.suspend.as_ref().is_some_and(|suspend| suspend.holds(self.now))
    }
}

/// A database type, what the spec wants of it, and what was observed and noticed of it.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub input: Input<'a>,
    pub pair: &'a Pair,
    pub memory: &'a Memory,
    pub wish: &'a Wish,
    pub findings: &'a [Finding],
    pub track: &'a Track,
    pub progress: Option<&'a Progress>,
}
