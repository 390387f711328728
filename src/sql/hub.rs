//! All instances that are looked at: one task, one connection and one look per interval for each, however many
//! resources need it. It passes on what was seen and judges nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::model::{Server, ServerObservation, Unavailable, UnavailableCause};
use crate::sql::look::look;
use crate::sql::same::same;
use crate::sql::{Deadlines, Session, Target, rate};

/// All instances that are looked at; cheap to clone. Each instance has its own task, so a hung one holds up nobody else.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// How often what happened, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub looks: u64,
    /// Looks that saw nothing.
    pub dark_looks: u64,
    /// Connections that reached the end of the login.
    pub connections: u64,
    /// Look batches sent.
    pub statements: u64,
}

/// Interest in one instance: the looks go on while a handle is alive.
#[derive(Clone)]
pub struct Watch {
    instance: Arc<Instance>,
}

struct Shared {
    interval: Duration,
    deadlines: Deadlines,
    instances: Mutex<HashMap<Target, Weak<Instance>>>,
    changes: broadcast::Sender<u64>,
    next_id: AtomicU64,
    looks: AtomicU64,
    dark_looks: AtomicU64,
    connections: AtomicU64,
    statements: AtomicU64,
}

struct Instance {
    id: u64,
    target: Target,
    shared: Arc<Shared>,
    /// The number of the newest request for a look.
    requested: watch::Sender<u64>,
    seen: watch::Receiver<Seen>,
    task: AbortHandle,
}

#[derive(Clone)]
struct Seen {
    view: ServerObservation,
    /// The newest request that came before the look behind `view` began.
    served: u64,
}

/// Changes that a slow receiver may be behind before it misses some and is told so (`RecvError::Lagged`).
const BACKLOG: usize = 1024;

/// A wrong password or key is not tried more often than this, as SQL Server or the domain may lock the account.
const AFTER_REFUSED_LOGIN: Duration = Duration::from_secs(60);

impl Hub {
    pub fn new(interval: Duration, deadlines: Deadlines) -> Hub {
        let shared = Shared {
            interval,
            deadlines,
            instances: Mutex::default(),
            changes: broadcast::Sender::new(BACKLOG),
            next_id: AtomicU64::new(1),
            looks: AtomicU64::new(0),
            dark_looks: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            statements: AtomicU64::new(0),
        };
        Hub { shared: Arc::new(shared) }
    }

    /// Starts to look at the instance unless somebody does already. Needs a Tokio runtime around it.
    pub fn watch(&self, target: &Target) -> Watch {
        let mut instances = self.shared.instances();
        if let Some(instance) = instances.get(target).and_then(Weak::upgrade) {
            return Watch { instance };
        }
        let instance = Arc::new(Instance::start(target.clone(), self.shared.clone()));
        instances.insert(target.clone(), Arc::downgrade(&instance));
        Watch { instance }
    }

    /// The id of a watch each time the content of a look changed: anything but the queues, darkness included.
    pub fn changes(&self) -> broadcast::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// How many instances are looked at.
    pub fn instances(&self) -> usize {
        self.shared.instances().len()
    }

    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            looks: read(&self.shared.looks),
            dark_looks: read(&self.shared.dark_looks),
            connections: read(&self.shared.connections),
            statements: read(&self.shared.statements),
        }
    }
}

impl Watch {
    /// The same for all watches of one instance while any of them is alive.
    pub fn id(&self) -> u64 {
        self.instance.id
    }

    pub fn latest(&self) -> ServerObservation {
        self.instance.seen.borrow().view.clone()
    }

    /// The next look whose batch starts after this call; those who ask while one is pending share it.
    pub async fn fresh(&self) -> ServerObservation {
        let mut wanted = 0;
        self.instance.requested.send_modify(|newest| {
            *newest += 1;
            wanted = *newest;
        });
        let mut seen = self.instance.seen.clone();
        match seen.wait_for(|seen| seen.served >= wanted).await {
            Ok(seen) => seen.view.clone(),
            Err(_) => self.latest(),
        }
    }
}

