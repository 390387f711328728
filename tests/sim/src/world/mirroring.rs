//! The mirroring of one database: two halves, three links, and what each end believes of them.
//! What happens when time passes lives in `settle`, what a statement starts in `moves` and `partner`.

use std::time::Duration;

use super::moves::Move;
use super::{FailoverKind, Reach, World};
use crate::config::{EndpointState, Safety};

/// 0 is the primary of the configuration, 1 its mirror, 2 the witness. Roles move, seats do not.
pub(crate) type Seat = usize;

pub(crate) const WITNESS: Seat = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Principal,
    Mirror,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    Done,
    Until(Duration),
    /// The copies have parted; only meeting again or RESUME starts a synchronization.
    Lost,
}

#[derive(Debug)]
pub(crate) struct Half {
    /// False once this side has dropped the mirroring.
    pub mirrored: bool,
    pub role: Role,
    pub role_sequence: i32,
    /// Service was forced here, and the other partner has not been met since.
    pub forced: bool,
    /// Whether the database was open here when the world last settled.
    pub serving: bool,
}

/// A connection between two seats. Each end has its own belief, because a server that has just started
/// knows nobody, while the other end may not have noticed that it was away.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub believes: [bool; 2],
    pub lost_at: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Mirroring {
    pub pair: String,
    pub database: String,
    pub guid: [u8; 16],
    pub partners: [usize; 2],
    pub witness: Option<usize>,
    pub empty_witness_name: bool,
    pub halves: [Half; 2],
    /// The last role change that the witness knows of.
    pub witness_sequence: i32,
    pub witness_principal: Seat,
    /// In the order of `link_of`.
    pub links: [Link; 3],
    pub safety: Safety,
    pub safety_sequence: i32,
    pub sync: Sync,
    pub suspended: bool,
    /// The principal was lost while all three were connected and the copies equal: automatic failover may happen.
    pub armed: bool,
    /// Right after a role change the new principal shows DISCONNECTED until then.
    pub blink_until: Duration,
    pub running: Option<Move>,
    pub redo_queue_kb: u64,
    pub redo_rate_kb_per_s: u64,
    pub switch: Duration,
    pub timeout: Duration,
    pub resync: Duration,
}

pub(crate) fn other(seat: Seat) -> Seat {
    1 - seat
}

/// Which link joins two seats, and which end of it the first seat has.
pub(crate) fn link_of(from: Seat, to: Seat) -> (usize, usize) {
    (from + to - 1, usize::from(from > to))
}

impl Mirroring {
    pub fn server(&self, seat: Seat) -> Option<usize> {
        if seat == WITNESS { self.witness } else { Some(self.partners[seat]) }
    }

    pub fn seat_of(&self, server: usize) -> Option<Seat> {
        (0..3).find(|seat| self.server(*seat) == Some(server))
    }

    /// Whether `from` believes that it is connected to `to`.
    pub fn sees(&self, from: Seat, to: Seat) -> bool {
        let (link, end) = link_of(from, to);
        self.links[link].believes[end]
    }

    /// Whether both ends believe in their link.
    pub fn linked(&self, a: Seat, b: Seat) -> bool {
        self.sees(a, b) && self.sees(b, a)
    }

    pub fn is_restoring(&self, seat: Seat) -> bool {
        self.halves[seat].role == Role::Mirror
    }

    pub fn is_mirrored(&self) -> bool {
        self.halves.iter().any(|half| half.mirrored)
    }

    /// The seat with the principal role; the later claim when both have it.
    pub fn principal(&self) -> Seat {
        match (self.halves[0].role, self.halves[1].role) {
            (Role::Principal, Role::Mirror) => 0,
            (Role::Mirror, Role::Principal) => 1,
            _ => usize::from(self.halves[1].role_sequence > self.halves[0].role_sequence),
        }
    }

    /// `mirroring_state` as the server in this seat shows it.
    pub fn state(&self, seat: Seat, now: Duration) -> u8 {
        let half = &self.halves[seat];
        if let Some(running) = self.running.as_ref().filter(|running| running.kind == FailoverKind::Manual) {
            return if seat == running.from { 3 } else { 4 };
        }
        if half.forced {
            return 0;
        }
        if !self.sees(seat, other(seat)) {
            return 1;
        }
        if self.suspended {
            return 0;
        }
        match self.sync {
            _ if now < self.blink_until && half.role == Role::Principal => 1,
            Sync::Done => 4,
            Sync::Until(due) if due <= now => 4,
            Sync::Until(_) | Sync::Lost => 2,
        }
    }

    /// `mirroring_witness_state`; None without a witness.
    pub fn witness_state(&self, seat: Seat) -> Option<u8> {
        self.witness?;
        Some(if self.sees(seat, WITNESS) { 1 } else { 2 })
    }

    pub fn redo_time(&self) -> Duration {
        let rate = self.redo_rate_kb_per_s.max(1);
        Duration::from_secs_f64(self.redo_queue_kb as f64 / rate as f64) + self.switch
    }

    /// What the mirror has still to redo.
    pub fn redo_left_kb(&self, now: Duration) -> u64 {
        let Some(running) = &self.running else { return self.redo_queue_kb };
        let done = now.saturating_sub(running.started).as_secs_f64() * self.redo_rate_kb_per_s as f64;
        self.redo_queue_kb.saturating_sub(done as u64)
    }
}

impl World {
    /// Whether packets of the mirroring endpoints pass between two seats right now.
    pub(crate) fn connected(&self, index: usize, a: Seat, b: Seat) -> bool {
        let mirroring = &self.mirrorings[index];
        let (Some(a), Some(b)) = (mirroring.server(a), mirroring.server(b)) else { return false };
        let talks = |server: usize| {
            let server = &self.servers[server];
            server.reach == Reach::Up && server.endpoint_state == EndpointState::Started
        };
        talks(a) && talks(b) && !self.cuts.contains(&(a.min(b), a.max(b)))
    }

    /// Whether clients may use the database at this seat.
    pub(crate) fn serves(&self, index: usize, seat: Seat) -> bool {
        let mirroring = &self.mirrorings[index];
        let half = &mirroring.halves[seat];
        half.mirrored
            && half.role == Role::Principal
            && self.servers[mirroring.partners[seat]].reach != Reach::Down
            && mirroring.running.as_ref().is_none_or(|running| running.from != seat)
            && self.has_quorum(index, seat)
    }

    pub(crate) fn has_quorum(&self, index: usize, seat: Seat) -> bool {
        let mirroring = &self.mirrorings[index];
        mirroring.witness.is_none()
            || mirroring.sees(seat, other(seat))
            || (mirroring.sees(seat, WITNESS) && mirroring.witness_sequence <= mirroring.halves[seat].role_sequence)
    }
}
