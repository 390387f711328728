//! The SQL client in the process of the test: its targets and its deadlines.

use std::net::SocketAddr;
use std::time::Duration;

use lync_mirror::sql::{Authentication, Deadlines, InstanceAddress, Target, Tls};
use mirror_sim::sim::Sim;

/// A server at this address, by the login of `Config::sample`.
pub fn target(address: SocketAddr, tls: Tls) -> Target {
    Target {
        host: address.ip().to_string(),
        endpoint: InstanceAddress::Port(address.port()),
        login: Authentication::SqlLogin { username: "operator".into(), password: "secret".into() },
        tls,
        namespace: "lync".into(),
    }
}

/// Trusts only the certificates of this simulation.
pub fn verify(sim: &Sim) -> Tls {
    Tls::Verify { ca_pem: Some(sim.ca_pem().into()) }
}

/// Deadlines for servers that stop answering: short for the server, long for steps that a busy machine delays.
pub fn deadlines(silence: Duration) -> Deadlines {
    const PATIENCE: Duration = Duration::from_secs(30);
    Deadlines {
        share: PATIENCE,
        resolve: PATIENCE,
        browser: silence,
        connect: PATIENCE,
        prelogin: silence,
        tls: silence,
        ticket: silence,
        login: silence,
        batch: silence,
    }
}
