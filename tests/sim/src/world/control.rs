//! Executes the commands of `command`.

use std::time::Duration;

use super::mirroring::WITNESS;
use super::server::{InjectedError, SUSPECT};
use super::{Command, Mirroring, Reach, Role, Server, Sync, World, other, same_name};
use crate::config::LoginConfig;

impl World {
    /// Executes the command at `now`, a time since the start of the simulation.
    ///
    /// # Errors
    /// A message with the field and the wrong value. For an unknown server, the message lists the known ids.
    pub fn apply(&mut self, now: Duration, command: &Command) -> Result<(), String> {
        self.advance(now);
        self.execute(command)?;
        self.mark_changed();
        self.apply_transitions();
        Ok(())
    }

    fn execute(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Kill { server } => self.kill(server)?,
            Command::Start { server } | Command::Unpause { server } => {
                let index = self.require_server("server", server)?;
                self.start(index);
            }
            Command::Pause { server } => self.server_mut(server)?.reach = Reach::Paused,
            Command::Cut { a, b } => self.set_link(a, b, false)?,
            Command::Reconnect { a, b } => self.set_link(a, b, true)?,
            Command::ReconnectAll => self.cuts.clear(),
            Command::Suspend { pair, database } => self.for_each(pair, database, |session| session.suspended = true)?,
            Command::Resume { pair, database } => self.resume_pair(pair, database)?,
            Command::SetSafety { pair, database, safety } => {
                self.for_each(pair, database, |session| session.safety = *safety)?;
            }
            Command::SetRedo { pair, database, queue_kb, rate_kb_per_s } => {
                self.set_redo(pair, database, *queue_kb, *rate_kb_per_s)?;
            }
            Command::SetSwitchMillis { pair, millis } => {
                self.for_each(pair, &None, |session| session.switch = Duration::from_millis(*millis))?;
            }
            Command::SetInventory { server, inventory } => self.server_mut(server)?.inventory.clone_from(inventory),
            Command::SetEndpoint { server, state } => self.server_mut(server)?.endpoint_state = *state,
            Command::SetPassword { server, login, password } => {
                self.login_mut(server, login)?.password = Some(password.clone());
            }
            Command::SetSysadmin { server, login, sysadmin } => self.login_mut(server, login)?.sysadmin = *sysadmin,
            Command::RemoveMirroring { pair, database, server } => self.remove_on(pair, database, server)?,
            Command::SetDatabaseState { server, database, state } => {
                self.set_database_state(server, database, *state)?;
            }
            Command::SetRoleSequence { pair, database, role_sequence } => {
                self.set_role_sequence(pair, database, *role_sequence)?;
            }
            Command::Failover { pair, database } => self.fail_over_pair(pair, database)?,
            Command::Force { pair, database } => self.force_service_on_pair(pair, database)?,
            Command::SlowStatements { server, millis } => self.server_mut(server)?.slow_millis = *millis,
            Command::FailStatement { server, number, class, times } => {
                let error = InjectedError { number: *number, class: *class, left: *times };
                self.server_mut(server)?.injected_error = Some(error);
            }
            Command::FailAfter { server, number, class, times } => {
                let error = InjectedError { number: *number, class: *class, left: *times };
                self.server_mut(server)?.injected_error_after = Some(error);
            }
            Command::Desync { pair, database, millis, unsent_kb } => {
                self.desynchronize(pair, database, *millis, *unsent_kb)?;
            }
            Command::SetVersion { server, version } => self.server_mut(server)?.version.clone_from(version),
            Command::Lie { server, database, values } => {
                self.server_mut(server)?.catalog_overrides.insert(database.to_lowercase(), values.clone());
            }
            Command::ClearLies => self.servers.iter_mut().for_each(|server| server.catalog_overrides.clear()),
            other => self.execute_setting(other)?,
        }
        Ok(())
    }

    fn kill(&mut self, server: &str) -> Result<(), String> {
        let index = self.require_server("server", server)?;
        self.servers[index].reach = Reach::Down;
        self.kill_sessions(|session| session.server == index);
        Ok(())
    }

    fn set_link(&mut self, a: &str, b: &str, connected: bool) -> Result<(), String> {
        let (a, b) = (self.require_server("a", a)?, self.require_server("b", b)?);
        let link = (a.min(b), a.max(b));
        if connected {
            self.cuts.remove(&link);
        } else {
            self.cuts.insert(link);
        }
        Ok(())
    }

    fn resume_pair(&mut self, pair: &str, database: &Option<String>) -> Result<(), String> {
        let now = self.now;
        self.for_each(pair, database, |session| {
            session.suspended = false;
            session.sync = Sync::SynchronizingUntil(now.saturating_add(session.resync));
        })
    }

    fn desynchronize(
        &mut self,
        pair: &str,
        database: &Option<String>,
        millis: u64,
        unsent_kb: u64,
    ) -> Result<(), String> {
        let until = self.now.saturating_add(Duration::from_millis(millis));
        self.for_each(pair, database, |session| {
            session.sync = Sync::SynchronizingUntil(until);
            let principal = session.principal();
            session.log[principal].unsent = unsent_kb as f64 * 1024.0;
        })
    }

    fn set_redo(
        &mut self,
        pair: &str,
        database: &Option<String>,
        queue_kb: u64,
        rate_kb_per_s: Option<u64>,
    ) -> Result<(), String> {
        self.for_each(pair, database, |session| {
            session.redo_queue_kb = queue_kb;
            session.redo_rate_kb_per_s = rate_kb_per_s.unwrap_or(session.redo_rate_kb_per_s);
        })
    }

    fn set_role_sequence(&mut self, pair: &str, database: &Option<String>, sequence: i32) -> Result<(), String> {
        self.for_each(pair, database, |session| {
            session.copies.iter_mut().for_each(|copy| copy.role_sequence = sequence);
            session.witness_sequence = sequence;
        })
    }

    fn set_database_state(&mut self, server: &str, database: &str, state: Option<u8>) -> Result<(), String> {
        let index = self.require_server("server", server)?;
        let server = &mut self.servers[index];
        let name = server
            .database_name(database)
            .ok_or_else(|| format!("database {database:?}: {} has no such database", server.id))?;
        let name = name.to_owned();
        match state {
            Some(state) => server.states.insert(name.to_lowercase(), state),
            None => server.states.remove(&name.to_lowercase()),
        };
        if let Some((at, seat)) = self.find_mirroring(index, &name) {
            let mirroring = &mut self.mirrorings[at];
            let suspends = mirroring.settings.suspect_mirror_suspends && state == Some(SUSPECT);
            mirroring.suspended |= suspends && mirroring.copies[seat].role == Role::Mirror;
        }
        Ok(())
    }

    fn remove_on(&mut self, pair: &str, database: &str, server: &str) -> Result<(), String> {
        let server = self.require_server("server", server)?;
        let index = self.require_mirrorings(pair, &Some(database.to_owned()))?[0];
        let seat = self.mirrorings[index]
            .seat_of(server)
            .filter(|seat| *seat < WITNESS)
            .ok_or("server: not a partner of this pair")?;
        self.remove_mirroring(index, seat);
        Ok(())
    }

    fn fail_over_pair(&mut self, pair: &str, database: &Option<String>) -> Result<(), String> {
        for index in self.require_mirrorings(pair, database)? {
            let seat = self.mirrorings[index].principal();
            self.request_failover(index, seat).map_err(|messages| messages[0].text.clone())?;
        }
        Ok(())
    }

    fn force_service_on_pair(&mut self, pair: &str, database: &Option<String>) -> Result<(), String> {
        for index in self.require_mirrorings(pair, database)? {
            let seat = other(self.mirrorings[index].principal());
            self.force_service(index, seat).map_err(|messages| messages[0].text.clone())?;
        }
        Ok(())
    }

    pub(super) fn require_server(&self, field: &str, id: &str) -> Result<usize, String> {
        self.find_server(id).ok_or_else(|| {
            let known: Vec<&str> = self.servers.iter().map(|server| server.id.as_str()).collect();
            format!("{field} {id:?}: no such server; there are {}", known.join(", "))
        })
    }

    pub(super) fn server_mut(&mut self, id: &str) -> Result<&mut Server, String> {
        let index = self.require_server("server", id)?;
        Ok(&mut self.servers[index])
    }

    pub(super) fn login_mut(&mut self, server: &str, login: &str) -> Result<&mut LoginConfig, String> {
        let server = self.server_mut(server)?;
        let id = server.id.clone();
        server
            .logins
            .iter_mut()
            .find(|candidate| same_name(&candidate.name, login))
            .ok_or_else(|| format!("login {login:?}: {id} has no such login"))
    }

    /// Indices of the mirroring sessions of a pair, or of one of its databases.
    pub(super) fn require_mirrorings(&self, pair: &str, database: &Option<String>) -> Result<Vec<usize>, String> {
        let found: Vec<usize> = (0..self.mirrorings.len())
            .filter(|index| {
                let mirroring = &self.mirrorings[*index];
                same_name(&mirroring.pair, pair)
                    && database.as_ref().is_none_or(|name| same_name(name, &mirroring.database))
            })
            .collect();
        if found.is_empty() {
            Err(format!("pair {pair:?}, database {database:?}: no mirrored database of this name"))
        } else {
            Ok(found)
        }
    }

    /// Changes every mirroring session of a pair, or that of one of its databases.
    pub(super) fn for_each(
        &mut self,
        pair: &str,
        database: &Option<String>,
        mut change: impl FnMut(&mut Mirroring),
    ) -> Result<(), String> {
        for index in self.require_mirrorings(pair, database)? {
            change(&mut self.mirrorings[index]);
        }
        Ok(())
    }
}
