//! A logged-in connection to `master` that runs one batch at a time. The callers own the batches.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tiberius::error::{Error, IoErrorKind};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};
use tokio_util::either::Either;

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::address::Route;
use crate::sql::error::{self, Phase, unavailable};
use crate::sql::kerberos::{self, Handshake};
use crate::sql::limits::{Limits, Opening};
use crate::sql::login_error;
use crate::sql::login_message::messages;
use crate::sql::prelogin::{self, Encryption, HEADER, Header};
use crate::sql::prelogin_stream::{PreloginShim, TlsInPrelogin};
use crate::sql::response_check::{Defect, ResponseCheck};
use crate::sql::response_limit::{ResponseLimit, TOO_LONG};
use crate::sql::response_memory::{NO_SHARE, Reserved};
use crate::sql::shares::Share;
use crate::sql::sspi::SspiStream;
use crate::sql::{Authentication, Deadlines, InstanceAddress, Target, Tls, address, tls};

type Wire = PreloginShim<SspiStream<Either<SslStream<TlsInPrelogin<TcpStream>>, TcpStream>>>;

/// A connection whose last response was read completely. `query` takes the session by value: after a failure, a
/// timeout or a dropped future, tiberius would read the rest of the old response as the next one.
pub struct Session {
    client: Client<Compat<Wire>>,
    response_limit: ResponseLimit,
    response_check: ResponseCheck,
    limits: Limits,
    namespace: Arc<str>,
    port: u16,
    /// Dropped after the connection.
    _share: Share,
}

/// The reason for which a batch has no result. Only a server error below class 20 proves the outcome of the batch.
#[derive(Debug)]
pub enum Failure {
    TimedOut,
    /// The connection ended before the first byte of the response.
    Unanswered,
    /// The response is incomplete or marked as failed.
    Invalid(&'static str),
    Tds(Error),
}

impl Failure {
    /// The cause for which a server is unavailable whose poll failed.
    pub fn unavailable(&self, address: &str, deadline: Duration) -> Unavailable {
        match self {
            Failure::TimedOut => error::timed_out(address, Phase::Poll, deadline),
            Failure::Unanswered => error::lost(address, Phase::Poll),
            Failure::Invalid(NO_SHARE) => error::no_memory(address, NO_SHARE),
            Failure::Invalid(what) => error::protocol_error(address, Phase::Poll, what),
            Failure::Tds(e) => error::poll(address, e, deadline),
        }
    }
}

/// The rows of each result set of a batch, with their memory.
pub struct Results {
    sets: Vec<Vec<Row>>,
    _memory: Option<Reserved>,
}

impl Deref for Results {
    type Target = [Vec<Row>];

    fn deref(&self) -> &[Vec<Row>] {
        &self.sets
    }
}

impl Session {
    /// Dials, encrypts and logs in, each phase with its own deadline. The session keeps the share of its connection.
    ///
    /// # Errors
    /// The cause for which the instance is unavailable.
    pub(super) async fn open_at(
        target: &Target,
        route: &Route,
        opening: &Opening,
        share: Share,
    ) -> Result<Session, Unavailable> {
        let deadlines = &opening.deadlines;
        let mut tcp = address::dial(target, route, deadlines.connect).await?;
        let peer = tcp.peer_addr().map_err(|e| error::io(&target.address(), Phase::Connect, &e))?;
        within(target, Phase::Prelogin, deadlines.prelogin, negotiate(target, &mut tcp)).await?;
        let stream = match target.tls {
            Tls::Off => Either::Right(tcp),
            _ => Either::Left(within(target, Phase::Tls, deadlines.tls, tls::encrypt(target, tcp)).await?),
        };
        let (handshake, token) = ticket(target, peer.port(), opening).await?.unzip();
        let config = config(target, peer.port(), deadlines);
        let stream = SspiStream::new(stream, token);
        let server_token = stream.server_token();
        let wire = PreloginShim::new(stream);
        let (response_limit, response_check) = (wire.response_limit(), wire.response_check());
        let login = async {
            let client = Client::connect(config, wire.compat_write()).await;
            check_login(target, &response_check, deadlines.login, client)
        };
        let client = within(target, Phase::Login, deadlines.login, login).await?;
        if let Some(handshake) = handshake {
            within(target, Phase::Login, deadlines.login, handshake.verify_server(target, server_token.take())).await?;
        }
        let (limits, namespace) = (opening.limits.clone(), target.namespace.clone());
        Ok(Session { client, response_limit, response_check, limits, namespace, port: peer.port(), _share: share })
    }

