//! A look over the servers' shoulders at every request, for tests that end a client at a point that they name.
//! What the requests mean lives elsewhere; a probe changes no answer, it only lets one wait.

use super::stage::Stage;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    Login,
    Statement(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// It is here, and nothing has come of it.
    Received,
    /// It has been executed, and the client has not heard.
    Executed,
    /// The answer has been handed to the network.
    Answered,
}

#[derive(Debug, Clone)]
pub enum Then {
    Go,
    /// This request gets no further. Its connection ends when the client does.
    Stay,
    /// Not before this is true: as on a slow way.
    Until(watch::Receiver<bool>),
}

/// Asked at each moment of each request; `number` is the same for all moments of one request.
pub trait Probe: Send + Sync {
    fn at(&self, server: &str, number: u64, request: Request, moment: Moment) -> Then;
}

impl Stage {
    pub fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    pub async fn probed(&self, server: &str, number: u64, request: Request<'_>, moment: Moment) {
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
