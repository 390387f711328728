//! The instance monitors against listeners that refuse or stay silent. tests/wire covers the polls.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::sql::Limits;
use crate::sql::tests::{closed_port, short, target};

const HOUR: Duration = Duration::from_secs(3600);

fn cause(observation: &ServerObservation) -> UnavailableCause {
    match observation {
        ServerObservation::Unavailable { unavailable, .. } => unavailable.cause,
        ServerObservation::Available { .. } => panic!("an observation of a server that does not exist"),
    }
}

#[tokio::test]
async fn latest_before_the_first_poll_is_not_yet_polled() {
    let monitors = InstanceMonitors::new(HOUR, short());
    let (_socket, port) = closed_port();
    let handle = monitors.watch(&target(port));
    assert_eq!(cause(&handle.latest()), UnavailableCause::NotYetPolled);
    assert_eq!(cause(&handle.refresh().await), UnavailableCause::ConnectionRefused);
    assert_eq!(cause(&handle.latest()), UnavailableCause::ConnectionRefused);
}

#[tokio::test]
async fn monitor_of_equal_targets_is_shared_until_the_last_handle_drops() {
    let monitors = InstanceMonitors::new(HOUR, short());
    let (_socket, port) = closed_port();
    let (one, other) = (target(port), target(1));
    let first = monitors.watch(&one);
    let second = monitors.watch(&one);
    let third = monitors.watch(&other);
    assert_eq!(first.id(), second.id());
    assert_ne!(first.id(), third.id());
    assert_eq!(monitors.instances(), 2);
    drop(first);
    assert_eq!(monitors.instances(), 2);
    drop(second);
    drop(third);
    assert_eq!(monitors.instances(), 0);
}

#[tokio::test]
async fn changes_after_an_equal_poll_sends_nothing() {
    let monitors = InstanceMonitors::new(HOUR, short());
    let mut changes = monitors.changes();
    let (_socket, port) = closed_port();
    let handle = monitors.watch(&target(port));
    handle.refresh().await;
    handle.refresh().await;
    assert_eq!(changes.recv().await, Ok(handle.id()));
    assert!(changes.try_recv().is_err(), "the second poll returned an equal observation");
    let counters = monitors.counters();
    assert!(counters.polls >= 2, "{counters:?}");
    assert_eq!((counters.polls, counters.connections, counters.statements), (counters.poll_failures, 0, 0));
}

#[tokio::test]
async fn monitor_of_a_hung_instance_delays_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = target(listener.local_addr().unwrap().port());
    let monitors = InstanceMonitors::new(HOUR, Deadlines { prelogin: HOUR, ..short() });
    let hung = monitors.watch(&silent);
    let (mut stream, _) = listener.accept().await.unwrap();
    let _ = stream.read_u8().await.unwrap();
    let (_socket, port) = closed_port();
    let refused = monitors.watch(&target(port));
    assert_eq!(cause(&refused.refresh().await), UnavailableCause::ConnectionRefused);
    assert_eq!(cause(&hung.latest()), UnavailableCause::NotYetPolled);

    drop(hung);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(monitors.instances(), 1, "dropping the last handle closes the connection");
}

#[tokio::test]
async fn refresh_of_concurrent_callers_shares_a_poll() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = target(listener.local_addr().unwrap().port());
    let monitors = InstanceMonitors::new(HOUR, Deadlines { prelogin: HOUR, ..short() });
    let handle = monitors.watch(&silent);
    let (first, _) = listener.accept().await.unwrap();
    let refreshes: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let handle = handle.clone();
                async move { handle.refresh().await }
            })
        })
        .collect();
    while *handle.instance.requested.borrow() < 20 {
        tokio::task::yield_now().await;
    }
    drop(first);
    let (second, _) = listener.accept().await.unwrap();
    drop((second, listener));
    for refresh in refreshes {
        assert_ne!(cause(&refresh.await.unwrap()), UnavailableCause::NotYetPolled);
    }
    assert_eq!(monitors.counters().polls, 2, "the poll in progress and one poll for all requests since");
}

/// The memory of an idle instance is bounded: its task, without the state of a login or of a poll.
#[tokio::test]
async fn task_of_an_instance_is_small_between_its_polls() {
    let monitors = InstanceMonitors::new(HOUR, short());
    let shared = monitors.shared.clone();
    let connector = Arc::new(Connector::new(target(1), shared.deadlines, Limits::default(), HOUR));
    let (_, polls) = watch::channel(0);
    let (_, verifications) = watch::channel(0);
    let observation = monitors.watch(&target(1)).latest();
    let (publisher, _) = watch::channel(Published { observation, served: 0, read_at: None });
    let channels = Channels { polls, verifications, publisher };
    let task = PollTask::new(1, connector, shared.schedule, channels, shared.reports.clone()).run();
    assert!(size_of_val(&task) < 4_096, "{}", size_of_val(&task));
}
