//! A probe sees every request three times, and keeps what it holds from going further.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

mod common;

use common::*;
use mirror_sim::probe::{Moment, Probe, Request, Then};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Writes down what it sees, and holds a failover at one moment.
struct Notes {
    hold: Option<Moment>,
    seen: Mutex<Vec<(String, u64, String, Moment)>>,
}

impl Probe for Notes {
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

fn notes(hold: Option<Moment>) -> Arc<Notes> {
    Arc::new(Notes { hold, seen: Mutex::default() })
}

#[tokio::test]
async fn every_moment_of_every_request_is_shown() {
    let (sim, notes) = (start("off").await, notes(None));
    sim.probe(notes.clone());
    let mut client = connect(&sim, "a").await.unwrap();
    run(&mut client, FAILOVER).await.unwrap();
    // Both the login and the statement are three moments of one number each; a second answer proves that the first left.
    run(&mut client, MIRRORING).await.unwrap();
    let seen = notes.seen.lock().unwrap().clone();
    let words: Vec<_> = seen.iter().map(|(_, _, what, moment)| (what.as_str(), *moment)).collect();
    let all = [Moment::Received, Moment::Executed, Moment::Answered];
    let expected: Vec<_> = ["login", "failover"].iter().flat_map(|what| all.map(|moment| (*what, moment))).collect();
    assert_eq!(words[..6], expected[..]);
    assert!(seen[..3].iter().all(|(server, number, ..)| server == "a" && *number == seen[0].1));
    assert_ne!(seen[3].1, seen[0].1);
}

#[tokio::test]
async fn a_request_that_is_held_goes_no_further() {
    for (hold, failovers) in [(Moment::Received, 0), (Moment::Executed, 1)] {
        let (sim, notes) = (start("off").await, notes(Some(hold)));
        sim.probe(notes.clone());
        let mut client = connect(&sim, "a").await.unwrap();
        let mut other = connect(&sim, "b").await.unwrap();
        {
            let waiting = run(&mut client, FAILOVER);
            let seen = async {
                while !notes
                    .seen
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|(_, _, what, moment)| what == "failover" && *moment == hold)
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // Another connection is served as ever, and what is held stays where it is.
                run(&mut other, MIRRORING).await.unwrap();
            };
            tokio::select! {
                answer = waiting => panic!("{hold:?}: an answer: {answer:?}"),
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
