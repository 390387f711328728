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
    /// The error of the next write.
    error: Arc<Mutex<Option<(u16, &'static str)>>>,
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
        if let Some((code, reason)) = self.error.lock().unwrap().take() {
            return api_error(code, reason);
        }
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
        let api =
            Self { stored: Arc::clone(stored), hangs: Arc::default(), reads: Arc::default(), error: Arc::default() };
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
        let leadership = campaign(client, "lync", "lync-mirror", identity.to_owned(), stop.clone(), QUICK);
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

#[tokio::test(start_paused = true)]
async fn leadership_without_an_election_lasts() {
    let leadership = Leadership::without_election();
    assert!(leadership.leads());
    tokio::time::advance(Duration::from_secs(20 * 365 * 86_400)).await;
    assert!(leadership.leads());
    leadership.resigned().await;
}

#[tokio::test]
async fn leader_without_api_server_stops_before_another_candidate_leads() {
    let stored = Arc::default();
    let a = Runner::start(&stored, "a").await;
    let mut transitions = a.leadership.subscribe();
    timeout(LIMIT, transitions.wait_for(|leads| *leads)).await.unwrap().unwrap();
    assert!(a.leads());
    let b = Runner::start(&stored, "b").await;
    until(&[&a, &b], LIMIT, || *b.leadership.rounds().borrow() > 3).await;

    a.api.hangs.store(true, Ordering::SeqCst);
    let took = until(&[&a, &b], LIMIT, || !a.leads()).await;
    assert!(took < QUICK.lease_duration, "{took:?}");
    assert!(!b.leads());
    timeout(LIMIT, transitions.wait_for(|leads| !leads)).await.unwrap().unwrap();

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

type Stored = Arc<Mutex<(u64, Option<Value>)>>;

async fn candidate(stored: &Stored) -> (FakeApi, Candidate) {
    let (api, client) = FakeApi::start(stored).await;
    let leases = Api::namespaced(client, "lync");
    let (name, identity) = ("lync-mirror".to_owned(), "a".to_owned());
    let candidate = Candidate { leases, name, identity, timing: QUICK, record: None, held: None };
    (api, candidate)
}

#[tokio::test]
async fn new_lease_is_complete() {
    let lease = candidate(&Stored::default()).await.1.new_lease();
    assert_eq!(lease.metadata.name.as_deref(), Some("lync-mirror"));
    let spec = lease.spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some("a"), Some(2)));
    assert!(spec.acquire_time.is_some() && spec.acquire_time == spec.renew_time);
    assert_eq!(spec.lease_transitions, Some(0));
}

#[test]
fn lease_duration_is_rounded_up_to_whole_seconds() {
    for (millis, seconds) in [(2000, 2), (2001, 3), (999, 1), (u64::MAX, i32::MAX)] {
        let timing = Timing { lease_duration: Duration::from_millis(millis), ..QUICK };
        assert_eq!(timing.lease_duration_seconds(), seconds, "{millis}");
    }
}

/// A lost round is no error, unlike any other answer.
#[tokio::test]
async fn write_that_conflicts_with_another_candidate_is_a_lost_round() {
    let (_, candidate) = candidate(&Stored::default()).await;
    let (leases, mut lease) = (&candidate.leases, candidate.new_lease());
    let post = PostParams::default();
    let is_written = |answer| written(answer).map(|lease: Option<Lease>| lease.is_some());
    assert!(!is_written(leases.replace("lync-mirror", &post, &lease).await).unwrap(), "not found");
    assert!(is_written(leases.create(&post, &lease).await).unwrap());
    assert!(!is_written(leases.create(&post, &lease).await).unwrap(), "already exists");
    lease.metadata.resource_version = Some("0".to_owned());
    assert!(!is_written(leases.replace("lync-mirror", &post, &lease).await).unwrap(), "conflict");
    let other = kube::Error::Api(Box::new(kube::core::Status::failure("refused", "Forbidden").with_code(403)));
    assert!(written(Err(other)).is_err());
}

/// The answer to the first write, and whether the lease is released in the end.
#[tokio::test]
async fn resignation_is_repeated_only_after_a_conflict() {
    for (error, released) in [(None, true), (Some((409, "Conflict")), true), (Some((403, "Forbidden")), false)] {
        let stored = Stored::default();
        let (api, candidate) = candidate(&stored).await;
        candidate.leases.create(&PostParams::default(), &candidate.new_lease()).await.unwrap();
        *api.error.lock().unwrap() = error;
        candidate.resign().await;
        let holder = stored.lock().unwrap().1.as_ref().unwrap()["spec"]["holderIdentity"].clone();
        assert_eq!(holder, json!(if released { "" } else { "a" }), "{error:?}");
    }
}

/// Another candidate judges the lease by it.
#[tokio::test]
async fn renewal_writes_a_later_renew_time() {
    let stored: Arc<Mutex<(u64, Option<Value>)>> = Arc::default();
    let leader = Runner::start(&stored, "a").await;
    let renewed = || {
        let stored = stored.lock().unwrap();
        stored.1.as_ref().is_some_and(|lease| lease["spec"]["renewTime"] != lease["spec"]["acquireTime"])
    };
    until(&[&leader], LIMIT, renewed).await;
}
