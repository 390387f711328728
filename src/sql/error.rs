//! Failures as `Unavailable`. The details appear in the status, so they hold no secrets and no numbers that change from
//! poll to poll. Shape: what happened and the cause, then `To fix:` with an imperative where a remedy exists.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tiberius::error::{Error, IoErrorKind};

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::Target;
use crate::sql::cleaned::sentence;
use crate::sql::memory_budget::Exhausted;

/// The phase of a connection in which a failure occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Phase {
    #[strum(to_string = "the DNS lookup")]
    Resolve,
    #[strum(to_string = "the TCP connection")]
    Connect,
    #[strum(to_string = "the TDS prelogin")]
    Prelogin,
    #[strum(to_string = "the TLS handshake")]
    Tls,
    #[strum(to_string = "the login")]
    Login,
    #[strum(to_string = "the poll")]
    Poll,
}

pub fn unavailable(cause: UnavailableCause, detail: String) -> Unavailable {
    Unavailable { cause, detail }
}

pub fn timed_out(address: &str, phase: Phase, waited: Duration) -> Unavailable {
    let cause = timeout_cause(phase);
    let fix = match cause {
        UnavailableCause::Unresponsive => {
            " It accepts connections. To fix: check from Front Ends of all sites before a restart, see docs/reasons/ConnectionTimedOut.md."
        }
        _ => "",
    };
    unavailable(cause, format!("Timeout: {phase} of {address} did not complete within {waited:?}.{fix}"))
}

pub fn lost(address: &str, phase: Phase) -> Unavailable {
    let hint = match phase {
        Phase::Prelogin => {
            " To fix: if Force Strict Encryption (TDS 8.0) is set on the server, turn it off, because the operator does not support it."
        }
        Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Login | Phase::Poll => "",
    };
    unavailable(UnavailableCause::ConnectionLost, format!("{address} closed the connection during {phase}.{hint}"))
}

pub fn protocol_error(address: &str, phase: Phase, what: impl std::fmt::Display) -> Unavailable {
    let what = sentence(&what.to_string()).unwrap_or_else(|| "no description".to_owned());
    unavailable(
        UnavailableCause::ProtocolError,
        format!("{address} sent an unexpected response during {phase}: {what}."),
    )
}

/// A server that accepted a connection is alive although it does not answer; a silent address may be dead.
fn timeout_cause(phase: Phase) -> UnavailableCause {
    match phase {
        Phase::Resolve => UnavailableCause::ResolverSilent,
        Phase::Connect => UnavailableCause::TimedOut,
        Phase::Prelogin | Phase::Tls | Phase::Login | Phase::Poll => UnavailableCause::Unresponsive,
    }
}

pub fn resolver_silent(host: &str) -> Unavailable {
    let detail = format!("DNS did not answer the request for {host:?}. This proves nothing about the server.");
    unavailable(UnavailableCause::ResolverSilent, detail)
}

/// Whether the operator itself lacks descriptors, ports, memory or a network, so that the request never left it.
pub fn is_operator_limited(error: &io::Error) -> bool {
    const OWN: [Errno; 10] = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        // No more processes.
        Errno::AGAIN,
        Errno::ADDRNOTAVAIL,
        Errno::NETUNREACH,
        Errno::NETDOWN,
        // A local packet filter, such as a NetworkPolicy.
        Errno::PERM,
        Errno::ACCESS,
    ];
    Errno::from_io_error(error).is_some_and(|number| OWN.contains(&number))
}

/// Whether the process or its node has no free file descriptors.
pub fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether the process or its node lacks descriptors, memory or processes, whatever it asked the kernel for.
pub fn lacks_resources(error: &io::Error) -> bool {
    const LACKING: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|number| LACKING.contains(&number))
}

