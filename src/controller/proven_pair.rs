//! How two resources recognise that they mean the same pair of servers. A server chooses the names that it reports, so a
//! name proves nothing about another resource's servers (decision 0018).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::api::{MOST_DATABASES, SqlStore};
use crate::model::{DatabaseName, Guid, Pair, Seat};

/// The addresses of a pair in the spec, without the seats.
pub type Addresses = Arc<BTreeSet<String>>;

/// What two resources on the same pair have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PairKey {
    Addresses(Addresses),
    /// A mirroring session between the two partners.
    Session(Guid),
}

/// A pair whose two partners accepted the login of the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenPair {
    addresses: Addresses,
    /// The mirroring sessions between the two partners: the first ones by the name of the database, so that every resource on
    /// the pair has about the same.
    sessions: BTreeSet<Guid>,
}

/// The most sessions that name a pair, as a server can have tens of thousands. The databases of a move, at most half as many,
/// show no session for a moment: the others still name the same pair.
const SESSIONS: usize = 2 * MOST_DATABASES;

impl ProvenPair {
    /// None: a partner was not polled.
    pub fn of(sql: &SqlStore, pair: &Pair) -> Option<Self> {
        let (primary, _) = pair.primary.available().zip(pair.mirror.available())?;
        let sessions = primary.databases.keys().filter_map(|name| session(pair, name)).take(SESSIONS);
        Some(Self { addresses: addresses(sql), sessions: sessions.collect() })
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.addresses == other.addresses || !self.sessions.is_disjoint(&other.sessions)
    }

    /// Two pairs are the same if they share one of their keys.
    pub fn keys(&self) -> impl Iterator<Item = PairKey> {
        let sessions = self.sessions.iter().copied().map(PairKey::Session);
        sessions.chain([PairKey::Addresses(self.addresses.clone())])
    }
}

pub fn addresses(sql: &SqlStore) -> Addresses {
    Arc::new([sql.primary.comparable_address(), sql.mirror.comparable_address()].into())
}

/// The mirroring session of a database, if both partners report the same. Its guid is random, and only a login of the two
/// servers reads it.
pub fn session(pair: &Pair, name: &DatabaseName) -> Option<Guid> {
    let guid = |seat| pair.row(seat, name).map(|row| row.guid);
    let same = guid(Seat::Primary).filter(|primary| guid(Seat::Mirror) == Some(*primary))?;
    let server = |seat| pair.view(seat).available().map(|server| server.name.to_lowercase());
    // One server in both seats is no partner of itself.
    (server(Seat::Primary) != server(Seat::Mirror)).then_some(same)
}
