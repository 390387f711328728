//! What a context keeps, and what it drops when a resource or a term ends.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use kube::runtime::controller::Action;
use tokio::time::{Instant, advance};

use super::*;
use crate::controller::events::publish_warning;
use crate::controller::fixture::{Fixture, resource};
use crate::controller::reconcile::reconcile;
use crate::model::Reason;
use crate::sql::Limits;

/// Ports on which no server listens.
const CLOSED: [u16; 2] = [1, 2];

impl Context {
    /// What is kept about resources, by owner.
    pub(super) fn entries(&self) -> BTreeMap<&'static str, usize> {
        let entries = [
            ("watches", self.watches.entries()),
            ("monitors", self.monitors.instances()),
            ("credentials", self.credentials.entries()),
            ("announced", self.announced.lock().len()),
            ("deleted", self.deleted.lock().len()),
            ("ownership", self.ownership.entries()),
            ("movements", self.movements.entries()),
            ("statements", self.in_flight.entries()),
            ("comparisons", self.drift_schedule.entries()),
            ("writes", self.unconfirmed.entries()),
            ("retries", self.retries.entries()),
            ("slots", self.slots.entries()),
            ("metrics", self.metrics.resources()),
        ];
        entries.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

#[tokio::test]
async fn event_without_an_answer_does_not_keep_the_slot_of_its_pass() {
    let fixture = Fixture::start(Limits::default()).await;
    fixture.api.silent_events.store(true, Ordering::SeqCst);
    let (ctx, name) = (fixture.ctx.clone(), resource_ref("lync/pool01"));
    let slot = ctx.slots.acquire("lync", crate::sql::Purpose::Poll).await;
    tokio::time::pause();
    let started = Instant::now();
    publish_warning(&ctx, &name, Reason::InvalidSpec, "a problem").await;
    assert!(started.elapsed() <= Duration::from_secs(4), "{:?}", started.elapsed());
    drop(slot);
    assert_eq!(ctx.slots.entries(), 0);
}

/// An API server with an older CRD drops a new field of the status. No new version follows, and so no trigger by the watch.
#[tokio::test]
async fn write_that_stores_nothing_new_delays_no_later_pass() {
    let mut fixture = Fixture::start(Limits::default()).await;
    fixture.api.stores_nothing.store(true, Ordering::SeqCst);
    let pool = fixture.apply(&resource("pool01", "uid-1", CLOSED));
    let writes = || fixture.api.writes.load(Ordering::SeqCst);
    pass_until(&fixture, &pool, || writes() == 1).await;
    let name = resource_ref("lync/pool01");
    assert!(!fixture.ctx.unconfirmed.is_replaced(&name, Some("1")), "no newer version will arrive");
    // The next pass is over the same version, and writes again.
    pass_until(&fixture, &pool, || writes() == 2).await;

    fixture.api.stores_nothing.store(false, Ordering::SeqCst);
    pass_until(&fixture, &pool, || writes() == 3).await;
    assert!(fixture.ctx.unconfirmed.is_replaced(&name, Some("1")), "the watch will deliver the version of this write");
    reconcile(pool, fixture.ctx.clone()).await.unwrap();
    assert_eq!(writes(), 3);
}

/// Passes until the condition holds: the first of them can be over before the first poll is.
pub(super) async fn pass_until(
    fixture: &Fixture,
    pool: &std::sync::Arc<WatchedResource>,
    condition: impl Fn() -> bool,
) {
    while !condition() {
        let _ = reconcile(pool.clone(), fixture.ctx.clone()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn data_of_a_pass_that_ends_after_the_deletion_is_dropped() {
    let mut fixture = Fixture::start(Limits::default()).await;
    let pool = fixture.apply(&resource("pool01", "uid-1", CLOSED));
    pass_until(&fixture, &pool, || fixture.api.writes.load(Ordering::SeqCst) > 0).await;
    let ctx = fixture.ctx.clone();
    assert!(ctx.entries().contains_key("watches") && ctx.entries().contains_key("ownership"), "{:?}", ctx.entries());
    let name = ResourceRef::from_obj(&*pool);
    let late = || {
        ctx.retries.failed(&name, &crate::controller::Error::Conflict);
        ctx.watches.set("lync/pool01", Vec::new());
        ctx.announced_once(&name, "User".to_owned(), "notice");
    };
    tokio::time::pause();
    fixture.delete(&pool);
    ctx.prune_deleted();
    assert_eq!(ctx.entries(), [("deleted", 1)].into());
    // The pass that was running ends now.
    late();
    ctx.prune_deleted();
    assert_eq!(ctx.entries(), [("deleted", 1)].into());
    advance(LATE_PASS).await;
    late();
    ctx.prune_deleted();
    assert_eq!(ctx.entries(), BTreeMap::new());
}

#[tokio::test]
async fn resource_that_was_created_again_keeps_its_data() {
    let mut fixture = Fixture::start(Limits::default()).await;
    let pool = fixture.apply(&resource("pool01", "uid-1", CLOSED));
    fixture.delete(&pool);
    let again = fixture.apply(&resource("pool01", "uid-2", CLOSED));
    pass_until(&fixture, &again, || fixture.api.writes.load(Ordering::SeqCst) > 0).await;
    fixture.ctx.prune_deleted();
    assert!(fixture.ctx.entries().contains_key("ownership"), "{:?}", fixture.ctx.entries());
}

/// A pass that waited for a slot finds that the term is over. Without a later pass, the next term would not know the resource.
#[tokio::test]
async fn pass_between_two_terms_is_repeated_in_the_next_one() {
    let mut fixture = Fixture::start(Limits::default()).await;
    let pool = fixture.apply(&resource("pool01", "uid-1", CLOSED));
    let ctx = fixture.ctx.clone();
    let mut triggered = Box::pin(ctx.triggers.subscribe(None));
    fixture.lead(false);
    let action = reconcile(pool.clone(), ctx.clone()).await.unwrap();
    assert_ne!(action, Action::await_change(), "nothing else may trigger it");
    assert_eq!((ctx.entries(), fixture.api.writes.load(Ordering::SeqCst)), (BTreeMap::new(), 0));

    // The next term begins before the end of the last one is handled, which drops the data of both.
    fixture.lead(true);
    pass_until(&fixture, &pool, || fixture.api.writes.load(Ordering::SeqCst) > 0).await;
    let of_the_term = ["credentials", "watches", "monitors", "ownership", "metrics"];
    let kept = || of_the_term.into_iter().filter(|owner| ctx.entries().contains_key(owner)).collect::<Vec<_>>();
    assert_eq!(kept(), of_the_term);
    ctx.on_leadership_lost();
    assert_eq!(kept(), Vec::<&str>::new());
    let next = futures::StreamExt::next(&mut triggered).now_or_never().flatten();
    assert_eq!(next, Some(ResourceRef::from_obj(&*pool)), "each resource has a pass in the new term");
}
