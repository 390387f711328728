//! The named preconditions of a move, so that the model check can disable one at a time and search for a violation. The
//! condition itself is at its call of [`Preconditions::satisfied`].

/// One precondition. A planner without it must show a violation, or the precondition is wrong or not tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::EnumIter)]
pub enum Precondition {
    // What both servers show of a database (design rule 1, R3, R13, R14).
    DifferentServers,
    SameGuid,
    PartnerIsTheOther,
    /// Redundant with MirrorRestoring: the copy of a second principal is ONLINE.
    ComplementaryRoles,
    SafetyFull,
    MirroringNotSuspended,
    NoFailoverUnderWay,
    PartnersConnected,
    CaughtUp,
    StateKnown,
    SameRoleSequence,
    DatabaseOnline,
    MirrorRestoring,
    EndpointStarted,
    /// Redundant with AllPassPreflight: an obstructed type has no statements. Both must be disabled to reach a violation.
    NoObstacle,
    AllPassPreflight,
    // The request of the move (R7, R8).
    NoConflict,
    AlignedStays,
    Requested,
    FirstObservationIsNoRequest,
    ApprovalNamesEpoch,
    ApprovalNotExpired,
    SeatsNotExchanged,
    SameServers,
    SameSession,
    RequestOfThisSpec,
    OneWayApproved,
    AlignedBeforeFailBack,
    WitnessForFailBack,
    // The gates (R8, R9, R16).
    UsableSpec,
    NotSuspended,
    CircuitClosed,
    SettledAfterAbsence,
    StableForFailBack,
    StableInOneState,
    Cooldown,
    MaxInterruption,
    MaintenanceWindow,
    // The schedule (R17).
    OneOperation,
    OneTypeAtATime,
    InOrder,
    /// No other resource moves on the same pair of servers or has an earlier turn there.
    TurnOfThePair,
    SettledBefore,
    EarlierTypeFirst,
    // A further attempt (R18).
    AnswerBeforeRetry,
    SettledBeforeRetry,
    SameSessionAsJournal,
    NotSwitchedSinceJournal,
    RetrySamePrincipal,
    RetryNotSuspended,
    RetryNoConflict,
    RetryStillReleased,
    AttemptsBounded,
    BeforeDeadline,
    PauseBeforeRetry,
    // Forced service (R1, R2).
    ForceSeenTogether,
    ForceNoWitness,
    ForceServerGone,
    ForceDisconnected,
    ForceAllAlike,
    /// No database of the survivor is connected to the lost server.
    ForceNoneConnected,
    ConsentNamesEpoch,
    ConsentUnused,
    ConsentNotExpired,
    ConsentFenced,
    ConsentEndsWithReturn,
    ForcePaused,
    ForceNotSuspended,
    // A forced service that was journaled and perhaps not sent.
    ResendConsented,
    ResendUnsent,
    ResendBounded,
    ResendNotHindered,
    ResendUnchanged,
}

/// The preconditions that a planner enforces: all of them in the operator. The model check disables one at a time and
/// must find a violation (docs/decisions/0007-rules-that-can-be-taken-away.md).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    disabled: Vec<Precondition>,
}

impl Preconditions {
    /// For the model check only; a test refuses any other use.
    pub fn without(disabled: &[Precondition]) -> Self {
        Self { disabled: disabled.to_vec() }
    }

    /// Whether the planner enforces the precondition.
    pub(crate) fn enforced(&self, precondition: Precondition) -> bool {
        !self.disabled.contains(&precondition)
    }

    /// Whether the precondition holds, or is not enforced.
    pub(crate) fn satisfied(&self, precondition: Precondition, condition: bool) -> bool {
        condition || !self.enforced(precondition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enforced_is_true_for_all_but_the_disabled_preconditions() {
        let preconditions = Preconditions::without(&[Precondition::Cooldown]);
        assert!(!preconditions.enforced(Precondition::Cooldown) && preconditions.enforced(Precondition::CaughtUp));
        let satisfied = |precondition| [true, false].map(|condition| preconditions.satisfied(precondition, condition));
        assert_eq!(satisfied(Precondition::Cooldown), [true, true]);
        assert_eq!(satisfied(Precondition::CaughtUp), [true, false]);
        assert!(Preconditions::default().enforced(Precondition::Cooldown));
    }
}
