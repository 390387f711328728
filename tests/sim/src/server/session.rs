//! A session after its login: reads requests, runs statements against the world, sends responses.
//! Module `procedures` implements the stored procedures.

use super::Server;
use super::connection::{End, PhaseOutcome, apply_faults};
use super::faults::{BeforeStatement, Phase};
use super::probe::{Moment, Request};
use super::shared::SharedState;
use crate::journal::SessionInfo;
use crate::sql::Batch;
use crate::value::{Event, Parameter, Step};
use crate::wire::answer::Answer;
use crate::wire::packet::{Message, kind, read_message, write_message};
use crate::wire::request::{self, Transaction};
use crate::wire::stream::Stream;
use crate::wire::tokens::{self, TransactionChange};
use crate::wire::{TdsVersion, WireError, rpc};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// One client session.
pub struct Session {
    pub(super) shared: Arc<SharedState>,
    server: Arc<Server>,
    session_info: SessionInfo,
    version: TdsVersion,
    packet_size: u16,
    pub(super) prepared: HashMap<i32, super::procedures::Prepared>,
    pub(super) last_handle: i32,
    transaction: Option<u64>,
    last_transaction: u64,
    /// The request number and text of the statement whose response has not been sent.
    answering: Option<(u64, String)>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.with(|world, _| world.close(self.session_info.session));
    }
}

/// Why the response to a request is not sent normally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The client's ATTENTION arrived while the statement result.
    Cancelled,
    /// The client gave up the request while it sent it.
    GivenUp,
    /// Send the response so far, then close.
    Disconnect,
    /// Send nothing and reset the connection.
    Cut,
    /// A fault has already sent its own response.
    Garbage,
}

type RunResult = Result<(), Interruption>;

/// Capacity of the queue behind a running request: an ATTENTION, and some requests of a misbehaving client.
const INBOX: usize = 4;

/// Serves the session until the client disconnects, the session is killed or an error occurs.
pub async fn run(mut session: Session, stream: Stream) -> Result<End, WireError> {
    let (mut reader, writer) = tokio::io::split(stream);
    let (sender, inbox) = mpsc::channel(INBOX);
    let (shared, id) = (session.shared.clone(), session.session_info.session);
    tokio::select! {
        biased;
        end = session.serve(Wire { inbox, writer }) => end,
        () = shared.wait_until_killed(id) => Ok(End::Close),
        end = forward_messages(&mut reader, sender) => end,
    }
}

/// Reads messages while a statement runs, so that an ATTENTION or the end of the connection is detected.
async fn forward_messages(reader: &mut ReadHalf<Stream>, sender: mpsc::Sender<Message>) -> Result<End, WireError> {
    while let Some(message) = read_message(reader).await? {
        if sender.send(message).await.is_err() {
            break;
        }
    }
    Ok(End::Close)
}

pub(super) struct Wire {
    inbox: mpsc::Receiver<Message>,
    writer: WriteHalf<Stream>,
}

impl Session {
    pub fn new(
        shared: Arc<SharedState>,
        server: Arc<Server>,
        session_info: SessionInfo,
        version: TdsVersion,
        packet_size: u16,
    ) -> Self {
        let (prepared, last_handle) = (HashMap::new(), 0);
        Self {
            shared,
            server,
            session_info,
            version,
            packet_size,
            prepared,
            last_handle,
            transaction: None,
            last_transaction: 0,
            answering: None,
        }
    }

    /// The server process id in packet headers.
    pub fn spid(&self) -> u16 {
        self.session_info.session as u16
    }

    async fn serve(&mut self, mut wire: Wire) -> Result<End, WireError> {
        while let Some(message) = wire.inbox.recv().await {
            let mut answer = Answer::new(self.version, &self.server.name);
            if message.reset {
                self.reset(message.keeps_transaction);
                answer.raw(tokens::put_reset_change);
            }
            let result = match message.ignored {
                true => Err(Interruption::GivenUp),
                false => self.request(&message, &mut answer, &mut wire).await?,
            };
            let bytes = match result {
                Ok(()) if message.kind == kind::ATTENTION => Answer::acknowledge_attention(),
                Err(Interruption::Cancelled | Interruption::GivenUp) => answer.give_up(),
                Ok(()) | Err(Interruption::Disconnect) => answer.finish(),
                Err(Interruption::Cut) => return Ok(End::Reset),
                Err(Interruption::Garbage) => return Ok(End::Close),
            };
            self.shared.wait_while_paused(&self.server.id).await;
            write_message(&mut wire.writer, kind::ANSWER, self.spid(), self.packet_size, &bytes).await?;
            if let Some((number, text)) = self.answering.take() {
                self.shared.call_probe(&self.server.id, number, Request::Statement(&text), Moment::Answered).await;
            }
            if result == Err(Interruption::Cancelled) {
                let bytes = Answer::acknowledge_attention();
                write_message(&mut wire.writer, kind::ANSWER, self.spid(), self.packet_size, &bytes).await?;
            }
            if result == Err(Interruption::Disconnect) {
                return Ok(End::Close);
            }
        }
        Ok(End::Close)
    }

    /// Returns to the state after the login (MS-TDS 2.2.3.1.2).
    fn reset(&mut self, keeps_transaction: bool) {
        self.prepared.clear();
        if !keeps_transaction {
            self.transaction = None;
        }
        self.shared.with(|world, _| world.reset(self.session_info.session, keeps_transaction));
    }

