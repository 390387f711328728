//! One connection from accept to close: PRELOGIN, TLS, LOGIN7, then the session. It also knows how each ends.

use super::faults::{AtPhase, Phase};
use super::flood::flood;
use super::probe::{Moment, Request};
use super::stage::Stage;
use super::{Server, login, reset_on_close, second_handle, session};
use crate::wire::WireError;
use crate::wire::packet::{DEFAULT_SIZE, Message, kind, read_message, write_message};
use crate::wire::prelogin::{self, Cover, Prelogin};
use crate::wire::stream::Stream;
use crate::world::Reach;
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How a connection ends when nothing went wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Close,
    Reset,
}

/// What faults call garbage: another protocol's answer, long enough to be misread as a packet.
const GARBAGE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// `alive` loses its sender when the server goes down.
pub async fn serve(stage: Arc<Stage>, server: Arc<Server>, tcp: TcpStream, mut alive: watch::Receiver<()>) {
    let _counted = stage.journal.connection(&server.id);
    // A second handle outlives the conversation, so that its socket closes only after the choice between FIN and RST.
    let Ok(handle) = second_handle(&tcp) else { return };
    let end = tokio::select! {
        biased;
        _ = alive.changed() => Ok(End::Reset),
        end = converse(&stage, &server, tcp) => end,
    };
    match end {
        // The world kills the sessions of a server that goes down, which may be noticed here first.
        Ok(End::Close) if stage.reach(&server.id) == Reach::Down => reset_on_close(&handle),
        Ok(End::Close) => {}
        Ok(End::Reset) => reset_on_close(&handle),
        Err(error) => tracing::debug!(server = server.id, %error, "connection ended"),
    }
}

async fn converse(stage: &Arc<Stage>, server: &Arc<Server>, tcp: TcpStream) -> Result<End, WireError> {
    let mut stream = Stream::Plain(tcp);
    if phase(stage, server, Phase::Connect, &mut stream).await? == Met::Garbage {
        return Ok(End::Close);
    }
    let Some(message) = expect(&mut stream, kind::PRELOGIN).await? else { return Ok(End::Close) };
    let client = Prelogin::parse(&message.payload)?;
    if phase(stage, server, Phase::Prelogin, &mut stream).await? == Met::Garbage {
        return Ok(End::Close);
    }
    let (encrypt, cover) = prelogin::agree(client.encrypt, server.mode);
    let answer = prelogin::answer(stage.build(&server.id), encrypt, server.answers_to(&client.instance));
    write_message(&mut stream, kind::ANSWER, 0, DEFAULT_SIZE, &answer).await?;

    match (cover, &server.tls) {
        (Cover::Login | Cover::Everything, Some(context)) => {
            if phase(stage, server, Phase::Tls, &mut stream).await? == Met::Garbage {
                return Ok(End::Close);
            }
            stream = stream.encrypt(context).await?;
        }
        (Cover::Nothing, _) => {}
        // The client has to leave by itself; one that logs in all the same is cut.
        _ => {
            read_message(&mut stream).await?;
            return Ok(End::Close);
        }
    }
    let Some(message) = expect(&mut stream, kind::LOGIN7).await? else { return Ok(End::Close) };
    if cover == Cover::Login {
        stream = stream.decrypt();
    }
    if phase(stage, server, Phase::Login, &mut stream).await? == Met::Garbage {
        return Ok(End::Close);
    }
    let number = stage.next_request();
    stage.probed(&server.id, number, Request::Login, Moment::Received).await;
    let entered = login::login(stage, server, &message.payload, cover, number, &mut stream).await?;
    stage.probed(&server.id, number, Request::Login, Moment::Answered).await;
    match entered {
        Some(session) => session::run(session, stream).await,
        None => {
            let _ = stream.shutdown().await;
            Ok(End::Close)
        }
    }
}

async fn expect(stream: &mut Stream, kind: u8) -> Result<Option<Message>, WireError> {
    match read_message(stream).await? {
        Some(message) if message.kind == kind => Ok(Some(message)),
        Some(other) => Err(WireError::Unexpected(other.kind)),
        None => Ok(None),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    Nothing,
    Garbage,
}

/// Where a frozen server and the faults of a phase take hold.
pub async fn phase(
    stage: &Stage,
    server: &Server,
    phase: Phase,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Met, WireError> {
    stage.gate(&server.id).await;
    match stage.faults.at(&server.id, phase) {
        AtPhase::Go => Ok(Met::Nothing),
        AtPhase::Stall(Some(time)) => {
            tokio::time::sleep(time).await;
            Ok(Met::Nothing)
        }
        AtPhase::Stall(None) => std::future::pending().await,
        AtPhase::Garbage => {
            to.write_all(GARBAGE).await?;
            to.flush().await?;
            Ok(Met::Garbage)
        }
        AtPhase::Flood => {
            flood(to).await?;
            Ok(Met::Garbage)
        }
    }
}
