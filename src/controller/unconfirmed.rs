//! Status writes without a success: the API server may have applied them, as after a timeout, an error 504, or a retry of the
//! client that then conflicts. The events and counters of such a pass follow once its status is read back.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::LyncPoolMirrorStatus;
use crate::controller::announce::Announcement;
use crate::controller::object::ResourceRef;
use crate::model::{DatabaseType, Outcome};

/// How many writes of a resource are remembered. All of them have the same resource version: one at most was applied.
const REMEMBERED: usize = 8;

/// The watch delivers a write long before. Without a limit, a backup of etcd could bring the replaced version back for ever.
const REPLACED_FOR: Duration = Duration::from_secs(30);

/// A write, and what its pass would have published.
#[derive(Debug, Clone, PartialEq)]
pub struct UnconfirmedWrite {
    pub uid: String,
    pub status: Digest,
    pub announcements: Vec<Announcement>,
    /// The move that ended in the pass.
    pub ended: Option<(DatabaseType, Outcome, Duration)>,
}

/// A status as text, because the API server keeps whole seconds. A digest, because the operator keeps one for each resource.
/// Without the time of the write: a later pass repeats the write at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    pub fn of(status: &LyncPoolMirrorStatus) -> Digest {
        let mut hasher = DefaultHasher::new();
        let timeless = LyncPoolMirrorStatus { observed_time: None, ..status.clone() };
        serde_json::to_string(&timeless).unwrap_or_default().hash(&mut hasher);
        Digest(hasher.finish())
    }
}

/// The writes of one resource.
#[derive(Default)]
struct Writes {
    /// The last write that succeeded. A pass that has not seen it yet can plan the same status again, and conflicts.
    confirmed: Option<Digest>,
    /// The resource version that this write replaced.
    replaced: Option<(String, Instant)>,
    unconfirmed: Vec<UnconfirmedWrite>,
}

#[derive(Default)]
pub struct UnconfirmedWrites(Mutex<HashMap<ResourceRef, Writes>>);

