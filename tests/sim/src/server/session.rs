//! A session after its login: reads requests, runs statements against the world, sends answers.
//! What each stored procedure of the RPC kind means lives in `procedures`.

use super::Server;
use super::connection::{End, Met, phase};
use super::faults::{BeforeStatement, Phase};
use super::probe::{Moment, Request};
use super::stage::Stage;
use crate::journal::Who;
use crate::sql::Batch;
use crate::value::{Event, Step, Value};
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

pub struct Session {
    pub(super) stage: Arc<Stage>,
    server: Arc<Server>,
    who: Who,
    version: TdsVersion,
    packet_size: u16,
    pub(super) prepared: HashMap<i32, super::procedures::Prepared>,
    pub(super) last_handle: i32,
    transaction: Option<u64>,
    last_transaction: u64,
    /// The statement whose answer is yet to leave.
    answering: Option<(u64, String)>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stage.with(|world, _| world.close(self.who.session));
    }
}

/// Why a request's answer is not simply sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// The client's ATTENTION arrived while the statement ran.
    Cancelled,
    /// Send what there is, then close.
    Disconnect,
    /// Send nothing, reset.
    Cut,
    /// Something that is not TDS was sent already.
    Garbage,
}

type Ran = Result<(), Halt>;

/// Requests that wait behind a running one: an ATTENTION and, from a hostile client, a few more.
const INBOX: usize = 4;

pub async fn run(mut session: Session, stream: Stream) -> Result<End, WireError> {
    let (mut reader, writer) = tokio::io::split(stream);
    let (sender, inbox) = mpsc::channel(INBOX);
    let (stage, id) = (session.stage.clone(), session.who.session);
    tokio::select! {
        biased;
        end = session.serve(Wire { inbox, writer }) => end,
        () = stage.killed(id) => Ok(End::Close),
        end = pump(&mut reader, sender) => end,
    }
}

