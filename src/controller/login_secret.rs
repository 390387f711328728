//! The login in a Secret, or in a file with the same keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;
use secrecy::zeroize::Zeroize;

use crate::api::{Auth, AuthMethod};
use crate::controller::object_cache::Resolved;
use crate::model::{Unavailable, UnavailableCause};
use crate::sql::{Account, Authentication};

/// The limit of a user name and of a password in bytes, before either is decoded.
const LONGEST_TEXT: usize = 1 << 10;
/// The limit of a user name and of a password in UTF-16 units (LOGIN7, "MS-TDS: Tabular Data Stream Protocol").
pub(super) const LONGEST_LOGIN: usize = 128;
/// The limit of a keytab, in bytes. A key has about 100.
pub(super) const LARGEST_KEYTAB: usize = 64 << 10;
/// How many keys of a Secret a message names.
const NAMED_KEYS: usize = 8;

/// The keys of a Secret, which are overwritten in memory when they are dropped.
struct Erased(BTreeMap<String, ByteString>);

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.values_mut().for_each(|bytes| bytes.0.zeroize());
    }
}

fn unusable(detail: String) -> Unavailable {
    Unavailable { cause: UnavailableCause::SecretKeyMissing, detail }
}

/// The login of a store in the Secret that `auth` names. `name`: what messages name, e.g. `Secret lync/sql`.
///
/// # Errors
/// `SecretNotFound`, `SecretKeyMissing` with every key that is missing, or `NoKerberosCredentials`.
pub fn read_login(name: &str, auth: &Auth, secret: Option<Secret>) -> Resolved<Authentication> {
    let second = match auth.method {
        AuthMethod::SqlLogin => "password",
        AuthMethod::Kerberos => "keytab",
    };
    let Some(secret) = secret else {
        let detail = format!("{name} does not exist. To fix: create it with the keys username and {second}.");
        return Err(Unavailable { cause: UnavailableCause::SecretNotFound, detail });
    };
    let mut data = Erased(secret.data.unwrap_or_default());
    require(name, &data, ["username", second])?;
    let mut take = |key: &str| data.0.remove(key).map(|bytes| bytes.0).unwrap_or_default();
    // The other key stays in `data`, which is overwritten, until the user name is known to be usable.
    let username = text(name, "username", take("username"))?;
    let second = take(second);
    match auth.method {
        AuthMethod::SqlLogin => {
            let password = SecretString::from(text(name, "password", second)?);
            Ok(Authentication::SqlLogin { username, password })
        }
        AuthMethod::Kerberos => {
            let kdcs = auth.kdcs.clone().unwrap_or_default();
            let keytab = within(name, "keytab", second, LARGEST_KEYTAB)?;
            let account = Account::new(&username, keytab, kdcs).ok_or_else(|| {
                let detail = format!(
                    "Key username of {name} is {username:?}, but method Kerberos needs ACCOUNT@REALM. To fix: set it to a value such as svc-lync@CONTOSO.COM."
                );
                Unavailable { cause: UnavailableCause::NoKerberosCredentials, detail }
            })?;
            Ok(Authentication::Kerberos(Arc::new(account)))
        }
    }
}

/// The error names every key that is missing, and the keys that are there: a key is often misspelt.
fn require(name: &str, data: &Erased, keys: [&str; 2]) -> Resolved<()> {
    let others = data.0.keys().filter(|key| !keys.contains(&key.as_str()));
    let mut others: Vec<String> = others.take(NAMED_KEYS + 1).cloned().collect();
    if others.len() > NAMED_KEYS {
        others[NAMED_KEYS] = "...".to_owned();
    }
    let others = if others.is_empty() { String::new() } else { format!(" It has the keys {}.", others.join(", ")) };
    let problems = keys.iter().filter_map(|key| match data.0.get(*key) {
        None => Some(format!("no key {key}")),
        Some(bytes) if bytes.0.is_empty() => Some(format!("an empty key {key}")),
        Some(_) => None,
    });
    let problems: Vec<String> = problems.collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(unusable(format!(
        "{name} has {}.{others} To fix: set the keys {} and {}.",
        problems.join(" and "),
        keys[0],
        keys[1]
    )))
}

/// The value as text. What is refused is overwritten: it can be a secret under the wrong key.
fn text(name: &str, key: &str, bytes: Vec<u8>) -> Resolved<String> {
    let bytes = within(name, key, bytes, LONGEST_TEXT)?;
    let mut text = String::from_utf8(bytes).map_err(|refused| {
        refused.into_bytes().zeroize();
        unusable(format!("Key {key} of {name} is not UTF-8 text. To fix: store the {key} in UTF-8."))
    })?;
    let length = text.encode_utf16().count();
    if length <= LONGEST_LOGIN {
        return Ok(text);
    }
    text.zeroize();
    Err(unusable(format!(
        "Key {key} of {name} has {length} characters, and the limit of SQL Server is {LONGEST_LOGIN}. To fix: store the {key} alone under that key."
    )))
}

/// A login needs memory for each connection, and all tenants share the memory.
fn within(name: &str, key: &str, mut bytes: Vec<u8>, limit: usize) -> Resolved<Vec<u8>> {
    let length = bytes.len();
    if length <= limit {
        return Ok(bytes);
    }
    bytes.zeroize();
    Err(unusable(format!(
        "Key {key} of {name} has {length} bytes, and the limit is {limit}. To fix: store the {key} alone under that key."
    )))
}
