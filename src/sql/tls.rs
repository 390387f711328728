//! The TLS handshake of one connection: certificate policy and failure messages. `prelogin_stream` frames the records.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::{ErrorCode, Ssl, SslVerifyMode};
use openssl::x509::{X509, X509NameRef, X509Ref, X509StoreContextRef, X509VerifyResult};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::model::{Unavailable, UnavailableCause};
use crate::sql::cleaned::{cleaned, cleaned_to};
use crate::sql::error::{self, Phase, unavailable};
use crate::sql::prelogin_stream::TlsInPrelogin;
use crate::sql::{Target, Tls, hex, tls_context};

/// The first verification failure of a certificate chain.
#[derive(Debug, Clone)]
struct VerifyFailure {
    /// `X509_V_ERR_*`.
    number: i32,
    text: &'static str,
    names: String,
    /// The common name of the issuer.
    issuer: String,
}

type RecordedFailure = Arc<Mutex<Option<VerifyFailure>>>;

/// Runs the TLS handshake inside PRELOGIN packets. Afterwards, TLS records are sent directly on the stream.
///
/// # Errors
/// `TlsFailed` or `CaBundleInvalid` with the setting that fixes the failure; `ProtocolError` for other bytes.
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
    let context = tls_context::shared(&target.tls).map_err(|failure| match failure {
        tls_context::Failure::OpenSsl(error) => internal(target, &error),
        tls_context::Failure::NoCertificate => {
            let detail = "The CA bundle of spec.sql.tls.caBundle contains no valid PEM certificate.";
            unavailable(UnavailableCause::CaBundleInvalid, detail.into())
        }
    })?;
    let prepare = || -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&context)?;
        tls_context::hold(&mut ssl, context.clone())?;
        if let Tls::Verify { .. } = &target.tls {
            let recorded = recorded.clone();
            ssl.set_verify_callback(SslVerifyMode::PEER, move |trusted, chain| {
                if !trusted {
                    record_failure(&recorded, chain);
                }
                trusted
            });
        }
        // A certificate names a host without the dot that ends a fully qualified name (RFC 6125).
        let host = target.host.trim_end_matches('.');
        match host.parse::<IpAddr>() {
            Ok(ip) => ssl.param_mut().set_ip(ip)?,
            Err(_) => {
                ssl.set_hostname(host)?;
                ssl.param_mut().set_host(host)?;
            }
        }
        Ok(ssl)
    };
    prepare().map_err(|e| internal(target, &e))
}

/// Compares the certificate with the pins, if the policy has any.
fn check_pin(target: &Target, certificate: Option<&X509Ref>) -> Result<(), Unavailable> {
    let pins = match &target.tls {
        Tls::Pin { pins } => pins,
        Tls::Legacy { pins } if !pins.is_empty() => pins,
        Tls::Legacy { .. } | Tls::TrustServerCertificate | Tls::Verify { .. } | Tls::Off => return Ok(()),
    };
    let digest = certificate.and_then(|certificate| certificate.digest(MessageDigest::sha256()).ok());
    let Some(digest) = digest else {
        let detail = format!("{} presented no certificate to compare with spec.sql.tls.pins.", target.address());
        return Err(unavailable(UnavailableCause::TlsFailed, detail));
    };
    if pins.iter().any(|pin| pin[..] == digest[..]) {
        return Ok(());
    }
    let detail = format!(
        "The certificate of {} has the SHA-256 fingerprint {}, which is not in spec.sql.tls.pins. To fix: verify the certificate on the server, then add the fingerprint (SQL Server generates a new certificate at each start if none is installed).",
        target.address(),
        hex::upper(&digest, ":")
    );
    Err(unavailable(UnavailableCause::TlsFailed, detail))
}

fn record_failure(recorded: &RecordedFailure, chain: &X509StoreContextRef) {
    let mut recorded = recorded.lock();
    // The first failure is the cause; later ones follow from it.
    if recorded.is_none() {
        let number = chain.error().as_raw();
        let text = X509VerifyResult::error_string(&chain.error());
        let names = chain.current_cert().map(names).unwrap_or_default();
        let issuer = chain.current_cert().map(|certificate| listed(common_names(certificate.issuer_name())));
        *recorded = Some(VerifyFailure { number, text, names, issuer: issuer.unwrap_or_default() });
    }
}

/// How many names of a certificate or of a bundle a message has.
const SHOWN: usize = 6;
/// The longest list of names in a message, in characters: the step that follows must not be cut off.
const NAMES: usize = 120;

fn common_names(name: &X509NameRef) -> Vec<String> {
    let entries = name.entries_by_nid(Nid::COMMONNAME);
    entries.filter_map(|entry| entry.data().to_string().ok()).map(|text| cleaned(&text)).collect()
}

