//! From a TCP connection to one that carries messages: the handshakes of TLS and WebSocket, on both sides.

#[cfg(feature = "ws")]
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use ::tokio::net::TcpStream;

use crate::path::{SendError, Transport};
use crate::tokio::framing::Inbound;
use crate::tokio::listen::{BindError, Listen, Offer, Sockets};
use crate::tokio::socket::Socket;
use crate::tokio::table::Proof;
#[cfg(feature = "tls")]
use crate::tokio::tls::{Tls, failure, io_failure};
#[cfg(feature = "ws")]
use crate::websocket::{Origins, handshake};
#[cfg(feature = "tls")]
use crate::{identity::Identities, path::TlsFailure};

/// What handshakes need besides the connection.
pub(super) struct Security {
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
    #[cfg(feature = "ws")]
    pub(super) origins: Origins,
}

impl Security {
    /// Opens further sockets, where there are the certificates for them.
    pub(super) fn bind(&self, listen: &[Listen]) -> Result<Sockets, BindError> {
        #[cfg(feature = "tls")]
        let offer =
            Offer { tls: self.tls.is_some(), certificate: self.tls.as_ref().is_some_and(Tls::can_listen) };
        #[cfg(not(feature = "tls"))]
        let offer = Offer::default();
        Sockets::bind_all(listen, &offer)
    }
}

/// Which side we are on.
pub(super) enum Role<'a> {
    Accepted,
    /// Opened for this host of a URI, or else for the address itself.
    #[cfg_attr(not(any(feature = "tls", feature = "ws")), allow(dead_code))]
    Opened(Option<&'a Arc<str>>),
}

/// A connection that carries messages.
pub(super) struct Established {
    pub(super) socket: Arc<Socket>,
    pub(super) inbound: Inbound,
    pub(super) proof: Proof,
}

impl Security {
    pub(super) async fn establish(
        &self,
        stream: TcpStream,
        transport: Transport,
        remote: SocketAddr,
        role: Role<'_>,
        limits: sip_message::Limits,
    ) -> Result<Established, SendError> {
        #[cfg(not(any(feature = "tls", feature = "ws")))]
        let _ = remote;
        let (socket, proof) = if transport.is_secure() {
            #[cfg(feature = "tls")]
            {
                self.secure(stream, remote, &role).await?
            }
            #[cfg(not(feature = "tls"))]
            {
                return Err(SendError::NoLocal);
            }
        } else {
            (Socket::plain(stream), Proof::NotAsked)
        };
        let accepted = matches!(role, Role::Accepted);
        #[cfg_attr(not(feature = "ws"), allow(unused_mut))]
        let mut inbound = Inbound::of(transport, accepted, limits);
        #[cfg(feature = "ws")]
        if matches!(transport, Transport::Ws | Transport::Wss) {
            let rest = match role {
                Role::Accepted => upgrade_accepted(&socket, &self.origins).await?,
                Role::Opened(domain) => {
                    upgrade_opened(&socket, &http_host(domain, transport, remote)).await?
                }
            };
            inbound.push(&rest);
        }
        Ok(Established { socket: Arc::new(socket), inbound, proof })
    }
}

#[cfg(feature = "tls")]
impl Security {
    async fn secure(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        role: &Role<'_>,
    ) -> Result<(Socket, Proof), SendError> {
        use rustls::{ClientConnection, Connection, ServerConnection};
        // Taken anew for each connection: it may have been reloaded.
        let setup = self.tls.as_ref().ok_or(SendError::NoLocal)?.setup();
        let broken = |error: rustls::Error| SendError::Tls(failure(&error));
        let connection = match role {
            Role::Accepted => {
                let config = setup.server.clone().ok_or(SendError::NoLocal)?;
                Connection::from(ServerConnection::new(config).map_err(broken)?)
            }
            Role::Opened(domain) => {
                let name = server_name(domain.map(|domain| &**domain), remote)?;
                Connection::from(ClientConnection::new(setup.client.clone(), name).map_err(broken)?)
            }
        };
        let socket = Socket::secure(stream, connection).await.map_err(|error| io_failure(&error))?;
        let proof = match (role, socket.peer_certificates().as_deref()) {
            (Role::Opened(_), _) if setup.insecure => Proof::Unseen,
            // The chain has been verified in the handshake. A client's certificate without a SIP domain proves none.
            (_, Some([own, chain @ ..])) => {
                let peer = Identities::from_certificate(own).unwrap_or_default();
                // Who may vouch for a domain may not vouch for a user.
                let users = matches!(role, Role::Accepted) && setup.vouches_for_users(own, chain);
                Proof::Domains(Arc::new(if users { peer } else { peer.without_users() }))
            }
            _ => Proof::Nothing,
        };
        Ok((socket, proof))
    }
}

