//! The address, credentials and TLS policy of one instance, and the deadlines of each phase.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use openssl::sha::sha256;
use secrecy::{ExposeSecret, SecretString};

use crate::sql::Account;

/// The address, credentials and TLS policy of one instance. Equal targets share one monitor; a new password is a new
/// target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A DNS name or an IP address, as written in the spec.
    pub host: String,
    pub endpoint: InstanceAddress,
    pub login: Authentication,
    pub tls: Tls,
    /// The namespace of the resource, whose shares the connections use. So no two namespaces share a monitor.
    pub namespace: Arc<str>,
}

/// The TCP port of an instance, or the name that resolves to the port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstanceAddress {
    Port(u16),
    /// The SQL Server Browser on UDP 1434 resolves the name to a port.
    Instance(String),
}

/// The credentials of a connection. Debug output shows the user name only.
#[derive(Clone)]
pub enum Authentication {
    /// SQL Server authentication.
    SqlLogin { username: String, password: SecretString },
    /// Windows authentication with a Kerberos ticket, obtained with a keytab.
    Kerberos(Arc<Account>),
}

/// The SHA-256 of a certificate (DER).
pub type Pin = [u8; 32];

/// The TLS policy. At least TLS 1.2, except in `Legacy`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Tls {
    /// Verifies the certificate chain and the host name.
    Verify {
        /// The trusted certificates in PEM; `None` means the roots of the system.
        ca_pem: Option<Arc<str>>,
    },
    /// Accepts exactly these certificates, regardless of issuer and name.
    Pin { pins: Arc<[Pin]> },
    /// Encrypts without verification of the server.
    TrustServerCertificate,
    /// Also accepts TLS 1.0, SHA-1 and short keys, for outdated servers. Without pins, the server is not verified.
    Legacy { pins: Arc<[Pin]> },
    /// No encryption; rejected together with a password.
    Off,
}

impl InstanceAddress {
    /// The name of the default instance, which listens on port 1433 and which the SQL Server Browser does not list.
    const DEFAULT_INSTANCE: &str = "MSSQLSERVER";
    const DEFAULT_PORT: u16 = 1433;

    /// The address of the instance with this name.
    pub fn named(instance: &str) -> InstanceAddress {
        if instance.eq_ignore_ascii_case(Self::DEFAULT_INSTANCE) {
            InstanceAddress::Port(Self::DEFAULT_PORT)
        } else {
            InstanceAddress::Instance(instance.to_owned())
        }
    }
}

impl Target {
    /// `host,1433` or `host\RTC`, as in SQL Server tools.
    pub fn address(&self) -> String {
        match &self.endpoint {
            InstanceAddress::Port(port) => format!("{},{port}", self.host),
            InstanceAddress::Instance(name) => format!("{}\\{name}", self.host),
        }
    }
}

impl Authentication {
    /// The login name or the Kerberos principal.
    pub fn username(&self) -> &str {
        match self {
            Authentication::SqlLogin { username, .. } => username,
            Authentication::Kerberos(account) => account.principal(),
        }
    }

    /// Equal for equal credentials; contains password and keytab only as SHA-256.
    fn key(&self) -> (bool, &str, [u8; 32]) {
        match self {
            Authentication::SqlLogin { username, password } => {
                // OpenSSL erases the state of a digest, which contains a part of the text.
                (false, username, sha256(password.expose_secret().as_bytes()))
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

/// The deadline of each phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the wait until the namespace has a share of the operator's connections, lookups or helper processes, each. The
    /// other deadlines begin after it.
    pub share: Duration,
    pub resolve: Duration,
    /// For all tries of a Browser request together.
    pub browser: Duration,
    /// For all addresses of the host together.
    pub connect: Duration,
    pub prelogin: Duration,
    pub tls: Duration,
    /// For the Kerberos ticket.
    pub ticket: Duration,
    pub login: Duration,
    /// For a poll. Longer than the 10 s after which mirroring declares a partner lost (docs/design/rules.md, R19).
    pub batch: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            share: seconds(10),
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
            namespace: "lync".into(),
        }
    }

    #[test]
    #[allow(clippy::mutable_key_type, reason = "the mutable part of an account is not hashed")]
    fn target_equality_includes_the_password_and_the_namespace() {
        let other = Target { namespace: "other".into(), ..target("one") };
        let set: HashSet<Target> = [target("one"), target("one"), target("two"), other].into();
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", target("hunter2"));
        assert!(text.contains("lync"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let digest = crate::sql::hex::upper(&sha256(b"hunter2"), "");
        assert!(!text.to_uppercase().contains(&digest[..8]), "{text}");
    }

    #[test]
    fn address_has_the_form_of_sql_server_tools() {
        let mut target = target("one");
        assert_eq!(target.address(), "sql-a.contoso.com\\RTC");
        target.endpoint = InstanceAddress::named("mssqlserver");
        assert_eq!(target.address(), "sql-a.contoso.com,1433");
    }
}