    /// The TCP port of the instance.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Runs one batch and reads the whole response within `deadline`, `MAX_RESPONSE_BYTES` and the memory of the namespace.
    ///
    /// # Errors
    /// The deadline, a defect of the response or the error of tiberius; the session is closed.
    pub async fn query(mut self, batch: &str, deadline: Duration) -> Result<(Session, Results), Failure> {
        self.response_limit.reset();
        self.response_check.reset(self.limits.response(&self.namespace));
        let answer = async { self.client.simple_query(batch).await?.into_results().await };
        let answer = timeout(deadline, answer).await.map_err(|_| Failure::TimedOut)?;
        match (answer, self.response_check.defect()) {
            // The error of the server is more precise than the status of its response.
            (Err(error @ Error::Server(_)), _) => Err(Failure::Tds(error)),
            (_, Some(Defect(what))) => Err(Failure::Invalid(what)),
            (Err(_), None) if self.response_limit.exceeded() => Err(Failure::Invalid(TOO_LONG)),
            (Err(error), None) if is_closed(&error) && !self.response_check.started() => Err(Failure::Unanswered),
            (Err(error), None) => Err(Failure::Tds(error)),
            (Ok(sets), None) => {
                let memory = self.response_check.take_memory();
                Ok((self, Results { sets, _memory: memory }))
            }
        }
    }
}

/// Whether the connection has ended. A timeout of the network stack is no such end: the batch may be running.
fn is_closed(error: &Error) -> bool {
    matches!(error, Error::Io { kind, .. } if *kind != IoErrorKind::TimedOut && *kind != IoErrorKind::InvalidData)
}

/// The oldest supported version of TDS, that of SQL Server 2008.
const OLDEST_TDS: (u8, u8) = (7, 3);

/// Accepts only a login that the server acknowledged, in a supported version of TDS.
fn check_login<T>(
    target: &Target,
    check: &ResponseCheck,
    deadline: Duration,
    client: tiberius::Result<T>,
) -> Result<T, Unavailable> {
    let address = target.address();
    // Not every version of SQL Server calls it an error that it accepts no further connection.
    let stated = login_error::explain_end(&address, &target.login, &check.login_messages());
    match (check.login_version(), client, stated) {
        (Some(version @ (major, minor)), ..) if version < OLDEST_TDS => {
            let detail = format!(
                "{address} speaks TDS {major}.{minor}. To fix: upgrade the server, as SQL Server 2008 R2 is the oldest supported version."
            );
            Err(unavailable(UnavailableCause::ServerTooOld, detail))
        }
        (_, Err(Error::Server(token)), _) => {
            Err(login_error::explain(&address, &target.login, token.code(), token.message()))
        }
        (None, _, Some(stated)) => Err(stated),
        (_, Err(error), _) => Err(match check.defect() {
            Some(Defect(what)) => error::protocol_error(&address, Phase::Login, what),
            None => error::tds(&address, Phase::Login, &error, deadline),
        }),
        (None, Ok(_), None) => {
            Err(error::protocol_error(&address, Phase::Login, "the server did not acknowledge the login (LOGINACK)"))
        }
        (Some(_), Ok(client), _) => Ok(client),
    }
}

async fn within<T>(
    target: &Target,
    phase: Phase,
    deadline: Duration,
    work: impl Future<Output = Result<T, Unavailable>>,
) -> Result<T, Unavailable> {
    timeout(deadline, work).await.unwrap_or_else(|_| Err(error::timed_out(&target.address(), phase, deadline)))
}

/// The handshake and token of a Kerberos login; `None` for a login with a password.
async fn ticket(target: &Target, port: u16, opening: &Opening) -> Result<Option<(Handshake, Vec<u8>)>, Unavailable> {
    let Authentication::Kerberos(account) = &target.login else { return Ok(None) };
    // The wait for other logins is no silence of the KDC.
    let shares = opening.helper(target, account).await?;
    let deadline = opening.deadlines.ticket;
    timeout(deadline, Handshake::begin(target, account, port, shares))
        .await
        .unwrap_or_else(|_| Err(kerberos::kdc_timed_out(target, account, deadline)))
        .map(Some)
}

/// Exchanges PRELOGIN before TLS. Accepts only full encryption, or none where the spec disables it.
async fn negotiate(target: &Target, tcp: &mut TcpStream) -> Result<(), Unavailable> {
    let address = target.address();
    let instance = match &target.endpoint {
        InstanceAddress::Instance(name) => name.as_str(),
        InstanceAddress::Port(_) => "",
    };
    let encrypt = target.tls != Tls::Off;
    let request = prelogin::packets(prelogin::PRELOGIN, &prelogin::request(instance, encrypt));
    let broken = |e: std::io::Error| error::io(&address, Phase::Prelogin, &e);
    tcp.write_all(&request).await.map_err(broken)?;

    let mut payload = Vec::new();
    loop {
        let mut header = [0; HEADER];
        tcp.read_exact(&mut header).await.map_err(broken)?;
        let (last, length) = match Header::parse(header) {
            Some(Header { kind: prelogin::TABULAR, last, length }) => (last, length),
            Some(Header { kind: prelogin::PRELOGIN, .. }) => {
                let what = "the answer is a request for a prelogin, as of a client";
                return Err(error::protocol_error(&address, Phase::Prelogin, what));
            }
            _ => return Err(error::protocol_error(&address, Phase::Prelogin, "the packet is not a TDS response")),
        };
        let start = payload.len();
        payload.resize(start + length, 0);
        tcp.read_exact(&mut payload[start..]).await.map_err(broken)?;
        if last {
            break;
        }
        if payload.len() > usize::from(u16::MAX) {
            return Err(error::protocol_error(&address, Phase::Prelogin, "the prelogin is too long"));
        }
    }
    // Instead of its reply, a server that takes no further connection sends the error.
    if let Some(stated) = login_error::explain_end(&address, &target.login, &messages(&payload)) {
        return Err(stated);
    }
    let reply = prelogin::parse(&payload).map_err(|what| error::protocol_error(&address, Phase::Prelogin, what))?;
    if !reply.instance {
        let detail = format!("The port that the SQL Server Browser reports for {address} belongs to another instance.");
        return Err(unavailable(UnavailableCause::InstanceNotFound, detail));
    }
    match (reply.encryption, encrypt) {
        (Encryption::Full, true) | (Encryption::NotSupported, false) => Ok(()),
        (Encryption::LoginOnly | Encryption::NotSupported, true) => Err(unavailable(
            UnavailableCause::TlsFailed,
            format!("{address} does not offer encryption of the whole connection: no login was sent."),
        )),
        (Encryption::Full, false) => Err(unavailable(
            UnavailableCause::TlsFailed,
            format!("{address} demands encryption, but spec.sql.tls.mode disables it. To fix: set another mode."),
        )),
        (Encryption::LoginOnly, false) => Err(unavailable(
            UnavailableCause::TlsFailed,
            format!(
                "{address} encrypts the login, but spec.sql.tls.mode disables encryption. To fix: set another mode."
            ),
        )),
    }
}

fn config(target: &Target, port: u16, deadlines: &Deadlines) -> Config {
    let mut config = Config::new();
    config.host(&target.host);
    config.port(port);
    config.database("master");
    config.application_name("lync-mirror");
    // TLS runs below tiberius, so tiberius must not encrypt again.
    config.encryption(EncryptionLevel::NotSupported);
    config.authentication(match &target.login {
        Authentication::SqlLogin { username, password } => AuthMethod::sql_server(username, password.expose_secret()),
        // `SspiStream` replaces the empty password with the token.
        Authentication::Kerberos(_) => AuthMethod::sql_server("", ""),
    });
    config.handshake_timeout(Some(deadlines.login));
    // `query` limits the whole response; the pause between two tokens of a failover may take as long.
    config.command_timeout(None);
    config
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::sql::Account;
    use crate::sql::connector::Connector;
    use crate::sql::limits::Limits;
    use crate::sql::prelogin::{TABULAR, packets};
    use crate::sql::tests::{opening, short, target};

    /// Opens a session with a listener that reads the prelogin, sends `answer` and keeps or closes the connection.
    async fn open_against(answer: &[u8], keep_open: bool) -> Unavailable {
        let tls = target(0).tls;
        open_with(answer, keep_open, tls).await
    }

    async fn open_with(answer: &[u8], keep_open: bool, tls: Tls) -> Unavailable {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target { tls, ..target(listener.local_addr().unwrap().port()) };
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if keep_open {
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
            }
        };
        let connector = Connector::new(target.clone(), short(), Limits::default(), Duration::ZERO);
        let (session, ()) = tokio::join!(connector.open(), serve);
        let Err(unavailable) = session else { panic!("a session with a listener that does not implement TDS") };
        assert!(unavailable.detail.contains(&target.address()), "{}", unavailable.detail);
        unavailable
    }

