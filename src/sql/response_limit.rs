//! A bound on what a server may send in answer to one question. No socket here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one answer may hold, in bytes. A look at a thousand databases is a twentieth of it; tiberius would keep whatever a
/// server sends until the deadline, and take the operator's memory with it.
pub const MAX_RESPONSE_BYTES: usize = 8 << 20;

pub const TOO_LONG: &str = "its answer does not end: more than 8 MiB came";

/// How much was read since the last question; shared with who asks.
#[derive(Debug, Clone, Default)]
pub struct ResponseLimit(Arc<AtomicUsize>);

impl ResponseLimit {
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub fn add(&self, read: usize) -> io::Result<()> {
        self.0.fetch_add(read, Ordering::Relaxed);
        if self.exceeded() { Err(io::Error::new(io::ErrorKind::InvalidData, TOO_LONG)) } else { Ok(()) }
    }

    /// tiberius says of every error of the stream that the pipe broke; this tells the one that is ours.
    pub fn exceeded(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_RESPONSE_BYTES
    }
}
