//! What every task of a simulation shares: the world behind its lock, the clock, the journal, the armed faults.
//! Holds no socket.

use super::faults::Faults;
use super::probe::Probe;
use crate::journal::Journal;
use crate::world::{Reach, SessionId, World};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub struct Stage {
    world: Mutex<World>,
    changed: watch::Sender<u64>,
    started: Instant,
    pub journal: Journal,
    pub faults: Faults,
    pub probe: OnceLock<Arc<dyn Probe>>,
    pub(super) requests: AtomicU64,
}

/// A world may ask to be woken in the past; a task must not spin on that.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

impl Stage {
    pub fn new(world: World) -> Self {
        let changed = watch::Sender::new(world.version());
        let (journal, faults) = (Journal::new(), Faults::default());
        let (probe, requests) = (OnceLock::new(), AtomicU64::new(1));
        Self { world: Mutex::new(world), changed, started: Instant::now(), journal, faults, probe, requests }
    }

    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Brings the world to the present, then reads or changes it, then wakes whoever waits for a change.
    pub fn with<T>(&self, act: impl FnOnce(&mut World, Duration) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        world.advance(now);
        let result = act(&mut world, now);
        // Sent under the lock, so that a later version never overtakes an earlier one.
        let version = world.version();
        self.changed.send_if_modified(|known| std::mem::replace(known, version) != version);
        result
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn reach(&self, server: &str) -> Reach {
        self.with(|world, _| world.reach(server))
    }

    /// The version that a server has by now: an upgrade is a command of the world.
    pub fn version(&self, server: &str) -> String {
        self.with(|world, _| world.find_server(server).map(|index| world.server(index).version.clone()))
            .unwrap_or_default()
    }

    pub fn build(&self, server: &str) -> [u8; 4] {
        super::build(&self.version(server)).unwrap_or_default()
    }

    /// Returns once `ready` gives something; looks again at every change of the world.
    pub async fn until<T>(&self, mut ready: impl FnMut(&World) -> Option<T>) -> T {
        let mut changed = self.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(found) = self.with(|world, _| ready(world)) {
                return found;
            }
            // The sender lives in self: it cannot have gone.
            let _ = changed.changed().await;
        }
    }

    /// A frozen server: everything that would answer waits here.
    pub async fn gate(&self, server: &str) {
        self.until(|world| (world.reach(server) != Reach::Paused).then_some(())).await;
    }

    pub async fn down(&self, server: &str) {
        self.until(|world| (world.reach(server) == Reach::Down).then_some(())).await;
    }

    pub async fn killed(&self, session: SessionId) {
        self.until(|world| world.killed(session).then_some(())).await;
    }

    /// Sleeps to the world's next appointment; for ever when it has none.
    pub async fn appointment(&self) {
        match self.with(|world, _| world.wake_at()) {
            Some(wake) => sleep_until((self.started + wake).max(Instant::now() + SHORTEST_SLEEP)).await,
            None => std::future::pending().await,
        }
    }

    /// Keeps the world's own appointments, for as long as the simulation lives.
    pub async fn keep_time(&self) {
        let mut changed = self.subscribe();
        loop {
            changed.borrow_and_update();
            tokio::select! {
                () = self.appointment() => {}
                _ = changed.changed() => {}
            }
        }
    }
}
