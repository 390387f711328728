//! How many passes run at once. A pass holds a plan, a status and a connection to the API server, so that the limit bounds the
//! memory and the connections after a start with many resources. Namespaces take turns, so that the resources of one do not
//! delay those of another.

use std::sync::Arc;

use crate::sql::{Purpose, Share, Shares, Size};

/// The largest number of passes that run at the same time, and twice the number of those of one namespace alone. More would not
/// be faster: the API server is not.
const SLOTS: usize = 32;

/// The slots of all passes.
pub struct Slots(Shares);

/// The slot of one pass.
pub struct Slot<'a> {
    slots: &'a Slots,
    namespace: Arc<str>,
    purpose: Purpose,
    share: Option<Share>,
}

impl Default for Slots {
    fn default() -> Self {
        Self(Shares::new(Size { total: SLOTS, reserve: 0, per_holder: SLOTS, polls_per_holder: SLOTS }))
    }
}

impl Slots {
    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        SLOTS - self.0.free() + self.0.waiting()
    }

    /// `purpose`: a pass with a move in flight precedes the others.
    pub async fn acquire(&self, namespace: &str, purpose: Purpose) -> Slot<'_> {
        let namespace = Arc::from(namespace);
        let share = Some(self.0.acquire(&namespace, purpose).await);
        Slot { slots: self, namespace, purpose, share }
    }
}

impl Slot<'_> {
    /// Waits for something other than the API server, such as a SQL Server, and leaves the slot to another pass meanwhile.
    pub async fn release_during<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        self.share = None;
        let result = waiting.await;
        self.share = Some(self.slots.0.acquire(&self.namespace, self.purpose).await);
        result
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn take_all<'a>(slots: &'a Slots, namespace: &str) -> Vec<Slot<'a>> {
        std::iter::from_fn(|| slots.acquire(namespace, Purpose::Poll).now_or_never()).collect()
    }

    #[test]
    fn passes_of_one_namespace_leave_slots_to_every_other() {
        let slots = Slots::default();
        let greedy = take_all(&slots, "evil");
        assert_eq!(greedy.len(), SLOTS / 2);
        assert!(slots.acquire("lync", Purpose::Poll).now_or_never().is_some());
    }

    #[tokio::test]
    async fn pass_that_waits_for_a_server_leaves_its_slot_to_others() {
        let slots = Slots::default();
        let mut held = take_all(&slots, "lync");
        let mut waiting = held.pop().unwrap();
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let mut waits = Box::pin(waiting.release_during(answered));
        assert!(waits.as_mut().now_or_never().is_none());
        let other = slots.acquire("lync", Purpose::Poll).now_or_never();
        assert!(other.is_some());
        answer.send(()).unwrap();
        assert!(waits.as_mut().now_or_never().is_none(), "the pass goes on in a slot only");
        drop(other);
        waits.await.unwrap();
    }
}
