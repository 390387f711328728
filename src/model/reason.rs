//! The closed set of reasons. A reason is the reason of a condition and of an event, a metric label, and the name of a page
//! under docs/reasons/.

use strum::{EnumIter, IntoStaticStr};

/// The effect of a reason on the three conditions of kstatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Ready,
    /// The operator continues without a change by an administrator.
    Reconciling,
    /// An administrator has to act.
    Stalled,
}

/// Declares each reason with its effect, so that a new reason is one line.
macro_rules! reasons {
    ($($name:ident: $effect:ident,)*) => {
        /// The reason for the state of a type, a server or a resource. Every variant has a page of the same name.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, EnumIter, strum::Display,
            strum::EnumString,
        )]
        pub enum Reason {
            $($name,)*
        }

        impl Reason {
            pub fn effect(self) -> Effect {
                match self {
                    $(Self::$name => Effect::$effect,)*
                }
            }
        }
    };
}

reasons! {
    // The type is as the spec wants it.
    Aligned: Ready,
    // The operator acts, or will act without a change by an administrator.
    Moving: Reconciling,
    Verifying: Reconciling,
    WaitingForTurn: Reconciling,
    Cooldown: Reconciling,
    Synchronizing: Reconciling,
    FailoverInProgress: Reconciling,
    Unsettled: Reconciling,
    NotYetObserved: Reconciling,
    FailBackPending: Reconciling,
    Settling: Reconciling,
    DatabaseRecovering: Reconciling,
    InterruptionTooLong: Reconciling,
    // An administrator has to decide.
    UnexpectedPrincipal: Stalled,
    SplitRoles: Stalled,
    SeatsExchanged: Stalled,
    OneWayMove: Stalled,
    Suspended: Stalled,
    Conflict: Stalled,
    SwitchOverdue: Stalled,
    TransitionOverdue: Stalled,
    MoveFailed: Stalled,
    CircuitOpen: Stalled,
    InvalidSpec: Stalled,
    StatusUnreadable: Stalled,
    // The mirroring session does not allow a move.
    MirroringSuspended: Stalled,
    PartnersDisconnected: Stalled,
    NoQuorum: Stalled,
    PrincipalLost: Stalled,
    ServiceForced: Stalled,
    TwoPrincipals: Stalled,
    IsolatedPrincipal: Stalled,
    NoPrincipal: Stalled,
    SafetyOff: Stalled,
    NotMirrored: Stalled,
    MirroringRemoved: Stalled,
    DatabaseMissing: Stalled,
    DatabaseNotOnline: Stalled,
    PartnerMismatch: Stalled,
    SameServer: Stalled,
    SessionMismatch: Stalled,
    VersionMismatch: Stalled,
    EndpointStopped: Stalled,
    PermissionMissing: Stalled,
    // A server cannot be polled.
    SecretNotFound: Stalled,
    SecretKeyMissing: Stalled,
    CredentialsForbidden: Stalled,
    CredentialsUnreadable: Stalled,
    CaBundleNotFound: Stalled,
    CaBundleInvalid: Stalled,
    HostNotFound: Stalled,
    AddressDenied: Stalled,
    ResolverSilent: Stalled,
    InstanceNotFound: Stalled,
    OperatorLimited: Stalled,
    ConnectionRefused: Stalled,
    ConnectionTimedOut: Stalled,
    HostUnreachable: Stalled,
    ConnectionLost: Stalled,
    TlsFailed: Stalled,
    KdcUnreachable: Stalled,
    SpnUnknown: Stalled,
    TicketExpired: Stalled,
    NoKerberosCredentials: Stalled,
    LoginFailed: Stalled,
    LoginLocked: Stalled,
    PasswordExpired: Stalled,
    ServerStarting: Reconciling,
    ServerStopping: Reconciling,
    ServerPaused: Stalled,
    SingleUser: Stalled,
    LogonTriggerFailed: Stalled,
    ConnectionLimit: Stalled,
    LoginError: Stalled,
    ServerTooOld: Stalled,
    QueryFailed: Stalled,
    ProtocolError: Stalled,
    // In events and other conditions, never in Ready.
    MoveStarted: Reconciling,
    MoveRetried: Reconciling,
    MoveSucceeded: Ready,
    MoveSuperseded: Stalled,
    TypeRemoved: Ready,
    ApprovalRemoved: Stalled,
    SecondCentralMgmt: Stalled,
    Protected: Ready,
    Exposed: Stalled,
    NotServed: Stalled,
    ServiceUnknown: Stalled,
    WitnessMismatch: Stalled,
    WitnessDisconnected: Stalled,
    WitnessUnreachable: Stalled,
    PostSwitchDrift: Stalled,
    NoPostSwitchDrift: Ready,
    CredentialsStale: Stalled,
    LegacyTls: Stalled,
    TlsDisabled: Stalled,
    QuorumHealthy: Ready,
    NoWitness: Ready,
    RunningExposed: Stalled,
    PartnersReachable: Ready,
    AllSynchronized: Ready,
    NotSuspended: Ready,
}

impl Reason {
    pub fn name(self) -> &'static str {
        self.into()
    }
}
