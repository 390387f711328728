//! The interface of the world to the T-SQL interpreter.

use std::time::Duration;

use super::set_partner::message;
use super::{SessionId, World};
use crate::sql::Collation;
use crate::sql::administration::Administration;
use crate::sql::engine::{AlterOutcome, Engine, PartnerAction, Report, SessionOptions, Table};
use crate::value::{Message, Value};

impl Engine for World {
    fn table(&self, session: SessionId, name: &str) -> Option<Result<Table, Message>> {
        self.view(self.sessions.get(&session)?, name)
    }

    fn database(&self, session: SessionId) -> String {
        self.sessions.get(&session).map(|session| session.database.clone()).unwrap_or_default()
    }

    fn use_database(&mut self, session: SessionId, name: &str) -> Result<(), Message> {
        self.change_database(session, name)
    }

    fn collation(&self, session: SessionId) -> Collation {
        match self.sessions.get(&session).map(|session| self.servers[session.server].settings.case_sensitive) {
            Some(true) => Collation::CaseSensitive,
            Some(false) | None => Collation::IgnoresCase,
        }
    }

    fn login(&self, session: SessionId) -> String {
        self.sessions.get(&session).map(|session| session.login.clone()).unwrap_or_default()
    }

    fn options(&self, session: SessionId) -> SessionOptions {
        self.sessions.get(&session).map(|session| session.options.clone()).unwrap_or_default()
    }

    fn set_options(&mut self, session: SessionId, options: SessionOptions) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.options = options;
        }
    }

    fn registered_name(&self, session: SessionId) -> String {
        self.sessions
            .get(&session)
            .map(|session| self.servers[session.server].registered_name.clone())
            .unwrap_or_default()
    }

    fn server_property(&self, session: SessionId, name: &str) -> Value {
        let Some(server) = self.sessions.get(&session).map(|session| &self.servers[session.server]) else {
            return Value::Null;
        };
        let text = |text: &str| Value::NVarChar(text.to_owned());
        match name.to_lowercase().as_str() {
            "servername" => text(&server.name),
            "machinename" => text(server.machine()),
            "computernamephysicalnetbios" => text(server.nodes().first().map_or(server.machine(), String::as_str)),
            "instancename" => server.instance().map_or(Value::Null, text),
            "productversion" => text(&server.version),
            "productlevel" => text("SP4"),
            "edition" => text(&server.edition),
            "engineedition" => Value::Int(if server.edition.starts_with("Standard") { 2 } else { 3 }),
            "isclustered" => Value::Int(server.settings.clustered.into()),
            "isintegratedsecurityonly" | "issingleuser" => Value::Int(0),
            "collation" if server.settings.case_sensitive => text("Latin1_General_CS_AS"),
            "collation" => text("Latin1_General_CI_AS"),
            _ => Value::Null,
        }
    }

    fn is_server_role(&self, session: SessionId, role: &str) -> Option<bool> {
        let login = self.login_rights(session)?;
        match role.to_lowercase().as_str() {
            "sysadmin" => Some(login.sysadmin),
            "public" => Some(true),
            "serveradmin" | "securityadmin" | "processadmin" | "setupadmin" | "bulkadmin" | "diskadmin"
            | "dbcreator" => Some(login.sysadmin),
            _ => None,
        }
    }

    fn has_permission(&self, session: SessionId, permission: &str) -> Option<bool> {
        let login = self.login_rights(session)?;
        match permission.to_uppercase().as_str() {
            "VIEW SERVER STATE" => Some(login.sysadmin || login.view_server_state),
            "VIEW ANY DATABASE" => Some(login.sysadmin || login.view_any_database),
            "VIEW ANY DEFINITION" => Some(login.sysadmin || login.view_any_definition),
            "ALTER ANY DATABASE" => Some(login.sysadmin || login.alter_any_database),
            _ => None,
        }
    }

    fn version_text(&self, session: SessionId) -> String {
        let version =
            self.sessions.get(&session).map(|session| self.servers[session.server].version.clone()).unwrap_or_default();
        format!("Microsoft SQL Server (simulated) - {version} (X64)")
    }

    fn administer(&mut self, session: SessionId, statement: &Administration) -> Result<(), Vec<Message>> {
        self.administer_as(session, statement)
    }

    fn report(&self, session: SessionId, report: &Report) -> Result<Table, Message> {
        let login = self.login_rights(session);
        let (sysadmin, state) = login.map_or((false, false), |login| (login.sysadmin, login.view_server_state));
        let at = self.sessions.get(&session).map_or(0, |session| session.server);
        match report {
            Report::ErrorLog(_) if !sysadmin => {
                let text = "Only members of the securityadmin role can execute this stored procedure.";
                Err(message(15003, 16, text))
            }
            Report::ErrorLog(texts) => Ok(self.error_log_view(at, texts)),
            Report::LogSpace if !sysadmin && !state => {
                Err(message(297, 16, "The user does not have permission to perform this action."))
            }
            Report::LogSpace => Ok(self.log_space(at)),
        }
    }

    fn checkpoint(&mut self, session: SessionId) -> Result<(), Message> {
        self.write_checkpoint(session)
    }

    fn login_of(&self, session: SessionId, sid: &[u8]) -> Option<String> {
        self.login_of_sid(self.sessions.get(&session)?.server, sid)
    }

    fn client(&self, session: SessionId) -> (String, String) {
        self.sessions.get(&session).map(|session| session.client.clone()).unwrap_or_default()
    }

    fn database_name(&self, session: SessionId, id: i64) -> Option<String> {
        let at = usize::try_from(id).ok()?.checked_sub(1)?;
        self.servers[self.sessions.get(&session)?.server].databases.get(at).cloned()
    }

    fn database_id(&self, session: SessionId, name: &str) -> Option<i32> {
        self.servers[self.sessions.get(&session)?.server].database_id(name)
    }

    fn alter_partner(
        &mut self,
        session: SessionId,
        database: &str,
        action: PartnerAction,
    ) -> Result<AlterOutcome, Vec<Message>> {
        let id = session;
        let Some(session) = self.sessions.get(&session).cloned() else {
            return Err(vec![message(
                596,
                21,
                "Cannot continue the execution because the session is in the kill state.",
            )]);
        };
        let altered = self.alter(&session, database, action)?;
        if let AlterOutcome::Pending(failover) = altered {
            self.assign_failover(failover, id);
        }
        let server = &mut self.servers[session.server];
        if let Some(injected) = server.injected_error_after.as_mut().filter(|injected| injected.left > 0) {
            injected.left -= 1;
            return Err(vec![message(
                injected.number,
                injected.class,
                "The statement was executed and returns an injected error.",
            )]);
        }
        Ok(altered)
    }

    fn alter_outcome(&self, id: u64) -> Option<Result<(), Vec<Message>>> {
        self.failover_outcomes.get(&id)?.clone()
    }

    fn now_millis(&self) -> i64 {
        i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX)
    }

    fn set_timer_millis(&mut self, at: i64) {
        self.set_timer(Duration::from_millis(u64::try_from(at).unwrap_or(0)));
    }

    fn is_locked(&self, session: SessionId, view: &str) -> bool {
        let locked = self.sessions.get(&session).is_some_and(|session| self.servers[session.server].catalog_locked);
        locked && matches!(view, "sys.databases" | "sys.database_mirroring")
    }

    fn record_failure(&mut self, what: String) {
        World::record_failure(self, what);
    }
}
