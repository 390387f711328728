//! Handshakes with a local TLS server: accepted certificates, and the failure messages of the others.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslContext, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509Builder, X509NameBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::sql::tests::target;

#[path = "tls_matrix.rs"]
mod matrix;

/// A key and its certificate.
struct Identity {
    key: PKey<Private>,
    certificate: X509,
}

impl Identity {
    /// Signed by `issuer`; without issuer, a self-signed CA. `names` become the subject alternative names.
    fn new(names: &[&str], days: (u32, u32), issuer: Option<&Identity>) -> Identity {
        Identity::made(names, days, issuer, 2048, MessageDigest::sha256())
    }

    fn made(names: &[&str], days: (u32, u32), issuer: Option<&Identity>, bits: u32, digest: MessageDigest) -> Identity {
        let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_nid(Nid::COMMONNAME, names.first().unwrap_or(&"test CA")).unwrap();
        let subject = subject.build();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(issuer.map_or(&*subject, |ca| ca.certificate.subject_name())).unwrap();
        builder.set_pubkey(&key).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let yesterday = i64::try_from(now).unwrap() - 86_400;
        let day = |n: u32| Asn1Time::from_unix(yesterday + i64::from(n) * 43_200).unwrap();
        builder.set_not_before(&day(days.0)).unwrap();
        builder.set_not_after(&day(days.1)).unwrap();
        if issuer.is_none() {
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        }
        if !names.is_empty() {
            let mut all = SubjectAlternativeName::new();
            for name in names {
                match name.parse::<IpAddr>() {
                    Ok(_) => all.ip(name),
                    Err(_) => all.dns(name),
                };
            }
            let all = all.build(&builder.x509v3_context(issuer.map(|ca| &*ca.certificate), None)).unwrap();
            builder.append_extension(all).unwrap();
        }
        builder.sign(issuer.map_or(&key, |ca| &ca.key), digest).unwrap();
        Identity { certificate: builder.build(), key }
    }

    fn pem(&self) -> Arc<str> {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap().into()
    }

    fn server(&self, newest: SslVersion) -> SslContext {
        let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
        context.set_certificate(&self.certificate).unwrap();
        context.set_private_key(&self.key).unwrap();
        context.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
        context.set_max_proto_version(Some(newest)).unwrap();
        if matches!(newest, SslVersion::TLS1 | SslVersion::TLS1_1) {
            context.set_security_level(0);
            context.set_cipher_list("ALL").unwrap();
        }
        context.build()
    }
}

const VALID: (u32, u32) = (0, 60);

/// Runs the handshake and an echo over the encrypted connection.
async fn handshake(server: &SslContext, tls: Tls, host: &str) -> Result<(), Unavailable> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = SslStream::new(Ssl::new(server).unwrap(), TlsInPrelogin::new(tcp)).unwrap();
        let accepted = Pin::new(&mut stream).accept().await;
        let _ = stream.get_mut().flush().await;
        if accepted.is_ok() {
            stream.get_mut().finish_handshake();
            if let Ok(byte) = stream.read_u8().await {
                stream.write_u8(byte).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    };
    let dial = async {
        let mut target = target(address.port());
        (target.tls, target.host) = (tls, host.into());
        let mut stream = encrypt(&target, TcpStream::connect(address).await.unwrap()).await?;
        stream.write_u8(42).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 42);
        Ok(())
    };
    tokio::join!(dial, serve).0
}

fn detail(result: Result<(), Unavailable>) -> String {
    let unavailable = result.unwrap_err();
    assert_eq!(unavailable.cause, UnavailableCause::TlsFailed, "{}", unavailable.detail);
    assert!(unavailable.detail.ends_with('.') && !unavailable.detail.contains('\n'), "{}", unavailable.detail);
    unavailable.detail
}

fn verify(ca: &Identity) -> Tls {
    Tls::Verify { ca_pem: Some(ca.pem()) }
}

#[tokio::test]
async fn encrypt_with_a_ca_signed_certificate_accepts_only_its_names() {
    let ca = Identity::new(&[], VALID, None);
    let server = Identity::new(&["sql-a.contoso.com", "127.0.0.1"], VALID, Some(&ca)).server(SslVersion::TLS1_2);
    for host in ["sql-a.contoso.com", "sql-a.contoso.com.", "127.0.0.1"] {
        assert_eq!(handshake(&server, verify(&ca), host).await, Ok(()), "{host}");
    }
    for host in ["sql-b.contoso.com", "127.0.0.2"] {
        let detail = detail(handshake(&server, verify(&ca), host).await);
        assert!(detail.contains("sql-a.contoso.com") && detail.contains(host), "{detail}");
    }
}

