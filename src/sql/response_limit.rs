//! A limit for the response to one batch, in bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The longest response to one batch, in bytes. A poll of a thousand databases takes a twentieth of the limit. tiberius
/// buffers every row until the deadline, so an endless response would exhaust the operator's memory.
pub const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// The error text of a response over the limit.
pub const TOO_LONG: &str = "the response is more than 8 MiB long";

/// The bytes read since the last batch; shared between the stream and the session.
#[derive(Debug, Clone, Default)]
pub struct ResponseLimit(Arc<AtomicUsize>);

impl ResponseLimit {
    /// Starts the count of a new batch.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts received bytes.
    ///
    /// # Errors
    /// `InvalidData` once the response exceeds the limit.
    pub fn add(&self, read: usize) -> io::Result<()> {
        self.0.fetch_add(read, Ordering::Relaxed);
        if self.exceeded() { Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG)) } else { Ok(()) }
    }

    /// Whether the limit was exceeded. tiberius reports every stream error as a broken pipe, so the session checks
    /// here.
    pub fn exceeded(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_RESPONSE_BYTES
    }
}