/// Reads on while a statement runs, or an ATTENTION and a lost client would go unseen.
async fn pump(reader: &mut ReadHalf<Stream>, sender: mpsc::Sender<Message>) -> Result<End, WireError> {
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
    pub fn new(stage: Arc<Stage>, server: Arc<Server>, who: Who, version: TdsVersion, packet_size: u16) -> Self {
        let (prepared, last_handle) = (HashMap::new(), 0);
        Self {
            stage,
            server,
            who,
            version,
            packet_size,
            prepared,
            last_handle,
            transaction: None,
            last_transaction: 0,
            answering: None,
        }
    }

    pub fn spid(&self) -> u16 {
        self.who.session as u16
    }

    async fn serve(&mut self, mut wire: Wire) -> Result<End, WireError> {
        while let Some(message) = wire.inbox.recv().await {
            let mut answer = Answer::new(self.version, &self.server.name);
            if message.reset {
                self.prepared.clear();
                answer.raw(tokens::put_reset_change);
            }
            let ran = self.request(&message, &mut answer, &mut wire).await?;
            let bytes = match ran {
                Ok(()) if message.kind == kind::ATTENTION => answer.acknowledge_attention(),
                Err(Halt::Cancelled) => answer.acknowledge_attention(),
                Ok(()) | Err(Halt::Disconnect) => answer.finish(),
                Err(Halt::Cut) => return Ok(End::Reset),
                Err(Halt::Garbage) => return Ok(End::Close),
            };
            self.stage.gate(&self.server.id).await;
            write_message(&mut wire.writer, kind::ANSWER, self.spid(), self.packet_size, &bytes).await?;
            if let Some((number, text)) = self.answering.take() {
                self.stage.probed(&self.server.id, number, Request::Statement(&text), Moment::Answered).await;
            }
            if ran == Err(Halt::Disconnect) {
                return Ok(End::Close);
            }
        }
        Ok(End::Close)
    }

    async fn request(&mut self, message: &Message, answer: &mut Answer, wire: &mut Wire) -> Result<Ran, WireError> {
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
                    if let Err(halt) = self.call(call, answer, wire).await? {
                        return Ok(Err(halt));
                    }
                }
                Ok(Ok(()))
            }
            kind::TRANSACTION => {
                self.transaction(request::transaction(&message.payload)?, answer);
                Ok(Ok(()))
            }
            // Its answer has left already; the acknowledgement is a message of its own.
            kind::ATTENTION => Ok(Ok(())),
            other => Err(WireError::Unexpected(other)),
        }
    }

    fn transaction(&mut self, asked: Transaction, answer: &mut Answer) {
        let ended = self.transaction;
        let then_begin = match asked {
            Transaction::Begin => true,
            Transaction::Save => false,
            Transaction::Commit { then_begin } | Transaction::Rollback { then_begin } => then_begin,
        };
        if let (Some(id), Transaction::Commit { .. }) = (ended, asked) {
            answer.raw(|out| tokens::put_transaction_change(out, TransactionChange::Committed(id)));
            self.transaction = None;
        }
        if let (Some(id), Transaction::Rollback { .. }) = (ended, asked) {
            answer.raw(|out| tokens::put_transaction_change(out, TransactionChange::RolledBack(id)));
            self.transaction = None;
        }
        if then_begin {
            self.last_transaction += 1;
            let id = (u64::from(self.spid()) << 32) | self.last_transaction;
            self.transaction = Some(id);
            answer.raw(|out| tokens::put_transaction_change(out, TransactionChange::Began(id)));
        }
    }

    /// Runs one text to its end, with the faults that wait for it, and notes it in the journal.
    pub(super) async fn statement(
        &mut self,
        text: &str,
        parameters: Vec<(String, Value)>,
        answer: &mut Answer,
        wire: &mut Wire,
    ) -> Result<Ran, WireError> {
        let (server, stage) = (self.server.id.clone(), self.stage.clone());
        let clock = {
            let stage = stage.clone();
            move || stage.now()
        };
        let number = stage.next_request();
        let ticket = stage.journal.statement(&self.who, text, stage.now(), clock);
        stage.probed(&server, number, Request::Statement(text), Moment::Received).await;
        if phase(&stage, &self.server, Phase::Batch, &mut wire.writer).await? == Met::Garbage {
            return Ok(Err(Halt::Garbage));
        }
        let mut refusal = None;
        match stage.faults.before(&server, text) {
            BeforeStatement::Go => {}
            BeforeStatement::Delay(time) => tokio::time::sleep(time).await,
            BeforeStatement::Cut => return Ok(Err(Halt::Cut)),
            BeforeStatement::Refuse(message) => refusal = Some(message),
        }
        let lost = stage.faults.loses(&server, text);
        answer.next_statement();
        answer.raw(|out| out.extend_from_slice(&stage.faults.surprise(&server, Phase::Batch)));
        let ran = match refusal {
            None => self.steps(Batch::new(text, parameters), answer, wire).await?,
            Some(message) => {
                let fatal = message.class >= 20;
                answer.event(&Event::Message(message))?;
                answer.event(&Event::Done { rows: None })?;
                if fatal { Err(Halt::Disconnect) } else { Ok(()) }
            }
        };
        let (error, rows) = answer.summary();
        let outcome = match (ran, error) {
            (Ok(()) | Err(Halt::Disconnect), _) if lost => "lost".to_owned(),
            (Err(Halt::Cancelled), _) => "cancelled".to_owned(),
            (_, Some(number)) => format!("error {number}"),
            (Ok(()), None) => "done".to_owned(),
            (Err(_), None) => "cut".to_owned(),
        };
        ticket.end(outcome, rows);
        stage.probed(&server, number, Request::Statement(text), Moment::Executed).await;
        self.answering = Some((number, text.to_owned()));
        Ok(if lost { Err(Halt::Cut) } else { ran })
    }

    async fn steps(&mut self, mut batch: Batch, answer: &mut Answer, wire: &mut Wire) -> Result<Ran, WireError> {
        let (stage, id) = (self.stage.clone(), self.who.session);
        let mut changed = stage.subscribe();
        loop {
            stage.gate(&self.server.id).await;
            changed.borrow_and_update();
            let (events, ran) = match stage.with(|world, _| batch.step(world, id)) {
                Step::Emit(events) => (events, None),
                Step::Finished(events) => (events, Some(Ok(()))),
                Step::Disconnect(events) if events.is_empty() => (events, Some(Err(Halt::Cut))),
                Step::Disconnect(events) => (events, Some(Err(Halt::Disconnect))),
                Step::Wait => {
                    tokio::select! {
                        _ = changed.changed() => {}
                        () = stage.appointment() => {}
                        message = wire.inbox.recv() => match message {
                            Some(message) if message.kind == kind::ATTENTION => return Ok(Err(Halt::Cancelled)),
                            Some(message) => return Err(WireError::Unexpected(message.kind)),
                            None => return Ok(Err(Halt::Cut)),
                        },
                    }
                    continue;
                }
            };
            for event in &events {
                if let Err(error) = answer.event(event) {
                    stage.with(|world, _| world.failures.push(format!("an answer that TDS cannot carry: {error}")));
                    return Err(error);
                }
            }
            if let Some(ran) = ran {
                return Ok(ran);
            }
        }
    }
}
