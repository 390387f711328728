//! The causes for which a server is unavailable, what each proves about the server, and the reason that users see.

use crate::model::Reason;

/// Why a server is unavailable. `detail` consists of full sentences for the administrator and contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    pub cause: UnavailableCause,
    pub detail: String,
}

impl Unavailable {
    /// The detail without its step, and without a period. For a message that has a step of its own, which can contradict it.
    pub fn problem(&self) -> &str {
        let problem = self.detail.split_once(" To fix: ").map_or(self.detail.as_str(), |(problem, _)| problem);
        problem.trim_end_matches('.')
    }
}

/// What a failed poll proves about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The TCP port of the instance itself refused the connection or did not answer.
    NotAnswering,
    /// The server accepted the TCP connection or answered in some way.
    Alive,
    /// The failure is on the way to the server or in the operator, and the server may be alive.
    Inconclusive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumIter)]
pub enum UnavailableCause {
    /// The first poll is not complete.
    NotYetPolled,
    /// `spec.suspend` stops the polls.
    PollsStopped,
    SecretNotFound,
    SecretKeyMissing,
    /// The API server does not let the operator read the Secret or the ConfigMap.
    CredentialsForbidden,
    /// The API server gives no answer about the Secret or the ConfigMap.
    CredentialsUnreadable,
    CaBundleNotFound,
    CaBundleInvalid,
    HostNotFound,
    /// The administrator of the operator denies the network of the host.
    AddressDenied,
    /// DNS did not answer.
    ResolverSilent,
    /// The SQL Browser answered, without a port for the instance.
    InstanceNotFound,
    /// The SQL Browser did not answer, and no port of the instance is known.
    BrowserSilent,
    /// The operator itself lacks descriptors, ports, memory or a network, or the namespace has used its share of them.
    OperatorLimited,
    ConnectionRefused,
    /// The TCP connection was not established within its deadline.
    TimedOut,
    /// The network reports that there is no way to the host.
    HostUnreachable,
    /// The server accepted the connection and then did not answer in time.
    Unresponsive,
    ConnectionLost,
    TlsFailed,
    /// No KDC issued a ticket in time.
    KdcUnreachable,
    /// The KDC has no account with the SPN of the instance.
    SpnUnknown,
    /// A ticket or an account has expired, or a clock is wrong.
    TicketExpired,
    /// The keytab does not fit the account.
    NoKerberosCredentials,
    /// Error 18456 or another refusal of the credentials.
    LoginFailed,
    /// Error 18486 or 18470, or the KDC reports a locked account.
    LoginLocked,
    /// Error 18487 or 18488.
    PasswordExpired,
    /// Error 17187 or 18401.
    ServerStarting,
    /// Error 6005 or 18451.
    ServerStopping,
    /// Error 17142.
    ServerPaused,
    /// Error 18461.
    SingleUser,
    /// Error 17892.
    LogonTriggerFailed,
    /// Error 17809, 18458 or 18459.
    ConnectionLimit,
    /// Another error in the login, which is no refusal of the credentials.
    LoginError,
    /// The server speaks TDS below 7.3.
    ServerTooOld,
    /// The server answered a poll with an error.
    QueryFailed,
    /// The answer violates the protocol of SQL Server.
    ProtocolError,
}

impl UnavailableCause {
    /// What the cause proves about the server. Only `NotAnswering` may support forced service.
    pub fn evidence(self) -> Evidence {
        match self {
            Self::ConnectionRefused | Self::TimedOut | Self::HostUnreachable => Evidence::NotAnswering,
            Self::Unresponsive
            | Self::ConnectionLost
            | Self::TlsFailed
            | Self::LoginFailed
            | Self::LoginLocked
            | Self::PasswordExpired
            | Self::ServerStarting
            | Self::ServerStopping
            | Self::ServerPaused
            | Self::SingleUser
            | Self::LogonTriggerFailed
            | Self::ConnectionLimit
            | Self::LoginError
            | Self::ServerTooOld
            | Self::QueryFailed
            | Self::ProtocolError => Evidence::Alive,
            Self::NotYetPolled
            | Self::PollsStopped
            | Self::SecretNotFound
            | Self::SecretKeyMissing
            | Self::CredentialsForbidden
            | Self::CredentialsUnreadable
            | Self::CaBundleNotFound
            | Self::CaBundleInvalid
            | Self::HostNotFound
            | Self::AddressDenied
            | Self::ResolverSilent
            | Self::InstanceNotFound
            | Self::BrowserSilent
            | Self::OperatorLimited
            | Self::KdcUnreachable
            | Self::SpnUnknown
            | Self::TicketExpired
            | Self::NoKerberosCredentials => Evidence::Inconclusive,
        }
    }

