//! The TLS settings of a store, and the pins as bytes. Doc comments here print in `kubectl explain`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// The encryption of the connection and the verification of the server certificate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.caBundle) || self.mode == 'Verify'").message(rules::CA_UNUSED))]
#[x_kube(validation = Rule::new("has(self.pins) ? (self.mode in ['Pin', 'Legacy']) : (self.mode != 'Pin')").message(rules::PINS))]
pub struct TlsSpec {
    /// Verify (default): the certificate must be valid for the host name and signed by a CA of caBundle (without caBundle: by a CA that the operator's image trusts). Pin: the certificate must be one of pins; its signature is not checked. TrustServerCertificate: encrypted, but any certificate is accepted. Legacy: for servers without TLS 1.2 or with a certificate of less than 2048 bits or SHA-1; TLS 1.0 and weak algorithms are accepted, which an on-path attacker can break; condition WeakEncryption shows it. Disabled: nothing is encrypted, for servers whose TLS cannot be used at all; allowed only with auth.method Kerberos, as a password must not cross the network unencrypted; condition WeakEncryption shows it.
    #[serde(default)]
    pub mode: TlsMode,
    /// The CA certificates (PEM) that may sign the servers' certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// SHA-256 fingerprints of the servers' certificates, in hexadecimal digits with or without colons. Required with mode Pin; with mode Legacy without pins any certificate is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$")))]
    pub pins: Option<Vec<String>>,
}

impl TlsSpec {
    /// The pins as bytes.
    ///
    /// # Errors
    /// The first pin that is not 32 bytes in hexadecimal digits.
    pub fn fingerprints(&self) -> Result<Vec<[u8; 32]>, &str> {
        let read = |text: &str| -> Option<[u8; 32]> {
            let digits: Vec<u32> = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
            let bytes: Option<Vec<u8>> =
                digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair.get(1)?).ok()).collect();
            bytes?.try_into().ok()
        };
        self.pins.iter().flatten().map(|text| read(text).ok_or(text.as_str())).collect()
    }
}

/// The TLS mode of the connections to a store.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum TlsMode {
    #[default]
    Verify,
    Pin,
    TrustServerCertificate,
    Legacy,
    Disabled,
}

/// The source of the CA certificates.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// The ConfigMap that holds the certificates, in the namespace of this resource.
    pub config_map_ref: ConfigMapRef,
}

/// A reference to one key of a ConfigMap.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[cfg_attr(test, x_kube(cel))]
pub struct ConfigMapRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::IS_OBJECT_NAME).message(rules::CONFIG_MAP_NAME))]
    pub name: String,
    /// Key that holds the PEM text. The default is `ca.crt`.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::IS_KEY).message(rules::CONFIG_MAP_KEY))]
    pub key: String,
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_with_or_without_colons_are_32_bytes() {
        let tls = |pin: &str| TlsSpec { pins: Some(vec![pin.to_owned()]), ..TlsSpec::default() };
        let colons = vec!["aB"; 32].join(":");
        for right in [colons.clone(), "Ab".repeat(32)] {
            assert_eq!(tls(&right).fingerprints(), Ok(vec![[0xab; 32]]));
        }
        for wrong in ["", "ab", &"ab".repeat(33), &"ab".repeat(31), &"xy".repeat(32), &"a".repeat(63)] {
            assert_eq!(tls(wrong).fingerprints(), Err(wrong));
        }
    }
}
