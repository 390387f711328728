//! Ctrl-C, by one listener for the whole verb: a signal between two steps is not lost.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

static ATTENDED: AtomicBool = AtomicBool::new(false);
static REQUESTED: LazyLock<CancellationToken> = LazyLock::new(CancellationToken::new);

/// From here on, Ctrl-C no longer ends the process by itself. Must be called in a runtime.
///
/// # Errors
/// The kernel refuses the handler.
pub fn listen() -> std::io::Result<()> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        interrupts.recv().await;
        REQUESTED.cancel();
    });
    Ok(())
}

/// Ends once Ctrl-C was pressed, also if that was before.
pub async fn requested() {
    REQUESTED.cancelled().await;
}

/// From here on, the verb itself ends after Ctrl-C: it waits for the answers of its statements.
pub fn attend() {
    ATTENDED.store(true, Ordering::Relaxed);
}

/// As [`requested`], unless the verb ends by itself.
pub async fn unattended() {
    requested().await;
    if ATTENDED.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
