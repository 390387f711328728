//! The credentials of a resource: Secrets and ConfigMaps of its own namespace, read by name (`get` only) and cached for
//! [`MAX_AGE`] as long as a resource uses them; without a cluster, files in their place. A rotated password needs no restart. What cannot be read makes the servers
//! of its resource unavailable. It is no reconcile error, because other resources must not wait for it.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::{NamespaceResourceScope, Status};
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::api::{Auth, TlsMode, TlsSpec, is_object_name};
use crate::controller::backend::Backend;
use crate::controller::error::cause;
use crate::controller::index::Index;
use crate::controller::login_secret::read_login;
use crate::controller::object::{ResourceRef, namespace, namespaced_name};
use crate::controller::object_cache::{ObjectCache, ObjectKey, Reading, Resolved};
use crate::direct::{Bundle, LoginData};
use crate::model::{Unavailable, UnavailableCause};
use crate::sql::{Authentication, Pin, Tls};

/// The maximum age of a cached Secret or ConfigMap.
const MAX_AGE: Duration = Duration::from_secs(30);
/// The maximum age of a Secret while a server refuses its login.
const MAX_AGE_WHEN_REFUSED: Duration = Duration::from_secs(10);
/// The limit of a CA bundle, in bytes. That of a Linux distribution has about 220,000.
const LARGEST_BUNDLE: usize = 256 << 10;
/// The limit of its certificates, each of which takes about 10 KB in OpenSSL. That of a Linux distribution has about 150.
const MOST_CERTIFICATES: usize = 256;
/// The limit for a request, because the client has no read timeout.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Credentials {
    backend: Backend,
    read_timeout: Duration,
    logins: ObjectCache<Auth, Authentication>,
    /// By key of the ConfigMap.
    bundles: ObjectCache<String, Arc<str>>,
    users: Mutex<Users>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Used {
    Secret(ObjectKey),
    ConfigMap(ObjectKey),
}

/// What the last pass of each resource used.
#[derive(Default)]
struct Users {
    by_resource: HashMap<Arc<str>, BTreeSet<Used>>,
    by_object: Index<Used>,
}

impl Users {
    /// Returns what no resource uses any more.
    fn set(&mut self, resource: &str, now: BTreeSet<Used>) -> Vec<Used> {
        let resource: Arc<str> = resource.into();
        let before = self.by_resource.remove(&resource).unwrap_or_default();
        let unused =
            |object: &&Used| !now.contains(object) && self.by_object.others(object, &resource).next().is_none();
        let unused = before.iter().filter(unused).cloned().collect();
        if before != now {
            self.by_object.replace(&resource, before, now.iter().cloned());
        }
        if !now.is_empty() {
            self.by_resource.insert(resource, now);
        }
        unused
    }
}

/// The reader of one pass of a resource.
pub struct Reader<'a> {
    credentials: &'a Credentials,
    resource: &'a ResourceRef,
    used: BTreeSet<Used>,
}

/// The reading of a file failed, and there is no older value.
fn unreadable(why: &str) -> Unavailable {
    unavailable(UnavailableCause::CredentialsUnreadable, why.to_owned())
}

fn unavailable(cause: UnavailableCause, detail: String) -> Unavailable {
    Unavailable { cause, detail }
}

impl Credentials {
    pub fn new(backend: impl Into<Backend>) -> Self {
        Self::with_timeout(backend, READ_TIMEOUT)
    }

    fn with_timeout(backend: impl Into<Backend>, read_timeout: Duration) -> Self {
        let (logins, bundles) = (ObjectCache::default(), ObjectCache::default());
        Self { backend: backend.into(), read_timeout, logins, bundles, users: Mutex::default() }
    }

