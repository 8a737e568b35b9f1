//! What TLS connections are made with (RFC 4975 §14.2, §14.4). The provider is `ring`.

use std::io;
use std::sync::Arc;

use ::tokio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::socket::Socket;

/// Our certificate, its issuers behind it, and its key, all in DER.
#[derive(Clone)]
pub struct Identity {
    /// The certificates, ours first.
    pub chain: Vec<Vec<u8>>,
    /// The key, as PKCS#8, PKCS#1 or SEC1.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl Identity {
    /// A certificate that we make for ourselves, with a key of its own (P-256). It says nothing of who we are: peers believe it by its
    /// [`fingerprint`](Self::fingerprint) in our description (RFC 4975 §14.4).
    ///
    /// # Errors
    /// If there is no randomness for a key.
    pub fn self_signed() -> Result<Self, Error> {
        let other = |error: rcgen::Error| Error::General(error.to_string());
        let key = rcgen::KeyPair::generate().map_err(other)?;
        let mut parameters = rcgen::CertificateParams::default();
        // The name that rcgen gives if one is not told it is its own.
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "msrp");
        let certificate = parameters.self_signed(&key).map_err(other)?;
        Ok(Self { chain: vec![certificate.der().to_vec()], key: key.serialize_der() })
    }

    /// From two files in PEM; they may be the same one.
    ///
    /// # Errors
    /// When a file cannot be read or does not contain what it should.
    pub fn from_pem_files(
        certificates: impl AsRef<std::path::Path>,
        key: impl AsRef<std::path::Path>,
    ) -> io::Result<Self> {
        let (certificates, key) = (certificates.as_ref(), key.as_ref());
        let fault = |path: &std::path::Path, error: pem::Error| match error {
            pem::Error::Io(error) => io::Error::new(error.kind(), format!("{}: {error}", path.display())),
            error => io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())),
        };
        let chain = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault(certificates, error))?;
        if chain.is_empty() {
            return Err(fault(certificates, pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, error))?;
        let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
        Ok(Self { chain, key: key.secret_der().to_vec() })
    }

    /// The SHA-256 fingerprint of our certificate; nothing without a certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Option<[u8; 32]> {
        self.chain.first().map(|certificate| fingerprint(certificate))
    }
}

/// Which peers are believed.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Those with a certificate for the host of their URI that an authority of the system issued.
    #[default]
    System,
    /// The same, with these authorities, in DER.
    Authorities(Vec<Vec<u8>>),
    /// Those whose certificate has a fingerprint of [`Pending::fingerprint`](super::Pending::fingerprint), for certificates that peers
    /// made for themselves (RFC 4975 §14.4). Both sides show one and check the other's (RFC 8122 §6.2); a session without a
    /// fingerprint does not come about.
    Fingerprint,
    /// By the fingerprint for sessions that have one; the others as with `System` where we connect, and unasked where we wait, as RFC
    /// 4975 §14.2 has it: whoever knows our URI is the peer. For those who learn after they began to listen which it is.
    FingerprintOrSystem,
    /// The same, with these authorities, in DER.
    FingerprintOr(Vec<Vec<u8>>),
}

/// Why TLS cannot be set up.
pub use rustls::Error as TlsError;

/// TLS of an endpoint.
#[derive(Clone, Debug)]
pub struct Tls {
    server: Option<Arc<ServerConfig>>,
    /// For those whom an authority vouches for.
    by_authority: Option<Arc<ClientConfig>>,
    /// For those whose fingerprint is compared thereafter.
    by_fingerprint: Arc<ClientConfig>,
    fingerprint_suffices: bool,
}

/// The SHA-256 fingerprint of a certificate in DER, as `a=fingerprint` has it (RFC 8122).
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

impl Tls {
    /// Sets TLS up. Without an identity an endpoint can only connect.
    ///
    /// # Errors
    /// When the certificate does not fit its key, or an authority is no certificate.
    pub fn new(identity: Option<Identity>, trust: &Trust) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let anyone = Arc::new(Anyone(provider.clone()));
        let fingerprint_suffices = !matches!(trust, Trust::System | Trust::Authorities(_));
        let identity = identity
            .map(|identity| {
                let key =
                    PrivateKeyDer::try_from(identity.key).map_err(|text| Error::General(text.into()))?;
                let chain: Vec<_> = identity.chain.into_iter().map(CertificateDer::from).collect();
                Ok::<_, Error>((chain, key))
            })
            .transpose()?;
        let server = match &identity {
            None => None,
            Some((chain, key)) => {
                let builder = ServerConfig::builder_with_provider(provider.clone())
                    .with_safe_default_protocol_versions()?;
                let builder = if fingerprint_suffices {
                    builder.with_client_cert_verifier(anyone.clone())
                } else {
                    builder.with_no_client_auth()
                };
                Some(Arc::new(builder.with_single_cert(chain.clone(), key.clone_key())?))
            }
        };
        let builder =
            || ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let shown = |builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>| {
            Ok::<_, Error>(Arc::new(match &identity {
                Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
                None => builder.with_no_client_auth(),
            }))
        };
        let by_fingerprint = shown(builder()?.dangerous().with_custom_certificate_verifier(anyone.clone()))?;
        let by_authority = match trust {
            Trust::Fingerprint => None,
            _ => Some(shown(builder()?.with_root_certificates(authorities(trust)?))?),
        };
        Ok(Self { server, by_authority, by_fingerprint, fingerprint_suffices })
    }

    /// Whether a session without a fingerprint may come about.
    pub(super) fn needs_fingerprint(&self) -> bool {
        self.by_authority.is_none()
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Socket> {
        let config = self.server.clone().ok_or(io::ErrorKind::Unsupported)?;
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        Socket::secure(stream, tls.into()).await
    }

    /// `announced`: there is a fingerprint that the caller compares.
    pub(super) async fn connect(&self, stream: TcpStream, host: &str, announced: bool) -> io::Result<Socket> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = match &self.by_authority {
            Some(config) if !(announced && self.fingerprint_suffices) => config,
            // Nobody comes here without: `needs_fingerprint`.
            _ => &self.by_fingerprint,
        };
        let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Socket::secure(stream, tls.into()).await
    }
}

fn authorities(trust: &Trust) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match trust {
        Trust::Authorities(authorities) | Trust::FingerprintOr(authorities) => {
            for authority in authorities {
                store.add(CertificateDer::from(authority.clone()))?;
            }
        }
        // Those that cannot be read are not trusted; without any, the handshake tells of an unknown issuer.
        _ => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

/// Believes every certificate, but not that somebody has one whose key is another's.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Anyone {
    /// Relays have none to show; whether a session needs one is known when its first request comes.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
