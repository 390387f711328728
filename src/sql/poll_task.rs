//! The polling task of one instance: polls at an interval or on request, and publishes each observation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::model::{Server, ServerObservation, Unavailable};
use crate::sql::change_detection::{is_equal, is_unchanged};
use crate::sql::connector::Connector;
use crate::sql::poll::poll;
use crate::sql::{Session, redo_rate};

/// What the tasks of all instances report.
pub struct Reports {
    pub changes: broadcast::Sender<u64>,
    pub polls: AtomicU64,
    pub poll_failures: AtomicU64,
    pub connections: AtomicU64,
    pub statements: AtomicU64,
}

/// The capacity of the change channel. A receiver that lags further behind gets `RecvError::Lagged`.
const BACKLOG: usize = 1024;

impl Reports {
    pub fn new() -> Reports {
        let zero = || AtomicU64::new(0);
        let changes = broadcast::Sender::new(BACKLOG);
        Reports { changes, polls: zero(), poll_failures: zero(), connections: zero(), statements: zero() }
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Clone)]
pub struct Published {
    pub observation: ServerObservation,
    /// The newest request that arrived before the poll of `observation` began.
    pub served: u64,
    /// When the server was last read.
    pub read_at: Option<Timestamp>,
}

#[derive(Clone, Copy)]
pub struct Schedule {
    /// The time between two polls.
    pub interval: Duration,
    /// The time between two additional logins.
    pub verify_login_every: Duration,
}

/// The connection of a task with the handles of its instance.
pub struct Channels {
    /// The numbers of the newest requests for a poll and for an additional login.
    pub polls: watch::Receiver<u64>,
    pub verifications: watch::Receiver<u64>,
    pub publisher: watch::Sender<Published>,
}

pub struct PollTask {
    id: u64,
    connector: Arc<Connector>,
    schedule: Schedule,
    channels: Channels,
    reports: Arc<Reports>,
    session: Option<Session>,
    /// The time of the latest successful response.
    polled_at: Option<Instant>,
    /// The same as a date.
    read_at: Option<Timestamp>,
    /// The additional login in progress. Dropping the set aborts it.
    verification: JoinSet<Result<(), Unavailable>>,
    /// The time of the latest login, and why it failed if it was an additional one.
    verified_at: Instant,
    stale_login: Option<Unavailable>,
}

impl PollTask {
    pub fn new(
        id: u64,
        connector: Arc<Connector>,
        schedule: Schedule,
        channels: Channels,
        reports: Arc<Reports>,
    ) -> PollTask {
        PollTask {
            id,
            connector,
            schedule,
            channels,
            reports,
            session: None,
            polled_at: None,
            read_at: None,
            verification: JoinSet::new(),
            verified_at: Instant::now(),
            stale_login: None,
        }
    }

    /// Runs until the last handle of the instance is dropped.
    pub async fn run(mut self) {
        loop {
            let started = Instant::now();
            let served = self.poll().await;
            if self.verified_at.elapsed() >= self.schedule.verify_login_every {
                self.verify_login();
            }
            let regular = started + self.schedule.interval;
            // With an open session, a poll needs no login.
            let next = if self.session.is_some() { regular } else { self.connector.paused_until().unwrap_or(regular) };
            if !self.wait(next, served).await {
                return;
            }
        }
    }

    /// Waits until the next poll is due. False: the last handle was dropped.
    async fn wait(&mut self, next: Instant, mut served: u64) -> bool {
        loop {
            tokio::select! {
                () = sleep_until(next) => return true,
                request = newer(&mut self.channels.polls, served) => match request {
                    None => return false,
                    // A poll would be one more refused login. The latest observation is the answer.
                    Some(newest) if self.session.is_none() && self.connector.paused_until().is_some() => {
                        served = newest;
                        self.channels.publisher.send_modify(|published| published.served = newest);
                    }
                    Some(_) => return true,
                },
                request = self.channels.verifications.changed() => {
                    if request.is_err() {
                        return false;
                    }
                    self.verify_login();
                }
                Some(result) = self.verification.join_next() => {
                    if let Ok(result) = result {
                        self.record_verification(result);
                    }
                }
            }
        }
    }

    /// Starts an additional login beside the open session. Without a session, the next poll is a login anyway.
    fn verify_login(&mut self) {
        if self.session.is_none() || !self.verification.is_empty() || self.connector.paused_until().is_some() {
            return;
        }
        self.verified_at = Instant::now();
        let connector = self.connector.clone();
        self.verification.spawn(async move { connector.open().await.map(drop) });
    }

