//! One connection from accept to close: PRELOGIN, TLS, LOGIN7, then the session.

use super::faults::{AtPhase, Phase};
use super::flood::flood;
use super::probe::{Moment, Request};
use super::shared::SharedState;
use super::{Server, login, reset_on_close, second_handle, session};
use crate::wire::WireError;
use crate::wire::packet::{DEFAULT_SIZE, Message, kind, read_message, write_message};
use crate::wire::prelogin::{self, EncryptionScope, Prelogin};
use crate::wire::stream::Stream;
use crate::world::Reach;
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How the server ends a connection without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Close,
    Reset,
}

/// The response of fault `garbage`: another protocol, long enough to be parsed as a packet.
const GARBAGE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves one connection. The sender of `alive` is dropped when the server goes down, which resets the connection.
pub async fn serve(shared: Arc<SharedState>, server: Arc<Server>, tcp: TcpStream, mut alive: watch::Receiver<()>) {
    let _counted = shared.journal.connection(&server.id);
    // The second handle keeps the socket open until the choice between FIN and RST is made.
    let Ok(handle) = second_handle(&tcp) else { return };
    let end = tokio::select! {
        biased;
        _ = alive.changed() => Ok(End::Reset),
        end = handle_connection(&shared, &server, tcp) => end,
    };
    match end {
        // A server that goes down also kills its sessions; this event can arrive first.
        Ok(End::Close) if shared.reach(&server.id) == Reach::Down => reset_on_close(&handle),
        Ok(End::Close) => {}
        Ok(End::Reset) => reset_on_close(&handle),
        Err(error) => tracing::debug!(server = server.id, %error, "connection ended"),
    }
}

async fn handle_connection(shared: &Arc<SharedState>, server: &Arc<Server>, tcp: TcpStream) -> Result<End, WireError> {
    let mut stream = Stream::Plain(tcp);
    if apply_faults(shared, server, Phase::Connect, &mut stream).await? == PhaseOutcome::Answered {
        return Ok(End::Close);
    }
    let Some(message) = expect(&mut stream, kind::PRELOGIN).await? else { return Ok(End::Close) };
    let client = Prelogin::parse(&message.payload)?;
    if apply_faults(shared, server, Phase::Prelogin, &mut stream).await? == PhaseOutcome::Answered {
        return Ok(End::Close);
    }
    let (encrypt, scope) = prelogin::agree(client.encrypt, server.mode);
    let answer = prelogin::answer(shared.build(&server.id), encrypt, server.answers_to(&client.instance));
    write_message(&mut stream, kind::ANSWER, 0, DEFAULT_SIZE, &answer).await?;

    match (scope, &server.tls) {
        (EncryptionScope::Login | EncryptionScope::Everything, Some(context)) => {
            if apply_faults(shared, server, Phase::Tls, &mut stream).await? == PhaseOutcome::Answered {
                return Ok(End::Close);
            }
            stream = stream.encrypt(context).await?;
        }
        (EncryptionScope::Nothing, _) => {}
        // The client must disconnect. A client that continues is disconnected here.
        _ => {
            read_message(&mut stream).await?;
            return Ok(End::Close);
        }
    }
    let Some(message) = expect(&mut stream, kind::LOGIN7).await? else { return Ok(End::Close) };
    if scope == EncryptionScope::Login {
        stream = stream.decrypt();
    }
    if apply_faults(shared, server, Phase::Login, &mut stream).await? == PhaseOutcome::Answered {
        return Ok(End::Close);
    }
    let number = shared.next_request_number();
    shared.call_probe(&server.id, number, Request::Login, Moment::Received).await;
    let entered = login::login(shared, server, &message.payload, scope, number, &mut stream).await?;
    shared.call_probe(&server.id, number, Request::Login, Moment::Answered).await;
    match entered {
        Some(session) => session::run(session, stream).await,
        None => {
            let _ = stream.shutdown().await;
            Ok(End::Close)
        }
    }
}

/// The next message, which must be of this kind; `None` if the client has closed the connection.
async fn expect(stream: &mut Stream, kind: u8) -> Result<Option<Message>, WireError> {
    match read_message(stream).await? {
        Some(message) if message.kind == kind => Ok(Some(message)),
        Some(other) => Err(WireError::Unexpected(other.kind)),
        None => Ok(None),
    }
}

/// The effect of the faults of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseOutcome {
    Continue,
    /// A fault has sent its own response; the connection must close.
    Answered,
}

/// Waits while the server is paused and applies the armed fault of a phase.
pub async fn apply_faults(
    shared: &SharedState,
    server: &Server,
    phase: Phase,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<PhaseOutcome, WireError> {
    shared.wait_while_paused(&server.id).await;
    match shared.faults.at(&server.id, phase) {
        AtPhase::Go => Ok(PhaseOutcome::Continue),
        AtPhase::Stall(Some(time)) => {
            tokio::time::sleep(time).await;
            Ok(PhaseOutcome::Continue)
        }
        AtPhase::Stall(None) => std::future::pending().await,
        AtPhase::Garbage => {
            to.write_all(GARBAGE).await?;
            to.flush().await?;
            Ok(PhaseOutcome::Answered)
        }
        AtPhase::Flood => {
            flood(to).await?;
            Ok(PhaseOutcome::Answered)
        }
    }
}