#[tokio::test]
async fn encrypt_with_an_unknown_ca_names_ca_bundle() {
    let ca = Identity::new(&[], VALID, None);
    let server = Identity::new(&["127.0.0.1"], VALID, Some(&ca)).server(SslVersion::TLS1_2);
    let other = Identity::new(&[], VALID, None);
    let system = Tls::Verify { ca_pem: None };
    for tls in [verify(&other), system] {
        let detail = detail(handshake(&server, tls, "127.0.0.1").await);
        assert!(detail.contains("spec.sql.tls.caBundle"), "{detail}");
    }
    assert_eq!(handshake(&server, Tls::TrustServerCertificate, "sql-b.contoso.com").await, Ok(()));
}

/// A bundle that is there and does not fit: an administrator must not add the same one again.
#[tokio::test]
async fn encrypt_with_another_ca_in_the_bundle_names_both() {
    let ca = Identity::new(&[], VALID, None);
    let server = Identity::new(&["127.0.0.1"], VALID, Some(&ca)).server(SslVersion::TLS1_2);
    let (other, renewed) = (Identity::new(&["other-ca"], VALID, None), Identity::new(&[], VALID, None));
    for (bundle, expected) in [
        (verify(&other), "Its issuer is \"test CA\", and trusted is other-ca of spec.sql.tls.caBundle."),
        (verify(&renewed), "as the one of the same name has another key."),
        (Tls::Verify { ca_pem: None }, "trusted is the CA certificates of the system."),
    ] {
        let detail = detail(handshake(&server, bundle, "127.0.0.1").await);
        assert!(detail.contains(expected), "{detail}");
    }
}

#[tokio::test]
async fn encrypt_with_a_self_signed_certificate_as_bundle_succeeds() {
    let own = Identity::new(&["127.0.0.1"], VALID, None);
    let server = own.server(SslVersion::TLS1_2);
    assert_eq!(handshake(&server, verify(&own), "127.0.0.1").await, Ok(()));
    let other = Identity::new(&[], VALID, None);
    assert!(detail(handshake(&server, verify(&other), "127.0.0.1").await).contains("spec.sql.tls.caBundle"));
}

#[tokio::test]
async fn encrypt_with_an_expired_certificate_reports_the_expiry() {
    let ca = Identity::new(&[], VALID, None);
    let server = Identity::new(&["127.0.0.1"], (0, 1), Some(&ca)).server(SslVersion::TLS1_2);
    assert!(detail(handshake(&server, verify(&ca), "127.0.0.1").await).contains("expired"));
    let server = Identity::new(&["127.0.0.1"], (50, 60), Some(&ca)).server(SslVersion::TLS1_2);
    assert!(detail(handshake(&server, verify(&ca), "127.0.0.1").await).contains("not valid yet"));
}

#[tokio::test]
async fn encrypt_without_tls_1_2_fails() {
    let own = Identity::new(&["127.0.0.1"], VALID, None);
    for newest in [SslVersion::TLS1, SslVersion::TLS1_1] {
        let detail = detail(handshake(&own.server(newest), Tls::TrustServerCertificate, "127.0.0.1").await);
        assert!(detail.contains("TLS 1.2"), "{detail}");
    }
}

#[tokio::test]
async fn encrypt_with_a_tls_1_3_server_uses_tls_1_2() {
    let own = Identity::new(&["127.0.0.1"], VALID, None);
    assert_eq!(handshake(&own.server(SslVersion::TLS1_3), verify(&own), "127.0.0.1").await, Ok(()));
}

#[test]
fn session_with_an_empty_bundle_is_ca_bundle_invalid() {
    let mut target = target(1433);
    for pem in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        target.tls = Tls::Verify { ca_pem: Some(pem.into()) };
        let unavailable = session(&target, &RecordedFailure::default()).unwrap_err();
        assert_eq!(unavailable.cause, UnavailableCause::CaBundleInvalid, "{pem:?}");
    }
}
