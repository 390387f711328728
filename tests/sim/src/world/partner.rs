//! `ALTER DATABASE ... SET PARTNER`: who may, when, and with which error it is refused (domain facts 2.5 and 2.7).

use std::time::Duration;

use super::{FailoverKind, MoveId, Role, Seat, Session, Sync, World, other};
use crate::config::Safety;
use crate::sql::engine::{Altered, PartnerAction};
use crate::value::Message;

pub(crate) fn message(number: u32, class: u8, text: impl Into<String>) -> Message {
    Message { number, state: 1, class, text: text.into(), line: 1 }
}

/// The error and its trailer.
pub(crate) fn failed(cause: Message) -> Vec<Message> {
    vec![cause, message(5069, 16, "ALTER DATABASE statement failed.")]
}

fn refuse<T>(number: u32, text: impl Into<String>) -> Result<T, Vec<Message>> {
    let class = if number == 5011 { 14 } else { 16 };
    Err(failed(message(number, class, text)))
}

impl World {
    pub(crate) fn alter(
        &mut self,
        session: &Session,
        database: &str,
        action: PartnerAction,
    ) -> Result<Altered, Vec<Message>> {
        let server = session.server;
        if let Some(counter) = self.servers[server].fail.as_mut().filter(|counter| counter.left > 0) {
            counter.left -= 1;
            return Err(failed(message(counter.number, counter.class, "The statement was refused on command.")));
        }
        let login = self.servers[server].find_login(&session.login);
        let may = login.is_some_and(|login| login.sysadmin || login.alter_any_database);
        if !may || self.servers[server].database_id(database).is_none() {
            return refuse(
                5011,
                format!(
                    "User does not have permission to alter database '{database}', the database does not exist, or the database is not in a state that allows access checks."
                ),
            );
        }
        let Some((index, seat)) = self
            .find_mirroring(server, database)
            .filter(|(index, seat)| self.mirrorings[*index].halves[*seat].mirrored)
        else {
            return refuse(1416, format!("Database \"{database}\" is not configured for database mirroring."));
        };
        match action {
            PartnerAction::Failover if !session.database.eq_ignore_ascii_case("master") => {
                refuse(5001, "User must be in the master database.")
            }
            PartnerAction::Failover => self.begin_failover(index, seat).map(Altered::Pending),
            PartnerAction::ForceService => self.force(index, seat).map(|()| Altered::Done),
            PartnerAction::Resume => self.resume(index, seat).map(|()| Altered::Done),
            PartnerAction::Suspend => {
                self.mirrorings[index].suspended = true;
                Ok(Altered::Done)
            }
            PartnerAction::Off => {
                self.remove_mirroring(index, seat);
                Ok(Altered::Done)
            }
            PartnerAction::SafetyFull | PartnerAction::SafetyOff if self.mirrorings[index].halves[seat].role == Role::Mirror => {
                refuse(1470, format!("The alter database for this partner config values may only be initiated on the current principal server for database \"{database}\"."))
            }
            PartnerAction::SafetyFull => self.set_safety(index, Safety::Full),
            PartnerAction::SafetyOff => self.set_safety(index, Safety::Off),
            PartnerAction::WitnessOff => {
                self.mirrorings[index].witness = None;
                Ok(Altered::Done)
            }
        }
        .inspect(|_| {
            self.touch();
            self.settle();
        })
    }

    fn set_safety(&mut self, index: usize, safety: Safety) -> Result<Altered, Vec<Message>> {
        let mirroring = &mut self.mirrorings[index];
        mirroring.safety = safety;
        mirroring.safety_sequence += 1;
        Ok(Altered::Done)
    }

    pub(crate) fn begin_failover(&mut self, index: usize, seat: Seat) -> Result<MoveId, Vec<Message>> {
        let mirroring = &self.mirrorings[index];
        let name = &mirroring.database;
        if mirroring.halves[seat].role == Role::Mirror {
            return refuse(
                1470,
                format!(
                    "The alter database for this partner config values may only be initiated on the current principal server for database \"{name}\"."
                ),
            );
        }
        if mirroring.running.is_some() {
            return refuse(
                1404,
                format!(
                    "The command failed because the database mirror is busy. Reissue the command later. Database \"{name}\"."
                ),
            );
        }
        if mirroring.safety == Safety::Off {
            return refuse(
                1477,
                format!(
                    "The database mirroring safety level must be FULL to manually failover database \"{name}\". Set safety level to FULL and retry."
                ),
            );
        }
        if !mirroring.linked(seat, other(seat)) || !self.connected(index, 0, 1) {
            return refuse(
                1447,
                format!(
                    "ALTER DATABASE \"{name}\" command cannot be executed until both partner server instances are up, running, and connected. Start the partner and reissue the command."
                ),
            );
        }
        if mirroring.state(seat, self.now) != 4 {
            return refuse(
                1422,
                format!(
                    "The mirror server instance is not caught up to the recent changes to database \"{name}\". Unable to fail over."
                ),
            );
        }
        let slow = Duration::from_millis(self.servers[mirroring.partners[seat]].slow_millis);
        Ok(self.start_move(index, seat, slow))
    }

    pub(crate) fn force(&mut self, index: usize, seat: Seat) -> Result<(), Vec<Message>> {
        let mirroring = &self.mirrorings[index];
        let name = &mirroring.database;
        if mirroring.halves[seat].role == Role::Principal || mirroring.sees(seat, other(seat)) {
            return refuse(
                1455,
                format!(
                    "The database mirroring service cannot be forced for database \"{name}\" because the database is not in the correct state to become the principal database."
                ),
            );
        }
        if mirroring.witness_state(seat).is_some_and(|state| state != 1) {
            return refuse(
                1431,
                format!(
                    "Neither the partner nor the witness server instance for database \"{name}\" is available. Reissue the command when at least one of the instances becomes available."
                ),
            );
        }
        self.take_over(index, seat, FailoverKind::Forced);
        Ok(())
    }

    fn resume(&mut self, index: usize, seat: Seat) -> Result<(), Vec<Message>> {
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        if !mirroring.sees(seat, other(seat)) {
            let name = &mirroring.database;
            return refuse(
                1447,
                format!(
                    "ALTER DATABASE \"{name}\" command cannot be executed until both partner server instances are up, running, and connected."
                ),
            );
        }
        mirroring.suspended = false;
        mirroring.sync = Sync::Until(now + mirroring.resync);
        self.suspend_if_newer(index);
        Ok(())
    }

    /// Drops the mirroring: on both sides, or on this one while the other is away.
    pub(crate) fn remove_mirroring(&mut self, index: usize, seat: Seat) {
        let mirroring = &mut self.mirrorings[index];
        mirroring.halves[seat].mirrored = false;
        if mirroring.linked(0, 1) {
            mirroring.halves[other(seat)].mirrored = false;
        }
    }
}
