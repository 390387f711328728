//! The effects of the statements of administrators.

use std::fmt::Write;

use super::inventory::{FIXED_ROLES, sid};
use super::set_partner::message;
use super::{SessionId, World, is_same};
use crate::config::{EndpointState, LoginConfig};
use crate::sql::administration::{Administration, EndpointChange};
use crate::value::Message;

pub(super) type Done = Result<(), Vec<Message>>;

pub(super) fn refuse(number: u32, text: impl Into<String>) -> Done {
    Err(vec![message(number, 16, text)])
}

/// The error that ends a failed RESTORE or BACKUP.
pub(super) fn refuse_with(number: u32, text: impl Into<String>, statement: &str) -> Done {
    Err(vec![message(number, 16, text), message(3013, 16, format!("{statement} is terminating abnormally."))])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

impl World {
    pub(super) fn administer_as(&mut self, id: SessionId, statement: &Administration) -> Done {
        let Some(session) = self.sessions.get(&id).cloned() else {
            return refuse(596, "The session is in the kill state.");
        };
        let at = session.server;
        if !self.servers[at].find_login(&session.login).is_some_and(|login| login.sysadmin) {
            return refuse(15247, "User does not have permission to perform this action.");
        }
        match statement {
            Administration::CreateLogin { name, password, sid } => {
                self.create_login(at, name, password, sid.as_deref())?
            }
            Administration::DropLogin(name) => self.drop_login(at, name)?,
            Administration::EnableLogin { name, enabled } => {
                self.change_login(at, name, |login| login.disabled = !enabled)?
            }
            Administration::SetPassword { name, password, unlock } => self.change_login(at, name, |login| {
                login.password = Some(password.clone());
                login.locked &= !unlock;
                login.expired = false;
            })?,
            Administration::RoleMember { role, login, add } => self.set_role(at, role, login, *add)?,
            Administration::Grant { permission, login } => {
                self.change_login(at, login, |login| match permission.as_str() {
                    "VIEW SERVER STATE" => login.view_server_state = true,
                    "VIEW ANY DEFINITION" => login.view_any_definition = true,
                    "VIEW ANY DATABASE" => login.view_any_database = true,
                    _ => login.alter_any_database = true,
                })?
            }
            Administration::DatabaseOwner { database, login } => self.set_owner(at, &session.login, database, login)?,
            Administration::SetEndpoint { name, state } => self.set_endpoint(at, name, *state)?,
            Administration::CheckExpiration { name, on } => {
                self.change_login(at, name, |login| login.expired &= *on)?;
            }
            Administration::RestoreWithRecovery(_)
            | Administration::RestoreLog { .. }
            | Administration::BackupLog { .. }
            | Administration::BackupDatabase { .. }
            | Administration::RenameDatabase { .. }
            | Administration::CheckDatabase(_)
            | Administration::Kill(_)
            | Administration::DisableTrigger(_) => self.maintain(id, &session, statement)?,
        }
        self.mark_changed();
        self.apply_transitions();
        Ok(())
    }

    fn create_login(&mut self, at: usize, name: &str, password: &Option<String>, new_sid: Option<&[u8]>) -> Done {
        let case_sensitive = self.servers[at].settings.case_sensitive;
        let server = &mut self.servers[at];
        let inventory = server.inventory.logins.keys();
        let names: Vec<&str> =
            server.logins.iter().map(|login| login.name.as_str()).chain(inventory.map(String::as_str)).collect();
        let sa = server.inventory.sa_name.as_deref().unwrap_or("sa");
        if is_same(case_sensitive, sa, name) || names.iter().any(|other| is_same(case_sensitive, other, name)) {
            return refuse(15025, format!("The server principal '{name}' already exists."));
        }
        if let Some(new) = new_sid
            && (new == [1] || names.iter().any(|other| sid(server, other) == new))
        {
            return refuse(15433, "Supplied parameter sid is in use.");
        }
        if let Some(new) = new_sid
            && new.len() != 16
        {
            return refuse(15419, "Supplied parameter sid should be binary(16).");
        }
        server.logins.push(LoginConfig {
            name: name.to_owned(),
            password: password.clone(),
            sid: new_sid.map(hex),
            sysadmin: false,
            view_server_state: false,
            view_any_database: true,
            alter_any_database: false,
            view_any_definition: false,
            disabled: false,
            locked: false,
            expired: false,
        });
        Ok(())
    }

    fn drop_login(&mut self, at: usize, name: &str) -> Done {
        let case_sensitive = self.servers[at].settings.case_sensitive;
        let connected =
            self.sessions.values().any(|session| session.server == at && is_same(case_sensitive, &session.login, name));
        if connected {
            return refuse(15434, format!("Could not drop login '{name}' as the user is currently logged in."));
        }
        let server = &mut self.servers[at];
        let before = server.logins.len() + server.inventory.logins.len();
        server.logins.retain(|login| !is_same(case_sensitive, &login.name, name));
        server.inventory.logins.retain(|login, _| !is_same(case_sensitive, login, name));
        if server.logins.len() + server.inventory.logins.len() == before {
            let text =
                format!("Cannot drop the login '{name}', because it does not exist or you do not have permission.");
            return refuse(15151, text);
        }
        Ok(())
    }

    fn change_login(&mut self, at: usize, name: &str, change: impl FnOnce(&mut LoginConfig)) -> Done {
        let case_sensitive = self.servers[at].settings.case_sensitive;
        match self.servers[at].logins.iter_mut().find(|login| is_same(case_sensitive, &login.name, name)) {
            Some(login) => {
                change(login);
                Ok(())
            }
            None => refuse(
                15151,
                format!("Cannot alter the login '{name}', because it does not exist or you do not have permission."),
            ),
        }
    }

    /// Roles other than sysadmin are shown and have no effect.
    fn set_role(&mut self, at: usize, role: &str, login: &str, add: bool) -> Done {
        let case_sensitive = self.servers[at].settings.case_sensitive;
        if is_same(case_sensitive, role, "sysadmin") {
            return self.change_login(at, login, |login| login.sysadmin = add);
        }
        let Some(role) = FIXED_ROLES.iter().find(|fixed| is_same(case_sensitive, fixed, role)) else {
            return Err(vec![crate::sql::unsupported(role)]);
        };
        self.change_login(at, login, |_| {})?;
        let members = self.servers[at].inventory.roles.entry((*role).to_owned()).or_default();
        members.retain(|member| !is_same(case_sensitive, member, login));
        if add {
            members.push(login.to_owned());
        }
        Ok(())
    }

    fn set_owner(&mut self, at: usize, by: &str, database: &str, login: &str) -> Done {
        let case_sensitive = self.servers[at].settings.case_sensitive;
        let Ok(name) = self.open_database(at, database, by) else {
            let text = format!(
                "Cannot find the database '{database}', because it does not exist or you do not have permission."
            );
            return refuse(15151, text);
        };
        let server = &mut self.servers[at];
        let sa = server.inventory.sa_name.as_deref().unwrap_or("sa");
        let known = is_same(case_sensitive, sa, login)
            || server.find_login(login).is_some()
            || server.inventory.logins.keys().any(|other| is_same(case_sensitive, other, login));
        if !known {
            let text = format!(
                "Cannot find the principal '{login}', because it does not exist or you do not have permission."
            );
            return refuse(15151, text);
        }
        server.inventory.owners.retain(|other, _| !is_same(case_sensitive, other, &name));
        server.inventory.owners.insert(name, login.to_owned());
        Ok(())
    }

    fn set_endpoint(&mut self, at: usize, name: &str, state: EndpointChange) -> Done {
        let case_sensitive = self.servers[at].settings.case_sensitive;
        let server = &mut self.servers[at];
        if !is_same(case_sensitive, &server.endpoint_name, name) {
            let text =
                format!("Cannot alter the endpoint '{name}', because it does not exist or you do not have permission.");
            return refuse(15151, text);
        }
        server.endpoint_state = match state {
            EndpointChange::Started => EndpointState::Started,
            EndpointChange::Stopped => EndpointState::Stopped,
            EndpointChange::Disabled => EndpointState::Disabled,
        };
        Ok(())
    }

    /// CHECKPOINT: 9002 if by its settings the log of a suspended session is full.
    pub(super) fn write_checkpoint(&self, session: SessionId) -> Result<(), Message> {
        let Some(session) = self.sessions.get(&session) else { return Ok(()) };
        let full = self.find_mirroring(session.server, &session.database).is_some_and(|(index, seat)| {
            let mirroring = &self.mirrorings[index];
            mirroring.suspended && mirroring.copies[seat].mirrored && mirroring.settings.paused_log_is_full
        });
        if !full {
            return Ok(());
        }
        let text =
            format!("The transaction log for database '{}' is full due to 'DATABASE_MIRRORING'.", session.database);
        Err(message(9002, 17, text))
    }

    /// The name of a login with this SID.
    pub(super) fn login_of_sid(&self, at: usize, wanted: &[u8]) -> Option<String> {
        let server = &self.servers[at];
        if wanted == [1] {
            return Some(server.inventory.sa_name.clone().unwrap_or_else(|| "sa".to_owned()));
        }
        let inventory = server.inventory.logins.keys().map(String::as_str);
        let mut names = server.logins.iter().map(|login| login.name.as_str()).chain(inventory);
        names.find(|name| sid(server, name) == wanted).map(str::to_owned)
    }
}
