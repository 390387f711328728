//! The credentials of a resource: Secrets and ConfigMaps of its own namespace, read by name (`get` only) and cached for
//! [`MAX_AGE`]. A rotated password needs no restart. A missing Secret makes the server unavailable; it is not a reconcile
//! error.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::{NamespaceResourceScope, Status};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use crate::api::{Auth, AuthMethod, TlsMode, TlsSpec};
use crate::controller::Error;
use crate::model::{Unavailable, UnavailableCause};
use crate::sql::{Account, Authentication, Pin, Tls};

/// The maximum age of a cached Secret or ConfigMap.
const MAX_AGE: Duration = Duration::from_secs(10);
/// The limit for a request, because the client has no read timeout.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

type Resolved<T> = Result<T, Unavailable>;
/// The last result by key, with the time of the request.
type Cache<K, T> = Mutex<HashMap<K, (Instant, Resolved<T>)>>;

pub struct Credentials {
    client: Client,
    logins: Cache<(String, Auth), Authentication>,
    bundles: Cache<(String, String, String), Arc<str>>,
}

fn unavailable(cause: UnavailableCause, detail: String) -> Unavailable {
    Unavailable { cause, detail }
}

impl Credentials {
    pub fn new(client: Client) -> Self {
        Self { client, logins: Mutex::default(), bundles: Mutex::default() }
    }

    /// The login of a store. The outer error means that the API server does not answer and nothing is cached.
    pub async fn login(&self, namespace: &str, auth: &Auth) -> Result<Resolved<Authentication>, Error> {
        let read = |secret: Option<Secret>| read_login(namespace, auth, secret);
        let key = (namespace.to_owned(), auth.clone());
        resolve(&self.client, &self.logins, key, namespace, &auth.secret_ref.name, read).await
    }

    /// The TLS policy of a store. The outer error means the same as for `login`.
    pub async fn tls(&self, namespace: &str, spec: &TlsSpec) -> Result<Resolved<Tls>, Error> {
        match (spec.mode, &spec.ca_bundle) {
            (TlsMode::Disabled, _) => Ok(Ok(Tls::Off)),
            (TlsMode::TrustServerCertificate, _) => Ok(Ok(Tls::TrustServerCertificate)),
            (mode @ (TlsMode::Pin | TlsMode::Legacy), _) => {
                let pins: Arc<[Pin]> = match spec.fingerprints() {
                    Ok(pins) => pins.into(),
                    // `api::parse` rejects it before. Without any pin, mode Legacy would accept every certificate.
                    Err(pin) => {
                        let detail = format!("{pin:?} is not a SHA-256 fingerprint. To fix: correct tls.pins.");
                        return Ok(Err(unavailable(UnavailableCause::TlsFailed, detail)));
                    }
                };
                Ok(Ok(if mode == TlsMode::Pin { Tls::Pin { pins } } else { Tls::Legacy { pins } }))
            }
            (TlsMode::Verify, None) => Ok(Ok(Tls::Verify { ca_pem: None })),
            (TlsMode::Verify, Some(bundle)) => {
                let (name, item) = (&bundle.config_map_ref.name, &bundle.config_map_ref.key);
                Ok(self.bundle(namespace, name, item).await?.map(|pem| Tls::Verify { ca_pem: Some(pem) }))
            }
        }
    }

    async fn bundle(&self, namespace: &str, name: &str, item: &str) -> Result<Resolved<Arc<str>>, Error> {
        let read = |map: Option<ConfigMap>| read_bundle(namespace, name, item, map);
        let key = (namespace.to_owned(), name.to_owned(), item.to_owned());
        resolve(&self.client, &self.bundles, key, namespace, name, read).await
    }
}

