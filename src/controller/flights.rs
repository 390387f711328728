//! The statements that this process sent and their answers: what the planner may know besides the looks. It is lost
//! with the process, on purpose: then the journal and the role sequence tell.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::controller::compose::Timings;
use crate::model::{Answer, DatabaseName, DatabaseType, Flight, Operation};
use crate::plan::Failover;

/// One attempt of one operation: an answer to another attempt says nothing about this one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub uid: String,
    pub ty: DatabaseType,
    pub started: Timestamp,
    pub attempt: u32,
}

impl Ticket {
    pub fn of(uid: &str, operation: &Operation) -> Self {
        Self { uid: uid.to_owned(), ty: operation.ty, started: operation.started, attempt: operation.attempt }
    }
}

#[derive(Debug, Clone)]
struct Flying {
    ticket: Ticket,
    flights: BTreeMap<DatabaseName, Flight>,
    decided: Instant,
    sent: Option<Instant>,
    answered: Option<Instant>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Flights {
    all: Arc<Mutex<HashMap<String, Flying>>>,
    under_way: watch::Sender<usize>,
}

impl Default for Flights {
    fn default() -> Self {
        Self { all: Arc::default(), under_way: watch::Sender::new(0) }
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flying>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the statements of an attempt before the first of them is sent.
    pub fn begin(&self, ticket: &Ticket, steps: &[Failover]) {
        let flights = steps.iter().map(|step| (step.database.clone(), Flight::Sent)).collect();
        let flying = Flying { ticket: ticket.clone(), flights, decided: Instant::now(), sent: None, answered: None };
        self.lock().insert(ticket.uid.clone(), flying);
        self.under_way.send_modify(|count| *count += steps.len());
    }

    pub fn sent(&self, ticket: &Ticket) {
        if let Some(flying) = self.lock().get_mut(&ticket.uid).filter(|flying| flying.ticket == *ticket) {
            flying.sent = Some(Instant::now());
        }
    }

    pub fn answer(&self, ticket: &Ticket, database: &DatabaseName, answer: Answer) {
        if let Some(flying) = self.lock().get_mut(&ticket.uid).filter(|flying| flying.ticket == *ticket) {
            flying.flights.insert(database.clone(), Flight::Answered(answer));
            flying.answered = Some(Instant::now());
        }
        self.under_way.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// What is known of the attempt in the journal.
    pub fn of(&self, ticket: &Ticket) -> BTreeMap<DatabaseName, Flight> {
        let all = self.lock();
        all.get(&ticket.uid)
            .filter(|flying| flying.ticket == *ticket)
            .map(|flying| flying.flights.clone())
            .unwrap_or_default()
    }

    pub fn timings(&self, ticket: &Ticket) -> Timings {
        let all = self.lock();
        let Some(flying) = all.get(&ticket.uid).filter(|flying| flying.ticket == *ticket) else {
            return Timings::default();
        };
        let millis = |from: Option<Instant>, to: Option<Instant>| {
            i64::try_from(to?.checked_duration_since(from?)?.as_millis()).ok()
        };
        Timings {
            connect: millis(Some(flying.decided), flying.sent),
            statement: millis(flying.sent, flying.answered),
            verify: millis(flying.answered, Some(Instant::now())),
        }
    }

    pub fn forget(&self, uid: &str) {
        let mut all = self.lock();
        if all.get(uid).is_some_and(|flying| flying.flights.values().all(|flight| *flight != Flight::Sent)) {
            all.remove(uid);
        }
    }

    /// Completes when no statement is without its answer.
    pub async fn landed(&self) {
        let mut count = self.under_way.subscribe();
        let _ = count.wait_for(|count| *count == 0).await;
    }
}
