//! The resources that need a reconcile pass. Each is queued once, so that the queue is never longer than the list of the
//! resources, and none is lost.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::controller::object::{ResourceRef, namespace};

/// One queue for each watched scope.
#[derive(Default)]
pub struct Triggers(Mutex<Vec<Arc<Queue>>>);

struct Queue {
    /// None: all namespaces.
    namespace: Option<String>,
    pending: Mutex<HashSet<ResourceRef>>,
    added: Notify,
}

impl Triggers {
    /// The resources of a scope as they are enqueued. None: all namespaces.
    pub fn subscribe(&self, namespace: Option<&str>) -> impl Stream<Item = ResourceRef> + use<> {
        let (namespace, pending) = (namespace.map(str::to_owned), Mutex::default());
        let queue = Arc::new(Queue { namespace, pending, added: Notify::new() });
        self.0.lock().push(queue.clone());
        stream::unfold((queue, Vec::new()), |(queue, mut taken)| async move {
            loop {
                if let Some(resource) = taken.pop() {
                    return Some((resource, (queue, taken)));
                }
                taken = queue.pending.lock().drain().collect();
                if taken.is_empty() {
                    queue.added.notified().await;
                }
            }
        })
    }

    pub fn enqueue(&self, resource: &ResourceRef) {
        let is_watched =
            |queue: &&Arc<Queue>| queue.namespace.as_deref().is_none_or(|only| only == namespace(resource));
        for queue in self.0.lock().iter().filter(is_watched) {
            queue.pending.lock().insert(resource.clone());
            queue.added.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn resource_is_queued_once_in_its_scope_until_it_is_taken() {
        let triggers = Triggers::default();
        let (mut all, mut lync) = (Box::pin(triggers.subscribe(None)), Box::pin(triggers.subscribe(Some("lync"))));
        let resource = |namespace: &str, name: String| ResourceRef::new(&name).within(namespace);
        // More than any channel of a fixed capacity would keep.
        for index in 0..20_000 {
            triggers.enqueue(&resource("other", format!("pool{index}")));
        }
        for _ in 0..3 {
            triggers.enqueue(&resource("lync", "pool".to_owned()));
        }
        assert_eq!(lync.next().await, Some(resource("lync", "pool".to_owned())));
        assert_eq!(lync.next().now_or_never(), None, "it was queued once");
        let mut taken = HashSet::new();
        while let Some(Some(resource)) = all.next().now_or_never() {
            assert!(taken.insert(resource));
        }
        assert_eq!(taken.len(), 20_001);
        triggers.enqueue(&resource("lync", "pool".to_owned()));
        assert_eq!(lync.next().await, Some(resource("lync", "pool".to_owned())), "a later trigger counts again");
    }
}
