//! Spec -> targets -> observation. It cannot fail on account of a SQL Server; what is not seen is dark.

use std::sync::Arc;

use futures::future::join_all;

use crate::api::{Asked, SqlServer, SqlStore};
use crate::controller::context::{Context, Ref, key};
use crate::controller::flights::Ticket;
use crate::controller::{Error, context};
use crate::model::{Darkness, Memory, Observation, Pair, Side, View};
use crate::sql::{Endpoint, Login, Target, Tls, Watch};

/// How old a look may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The newest look of the interval.
    Latest,
    /// Both partners are looked at in this pass.
    Now,
}

/// A store whose servers can be reached, or why none of them can.
pub struct Eyes {
    stores: Vec<Result<Watched, Blind>>,
}

struct Watched {
    primary: (Target, Arc<Watch>),
    mirror: (Target, Arc<Watch>),
    witness: Option<Arc<Watch>>,
}

/// No credentials, no look.
struct Blind {
    addresses: [String; 2],
    witness: Option<String>,
    darkness: Darkness,
}

impl Eyes {
    /// Where a statement for this seat of a store goes.
    pub fn target(&self, store: usize, side: Side) -> Option<&Target> {
        let watched = self.stores.get(store)?.as_ref().ok()?;
        Some(match side {
            Side::Primary => &watched.primary.0,
            Side::Mirror => &watched.mirror.0,
        })
    }
}

impl Context {
    /// Resolves credentials and registers interest in the instances of a resource.
    pub async fn open_eyes(&self, resource: &Ref, asked: &Asked) -> Result<Eyes, Error> {
        let namespace = resource.namespace.as_deref().unwrap_or_default();
        let mut stores = Vec::new();
        for store in &asked.stores {
            let login = self.credentials.login(namespace, &store.sql.auth).await?;
            let tls = self.credentials.tls(namespace, &store.sql.tls).await?;
            stores.push(match (login, tls) {
                (Ok(login), Ok(tls)) => Ok(self.watch_store(&store.sql, &login, &tls)),
                (Err(darkness), _) | (_, Err(darkness)) => Err(blind(&store.sql, darkness)),
            });
        }
        let watches = stores.iter().flatten().flat_map(|watched| {
            [Some(&watched.primary.1), Some(&watched.mirror.1), watched.witness.as_ref()].into_iter().flatten().cloned()
        });
        self.watch(resource, watches.collect());
        Ok(Eyes { stores })
    }

    fn watch_store(&self, sql: &SqlStore, login: &Login, tls: &Tls) -> Watched {
        let watch = |server| {
            let target = target(server, login, tls);
            let watch = Arc::new(self.hub.watch(&target));
            (target, watch)
        };
        Watched {
            primary: watch(&sql.primary),
            mirror: watch(&sql.mirror),
            witness: sql.witness.as_ref().map(|witness| watch(witness).1),
        }
    }

    /// What is seen now, with the rivals of the resource and the statements under way.
    pub async fn observe(
        &self,
        resource: &Ref,
        asked: &Asked,
        eyes: &Eyes,
        memory: &Memory,
        uid: &str,
        freshness: Freshness,
    ) -> Observation {
        let pairs = join_all(eyes.stores.iter().map(|store| look(store, freshness))).await;
        let who = context::key(resource);
        if self.claims.register(&who, asked, &pairs) {
            self.wake_rivals(&who, resource);
        }
        let existing = self.existing();
        let conflicts = self.claims.rivals(&who, |other| existing.contains(other));
        let flights =
            memory.operation.as_ref().map(|operation| self.flights.of(&Ticket::of(uid, operation))).unwrap_or_default();
        Observation { pairs, conflicts, flights }
    }

    /// The resources that have not yet said what they claim: before that nobody may move.
    pub fn unknown_claims(&self) -> Option<String> {
        if !self.synced() {
            return Some("all: the first list has not arrived".to_owned());
        }
        let mut unknown: Vec<String> = self.existing().into_iter().filter(|who| !self.claims.registered(who)).collect();
        unknown.sort();
        (!unknown.is_empty()).then(|| unknown.join(", "))
    }

    fn wake_rivals(&self, who: &str, resource: &Ref) {
        let existing = self.existing();
        for rival in self.claims.rivals(who, |other| existing.contains(other)).into_values().flatten() {
            if let Some((namespace, name)) = rival.split_once('/') {
                let rival = Ref::new(name).within(namespace);
                debug_assert_ne!(key(&rival), key(resource));
                self.wake(&rival);
            }
        }
    }
}

async fn look(store: &Result<Watched, Blind>, freshness: Freshness) -> Pair {
    match store {
        Err(blind) => {
            let dark = |address: &String| View::Dark { address: address.clone(), darkness: blind.darkness.clone() };
            Pair {
                primary: dark(&blind.addresses[0]),
                mirror: dark(&blind.addresses[1]),
                witness: blind.witness.as_ref().map(dark),
            }
        }
        Ok(watched) => {
            let see = async |watch: &Watch| match freshness {
                Freshness::Latest => watch.latest(),
                Freshness::Now => watch.fresh().await,
            };
            let (primary, mirror) = futures::join!(see(&watched.primary.1), see(&watched.mirror.1));
            // The witness is an opinion, never a condition: it is not waited for.
            Pair { primary, mirror, witness: watched.witness.as_ref().map(|watch| watch.latest()) }
        }
    }
}

fn target(server: &SqlServer, login: &Login, tls: &Tls) -> Target {
    let endpoint = match (server.port, &server.instance) {
        (Some(port), _) => Endpoint::Port(port),
        (None, Some(instance)) => Endpoint::Instance(instance.clone()),
        (None, None) => Endpoint::Port(1433),
    };
    Target { host: server.host.clone(), endpoint, login: login.clone(), tls: tls.clone() }
}

fn blind(sql: &SqlStore, darkness: Darkness) -> Blind {
    let address = |server: &SqlServer| match (server.port, &server.instance) {
        (Some(port), _) => format!("{},{port}", server.host),
        (None, Some(instance)) => format!("{}\\{instance}", server.host),
        (None, None) => format!("{},1433", server.host),
    };
    Blind {
        addresses: [address(&sql.primary), address(&sql.mirror)],
        witness: sql.witness.as_ref().map(address),
        darkness,
    }
}
