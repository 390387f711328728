//! The servers of a resource: addresses and credentials from the spec, and the monitors that poll the servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::api::{SqlServer, SqlStore};
use crate::controller::context::Context;
use crate::controller::credentials::Reader;
use crate::controller::object::namespace;
use crate::controller::pass::Pass;
use crate::model::{LastRead, Pair, Seat, ServerObservation, StoreId, Stores, Unavailable, UnavailableCause};
use crate::sql::{Authentication, InstanceAddress, MonitorHandle, Target, Tls};

/// The servers of a resource, by store.
pub struct Connections {
    stores: Stores<Store>,
}

pub enum Store {
    Resolved(ResolvedStore),
    Unresolved(UnresolvedStore),
}

pub struct ResolvedStore {
    primary: (Target, Arc<MonitorHandle>),
    mirror: (Target, Arc<MonitorHandle>),
    witness: Option<Arc<MonitorHandle>>,
}

/// A store whose credentials could not be read, or whose polls are stopped: its servers are not polled.
pub struct UnresolvedStore {
    addresses: [String; 2],
    witness: Option<String>,
    unavailable: Unavailable,
}

impl Connections {
    /// The server in this seat of a store. None if the credentials of the store could not be read.
    pub fn target(&self, store: StoreId, seat: Seat) -> Option<&Target> {
        match &self.stores[store] {
            Store::Resolved(resolved) => Some(match seat {
                Seat::Primary => &resolved.primary.0,
                Seat::Mirror => &resolved.mirror.0,
            }),
            Store::Unresolved(_) => None,
        }
    }

    /// The newest poll of every server.
    pub fn latest(&self) -> Stores<Pair> {
        self.stores.map(Store::latest)
    }

    /// The first poll of a partner is in progress.
    pub fn are_unpolled(&self) -> bool {
        let pairs = self.latest();
        let mut partners = pairs.iter().flat_map(|pair| [&pair.primary, &pair.mirror]);
        partners.any(|partner| !partner.is_polled())
    }

    /// Polls both partners of every store. [`Connections::latest`] returns the results. The witness is advisory: no fresh poll of
    /// it is waited for.
    pub async fn refresh(&self) {
        let partners = self.stores.iter().filter_map(|store| match store {
            Store::Resolved(store) => Some([store.primary.1.clone(), store.mirror.1.clone()]),
            Store::Unresolved(_) => None,
        });
        let partners: Vec<Arc<MonitorHandle>> = partners.flatten().collect();
        poll_together(&partners, |partner| async move {
            partner.refresh().await;
        })
        .await;
    }

    /// The last contact of this process with each server, by address.
    pub fn last_reads(&self) -> BTreeMap<String, LastRead> {
        let watches = self.stores.iter().flat_map(Store::watches);
        watches.filter_map(|watch| Some((watch.latest().address().to_owned(), watch.last_read()?))).collect()
    }
}

/// Polls this far apart still count as of one time.
const APART: Duration = Duration::from_secs(1);

/// Polls every server. A server that does not respond ends only after its time limit, and the polls of the others are old by
/// then: they are repeated once.
async fn poll_together<T: Clone, F: Future<Output = ()>>(servers: &[T], poll: impl Fn(T) -> F) {
    let first = servers.iter().map(|server| {
        let polled = poll(server.clone());
        async move {
            polled.await;
            Instant::now()
        }
    });
    let ended = join_all(first).await;
    let now = Instant::now();
    let early = servers.iter().zip(ended).filter(|(_, ended)| now.duration_since(*ended) > APART);
    join_all(early.map(|(server, _)| poll(server.clone()))).await;
}

impl Store {
    fn latest(&self) -> Pair {
        match self {
            Store::Unresolved(store) => {
                let unavailable = |address: &String| ServerObservation::Unavailable {
                    address: address.clone(),
                    unavailable: store.unavailable.clone(),
                };
                Pair {
                    primary: unavailable(&store.addresses[0]),
                    mirror: unavailable(&store.addresses[1]),
                    witness: store.witness.as_ref().map(unavailable),
                }
            }
            Store::Resolved(store) => Pair {
                primary: store.primary.1.latest(),
                mirror: store.mirror.1.latest(),
                witness: store.witness.as_ref().map(|watch| watch.latest()),
            },
        }
    }

    /// A server refused the login at its newest poll or at an additional login.
    fn is_refused(&self) -> bool {
        self.watches().iter().any(|watch| watch.latest().is_refused_login())
    }

    fn watches(&self) -> Vec<Arc<MonitorHandle>> {
        match self {
            Store::Unresolved(_) => Vec::new(),
            Store::Resolved(store) => {
                let watches = [Some(&store.primary.1), Some(&store.mirror.1), store.witness.as_ref()];
                watches.into_iter().flatten().cloned().collect()
            }
        }
    }
}

