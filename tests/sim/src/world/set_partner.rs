//! `ALTER DATABASE ... SET PARTNER` and `SET WITNESS OFF`: permissions, preconditions and error numbers.
//! Source: <https://learn.microsoft.com/sql/t-sql/statements/alter-database-transact-sql-database-mirroring>.

use std::time::Duration;

use super::mirroring::WITNESS;
use super::{FailoverId, FailoverKind, Role, Seat, Session, Sync, World, other};
use crate::config::Safety;
use crate::settings::{FailoverAnswer, ForceAnswer};
use crate::sql::engine::{AlterOutcome, PartnerAction};
use crate::value::Message;

pub(crate) fn message(number: u32, class: u8, text: impl Into<String>) -> Message {
    Message { number, state: 1, class, text: text.into(), line: 1 }
}

/// The error, followed by error 5069, which ends every failed ALTER DATABASE.
pub(crate) fn with_trailer(cause: Message) -> Vec<Message> {
    vec![cause, message(5069, 16, "ALTER DATABASE statement failed.")]
}

pub(super) fn refuse<T>(number: u32, text: impl Into<String>) -> Result<T, Vec<Message>> {
    let class = if number == 5011 { 14 } else { 16 };
    Err(with_trailer(message(number, class, text)))
}

fn refuse_on_mirror<T>(database: &str) -> Result<T, Vec<Message>> {
    refuse(
        1470,
        format!(
            "The alter database for this partner config values may only be initiated on the current principal server for database \"{database}\"."
        ),
    )
}

pub(crate) fn not_forceable(database: &str) -> Message {
    message(
        1455,
        16,
        format!(
            "The database mirroring service cannot be forced for database \"{database}\" because the database is not in the correct state to become the principal database."
        ),
    )
}

impl World {
    pub(crate) fn alter(
        &mut self,
        session: &Session,
        database: &str,
        action: PartnerAction,
    ) -> Result<AlterOutcome, Vec<Message>> {
        let server = session.server;
        if let Some(injected) = self.servers[server].injected_error.as_mut().filter(|injected| injected.left > 0) {
            injected.left -= 1;
            return Err(with_trailer(message(
                injected.number,
                injected.class,
                "The statement was rejected by an injected error.",
            )));
        }
        let login = self.servers[server].find_login(&session.login);
        let permitted = login.is_some_and(|login| login.sysadmin || login.alter_any_database);
        if !permitted || self.servers[server].database_id(database).is_none() {
            return refuse(
                5011,
                format!(
                    "User does not have permission to alter database '{database}', the database does not exist, or the database is not in a state that allows access checks."
                ),
            );
        }
        let Some((index, seat)) = self
            .find_mirroring(server, database)
            .filter(|(index, seat)| self.mirrorings[*index].copies[*seat].mirrored)
        else {
            return refuse(1416, format!("Database \"{database}\" is not configured for database mirroring."));
        };
        self.apply_action(session, index, seat, action).inspect(|_| {
            self.mark_changed();
            self.apply_transitions();
        })
    }

    fn apply_action(
        &mut self,
        session: &Session,
        index: usize,
        seat: Seat,
        action: PartnerAction,
    ) -> Result<AlterOutcome, Vec<Message>> {
        let principal_only = matches!(
            action,
            PartnerAction::Resume
                | PartnerAction::SafetyFull
                | PartnerAction::SafetyOff
                | PartnerAction::Timeout(_)
                | PartnerAction::Witness(_)
                | PartnerAction::WitnessOff
        );
        if principal_only && self.mirrorings[index].copies[seat].role == Role::Mirror {
            return refuse_on_mirror(&self.mirrorings[index].database);
        }
        match action {
            PartnerAction::Failover if !session.database.eq_ignore_ascii_case("master") => {
                refuse(5001, "User must be in the master database.")
            }
            PartnerAction::Failover => self.fail_over(index, seat),
            PartnerAction::ForceService => self.force(index, seat),
            PartnerAction::Resume => self.resume(index, seat).map(|()| AlterOutcome::Done),
            PartnerAction::Suspend => {
                self.mirrorings[index].suspended = true;
                Ok(AlterOutcome::Done)
            }
            PartnerAction::Off => {
                self.remove_mirroring(index, seat);
                Ok(AlterOutcome::Done)
            }
            PartnerAction::SafetyFull => self.set_safety(index, Safety::Full),
            PartnerAction::SafetyOff => self.set_safety(index, Safety::Off),
            PartnerAction::Timeout(seconds) => self.set_timeout(index, seconds),
            PartnerAction::Witness(address) => self.set_witness(index, seat, &address),
            PartnerAction::WitnessOff => self.remove_witness(index, seat),
        }
    }