pub fn operator_limited(address: &str, error: &io::Error) -> Unavailable {
    let detail = if lacks_descriptors(error) {
        format!(
            "The operator has no free file descriptors and did not connect to {address}. This proves nothing about the server. To fix: raise the limit of open files (RLIMIT_NOFILE) of the operator's Pod or of its node."
        )
    } else {
        format!(
            "The operator itself could not connect to {address} ({}). This proves nothing about the server. To fix: check the ports, memory and network of the operator's Pod.",
            error.kind()
        )
    };
    unavailable(UnavailableCause::OperatorLimited, detail)
}

/// The namespace has no share of `what` within the deadline.
pub fn no_share(target: &Target, what: &str) -> Unavailable {
    let Target { namespace, .. } = target;
    let detail = format!(
        "The operator did not connect to {}: its own limit of {what} for namespace {namespace} is reached. This proves nothing about the server. To fix: correct or remove the resources of the namespace whose servers do not answer.",
        target.address()
    );
    unavailable(UnavailableCause::OperatorLimited, detail)
}

/// A response was not read or not kept, because others have the memory for `what`.
pub fn no_memory(address: &str, namespace: &str, what: &str, exhausted: Exhausted) -> Unavailable {
    let owner = match exhausted {
        Exhausted::Share => format!("namespace {namespace}"),
        Exhausted::Total => "all namespaces".to_owned(),
    };
    let detail = format!(
        "The operator did not keep the response of {address}: its own limit of memory for {what} of {owner} is reached. This proves nothing about the server. To fix: correct or remove the resources of {owner} whose servers send very long responses."
    );
    unavailable(UnavailableCause::OperatorLimited, detail)
}

/// The operator cannot send requests to DNS.
pub fn no_resolver(target: &Target, why: &str) -> Unavailable {
    let detail = format!(
        "The operator cannot resolve {:?}: {why}. This proves nothing about the server. To fix: check dnsPolicy, dnsConfig and hostAliases of the operator's Pod.",
        target.host
    );
    unavailable(UnavailableCause::OperatorLimited, detail)
}

/// All addresses of the host are in networks that the operator does not connect to.
pub fn address_denied(target: &Target) -> Unavailable {
    let detail = format!(
        "The operator does not connect to {}: its administrator denies the network of this address (--deny-networks). To fix: set host to the address of a SQL Server.",
        target.address()
    );
    unavailable(UnavailableCause::AddressDenied, detail)
}

/// An error of the TCP connection.
pub fn connect(address: &str, error: &io::Error) -> Unavailable {
    match error.kind() {
        _ if is_operator_limited(error) => operator_limited(address, error),
        IoErrorKind::ConnectionRefused => unavailable(
            UnavailableCause::ConnectionRefused,
            format!("{address} refused the TCP connection: no process listens on the port, or a firewall rejects it."),
        ),
        IoErrorKind::HostUnreachable => unavailable(
            UnavailableCause::HostUnreachable,
            format!("{address} is unreachable: the network has no way to the host."),
        ),
        _ => io(address, Phase::Connect, error),
    }
}

/// An I/O error of a phase that works on the socket directly.
pub fn io(address: &str, phase: Phase, error: &io::Error) -> Unavailable {
    io_kind(address, phase, error.kind())
}

fn io_kind(address: &str, phase: Phase, kind: IoErrorKind) -> Unavailable {
    match kind {
        IoErrorKind::TimedOut => {
            unavailable(timeout_cause(phase), format!("Timeout: {phase} of {address} was ended by the network stack."))
        }
        _ => lost(address, phase),
    }
}

/// An error that tiberius returned after the login.
pub fn poll(address: &str, error: &Error, deadline: Duration) -> Unavailable {
    match error {
        Error::Server(token) if token.code() == LOCK_TIMEOUT => unavailable(
            UnavailableCause::QueryFailed,
            format!(
                "{address} answered the poll with error {LOCK_TIMEOUT}: another session holds a lock on the system catalog, as a CREATE, ALTER, DROP or RESTORE DATABASE does. To fix: wait until the statement with the lock ends, and ask its owner before you end it."
            ),
        ),
        Error::Server(token) if token.class() < FATAL => unavailable(
            UnavailableCause::QueryFailed,
            format!("{address} answered the poll with {}.", numbered(token.code(), token.message())),
        ),
        Error::Server(token) => unavailable(
            UnavailableCause::ConnectionLost,
            format!("{address} ended the connection with {}.", numbered(token.code(), token.message())),
        ),
        other => tds(address, Phase::Poll, other, deadline),
    }
}

