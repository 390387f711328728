//! The databases that each resource names. Two resources that name the same database of the same pair both stop (design
//! rule 7). Only a resource whose login both partners accepted counts, so that a spec alone stops no other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::ParsedSpec;
use crate::controller::index::Index;
use crate::controller::object::namespace_of;
use crate::controller::proven_pair::{Addresses, PairKey, addresses, session};
use crate::model::{DatabaseName, DatabaseType, Guid, Pair, ServerObservation, StoreId, Stores, UnavailableCause};

/// How many resources a message names at most.
const NAMED: usize = 10;

/// For at most this long after the start of a term, a move waits for other resources. The two resources of a conflict log in
/// at about the same time.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedDatabase {
    ty: DatabaseType,
    database: DatabaseName,
    addresses: Addresses,
    session: Option<Guid>,
    /// Both partners accepted the login of the resource.
    proven: bool,
}

impl OwnedDatabase {
    /// Two proven databases are the same if they share one of their keys.
    fn keys(&self) -> impl Iterator<Item = DatabaseKey> {
        let session = self.session.map(PairKey::Session);
        let pairs = session.into_iter().chain([PairKey::Addresses(self.addresses.clone())]);
        pairs.filter(|_| self.proven).map(|pair| (pair, self.database.clone()))
    }
}

type DatabaseKey = (PairKey, DatabaseName);

#[derive(Debug, Default)]
struct Registered {
    databases: Vec<OwnedDatabase>,
    /// Every partner was polled, with success or without.
    observed: bool,
}

impl Registered {
    fn keys(&self) -> BTreeSet<DatabaseKey> {
        self.databases.iter().flat_map(OwnedDatabase::keys).collect()
    }

    /// The pairs of the spec, with or without an accepted login.
    fn addresses(&self) -> BTreeSet<Addresses> {
        self.databases.iter().map(|ours| ours.addresses.clone()).collect()
    }

    fn central(&self) -> Option<&OwnedDatabase> {
        self.databases.iter().find(|database| database.ty == SINGLE_TYPE && database.proven)
    }
}

/// The databases of every resource that this process has reconciled, by `namespace/name`.
#[derive(Default)]
pub struct OwnershipRegistry(Mutex<State>);

#[derive(Default)]
struct State {
    resources: HashMap<Arc<str>, Registered>,
    by_database: Index<DatabaseKey>,
    by_addresses: Index<Addresses>,
    /// The resources with a Central Management store, by namespace.
    central: Index<String>,
    /// The first pass since the start of the term.
    began: Option<Instant>,
    /// Each resource of the start of the term had a pass.
    complete: bool,
}

impl State {
    fn set(&mut self, resource: &str, now: Option<Registered>) {
        let resource: Arc<str> = resource.into();
        let before = self.resources.remove(&resource).unwrap_or_default();
        let empty = Registered::default();
        let after = now.as_ref().unwrap_or(&empty);
        let central = |registered: &Registered| registered.central().map(|_| namespace_of(&resource).to_owned());
        self.by_database.replace(&resource, before.keys(), after.keys());
        self.by_addresses.replace(&resource, before.addresses(), after.addresses());
        self.central.replace(&resource, central(&before), central(after));
        if let Some(now) = now {
            self.resources.insert(resource, now);
        }
    }

    /// Some of the other resources that name a database of this resource, by database type, and the largest number of them for
    /// one database. It reads little more than a message names, so that a pass costs the same whatever their number.
    fn conflicts(&self, resource: &str) -> BTreeMap<DatabaseType, (BTreeSet<Arc<str>>, usize)> {
        let mut conflicts: BTreeMap<DatabaseType, (BTreeSet<Arc<str>>, usize)> = BTreeMap::new();
        for ours in self.resources.get(resource).into_iter().flat_map(|own| &own.databases) {
            for key in ours.keys() {
                let count = self.by_database.count_others(&key, resource);
                if count == 0 {
                    continue;
                }
                let (some, most) = conflicts.entry(ours.ty).or_default();
                *most = count.max(*most);
                if some.len() <= NAMED {
                    some.extend(self.by_database.others(&key, resource).take(NAMED + 1).cloned());
                }
            }
        }
        conflicts
    }

