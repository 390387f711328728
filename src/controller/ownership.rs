//! The databases that each resource names. Two resources that name the same database of the same pair both stop (design
//! rule 7). Only a resource whose login both partners accepted counts, so that a spec alone stops no other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::ParsedSpec;
use crate::controller::object::is_same_namespace;
use crate::controller::proven_pair::{addresses, session};
use crate::model::{
    DatabaseName, DatabaseType, Guid, Pair, ServerObservation, StoreId, Stores, Unavailable, UnavailableCause,
};

/// For at most this long after the start of a term, a move waits for other resources. The two resources of a conflict log in
/// at about the same time.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedDatabase {
    ty: DatabaseType,
    database: DatabaseName,
    addresses: BTreeSet<String>,
    session: Option<Guid>,
    /// Both partners accepted the login of the resource.
    proven: bool,
}

impl OwnedDatabase {
    fn conflicts_with(&self, other: &OwnedDatabase) -> bool {
        let same_session = self.session.is_some() && self.session == other.session;
        self.proven
            && other.proven
            && self.database == other.database
            && (same_session || self.addresses == other.addresses)
    }

    /// The specs name the same pair, with or without an accepted login: the two may conflict, or have to take turns.
    fn may_share_a_pair_with(&self, other: &OwnedDatabase) -> bool {
        self.addresses == other.addresses
    }
}

#[derive(Debug, Default)]
struct Registered {
    databases: Vec<OwnedDatabase>,
    /// Every partner was polled, with success or without.
    observed: bool,
}

/// The databases of every resource that this process has reconciled, by `namespace/name`.
#[derive(Default)]
pub struct OwnershipRegistry(Mutex<State>);

#[derive(Default)]
struct State {
    resources: HashMap<String, Registered>,
    /// The first pass since the start of the term.
    began: Option<Instant>,
}

impl OwnershipRegistry {
    /// Registers a resource at the start of a pass, before anything that can take long.
    pub fn begin(&self, resource: &str, spec: &ParsedSpec) {
        let mut state = self.0.lock();
        state.began.get_or_insert_with(Instant::now);
        state
            .resources
            .entry(resource.to_owned())
            .or_insert_with(|| Registered { databases: databases(spec, |_, _| (None, false)), observed: false });
    }

    /// Registers a resource that cannot be decoded. Databases that it registered before stay registered.
    pub fn begin_without_databases(&self, resource: &str) {
        let mut state = self.0.lock();
        state.began.get_or_insert_with(Instant::now);
        state.resources.entry(resource.to_owned()).or_default().observed = true;
    }

    /// Registers what the servers prove. True when it changed, so that conflicting resources need a pass. `moving`: a move of the
    /// resource is in flight, which others see only once it is reserved ([`OwnershipRegistry::reserved`]).
    pub fn register(&self, resource: &str, spec: &ParsedSpec, pairs: &Stores<Pair>, moving: bool) -> bool {
        let mut state = self.0.lock();
        let registered = state.resources.entry(resource.to_owned()).or_default();
        let before = &registered.databases;
        let mut now = databases(spec, |store, database| {
            let (sql, pair) = (&spec.stores[store].sql, &pairs[store]);
            match evidence(pair) {
                LoginEvidence::Accepted => (session(pair, database), true),
                LoginEvidence::Refused => (None, false),
                // A partner that is away does not end what was proven before.
                LoginEvidence::Unknown => before
                    .iter()
                    .find(|ours| ours.database == *database && ours.addresses == addresses(sql))
                    .map_or((None, false), |ours| (ours.session, ours.proven)),
            }
        });
        // A type that the spec names and that cannot be used keeps the databases that it registered before.
        let refused = pairs.iter().any(|pair| matches!(evidence(pair), LoginEvidence::Refused));
        let unusable = before.iter().filter(|ours| spec.desired.unusable.contains_key(&ours.ty)).cloned();
        now.extend(unusable.map(|ours| OwnedDatabase { proven: ours.proven && !refused, ..ours }));
        registered.observed |= !moving && pairs.iter().flat_map(|pair| [&pair.primary, &pair.mirror]).all(is_polled);
        let changed = registered.databases != now;
        registered.databases = now;
        changed
    }

    /// The movement of the resource is recorded, so that no other resource has to wait for its first pass.
    pub fn reserved(&self, resource: &str) {
        if let Some(registered) = self.0.lock().resources.get_mut(resource) {
            registered.observed = true;
        }
    }

    pub fn release(&self, resource: &str) {
        self.0.lock().resources.remove(resource);
    }

    /// The end of a term.
    pub fn release_all(&self) {
        *self.0.lock() = State::default();
    }

    /// The resources that a move of this resource waits for, because at the start of a term an unnoticed conflict would let
    /// both move. Bounded, so that no other resource can hold the move for long. `existing`: all resources.
    pub fn awaited(&self, resource: &str, existing: &HashSet<String>) -> Vec<String> {
        let state = self.0.lock();
        if !is_within_wait(&state) {
            return Vec::new();
        }
        let own = state.resources.get(resource).map(|own| own.databases.as_slice()).unwrap_or_default();
        let is_awaited = |other: &&String| match state.resources.get(*other) {
            None => true,
            Some(theirs) => {
                let same =
                    |ours: &OwnedDatabase| theirs.databases.iter().any(|their| their.may_share_a_pair_with(ours));
                !theirs.observed && own.iter().any(same)
            }
        };
        let mut awaited: Vec<String> =
            existing.iter().filter(|other| *other != resource).filter(is_awaited).cloned().collect();
        awaited.sort();
        awaited
    }

