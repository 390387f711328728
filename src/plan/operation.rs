//! The check of the move in flight: its journal against what the servers show now (R18). Only an observation decides;
//! an answer alone never causes a retry.

use std::time::Duration;

use crate::model::{
    Answer, Approval, Cause, DatabaseName, DesiredType, Failover, Observation, Operation, OperationDatabase, Outcome,
    Pair, PersistedState, Reason, Seat, ServerObservation, StatementState, TypeTracking, UnrequestedSwitch,
    duration_text, later,
};
use crate::plan::estimate::predict;
use crate::plan::finding::{Finding, assess, most_severe};
use crate::plan::outcome::{DatabaseOutcome, database_outcome};
use crate::plan::precondition::Precondition;
use crate::plan::text::{coarse, list};
use crate::plan::types::{ATTEMPTS, Case, Ended, Input, Progress};
use crate::plan::{foreign_journal, statements};

pub(crate) enum OperationState {
    None,
    InProgress(Progress),
    /// A further attempt at the databases that the former one did not move.
    Retry(Operation, Vec<Failover>, Progress),
    Ended(Ended),
}

use DatabaseOutcome::{Diverged, Moved, Pending, Unchanged};

/// The pause before a further attempt: the effect of a statement in flight needs time to become visible.
fn pause(attempt: u32) -> Duration {
    Duration::from_secs(match attempt {
        0 | 1 => 1,
        2 => 5,
        _ => 15,
    })
}

pub(crate) fn check(input: &Input, persisted: &PersistedState) -> OperationState {
    let Some(operation) = &persisted.operation else { return OperationState::None };
    if input.desired.unusable.contains_key(&operation.ty) {
        // The type is still in the spec. Its outcome is determined once the spec can be used again.
        let message = format!("The outcome of the move of {} is not observed: the spec has problems.", operation.ty);
        return OperationState::InProgress(Progress { reason: Reason::InvalidSpec, message });
    }
    let Some(desired_type) = input.desired.types.iter().find(|desired_type| desired_type.ty == operation.ty) else {
        return superseded(operation, format!("{} was removed from the spec during the move", operation.ty));
    };
    if let Some(detail) = foreign_journal::cause(input, operation, desired_type) {
        return superseded(operation, detail);
    }
    let check = Check::new(input, persisted, operation, desired_type);
    if operation.cause == Cause::ForcedService { check.forced_service() } else { check.failover() }
}

/// The move is no longer about the present spec or servers.
fn superseded(operation: &Operation, detail: String) -> OperationState {
    OperationState::Ended(Ended {
        operation: operation.clone(),
        outcome: Outcome::Superseded,
        detail: Some(detail),
        diverged: false,
        nothing_sent: false,
        limited: false,
    })
}

