//! The effects of the statements of administrators.

use std::fmt::Write;

use super::inventory::sid;
use super::set_partner::message;
use super::{Role, SessionId, World, same_name};
use crate::config::{EndpointState, LoginConfig};
use crate::sql::administration::{Administration, EndpointChange};
use crate::value::Message;

type Done = Result<(), Vec<Message>>;

fn refuse(number: u32, text: impl Into<String>) -> Done {
    Err(vec![message(number, 16, text)])
}

/// The errors of a failed RESTORE or BACKUP.
fn refusal_of(number: u32, text: impl Into<String>, statement: &str) -> Vec<Message> {
    vec![message(number, 16, text), message(3013, 16, format!("{statement} is terminating abnormally."))]
}

fn refuse_with(number: u32, text: impl Into<String>, statement: &str) -> Done {
    Err(refusal_of(number, text, statement))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

impl World {
    pub(super) fn administer_as(&mut self, session: SessionId, statement: &Administration) -> Done {
        let Some(session) = self.sessions.get(&session).cloned() else {
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
            })?,
            Administration::RoleMember { role, login, add } => {
                if !same_name(role, "sysadmin") {
                    // The simulation has no other role with an effect.
                    return Err(vec![crate::sql::unsupported(role)]);
                }
                self.change_login(at, login, |login| login.sysadmin = *add)?;
            }
            Administration::Grant { permission, login } => {
                self.change_login(at, login, |login| match permission.as_str() {
                    "VIEW SERVER STATE" => login.view_server_state = true,
                    "VIEW ANY DATABASE" => login.view_any_database = true,
                    _ => login.alter_any_database = true,
                })?
            }
            Administration::DatabaseOwner { database, login } => self.set_owner(at, &session.login, database, login)?,
            Administration::SetEndpoint { name, state } => self.set_endpoint(at, name, *state)?,
            Administration::RestoreWithRecovery(database) => self.restore_with_recovery(at, database)?,
            Administration::BackupLog { database, no_recovery, no_truncate } => {
                self.backup_log(at, database, *no_recovery, *no_truncate)?;
            }
        }
        self.mark_changed();
        self.apply_transitions();
        Ok(())
    }

    fn create_login(&mut self, at: usize, name: &str, password: &Option<String>, new_sid: Option<&[u8]>) -> Done {
        let server = &mut self.servers[at];
        let inventory = server.inventory.logins.keys();
        let names: Vec<&str> =
            server.logins.iter().map(|login| login.name.as_str()).chain(inventory.map(String::as_str)).collect();
        let sa = server.inventory.sa_name.as_deref().unwrap_or("sa");
        if same_name(sa, name) || names.iter().any(|other| same_name(other, name)) {
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
            disabled: false,
            locked: false,
        });
        Ok(())
    }

    fn drop_login(&mut self, at: usize, name: &str) -> Done {
        let connected = self.sessions.values().any(|session| session.server == at && same_name(&session.login, name));
        if connected {
            return refuse(15434, format!("Could not drop login '{name}' as the user is currently logged in."));
        }
        let server = &mut self.servers[at];
        let before = server.logins.len() + server.inventory.logins.len();
        server.logins.retain(|login| !same_name(&login.name, name));
        server.inventory.logins.retain(|login, _| !same_name(login, name));
        if server.logins.len() + server.inventory.logins.len() == before {
            let text =
                format!("Cannot drop the login '{name}', because it does not exist or you do not have permission.");
            return refuse(15151, text);
        }
        Ok(())
    }

    fn change_login(&mut self, at: usize, name: &str, change: impl FnOnce(&mut LoginConfig)) -> Done {
        match self.servers[at].logins.iter_mut().find(|login| same_name(&login.name, name)) {
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

    fn set_owner(&mut self, at: usize, by: &str, database: &str, login: &str) -> Done {
        let Ok(name) = self.open_database(at, database, by) else {
            let text = format!(
                "Cannot find the database '{database}', because it does not exist or you do not have permission."
            );
            return refuse(15151, text);
        };
        let server = &mut self.servers[at];
        let sa = server.inventory.sa_name.as_deref().unwrap_or("sa");
        let known = same_name(sa, login)
            || server.find_login(login).is_some()
            || server.inventory.logins.keys().any(|other| same_name(other, login));
        if !known {
            let text = format!(
                "Cannot find the principal '{login}', because it does not exist or you do not have permission."
            );
            return refuse(15151, text);
        }
        server.inventory.owners.retain(|other, _| !same_name(other, &name));
        server.inventory.owners.insert(name, login.to_owned());
        Ok(())
    }

    fn set_endpoint(&mut self, at: usize, name: &str, state: EndpointChange) -> Done {
        let server = &mut self.servers[at];
        if !same_name(&server.endpoint_name, name) {
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

    /// The name of a database as the server spells it.
    fn existing_database(&self, at: usize, database: &str, statement: &str) -> Result<String, Vec<Message>> {
        self.servers[at].database_name(database).map(str::to_owned).ok_or_else(|| {
            let text = format!("Database '{database}' does not exist. Make sure that the name is entered correctly.");
            refusal_of(911, text, statement)
        })
    }

    /// Recovers a copy that is RESTORING and not mirrored any more.
    fn restore_with_recovery(&mut self, at: usize, database: &str) -> Done {
        let statement = "RESTORE DATABASE";
        let name = self.existing_database(at, database, statement)?;
        let found = self.find_mirroring(at, &name);
        if found.is_some_and(|(index, seat)| self.mirrorings[index].copies[seat].mirrored) {
            let text = format!(
                "Database '{name}' is enabled for database mirroring. Database mirroring must be removed before you restore the database."
            );
            return refuse_with(3104, text, statement);
        }
        if self.database_state(at, &name) != 1 {
            let text = format!(
                "The database '{name}' was already recovered; RESTORE WITH RECOVERY needs a database in the state RESTORING."
            );
            return refuse_with(3153, text, statement);
        }
        self.servers[at].states.remove(&name.to_lowercase());
        if let Some((index, seat)) = found {
            self.mirrorings[index].copies[seat].role = Role::Principal;
        }
        Ok(())
    }

    /// Backs up the tail of the log. With NORECOVERY the database is RESTORING afterwards.
    fn backup_log(&mut self, at: usize, database: &str, no_recovery: bool, no_truncate: bool) -> Done {
        let statement = "BACKUP LOG";
        let name = self.existing_database(at, database, statement)?;
        let found = self.find_mirroring(at, &name);
        let mirrored = found.filter(|(index, seat)| self.mirrorings[*index].copies[*seat].mirrored);
        if mirrored.is_some_and(|(index, seat)| self.mirrorings[index].copies[seat].role == Role::Mirror) {
            let text = format!("The database \"{name}\" cannot be opened. It is acting as a mirror database.");
            return refuse_with(954, text, statement);
        }
        let state = self.database_state(at, &name);
        if state != 0 && !no_truncate {
            return refuse_with(3049, format!("BACKUP detected a database '{name}' that is not ONLINE."), statement);
        }
        if no_recovery && mirrored.is_some() {
            let text = format!(
                "The database \"{name}\" is mirrored: a tail-log backup WITH NORECOVERY needs the removal of mirroring first."
            );
            return refuse_with(1468, text, statement);
        }
        if no_recovery {
            self.servers[at].states.insert(name.to_lowercase(), 1);
        }
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
