//! A failover in flight during which a partner was lost: the principal before it could hand over, or the old one after it did.

use std::time::Duration;

use crate::model::{MirroringState, ServerObservation, UnavailableCause, later};
use crate::plan::finding::Finding;
use crate::plan::obstacle::{Obstacle, Shown};
use crate::plan::operation::Check;
use crate::plan::outcome::{DatabaseOutcome, is_principal_since};
use crate::plan::text::{list, second};
use crate::plan::types::Progress;

/// A server that restarts answers again within moments, and a switch needs some too.
const CONFIRMED_AFTER: Duration = Duration::from_secs(2);

impl Check<'_> {
    /// A database of the move that has lost its principal, or whose partners have no quorum.
    fn lost(&self) -> impl Iterator<Item = (&Finding, &Obstacle)> {
        self.databases.iter().filter(|(.., outcome)| *outcome == DatabaseOutcome::Pending).filter_map(
            |(_, finding, _)| {
                let obstacle = finding.obstacle.as_ref()?;
                let is_lost = matches!(
                    obstacle,
                    Obstacle::PrincipalLost { .. } | Obstacle::NoQuorum { .. } | Obstacle::ApartWithoutQuorum { .. }
                );
                is_lost.then_some((finding, obstacle))
            },
        )
    }

    /// Its state, not the move, decides what happens next.
    pub(crate) fn has_lost_principal(&self) -> bool {
        self.lost().next().is_some()
    }

    /// The loss is what an administrator has to know, before the deadline of the move too. While a statement is without an answer,
    /// the switch may be under way.
    pub(crate) fn lost_principal(&self, details: &str) -> Option<Progress> {
        let tracking = self.persisted.tracking.get(&self.operation.ty)?;
        if self.unanswered || self.input.now < later(tracking.principal_lost_since?, CONFIRMED_AFTER) {
            return None;
        }
        let (_, obstacle) = self.lost().next()?;
        let names = list(self.lost().map(|(finding, _)| &finding.name));
        Some(Progress {
            reason: obstacle.reason(),
            message: format!(
                "{} This was observed after the failover of {} began.{details} Until {} the operator waits for its outcome, and forces no service.",
                obstacle.message(&names, self.pair),
                self.way(),
                second(self.operation.deadline)
            ),
        })
    }

    /// Why the open databases do not settle by themselves: a server is not read, or the session or a copy is gone. None: SQL Server
    /// may still be switching, or the partners only have to reach each other.
    pub(crate) fn stuck(&self) -> Option<String> {
        let open = self.databases.iter().filter(|(.., outcome)| *outcome == DatabaseOutcome::Pending);
        let obstacles: Option<Vec<&Obstacle>> =
            open.map(|(_, finding, _)| finding.obstacle.as_ref().filter(|obstacle| is_final(obstacle))).collect();
        Some(obstacles?.first()?.problem(self.pair))
    }

    /// The new principal serves, and the old one was not read since or has no quorum: the move is over, as nothing shows when the
    /// other server comes back. Before the deadline, both are waited for.
    pub(crate) fn taken_over(&self) -> Option<String> {
        let old = self.operation.to.other();
        let open = || self.databases.iter().filter(|(.., outcome)| *outcome == DatabaseOutcome::Pending);
        if self.unanswered || !self.overdue() || open().next().is_none() {
            return None;
        }
        if !open().all(|(journal, ..)| is_principal_since(self.pair, self.operation.to, journal)) {
            return None;
        }
        let is_isolated = |finding: &Finding| matches!(finding.obstacle, Some(Obstacle::IsolatedPrincipal { seat, .. }) if seat == old);
        let state = match self.pair.view(old) {
            ServerObservation::Unavailable { .. } => "is not read",
            ServerObservation::Available { .. } if open().all(|(_, finding, _)| is_isolated(finding)) => {
                "has no quorum"
            }
            ServerObservation::Available { .. } => return None,
        };
        Some(format!(
            "{} is principal on the {}, and the {} {state}",
            self.named(|outcome| outcome == DatabaseOutcome::Pending),
            self.server(),
            self.pair.label(old)
        ))
    }
}

/// SQL Server does not leave this state by itself, as far as the row that is read shows.
fn is_final(obstacle: &Obstacle) -> bool {
    if let Obstacle::Unavailable { unavailable, shown, .. } = obstacle {
        let moves = |row: &Shown| matches!(row.state, MirroringState::PendingFailover | MirroringState::Synchronizing);
        return !matches!(unavailable.cause, UnavailableCause::NotYetPolled | UnavailableCause::PollsStopped)
            && !shown.as_ref().is_some_and(moves);
    }
    matches!(
        obstacle,
        Obstacle::NotMirrored { .. }
            | Obstacle::Suspended { .. }
            | Obstacle::SafetyOff
            | Obstacle::EndpointStopped { .. }
            | Obstacle::Missing { .. }
            | Obstacle::Hidden { .. }
            | Obstacle::NotOnline { .. }
            | Obstacle::ThirdPartner { .. }
            | Obstacle::PartnerOutside { .. }
            | Obstacle::GuidDiffers { .. }
    )
}
