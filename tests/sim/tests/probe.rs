//! A probe receives every request at three moments and can hold the request.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

mod common;

use common::*;
use mirror_sim::probe::{Moment, Probe, Request, Then};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Records all calls, and holds a failover at one moment.
struct Recorder {
    hold: Option<Moment>,
    seen: Mutex<Vec<(String, u64, String, Moment)>>,
}

impl Probe for Recorder {
    fn at(&self, server: &str, number: u64, request: Request, moment: Moment) -> Then {
        let what = match request {
            Request::Login => "login",
            Request::Statement(text) if text.contains("FAILOVER") => "failover",
            Request::Statement(_) => "other",
        };
        self.seen.lock().unwrap().push((server.to_owned(), number, what.to_owned(), moment));
        if what == "failover" && self.hold == Some(moment) { Then::Stay } else { Then::Go }
    }
}

fn recorder(hold: Option<Moment>) -> Arc<Recorder> {
    Arc::new(Recorder { hold, seen: Mutex::default() })
}

#[tokio::test]
async fn probe_receives_every_moment_of_every_request() {
    let (sim, recorder) = (start("off").await, recorder(None));
    sim.probe(recorder.clone());
    let mut client = connect(&sim, "a").await.unwrap();
    run(&mut client, FAILOVER).await.unwrap();
    // Login and statement have three moments each, under one number. The second response shows that the first was sent.
    run(&mut client, MIRRORING).await.unwrap();
    let seen = recorder.seen.lock().unwrap().clone();
    let moments: Vec<_> = seen.iter().map(|(_, _, what, moment)| (what.as_str(), *moment)).collect();
    let all = [Moment::Received, Moment::Executed, Moment::Answered];
    let expected: Vec<_> = ["login", "failover"].iter().flat_map(|what| all.map(|moment| (*what, moment))).collect();
    assert_eq!(moments[..6], expected[..]);
    assert!(seen[..3].iter().all(|(server, number, ..)| server == "a" && *number == seen[0].1));
    assert_ne!(seen[3].1, seen[0].1);
}

#[tokio::test]
async fn probe_holding_request_stops_only_that_request() {
    for (hold, failovers) in [(Moment::Received, 0), (Moment::Executed, 1)] {
        let (sim, recorder) = (start("off").await, recorder(Some(hold)));
        sim.probe(recorder.clone());
        let mut client = connect(&sim, "a").await.unwrap();
        let mut other = connect(&sim, "b").await.unwrap();
        {
            let waiting = run(&mut client, FAILOVER);
            let seen = async {
                while !recorder
                    .seen
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|(_, _, what, moment)| what == "failover" && *moment == hold)
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // Other connections are served while the request is held.
                run(&mut other, MIRRORING).await.unwrap();
            };
            tokio::select! {
                answer = waiting => panic!("{hold:?}: unexpected response: {answer:?}"),
                () = seen => {}
            }
        }
        drop(client);
        sim.until_journal(|journal| {
            journal.since(0).iter().any(|entry| entry.text == FAILOVER && entry.outcome.is_some())
        })
        .await;
        assert_eq!(sim.failovers().len(), failovers, "{hold:?}");
    }
}
