//! The bookkeeping of the hub against listeners that refuse or stay silent; the looks themselves are in tests/wire.rs.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::sql::tests::{closed_port, short, target};

const HOUR: Duration = Duration::from_secs(3600);

fn cause(view: &ServerObservation) -> UnavailableCause {
    match view {
        ServerObservation::Unavailable { unavailable, .. } => unavailable.cause,
        ServerObservation::Available { .. } => panic!("lit without a server"),
    }
}

#[tokio::test]
async fn before_the_first_look_it_is_dark() {
    let hub = Hub::new(HOUR, short());
    let (_socket, port) = closed_port();
    let watch = hub.watch(&target(port));
    assert_eq!(cause(&watch.latest()), UnavailableCause::NotYetPolled);
    assert_eq!(cause(&watch.fresh().await), UnavailableCause::ConnectionRefused);
    assert_eq!(cause(&watch.latest()), UnavailableCause::ConnectionRefused);
}

#[tokio::test]
async fn equal_targets_share_and_the_last_watch_ends_it() {
    let hub = Hub::new(HOUR, short());
    let (_socket, port) = closed_port();
    let (one, other) = (target(port), target(1));
    let first = hub.watch(&one);
    let second = hub.watch(&one);
    let third = hub.watch(&other);
    assert_eq!(first.id(), second.id());
    assert_ne!(first.id(), third.id());
    assert_eq!(hub.instances(), 2);
    drop(first);
    assert_eq!(hub.instances(), 2);
    drop(second);
    drop(third);
    assert_eq!(hub.instances(), 0);
}

#[tokio::test]
async fn only_news_is_announced() {
    let hub = Hub::new(HOUR, short());
    let mut changes = hub.changes();
    let (_socket, port) = closed_port();
    let watch = hub.watch(&target(port));
    watch.fresh().await;
    watch.fresh().await;
    assert_eq!(changes.recv().await, Ok(watch.id()));
    assert!(changes.try_recv().is_err(), "the second look saw the same");
    let counters = hub.counters();
    assert!(counters.looks >= 2, "{counters:?}");
    assert_eq!((counters.looks, counters.connections, counters.statements), (counters.dark_looks, 0, 0));
}

#[tokio::test]
async fn a_hung_instance_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = target(listener.local_addr().unwrap().port());
    let hub = Hub::new(HOUR, Deadlines { prelogin: HOUR, ..short() });
    let hung = hub.watch(&silent);
    let (mut stream, _) = listener.accept().await.unwrap();
    let _ = stream.read_u8().await.unwrap();
    let (_socket, port) = closed_port();
    let refused = hub.watch(&target(port));
    assert_eq!(cause(&refused.fresh().await), UnavailableCause::ConnectionRefused);
    assert_eq!(cause(&hung.latest()), UnavailableCause::NotYetPolled);

    drop(hung);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(hub.instances(), 1, "with the last watch the connection is gone");
}

#[tokio::test]
async fn requests_that_wait_together_share_a_look() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = target(listener.local_addr().unwrap().port());
    let hub = Hub::new(HOUR, Deadlines { prelogin: HOUR, ..short() });
    let watch = hub.watch(&silent);
    let (first, _) = listener.accept().await.unwrap();
    let asking: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let watch = watch.clone();
                async move { watch.fresh().await }
            })
        })
        .collect();
    while *watch.instance.requested.borrow() < 20 {
        tokio::task::yield_now().await;
    }
    drop(first);
    let (second, _) = listener.accept().await.unwrap();
    drop((second, listener));
    for asked in asking {
        assert_ne!(cause(&asked.await.unwrap()), UnavailableCause::NotYetPolled);
    }
    assert_eq!(hub.counters().looks, 2, "the look under way, and one for all who asked meanwhile");
}

#[tokio::test]
async fn a_refused_login_is_tried_less_and_less() {
    let interval = Duration::from_secs(5);
    assert_eq!(pause(interval, 0), interval);
    assert_eq!(pause(interval, 1), 2 * interval);
    assert_eq!(pause(interval, 40), AFTER_REFUSED_LOGIN);
    assert_eq!(pause(HOUR, 3), HOUR);
}