    /// A manual failover by statement, with the answer of the setting.
    fn fail_over(&mut self, index: usize, seat: Seat) -> Result<AlterOutcome, Vec<Message>> {
        self.check_failover(index, seat)?;
        match self.mirrorings[index].settings.failover_answer {
            FailoverAnswer::After => Ok(AlterOutcome::Pending(self.start_failover(index, seat, false))),
            FailoverAnswer::Before => {
                self.start_failover(index, seat, false);
                Ok(AlterOutcome::Done)
            }
            FailoverAnswer::Ignored => Ok(AlterOutcome::Done),
            FailoverAnswer::FailsLater => {
                self.start_failover(index, seat, true);
                Ok(AlterOutcome::Done)
            }
        }
    }

    /// Forced service by statement, with the time and the answer of the settings.
    fn force(&mut self, index: usize, seat: Seat) -> Result<AlterOutcome, Vec<Message>> {
        let settings = &self.mirrorings[index].settings;
        let (time, answer) = (Duration::from_millis(settings.force_millis), settings.force_answer);
        if time.is_zero() {
            return self.force_service(index, seat).map(|()| AlterOutcome::Done);
        }
        self.check_force(index, seat)?;
        let id = self.run_failover(index, FailoverKind::Forced, other(seat), time, false);
        Ok(match answer {
            ForceAnswer::After => AlterOutcome::Pending(id),
            ForceAnswer::Before => AlterOutcome::Done,
        })
    }

    fn set_safety(&mut self, index: usize, safety: Safety) -> Result<AlterOutcome, Vec<Message>> {
        let mirroring = &mut self.mirrorings[index];
        mirroring.safety = safety;
        mirroring.safety_sequence += 1;
        Ok(AlterOutcome::Done)
    }

    /// Checks the preconditions of a manual failover and starts it.
    ///
    /// # Errors
    /// Those of `check_failover`.
    pub(crate) fn request_failover(&mut self, index: usize, seat: Seat) -> Result<FailoverId, Vec<Message>> {
        self.check_failover(index, seat)?;
        Ok(self.start_failover(index, seat, false))
    }

    /// The preconditions of a manual failover.
    ///
    /// # Errors
    /// 1470, 1404, 1477, 1447 or 1422, each followed by 5069.
    fn check_failover(&self, index: usize, seat: Seat) -> Result<(), Vec<Message>> {
        let mirroring = &self.mirrorings[index];
        let name = &mirroring.database;
        if mirroring.copies[seat].role == Role::Mirror {
            return refuse_on_mirror(name);
        }
        if mirroring.running_failover.is_some() {
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
        if !mirroring.both_connected(seat, other(seat)) || !self.can_communicate(index, 0, 1) {
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
        Ok(())
    }

    /// Forces service in this seat.
    ///
    /// # Errors
    /// 1455 or 1431, each followed by 5069.
    pub(crate) fn force_service(&mut self, index: usize, seat: Seat) -> Result<(), Vec<Message>> {
        self.check_force(index, seat)?;
        self.promote_mirror(index, seat, FailoverKind::Forced);
        Ok(())
    }

    fn check_force(&self, index: usize, seat: Seat) -> Result<(), Vec<Message>> {
        let mirroring = &self.mirrorings[index];
        let name = &mirroring.database;
        // A partner that is a mirror as well does not prevent forced service.
        let has_principal = mirroring.copies[other(seat)].role == Role::Principal;
        let connected = has_principal && mirroring.reports_connected(seat, other(seat));
        if mirroring.copies[seat].role == Role::Principal || connected || mirroring.running_failover.is_some() {
            return Err(with_trailer(not_forceable(name)));
        }
        if mirroring.witness_state(seat).is_some_and(|state| state != 1) {
            return refuse(
                1431,
                format!(
                    "Neither the partner nor the witness server instance for database \"{name}\" is available. Reissue the command when at least one of the instances becomes available."
                ),
            );
        }
        Ok(())
    }

    fn resume(&mut self, index: usize, seat: Seat) -> Result<(), Vec<Message>> {
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        if !mirroring.reports_connected(seat, other(seat)) {
            let name = &mirroring.database;
            return refuse(
                1447,
                format!(
                    "ALTER DATABASE \"{name}\" command cannot be executed until both partner server instances are up, running, and connected."
                ),
            );
        }
        mirroring.suspended = false;
        mirroring.sync = Sync::SynchronizingUntil(now.saturating_add(mirroring.resync));
        self.suspend_if_principal_is_newer(index);
        Ok(())
    }

    /// Removes mirroring on both partners, or only in this seat while the partners are disconnected.
    pub(crate) fn remove_mirroring(&mut self, index: usize, seat: Seat) {
        let mirroring = &mut self.mirrorings[index];
        mirroring.copies[seat].mirrored = false;
        if mirroring.witness.is_some() && mirroring.both_connected(seat, WITNESS) {
            mirroring.witness_dropped = true;
        }
        if mirroring.both_connected(0, 1) {
            mirroring.copies[other(seat)].mirrored = false;
        }
    }
}
