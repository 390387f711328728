//! A gate in front of a simulated server: holds the first requests of a kind that come, until it is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mirror_sim::probe::{Moment, Probe, Request, Then};
use tokio::sync::watch;

use super::until;

pub struct Gate {
    server: &'static str,
    holds: fn(Request) -> bool,
    most: usize,
    /// Not before this: an operator's own connections are to pass.
    armed: watch::Sender<bool>,
    held: AtomicUsize,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Holds the first `most` requests on `server` that `holds` says, once it is armed.
    pub fn new(server: &'static str, most: usize, holds: fn(Request) -> bool) -> Arc<Gate> {
        let (armed, open) = (watch::Sender::new(false), watch::Sender::new(false));
        Arc::new(Gate { server, holds, most, armed, held: AtomicUsize::new(0), open })
    }

    pub fn arm(&self) {
        self.armed.send_replace(true);
    }

    #[track_caller]
    pub fn until_full(&self) {
        until("the gate is full", || match self.held.load(Ordering::SeqCst) {
            held if held == self.most => Ok(()),
            held => Err(format!("{held} of {} held", self.most)),
        });
    }

    /// What is held goes on, and what comes passes.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Probe for Gate {
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
