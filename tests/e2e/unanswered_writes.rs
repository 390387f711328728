//! Status writes that the API server applies and does not answer, or answers with 504: the events and counters of the pass
//! follow, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::proxy::{ApiRequest, Decision, Hook};
use crate::support::{TestPool, types, until};
use crate::tls::fetch;

/// Which writes lose their answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// The journal of a move: nothing is sent without it.
    Journal,
    /// The end of a move.
    End,
}

/// Loses the answer of the first write of a kind.
struct LosesAnswer {
    lost: Lost,
    how: Decision,
    fired: AtomicBool,
}

impl LosesAnswer {
    fn is_meant(&self, request: &ApiRequest) -> bool {
        if request.method != Method::PUT || !request.path.ends_with("/status") {
            return false;
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let status = &body["status"];
        match self.lost {
            Lost::Journal => status["operation"].is_object(),
            Lost::End => status["history"].is_array() && status["operation"].is_null(),
        }
    }
}

impl Hook for LosesAnswer {
    fn executed(&self, request: &ApiRequest, status: StatusCode) -> Decision {
        if status.is_success() && self.is_meant(request) && !self.fired.swap(true, Ordering::SeqCst) {
            return self.how;
        }
        Decision::Go
    }
}

/// The events with this reason: note and count.
fn events(fixture: &TestPool, reason: &str) -> Result<Vec<(String, u64)>, String> {
    let list = fixture.cluster.get_json(&["events.events.k8s.io", "-n", &fixture.namespace])?;
    let items = list["items"].as_array().ok_or("no list")?.iter().filter(|event| event["reason"] == reason);
    Ok(items.map(|event| (event["note"].to_string(), event["series"]["count"].as_u64().unwrap_or(1))).collect())
}

async fn announced_once(namespace: &str, lost: Lost, how: Decision) {
    let fixture = TestPool::start(namespace, true).await;
    let hook = Arc::new(LosesAnswer { lost, how, fired: AtomicBool::new(false) });
    let (operator, _proxy) = fixture.proxied_with(namespace, hook.clone()).await;
    fixture.cluster.apply(&fixture.pool("pool01", types("Primary", "Primary")));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.cluster.apply(&fixture.pool("pool01", types("Mirror", "Primary")));
    let status = fixture.until_ready("pool01", "True", "Aligned");
    assert!(hook.fired.load(Ordering::SeqCst), "{lost:?}: no write lost its answer");
    assert_eq!(status["principals"], "User=Mirror CentralMgmt=Primary");
    assert_eq!(fixture.failovers().len(), 3, "{:?}", fixture.failovers());
    assert_eq!(status["history"].as_array().map(Vec::len), Some(1));
    for reason in ["MoveStarted", "MoveSucceeded"] {
        let found = until(&format!("{namespace}: the event {reason}"), || {
            let found = events(&fixture, reason)?;
            if found.is_empty() { Err("no event".to_owned()) } else { Ok(found) }
        });
        assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 1, "{reason} {found:?}");
    }
    let page = fetch(&operator.address(), "/metrics");
    let counted: Vec<&str> = page.lines().filter(|line| line.starts_with("lync_mirror_moves_total")).collect();
    let succeeded = counted.iter().filter(|line| line.contains("Succeeded")).filter(|line| line.ends_with(" 1"));
    assert_eq!(succeeded.count(), 1, "{counted:?}");
    assert_eq!(fixture.sim.failures(), Vec::<String>::new());
}

/// F13: an announcement was lost with a status write that timed out and was applied.
#[tokio::test(flavor = "multi_thread")]
async fn write_applied_without_an_answer_is_announced_once() {
    tokio::join!(
        announced_once("lost-end", Lost::End, Decision::Hold),
        announced_once("lost-journal", Lost::Journal, Decision::Hold),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn write_applied_and_answered_with_504_is_announced_once() {
    let gone = Decision::Fail(StatusCode::GATEWAY_TIMEOUT);
    tokio::join!(announced_once("failed-end", Lost::End, gone), announced_once("failed-journal", Lost::Journal, gone),);
}

/// A write that failed and was not applied is written again, and announced by the pass that wrote it.
#[tokio::test(flavor = "multi_thread")]
async fn write_refused_before_its_execution_is_announced_once() {
    struct Refuses(AtomicBool);
    impl Hook for Refuses {
        fn received(&self, request: &ApiRequest) -> Decision {
            let meant = LosesAnswer { lost: Lost::End, how: Decision::Go, fired: AtomicBool::new(false) };
            if meant.is_meant(request) && !self.0.swap(true, Ordering::SeqCst) {
                return Decision::Fail(StatusCode::INTERNAL_SERVER_ERROR);
            }
            Decision::Go
        }
    }
    let fixture = TestPool::start("refused-end", true).await;
    let hook = Arc::new(Refuses(AtomicBool::new(false)));
    let (_operator, _proxy) = fixture.proxied_with("refused-end", hook.clone()).await;
    fixture.cluster.apply(&fixture.pool("pool01", json!([{"type": "User", "principal": "Primary"}])));
    fixture.until_ready("pool01", "True", "Aligned");
    fixture.cluster.apply(&fixture.pool("pool01", json!([{"type": "User", "principal": "Mirror"}])));
    fixture.until_ready("pool01", "True", "Aligned");
    assert!(hook.0.load(Ordering::SeqCst));
    let found = until("the event", || {
        let found = events(&fixture, "MoveSucceeded")?;
        if found.is_empty() { Err("no event".to_owned()) } else { Ok(found) }
    });
    assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 1, "{found:?}");
    assert_eq!((fixture.failovers().len(), fixture.sim.failures()), (3, Vec::<String>::new()));
}
