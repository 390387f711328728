//! The campaign against a pretend API server that knows one Lease and can hang.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;

const QUICK: Timing = Timing {
    lease: Duration::from_secs(2),
    renew_by: Duration::from_millis(1000),
    beat: Duration::from_millis(200),
    stand: Duration::from_millis(100),
};

/// The door of one candidate to the shelf that all share.
#[derive(Clone)]
struct Door {
    shelf: Arc<Mutex<(u64, Option<Value>)>>,
    hangs: Arc<AtomicBool>,
}

fn refusal(code: u16, reason: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason,
    });
    (StatusCode::from_u16(code).unwrap(), Json(status)).into_response()
}

impl Door {
    async fn ajar(&self) {
        while self.hangs.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn put(&self, mut lease: Value, create: bool) -> Response {
        let mut shelf = self.shelf.lock().unwrap();
        match &shelf.1 {
            Some(_) if create => return refusal(409, "AlreadyExists"),
            Some(old) if old["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] => {
                return refusal(409, "Conflict");
            }
            None if !create => return refusal(404, "NotFound"),
            _ => {}
        }
        shelf.0 += 1;
        lease["metadata"]["resourceVersion"] = json!(shelf.0.to_string());
        shelf.1 = Some(lease.clone());
        Json(lease).into_response()
    }

    async fn open(shelf: &Arc<Mutex<(u64, Option<Value>)>>) -> (Self, kube::Client) {
        let door = Self { shelf: Arc::clone(shelf), hangs: Arc::default() };
        let leases = "/apis/coordination.k8s.io/v1/namespaces/lync/leases";
        let router = Router::new()
            .route(
                leases,
                post(async |State(door): State<Door>, Json(lease): Json<Value>| {
                    door.ajar().await;
                    door.put(lease, true)
                }),
            )
            .route(
                &format!("{leases}/{{name}}"),
                get(async |State(door): State<Door>| {
                    door.ajar().await;
                    let lease = door.shelf.lock().unwrap().1.clone();
                    lease.map_or_else(|| refusal(404, "NotFound"), |lease| Json(lease).into_response())
                })
                .put(async |State(door): State<Door>, Json(lease): Json<Value>| {
                    door.ajar().await;
                    door.put(lease, false)
                }),
            )
            .with_state(door.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        (door, kube::Client::try_from(config).unwrap())
    }
}

struct Runner {
    door: Door,
    leadership: Leadership,
    stop: CancellationToken,
}

impl Runner {
    async fn start(shelf: &Arc<Mutex<(u64, Option<Value>)>>, me: &str) -> Self {
        let (door, client) = Door::open(shelf).await;
        let stop = CancellationToken::new();
        let leadership = campaign_timed(client, "lync", "lync-mirror", me.to_owned(), stop.clone(), QUICK);
        Self { door, leadership, stop }
    }

    fn leads(&self) -> bool {
        self.leadership.leads()
    }
}

/// Polls until `done`, and meanwhile never sees two leaders. Says how long it took.
async fn until(runners: &[&Runner], limit: Duration, done: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        let leaders = runners.iter().filter(|runner| runner.leads()).count();
        assert!(leaders <= 1, "{leaders} leaders");
        assert!(start.elapsed() < limit, "nothing happened within {limit:?}");
        sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn of_two_candidates_one_leads_and_hands_over_when_it_stops() {
    let shelf = Arc::default();
    let (a, b) = (Runner::start(&shelf, "a").await, Runner::start(&shelf, "b").await);
    until(&[&a, &b], SOON, || a.leads() || b.leads()).await;
    let rounds = *b.leadership.rounds().borrow();
    until(&[&a, &b], SOON, || *b.leadership.rounds().borrow() > rounds + 8).await;

    let (first, second) = if a.leads() { (&a, &b) } else { (&b, &a) };
    assert!(first.leads() && !second.leads());
    first.stop.cancel();
    first.leadership.resigned().await;
    assert!(!first.leads());
    let took = until(&[&a, &b], SOON, || second.leads()).await;
    assert!(took < QUICK.lease, "an empty lease is taken at the next beat, not when it would have run out: {took:?}");

    second.stop.cancel();
    second.leadership.resigned().await;
    let holder = shelf.lock().unwrap().1.as_ref().unwrap()["spec"]["holderIdentity"].clone();
    assert_eq!(holder, json!(""));
}

#[tokio::test]
async fn a_leader_cut_off_stands_down_by_itself_before_a_rival_leads() {
    let shelf = Arc::default();
    let a = Runner::start(&shelf, "a").await;
    until(&[&a], SOON, || a.leads()).await;
    let b = Runner::start(&shelf, "b").await;
    until(&[&a, &b], SOON, || *b.leadership.rounds().borrow() > 3).await;

    a.door.hangs.store(true, Ordering::SeqCst);
    let took = until(&[&a, &b], SOON, || !a.leads()).await;
    assert!(took < QUICK.lease, "{took:?}");
    assert!(!b.leads());
    let mut transitions = a.leadership.watch();
    transitions.wait_for(|leads| !leads).await.unwrap();

    until(&[&a, &b], SOON, || b.leads()).await;
    a.door.hangs.store(false, Ordering::SeqCst);
    let rounds = *a.leadership.rounds().borrow();
    until(&[&a, &b], SOON, || *a.leadership.rounds().borrow() > rounds + 3).await;
    assert!(b.leads() && !a.leads(), "back again, it stands by");
}

#[tokio::test]
async fn a_standby_that_cannot_reach_the_server_still_ends() {
    let shelf = Arc::default();
    let a = Runner::start(&shelf, "a").await;
    a.door.hangs.store(true, Ordering::SeqCst);
    a.stop.cancel();
    timeout(SOON, a.leadership.resigned()).await.unwrap();
}

#[tokio::test]
async fn a_paused_process_does_not_believe_in_an_old_lease() {
    let (_term, term_seen) = watch::channel(Some(Instant::now()));
    let (_leading, leading) = watch::channel(true);
    let (_rounds, rounds) = watch::channel(0);
    let leadership = Leadership { term: term_seen, leading, rounds, given_up: CancellationToken::new() };
    assert!(*leadership.watch().borrow(), "nobody has told it yet");
    assert!(!leadership.leads());
}
