//! The certificate of the server, from files that can change while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::http::error::Error;

/// How long a certificate is used before its files are read again. The kubelet itself needs about a minute to renew them.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The certificate and the private key in a folder, as `tls.crt` and `tls.key`: the keys of a Secret of type
/// `kubernetes.io/tls`.
#[derive(Debug)]
pub struct Certificate {
    folder: PathBuf,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    read_at: Instant,
    files: Files,
    config: Arc<ServerConfig>,
}

#[derive(Debug, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads both files.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let files = Files::read(folder)?;
        let config = files.config(folder)?;
        Ok(Self { folder: folder.to_owned(), used: Mutex::new(Used { read_at: Instant::now(), files, config }) })
    }

    /// What the next connection uses. A renewed pair of files that is unusable is logged, and the last usable one is kept.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current_after(READ_AGAIN_AFTER)
    }

    fn current_after(&self, age: Duration) -> Arc<ServerConfig> {
        let mut used = self.used.lock();
        if used.read_at.elapsed() >= age {
            used.read_at = Instant::now();
            match Files::read(&self.folder) {
                Ok(files) if files == used.files => {}
                Ok(files) => match files.config(&self.folder) {
                    Ok(config) => (used.files, used.config) = (files, config),
                    Err(error) => tracing::warn!(%error, "the renewed certificate of the metrics is not used"),
                },
                Err(error) => tracing::warn!(%error, "the certificate of the metrics is not renewed"),
            }
        }
        Arc::clone(&used.config)
    }
}

impl Files {
    fn read(folder: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| Error::Read { path, source })
        };
        Ok(Self { certificate: read("tls.crt")?, key: read("tls.key")? })
    }

    fn config(&self, folder: &Path) -> Result<Arc<ServerConfig>, Error> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate).filter_map(Result::ok).collect();
        if chain.is_empty() {
            return Err(Error::NoCertificate { path: folder.join("tls.crt") });
        }
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| Error::NoKey { path: folder.join("tls.key") })?;
        let unusable = |source| Error::Unusable { folder: folder.to_owned(), source };
        // By name: without a process-wide provider, rustls panics where it has to choose one.
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::x509::{X509, X509NameBuilder};

    use super::*;

    /// Writes a self-signed certificate for `localhost` and its key.
    fn write_certificate(folder: &Path) {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "localhost").unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        let names = openssl::x509::extension::SubjectAlternativeName::new()
            .dns("localhost")
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build().to_pem().unwrap();
        std::fs::write(folder.join("tls.crt"), &certificate).unwrap();
        std::fs::write(folder.join("tls.key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    }

    #[test]
    fn certificate_that_was_renewed_is_used_and_an_unusable_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        write_certificate(folder.path());
        let certificate = Certificate::read(folder.path()).unwrap();
        let first = certificate.current();
        assert!(Arc::ptr_eq(&first, &certificate.current_after(Duration::ZERO)), "unchanged files");
        write_certificate(folder.path());
        assert!(Arc::ptr_eq(&first, &certificate.current()), "the files are not read for each connection");
        let second = certificate.current_after(Duration::ZERO);
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(folder.path().join("tls.key"), "half a file").unwrap();
        assert!(Arc::ptr_eq(&second, &certificate.current_after(Duration::ZERO)));
        std::fs::remove_file(folder.path().join("tls.crt")).unwrap();
        assert!(Arc::ptr_eq(&second, &certificate.current_after(Duration::ZERO)));
    }

    #[test]
    fn read_of_unusable_files_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = |folder: &Path| Certificate::read(folder).unwrap_err().to_string();
        assert!(error(folder.path()).contains("tls.crt"));
        write_certificate(folder.path());
        let key = std::fs::read(folder.path().join("tls.key")).unwrap();
        std::fs::write(folder.path().join("tls.key"), "no key").unwrap();
        assert!(error(folder.path()).ends_with("tls.key holds no PEM private key"));
        std::fs::write(folder.path().join("tls.crt"), "no certificate").unwrap();
        assert!(error(folder.path()).ends_with("tls.crt holds no PEM certificate"));
        write_certificate(folder.path());
        std::fs::write(folder.path().join("tls.key"), key).unwrap();
        assert!(error(folder.path()).contains("are unusable"), "the key of another certificate");
    }
}
