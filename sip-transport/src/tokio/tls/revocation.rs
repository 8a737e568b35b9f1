//! Certificates that their authorities have taken back (RFC 5280 §5).

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, UnixTime,
};
use rustls::{CertificateError, Error, RootCertStore};
use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::credentials::{CredentialsError, read};

/// Lists of certificates that are not believed any more, signed by their authorities.
///
/// A list speaks of the certificates of its own authority, which must be one that is trusted or below one; of others
/// nothing is known, and they are believed as before. A list past its end (`nextUpdate`) still counts, and is warned of when it
/// is read: whom it names stays out, and nobody is shut out because a new one is late. Lists that change an earlier one (delta) or
/// speak for other authorities (indirect) are refused.
#[derive(Clone, Debug, Default)]
pub struct RevocationLists {
    lists: Vec<CertificateRevocationListDer<'static>>,
}

impl RevocationLists {
    /// The lists of a file: several in PEM (`BEGIN X509 CRL`), or one in DER, as authorities publish it.
    ///
    /// # Errors
    /// When the file cannot be read, or there is no list in it that can be used.
    pub fn from_file(path: impl AsRef<Path>) -> Result<RevocationLists, CredentialsError> {
        let octets = read(path.as_ref())?;
        // A list in DER is a SEQUENCE.
        if octets.first() == Some(&0x30) {
            RevocationLists::from_der(octets)
        } else {
            RevocationLists::from_pem(&octets)
        }
    }

    /// All lists of a text in PEM.
    ///
    /// # Errors
    /// When there is none in it, or one that cannot be used.
    pub fn from_pem(text: &[u8]) -> Result<RevocationLists, CredentialsError> {
        let lists: Result<Vec<_>, pem::Error> = CertificateRevocationListDer::pem_slice_iter(text).collect();
        let lists = lists.map_err(|error| CredentialsError::RevocationList(error.to_string()))?;
        if lists.is_empty() {
            return Err(CredentialsError::RevocationList("there is none".into()));
        }
        lists.iter().try_for_each(|list| owned(list).map(drop))?;
        lists.iter().for_each(warn_if_outdated);
        Ok(RevocationLists { lists })
    }

    /// A list in DER.
    ///
    /// # Errors
    /// When it is none, or one that cannot be used.
    pub fn from_der(octets: Vec<u8>) -> Result<RevocationLists, CredentialsError> {
        let list = CertificateRevocationListDer::from(octets);
        owned(&list)?;
        warn_if_outdated(&list);
        Ok(RevocationLists { lists: vec![list] })
    }

    /// Those and others.
    #[must_use]
    pub fn and(mut self, others: RevocationLists) -> RevocationLists {
        self.lists.extend(others.lists);
        self
    }

    /// As rustls takes them.
    pub(super) fn to_der(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.lists.clone()
    }

    /// Ready to be asked.
    pub(super) fn into_checker(self) -> Result<Revocations, CredentialsError> {
        let lists = self.lists.iter().map(|list| owned(list).map(Into::into));
        Ok(Revocations { lists: lists.collect::<Result<_, _>>()? })
    }
}

fn owned(list: &CertificateRevocationListDer<'_>) -> Result<OwnedCertRevocationList, CredentialsError> {
    OwnedCertRevocationList::from_der(list)
        .map_err(|error| CredentialsError::RevocationList(error.to_string()))
}

fn warn_if_outdated(list: &CertificateRevocationListDer<'static>) {
    let Ok(parsed) = CertificateList::<Rfc5280>::from_der(list) else { return };
    let Some(next) = parsed.tbs_cert_list.next_update else { return };
    let since = SystemTime::UNIX_EPOCH.checked_add(next.to_unix_duration());
    let late = since.and_then(|since| SystemTime::now().duration_since(since).ok());
    if let Some(late) = late.filter(|late| *late > Duration::ZERO) {
        let issuer = parsed.tbs_cert_list.issuer.to_string();
        tracing::warn!(
            issuer,
            hours = late.as_secs() / 3600,
            "a list of revoked certificates is out of date"
        );
    }
}

/// What is asked of a server's chain once it has been verified.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    lists: Vec<CertRevocationList<'static>>,
}

impl Revocations {
    /// Whether nobody in the chain was taken back. The chain is built again, since who verifies it tells nobody which it was.
    pub(super) fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        roots: &RootCertStore,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: UnixTime,
    ) -> Result<(), Error> {
        let lists: Vec<&CertRevocationList<'static>> = self.lists.iter().collect();
        let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return Ok(()) };
        let revocation = options.with_status_policy(UnknownStatusPolicy::Allow).build();
        let certificate = EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let usage = KeyUsage::server_auth();
        let verified = certificate.verify_for_usage(
            algorithms,
            &roots.roots,
            intermediates,
            now,
            usage,
            Some(revocation),
            None,
        );
        match verified {
            Ok(_) => Ok(()),
            Err(webpki::Error::CertRevoked) => Err(CertificateError::Revoked.into()),
            Err(error) => {
                tracing::debug!(%error, "a list of revoked certificates cannot be used");
                Err(CertificateError::UnknownRevocationStatus.into())
            }
        }
    }
}
