//! A few observations of two servers, and what design rules 1 and R2 allow in each: written down a second time.

use crate::product::{HEALTHY, Odd, TY, available, may_fail_over, may_force};
use lync_mirror::model::*;

/// A sight: both views of one pair, and the databases that are wanted.
#[derive(Clone)]
pub struct Situation {
    pub name: &'static str,
    pub pair: Pair,
    pub databases: Vec<DatabaseName>,
}

pub fn first() -> DatabaseName {
    DatabaseName::new("LcsLog")
}

fn second() -> DatabaseName {
    DatabaseName::new("LcsMore")
}

pub fn unavailable(seat: usize, cause: UnavailableCause) -> ServerObservation {
    ServerObservation::Unavailable {
        address: format!("sql-{seat}"),
        unavailable: Unavailable { cause, detail: "unavailable".to_owned() },
    }
}

pub fn principal(seat: usize, state: MirroringState, odd: Odd) -> ServerObservation {
    available(seat, Some((Role::Principal, state)), odd)
}

pub fn mirror(seat: usize, state: MirroringState, odd: Odd) -> ServerObservation {
    available(seat, Some((Role::Mirror, state)), odd)
}

pub fn situation(name: &'static str, primary: ServerObservation, mirror: ServerObservation) -> Situation {
    Situation { name, pair: Pair { primary, mirror, witness: None }, databases: vec![first()] }
}

/// The principal on the primary, in good health.
pub fn healthy() -> Situation {
    use MirroringState::Synchronized;
    situation("healthy", principal(0, Synchronized, HEALTHY), mirror(1, Synchronized, HEALTHY))
}

fn edit(view: ServerObservation, change: impl FnOnce(&mut Server)) -> ServerObservation {
    match view {
        ServerObservation::Available { address, server } => {
            let mut server = (*server).clone();
            change(&mut server);
            ServerObservation::Available { address, server: std::sync::Arc::new(server) }
        }
        unavailable => unavailable,
    }
}

fn queue(view: ServerObservation, queue: Option<i64>) -> ServerObservation {
    edit(view, |server| {
        for database in server.databases.values_mut() {
            database.redo_queue_kb = queue;
        }
    })
}

/// The other's database under the second name; nothing where there is no server.
fn and(view: ServerObservation, other: &ServerObservation) -> ServerObservation {
    edit(view, |server| {
        let database = other.available().unwrap().databases[&first()].clone();
        server.databases.insert(second(), database);
    })
}

fn version(view: ServerObservation, version: &str) -> ServerObservation {
    edit(view, |server| server.version = version.to_owned())
}

/// The pair of every situation, as a former pass recorded it.
pub fn known_pair() -> PairIdentity {
    let server = |seat: usize| ServerIdentity { address: format!("sql-{seat}"), name: format!("SQL-{seat}") };
    PairIdentity { primary: server(0), mirror: server(1) }
}

/// The state after both servers were seen together, with the principal in its seat once.
pub fn known() -> TypeTracking {
    TypeTracking {
        pair: Some(known_pair()),
        sessions: [(first(), Guid::from_bytes([1; 16])), (second(), Guid::from_bytes([1; 16]))].into(),
        last_settled_server: Some("SQL-0".to_owned()),
        was_aligned: true,
        ..TypeTracking::default()
    }
}

/// The situation on two other servers.
pub fn elsewhere(situation: &Situation) -> Pair {
    let rename = |view: &ServerObservation| {
        let renamed = |name: &str| name.replace("SQL-", "OTHER-");
        edit(view.clone(), |server| {
            server.name = renamed(&server.name);
            for row in server.databases.values_mut().filter_map(|database| database.mirroring.as_mut()) {
                row.partner_instance = renamed(&row.partner_instance);
            }
        })
    };
    let moved = |view: ServerObservation| match view {
        ServerObservation::Unavailable { address, unavailable } => {
            ServerObservation::Unavailable { address: address.replace("sql-", "other-"), unavailable }
        }
        available => available,
    };
    Pair {
        primary: moved(rename(&situation.pair.primary)),
        mirror: moved(rename(&situation.pair.mirror)),
        witness: None,
    }
}

/// A second database beside the first one of a sight, as `other` shows it in each seat.
pub fn with(situation: Situation, name: &'static str, other: impl Fn(usize) -> ServerObservation) -> Situation {
    let Situation { pair, mut databases, .. } = situation;
    databases.push(second());
    let pair = Pair { primary: and(pair.primary, &other(0)), mirror: and(pair.mirror, &other(1)), witness: None };
    Situation { name, pair, databases }
}