/// From this severity on, the server ends the connection ("Database Engine Error Severities").
pub const FATAL: u8 = 20;

/// `SET LOCK_TIMEOUT` of the batch has expired.
const LOCK_TIMEOUT: u32 = 1222;

/// The number of an error of the server, and its text if it has any.
pub fn numbered(number: u32, text: &str) -> String {
    match sentence(text) {
        Some(text) => format!("error {number}: {text}"),
        None => format!("error {number} without a text"),
    }
}

/// An error of the driver that is no answer of the server.
pub fn tds(address: &str, phase: Phase, error: &Error, deadline: Duration) -> Unavailable {
    match error {
        Error::Io { kind: IoErrorKind::TimedOut, .. } => timed_out(address, phase, deadline),
        Error::Io { kind: IoErrorKind::InvalidData, message } => protocol_error(address, phase, message),
        Error::Io { kind, .. } => io_kind(address, phase, *kind),
        Error::Routing { .. } => protocol_error(address, phase, "the server redirects the client to another server"),
        other => protocol_error(address, phase, unreadable(other)),
    }
}

/// What the driver could not read, in words of the operator.
pub fn unreadable(error: &Error) -> String {
    match error {
        Error::Protocol(words) => match words.rsplit_once(" type ") {
            // The driver prints the type in hexadecimal, without a mark.
            Some(("invalid envchange", number)) => format!("an environment change of the unknown type 0x{number}"),
            Some(("invalid token", number)) => format!("a token of the unknown type 0x{number}"),
            _ if words.starts_with("Never got DONE") => "the response ends without DONE".to_owned(),
            _ => "the response is no valid TDS".to_owned(),
        },
        Error::Utf8 | Error::Utf16 | Error::Encoding(_) => "a text is not valid UTF-16".to_owned(),
        Error::Conversion(_) | Error::ParseInt(_) => "a value is not of its type".to_owned(),
        Error::Io { .. } | Error::Server(_) | Error::Tls(_) | Error::Routing { .. } | Error::BulkInput(_) => {
            "the response is no valid TDS".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timed_out_names_phase_and_address() {
        let waited = Duration::from_secs(10);
        let unavailable = timed_out("sql-a,1433", Phase::Tls, waited);
        assert_eq!(unavailable.cause, UnavailableCause::Unresponsive);
        assert_eq!(
            unavailable.detail,
            "Timeout: the TLS handshake of sql-a,1433 did not complete within 10s. It accepts connections. To fix: check from Front Ends of all sites before a restart, see docs/reasons/ConnectionTimedOut.md."
        );
        let refused = std::io::Error::from(IoErrorKind::ConnectionRefused);
        assert_eq!(connect("sql-a,1433", &refused).cause, UnavailableCause::ConnectionRefused);
        assert_eq!(timed_out("sql-a,1433", Phase::Resolve, waited).cause, UnavailableCause::ResolverSilent);
        let reset = std::io::Error::from(IoErrorKind::ConnectionReset);
        assert_eq!(io("sql-a,1433", Phase::Poll, &reset).cause, UnavailableCause::ConnectionLost);
    }

    #[test]
    fn driver_errors_map_to_distinct_causes() {
        let waited = Duration::from_secs(10);
        let eof = Error::Io { kind: IoErrorKind::UnexpectedEof, message: "No more packets in the wire".into() };
        assert_eq!(poll("a,1", &eof, waited).cause, UnavailableCause::ConnectionLost);
        assert_eq!(tds("a,1", Phase::Login, &eof, waited).cause, UnavailableCause::ConnectionLost);
        let slow = Error::Io { kind: IoErrorKind::TimedOut, message: "slow".into() };
        assert_eq!(poll("a,1", &slow, waited).cause, UnavailableCause::Unresponsive);
        let routing = Error::Routing { host: "b".into(), port: 1 };
        assert_eq!(tds("a,1", Phase::Login, &routing, waited).cause, UnavailableCause::ProtocolError);
        assert_eq!(poll("a,1", &Error::Utf16, waited).cause, UnavailableCause::ProtocolError);
    }

    #[test]
    fn connect_errors_of_the_operator_are_operator_limited() {
        let cause = |errno: Errno| connect("a,1", &io::Error::from(errno)).cause;
        for own in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::ADDRNOTAVAIL, Errno::NETUNREACH] {
            assert_eq!(cause(own), UnavailableCause::OperatorLimited, "{own:?}");
        }
        assert_eq!(cause(Errno::HOSTUNREACH), UnavailableCause::HostUnreachable);
        assert_eq!(cause(Errno::TIMEDOUT), UnavailableCause::TimedOut);
        assert_eq!(cause(Errno::CONNREFUSED), UnavailableCause::ConnectionRefused);
        for own in [Errno::MFILE, Errno::NFILE] {
            let detail = connect("a,1", &io::Error::from(own)).detail;
            assert!(detail.starts_with("The operator has no free file descriptors"), "{detail}");
            assert!(detail.contains("proves nothing about the server"), "{detail}");
        }
        let network = connect("a,1", &io::Error::from(Errno::NETUNREACH)).detail;
        assert!(!network.contains("descriptors"), "{network}");
        // A connection that was established: the host was alive.
        let unreachable = io::Error::from(Errno::HOSTUNREACH);
        assert_eq!(io("a,1", Phase::Poll, &unreachable).cause, UnavailableCause::ConnectionLost);
    }

    #[test]
    fn no_memory_names_the_namespace_and_proves_nothing() {
        let Unavailable { cause, detail } = no_memory("a,1", "lync", "responses of SQL Servers", Exhausted::Share);
        assert_eq!(cause, UnavailableCause::OperatorLimited);
        assert_eq!(
            detail,
            "The operator did not keep the response of a,1: its own limit of memory for responses of SQL Servers of namespace lync is reached. This proves nothing about the server. To fix: correct or remove the resources of namespace lync whose servers send very long responses."
        );
        let detail = no_memory("a,1", "lync", "responses of SQL Servers", Exhausted::Total).detail;
        assert!(detail.contains("of all namespaces is reached") && !detail.contains("lync"), "{detail}");
    }

    #[test]
    fn lost_in_the_prelogin_names_strict_encryption() {
        assert!(lost("a,1", Phase::Prelogin).detail.contains("Force Strict Encryption"));
        assert_eq!(lost("a,1", Phase::Login).detail, "a,1 closed the connection during the login.");
    }

    #[test]
    fn messages_contain_no_words_of_the_driver() {
        let detail = |words: &'static str| poll("a,1", &Error::Protocol(words.into()), Duration::ZERO).detail;
        let unexpected = "a,1 sent an unexpected response during the poll: ";
        assert_eq!(
            detail("invalid envchange type 15"),
            format!("{unexpected}an environment change of the unknown type 0x15.")
        );
        assert_eq!(detail("invalid token type 0"), format!("{unexpected}a token of the unknown type 0x0."));
        assert_eq!(detail("Never got DONE token."), format!("{unexpected}the response ends without DONE."));
        assert_eq!(detail("anything else"), format!("{unexpected}the response is no valid TDS."));
        assert_eq!(numbered(50_000, " . "), "error 50000 without a text");
        assert_eq!(numbered(50_000, "a\r\nb."), "error 50000: a b");
    }
}
