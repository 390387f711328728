//! A live screen: reads in the background, and shows the latest result meanwhile. A server that is silent does not stop it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Fuse, FusedFuture, FutureExt};
use futures::{Stream, StreamExt};
use tokio::time::Instant;

use crate::cli::error::Error;

/// The latest result, and how long the next read has lasted.
pub struct Latest<'a, Found> {
    pub found: Option<&'a Result<Found, Error>>,
    pub waits: Duration,
}

/// Reads after each event. `due`: shows the latest result again, e.g. as its age grows. Until `show` fails.
pub async fn live<Read, Reading, Found>(
    events: impl Stream<Item = ()>,
    due: impl Stream<Item = ()>,
    mut read: Read,
    mut show: impl FnMut(Latest<'_, Found>) -> Result<(), Error>,
) -> Error
where
    Read: FnMut() -> Reading,
    Reading: Future<Output = Result<Found, Error>>,
{
    let (mut events, mut due) = (pin!(events.fuse()), pin!(due.fuse()));
    let mut reading = pin!(Fuse::terminated());
    let (mut latest, mut again, mut since) = (None, false, Instant::now());
    loop {
        if again && reading.is_terminated() {
            reading.set(read().fuse());
            (again, since) = (false, Instant::now());
        }
        tokio::select! {
            found = &mut reading, if !reading.is_terminated() => latest = Some(found),
            Some(()) = events.next() => {
                again = true;
                continue;
            }
            Some(()) = due.next() => {}
            else => return Error::Interrupted,
        }
        let waits = if reading.is_terminated() { Duration::ZERO } else { since.elapsed() };
        if let Err(error) = show(Latest { found: latest.as_ref(), waits }) {
            return error;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio_stream::wrappers::IntervalStream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn read_that_hangs_does_not_stop_the_screen() {
        let every = |seconds| IntervalStream::new(tokio::time::interval(Duration::from_secs(seconds))).map(drop);
        let reads = Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            let number = reads.get();
            async move { if number == 1 { Ok(number) } else { std::future::pending().await } }
        };
        let mut longest = Duration::ZERO;
        let show = |latest: Latest<'_, i32>| {
            assert!(latest.found.is_none_or(|found| found.as_ref().is_ok_and(|number| *number == 1)));
            longest = longest.max(latest.waits);
            if longest < Duration::from_secs(30) { Ok(()) } else { Err(Error::Busy) }
        };
        let ended = live(every(5), every(2), read, show).await;
        assert!(matches!(ended, Error::Busy), "{ended}");
        assert_eq!(reads.get(), 2, "one read at a time");
    }

    #[tokio::test]
    async fn event_during_a_read_is_followed_by_another_read() {
        let (sender, events) = futures::channel::mpsc::unbounded();
        sender.unbounded_send(()).unwrap();
        let reads = Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                sender.unbounded_send(()).unwrap();
            }
            let number = reads.get();
            async move {
                tokio::task::yield_now().await;
                Ok(number)
            }
        };
        let show = |latest: Latest<'_, i32>| match latest.found {
            Some(Ok(2)) => Err(Error::Busy),
            _ => Ok(()),
        };
        assert!(matches!(live(events, futures::stream::pending(), read, show).await, Error::Busy));
    }
}
