//! A failover in flight against what both servers show: two principals, or none.

use std::time::Duration;

use crate::model::{TransitionKind, later};
use crate::plan::operation::Check;
use crate::plan::text::list;
use crate::plan::types::Progress;

/// The two polls of a pass are of two moments. A contradiction that is observed again after this time is none of the moment of
/// a switch or of a restart.
const CONFIRMED_AFTER: Duration = Duration::from_secs(2);

impl Check<'_> {
    /// A contradiction that lasts: the move must not hide it until its deadline. While a statement is without an answer, the
    /// switch may be under way. After a restart of the operator no answer is known, and only the time distinguishes the two.
    pub(crate) fn contradiction(&self, details: &str) -> Option<Progress> {
        let tracking = self.persisted.tracking.get(&self.operation.ty)?;
        let since = *tracking.transitions.get(&TransitionKind::Contradiction)?;
        if self.unanswered || self.input.now < later(since, CONFIRMED_AFTER) {
            return None;
        }
        let contradictory = || {
            let findings = self.databases.iter().map(|(_, finding, _)| finding);
            findings.filter_map(|finding| {
                Some((finding, finding.obstacle.as_ref().filter(|obstacle| obstacle.is_contradiction())?))
            })
        };
        let (_, found) = contradictory().next()?;
        let names = list(contradictory().map(|(finding, _)| &finding.name));
        Some(Progress {
            reason: found.reason(),
            message: format!(
                "{} This was observed after the failover of {} began.{details} It will not be retried in this state.",
                found.message(&names, self.pair),
                self.way()
            ),
        })
    }
}
