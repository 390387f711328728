//! Statements with which an administrator maintains databases and sessions: backup, restore, rename, check, KILL,
//! triggers of the server, and the procedures and DBCC commands that show something.

use super::administration::{Administration, done_with};
use super::engine::{PartnerAction, Report};
use super::parse::{Parsed, Parser};
use super::syntax::{SessionStatement, Statement};
use super::token::Token;

impl Parser {
    /// `ALTER DATABASE name SET PARTNER ...`, `SET WITNESS ...` or `MODIFY NAME = new`.
    pub(super) fn alter_database(&mut self) -> Parsed<Statement> {
        let database = self.name()?;
        if self.eat_keyword("modify") {
            self.expect_keyword("name")?;
            self.expect("=")?;
            return done_with(Administration::RenameDatabase { database, name: self.name()? });
        }
        self.expect_keyword("set")?;
        let action = if self.eat_keyword("witness") { self.witness()? } else { self.partner()? };
        Ok(Statement::Alter { database, action })
    }

    fn witness(&mut self) -> Parsed<PartnerAction> {
        if self.eat("=") {
            return Ok(PartnerAction::Witness(self.text()?));
        }
        self.expect_keyword("off")?;
        Ok(PartnerAction::WitnessOff)
    }

    fn partner(&mut self) -> Parsed<PartnerAction> {
        self.expect_keyword("partner")?;
        Ok(match self.name()?.to_lowercase().as_str() {
            "failover" => PartnerAction::Failover,
            "force_service_allow_data_loss" => PartnerAction::ForceService,
            "suspend" => PartnerAction::Suspend,
            "resume" => PartnerAction::Resume,
            "off" => PartnerAction::Off,
            "safety" if self.eat_keyword("full") => PartnerAction::SafetyFull,
            "safety" if self.eat_keyword("off") => PartnerAction::SafetyOff,
            "timeout" => match self.next_token() {
                Token::Int(seconds) => PartnerAction::Timeout(seconds),
                other => return Err(other.source_text()),
            },
            other => return Err(other.to_owned()),
        })
    }

    pub(super) fn restore(&mut self) -> Parsed<Statement> {
        if self.eat_keyword("log") {
            let database = self.name()?;
            self.expect_keyword("from")?;
            let file = self.disk()?;
            self.expect_keyword("with")?;
            self.expect_keyword("norecovery")?;
            return done_with(Administration::RestoreLog { database, file });
        }
        self.expect_keyword("database")?;
        let name = self.name()?;
        self.expect_keyword("with")?;
        self.expect_keyword("recovery")?;
        done_with(Administration::RestoreWithRecovery(name))
    }

    /// `DISK = 'file'`.
    fn disk(&mut self) -> Parsed<String> {
        self.expect_keyword("disk")?;
        self.expect("=")?;
        self.text()
    }

    pub(super) fn backup(&mut self) -> Parsed<Statement> {
        let is_log = self.eat_keyword("log");
        if !is_log {
            self.expect_keyword("database")?;
        }
        let database = self.name()?;
        self.expect_keyword("to")?;
        let file = self.disk()?;
        let (mut no_recovery, mut no_truncate) = (false, false);
        if self.eat_keyword("with") {
            loop {
                match self.name()?.to_lowercase().as_str() {
                    "norecovery" if is_log => no_recovery = true,
                    "no_truncate" if is_log => no_truncate = true,
                    "init" | "noinit" | "format" | "compression" | "checksum" | "copy_only" => {}
                    other => return Err(other.to_owned()),
                }
                if !self.eat(",") {
                    break;
                }
            }
        }
        done_with(match is_log {
            true => Administration::BackupLog { database, file, no_recovery, no_truncate },
            false => Administration::BackupDatabase { database, file },
        })
    }

    /// `DBCC CHECKDB (N'name') WITH NO_INFOMSGS` or `DBCC SQLPERF(LOGSPACE)`.
    pub(super) fn dbcc(&mut self) -> Parsed<Statement> {
        if self.eat_keyword("sqlperf") {
            self.expect("(")?;
            self.expect_keyword("logspace")?;
            self.expect(")")?;
            return Ok(SessionStatement::Report(Report::LogSpace).into());
        }
        // Without NO_INFOMSGS there are results that depend on the pages of the database.
        self.expect_keyword("checkdb")?;
        self.expect("(")?;
        let database = self.text()?;
        self.expect(")")?;
        self.expect_keyword("with")?;
        self.expect_keyword("no_infomsgs")?;
        done_with(Administration::CheckDatabase(database))
    }

    /// `KILL session`.
    pub(super) fn kill(&mut self) -> Parsed<Statement> {
        match self.next_token() {
            Token::Int(session) => done_with(Administration::Kill(session)),
            other => Err(other.source_text()),
        }
    }

    /// `DISABLE TRIGGER name ON ALL SERVER`.
    pub(super) fn disable_trigger(&mut self) -> Parsed<Statement> {
        self.expect_keyword("trigger")?;
        let name = self.name()?;
        self.expect_keyword("on")?;
        self.expect_keyword("all")?;
        self.expect_keyword("server")?;
        done_with(Administration::DisableTrigger(name))
    }

    /// `EXEC sp_readerrorlog 0, 1, N'text', N'text'`: the present log of the Database Engine, filtered.
    pub(super) fn error_log_procedure(&mut self) -> Parsed<Statement> {
        for wanted in [0, 1] {
            match self.next_token() {
                Token::Int(number) if number == wanted => {}
                other => return Err(other.source_text()),
            }
            if wanted == 0 {
                self.expect(",")?;
            }
        }
        let mut texts = Vec::new();
        while texts.len() < 2 && self.eat(",") {
            texts.push(self.text()?);
        }
        Ok(SessionStatement::Report(Report::ErrorLog(texts)).into())
    }
}