/// What the operator trusts, in words.
fn trusted(policy: &Tls) -> String {
    let Tls::Verify { ca_pem: Some(pem) } = policy else { return "the CA certificates of the system".to_owned() };
    let all = X509::stack_from_pem(pem.as_bytes()).unwrap_or_default();
    let names = listed(all.iter().flat_map(|one| common_names(one.subject_name())));
    if names.is_empty() {
        return format!("what spec.sql.tls.caBundle has, {} certificates without a common name", all.len());
    }
    format!("{names} of spec.sql.tls.caBundle")
}

/// The first names, joined. A certificate can have hundreds.
fn listed(names: impl IntoIterator<Item = String>) -> String {
    let mut shown: Vec<String> = names.into_iter().take(SHOWN + 1).collect();
    if shown.len() > SHOWN {
        shown[SHOWN] = "...".to_owned();
    }
    cleaned_to(&shown.join(", "), NAMES)
}

fn names(certificate: &X509Ref) -> String {
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
        names.extend(common_names(certificate.subject_name()));
    }
    listed(names)
}

/// `X509_V_ERR_*` of x509_vfy.h.
mod code {
    pub const NOT_YET_VALID: i32 = 9;
    pub const EXPIRED: i32 = 10;
    pub const SELF_SIGNED: i32 = 18;
    pub const SELF_SIGNED_IN_CHAIN: i32 = 19;
    /// The bundle contains a CA of the same name with another key, for example after a renewal.
    pub const SIGNATURE: i32 = 7;
    pub const NO_ISSUER: [i32; 4] = [2, SIGNATURE, 20, 21];
    pub const HOSTNAME: i32 = 62;
    pub const IP_ADDRESS: i32 = 64;
    /// A key below 2048 bits, or a signature with SHA-1.
    pub const TOO_WEAK: [i32; 3] = [66, 67, 68];
}

fn untrusted(target: &Target, failure: &VerifyFailure) -> Unavailable {
    let address = target.address();
    let VerifyFailure { number, text, names, issuer } = failure;
    let detail = match *number {
        code::HOSTNAME | code::IP_ADDRESS => format!(
            "The certificate of {address} is for {names:?} and not for {:?}. To fix: set the host of spec.sql to a name of the certificate.",
            target.host
        ),
        code::EXPIRED => format!("The certificate {names:?} of {address} has expired. To fix: renew it on the server."),
        code::NOT_YET_VALID => {
            format!("The certificate {names:?} of {address} is not valid yet. To fix: check the clocks.")
        }
        n if code::TOO_WEAK.contains(&n) => format!(
            "The certificate {names:?} of {address} is too weak ({text}). To fix: install a certificate with 2048 bits and SHA-256, or set spec.sql.tls.mode: Pin."
        ),
        n if n == code::SELF_SIGNED || n == code::SELF_SIGNED_IN_CHAIN || code::NO_ISSUER.contains(&n) => format!(
            "The certificate of {address} is not from a trusted CA ({text}). Its issuer is {issuer:?}, and trusted is {}. To fix: add the CA certificate of the issuer to spec.sql.tls.caBundle{}.",
            trusted(&target.tls),
            if n == code::SIGNATURE { ", as the one of the same name has another key" } else { "" }
        ),
        _ => format!("The certificate {names:?} of {address} was rejected: {text}."),
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
                    format!("{address} and the operator support no common version of TLS ({reason}).")
                }
                _ => format!(
                    "{address} does not support TLS 1.2 ({reason}). To fix: install the TLS 1.2 update of SQL Server (KB3135244), or set spec.sql.tls.mode: Legacy."
                ),
            }
        }
        // The reasons of OpenSSL for SHA-1 signatures and keys below 2048 bits.
        r if ["wrong signature type", "no shared signature algorithms", "ee key too small", "dh key too small"]
            .contains(&r)
            || r.contains("handshake failure") =>
        {
            format!(
                "{address} and the operator share no cipher and signature algorithm ({reason}). To fix: install a certificate with 2048 bits and SHA-256, or set spec.sql.tls.mode: Legacy."
            )
        }
        _ => format!("The TLS handshake with {address} failed: {reason}."),
    };
    unavailable(UnavailableCause::TlsFailed, detail)
}

/// Schannel closes the connection without an alert when no algorithm matches.
fn closed(target: &Target) -> Unavailable {
    let address = target.address();
    let offer = match target.tls {
        Tls::Legacy { .. } => "The operator offered TLS 1.0 to 1.2 with all ciphers of OpenSSL",
        _ => "The operator offered TLS 1.2 with SHA-256. To fix: for an older server, set spec.sql.tls.mode: Legacy",
    };
    let detail = format!(
        "{address} closed the connection during the TLS handshake, as Windows does without a common version, cipher or signature algorithm. {offer}."
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
