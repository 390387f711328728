//! The instance monitors: one task, one connection and one poll per interval for each instance, shared by all resources
//! that refer to the instance. They publish observations and do not interpret them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use crate::model::{LastRead, ServerInventory, ServerObservation, Unavailable, UnavailableCause};
use crate::sql::connector::Connector;
use crate::sql::limits::Limits;
use crate::sql::poll_task::{Channels, PollTask, Published, Reports, Schedule};
use crate::sql::{Deadlines, Session, Target, inventory};

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
    schedule: Schedule,
    deadlines: Deadlines,
    limits: Limits,
    instances: Mutex<HashMap<Target, Weak<MonitoredInstance>>>,
    next_id: AtomicU64,
    reports: Arc<Reports>,
}

struct MonitoredInstance {
    id: u64,
    connector: Arc<Connector>,
    shared: Arc<Shared>,
    /// The number of the newest request for a poll.
    requested: watch::Sender<u64>,
    /// The number of the newest request for an additional login.
    verification: watch::Sender<u64>,
    published: watch::Receiver<Published>,
    task: AbortHandle,
}

/// The default time between two additional logins.
const VERIFY_LOGIN_EVERY: Duration = Duration::from_secs(300);

impl InstanceMonitors {
    pub fn new(interval: Duration, deadlines: Deadlines) -> InstanceMonitors {
        Self::with_login_verification(interval, VERIFY_LOGIN_EVERY, deadlines, Limits::default())
    }

    /// The open session of an instance needs no password. So the monitor makes one additional login in each
    /// `verify_login_every`, which shows that the credentials have become invalid before the session ends.
    pub fn with_login_verification(
        interval: Duration,
        verify_login_every: Duration,
        deadlines: Deadlines,
        limits: Limits,
    ) -> InstanceMonitors {
        let shared = Shared {
            schedule: Schedule { interval, verify_login_every },
            deadlines,
            limits,
            instances: Mutex::default(),
            next_id: AtomicU64::new(1),
            reports: Arc::new(Reports::new()),
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
        self.shared.reports.changes.subscribe()
    }

    /// The number of monitored instances.
    pub fn instances(&self) -> usize {
        self.shared.instances().len()
    }

    /// The totals of all instances.
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            polls: read(&self.shared.reports.polls),
            poll_failures: read(&self.shared.reports.poll_failures),
            connections: read(&self.shared.reports.connections),
            statements: read(&self.shared.reports.statements),
        }
    }

    /// Opens `count` sessions for moves before the first statement is sent, so that all statements of a type start
    /// together. They use the last known port of the instance and respect the pause after a refused login.
    ///
    /// # Errors
    /// The first connection that fails; the other sessions are closed.
    pub async fn connect_for_moves(&self, target: &Target, count: usize) -> Result<Vec<Session>, Unavailable> {
        self.connector(target).open_all(count).await
    }

    /// Reads the inventory of one server over a separate connection, so that polls do not wait for it.
    ///
    /// # Errors
    /// The cause for which the server is unavailable. The login needs sysadmin or read access to `msdb.dbo.sysjobs`.
    pub async fn inventory(&self, target: &Target) -> Result<ServerInventory, Unavailable> {
        let session = self.connector(target).open().await?;
        inventory::read_inventory(session, &target.address(), self.shared.deadlines.batch).await
    }

    /// That of the monitor of the instance, if there is one.
    fn connector(&self, target: &Target) -> Arc<Connector> {
        let instance = self.shared.instances().get(target).and_then(Weak::upgrade);
        instance.map_or_else(|| Arc::new(self.shared.connector(target.clone())), |instance| instance.connector.clone())
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

    /// When and where this process last read the server.
    pub fn last_read(&self) -> Option<LastRead> {
        let at = self.instance.published.borrow().read_at?;
        Some(LastRead { at, port: self.instance.connector.last_port() })
    }

    /// The port that a former process logged in at. It is used while the SQL Server Browser returns none.
    pub fn restore_port(&self, port: u16) {
        self.instance.connector.restore_port(port);
    }

    /// The observation of the next poll whose batch starts after this call. Concurrent callers share the poll. During the
    /// pause after a refused login, it is the latest observation.
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

    /// Makes an additional login now, unless the pause after a refused login is not over. `Server::stale_login` of a later
    /// observation shows the result.
    pub fn verify_login(&self) {
        self.instance.verification.send_modify(|newest| *newest += 1);
    }
}

impl Shared {
    fn connector(&self, target: Target) -> Connector {
        Connector::new(target, self.deadlines, self.limits.clone(), self.schedule.interval)
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<Target, Weak<MonitoredInstance>>> {
        self.instances.lock()
    }
}

impl MonitoredInstance {
    fn start(target: Target, shared: Arc<Shared>) -> MonitoredInstance {
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (requested, requests) = watch::channel(0);
        let (verification, verifications) = watch::channel(0);
        let detail = "The first poll is in progress.".into();
        let observation = ServerObservation::Unavailable {
            address: target.address(),
            unavailable: Unavailable { cause: UnavailableCause::NotYetPolled, detail },
        };
        let (publisher, published) = watch::channel(Published { observation, served: 0, read_at: None });
        let connector = Arc::new(shared.connector(target));
        let channels = Channels { polls: requests, verifications, publisher };
        let poll_task = PollTask::new(id, connector.clone(), shared.schedule, channels, shared.reports.clone());
        let task = tokio::spawn(poll_task.run()).abort_handle();
        MonitoredInstance { id, connector, shared, requested, verification, published, task }
    }
}

impl Drop for MonitoredInstance {
    fn drop(&mut self) {
        self.task.abort();
        let mut instances = self.shared.instances();
        // A new monitor of the same target may exist by now.
        if instances.get(&self.connector.target).is_some_and(|instance| instance.strong_count() == 0) {
            instances.remove(&self.connector.target);
        }
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
