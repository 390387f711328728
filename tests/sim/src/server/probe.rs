//! Observation of every request, for tests that stop a client at a defined point. A probe can delay or hold a request
//! but never changes a response.

use super::shared::SharedState;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    Login,
    Statement(&'a str),
}

/// The progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// Received and not executed.
    Received,
    /// Executed; the response has not been sent.
    Executed,
    /// The response has been passed to the network.
    Answered,
}

/// The decision of a probe.
#[derive(Debug, Clone)]
pub enum Then {
    Go,
    /// Hold the request until the client disconnects.
    Stay,
    /// Hold the request until the value is true.
    Until(watch::Receiver<bool>),
}

/// Receives every moment of every request.
pub trait Probe: Send + Sync {
    /// `server` is the server id; `number` is the same for all moments of a request.
    fn at(&self, server: &str, number: u64, request: Request, moment: Moment) -> Then;
}

impl SharedState {
    pub fn next_request_number(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub async fn call_probe(&self, server: &str, number: u64, request: Request<'_>, moment: Moment) {
        let then = self.probe.get().map_or(Then::Go, |probe| probe.at(server, number, request, moment));
        match then {
            Then::Go => {}
            Then::Stay => std::future::pending().await,
            Then::Until(mut open) => {
                let _ = open.wait_for(|open| *open).await;
            }
        }
    }
}
