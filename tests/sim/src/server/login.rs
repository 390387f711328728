//! The answer to LOGIN7: who may enter is the world's word, how it is said is here.

use super::Server;
use super::faults::Phase;
use super::kerberos::{self, Accepted};
use super::probe::{Moment, Request};
use super::session::Session;
use super::stage::Stage;
use crate::journal::{LoginEntry, Who};
use crate::value::Message;
use crate::wire::login7::Login7;
use crate::wire::packet::{DEFAULT_SIZE, kind, write_message};
use crate::wire::prelogin::Cover;
use crate::wire::tokens::{self, Change, DoneKind, done};
use crate::wire::{TdsVersion, WireError};
use bytes::BytesMut;
use std::sync::Arc;
use tokio::io::AsyncWrite;

/// The session, or None when the login was refused and the client told so.
pub async fn login(
    stage: &Arc<Stage>,
    server: &Arc<Server>,
    payload: &[u8],
    cover: Cover,
    number: u64,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<Session>, WireError> {
    let asked = Login7::parse(payload)?;
    let build = stage.build(&server.id);
    let version = TdsVersion::agree(build[0], asked.tds_version)?;
    let vouched = asked.sspi.as_deref().map(|ticket| accept(server, ticket)).transpose();
    let user = match &vouched {
        Ok(Some(Accepted { login, .. })) => login.clone(),
        Ok(None) | Err(_) => asked.user.clone(),
    };
    let password = asked.sspi.is_none().then_some(asked.password.as_str());
    let answer = match &vouched {
        Ok(_) => stage.with(|world, now| world.login(now, &server.id, &user, password, &asked.database)),
        Err(error) => {
            tracing::info!(server = server.id, %error, "Kerberos");
            Err(untrusted())
        }
    };
    stage.journal.login(LoginEntry {
        seq: 0,
        server: server.id.clone(),
        login: user.clone(),
        app: asked.app.clone(),
        database: asked.database.clone(),
        at_millis: stage.now().as_millis() as u64,
        encryption: cover.name(),
        outcome: answer.as_ref().map_or_else(|error| format!("error {}", error.number), |_| "done".to_owned()),
    });
    stage.probed(&server.id, number, Request::Login, Moment::Executed).await;
    let mut out = BytesMut::new();
    let login = match answer {
        Ok(login) => login,
        Err(message) => {
            tokens::put_message(&mut out, &message, &server.name);
            if message.number == 4060 {
                let failed = format!("Login failed for user '{user}'.");
                let failed = Message { number: 18456, state: 1, class: 14, text: failed, line: 1 };
                tokens::put_message(&mut out, &failed, &server.name);
            }
            tokens::put_done(&mut out, DoneKind::Done, done::ERROR, None);
            write_message(to, kind::ANSWER, 0, DEFAULT_SIZE, &out).await?;
            return Ok(None);
        }
    };
    let who = Who { server: server.id.clone(), session: login.session, login: user, app: asked.app.clone() };
    let packet_size = asked.agreed_packet_size();
    let session = Session::new(stage.clone(), server.clone(), who, version, packet_size);

    if let Ok(Some(Accepted { token, .. })) = &vouched
        && !token.is_empty()
    {
        // A message of its own: Microsoft's driver looks for nothing else in it, and has nothing more to say itself.
        tokens::put_sspi(&mut out, token);
        write_message(to, kind::ANSWER, 0, DEFAULT_SIZE, &out.split()).await?;
    }
    out.extend_from_slice(&stage.faults.surprise(&server.id, Phase::Login));
    let info = |number, text: String| Message { number, state: 1, class: 0, text, line: 1 };
    tokens::put_change(&mut out, Change::Database, &login.database, "master");
    let text = format!("Changed database context to '{}'.", login.database);
    tokens::put_message(&mut out, &info(5701, text), &server.name);
    tokens::put_collation_change(&mut out);
    tokens::put_change(&mut out, Change::Language, "us_english", "");
    let text = "Changed language setting to us_english.".to_owned();
    tokens::put_message(&mut out, &info(5703, text), &server.name);
    tokens::put_login_ack(&mut out, version, build);
    tokens::put_change(&mut out, Change::PacketSize, &packet_size.to_string(), &DEFAULT_SIZE.to_string());
    if let Some(partner) = &login.failover_partner {
        tokens::put_change(&mut out, Change::Partner, partner, "");
    }
    if version >= TdsVersion::V7_4 && asked.features.is_some() {
        tokens::put_feature_ack(&mut out);
    }
    tokens::put_done(&mut out, DoneKind::Done, 0, None);
    // The new packet size counts from the message after this one.
    write_message(to, kind::ANSWER, session.spid(), DEFAULT_SIZE, &out).await?;
    Ok(Some(session))
}

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
