//! A relay of session messages and files beside the server (RFC 4976), for the server's own users.

use std::net::{IpAddr, SocketAddr};

use msrp::auth::digest::Algorithm;
use msrp::relay::{Accounts, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_SOURCE, RelayConfig};
use msrp::tokio::relay::RelayServer;
pub use msrp::tokio::tls::Identity as MsrpIdentity;
use msrp::tokio::tls::{Tls, Trust};
use sip_auth::Hash;
use sip_transport::websocket::Origins;

use super::BuildError;
use super::cores::CoreHandle;

/// A relay in the making: [`ServerBuilder::msrp_relay`](super::ServerBuilder::msrp_relay). It speaks TLS alone (RFC 4976 §9.2).
#[derive(Clone, Debug)]
#[must_use = "give it to ServerBuilder::msrp_relay"]
pub struct MsrpRelay {
    listen: SocketAddr,
    websockets: Option<SocketAddr>,
    identity: MsrpIdentity,
    host: Option<String>,
    expires: u64,
    connections: usize,
    per_source: usize,
}

impl MsrpRelay {
    /// Seconds for which the relay's URIs are good at most, if nothing else is said.
    pub const EXPIRES: u32 = 3600;
    /// Connections at one time, if nothing else is said.
    pub const CONNECTIONS: usize = MAX_CONNECTIONS;
    /// Of them from one address, if nothing else is said.
    pub const PER_SOURCE: usize = MAX_CONNECTIONS_PER_SOURCE;

    /// A relay that listens there, usually at port 2855, and shows this certificate.
    pub fn new(listen: SocketAddr, identity: MsrpIdentity) -> Self {
        Self {
            listen,
            websockets: None,
            identity,
            host: None,
            expires: Self::EXPIRES.into(),
            connections: Self::CONNECTIONS,
            per_source: Self::PER_SOURCE,
        }
    }

    /// The host in the URIs that it hands out, for which its certificate is; the first domain if it is not set.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Listens for WebSockets there too (RFC 7977), for pages in browsers: those of
    /// [`ServerBuilder::origins`](super::ServerBuilder::origins), over TLS with the same certificate.
    pub fn websockets(mut self, listen: SocketAddr) -> Self {
        self.websockets = Some(listen);
        self
    }

    /// Seconds for which they are good at most; sessions end then unless phones renew them.
    pub fn expires(mut self, seconds: u32) -> Self {
        self.expires = seconds.into();
        self
    }

    /// Connections at one time, and how many of them from one address.
    pub fn limits(mut self, connections: usize, per_source: usize) -> Self {
        (self.connections, self.per_source) = (connections, per_source);
        self
    }

    /// Starts it. `authorities` are believed about other relays instead of the system's.
    pub(super) async fn start(
        self,
        handle: CoreHandle,
        authorities: Option<Vec<Vec<u8>>>,
        origins: &Origins,
    ) -> Result<RelayServer, BuildError> {
        let (realm, domain) = handle.look(|core| (core.realm().to_owned(), core.first_domain()));
        let host = self.host.or(domain).unwrap_or_else(|| self.listen.ip().to_string());
        let mut config = RelayConfig::new(host, self.listen.port());
        config.realm = realm;
        config.max_expires = self.expires.max(config.min_expires);
        config.max_connections = self.connections;
        config.max_connections_per_source = self.per_source;
        let tls = tls(self.identity, authorities)?;
        let fault = |at: SocketAddr| move |error| BuildError::MsrpRelay(format!("{at}: {error}"));
        let users = Box::new(OwnUsers(handle));
        let relay = RelayServer::bind(self.listen, config, users, Some(tls)).await;
        let mut relay = relay.map_err(fault(self.listen))?;
        if let Some(listen) = self.websockets {
            relay.listen_websocket(listen, origins.clone()).await.map_err(fault(listen))?;
        }
        Ok(relay)
    }
}

pub(super) fn tls(identity: MsrpIdentity, authorities: Option<Vec<Vec<u8>>>) -> Result<Tls, BuildError> {
    let trust = authorities.map_or(Trust::System, Trust::Authorities);
    Tls::new(Some(identity), &trust).map_err(|error| BuildError::MsrpRelay(error.to_string()))
}

/// The server's users, and what it holds against those who guess.
struct OwnUsers(CoreHandle);

impl Accounts for OwnUsers {
    fn ha1(&self, username: &str, realm: &str, algorithm: Algorithm) -> Option<String> {
        let hash = match algorithm {
            Algorithm::Md5 => Hash::Md5,
            Algorithm::Sha256 => Hash::Sha256,
        };
        self.0.look(|core| core.user_ha1(username, realm, hash))
    }

    fn is_shut_out(&self, source: IpAddr, username: &str) -> bool {
        self.0.with(|core, now| core.shuts_out(now, source, username))
    }

    fn judged(&self, source: IpAddr, username: &str, good: bool) {
        self.0.with(|core, now| core.judged(now, source, username, good));
    }
}
