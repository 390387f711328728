//! A Windows account that logs in by keytab.

use openssl::sha::sha256;
use secrecy::{ExposeSecret, SecretSlice};

/// A Windows account and its keys.
pub struct Account {
    /// `svc-lync@CONTOSO.COM`
    principal: String,
    pub(super) keytab: SecretSlice<u8>,
    /// As in `krb5.conf`: `host` or `host:port`. Empty: the KDCs of DNS.
    pub(super) kdcs: Vec<String>,
}

impl Account {
    /// Returns `None` unless the principal has the form `name@REALM`.
    pub fn new(principal: &str, keytab: Vec<u8>, kdcs: Vec<String>) -> Option<Account> {
        let (name, realm) = principal.split_once('@')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let named = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
        // The realm is written into krb5.conf, where an injected line could load a library.
        (named && !realm.is_empty() && realm.chars().all(plain)).then(|| Account {
            principal: principal.to_owned(),
            keytab: keytab.into(),
            kdcs,
        })
    }

    pub fn principal(&self) -> &str {
        &self.principal
    }

    pub(super) fn realm(&self) -> &str {
        self.principal.split_once('@').map_or("", |(_, realm)| realm)
    }

    /// The SHA-256 of keytab and configuration, equal for equal accounts.
    pub(super) fn digest(&self) -> [u8; 32] {
        // OpenSSL erases the state of a digest, which contains a part of the text.
        sha256(&[sha256(self.keytab.expose_secret()), sha256(self.config().as_bytes())].concat())
    }

    /// The content of `krb5.conf`. DNS resolves only KDCs: a canonicalized host name would not match the registered
    /// SPN.
    pub(super) fn config(&self) -> String {
        let realm = self.realm();
        let lines: String = self.kdcs.iter().map(|kdc| format!("    kdc = {kdc}\n")).collect();
        format!(
            "[libdefaults]\n  default_realm = {realm}\n  dns_lookup_kdc = {}\n  dns_lookup_realm = false\n  rdns = false\n  dns_canonicalize_hostname = false\n  udp_preference_limit = 1\n[realms]\n  {realm} = {{\n{lines}  }}\n",
            self.kdcs.is_empty(),
        )
    }
}
