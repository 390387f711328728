//! The TDS client: polls servers, compares their inventories and runs guarded failovers. The planner decides when; this
//! module has no dependency on Kubernetes.

mod account;
mod address;
mod browser;
mod change_detection;
mod cleaned;
#[cfg(test)]
mod client_tests;
mod column;
mod connector;
mod denied;
mod error;
mod fail_over;
#[cfg(test)]
mod fake_dns;
#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod golden_tests;
mod helper_sandbox;
mod hex;
mod inventory;
mod inventory_diff;
mod kerberos;
pub mod kerberos_helper;
mod limits;
mod login_error;
mod login_message;
mod logins_by_sid;
mod memory_budget;
mod monitor;
mod observation_memory;
mod poll;
mod poll_task;
mod prelogin;
mod prelogin_stream;
mod quote;
mod redo_rate;
mod resolver;
mod response_check;
mod response_defect;
mod response_limit;
mod response_memory;
mod response_tokens;
mod session;
mod shares;
mod sspi;
mod target;
mod tls;
mod tls_context;

pub use account::Account;
pub use cleaned::{cleaned_to, cut, is_unsafe};
pub use fail_over::{batch, connect_for_moves, fail_over, statement};
pub use inventory::INVENTORY;
pub use inventory_diff::{Found, differences};
pub use limits::{Limits, Sizes};
pub use monitor::{Counters, InstanceMonitors, MonitorHandle};
pub use poll::POLL;
pub use quote::Unquotable;
pub use session::Session;
pub use shares::{Purpose, Share, Shares, Size};
pub use target::{Authentication, Deadlines, InstanceAddress, Pin, Target, Tls};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    pub fn target(port: u16) -> Target {
        Target {
            host: "127.0.0.1".into(),
            endpoint: InstanceAddress::Port(port),
            login: Authentication::SqlLogin { username: "lync".into(), password: "hunter2".into() },
            tls: Tls::TrustServerCertificate,
            namespace: "lync".into(),
        }
    }

    pub fn opening() -> limits::Opening {
        let (deadlines, limits) = (Deadlines::default(), Limits::default());
        limits::Opening { deadlines, limits, purpose: shares::Purpose::Poll }
    }

    /// A port that refuses connections: bound for the lifetime of the socket, so that no other process gets it.
    pub fn closed_port() -> (tokio::net::TcpSocket, u16) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    /// Short deadlines for servers that never answer.
    pub fn short() -> Deadlines {
        let remote = Duration::from_millis(400);
        let local = Duration::from_secs(10);
        Deadlines {
            share: local,
            resolve: local,
            browser: remote,
            connect: local,
            prelogin: remote,
            tls: remote,
            ticket: remote,
            login: remote,
            batch: remote,
        }
    }
}