    fn encryption(byte: u8) -> Vec<u8> {
        packets(TABULAR, &[1, 0, 6, 0, 1, 0xff, byte])
    }

    #[tokio::test]
    async fn open_with_a_silent_server_times_out_in_the_prelogin() {
        let unavailable = open_against(&[], true).await;
        assert_eq!(unavailable.cause, UnavailableCause::Unresponsive);
        assert!(unavailable.detail.contains("the TDS prelogin"), "{}", unavailable.detail);
    }

    #[tokio::test]
    async fn open_with_a_stalled_tls_handshake_times_out() {
        let unavailable = open_against(&encryption(1), true).await;
        assert_eq!(unavailable.cause, UnavailableCause::Unresponsive);
        assert!(unavailable.detail.contains("the TLS handshake"), "{}", unavailable.detail);
    }

    #[tokio::test]
    async fn open_with_a_closed_connection_is_lost() {
        assert_eq!(open_against(&[], false).await.cause, UnavailableCause::ConnectionLost);
        assert_eq!(open_against(&encryption(1)[..9], false).await.cause, UnavailableCause::ConnectionLost);
    }

    #[tokio::test]
    async fn open_with_a_connection_closed_in_tls_is_a_tls_failure() {
        assert_eq!(open_against(&encryption(1), false).await.cause, UnavailableCause::TlsFailed);
    }

