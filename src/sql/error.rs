//! Failures as `Unavailable`. The details appear in the status, so they hold no secrets and no numbers that change from
//! poll to poll. Shape: what happened and the cause, then `To fix:` with an imperative where a remedy exists.

use std::time::Duration;

use tiberius::error::{Error, IoErrorKind};

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::Authentication;

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
    unavailable(timeout_cause(phase), format!("Timeout: {phase} of {address} did not complete within {waited:?}."))
}

pub fn lost(address: &str, phase: Phase) -> Unavailable {
    unavailable(UnavailableCause::ConnectionLost, format!("{address} closed the connection during {phase}."))
}

pub fn protocol_error(address: &str, phase: Phase, what: impl std::fmt::Display) -> Unavailable {
    unavailable(
        UnavailableCause::ProtocolError,
        format!("{address} sent an unexpected response during {phase}: {what}."),
    )
}

/// A server that accepted a connection is alive although it does not answer; a silent address may be dead.
fn timeout_cause(phase: Phase) -> UnavailableCause {
    match phase {
        Phase::Connect => UnavailableCause::TimedOut,
        Phase::Resolve | Phase::Prelogin | Phase::Tls | Phase::Login | Phase::Poll => UnavailableCause::Unresponsive,
    }
}

/// An I/O error of a phase that works on the socket directly.
pub fn io(address: &str, phase: Phase, error: &std::io::Error) -> Unavailable {
    io_kind(address, phase, error.kind())
}

fn io_kind(address: &str, phase: Phase, kind: IoErrorKind) -> Unavailable {
    match kind {
        IoErrorKind::ConnectionRefused => unavailable(
            UnavailableCause::ConnectionRefused,
            format!("{address} refused the TCP connection: no process listens on the port."),
        ),
        IoErrorKind::TimedOut => {
            unavailable(timeout_cause(phase), format!("Timeout: {phase} of {address} was ended by the network stack."))
        }
        IoErrorKind::HostUnreachable | IoErrorKind::NetworkUnreachable => unavailable(
            UnavailableCause::TimedOut,
            format!("{address} is unreachable during {phase}: there is no route to the host."),
        ),
        _ => lost(address, phase),
    }
}

/// An error that tiberius returned during the login.
pub fn login(address: &str, login: &Authentication, error: &Error, deadline: Duration) -> Unavailable {
    let Error::Server(token) = error else { return tds(address, Phase::Login, error, deadline) };
    let (number, username) = (token.code(), login.username());
    let windows = matches!(login, Authentication::Kerberos(_));
    let reason = match number {
        18456 if windows => "the account has no login on the server, or it may not connect".to_owned(),
        18452 if windows => {
            "the server could not decrypt the ticket, because its SPN is registered for another account, its domain does not trust this one, or the clocks differ".to_owned()
        }
        18456 => "the name or the password is wrong, or the login may not connect".to_owned(),
        18452 => "the server accepts Windows logins only, or the login is from an untrusted domain".to_owned(),
        18470 => "the login is disabled".to_owned(),
        18486 => "the login is locked out".to_owned(),
        18487 => "the password has expired".to_owned(),
        18488 => "the password must be changed first".to_owned(),
        _ => token.message().trim().trim_end_matches('.').to_owned(),
    };
    let cause =
        if matches!(number, 18470 | 18486) { UnavailableCause::LoginLocked } else { UnavailableCause::LoginFailed };
    unavailable(cause, format!("{address} refused the login {username:?} with error {number}: {reason}."))
}

/// The text of a server without its period, so that a sentence can end with it.
fn sentence(text: &str) -> &str {
    text.trim().trim_end_matches('.')
}

/// An error that tiberius returned after the login.
pub fn poll(address: &str, error: &Error, deadline: Duration) -> Unavailable {
    match error {
        Error::Server(token) if token.class() < FATAL => unavailable(
            UnavailableCause::QueryFailed,
            format!("{address} answered the poll with error {}: {}.", token.code(), sentence(token.message())),
        ),
        Error::Server(token) => unavailable(
            UnavailableCause::ConnectionLost,
            format!("{address} ended the connection with error {}: {}.", token.code(), sentence(token.message())),
        ),
        other => tds(address, Phase::Poll, other, deadline),
    }
}

/// From this severity on, the server ends the connection ("Database Engine Error Severities").
pub const FATAL: u8 = 20;

fn tds(address: &str, phase: Phase, error: &Error, deadline: Duration) -> Unavailable {
    match error {
        Error::Io { kind: IoErrorKind::TimedOut, .. } => timed_out(address, phase, deadline),
        Error::Io { kind: IoErrorKind::InvalidData, message } => protocol_error(address, phase, message),
        Error::Io { kind, .. } => io_kind(address, phase, *kind),
        Error::Routing { .. } => protocol_error(address, phase, "the server redirects the client to another server"),
        other => protocol_error(address, phase, other),
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
        assert_eq!(unavailable.detail, "Timeout: the TLS handshake of sql-a,1433 did not complete within 10s.");
        let refused = std::io::Error::from(IoErrorKind::ConnectionRefused);
        assert_eq!(io("sql-a,1433", Phase::Connect, &refused).cause, UnavailableCause::ConnectionRefused);
        let reset = std::io::Error::from(IoErrorKind::ConnectionReset);
        assert_eq!(io("sql-a,1433", Phase::Poll, &reset).cause, UnavailableCause::ConnectionLost);
    }

    #[test]
    fn driver_errors_map_to_distinct_causes() {
        let waited = Duration::from_secs(10);
        let lync = Authentication::SqlLogin { username: "lync".into(), password: "hunter2".into() };
        let eof = Error::Io { kind: IoErrorKind::UnexpectedEof, message: "No more packets in the wire".into() };
        assert_eq!(poll("a,1", &eof, waited).cause, UnavailableCause::ConnectionLost);
        assert_eq!(login("a,1", &lync, &eof, waited).cause, UnavailableCause::ConnectionLost);
        let slow = Error::Io { kind: IoErrorKind::TimedOut, message: "slow".into() };
        assert_eq!(poll("a,1", &slow, waited).cause, UnavailableCause::Unresponsive);
        let routing = Error::Routing { host: "b".into(), port: 1 };
        assert_eq!(login("a,1", &lync, &routing, waited).cause, UnavailableCause::ProtocolError);
        assert_eq!(poll("a,1", &Error::Utf16, waited).cause, UnavailableCause::ProtocolError);
    }
}
