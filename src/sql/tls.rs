//! Encryption of one connection: who is believed, and why a server was not. The packets around it are in `wrap`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::{ErrorCode, Ssl, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Ref, X509StoreContextRef, X509VerifyResult};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::error::{self, Phase, unavailable};
use crate::sql::prelogin_stream::TlsInPrelogin;
use crate::sql::{Target, Tls};

/// Why a certificate was not believed.
#[derive(Debug, Clone)]
struct VerifyFailure {
    /// `X509_V_ERR_*`.
    number: i32,
    text: &'static str,
    names: String,
}

type RecordedFailure = Arc<Mutex<Option<VerifyFailure>>>;

/// The TLS handshake inside TDS. Ends with TLS records directly on the stream.
pub async fn encrypt(target: &Target, tcp: TcpStream) -> Result<SslStream<TlsInPrelogin<TcpStream>>, Unavailable> {
    let recorded = RecordedFailure::default();
    let ssl = session(target, &recorded)?;
    let mut stream = SslStream::new(ssl, TlsInPrelogin::new(tcp)).map_err(|e| internal(target, &e))?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) => {
            check_pin(target, stream.ssl().peer_certificate().as_deref())?;
            stream.get_mut().finish_handshake();
            Ok(stream)
        }
        Err(e) => {
            let failure = recorded.lock().take();
            Err(match failure {
                Some(failure) => untrusted(target, &failure),
                None => failed(target, &e),
            })
        }
    }
}

fn session(target: &Target, recorded: &RecordedFailure) -> Result<Ssl, Unavailable> {
    let build = || -> Result<SslContextBuilder, ErrorStack> {
        let mut context = SslContextBuilder::new(SslMethod::tls_client())?;
        context.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
        if matches!(target.tls, Tls::Legacy { .. }) {
            // OpenSSL 3 does TLS 1.0, SHA-1 signatures and 1024-bit keys at this level only.
            context.set_security_level(0);
            context.set_cipher_list("DEFAULT:@SECLEVEL=0")?;
            context.set_min_proto_version(Some(SslVersion::TLS1))?;
        } else {
            context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        }
        // TLS 1.3 exists in TDS 8.0 only; its tickets come after the handshake, where no packet would wrap them.
        context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
        Ok(context)
    };
    let mut context = build().map_err(|e| internal(target, &e))?;
    match &target.tls {
        // A pin is held against the certificate after the handshake, before anything is sent.
        Tls::TrustServerCertificate | Tls::Pin { .. } | Tls::Legacy { .. } | Tls::Off => {
            context.set_verify(SslVerifyMode::NONE)
        }
        Tls::Verify { ca_pem } => {
            match ca_pem {
                None => context.set_default_verify_paths().map_err(|e| internal(target, &e))?,
                Some(pem) => {
                    let store = roots(pem).ok_or_else(|| {
                        let detail = "The CA bundle of spec.sql.tls.caBundle holds no readable PEM certificate.";
                        unavailable(UnavailableCause::CaBundleInvalid, detail.into())
                    })?;
                    context.set_cert_store(store.build());
                }
            }
            let recorded = recorded.clone();
            context.set_verify_callback(SslVerifyMode::PEER, move |trusted, chain| {
                if !trusted {
                    record_failure(&recorded, chain);
                }
                trusted
            });
        }
    }
    let prepare = || -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&context.build())?;
        match target.host.parse::<IpAddr>() {
            Ok(ip) => ssl.param_mut().set_ip(ip)?,
            Err(_) => {
                ssl.set_hostname(&target.host)?;
                ssl.param_mut().set_host(&target.host)?;
            }
        }
        Ok(ssl)
    };
    prepare().map_err(|e| internal(target, &e))
}

/// Whoever signed it and whatever it says: it is the one that was pinned, or the connection ends here.
fn check_pin(target: &Target, certificate: Option<&X509Ref>) -> Result<(), Unavailable> {
    let pins = match &target.tls {
        Tls::Pin { pins } => pins,
        Tls::Legacy { pins } if !pins.is_empty() => pins,
        Tls::Legacy { .. } | Tls::TrustServerCertificate | Tls::Verify { .. } | Tls::Off => return Ok(()),
    };
    let digest = certificate.and_then(|certificate| certificate.digest(MessageDigest::sha256()).ok());
    let Some(digest) = digest else {
        let detail =
            format!("{} showed no certificate that could be held against spec.sql.tls.pins.", target.address());
        return Err(unavailable(UnavailableCause::TlsFailed, detail));
    };
    if pins.iter().any(|pin| pin[..] == digest[..]) {
        return Ok(());
    }
    let shown: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let detail = format!(
        "The certificate of {} has the SHA-256 fingerprint {}, which is not in spec.sql.tls.pins: if that is the server, put it there (a SQL Server without a certificate of its own makes a new one at each start).",
        target.address(),
        shown.join(":")
    );
    Err(unavailable(UnavailableCause::TlsFailed, detail))
}

/// None: not a single certificate in it.
fn roots(pem: &str) -> Option<X509StoreBuilder> {
    let certificates = X509::stack_from_pem(pem.as_bytes()).ok().filter(|all| !all.is_empty())?;
    let mut store = X509StoreBuilder::new().ok()?;
    for certificate in certificates {
        store.add_cert(certificate).ok()?;
    }
    Some(store)
}

fn record_failure(recorded: &RecordedFailure, chain: &X509StoreContextRef) {
    let mut recorded = recorded.lock();
    // The first complaint is the cause; later ones follow from it.
    if recorded.is_none() {
        let number = chain.error().as_raw();
        let names = chain.current_cert().map(names).unwrap_or_default();
        *recorded = Some(VerifyFailure { number, text: X509VerifyResult::error_string(&chain.error()), names });
    }
}

