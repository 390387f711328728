//! What an observation takes of the limited memory of the operator.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Given back with the last copy of the observation: a pass can hold one that a later poll has replaced.
#[derive(Clone, Default)]
pub struct MemoryShare(Option<Arc<dyn Any + Send + Sync>>);

impl MemoryShare {
    /// `share` gives the memory back when it is dropped.
    pub fn new(share: impl Any + Send + Sync) -> MemoryShare {
        MemoryShare(Some(Arc::new(share)))
    }
}

/// The memory is no property of the server: equal observations stay equal.
impl PartialEq for MemoryShare {
    fn eq(&self, _: &MemoryShare) -> bool {
        true
    }
}

impl fmt::Debug for MemoryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "MemoryShare" } else { "None" })
    }
}
