//! The lines of a move for the administrator, and its end: shared by a wait for the operator and by a process that moves itself.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::verbs::follow::{Follow, Stand};

pub struct Progress {
    follow: Follow,
    /// How long a state must last that needs an administrator.
    settle: Duration,
    stalled: Option<(Instant, Exit)>,
}

impl Progress {
    pub fn new(follow: Follow, settle: Duration) -> Progress {
        Progress { follow, settle, stalled: None }
    }

    /// Prints the news of this version. Returns the exit at the end of the requests.
    pub fn seen(&mut self, pool: &Pool) -> Result<Option<Exit>, Error> {
        for line in self.follow.observe(pool) {
            output::print(&format!("{}  {line}\n", Timestamp::now().strftime("%H:%M:%SZ")))?;
        }
        self.stalled = match self.follow.stand() {
            Stand::Open => None,
            Stand::Ended(exit) => return Ok(Some(exit)),
            Stand::Stalled(exit) => {
                Some((self.stalled.map_or_else(|| Instant::now() + self.settle, |(at, _)| at), exit))
            }
        };
        Ok(None)
    }

    /// Ends once a state that needs an administrator has lasted.
    pub async fn settled(&self) -> Exit {
        match self.stalled {
            Some((at, exit)) => {
                sleep_until(at).await;
                exit
            }
            None => std::future::pending().await,
        }
    }
}