/// The cached result if it is a success and not older than [`MAX_AGE`], else the result of a request.
async fn resolve<O, K, T>(
    client: &Client,
    cache: &Cache<K, T>,
    key: K,
    namespace: &str,
    name: &str,
    read: impl FnOnce(Option<O>) -> Resolved<T>,
) -> Result<Resolved<T>, Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K: Eq + Hash,
    T: Clone,
{
    let cached = cache.lock().get(&key).cloned();
    if let Some((at, result)) = &cached
        && at.elapsed() < MAX_AGE
        && result.is_ok()
    {
        return Ok(result.clone());
    }
    let kind = O::kind(&());
    let cached_or = |error| cached.map(|(_, result)| result).ok_or(error);
    let objects = Api::<O>::namespaced(client.clone(), namespace);
    let result = match timeout(READ_TIMEOUT, objects.get_opt(name)).await {
        Ok(Ok(object)) => read(object),
        // A revoked permission takes effect at once: the cached result is not used.
        Ok(Err(kube::Error::Api(answer))) if answer.is_forbidden() => Err(forbidden(&kind, &answer)),
        Ok(Err(source)) => return cached_or(Error::Read { what: format!("{kind} {namespace}/{name}"), source }),
        Err(_) => return cached_or(Error::Slow { what: format!("reading {kind} {namespace}/{name}") }),
    };
    cache.lock().insert(key, (Instant::now(), result.clone()));
    Ok(result)
}

fn forbidden(kind: &str, answer: &Status) -> Unavailable {
    let detail = format!(
        "The operator cannot read the {kind}: {}. To fix: bind its ServiceAccount to a Role with get on the {kind} in this namespace.",
        answer.message.trim_end_matches('.')
    );
    unavailable(UnavailableCause::CredentialsForbidden, detail)
}

fn read_login(namespace: &str, auth: &Auth, secret: Option<Secret>) -> Resolved<Authentication> {
    let name = &auth.secret_ref.name;
    let keys = match auth.method {
        AuthMethod::SqlLogin => "username and password",
        AuthMethod::Kerberos => "username and keytab",
    };
    let Some(secret) = secret else {
        let detail = format!("Secret {namespace}/{name} does not exist. To fix: create it with the keys {keys}.");
        return Err(unavailable(UnavailableCause::SecretNotFound, detail));
    };
    let mut data = secret.data.unwrap_or_default();
    let mut bytes = |key: &str| {
        data.remove(key).map(|bytes| bytes.0).filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            let detail = format!(
                "Secret {namespace}/{name} has no key {key}, or the key is empty. To fix: set the keys {keys}."
            );
            unavailable(UnavailableCause::SecretKeyMissing, detail)
        })
    };
    let text = |key: &str, bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| {
            unavailable(
                UnavailableCause::SecretKeyMissing,
                format!("Key {key} of Secret {namespace}/{name} is not UTF-8 text. To fix: store the {key} in UTF-8."),
            )
        })
    };
    let username = text("username", bytes("username")?)?;
    match auth.method {
        AuthMethod::SqlLogin => Ok(Authentication::SqlLogin {
            username,
            password: SecretString::from(text("password", bytes("password")?)?),
        }),
        AuthMethod::Kerberos => {
            let kdcs = auth.kdcs.clone().unwrap_or_default();
            let account = Account::new(&username, bytes("keytab")?, kdcs).ok_or_else(|| {
                let detail = format!(
                    "Key username of Secret {namespace}/{name} is {username:?}, but method Kerberos needs ACCOUNT@REALM. To fix: set it to a value such as svc-lync@CONTOSO.COM."
                );
                unavailable(UnavailableCause::NoKerberosCredentials, detail)
            })?;
            Ok(Authentication::Kerberos(Arc::new(account)))
        }
    }
}

fn read_bundle(namespace: &str, name: &str, item: &str, map: Option<ConfigMap>) -> Resolved<Arc<str>> {
    let missing = |detail| Err(unavailable(UnavailableCause::CaBundleNotFound, detail));
    let Some(map) = map else {
        return missing(format!(
            "ConfigMap {namespace}/{name} (tls.caBundle) does not exist. To fix: create it with the CA certificates in PEM under the key {item}."
        ));
    };
    // `kubectl create configmap --from-file` stores a file that is not UTF-8 in binaryData.
    let binary = map.binary_data.unwrap_or_default().remove(item).map(|bytes| bytes.0);
    let text = map.data.unwrap_or_default().remove(item);
    let pem = match (text, binary.map(String::from_utf8)) {
        (Some(pem), _) | (None, Some(Ok(pem))) => pem,
        (None, Some(Err(bytes))) => return Err(not_pem(namespace, name, item, bytes.as_bytes())),
        (None, None) => {
            return missing(format!(
                "ConfigMap {namespace}/{name} (tls.caBundle) has no key {item}. To fix: store the CA certificates in PEM under that key, or set another key."
            ));
        }
    };
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(not_pem(namespace, name, item, pem.as_bytes()));
    }
    Ok(Arc::from(pem))
}