impl UnconfirmedWrites {
    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.0.lock().len()
    }

    pub fn record(&self, resource: &ResourceRef, write: UnconfirmedWrite) {
        if write.announcements.is_empty() && write.ended.is_none() {
            return;
        }
        let mut all = self.0.lock();
        let writes = all.entry(resource.clone()).or_default();
        if writes.confirmed == Some(write.status) {
            return;
        }
        if writes.unconfirmed.len() == REMEMBERED {
            writes.unconfirmed.remove(0);
        }
        writes.unconfirmed.push(write);
    }

    /// The write whose status was read back. It is returned once.
    pub fn applied(
        &self,
        resource: &ResourceRef,
        uid: &str,
        read: Option<&LyncPoolMirrorStatus>,
    ) -> Option<UnconfirmedWrite> {
        let mut all = self.0.lock();
        let writes = all.get_mut(resource).filter(|writes| !writes.unconfirmed.is_empty())?;
        let read = Digest::of(read?);
        let found = writes.unconfirmed.iter().find(|write| write.uid == uid && write.status == read).cloned()?;
        *writes = Writes { confirmed: Some(read), ..Writes::default() };
        Some(found)
    }

    /// A write succeeded: no earlier one can be applied after it. `replaced`: the resource version that it replaced.
    pub fn confirm(&self, resource: &ResourceRef, status: &LyncPoolMirrorStatus, replaced: Option<String>) {
        let replaced = replaced.map(|version| (version, Instant::now()));
        let writes = Writes { confirmed: Some(Digest::of(status)), replaced, unconfirmed: Vec::new() };
        self.0.lock().insert(resource.clone(), writes);
    }

    /// A write of this process has replaced this version, so that a pass over it would plan the same again and conflict.
    pub fn is_replaced(&self, resource: &ResourceRef, version: Option<&str>) -> bool {
        let writes = self.0.lock();
        let replaced = writes.get(resource).and_then(|writes| writes.replaced.as_ref());
        replaced.is_some_and(|(replaced, at)| version == Some(replaced) && at.elapsed() < REPLACED_FOR)
    }

    /// The resource was deleted.
    pub fn forget(&self, resource: &ResourceRef) {
        self.0.lock().remove(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    fn status(observed_generation: i64) -> LyncPoolMirrorStatus {
        LyncPoolMirrorStatus { observed_generation: Some(observed_generation), ..LyncPoolMirrorStatus::default() }
    }

    fn write(uid: &str, observed_generation: i64) -> UnconfirmedWrite {
        UnconfirmedWrite {
            uid: uid.to_owned(),
            status: Digest::of(&status(observed_generation)),
            announcements: vec![Announcement::new(Reason::MoveSucceeded, "EndUser", "Failover of User succeeded.")],
            ended: Some((DatabaseType::User, Outcome::Succeeded, Duration::ZERO)),
        }
    }

    fn resource() -> ResourceRef {
        ResourceRef::new("pool01").within("lync")
    }

    /// F13: the write that the API server applied later, of several that it did not answer.
    #[test]
    fn write_read_back_is_returned_once() {
        let (writes, resource) = (UnconfirmedWrites::default(), resource());
        writes.record(&resource, write("uid", 1));
        writes.record(&resource, write("uid", 2));
        assert_eq!(writes.applied(&resource, "uid", None), None);
        assert_eq!(writes.applied(&resource, "uid", Some(&status(3))), None);
        assert_eq!(writes.applied(&resource, "uid", Some(&status(2))), Some(write("uid", 2)));
        assert_eq!(writes.applied(&resource, "uid", Some(&status(1))), None, "the other write was not applied");
        // A pass that has not read it back yet plans it again, and conflicts.
        writes.record(&resource, write("uid", 2));
        assert_eq!(writes.applied(&resource, "uid", Some(&status(2))), None, "it was published before");
    }

    #[test]
    fn write_of_another_resource_or_before_a_successful_one_is_not_published() {
        let (writes, resource) = (UnconfirmedWrites::default(), resource());
        writes.record(&resource, write("old", 1));
        assert_eq!(writes.applied(&resource, "new", Some(&status(1))), None);
        writes.confirm(&resource, &status(2), Some("7".to_owned()));
        assert_eq!(writes.applied(&resource, "old", Some(&status(1))), None);
        // The conflict of a pass that did not see the successful write yet.
        writes.record(&resource, write("old", 2));
        assert_eq!(writes.applied(&resource, "old", Some(&status(2))), None);
    }

    #[tokio::test(start_paused = true)]
    async fn version_that_a_write_replaced_is_known_until_the_watch_must_have_delivered_it() {
        let (writes, resource) = (UnconfirmedWrites::default(), resource());
        assert!(!writes.is_replaced(&resource, None));
        writes.confirm(&resource, &status(1), Some("7".to_owned()));
        assert!(writes.is_replaced(&resource, Some("7")));
        assert!(!writes.is_replaced(&resource, Some("8")) && !writes.is_replaced(&resource, None));
        writes.confirm(&resource, &status(2), Some("8".to_owned()));
        assert!(!writes.is_replaced(&resource, Some("7")) && writes.is_replaced(&resource, Some("8")));
        tokio::time::advance(REPLACED_FOR).await;
        assert!(!writes.is_replaced(&resource, Some("8")), "a restored backup brings the version back");
    }

    #[test]
    fn writes_of_a_resource_are_bounded() {
        let (writes, resource) = (UnconfirmedWrites::default(), resource());
        (0..20).for_each(|generation| writes.record(&resource, write("uid", generation)));
        assert_eq!(writes.0.lock()[&resource].unconfirmed.len(), REMEMBERED);
        assert!(writes.applied(&resource, "uid", Some(&status(19))).is_some());
    }
}
