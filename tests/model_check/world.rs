//! A small world that can be searched: two servers, perhaps a witness, two databases of one type. It models
//! mirroring, not the operator, after the truth table S1-S27.

use std::collections::BTreeMap;
use std::sync::Arc;

use lync_mirror::model::*;

pub const TYPE: DatabaseType = DatabaseType::Monitoring;
pub const NAMES: [&str; 2] = ["LcsCDR", "QoEMetrics"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Copies {
    Synchronized,
    CatchingUp,
    Suspended,
}

/// One session: the catalog of each server, and how far the copies are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session {
    /// By seat: whether the server itself reports the principal role.
    pub principal: [bool; 2],
    pub sequence: [u8; 2],
    pub guid: u8,
    pub copies: Copies,
    pub full: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub up: [bool; 2],
    pub link: bool,
    pub witness: bool,
    pub sessions: [Session; 2],
    /// Role switches that a statement caused, and how many of them may have lost data.
    pub switches: u8,
    pub losses: u8,
}

pub fn index(seat: Seat) -> usize {
    match seat {
        Seat::Primary => 0,
        Seat::Mirror => 1,
    }
}

pub fn server_name(seat: usize) -> String {
    format!("SQL-{}", ["A", "B"][seat])
}

impl World {
    pub fn new(witness: bool) -> World {
        let session = |guid| Session {
            principal: [true, false],
            sequence: [1, 1],
            guid,
            copies: Copies::Synchronized,
            full: true,
        };
        World { up: [true; 2], link: true, witness, sessions: [session(1), session(2)], switches: 0, losses: 0 }
    }

    pub fn connected(&self) -> bool {
        self.up[0] && self.up[1] && self.link
    }

    /// The result of a poll of the server in this seat.
    pub fn poll(&self, seat: usize) -> ServerObservation {
        let address = format!("sql-{seat}");
        if !self.up[seat] {
            let unavailable = Unavailable { cause: UnavailableCause::ConnectionRefused, detail: "refused".to_owned() };
            return ServerObservation::Unavailable { address, unavailable };
        }
        let databases: BTreeMap<DatabaseName, Database> = NAMES
            .iter()
            .zip(&self.sessions)
            .map(|(name, session)| (DatabaseName::new(*name), self.row(seat, session)))
            .collect();
        let server = Server {
            name: server_name(seat),
            local_name: None,
            version: "11.0".to_owned(),
            edition: String::new(),
            login: "lync".to_owned(),
            sysadmin: true,
            view_server_state: true,
            view_any_database: true,
            endpoint: Some(MirroringEndpoint {
                name: "mirroring".to_owned(),
                started: true,
                partner: true,
                port: Some(5022),
            }),
            databases,
            witnessed: Vec::new(),
            stale_login: None,
        };
        ServerObservation::Available { address, server: Arc::new(server) }
    }

    /// Whether the server in this seat serves each database.
    pub fn serves(&self, seat: usize) -> [bool; 2] {
        [0, 1].map(|number| self.up[seat] && self.sessions[number].principal[seat])
    }

    fn row(&self, seat: usize, session: &Session) -> Database {
        let principal = session.principal[seat];
        let state = match (self.connected(), session.copies) {
            (_, Copies::Suspended) => MirroringState::Suspended,
            (false, _) => MirroringState::Disconnected,
            (true, Copies::Synchronized) => MirroringState::Synchronized,
            (true, Copies::CatchingUp) => MirroringState::Synchronizing,
        };
        Database {
            state: if principal { DatabaseState::Online } else { DatabaseState::Restoring },
            mirroring: Some(Mirroring {
                guid: Guid::from_bytes([session.guid; 16]),
                state,
                role: if principal { Role::Principal } else { Role::Mirror },
                role_sequence: i32::from(session.sequence[seat]),
                safety: if session.full { Safety::Full } else { Safety::Off },
                partner_name: String::new(),
                partner_instance: server_name(1 - seat),
                witness: if self.witness { WitnessLink::Connected } else { WitnessLink::None },
            }),
            redo_queue_kb: Some(0),
            send_queue_kb: None,
            redone_bytes: None,
            redo_rate_kb: None,
        }
    }

    /// The batch at the server: the guard and the statement are one step. `Err`: refused, nothing was done.
    pub fn execute(&mut self, step: &Failover, guard: bool) -> Result<(), &'static str> {
        let seat = index(step.on);
        let number = NAMES.iter().position(|name| *name == step.database.as_str()).unwrap();
        let (connected, witness) = (self.connected(), self.witness);
        if !self.up[seat] {
            return Err("the server is gone");
        }
        let session = &mut self.sessions[number];
        let same = step.guid == Guid::from_bytes([session.guid; 16])
            && step.role_sequence == i32::from(session.sequence[seat]);
        let state = match step.act {
            Act::Failover => {
                session.principal[seat] && connected && session.copies == Copies::Synchronized && session.full
            }
            Act::ForceService => !session.principal[seat] && !connected && !witness,
        };
        if guard && !(same && state) {
            return Err("the guard");
        }
        // What SQL Server itself refuses, guard or not (1422, 1447, 1470, 1477).
        if !state {
            return Err("the server");
        }
        self.switches += 1;
        match step.act {
            Act::Failover => self.switch(number, 1 - seat),
            Act::ForceService => {
                session.principal[seat] = true;
                session.sequence[seat] += 1;
                session.copies = Copies::Suspended;
                self.losses += 1;
            }
        }
        Ok(())
    }

    /// Both partners change roles.
    fn switch(&mut self, number: usize, to: usize) {
        let session = &mut self.sessions[number];
        session.principal = [to == 0, to == 1];
        let next = session.sequence[0].max(session.sequence[1]) + 1;
        session.sequence = [next; 2];
        session.copies = Copies::CatchingUp;
    }

    /// An administrator with a management shell.
    pub fn dba(&mut self, number: usize) -> bool {
        let session = &self.sessions[number];
        if !self.connected() || session.copies != Copies::Synchronized || !session.full {
            return false;
        }
        let to = if session.principal[0] { 1 } else { 0 };
        self.switch(number, to);
        true
    }

    pub fn kill(&mut self, seat: usize) {
        self.up[seat] = false;
        // With a witness the synchronized mirror takes over at once, database by database (S9).
        for session in &mut self.sessions {
            let takes = self.witness && self.up[1 - seat] && self.link && session.principal[seat];
            if takes && session.copies == Copies::Synchronized && session.full {
                session.principal[1 - seat] = true;
                session.sequence[1 - seat] += 1;
                session.copies = Copies::CatchingUp;
            }
        }
    }

    /// The partners meet again: who switched less often follows (S10, S15).
    pub fn meet(&mut self) {
        if !self.connected() {
            return;
        }
        for session in &mut self.sessions {
            let newer = if session.sequence[0] >= session.sequence[1] { 0 } else { 1 };
            if session.principal[0] == session.principal[1] || session.sequence[0] != session.sequence[1] {
                session.principal = [newer == 0, newer == 1];
                session.sequence = [session.sequence[newer]; 2];
            }
            if session.copies == Copies::Synchronized {
                session.copies = Copies::CatchingUp;
            }
        }
    }

    pub fn catch_up(&mut self) {
        if self.connected() {
            for session in self.sessions.iter_mut().filter(|session| session.copies == Copies::CatchingUp) {
                session.copies = Copies::Synchronized;
            }
        }
    }
}
