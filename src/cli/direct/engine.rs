//! The operator in this process for the time of one verb: it acts until the requests have ended.

use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::cli::direct::fresh::limits;
use crate::cli::direct::session::Direct;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::verbs::follow::Follow;
use crate::cli::verbs::progress::Progress;
use crate::controller::{self, Settings};
use crate::direct;
use crate::health::Health;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::sql::Deadlines;

/// A verb waits for the end, so that it polls often.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
const LOGIN_CHECK_INTERVAL: Duration = Duration::from_secs(300);
/// For the answers of statements that were sent.
const GRACE: Duration = Duration::from_secs(30);

/// How long a verb acts.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub timeout: Duration,
    /// How long a state must last that needs an administrator.
    pub settle: Duration,
}

/// Acts on the locked pool until the requests have ended, the time is over, or Ctrl-C. The journal is then in the file.
pub async fn act(direct: &Direct<'_>, pool: &Pool, follow: Follow, patience: Patience) -> Result<Exit, Error> {
    let stop = CancellationToken::new();
    let settings = Settings {
        namespaces: Vec::new(),
        poll_interval: POLL_INTERVAL,
        login_check_interval: LOGIN_CHECK_INTERVAL,
        deadlines: Deadlines::default(),
        limits: limits(),
        grace: GRACE,
    };
    let leadership = Leadership::without_election();
    let running = controller::run(direct.backend(), leadership, settings, Metrics::new(), Health::new(), stop.clone());
    let mut running = pin!(running);
    interrupt::attend();
    let again = format!(
        "the next command about this pool goes on from its journal: {} state {}",
        output::program(),
        pool.arguments()
    );
    let timer = Instant::now() + patience.timeout;
    let mut latest = pool.clone();
    let ended = tokio::select! {
        end = to_the_end(direct, &mut latest, follow, patience.settle) => end,
        () = sleep_until(timer) => {
            output::note(&format!("Not complete in time, and this process stops; {again}"));
            Ok(Exit::OnItsWay.max(latest.exit(Timestamp::now())))
        }
        () = interrupt::requested() => {
            output::note(&format!("Interrupted. Statements that were sent are not taken back; {again}"));
            Ok(Exit::OnItsWay)
        }
        () = &mut running => return Ok(Exit::NotKnown),
    };
    stop.cancel();
    // The statements in flight have their answers then, or their time is over.
    running.await;
    ended
}

/// `pool`: the latest version that was seen.
async fn to_the_end(direct: &Direct<'_>, pool: &mut Pool, follow: Follow, settle: Duration) -> Result<Exit, Error> {
    let mut changes = direct.directory.changes();
    let mut progress = Progress::new(follow, settle);
    let mut unwritten = Unwritten::default();
    loop {
        *pool = direct.pool(None)?;
        let ended = progress.seen(pool)?;
        // A move of another type that began meanwhile is not left behind.
        if let Some(exit) = ended.filter(|_| pool.status.operation.is_none()) {
            return Ok(exit);
        }
        unwritten.seen(direct.directory.unwritten(&pool.reference()), settle)?;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(Exit::NotKnown) },
            exit = progress.settled() => return Ok(exit),
            error = unwritten.settled() => return Err(Error::Direct(error)),
        }
    }
}

/// A journal that cannot be written: the administrator must see it, and it can be repaired while the verb waits.
#[derive(Debug, Default)]
struct Unwritten(Option<(Instant, direct::Error)>);

impl Unwritten {
    /// Prints a new error.
    ///
    /// # Errors
    /// A lost lock, which does not come back.
    fn seen(&mut self, error: Option<direct::Error>, settle: Duration) -> Result<(), Error> {
        let end = self.0.take().map(|(end, _)| end);
        match error {
            None => {}
            Some(error @ direct::Error::LockLost { .. }) => return Err(Error::Direct(error)),
            Some(error) => {
                if end.is_none() {
                    output::note(&format!("Error: {error} No statement is sent before this is written; trying again."));
                }
                self.0 = Some((end.unwrap_or_else(|| Instant::now() + settle), error));
            }
        }
        Ok(())
    }

    /// Ends once an error has lasted.
    async fn settled(&self) -> direct::Error {
        match &self.0 {
            Some((end, error)) => {
                sleep_until(*end).await;
                error.clone()
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SETTLE: Duration = Duration::from_secs(25);

    #[tokio::test(start_paused = true)]
    async fn journal_that_cannot_be_written_ends_the_verb_only_if_that_lasts() {
        let full = || Some(direct::Error::write(Path::new("pool01.status.json"), "No space left on device"));
        let mut unwritten = Unwritten::default();
        unwritten.seen(full(), SETTLE).unwrap();
        unwritten.seen(None, SETTLE).unwrap();
        assert!(tokio::time::timeout(SETTLE * 2, unwritten.settled()).await.is_err(), "it was written meanwhile");
        let begin = Instant::now();
        unwritten.seen(full(), SETTLE).unwrap();
        tokio::time::advance(SETTLE / 2).await;
        unwritten.seen(full(), SETTLE).unwrap();
        assert!(unwritten.settled().await.to_string().contains("No space left on device"));
        assert_eq!(begin.elapsed(), SETTLE, "from the first failure on");
        let lost = direct::Error::LockLost { path: "pool01.lock".into() };
        assert!(unwritten.seen(Some(lost), SETTLE).is_err());
    }
}
