//! Secrets and ConfigMaps of the resource's own namespace, read by name (`get` only) and read again as they age, so
//! that a rotated password needs no restart. What is missing is darkness, not an error.

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

/// The oldest reading that a pass may use.
const MAX_AGE: Duration = Duration::from_secs(10);
/// The client has no read timeout of its own.
const READ: Duration = Duration::from_secs(10);

type Reading<T> = Result<T, Unavailable>;
/// What was read last, and when.
type Readings<K, T> = Mutex<HashMap<K, (Instant, Reading<T>)>>;

pub struct Credentials {
    client: Client,
    logins: Readings<(String, Auth), Authentication>,
    bundles: Readings<(String, String, String), Arc<str>>,
}

fn unavailable(cause: UnavailableCause, detail: String) -> Unavailable {
    Unavailable { cause, detail }
}

impl Credentials {
    pub fn new(client: Client) -> Self {
        Self { client, logins: Mutex::default(), bundles: Mutex::default() }
    }

    /// The login of a store. `Err` only when the API server does not answer and nothing was read before.
    pub async fn login(&self, namespace: &str, auth: &Auth) -> Result<Reading<Authentication>, Error> {
        let read = |secret: Option<Secret>| read_login(namespace, auth, secret);
        let key = (namespace.to_owned(), auth.clone());
        read_again(&self.client, &self.logins, key, namespace, &auth.secret_ref.name, read).await
    }

    /// The policy of the connection's encryption.
    pub async fn tls(&self, namespace: &str, spec: &TlsSpec) -> Result<Reading<Tls>, Error> {
        match (spec.mode, &spec.ca_bundle) {
            (TlsMode::Off, _) => Ok(Ok(Tls::Off)),
            (TlsMode::TrustServerCertificate, _) => Ok(Ok(Tls::TrustServerCertificate)),
            (mode @ (TlsMode::Pin | TlsMode::Legacy), _) => {
                // A spec with a wrong pin does not come this far (api::parse): without it nobody would be believed.
                let pins: Arc<[Pin]> = spec.fingerprints().unwrap_or_else(|_| vec![[0; 32]]).into();
                Ok(Ok(if mode == TlsMode::Pin { Tls::Pin { pins } } else { Tls::Legacy { pins } }))
            }
            (TlsMode::Verify, None) => Ok(Ok(Tls::Verify { ca_pem: None })),
            (TlsMode::Verify, Some(bundle)) => {
                let (name, item) = (&bundle.config_map_ref.name, &bundle.config_map_ref.key);
                Ok(self.bundle(namespace, name, item).await?.map(|pem| Tls::Verify { ca_pem: Some(pem) }))
            }
        }
    }

    async fn bundle(&self, namespace: &str, name: &str, item: &str) -> Result<Reading<Arc<str>>, Error> {
        let read = |map: Option<ConfigMap>| read_bundle(namespace, name, item, map);
        let key = (namespace.to_owned(), name.to_owned(), item.to_owned());
        read_again(&self.client, &self.bundles, key, namespace, name, read).await
    }
}

/// What was read before, if it is good and young enough; else what the API server has now.
async fn read_again<O, K, T>(
    client: &Client,
    readings: &Readings<K, T>,
    key: K,
    namespace: &str,
    name: &str,
    read: impl FnOnce(Option<O>) -> Reading<T>,
) -> Result<Reading<T>, Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    K: Eq + Hash,
    T: Clone,
{
    let known = readings.lock().get(&key).cloned();
    if let Some((at, reading)) = &known
        && at.elapsed() < MAX_AGE
        && reading.is_ok()
    {
        return Ok(reading.clone());
    }
    let kind = O::kind(&());
    let before = |error| known.map(|(_, reading)| reading).ok_or(error);
    let objects = Api::<O>::namespaced(client.clone(), namespace);
    let reading = match timeout(READ, objects.get_opt(name)).await {
        Ok(Ok(object)) => read(object),
        // What was allowed before is forbidden on purpose: the old reading is not used.
        Ok(Err(kube::Error::Api(answer))) if answer.is_forbidden() => Err(forbidden(&kind, &answer)),
        Ok(Err(source)) => return before(Error::Read { what: format!("{kind} {namespace}/{name}"), source }),
        Err(_) => return before(Error::Slow { what: format!("reading {kind} {namespace}/{name}") }),
    };
    readings.lock().insert(key, (Instant::now(), reading.clone()));
    Ok(reading)
}

fn forbidden(kind: &str, answer: &Status) -> Unavailable {
    let detail = format!(
        "the operator may not read the {kind}: {}. Bind its ServiceAccount to a Role with get on it in this namespace",
        answer.message
    );
    unavailable(UnavailableCause::CredentialsForbidden, detail)
}

fn read_login(namespace: &str, auth: &Auth, secret: Option<Secret>) -> Reading<Authentication> {
    let name = &auth.secret_ref.name;
    let keys = match auth.method {
        AuthMethod::SqlLogin => "username and password",
        AuthMethod::Kerberos => "username and keytab",
    };
    let Some(secret) = secret else {
        let detail = format!("Secret {namespace}/{name} does not exist: create it with the keys {keys}");
        return Err(unavailable(UnavailableCause::SecretNotFound, detail));
    };
    let mut data = secret.data.unwrap_or_default();
    let mut bytes = |key: &str| {
        data.remove(key).map(|bytes| bytes.0).filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            let detail =
                format!("Secret {namespace}/{name} has no key {key}, or it is empty: the keys {keys} are needed");
            unavailable(UnavailableCause::SecretKeyMissing, detail)
        })
    };
    let text = |key: &str, bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| {
            unavailable(
                UnavailableCause::SecretKeyMissing,
                format!("key {key} of Secret {namespace}/{name} is not UTF-8 text"),
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
                    "key username of Secret {namespace}/{name} is {username:?}: with method Kerberos it must be ACCOUNT@REALM, such as svc-lync@CONTOSO.COM"
                );
                unavailable(UnavailableCause::NoKerberosCredentials, detail)
            })?;
            Ok(Authentication::Kerberos(Arc::new(account)))
        }
    }
}

fn read_bundle(namespace: &str, name: &str, item: &str, map: Option<ConfigMap>) -> Reading<Arc<str>> {
    let missing = |detail| Err(unavailable(UnavailableCause::CaBundleNotFound, detail));
    let Some(map) = map else {
        return missing(format!(
            "ConfigMap {namespace}/{name} (tls.caBundle) does not exist: create it with the CA certificates in PEM under the key {item}"
        ));
    };
    let Some(pem) = map.data.unwrap_or_default().remove(item) else {
        return missing(format!(
            "ConfigMap {namespace}/{name} (tls.caBundle) has no key {item}: put the CA certificates in PEM there, or name another key"
        ));
    };
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        let detail = format!("key {item} of ConfigMap {namespace}/{name} (tls.caBundle) holds no PEM certificate");
        return Err(unavailable(UnavailableCause::CaBundleInvalid, detail));
    }
    Ok(Arc::from(pem))
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
    fn what_is_missing_is_named() {
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
}
