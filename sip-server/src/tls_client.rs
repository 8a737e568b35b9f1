//! TLS to databases.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// A client that trusts these authorities, certificates in PEM; those of the system if none are given.
///
/// # Errors
/// When they cannot be used, in words.
pub(crate) fn tls_client(authorities: Option<&[u8]>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(text) => {
            let refused = |why: String| format!("the authorities cannot be used: {why}");
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
            for certificate in certificates.map_err(|error| refused(error.to_string()))? {
                roots.add(certificate).map_err(|error| refused(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(refused("there is no certificate among them".into()));
            }
        }
        None => {
            // Without any, only a database that shows a certificate cannot be reached, and its error says why.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
