//! The open connections of a port, and which of them is closed for the next one.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use tokio::task::AbortHandle;

/// The bits of an IPv6 address that name a network. A client can choose the others.
const NETWORK: u128 = !0 << 64;

/// At the limit, the client with the most connections loses its oldest one. So a client loses a connection to another one
/// only if it has as many, and a probe with one connection is answered beside a client that holds all others.
pub struct OpenConnections {
    limit: usize,
    /// In the order of their start.
    open: VecDeque<(IpAddr, AbortHandle)>,
}

impl OpenConnections {
    pub fn new(limit: usize) -> Self {
        Self { limit, open: VecDeque::new() }
    }

    /// Closes a connection if there are as many as the limit permits.
    pub fn close_excess(&mut self) {
        self.open.retain(|(_, connection)| !connection.is_finished());
        if self.open.len() < self.limit {
            return;
        }
        let mut count: HashMap<IpAddr, usize> = HashMap::new();
        for (client, _) in &self.open {
            *count.entry(*client).or_default() += 1;
        }
        let most = count.values().copied().max().unwrap_or_default();
        let oldest = self.open.iter().position(|(client, _)| count.get(client) == Some(&most));
        if let Some((_, connection)) = oldest.and_then(|at| self.open.remove(at)) {
            connection.abort();
        }
    }

    pub fn add(&mut self, client: IpAddr, connection: AbortHandle) {
        self.open.push_back((network_of(client), connection));
    }
}

/// The address by which the connections and the questions of a client are counted.
pub(super) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    /// Connections that never end by themselves.
    struct Port {
        open: OpenConnections,
        tasks: Vec<(&'static str, JoinHandle<()>)>,
    }

    impl Port {
        fn new(limit: usize) -> Self {
            Self { open: OpenConnections::new(limit), tasks: Vec::new() }
        }

        fn connect(&mut self, client: &'static str) {
            self.open.close_excess();
            let task = tokio::spawn(pending());
            self.open.add(client.parse().unwrap(), task.abort_handle());
            self.tasks.push((client, task));
        }

        /// The connections that were not closed, by client.
        async fn left(&self) -> Vec<&'static str> {
            yield_now().await;
            self.tasks.iter().filter(|(_, task)| !task.is_finished()).map(|(client, _)| *client).collect()
        }
    }

    #[tokio::test]
    async fn client_with_the_most_connections_loses_its_oldest() {
        let mut port = Port::new(4);
        for client in ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2", "10.0.0.3"] {
            port.connect(client);
        }
        assert_eq!(port.left().await, ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"]);
        assert!(port.tasks[1].1.is_finished(), "the oldest of this client");
        // Each has one: the oldest of all.
        port.connect("10.0.0.4");
        port.connect("10.0.0.5");
        assert_eq!(port.left().await, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
    }

    #[tokio::test]
    async fn client_with_many_addresses_of_its_network_is_one_client() {
        let mut port = Port::new(3);
        for client in ["10.0.0.1", "2001:db8::1", "2001:db8::2", "2001:db8::3", "::ffff:10.0.0.1"] {
            port.connect(client);
        }
        assert_eq!(port.left().await, ["10.0.0.1", "2001:db8::3", "::ffff:10.0.0.1"]);
        port.connect("2001:db8:0:1::1");
        assert_eq!(port.left().await, ["2001:db8::3", "::ffff:10.0.0.1", "2001:db8:0:1::1"], "the IPv4 client has two");
    }

    #[tokio::test]
    async fn connection_that_ended_has_no_place() {
        let mut port = Port::new(2);
        port.connect("10.0.0.1");
        port.tasks[0].1.abort();
        yield_now().await;
        port.connect("10.0.0.2");
        port.connect("10.0.0.2");
        assert_eq!(port.left().await, ["10.0.0.2", "10.0.0.2"]);
    }
}
