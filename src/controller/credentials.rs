//! The credentials of a resource: Secrets and ConfigMaps of its own namespace, read by name (`get` only) and cached for
//! [`MAX_AGE`] as long as a resource uses them. A rotated password needs no restart. What cannot be read makes the servers
//! of its resource unavailable. It is no reconcile error, because other resources must not wait for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::{NamespaceResourceScope, Status};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use secrecy::SecretString;
use secrecy::zeroize::Zeroize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use crate::api::{Auth, AuthMethod, TlsMode, TlsSpec, is_object_name};
use crate::controller::error::cause;
use crate::controller::object::{ResourceRef, namespace};
use crate::model::{Unavailable, UnavailableCause};
use crate::sql::{Account, Authentication, Pin, Tls};

/// The maximum age of a cached Secret or ConfigMap.
const MAX_AGE: Duration = Duration::from_secs(10);
/// The limit for a request, because the client has no read timeout.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

type Resolved<T> = Result<T, Unavailable>;
/// The last result by key, with the time of the request.
type Cache<K, T> = Mutex<HashMap<K, (Instant, Resolved<T>)>>;
type LoginKey = (String, Auth);
/// Namespace, name and key of a ConfigMap.
type BundleKey = (String, String, String);

pub struct Credentials {
    client: Client,
    read_timeout: Duration,
    logins: Cache<LoginKey, Authentication>,
    bundles: Cache<BundleKey, Arc<str>>,
    /// What the last pass of each resource used.
    users: Mutex<HashMap<ResourceRef, Used>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Used {
    logins: HashSet<LoginKey>,
    bundles: HashSet<BundleKey>,
}

/// The reader of one pass of a resource.
pub struct Reader<'a> {
    credentials: &'a Credentials,
    resource: &'a ResourceRef,
    used: Used,
}

fn unavailable(cause: UnavailableCause, detail: String) -> Unavailable {
    Unavailable { cause, detail }
}

impl Credentials {
    pub fn new(client: Client) -> Self {
        Self::with_timeout(client, READ_TIMEOUT)
    }

    fn with_timeout(client: Client, read_timeout: Duration) -> Self {
        Self { client, read_timeout, logins: Mutex::default(), bundles: Mutex::default(), users: Mutex::default() }
    }

    pub fn reader<'a>(&'a self, resource: &'a ResourceRef) -> Reader<'a> {
        Reader { credentials: self, resource, used: Used::default() }
    }

    /// Drops what only this resource used.
    pub fn forget(&self, resource: &ResourceRef) {
        let mut users = self.users.lock();
        if let Some(used) = users.remove(resource) {
            self.drop_unused(&users, &used);
        }
    }

    /// Drops what only deleted resources used.
    pub fn retain(&self, exists: impl Fn(&ResourceRef) -> bool) {
        let mut users = self.users.lock();
        let deleted: Vec<Used> = users.extract_if(|resource, _| !exists(resource)).map(|(_, used)| used).collect();
        deleted.iter().for_each(|used| self.drop_unused(&users, used));
    }

    pub fn forget_all(&self) {
        self.users.lock().clear();
        self.logins.lock().clear();
        self.bundles.lock().clear();
    }

    /// Drops these credentials, unless another resource uses them. A pass that uses the same as before searches nothing.
    fn drop_unused(&self, users: &HashMap<ResourceRef, Used>, before: &Used) {
        for key in before.logins.iter().filter(|key| !users.values().any(|used| used.logins.contains(*key))) {
            self.logins.lock().remove(key);
        }
        for key in before.bundles.iter().filter(|key| !users.values().any(|used| used.bundles.contains(*key))) {
            self.bundles.lock().remove(key);
        }
    }
}

