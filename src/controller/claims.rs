//! Which resource claims which database of which pair. Two that claim the same one both stop (design rule 7).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::{Asked, SqlServer};
use crate::model::{DatabaseName, DatabaseType, Pair, View};

/// A pair of servers without regard to seats: by what they say of themselves, else by how the spec spells them.
type PairName = BTreeSet<String>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    ty: DatabaseType,
    database: DatabaseName,
    pairs: Vec<PairName>,
}

/// All claims of this process, by `namespace/name`.
#[derive(Default)]
pub struct Claims {
    all: Mutex<HashMap<String, Vec<Claim>>>,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Claim>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers what `who` claims. True when its claims changed, so that its rivals have to look again.
    pub fn register(&self, who: &str, asked: &Asked, pairs: &[Pair]) -> bool {
        let claims: Vec<Claim> = asked
            .desired
            .wishes
            .iter()
            .flat_map(|wish| {
                let pairs = names(asked, pairs, wish.store);
                wish.databases.iter().map(move |database| Claim {
                    ty: wish.ty,
                    database: database.clone(),
                    pairs: pairs.clone(),
                })
            })
            .collect();
        let mut all = self.lock();
        if all.get(who) == Some(&claims) {
            return false;
        }
        all.insert(who.to_owned(), claims);
        true
    }

    /// `who` exists and can claim nothing more than it did: its spec cannot be used.
    pub fn acknowledge(&self, who: &str) {
        self.lock().entry(who.to_owned()).or_default();
    }

    pub fn withdraw(&self, who: &str) {
        self.lock().remove(who);
    }

    pub fn registered(&self, who: &str) -> bool {
        self.lock().contains_key(who)
    }

    /// The rivals of `who`, by its types. `alive` tells whether a resource still exists.
    pub fn rivals(&self, who: &str, alive: impl Fn(&str) -> bool) -> BTreeMap<DatabaseType, Vec<String>> {
        let all = self.lock();
        let Some(own) = all.get(who) else { return BTreeMap::new() };
        let mut rivals: BTreeMap<DatabaseType, BTreeSet<String>> = BTreeMap::new();
        for (other, claims) in all.iter().filter(|(other, _)| *other != who && alive(other)) {
            for claim in own {
                let same = |rival: &&Claim| {
                    rival.database == claim.database && rival.pairs.iter().any(|pair| claim.pairs.contains(pair))
                };
                if claims.iter().find(same).is_some() {
                    rivals.entry(claim.ty).or_default().insert(other.clone());
                }
            }
        }
        rivals.into_iter().map(|(ty, others)| (ty, others.into_iter().collect())).collect()
    }
}

/// A type that one topology has once, and paired pools twice: a hint, not a conflict (design rule 7).
const ONCE: DatabaseType = DatabaseType::CentralMgmt;

impl Claims {
    /// The resources that manage a Central Management store on other servers than `who`. Empty unless `who` manages one.
    pub fn other_stores(&self, who: &str, alive: impl Fn(&str) -> bool) -> Vec<String> {
        let all = self.lock();
        let Some(own) = all.get(who).and_then(|claims| claims.iter().find(|claim| claim.ty == ONCE)) else {
            return Vec::new();
        };
        let elsewhere = |claim: &Claim| claim.ty == ONCE && !claim.pairs.iter().any(|pair| own.pairs.contains(pair));
        let others: BTreeSet<String> = all
            .iter()
            .filter(|(other, claims)| *other != who && alive(other) && claims.iter().any(elsewhere))
            .map(|(other, _)| other.clone())
            .collect();
        others.into_iter().collect()
    }
}

/// Every name under which the pair of a store may be compared.
fn names(asked: &Asked, pairs: &[Pair], store: usize) -> Vec<PairName> {
    let spelled = asked
        .stores
        .get(store)
        .map(|store| [&store.sql.primary, &store.sql.mirror].map(spelling).into_iter().collect());
    let told = pairs.get(store).and_then(|pair| {
        let name = |view: &View| view.lit().map(|server| format!("server {}", server.name.to_lowercase()));
        Some([name(&pair.primary)?, name(&pair.mirror)?].into_iter().collect())
    });
    spelled.into_iter().chain(told).collect()
}

fn spelling(server: &SqlServer) -> String {
    let endpoint = match (server.port, &server.instance) {
        (Some(port), _) => port.to_string(),
        (None, Some(instance)) => instance.to_lowercase(),
        (None, None) => "1433".to_owned(),
    };
    format!("{}:{endpoint}", server.host.to_lowercase())
}
