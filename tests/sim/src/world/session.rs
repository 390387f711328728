//! Who is logged on, and where. The answers to a wrong login are here; tokens are not.

use std::time::Duration;

use super::partner::message;
use super::{Closed, SessionId, World};
use crate::value::Message;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Index of the server.
    pub(crate) server: usize,
    pub login: String,
    pub database: String,
    pub killed: bool,
}

/// What a successful login gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub session: SessionId,
    pub database: String,
    /// The partner's name, when the database is a mirrored principal.
    pub failover_partner: Option<String>,
}

impl World {
    /// Without a password for a Windows login, whom Kerberos vouches for.
    ///
    /// # Errors
    /// 18456 for a wrong login or password, 18486 and 18470 for a locked or disabled one with the right password, 4060
    /// for a database that cannot be opened.
    pub fn login(
        &mut self,
        now: Duration,
        server: &str,
        user: &str,
        password: Option<&str>,
        database: &str,
    ) -> Result<Login, Message> {
        self.advance(now);
        let refused = || message(18456, 14, format!("Login failed for user '{user}'."));
        let index = self.find_server(server).ok_or_else(refused)?;
        let known = self.servers[index].find_login(user).filter(|login| login.password.as_deref() == password);
        let login = known.ok_or_else(refused)?;
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
        let login = login.name.clone();
        let wanted = if database.is_empty() { "master" } else { database };
        let name = self.open(index, wanted, &login).map_err(|_| {
            message(4060, 11, format!("Cannot open database \"{wanted}\" requested by the login. The login failed."))
        })?;
        let failover_partner = self
            .find_mirroring(index, &name)
            .filter(|(at, seat)| self.mirrorings[*at].halves[*seat].mirrored)
            .map(|(at, seat)| self.servers[self.mirrorings[at].partners[super::other(seat)]].name.clone());
        let session = self.next_session;
        self.next_session += 1;
        self.sessions.insert(session, Session { server: index, login, database: name.clone(), killed: false });
        Ok(Login { session, database: name, failover_partner })
    }

    pub fn close(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// A role change, a stop of the server or a KILL ended this session.
    pub fn killed(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_none_or(|session| session.killed)
    }

    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(crate) fn kill_sessions(&mut self, of: impl Fn(&Session) -> bool) {
        for session in self.sessions.values_mut().filter(|session| of(session)) {
            session.killed = true;
            self.version += 1;
        }
    }

    pub(crate) fn change_database(&mut self, id: SessionId, name: &str) -> Result<(), Message> {
        let Some(session) = self.sessions.get(&id) else { return Err(message(596, 21, "The session is gone.")) };
        let opened = self.open(session.server, name, &session.login.clone());
        let name = opened.map_err(|closed| closed_message(closed, name))?;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.database = name;
        }
        Ok(())
    }
}

fn closed_message(closed: Closed, name: &str) -> Message {
    let (number, class, text) = match closed {
        Closed::Missing => {
            (911, 16, format!("Database '{name}' does not exist. Make sure that the name is entered correctly."))
        }
        Closed::Mirror => {
            (954, 14, format!("The database \"{name}\" cannot be opened. It is acting as a mirror database."))
        }
        Closed::NoQuorum => (
            955,
            14,
            format!(
                "Database {name} is enabled for Database Mirroring, but neither the partner nor witness server instances are available: the database cannot be opened."
            ),
        ),
        Closed::Transition => (952, 16, format!("Database '{name}' is in transition. Try the statement later.")),
        Closed::Forbidden => (
            916,
            14,
            format!(
                "The server principal is not able to access the database \"{name}\" under the current security context."
            ),
        ),
        Closed::Offline => (942, 14, format!("Database '{name}' cannot be opened because it is offline.")),
        Closed::Restoring => {
            (927, 14, format!("Database '{name}' cannot be opened. It is in the middle of a restore."))
        }
        Closed::Recovering => {
            (922, 14, format!("Database '{name}' is being recovered. Waiting until recovery is finished."))
        }
        Closed::Suspect => {
            (926, 14, format!("Database '{name}' cannot be opened. It has been marked SUSPECT by recovery."))
        }
        Closed::Inaccessible => (
            945,
            14,
            format!(
                "Database '{name}' cannot be opened due to inaccessible files or insufficient memory or disk space."
            ),
        ),
    };
    message(number, class, text)
}
