//! The statements that this process sent and their answers, which the planner receives beside the observation. They are
//! not persisted: after a restart the journal and the role sequence show what happened.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::{Answer, DatabaseName, DatabaseType, Failover, Operation, PhaseTimings, StatementState};

/// One attempt of one operation: an answer to another attempt says nothing about this one.
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

/// Cheap to clone.
#[derive(Clone)]
pub struct InFlightStatements {
    all: Arc<Mutex<HashMap<String, Statements>>>,
    unanswered: watch::Sender<usize>,
}

impl Default for InFlightStatements {
    fn default() -> Self {
        Self { all: Arc::default(), unanswered: watch::Sender::new(0) }
    }
}

impl InFlightStatements {
    /// Registers the statements of an attempt before the first of them is sent.
    pub fn begin(&self, attempt: &AttemptId, steps: &[Failover]) {
        let states = steps.iter().map(|step| (step.database.clone(), StatementState::Sent)).collect();
        let statements =
            Statements { attempt: attempt.clone(), states, decided: Instant::now(), sent: None, answered: None };
        self.all.lock().insert(attempt.uid.clone(), statements);
        self.unanswered.send_modify(|count| *count += steps.len());
    }

    pub fn sent(&self, attempt: &AttemptId) {
        if let Some(statements) =
            self.all.lock().get_mut(&attempt.uid).filter(|statements| statements.attempt == *attempt)
        {
            statements.sent = Some(Instant::now());
        }
    }

    pub fn answer(&self, attempt: &AttemptId, database: &DatabaseName, answer: Answer) {
        if let Some(statements) =
            self.all.lock().get_mut(&attempt.uid).filter(|statements| statements.attempt == *attempt)
        {
            statements.states.insert(database.clone(), StatementState::Answered(answer));
            statements.answered = Some(Instant::now());
        }
        self.unanswered.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// What is known of the attempt in the journal.
    pub fn of(&self, attempt: &AttemptId) -> BTreeMap<DatabaseName, StatementState> {
        let all = self.all.lock();
        all.get(&attempt.uid)
            .filter(|statements| statements.attempt == *attempt)
            .map(|statements| statements.states.clone())
            .unwrap_or_default()
    }

    pub fn timings(&self, attempt: &AttemptId) -> PhaseTimings {
        let all = self.all.lock();
        let Some(statements) = all.get(&attempt.uid).filter(|statements| statements.attempt == *attempt) else {
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

    pub fn forget(&self, uid: &str) {
        let mut all = self.all.lock();
        if all.get(uid).is_some_and(|statements| statements.states.values().all(|state| *state != StatementState::Sent))
        {
            all.remove(uid);
        }
    }

    /// Completes when no statement is without its answer.
    pub async fn wait_idle(&self) {
        let mut count = self.unanswered.subscribe();
        let _ = count.wait_for(|count| *count == 0).await;
    }
}