impl Shared {
    fn instances(&self) -> MutexGuard<'_, HashMap<Target, Weak<Instance>>> {
        self.instances.lock()
    }
}

impl Instance {
    fn start(target: Target, shared: Arc<Shared>) -> Instance {
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (requested, requests) = watch::channel(0);
        let detail = "The first look is still under way.".into();
        let view = ServerObservation::Unavailable {
            address: target.address(),
            unavailable: Unavailable { cause: UnavailableCause::NotYetPolled, detail },
        };
        let (publish, seen) = watch::channel(Seen { view, served: 0 });
        let eye =
            Eye { id, target: target.clone(), shared: shared.clone(), requests, publish, session: None, looked: None };
        let task = tokio::spawn(eye.watch()).abort_handle();
        Instance { id, target, shared, requested, seen, task }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
        let mut instances = self.shared.instances();
        // Somebody may have started anew in the meantime.
        if instances.get(&self.target).is_some_and(|instance| instance.strong_count() == 0) {
            instances.remove(&self.target);
        }
    }
}

fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The task of one instance.
struct Eye {
    id: u64,
    target: Target,
    shared: Arc<Shared>,
    requests: watch::Receiver<u64>,
    publish: watch::Sender<Seen>,
    session: Option<Session>,
    /// When the newest answer came.
    looked: Option<Instant>,
}

impl Eye {
    async fn watch(mut self) {
        let mut refused = 0_u32;
        loop {
            let begun = Instant::now();
            let served = self.look().await;
            refused = match self.publish.borrow().view {
                ServerObservation::Unavailable { unavailable: Unavailable { cause, .. }, .. } if is_refusal(cause) => {
                    refused.saturating_add(1)
                }
                _ => 0,
            };
            let next = begun + pause(self.shared.interval, refused);
            tokio::select! {
                () = sleep_until(next) => {}
                asked = self.requests.wait_for(|newest| *newest > served) => {
                    if asked.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// One look, published; the newest request that it serves.
    async fn look(&mut self) -> u64 {
        let mut served = *self.requests.borrow();
        let outcome = self.see(&mut served).await;
        one_more(&self.shared.looks);
        let address = self.target.address();
        let view = match outcome {
            Ok(server) => ServerObservation::Available { address, server: Arc::new(server) },
            Err(unavailable) => {
                one_more(&self.shared.dark_looks);
                ServerObservation::Unavailable { address, unavailable }
            }
        };
        let news = !same(&self.publish.borrow().view, &view);
        if let (true, ServerObservation::Unavailable { address, unavailable }) = (news, &view) {
            tracing::info!(%address, detail = %unavailable.detail, "dark");
        }
        self.publish.send_replace(Seen { view, served });
        if news {
            let _ = self.shared.changes.send(self.id);
        }
        served
    }

    async fn see(&mut self, served: &mut u64) -> Result<Server, Unavailable> {
        let deadlines = &self.shared.deadlines;
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let session = Session::open(&self.target, deadlines).await?;
                one_more(&self.shared.connections);
                session
            }
        };
        // Those who asked while the connection was made get this look too: its batch is yet to start.
        *served = *self.requests.borrow();
        one_more(&self.shared.statements);
        let (session, mut server) = look(session, &self.target.address(), deadlines.batch).await?;
        self.session = Some(session);
        let now = Instant::now();
        if let (ServerObservation::Available { server: before, .. }, Some(then)) =
            (&self.publish.borrow().view, self.looked)
        {
            rate::fill(&mut server, before, now.saturating_duration_since(then));
        }
        self.looked = Some(now);
        Ok(server)
    }
}

fn is_refusal(cause: UnavailableCause) -> bool {
    matches!(
        cause,
        UnavailableCause::LoginFailed | UnavailableCause::LoginLocked | UnavailableCause::NoKerberosCredentials
    )
}

fn pause(interval: Duration, refused: u32) -> Duration {
    let longer = interval.saturating_mul(2_u32.saturating_pow(refused.min(16)));
    longer.min(AFTER_REFUSED_LOGIN.max(interval))
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
