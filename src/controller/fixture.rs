//! A context for tests, beside an API server that accepts every write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use kube::Client;
use kube::runtime::{reflector, watcher};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::controller::context::Context;
use crate::controller::object::{ResourceRef, WatchedResource};
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::sql::{Deadlines, InstanceMonitors, Limits};

/// How the API server answers.
#[derive(Default)]
pub struct FakeApi {
    /// It never answers a request for an event.
    pub silent_events: AtomicBool,
    /// It stores nothing new, and returns the version that it has.
    pub stores_nothing: AtomicBool,
    pub writes: AtomicU64,
    pub events: AtomicU64,
    /// The password in each Secret.
    pub password: parking_lot::Mutex<String>,
}

pub struct Fixture {
    pub ctx: Arc<Context>,
    pub api: Arc<FakeApi>,
    writer: reflector::store::Writer<WatchedResource>,
    valid_until: watch::Sender<Option<Instant>>,
}

impl Fixture {
    pub async fn start(limits: Limits) -> Fixture {
        let api = Arc::new(FakeApi::default());
        *api.password.lock() = "secret".to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Without an idle connection, which would count as a descriptor for as long as the client keeps it.
        let close = axum::middleware::map_response(async |mut response: Response| {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        });
        let router = Router::new().fallback(answer).with_state(api.clone()).layer(close);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let (leadership, valid_until) = Leadership::of_tests();
        let poll = Duration::from_secs(1);
        let monitors = InstanceMonitors::with_login_verification(poll, poll, Deadlines::default(), limits);
        let ctx = Context::new(Client::try_from(config).unwrap(), leadership, monitors, Metrics::new());
        let (store, mut writer) = reflector::store();
        ctx.add_store(store);
        writer.apply_watcher_event(&watcher::Event::Init);
        writer.apply_watcher_event(&watcher::Event::InitDone);
        let fixture = Fixture { ctx: Arc::new(ctx), api, writer, valid_until };
        fixture.lead(true);
        fixture
    }

    /// Begins or ends a term.
    pub fn lead(&self, leads: bool) {
        self.valid_until.send_replace(leads.then(|| Instant::now() + Duration::from_secs(3600)));
    }

    /// The watch delivers a resource.
    pub fn apply(&mut self, resource: &Value) -> Arc<WatchedResource> {
        let resource: WatchedResource = serde_json::from_value(resource.clone()).unwrap();
        self.writer.apply_watcher_event(&watcher::Event::Apply(resource.clone()));
        Arc::new(resource)
    }

    /// The watch delivers a deletion.
    pub fn delete(&mut self, resource: &WatchedResource) {
        self.writer.apply_watcher_event(&watcher::Event::Delete(resource.clone()));
        self.ctx.on_deleted(ResourceRef::from_obj(resource));
    }
}

async fn answer(State(api): State<Arc<FakeApi>>, request: Request) -> Response {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if path.contains("/events") {
        api.events.fetch_add(1, Ordering::SeqCst);
        if api.silent_events.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        return (StatusCode::CREATED, axum::Json(body)).into_response();
    }
    match method {
        Method::PUT => {
            let writes = api.writes.fetch_add(1, Ordering::SeqCst);
            if !api.stores_nothing.load(Ordering::SeqCst) {
                body["metadata"]["resourceVersion"] = json!(format!("{}", 1_000_000 + writes));
            }
            axum::Json(body).into_response()
        }
        Method::GET => {
            let password = k8s_openapi::ByteString(api.password.lock().clone().into_bytes());
            let username = k8s_openapi::ByteString(b"operator".to_vec());
            axum::Json(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sql", "resourceVersion": "1"},
                "data": {"username": username, "password": password},
            }))
            .into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

/// A resource with the type User on these two ports of this machine.
pub fn resource(name: &str, uid: &str, ports: [u16; 2]) -> Value {
    json!({
        "apiVersion": "lyncmirror.io/v1alpha1", "kind": "LyncPoolMirror",
        "metadata": {"name": name, "namespace": "lync", "uid": uid, "generation": 1, "resourceVersion": "1"},
        "spec": {
            "poolFqdn": format!("{name}.contoso.com"),
            "sql": {
                "primary": {"host": "127.0.0.1", "port": ports[0]}, "mirror": {"host": "127.0.0.1", "port": ports[1]},
                "auth": {"method": "SqlLogin", "secretRef": {"name": "sql"}},
                "tls": {"mode": "TrustServerCertificate"},
            },
            "databaseTypes": [{"type": "User", "principal": "Primary"}],
        },
    })
}
