//! Faults of connections: the armed faults and their selection. Faults of servers are commands of the world.

use crate::value::Message;
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The phase of a connection in which a fault applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// After the accept, before the first read.
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

/// A fault. `server` is a server id, `matching` a part of the statement text without case, `times` the number of uses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// Executes the statement, then resets the connection instead of sending the response.
    LoseAnswer {
        server: String,
        matching: String,
        #[serde(default = "default_times")]
        times: u64,
    },
    /// Resets the connection on receipt; the statement is not executed.
    CutBefore {
        server: String,
        matching: String,
        #[serde(default = "default_times")]
        times: u64,
    },
    /// Returns this error; the statement is not executed. From class 20 on the connection also ends.
    Refuse {
        server: String,
        matching: String,
        number: u32,
        class: u8,
        #[serde(default = "default_times")]
        times: u64,
    },
    /// Executes the statement after this delay, in milliseconds.
    DelayBefore {
        server: String,
        matching: String,
        millis: u64,
        #[serde(default = "default_times")]
        times: u64,
    },
    /// Sends nothing for `millis`, or, without `millis`, until the connection ends.
    Stall {
        server: String,
        phase: Phase,
        millis: Option<u64>,
        #[serde(default = "default_times")]
        times: u64,
    },
    /// Sends bytes that are not TDS, then closes the connection.
    Garbage {
        server: String,
        phase: Phase,
        #[serde(default = "default_times")]
        times: u64,
    },
    /// Sends these bytes before an otherwise correct response to a login or a batch.
    Surprise {
        server: String,
        phase: Phase,
        bytes: Vec<u8>,
        #[serde(default = "default_times")]
        times: u64,
    },
    /// Sends rows until the client disconnects.
    Flood {
        server: String,
        phase: Phase,
        #[serde(default = "default_times")]
        times: u64,
    },
}

fn default_times() -> u64 {
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

/// The fault of a phase.
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

    /// Uses the oldest armed fault of the server that `pick` accepts.
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
                let text = "The statement was rejected by an injected error.".to_owned();
                Some(BeforeStatement::Refuse(Message { number: *number, state: 1, class: *class, text, line: 1 }))
            }
            Fault::DelayBefore { matching, millis, .. } if matches(text, matching) => {
                Some(BeforeStatement::Delay(Duration::from_millis(*millis)))
            }
            _ => None,
        });
        picked.unwrap_or(BeforeStatement::Go)
    }

    /// The bytes to send before the response.
    pub fn surprise(&self, server: &str, now: Phase) -> Vec<u8> {
        let armed = |fault: &Fault| match fault {
            Fault::Surprise { phase, bytes, .. } if *phase == now => Some(bytes.clone()),
            _ => None,
        };
        self.spend(server, armed).unwrap_or_default()
    }

    /// Whether the response to this statement is withheld.
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
