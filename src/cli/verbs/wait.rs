//! `--wait`: follows a move to its end. The move does not depend on it.

use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use tokio::time::{Instant, sleep_until};

use crate::api::Span;
use crate::cli::cluster::client::Cluster;
use crate::cli::direct::engine::{self, Patience};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::interrupt;
use crate::cli::output;
use crate::cli::pool::Pool;
use crate::cli::source::Source;
use crate::cli::verbs::follow::Follow;
use crate::cli::verbs::progress::Progress;

#[derive(Debug, Args)]
pub struct WaitArguments {
    /// Follow the move to its end. With --direct, the command always does.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: how long, e.g. 5m. The move goes on afterwards.
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    timeout: Span,
    /// How long a state must last that needs an administrator: a partner is away for a moment after a switch. The operator
    /// reads it with its next two polls.
    #[arg(long, value_name = "DURATION", default_value = "25s", hide = true)]
    settle: Span,
}

impl WaitArguments {
    /// Whether the end of the move is known after the verb.
    pub fn waits(&self, source: &Source<'_>) -> bool {
        self.wait || matches!(source, Source::Direct(_))
    }
}

/// Follows the requests if --wait is set, else prints how to follow them. Without a cluster, this process moves itself.
pub async fn after(source: &Source<'_>, pool: &Pool, follow: Follow, arguments: &WaitArguments) -> Result<Exit, Error> {
    let cluster = match source {
        Source::Cluster(cluster) => cluster,
        Source::Direct(direct) => {
            let patience = Patience { timeout: arguments.timeout.0, settle: arguments.settle.0 };
            return engine::act(direct, pool, follow, patience).await;
        }
    };
    let state = format!("{} state {}", output::program(), pool.arguments());
    if !arguments.wait {
        output::note(&format!("The operator takes it from here. To follow it: {state}"));
        return Ok(Exit::OnItsWay);
    }
    let timer = Instant::now() + arguments.timeout.0;
    let mut latest = pool.clone();
    tokio::select! {
        end = to_the_end(cluster, &mut latest, follow, arguments.settle.0) => end,
        () = sleep_until(timer) => {
            output::note(&format!("Not complete within {}. The operator goes on without this command. To follow it: {state}", arguments.timeout));
            Ok(Exit::OnItsWay.max(latest.exit(Timestamp::now())))
        }
        () = interrupt::requested() => {
            output::note(&format!("Interrupted. The operator goes on without this command. To follow it: {state}"));
            Ok(Exit::OnItsWay)
        }
    }
}

/// `pool`: the latest version that was seen.
async fn to_the_end(cluster: &Cluster, pool: &mut Pool, follow: Follow, settle: Duration) -> Result<Exit, Error> {
    let mut events = pin!(watch_object(cluster.pools(&pool.namespace), &pool.name).default_backoff());
    let mut is_cut = false;
    let mut progress = Progress::new(follow, settle);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            exit = progress.settled() => return Ok(exit),
        };
        match event {
            Some(Ok(Some(object))) => {
                is_cut = false;
                *pool = Pool::new(&object)?;
                if let Some(exit) = progress.seen(pool)? {
                    return Ok(exit);
                }
            }
            Some(Ok(None)) => {
                return Err(Error::Impossible(format!(
                    "{} was deleted while the command waited. To fix: check who deleted it; SQL Server is not touched by that.",
                    pool.reference()
                )));
            }
            Some(Err(error)) => {
                // One note for each cut; the watch continues by itself.
                if !std::mem::replace(&mut is_cut, true) {
                    output::note(&format!(
                        "The API server does not answer: {error}. The move does not depend on it; trying again."
                    ));
                }
            }
            None => return Ok(Exit::NotKnown),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::run::Run;

    #[derive(Parser)]
    struct Both {
        #[command(flatten)]
        wait: WaitArguments,
        #[command(flatten)]
        run: Run,
    }

    #[test]
    fn settling_lasts_for_two_polls_of_the_operator() {
        let Both { wait, run } = Both::parse_from(["lync-mirror"]);
        assert!(wait.settle.0 >= run.poll_interval.0 * 2 + Duration::from_secs(5));
    }
}
