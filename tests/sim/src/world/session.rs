//! Client sessions: login, current database and end.

use std::time::Duration;

use super::recovery::login_error;
use super::set_partner::message;
use super::{OpenError, SessionId, World, same_name};
use crate::sql::engine::SessionOptions;
use crate::value::Message;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Index of the server in the world.
    pub(crate) server: usize,
    pub login: String,
    pub database: String,
    pub killed: bool,
    pub(crate) options: SessionOptions,
    /// The database after the login, to which a reset of the connection returns.
    pub(crate) login_database: String,
    /// The names of the client's computer and program.
    pub(crate) client: (String, String),
}

/// The result of a successful login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub session: SessionId,
    pub database: String,
    /// The server name of the partner, if the database is mirrored.
    pub failover_partner: Option<String>,
}

impl World {
    /// Opens a session. `password` is `None` for a Windows login, which Kerberos has already authenticated.
    /// An empty `database` means `master`.
    ///
    /// # Errors
    /// 18456 for a wrong login or password, 18486 for a locked, 18470 for a disabled and 18487 for an expired login with the right password,
    /// 4060 for a database that cannot be opened.
    pub fn login(
        &mut self,
        now: Duration,
        server: &str,
        user: &str,
        password: Option<&str>,
        database: &str,
    ) -> Result<Login, Message> {
        self.advance(now);
        let result = self.try_login(server, user, password, database);
        if let (Err(message), Some(index)) = (&result, self.find_server(server)) {
            self.log_refused_login(index, message);
        }
        result
    }

    fn try_login(
        &mut self,
        server: &str,
        user: &str,
        password: Option<&str>,
        database: &str,
    ) -> Result<Login, Message> {
        let refused = || message(18456, 14, format!("Login failed for user '{user}'."));
        let index = self.find_server(server).ok_or_else(refused)?;
        if let Some(refusal) = self.login_refusal(index, user) {
            return Err(refusal);
        }
        let found = self.servers[index].find_login(user).filter(|login| login.password.as_deref() == password);
        let login = found.ok_or_else(refused)?;
        if login.disabled {
            let text = format!("Login failed for user '{user}'. Reason: The account is disabled.");
            return Err(message(18470, 14, text));
        }
        if login.locked {
            let text = format!(
                "Login failed for user '{user}' because the account is currently locked out. The system administrator can unlock it."
            );
            return Err(message(18486, 14, text));
        }
        if login.expired {
            return Err(login_error(18487, None, user));
        }
        let login = login.name.clone();
        let triggers = &self.servers[index].inventory.logon_triggers;
        if triggers.values().any(|trigger| !trigger.disabled && same_name(&trigger.refuses, &login)) {
            return Err(login_error(17892, None, user));
        }
        let wanted = if database.is_empty() { "master" } else { database };
        let name = self.open_database(index, wanted, &login).map_err(|_| {
            message(4060, 11, format!("Cannot open database \"{wanted}\" requested by the login. The login failed."))
        })?;
        let failover_partner = self
            .find_mirroring(index, &name)
            .filter(|(at, seat)| self.mirrorings[*at].copies[*seat].mirrored)
            .map(|(at, seat)| self.mirrorings[at].partner_names[super::other(seat)].clone());
        let session = self.next_session;
        self.next_session += 1;
        let (database, options) = (name.clone(), SessionOptions::default());
        let (login_database, client) = (database.clone(), <(String, String)>::default());
        let opened = Session { server: index, login, database, killed: false, options, login_database, client };
        self.sessions.insert(session, opened);
        Ok(Login { session, database: name, failover_partner })
    }

    pub fn close(&mut self, session: SessionId) {
        self.client_gone(session);
        self.sessions.remove(&session);
    }

    /// Records the names of the client's computer and program.
    pub fn set_client(&mut self, session: SessionId, host: &str, program: &str) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.client = (host.to_owned(), program.to_owned());
        }
    }

    /// Resets a session to its state after the login. `keep` keeps the transaction.
    pub fn reset(&mut self, session: SessionId, keep: bool) {
        if let Some(session) = self.sessions.get_mut(&session) {
            let transactions = if keep { session.options.transactions } else { 0 };
            session.database.clone_from(&session.login_database);
            session.options = SessionOptions { transactions, ..SessionOptions::default() };
        }
    }

    /// Sets `@@TRANCOUNT` after a transaction request of the protocol.
    pub fn set_transactions(&mut self, session: SessionId, count: i64) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.options.transactions = count;
        }
    }

    /// Whether a role change or a stop of the server ended this session.
    pub fn killed(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_none_or(|session| session.killed)
    }

    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(crate) fn kill_sessions(&mut self, matches: impl Fn(&Session) -> bool) {
        for session in self.sessions.values_mut().filter(|session| matches(session)) {
            session.killed = true;
            self.version += 1;
        }
    }

    pub(crate) fn change_database(&mut self, id: SessionId, name: &str) -> Result<(), Message> {
        let Some(session) = self.sessions.get(&id) else { return Err(message(596, 21, "The session does not exist.")) };
        let opened = self.open_database(session.server, name, &session.login.clone());
        let name = opened.map_err(|error| open_error_message(error, name))?;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.database = name;
        }
        Ok(())
    }
}

pub(super) fn open_error_message(error: OpenError, name: &str) -> Message {
    let (number, class, text) = match error {
        OpenError::Missing => {
            (911, 16, format!("Database '{name}' does not exist. Make sure that the name is entered correctly."))
        }
        OpenError::Mirror => {
            (954, 14, format!("The database \"{name}\" cannot be opened. It is acting as a mirror database."))
        }
        OpenError::NoQuorum => (
            955,
            14,
            format!(
                "Database {name} is enabled for Database Mirroring, but neither the partner nor witness server instances are available: the database cannot be opened."
            ),
        ),
        OpenError::Transition => (952, 16, format!("Database '{name}' is in transition. Try the statement later.")),
        OpenError::Forbidden => (
            916,
            14,
            format!(
                "The server principal is not able to access the database \"{name}\" under the current security context."
            ),
        ),
        OpenError::Offline => (942, 14, format!("Database '{name}' cannot be opened because it is offline.")),
        OpenError::Restoring => {
            (927, 14, format!("Database '{name}' cannot be opened. It is in the middle of a restore."))
        }
        OpenError::Recovering => {
            (922, 14, format!("Database '{name}' is being recovered. Waiting until recovery is finished."))
        }
        OpenError::Suspect => {
            (926, 14, format!("Database '{name}' cannot be opened. It has been marked SUSPECT by recovery."))
        }
        OpenError::Inaccessible => (
            945,
            14,
            format!(
                "Database '{name}' cannot be opened due to inaccessible files or insufficient memory or disk space."
            ),
        ),
    };
    message(number, class, text)
}
