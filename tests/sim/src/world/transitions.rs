//! The effects of time and of connection changes: timeouts, the end of failovers, reconnecting partners, automatic
//! failover, and the end of sessions.

use std::time::Duration;

use super::mirroring::{WITNESS, link_of};
use super::{FailoverKind, Reach, Role, Seat, ServiceChange, Sync, World, other};
use crate::config::Safety;

impl World {
    /// Applies all events that are due up to `now`, in the order of their times.
    pub fn advance(&mut self, now: Duration) {
        while let Some(due) = self.wake_at().filter(|due| *due <= now) {
            self.pass_time(due);
            self.timers.retain(|timer| *timer > due);
            self.mark_changed();
            self.apply_transitions();
        }
        self.pass_time(now);
    }

    /// The time of the next event; `None` if nothing is scheduled.
    pub fn wake_at(&self) -> Option<Duration> {
        let mut due: Vec<Duration> = self.timers.iter().copied().collect();
        for mirroring in &self.mirrorings {
            due.extend(mirroring.running_failover.as_ref().map(|running| running.due));
            due.extend(
                mirroring
                    .links
                    .iter()
                    .filter(|link| link.end_connected != [false; 2])
                    .filter_map(|link| Some(link.lost_at?.saturating_add(mirroring.timeout))),
            );
            if let Sync::SynchronizingUntil(at) = mirroring.sync {
                due.push(at);
            }
            if mirroring.disconnected_until > self.now {
                due.push(mirroring.disconnected_until);
            }
        }
        due.into_iter().min()
    }

    /// Applies all transitions of all mirroring sessions that are due now.
    pub(crate) fn apply_transitions(&mut self) {
        for index in 0..self.mirrorings.len() {
            for (a, b) in [(0, 1), (0, WITNESS), (1, WITNESS)] {
                self.update_link(index, a, b);
            }
            self.complete_synchronization(index);
            self.advance_failover(index);
            self.on_partners_connected(index);
            self.on_partners_disconnected(index);
            self.update_witness(index);
            self.end_unserved_sessions(index);
        }
    }

    fn update_link(&mut self, index: usize, a: Seat, b: Seat) {
        let known =
            b != WITNESS || !self.mirrorings[index].witness_dropped || self.mirrorings[index].both_connected(a, b);
        let up = known && self.can_communicate(index, a, b);
        let down = [a, b].map(|seat| {
            self.mirrorings[index].server(seat).is_some_and(|server| self.servers[server].reach == Reach::Down)
        });
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        let timeout = mirroring.timeout;
        let link = &mut mirroring.links[link_of(a, b).0];
        if up {
            link.end_connected = [true; 2];
            link.lost_at = None;
            return;
        }
        let lost_at = *link.lost_at.get_or_insert(now);
        let mut lost = [false; 2];
        for (end, down) in down.into_iter().enumerate() {
            if down || now >= lost_at.saturating_add(timeout) {
                lost[end] = std::mem::replace(&mut link.end_connected[end], false) && !down;
            }
        }
        for seat in [a, b].into_iter().zip(lost).filter(|(seat, lost)| *lost && *seat != WITNESS && b != WITNESS) {
            self.log_lost_partner(index, seat.0);
        }
    }

    fn complete_synchronization(&mut self, index: usize) {
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        if matches!(mirroring.sync, Sync::SynchronizingUntil(due) if due <= now) {
            mirroring.sync = Sync::Synchronized;
        }
    }

    fn advance_failover(&mut self, index: usize) {
        let Some(running) = &self.mirrorings[index].running_failover else { return };
        let (due, fails) = (running.due <= self.now, running.fails);
        match running.kind {
            FailoverKind::Forced if due => self.complete_force(index),
            FailoverKind::Forced => {}
            FailoverKind::Manual | FailoverKind::Automatic if !self.can_communicate(index, 0, 1) => {
                self.lose_partner(index);
            }
            FailoverKind::Manual | FailoverKind::Automatic if due && fails => self.abort_failover(index),
            FailoverKind::Manual | FailoverKind::Automatic if due => self.complete_failover(index),
            FailoverKind::Manual | FailoverKind::Automatic => {}
        }
    }

