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
use crate::sql::memory_budget::Exhausted;
use crate::sql::prelogin::{self, Encryption, HEADER, Header};
use crate::sql::prelogin_stream::{PreloginShim, TlsInPrelogin};
use crate::sql::response_check::ResponseCheck;
use crate::sql::response_defect::Defect;
use crate::sql::response_limit::{ResponseLimit, TOO_LONG};
use crate::sql::response_memory::Reserved;
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
    /// The operator had no memory for the response.
    NoMemory {
        namespace: Arc<str>,
        exhausted: Exhausted,
    },
    Tds(Error),
}

impl Failure {
    /// The cause for which a server is unavailable whose poll failed.
    pub fn unavailable(&self, address: &str, deadline: Duration) -> Unavailable {
        match self {
            Failure::TimedOut => error::timed_out(address, Phase::Poll, deadline),
            Failure::Unanswered => error::lost(address, Phase::Poll),
            Failure::NoMemory { namespace, exhausted } => error::no_memory(address, namespace, RESPONSES, *exhausted),
            Failure::Invalid(what) => error::protocol_error(address, Phase::Poll, what),
            Failure::Tds(e) => error::poll(address, e, deadline),
        }
    }
}

/// What the responses are in a message.
const RESPONSES: &str = "responses of SQL Servers";

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
            (_, Some(Defect::Invalid(what))) => Err(Failure::Invalid(what)),
            (_, Some(Defect::NoMemory(exhausted))) => {
                Err(Failure::NoMemory { namespace: self.namespace.clone(), exhausted })
            }
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
            Some(Defect::Invalid(what)) => error::protocol_error(&address, Phase::Login, what),
            Some(Defect::NoMemory(exhausted)) => error::no_memory(&address, &target.namespace, RESPONSES, exhausted),
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
#[path = "session_tests.rs"]
mod tests;
