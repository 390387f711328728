//! The closed set of reasons: condition reason = event reason = metric label = page under docs/reasons/.

use strum::{EnumIter, IntoStaticStr};

/// Why things are as they are. Every variant has a page of the same name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, EnumIter, strum::Display, strum::EnumString,
)]
pub enum Reason {
    // Nothing to do.
    Aligned,
    // The operator is at work, or will be without anybody's help.
    Moving,
    Verifying,
    WaitingForTurn,
    Cooldown,
    Synchronizing,
    FailoverInProgress,
    Unsettled,
    NotYetObserved,
    FailBackPending,
    InterruptionTooLong,
    // A person has to decide.
    UnexpectedPrincipal,
    SplitRoles,
    Suspended,
    Conflict,
    SwitchOverdue,
    MoveFailed,
    CircuitOpen,
    InvalidSpec,
    StatusUnreadable,
    // The mirroring session does not allow a move.
    MirroringSuspended,
    PartnersDisconnected,
    NoQuorum,
    PrincipalLost,
    ServiceForced,
    TwoPrincipals,
    NoPrincipal,
    SafetyOff,
    NotMirrored,
    MirroringRemoved,
    DatabaseMissing,
    DatabaseNotOnline,
    PartnerMismatch,
    SameServer,
    SessionMismatch,
    VersionMismatch,
    EndpointStopped,
    PermissionMissing,
    // A server cannot be seen.
    SecretNotFound,
    SecretKeyMissing,
    CredentialsForbidden,
    CaBundleNotFound,
    CaBundleInvalid,
    HostNotFound,
    InstanceNotFound,
    ConnectionRefused,
    ConnectionTimedOut,
    ConnectionLost,
    TlsFailed,
    KdcUnreachable,
    SpnUnknown,
    TicketExpired,
    NoKerberosCredentials,
    LoginFailed,
    LoginLocked,
    QueryFailed,
    ProtocolError,
    // Told by an event or another condition, never by Ready.
    MoveStarted,
    MoveRetried,
    MoveSucceeded,
    MoveSuperseded,
    SecondCentralMgmt,
    WitnessDisconnected,
    WitnessUnreachable,
    PostSwitchDrift,
    NoPostSwitchDrift,
    LegacyTls,
    TlsOff,
    QuorumHealthy,
    NoWitness,
    RunningExposed,
    PartnersReachable,
    AllSynchronized,
    NotSuspended,
}

/// How heavily a reason weighs on the three conditions of kstatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Ready.
    Good,
    /// Reconciling: it goes on by itself.
    Progressing,
    /// Stalled: a person has to act.
    Stuck,
}

impl Reason {
    pub fn weight(self) -> Weight {
        use Reason::*;
        match self {
            Aligned | MoveSucceeded | QuorumHealthy | NoPostSwitchDrift | NoWitness | PartnersReachable
            | AllSynchronized | NotSuspended => Weight::Good,
            Moving | Verifying | WaitingForTurn | Cooldown | Synchronizing | FailoverInProgress | Unsettled
            | NotYetObserved | FailBackPending | InterruptionTooLong | MoveStarted | MoveRetried => Weight::Progressing,
            UnexpectedPrincipal
            | SplitRoles
            | Suspended
            | Conflict
            | SwitchOverdue
            | MoveFailed
            | CircuitOpen
            | InvalidSpec
            | StatusUnreadable
            | MirroringSuspended
            | PartnersDisconnected
            | NoQuorum
            | PrincipalLost
            | ServiceForced
            | TwoPrincipals
            | NoPrincipal
            | SafetyOff
            | NotMirrored
            | MirroringRemoved
            | DatabaseMissing
            | DatabaseNotOnline
            | PartnerMismatch
            | SameServer
            | SessionMismatch
            | VersionMismatch
            | EndpointStopped
            | PermissionMissing
            | SecretNotFound
            | SecretKeyMissing
            | CredentialsForbidden
            | CaBundleNotFound
            | CaBundleInvalid
            | HostNotFound
            | InstanceNotFound
            | ConnectionRefused
            | ConnectionTimedOut
            | ConnectionLost
            | TlsFailed
            | KdcUnreachable
            | SpnUnknown
            | TicketExpired
            | NoKerberosCredentials
            | LoginFailed
            | LoginLocked
            | QueryFailed
            | TlsOff
            | ProtocolError
            | MoveSuperseded
            | SecondCentralMgmt
            | PostSwitchDrift
            | LegacyTls
            | WitnessDisconnected
            | WitnessUnreachable
            | RunningExposed => Weight::Stuck,
        }
    }

    pub fn name(self) -> &'static str {
        self.into()
    }
}
