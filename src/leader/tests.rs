//! The campaign against a fake API server that stores one Lease and can hang.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;

const QUICK: Timing = Timing {
    lease_duration: Duration::from_secs(2),
    renew_deadline: Duration::from_millis(1000),
    retry_period: Duration::from_millis(200),
    acquire_period: Duration::from_millis(100),
};

/// The API server of one candidate. All API servers share one stored lease.
#[derive(Clone)]
struct FakeApi {
    stored: Arc<Mutex<(u64, Option<Value>)>>,
    hangs: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
}

fn api_error(code: u16, reason: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason,
    });
    (StatusCode::from_u16(code).unwrap(), Json(status)).into_response()
}

impl FakeApi {
    async fn wait_while_hanging(&self) {
        while self.hangs.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn put(&self, mut lease: Value, create: bool) -> Response {
        let mut stored = self.stored.lock().unwrap();
        match &stored.1 {
            Some(_) if create => return api_error(409, "AlreadyExists"),
            Some(old) if old["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] => {
                return api_error(409, "Conflict");
            }
            None if !create => return api_error(404, "NotFound"),
            _ => {}
        }
        stored.0 += 1;
        lease["metadata"]["resourceVersion"] = json!(stored.0.to_string());
        stored.1 = Some(lease.clone());
        Json(lease).into_response()
    }

    async fn start(stored: &Arc<Mutex<(u64, Option<Value>)>>) -> (Self, kube::Client) {
        let api = Self { stored: Arc::clone(stored), hangs: Arc::default(), reads: Arc::default() };
        let leases = "/apis/coordination.k8s.io/v1/namespaces/lync/leases";
        let router = Router::new()
            .route(
                leases,
                post(async |State(api): State<FakeApi>, Json(lease): Json<Value>| {
                    api.wait_while_hanging().await;
                    api.put(lease, true)
                }),
            )
            .route(
                &format!("{leases}/{{name}}"),
                get(async |State(api): State<FakeApi>| {
                    api.reads.fetch_add(1, Ordering::SeqCst);
                    api.wait_while_hanging().await;
                    let lease = api.stored.lock().unwrap().1.clone();
                    lease.map_or_else(|| api_error(404, "NotFound"), |lease| Json(lease).into_response())
                })
                .put(async |State(api): State<FakeApi>, Json(lease): Json<Value>| {
                    api.wait_while_hanging().await;
                    api.put(lease, false)
                }),
            )
            .with_state(api.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        (api, kube::Client::try_from(config).unwrap())
    }
}

struct Runner {
    api: FakeApi,
    leadership: Leadership,
    stop: CancellationToken,
}

impl Runner {
    async fn start(stored: &Arc<Mutex<(u64, Option<Value>)>>, identity: &str) -> Self {
        let (api, client) = FakeApi::start(stored).await;
        let stop = CancellationToken::new();
        let leadership = campaign_with_timing(client, "lync", "lync-mirror", identity.to_owned(), stop.clone(), QUICK);
        Self { api, leadership, stop }
    }

    fn leads(&self) -> bool {
        self.leadership.leads()
    }
}

/// Polls until `done` and returns the elapsed time. Two leaders at any time are a failure.
async fn until(runners: &[&Runner], limit: Duration, done: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        let leaders = runners.iter().filter(|runner| runner.leads()).count();
        assert!(leaders <= 1, "{leaders} leaders");
        assert!(start.elapsed() < limit, "not done within {limit:?}");
        sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn campaign_of_two_candidates_elects_one_and_hands_over_on_stop() {
    let stored = Arc::default();
    let (a, b) = (Runner::start(&stored, "a").await, Runner::start(&stored, "b").await);
    until(&[&a, &b], LIMIT, || a.leads() || b.leads()).await;
    let rounds = *b.leadership.rounds().borrow();
    until(&[&a, &b], LIMIT, || *b.leadership.rounds().borrow() > rounds + 8).await;

    let (first, second) = if a.leads() { (&a, &b) } else { (&b, &a) };
    assert!(first.leads() && !second.leads());
    first.stop.cancel();
    first.leadership.resigned().await;
    assert!(!first.leads());
    let took = until(&[&a, &b], LIMIT, || second.leads()).await;
    assert!(
        took < QUICK.lease_duration,
        "an empty lease is acquired at the next attempt, not after its expiry: {took:?}"
    );

    second.stop.cancel();
    second.leadership.resigned().await;
    let holder = stored.lock().unwrap().1.as_ref().unwrap()["spec"]["holderIdentity"].clone();
    assert_eq!(holder, json!(""));
}

#[tokio::test]
async fn leader_without_api_server_stops_before_another_candidate_leads() {
    let stored = Arc::default();
    let a = Runner::start(&stored, "a").await;
    until(&[&a], LIMIT, || a.leads()).await;
    let b = Runner::start(&stored, "b").await;
    until(&[&a, &b], LIMIT, || *b.leadership.rounds().borrow() > 3).await;

    a.api.hangs.store(true, Ordering::SeqCst);
    let took = until(&[&a, &b], LIMIT, || !a.leads()).await;
    assert!(took < QUICK.lease_duration, "{took:?}");
    assert!(!b.leads());
    let mut transitions = a.leadership.subscribe();
    transitions.wait_for(|leads| !leads).await.unwrap();

    until(&[&a, &b], LIMIT, || b.leads()).await;
    a.api.hangs.store(false, Ordering::SeqCst);
    let rounds = *a.leadership.rounds().borrow();
    until(&[&a, &b], LIMIT, || *a.leadership.rounds().borrow() > rounds + 3).await;
    assert!(b.leads() && !a.leads(), "the former leader is a standby when it returns");
}

#[tokio::test]
async fn leader_renews_with_one_request_and_reads_the_lease_only_after_another_write() {
    let stored = Arc::<Mutex<(u64, Option<Value>)>>::default();
    let a = Runner::start(&stored, "a").await;
    until(&[&a], LIMIT, || a.leads()).await;
    let rounds = async |count: u64| {
        let before = *a.leadership.rounds().borrow();
        until(&[&a], LIMIT, || *a.leadership.rounds().borrow() > before + count).await;
        assert!(a.leads());
        a.api.reads.load(Ordering::SeqCst)
    };
    let (reads, writes) = (rounds(0).await, stored.lock().unwrap().0);
    assert_eq!(rounds(5).await, reads);
    assert!(stored.lock().unwrap().0 >= writes + 5, "each round renews the lease");
    // kubectl annotate
    {
        let mut stored = stored.lock().unwrap();
        stored.0 += 1;
        let version = stored.0.to_string();
        stored.1.as_mut().unwrap()["metadata"]["resourceVersion"] = json!(version);
    }
    assert_eq!(rounds(3).await, reads + 1);
    // kubectl delete
    stored.lock().unwrap().1 = None;
    assert_eq!(rounds(3).await, reads + 2);
    assert!(stored.lock().unwrap().1.is_some());
}

#[tokio::test]
async fn standby_without_api_server_stops_on_request() {
    let stored = Arc::default();
    let a = Runner::start(&stored, "a").await;
    a.api.hangs.store(true, Ordering::SeqCst);
    a.stop.cancel();
    timeout(LIMIT, a.leadership.resigned()).await.unwrap();
}

#[tokio::test]
async fn leads_with_an_expired_lease_is_false_before_the_transition() {
    let (_valid_until, valid_until) = watch::channel(Some(Instant::now()));
    let (_leading, leading) = watch::channel(true);
    let (_rounds, rounds) = watch::channel(0);
    let leadership = Leadership { valid_until, leading, rounds, resigned: CancellationToken::new() };
    assert!(*leadership.subscribe().borrow(), "the transition has not been published");
    assert!(!leadership.leads());
}
