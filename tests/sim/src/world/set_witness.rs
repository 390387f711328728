//! `ALTER DATABASE ... SET WITNESS` and `SET PARTNER TIMEOUT`.
//! Source: <https://learn.microsoft.com/sql/t-sql/statements/alter-database-transact-sql-database-mirroring>.

use std::time::Duration;

use super::mirroring::WITNESS;
use super::set_partner::refuse;
use super::{Seat, World, other, same_name};
use crate::sql::engine::AlterOutcome;
use crate::value::Message;

impl World {
    /// Sets the partner timeout.
    ///
    /// # Errors
    /// 1476 above the documented maximum.
    pub(super) fn set_timeout(&mut self, index: usize, seconds: i64) -> Result<AlterOutcome, Vec<Message>> {
        let Some(seconds) = u16::try_from(seconds).ok().filter(|seconds| *seconds <= 32_767) else {
            let name = &self.mirrorings[index].database;
            return refuse(
                1476,
                format!(
                    "Database mirroring timeout value {seconds} exceeds the maximum value 32767 for database \"{name}\"."
                ),
            );
        };
        // A value of less than 5 seconds is raised to 5.
        let seconds = seconds.max(5);
        let mirroring = &mut self.mirrorings[index];
        mirroring.connection_timeout = i32::from(seconds);
        mirroring.timeout = Duration::from_secs(u64::from(seconds));
        Ok(AlterOutcome::Done)
    }

    /// Sets the witness on the principal.
    ///
    /// # Errors
    /// 1429 for a partner, 1426 while the mirror is not connected and caught up, 1456 for a server that does not answer.
    pub(super) fn set_witness(
        &mut self,
        index: usize,
        seat: Seat,
        address: &str,
    ) -> Result<AlterOutcome, Vec<Message>> {
        let mirroring = &self.mirrorings[index];
        let name = &mirroring.database;
        let witness = self.servers.iter().position(|server| same_name(&server.endpoint_address, address));
        if witness.is_some_and(|witness| mirroring.partners.contains(&witness)) {
            return refuse(
                1429,
                format!(
                    "The witness server instance name must be distinct from both of the server instances that manage the database. The ALTER DATABASE SET WITNESS command failed. Database \"{name}\"."
                ),
            );
        }
        if mirroring.state(seat, self.now) != 4 || !mirroring.both_connected(seat, other(seat)) {
            return refuse(
                1426,
                format!(
                    "To issue ALTER DATABASE SET WITNESS, all three server instances must be interconnected, and the mirror database must be caught up. When these conditions are met, reissue the command. Database \"{name}\"."
                ),
            );
        }
        let partners = mirroring.partners;
        let answers =
            |witness: usize| partners.into_iter().all(|partner| self.servers_can_communicate(partner, witness));
        let Some(witness) = witness.filter(|witness| answers(*witness)) else {
            return refuse(
                1456,
                format!(
                    "The ALTER DATABASE command could not be sent to the remote server instance '{address}'. The database mirroring configuration was not changed. Verify that the server is connected, and try again."
                ),
            );
        };
        self.connect_witness(index, Some(witness));
        Ok(AlterOutcome::Done)
    }

    /// Removes the witness on the principal.
    ///
    /// # Errors
    /// 1439 without a witness, 1431 without quorum.
    pub(super) fn remove_witness(&mut self, index: usize, seat: Seat) -> Result<AlterOutcome, Vec<Message>> {
        let mirroring = &self.mirrorings[index];
        let name = &mirroring.database;
        if mirroring.witness.is_none() {
            return refuse(1439, format!("There is currently no witness associated with the database \"{name}\"."));
        }
        if !self.has_quorum(index, seat) {
            return refuse(
                1431,
                format!(
                    "Neither the partner nor the witness server instance for database \"{name}\" is available. Reissue the command when at least one of the instances becomes available."
                ),
            );
        }
        self.connect_witness(index, None);
        Ok(AlterOutcome::Done)
    }

    /// Replaces the witness of a session; the links to the old one are gone.
    pub(super) fn connect_witness(&mut self, index: usize, witness: Option<usize>) {
        let mirroring = &mut self.mirrorings[index];
        mirroring.witness = witness;
        mirroring.witness_dropped = false;
        let principal = mirroring.principal();
        mirroring.witness_principal = principal;
        mirroring.witness_sequence = mirroring.copies[principal].role_sequence;
        for seat in 0..2 {
            let link = &mut mirroring.links[super::mirroring::link_of(seat, WITNESS).0];
            link.end_connected = [witness.is_some(); 2];
            link.lost_at = None;
        }
    }
}
