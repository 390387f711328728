//! The accept loop, and the limits of each client: any Pod that reaches the port can be one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::http::open_connections::OpenConnections;
use crate::http::tls::Certificate;

/// The limit for HTTP responses in progress when the server stops.
const GRACE: Duration = Duration::from_secs(1);

/// The limits of a client that sends slowly, sends much or never reads.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
const LONGEST_HEAD: usize = 8 << 10;
const MOST_HEADERS: usize = 64;

/// The largest number of open connections of a port.
const CONNECTIONS: usize = 64;

/// The pause after a failed accept, e.g. without a free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of the client, an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// Serves `router` until `stop`, over TLS if there is a certificate.
pub async fn serve(listener: TcpListener, router: Router, certificate: Option<Certificate>, stop: CancellationToken) {
    let certificate = certificate.map(Arc::new);
    let (mut connections, mut open) = (JoinSet::new(), OpenConnections::new(CONNECTIONS));
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to probes and metrics");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        while connections.try_join_next().is_some() {}
        open.close_excess();
        let router = router.clone().layer(Extension(Peer(peer.ip())));
        open.add(peer.ip(), connections.spawn(connection(stream, certificate.clone(), router)));
    }
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, certificate: Option<Arc<Certificate>>, router: Router) {
    let Some(certificate) = certificate else { return answer(stream, router).await };
    let handshake = TlsAcceptor::from(certificate.current()).accept(stream);
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
        answer(stream, router).await;
    }
}

/// Answers one request. Nothing is kept for a second one, and a body is not read.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that breaks off or exceeds a limit is its own problem.
    let _ = tokio::time::timeout(REQUEST_WITHIN, connection).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    async fn start() -> (String, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let router = Router::new().route("/livez", get(async || "ok\n"));
        let serving = tokio::spawn(serve(listener, router, None, stop.clone()));
        (address, stop, serving)
    }

    /// Sends bytes and returns what the server answers before it closes the connection.
    async fn exchange(address: &str, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server can close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn request_over_a_limit_is_refused_and_each_connection_is_closed() {
        let (address, _stop, _serving) = start().await;
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
        let (address, _stop, _serving) = start().await;
        let mut held = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ").await.unwrap();
            held.push(stream);
        }
        let probe = exchange(&address, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(probe.starts_with("HTTP/1.1 200"), "{probe}");
        // The oldest connections are closed, which the client sees as an end or a reset.
        let mut byte = [0];
        assert!(!held[0].read(&mut byte).await.is_ok_and(|read| read > 0));
    }

    /// The client is at another address, as one in another Pod, and much faster than the probe.
    #[tokio::test]
    async fn slow_probe_outlasts_a_client_of_another_address_that_opens_without_end() {
        let (address, _stop, _serving) = start().await;
        let mut probe = TcpStream::connect(&address).await.unwrap();
        probe.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        let mut held = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            held.push(socket.connect(address.parse().unwrap()).await.unwrap());
        }
        // The last of them was accepted once an earlier one of the same client is closed.
        assert!(!held[CONNECTIONS - 1].read(&mut [0]).await.is_ok_and(|read| read > 0));
        probe.write_all(b"Host: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn serve_with_an_open_connection_ends_at_the_stop() {
        let (address, stop, serving) = start().await;
        let _open = TcpStream::connect(&address).await.unwrap();
        exchange(&address, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), serving).await.unwrap().unwrap();
    }
}