/// One move in flight and what the servers show of its databases.
pub(crate) struct Check<'a> {
    pub(crate) input: &'a Input<'a>,
    pub(crate) persisted: &'a PersistedState,
    pub(crate) operation: &'a Operation,
    pub(crate) desired_type: &'a DesiredType,
    pub(crate) pair: &'a Pair,
    pub(crate) databases: Vec<(&'a OperationDatabase, Finding, DatabaseOutcome)>,
    /// A statement of this process is without an answer.
    pub(crate) unanswered: bool,
    /// What the servers answered, where the answer was an error.
    pub(crate) errors: Option<String>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(
        input: &'a Input<'a>,
        persisted: &'a PersistedState,
        operation: &'a Operation,
        desired_type: &'a DesiredType,
    ) -> Self {
        let pair = input.observation.pair(desired_type.store);
        let databases = operation.databases.iter().map(|journal| {
            let finding = assess(input.preconditions, pair, &journal.name);
            let outcome = database_outcome(input, pair, operation, journal, &finding);
            (journal, finding, outcome)
        });
        let statement = |database: &OperationDatabase| input.observation.statements.get(&database.name);
        Self {
            input,
            persisted,
            operation,
            desired_type,
            pair,
            databases: databases.collect(),
            unanswered: operation.databases.iter().any(|database| statement(database) == Some(&StatementState::Sent)),
            errors: statement_errors(operation, input.observation),
        }
    }

    pub(crate) fn any(&self, wanted: DatabaseOutcome) -> bool {
        self.databases.iter().any(|(.., outcome)| *outcome == wanted)
    }

    pub(crate) fn named(&self, is: impl Fn(DatabaseOutcome) -> bool) -> String {
        list(self.databases.iter().filter(|(.., outcome)| is(*outcome)).map(|(journal, ..)| &journal.name))
    }

    pub(crate) fn ended(&self, outcome: Outcome, detail: Option<String>) -> OperationState {
        // An earlier attempt may have been sent by a former process.
        let nothing_sent = self.operation.attempt == 1
            && self.operation.databases.iter().all(|database| {
                matches!(
                    self.input.observation.statements.get(&database.name),
                    Some(StatementState::Answered(Answer::NotSent { .. }))
                )
            });
        let limited = self
            .input
            .observation
            .statements
            .values()
            .any(|state| matches!(state, StatementState::Answered(Answer::NotSent { limited: true, .. })));
        let diverged = self.any(Diverged);
        OperationState::Ended(Ended {
            operation: self.operation.clone(),
            outcome,
            detail,
            diverged,
            nothing_sent,
            limited,
        })
    }

    /// Partial if a database moved, else `none_moved`.
    pub(crate) fn partial_or(&self, none_moved: Outcome) -> Outcome {
        if self.any(Moved) { Outcome::Partial } else { none_moved }
    }

    /// `User to the mirror SQL-B`.
    pub(crate) fn way(&self) -> String {
        format!("{} to the {}", self.operation.ty, self.server())
    }

    /// The seat and the name of the server that receives the principal role.
    pub(crate) fn server(&self) -> String {
        let seat = self.operation.to;
        match &self.operation.to_server {
            Some(name) => format!("{} {name}", seat.word()),
            None => self.pair.label(seat),
        }
    }

    pub(crate) fn overdue(&self) -> bool {
        self.input.now >= self.operation.deadline
    }

    pub(crate) fn next_attempt(&self) -> Operation {
        Operation { attempt: self.operation.attempt + 1, attempted: self.input.now, ..self.operation.clone() }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.input.now < later(self.operation.attempted, pause(self.operation.attempt))
    }

    pub(crate) fn failover(&self) -> OperationState {
        let input = self.input;
        let open = self.any(Pending);
        // Also after the deadline: a statement has a limit of its own, so that its answer, or the loss of it, always follows.
        if !open && !self.any(Unchanged) && !self.any(Diverged) && !self.unanswered {
            return self.ended(Outcome::Succeeded, None);
        }
        if let Some(detail) = self.taken_over() {
            let is_whole = !self.any(Unchanged) && !self.any(Diverged);
            return self.ended(if is_whole { Outcome::Succeeded } else { Outcome::Partial }, Some(detail));
        }
        if open && self.overdue() && !self.unanswered && self.has_lost_principal() {
            let what = format!(
                "{} did not settle, as the principal was lost during the move",
                self.named(|outcome| outcome == Pending)
            );
            return self.ended(self.partial_or(Outcome::Unknown), Some(what));
        }
        if let Some(problem) = self.stuck().filter(|_| self.overdue() && !self.unanswered) {
            let names = self.named(|outcome| outcome == Pending);
            let what = format!("{names} did not settle within policy.switchDeadline: {problem}");
            return self.ended(self.partial_or(Outcome::Unknown), Some(what));
        }
        if !input.satisfied(Precondition::SettledBeforeRetry, !open)
            || !input.satisfied(Precondition::AnswerBeforeRetry, !self.unanswered)
        {
            return OperationState::InProgress(self.in_progress());
        }
        // Every database is settled now: moved, unchanged or diverged.
        if self.any(Diverged) {
            let what = format!("{} changed otherwise during the move", self.named(|outcome| outcome == Diverged));
            return self.ended(self.partial_or(Outcome::Superseded), Some(what));
        }
        if !input.satisfied(Precondition::RetrySamePrincipal, self.desired_type.principal == self.operation.to) {
            let what = "the spec changed during the move".to_owned();
            return self.ended(self.partial_or(Outcome::Superseded), Some(what));
        }
        if let Some(what) = self.withdrawn().filter(|_| input.enforced(Precondition::RetryStillReleased)) {
            return self.ended(self.partial_or(Outcome::Superseded), Some(what.to_owned()));
        }
        let free = !input.observation.conflicts.contains_key(&self.operation.ty);
        if !input.satisfied(Precondition::RetryNotSuspended, !input.is_suspended())
            || !input.satisfied(Precondition::RetryNoConflict, free)
        {
            let what = "not retried: suspended, or in conflict with another resource".to_owned();
            return self.ended(self.partial_or(Outcome::Failed), Some(what));
        }
        self.retry()
    }

    /// The spec no longer has what released the move.
    fn withdrawn(&self) -> Option<&'static str> {
        let fails_back = self.input.desired.policy.unrequested_switch == UnrequestedSwitch::FailBack;
        let approved = |approve: &Approval| {
            let tracking = self.persisted.tracking.get(&self.operation.ty);
            let seen = tracking.and_then(|tracking| tracking.approval.as_ref());
            seen.is_none_or(|seen| seen.epoch == approve.epoch && seen.since <= self.operation.started)
        };
        match self.operation.cause {
            Cause::Approved if self.desired_type.approve.is_none() => Some("the approval was removed during the move"),
            Cause::Approved if !self.desired_type.approve.as_ref().is_some_and(approved) => {
                Some("the approval was replaced during the move")
            }
            Cause::FailBack if !fails_back => Some("policy.unrequestedSwitch: FailBack was removed during the move"),
            Cause::Approved | Cause::FailBack | Cause::Intent | Cause::ForcedService => None,
        }
    }

    /// The progress of a move that is not settled: the open databases, and whether the deadline has passed.
    pub(crate) fn in_progress(&self) -> Progress {
        let way = self.way();
        let open = self.databases.iter().filter(|(.., outcome)| *outcome == Pending);
        // A statement that failed is not on its way, whatever the redo queue needs.
        let runs = !self.overdue() && self.errors.is_none();
        let name = |journal: &OperationDatabase| {
            if runs { self.with_time_left(&journal.name) } else { journal.name.to_string() }
        };
        let open = open.map(|(journal, ..)| name(journal)).collect::<Vec<_>>().join(", ");
        let mut details = match (open.is_empty(), self.unanswered) {
            (false, true) => format!(" In progress: {open}."),
            (false, false) => format!(" Not settled yet: {open}."),
            (true, _) => " There is no answer yet.".to_owned(),
        };
        let moved = self.named(|outcome| outcome == Moved);
        if !moved.is_empty() {
            details.push_str(&format!(" Moved: {moved}."));
        }
        for seat in Seat::BOTH {
            if let ServerObservation::Unavailable { unavailable, .. } = self.pair.view(seat) {
                details.push_str(&format!(
                    " The operator does not see the {}. {}",
                    self.pair.label(seat),
                    unavailable.detail
                ));
            }
        }
        if let Some(progress) = self.contradiction(&details).or_else(|| self.lost_principal(&details)) {
            return progress;
        }
        if self.overdue() {
            if let Some(errors) = &self.errors {
                details.push_str(&format!(" Answers: {errors}."));
            }
            return Progress {
                reason: Reason::SwitchOverdue,
                message: format!(
                    "Failover of {way} was not observed to complete within policy.switchDeadline.{details} This attempt is not repeated. While the spec wants the move, the operator can make it again once both servers are synchronized: to prevent that, set principal: {} on type {}. To fix: {}.",
                    self.operation.from,
                    self.operation.ty,
                    self.fix().unwrap_or_else(|| "check both servers".to_owned())
                ),
            };
        }
        let reason = if self.unanswered { Reason::Moving } else { Reason::Verifying };
        Progress { reason, message: format!("Failing over {way}.{details}") }
    }

    /// The fix of the most severe state of the open databases.
    fn fix(&self) -> Option<String> {
        let open = self.databases.iter().filter(|(.., outcome)| *outcome == Pending);
        let findings: Vec<Finding> = open.map(|(_, finding, _)| finding.clone()).collect();
        most_severe(&findings, self.pair)?.0.fix(self.pair)
    }

    /// The database, with the time that its redo queue still needs. In steps, so that a status does not change with each poll.
    pub(crate) fn with_time_left(&self, name: &DatabaseName) -> String {
        match predict(self.pair, name) {
            Some(left) => format!("{name} (about {} left)", duration_text(coarse(left))),
            None => name.to_string(),
        }
    }

    /// Some databases are unchanged: a further attempt, or the end.
    pub(crate) fn retry(&self) -> OperationState {
        let input = self.input;
        let Operation { attempt, deadline, .. } = *self.operation;
        let (way, unchanged) = (self.way(), self.named(|outcome| outcome == Unchanged));
        let why = self.errors.clone().unwrap_or_else(|| "the servers show that nothing happened".to_owned());
        if !input.satisfied(Precondition::AttemptsBounded, attempt < ATTEMPTS)
            || !input.satisfied(Precondition::BeforeDeadline, input.now < deadline)
        {
            let what = format!("{unchanged} not moved after {attempt} attempts: {why}");
            return self.ended(self.partial_or(Outcome::Failed), Some(what));
        }
        if !input.satisfied(Precondition::PauseBeforeRetry, !self.is_paused()) {
            let message = format!(
                "Failing over {way}. Attempt {attempt} did not move {unchanged} and is retried. Cause: {}.",
                why.trim_end_matches('.')
            );
            return OperationState::InProgress(Progress { reason: Reason::Verifying, message });
        }
        let findings: Vec<Finding> = self
            .databases
            .iter()
            .filter(|(.., outcome)| *outcome == Unchanged)
            .map(|(_, finding, _)| finding.clone())
            .collect();
        let tracking = TypeTracking::default();
        let steps = statements::failovers(&self.case(&findings, &tracking), &findings);
        let again = self.next_attempt();
        let message = format!(
            "Failing over {way}. Attempt {} for {unchanged}. Cause: {}.",
            again.attempt,
            why.trim_end_matches('.')
        );
        OperationState::Retry(again, steps, Progress { reason: Reason::Moving, message })
    }

    pub(crate) fn case<'b>(&'b self, findings: &'b [Finding], tracking: &'b TypeTracking) -> Case<'b> {
        let Self { input, pair, persisted, desired_type, .. } = *self;
        Case { input: *input, pair, persisted, desired_type, findings, tracking, progress: None }
    }
}

/// What the servers answered, where the answer was an error.
fn statement_errors(operation: &Operation, observation: &Observation) -> Option<String> {
    let mut errors: Vec<(String, Vec<&DatabaseName>)> = Vec::new();
    for database in &operation.databases {
        let error = match observation.statements.get(&database.name) {
            None | Some(StatementState::Sent | StatementState::Answered(Answer::Accepted)) => continue,
            Some(StatementState::Answered(
                Answer::GuardRefused { detail } | Answer::NotSent { detail, .. } | Answer::Lost { detail },
            )) => detail.clone(),
            Some(StatementState::Answered(Answer::Refused { number, detail })) => format!("error {number}: {detail}"),
        };
        match errors.iter_mut().find(|(other, _)| *other == error) {
            Some((_, names)) => names.push(&database.name),
            None => errors.push((error, vec![&database.name])),
        }
    }
    let errors: Vec<String> = errors
        .iter()
        .map(|(error, names)| format!("{}: {}", list(names.iter().copied()), error.trim_end_matches('.')))
        .collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}
