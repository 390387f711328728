//! How many passes run at once. A pass holds a plan, a status and a connection to the API server, so that the limit bounds the
//! memory and the connections after a start with many resources.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest number of passes that run at the same time. More would not be faster: the API server is.
const SLOTS: usize = 16;

/// The slots of all passes. Clones share them.
#[derive(Clone)]
pub struct Slots(Arc<Semaphore>);

/// The slot of one pass.
pub struct Slot {
    slots: Slots,
    permit: Option<OwnedSemaphorePermit>,
}

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SLOTS)))
    }
}

impl Slots {
    pub async fn acquire(&self) -> Slot {
        Slot { slots: self.clone(), permit: self.permit().await }
    }

    /// None never happens, because nothing closes the semaphore. A pass without a slot is better than none.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().acquire_owned().await.ok()
    }
}

impl Slot {
    /// Waits for something other than the API server, such as a SQL Server, and leaves the slot to another pass meanwhile.
    pub async fn release_during<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        self.permit = None;
        let result = waiting.await;
        self.permit = self.slots.permit().await;
        result
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn pass_that_waits_for_a_server_leaves_its_slot_to_others() {
        let slots = Slots::default();
        let mut held = Vec::new();
        for _ in 0..SLOTS {
            held.push(slots.acquire().await);
        }
        assert!(slots.acquire().now_or_never().is_none(), "all slots are in use");
        let mut waiting = held.pop().unwrap();
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let mut waits = Box::pin(waiting.release_during(answered));
        assert!(waits.as_mut().now_or_never().is_none());
        let other = slots.acquire().now_or_never();
        assert!(other.is_some());
        answer.send(()).unwrap();
        assert!(waits.as_mut().now_or_never().is_none(), "the pass goes on in a slot only");
        drop(other);
        waits.await.unwrap();
    }
}
