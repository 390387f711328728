//! The preconditions of a move, each under a name, so that `make prove` can take one away and look for the harm. What a
//! precondition asks for is written where it is asked.

/// One precondition. A planner without it must be seen to do harm, or the rule is wrong or not tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::EnumIter)]
pub(crate) enum Rule {
    // What both servers show of a database (design rule 1, R3, R13, R14).
    DifferentServers,
    SameGuid,
    PartnerIsTheOther,
    ComplementaryRoles,
    SafetyFull,
    MirroringNotSuspended,
    NoFailoverUnderWay,
    PartnersConnected,
    CaughtUp,
    StateKnown,
    SameRoleSequence,
    DatabaseOnline,
    EndpointStarted,
    /// The verdict waits for an obstacle, and an obstructed type has no statements: two locks on one door.
    NoObstacle,
    AllStandPreflight,
    // Whose wish it is (R7, R8).
    NoConflict,
    AlignedStays,
    AskedFor,
    FirstSightIsNoRequest,
    ApprovalNamesEpoch,
    WitnessForFailBack,
    // When (R8, R9, R16).
    NotSuspended,
    CircuitClosed,
    SteadyForFailBack,
    SteadyInOneState,
    Cooldown,
    MaxInterruption,
    MaintenanceWindow,
    // Turns (R17).
    OneOperation,
    OneTypeAtATime,
    InOrder,
    SettledBefore,
    EarlierTypeFirst,
    // A further attempt (R18).
    AnswerBeforeRetry,
    SettledBeforeRetry,
    SameSessionAsJournal,
    NotSwitchedSinceJournal,
    RetrySameWish,
    RetryNotSuspended,
    RetryNoConflict,
    AttemptsBounded,
    BeforeDeadline,
    PauseBeforeRetry,
    // Forced service (R1, R2).
    ForceSeenTogether,
    ForceNoWitness,
    ForceServerGone,
    ForceDisconnected,
    ForceAllAlike,
    ConsentNamesEpoch,
    ConsentUnused,
    ConsentNotExpired,
    ForceNotSuspended,
    // A forced service that was journaled and perhaps not sent.
    ResendConsented,
    ResendUnsent,
    ResendBounded,
    ResendNotHindered,
    ResendUnchanged,
}

/// The condition, while the rule that asks for it stands.
pub(crate) fn holds(rule: Rule, condition: bool) -> bool {
    condition || !stands(rule)
}

/// Always, but in the proofs.
#[cfg(not(test))]
pub(crate) const fn stands(_: Rule) -> bool {
    true
}

#[cfg(test)]
#[allow(unused_imports, reason = "the proofs use both, the unit tests one")]
pub(crate) use taken::{stands, without};

#[cfg(test)]
mod taken {
    use std::cell::RefCell;

    use super::Rule;

    thread_local! {
        static TAKEN: RefCell<Vec<Rule>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn stands(rule: Rule) -> bool {
        TAKEN.with_borrow(|taken| !taken.contains(&rule))
    }

    /// Runs `what` with a planner that lacks these rules, on this thread.
    #[allow(dead_code, reason = "the proofs use it, the unit tests do not")]
    pub(crate) fn without<T>(rules: &[Rule], what: impl FnOnce() -> T) -> T {
        TAKEN.set(rules.to_vec());
        let result = what();
        TAKEN.set(Vec::new());
        result
    }
}