    /// The resources whose conflict can begin or end with this resource. Several others of one database conflict with each
    /// other either way; a pass of each of them at each change would cost the square of their number.
    fn dependents(&self, resource: &str) -> BTreeSet<Arc<str>> {
        let own = self.resources.get(resource).into_iter().flat_map(|own| &own.databases);
        let keys = own.flat_map(OwnedDatabase::keys);
        let few = keys.filter(|key| self.by_database.count_others(key, resource) <= NAMED);
        few.flat_map(|key| self.by_database.others(&key, resource).cloned().collect::<Vec<_>>()).collect()
    }
}

impl OwnershipRegistry {
    /// Registers a resource at the start of a pass, before anything that can take long.
    pub fn begin(&self, resource: &str, spec: &ParsedSpec) {
        let mut state = self.0.lock();
        state.began.get_or_insert_with(Instant::now);
        if !state.resources.contains_key(resource) {
            let registered = Registered { databases: databases(spec, |_, _| (None, false)), observed: false };
            state.set(resource, Some(registered));
        }
    }

    /// Registers a resource that cannot be decoded. Databases that it registered before stay registered.
    pub fn begin_without_databases(&self, resource: &str) {
        let mut state = self.0.lock();
        state.began.get_or_insert_with(Instant::now);
        state.resources.entry(resource.into()).or_default().observed = true;
    }

    /// Registers what the servers prove. Returns the resources that need a pass, because a conflict with them began or ended.
    /// `moving`: a move of the resource is in flight, which others see only once it is reserved ([`OwnershipRegistry::reserved`]).
    pub fn register(
        &self,
        resource: &str,
        spec: &ParsedSpec,
        pairs: &Stores<Pair>,
        moving: bool,
    ) -> BTreeSet<Arc<str>> {
        let mut state = self.0.lock();
        let empty = Registered::default();
        let before = state.resources.get(resource).unwrap_or(&empty);
        let databases = proven_databases(spec, pairs, &before.databases);
        let observed =
            !moving && pairs.iter().flat_map(|pair| [&pair.primary, &pair.mirror]).all(ServerObservation::is_polled);
        let now = Registered { databases, observed: before.observed || observed };
        if now.databases == before.databases {
            state.resources.entry(resource.into()).or_default().observed = now.observed;
            return BTreeSet::new();
        }
        let had = state.dependents(resource);
        state.set(resource, Some(now));
        &had | &state.dependents(resource)
    }

    /// The movement of the resource is recorded, so that no other resource has to wait for its first pass.
    pub fn reserved(&self, resource: &str) {
        if let Some(registered) = self.0.lock().resources.get_mut(resource) {
            registered.observed = true;
        }
    }

    /// Returns the resources that need a pass, because a conflict with them ended.
    pub fn release(&self, resource: &str) -> BTreeSet<Arc<str>> {
        let mut state = self.0.lock();
        let dependents = state.dependents(resource);
        state.set(resource, None);
        dependents
    }

    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        let state = self.0.lock();
        let indexes = state.by_database.entries() + state.by_addresses.entries() + state.central.entries();
        state.resources.len() + indexes
    }

    /// The end of a term.
    pub fn release_all(&self) {
        *self.0.lock() = State::default();
    }

    /// The resources that a move of this resource waits for, because at the start of a term an unnoticed conflict would let
    /// both move: some of those without a pass, and those on the same pair whose servers were not polled. Bounded, so that no
    /// other resource can hold the move for long. `existing`: all resources.
    pub fn awaited(&self, resource: &str, existing: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let mut state = self.0.lock();
        if !is_within_wait(&state) {
            return BTreeSet::new();
        }
        let own = state.resources.get(resource).map(Registered::addresses).unwrap_or_default();
        let rivals = own.iter().flat_map(|addresses| state.by_addresses.others(addresses, resource));
        let unobserved = |other: &&Arc<str>| state.resources.get(*other).is_some_and(|theirs| !theirs.observed);
        let mut awaited: BTreeSet<String> = rivals.filter(unobserved).take(NAMED).map(ToString::to_string).collect();
        if !state.complete {
            let has_no_pass = |other: &String| other != resource && !state.resources.contains_key(other.as_str());
            let unknown: Vec<String> = existing.into_iter().filter(has_no_pass).take(NAMED).collect();
            state.complete = unknown.is_empty();
            awaited.extend(unknown);
        }
        awaited
    }

    /// Whether moves may still wait for the first list of all resources.
    pub fn may_wait(&self) -> bool {
        is_within_wait(&self.0.lock())
    }

    /// The other resources that name a database of this resource, by database type. `exists`: whether a resource still exists.
    pub fn conflicts(&self, resource: &str, exists: impl Fn(&str) -> bool) -> BTreeMap<DatabaseType, Rivals> {
        let conflicts = self.0.lock().conflicts(resource).into_iter();
        let rivals = conflicts.map(|(ty, (some, most))| {
            // Not all were read, so that one may exist even if none of these does.
            let is_crowded = some.len() > NAMED;
            let existing = some.iter().filter(|other| exists(other)).take(NAMED);
            let named: Vec<String> = existing.map(ToString::to_string).collect();
            let count = if is_crowded { most.max(NAMED + 1) } else { named.len() };
            (ty, Rivals { named, count })
        });
        rivals.filter(|(_, rivals)| rivals.count > 0).collect()
    }
}

