//! Certificates and keys from PEM (RFC 7468).

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::identity::{Identities, IdentityError};

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: std::io::Error,
    },
    /// There is no certificate in it, or what is there is none.
    #[error("no certificate in PEM (BEGIN CERTIFICATE): {0}")]
    NoCertificate(String),
    /// There is no private key in it, or what is there is none.
    #[error("no private key in PEM (BEGIN PRIVATE KEY): {0}")]
    NoKey(String),
    /// There is no list of revoked certificates in it, or one that cannot be used.
    #[error("no list of revoked certificates (PEM with BEGIN X509 CRL, or DER): {0}")]
    RevocationList(String),
    /// The names of our certificate cannot be told.
    #[error("our own certificate: {0}")]
    Identity(#[from] IdentityError),
    /// Clients are to be asked for certificates, and no authority is trusted that could have issued them.
    #[error("no authorities to verify certificates with: name a file of them")]
    NoRoots,
    /// The key does not fit the certificate, or is of a kind that cannot be used.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A chain of certificates, ours first, and its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl Identity {
    /// From two files; they may be the same one.
    ///
    /// # Errors
    /// When a file cannot be read or does not contain what it should.
    pub fn from_pem_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Identity, CredentialsError> {
        Identity::from_pem(&read(certificates.as_ref())?, &read(key.as_ref())?)
    }

    /// From the texts of two files.
    ///
    /// # Errors
    /// When they do not contain what they should.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Identity, CredentialsError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| CredentialsError::NoKey(say(&error)))?;
        Ok(Identity { chain: chain(certificates)?, key })
    }

    /// Checked and ready to be used, and the names that it proves.
    pub(super) fn certified(
        self,
        provider: &CryptoProvider,
    ) -> Result<(CertifiedKey, Identities), CredentialsError> {
        let first =
            self.chain.first().ok_or_else(|| CredentialsError::NoCertificate("the chain is empty".into()))?;
        let names = Identities::from_certificate(first)?;
        if names.is_empty() {
            tracing::warn!("our certificate names no SIP domain: peers that follow RFC 5922 will refuse it");
        }
        Ok((CertifiedKey::from_der(self.chain, self.key, provider)?, names))
    }
}

/// Authorities to trust.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// All certificates of a file.
    ///
    /// # Errors
    /// When the file cannot be read or there is none in it.
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Roots, CredentialsError> {
        Roots::from_pem(&read(path.as_ref())?)
    }

    /// All certificates of a text.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn from_pem(text: &[u8]) -> Result<Roots, CredentialsError> {
        Ok(Roots { certificates: chain(text)? })
    }

    /// Those and others.
    #[must_use]
    pub fn and(mut self, others: Roots) -> Roots {
        self.certificates.extend(others.certificates);
        self
    }

    pub(super) fn to_der(&self) -> Vec<Vec<u8>> {
        self.certificates.iter().map(|certificate| certificate.to_vec()).collect()
    }

    pub(super) fn into_store(self) -> Result<RootCertStore, CredentialsError> {
        let mut store = RootCertStore::empty();
        for certificate in self.certificates {
            store.add(certificate)?;
        }
        Ok(store)
    }
}

/// What the system trusts. None at all is no error: a server without outgoing connections needs none, and who connects
/// learns it from the certificate's unknown issuer.
pub(super) fn system() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "the system's certificate authorities");
    }
    let mut store = RootCertStore::empty();
    let (added, ignored) = store.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "certificate authorities of the system");
    store
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    std::fs::read(path).map_err(|error| CredentialsError::Read { path: path.to_owned(), error })
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|error| CredentialsError::NoCertificate(say(&error)))?;
    if all.is_empty() {
        Err(CredentialsError::NoCertificate(say(&pem::Error::NoItemsFound)))
    } else {
        Ok(all)
    }
}

fn say(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is none".into(),
        other => other.to_string(),
    }
}
