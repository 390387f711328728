//! What time does to a world: links are lost and found, moves end, partners meet again, quorum decides who serves.

use std::time::Duration;

use super::mirroring::{WITNESS, link_of};
use super::{FailoverKind, Reach, Role, Seat, Sync, World, other};
use crate::config::Safety;

impl World {
    /// Applies everything that is due until `now`, in its order.
    pub fn advance(&mut self, now: Duration) {
        while let Some(due) = self.wake_at().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            self.timers.retain(|timer| *timer > due);
            self.touch();
            self.settle();
        }
        self.now = self.now.max(now);
    }

    /// The next moment at which something happens by itself.
    pub fn wake_at(&self) -> Option<Duration> {
        let mut due: Vec<Duration> = self.timers.iter().copied().collect();
        for mirroring in &self.mirrorings {
            due.extend(mirroring.running.as_ref().map(|running| running.due));
            due.extend(
                mirroring
                    .links
                    .iter()
                    .filter(|link| link.believes != [false; 2])
                    .filter_map(|link| Some(link.lost_at? + mirroring.timeout)),
            );
            if let Sync::Until(at) = mirroring.sync {
                due.push(at);
            }
            if mirroring.blink_until > self.now {
                due.push(mirroring.blink_until);
            }
        }
        due.into_iter().min()
    }

    /// Brings every mirroring to rest at the present moment.
    pub(crate) fn settle(&mut self) {
        for index in 0..self.mirrorings.len() {
            for (a, b) in [(0, 1), (0, WITNESS), (1, WITNESS)] {
                self.settle_link(index, a, b);
            }
            self.settle_sync(index);
            self.settle_move(index);
            self.settle_meeting(index);
            self.settle_loss(index);
            self.witness_learns(index);
            self.settle_service(index);
        }
    }

    fn settle_link(&mut self, index: usize, a: Seat, b: Seat) {
        let up = self.connected(index, a, b);
        let down = [a, b].map(|seat| {
            self.mirrorings[index].server(seat).is_some_and(|server| self.servers[server].reach == Reach::Down)
        });
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        let timeout = mirroring.timeout;
        let link = &mut mirroring.links[link_of(a, b).0];
        if up {
            link.believes = [true; 2];
            link.lost_at = None;
            return;
        }
        let lost_at = *link.lost_at.get_or_insert(now);
        for (end, down) in down.into_iter().enumerate() {
            if down || now >= lost_at + timeout {
                link.believes[end] = false;
            }
        }
    }

    fn settle_sync(&mut self, index: usize) {
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        if matches!(mirroring.sync, Sync::Until(due) if due <= now) {
            mirroring.sync = Sync::Done;
        }
    }

    fn settle_move(&mut self, index: usize) {
        let Some(due) = self.mirrorings[index].running.as_ref().map(|running| running.due) else { return };
        if !self.connected(index, 0, 1) {
            self.abort_move(index);
        } else if due <= self.now {
            self.end_move(index);
        }
    }

    /// The partners see each other: the later principal stays, the other follows it.
    fn settle_meeting(&mut self, index: usize) {
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        if !mirroring.linked(0, 1) || !mirroring.is_mirrored() {
            return;
        }
        if mirroring.halves.iter().any(|half| !half.mirrored) {
            // One side removed the mirroring while they were apart: the other learns it now (S24).
            mirroring.halves.iter_mut().for_each(|half| half.mirrored = false);
            return;
        }
        mirroring.armed = false;
        let principal = mirroring.principal();
        let sequence = mirroring.halves[principal].role_sequence;
        let forced = mirroring.halves[principal].forced;
        let follower = &mut mirroring.halves[other(principal)];
        follower.role = Role::Mirror;
        follower.role_sequence = sequence;
        follower.forced = false;
        mirroring.halves[principal].forced = false;
        mirroring.suspended |= forced;
        if mirroring.sync == Sync::Lost {
            mirroring.sync = Sync::Until(now + mirroring.resync);
        }
        self.suspend_if_newer(index);
    }

    /// The partners are apart: the mirror may take over by itself if all conditions hold.
    fn settle_loss(&mut self, index: usize) {
        let mirroring = &mut self.mirrorings[index];
        let mirror = other(mirroring.principal());
        let both = mirroring.halves.iter().all(|half| half.mirrored) && mirroring.halves[mirror].role == Role::Mirror;
        if mirroring.linked(0, 1) || !both {
            return;
        }
        let sees_principal = mirroring.sees(mirror, other(mirror));
        let sees_witness = mirroring.witness.is_some() && mirroring.linked(mirror, WITNESS);
        if !sees_principal && mirroring.sync != Sync::Lost {
            // The moment of the loss: whoever is not ready now is never ready (S13, S23).
            mirroring.armed = mirroring.sync == Sync::Done
                && !mirroring.suspended
                && mirroring.safety == Safety::Full
                && sees_witness;
            mirroring.sync = Sync::Lost;
        }
        mirroring.armed &= sees_witness;
        let alive = self.servers[self.mirrorings[index].partners[mirror]].reach == Reach::Up;
        let mirroring = &self.mirrorings[index];
        if mirroring.armed && alive && !sees_principal && !mirroring.sees(WITNESS, other(mirror)) {
            self.take_over(index, mirror, FailoverKind::Automatic);
        }
    }

    /// Sessions end with the service of their database.
    fn settle_service(&mut self, index: usize) {
        for seat in 0..2 {
            let serves = self.serves(index, seat);
            let mirroring = &mut self.mirrorings[index];
            let served = std::mem::replace(&mut mirroring.halves[seat].serving, serves);
            if served && !serves {
                let (server, database) = (mirroring.partners[seat], mirroring.database.clone());
                self.kill_sessions(|session| {
                    session.server == server && super::same_name(&session.database, &database)
                });
                self.touch();
            }
        }
    }
}
