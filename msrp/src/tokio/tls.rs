//! What TLS connections are made with (RFC 4975 §14.2, §14.4). The provider is `ring`.

use std::io;
use std::sync::Arc;

use ::tokio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::socket::Socket;

/// Our certificate, its issuers behind it, and its key, all in DER.
#[derive(Debug)]
pub struct Identity {
    /// The certificates, ours first.
    pub chain: Vec<Vec<u8>>,
    /// The key, as PKCS#8, PKCS#1 or SEC1.
    pub key: Vec<u8>,
}

/// Which peers are believed.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Those with a certificate for the host of their URI that an authority of the system issued.
    #[default]
    System,
    /// The same, with these authorities, in DER.
    Authorities(Vec<Vec<u8>>),
    /// Any whatsoever at this place: the caller checks who it is by [`Pending::fingerprint`](super::Pending::fingerprint), for
    /// certificates that peers made for themselves (RFC 4975 §14.4).
    Fingerprint,
}

/// TLS of an endpoint.
#[derive(Clone, Debug)]
pub struct Tls {
    server: Option<Arc<ServerConfig>>,
    client: Arc<ClientConfig>,
    by_fingerprint: bool,
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
        let server = match identity {
            None => None,
            Some(identity) => {
                let key =
                    PrivateKeyDer::try_from(identity.key).map_err(|text| Error::General(text.into()))?;
                let chain = identity.chain.into_iter().map(CertificateDer::from).collect();
                let server = ServerConfig::builder_with_provider(provider.clone())
                    .with_safe_default_protocol_versions()?
                    .with_no_client_auth()
                    .with_single_cert(chain, key)?;
                Some(Arc::new(server))
            }
        };
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let client = match trust {
            Trust::Fingerprint => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
                .with_no_client_auth(),
            Trust::System | Trust::Authorities(_) => {
                builder.with_root_certificates(authorities(trust)?).with_no_client_auth()
            }
        };
        let by_fingerprint = matches!(trust, Trust::Fingerprint);
        Ok(Self { server, client: Arc::new(client), by_fingerprint })
    }

    /// Whether connecting needs a fingerprint.
    pub(super) fn needs_fingerprint(&self) -> bool {
        self.by_fingerprint
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Socket> {
        let config = self.server.clone().ok_or(io::ErrorKind::Unsupported)?;
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        Socket::secure(stream, tls.into()).await
    }

    pub(super) async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<Socket> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(self.client.clone(), name).map_err(io::Error::other)?;
        Socket::secure(stream, tls.into()).await
    }
}

fn authorities(trust: &Trust) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match trust {
        Trust::Authorities(authorities) => {
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
