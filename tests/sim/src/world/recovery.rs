//! The start of a server: the phase without logins, then the recovery of its databases. And logins that the server
//! rejects on demand.
//! Source of the numbers: <https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors>.

use std::time::Duration;

use super::server::{LoginRefusal, SYSTEM_DATABASES};
use super::set_partner::message;
use super::{Reach, World, same_name};
use crate::value::Message;

impl World {
    /// Starts a server that is down, or ends its freeze.
    pub(crate) fn start(&mut self, index: usize) {
        let was_down = self.servers[index].reach == Reach::Down;
        self.servers[index].reach = Reach::Up;
        if !was_down {
            return;
        }
        let now = self.now;
        let server = &mut self.servers[index];
        server.starts += 1;
        server.ready_at = now.saturating_add(Duration::from_millis(server.settings.start_millis));
        server.recovered_at.clear();
        let step = Duration::from_millis(server.settings.recovery_millis);
        let mut recovered = server.ready_at;
        for database in server.databases.iter().skip(SYSTEM_DATABASES.len()) {
            recovered = recovered.saturating_add(step);
            server.recovered_at.insert(database.to_lowercase(), recovered);
        }
        let mut timers: Vec<Duration> = server.recovered_at.values().copied().collect();
        timers.push(server.ready_at);
        timers.into_iter().for_each(|timer| self.set_timer(timer));
        self.log_start(index);
        self.clear_log_totals(index);
        for mirroring in &mut self.mirrorings {
            for seat in 0..2 {
                if mirroring.partners[seat] == index && mirroring.copies[seat].abandoned {
                    mirroring.copies[seat].abandoned = false;
                    mirroring.copies[seat].mirrored = false;
                }
            }
        }
    }

    /// The error that a login gets before its password is checked.
    pub(crate) fn login_refusal(&mut self, server: usize, user: &str) -> Option<Message> {
        if self.now < self.servers[server].ready_at {
            return Some(login_error(17187, None, user));
        }
        let refusals = &mut self.servers[server].login_refusals;
        refusals.retain(|refusal| refusal.left != Some(0));
        let concerns = |refusal: &&mut LoginRefusal| refusal.login.as_ref().is_none_or(|login| same_name(login, user));
        let refusal: &mut LoginRefusal = refusals.iter_mut().find(concerns)?;
        if let Some(left) = &mut refusal.left {
            *left -= 1;
        }
        Some(login_error(refusal.number, refusal.class, user))
    }
}

/// The error of a rejected login, with the documented text of known numbers.
pub(super) fn login_error(number: u32, class: Option<u8>, user: &str) -> Message {
    let failed = |reason: &str| format!("Login failed for user '{user}'. Reason: {reason}");
    let (default, text) = match number {
        4064 => (11, "Cannot open user default database. Login failed.".to_owned()),
        6005 => (10, "SHUTDOWN is in progress.".to_owned()),
        17142 => (14, "SQL Server service has been paused. No new connections will be allowed. To resume the service, use SQL Computer Manager or the Services application in Control Panel.".to_owned()),
        17187 => (16, "SQL Server is not ready to accept new client connections. Wait a few minutes before trying again.".to_owned()),
        17809 => (10, "Could not connect because the maximum number of user connections has already been reached. The system administrator can use sp_configure to increase the maximum value. The connection has been closed.".to_owned()),
        17892 => (14, format!("Logon failed for login '{user}' due to trigger execution.")),
        18401 => (14, failed("Server is in script upgrade mode. Only administrator can connect at this time.")),
        18451 => (14, format!("Login failed for user '{user}'. Only administrators may connect at this time.")),
        18461 => (14, failed("Server is in single user mode. Only one administrator can connect at this time.")),
        18456 => (14, format!("Login failed for user '{user}'.")),
        18470 => (14, failed("The account is disabled.")),
        18486 => (14, format!("Login failed for user '{user}' because the account is currently locked out. The system administrator can unlock it.")),
        18487 => (14, failed("The password of the account has expired.")),
        18488 => (14, failed("The password of the account must be changed.")),
        other => (14, format!("The login was rejected by injected error {other}.")),
    };
    message(number, class.unwrap_or(default), text)
}
