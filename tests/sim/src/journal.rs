//! What was asked of the servers, and how it ended. Nothing here influences an answer.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// One batch or RPC statement that a server received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub seq: u64,
    pub server: String,
    pub session: u64,
    pub login: String,
    pub app: String,
    pub text: String,
    pub started_millis: u64,
    /// `None` while the statement runs.
    pub ended_millis: Option<u64>,
    /// `done`, `error NNNN`, `cut` (the connection ended first), `lost` (executed, the answer withheld by a fault),
    /// `cancelled` (the client's ATTENTION); `None` while the statement runs.
    pub outcome: Option<String>,
    pub rows: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginEntry {
    pub seq: u64,
    pub server: String,
    pub login: String,
    pub app: String,
    pub database: String,
    pub at_millis: u64,
    /// What TLS covered: `nothing`, `login` or `everything`.
    pub encryption: &'static str,
    /// `done` or `error NNNN`.
    pub outcome: String,
}

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
struct Book {
    entries: Vec<Entry>,
    logins: Vec<LoginEntry>,
    counts: BTreeMap<String, Counts>,
}

#[derive(Clone)]
pub struct Journal {
    book: Arc<Mutex<Book>>,
    changed: Arc<watch::Sender<u64>>,
}

/// Who asks: the part of an entry that is the same for a whole session.
#[derive(Debug, Clone)]
pub struct Who {
    pub server: String,
    pub session: u64,
    pub login: String,
    pub app: String,
}

impl Journal {
    pub fn new() -> Self {
        Self { book: Arc::default(), changed: Arc::new(watch::Sender::new(0)) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let result = change(&mut self.book());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Entries with a sequence number above `seq`; the first one is 1.
    pub fn since(&self, seq: u64) -> Vec<Entry> {
        self.book().entries.iter().filter(|entry| entry.seq > seq).cloned().collect()
    }

    pub fn logins_since(&self, seq: u64) -> Vec<LoginEntry> {
        self.book().logins.iter().filter(|entry| entry.seq > seq).cloned().collect()
    }

    pub fn counts(&self) -> BTreeMap<String, Counts> {
        self.book().counts.clone()
    }

    pub fn count(&self, server: &str, change: impl FnOnce(&mut Counts)) {
        self.write(|book| change(book.counts.entry(server.to_owned()).or_default()));
    }

    /// Notes a connection; the returned guard notes its end.
    pub fn connection(&self, server: &str) -> Connection {
        self.count(server, |counts| {
            counts.accepted += 1;
            counts.open += 1;
        });
        Connection { journal: self.clone(), server: server.to_owned() }
    }

    pub fn login(&self, mut entry: LoginEntry) {
        self.write(|book| {
            entry.seq = book.logins.len() as u64 + 1;
            let counts = book.counts.entry(entry.server.clone()).or_default();
            match entry.outcome.as_str() {
                "done" => counts.logins_ok += 1,
                _ => counts.logins_failed += 1,
            }
            book.logins.push(entry);
        });
    }

    /// Opens an entry; it ends as `cut` unless `Ticket::end` says otherwise.
    pub fn statement(
        &self,
        who: &Who,
        text: &str,
        now: Duration,
        clock: impl Fn() -> Duration + Send + 'static,
    ) -> Ticket {
        let seq = self.write(|book| {
            let seq = book.entries.len() as u64 + 1;
            book.counts.entry(who.server.clone()).or_default().statements += 1;
            book.entries.push(Entry {
                seq,
                server: who.server.clone(),
                session: who.session,
                login: who.login.clone(),
                app: who.app.clone(),
                text: text.to_owned(),
                started_millis: now.as_millis() as u64,
                ended_millis: None,
                outcome: None,
                rows: None,
            });
            seq
        });
        Ticket { journal: self.clone(), seq, clock: Box::new(clock), ended: false }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

pub struct Connection {
    journal: Journal,
    server: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.journal.count(&self.server, |counts| counts.open = counts.open.saturating_sub(1));
    }
}

pub struct Ticket {
    journal: Journal,
    seq: u64,
    clock: Box<dyn Fn() -> Duration + Send>,
    ended: bool,
}

impl Ticket {
    pub fn end(mut self, outcome: String, rows: Option<u64>) {
        self.close(outcome, rows);
    }

    fn close(&mut self, outcome: String, rows: Option<u64>) {
        self.ended = true;
        let now = (self.clock)().as_millis() as u64;
        self.journal.write(|book| {
            if let Some(entry) = book.entries.get_mut(self.seq as usize - 1) {
                entry.ended_millis = Some(now);
                entry.outcome = Some(outcome);
                entry.rows = rows;
            }
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            self.close("cut".to_owned(), None);
        }
    }
}