    fn record_verification(&mut self, result: Result<(), Unavailable>) {
        if result.is_ok() {
            increment(&self.reports.connections);
        }
        self.stale_login = result.err();
        let Some(server) = self.latest() else { return };
        let address = self.connector.target.address();
        if let Some(unavailable) = &self.stale_login {
            tracing::info!(%address, detail = %unavailable.detail, "additional login failed");
        }
        if server.stale_login == self.stale_login {
            return;
        }
        let server = Server { stale_login: self.stale_login.clone(), ..Server::clone(&server) };
        // Without the memory for a copy, the next poll shows the result.
        if let Ok(server) = self.connector.limits.keep(&self.connector.target, server) {
            let served = self.channels.publisher.borrow().served;
            self.publish(ServerObservation::Available { address, server }, served);
        }
    }

    /// Polls once and publishes the result; returns the newest request that the poll serves.
    async fn poll(&mut self) -> u64 {
        let mut served = *self.channels.polls.borrow();
        // Boxed, so that the task keeps the memory of a login and of a response only while it polls.
        let outcome = Box::pin(self.try_poll(&mut served)).await;
        increment(&self.reports.polls);
        let address = self.connector.target.address();
        let observation = match outcome {
            Ok(server) => ServerObservation::Available { address, server },
            Err(unavailable) => {
                increment(&self.reports.poll_failures);
                ServerObservation::Unavailable { address, unavailable }
            }
        };
        self.publish(observation, served);
        served
    }

    fn publish(&self, observation: ServerObservation, served: u64) {
        let changed = !is_unchanged(&self.channels.publisher.borrow().observation, &observation);
        if let (true, ServerObservation::Unavailable { address, unavailable }) = (changed, &observation) {
            tracing::info!(%address, detail = %unavailable.detail, "instance unavailable");
        }
        self.channels.publisher.send_replace(Published { observation, served, read_at: self.read_at });
        if changed {
            let _ = self.reports.changes.send(self.id);
        }
    }

    async fn try_poll(&mut self, served: &mut u64) -> Result<Arc<Server>, Unavailable> {
        let address = self.connector.target.address();
        let (mut session, mut reused) = match self.session.take() {
            Some(session) => (session, true),
            None => (self.open().await?, false),
        };
        loop {
            // Requests that arrived during the connection phase share this poll, because its batch starts later.
            *served = *self.channels.polls.borrow();
            increment(&self.reports.statements);
            match poll(session, &address, self.connector.deadlines.batch).await {
                Ok((session, server)) => {
                    self.session = Some(session);
                    return self.keep(server);
                }
                // The idle session had ended before this poll, which is read-only.
                Err(failure) if failure.unanswered && reused => {
                    (session, reused) = (self.open().await?, false);
                }
                Err(failure) => return Err(failure.unavailable),
            }
        }
    }

    async fn open(&mut self) -> Result<Session, Unavailable> {
        let session = self.connector.open().await?;
        increment(&self.reports.connections);
        (self.verified_at, self.stale_login) = (Instant::now(), None);
        Ok(session)
    }

    /// The server of a poll with the values that the poll alone does not show. An equal one is kept already.
    fn keep(&mut self, mut server: Server) -> Result<Arc<Server>, Unavailable> {
        let now = Instant::now();
        let before = self.latest();
        if let (Some(before), Some(then)) = (&before, self.polled_at) {
            redo_rate::update_redo_rate(&mut server, before, now.saturating_duration_since(then));
        }
        server.stale_login = self.stale_login.clone();
        let kept = match before {
            Some(before) if is_equal(&before, &server) => before,
            _ => self.connector.limits.keep(&self.connector.target, server)?,
        };
        (self.polled_at, self.read_at) = (Some(now), Some(Timestamp::now()));
        Ok(kept)
    }

    /// The server of the latest observation, if it was available.
    fn latest(&self) -> Option<Arc<Server>> {
        match &self.channels.publisher.borrow().observation {
            ServerObservation::Available { server, .. } => Some(server.clone()),
            ServerObservation::Unavailable { .. } => None,
        }
    }
}

/// The newest request once it is newer than `served`; `None` after the last handle was dropped.
async fn newer(requests: &mut watch::Receiver<u64>, served: u64) -> Option<u64> {
    requests.wait_for(|newest| *newest > served).await.ok().map(|newest| *newest)
}
