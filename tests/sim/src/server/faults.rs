//! Faults of the wire: which of them are armed, and which one a connection meets next.
//! Faults of the servers themselves are the world's commands.

use crate::value::Message;
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Right after the accept, before anything is read.
    Connect,
    /// After the client's PRELOGIN, in place of the answer.
    Prelogin,
    /// In place of the TLS handshake.
    Tls,
    /// After LOGIN7, in place of the answer.
    Login,
    /// After a batch or RPC, before it is executed.
    Batch,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// Execute to the end, then reset the connection instead of answering.
    LoseAnswer {
        server: String,
        matching: String,
        #[serde(default = "once")]
        times: u64,
    },
    /// Reset the connection on receipt; nothing is executed.
    CutBefore {
        server: String,
        matching: String,
        #[serde(default = "once")]
        times: u64,
    },
    /// Answer with this error; nothing is executed. From class 20 on the connection ends too.
    Refuse {
        server: String,
        matching: String,
        number: u32,
        class: u8,
        #[serde(default = "once")]
        times: u64,
    },
    /// Wait before executing.
    DelayBefore {
        server: String,
        matching: String,
        millis: u64,
        #[serde(default = "once")]
        times: u64,
    },
    /// Answer nothing for `millis`, or for as long as the connection lives.
    Stall {
        server: String,
        phase: Phase,
        millis: Option<u64>,
        #[serde(default = "once")]
        times: u64,
    },
    /// Answer with bytes that are not TDS, then close.
    Garbage {
        server: String,
        phase: Phase,
        #[serde(default = "once")]
        times: u64,
    },
    /// These bytes at the beginning of an answer that is right otherwise, after a login or a batch.
    Surprise {
        server: String,
        phase: Phase,
        bytes: Vec<u8>,
        #[serde(default = "once")]
        times: u64,
    },
    /// Rows without end, until the client leaves.
    Flood {
        server: String,
        phase: Phase,
        #[serde(default = "once")]
        times: u64,
    },
}

fn once() -> u64 {
    1
}

impl Fault {
    pub const VERBS: [&str; 8] =
        ["loseAnswer", "cutBefore", "refuse", "delayBefore", "stall", "garbage", "surprise", "flood"];

    pub fn server(&self) -> &str {
        match self {
            Self::LoseAnswer { server, .. }
            | Self::CutBefore { server, .. }
            | Self::Refuse { server, .. }
            | Self::DelayBefore { server, .. }
            | Self::Stall { server, .. }
            | Self::Garbage { server, .. }
            | Self::Surprise { server, .. }
            | Self::Flood { server, .. } => server,
        }
    }

    fn times(&mut self) -> &mut u64 {
        match self {
            Self::LoseAnswer { times, .. }
            | Self::CutBefore { times, .. }
            | Self::Refuse { times, .. }
            | Self::DelayBefore { times, .. }
            | Self::Stall { times, .. }
            | Self::Garbage { times, .. }
            | Self::Surprise { times, .. }
            | Self::Flood { times, .. } => times,
        }
    }
}

/// What a connection does at a phase of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtPhase {
    Go,
    Stall(Option<Duration>),
    Garbage,
    Flood,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeforeStatement {
    Go,
    Delay(Duration),
    Cut,
    Refuse(Message),
}

#[derive(Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn arm(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// The oldest armed fault that `pick` recognises, once used.
    fn spend<T>(&self, server: &str, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        armed.retain_mut(|fault| *fault.times() > 0);
        armed.iter_mut().find_map(|fault| {
            let picked = if fault.server() == server { pick(fault) } else { None };
            picked.inspect(|_| *fault.times() -= 1)
        })
    }

    pub fn at(&self, server: &str, now: Phase) -> AtPhase {
        let picked = self.spend(server, |fault| match fault {
            Fault::Stall { phase, millis, .. } if *phase == now => {
                Some(AtPhase::Stall(millis.map(Duration::from_millis)))
            }
            Fault::Garbage { phase, .. } if *phase == now => Some(AtPhase::Garbage),
            Fault::Flood { phase, .. } if *phase == now => Some(AtPhase::Flood),
            _ => None,
        });
        picked.unwrap_or(AtPhase::Go)
    }

    pub fn before(&self, server: &str, text: &str) -> BeforeStatement {
        let picked = self.spend(server, |fault| match fault {
            Fault::CutBefore { matching, .. } if matches(text, matching) => Some(BeforeStatement::Cut),
            Fault::Refuse { matching, number, class, .. } if matches(text, matching) => {
                let text = "The statement was refused on command.".to_owned();
                Some(BeforeStatement::Refuse(Message { number: *number, state: 1, class: *class, text, line: 1 }))
            }
            Fault::DelayBefore { matching, millis, .. } if matches(text, matching) => {
                Some(BeforeStatement::Delay(Duration::from_millis(*millis)))
            }
            _ => None,
        });
        picked.unwrap_or(BeforeStatement::Go)
    }

    /// What stands before an answer.
    pub fn surprise(&self, server: &str, now: Phase) -> Vec<u8> {
        let armed = |fault: &Fault| match fault {
            Fault::Surprise { phase, bytes, .. } if *phase == now => Some(bytes.clone()),
            _ => None,
        };
        self.spend(server, armed).unwrap_or_default()
    }

    /// Whether the answer to this statement is to be lost.
    pub fn loses(&self, server: &str, text: &str) -> bool {
        let lost = |fault: &Fault| match fault {
            Fault::LoseAnswer { matching, .. } if matches(text, matching) => Some(()),
            _ => None,
        };
        self.spend(server, lost).is_some()
    }
}

fn matches(text: &str, matching: &str) -> bool {
    text.to_lowercase().contains(&matching.to_lowercase())
}
