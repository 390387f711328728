//! The check of the move in flight: its journal against what the servers show now (R18). Only an observation decides;
//! an answer alone never causes a retry.

use std::time::Duration;

use crate::model::{
    Answer, Cause, DesiredType, Failover, Observation, Operation, OperationDatabase, Outcome, Pair, PersistedState,
    Reason, StatementState, TypeTracking, later,
};
use crate::plan::finding::{Finding, assess};
use crate::plan::precondition::Precondition;
use crate::plan::statements;
use crate::plan::text::list;
use crate::plan::types::{ATTEMPTS, Case, Ended, Input, Progress};

pub(crate) enum OperationState {
    None,
    InProgress(Progress),
    /// A further attempt at the databases that the former one did not move.
    Retry(Operation, Vec<Failover>, Progress),
    Ended(Ended),
}

/// What the servers show of one database of the move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DatabaseOutcome {
    /// Both agree on the new roles, and the new principal is ONLINE.
    Moved,
    /// Both agree that nothing happened since the journal was written, and a failover is possible.
    Unchanged,
    /// The session is not the one of the journal, or it switched and is back.
    Diverged,
    /// In transition, or not observed.
    Pending,
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
        return OperationState::Ended(Ended {
            operation: operation.clone(),
            outcome: Outcome::Superseded,
            detail: Some(format!("{} was removed from the spec during the move", operation.ty)),
        });
    };
    let check = Check::new(input, persisted, operation, desired_type);
    if operation.cause == Cause::ForcedService { check.forced_service() } else { check.failover() }
}

/// One move in flight and what the servers show of its databases.
struct Check<'a> {
    input: &'a Input<'a>,
    persisted: &'a PersistedState,
    operation: &'a Operation,
    desired_type: &'a DesiredType,
    pair: &'a Pair,
    databases: Vec<(&'a OperationDatabase, Finding, DatabaseOutcome)>,
    /// A statement of this process is without an answer.
    unanswered: bool,
    /// What the servers answered, where the answer was an error.
    errors: Option<String>,
}