    /// The server stops, starts or has ended the connection, as during a restart.
    pub fn is_restart(self) -> bool {
        matches!(self, Self::ServerStarting | Self::ServerStopping | Self::ServerPaused | Self::ConnectionLost)
    }

    /// The server or the KDC refuses the credentials themselves.
    pub fn is_refused_login(self) -> bool {
        matches!(
            self,
            Self::LoginFailed
                | Self::LoginLocked
                | Self::PasswordExpired
                | Self::NoKerberosCredentials
                | Self::TicketExpired
        )
    }

    /// The reason that users see.
    pub fn reason(self) -> Reason {
        match self {
            Self::NotYetPolled => Reason::NotYetObserved,
            Self::PollsStopped => Reason::Suspended,
            Self::SecretNotFound => Reason::SecretNotFound,
            Self::SecretKeyMissing => Reason::SecretKeyMissing,
            Self::CredentialsForbidden => Reason::CredentialsForbidden,
            Self::CredentialsUnreadable => Reason::CredentialsUnreadable,
            Self::CaBundleNotFound => Reason::CaBundleNotFound,
            Self::CaBundleInvalid => Reason::CaBundleInvalid,
            Self::HostNotFound => Reason::HostNotFound,
            Self::AddressDenied => Reason::AddressDenied,
            Self::ResolverSilent => Reason::ResolverSilent,
            Self::InstanceNotFound | Self::BrowserSilent => Reason::InstanceNotFound,
            Self::OperatorLimited => Reason::OperatorLimited,
            Self::ConnectionRefused => Reason::ConnectionRefused,
            Self::TimedOut | Self::Unresponsive => Reason::ConnectionTimedOut,
            Self::HostUnreachable => Reason::HostUnreachable,
            Self::ConnectionLost => Reason::ConnectionLost,
            Self::TlsFailed => Reason::TlsFailed,
            Self::KdcUnreachable => Reason::KdcUnreachable,
            Self::SpnUnknown => Reason::SpnUnknown,
            Self::TicketExpired => Reason::TicketExpired,
            Self::NoKerberosCredentials => Reason::NoKerberosCredentials,
            Self::LoginFailed => Reason::LoginFailed,
            Self::LoginLocked => Reason::LoginLocked,
            Self::PasswordExpired => Reason::PasswordExpired,
            Self::ServerStarting => Reason::ServerStarting,
            Self::ServerStopping => Reason::ServerStopping,
            Self::ServerPaused => Reason::ServerPaused,
            Self::SingleUser => Reason::SingleUser,
            Self::LogonTriggerFailed => Reason::LogonTriggerFailed,
            Self::ConnectionLimit => Reason::ConnectionLimit,
            Self::LoginError => Reason::LoginError,
            Self::ServerTooOld => Reason::ServerTooOld,
            Self::QueryFailed => Reason::QueryFailed,
            Self::ProtocolError => Reason::ProtocolError,
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn evidence_of_only_three_causes_is_not_answering() {
        let not_answering: Vec<_> =
            UnavailableCause::iter().filter(|cause| cause.evidence() == Evidence::NotAnswering).collect();
        let expected =
            [UnavailableCause::ConnectionRefused, UnavailableCause::TimedOut, UnavailableCause::HostUnreachable];
        assert_eq!(not_answering, expected);
    }

    #[test]
    fn restart_and_refused_login_are_exactly_these_causes() {
        let causes = |is: fn(UnavailableCause) -> bool| UnavailableCause::iter().filter(|cause| is(*cause)).collect();
        let restarts: Vec<_> = causes(UnavailableCause::is_restart);
        let expected = [
            UnavailableCause::ConnectionLost,
            UnavailableCause::ServerStarting,
            UnavailableCause::ServerStopping,
            UnavailableCause::ServerPaused,
        ];
        assert_eq!(restarts, expected);
        let refused: Vec<_> = causes(UnavailableCause::is_refused_login);
        let expected = [
            UnavailableCause::TicketExpired,
            UnavailableCause::NoKerberosCredentials,
            UnavailableCause::LoginFailed,
            UnavailableCause::LoginLocked,
            UnavailableCause::PasswordExpired,
        ];
        assert_eq!(refused, expected);
    }

    #[test]
    fn evidence_of_the_way_to_the_server_is_inconclusive() {
        for cause in [
            UnavailableCause::BrowserSilent,
            UnavailableCause::InstanceNotFound,
            UnavailableCause::OperatorLimited,
            UnavailableCause::AddressDenied,
            UnavailableCause::ResolverSilent,
            UnavailableCause::KdcUnreachable,
        ] {
            assert_eq!(cause.evidence(), Evidence::Inconclusive, "{cause:?}");
        }
    }
}
