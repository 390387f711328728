//! The state that all tasks of a simulation share: the world behind a lock, the clock, the journal and the faults.

use super::faults::Faults;
use super::probe::Probe;
use crate::journal::Journal;
use crate::world::{Reach, SessionId, World};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The shared state of one simulation.
pub struct SharedState {
    world: Mutex<World>,
    changed: watch::Sender<u64>,
    started: Instant,
    pub journal: Journal,
    pub faults: Faults,
    pub probe: OnceLock<Arc<dyn Probe>>,
    pub(super) requests: AtomicU64,
}

/// The minimum sleep, so that a task does not spin if the next event of the world is in the past.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

impl SharedState {
    pub fn new(world: World) -> Self {
        let changed = watch::Sender::new(world.version());
        let (journal, faults) = (Journal::new(), Faults::default());
        let (probe, requests) = (OnceLock::new(), AtomicU64::new(1));
        Self { world: Mutex::new(world), changed, started: Instant::now(), journal, faults, probe, requests }
    }

    /// Time since the start of the simulation.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Advances the world to the current time, calls `act`, and notifies the waiting tasks of a change.
    pub fn with<T>(&self, act: impl FnOnce(&mut World, Duration) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        world.advance(now);
        let result = act(&mut world, now);
        // Sent under the lock, so that a later version never overtakes an earlier one.
        let version = world.version();
        self.changed.send_if_modified(|current| std::mem::replace(current, version) != version);
        result
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn reach(&self, server: &str) -> Reach {
        self.with(|world, _| world.reach(server))
    }

    /// The current product version of a server. Command `setVersion` changes it.
    pub fn version(&self, server: &str) -> String {
        self.with(|world, _| world.product_version(server))
    }

    pub fn build(&self, server: &str) -> [u8; 4] {
        super::build(&self.version(server)).unwrap_or_default()
    }

    /// Waits until `ready` returns a value; calls `ready` after every change of the world.
    pub async fn until<T>(&self, mut ready: impl FnMut(&World) -> Option<T>) -> T {
        let mut changed = self.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(value) = self.with(|world, _| ready(world)) {
                return value;
            }
            // The sender is a field of self, so that the channel is never closed.
            let _ = changed.changed().await;
        }
    }

    /// Waits while the server is paused. Every task that sends a response calls this first.
    pub async fn wait_while_paused(&self, server: &str) {
        self.until(|world| (world.reach(server) != Reach::Paused).then_some(())).await;
    }

    pub async fn wait_until_down(&self, server: &str) {
        self.until(|world| (world.reach(server) == Reach::Down).then_some(())).await;
    }

    pub async fn wait_until_killed(&self, session: SessionId) {
        self.until(|world| world.killed(session).then_some(())).await;
    }

    /// Sleeps until the next event of the world; forever if nothing is scheduled.
    pub async fn sleep_until_next_event(&self) {
        match self.with(|world, _| world.wake_at()) {
            // A time that the clock cannot represent is never reached.
            Some(wake) => match self.started.checked_add(wake) {
                Some(wake) => sleep_until(wake.max(Instant::now() + SHORTEST_SLEEP)).await,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Advances the world at its events, until the simulation ends.
    pub async fn run_timers(&self) {
        let mut changed = self.subscribe();
        loop {
            changed.borrow_and_update();
            tokio::select! {
                () = self.sleep_until_next_event() => {}
                _ = changed.changed() => {}
            }
        }
    }
}
