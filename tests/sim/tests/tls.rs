//! The certificates of the servers, tested with a client that verifies them.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail its test")]

use mirror_sim::wire::tls::Authority;
use openssl::ssl::{Ssl, SslConnector, SslMethod};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use std::pin::Pin;
use tokio_openssl::SslStream;

/// Whether a client that trusts `ca` accepts the server under this name.
async fn accepted(authority: &Authority, ca: &str, name: &str) -> bool {
    let context = authority.server(&["sql-a.contoso.test".to_owned()], [127, 0, 10, 1].into()).unwrap();
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(X509::from_pem(ca.as_bytes()).unwrap()).unwrap();
    connector.set_cert_store(store.build());
    let client = connector.build().configure().unwrap().into_ssl(name).unwrap();

    let (near, far) = tokio::io::duplex(16 << 10);
    let mut server = SslStream::new(Ssl::new(&context).unwrap(), far).unwrap();
    let mut client = SslStream::new(client, near).unwrap();
    let (served, connected) = tokio::join!(Pin::new(&mut server).accept(), async {
        let connected = Pin::new(&mut client).connect().await.is_ok();
        if !connected {
            drop(client);
        }
        connected
    });
    connected && served.is_ok()
}

#[tokio::test]
async fn certificate_matches_only_its_names_and_addresses() {
    let authority = Authority::new().unwrap();
    let ca = authority.pem().unwrap();
    for name in ["sql-a.contoso.test", "localhost", "127.0.10.1"] {
        assert!(accepted(&authority, &ca, name).await, "{name}");
    }
    for name in ["sql-b.contoso.test", "127.0.10.2"] {
        assert!(!accepted(&authority, &ca, name).await, "{name}");
    }
}

#[tokio::test]
async fn authority_of_other_simulation_is_not_trusted() {
    let other = Authority::new().unwrap().pem().unwrap();
    assert!(!accepted(&Authority::new().unwrap(), &other, "localhost").await);
}
