//! Durations, times and lists as the messages print them.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::DatabaseName;

/// `rtcxds, rtcab`.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a DatabaseName>) -> String {
    names.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whole seconds: a status must not change for a fraction of one.
pub fn second(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}

/// Rounded up to one of a few steps, so that a status does not change with each poll.
pub fn coarse(exact: Duration) -> Duration {
    const STEPS: [u64; 12] = [3, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
    let seconds = exact.as_secs() + u64::from(exact.subsec_nanos() > 0);
    let step = STEPS.into_iter().find(|step| *step >= seconds);
    Duration::from_secs(step.unwrap_or_else(|| seconds.div_ceil(3600) * 3600))
}
