//! `lync-mirror run --direct`: the parts that take the place of the API server and of the election.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::direct::{Directory, Error, Problem, Settings};
use crate::health::{Health, Loop};

/// How often the folder is read. An administrator who edits a file waits for it.
const RESCAN: Duration = Duration::from_secs(2);

/// Opens the files. One that cannot be used does not hold back the others, and one that another process has is tried again.
///
/// # Errors
/// That of the first file, if no file can be used now or after the end of another process.
pub fn open(settings: Settings) -> Result<Arc<Directory>, Error> {
    let directory = Directory::open(settings)?;
    let pools = directory.objects();
    for (path, _) in &pools {
        info!(file = %path.display(), "acting on this pool");
    }
    let mut problems = directory.problems();
    let waits = problems.iter().any(|problem| matches!(problem.error, Error::Locked { .. }));
    if !pools.is_empty() || waits || problems.is_empty() {
        return Ok(directory);
    }
    let first = problems.remove(0);
    for Problem { error, .. } in problems {
        warn!("{error}");
    }
    Err(first.error)
}

/// Reads the files again and again, until `stop`. Each problem is logged once, and again after it was gone.
pub async fn rescan(directory: Arc<Directory>, health: Health, stop: CancellationToken) {
    let (mut known, mut acting) = (BTreeSet::new(), paths(&directory));
    loop {
        let now = paths(&directory);
        for path in now.difference(&acting) {
            info!(file = %path.display(), "acting on this pool");
        }
        acting = now;
        let problems: BTreeSet<String> =
            directory.problems().into_iter().map(|problem| problem.error.to_string()).collect();
        for problem in problems.difference(&known) {
            warn!("{problem}");
        }
        known = problems;
        // The lock of each pool takes the place of the lease.
        health.heartbeat(Loop::Lease);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESCAN) => {}
        }
        let again = directory.clone();
        if tokio::task::spawn_blocking(move || again.rescan()).await.is_err() {
            warn!("the folder was not read");
        }
    }
}

/// The files of the pools.
fn paths(directory: &Directory) -> BTreeSet<PathBuf> {
    directory.objects().into_iter().map(|(path, _)| path).collect()
}
