//! How a phone sets its sessions up.

use msrp::Uri;
use msrp::auth::Account;
use msrp::tokio::ConnectError;
use msrp::tokio::tls::{Identity, Tls, TlsError, Trust};
use tokio::sync::OnceCell;

/// What the builder was told of sessions, and the certificate that is made when the first needs one.
#[derive(Debug)]
pub(crate) struct SessionOptions {
    /// Sessions are offered over TLS.
    pub(crate) tls: bool,
    /// Through which relay they go.
    pub(crate) relay: Option<(Uri, Account)>,
    /// Authorities in the place of the system's.
    authorities: Option<Vec<Vec<u8>>>,
    made: OnceCell<Made>,
}

/// TLS of a phone's sessions.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) tls: Tls,
    /// What our descriptions say of our certificate.
    pub(super) fingerprint: String,
}

impl SessionOptions {
    pub(crate) fn new(tls: bool, authorities: Option<Vec<Vec<u8>>>) -> Self {
        Self { tls, relay: None, authorities, made: OnceCell::new() }
    }

    /// Whether our offers say `TCP/TLS/MSRP`. Behind a WebSocket they do, since whom we talk to reaches our relay so (RFC 7977 §5.2.2).
    pub(super) fn offers_tls(&self) -> bool {
        self.tls || self.relay.as_ref().is_some_and(|(relay, _)| relay.is_websocket() && relay.is_secure())
    }

    pub(super) async fn made(&self) -> Result<&Made, ConnectError> {
        let authorities = self.authorities.clone();
        self.made
            .get_or_try_init(|| async {
                // The authorities of the system are read from files.
                let made = tokio::task::spawn_blocking(|| make(authorities)).await;
                made.map_err(std::io::Error::other)?.map_err(|error| std::io::Error::other(error).into())
            })
            .await
    }
}

fn make(authorities: Option<Vec<Vec<u8>>>) -> Result<Made, TlsError> {
    let identity = Identity::self_signed()?;
    let octets = identity.fingerprint().unwrap_or_default();
    let octets: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    let fingerprint = format!("sha-256 {}", octets.join(":"));
    let trust = authorities.map_or(Trust::FingerprintOrSystem, Trust::FingerprintOr);
    Ok(Made { tls: Tls::new(Some(identity), &trust)?, fingerprint })
}
