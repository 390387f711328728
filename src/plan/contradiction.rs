//! A failover in flight against what both servers show: two principals, or none.

use crate::plan::obstacle::Obstacle;
use crate::plan::operation::Check;
use crate::plan::text::list;
use crate::plan::types::Progress;

impl Check<'_> {
    /// Two principals or two mirrors, which no switch shows: the move must not hide it until its deadline.
    pub(crate) fn contradiction(&self, details: &str) -> Option<Progress> {
        let is_contradiction = |obstacle: &Obstacle| {
            matches!(obstacle, Obstacle::TwoPrincipals { .. } | Obstacle::NoPrincipal) && !self.unanswered
        };
        let findings = || self.databases.iter().map(|(_, finding, _)| finding);
        let found =
            findings().find_map(|finding| finding.obstacle.as_ref().filter(|obstacle| is_contradiction(obstacle)))?;
        let names = list(
            findings()
                .filter(|finding| finding.obstacle.as_ref().is_some_and(is_contradiction))
                .map(|finding| &finding.name),
        );
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
