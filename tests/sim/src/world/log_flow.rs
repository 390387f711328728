//! The log between the partners while time passes: what the principal has not sent yet, and the totals of the
//! performance counters. The clients of a principal write log only at the rate of `setLogRate`, 0 by default.

use std::time::Duration;

use super::{Mirroring, Role, Seat, Sync, World, other};

/// The log of one copy, in bytes. The queue outlives a restart of the server, the totals do not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogFlow {
    /// "Log Send Queue KB" of a principal.
    pub unsent: f64,
    /// "Log Bytes Sent/sec", as a total.
    pub sent: f64,
    /// "Redo Bytes/sec", as a total.
    pub redone: f64,
}

impl World {
    /// Moves the clock. Nothing else changes between two events, so that all rates are constant in this interval.
    pub(super) fn pass_time(&mut self, to: Duration) {
        let from = self.now;
        if to <= from {
            return;
        }
        for index in 0..self.mirrorings.len() {
            let connected = self.mirrorings[index].sends_log() && self.can_communicate(index, 0, 1);
            self.mirrorings[index].move_log(connected, from, to);
        }
        self.now = to;
    }

    /// The totals of a server that has started begin at 0.
    pub(super) fn clear_log_totals(&mut self, server: usize) {
        for mirroring in &mut self.mirrorings {
            for seat in (0..2).filter(|seat| mirroring.partners[*seat] == server) {
                mirroring.log[seat] = LogFlow { unsent: mirroring.log[seat].unsent, ..LogFlow::default() };
            }
        }
    }
}

impl Mirroring {
    /// Whether the principal sends log to its mirror, as far as the roles and the state decide it.
    fn sends_log(&self) -> bool {
        let mirror = other(self.principal());
        self.both_connected(0, 1)
            && !self.suspended
            && self.copies.iter().all(|copy| copy.mirrored)
            && self.copies[mirror].role == Role::Mirror
            && self.copies[other(mirror)].role == Role::Principal
    }

    fn move_log(&mut self, connected: bool, from: Duration, to: Duration) {
        let seconds = to.saturating_sub(from).as_secs_f64();
        let written = self.log_rate_kb_per_s as f64 * 1024.0 * seconds;
        for seat in 0..2 {
            let copy = &self.copies[seat];
            match copy.role {
                Role::Principal if copy.serving => self.log[seat].unsent += written,
                Role::Principal => {}
                Role::Mirror => self.log[seat].unsent = 0.0,
            }
        }
        if !connected {
            return;
        }
        let principal = self.principal();
        // A synchronization ends with an empty queue, at the time of its setting and whatever the clients write.
        let part = match self.sync {
            Sync::SynchronizingUntil(due) if due > to => seconds / due.saturating_sub(from).as_secs_f64(),
            Sync::Synchronized | Sync::SynchronizingUntil(_) => 1.0,
            Sync::Unsynchronized => 0.0,
        };
        let sent = self.log[principal].unsent * part;
        self.log[principal].unsent -= sent;
        self.log[principal].sent += sent;
        self.log[other(principal)].redone += self.redone_bytes(sent, from, to);
    }

    /// The log that the mirror redoes in an interval in which it receives log. A queue of `setRedo` keeps its length,
    /// as if log arrived as fast as the mirror redoes it; only a manual failover empties it.
    fn redone_bytes(&self, received: f64, from: Duration, to: Duration) -> f64 {
        if self.redo_left_kb(from) == 0 {
            return received;
        }
        match self.running_manual() {
            Some(_) => self.redo_left_kb(from).saturating_sub(self.redo_left_kb(to)) as f64 * 1024.0,
            None => self.redo_rate_kb_per_s as f64 * 1024.0 * to.saturating_sub(from).as_secs_f64(),
        }
    }

    /// "Log Send Queue KB": only a principal has log to send.
    pub fn send_queue_kb(&self, seat: Seat) -> u64 {
        match self.copies[seat].role {
            Role::Principal => (self.log[seat].unsent / 1024.0) as u64,
            Role::Mirror => 0,
        }
    }
}
