//! The TLS contexts of the policies. A context contains the CA certificates and is most of the memory of a connection, so that
//! all connections with the same certificates share one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::sha::sha256;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::{X509StoreBuilder, X509StoreRef};
use parking_lot::Mutex;

use crate::sql::Tls;

/// How many contexts are kept without a connection. A further one drops the oldest, which costs the next connection a new one.
const KEPT: usize = 16;
/// The largest bundle whose context is kept without a connection, in bytes. The certificates need several times as much.
const KEPT_BUNDLE: usize = 64 << 10;
/// How long it is kept, and how long the CA certificates of the system are not read again.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Why there is no context.
#[derive(Debug)]
pub enum Failure {
    /// The CA bundle contains no valid certificate.
    NoCertificate,
    OpenSsl(ErrorStack),
}

impl From<ErrorStack> for Failure {
    fn from(error: ErrorStack) -> Self {
        Failure::OpenSsl(error)
    }
}

/// What a context depends on. Pins are compared after the handshake, and are no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Unverified,
    Legacy,
    System,
    Bundle([u8; 32]),
    LargeBundle([u8; 32]),
}

impl Key {
    fn of(policy: &Tls) -> Key {
        match policy {
            Tls::TrustServerCertificate | Tls::Pin { .. } | Tls::Off => Key::Unverified,
            Tls::Legacy { .. } => Key::Legacy,
            Tls::Verify { ca_pem: None } => Key::System,
            Tls::Verify { ca_pem: Some(pem) } if pem.len() > KEPT_BUNDLE => Key::LargeBundle(sha256(pem.as_bytes())),
            Tls::Verify { ca_pem: Some(pem) } => Key::Bundle(sha256(pem.as_bytes())),
        }
    }
}

/// The context of a policy, shared by all connections with it.
///
/// # Errors
/// A CA bundle without a certificate, or the error of OpenSSL.
pub fn shared(policy: &Tls) -> Result<Arc<SslContext>, Failure> {
    static CONTEXTS: LazyLock<Mutex<Contexts>> = LazyLock::new(Mutex::default);
    let key = Key::of(policy);
    if let Some(context) = CONTEXTS.lock().find(key, Instant::now()) {
        return Ok(context);
    }
    // Without the lock: a large bundle takes long.
    let context = context(policy)?;
    Ok(CONTEXTS.lock().keep(key, context, Instant::now()))
}

/// Keeps the context shared as long as the connection exists: OpenSSL has its own reference, which the list does not see.
///
/// # Errors
/// The error of OpenSSL.
pub fn hold(ssl: &mut Ssl, context: Arc<SslContext>) -> Result<(), ErrorStack> {
    static INDEX: LazyLock<Result<Index<Ssl, Arc<SslContext>>, ErrorStack>> = LazyLock::new(Ssl::new_ex_index);
    let index = INDEX.as_ref().map_err(Clone::clone)?;
    ssl.set_ex_data(*index, context);
    Ok(())
}

/// A context that a connection has.
struct Live {
    made: Instant,
    /// The SHA-256 of the CA certificates of the system.
    certificates: Option<[u8; 32]>,
    context: Weak<SslContext>,
}

#[derive(Default)]
struct Contexts {
    live: HashMap<Key, Live>,
    /// The newest contexts, also without a connection.
    kept: VecDeque<(Instant, Arc<SslContext>)>,
}

impl Contexts {
    fn find(&mut self, key: Key, now: Instant) -> Option<Arc<SslContext>> {
        let is_old = |made: Instant| now.saturating_duration_since(made) >= KEPT_FOR;
        self.kept.retain(|(made, _)| !is_old(*made));
        let live = self.live.get(&key)?;
        if key == Key::System && is_old(live.made) {
            return None;
        }
        live.context.upgrade()
    }

    /// Returns the context to use: the one of the other connections, if it is the same.
    fn keep(&mut self, key: Key, made: SslContext, now: Instant) -> Arc<SslContext> {
        let made = Arc::new(made);
        let mut certificates = None;
        if key == Key::System {
            certificates = digest(made.cert_store());
            // The CA certificates of the system that could not be read must be read again.
            if certificates.is_none() {
                return made;
            }
        }
        let present = self.live.get(&key).filter(|live| live.certificates == certificates);
        let shared = present.and_then(|live| live.context.upgrade()).unwrap_or(made);
        self.live.insert(key, Live { made: now, certificates, context: Arc::downgrade(&shared) });
        if !matches!(key, Key::LargeBundle(_)) {
            self.kept.retain(|(_, kept)| !Arc::ptr_eq(kept, &shared));
            self.kept.truncate(KEPT - 1);
            self.kept.push_front((now, shared.clone()));
        }
        self.live.retain(|_, live| live.context.strong_count() > 0);
        shared
    }
}

/// None: there is no certificate.
fn digest(store: &X509StoreRef) -> Option<[u8; 32]> {
    let all = store.all_certificates();
    let encoded: Vec<u8> = all.iter().flat_map(|one| one.to_der().unwrap_or_default()).collect();
    (!encoded.is_empty()).then(|| sha256(&encoded))
}

fn context(policy: &Tls) -> Result<SslContext, Failure> {
    let mut context = SslContextBuilder::new(SslMethod::tls_client())?;
    context.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    // An idle connection keeps no buffers, which are 34 KB.
    context.set_mode(SslMode::RELEASE_BUFFERS);
    if matches!(policy, Tls::Legacy { .. }) {
        // OpenSSL 3 supports TLS 1.0, SHA-1 signatures and 1024-bit keys at this level only.
        context.set_security_level(0);
        context.set_cipher_list("DEFAULT:@SECLEVEL=0")?;
        context.set_min_proto_version(Some(SslVersion::TLS1))?;
    } else {
        context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    }
    // TLS 1.3 exists in TDS 8.0 only. Its tickets follow the handshake, where PRELOGIN packets no longer frame them.
    context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
    match policy {
        // The pins are compared after the handshake, before any data is sent.
        Tls::TrustServerCertificate | Tls::Pin { .. } | Tls::Legacy { .. } | Tls::Off => {
            context.set_verify(SslVerifyMode::NONE)
        }
        Tls::Verify { ca_pem } => {
            match ca_pem {
                None => context.set_default_verify_paths()?,
                Some(pem) => context.set_cert_store(roots(pem).ok_or(Failure::NoCertificate)?.build()),
            }
            // A connection replaces the callback, and not the mode.
            context.set_verify(SslVerifyMode::PEER);
        }
    }
    Ok(context.build())
}

/// Returns `None` without a valid certificate.
fn roots(pem: &str) -> Option<X509StoreBuilder> {
    let certificates = X509::stack_from_pem(pem.as_bytes()).ok().filter(|all| !all.is_empty())?;
    let mut store = X509StoreBuilder::new().ok()?;
    for certificate in certificates {
        store.add_cert(certificate).ok()?;
    }
    Some(store)
}

#[cfg(test)]
#[path = "tls_context_tests.rs"]
mod tests;
