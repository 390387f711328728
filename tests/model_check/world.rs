//! A small world that can be searched: two servers, perhaps a witness, two databases of one type. It models
//! mirroring, not the operator, after the truth table S1-S27.

use std::collections::BTreeMap;
use std::sync::Arc;

use lync_mirror::model::*;

pub const TYPE: DatabaseType = DatabaseType::Monitoring;
/// The number of a server that is no partner and has none of the databases.
pub const THIRD: usize = 2;
pub const NAMES: [&str; 2] = ["LcsCDR", "QoEMetrics"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Copies {
    Synchronized,
    CatchingUp,
    Suspended,
    /// The new principal is not open yet: RECOVERING, and its mirroring columns are NULL.
    Opening,
}

/// The effect of a switch of the roles where the documentation leaves it open. The search runs with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Switching {
    /// Both partners count the switch, and the new principal is open at once.
    Together,
    /// Only the new principal counts the switch.
    SequencesApart,
    /// The columns of the new principal are NULL until the database is open.
    ColumnsNull,
}

/// Why the operator does not see a server that is up. Neither proves that the server is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unseen {
    BrowserSilent,
    LoginFailed,
}

impl Switching {
    /// The copies after a switch.
    fn copies(self) -> Copies {
        match self {
            Self::Together | Self::SequencesApart => Copies::CatchingUp,
            Self::ColumnsNull => Copies::Opening,
        }
    }
}

impl Unseen {
    fn cause(self) -> UnavailableCause {
        match self {
            Self::BrowserSilent => UnavailableCause::BrowserSilent,
            Self::LoginFailed => UnavailableCause::LoginFailed,
        }
    }
}

/// One session: the catalog of each server, and how far the copies are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session {
    /// By server: whether the server itself reports the principal role.
    pub principal: [bool; 2],
    pub sequence: [u8; 2],
    pub guid: u8,
    pub copies: Copies,
    pub full: bool,
}

/// The servers are numbered. Which seat each has is a matter of the spec.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub up: [bool; 2],
    pub unseen: [Option<Unseen>; 2],
    /// How often each server was renamed.
    pub renames: [u8; 2],
    pub switching: Switching,
    pub link: bool,
    pub witness: bool,
    pub sessions: [Session; 2],
    /// Role switches that a statement caused, and how many of them may have lost data.
    pub switches: u8,
    pub losses: u8,
}

/// What a poll of one server found. It is rendered only when a plan is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glimpse {
    server: usize,
    absence: Option<UnavailableCause>,
    world: Option<Box<World>>,
}

pub fn index(seat: Seat) -> usize {
    match seat {
        Seat::Primary => 0,
        Seat::Mirror => 1,
    }
}

pub fn server_name(server: usize, renames: u8) -> String {
    format!("SQL-{}{}", ["A", "B", "C"][server], if renames == 0 { String::new() } else { renames.to_string() })
}

impl Glimpse {
    pub fn is_read(&self) -> bool {
        self.absence.is_none() && self.world.is_some()
    }

    pub fn view(&self) -> ServerObservation {
        let address = format!("sql-{}", self.server);
        match (&self.world, self.absence) {
            (Some(world), None) => {
                ServerObservation::Available { address, server: Arc::new(world.server(self.server)) }
            }
            (_, cause) => {
                let cause = cause.unwrap_or(UnavailableCause::ConnectionRefused);
                ServerObservation::Unavailable {
                    address,
                    unavailable: Unavailable { cause, detail: "unavailable".to_owned() },
                }
            }
        }
    }
}

impl World {
    pub fn new(witness: bool, switching: Switching) -> World {
        let session = |guid| Session {
            principal: [true, false],
            sequence: [1, 1],
            guid,
            copies: Copies::Synchronized,
            full: true,
        };
        World {
            up: [true; 2],
            unseen: [None; 2],
            renames: [0; 2],
            switching,
            link: true,
            witness,
            sessions: [session(1), session(2)],
            switches: 0,
            losses: 0,
        }
    }

    pub fn connected(&self) -> bool {
        self.up[0] && self.up[1] && self.link
    }

