//! The statements that this process sent, and their answers. The planner receives them with the observation. They are not
//! persisted: after a restart, the operator determines the outcome from the journal and the role sequence.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::{Answer, DatabaseName, DatabaseType, Failover, Operation, PhaseTimings, StatementState};

/// Identifies an attempt of an operation. An answer to another attempt does not count for this attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttemptId {
    pub uid: String,
    pub ty: DatabaseType,
    pub started: Timestamp,
    pub attempt: u32,
}

impl AttemptId {
    pub fn of(uid: &str, operation: &Operation) -> Self {
        Self { uid: uid.to_owned(), ty: operation.ty, started: operation.started, attempt: operation.attempt }
    }
}

#[derive(Debug, Clone)]
struct Statements {
    attempt: AttemptId,
    states: BTreeMap<DatabaseName, StatementState>,
    decided: Instant,
    sent: Option<Instant>,
    answered: Option<Instant>,
}

/// The statements of all resources, by UID. Clones share the statements.
#[derive(Clone)]
pub struct InFlightStatements {
    statements: Arc<Mutex<HashMap<String, Statements>>>,
    unanswered: watch::Sender<usize>,
}

impl Default for InFlightStatements {
    fn default() -> Self {
        Self { statements: Arc::default(), unanswered: watch::Sender::new(0) }
    }
}

impl InFlightStatements {
    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.statements.lock().len()
    }

    /// Registers the statements of an attempt before the first of them is sent.
    pub fn register(&self, attempt: &AttemptId, steps: &[Failover]) {
        let states = steps.iter().map(|step| (step.database.clone(), StatementState::Sent)).collect();
        let statements =
            Statements { attempt: attempt.clone(), states, decided: Instant::now(), sent: None, answered: None };
        self.statements.lock().insert(attempt.uid.clone(), statements);
        self.unanswered.send_modify(|count| *count += steps.len());
    }

    /// Records the time at which the first statement of the attempt is sent.
    pub fn mark_sent(&self, attempt: &AttemptId) {
        if let Some(statements) =
            self.statements.lock().get_mut(&attempt.uid).filter(|statements| statements.attempt == *attempt)
        {
            statements.sent = Some(Instant::now());
        }
    }

    pub fn record_answer(&self, attempt: &AttemptId, database: &DatabaseName, answer: Answer) {
        if let Some(statements) =
            self.statements.lock().get_mut(&attempt.uid).filter(|statements| statements.attempt == *attempt)
        {
            statements.states.insert(database.clone(), StatementState::Answered(answer));
            statements.answered = Some(Instant::now());
        }
        self.unanswered.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// The statements of an attempt. Empty after a restart.
    pub fn states(&self, attempt: &AttemptId) -> BTreeMap<DatabaseName, StatementState> {
        let by_uid = self.statements.lock();
        by_uid
            .get(&attempt.uid)
            .filter(|statements| statements.attempt == *attempt)
            .map(|statements| statements.states.clone())
            .unwrap_or_default()
    }

    pub fn timings(&self, attempt: &AttemptId) -> PhaseTimings {
        let by_uid = self.statements.lock();
        let Some(statements) = by_uid.get(&attempt.uid).filter(|statements| statements.attempt == *attempt) else {
            return PhaseTimings::default();
        };
        let millis = |from: Option<Instant>, to: Option<Instant>| {
            i64::try_from(to?.checked_duration_since(from?)?.as_millis()).ok()
        };
        PhaseTimings {
            connect: millis(Some(statements.decided), statements.sent),
            statement: millis(statements.sent, statements.answered),
            verify: millis(statements.answered, Some(Instant::now())),
        }
    }

    /// Drops the statements of a resource, unless an answer is outstanding.
    pub fn forget(&self, uid: &str) {
        let mut by_uid = self.statements.lock();
        if by_uid
            .get(uid)
            .is_some_and(|statements| statements.states.values().all(|state| *state != StatementState::Sent))
        {
            by_uid.remove(uid);
        }
    }

    /// Completes when every statement has its answer.
    pub async fn wait_idle(&self) {
        let mut count = self.unanswered.subscribe();
        let _ = count.wait_for(|count| *count == 0).await;
    }
}