/// Sights in which a move may begin, and each single thing that stands in its way.
pub fn begins() -> Vec<Situation> {
    use MirroringState::*;
    let alone = Odd { witness: WitnessLink::None, ..HEALTHY };
    let refused = || unavailable(0, UnavailableCause::ConnectionRefused);
    let half = mirror(1, Synchronized, Odd { witness: WitnessLink::Disconnected, ..HEALTHY });
    let lost = situation("lost", refused(), mirror(1, Disconnected, alone));
    let two = with(lost.clone(), "lost, and one of two is not", |_| mirror(1, Synchronized, alone));
    let unready = with(healthy(), "one of two is catching up", |seat| match seat {
        0 => principal(0, Synchronizing, HEALTHY),
        _ => mirror(1, Synchronizing, HEALTHY),
    });
    let same = edit(mirror(1, Synchronized, HEALTHY), |server| server.name = "SQL-0".to_owned());
    let same = edit(same, |server| {
        for row in server.databases.values_mut().filter_map(|database| database.mirroring.as_mut()) {
            row.partner_instance = "SQL-0".to_owned();
        }
    });
    vec![
        healthy(),
        situation(
            "one server under two names",
            edit(principal(0, Synchronized, HEALTHY), |server| {
                for row in server.databases.values_mut().filter_map(|database| database.mirroring.as_mut()) {
                    row.partner_instance = "SQL-0".to_owned();
                }
            }),
            same,
        ),
        situation("on the mirror", mirror(0, Synchronized, HEALTHY), principal(1, Synchronized, HEALTHY)),
        situation("a witness that one side sees", principal(0, Synchronized, HEALTHY), half),
        situation(
            "a long redo queue",
            principal(0, Synchronized, HEALTHY),
            queue(mirror(1, Synchronized, HEALTHY), Some(1 << 30)),
        ),
        situation(
            "an unseen redo queue",
            principal(0, Synchronized, HEALTHY),
            queue(mirror(1, Synchronized, HEALTHY), None),
        ),
        situation(
            "a newer release on the mirror",
            principal(0, Synchronized, HEALTHY),
            version(mirror(1, Synchronized, HEALTHY), "12.0"),
        ),
        situation(
            "a newer release on the primary",
            version(mirror(0, Synchronized, HEALTHY), "12.0"),
            principal(1, Synchronized, HEALTHY),
        ),
        situation("lost, still connected", refused(), mirror(1, Synchronizing, alone)),
        unready,
        lost,
        situation("lost, with a witness", refused(), mirror(1, Disconnected, HEALTHY)),
        situation("silent, not gone", unavailable(0, UnavailableCause::LoginFailed), mirror(1, Disconnected, alone)),
        situation("lost and suspended", refused(), mirror(1, Suspended, alone)),
        two,
    ]
}

impl Situation {
    /// The view with this database alone.
    fn only(view: &ServerObservation, name: &DatabaseName) -> ServerObservation {
        edit(view.clone(), |server| server.databases.retain(|other, _| other == name))
    }

    fn all(&self, to: Seat, may: impl Fn(&ServerObservation, &ServerObservation) -> bool) -> bool {
        self.databases
            .iter()
            .all(|name| may(&Self::only(self.pair.view(to.other()), name), &Self::only(self.pair.view(to), name)))
    }

    /// Design rule 1, for every database of the type.
    pub fn may_fail_over(&self, to: Seat) -> bool {
        let server = |seat: Seat| self.pair.view(seat).available().map(|server| server.name.clone());
        server(to) != server(to.other()) && self.all(to, may_fail_over)
    }

    /// R2, for every database of the type: the seat of the survivor.
    pub fn survivor(&self) -> Option<Seat> {
        Seat::BOTH.into_iter().find(|seat| self.all(*seat, may_force))
    }

    /// The release of the server in this seat is newer than that of the other one.
    pub fn is_one_way(&self, to: Seat) -> bool {
        match self.name {
            "a newer release on the mirror" => to == Seat::Mirror,
            "a newer release on the primary" => to == Seat::Primary,
            _ => false,
        }
    }

    pub fn is_aligned(&self, to: Seat) -> bool {
        self.may_fail_over(to.other())
    }

    /// Both partners see the witness, for every database.
    pub fn witnessed(&self) -> bool {
        Seat::BOTH.into_iter().filter_map(|seat| self.pair.view(seat).available()).all(|server| {
            server
                .databases
                .values()
                .all(|database| database.mirroring.as_ref().is_some_and(|row| row.witness == WitnessLink::Connected))
        })
    }

    pub fn epoch(&self) -> Option<Epoch> {
        let of = |name: &DatabaseName| {
            let rows = Seat::BOTH
                .into_iter()
                .filter_map(|seat| self.pair.view(seat).available()?.databases.get(name)?.mirroring.as_ref());
            rows.map(|row| (row.guid, row.role_sequence)).max_by_key(|(_, sequence)| *sequence)
        };
        self.databases.iter().map(of).collect::<Option<Vec<_>>>().map(Epoch::of)
    }

    pub fn observation(&self) -> Observation {
        Observation {
            pairs: Stores::single(self.pair.clone()).0,
            conflicts: Default::default(),
            turns: Default::default(),
            statements: Default::default(),
        }
    }

    pub fn desired_type(&self, to: Seat) -> DesiredType {
        DesiredType {
            ty: TY,
            principal: to,
            databases: self.databases.clone(),
            store: only_store(),
            approve: None,
            force: None,
            requested_by: FieldManagers::default(),
        }
    }
}

/// Takes the next digit of a number that counts through a product.
pub fn pick<T: Clone>(number: &mut usize, of: &[T]) -> T {
    let one = of[*number % of.len()].clone();
    *number /= of.len();
    one
}

/// All combinations, in an order that comes to each value of each digit early.
pub fn scattered<T>(numbered: impl Fn(usize) -> Option<T>) -> impl Iterator<Item = T> {
    // Products of twos, threes and fives: a larger prime meets every number once.
    const STRIDE: usize = 7919;
    let total = (0..).find(|number| numbered(*number).is_none()).unwrap();
    (0..total).filter_map(move |number| numbered(number * STRIDE % total))
}

/// The store of every observation with one pair.
pub fn only_store() -> StoreId {
    Stores::single(()).1
}
