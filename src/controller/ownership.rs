//! The databases that each resource names. Two resources that name the same database of the same pair both stop (design
//! rule 7).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::api::ParsedSpec;
use crate::model::{DatabaseName, DatabaseType, Pair, ServerObservation, StoreId, Stores};

/// The two servers of a pair without their seats: the server names from SQL Server, or the addresses of the spec.
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
    databases: Mutex<HashMap<String, Vec<OwnedDatabase>>>,
}

impl OwnershipRegistry {
    /// Registers the databases of a resource. True when they changed, so that conflicting resources need a pass.
    pub fn register(&self, resource: &str, spec: &ParsedSpec, pairs: &Stores<Pair>) -> bool {
        let mut databases: Vec<OwnedDatabase> = spec
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
        let mut registered = self.databases.lock();
        // A type that the spec names and that cannot be used keeps the databases that it registered before.
        let kept = registered.get(resource).into_iter().flatten();
        databases.extend(kept.filter(|ours| spec.desired.unusable.contains_key(&ours.ty)).cloned());
        if registered.get(resource) == Some(&databases) {
            return false;
        }
        registered.insert(resource.to_owned(), databases);
        true
    }

    /// Registers a resource whose spec cannot be used. Databases that it registered before stay registered.
    pub fn register_without_databases(&self, resource: &str) {
        self.databases.lock().entry(resource.to_owned()).or_default();
    }

    pub fn release(&self, resource: &str) {
        self.databases.lock().remove(resource);
    }

    pub fn release_all(&self) {
        self.databases.lock().clear();
    }

    pub fn is_registered(&self, resource: &str) -> bool {
        self.databases.lock().contains_key(resource)
    }

    /// The other resources that name a database of this resource, by database type. `exists`: whether a resource still exists.
    pub fn conflicts(&self, resource: &str, exists: impl Fn(&str) -> bool) -> BTreeMap<DatabaseType, Vec<String>> {
        let registered = self.databases.lock();
        let Some(own) = registered.get(resource) else { return BTreeMap::new() };
        let mut conflicts: BTreeMap<DatabaseType, BTreeSet<String>> = BTreeMap::new();
        for (other, theirs) in registered.iter().filter(|(other, _)| *other != resource && exists(other)) {
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

/// A topology has this type once, and paired pools have it twice, so a second one is an event and not a conflict (design
/// rule 7).
const SINGLE_TYPE: DatabaseType = DatabaseType::CentralMgmt;

impl OwnershipRegistry {
    /// The other resources with a Central Management store on other servers. Empty if this resource has none itself.
    pub fn other_central_stores(&self, resource: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
        let registered = self.databases.lock();
        let Some(own) =
            registered.get(resource).and_then(|databases| databases.iter().find(|ours| ours.ty == SINGLE_TYPE))
        else {
            return Vec::new();
        };
        let elsewhere =
            |their: &OwnedDatabase| their.ty == SINGLE_TYPE && !their.pairs.iter().any(|pair| own.pairs.contains(pair));
        let others: BTreeSet<String> = registered
            .iter()
            .filter(|(other, theirs)| *other != resource && exists(other) && theirs.iter().any(elsewhere))
            .map(|(other, _)| other.clone())
            .collect();
        others.into_iter().collect()
    }
}

/// Every name of the pair of a store. Two specs mean the same pair if they have a name in common.
fn names(spec: &ParsedSpec, pairs: &Stores<Pair>, store: StoreId) -> Vec<PairName> {
    let sql = &spec.stores[store].sql;
    let by_spec = [sql.primary.comparable_address(), sql.mirror.comparable_address()].into_iter().collect();
    let pair = &pairs[store];
    let name = |observed: &ServerObservation| {
        observed.available().map(|server| format!("server {}", server.name.to_lowercase()))
    };
    let by_server = name(&pair.primary).zip(name(&pair.mirror)).map(|(a, b)| [a, b].into_iter().collect());
    std::iter::once(by_spec).chain(by_server).collect()
}
