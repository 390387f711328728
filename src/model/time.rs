//! Arithmetic with times, and the one notation of durations in messages, spec and status.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::friendly::{Spacing, SpanPrinter};

/// Adds and saturates, so that an extreme timestamp in an edited status causes no panic.
pub fn later(from: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// Whole seconds, as Kubernetes stores a time: what is written must not change when it is read back.
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// `1h30m`, the notation of the spec.
pub fn duration_text(duration: Duration) -> String {
    const PRINTER: SpanPrinter = SpanPrinter::new().spacing(Spacing::None);
    PRINTER.unsigned_duration_to_string(&duration)
}