/// The name that the certificate is compared with, which is also the one that the server is told (SNI) unless it is an
/// address (RFC 6066 §3).
#[cfg(feature = "tls")]
fn server_name(
    domain: Option<&str>,
    remote: SocketAddr,
) -> Result<rustls::pki_types::ServerName<'static>, SendError> {
    use rustls::pki_types::ServerName;
    let Some(domain) = domain else { return Ok(ServerName::from(remote.ip().to_canonical())) };
    if let Some(ip) = crate::locals::parse_ip(domain) {
        return Ok(ServerName::from(ip));
    }
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    ServerName::try_from(domain.to_owned()).map_err(|_| SendError::Tls(TlsFailure::BadDomain))
}

/// What the field Host says (RFC 6455 §4.1): the host of the URI, and the port unless it is the default one.
#[cfg(feature = "ws")]
fn http_host(domain: Option<&Arc<str>>, transport: Transport, remote: SocketAddr) -> String {
    let host = match domain {
        Some(domain) => domain.to_string(),
        None => crate::locals::host_text(remote.ip()),
    };
    if remote.port() == transport.default_port() { host } else { format!("{host}:{}", remote.port()) }
}

#[cfg(feature = "ws")]
async fn upgrade_accepted(socket: &Socket, origins: &Origins) -> Result<Vec<u8>, SendError> {
    let mut head = Vec::new();
    loop {
        match handshake::accept(&head, origins) {
            Ok(Some((response, size))) => {
                write_all(socket, &response).await?;
                return Ok(head.split_off(size));
            }
            Ok(None) => read_some(socket, &mut head).await?,
            Err(refusal) => {
                tracing::debug!(%refusal, "WebSocket upgrade refused");
                write_all(socket, &refusal.response()).await?;
                socket.shut_down();
                return Err(SendError::Closed);
            }
        }
    }
}

#[cfg(feature = "ws")]
async fn upgrade_opened(socket: &Socket, host: &str) -> Result<Vec<u8>, SendError> {
    use std::hash::{BuildHasher, RandomState};
    // Keyed with the randomness of the process: a nonce need not be more (RFC 6455 §4.1).
    let half = |number: u8| RandomState::new().hash_one(number);
    let key = (u128::from(half(0)) << 64 | u128::from(half(1))).to_be_bytes();
    write_all(socket, &handshake::request(host, key)).await?;
    let mut head = Vec::new();
    loop {
        match handshake::accepted(&head, key) {
            Ok(Some(size)) => return Ok(head.split_off(size)),
            Ok(None) => read_some(socket, &mut head).await?,
            Err(failure) => return Err(SendError::WebSocket(failure)),
        }
    }
}

#[cfg(feature = "ws")]
async fn read_some(socket: &Socket, into: &mut Vec<u8>) -> Result<(), SendError> {
    loop {
        match append(socket, into) {
            Ok(0) => return Err(SendError::Closed),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => socket.readable().await,
            Err(error) => return Err(broken(&error)),
        }
    }
}

#[cfg(feature = "ws")]
fn append(socket: &Socket, into: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut some = [0; 1024];
    let length = socket.read(&mut some)?;
    into.extend_from_slice(some.get(..length).unwrap_or_default());
    Ok(length)
}

#[cfg(feature = "ws")]
async fn write_all(socket: &Socket, mut bytes: &[u8]) -> Result<(), SendError> {
    while !bytes.is_empty() || socket.is_pending() {
        match socket.write(&[IoSlice::new(bytes)]).and_then(|taken| socket.flush().map(|()| taken)) {
            Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => socket.writable().await,
            Err(error) => return Err(broken(&error)),
        }
        if bytes.is_empty() && socket.is_pending() {
            socket.writable().await;
        }
    }
    Ok(())
}

/// What an error of an open connection means.
pub(super) fn broken(error: &std::io::Error) -> SendError {
    #[cfg(feature = "tls")]
    return io_failure(error);
    #[cfg(not(feature = "tls"))]
    SendError::from(error)
}
