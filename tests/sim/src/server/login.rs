//! The response to LOGIN7. The world decides about the login; this module authenticates and encodes the result.

use super::Server;
use super::faults::Phase;
use super::kerberos::{self, Accepted};
use super::probe::{Moment, Request};
use super::session::Session;
use super::shared::SharedState;
use crate::journal::{LoginEntry, SessionInfo};
use crate::value::Message;
use crate::wire::login7::Login7;
use crate::wire::packet::{DEFAULT_SIZE, kind, write_message};
use crate::wire::prelogin::EncryptionScope;
use crate::wire::tokens::{self, Change, DoneKind, done};
use crate::wire::{TdsVersion, WireError};
use crate::world::Login;
use bytes::BytesMut;
use std::sync::Arc;
use tokio::io::AsyncWrite;

/// Handles a LOGIN7 message. Returns the session, or `None` after the response to a rejected login.
///
/// # Errors
/// A malformed message, a TDS version before 7.2, or a failed write.
pub async fn login(
    shared: &Arc<SharedState>,
    server: &Arc<Server>,
    payload: &[u8],
    scope: EncryptionScope,
    number: u64,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<Session>, WireError> {
    let request = Login7::parse(payload)?;
    let build = shared.build(&server.id);
    let version = TdsVersion::agree(build[0], request.tds_version)?;
    let (user, proof, result) = authenticate(shared, server, &request);
    shared.journal.login(LoginEntry {
        seq: 0,
        server: server.id.clone(),
        login: user.clone(),
        app: request.app.clone(),
        database: request.database.clone(),
        at_millis: shared.now().as_millis() as u64,
        encryption: scope.name(),
        outcome: result.as_ref().map_or_else(|error| format!("error {}", error.number), |_| "done".to_owned()),
    });
    shared.call_probe(&server.id, number, Request::Login, Moment::Executed).await;
    let login = match result {
        Ok(login) => login,
        Err(message) => {
            let response = rejection(server, &user, &message);
            write_message(to, kind::ANSWER, 0, DEFAULT_SIZE, &response).await?;
            return Ok(None);
        }
    };
    let session_info =
        SessionInfo { server: server.id.clone(), session: login.session, login: user, app: request.app.clone() };
    let packet_size = request.agreed_packet_size();
    shared.with(|world, _| world.set_client(login.session, &request.host, &request.app));
    let session = Session::new(shared.clone(), server.clone(), session_info, version, packet_size);
    if !proof.is_empty() {
        // A separate message: the ODBC driver of Microsoft expects no other token in the message.
        let mut message = BytesMut::new();
        tokens::put_sspi(&mut message, &proof);
        write_message(to, kind::ANSWER, 0, DEFAULT_SIZE, &message).await?;
    }
    let mut response = BytesMut::from(shared.faults.surprise(&server.id, Phase::Login).as_slice());
    put_acceptance(&mut response, server, &login, &request, (version, build));
    // The new packet size applies from the next message on.
    write_message(to, kind::ANSWER, session.spid(), DEFAULT_SIZE, &response).await?;
    Ok(Some(session))
}

/// The login name, the Kerberos proof of the server (empty if there is none), and the decision about the login.
fn authenticate(shared: &SharedState, server: &Server, request: &Login7) -> (String, Vec<u8>, Result<Login, Message>) {
    let ticket = request.sspi.as_deref().map(|ticket| accept(server, ticket)).transpose();
    let (user, proof) = match ticket {
        Ok(Some(accepted)) => (accepted.login, accepted.token),
        Ok(None) => (request.user.clone(), Vec::new()),
        Err(error) => {
            tracing::info!(server = server.id, %error, "Kerberos");
            return (request.user.clone(), Vec::new(), Err(untrusted()));
        }
    };
    let password = request.sspi.is_none().then_some(request.password.as_str());
    let result = shared.with(|world, now| world.login(now, &server.id, &user, password, &request.database));
    (user, proof, result)
}

/// The error of a rejected login. Error 18456 follows 4060 and 4064, and 18451 follows 6005, as SQL Server sends them.
fn rejection(server: &Server, user: &str, message: &Message) -> BytesMut {
    let mut out = BytesMut::new();
    tokens::put_message(&mut out, message, &server.name);
    let failed = |number, reason: &str| {
        let text = format!("Login failed for user '{user}'.{reason}");
        Message { number, state: 1, class: 14, text, line: 1 }
    };
    match message.number {
        4060 | 4064 => tokens::put_message(&mut out, &failed(18456, ""), &server.name),
        // SHUTDOWN IN PROGRESS is only informational.
        6005 => {
            let failed = failed(18451, " Only administrators may connect at this time.");
            tokens::put_message(&mut out, &failed, &server.name);
        }
        _ => {}
    }
    tokens::put_done(&mut out, DoneKind::Done, done::ERROR, None);
    out
}

/// The tokens of an accepted login, in the order of a SQL Server.
fn put_acceptance(
    out: &mut BytesMut,
    server: &Server,
    login: &Login,
    request: &Login7,
    (version, build): (TdsVersion, [u8; 4]),
) {
    let info = |number, text: String| Message { number, state: 1, class: 0, text, line: 1 };
    tokens::put_change(out, Change::Database, &login.database, "master");
    let text = format!("Changed database context to '{}'.", login.database);
    tokens::put_message(out, &info(5701, text), &server.name);
    tokens::put_collation_change(out);
    tokens::put_change(out, Change::Language, "us_english", "");
    let text = "Changed language setting to us_english.".to_owned();
    tokens::put_message(out, &info(5703, text), &server.name);
    tokens::put_login_ack(out, version, build);
    let packet_size = request.agreed_packet_size();
    tokens::put_change(out, Change::PacketSize, &packet_size.to_string(), &DEFAULT_SIZE.to_string());
    if let Some(partner) = &login.failover_partner {
        tokens::put_change(out, Change::Partner, partner, "");
    }
    if version >= TdsVersion::V7_4 && request.features.is_some() {
        tokens::put_feature_ack(out);
    }
    tokens::put_done(out, DoneKind::Done, 0, None);
}

/// Verifies a Kerberos ticket, unless the server is an impostor.
fn accept(server: &Server, ticket: &[u8]) -> Result<Accepted, libgssapi::error::Error> {
    match &server.lets_in_as {
        Some(login) => Ok(Accepted { login: login.clone(), token: Vec::new() }),
        None => kerberos::accept(ticket),
    }
}

fn untrusted() -> Message {
    let text = "Login failed. The login is from an untrusted domain and cannot be used with Windows authentication.";
    Message { number: 18452, state: 1, class: 14, text: text.to_owned(), line: 1 }
}
