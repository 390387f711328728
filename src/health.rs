//! The HTTP server for the probes of the kubelet and for the metrics. Liveness means that the loops of the process run;
//! a SQL Server that is down does not change it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// A loop without a heartbeat for this long is stuck.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// The limit for HTTP responses in progress when the server stops.
const GRACE: Duration = Duration::from_secs(1);

/// The limits of a client that sends slowly, sends much or never reads. Any Pod can be this client.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
const LONGEST_HEAD: usize = 8 << 10;
const MOST_HEADERS: usize = 64;

/// The largest number of open connections. The next one closes the oldest, so that a probe is answered beside a client that
/// holds all of them.
const CONNECTIONS: usize = 64;

/// The pause after a failed accept, e.g. without a free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A loop that must keep running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Loop {
    Lease,
    Controller,
}

/// A handle on the health of this process. Clones share one state.
#[derive(Debug, Clone)]
pub struct Health(Arc<State>);

#[derive(Debug)]
struct State {
    started_at: Instant,
    stale_after: Duration,
    /// The last heartbeat of each `Loop`, in milliseconds after `started_at`.
    heartbeats: [AtomicU64; 2],
    synced: AtomicBool,
    stopping: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// The start counts as a heartbeat of every loop.
    pub fn new() -> Self {
        Self::with_stale_after(STALE_AFTER)
    }

    pub fn with_stale_after(stale_after: Duration) -> Self {
        Self(Arc::new(State {
            started_at: Instant::now(),
            stale_after,
            heartbeats: Default::default(),
            synced: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }))
    }

    pub fn heartbeat(&self, which: Loop) {
        self.last_heartbeat(which).store(millis(self.0.started_at.elapsed()), Ordering::Relaxed);
    }

    /// The first list of every watched namespace has arrived.
    pub fn set_synced(&self) {
        self.0.synced.store(true, Ordering::Relaxed);
    }

    /// The process stops: it starts no more work.
    pub fn set_stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    fn last_heartbeat(&self, which: Loop) -> &AtomicU64 {
        let [lease, controller] = &self.0.heartbeats;
        match which {
            Loop::Lease => lease,
            Loop::Controller => controller,
        }
    }

    /// The error names each stuck loop and the age of its last heartbeat.
    fn live(&self) -> Result<(), String> {
        let now = millis(self.0.started_at.elapsed());
        let stuck: Vec<_> = <Loop as strum::IntoEnumIterator>::iter()
            .map(|which| (which, now.saturating_sub(self.last_heartbeat(which).load(Ordering::Relaxed))))
            .filter(|(_, age)| *age > millis(self.0.stale_after))
            .map(|(which, age)| format!("The {} loop has had no heartbeat for {} s.", <&str>::from(which), age / 1000))
            .collect();
        if stuck.is_empty() { Ok(()) } else { Err(stuck.join(" ")) }
    }

