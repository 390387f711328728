//! Role changes: start, completion and failure. Module `set_partner` checks the preconditions of a statement.

use std::time::Duration;

use super::set_partner::{message, with_trailer};
use super::{Failover, FailoverKind, Reach, Role, Seat, SessionId, Sync, World, other};
use crate::settings::{DroppedClient, LostPartner};
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
    /// The session whose statement started the failover.
    pub session: Option<SessionId>,
    /// The failover ends without a change of the roles.
    pub fails: bool,
}

impl World {
    /// Starts a manual failover of the principal in this seat. The caller has checked the preconditions.
    pub(crate) fn start_failover(&mut self, index: usize, seat: Seat, fails: bool) -> FailoverId {
        let mirroring = &self.mirrorings[index];
        let slow = Duration::from_millis(self.servers[mirroring.partners[seat]].slow_millis);
        let time = mirroring.redo_time().saturating_add(slow);
        self.run_failover(index, FailoverKind::Manual, seat, time, fails)
    }

    /// Starts a role change that ends after `time`. `from` is the old principal.
    pub(crate) fn run_failover(
        &mut self,
        index: usize,
        kind: FailoverKind,
        from: Seat,
        time: Duration,
        fails: bool,
    ) -> FailoverId {
        let id = self.next_failover_id;
        self.next_failover_id += 1;
        let started = self.now;
        let due = started.saturating_add(time);
        let running = RunningFailover { kind, from, started, due, id, session: None, fails };
        self.mirrorings[index].running_failover = Some(running);
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
        mirroring.sync = Sync::SynchronizingUntil(now.saturating_add(mirroring.resync));
        mirroring.disconnected_until = now.saturating_add(mirroring.resync / 2);
        self.update_witness(index);
        self.failover_outcomes.insert(running.id, Some(Ok(())));
        self.record(index, from, to, running.kind, sequence);
        self.suspend_if_principal_is_newer(index);
        self.mark_changed();
    }

    /// Forces service in the seat that is not `from`, after the time of the setting.
    pub(crate) fn complete_force(&mut self, index: usize) {
        let Some(running) = self.mirrorings[index].running_failover.take() else { return };
        let seat = other(running.from);
        let mirroring = &self.mirrorings[index];
        let possible = self.servers[mirroring.partners[seat]].reach == Reach::Up
            && mirroring.copies[seat].role == Role::Mirror
            && !mirroring.reports_connected(seat, running.from);
        let outcome = if possible {
            self.promote_mirror(index, seat, FailoverKind::Forced);
            Ok(())
        } else {
            Err(with_trailer(super::set_partner::not_forceable(&mirroring.database)))
        };
        self.failover_outcomes.insert(running.id, Some(outcome));
        self.mark_changed();
    }

    /// Ends a failover whose partner disconnected before the roles changed, with the outcome of the setting.
    pub(crate) fn lose_partner(&mut self, index: usize) {
        let outcome = self.mirrorings[index].settings.lost_partner;
        let Some(running) = self.mirrorings[index].running_failover.as_ref() else { return };
        let (id, from, kind) = (running.id, running.from, running.kind);
        let to = other(from);
        match outcome {
            LostPartner::KeepsRoles => return self.abort_failover(index),
            LostPartner::NewPrincipal => {
                let mirroring = &mut self.mirrorings[index];
                mirroring.running_failover = None;
                mirroring.copies[to].role = Role::Principal;
                mirroring.copies[to].role_sequence += 1;
                mirroring.sync = Sync::Unsynchronized;
                let sequence = mirroring.copies[to].role_sequence;
                self.update_witness(index);
                self.record(index, from, to, kind, sequence);
            }
            LostPartner::BothMirror => {
                let mirroring = &mut self.mirrorings[index];
                mirroring.running_failover = None;
                mirroring.copies[from].role = Role::Mirror;
                mirroring.sync = Sync::Unsynchronized;
            }
        }
        let text = format!(
            "The remote server instance did not respond in time. The ALTER DATABASE command for database \"{}\" may or may not have been completed.",
            self.mirrorings[index].database
        );
        self.failover_outcomes.insert(id, Some(Err(with_trailer(message(1421, 16, text)))));
        self.mark_changed();
    }

    /// Ends a failover without a change of the roles.
    pub(crate) fn abort_failover(&mut self, index: usize) {
        let Some(running) = self.mirrorings[index].running_failover.take() else { return };
        let database = self.mirrorings[index].database.clone();
        let text = format!(
            "The ALTER DATABASE command could not be sent to the remote server instance. The database mirroring configuration was not changed. Database \"{database}\"."
        );
        self.failover_outcomes.insert(running.id, Some(Err(with_trailer(message(1456, 16, text)))));
        self.mark_changed();
    }

    /// Records which session waits for a failover.
    pub(crate) fn assign_failover(&mut self, id: FailoverId, session: SessionId) {
        let running = self.mirrorings.iter_mut().filter_map(|mirroring| mirroring.running_failover.as_mut());
        running.filter(|running| running.id == id).for_each(|running| running.session = Some(session));
    }

    /// The client has disconnected or cancelled its statement.
    pub fn client_gone(&mut self, session: SessionId) {
        for index in 0..self.mirrorings.len() {
            let mirroring = &self.mirrorings[index];
            let owned = mirroring.running_failover.as_ref().is_some_and(|running| running.session == Some(session));
            if owned && mirroring.settings.dropped_client == DroppedClient::Cancels {
                self.abort_failover(index);
            }
        }
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

    /// Suspends mirroring if the principal is newer: an older mirror cannot apply its log (tests/scenarios, s27). The
    /// documentation names upgrades of the major version; a setting extends this to every part of the version.
    pub(crate) fn suspend_if_principal_is_newer(&mut self, index: usize) {
        let mirroring = &self.mirrorings[index];
        let principal = mirroring.principal();
        let server = |seat: Seat| &self.servers[mirroring.partners[seat]];
        let (principal, mirror) = (server(principal), server(other(principal)));
        let newer = match mirroring.settings.suspend_on_any_newer {
            true => principal.version_parts() > mirror.version_parts(),
            false => principal.major() > mirror.major(),
        };
        if newer {
            self.mirrorings[index].suspended = true;
        }
    }

    fn record(&mut self, index: usize, from: Seat, to: Seat, kind: FailoverKind, role_sequence: i32) {
        self.log_role_change(index, from, to, kind);
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