    /// For a test that nothing is left.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        let users = self.users.lock();
        let cached = self.logins.keys().len() + self.bundles.keys().len();
        users.by_resource.len() + users.by_object.entries() + cached
    }

    pub fn reader<'a>(&'a self, resource: &'a ResourceRef) -> Reader<'a> {
        Reader { credentials: self, resource, used: BTreeSet::new() }
    }

    /// Drops what only this resource used.
    pub fn forget(&self, resource: &ResourceRef) {
        self.set_used(resource, BTreeSet::new());
    }

    pub fn forget_all(&self) {
        *self.users.lock() = Users::default();
        self.logins.forget_all();
        self.bundles.forget_all();
    }

    fn set_used(&self, resource: &ResourceRef, used: BTreeSet<Used>) {
        // Under the lock, so that no other pass can begin to use what is dropped.
        let mut users = self.users.lock();
        for object in users.set(&namespaced_name(resource), used) {
            match object {
                Used::Secret(key) => self.logins.forget(&key),
                Used::ConfigMap(key) => self.bundles.forget(&key),
            }
        }
    }
}

impl Reader<'_> {
    /// The login of a store.
    pub async fn login(&mut self, auth: &Auth) -> Resolved<Authentication> {
        self.login_within(auth, MAX_AGE).await
    }

    /// The login of a store after a server refused the last one: the Secret can have changed.
    pub async fn login_after_refusal(&mut self, auth: &Auth) -> Resolved<Authentication> {
        self.login_within(auth, MAX_AGE_WHEN_REFUSED).await
    }

    async fn login_within(&mut self, auth: &Auth, max_age: Duration) -> Resolved<Authentication> {
        let namespace = namespace(self.resource);
        let key = (namespace.to_owned(), auth.secret_ref.name.clone());
        self.used.insert(Used::Secret(key.clone()));
        let Credentials { backend, logins, .. } = self.credentials;
        if let Backend::Files(files) = backend {
            let request = async || read_login_file(auth, files.directory.login().await);
            return logins.get(key, auth.clone(), max_age, request, unreadable).await;
        }
        let name = format!("Secret {namespace}/{}", auth.secret_ref.name);
        let read = |secret: Option<Secret>| read_login(&name, auth, secret);
        self.credentials.resolve(logins, key, auth.clone(), max_age, read).await
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
        let key = (namespace.to_owned(), name.to_owned());
        self.used.insert(Used::ConfigMap(key.clone()));
        let Credentials { backend, bundles, .. } = self.credentials;
        if let Backend::Files(files) = backend {
            let request = async || read_bundle_file(item, files.directory.ca_bundle().await);
            return bundles.get(key, item.to_owned(), MAX_AGE, request, unreadable).await;
        }
        let read = |map: Option<ConfigMap>| read_bundle(namespace, name, item, map);
        self.credentials.resolve(bundles, key, item.to_owned(), MAX_AGE, read).await
    }

    /// Drops what the resource used before this pass and no resource uses now.
    pub fn finish(self) {
        self.credentials.set_used(self.resource, self.used);
    }
}

impl Credentials {
    async fn resolve<O, W, T>(
        &self,
        cache: &ObjectCache<W, T>,
        key: ObjectKey,
        wanted: W,
        max_age: Duration,
        read: impl FnOnce(Option<O>) -> Resolved<T>,
    ) -> Resolved<T>
    where
        O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        W: Eq + std::hash::Hash,
        T: Clone,
    {
        let (kind, (namespace, name)) = (O::kind(&()), key.clone());
        // The client writes the name into the path of the request as it is, where `../` could lead to another namespace.
        if !is_object_name(&name) {
            let detail = format!("{name:?} is not the name of a {kind}. To fix: write the name as kubectl prints it.");
            return Err(unavailable(UnavailableCause::CredentialsUnreadable, detail));
        }
        let unreadable = |why: &str| {
            let detail = format!(
                "The operator cannot read {kind} {namespace}/{name}: {why}. To fix: run kubectl get {} {name} -n {namespace}, and correct what prevents it.",
                kind.to_lowercase()
            );
            unavailable(UnavailableCause::CredentialsUnreadable, detail)
        };
        let request = async || {
            let Some(client) = self.backend.cluster() else {
                return Reading::NoAnswer("there is no cluster".to_owned());
            };
            let objects = Api::<O>::namespaced(client.clone(), &namespace);
            match timeout(self.read_timeout, objects.get_opt(&name)).await {
                Ok(Ok(object)) => {
                    let version = object.as_ref().and_then(ResourceExt::resource_version);
                    Reading::Answered { version, value: read(object) }
                }
                // A revoked permission takes effect at once: the cached value is not used.
                Ok(Err(kube::Error::Api(answer))) if answer.is_forbidden() => {
                    Reading::Answered { version: None, value: Err(forbidden(&kind, &answer)) }
                }
                Ok(Err(source)) => Reading::NoAnswer(why(&source)),
                Err(_) => Reading::NoAnswer(format!("the API server did not answer within {:?}", self.read_timeout)),
            }
        };
        cache.get(key, wanted, max_age, request, unreadable).await
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
        (None, Some(Err(bytes))) => {
            return Err(not_pem(
                &format!("Key {item} of ConfigMap {namespace}/{name} (tls.caBundle)"),
                bytes.as_bytes(),
            ));
        }
        (None, None) => {
            return missing(format!(
                "ConfigMap {namespace}/{name} (tls.caBundle) has no key {item}. To fix: store the CA certificates in PEM under that key, or set another key."
            ));
        }
    };
    checked(&format!("Key {item} of ConfigMap {namespace}/{name} (tls.caBundle)"), pem)
}

