//! Faults of a watch: events reach the operator unchanged, late, merged, or not at all because the watch is
//! too old. An event is a line of JSON; only the type of an event and the uid of its object are read.

use std::pin::pin;

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchFault {
    None,
    /// Events wait until the fault changes. Of one object only the newest is kept, as the API server does for a slow
    /// watcher that starts again.
    Merged,
    /// The watch ends with `410 Gone` ("too old resource version"), as does each watch that begins before
    /// the fault changes.
    Gone,
}

type Line = Result<Bytes, std::io::Error>;

/// Passes events on until either side ends.
pub async fn pass<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Send,
    to: mpsc::Sender<Line>,
    mut fault: watch::Receiver<WatchFault>,
    mut joined: watch::Receiver<bool>,
) where
    E: Send,
{
    let (mut body, mut rest, mut held) = (pin!(body), Vec::new(), Vec::<Value>::new());
    loop {
        let now = *fault.borrow_and_update();
        if now == WatchFault::Gone {
            let gone = json!({"type": "ERROR", "object": {
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
                "message": "too old resource version: 1 (2)",
            }});
            let _ = to.send(Ok(line(&gone))).await;
            return;
        }
        if now == WatchFault::None {
            for event in held.drain(..) {
                let _ = joined.wait_for(|joined| *joined).await;
                if to.send(Ok(line(&event))).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            changed = fault.changed() => if changed.is_err() { return },
            () = to.closed() => return,
            more = body.next() => {
                let Some(Ok(bytes)) = more else { return };
                rest.extend_from_slice(&bytes);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let text: Vec<u8> = rest.drain(..=end).collect();
                    match serde_json::from_slice::<Value>(&text) {
                        Ok(event) => hold(&mut held, event),
                        // The API server never sends this: end the watch.
                        Err(_) => return,
                    }
                }
            }
        }
    }
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}

/// A later change of an object replaces an earlier one; an addition or a deletion is never dropped.
fn hold(held: &mut Vec<Value>, event: Value) {
    let name = |event: &Value| event["object"]["metadata"]["uid"].clone();
    if event["type"] == "MODIFIED"
        && let Some(before) = held.iter_mut().rev().find(|before| name(before) == name(&event))
        && before["type"] == "MODIFIED"
    {
        *before = event;
        return;
    }
    held.push(event);
}
