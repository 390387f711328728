//! The instance monitors: one task, one connection and one poll per interval for each instance, shared by all resources
//! that refer to the instance. They publish observations and do not interpret them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::model::{Server, ServerObservation, Unavailable, UnavailableCause};
use crate::sql::change_detection::is_unchanged;
use crate::sql::poll::poll;
use crate::sql::{Deadlines, Session, Target, redo_rate};

/// The monitors of all instances; cheap to clone. Each instance has its own task, so that a hung instance delays no
/// other.
#[derive(Clone)]
pub struct InstanceMonitors {
    shared: Arc<Shared>,
}

/// Totals since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Polls, including failed ones.
    pub polls: u64,
    /// Polls that failed.
    pub poll_failures: u64,
    /// Connections that completed the login.
    pub connections: u64,
    /// Poll batches sent.
    pub statements: u64,
}

/// A reference to the monitor of one instance. Polling continues until the last handle is dropped.
#[derive(Clone)]
pub struct MonitorHandle {
    instance: Arc<MonitoredInstance>,
}

struct Shared {
    interval: Duration,
    deadlines: Deadlines,
    instances: Mutex<HashMap<Target, Weak<MonitoredInstance>>>,
    changes: broadcast::Sender<u64>,
    next_id: AtomicU64,
    polls: AtomicU64,
    poll_failures: AtomicU64,
    connections: AtomicU64,
    statements: AtomicU64,
}

struct MonitoredInstance {
    id: u64,
    target: Target,
    shared: Arc<Shared>,
    /// The number of the newest request for a poll.
    requested: watch::Sender<u64>,
    published: watch::Receiver<Published>,
    task: AbortHandle,
}

#[derive(Clone)]
struct Published {
    observation: ServerObservation,
    /// The newest request that arrived before the poll of `observation` began.
    served: u64,
}

/// The capacity of the change channel. A receiver that lags further behind gets `RecvError::Lagged`.
const BACKLOG: usize = 1024;

/// The longest delay after a rejected login: SQL Server or the domain may lock an account after frequent failures.
const MAX_LOGIN_RETRY_DELAY: Duration = Duration::from_secs(60);

impl InstanceMonitors {
    pub fn new(interval: Duration, deadlines: Deadlines) -> InstanceMonitors {
        let shared = Shared {
            interval,
            deadlines,
            instances: Mutex::default(),
            changes: broadcast::Sender::new(BACKLOG),
            next_id: AtomicU64::new(1),
            polls: AtomicU64::new(0),
            poll_failures: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            statements: AtomicU64::new(0),
        };
        InstanceMonitors { shared: Arc::new(shared) }
    }

    /// Starts to poll the instance, or returns a handle of its running monitor. Requires a Tokio runtime.
    pub fn watch(&self, target: &Target) -> MonitorHandle {
        let mut instances = self.shared.instances();
        if let Some(instance) = instances.get(target).and_then(Weak::upgrade) {
            return MonitorHandle { instance };
        }
        let instance = Arc::new(MonitoredInstance::start(target.clone(), self.shared.clone()));
        instances.insert(target.clone(), Arc::downgrade(&instance));
        MonitorHandle { instance }
    }

    /// The id of a monitor each time its observation changed, apart from queue lengths and rates.
    pub fn changes(&self) -> broadcast::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The number of monitored instances.
    pub fn instances(&self) -> usize {
        self.shared.instances().len()
    }

    /// The totals of all instances.
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            polls: read(&self.shared.polls),
            poll_failures: read(&self.shared.poll_failures),
            connections: read(&self.shared.connections),
            statements: read(&self.shared.statements),
        }
    }
}

impl MonitorHandle {
    /// Equal for all handles of one instance during the lifetime of its monitor.
    pub fn id(&self) -> u64 {
        self.instance.id
    }

    /// The latest published observation, without a new poll.
    pub fn latest(&self) -> ServerObservation {
        self.instance.published.borrow().observation.clone()
    }

    /// The observation of the next poll whose batch starts after this call. Concurrent callers share the poll.
    pub async fn refresh(&self) -> ServerObservation {
        let mut wanted = 0;
        self.instance.requested.send_modify(|newest| {
            *newest += 1;
            wanted = *newest;
        });
        let mut published = self.instance.published.clone();
        match published.wait_for(|published| published.served >= wanted).await {
            Ok(published) => published.observation.clone(),
            Err(_) => self.latest(),
        }
    }
}

