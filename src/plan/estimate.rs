//! The predicted interruption of the clients by a failover (R16), from the redo queue of the mirror.

use std::time::Duration;

use crate::model::{Database, DatabaseName, Pair, Role, Seat, ServerObservation};

/// Redo of an empty queue and the switch itself: "a few seconds" ("Estimate the Interruption of Service During Role
/// Switching").
const SWITCH: Duration = Duration::from_secs(3);
/// KB/s, for a mirror without a measured redo rate. Low, because a move that waits can be released, an outage cannot.
const ASSUMED_RATE: u64 = 1024;

/// None: the redo queue is not visible (the mirror is unavailable, or VIEW SERVER STATE is missing).
pub fn predict(pair: &Pair, name: &DatabaseName) -> Option<Duration> {
    let mirror = mirror(pair, name)?;
    let queue = u64::try_from(mirror.redo_queue_kb?).ok()?;
    let rate = mirror.redo_rate_kb.and_then(|rate| u64::try_from(rate).ok()).filter(|rate| *rate > 0);
    Some(SWITCH.saturating_add(Duration::from_secs(queue.div_ceil(rate.unwrap_or(ASSUMED_RATE)))))
}

/// The copy that would become principal.
fn mirror<'a>(pair: &'a Pair, name: &DatabaseName) -> Option<&'a Database> {
    Seat::BOTH
        .into_iter()
        .filter_map(|seat| ServerObservation::available(pair.view(seat))?.databases.get(name))
        .find(|database| database.mirroring.as_ref().is_some_and(|row| row.role == Role::Mirror))
}
