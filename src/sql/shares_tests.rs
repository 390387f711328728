//! The shares of namespaces: what a greedy one cannot take, and the order in which waiting ones are served.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;

fn shares(total: usize, reserve: usize) -> Shares {
    Shares::new(Size { total, reserve, per_holder: total, polls_per_holder: total })
}

fn holder(name: &str) -> Arc<str> {
    name.into()
}

/// Takes shares until the holder has to wait.
async fn take_all(shares: &Shares, name: &str, purpose: Purpose) -> Vec<Share> {
    let mut taken = Vec::new();
    while let Ok(share) = timeout(Duration::from_secs(1), shares.acquire(&holder(name), purpose)).await {
        taken.push(share);
    }
    assert_eq!(shares.waiting(), 0, "a wait that ended leaves no request");
    taken
}

/// A task that waits for a share, and ends with the time at which it had one.
async fn waiting(shares: &Shares, name: &str, purpose: Purpose) -> JoinHandle<Share> {
    let before = shares.waiting();
    let (shares, holder) = (shares.clone(), holder(name));
    let task = tokio::spawn({
        let shares = shares.clone();
        async move { shares.acquire(&holder, purpose).await }
    });
    while shares.waiting() == before {
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test(start_paused = true)]
async fn greedy_holder_leaves_as_much_as_it_takes() {
    let shares = shares(100, 0);
    let evil = take_all(&shares, "evil", Purpose::Poll).await;
    assert_eq!((evil.len(), shares.free()), (50, 50));
    let second = take_all(&shares, "second", Purpose::Poll).await;
    assert_eq!(second.len(), 25);
    let third = take_all(&shares, "third", Purpose::Poll).await;
    assert!(!third.is_empty() && shares.free() > 0, "{} for the third, {} free", third.len(), shares.free());
    drop((evil, second, third));
    assert_eq!(shares.free(), 100);
    assert_eq!(shares.state.lock().held.len(), 0, "a holder without shares is forgotten");
}

#[tokio::test(start_paused = true)]
async fn reserve_is_for_moves() {
    let shares = shares(40, 8);
    let namespaces = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut polls = Vec::new();
    for name in namespaces {
        polls.extend(take_all(&shares, name, Purpose::Poll).await);
    }
    assert_eq!(shares.free(), 8, "polls have taken all that they can have");
    let poll = timeout(Duration::from_secs(60), shares.acquire(&holder("victim"), Purpose::Poll)).await;
    assert!(poll.is_err());
    for name in namespaces.into_iter().chain(["victim"]) {
        assert!(timeout(Duration::from_secs(60), shares.acquire(&holder(name), Purpose::Move)).await.is_ok(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_holders_take_turns() {
    let shares = shares(1, 0);
    let only = shares.acquire(&holder("first"), Purpose::Poll).await;
    let mut tasks = Vec::new();
    for name in ["evil", "evil", "evil", "evil", "victim", "other", "victim"] {
        tasks.push((name, waiting(&shares, name, Purpose::Poll).await));
    }
    drop(only);
    let mut order = Vec::new();
    while !tasks.is_empty() {
        let at = loop {
            if let Some(at) = tasks.iter().position(|(_, task)| task.is_finished()) {
                break at;
            }
            sleep(Duration::from_millis(1)).await;
        };
        let (name, task) = tasks.remove(at);
        order.push(name);
        drop(task.await.unwrap());
    }
    assert_eq!(order, ["evil", "victim", "other", "evil", "victim", "evil", "evil"]);
}

#[tokio::test(start_paused = true)]
async fn waiting_move_precedes_polls() {
    let shares = shares(1, 0);
    let only = shares.acquire(&holder("first"), Purpose::Poll).await;
    let poll = waiting(&shares, "a", Purpose::Poll).await;
    let attempt = waiting(&shares, "b", Purpose::Move).await;
    drop(only);
    let share = attempt.await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(!poll.is_finished());
    drop(share);
    poll.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cancelled_wait_gives_its_turn_to_the_next() {
    let shares = shares(1, 0);
    let only = shares.acquire(&holder("first"), Purpose::Poll).await;
    let cancelled = waiting(&shares, "a", Purpose::Poll).await;
    let next = waiting(&shares, "b", Purpose::Poll).await;
    cancelled.abort();
    assert!(cancelled.await.is_err());
    assert_eq!(shares.waiting(), 1);
    drop(only);
    drop(next.await.unwrap());
    assert_eq!((shares.free(), shares.waiting()), (1, 0));
    assert!(shares.state.lock().turns.is_empty());
}

/// The share is on its way to the future that is dropped.
#[tokio::test(start_paused = true)]
async fn share_of_a_dropped_future_is_given_back() {
    let shares = shares(1, 0);
    let only = shares.acquire(&holder("first"), Purpose::Poll).await;
    let task = waiting(&shares, "a", Purpose::Poll).await;
    drop(only);
    task.abort();
    let _ = task.await;
    assert_eq!((shares.free(), shares.waiting()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn holder_has_at_most_its_limit() {
    let shares = Shares::new(Size { total: usize::MAX, reserve: 0, per_holder: 4, polls_per_holder: 4 });
    let taken = take_all(&shares, "account", Purpose::Move).await;
    assert_eq!(taken.len(), 4);
    assert_eq!(take_all(&shares, "other", Purpose::Poll).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn polls_of_a_holder_leave_a_part_for_its_moves() {
    let shares = Shares::new(Size { total: usize::MAX, reserve: 0, per_holder: 6, polls_per_holder: 4 });
    let polls = take_all(&shares, "account", Purpose::Poll).await;
    let moves = take_all(&shares, "account", Purpose::Move).await;
    assert_eq!((polls.len(), moves.len()), (4, 2));
    drop(polls);
    // The other way round, moves may have all of them.
    let more = take_all(&shares, "account", Purpose::Move).await;
    assert_eq!((more.len(), take_all(&shares, "account", Purpose::Poll).await.len()), (4, 0));
}

/// With one share after the other, each of the two would have a part and wait for the rest.
#[tokio::test(start_paused = true)]
async fn two_requests_for_several_shares_wait_for_no_part_of_each_other() {
    let shares = shares(8, 0);
    let only = shares.acquire_all(&holder("first"), Purpose::Move, 2).await;
    let task = |name: &'static str| {
        let shares = shares.clone();
        tokio::spawn(async move {
            let all = shares.acquire_all(&holder(name), Purpose::Move, 4).await;
            // For as long as a login.
            sleep(Duration::from_secs(1)).await;
            all.len()
        })
    };
    let (a, b) = (task("a"), task("b"));
    while shares.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(shares.free(), 6, "a request that waits holds nothing");
    // A smaller request does not wait for them.
    drop(shares.acquire(&holder("small"), Purpose::Move).await);
    drop(only);
    assert_eq!((a.await.unwrap(), b.await.unwrap()), (4, 4));
    assert_eq!((shares.free(), shares.waiting()), (8, 0));
}

#[tokio::test(start_paused = true)]
async fn request_for_several_shares_takes_no_more_than_one_after_the_other() {
    for count in 1..=6 {
        let (together, one_by_one) = (shares(10, 0), shares(10, 0));
        let taken = timeout(Duration::from_secs(1), together.acquire_all(&holder("a"), Purpose::Move, count)).await;
        let all = take_all(&one_by_one, "a", Purpose::Move).await;
        assert_eq!(taken.is_ok(), count <= all.len(), "{count} of {}", all.len());
        assert_eq!(together.waiting(), 0);
    }
}
