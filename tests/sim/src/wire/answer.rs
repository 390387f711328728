//! Encodes the events of a batch as tokens and marks the last DONE.

use super::tokens::{self, Change, DoneKind, done};
use super::{TdsVersion, WireError};
use crate::value::{Column, Event, Message};
use bytes::BytesMut;

/// The response to one message.
pub struct Answer {
    out: BytesMut,
    version: TdsVersion,
    server: String,
    columns: Vec<Column>,
    in_procedure: bool,
    failed: bool,
    /// The last DONE. The bit MORE depends on whether another token follows.
    held: Option<(DoneKind, u16, Option<u64>)>,
    first_error: Option<u32>,
    rows: Option<u64>,
    status: i32,
}

impl Answer {
    pub fn new(version: TdsVersion, server: &str) -> Self {
        Self {
            out: BytesMut::new(),
            version,
            server: server.to_owned(),
            columns: Vec::new(),
            in_procedure: false,
            failed: false,
            held: None,
            first_error: None,
            rows: None,
            status: 0,
        }
    }

    /// The first error so far, and the last row count.
    pub fn summary(&self) -> (Option<u32>, Option<u64>) {
        (self.first_error, self.rows)
    }

    /// Resets the error and the row count for the next statement.
    pub fn next_statement(&mut self) {
        self.first_error = None;
        self.rows = None;
    }

    /// Starts the response to an RPC.
    pub fn begin_procedure(&mut self) {
        self.in_procedure = true;
        self.status = 0;
    }

    /// Encodes one event.
    ///
    /// # Errors
    /// A value that does not fit its column.
    pub fn event(&mut self, event: &Event) -> Result<(), WireError> {
        if let Event::ReturnStatus(status) = event
            && self.in_procedure
        {
            self.status = *status;
            return Ok(());
        }
        self.release();
        match event {
            Event::Columns(columns) => {
                tokens::put_columns(&mut self.out, columns);
                self.columns.clone_from(columns);
            }
            Event::Row(row) => tokens::put_row(&mut self.out, self.version, &self.columns, row)?,
            Event::Message(message) => self.message(message),
            Event::Database { old, new } => tokens::put_change(&mut self.out, Change::Database, new, old),
            Event::ReturnStatus(status) => tokens::put_return_status(&mut self.out, *status),
            Event::Done { rows } => {
                let kind = if self.in_procedure { DoneKind::InProc } else { DoneKind::Done };
                let failed = std::mem::take(&mut self.failed);
                self.rows = rows.or(self.rows);
                self.held = Some((kind, if failed { done::ERROR } else { 0 }, *rows));
            }
        }
        Ok(())
    }

    /// Encodes an ERROR or INFO token.
    pub fn message(&mut self, message: &Message) {
        self.release();
        if message.class > 10 {
            self.failed = true;
            self.first_error.get_or_insert(message.number);
        }
        tokens::put_message(&mut self.out, message, &self.server);
    }

    /// Ends the response to an RPC, with the handle of a prepared statement as output parameter.
    ///
    /// # Errors
    /// A value that does not fit its column.
    pub fn end_procedure(&mut self, handle: Option<(&str, i32)>) -> Result<(), WireError> {
        self.release();
        tokens::put_return_status(&mut self.out, self.status);
        if let Some((name, handle)) = handle {
            tokens::put_return_handle(&mut self.out, name, handle)?;
        }
        let failed = std::mem::take(&mut self.failed);
        self.in_procedure = false;
        self.held = Some((DoneKind::Proc, if failed { done::ERROR } else { 0 }, None));
        Ok(())
    }

    /// Adds a token that belongs to the session and not to a statement.
    pub fn raw(&mut self, put: impl FnOnce(&mut BytesMut)) {
        self.release();
        put(&mut self.out);
    }

    fn release(&mut self) {
        if let Some((kind, status, rows)) = self.held.take() {
            tokens::put_done(&mut self.out, kind, status | done::MORE, rows);
        }
    }

    /// Ends the response with the last DONE, or with an empty one.
    pub fn finish(mut self) -> BytesMut {
        let failed = if self.failed { done::ERROR } else { 0 };
        let (kind, status, rows) = self.held.take().unwrap_or((DoneKind::Done, failed, None));
        tokens::put_done(&mut self.out, kind, status, rows);
        self.out
    }

    /// Ends the response to a request that was not executed to its end.
    pub fn give_up(mut self) -> BytesMut {
        self.release();
        tokens::put_done(&mut self.out, DoneKind::Done, done::ERROR, None);
        self.out
    }

    /// The acknowledgement of an ATTENTION, a message of its own.
    pub fn acknowledge_attention() -> BytesMut {
        let mut out = BytesMut::new();
        tokens::put_done(&mut out, DoneKind::Done, done::ATTENTION, None);
        out
    }
}