impl Reader<'_> {
    /// The login of a store.
    pub async fn login(&mut self, auth: &Auth) -> Resolved<Authentication> {
        let namespace = namespace(self.resource);
        let key = (namespace.to_owned(), auth.clone());
        self.used.logins.insert(key.clone());
        let read = |secret: Option<Secret>| read_login(namespace, auth, secret);
        let object = (namespace, auth.secret_ref.name.as_str());
        self.credentials.resolve(&self.credentials.logins, key, object, read).await
    }

    /// The TLS policy of a store.
    pub async fn tls(&mut self, spec: &TlsSpec) -> Resolved<Tls> {
        match (spec.mode, &spec.ca_bundle) {
            (TlsMode::Disabled, _) => Ok(Tls::Off),
            (TlsMode::TrustServerCertificate, _) => Ok(Tls::TrustServerCertificate),
            (mode @ (TlsMode::Pin | TlsMode::Legacy), _) => {
                let pins: Arc<[Pin]> = match spec.fingerprints() {
                    Ok(pins) => pins.into(),
                    // `api::parse` rejects it before. Without any pin, mode Legacy would accept every certificate.
                    Err(pin) => {
                        let detail = format!("{pin:?} is not a SHA-256 fingerprint. To fix: correct tls.pins.");
                        return Err(unavailable(UnavailableCause::TlsFailed, detail));
                    }
                };
                Ok(if mode == TlsMode::Pin { Tls::Pin { pins } } else { Tls::Legacy { pins } })
            }
            (TlsMode::Verify, None) => Ok(Tls::Verify { ca_pem: None }),
            (TlsMode::Verify, Some(bundle)) => {
                let (name, item) = (&bundle.config_map_ref.name, &bundle.config_map_ref.key);
                Ok(Tls::Verify { ca_pem: Some(self.bundle(name, item).await?) })
            }
        }
    }

    async fn bundle(&mut self, name: &str, item: &str) -> Resolved<Arc<str>> {
        let namespace = namespace(self.resource);
        let key = (namespace.to_owned(), name.to_owned(), item.to_owned());
        self.used.bundles.insert(key.clone());
        let read = |map: Option<ConfigMap>| read_bundle(namespace, name, item, map);
        self.credentials.resolve(&self.credentials.bundles, key, (namespace, name), read).await
    }

    /// Drops what the resource used before this pass and no resource uses now.
    pub fn finish(self) {
        let mut users = self.credentials.users.lock();
        let before = users.insert(self.resource.clone(), self.used.clone()).unwrap_or_default();
        if before != self.used {
            self.credentials.drop_unused(&users, &before);
        }
    }
}

impl Credentials {
    /// The cached result if it is a success and not older than [`MAX_AGE`], else the result of a request. If the API server
    /// gives no answer about the object, an older result is used.
    async fn resolve<O, K, T>(
        &self,
        cache: &Cache<K, T>,
        key: K,
        (namespace, name): (&str, &str),
        read: impl FnOnce(Option<O>) -> Resolved<T>,
    ) -> Resolved<T>
    where
        O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K: Eq + Hash,
        T: Clone,
    {
        let kind = O::kind(&());
        // The client writes the name into the path of the request as it is, where `../` could lead to another namespace.
        if !is_object_name(name) {
            let detail = format!("{name:?} is not the name of a {kind}. To fix: write the name as kubectl prints it.");
            return Err(unavailable(UnavailableCause::CredentialsUnreadable, detail));
        }
        let cached = cache.lock().get(&key).cloned();
        if let Some((at, result)) = &cached
            && at.elapsed() < MAX_AGE
            && result.is_ok()
        {
            return result.clone();
        }
        let unreadable = |why: String| {
            let detail = format!(
                "The operator cannot read {kind} {namespace}/{name}: {why}. To fix: run kubectl get {} {name} -n {namespace}, and correct what prevents it.",
                kind.to_lowercase()
            );
            Err(unavailable(UnavailableCause::CredentialsUnreadable, detail))
        };
        let cached_or = |why| cached.map_or_else(|| unreadable(why), |(_, result)| result);
        let objects = Api::<O>::namespaced(self.client.clone(), namespace);
        let result = match timeout(self.read_timeout, objects.get_opt(name)).await {
            Ok(Ok(object)) => read(object),
            // A revoked permission takes effect at once: the cached result is not used.
            Ok(Err(kube::Error::Api(answer))) if answer.is_forbidden() => Err(forbidden(&kind, &answer)),
            Ok(Err(source)) => return cached_or(why(&source)),
            Err(_) => return cached_or(format!("the API server did not answer within {:?}", self.read_timeout)),
        };
        cache.lock().insert(key, (Instant::now(), result.clone()));
        result
    }
}

/// An error of the decoder can quote the Secret.
fn why(error: &kube::Error) -> String {
    match error {
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
            "the answer of the API server cannot be decoded".into()
        }
        error => cause(error),
    }
}

fn forbidden(kind: &str, answer: &Status) -> Unavailable {
    let detail = format!(
        "The operator cannot read the {kind}: {}. To fix: bind its ServiceAccount to a Role with get on the {kind} in this namespace.",
        answer.message.trim_end_matches('.')
    );
    unavailable(UnavailableCause::CredentialsForbidden, detail)
}

/// The keys of a Secret, which are overwritten in memory when they are dropped.
struct Erased(BTreeMap<String, ByteString>);

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.values_mut().for_each(|bytes| bytes.0.zeroize());
    }
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
    let mut data = Erased(secret.data.unwrap_or_default());
    let mut bytes = |key: &str| {
        data.0.remove(key).map(|bytes| bytes.0).filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
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
#[path = "credentials_tests.rs"]
mod tests;