impl<'a> Check<'a> {
    fn new(
        input: &'a Input<'a>,
        persisted: &'a PersistedState,
        operation: &'a Operation,
        desired_type: &'a DesiredType,
    ) -> Self {
        let pair = input.observation.pair(desired_type.store);
        let databases = operation.databases.iter().map(|journal| {
            let finding = assess(input.preconditions, pair, &journal.name);
            let outcome = database_outcome(input, operation, journal, &finding);
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

    fn any(&self, wanted: DatabaseOutcome) -> bool {
        self.databases.iter().any(|(.., outcome)| *outcome == wanted)
    }

    fn named(&self, is: impl Fn(DatabaseOutcome) -> bool) -> String {
        list(self.databases.iter().filter(|(.., outcome)| is(*outcome)).map(|(journal, ..)| &journal.name))
    }

    fn ended(&self, outcome: Outcome, detail: Option<String>) -> OperationState {
        OperationState::Ended(Ended { operation: self.operation.clone(), outcome, detail })
    }

    /// Partial if a database moved, else `none_moved`.
    fn partial_or(&self, none_moved: Outcome) -> Outcome {
        if self.any(Moved) { Outcome::Partial } else { none_moved }
    }

    /// `User to the mirror`.
    fn way(&self) -> String {
        format!("{} to the {}", self.operation.ty, self.operation.to.word())
    }

    fn next_attempt(&self) -> Operation {
        Operation { attempt: self.operation.attempt + 1, attempted: self.input.now, ..self.operation.clone() }
    }

    fn is_paused(&self) -> bool {
        self.input.now < later(self.operation.attempted, pause(self.operation.attempt))
    }

    fn failover(&self) -> OperationState {
        let input = self.input;
        let open = self.any(Pending);
        if !open && !self.any(Unchanged) && !self.any(Diverged) && !self.unanswered {
            return self.ended(Outcome::Succeeded, None);
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
        let free = !input.observation.conflicts.contains_key(&self.operation.ty);
        if !input.satisfied(Precondition::RetryNotSuspended, !input.is_suspended())
            || !input.satisfied(Precondition::RetryNoConflict, free)
        {
            let what = "not retried: suspended, or in conflict with another resource".to_owned();
            return self.ended(self.partial_or(Outcome::Failed), Some(what));
        }
        self.retry()
    }

    /// The progress of a move that is not settled: the open databases, and whether the deadline has passed.
    fn in_progress(&self) -> Progress {
        let open = match (self.named(|outcome| outcome == Pending), self.unanswered) {
            (names, false) => format!("not settled yet: {names}"),
            (names, true) if names.is_empty() => "no answer yet".to_owned(),
            (names, true) => format!("in progress: {names}"),
        };
        let moved = match self.named(|outcome| outcome == Moved) {
            names if names.is_empty() => String::new(),
            names => format!("; moved: {names}"),
        };
        let way = self.way();
        if self.input.now >= self.operation.deadline {
            let errors = self.errors.as_ref().map(|text| format!("; {}", text.trim_end_matches('.')));
            let errors = errors.unwrap_or_default();
            return Progress {
                reason: Reason::SwitchOverdue,
                message: format!(
                    "Failover of {way} was not observed to complete within policy.switchDeadline: {open}{moved}{errors}. It will not be retried, and the operator keeps monitoring it. To fix: check both servers."
                ),
            };
        }
        let reason = if self.unanswered { Reason::Moving } else { Reason::Verifying };
        Progress { reason, message: format!("Failing over {way}: {open}{moved}.") }
    }

    /// Some databases are unchanged: a further attempt, or the end.
    fn retry(&self) -> OperationState {
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
            let message =
                format!("Failing over {way}: attempt {attempt} did not move {unchanged} and is retried ({why}).");
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
        let message = format!("Failing over {way}: attempt {} for {unchanged} ({why}).", again.attempt);
        OperationState::Retry(again, steps, Progress { reason: Reason::Moving, message })
    }

    fn case<'b>(&'b self, findings: &'b [Finding], tracking: &'b TypeTracking) -> Case<'b> {
        let Self { input, pair, persisted, desired_type, .. } = *self;
        Case { input: *input, pair, persisted, desired_type, findings, tracking, progress: None }
    }

    /// The statements of a forced service that this process has no record of: a former process wrote the journal and
    /// ended. The consent is for this state and is valid while the survivor still shows it. The guard in the batch
    /// accepts only one of two such statements. Empty unless all that R2 requires still holds.
    fn resend_forced(&self) -> Vec<Failover> {
        let Self { input, operation, .. } = *self;
        let hindered = input.is_suspended() || input.observation.conflicts.contains_key(&operation.ty);
        if !input.satisfied(Precondition::ResendNotHindered, !hindered) {
            return Vec::new();
        }
        let Some(tracking) = self.persisted.tracking.get(&self.desired_type.ty) else { return Vec::new() };
        let consented = self.desired_type.force.as_ref().is_some_and(|force| {
            tracking.consumed_consent_epoch.as_ref() == Some(&force.epoch) && input.now < force.until
        });
        let unsent =
            operation.databases.iter().all(|database| !input.observation.statements.contains_key(&database.name));
        let bounded = input.now < operation.deadline && operation.attempt < ATTEMPTS;
        if !input.satisfied(Precondition::ResendConsented, consented)
            || !input.satisfied(Precondition::ResendUnsent, unsent)
            || !input.satisfied(Precondition::ResendBounded, bounded)
        {
            return Vec::new();
        }
        let findings: Vec<Finding> = self.databases.iter().map(|(_, finding, _)| finding.clone()).collect();
        let unchanged = |step: &Failover| {
            let journal = operation.databases.iter().find(|database| database.name == step.database);
            journal.is_some_and(|journal| journal.guid == step.guid && journal.role_sequence == step.role_sequence)
        };
        let steps = statements::forced(&self.case(&findings, tracking));
        if input.satisfied(Precondition::ResendUnchanged, steps.iter().all(unchanged)) { steps } else { Vec::new() }
    }

    /// A forced service is sent once for a state. Only the surviving server can show the result, as the other is unavailable.
    fn forced_service(&self) -> OperationState {
        let seat = self.operation.to.word();
        let served = self.databases.iter().filter(|(.., outcome)| *outcome == Moved).count();
        if served == self.databases.len() && !self.unanswered {
            let what =
                format!("service was forced on the {seat}; what the lost principal had not sent is not in this copy");
            return self.ended(Outcome::Succeeded, Some(what));
        }
        let open = self.named(|outcome| outcome != Moved);
        let again = self.resend_forced();
        if !again.is_empty() && !self.is_paused() {
            let message = format!(
                "Forcing service of {open} on the {seat}: the operator was restarted and has no record of the statement."
            );
            let progress = Progress { reason: Reason::Moving, message };
            return OperationState::Retry(self.next_attempt(), again, progress);
        }
        let overdue = self.input.now >= self.operation.deadline;
        if !self.unanswered && (self.errors.is_some() || overdue) {
            let why = self.errors.clone().unwrap_or_else(|| "nothing shows that it happened".to_owned());
            let what = format!("service of {open} was not forced on the {seat}: {why}. The consent is used up");
            return self.ended(self.partial_or(Outcome::Failed), Some(what));
        }
        let reason = if self.unanswered { Reason::Moving } else { Reason::Verifying };
        let message = format!("Forcing service of {} on the {seat}: {open}.", self.operation.ty);
        OperationState::InProgress(Progress { reason, message })
    }
}

fn database_outcome(
    input: &Input,
    operation: &Operation,
    journal: &OperationDatabase,
    finding: &Finding,
) -> DatabaseOutcome {
    let Some(session) = finding.session else { return Pending };
    if operation.cause == Cause::ForcedService {
        let serves = finding.principal == Some(operation.to) && finding.online && session.guid == journal.guid;
        return if serves && session.role_sequence > journal.role_sequence { Moved } else { Pending };
    }
    if finding.agreed && !input.satisfied(Precondition::SameSessionAsJournal, session.guid == journal.guid) {
        return Diverged;
    }
    let switched =
        session.role_sequence > journal.role_sequence && input.enforced(Precondition::NotSwitchedSinceJournal);
    match (finding.agreed, finding.principal) {
        (true, Some(seat)) if seat == operation.to && switched && finding.online => Moved,
        // Role and sequence contradict each other: the two polls straddle the switch.
        (true, Some(seat)) if seat == operation.to => Pending,
        (true, Some(_)) if switched && finding.obstacle.is_none() => Diverged,
        (true, Some(_)) if !switched && finding.obstacle.is_none() => Unchanged,
        _ => Pending,
    }
}

/// What the servers answered, where the answer was an error.
fn statement_errors(operation: &Operation, observation: &Observation) -> Option<String> {
    let errors: Vec<String> = operation
        .databases
        .iter()
        .filter_map(|database| match observation.statements.get(&database.name)? {
            StatementState::Sent | StatementState::Answered(Answer::Accepted) => None,
            StatementState::Answered(
                Answer::GuardRefused { detail } | Answer::NotSent { detail } | Answer::Lost { detail },
            ) => Some(format!("{}: {detail}", database.name)),
            StatementState::Answered(Answer::Refused { number, detail }) => {
                Some(format!("{}: error {number}: {detail}", database.name))
            }
        })
        .collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}
