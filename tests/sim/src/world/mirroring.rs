//! The mirroring of one database: two copies, three links, and what each end of a link reports.
//! Module `transitions` applies the passing of time, `set_partner` and `failover` apply statements.

use std::time::Duration;

use super::failover::RunningFailover;
use super::log_flow::LogFlow;
use super::server::OPEN_STATES;
use super::{FailoverKind, Reach, World};
use crate::config::{EndpointState, Safety};
use crate::settings::{PairSettings, SuspendedWhenApart};

/// A place in the configuration: 0 is the primary, 1 the mirror, 2 the witness. A failover changes roles, never seats.
pub(crate) type Seat = usize;

pub(crate) const WITNESS: Seat = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Principal,
    Mirror,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    Synchronized,
    SynchronizingUntil(Duration),
    /// The copies differ. Synchronization starts when the partners reconnect or mirroring is resumed.
    Unsynchronized,
}

#[derive(Debug)]
pub(crate) struct DatabaseCopy {
    /// False after mirroring was removed on this server.
    pub mirrored: bool,
    pub role: Role,
    pub role_sequence: i32,
    /// Service was forced here and the partners have not been connected since.
    pub forced: bool,
    /// Whether clients could use the database here at the last update.
    pub serving: bool,
    /// Whether a client could open the database here at the last update, also by the state of the copy and the server.
    pub open: bool,
    /// The partner has removed mirroring while this principal was stopped, and this principal waits in recovery for a
    /// witness or a partner that no longer knows the session. Its next start ends the session.
    pub abandoned: bool,
}

/// The mirroring connection between two seats. Each end has its own view: a server that has just started reports no
/// connection, while the other end may not have detected the outage yet.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub end_connected: [bool; 2],
    /// When the servers became unable to communicate.
    pub lost_at: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Mirroring {
    pub pair: String,
    pub database: String,
    pub guid: [u8; 16],
    pub partners: [usize; 2],
    /// The instance names of the partners when the session began. A later rename does not change them.
    pub partner_names: [String; 2],
    pub witness: Option<usize>,
    /// A partner removed mirroring while the witness was connected: the witness accepts no new connection.
    pub witness_dropped: bool,
    /// `mirroring_connection_timeout`.
    pub connection_timeout: i32,
    pub settings: PairSettings,
    pub empty_witness_name: bool,
    pub copies: [DatabaseCopy; 2],
    /// The role sequence of the last role change that reached the witness.
    pub witness_sequence: i32,
    pub witness_principal: Seat,
    /// In the order of `link_of`.
    pub links: [Link; 3],
    pub safety: Safety,
    pub safety_sequence: i32,
    pub sync: Sync,
    pub suspended: bool,
    /// The principal was lost while all three servers were connected and the copies were synchronized, so that
    /// automatic failover is possible.
    pub automatic_failover_ready: bool,
    /// The new principal reports DISCONNECTED until this time after a role change.
    pub disconnected_until: Duration,
    pub running_failover: Option<RunningFailover>,
    pub redo_queue_kb: u64,
    pub redo_rate_kb_per_s: u64,
    /// The log that the clients of a principal write.
    pub log_rate_kb_per_s: u64,
    pub log: [LogFlow; 2],
    pub switch: Duration,
    pub timeout: Duration,
    pub resync: Duration,
}

pub(crate) fn other(seat: Seat) -> Seat {
    1 - seat
}