/// Resolves the credentials of a resource and registers its interest in the instances.
pub async fn connect(ctx: &Context, pass: &Pass<'_>) -> Connections {
    let mut reader = ctx.credentials.reader(pass.resource());
    let mut stores = Stores::default();
    // Pushed in the order of the stores in the spec, so that a `StoreId` of the spec is valid here.
    let stopped = pass.spec.polls_are_stopped(pass.operation(), Timestamp::now());
    for store in pass.spec.stores.iter() {
        stores.push(if stopped {
            Store::Unresolved(unresolved(&store.sql, polls_stopped(pass)))
        } else {
            connect_store(ctx, pass, &mut reader, &store.sql).await
        });
    }
    reader.finish();
    ctx.watches.set(&pass.name(), stores.iter().flat_map(Store::watches).collect());
    Connections { stores }
}

async fn connect_store(ctx: &Context, pass: &Pass<'_>, reader: &mut Reader<'_>, sql: &SqlStore) -> Store {
    let login = reader.login(&sql.auth).await;
    let tls = reader.tls(&sql.tls).await;
    match (login, tls) {
        (Ok(login), Ok(tls)) => {
            let store = Store::Resolved(resolved(ctx, pass, sql, (&login, &tls)));
            if !store.is_refused() {
                return store;
            }
            match reader.login_after_refusal(&sql.auth).await {
                Ok(again) if again == login => store,
                Ok(changed) => Store::Resolved(resolved(ctx, pass, sql, (&changed, &tls))),
                Err(unavailable) => Store::Unresolved(unresolved(sql, unavailable)),
            }
        }
        // Both at once: a new resource often lacks both.
        (Err(Unavailable { cause, detail }), Err(tls)) => {
            let detail = format!("{detail} {}", tls.detail);
            Store::Unresolved(unresolved(sql, Unavailable { cause, detail }))
        }
        (Err(unavailable), Ok(_)) | (Ok(_), Err(unavailable)) => Store::Unresolved(unresolved(sql, unavailable)),
    }
}

fn polls_stopped(pass: &Pass<'_>) -> Unavailable {
    let reason =
        pass.spec.desired.suspend.as_ref().map(|suspend| format!(" ({})", suspend.reason.trim_end_matches('.')));
    let detail = format!(
        "spec.suspend.stopPolls stops the polls{}. To fix: once that has ended, remove stopPolls.",
        reason.unwrap_or_default()
    );
    Unavailable { cause: UnavailableCause::PollsStopped, detail }
}

fn resolved(ctx: &Context, pass: &Pass<'_>, sql: &SqlStore, (login, tls): (&Authentication, &Tls)) -> ResolvedStore {
    let namespace: Arc<str> = namespace(pass.resource()).into();
    let watch = |server: &SqlServer| {
        let target = target(server, login, tls, namespace.clone());
        let watch = Arc::new(ctx.monitors.watch(&target));
        if let Some(port) = pass.last_port(&target.address()) {
            watch.restore_port(port);
        }
        (target, watch)
    };
    ResolvedStore {
        primary: watch(&sql.primary),
        mirror: watch(&sql.mirror),
        witness: sql.witness.as_ref().map(|witness| watch(witness).1),
    }
}

/// How to connect to a server of the spec.
pub(super) fn target(server: &SqlServer, login: &Authentication, tls: &Tls, namespace: Arc<str>) -> Target {
    let endpoint = match (server.tcp_port(), &server.instance) {
        (Some(port), _) => InstanceAddress::Port(port),
        (None, Some(instance)) => InstanceAddress::named(instance),
        (None, None) => InstanceAddress::Port(SqlServer::DEFAULT_PORT),
    };
    Target { host: server.host.clone(), endpoint, login: login.clone(), tls: tls.clone(), namespace }
}

fn unresolved(sql: &SqlStore, unavailable: Unavailable) -> UnresolvedStore {
    UnresolvedStore {
        addresses: [sql.primary.address(), sql.mirror.address()],
        witness: sql.witness.as_ref().map(SqlServer::address),
        unavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn poll_that_waited_for_a_silent_server_is_repeated_once() {
        let polled = Mutex::new(Vec::new());
        let servers = [("quick", 0), ("silent", 10_000), ("slow", 9_500)];
        let polled = &polled;
        poll_together(&servers, |(name, millis)| async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            polled.lock().unwrap().push(name);
        })
        .await;
        assert_eq!(*polled.lock().unwrap(), ["quick", "slow", "silent", "quick"]);
    }
}
