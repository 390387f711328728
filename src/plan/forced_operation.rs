//! The check of a forced service in flight. It is sent once, and only the row of the survivor proves its effect.

use crate::model::{Answer, Failover, Outcome, Reason, StatementState};
use crate::plan::finding::Finding;
use crate::plan::operation::{Check, OperationState};
use crate::plan::outcome::DatabaseOutcome;
use crate::plan::precondition::Precondition;
use crate::plan::statements;
use crate::plan::types::{ATTEMPTS, Progress};

use DatabaseOutcome::Moved;

impl Check<'_> {
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
            let ended = tracking.ended_consents.contains(&force.consent());
            let used = tracking.consumed_consent.as_ref() == Some(&force.consent());
            used && !ended && force.fenced && input.now < force.until
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
    pub(crate) fn forced_service(&self) -> OperationState {
        let server = self.server();
        if self.databases.iter().all(|(.., outcome)| *outcome == Moved) {
            let what =
                format!("service was forced on the {server}. What the old principal had not sent is not in this copy");
            return self.ended(Outcome::Succeeded, Some(what));
        }
        let open = self.named(|outcome| outcome != Moved);
        let again = self.resend_forced();
        if !again.is_empty() && !self.is_paused() {
            let message = format!(
                "Forcing service of {open} on the {server}: the operator was restarted and has no record of the statement."
            );
            let progress = Progress { reason: Reason::Moving, message };
            return OperationState::Retry(self.next_attempt(), again, progress);
        }
        let why = self.errors.clone().unwrap_or_else(|| "nothing shows that it happened".to_owned());
        if self.is_refused() {
            let what = format!("service of {open} was not forced on the {server}: {why}");
            return self.ended(self.partial_or(Outcome::Failed), Some(what));
        }
        // A lost answer proves nothing: the deadline has to pass, and the row of the survivor shows the effect whenever it is read.
        if self.overdue() && !self.unanswered {
            let what = format!(
                "forced service of {open} on the {server} was not observed within policy.switchDeadline, and may still take effect: {why}"
            );
            return self.ended(self.partial_or(Outcome::Unknown), Some(what));
        }
        let message = format!(
            "Forcing service of {} on the {server}: {open}. Data may be lost. Until it ends, the {server} does not serve them. To fix: do not start the {}, let no client reach it, and wait.",
            self.operation.ty,
            self.pair.label(self.operation.from)
        );
        let reason = match (self.overdue(), self.unanswered) {
            (true, _) => Reason::SwitchOverdue,
            (false, true) => Reason::Moving,
            (false, false) => Reason::Verifying,
        };
        OperationState::InProgress(Progress { reason, message })
    }

    /// Every database that was not moved has the answer that its statement did nothing.
    fn is_refused(&self) -> bool {
        // The answer to a further attempt proves nothing of the attempt before, which a former process may have sent.
        self.operation.attempt == 1
            && self.databases.iter().filter(|(.., outcome)| *outcome != Moved).all(|(journal, ..)| {
                match self.input.observation.statements.get(&journal.name) {
                    Some(StatementState::Answered(
                        Answer::NotSent { .. } | Answer::GuardRefused { .. } | Answer::Refused { .. },
                    )) => true,
                    Some(StatementState::Sent | StatementState::Answered(Answer::Accepted | Answer::Lost { .. }))
                    | None => false,
                }
            })
    }
}