/// The index of the link between two seats, and the end that belongs to `from`.
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

    /// Whether `from` reports that it is connected to `to`.
    pub fn reports_connected(&self, from: Seat, to: Seat) -> bool {
        let (link, end) = link_of(from, to);
        self.links[link].end_connected[end]
    }

    /// Whether both ends report that they are connected.
    pub fn both_connected(&self, a: Seat, b: Seat) -> bool {
        self.reports_connected(a, b) && self.reports_connected(b, a)
    }

    pub fn is_restoring(&self, seat: Seat) -> bool {
        self.copies[seat].role == Role::Mirror
    }

    pub fn is_mirrored(&self) -> bool {
        self.copies.iter().any(|copy| copy.mirrored)
    }

    /// The seat with the principal role. If both have it: the one with the higher role sequence.
    pub fn principal(&self) -> Seat {
        match (self.copies[0].role, self.copies[1].role) {
            (Role::Principal, Role::Mirror) => 0,
            (Role::Mirror, Role::Principal) => 1,
            _ => usize::from(self.copies[1].role_sequence > self.copies[0].role_sequence),
        }
    }

    /// `mirroring_partner_instance` as the server in this seat reports it.
    pub fn partner_instance(&self, seat: Seat) -> String {
        match self.settings.empty_partner_instance {
            true => String::new(),
            false => self.partner_names[other(seat)].clone(),
        }
    }

    /// The manual failover that runs.
    pub fn running_manual(&self) -> Option<&RunningFailover> {
        self.running_failover.as_ref().filter(|failover| failover.kind == FailoverKind::Manual)
    }

    /// `mirroring_state` as the server in this seat reports it.
    pub fn state(&self, seat: Seat, now: Duration) -> u8 {
        let copy = &self.copies[seat];
        if let Some(failover) = self.running_manual() {
            return if seat == failover.from { 3 } else { 4 };
        }
        if copy.forced {
            return 0;
        }
        let both_mirrors = self.copies.iter().all(|copy| copy.role == Role::Mirror);
        if both_mirrors || !self.reports_connected(seat, other(seat)) {
            let shows_suspended = self.settings.suspended_when_apart == SuspendedWhenApart::Suspended;
            return if self.suspended && shows_suspended { 0 } else { 1 };
        }
        if self.suspended {
            return 0;
        }
        match self.sync {
            _ if now < self.disconnected_until && copy.role == Role::Principal => 1,
            Sync::Synchronized => 4,
            Sync::SynchronizingUntil(due) if due <= now => 4,
            Sync::SynchronizingUntil(_) | Sync::Unsynchronized => 2,
        }
    }

    /// `mirroring_witness_state`: 1 connected, 2 disconnected; `None` without a witness.
    pub fn witness_state(&self, seat: Seat) -> Option<u8> {
        self.witness?;
        Some(if self.reports_connected(seat, WITNESS) { 1 } else { 2 })
    }

    /// How long a failover takes: the redo of the queue, then the switch.
    pub fn redo_time(&self) -> Duration {
        let rate = self.redo_rate_kb_per_s.max(1);
        let redo = Duration::try_from_secs_f64(self.redo_queue_kb as f64 / rate as f64).unwrap_or(Duration::MAX);
        redo.saturating_add(self.switch)
    }

    /// The log that the mirror has not redone yet, in KB.
    pub fn redo_left_kb(&self, now: Duration) -> u64 {
        let Some(failover) = self.running_manual() else { return self.redo_queue_kb };
        let done = now.saturating_sub(failover.started).as_secs_f64() * self.redo_rate_kb_per_s as f64;
        self.redo_queue_kb.saturating_sub(done as u64)
    }
}

impl World {
    /// Whether the mirroring endpoints of two seats can exchange packets now.
    pub(crate) fn can_communicate(&self, index: usize, a: Seat, b: Seat) -> bool {
        let mirroring = &self.mirrorings[index];
        let is_ready = |seat: Seat, server: usize| {
            seat == WITNESS
                || (self.is_recovered(server, &mirroring.database)
                    && !mirroring.copies[seat].abandoned
                    && !self.is_mirrored_elsewhere(index, seat))
        };
        let (Some(first), Some(second)) = (mirroring.server(a), mirroring.server(b)) else { return false };
        self.servers_can_communicate(first, second) && is_ready(a, first) && is_ready(b, second)
    }

    /// Whether the mirroring endpoints of two servers accept each other.
    pub(crate) fn servers_can_communicate(&self, a: usize, b: usize) -> bool {
        let is_available = |server: usize| {
            let server = &self.servers[server];
            server.reach == Reach::Up
                && self.now >= server.ready_at
                && server.endpoint_state == EndpointState::Started
                && !server.settings.refuses_handshake
        };
        is_available(a) && is_available(b) && !self.cuts.contains(&(a.min(b), a.max(b)))
    }

    /// Whether the database in this seat left this session and is part of another session.
    fn is_mirrored_elsewhere(&self, index: usize, seat: Seat) -> bool {
        let mirroring = &self.mirrorings[index];
        // The search reads all sessions.
        let current = || self.find_mirroring(mirroring.partners[seat], &mirroring.database);
        !mirroring.copies[seat].mirrored && current().is_some_and(|(current, _)| current != index)
    }

    /// Whether clients may use the database at this seat.
    pub(crate) fn serves(&self, index: usize, seat: Seat) -> bool {
        let mirroring = &self.mirrorings[index];
        let copy = &mirroring.copies[seat];
        copy.mirrored
            && copy.role == Role::Principal
            && self.servers[mirroring.partners[seat]].reach != Reach::Down
            && self.is_recovered(mirroring.partners[seat], &mirroring.database)
            && mirroring.running_manual().is_none_or(|failover| failover.from != seat)
            && self.has_quorum(index, seat)
    }

    /// Whether a client can open the database at this seat: the server responds, and the copy is not damaged either.
    pub(crate) fn is_open(&self, index: usize, seat: Seat) -> bool {
        let (server, database) = (self.mirrorings[index].partners[seat], &self.mirrorings[index].database);
        self.serves(index, seat)
            && self.servers[server].reach == Reach::Up
            && self.servers[server].states.get(&database.to_lowercase()).is_none_or(|state| OPEN_STATES.contains(state))
    }

    pub(crate) fn has_quorum(&self, index: usize, seat: Seat) -> bool {
        let mirroring = &self.mirrorings[index];
        mirroring.witness.is_none()
            || mirroring.reports_connected(seat, other(seat))
            || (mirroring.reports_connected(seat, WITNESS)
                && mirroring.witness_sequence <= mirroring.copies[seat].role_sequence)
    }
}
