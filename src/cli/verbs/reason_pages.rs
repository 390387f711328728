//! The page of each reason, as docs/reasons has it.

use crate::model::Reason;

macro_rules! pages {
    ($($name:ident)*) => {
        /// The page of a reason in Markdown.
        pub fn page(reason: Reason) -> &'static str {
            match reason {
                $(Reason::$name => include_str!(concat!("../../../docs/reasons/", stringify!($name), ".md")),)*
            }
        }
    };
}

pages! {
    Aligned Moving Verifying WaitingForTurn Cooldown Synchronizing FailoverInProgress Unsettled NotYetObserved
    FailBackPending Settling DatabaseRecovering InterruptionTooLong UnexpectedPrincipal SplitRoles SeatsExchanged
    OneWayMove Suspended Conflict SwitchOverdue TransitionOverdue MoveFailed CircuitOpen InvalidSpec StatusUnreadable
    MirroringSuspended PartnersDisconnected NoQuorum PrincipalLost ServiceForced TwoPrincipals IsolatedPrincipal
    NoPrincipal SafetyOff NotMirrored MirroringRemoved DatabaseMissing DatabaseNotOnline PartnerMismatch SameServer
    SessionMismatch VersionMismatch EndpointStopped PermissionMissing SecretNotFound SecretKeyMissing
    CredentialsForbidden CredentialsUnreadable CaBundleNotFound CaBundleInvalid HostNotFound AddressDenied
    ResolverSilent InstanceNotFound OperatorLimited ConnectionRefused ConnectionTimedOut HostUnreachable
    ConnectionLost TlsFailed KdcUnreachable SpnUnknown TicketExpired NoKerberosCredentials LoginFailed LoginLocked
    PasswordExpired ServerStarting ServerStopping ServerPaused SingleUser LogonTriggerFailed ConnectionLimit
    LoginError ServerTooOld QueryFailed ProtocolError MoveStarted MoveRetried MoveSucceeded MoveSuperseded TypeRemoved
    ApprovalRemoved SecondCentralMgmt Protected Exposed NotServed ServiceUnknown WitnessMismatch WitnessDisconnected
    WitnessUnreachable PostSwitchDrift NoPostSwitchDrift CredentialsStale LegacyTls TlsDisabled QuorumHealthy
    NoWitness RunningExposed PartnersReachable AllSynchronized NotSuspended
}
