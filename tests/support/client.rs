//! The SQL client in the test's own process: whom it looks at, and how long it waits. What is seen is judged elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use lync_mirror::sql::{Deadlines, Endpoint, Login, Target, Tls};
use mirror_sim::sim::Sim;

/// A server at this address, by the login of `Config::sample`.
pub fn target(address: SocketAddr, tls: Tls) -> Target {
    Target {
        host: address.ip().to_string(),
        endpoint: Endpoint::Port(address.port()),
        login: Login::SqlLogin { username: "operator".into(), password: "secret".into() },
        tls,
    }
}

/// Only the certificates of this simulation are believed.
pub fn verify(sim: &Sim) -> Tls {
    Tls::Verify { ca_pem: Some(sim.ca_pem().into()) }
}

/// For servers that go silent: short where only the server is waited for, patient where a noisy machine may be slow.
pub fn deadlines(silence: Duration) -> Deadlines {
    const PATIENCE: Duration = Duration::from_secs(30);
    Deadlines {
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
