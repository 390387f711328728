//! The certificate authority of a simulation and the certificates of its servers.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslContext, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};
use std::net::IpAddr;
use std::sync::OnceLock;

/// A certificate authority that exists as long as the simulation.
pub struct Authority {
    key: PKey<Private>,
    certificate: X509,
    server_key: PKey<Private>,
}

/// The RSA key that all servers of a process share, because the generation of a key is slow.
fn server_key() -> Result<PKey<Private>, ErrorStack> {
    static KEY: OnceLock<PKey<Private>> = OnceLock::new();
    match KEY.get() {
        Some(key) => Ok(key.clone()),
        None => {
            let key = PKey::from_rsa(Rsa::generate(2048)?)?;
            Ok(KEY.get_or_init(|| key).clone())
        }
    }
}

impl Authority {
    pub fn new() -> Result<Self, ErrorStack> {
        let key = PKey::from_ec_key(EcKey::generate(EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?.as_ref())?)?;
        let name = name("mirror-sim authority")?;
        let mut builder = builder(&name, &name, &key)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self { key, certificate: builder.build(), server_key: server_key()? })
    }

    /// The certificate of the authority as PEM.
    pub fn pem(&self) -> Result<String, ErrorStack> {
        Ok(String::from_utf8_lossy(&self.certificate.to_pem()?).into_owned())
    }

    /// A TLS context with a certificate for these names, the address and `localhost`.
    pub fn server(&self, names: &[String], ip: IpAddr) -> Result<SslContext, ErrorStack> {
        let subject = name(names.first().map_or("localhost", String::as_str))?;
        let mut builder = builder(&subject, self.certificate.subject_name(), &self.server_key)?;
        let mut alternatives = SubjectAlternativeName::new();
        alternatives.dns("localhost").ip(&ip.to_string());
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(_) => alternatives.ip(name),
                Err(_) => alternatives.dns(name),
            };
        }
        let alternatives = alternatives.build(&builder.x509v3_context(Some(&self.certificate), None))?;
        builder.append_extension(alternatives)?;
        builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
        builder.sign(&self.key, MessageDigest::sha256())?;

        let mut context = SslContext::builder(SslMethod::tls_server())?;
        // SQL Server 2008 R2 to 2014 do not support TLS 1.3, whose session tickets would also arrive outside the packets.
        context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
        context.set_certificate(builder.build().as_ref())?;
        context.set_private_key(&self.server_key)?;
        context.check_private_key()?;
        Ok(context.build())
    }
}

fn name(common: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    // The maximum length of a common name is 64 characters.
    name.append_entry_by_nid(Nid::COMMONNAME, &common.chars().take(64).collect::<String>())?;
    Ok(name.build())
}

fn builder(
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    key: &PKey<Private>,
) -> Result<X509Builder, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, openssl::bn::MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(30)?.as_ref())?;
    Ok(builder)
}
