//! The hands and eyes: the only TDS client. It looks and it moves roles when told to; it chooses nothing, and knows no
//! Kubernetes.

mod browser;
mod cell;
mod compare;
mod endpoint;
mod error;
mod fail_over;
#[cfg(test)]
mod golden_tests;
mod hub;
mod inventory_diff;
mod kerberos;
mod look;
mod meter;
mod prelogin;
mod quote;
mod rate;
mod same;
mod session;
mod sspi;
mod target;
pub mod ticket;
mod tls;
mod wrap;

pub use compare::{COMPARE, inventory};
pub use fail_over::{batch, connect_for_moves, fail_over, statement};
pub use hub::{Counters, Hub, Watch};
pub use inventory_diff::differences;
pub use kerberos::Account;
pub use look::LOOK;
pub use quote::Unquotable;
pub use session::Session;
pub use target::{Deadlines, Endpoint, Login, Pin, Target, Tls};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    pub fn target(port: u16) -> Target {
        Target {
            host: "127.0.0.1".into(),
            endpoint: Endpoint::Port(port),
            login: Login::SqlLogin { username: "lync".into(), password: "hunter2".into() },
            tls: Tls::TrustServerCertificate,
        }
    }

    /// A port that refuses: bound while the socket lives, so that nobody else gets it, and never listened on.
    pub fn closed_port() -> (tokio::net::TcpSocket, u16) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    /// For servers that never answer.
    pub fn short() -> Deadlines {
        let brief = Duration::from_millis(400);
        let patient = Duration::from_secs(10);
        Deadlines {
            resolve: patient,
            browser: brief,
            connect: patient,
            prelogin: brief,
            tls: brief,
            ticket: brief,
            login: brief,
            batch: brief,
        }
    }
}
