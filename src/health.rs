//! The probes of the kubelet and the page of the metrics. Liveness means that the loops of the process run; a SQL Server
//! that is down does not change it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics::{Format, Metrics};

/// A loop without a heartbeat for this long is stuck.
const STALE_AFTER: Duration = Duration::from_secs(60);

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

/// `/livez` and `/readyz`.
pub fn probes(state: Health) -> Router {
    Router::new()
        .route("/livez", get(async |extract::State(health): extract::State<Health>| response(health.live())))
        .route("/readyz", get(async |extract::State(health): extract::State<Health>| response(health.ready())))
        .with_state(state)
}

/// `/metrics`.
pub fn metrics_page(metrics: Metrics) -> Router {
    let encode =
        async |extract::State(metrics): extract::State<Metrics>, headers: HeaderMap| page(&metrics, &headers).await;
    Router::new().route("/metrics", get(encode)).with_state(metrics)
}

fn response(state: Result<(), String>) -> impl IntoResponse {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem + "\n"),
    }
}

/// OpenMetrics for a client that accepts it, as Prometheus does, and else the text format.
async fn page(metrics: &Metrics, headers: &HeaderMap) -> Result<([(HeaderName, &'static str); 1], Bytes), StatusCode> {
    let mut accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let (kind, format) = if accepts.any(accepts_openmetrics) {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics)
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", Format::Text)
    };
    let page = metrics.page(format).await.map_err(|error| {
        tracing::error!(%error, "cannot encode the metrics");
        StatusCode::INTERNAL_SERVER_ERROR
    })?;
    Ok(([(header::CONTENT_TYPE, kind)], Bytes::from_owner(page)))
}

/// A part of the header that names OpenMetrics, without the weight 0.
fn accepts_openmetrics(accept: &str) -> bool {
    accept.to_ascii_lowercase().split(',').any(|part| {
        let mut parameters = part.split(';').map(str::trim);
        let named = parameters.next() == Some("application/openmetrics-text");
        named && !parameters.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_util::sync::{CancellationToken, DropGuard};

    use super::*;
    use crate::http::serve;

    async fn start(health: &Health) -> (String, DropGuard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let router = probes(health.clone()).merge(metrics_page(Metrics::new()));
        tokio::spawn(serve(listener, router, None, stop.clone()));
        (address, stop.drop_guard())
    }

    async fn get_probe(address: &str, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{address}{path}")).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn readyz_between_the_first_list_and_the_stop_is_ok() {
        let health = Health::new();
        let (address, _stop) = start(&health).await;
        assert_eq!(get_probe(&address, "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get_probe(&address, "/readyz").await.0, 503);
        health.set_synced();
        assert_eq!(get_probe(&address, "/readyz").await, (200, "ok\n".to_owned()));
        health.set_stopping();
        assert_eq!(get_probe(&address, "/readyz").await, (503, "The operator is stopping.\n".to_owned()));
        assert_eq!(get_probe(&address, "/livez").await.0, 200, "a process that stops is alive");
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

    #[tokio::test]
    async fn metrics_page_has_the_format_that_the_client_accepts() {
        let (address, _stop) = start(&Health::new()).await;
        let (text, openmetrics) =
            ("text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            ("*/*", text),
            ("text/plain;version=0.0.4", text),
            ("application/openmetrics-text;q=0, text/plain", text),
            (prometheus, openmetrics),
            ("Application/OpenMetrics-Text", openmetrics),
        ] {
            let request = reqwest::Client::new().get(format!("{address}/metrics")).header("accept", accept);
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()["content-type"], expected, "{accept}");
            assert_eq!(response.text().await.unwrap().ends_with("# EOF\n"), expected == openmetrics, "{accept}");
        }
    }
}
