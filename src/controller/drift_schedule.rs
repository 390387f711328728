//! When the servers of a resource are compared, and what the last comparison found. One entry per resource.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::controller::object::ResourceRef;
use crate::model::DriftReport;

/// How often servers that differ are compared again, so that the condition ends once they agree.
const AGAIN: Duration = Duration::from_secs(600);

struct Entry {
    uid: String,
    due: bool,
    started: Option<Instant>,
    /// None: no comparison has ended yet.
    found: Option<DriftReport>,
}

/// What this process has found, by resource.
#[derive(Default)]
pub struct DriftSchedule(Mutex<HashMap<ResourceRef, Entry>>);

impl DriftSchedule {
    pub fn report(&self, resource: &ResourceRef, uid: &str) -> Option<DriftReport> {
        self.0.lock().get(resource).filter(|entry| entry.uid == uid)?.found.clone()
    }

    pub fn forget(&self, resource: &ResourceRef) {
        self.0.lock().remove(resource);
    }

    pub fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// True when a comparison has to start: something made it due, and nothing moves.
    pub fn start_if_due(&self, resource: &ResourceRef, uid: &str, changed: bool, settled: bool) -> bool {
        let mut all = self.0.lock();
        if all.get(resource).is_none_or(|entry| entry.uid != uid) {
            if !changed {
                return false;
            }
            let entry = Entry { uid: uid.to_owned(), due: true, started: None, found: None };
            all.insert(resource.clone(), entry);
        }
        let Some(entry) = all.get_mut(resource) else { return false };
        let old = entry.started.is_some_and(|started| started.elapsed() >= AGAIN);
        entry.due |= old && !matches!(entry.found, None | Some(DriftReport::InSync));
        let start = entry.due && settled;
        if start {
            (entry.due, entry.started) = (false, Some(Instant::now()));
        }
        start
    }

    /// A move has ended: the report before it is out of date.
    pub fn mark_due(&self, resource: &ResourceRef, uid: &str) {
        if let Some(entry) = self.0.lock().get_mut(resource).filter(|entry| entry.uid == uid) {
            entry.due = true;
        }
    }

    pub fn record(&self, resource: &ResourceRef, uid: &str, report: DriftReport) {
        if let Some(entry) = self.0.lock().get_mut(resource).filter(|entry| entry.uid == uid) {
            entry.found = Some(report);
        }
    }
}