    async fn request(
        &mut self,
        message: &Message,
        answer: &mut Answer,
        wire: &mut Wire,
    ) -> Result<RunResult, WireError> {
        match message.kind {
            kind::BATCH => {
                let text = request::batch(&message.payload)?;
                self.statement(&text, Vec::new(), answer, wire).await
            }
            kind::RPC => {
                let calls = match rpc::parse(&message.payload) {
                    Err(WireError::ParameterType(ty)) => return Ok(self.refuse_parameter(ty, answer)),
                    calls => calls?,
                };
                for call in calls {
                    if let Err(interruption) = self.call(call, answer, wire).await? {
                        return Ok(Err(interruption));
                    }
                }
                Ok(Ok(()))
            }
            kind::TRANSACTION => {
                self.transaction(request::transaction(&message.payload)?, answer);
                Ok(Ok(()))
            }
            // The response has already been sent; the acknowledgement is a separate message.
            kind::ATTENTION => Ok(Ok(())),
            other => Err(WireError::Unexpected(other)),
        }
    }

    fn transaction(&mut self, request: Transaction, answer: &mut Answer) {
        let ended = self.transaction;
        let then_begin = match request {
            Transaction::Begin => true,
            Transaction::Save => false,
            Transaction::Commit { then_begin } | Transaction::Rollback { then_begin } => then_begin,
        };
        if let (Some(id), Transaction::Commit { .. }) = (ended, request) {
            answer.raw(|out| tokens::put_transaction_change(out, TransactionChange::Committed(id)));
            self.transaction = None;
        }
        if let (Some(id), Transaction::Rollback { .. }) = (ended, request) {
            answer.raw(|out| tokens::put_transaction_change(out, TransactionChange::RolledBack(id)));
            self.transaction = None;
        }
        if then_begin {
            self.last_transaction += 1;
            let id = (u64::from(self.spid()) << 32) | self.last_transaction;
            self.transaction = Some(id);
            answer.raw(|out| tokens::put_transaction_change(out, TransactionChange::Began(id)));
        }
        let open = i64::from(self.transaction.is_some());
        self.shared.with(|world, _| world.set_transactions(self.session_info.session, open));
    }

    /// Runs one batch with its faults and records it in the journal.
    pub(super) async fn statement(
        &mut self,
        text: &str,
        parameters: Vec<Parameter>,
        answer: &mut Answer,
        wire: &mut Wire,
    ) -> Result<RunResult, WireError> {
        let (server, shared) = (self.server.id.clone(), self.shared.clone());
        let clock = {
            let shared = shared.clone();
            move || shared.now()
        };
        let number = shared.next_request_number();
        let statement = shared.journal.statement(&self.session_info, text, shared.now(), clock);
        shared.call_probe(&server, number, Request::Statement(text), Moment::Received).await;
        if apply_faults(&shared, &self.server, Phase::Batch, &mut wire.writer).await? == PhaseOutcome::Answered {
            return Ok(Err(Interruption::Garbage));
        }
        let mut refusal = None;
        match shared.faults.before(&server, text) {
            BeforeStatement::Go => {}
            BeforeStatement::Delay(time) => tokio::time::sleep(time).await,
            BeforeStatement::Cut => return Ok(Err(Interruption::Cut)),
            BeforeStatement::Refuse(message) => refusal = Some(message),
        }
        let lost = shared.faults.loses(&server, text);
        answer.next_statement();
        answer.raw(|out| out.extend_from_slice(&shared.faults.surprise(&server, Phase::Batch)));
        let result = match refusal {
            None => self.run_batch(Batch::new(text, parameters), answer, wire).await?,
            Some(message) => {
                let fatal = message.class >= 20;
                answer.event(&Event::Message(message))?;
                answer.event(&Event::Done { rows: None })?;
                if fatal { Err(Interruption::Disconnect) } else { Ok(()) }
            }
        };
        let (error, rows) = answer.summary();
        let outcome = match (result, error) {
            (Ok(()) | Err(Interruption::Disconnect), _) if lost => "lost".to_owned(),
            (Err(Interruption::Cancelled), _) => "cancelled".to_owned(),
            (_, Some(number)) => format!("error {number}"),
            (Ok(()), None) => "done".to_owned(),
            (Err(_), None) => "cut".to_owned(),
        };
        statement.end(outcome, rows);
        shared.call_probe(&server, number, Request::Statement(text), Moment::Executed).await;
        self.answering = Some((number, text.to_owned()));
        Ok(if lost { Err(Interruption::Cut) } else { result })
    }

    async fn run_batch(
        &mut self,
        mut batch: Batch,
        answer: &mut Answer,
        wire: &mut Wire,
    ) -> Result<RunResult, WireError> {
        let (shared, id) = (self.shared.clone(), self.session_info.session);
        let mut changed = shared.subscribe();
        loop {
            shared.wait_while_paused(&self.server.id).await;
            changed.borrow_and_update();
            let (events, result) = match shared.with(|world, _| batch.step(world, id)) {
                Step::Emit(events) => (events, None),
                Step::Finished(events) => (events, Some(Ok(()))),
                Step::Disconnect(events) if events.is_empty() => (events, Some(Err(Interruption::Cut))),
                Step::Disconnect(events) => (events, Some(Err(Interruption::Disconnect))),
                Step::Wait => {
                    tokio::select! {
                        _ = changed.changed() => {}
                        () = shared.sleep_until_next_event() => {}
                        message = wire.inbox.recv() => match message {
                            Some(message) if message.kind == kind::ATTENTION => {
                                shared.with(|world, _| world.client_gone(id));
                                return Ok(Err(Interruption::Cancelled));
                            }
                            Some(message) => return Err(WireError::Unexpected(message.kind)),
                            None => return Ok(Err(Interruption::Cut)),
                        },
                    }
                    continue;
                }
            };
            for event in &events {
                if let Err(error) = answer.event(event) {
                    shared.with(|world, _| world.failures.push(format!("response cannot be encoded in TDS: {error}")));
                    return Err(error);
                }
            }
            if let Some(result) = result {
                return Ok(result);
            }
        }
    }
}
