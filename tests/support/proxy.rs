//! A reverse proxy between an operator and the API server. It uses the token of a ServiceAccount, passes every request to
//! a hook, and can be partitioned.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::watch_fault::{self, WatchFault};

/// A request, as a hook receives it.
pub struct ApiRequest {
    /// The same at all moments of one request.
    pub number: u64,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: Bytes,
}

impl ApiRequest {
    pub fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }

    pub fn writes(&self) -> bool {
        self.method != Method::GET
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Go,
    /// Holds this request for ever. Its connection ends when the operator does.
    Hold,
    /// Answers with this status. After the execution, the real answer is lost.
    Fail(StatusCode),
}

/// Called for each request: when it is received, when the API server has answered, and when the operator gets the answer.
pub trait Hook: Send + Sync + 'static {
    fn received(&self, _ask: &ApiRequest) -> Decision {
        Decision::Go
    }
    fn executed(&self, _ask: &ApiRequest, _status: StatusCode) -> Decision {
        Decision::Go
    }
    /// The answer is passed to the operator. Not called for watches, which have no end.
    fn answered(&self, _ask: &ApiRequest) {}
}

/// Lets every request pass.
pub struct PassThrough;

impl Hook for PassThrough {}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    serving: AbortHandle,
}

struct Shared {
    upstream: kube::Client,
    hook: Arc<dyn Hook>,
    /// False: nothing passes, in no direction, as in a partition.
    joined: watch::Sender<bool>,
    fault: watch::Sender<WatchFault>,
    next: AtomicU64,
    watches: AtomicU64,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    /// Forwards with the identity of `kubeconfig`.
    pub async fn start(kubeconfig: &Path, hook: Arc<dyn Hook>) -> Proxy {
        let read = Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
        // The operator must receive the answers of the API server unchanged.
        config.default_retry = false;
        let shared = Arc::new(Shared {
            upstream: kube::Client::try_from(config).unwrap(),
            hook,
            joined: watch::Sender::new(true),
            fault: watch::Sender::new(WatchFault::None),
            next: AtomicU64::new(1),
            watches: AtomicU64::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(forward).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Proxy { port, shared, serving }
    }

    /// Writes a kubeconfig that leads here. It holds no token: the proxy has it.
    pub fn kubeconfig(&self, path: &Path, namespace: &str) {
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": namespace}}],
        });
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// Partitions the proxy: requests and answers wait.
    pub fn part(&self) {
        self.shared.joined.send_replace(false);
    }

    /// Ends the partition; what waited continues.
    pub fn join(&self) {
        self.shared.joined.send_replace(true);
    }

    /// How many watches have begun.
    pub fn watches(&self) -> u64 {
        self.shared.watches.load(Ordering::Relaxed)
    }

    /// How watch events arrive from now on, those of open watches included.
    pub fn set_watch_fault(&self, fault: WatchFault) {
        self.shared.fault.send_replace(fault);
    }
}

impl Shared {
    async fn joined(&self) {
        let _ = self.joined.subscribe().wait_for(|joined| *joined).await;
    }

    /// The answer to a request that must not go on.
    async fn go(&self, decision: Decision) -> Option<Response<Body>> {
        match decision {
            Decision::Go => {}
            Decision::Hold => std::future::pending::<()>().await,
            Decision::Fail(status) => return Some(failed(status)),
        }
        self.joined().await;
        None
    }
}

/// What belongs to one connection, or to the identity of the proxy.
const OWN: [HeaderName; 5] =
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::AUTHORIZATION];

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    headers.iter().filter(|(name, _)| !OWN.contains(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

async fn forward(State(shared): State<Arc<Shared>>, incoming: Request) -> Response<Body> {
    let (head, body) = incoming.into_parts();
    // Only a client that disconnected leaves an incomplete body.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return bad("an incomplete request") };
    let request = Arc::new(ApiRequest {
        number: shared.next.fetch_add(1, Ordering::Relaxed),
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: body.clone(),
    });
    if let Some(failure) = shared.go(shared.hook.received(&request)).await {
        return failure;
    }
    let mut onward = axum::http::Request::builder().method(head.method).uri(head.uri);
    if let Some(headers) = onward.headers_mut() {
        *headers = passed_on(&head.headers);
    }
    let Ok(onward) = onward.body(kube::client::Body::from(body)) else {
        return bad("a request that cannot be passed on");
    };
    let answer = match shared.upstream.send(onward).await {
        Ok(answer) => answer,
        Err(error) => return bad(&error.to_string()),
    };
    let (head, body) = answer.into_parts();
    let mut back = Response::builder().status(head.status);
    if let Some(headers) = back.headers_mut() {
        *headers = passed_on(&head.headers);
    }
    let body = if request.is_watch() {
        shared.watches.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let (fault, joined) = (shared.fault.subscribe(), shared.joined.subscribe());
        tokio::spawn(watch_fault::pass(Body::new(body).into_data_stream(), sender, fault, joined));
        Body::from_stream(ReceiverStream::new(receiver))
    } else {
        let Ok(bytes) = body.collect_bytes().await else { return bad("an incomplete answer") };
        if let Some(failure) = shared.go(shared.hook.executed(&request, head.status)).await {
            return failure;
        }
        shared.hook.answered(&request);
        Body::from(bytes)
    };
    back.body(body).unwrap_or_else(|error| bad(&error.to_string()))
}

/// An error as the API server writes it.
fn failed(status: StatusCode) -> Response<Body> {
    let body = serde_json::json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Timeout", "code": status.as_u16(),
        "message": "Timeout: request did not complete within the allotted timeout",
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn bad(why: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(why.to_owned()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