fn not_pem(namespace: &str, name: &str, item: &str, bytes: &[u8]) -> Unavailable {
    /// A SEQUENCE with a length of two bytes, as every certificate in DER begins.
    const DER: [u8; 2] = [0x30, 0x82];
    let what = if bytes.starts_with(&DER) {
        "is not PEM: it seems to be DER. To fix: convert it with openssl x509 -inform DER, and store the result under that key."
    } else {
        "contains no PEM certificate. To fix: store the CA certificates in PEM under that key."
    };
    let detail = format!("Key {item} of ConfigMap {namespace}/{name} (tls.caBundle) {what}");
    unavailable(UnavailableCause::CaBundleInvalid, detail)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::api::SecretRef;

    fn secret(items: &[(&str, &str)]) -> Option<Secret> {
        let data =
            items.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect();
        Some(Secret { data: Some(data), ..Secret::default() })
    }

    #[test]
    fn read_with_a_missing_object_or_key_names_it_and_the_cause() {
        let auth = |method| Auth { method, secret_ref: SecretRef { name: "sql".into() }, kdcs: None };
        let (sql, kerberos) = (auth(AuthMethod::SqlLogin), auth(AuthMethod::Kerberos));
        let cause = |secret| read_login("lync", &sql, secret).map(|_| ()).unwrap_err();
        assert_eq!(cause(None).cause, UnavailableCause::SecretNotFound);
        let missing = cause(secret(&[("username", "sa")]));
        assert_eq!(missing.cause, UnavailableCause::SecretKeyMissing);
        assert!(missing.detail.contains("lync/sql has no key password"), "{}", missing.detail);
        assert_eq!(cause(secret(&[("username", "sa"), ("password", "")])).cause, UnavailableCause::SecretKeyMissing);
        assert!(read_login("lync", &sql, secret(&[("username", "sa"), ("password", "x")])).is_ok());
        let cause = |secret| read_login("lync", &kerberos, secret).map(|_| ()).unwrap_err();
        let missing = cause(secret(&[("username", "svc@R"), ("password", "x")]));
        assert!(missing.detail.contains("no key keytab"), "{}", missing.detail);
        assert_eq!(
            cause(secret(&[("username", "svc"), ("keytab", "x")])).cause,
            UnavailableCause::NoKerberosCredentials
        );
        assert!(read_login("lync", &kerberos, secret(&[("username", "svc@R"), ("keytab", "x")])).is_ok());
        assert_eq!(read_bundle("lync", "ca", "ca.crt", None).unwrap_err().cause, UnavailableCause::CaBundleNotFound);
    }

    #[test]
    fn read_bundle_in_der_names_the_conversion() {
        let bundle = |bytes: &[u8]| {
            let binary = [("ca.crt".to_owned(), ByteString(bytes.to_vec()))].into();
            let map = ConfigMap { binary_data: Some(binary), ..ConfigMap::default() };
            read_bundle("lync", "ca", "ca.crt", Some(map))
        };
        let der = bundle(&[0x30, 0x82, 0x03, 0x9f, 0xff]).unwrap_err();
        assert_eq!(der.cause, UnavailableCause::CaBundleInvalid);
        assert!(der.detail.contains("openssl x509 -inform DER"), "{}", der.detail);
        assert!(bundle(&[0xff, 0xfe]).unwrap_err().detail.contains("contains no PEM certificate"));
        assert!(bundle(b"-----BEGIN CERTIFICATE-----").is_ok());
    }
}