    /// A standby is ready too, because it can take over at any time.
    fn ready(&self) -> Result<(), String> {
        if self.0.stopping.load(Ordering::Relaxed) {
            return Err("The operator is stopping.".to_owned());
        }
        if !self.0.synced.load(Ordering::Relaxed) {
            return Err("The first list of resources has not arrived.".to_owned());
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Serves `/livez`, `/readyz` and `/metrics` until `stop`.
pub async fn serve(listener: TcpListener, state: Health, metrics: Metrics, stop: CancellationToken) {
    let router = Router::new()
        .route(
            "/livez",
            get(async |extract::State((health, _)): extract::State<(Health, Metrics)>| response(health.live())),
        )
        .route(
            "/readyz",
            get(async |extract::State((health, _)): extract::State<(Health, Metrics)>| response(health.ready())),
        )
        .route(
            "/metrics",
            get(async |extract::State((_, metrics)): extract::State<(Health, Metrics)>| page(metrics.encode())),
        )
        .with_state((state, metrics));
    let service = TowerToHyperService::new(router);
    let (mut connections, mut open) = (JoinSet::new(), VecDeque::new());
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to probes and metrics");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        while connections.try_join_next().is_some() {}
        open.retain(|connection: &AbortHandle| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(connections.spawn(answer(stream, service.clone())));
    }
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

/// Answers one request. Nothing is kept for a second one, and a body is not read.
async fn answer(stream: TcpStream, service: TowerToHyperService<Router>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off or exceeds a limit is its own problem.
    let _ = tokio::time::timeout(REQUEST_WITHIN, connection).await;
}

fn response(state: Result<(), String>) -> impl IntoResponse {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem + "\n"),
    }
}

fn page(text: String) -> impl IntoResponse {
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, openmetrics)], text)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn start(health: &Health) -> (String, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, health.clone(), Metrics::new(), stop.clone()));
        (address, stop, serving)
    }

    async fn get_probe(address: &str, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{address}{path}")).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn readyz_between_the_first_list_and_the_stop_is_ok() {
        let health = Health::new();
        let (address, stop, serving) = start(&health).await;
        assert_eq!(get_probe(&address, "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get_probe(&address, "/readyz").await.0, 503);
        health.set_synced();
        assert_eq!(get_probe(&address, "/readyz").await, (200, "ok\n".to_owned()));
        health.set_stopping();
        assert_eq!(get_probe(&address, "/readyz").await, (503, "The operator is stopping.\n".to_owned()));
        assert_eq!(get_probe(&address, "/livez").await.0, 200, "a process that stops is alive");
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn live_with_a_stuck_loop_names_the_loop() {
        let health = Health::with_stale_after(Duration::from_millis(50));
        health.heartbeat(Loop::Lease);
        assert_eq!(health.live(), Ok(()));
        tokio::time::sleep(Duration::from_millis(60)).await;
        health.heartbeat(Loop::Controller);
        let problem = health.live().unwrap_err();
        assert!(problem.contains("lease") && !problem.contains("controller"), "{problem}");
        health.heartbeat(Loop::Lease);
        assert_eq!(health.live(), Ok(()));
    }

    /// Sends bytes and returns what the server answers before it closes the connection.
    async fn exchange(address: &str, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
        // The server can close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn request_over_a_limit_is_refused_and_each_connection_is_closed() {
        let (address, _stop, _serving) = start(&Health::new()).await;
        let request = |headers: &str| format!("GET /livez HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let ok = exchange(&address, request("").as_bytes()).await;
        assert!(ok.starts_with("HTTP/1.1 200") && ok.ends_with("ok\n"), "{ok}");
        let large = request(&format!("X: {}\r\n", "x".repeat(2 * LONGEST_HEAD)));
        let many = request(&"X: x\r\n".repeat(2 * MOST_HEADERS));
        for refused in [large, many] {
            let answer = exchange(&address, refused.as_bytes()).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        }
        let body = exchange(&address, request("Content-Length: 1000000000\r\n").as_bytes()).await;
        assert!(body.starts_with("HTTP/1.1 200"), "the body is not awaited: {body}");
    }

    #[tokio::test]
    async fn probe_beside_a_client_that_holds_every_connection_is_answered() {
        let (address, _stop, _serving) = start(&Health::new()).await;
        let mut held = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            let mut stream = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").await.unwrap();
            held.push(stream);
        }
        assert_eq!(get_probe(&address, "/livez").await.0, 200);
        // The oldest connections are closed, which the client sees as an end or a reset.
        let mut byte = [0];
        assert!(!held[0].read(&mut byte).await.is_ok_and(|read| read > 0));
    }

    #[tokio::test]
    async fn metrics_page_has_the_openmetrics_content_type() {
        let (address, _stop, _serving) = start(&Health::new()).await;
        let response = reqwest::get(format!("{address}/metrics")).await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        assert!(response.text().await.unwrap().ends_with("# EOF\n"));
    }
}
