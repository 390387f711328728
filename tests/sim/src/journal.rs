//! A record of all logins and statements and of their outcomes.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// One batch or RPC statement that a server received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Number of the entry, from 1.
    pub seq: u64,
    /// The server id.
    pub server: String,
    pub session: u64,
    pub login: String,
    pub app: String,
    pub text: String,
    /// Milliseconds since the start of the simulation.
    pub started_millis: u64,
    /// `None` while the statement runs.
    pub ended_millis: Option<u64>,
    /// `done`, `error NNNN`, `cut` (the connection ended first), `lost` (executed, but a fault withheld the response) or
    /// `cancelled` (by an ATTENTION of the client); `None` while the statement runs.
    pub outcome: Option<String>,
    pub rows: Option<u64>,
}

/// One LOGIN7 request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginEntry {
    pub seq: u64,
    pub server: String,
    pub login: String,
    pub app: String,
    pub database: String,
    pub at_millis: u64,
    /// The part that TLS covered: `nothing`, `login` or `everything`.
    pub encryption: &'static str,
    /// `done` or `error NNNN`.
    pub outcome: String,
}

/// Counters of one server: connections accepted and open, logins, statements.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub accepted: u64,
    pub open: u64,
    pub logins_ok: u64,
    pub logins_failed: u64,
    pub statements: u64,
}

#[derive(Default)]
struct Records {
    entries: Vec<Entry>,
    logins: Vec<LoginEntry>,
    counts: BTreeMap<String, Counts>,
}

/// The journal of a simulation; clones share the records.
#[derive(Clone)]
pub struct Journal {
    records: Arc<Mutex<Records>>,
    changed: Arc<watch::Sender<u64>>,
}

/// The part of an entry that is the same for the whole session.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    pub server: String,
    pub session: u64,
    pub login: String,
    pub app: String,
}

impl Journal {
    pub fn new() -> Self {
        Self { records: Arc::default(), changed: Arc::new(watch::Sender::new(0)) }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Records) -> T) -> T {
        let result = change(&mut self.records());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// A receiver that changes with every new or changed record.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Statements with a number above `seq`; 0 returns all.
    pub fn since(&self, seq: u64) -> Vec<Entry> {
        self.records().entries.iter().filter(|entry| entry.seq > seq).cloned().collect()
    }

    /// Logins with a number above `seq`; 0 returns all.
    pub fn logins_since(&self, seq: u64) -> Vec<LoginEntry> {
        self.records().logins.iter().filter(|entry| entry.seq > seq).cloned().collect()
    }

    /// Counters by server id.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.records().counts.clone()
    }

    /// Changes the counters of a server.
    pub fn count(&self, server: &str, change: impl FnOnce(&mut Counts)) {
        self.write(|records| change(records.counts.entry(server.to_owned()).or_default()));
    }

    /// Counts a connection; dropping the returned guard counts its end.
    pub fn connection(&self, server: &str) -> Connection {
        self.count(server, |counts| {
            counts.accepted += 1;
            counts.open += 1;
        });
        Connection { journal: self.clone(), server: server.to_owned() }
    }

    /// Records a login and sets its number.
    pub fn login(&self, mut entry: LoginEntry) {
        self.write(|records| {
            entry.seq = records.logins.len() as u64 + 1;
            let counts = records.counts.entry(entry.server.clone()).or_default();
            match entry.outcome.as_str() {
                "done" => counts.logins_ok += 1,
                _ => counts.logins_failed += 1,
            }
            records.logins.push(entry);
        });
    }

    /// Adds a running statement. Without a call of `OpenStatement::end` its outcome becomes `cut`.
    pub fn statement(
        &self,
        session_info: &SessionInfo,
        text: &str,
        now: Duration,
        clock: impl Fn() -> Duration + Send + 'static,
    ) -> OpenStatement {
        let seq = self.write(|records| {
            let seq = records.entries.len() as u64 + 1;
            records.counts.entry(session_info.server.clone()).or_default().statements += 1;
            records.entries.push(Entry {
                seq,
                server: session_info.server.clone(),
                session: session_info.session,
                login: session_info.login.clone(),
                app: session_info.app.clone(),
                text: text.to_owned(),
                started_millis: now.as_millis() as u64,
                ended_millis: None,
                outcome: None,
                rows: None,
            });
            seq
        });
        OpenStatement { journal: self.clone(), seq, clock: Box::new(clock), ended: false }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

/// An open connection.
pub struct Connection {
    journal: Journal,
    server: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.journal.count(&self.server, |counts| counts.open = counts.open.saturating_sub(1));
    }
}

/// A statement without an outcome.
pub struct OpenStatement {
    journal: Journal,
    seq: u64,
    clock: Box<dyn Fn() -> Duration + Send>,
    ended: bool,
}

impl OpenStatement {
    pub fn end(mut self, outcome: String, rows: Option<u64>) {
        self.close(outcome, rows);
    }

    fn close(&mut self, outcome: String, rows: Option<u64>) {
        self.ended = true;
        let now = (self.clock)().as_millis() as u64;
        self.journal.write(|records| {
            if let Some(entry) = records.entries.get_mut(self.seq as usize - 1) {
                entry.ended_millis = Some(now);
                entry.outcome = Some(outcome);
                entry.rows = rows;
            }
        });
    }
}

impl Drop for OpenStatement {
    fn drop(&mut self) {
        if !self.ended {
            self.close("cut".to_owned(), None);
        }
    }
}
