//! What TLS connections of a driver are made with: our certificates, whom we trust, and their exchange while running.
//!
//! Chains are verified by rustls, names by [`Identities`] (RFC 5922). The provider is `ring`.

mod credentials;
mod failure;
mod revocation;
mod verify;

pub use credentials::{CredentialsError, Identity, Roots};
pub(super) use failure::{failure, io_failure};
pub use revocation::RevocationLists;

use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientCertVerifierBuilder, ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::identity::Identities;

/// What is asked of those who connect to us (RFC 5922 §7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None is asked for: phones prove who they are by digest.
    #[default]
    Ignored,
    /// Who has one proves a domain with it; who has none is let in without.
    Asked,
    /// Nobody is let in without one.
    Required,
}

/// How TLS is set up.
///
/// ```no_run
/// use sip_transport::tokio::tls::{ClientCertificates, Identity, Roots, Tls, TlsOptions};
///
/// let options = TlsOptions::new()
///     .identity(Identity::from_pem_files("example.com.pem", "example.com.key")?)
///     .roots(Roots::from_pem_file("partners.pem")?)
///     .client_certificates(ClientCertificates::Asked);
/// let tls = Tls::new(options)?;
/// # Ok::<(), sip_transport::tokio::tls::CredentialsError>(())
/// ```
#[derive(Debug, Default)]
pub struct TlsOptions {
    identities: Vec<Identity>,
    roots: Option<Roots>,
    user_roots: Option<Roots>,
    revocation_lists: RevocationLists,
    client_certificates: ClientCertificates,
    insecure: bool,
}

impl TlsOptions {
    /// No certificate of our own, and the system's roots.
    #[must_use]
    pub fn new() -> TlsOptions {
        TlsOptions::default()
    }

    /// Adds a certificate with its key. Needed to listen, and shown to servers that ask for one. With several, the client's
    /// server name (SNI) chooses; the first is for those who name none of them.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> TlsOptions {
        self.identities.push(identity);
        self
    }

    /// The authorities to trust instead of the system's.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> TlsOptions {
        self.roots = Some(roots);
        self
    }

    /// The authorities whose certificates say which users those are who connect to us
    /// ([`Identities::users`]), beside all others: an authority that may vouch for domains, as those of the system, vouches for no
    /// user. Without any, no user is told.
    #[must_use]
    pub fn user_roots(mut self, roots: Roots) -> TlsOptions {
        self.user_roots = Some(roots);
        self
    }

    /// Certificates that are not believed any more: of those who connect to us, of servers, and of users.
    #[must_use]
    pub fn revocation_lists(mut self, lists: RevocationLists) -> TlsOptions {
        self.revocation_lists = lists;
        self
    }

    /// What is asked of those who connect to us.
    #[must_use]
    pub fn client_certificates(mut self, ask: ClientCertificates) -> TlsOptions {
        self.client_certificates = ask;
        self
    }

    /// Takes every server's certificate for good, whoever issued it and for whatever name. Anybody on the way can then read
    /// and change everything: for tests only.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> TlsOptions {
        self.insecure = insecure;
        self
    }
}

/// TLS of a driver. Clones share one state, so that [`reload`](Tls::reload) reaches the driver that has a clone.
#[derive(Clone)]
pub struct Tls {
    current: Arc<Mutex<Arc<Setup>>>,
}

