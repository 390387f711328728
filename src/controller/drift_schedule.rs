//! The schedule of the post-switch comparison and its last report, by resource.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::controller::object::ResourceRef;
use crate::model::DriftReport;

/// The interval of the comparison while the servers differ, so that the condition ends after the repair.
const REPEAT_INTERVAL: Duration = Duration::from_secs(600);
/// The interval while a server cannot be compared: it is soon out of date after the server is back.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

struct Entry {
    /// The resource, the servers and the sessions that the report is about.
    subject: String,
    due: bool,
    started: Option<Instant>,
    /// None: no comparison has ended yet.
    report: Option<Arc<DriftReport>>,
}

/// The comparisons of this process, by resource.
#[derive(Default)]
pub struct DriftSchedule(Mutex<HashMap<ResourceRef, Entry>>);

impl DriftSchedule {
    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.0.lock().len()
    }

    pub fn report(&self, resource: &ResourceRef, subject: &str) -> Option<Arc<DriftReport>> {
        self.0.lock().get(resource).filter(|entry| entry.subject == subject)?.report.clone()
    }

    pub fn forget(&self, resource: &ResourceRef) {
        self.0.lock().remove(resource);
    }

    pub fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// True if a comparison has to start now: it is due, and no move is in progress.
    pub fn start_if_due(&self, resource: &ResourceRef, subject: &str, changed: bool, settled: bool) -> bool {
        let mut entries = self.0.lock();
        if entries.get(resource).is_none_or(|entry| entry.subject != subject) {
            // A report about other servers is none about the present ones.
            if !changed && !entries.contains_key(resource) {
                return false;
            }
            let entry = Entry { subject: subject.to_owned(), due: true, started: None, report: None };
            entries.insert(resource.clone(), entry);
        }
        let Some(entry) = entries.get_mut(resource) else { return false };
        let elapsed = entry.started.map(|started| started.elapsed());
        let expired =
            interval(entry.report.as_deref()).zip(elapsed).is_some_and(|(interval, elapsed)| elapsed >= interval);
        entry.due |= expired;
        let start = entry.due && settled;
        if start {
            (entry.due, entry.started) = (false, Some(Instant::now()));
        }
        start
    }

    /// The time until the next comparison. None: none is due later, or one is overdue and waits for the end of a move, which
    /// triggers a pass.
    pub fn next(&self, resource: &ResourceRef, subject: &str) -> Option<Duration> {
        let entries = self.0.lock();
        let entry = entries.get(resource).filter(|entry| entry.subject == subject)?;
        let interval = interval(entry.report.as_deref())?;
        Some(interval.saturating_sub(entry.started?.elapsed())).filter(|left| !left.is_zero())
    }

    /// Makes a comparison due after a move, because the earlier report is out of date.
    pub fn mark_due(&self, resource: &ResourceRef, subject: &str) {
        let mut entries = self.0.lock();
        match entries.get_mut(resource).filter(|entry| entry.subject == subject) {
            Some(entry) => (entry.due, entry.report) = (true, None),
            None => {
                let entry = Entry { subject: subject.to_owned(), due: true, started: None, report: None };
                entries.insert(resource.clone(), entry);
            }
        }
    }

    pub fn record(&self, resource: &ResourceRef, subject: &str, report: DriftReport) {
        if let Some(entry) = self.0.lock().get_mut(resource).filter(|entry| entry.subject == subject) {
            entry.report = Some(Arc::new(report));
        }
    }
}

/// The interval after this report. None: nothing is to be compared again, or the comparison has not ended.
fn interval(report: Option<&DriftReport>) -> Option<Duration> {
    match report? {
        DriftReport::InSync => None,
        DriftReport::Drifted(_) => Some(REPEAT_INTERVAL),
        DriftReport::Unknown(_) => Some(RETRY_INTERVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Differences, Unavailable, UnavailableCause};

    fn drifted() -> DriftReport {
        let mut differences = Differences::default();
        differences.add(|| "login".to_owned());
        DriftReport::Drifted(differences)
    }

    #[tokio::test(start_paused = true)]
    async fn report_is_shared_by_all_passes() {
        let (schedule, resource) = (DriftSchedule::default(), ResourceRef::new("pool01"));
        assert!(schedule.start_if_due(&resource, "uid", true, true));
        schedule.record(&resource, "uid", drifted());
        let [first, second] = [(); 2].map(|()| schedule.report(&resource, "uid").unwrap());
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[tokio::test(start_paused = true)]
    async fn overdue_comparison_that_may_not_start_asks_for_no_pass() {
        let (schedule, resource) = (DriftSchedule::default(), ResourceRef::new("pool01"));
        assert!(schedule.start_if_due(&resource, "uid", true, true));
        assert_eq!(schedule.next(&resource, "uid"), None, "the first one has not ended");
        schedule.record(&resource, "uid", drifted());
        tokio::time::advance(REPEAT_INTERVAL - Duration::from_secs(1)).await;
        assert_eq!(schedule.next(&resource, "uid"), Some(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!schedule.start_if_due(&resource, "uid", false, false), "a move is in progress");
        assert_eq!(schedule.next(&resource, "uid"), None, "the pass would be repeated without a pause");
        assert!(schedule.start_if_due(&resource, "uid", false, true));
    }

    #[tokio::test(start_paused = true)]
    async fn comparison_that_read_only_one_server_is_repeated_until_it_ends() {
        let (schedule, resource) = (DriftSchedule::default(), ResourceRef::new("pool01"));
        assert!(schedule.start_if_due(&resource, "uid", true, true));
        for _ in 0..3 {
            let unavailable =
                Unavailable { cause: UnavailableCause::ConnectionRefused, detail: "a partner was away".to_owned() };
            schedule.record(&resource, "uid", DriftReport::Unknown(unavailable));
            assert_eq!(schedule.next(&resource, "uid"), Some(RETRY_INTERVAL));
            assert!(!schedule.start_if_due(&resource, "uid", false, true));
            tokio::time::advance(RETRY_INTERVAL).await;
            assert!(schedule.start_if_due(&resource, "uid", false, true));
        }
        schedule.record(&resource, "uid", DriftReport::InSync);
        tokio::time::advance(10 * REPEAT_INTERVAL).await;
        assert!(!schedule.start_if_due(&resource, "uid", false, true), "it has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn report_about_other_servers_is_none_and_a_comparison_is_due() {
        let (schedule, resource) = (DriftSchedule::default(), ResourceRef::new("pool01"));
        assert!(!schedule.start_if_due(&resource, "uid/A B", false, true), "nothing has changed");
        assert!(schedule.start_if_due(&resource, "uid/A B", true, true));
        schedule.record(&resource, "uid/A B", DriftReport::InSync);
        assert!(schedule.report(&resource, "uid/A B").is_some());
        assert!(!schedule.start_if_due(&resource, "uid/A B", false, true));
        assert!(schedule.report(&resource, "uid/A C").is_none());
        assert!(!schedule.start_if_due(&resource, "uid/A C", false, false), "a move is in progress");
        assert!(schedule.start_if_due(&resource, "uid/A C", false, true));
        assert!(!schedule.start_if_due(&resource, "uid/A C", false, true), "it has started");
        schedule.record(&resource, "uid/A B", DriftReport::InSync);
        assert!(schedule.report(&resource, "uid/A C").is_none(), "a late report of the former comparison");
    }
}
