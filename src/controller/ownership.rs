//! Which resource names which database of which pair. Two resources that name the same database both stop (design
//! rule 7).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::api::ParsedSpec;
use crate::model::{DatabaseName, DatabaseType, Pair, ServerObservation, StoreId, Stores};

/// A pair of servers without regard to seats: by the names that the servers give themselves, else by the addresses of the spec.
type PairName = BTreeSet<String>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedDatabase {
    ty: DatabaseType,
    database: DatabaseName,
    pairs: Vec<PairName>,
}

/// The databases of every resource that this process has reconciled, by `namespace/name`.
#[derive(Default)]
pub struct OwnershipRegistry {
    all: Mutex<HashMap<String, Vec<OwnedDatabase>>>,
}

impl OwnershipRegistry {
    /// Registers the databases of a resource. True when they changed, so that conflicting resources need a pass.
    pub fn register(&self, resource: &str, spec: &ParsedSpec, pairs: &Stores<Pair>) -> bool {
        let databases: Vec<OwnedDatabase> = spec
            .desired
            .types
            .iter()
            .flat_map(|desired_type| {
                let pairs = names(spec, pairs, desired_type.store);
                desired_type.databases.iter().map(move |database| OwnedDatabase {
                    ty: desired_type.ty,
                    database: database.clone(),
                    pairs: pairs.clone(),
                })
            })
            .collect();
        let mut all = self.all.lock();
        if all.get(resource) == Some(&databases) {
            return false;
        }
        all.insert(resource.to_owned(), databases);
        true
    }

    /// The resource exists, and its spec cannot be used: it names no database beyond those registered before.
    pub fn register_without_databases(&self, resource: &str) {
        self.all.lock().entry(resource.to_owned()).or_default();
    }

    pub fn release(&self, resource: &str) {
        self.all.lock().remove(resource);
    }

    pub fn is_registered(&self, resource: &str) -> bool {
        self.all.lock().contains_key(resource)
    }

    /// The other resources that name a database of this one, by its types. `exists`: whether a resource still exists.
    pub fn conflicts(&self, resource: &str, exists: impl Fn(&str) -> bool) -> BTreeMap<DatabaseType, Vec<String>> {
        let all = self.all.lock();
        let Some(own) = all.get(resource) else { return BTreeMap::new() };
        let mut conflicts: BTreeMap<DatabaseType, BTreeSet<String>> = BTreeMap::new();
        for (other, theirs) in all.iter().filter(|(other, _)| *other != resource && exists(other)) {
            for ours in own {
                let same = |their: &OwnedDatabase| {
                    their.database == ours.database && their.pairs.iter().any(|pair| ours.pairs.contains(pair))
                };
                if theirs.iter().any(same) {
                    conflicts.entry(ours.ty).or_default().insert(other.clone());
                }
            }
        }
        conflicts.into_iter().map(|(ty, others)| (ty, others.into_iter().collect())).collect()
    }
}

/// A topology has this type once, and paired pools have it twice: an event, not a conflict (design rule 7).
const ONCE: DatabaseType = DatabaseType::CentralMgmt;

impl OwnershipRegistry {
    /// The resources with a Central Management store on other servers than this one. Empty unless this one has one.
    pub fn other_central_stores(&self, resource: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
        let all = self.all.lock();
        let Some(own) = all.get(resource).and_then(|databases| databases.iter().find(|ours| ours.ty == ONCE)) else {
            return Vec::new();
        };
        let elsewhere =
            |their: &OwnedDatabase| their.ty == ONCE && !their.pairs.iter().any(|pair| own.pairs.contains(pair));
        let others: BTreeSet<String> = all
            .iter()
            .filter(|(other, theirs)| *other != resource && exists(other) && theirs.iter().any(elsewhere))
            .map(|(other, _)| other.clone())
            .collect();
        others.into_iter().collect()
    }
}

/// Every name under which two specs may mean the same pair of a store.
fn names(spec: &ParsedSpec, pairs: &Stores<Pair>, store: StoreId) -> Vec<PairName> {
    let sql = &spec.stores[store].sql;
    let by_spec = [sql.primary.comparable_address(), sql.mirror.comparable_address()].into_iter().collect();
    let pair = &pairs[store];
    let name =
        |view: &ServerObservation| view.available().map(|server| format!("server {}", server.name.to_lowercase()));
    let by_server = name(&pair.primary).zip(name(&pair.mirror)).map(|(a, b)| [a, b].into_iter().collect());
    std::iter::once(by_spec).chain(by_server).collect()
}
