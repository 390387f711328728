//! One poll of the servers of a spec outside of the reconcile loop, for `doctor`: by the operator's own readers and client.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::runtime::reflector::ObjectRef;

use crate::api::{LyncPoolMirror, ParsedSpec, SqlServer, Store};
use crate::controller::backend::Backend;
use crate::controller::connections::target;
use crate::controller::credentials::Credentials;
use crate::controller::object::{ResourceRef, namespace};
use crate::model::{Pair, ServerObservation, Stores, Unavailable};
use crate::sql::{Authentication, Deadlines, InstanceMonitors, Limits, Tls};

/// What a single poll found.
pub struct Probe {
    pub pairs: Stores<Pair>,
    pub credentials: Vec<StoreCredentials>,
}

/// Whether the login and the TLS policy of a store could be read. `label` is that of the store.
pub struct StoreCredentials {
    pub label: String,
    pub login: Result<(), Unavailable>,
    pub tls: Result<(), Unavailable>,
}

/// Longer than a probe lasts: the monitor polls once.
const NEVER: Duration = Duration::from_secs(3600);

/// Reads the credentials and polls all servers of the spec at the same time.
pub async fn probe(backend: impl Into<Backend>, resource: &LyncPoolMirror, spec: &ParsedSpec, limits: Limits) -> Probe {
    let credentials = Credentials::new(backend);
    let metadata = &resource.metadata;
    let reference: ResourceRef = ObjectRef::new(metadata.name.as_deref().unwrap_or_default())
        .within(metadata.namespace.as_deref().unwrap_or_default());
    let monitors = InstanceMonitors::with_login_verification(NEVER, NEVER, Deadlines::default(), limits);
    let each = spec.stores.iter().map(|store| probe_store(&credentials, &reference, &monitors, store));
    let mut found = join_all(each).await.into_iter();
    let mut read = Vec::new();
    let unread = |store: &Store| {
        let unavailable = Unavailable { cause: crate::model::UnavailableCause::NotYetPolled, detail: String::new() };
        pair_of(store, &unavailable)
    };
    let pairs = spec.stores.map(|store| match found.next() {
        Some((credentials, pair)) => {
            read.push(credentials);
            pair
        }
        None => unread(store),
    });
    Probe { pairs, credentials: read }
}

async fn probe_store(
    credentials: &Credentials,
    reference: &ResourceRef,
    monitors: &InstanceMonitors,
    store: &Store,
) -> (StoreCredentials, Pair) {
    let mut reader = credentials.reader(reference);
    let (login, tls) = (reader.login(&store.sql.auth).await, reader.tls(&store.sql.tls).await);
    let result = StoreCredentials {
        label: store.label.clone(),
        login: login.as_ref().map(|_| ()).map_err(Clone::clone),
        tls: tls.as_ref().map(|_| ()).map_err(Clone::clone),
    };
    let pair = match (login, tls) {
        (Ok(login), Ok(tls)) => poll_store(monitors, store, (&login, &tls), namespace(reference).into()).await,
        (Err(unavailable), _) | (_, Err(unavailable)) => pair_of(store, &unavailable),
    };
    (result, pair)
}

async fn poll_store(
    monitors: &InstanceMonitors,
    store: &Store,
    (login, tls): (&Authentication, &Tls),
    namespace: Arc<str>,
) -> Pair {
    let poll = |server: &SqlServer| {
        let monitor = monitors.watch(&target(server, login, tls, namespace.clone()));
        async move { monitor.refresh().await }
    };
    let witness = async {
        match &store.sql.witness {
            Some(witness) => Some(poll(witness).await),
            None => None,
        }
    };
    let (primary, mirror, witness) = tokio::join!(poll(&store.sql.primary), poll(&store.sql.mirror), witness);
    Pair { primary, mirror, witness }
}

/// Every server of the store unavailable for this cause.
fn pair_of(store: &Store, unavailable: &Unavailable) -> Pair {
    let of = |server: &SqlServer| ServerObservation::Unavailable {
        address: server.address(),
        unavailable: unavailable.clone(),
    };
    Pair { primary: of(&store.sql.primary), mirror: of(&store.sql.mirror), witness: store.sql.witness.as_ref().map(of) }
}