fn names(certificate: &X509Ref) -> String {
    const SHOWN: usize = 6;
    let mut names: Vec<String> = Vec::new();
    for name in certificate.subject_alt_names().iter().flatten() {
        if let Some(dns) = name.dnsname() {
            names.push(dns.to_owned());
        } else if let Some(bytes) = name.ipaddress() {
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            names.extend(v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).map(|ip| ip.to_string()));
        }
    }
    if names.is_empty() {
        let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
        names.extend(common.filter_map(|entry| entry.data().to_string().ok()));
    }
    names.truncate(SHOWN);
    names.join(", ")
}

/// `X509_V_ERR_*` of x509_vfy.h.
mod code {
    pub const NOT_YET_VALID: i32 = 9;
    pub const EXPIRED: i32 = 10;
    pub const SELF_SIGNED: i32 = 18;
    pub const SELF_SIGNED_IN_CHAIN: i32 = 19;
    /// 7: the bundle holds a CA of the same name and another key, as after a renewal.
    pub const NO_ISSUER: [i32; 4] = [2, 7, 20, 21];
    pub const HOSTNAME: i32 = 62;
    pub const IP_ADDRESS: i32 = 64;
    /// A key below 2048 bits, or a signature with SHA-1.
    pub const TOO_WEAK: [i32; 3] = [66, 67, 68];
}

fn untrusted(target: &Target, failure: &VerifyFailure) -> Unavailable {
    let address = target.address();
    let VerifyFailure { number, text, names } = failure;
    let detail = match *number {
        code::HOSTNAME | code::IP_ADDRESS => format!(
            "The certificate of {address} is for {names:?} and not for {:?}: set spec.sql's host to a name of the certificate.",
            target.host
        ),
        code::EXPIRED => format!("The certificate {names:?} of {address} has expired: renew it on the server."),
        code::NOT_YET_VALID => format!("The certificate {names:?} of {address} is not valid yet: check the clocks."),
        n if code::TOO_WEAK.contains(&n) => format!(
            "The certificate {names:?} of {address} is too weak ({text}), like those that SQL Server makes for itself: give it one of 2048 bits and SHA-256, or set spec.sql.tls.mode: Pin."
        ),
        n if n == code::SELF_SIGNED || n == code::SELF_SIGNED_IN_CHAIN || code::NO_ISSUER.contains(&n) => format!(
            "The certificate of {address} is not from a trusted CA ({text}): put the CA into spec.sql.tls.caBundle."
        ),
        _ => format!("The certificate {names:?} of {address} was not accepted: {text}."),
    };
    unavailable(UnavailableCause::TlsFailed, detail)
}

fn failed(target: &Target, error: &openssl::ssl::Error) -> Unavailable {
    let address = target.address();
    if let Some(io) = error.io_error() {
        return match io.kind() {
            std::io::ErrorKind::InvalidData => error::protocol_error(&address, Phase::Tls, io),
            std::io::ErrorKind::TimedOut => error::io(&address, Phase::Tls, io),
            _ => closed(target),
        };
    }
    if matches!(error.code(), ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN) {
        return closed(target);
    }
    let reasons: Vec<&str> =
        error.ssl_error().iter().flat_map(|stack| stack.errors()).filter_map(|e| e.reason()).collect();
    let reason = reasons.first().copied().unwrap_or("no reason given");
    let detail = match reason {
        "unexpected eof while reading" => return closed(target),
        r if r.contains("protocol version") || r == "unsupported protocol" || r == "wrong version number" => {
            match target.tls {
                Tls::Legacy { .. } => {
                    format!("{address} speaks no version of TLS that this operator knows ({reason}).")
                }
                _ => format!(
                    "{address} speaks no TLS 1.2 ({reason}): install the TLS 1.2 update of SQL Server (KB3135244), or set spec.sql.tls.mode: Legacy."
                ),
            }
        }
        // What OpenSSL says of SHA-1 signatures and of keys below 2048 bits.
        r if ["wrong signature type", "no shared signature algorithms", "ee key too small", "dh key too small"]
            .contains(&r)
            || r.contains("handshake failure") =>
        {
            format!(
                "{address} and this operator share no cipher and signature algorithm ({reason}): give the server a certificate of 2048 bits and SHA-256, or set spec.sql.tls.mode: Legacy."
            )
        }
        _ => format!("The TLS handshake with {address} failed: {reason}."),
    };
    unavailable(UnavailableCause::TlsFailed, detail)
}

/// Schannel resets instead of naming what it misses.
fn closed(target: &Target) -> Unavailable {
    let address = target.address();
    let offer = match target.tls {
        Tls::Legacy { .. } => "this operator offered TLS 1.0 to 1.2 and everything that OpenSSL still knows",
        _ => "this operator offered TLS 1.2 with SHA-256; for a server that is older, set spec.sql.tls.mode: Legacy",
    };
    let detail = format!(
        "{address} closed the connection during the TLS handshake, as Windows does when no version, cipher or signature algorithm suits both sides: {offer}."
    );
    unavailable(UnavailableCause::TlsFailed, detail)
}

fn internal(target: &Target, error: &ErrorStack) -> Unavailable {
    let reason = error.errors().first().and_then(|e| e.reason()).unwrap_or("no reason given");
    unavailable(UnavailableCause::TlsFailed, format!("TLS for {} could not be prepared: {reason}.", target.address()))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
