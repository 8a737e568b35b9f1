//! How an endpoint is set up: where it listens, what its URIs say, and whether it speaks TLS (RFC 4975 §6, §14).

use std::net::SocketAddr;

/// How an endpoint is set up.
#[derive(Debug)]
pub struct Options {
    pub(super) listen: Option<SocketAddr>,
    pub(super) host: Option<String>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::Tls>,
    /// Only where we connect.
    #[cfg(feature = "tls")]
    plain_listener: bool,
}

impl Options {
    /// Listens at this address; port 0 takes a free one.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen: Some(listen), ..Self::active_only() }
    }

    /// Does not listen: this side always connects.
    #[must_use]
    pub fn active_only() -> Self {
        Self {
            listen: None,
            host: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            plain_listener: false,
        }
    }

    /// The host in our URIs, where it is not the address that we listen at.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Speaks TLS: the listener takes nothing else, and our URIs are `msrps`.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: super::tls::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Speaks TLS where it connects to `msrps` URIs, such as those of relays: the listener and our URIs are plain.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_to_others(self, tls: super::tls::Tls) -> Self {
        Self { plain_listener: true, ..self.tls(tls) }
    }

    pub(super) fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some() && !self.plain_listener;
        #[cfg(not(feature = "tls"))]
        false
    }
}
