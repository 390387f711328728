//! Who may read the protected page: the API server authenticates the bearer token (TokenReview) and authorizes its user for
//! the path of the page (SubjectAccessReview), as it does for its own metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next as Handler, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use openssl::sha::sha256;
use parking_lot::Mutex;

use crate::http::reviews::{Digest, Next, Reviews, Verdict};
use crate::http::server::Peer;

/// The path of every review. The client must not choose it: each user may get `/livez` or `/version` of the API server, and each
/// path would be an answer to remember.
const PAGE: &str = "/metrics";

/// The limit for both reviews of a token together.
const REVIEW_WITHIN: Duration = Duration::from_secs(5);

/// Asks the API server about clients, and remembers its answers for a short time. Clones share one memory.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    client: Client,
    reviews: Mutex<Reviews>,
    /// One review of an unknown token, and one of a known token, at a time.
    asking: tokio::sync::Mutex<()>,
    renewing: tokio::sync::Mutex<()>,
}

/// Why a client does not get the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NoToken,
    Unauthenticated,
    Forbidden,
    Busy,
    NoAnswer,
}

/// The pages of `router` only for clients that may get /metrics. For a path without a page there is nothing to review.
pub fn protect(router: Router, access: Access) -> Router {
    router.route_layer(from_fn_with_state(access, check))
}

async fn check(
    State(access): State<Access>,
    Extension(Peer(client)): Extension<Peer>,
    request: Request,
    page: Handler,
) -> Response {
    let Some(token) = bearer(request.headers()) else { return Refusal::NoToken.into_response() };
    match access.decide(token, client).await {
        Ok(()) => page.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

impl Access {
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Shared {
            client,
            reviews: Mutex::new(Reviews::default()),
            asking: tokio::sync::Mutex::new(()),
            renewing: tokio::sync::Mutex::new(()),
        }))
    }

    async fn decide(&self, token: &str, client: IpAddr) -> Result<(), Refusal> {
        let digest: Digest = sha256(token.as_bytes());
        let next = self.next(&digest, client);
        let _one_at_a_time = match next {
            Next::Known(verdict) => return verdict.into(),
            Next::Busy => return Err(Refusal::Busy),
            Next::Renew => {
                let turn = self.0.renewing.lock().await;
                // Another request with this token can have renewed it meanwhile.
                if let Next::Known(verdict) = self.next(&digest, client) {
                    return verdict.into();
                }
                turn
            }
            Next::Ask => self.0.asking.try_lock().map_err(|_| Refusal::Busy)?,
        };
        match tokio::time::timeout(REVIEW_WITHIN, self.review(token)).await {
            Ok(Ok(verdict)) => {
                self.0.reviews.lock().record(digest, verdict, Instant::now());
                verdict.into()
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, %client, "the API server cannot review a client of the metrics");
                Err(Refusal::NoAnswer)
            }
            Err(_) => {
                tracing::warn!(%client, "the API server did not review a client of the metrics in time");
                Err(Refusal::NoAnswer)
            }
        }
    }

    fn next(&self, digest: &Digest, client: IpAddr) -> Next {
        self.0.reviews.lock().next(digest, client, Instant::now())
    }

    async fn review(&self, token: &str) -> kube::Result<Verdict> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::all(self.0.client.clone()).create(&PostParams::default(), &review).await?;
        let status = answer.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Verdict::Unauthenticated);
        };
        let review = SubjectAccessReview { spec: question(user), ..SubjectAccessReview::default() };
        let answer = Api::all(self.0.client.clone()).create(&PostParams::default(), &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed && status.denied != Some(true));
        Ok(if allowed { Verdict::Allowed } else { Verdict::Forbidden })
    }
}

fn question(user: UserInfo) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: user.username,
        groups: user.groups,
        uid: user.uid,
        extra: user.extra,
        resource_attributes: None,
        non_resource_attributes: Some(NonResourceAttributes {
            path: Some(PAGE.to_owned()),
            verb: Some("get".to_owned()),
        }),
    }
}

impl From<Verdict> for Result<(), Refusal> {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allowed => Ok(()),
            Verdict::Unauthenticated => Err(Refusal::Unauthenticated),
            Verdict::Forbidden => Err(Refusal::Forbidden),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NoToken => {
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "The request has no bearer token.\n")
                    .into_response()
            }
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")],
                "The API server does not accept the token.\n",
            )
                .into_response(),
            Self::Forbidden => {
                (StatusCode::FORBIDDEN, "The user of the token lacks the right to get this path.\n").into_response()
            }
            Self::Busy => (
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, "2")],
                "Too many requests with unknown tokens.\n",
            )
                .into_response(),
            Self::NoAnswer => {
                (StatusCode::SERVICE_UNAVAILABLE, "The API server cannot be asked about the token.\n").into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    /// An API server that permits every user every path, and counts what it reviews.
    async fn permissive(asked: Arc<Mutex<Vec<serde_json::Value>>>) -> Client {
        let answer = async move |Json(mut review): Json<serde_json::Value>| {
            asked.lock().push(review.clone());
            review["status"] = serde_json::json!({"authenticated": true, "allowed": true, "user": {"username": "any"}});
            (StatusCode::CREATED, Json(review))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap()
    }

    async fn status(router: &Router, path: &str, token: &str) -> StatusCode {
        let request = axum::http::Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        request.extensions_mut().insert(Peer(IpAddr::from([10, 0, 0, 1])));
        TowerToHyperService::new(router.clone()).call(request).await.unwrap().status()
    }

    /// Each ServiceAccount may get `/livez` of the API server, and must not fill the list of known tokens by paths.
    #[tokio::test]
    async fn review_is_for_the_page_whatever_path_the_client_chooses() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let access = Access::new(permissive(asked.clone()).await);
        let router = protect(Router::new().route(PAGE, axum::routing::get(async || "page")), access);
        for path in ["/livez", "/version", "/metrics/", "/x1", "/x2"] {
            assert_eq!(status(&router, path, "any").await, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(*asked.lock(), Vec::<serde_json::Value>::new(), "a path without a page leads to no review");
        for path in ["/metrics", "/metrics?a=1", "/metrics?a=2"] {
            assert_eq!(status(&router, path, "any").await, StatusCode::OK, "{path}");
        }
        let asked = asked.lock();
        assert_eq!(asked.len(), 2, "one answer for all of them: {asked:?}");
        assert_eq!(asked[1]["spec"]["nonResourceAttributes"]["path"], PAGE);
    }

    #[test]
    fn bearer_accepts_one_scheme_only() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(of("bearer  abc "), Some("abc".to_owned()));
        for refused in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(of(refused), None, "{refused:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
