//! The error log of each server: what `sp_readerrorlog` shows.
//! Source of the texts: `sys.messages`, and the pages of the errors under
//! <https://learn.microsoft.com/sql/relational-databases/errors-events/>.

use std::time::Duration;

use super::build::guid_from_name;
use super::server::SYSTEM_DATABASES;
use super::views::{build_table, nvarchar};
use super::{FailoverKind, Role, Seat, World, other};
use crate::sql::engine::Table;
use crate::sql::epoch_millis;
use crate::value::{Message, SqlType, Value};

/// A server starts a new log before its log grows beyond this number of lines.
const MAX_LINES: usize = 5_000;

#[derive(Debug)]
pub(crate) struct LogLine {
    at: Duration,
    process: &'static str,
    text: String,
}

impl World {
    pub(super) fn log(&mut self, server: usize, process: &'static str, text: impl Into<String>) {
        let line = LogLine { at: self.now, process, text: text.into() };
        let log = &mut self.servers[server].error_log;
        if log.len() >= MAX_LINES {
            log.clear();
        }
        log.push(line);
    }

    /// A server starts with a new log.
    pub(super) fn log_start(&mut self, server: usize) {
        self.servers[server].error_log.clear();
        let hash: String =
            guid_from_name(&self.servers[server].name).iter().map(|byte| format!("{byte:02X}")).collect();
        // The hash of the certificate is not known here: 40 digits that are the same at each start.
        let digits = format!("{hash}{}", &hash[..8]);
        self.log(
            server,
            "Server",
            format!("The certificate [Cert Hash(sha1) \"{digits}\"] was successfully loaded for encryption."),
        );
        for database in self.servers[server].databases.clone().iter().skip(SYSTEM_DATABASES.len()) {
            self.log(server, "spid20s", format!("Starting up database '{database}'."));
            if !self.is_recovered(server, database) {
                let id = self.servers[server].database_id(database).unwrap_or_default();
                let text = format!(
                    "Recovery of database '{database}' ({id}) is 10% complete (approximately 20 seconds remain). Phase 2 of 3. This is an informational message only. No user action is required."
                );
                self.log(server, "spid20s", text);
            }
        }
        let ready = "SQL Server is now ready for client connections. This is an informational message; no user action is required.";
        self.log(server, "spid9s", ready);
    }

    /// A rejected login: its number, severity and state, then its text.
    pub(super) fn log_refused_login(&mut self, server: usize, message: &Message) {
        // The client gets state 1, whatever the cause; only the log shows the state.
        let (state, reason) = match message.number {
            18456 => (8, " Reason: Password did not match that for the login provided."),
            _ => (message.state, ""),
        };
        let head = format!("Error: {}, Severity: {}, State: {state}.", message.number, message.class);
        self.log(server, "Logon", head);
        self.log(server, "Logon", format!("{}{reason} [CLIENT: <local machine>]", message.text));
    }

    pub(super) fn log_role_change(&mut self, index: usize, from: Seat, to: Seat, kind: FailoverKind) {
        let reason = match kind {
            FailoverKind::Manual => "Failover from partner",
            FailoverKind::Automatic => "Auto Failover",
            FailoverKind::Forced => "Force Service",
        };
        self.log_role(index, to, reason);
        if self.mirrorings[index].copies[from].role == Role::Mirror {
            self.log_role(index, from, reason);
        }
    }

    /// The copy in this seat has changed its role.
    pub(super) fn log_role(&mut self, index: usize, seat: Seat, reason: &str) {
        let mirroring = &self.mirrorings[index];
        let (old, new) = match mirroring.copies[seat].role {
            Role::Principal => ("MIRROR", "PRINCIPAL"),
            Role::Mirror => ("PRINCIPAL", "MIRROR"),
        };
        let text = format!(
            "The mirrored database \"{}\" is changing roles from \"{old}\" to \"{new}\" because the mirroring session or availability group failed over due to {reason}.",
            mirroring.database
        );
        self.log(mirroring.partners[seat], "spid20s", text);
    }

    /// The copy in this seat has lost its partner.
    pub(super) fn log_lost_partner(&mut self, index: usize, seat: Seat) {
        let mirroring = &self.mirrorings[index];
        let partner = &self.servers[mirroring.partners[other(seat)]].endpoint_address;
        let text = format!(
            "The mirroring connection to \"{partner}\" has timed out for database \"{}\" after {} seconds without a response. Check the service and network connections.",
            mirroring.database, mirroring.connection_timeout
        );
        let server = mirroring.partners[seat];
        self.log(server, "spid20s", "Error: 1479, Severity: 16, State: 1.");
        self.log(server, "spid20s", text);
    }

    /// `sp_readerrorlog`: the lines with each of these texts, without case.
    pub(super) fn error_log_view(&self, server: usize, texts: &[String]) -> Table {
        let matches = |line: &&LogLine| {
            let folded = line.text.to_lowercase();
            texts.iter().all(|text| folded.contains(&text.to_lowercase()))
        };
        let rows = self.servers[server].error_log.iter().filter(matches).map(|line| {
            let at = Value::DateTime(epoch_millis(i64::try_from(line.at.as_millis()).unwrap_or(i64::MAX)));
            vec![at, nvarchar(line.process), nvarchar(&line.text)]
        });
        let columns = [
            ("LogDate", SqlType::DateTime, true),
            ("ProcessInfo", SqlType::NVarChar(50), true),
            ("Text", SqlType::NVarChar(4000), true),
        ];
        build_table(&columns, rows.collect())
    }
}
