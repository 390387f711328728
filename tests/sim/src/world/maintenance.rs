//! The effects of backups, restores, renames, checks, KILL and the triggers of the server.

use super::administration::{Done, refuse, refuse_with};
use super::session::open_error_message;
use super::set_partner::{message, with_trailer};
use super::{Role, Session, SessionId, World, same_name};
use crate::sql::administration::Administration;
use crate::sql::unsupported;
use crate::value::Message;

impl World {
    /// Executes the statements that `administration` does not know.
    pub(super) fn maintain(&mut self, id: SessionId, session: &Session, statement: &Administration) -> Done {
        let at = session.server;
        match statement {
            Administration::RestoreWithRecovery(database) => self.restore_with_recovery(at, database),
            Administration::RestoreLog { database, file } => self.restore_log(at, database, file),
            Administration::BackupLog { database, file, no_recovery, no_truncate } => {
                self.backup_log(at, database, *no_recovery, *no_truncate)?;
                self.backups.insert(file.to_lowercase(), (database.to_lowercase(), true));
                Ok(())
            }
            Administration::BackupDatabase { database, file } => {
                self.open_or_refuse(session, database).map_err(|error| ended(error, "BACKUP DATABASE"))?;
                self.backups.insert(file.to_lowercase(), (database.to_lowercase(), false));
                Ok(())
            }
            Administration::RenameDatabase { database, name } => self.rename_database(id, session, database, name),
            Administration::CheckDatabase(database) => {
                self.open_or_refuse(session, database).map(drop).map_err(|error| vec![error])
            }
            Administration::Kill(target) => self.kill_session(id, at, *target),
            Administration::DisableTrigger(name) => {
                let triggers = &mut self.servers[at].inventory.logon_triggers;
                match triggers.iter_mut().find(|(trigger, _)| same_name(trigger, name)) {
                    Some((_, trigger)) => trigger.disabled = true,
                    None => {
                        let text = format!(
                            "Cannot alter the trigger '{name}', because it does not exist or you do not have permission."
                        );
                        return refuse(15151, text);
                    }
                }
                Ok(())
            }
            other => refuse(102, format!("{other:?}: not a statement of this module")),
        }
    }

    fn open_or_refuse(&self, session: &Session, database: &str) -> Result<String, Message> {
        self.open_database(session.server, database, &session.login)
            .map_err(|error| open_error_message(error, database))
    }

    /// The name of a database on a server, or error 911.
    fn require_database(&self, at: usize, database: &str, statement: &str) -> Result<String, Vec<Message>> {
        let found = self.servers[at].database_name(database).map(str::to_owned);
        found.ok_or_else(|| {
            let text = format!("Database '{database}' does not exist. Make sure that the name is entered correctly.");
            ended(message(911, 16, text), statement)
        })
    }

    /// Refuses a statement of RESTORE unless the copy is RESTORING and not mirrored.
    fn check_restoring(&self, at: usize, name: &str, not_restoring: (u32, String), statement: &str) -> Done {
        let found = self.find_mirroring(at, name);
        if found.is_some_and(|(index, seat)| self.mirrorings[index].copies[seat].mirrored) {
            let text = format!(
                "Database '{name}' is enabled for database mirroring. Database mirroring must be removed before you restore the database."
            );
            return refuse_with(3104, text, statement);
        }
        if self.database_state(at, name) != 1 {
            return refuse_with(not_restoring.0, not_restoring.1, statement);
        }
        Ok(())
    }

    /// Recovers a copy that is RESTORING and not mirrored any more.
    fn restore_with_recovery(&mut self, at: usize, database: &str) -> Done {
        let statement = "RESTORE DATABASE";
        let name = self.require_database(at, database, statement)?;
        let text = format!(
            "The database '{name}' was already recovered; RESTORE WITH RECOVERY needs a database in the state RESTORING."
        );
        self.check_restoring(at, &name, (3153, text), statement)?;
        self.servers[at].states.remove(&name.to_lowercase());
        if let Some((index, seat)) = self.find_mirroring(at, &name) {
            self.mirrorings[index].copies[seat].role = Role::Principal;
        }
        Ok(())
    }

