//! A server that the operator does not see and that can hold a second live copy: an administrator reads a page before it starts.

use crate::model::{
    Evidence, Mirroring, MirroringState, Pair, Reason, Role, Seat, ServerObservation, UnavailableCause, WitnessLink,
};
use crate::plan::finding::Finding;
use crate::plan::obstacle::{Obstacle, Shown};

/// The reason whose page has to be read before the server in this seat starts. None: the server was read, or nothing shows that
/// its return is a risk.
/// `switched`: no planned failover made the present principal.
pub(crate) fn before_start(findings: &[Finding], pair: &Pair, seat: Seat, switched: bool) -> Option<Reason> {
    if !may_be_started(pair, seat) {
        return None;
    }
    findings.iter().find_map(|finding| match &finding.obstacle {
        // Both are facts of a server that was read: the other one.
        Some(Obstacle::ThirdPartner { shown: Shown { role: Role::Principal, .. }, .. }) => {
            Some(Reason::PartnerMismatch)
        }
        Some(Obstacle::NotMirrored { other_has_session: false, .. }) => Some(Reason::NotMirrored),
        _ => {
            let principal = pair.row(seat.other(), &finding.name).filter(|row| row.role == Role::Principal)?;
            may_be_forced(principal, switched).then_some(Reason::ServiceForced)
        }
    })
}

/// The server in this seat is not read and may not run.
pub(crate) fn may_be_started(pair: &Pair, seat: Seat) -> bool {
    matches!(pair.view(seat), ServerObservation::Unavailable { unavailable, .. } if may_not_run(unavailable.cause))
}

/// The server may not run, so that an administrator can think of a start. Otherwise it needs the step of its cause.
fn may_not_run(cause: UnavailableCause) -> bool {
    cause.evidence() == Evidence::NotAnswering
        || matches!(
            cause,
            UnavailableCause::InstanceNotFound
                | UnavailableCause::BrowserSilent
                | UnavailableCause::ConnectionLost
                | UnavailableCause::Unresponsive
        )
}

/// Service may have been forced on this principal: it is SUSPENDED, or took over without a witness.
fn may_be_forced(principal: &Mirroring, switched: bool) -> bool {
    principal.state == MirroringState::Suspended || (switched && principal.witness == WitnessLink::None)
}

#[cfg(test)]
mod tests {
    use crate::model::*;
    use crate::plan::plan;
    use crate::plan::tests::{NOW, TY, desired, observation, store};

    /// Rows, wanted seat -> page before the start of the primary, page before the start of the mirror.
    #[test]
    fn page_before_the_start_of_each_server_is_that_of_the_risk() {
        use Reason::{NotMirrored, ServiceForced};
        for (a, b, wanted, expected) in [
            ("P/4/C", "M/4/C", Seat::Primary, [None, None]),
            ("away", "M/1/C", Seat::Primary, [None, None]),
            ("away", "P/1/C", Seat::Primary, [None, None]),
            ("away", "P/1/-", Seat::Primary, [Some(ServiceForced), None]),
            ("away", "P/1/-", Seat::Mirror, [None, None]),
            ("away", "P/0/C", Seat::Mirror, [Some(ServiceForced), None]),
            ("P/0/C", "away", Seat::Primary, [None, Some(ServiceForced)]),
            ("refused", "P/0/-", Seat::Primary, [None, None]),
            ("NULL", "away", Seat::Primary, [None, Some(NotMirrored)]),
            ("away", "NULL", Seat::Primary, [Some(NotMirrored), None]),
            ("NULL", "P/1/-", Seat::Primary, [None, None]),
            ("away", "away", Seat::Primary, [None, None]),
        ] {
            let rows = observation(a, b);
            let seen = plan(&desired(wanted), &rows, &PersistedState::default(), NOW);
            let pages = Seat::BOTH.map(|seat| seen.types[&TY].before_start(&rows.pairs[store()], seat));
            assert_eq!(pages, expected, "{a} {b} {wanted}");
        }
    }
}
