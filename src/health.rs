//! The HTTP server that the kubelet and Prometheus ask. It knows that the loops turn, not what they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// A loop that does not turn for this long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an answer that is under way may delay the end.
const GRACE: Duration = Duration::from_secs(1);

/// A loop that must keep turning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Loop {
    Lease,
    Controller,
}

/// A handle on the health of this process; clones speak of the same.
#[derive(Debug, Clone)]
pub struct Health(Arc<Signs>);

#[derive(Debug)]
struct Signs {
    born: Instant,
    patience: Duration,
    /// Milliseconds after `born`, by `Loop`.
    beats: [AtomicU64; 2],
    synced: AtomicBool,
    stopping: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Every loop counts as having turned just now.
    pub fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    pub fn with_patience(patience: Duration) -> Self {
        Self(Arc::new(Signs {
            born: Instant::now(),
            patience,
            beats: Default::default(),
            synced: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }))
    }

    pub fn beat(&self, which: Loop) {
        self.beat_of(which).store(millis(self.0.born.elapsed()), Ordering::Relaxed);
    }

    /// The resources are known: the first list has arrived.
    pub fn set_synced(&self) {
        self.0.synced.store(true, Ordering::Relaxed);
    }

    /// No more work is begun.
    pub fn set_stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    fn beat_of(&self, which: Loop) -> &AtomicU64 {
        let [lease, controller] = &self.0.beats;
        match which {
            Loop::Lease => lease,
            Loop::Controller => controller,
        }
    }

    /// What is stuck, and for how long.
    fn live(&self) -> Result<(), String> {
        let now = millis(self.0.born.elapsed());
        let stuck: Vec<_> = <Loop as strum::IntoEnumIterator>::iter()
            .map(|which| (which, now.saturating_sub(self.beat_of(which).load(Ordering::Relaxed))))
            .filter(|(_, age)| *age > millis(self.0.patience))
            .map(|(which, age)| format!("the {} loop has not turned for {} s", <&str>::from(which), age / 1000))
            .collect();
        if stuck.is_empty() { Ok(()) } else { Err(stuck.join("; ")) }
    }

    /// A standby is ready too: it would take over at once.
    fn ready(&self) -> Result<(), String> {
        if self.0.stopping.load(Ordering::Relaxed) {
            return Err("stopping".to_owned());
        }
        if !self.0.synced.load(Ordering::Relaxed) {
            return Err("the resources have not been listed yet".to_owned());
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Answers `/livez`, `/readyz` and `/metrics` until `stop`.
pub async fn serve(listener: TcpListener, state: Health, metrics: Metrics, stop: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(async |State((health, _)): State<(Health, Metrics)>| verdict(health.live())))
        .route("/readyz", get(async |State((health, _)): State<(Health, Metrics)>| verdict(health.ready())))
        .route("/metrics", get(async |State((_, metrics)): State<(Health, Metrics)>| page(metrics.encode())))
        .with_state((state, metrics));
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        ended = server => if let Err(error) = ended {
            tracing::error!(%error, "probes and metrics are not served any more");
        },
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => {}
    }
}

fn verdict(sign: Result<(), String>) -> impl IntoResponse {
    match sign {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(trouble) => (StatusCode::SERVICE_UNAVAILABLE, trouble + "\n"),
    }
}

fn page(numbers: String) -> impl IntoResponse {
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, openmetrics)], numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start(health: &Health) -> (String, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, health.clone(), Metrics::new(), stop.clone()));
        (address, stop, serving)
    }

    async fn ask(address: &str, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_from_the_first_list_to_the_stop() {
        let health = Health::new();
        let (address, stop, serving) = start(&health).await;
        assert_eq!(ask(&address, "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(ask(&address, "/readyz").await.0, 503);
        health.set_synced();
        assert_eq!(ask(&address, "/readyz").await, (200, "ok\n".to_owned()));
        health.set_stopping();
        assert_eq!(ask(&address, "/readyz").await, (503, "stopping\n".to_owned()));
        assert_eq!(ask(&address, "/livez").await.0, 200, "to stop is not to be stuck");
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_loop_that_stands_still_is_named() {
        let health = Health::with_patience(Duration::from_millis(50));
        health.beat(Loop::Lease);
        assert_eq!(health.live(), Ok(()));
        tokio::time::sleep(Duration::from_millis(60)).await;
        health.beat(Loop::Controller);
        let trouble = health.live().unwrap_err();
        assert!(trouble.contains("lease") && !trouble.contains("controller"), "{trouble}");
        health.beat(Loop::Lease);
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test]
    async fn metrics_are_openmetrics() {
        let (address, _stop, _serving) = start(&Health::new()).await;
        let answer = reqwest::get(format!("{address}/metrics")).await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        assert!(answer.text().await.unwrap().ends_with("# EOF\n"));
    }
}
