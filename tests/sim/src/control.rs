//! HTTP control of a simulation, for other processes.

use crate::sim::Core;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpListener;

type CoreState = State<Arc<Core>>;

/// Serves HTTP until the task is dropped.
pub async fn serve(core: Arc<Core>, listener: TcpListener) {
    if let Err(error) = axum::serve(listener, router(core)).await {
        tracing::error!(%error, "control ended");
    }
}

fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/state", get(async |State(core): CoreState| Json(core.shared.with(|world, _| world.state()))))
        .route(
            "/failovers",
            get(async |State(core): CoreState| Json(core.shared.with(|world, _| json!(world.failovers())))),
        )
        .route(
            "/failures",
            get(async |State(core): CoreState| Json(core.shared.with(|world, _| world.failures.clone()))),
        )
        .route("/stats", get(async |State(core): CoreState| Json(core.shared.journal.counts())))
        .route("/endpoints", get(async |State(core): CoreState| Json(core.endpoints())))
        .route("/ca.pem", get(async |State(core): CoreState| core.ca_pem.clone()))
        .route("/journal", get(journal))
        .route("/logins", get(logins))
        .route("/do", post(act))
        .with_state(core)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    #[serde(default)]
    since: u64,
    server: Option<String>,
}

impl Since {
    fn matches(&self, server: &str) -> bool {
        self.server.as_deref().is_none_or(|wanted| wanted == server)
    }
}

async fn journal(State(core): CoreState, Query(query): Query<Since>) -> impl IntoResponse {
    let mut entries = core.shared.journal.since(query.since);
    entries.retain(|entry| query.matches(&entry.server));
    Json(entries)
}

async fn logins(State(core): CoreState, Query(query): Query<Since>) -> impl IntoResponse {
    let mut entries = core.shared.journal.logins_since(query.since);
    entries.retain(|entry| query.matches(&entry.server));
    Json(entries)
}

/// Executes commands. Responds after the listeners have changed, so that a script can connect at once.
async fn act(State(core): CoreState, body: String) -> (StatusCode, String) {
    let done = serde_json::from_str(&body).map_err(|error| format!("body: {error}")).and_then(|json| core.act(json));
    match done {
        Ok(()) => {
            core.settled().await;
            (StatusCode::OK, "ok\n".to_owned())
        }
        Err(message) => (StatusCode::BAD_REQUEST, message + "\n"),
    }
}