    /// The partners are connected: the principal with the higher role sequence stays, the other becomes its mirror.
    fn on_partners_connected(&mut self, index: usize) {
        let now = self.now;
        let reachable = self.can_communicate(index, 0, 1);
        let mirroring = &mut self.mirrorings[index];
        if !reachable || !mirroring.both_connected(0, 1) || !mirroring.is_mirrored() {
            return;
        }
        if mirroring.copies.iter().any(|copy| !copy.mirrored) {
            self.learn_of_removal(index);
            return;
        }
        if mirroring.copies.iter().all(|copy| copy.role == Role::Mirror) {
            // Two mirrors do not synchronize. An administrator must act.
            return;
        }
        mirroring.automatic_failover_ready = false;
        let principal = mirroring.principal();
        let sequence = mirroring.copies[principal].role_sequence;
        let forced = mirroring.copies[principal].forced;
        let follower = &mut mirroring.copies[other(principal)];
        let joins = std::mem::replace(&mut follower.role, Role::Mirror) == Role::Principal;
        follower.role_sequence = sequence;
        follower.forced = false;
        mirroring.copies[principal].forced = false;
        mirroring.suspended |= forced;
        if mirroring.sync == Sync::Unsynchronized {
            mirroring.sync = Sync::SynchronizingUntil(now.saturating_add(mirroring.resync));
        }
        self.suspend_if_principal_is_newer(index);
        if joins {
            self.log_role(index, other(principal), "Role Synchronization");
        }
    }

    /// Mirroring was removed on one partner during the outage (tests/scenarios, s24). The other partner ends the session
    /// when they reconnect. A principal with a witness that was stopped meanwhile does not: it stays in recovery until
    /// its next start (MSDN blog sqljourney, "The most interesting issue in DB Mirroring you will ever see").
    fn learn_of_removal(&mut self, index: usize) {
        let mirroring = &mut self.mirrorings[index];
        let has_witness = mirroring.witness.is_some();
        let mut abandoned = false;
        for copy in mirroring.copies.iter_mut().filter(|copy| copy.mirrored) {
            if has_witness && copy.role == Role::Principal && !copy.serving {
                copy.abandoned = true;
                abandoned = true;
            } else {
                copy.mirrored = false;
            }
        }
        if abandoned {
            mirroring.links.iter_mut().for_each(|link| link.end_connected = [false; 2]);
        }
        self.mark_changed();
    }

    /// The partners are disconnected: the mirror fails over automatically if all conditions are met.
    fn on_partners_disconnected(&mut self, index: usize) {
        let mirroring = &mut self.mirrorings[index];
        let mirror = other(mirroring.principal());
        let is_pair = mirroring.copies.iter().all(|copy| copy.mirrored && !copy.abandoned)
            && mirroring.copies[mirror].role == Role::Mirror
            && mirroring.copies[other(mirror)].role == Role::Principal;
        if mirroring.both_connected(0, 1) || !is_pair {
            return;
        }
        let connected_to_principal = mirroring.reports_connected(mirror, other(mirror));
        let connected_to_witness = mirroring.witness.is_some() && mirroring.both_connected(mirror, WITNESS);
        if !connected_to_principal && mirroring.sync != Sync::Unsynchronized {
            // Readiness is decided when the connection is lost and never regained later (tests/scenarios, s13, s23).
            mirroring.automatic_failover_ready = mirroring.sync == Sync::Synchronized
                && !mirroring.suspended
                && mirroring.safety == Safety::Full
                && connected_to_witness;
            mirroring.sync = Sync::Unsynchronized;
        }
        mirroring.automatic_failover_ready &= connected_to_witness;
        let alive = self.servers[self.mirrorings[index].partners[mirror]].reach == Reach::Up;
        let mirroring = &self.mirrorings[index];
        if mirroring.automatic_failover_ready
            && alive
            && !connected_to_principal
            && !mirroring.reports_connected(WITNESS, other(mirror))
        {
            self.promote_mirror(index, mirror, FailoverKind::Automatic);
        }
    }

    fn record_service(&mut self, index: usize, seat: Seat) {
        let open = self.is_open(index, seat);
        let mirroring = &mut self.mirrorings[index];
        if std::mem::replace(&mut mirroring.copies[seat].open, open) != open {
            let (server, database) = (self.servers[mirroring.partners[seat]].id.clone(), mirroring.database.clone());
            self.service_changes.push(ServiceChange { at: self.now, server, database, open });
        }
    }

    /// Ends the sessions of a database that has stopped serving clients.
    fn end_unserved_sessions(&mut self, index: usize) {
        for seat in 0..2 {
            let serves = self.serves(index, seat);
            let mirroring = &mut self.mirrorings[index];
            let served = std::mem::replace(&mut mirroring.copies[seat].serving, serves);
            self.record_service(index, seat);
            let mirroring = &self.mirrorings[index];
            if served && !serves {
                let (server, database) = (mirroring.partners[seat], mirroring.database.clone());
                self.kill_sessions(|session| {
                    session.server == server && super::same_name(&session.database, &database)
                });
                self.mark_changed();
            }
        }
    }
}
