//! The fixed words of a summary: what each reason means, and the step of the administrator. The message of the type has the
//! cause and the details.

use crate::model::{Reason, Unavailable, UnavailableCause};

/// The step of the administrator for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The operator continues without an administrator.
    Nothing,
    /// An imperative without a period.
    Do(&'static str),
    /// The details decide: the message of the type has the step.
    See,
}

use Step::{Do, Nothing, See};

const RESUME: Step = Do("run no RESUME before you read docs/reasons/MirroringSuspended.md, as it can destroy data");
pub(super) const SERVERS: Step = Do("see status.servers[].message");
/// The other server accepted the login of the same Secret.
pub(super) const LOGIN: &str = "correct the login on that server, as the other one accepted the Secret";
pub(super) const BOTH_SILENT: &str = "if a Front End reaches neither, users have no service: start both";
pub(super) const UNRESPONSIVE: &str = "see docs/reasons/ConnectionTimedOut.md before a restart";
pub(super) const RESUME_POLLS: &str = "once the maintenance has ended, remove spec.suspend.stopPolls";
const PARTNERS: Step = Do("name the two partners of one session in spec.sql, and remove no session");

/// Reason, what it means, step. `{}` is the server that the reason is about, as `the mirror SQL-B\RTC`.
#[rustfmt::skip]
pub(super) const TEXTS: [(Reason, &str, Step); 76] = [
    (Reason::Aligned, "the principal is on {}", Nothing),
    (Reason::Moving, "a failover to {} is in progress", Nothing),
    (Reason::Verifying, "the failover to {} is being verified", Nothing),
    (Reason::WaitingForTurn, "the failover to {} waits for its turn on these servers", Nothing),
    (Reason::Cooldown, "the failover to {} waits for policy.cooldown", Do("wait, or set policy.cooldown to 0s")),
    (Reason::Synchronizing, "the mirror is catching up and cannot take over yet", Nothing),
    (Reason::FailoverInProgress, "SQL Server is failing over, and clients wait until it ends", Nothing),
    (Reason::Unsettled, "the servers are in a transition", Nothing),
    (Reason::NotYetObserved, "the first poll of {} is not complete", Nothing),
    (Reason::FailBackPending, "the fail-back to {} waits", Nothing),
    (Reason::Settling, "the failover to {} waits for policy.settleAfter", Nothing),
    (Reason::DatabaseRecovering, "a copy on {} is in recovery", Do("wait, do not restart it, read the progress in its error log")),
    (Reason::InterruptionTooLong, "the failover to {} waits for policy.maxInterruption", Do("wait, or raise it")),
    (Reason::UnexpectedPrincipal, "{} is principal, and the spec wants the other one", See),
    (Reason::SplitRoles, "its principals are on both servers", Do("find out why, then unite them as docs/reasons/SplitRoles.md shows")),
    (Reason::SeatsExchanged, "spec.sql exchanged the two servers, and nothing moves", See),
    (Reason::OneWayMove, "{} is newer, and after a move there is no way back", See),
    (Reason::Suspended, "the failover to {} is suspended", Do("remove spec.suspend to let it start")),
    (Reason::Conflict, "another resource names the same databases", Do("remove the type from all but one of them")),
    (Reason::SwitchOverdue, "the failover to {} is overdue", Do("check both servers before any other step")),
    (Reason::TransitionOverdue, "a transition has lasted longer than policy.switchDeadline", Do("read both error logs, start no failover, restart nothing")),
    (Reason::MoveFailed, "the last move to {} failed", See),
    (Reason::CircuitOpen, "automatic moves are disabled (circuit open)", See),
    (Reason::InvalidSpec, "no move starts while the spec has problems", Do("see status.specProblems")),
    (Reason::MirroringSuspended, "mirroring is SUSPENDED", RESUME),
    (Reason::PartnersDisconnected, "the partners do not reach each other", Do("repair their network or the mirroring endpoints, and force nothing")),
    (Reason::NoQuorum, "{} sees neither its partner nor the witness", Do("bring back the partner or the witness")),
    (Reason::PrincipalLost, "{} does not answer, and may still serve clients", Do("check from a Front End, start it, or read docs/reasons/PrincipalLost.md")),
    (Reason::ServiceForced, "service was forced on {}", Do("resume nothing before you read docs/reasons/ServiceForced.md")),
    (Reason::TwoPrincipals, "both servers hold the principal role", Do("cut the clients off one copy, keep the link cut, see docs/reasons/TwoPrincipals.md")),
    (Reason::IsolatedPrincipal, "{} is an old principal without quorum", Do("repair its network, then it becomes the mirror")),
    (Reason::NoPrincipal, "both servers hold the mirror role", Do("repair their link, run no SET PARTNER statement, see docs/reasons/NoPrincipal.md")),
    (Reason::SafetyOff, "transaction safety is OFF", Do("run ALTER DATABASE ... SET PARTNER SAFETY FULL on the principal")),
    (Reason::NotMirrored, "a database on {} is not mirrored", Do("see docs/reasons/NotMirrored.md")),
    (Reason::MirroringRemoved, "a database on {} is no longer mirrored", Do("run nothing before you read docs/reasons/MirroringRemoved.md")),
    (Reason::DatabaseMissing, "a database does not exist on {}", Do("correct spec.databaseTypes[].databases, or remove the type")),
    (Reason::DatabaseNotOnline, "a copy on {} cannot be opened", Do("follow docs/reasons/DatabaseNotOnline.md before any repair")),
    (Reason::PartnerMismatch, "{} does not name the other server as its partner", PARTNERS),
    (Reason::SameServer, "primary and mirror are the same SQL Server", Do("correct host, port or instance in spec.sql")),
    (Reason::SessionMismatch, "the servers are in different mirroring sessions", PARTNERS),
    (Reason::VersionMismatch, "mirroring is SUSPENDED, the principal is newer", RESUME),
    (Reason::EndpointStopped, "the mirroring endpoint on {} is not usable", Do("create or start it, with role PARTNER or ALL")),
    (Reason::PermissionMissing, "the login cannot see the mirroring on {}", Do("grant sysadmin to the login on both servers")),
    (Reason::SecretNotFound, "the Secret of the login does not exist", Do("create the Secret that auth.secretRef names")),
    (Reason::SecretKeyMissing, "the Secret of the login lacks a key", SERVERS),
    (Reason::CredentialsForbidden, "the operator may not read the Secret or ConfigMap", Do("see docs/reasons/CredentialsForbidden.md")),
    (Reason::CredentialsUnreadable, "the API server does not return the Secret or ConfigMap", Do("see docs/reasons/CredentialsUnreadable.md")),
    (Reason::CaBundleNotFound, "the ConfigMap of the CA does not exist", Do("create the ConfigMap that tls.caBundle names")),
    (Reason::CaBundleInvalid, "the CA bundle cannot be read", SERVERS),
    (Reason::HostNotFound, "DNS does not know {}", Do("correct host in spec.sql, or DNS")),
    (Reason::AddressDenied, "the operator may not connect to the address of {}", Do("correct host in spec.sql")),
    (Reason::ResolverSilent, "DNS does not answer for {}", Do("check the DNS of the cluster")),
    (Reason::InstanceNotFound, "no port is known for {}", Do("check instance and the SQL Server Browser, or set port")),
    (Reason::OperatorLimited, "the operator lacks resources to reach {}", Do("see docs/reasons/OperatorLimited.md")),
    (Reason::ConnectionRefused, "{} refuses connections", Do("check SQL Server there, or correct the port")),
    (Reason::ConnectionTimedOut, "{} does not answer in time", Do("check the server, its firewall and the network")),
    (Reason::HostUnreachable, "no network path leads to {}", Do("check the server and the network")),
    (Reason::ConnectionLost, "{} ended the connection", Do("check whether SQL Server runs there")),
    (Reason::TlsFailed, "TLS with {} failed", SERVERS),
    (Reason::KdcUnreachable, "no KDC answers for {}", Do("check the KDCs and their network")),
    (Reason::SpnUnknown, "the KDC does not know the SPN of {}", Do("register the SPN, see docs/reasons/SpnUnknown.md")),
    (Reason::TicketExpired, "the Kerberos ticket for {} is not valid", Do("check the account and the clocks")),
    (Reason::NoKerberosCredentials, "the keytab does not fit the account", SERVERS),
    (Reason::LoginFailed, "{} refuses the login", Do("correct the Secret, or the login on that server")),
    (Reason::LoginLocked, "the login is locked or disabled on {}", Do("unlock or enable it there")),
    (Reason::PasswordExpired, "the password of the login expired or must be changed on {}", Do("set a new one on both servers and in the Secret")),
    (Reason::ServerStarting, "{} is starting", Do("wait, do not restart it, read its error log if it lasts")),
    (Reason::ServerStopping, "{} is shutting down", Do("wait, and read its error log if it does not end")),
    (Reason::ServerPaused, "{} is paused: open sessions continue, new logins are refused", Do("continue the SQL Server service there")),
    (Reason::SingleUser, "{} is in single-user mode", Do("end that maintenance, or stop polls as docs/reasons/SingleUser.md shows")),
    (Reason::LogonTriggerFailed, "a logon trigger on {} refuses the login", Do("exempt the login from the trigger")),
    (Reason::ConnectionLimit, "{} accepts no further connection", Do("use sqlcmd -A, see docs/reasons/ConnectionLimit.md")),
    (Reason::LoginError, "the login on {} failed", SERVERS),
    (Reason::ServerTooOld, "{} is older than SQL Server 2008", Do("correct the address, or upgrade the server")),
    (Reason::QueryFailed, "{} answered the poll with an error", SERVERS),
    (Reason::ProtocolError, "{} violates the protocol of SQL Server", SERVERS),
];

/// What a reason means, and the step.
pub(super) fn text(reason: Reason) -> (&'static str, Step) {
    let found = TEXTS.iter().find(|(listed, ..)| *listed == reason);
    found.map_or(("see the message of the type", See), |(_, what, step)| (what, *step))
}

/// What the cause means, and the step. Its reason Suspended is otherwise that of a move.
pub(super) fn text_of_server(unavailable: &Unavailable) -> (&'static str, Step) {
    match unavailable.cause {
        UnavailableCause::PollsStopped => ("the operator does not poll {}", Step::Do(RESUME_POLLS)),
        UnavailableCause::Unresponsive => ("{} accepts connections and does not answer", Step::Do(UNRESPONSIVE)),
        cause => text(cause.reason()),
    }
}

/// The step for a server that can hold a second live copy: started again, it can serve it.
pub(super) fn read_before_start(page: Reason) -> Step {
    Step::Do(match page {
        Reason::PartnerMismatch => "read docs/reasons/PartnerMismatch.md before it starts",
        Reason::NotMirrored => "read docs/reasons/NotMirrored.md before it starts",
        _ => "read docs/reasons/ServiceForced.md before it starts",
    })
}