impl Shared {
    fn instances(&self) -> MutexGuard<'_, HashMap<Target, Weak<MonitoredInstance>>> {
        self.instances.lock()
    }
}

impl MonitoredInstance {
    fn start(target: Target, shared: Arc<Shared>) -> MonitoredInstance {
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (requested, requests) = watch::channel(0);
        let detail = "The first poll is in progress.".into();
        let observation = ServerObservation::Unavailable {
            address: target.address(),
            unavailable: Unavailable { cause: UnavailableCause::NotYetPolled, detail },
        };
        let (publisher, published) = watch::channel(Published { observation, served: 0 });
        let poll_task = PollTask {
            id,
            target: target.clone(),
            shared: shared.clone(),
            requests,
            publisher,
            session: None,
            polled_at: None,
        };
        let task = tokio::spawn(poll_task.run()).abort_handle();
        MonitoredInstance { id, target, shared, requested, published, task }
    }
}

impl Drop for MonitoredInstance {
    fn drop(&mut self) {
        self.task.abort();
        let mut instances = self.shared.instances();
        // A new monitor of the same target may exist by now.
        if instances.get(&self.target).is_some_and(|instance| instance.strong_count() == 0) {
            instances.remove(&self.target);
        }
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The polling task of one instance.
struct PollTask {
    id: u64,
    target: Target,
    shared: Arc<Shared>,
    requests: watch::Receiver<u64>,
    publisher: watch::Sender<Published>,
    session: Option<Session>,
    /// The time of the latest successful response.
    polled_at: Option<Instant>,
}

impl PollTask {
    async fn run(mut self) {
        let mut rejected_logins = 0_u32;
        loop {
            let started = Instant::now();
            let served = self.poll().await;
            rejected_logins = match self.publisher.borrow().observation {
                ServerObservation::Unavailable { unavailable: Unavailable { cause, .. }, .. }
                    if is_rejected_login(cause) =>
                {
                    rejected_logins.saturating_add(1)
                }
                _ => 0,
            };
            let next = started + next_delay(self.shared.interval, rejected_logins);
            tokio::select! {
                () = sleep_until(next) => {}
                request = self.requests.wait_for(|newest| *newest > served) => {
                    if request.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Polls once and publishes the result; returns the newest request that the poll serves.
    async fn poll(&mut self) -> u64 {
        let mut served = *self.requests.borrow();
        let outcome = self.try_poll(&mut served).await;
        increment(&self.shared.polls);
        let address = self.target.address();
        let observation = match outcome {
            Ok(server) => ServerObservation::Available { address, server: Arc::new(server) },
            Err(unavailable) => {
                increment(&self.shared.poll_failures);
                ServerObservation::Unavailable { address, unavailable }
            }
        };
        let changed = !is_unchanged(&self.publisher.borrow().observation, &observation);
        if let (true, ServerObservation::Unavailable { address, unavailable }) = (changed, &observation) {
            tracing::info!(%address, detail = %unavailable.detail, "instance unavailable");
        }
        self.publisher.send_replace(Published { observation, served });
        if changed {
            let _ = self.shared.changes.send(self.id);
        }
        served
    }

    async fn try_poll(&mut self, served: &mut u64) -> Result<Server, Unavailable> {
        let deadlines = &self.shared.deadlines;
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let session = Session::open(&self.target, deadlines).await?;
                increment(&self.shared.connections);
                session
            }
        };
        // Requests that arrived during the connection phase share this poll, because its batch starts later.
        *served = *self.requests.borrow();
        increment(&self.shared.statements);
        let (session, mut server) = poll(session, &self.target.address(), deadlines.batch).await?;
        self.session = Some(session);
        let now = Instant::now();
        if let (ServerObservation::Available { server: before, .. }, Some(then)) =
            (&self.publisher.borrow().observation, self.polled_at)
        {
            redo_rate::update_redo_rate(&mut server, before, now.saturating_duration_since(then));
        }
        self.polled_at = Some(now);
        Ok(server)
    }
}

fn is_rejected_login(cause: UnavailableCause) -> bool {
    matches!(
        cause,
        UnavailableCause::LoginFailed | UnavailableCause::LoginLocked | UnavailableCause::NoKerberosCredentials
    )
}

fn next_delay(interval: Duration, rejected_logins: u32) -> Duration {
    let delay = interval.saturating_mul(2_u32.saturating_pow(rejected_logins.min(16)));
    delay.min(MAX_LOGIN_RETRY_DELAY.max(interval))
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
