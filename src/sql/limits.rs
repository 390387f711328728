//! What all connections of the operator share: descriptors, lookups, helper processes, and the networks that it refuses.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::time::timeout;

use crate::model::{Server, Unavailable};
use crate::sql::denied::DeniedNetworks;
use crate::sql::error;
use crate::sql::observation_memory::ObservationMemory;
use crate::sql::resolver::Resolver;
use crate::sql::response_memory::{Reserved, ResponseMemory};
use crate::sql::shares::{Purpose, Share, Shares, Size};
use crate::sql::{Account, Deadlines, Target};

/// The descriptors of a lookup: requests for two kinds of addresses and their repetitions, to `NAME_SERVERS`.
pub(super) const DESCRIPTORS_PER_LOOKUP: usize = 12;
/// The descriptors of a helper process: its standard input and output, and those of its start.
const DESCRIPTORS_PER_HELPER: usize = 6;
/// Concurrent helpers of one account, and how many of them are for polls: while the logins of four servers hang, its moves
/// still have two.
const HELPERS_PER_ACCOUNT: usize = 6;
const POLLS_PER_ACCOUNT: usize = 4;

/// What the connections are in a message.
const CONNECTIONS: &str = "connections to SQL Servers";

/// What is kept of polls, in a message.
const OBSERVATIONS: &str = "the databases of SQL Servers";

/// The limits of a process; cheap to clone.
#[derive(Clone)]
pub struct Limits {
    inner: Arc<Inner>,
}

struct Inner {
    connections: Shares,
    lookups: Shares,
    helpers: Shares,
    /// The helpers of each account.
    accounts: Shares,
    responses: ResponseMemory,
    observations: ObservationMemory,
    resolver: Resolver,
    denied: DeniedNetworks,
}

/// How many of each the process can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Connections to SQL Servers, also those that are not yet established.
    pub connections: usize,
    /// DNS lookups in progress.
    pub lookups: usize,
    /// Kerberos helper processes. Each takes about 1 MB of the Pod's memory.
    pub helpers: usize,
}

impl Sizes {
    /// The sizes for a process with so many descriptors. An eighth, and at most 256 of them, stay for the API server, the
    /// lease, the probes, the log and the libraries.
    pub fn for_descriptors(descriptors: u64) -> Sizes {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let lookups = (descriptors / 64).clamp(2, 64);
        let helpers = (descriptors / 32).clamp(2, 48);
        let other = (descriptors / 8).min(256) + lookups * DESCRIPTORS_PER_LOOKUP + helpers * DESCRIPTORS_PER_HELPER;
        // The upper limit bounds the memory for connections, not the descriptors.
        Sizes { connections: descriptors.saturating_sub(other).clamp(8, 2048), lookups, helpers }
    }
}

/// A quarter for moves. A namespace whose polls have all that they can have gets an eighth for its moves.
fn size(total: usize) -> Size {
    Size { total, reserve: total / 4, per_holder: total, polls_per_holder: total }
}

impl Limits {
    /// The link-local addresses, and the metadata services of cloud providers at other addresses: of AWS and Google by IPv6,
    /// of Alibaba, and of Azure.
    pub const DENIED: &str =
        "169.254.0.0/16,fe80::/10,fd00:ec2::254/128,fd20:ce::254/128,100.100.100.200/32,168.63.129.16/32";

    pub fn new(sizes: Sizes, denied: Vec<IpNet>) -> Limits {
        Self::with_resolver(sizes, denied, Resolver::system())
    }

    pub(super) fn with_resolver(sizes: Sizes, denied: Vec<IpNet>, resolver: Resolver) -> Limits {
        let accounts = Size {
            total: usize::MAX,
            reserve: 0,
            per_holder: HELPERS_PER_ACCOUNT,
            polls_per_holder: POLLS_PER_ACCOUNT,
        };
        let inner = Inner {
            connections: Shares::new(size(sizes.connections)),
            lookups: Shares::new(size(sizes.lookups)),
            helpers: Shares::new(size(sizes.helpers)),
            accounts: Shares::new(accounts),
            responses: ResponseMemory::default(),
            observations: ObservationMemory::default(),
            resolver,
            denied: DeniedNetworks::new(denied),
        };
        Limits { inner: Arc::new(inner) }
    }

    /// For a test that none is left.
    #[cfg(test)]
    pub fn open_connections(&self) -> usize {
        self.inner.connections.taken()
    }

    pub(super) fn resolver(&self) -> &Resolver {
        &self.inner.resolver
    }

    /// The memory of a response to the namespace.
    pub(super) fn response(&self, namespace: &Arc<str>) -> Reserved {
        self.inner.responses.reserve(namespace)
    }

    /// The server with the memory that it takes until its last copy is dropped.
    ///
    /// # Errors
    /// `OperatorLimited`, if the namespace has no memory for it.
    pub(super) fn keep(&self, target: &Target, server: Server) -> Result<Arc<Server>, Unavailable> {
        let kept = self.inner.observations.keep(&target.namespace, server);
        kept.map_err(|exhausted| error::no_memory(&target.address(), &target.namespace, OBSERVATIONS, exhausted))
    }

    /// Whether the operator refuses connections to this address.
    pub(super) fn denies(&self, address: IpAddr) -> bool {
        self.inner.denied.contains(address)
    }
}

impl Default for Limits {
    /// For a process with 1024 descriptors.
    fn default() -> Self {
        Limits::new(Sizes::for_descriptors(1024), Vec::new())
    }
}

/// How connections are opened.
#[derive(Clone)]
pub struct Opening {
    pub deadlines: Deadlines,
    pub limits: Limits,
    pub purpose: Purpose,
}

impl Opening {
    /// The share of a connection.
    ///
    /// # Errors
    /// `OperatorLimited` after `Deadlines::share`, as for all shares.
    pub async fn connection(&self, target: &Target) -> Result<Share, Unavailable> {
        self.acquire(&self.limits.inner.connections, target, CONNECTIONS).await
    }

    /// The shares of several connections, which the caller needs at the same time.
    pub async fn connections(&self, target: &Target, count: usize) -> Result<Vec<Share>, Unavailable> {
        let shares = self.limits.inner.connections.acquire_all(&target.namespace, self.purpose, count);
        timeout(self.deadlines.share, shares).await.map_err(|_| error::no_share(target, CONNECTIONS))
    }

    pub async fn lookup(&self, target: &Target) -> Result<Share, Unavailable> {
        self.acquire(&self.limits.inner.lookups, target, "DNS lookups").await
    }

    /// The share of the account and that of its namespace.
    pub async fn helper(&self, target: &Target, account: &Account) -> Result<(Share, Share), Unavailable> {
        // By name: each reading of a Secret, and each list of KDCs, would be another account otherwise.
        let name: Arc<str> = format!("{} {}", target.namespace, account.principal()).into();
        let both = async {
            let own = self.limits.inner.accounts.acquire(&name, self.purpose).await;
            (own, self.limits.inner.helpers.acquire(&target.namespace, self.purpose).await)
        };
        timeout(self.deadlines.share, both).await.map_err(|_| error::no_share(target, "Kerberos helper processes"))
    }

    async fn acquire(&self, shares: &Shares, target: &Target, what: &str) -> Result<Share, Unavailable> {
        let share = shares.acquire(&target.namespace, self.purpose);
        timeout(self.deadlines.share, share).await.map_err(|_| error::no_share(target, what))
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
