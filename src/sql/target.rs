//! Where and how to reach one instance, and how long each phase may take. Nothing is dialled here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::sql::Account;

/// Where and how to reach one instance. Equal targets share one connection and one look; two passwords are two targets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A DNS name or an IP address, as the spec writes it.
    pub host: String,
    pub endpoint: InstanceAddress,
    pub login: Authentication,
    pub tls: Tls,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstanceAddress {
    Port(u16),
    /// The SQL Browser on UDP 1434 is asked for the port.
    Instance(String),
}

#[derive(Clone)]
pub enum Authentication {
    /// A login that SQL Server itself keeps.
    SqlLogin { username: String, password: SecretString },
    /// A Windows login, for which a keytab gets a ticket.
    Kerberos(Arc<Account>),
}

/// The SHA-256 of a certificate (DER).
pub type Pin = [u8; 32];

/// How the server proves who it is. TLS 1.2 at least, but in `Legacy`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Tls {
    /// The chain and the name are checked.
    Verify {
        /// The only certificates that are trusted, in PEM; None: those of the system.
        ca_pem: Option<Arc<str>>,
    },
    /// The certificate is one of these, whoever signed it and for whatever name.
    Pin { pins: Arc<[Pin]> },
    /// Encrypted, but to whoever answers.
    TrustServerCertificate,
    /// For servers that cannot do better: TLS 1.0, SHA-1 and small keys too. Empty: whoever answers.
    Legacy { pins: Arc<[Pin]> },
    /// No encryption at all: never with a password.
    Off,
}

impl Target {
    /// `host,1433` or `host\RTC`, as administrators write it.
    pub fn address(&self) -> String {
        match &self.endpoint {
            InstanceAddress::Port(port) => format!("{},{port}", self.host),
            InstanceAddress::Instance(name) => format!("{}\\{name}", self.host),
        }
    }
}

impl Authentication {
    pub fn username(&self) -> &str {
        match self {
            Authentication::SqlLogin { username, .. } => username,
            Authentication::Kerberos(account) => account.principal(),
        }
    }

    /// Equal for equal logins; password and keytab enter only as SHA-256.
    fn key(&self) -> (bool, &str, [u8; 32]) {
        match self {
            Authentication::SqlLogin { username, password } => {
                (false, username, Sha256::digest(password.expose_secret().as_bytes()).into())
            }
            Authentication::Kerberos(account) => (true, account.principal(), account.digest()),
        }
    }
}

impl PartialEq for Authentication {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Authentication {}

impl Hash for Authentication {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Authentication::SqlLogin { .. } => "SqlLogin",
            Authentication::Kerberos(_) => "Kerberos",
        };
        f.debug_struct(kind).field("username", &self.username()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tls::Verify { ca_pem: Some(_) } => "Verify(own CA)",
            Tls::Verify { ca_pem: None } => "Verify(system roots)",
            Tls::Pin { .. } => "Pin",
            Tls::TrustServerCertificate => "TrustServerCertificate",
            Tls::Legacy { pins } if pins.is_empty() => "Legacy",
            Tls::Legacy { .. } => "Legacy(pinned)",
            Tls::Off => "Off",
        })
    }
}

/// How long each phase of a connection may take, each on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    pub resolve: Duration,
    /// For all tries together.
    pub browser: Duration,
    /// For all addresses of the host together.
    pub connect: Duration,
    pub prelogin: Duration,
    pub tls: Duration,
    /// Until a KDC has given a Kerberos ticket.
    pub ticket: Duration,
    pub login: Duration,
    /// A look. Longer than the 10 s after which mirroring itself gives a partner up (R19).
    pub batch: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            resolve: seconds(5),
            browser: seconds(3),
            connect: seconds(10),
            prelogin: seconds(10),
            tls: seconds(10),
            ticket: seconds(10),
            login: seconds(15),
            batch: seconds(15),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn target(password: &str) -> Target {
        Target {
            host: "sql-a.contoso.com".into(),
            endpoint: InstanceAddress::Instance("RTC".into()),
            login: Authentication::SqlLogin { username: "lync".into(), password: password.into() },
            tls: Tls::Verify { ca_pem: Some("-----BEGIN".into()) },
        }
    }

    #[test]
    #[allow(clippy::mutable_key_type, reason = "what changes in an account is no part of its hash")]
    fn target_equality_includes_the_password() {
        let set: HashSet<Target> = [target("one"), target("one"), target("two")].into();
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", target("hunter2"));
        assert!(text.contains("lync"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let digest: String = Sha256::digest("hunter2").iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&digest[..8]), "{text}");
    }

    #[test]
    fn address_has_the_form_of_sql_server_tools() {
        let mut target = target("one");
        assert_eq!(target.address(), "sql-a.contoso.com\\RTC");
        target.endpoint = InstanceAddress::Port(1433);
        assert_eq!(target.address(), "sql-a.contoso.com,1433");
    }
}