    /// Whether moves may still wait for the first list of all resources.
    pub fn may_wait(&self) -> bool {
        is_within_wait(&self.0.lock())
    }

    /// The other resources that name a database of this resource, by database type. `exists`: whether a resource still exists.
    pub fn conflicts(&self, resource: &str, exists: impl Fn(&str) -> bool) -> BTreeMap<DatabaseType, Vec<String>> {
        let state = self.0.lock();
        let Some(own) = state.resources.get(resource) else { return BTreeMap::new() };
        let mut conflicts: BTreeMap<DatabaseType, BTreeSet<String>> = BTreeMap::new();
        for (other, theirs) in state.resources.iter().filter(|(other, _)| *other != resource && exists(other)) {
            for ours in &own.databases {
                if theirs.databases.iter().any(|their| their.conflicts_with(ours)) {
                    conflicts.entry(ours.ty).or_default().insert(other.clone());
                }
            }
        }
        conflicts.into_iter().map(|(ty, others)| (ty, others.into_iter().collect())).collect()
    }
}

/// A topology has this type once, and paired pools have it twice, so a second one is an event and not a conflict (design
/// rule 7).
const SINGLE_TYPE: DatabaseType = DatabaseType::CentralMgmt;

impl OwnershipRegistry {
    /// The other resources of the namespace with a Central Management store on other servers. Empty if this resource has none
    /// itself. Other namespaces can belong to other topologies.
    pub fn other_central_stores(&self, resource: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
        let state = self.0.lock();
        let central = |registered: &Registered| {
            registered.databases.iter().find(|database| database.ty == SINGLE_TYPE && database.proven).cloned()
        };
        let Some(own) = state.resources.get(resource).and_then(central) else { return Vec::new() };
        let elsewhere = |their: OwnedDatabase| {
            their.addresses != own.addresses && (their.session.is_none() || their.session != own.session)
        };
        let others: BTreeSet<String> = state
            .resources
            .iter()
            .filter(|(other, _)| *other != resource && is_same_namespace(other, resource) && exists(other))
            .filter(|(_, theirs)| central(theirs).is_some_and(elsewhere))
            .map(|(other, _)| other.clone())
            .collect();
        others.into_iter().collect()
    }
}

fn is_within_wait(state: &State) -> bool {
    state.began.is_none_or(|began| began.elapsed() < LONGEST_WAIT)
}

/// The databases of a spec. `prove`: the session of a database, and whether the login is proven.
fn databases(spec: &ParsedSpec, prove: impl Fn(StoreId, &DatabaseName) -> (Option<Guid>, bool)) -> Vec<OwnedDatabase> {
    let mut all = Vec::new();
    for desired_type in &spec.desired.types {
        let addresses = addresses(&spec.stores[desired_type.store].sql);
        for database in &desired_type.databases {
            let (session, proven) = prove(desired_type.store, database);
            let (ty, database, addresses) = (desired_type.ty, database.clone(), addresses.clone());
            all.push(OwnedDatabase { ty, database, addresses, session, proven });
        }
    }
    all
}

/// What the polls of a pair prove about the login of the resource.
enum LoginEvidence {
    /// Both partners accepted it.
    Accepted,
    /// There is no login, a partner refuses it, or the resource itself prevents it.
    Refused,
    Unknown,
}

fn evidence(pair: &Pair) -> LoginEvidence {
    let partners = [&pair.primary, &pair.mirror];
    if partners.into_iter().any(is_refused) {
        LoginEvidence::Refused
    } else if partners.into_iter().all(|view| view.available().is_some()) {
        LoginEvidence::Accepted
    } else {
        LoginEvidence::Unknown
    }
}

fn is_refused(view: &ServerObservation) -> bool {
    let refused = |unavailable: &Unavailable| {
        unavailable.cause.is_refused_login()
            || matches!(
                unavailable.cause,
                UnavailableCause::SecretNotFound
                    | UnavailableCause::SecretKeyMissing
                    | UnavailableCause::CredentialsForbidden
                    | UnavailableCause::CredentialsUnreadable
                    | UnavailableCause::CaBundleNotFound
                    | UnavailableCause::CaBundleInvalid
                    | UnavailableCause::TlsFailed
                    | UnavailableCause::PollsStopped
            )
    };
    match view {
        ServerObservation::Available { server, .. } => server.stale_login.as_ref().is_some_and(refused),
        ServerObservation::Unavailable { unavailable, .. } => refused(unavailable),
    }
}

fn is_polled(view: &ServerObservation) -> bool {
    match view {
        ServerObservation::Available { .. } => true,
        ServerObservation::Unavailable { unavailable, .. } => unavailable.cause != UnavailableCause::NotYetPolled,
    }
}

#[cfg(test)]
#[path = "ownership_tests.rs"]
mod tests;
