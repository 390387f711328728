//! A breakpoint in front of a simulated server: holds the first requests of a kind until it is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mirror_sim::probe::{Moment, Probe, Request, Then};
use tokio::sync::watch;

use super::until;

pub struct Breakpoint {
    server: &'static str,
    holds: fn(Request) -> bool,
    most: usize,
    /// False: everything passes, as the first connections of an operator must.
    armed: watch::Sender<bool>,
    held: AtomicUsize,
    open: watch::Sender<bool>,
}

impl Breakpoint {
    /// Holds the first `most` requests on `server` for which `holds` is true, once it is armed.
    pub fn new(server: &'static str, most: usize, holds: fn(Request) -> bool) -> Arc<Breakpoint> {
        let (armed, open) = (watch::Sender::new(false), watch::Sender::new(false));
        Arc::new(Breakpoint { server, holds, most, armed, held: AtomicUsize::new(0), open })
    }

    pub fn arm(&self) {
        self.armed.send_replace(true);
    }

    #[track_caller]
    pub fn until_full(&self) {
        until("the breakpoint is full", || match self.held.load(Ordering::SeqCst) {
            held if held == self.most => Ok(()),
            held => Err(format!("{held} of {} held", self.most)),
        });
    }

    /// Releases the held requests and lets later ones pass.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Probe for Breakpoint {
    fn at(&self, server: &str, _: u64, request: Request, moment: Moment) -> Then {
        let mine = *self.armed.borrow() && server == self.server && moment == Moment::Received && (self.holds)(request);
        let take = |held: usize| (held < self.most).then_some(held + 1);
        if mine && self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            return Then::Until(self.open.subscribe());
        }
        Then::Go
    }
}

pub fn is_login(request: Request) -> bool {
    matches!(request, Request::Login)
}

pub fn is_failover(request: Request) -> bool {
    matches!(request, Request::Statement(text) if text.contains("PARTNER FAILOVER"))
}
