//! Role changes: start, completion and failure. Module `set_partner` checks the preconditions of a statement.

use std::time::Duration;

use super::{Failover, FailoverKind, Role, Seat, Sync, World, other};
use crate::value::Message;

pub(crate) type FailoverId = u64;
/// The result of a failover; `None` while the failover runs.
pub(crate) type Outcome = Option<Result<(), Vec<Message>>>;

/// A manual failover that has started and not ended.
#[derive(Debug)]
pub(crate) struct RunningFailover {
    pub kind: FailoverKind,
    pub from: Seat,
    pub started: Duration,
    pub due: Duration,
    /// The key of the outcome, which the waiting batch reads.
    pub id: FailoverId,
}

impl World {
    /// Starts a manual failover of the principal in this seat. The caller has checked the preconditions.
    pub(crate) fn start_failover(&mut self, index: usize, seat: Seat, slow: Duration) -> FailoverId {
        let id = self.next_failover_id;
        self.next_failover_id += 1;
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        let due = now + mirroring.redo_time() + slow;
        mirroring.running_failover =
            Some(RunningFailover { kind: FailoverKind::Manual, from: seat, started: now, due, id });
        self.failover_outcomes.insert(id, None);
        self.mark_changed();
        self.apply_transitions();
        id
    }

    /// Swaps the roles at the end of a manual failover.
    pub(crate) fn complete_failover(&mut self, index: usize) {
        let Some(running) = self.mirrorings[index].running_failover.take() else { return };
        let (from, to) = (running.from, other(running.from));
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        let sequence = mirroring.copies.iter().map(|copy| copy.role_sequence).max().unwrap_or(0) + 1;
        mirroring.copies[from].role = Role::Mirror;
        mirroring.copies[to].role = Role::Principal;
        mirroring.copies.iter_mut().for_each(|copy| copy.role_sequence = sequence);
        mirroring.redo_queue_kb = 0;
        mirroring.sync = Sync::SynchronizingUntil(now + mirroring.resync);
        mirroring.disconnected_until = now + mirroring.resync / 2;
        self.update_witness(index);
        self.failover_outcomes.insert(running.id, Some(Ok(())));
        self.record(index, from, to, running.kind, sequence);
        self.suspend_if_principal_is_newer(index);
        self.mark_changed();
    }

    /// Ends a failover whose partner disconnected before the roles swapped. The roles stay as they were.
    pub(crate) fn abort_failover(&mut self, index: usize) {
        let Some(running) = self.mirrorings[index].running_failover.take() else { return };
        let database = self.mirrorings[index].database.clone();
        let lost = super::set_partner::message(
            1456,
            16,
            format!(
                "The ALTER DATABASE command could not be sent to the remote server instance. The database mirroring configuration was not changed. Database \"{database}\"."
            ),
        );
        self.failover_outcomes.insert(running.id, Some(Err(super::set_partner::with_trailer(lost))));
        self.mark_changed();
    }

    /// Makes the mirror in this seat the principal, without its partner.
    pub(crate) fn promote_mirror(&mut self, index: usize, seat: Seat, kind: FailoverKind) {
        let mirroring = &mut self.mirrorings[index];
        let copy = &mut mirroring.copies[seat];
        copy.role = Role::Principal;
        copy.role_sequence += 1;
        copy.forced = kind == FailoverKind::Forced;
        let sequence = copy.role_sequence;
        mirroring.sync = Sync::Unsynchronized;
        mirroring.automatic_failover_ready = false;
        self.update_witness(index);
        self.record(index, other(seat), seat, kind, sequence);
        self.mark_changed();
    }

    /// Passes the newest role change to the witness, if the witness is connected to the new principal.
    pub(crate) fn update_witness(&mut self, index: usize) {
        let mirroring = &mut self.mirrorings[index];
        for seat in 0..2 {
            let copy = &mirroring.copies[seat];
            if mirroring.witness.is_some()
                && copy.role == Role::Principal
                && mirroring.both_connected(seat, super::mirroring::WITNESS)
                && copy.role_sequence > mirroring.witness_sequence
            {
                mirroring.witness_sequence = copy.role_sequence;
                mirroring.witness_principal = seat;
            }
        }
    }

    /// Suspends mirroring if the principal has a newer major version: an older mirror cannot apply its log
    /// (tests/scenarios, s27).
    pub(crate) fn suspend_if_principal_is_newer(&mut self, index: usize) {
        let mirroring = &self.mirrorings[index];
        let principal = mirroring.principal();
        let major = |seat: Seat| self.servers[mirroring.partners[seat]].major();
        if major(principal) > major(other(principal)) {
            self.mirrorings[index].suspended = true;
        }
    }

    fn record(&mut self, index: usize, from: Seat, to: Seat, kind: FailoverKind, role_sequence: i32) {
        let mirroring = &self.mirrorings[index];
        self.failovers.push(Failover {
            at: self.now,
            pair: mirroring.pair.clone(),
            database: mirroring.database.clone(),
            from: self.servers[mirroring.partners[from]].id.clone(),
            to: self.servers[mirroring.partners[to]].id.clone(),
            kind,
            role_sequence,
        });
    }
}