/// The login in a file or in the environment.
fn read_login_file(auth: &Auth, read: Result<LoginData, String>) -> Reading<Authentication> {
    match read {
        Ok(LoginData { name, keys }) => {
            let data = keys.into_iter().map(|(key, bytes)| (key, k8s_openapi::ByteString(bytes))).collect();
            let value = read_login(&name, auth, Some(Secret { data: Some(data), ..Secret::default() }));
            Reading::Answered { version: None, value }
        }
        Err(why) => Reading::NoAnswer(why),
    }
}

/// The CA bundle of a file. `item`: the key of the ConfigMap that the spec names.
fn read_bundle_file(item: &str, read: Result<Option<Bundle>, String>) -> Reading<Arc<str>> {
    let value = match read {
        Err(why) => return Reading::NoAnswer(why),
        Ok(None) => Err(unavailable(
            UnavailableCause::CaBundleNotFound,
            format!(
                "The spec verifies the certificates with key {item} of a ConfigMap (tls.caBundle), and no file is in its place. To fix: set --ca-bundle to a PEM file with the CA certificates."
            ),
        )),
        Ok(Some(Bundle { path, bytes })) => {
            let what = format!("{path} (--ca-bundle)");
            match String::from_utf8(bytes) {
                Ok(pem) => checked(&what, pem),
                Err(bytes) => Err(not_pem(&what, bytes.as_bytes())),
            }
        }
    };
    Reading::Answered { version: None, value }
}

/// `what`: where the text is from.
fn checked(what: &str, pem: String) -> Resolved<Arc<str>> {
    if pem.len() > LARGEST_BUNDLE {
        let detail = format!(
            "{what} has {} bytes, and the limit is {LARGEST_BUNDLE}. To fix: keep the CA certificates of the SQL Servers only.",
            pem.len()
        );
        return Err(unavailable(UnavailableCause::CaBundleInvalid, detail));
    }
    let certificates = pem.matches("-----BEGIN ").count();
    if certificates > MOST_CERTIFICATES {
        let detail = format!(
            "{what} has {certificates} certificates, and the limit is {MOST_CERTIFICATES}. To fix: keep the CA certificates of the SQL Servers only."
        );
        return Err(unavailable(UnavailableCause::CaBundleInvalid, detail));
    }
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(not_pem(what, pem.as_bytes()));
    }
    Ok(Arc::from(pem))
}

fn not_pem(source: &str, bytes: &[u8]) -> Unavailable {
    /// A SEQUENCE with a length of two bytes, as every certificate in DER begins.
    const DER: [u8; 2] = [0x30, 0x82];
    let what = if bytes.starts_with(&DER) {
        "is not PEM: it seems to be DER. To fix: convert it with openssl x509 -inform DER, and store the result in its place."
    } else {
        "contains no PEM certificate. To fix: store the CA certificates in PEM there."
    };
    let detail = format!("{source} {what}");
    unavailable(UnavailableCause::CaBundleInvalid, detail)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