/// The other resources that name the databases of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rivals {
    /// The first ones. A message does not grow with their number.
    pub named: Vec<String>,
    /// All of them, at least. A resource that was deleted a moment ago can be among those beyond the first.
    pub count: usize,
}

impl Rivals {
    pub fn has_more(&self) -> bool {
        self.count > self.named.len()
    }

    /// What a log states once. It stays the same for every further resource, because each change would make all of them log.
    pub fn notice(&self) -> String {
        if self.has_more() { format!("more than {NAMED}") } else { self.named.join(", ") }
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
        let central = |resource: &str| state.resources.get(resource).and_then(Registered::central);
        let Some(own) = central(resource) else { return Vec::new() };
        let elsewhere = |their: &OwnedDatabase| {
            their.addresses != own.addresses && (their.session.is_none() || their.session != own.session)
        };
        let namespace = namespace_of(resource).to_owned();
        let others = state.central.others(&namespace, resource);
        let others = others.filter(|other| central(other).is_some_and(elsewhere) && exists(other));
        others.take(NAMED).map(ToString::to_string).collect()
    }
}

fn is_within_wait(state: &State) -> bool {
    state.began.is_none_or(|began| began.elapsed() < LONGEST_WAIT)
}

/// The databases of a spec, as far as the servers prove that the resource may use them. `before`: what was registered.
fn proven_databases(spec: &ParsedSpec, pairs: &Stores<Pair>, before: &[OwnedDatabase]) -> Vec<OwnedDatabase> {
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
    now
}

/// The databases of a spec. `prove`: the session of a database, and whether the login is proven.
fn databases(spec: &ParsedSpec, prove: impl Fn(StoreId, &DatabaseName) -> (Option<Guid>, bool)) -> Vec<OwnedDatabase> {
    let mut all = Vec::new();
    let addresses = spec.stores.map(|store| addresses(&store.sql));
    for desired_type in &spec.desired.types {
        for database in &desired_type.databases {
            let (session, proven) = prove(desired_type.store, database);
            let (ty, database, addresses) = (desired_type.ty, database.clone(), addresses[desired_type.store].clone());
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
    // What the resource itself can bring about.
    let prevented = matches!(view, ServerObservation::Unavailable { unavailable, .. } if matches!(
        unavailable.cause,
        UnavailableCause::SecretNotFound
            | UnavailableCause::SecretKeyMissing
            | UnavailableCause::CredentialsForbidden
            | UnavailableCause::CredentialsUnreadable
            | UnavailableCause::CaBundleNotFound
            | UnavailableCause::CaBundleInvalid
            | UnavailableCause::TlsFailed
            | UnavailableCause::PollsStopped
    ));
    prevented || view.is_refused_login()
}

#[cfg(test)]
#[path = "ownership_tests.rs"]
mod tests;
