//! How a command changes the world. A wrong name is answered with the field, the value and what there is.

use std::time::Duration;

use super::mirroring::WITNESS;
use super::server::Counter;
use super::{Command, Mirroring, Reach, Server, Sync, World, other, same_name};
use crate::config::LoginConfig;

impl World {
    /// Does what the command says, at `now`.
    ///
    /// # Errors
    /// A sentence that names the field, the value and the way out; nothing has changed then.
    pub fn apply(&mut self, now: Duration, command: &Command) -> Result<(), String> {
        self.advance(now);
        self.obey(command)?;
        self.touch();
        self.settle();
        Ok(())
    }

    fn obey(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Kill { server } => {
                let index = self.need_server("server", server)?;
                self.servers[index].reach = Reach::Down;
                self.kill_sessions(|session| session.server == index);
            }
            Command::Start { server } | Command::Unpause { server } => self.at("server", server)?.reach = Reach::Up,
            Command::Pause { server } => self.at("server", server)?.reach = Reach::Paused,
            Command::Cut { a, b } => {
                let link = self.need_link(a, b)?;
                self.cuts.insert(link);
            }
            Command::Mend { a, b } => {
                let link = self.need_link(a, b)?;
                self.cuts.remove(&link);
            }
            Command::MendAll => self.cuts.clear(),
            Command::Suspend { pair, database } => self.each(pair, database, |mirroring| mirroring.suspended = true)?,
            Command::Resume { pair, database } => {
                let due = self.now;
                self.each(pair, database, |mirroring| {
                    mirroring.suspended = false;
                    mirroring.sync = Sync::Until(due + mirroring.resync);
                })?;
            }
            Command::SetSafety { pair, database, safety } => {
                self.each(pair, database, |mirroring| mirroring.safety = *safety)?
            }
            Command::SetRedo { pair, database, queue_kb, rate_kb_per_s } => self.each(pair, database, |mirroring| {
                mirroring.redo_queue_kb = *queue_kb;
                mirroring.redo_rate_kb_per_s = rate_kb_per_s.unwrap_or(mirroring.redo_rate_kb_per_s);
            })?,
            Command::SetSwitchMillis { pair, millis } => {
                self.each(pair, &None, |mirroring| mirroring.switch = Duration::from_millis(*millis))?;
            }
            Command::SetBelongings { server, belongings } => {
                self.at("server", server)?.belongings.clone_from(belongings);
            }
            Command::SetEndpoint { server, state } => self.at("server", server)?.endpoint_state = *state,
            Command::SetPassword { server, login, password } => {
                self.login_of(server, login)?.password = Some(password.clone())
            }
            Command::SetSysadmin { server, login, sysadmin } => self.login_of(server, login)?.sysadmin = *sysadmin,
            Command::RemoveMirroring { pair, database, server } => {
                let server = self.need_server("server", server)?;
                let index = self.need_pair(pair, &Some(database.clone()))?[0];
                let seat = self.mirrorings[index]
                    .seat_of(server)
                    .filter(|seat| *seat < WITNESS)
                    .ok_or("server: not a partner of this pair")?;
                self.remove_mirroring(index, seat);
            }
            Command::SetDatabaseState { server, database, state } => {
                let server = self.at("server", server)?;
                let name = server
                    .database_name(database)
                    .ok_or_else(|| format!("database {database:?}: {} has no such database", server.id))?;
                let name = name.to_lowercase();
                server.states.insert(name, *state);
            }
            Command::SetRoleSequence { pair, database, role_sequence } => self.each(pair, database, |mirroring| {
                mirroring.halves.iter_mut().for_each(|half| half.role_sequence = *role_sequence);
                mirroring.witness_sequence = *role_sequence;
            })?,
            Command::Failover { pair, database } => {
                for index in self.need_pair(pair, database)? {
                    let seat = self.mirrorings[index].principal();
                    self.begin_failover(index, seat).map_err(|messages| messages[0].text.clone())?;
                }
            }
            Command::Force { pair, database } => {
                for index in self.need_pair(pair, database)? {
                    let seat = other(self.mirrorings[index].principal());
                    self.force(index, seat).map_err(|messages| messages[0].text.clone())?;
                }
            }
            Command::SlowStatements { server, millis } => self.at("server", server)?.slow_millis = *millis,
            Command::FailStatement { server, number, class, times } => {
                self.at("server", server)?.fail = Some(Counter { number: *number, class: *class, left: *times });
            }
            Command::FailAfter { server, number, class, times } => {
                self.at("server", server)?.fail_after = Some(Counter { number: *number, class: *class, left: *times });
            }
            Command::Desync { pair, database, millis } => {
                let until = self.now + Duration::from_millis(*millis);
                self.each(pair, database, |mirroring| mirroring.sync = Sync::Until(until))?;
            }
            Command::SetVersion { server, version } => self.at("server", server)?.version.clone_from(version),
            Command::Lie { server, database, lie } => {
                self.at("server", server)?.lies.insert(database.to_lowercase(), lie.clone());
            }
            Command::ClearLies => self.servers.iter_mut().for_each(|server| server.lies.clear()),
        }
        Ok(())
    }

    fn need_server(&self, field: &str, id: &str) -> Result<usize, String> {
        self.find_server(id).ok_or_else(|| {
            let known: Vec<&str> = self.servers.iter().map(|server| server.id.as_str()).collect();
            format!("{field} {id:?}: no such server; there are {}", known.join(", "))
        })
    }

    fn at(&mut self, field: &str, id: &str) -> Result<&mut Server, String> {
        let index = self.need_server(field, id)?;
        Ok(&mut self.servers[index])
    }

    fn need_link(&self, a: &str, b: &str) -> Result<(usize, usize), String> {
        let (a, b) = (self.need_server("a", a)?, self.need_server("b", b)?);
        Ok((a.min(b), a.max(b)))
    }

    fn login_of(&mut self, server: &str, login: &str) -> Result<&mut LoginConfig, String> {
        let server = self.at("server", server)?;
        let id = server.id.clone();
        server
            .logins
            .iter_mut()
            .find(|known| same_name(&known.name, login))
            .ok_or_else(|| format!("login {login:?}: {id} has no such login"))
    }

    fn need_pair(&self, pair: &str, database: &Option<String>) -> Result<Vec<usize>, String> {
        let found: Vec<usize> = (0..self.mirrorings.len())
            .filter(|index| {
                let mirroring = &self.mirrorings[*index];
                same_name(&mirroring.pair, pair)
                    && database.as_ref().is_none_or(|name| same_name(name, &mirroring.database))
            })
            .collect();
        if found.is_empty() {
            Err(format!("pair {pair:?}, database {database:?}: nothing of that name is mirrored"))
        } else {
            Ok(found)
        }
    }

    fn each(
        &mut self,
        pair: &str,
        database: &Option<String>,
        mut change: impl FnMut(&mut Mirroring),
    ) -> Result<(), String> {
        for index in self.need_pair(pair, database)? {
            change(&mut self.mirrorings[index]);
        }
        Ok(())
    }
}