    /// The result of a poll. It holds nothing that the poll cannot show, so that equal polls are equal states.
    pub fn poll(&self, server: usize) -> Glimpse {
        if server == THIRD {
            return Glimpse { server, absence: None, world: Some(Box::new(World::new(self.witness, self.switching))) };
        }
        let absence = match self.unseen[server] {
            _ if !self.up[server] => Some(UnavailableCause::ConnectionRefused),
            Some(unseen) => Some(unseen.cause()),
            None => None,
        };
        let world = absence.is_none().then(|| {
            let mut world = self.clone();
            let connected = self.connected();
            (world.up, world.unseen, world.link) = ([true; 2], [None; 2], connected);
            (world.switches, world.losses) = (0, 0);
            for session in &mut world.sessions {
                (session.principal[1 - server], session.sequence[1 - server]) = (false, 0);
            }
            Box::new(world)
        });
        Glimpse { server, absence, world }
    }

    fn server(&self, number: usize) -> Server {
        let databases: BTreeMap<DatabaseName, Database> = NAMES
            .iter()
            .zip(&self.sessions)
            .filter(|_| number != THIRD)
            .map(|(name, session)| (DatabaseName::new(*name), self.row(number, session)))
            .collect();
        Server {
            name: server_name(number, self.renames.get(number).copied().unwrap_or_default()),
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
            memory: MemoryShare::default(),
        }
    }

    /// Whether the server serves each database.
    pub fn serves(&self, server: usize) -> [bool; 2] {
        if server == THIRD {
            return [false; 2];
        }
        [0, 1].map(|number| {
            let session = &self.sessions[number];
            self.up[server] && session.principal[server] && session.copies != Copies::Opening
        })
    }

    fn row(&self, server: usize, session: &Session) -> Database {
        let principal = session.principal[server];
        let opening = principal && session.copies == Copies::Opening;
        let state = match (self.connected(), session.copies) {
            (_, Copies::Suspended) => MirroringState::Suspended,
            (false, _) => MirroringState::Disconnected,
            (true, Copies::Synchronized) => MirroringState::Synchronized,
            (true, Copies::CatchingUp | Copies::Opening) => MirroringState::Synchronizing,
        };
        Database {
            state: match principal {
                true if opening => DatabaseState::Recovering,
                true => DatabaseState::Online,
                false => DatabaseState::Restoring,
            },
            mirroring: (!opening).then(|| Mirroring {
                witness_name: String::new(),
                guid: Guid::from_bytes([session.guid; 16]),
                state,
                role: if principal { Role::Principal } else { Role::Mirror },
                role_sequence: i32::from(session.sequence[server]),
                safety: if session.full { Safety::Full } else { Safety::Off },
                partner_name: String::new(),
                partner_instance: server_name(1 - server, self.renames[1 - server]),
                witness: if self.witness { WitnessLink::Connected } else { WitnessLink::None },
            }),
            redo_queue_kb: Some(0),
            send_queue_kb: None,
            redone_bytes: None,
            redo_rate_kb: None,
        }
    }

    /// The batch at the server: the guard and the statement are one step. `Err`: refused, nothing was done.
    pub fn execute(&mut self, seat: usize, step: &Failover, guard: bool) -> Result<(), &'static str> {
        if seat == THIRD {
            return Err("the database does not exist");
        }
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
        session.sequence[to] = next;
        if self.switching != Switching::SequencesApart {
            session.sequence[1 - to] = next;
        }
        session.copies = self.switching.copies();
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
                session.sequence[1 - seat] = session.sequence[0].max(session.sequence[1]) + 1;
                session.copies = self.switching.copies();
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
                if self.switching != Switching::SequencesApart {
                    session.sequence = [session.sequence[newer]; 2];
                }
            }
            if session.copies == Copies::Synchronized {
                session.copies = Copies::CatchingUp;
            }
        }
    }

    pub fn catch_up(&mut self) {
        let connected = self.connected();
        for session in &mut self.sessions {
            session.copies = match session.copies {
                Copies::CatchingUp if connected => Copies::Synchronized,
                Copies::Opening if (0..2).any(|server| self.up[server] && session.principal[server]) => {
                    Copies::CatchingUp
                }
                other => other,
            };
        }
    }
}