    /// Applies a backup of the log, WITH NORECOVERY: the copy stays RESTORING. All servers reach all backup files.
    fn restore_log(&mut self, at: usize, database: &str, file: &str) -> Done {
        let statement = "RESTORE LOG";
        let name = self.require_database(at, database, statement)?;
        let text = "The log or differential backup cannot be restored because no files are ready to rollforward.";
        self.check_restoring(at, &name, (3117, text.to_owned()), statement)?;
        match self.backups.get(&file.to_lowercase()) {
            Some((of, true)) if same_name(of, &name) => Ok(()),
            Some(_) => {
                let text =
                    format!("The backup set holds a backup of a database other than the existing '{name}' database.");
                refuse_with(3154, text, statement)
            }
            None => {
                let text = format!(
                    "Cannot open backup device '{file}'. Operating system error 2(The system cannot find the file specified.)."
                );
                refuse_with(3201, text, statement)
            }
        }
    }

    /// Backs up the tail of the log. With NORECOVERY the database is RESTORING afterwards.
    fn backup_log(&mut self, at: usize, database: &str, no_recovery: bool, no_truncate: bool) -> Done {
        let statement = "BACKUP LOG";
        let name = self.require_database(at, database, statement)?;
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

    /// `ALTER DATABASE ... MODIFY NAME`: refused for a mirrored database, and while another session uses it.
    fn rename_database(&mut self, id: SessionId, session: &Session, database: &str, new: &str) -> Done {
        let at = session.server;
        let mirrored =
            self.find_mirroring(at, database).is_some_and(|(index, seat)| self.mirrorings[index].copies[seat].mirrored);
        if mirrored {
            let text = format!(
                "The operation cannot be performed on database \"{database}\" because it is involved in a database mirroring session or an availability group."
            );
            return Err(with_trailer(message(1468, 16, text)));
        }
        let old = self.open_or_refuse(session, database).map_err(with_trailer)?;
        if self.servers[at].database_id(new).is_some() {
            let text = format!("Database '{new}' already exists. Choose a different database name.");
            return Err(vec![message(1801, 16, text)]);
        }
        if self.servers[at].databases.iter().any(|other| *other != old && same_name(other, new)) {
            // As in the configuration (`check_database_names`).
            return Err(vec![unsupported(format_args!("{new}, the name of another database in another case"))]);
        }
        let is_used = self
            .sessions
            .iter()
            .any(|(other, used)| *other != id && !used.killed && used.server == at && same_name(&used.database, &old));
        if is_used {
            let text = "The database could not be exclusively locked to perform the operation.";
            return Err(vec![message(5030, 16, text)]);
        }
        let server = &mut self.servers[at];
        for name in server.databases.iter_mut().filter(|name| same_name(name, &old)) {
            new.clone_into(name);
        }
        if let Some(state) = server.states.remove(&old.to_lowercase()) {
            server.states.insert(new.to_lowercase(), state);
        }
        Ok(())
    }

    fn kill_session(&mut self, id: SessionId, at: usize, target: i64) -> Done {
        let target = u64::try_from(target).unwrap_or(u64::MAX);
        if target == id {
            return refuse(6104, "Cannot use KILL to kill your own process.");
        }
        match self.sessions.get_mut(&target) {
            Some(session) if session.server == at && !session.killed => session.killed = true,
            _ => return refuse(6106, format!("Process ID {target} is not an active process ID.")),
        }
        Ok(())
    }
}

/// The error and the one that ends a failed RESTORE or BACKUP.
fn ended(error: Message, statement: &str) -> Vec<Message> {
    vec![error, message(3013, 16, format!("{statement} is terminating abnormally."))]
}
