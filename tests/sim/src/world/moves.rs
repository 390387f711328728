//! Role changes: how one begins, ends, or fails. Who may ask for one lives in `partner`.

use std::time::Duration;

use super::{Failover, FailoverKind, Role, Seat, Sync, World, other};
use crate::value::Message;

pub(crate) type MoveId = u64;
/// None while it is under way.
pub(crate) type Outcome = Option<Result<(), Vec<Message>>>;

#[derive(Debug)]
pub(crate) struct Move {
    pub kind: FailoverKind,
    pub from: Seat,
    pub started: Duration,
    pub due: Duration,
    /// Nobody waits for the failover of a DBA at the console.
    pub id: MoveId,
}

impl World {
    /// Starts a manual failover of the principal in this seat; its preconditions hold.
    pub(crate) fn start_move(&mut self, index: usize, seat: Seat, slow: Duration) -> MoveId {
        let id = self.next_move;
        self.next_move += 1;
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        let due = now + mirroring.redo_time() + slow;
        mirroring.running = Some(Move { kind: FailoverKind::Manual, from: seat, started: now, due, id });
        self.moves.insert(id, None);
        self.touch();
        self.settle();
        id
    }

    /// The roles swap.
    pub(crate) fn end_move(&mut self, index: usize) {
        let Some(running) = self.mirrorings[index].running.take() else { return };
        let (from, to) = (running.from, other(running.from));
        let now = self.now;
        let mirroring = &mut self.mirrorings[index];
        let sequence = mirroring.halves.iter().map(|half| half.role_sequence).max().unwrap_or(0) + 1;
        mirroring.halves[from].role = Role::Mirror;
        mirroring.halves[to].role = Role::Principal;
        mirroring.halves.iter_mut().for_each(|half| half.role_sequence = sequence);
        mirroring.redo_queue_kb = 0;
        mirroring.sync = Sync::Until(now + mirroring.resync);
        mirroring.blink_until = now + mirroring.resync / 2;
        self.witness_learns(index);
        self.moves.insert(running.id, Some(Ok(())));
        self.record(index, from, to, running.kind, sequence);
        self.suspend_if_newer(index);
        self.touch();
    }

    /// A partner was lost before the roles swapped: nothing happened.
    pub(crate) fn abort_move(&mut self, index: usize) {
        let Some(running) = self.mirrorings[index].running.take() else { return };
        let database = self.mirrorings[index].database.clone();
        let lost = super::partner::message(
            1456,
            16,
            format!(
                "The ALTER DATABASE command could not be sent to the remote server instance. The database mirroring configuration was not changed. Database \"{database}\"."
            ),
        );
        self.moves.insert(running.id, Some(Err(super::partner::failed(lost))));
        self.touch();
    }

    /// The mirror in this seat becomes principal without its partner.
    pub(crate) fn take_over(&mut self, index: usize, seat: Seat, kind: FailoverKind) {
        let mirroring = &mut self.mirrorings[index];
        let half = &mut mirroring.halves[seat];
        half.role = Role::Principal;
        half.role_sequence += 1;
        half.forced = kind == FailoverKind::Forced;
        let sequence = half.role_sequence;
        mirroring.sync = Sync::Lost;
        mirroring.armed = false;
        self.witness_learns(index);
        self.record(index, other(seat), seat, kind, sequence);
        self.touch();
    }

    /// The witness hears of a role change from whoever it is linked to.
    pub(crate) fn witness_learns(&mut self, index: usize) {
        let mirroring = &mut self.mirrorings[index];
        for seat in 0..2 {
            let half = &mirroring.halves[seat];
            if mirroring.witness.is_some()
                && half.role == Role::Principal
                && mirroring.linked(seat, super::mirroring::WITNESS)
                && half.role_sequence > mirroring.witness_sequence
            {
                mirroring.witness_sequence = half.role_sequence;
                mirroring.witness_principal = seat;
            }
        }
    }

    /// A principal on a newer version cannot send to an older mirror (S27).
    pub(crate) fn suspend_if_newer(&mut self, index: usize) {
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