    #[tokio::test]
    async fn open_with_garbage_is_a_protocol_error() {
        assert_eq!(open_against(b"SSH-2.0-OpenSSH_9.2\r\n", true).await.cause, UnavailableCause::ProtocolError);
        assert_eq!(open_against(&encryption(9), true).await.cause, UnavailableCause::ProtocolError);
        let mut garbage = encryption(1);
        garbage.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert_eq!(open_against(&garbage, true).await.cause, UnavailableCause::ProtocolError);
    }

    #[tokio::test]
    async fn open_with_an_error_instead_of_a_prelogin_names_the_state() {
        let full = packets(TABULAR, &crate::sql::fake_server::refusal(17_809));
        assert_eq!(open_against(&full, false).await.cause, UnavailableCause::ConnectionLimit);
        let unknown = packets(TABULAR, &crate::sql::fake_server::refusal(50_000));
        assert_eq!(open_against(&unknown, false).await.cause, UnavailableCause::ProtocolError);
    }

    #[tokio::test]
    async fn open_without_encryption_sends_no_login() {
        for byte in [0, 2] {
            let unavailable = open_against(&encryption(byte), true).await;
            assert_eq!(unavailable.cause, UnavailableCause::TlsFailed);
        }
    }

    #[tokio::test]
    async fn open_with_a_prelogin_packet_in_return_names_it() {
        let mut echoed = encryption(1);
        echoed[0] = prelogin::PRELOGIN;
        let unavailable = open_against(&echoed, true).await;
        assert_eq!(unavailable.cause, UnavailableCause::ProtocolError);
        assert!(unavailable.detail.contains("request for a prelogin"), "{}", unavailable.detail);
    }

    /// `tls.mode: Disabled`.
    #[tokio::test]
    async fn open_to_a_server_that_encrypts_more_than_the_spec_names_what_it_encrypts() {
        for (byte, what) in [(0, "encrypts the login"), (1, "demands encryption"), (3, "demands encryption")] {
            let unavailable = open_with(&encryption(byte), true, Tls::Off).await;
            assert_eq!(unavailable.cause, UnavailableCause::TlsFailed, "{byte}");
            assert!(unavailable.detail.contains(what), "{}", unavailable.detail);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ticket_that_waits_for_a_helper_is_no_silent_kdc() {
        let opening = opening();
        let opening = Opening { deadlines: Deadlines { share: Duration::MAX, ..opening.deadlines }, ..opening };
        let account = Account::new("svc-lync@CONTOSO.COM", b"keys".to_vec(), Vec::new()).unwrap();
        let target = Target { login: Authentication::Kerberos(account.into()), ..target(1433) };
        let Authentication::Kerberos(account) = &target.login else { unreachable!() };
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(opening.helper(&target, account).await.unwrap());
        }
        let ticket = timeout(10 * opening.deadlines.ticket, ticket(&target, 1433, &opening)).await;
        assert!(ticket.is_err(), "{:?}", ticket.map(|ticket| ticket.err()));
    }
}
