//! The memory of consents to forced service: which one was used, and which ended before its time.

use jiff::Timestamp;

use crate::model::{
    Cause, Consent, DesiredType, Evidence, Mirroring, Pair, Role, Seat, ServerObservation, TypeTracking,
};
use crate::plan::precondition::Precondition;
use crate::plan::row::is_connected;
use crate::plan::types::{Ended, Input};

/// A statement that no server received gives its consent back. A principal that is back was not fenced: the consent that the spec
/// holds by then never applies.
pub(crate) fn follow(input: &Input, tracking: &mut TypeTracking, desired_type: &DesiredType, ended: Option<&Ended>) {
    if ended.is_some_and(|ended| ended.nothing_sent && ended.operation.cause == Cause::ForcedService) {
        tracking.consumed_consent = None;
    }
    if let Some(force) = &desired_type.force
        && is_back(input.observation.pair(desired_type.store), desired_type)
        && input.enforced(Precondition::ConsentEndsWithReturn)
    {
        end(tracking, force.consent(), input.now);
    }
}

/// Both servers were read together, in whatever state, the other one answers and refuses the operator, or a mirror is connected to
/// its principal, which only the operator cannot read. A mirror shows the connection for a moment after its principal stopped to
/// answer.
pub(crate) fn is_back(pair: &Pair, desired_type: &DesiredType) -> bool {
    let connected = |row: &Mirroring| row.role == Role::Mirror && is_connected(row);
    Seat::BOTH.into_iter().any(|seat| match (pair.view(seat), pair.view(seat.other())) {
        (ServerObservation::Available { .. }, ServerObservation::Available { .. }) => true,
        (ServerObservation::Available { .. }, ServerObservation::Unavailable { unavailable, .. }) => {
            let is_connected = || desired_type.databases.iter().any(|name| pair.row(seat, name).is_some_and(connected));
            match unavailable.cause.evidence() {
                Evidence::Alive => true,
                Evidence::Inconclusive => is_connected(),
                Evidence::NotAnswering => false,
            }
        }
        (ServerObservation::Unavailable { .. }, _) => false,
    })
}

/// The largest number of consents that are remembered before their time is over.
const MOST_CONSENTS: usize = 32;

pub(crate) fn end(tracking: &mut TypeTracking, consent: Consent, now: Timestamp) {
    let ended = &mut tracking.ended_consents;
    // Its time alone ends it from then on.
    ended.retain(|other| now < other.until);
    if now < consent.until && !ended.contains(&consent) {
        ended.push(consent);
    }
    if ended.len() > MOST_CONSENTS {
        ended.sort_by_key(|other| other.until);
        ended.remove(0);
    }
}

/// The consent was used, or has ended before its time.
pub(crate) fn is_spent(tracking: &TypeTracking, consent: &Consent) -> bool {
    tracking.consumed_consent.as_ref() == Some(consent) || tracking.ended_consents.contains(consent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Epoch;
    use crate::plan::tests::{NOW, after};

    fn consent(seconds: u32) -> Consent {
        Consent { epoch: Epoch::new("7-abcd"), until: after(u64::from(seconds)) }
    }

    /// Each is remembered until its own time, and many of them are bounded: those with the most time left stay.
    #[test]
    fn ended_consents_are_remembered_until_their_time_and_up_to_a_limit() {
        let mut tracking = TypeTracking::default();
        end(&mut tracking, consent(10), NOW);
        end(&mut tracking, consent(10), NOW);
        end(&mut tracking, consent(20), NOW);
        assert_eq!(tracking.ended_consents, [consent(10), consent(20)], "once each");
        end(&mut tracking, consent(30), after(10));
        assert_eq!(tracking.ended_consents, [consent(20), consent(30)], "the first one is over");
        end(&mut tracking, consent(11), after(11));
        assert_eq!(tracking.ended_consents, [consent(20), consent(30)], "over at its end");
        let many = u32::try_from(MOST_CONSENTS).unwrap() + 1;
        for seconds in (100..100 + many).rev() {
            end(&mut tracking, consent(seconds), after(50));
        }
        assert_eq!(tracking.ended_consents.len(), MOST_CONSENTS);
        assert!(!tracking.ended_consents.contains(&consent(100)) && tracking.ended_consents.contains(&consent(101)));
        assert!(is_spent(&tracking, &consent(101)) && !is_spent(&tracking, &consent(20)));
    }
}