/// One state of the configuration.
pub(super) struct Setup {
    /// `None` without a certificate of our own.
    pub(super) server: Option<Arc<ServerConfig>>,
    pub(super) client: Arc<ClientConfig>,
    /// Whether servers' certificates are taken for good unseen.
    pub(super) insecure: bool,
    /// Verifies those who name users.
    users: Option<Arc<dyn ClientCertVerifier>>,
    /// Those trusted instead of the system's.
    authorities: Option<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("listens", &self.can_listen()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Sets TLS up.
    ///
    /// # Errors
    /// When a certificate does not fit its key, or when clients are to be asked for certificates without any authority
    /// that could have issued them.
    pub fn new(options: TlsOptions) -> Result<Tls, CredentialsError> {
        Ok(Tls { current: Arc::new(Mutex::new(Arc::new(Setup::new(options)?))) })
    }

    /// Replaces everything for connections made from now on, such as a certificate that is about to expire. Connections
    /// that stand are not touched.
    ///
    /// # Errors
    /// As for [`new`](Tls::new); what was in force then stays so.
    pub fn reload(&self, options: TlsOptions) -> Result<(), CredentialsError> {
        let setup = Arc::new(Setup::new(options)?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = setup;
        Ok(())
    }

    /// Whether there is a certificate to listen with.
    #[must_use]
    pub fn can_listen(&self) -> bool {
        self.setup().server.is_some()
    }

    /// The authorities that are trusted instead of the system's, in DER: for other protocols of the same program.
    #[must_use]
    pub fn authorities(&self) -> Option<Vec<Vec<u8>>> {
        self.setup().authorities.clone()
    }

    pub(super) fn setup(&self) -> Arc<Setup> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Setup {
    fn new(options: TlsOptions) -> Result<Setup, CredentialsError> {
        let TlsOptions { identities, roots, user_roots, revocation_lists, client_certificates, insecure } =
            options;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authorities = roots.as_ref().map(Roots::to_der);
        let roots = match roots {
            Some(roots) => roots.into_store()?,
            None => credentials::system(),
        };
        let mut client_roots = roots.clone();
        let users = match user_roots {
            Some(user_roots) => {
                let user_roots = user_roots.into_store()?;
                client_roots.extend(user_roots.roots.iter().cloned());
                let verifier = client_verifier(&provider, Arc::new(user_roots), &revocation_lists);
                Some(verifier.build().map_err(|_| CredentialsError::NoRoots)?)
            }
            None => None,
        };
        let (roots, client_roots) = (Arc::new(roots), Arc::new(client_roots));
        let keys = identities
            .into_iter()
            .map(|identity| {
                let (key, names) = identity.certified(&provider)?;
                Ok((Arc::new(key), names))
            })
            .collect::<Result<Vec<_>, CredentialsError>>()?;
        let server = if keys.is_empty() {
            None
        } else {
            let verifier = client_verifier(&provider, client_roots, &revocation_lists);
            Some(Arc::new(server(&provider, verifier, client_certificates, keys.clone())?))
        };
        let revocations = revocation_lists.into_checker()?;
        let verifier = verify::ServerVerifier::new(provider.clone(), roots, revocations, insecure);
        let client = client(&provider, verifier, keys.first().map(|(key, _)| key.clone()))?;
        Ok(Setup { server, client: Arc::new(client), insecure, users, authorities })
    }

    /// Whether a client's certificate, with those that it has sent along, is from an authority that may say who our users are.
    pub(super) fn vouches_for_users(&self, own: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> bool {
        let Some(users) = &self.users else { return false };
        users.verify_client_cert(own, chain, UnixTime::now()).is_ok()
    }
}

fn client(
    provider: &Arc<CryptoProvider>,
    verifier: verify::ServerVerifier,
    key: Option<Arc<CertifiedKey>>,
) -> Result<ClientConfig, CredentialsError> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    })
}

/// Authorities without a list have taken nothing back.
fn client_verifier(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    revocation_lists: &RevocationLists,
) -> ClientCertVerifierBuilder {
    WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(revocation_lists.to_der())
        .allow_unknown_revocation_status()
}

fn server(
    provider: &Arc<CryptoProvider>,
    verifier: ClientCertVerifierBuilder,
    ask: ClientCertificates,
    keys: Vec<(Arc<CertifiedKey>, Identities)>,
) -> Result<ServerConfig, CredentialsError> {
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = if ask == ClientCertificates::Ignored {
        builder.with_no_client_auth()
    } else {
        let verifier =
            if ask == ClientCertificates::Asked { verifier.allow_unauthenticated() } else { verifier };
        builder.with_client_cert_verifier(verifier.build().map_err(|_| CredentialsError::NoRoots)?)
    };
    Ok(builder.with_cert_resolver(Arc::new(ByName { keys })))
}

/// Chooses our certificate by the name that the client asks for (RFC 6066 §3).
#[derive(Debug)]
struct ByName {
    /// Never empty.
    keys: Vec<(Arc<CertifiedKey>, Identities)>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named =
            hello.server_name().and_then(|name| self.keys.iter().find(|(_, known)| known.proves(name)));
        named.or(self.keys.first()).map(|(key, _)| key.clone())
    }
}
