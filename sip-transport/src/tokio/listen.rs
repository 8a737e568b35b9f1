//! Sockets before a core exists: what to listen at, and what came of it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ::tokio::net::TcpListener;
use ::tokio::runtime;
use socket2::{Domain, Protocol, Socket, Type};

use crate::locals::{Local, Locals, host_text, parse_ip};
use crate::path::Transport;
use crate::proxy_protocol::Network;
#[cfg(feature = "tls")]
use crate::tokio::tls::Tls;
use crate::tokio::udp::DatagramSocket;

/// Connections waiting to be accepted: a burst of phones that register again after a restart.
const BACKLOG: i32 = 1_024;

/// Buffers asked of the kernel for a UDP socket: room for some thousand messages while the core is busy. The kernel
/// gives less where it is told to (`net.core.rmem_max`).
const DATAGRAM_BUFFER: usize = 4 << 20;

/// Where to listen, written `udp:127.0.0.1:5060` or `tls:[::]:0` (udp, tcp, tls, ws, wss). Port 0 takes a free one.
///
/// `wss:client:0.0.0.0` listens nowhere and lets connections be opened from there: for clients of a transport whose
/// servers answer over the same connection, as with WebSocket.
///
/// ```
/// use sip_transport::tokio::Listen;
/// for text in ["udp:[::1]:0", "tls:0.0.0.0:5061", "ws:client:[::]"] {
///     assert_eq!(text.parse::<Listen>()?.to_string(), text);
/// }
/// # Ok::<(), sip_transport::tokio::ListenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The transport.
    pub transport: Transport,
    /// The address to bind.
    pub address: SocketAddr,
    /// What to tell peers in Via and Contact instead, for example the outer address of a NAT: host, and the port if
    /// it differs from the one bound.
    pub advertise: Option<(String, Option<u16>)>,
    /// Only open connections, from this address, and accept none.
    pub client: bool,
    /// Balancers of connections in these networks send the PROXY protocol's header, version 2, before everything.
    pub proxies: Vec<Network>,
}

impl Listen {
    /// Listens with a transport at an address.
    #[must_use]
    pub fn new(transport: Transport, address: SocketAddr) -> Listen {
        Listen { transport, address, advertise: None, client: false, proxies: Vec::new() }
    }

    /// Opens connections of a transport from an address, and accepts none.
    #[must_use]
    pub fn client(transport: Transport, ip: IpAddr) -> Listen {
        Listen { client: true, ..Listen::new(transport, SocketAddr::new(ip, 0)) }
    }

    /// Takes the word of balancers in this network for who connects through them (PROXY protocol, version 2). They must
    /// send its header; nobody else's is read. Of no effect for UDP.
    #[must_use]
    pub fn proxy(mut self, network: Network) -> Listen {
        self.proxies.push(network);
        self
    }

    /// Tells peers another host, and port if one is given.
    #[must_use]
    pub fn advertise(mut self, host: impl Into<String>, port: Option<u16>) -> Listen {
        self.advertise = Some((host.into(), port));
        self
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = self.transport.uri_param();
        if self.client {
            write!(f, "{transport}:client:{}", host_text(self.address.ip()))
        } else {
            write!(f, "{transport}:{}", self.address)
        }
    }
}

/// Why a text is no [`Listen`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// No `transport:` in front.
    #[error("\"{0}\" names no transport: write it like udp:127.0.0.1:5060")]
    NoTransport(String),
    /// A transport that there is not.
    #[error("\"{0}\" is no transport: udp, tcp, tls, ws and wss are")]
    Transport(String),
    /// No address with a port.
    #[error("\"{0}\" is no address with a port: write it like 127.0.0.1:5060 or [::]:5060")]
    Address(String),
    /// No address to connect from.
    #[error("\"{0}\" is no address to connect from: write it like wss:client:0.0.0.0")]
    Client(String),
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Listen, ListenError> {
        let (transport, address) =
            text.split_once(':').ok_or_else(|| ListenError::NoTransport(text.to_owned()))?;
        let transport = Transport::from_uri_param(transport)
            .ok_or_else(|| ListenError::Transport(transport.to_owned()))?;
        if let Some(ip) = address.strip_prefix("client:") {
            let ip = parse_ip(ip).filter(|_| transport != Transport::Udp);
            return Ok(Listen::client(transport, ip.ok_or_else(|| ListenError::Client(address.to_owned()))?));
        }
        let address = address.parse().map_err(|_| ListenError::Address(address.to_owned()))?;
        Ok(Listen::new(transport, address))
    }
}

/// Why sockets could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Called outside of a tokio runtime with I/O enabled.
    #[error("no tokio runtime: call this within one")]
    NoRuntime,
    /// This program was built without it (features `tls` and `ws` of sip-transport).
    #[error("{0}: this program was built without that transport")]
    Unsupported(Listen),
    /// TLS without being set up.
    #[error("{0}: TLS is not set up")]
    NoTls(Listen),
    /// TLS cannot be listened with without a certificate.
    #[error("{0}: a certificate and its key are needed to listen with TLS")]
    NoCertificate(Listen),
    /// The operating system refused.
    #[error("cannot listen at {listen}: {error}")]
    Io {
        /// Where.
        listen: Listen,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

/// Sockets that are bound and not yet driven. Their [`locals`](Sockets::locals) carry the real ports, which a core
/// wants to know when it is made.
#[derive(Debug)]
pub struct Sockets {
    pub(super) udp: Vec<(DatagramSocket, SocketAddr)>,
    pub(super) streams: Vec<Listener>,
    pub(super) locals: Locals,
    pub(super) runtime: runtime::Handle,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
}

/// A listening socket of any transport over TCP.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) bound: SocketAddr,
    pub(super) transport: Transport,
    proxies: Vec<Network>,
}

impl Listener {
    /// Whether the PROXY protocol is spoken by those who connect from there.
    pub(super) fn is_proxy(&self, source: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(source))
    }
}

impl Listen {
    /// The host and port that peers are told of this listener, bound there.
    fn told(&self, bound: SocketAddr) -> (String, u16) {
        match &self.advertise {
            Some((host, port)) => (host.clone(), port.unwrap_or(bound.port())),
            // RFC 7118 §5: nobody can connect to a WebSocket client, so it tells no address.
            None if self.is_web_client() => (invalid_host(), self.transport.default_port()),
            None if self.client => (host_text(advertised_ip(bound.ip())), self.transport.default_port()),
            None => (host_text(advertised_ip(bound.ip())), bound.port()),
        }
    }

    fn is_web_client(&self) -> bool {
        self.client && matches!(self.transport, Transport::Ws | Transport::Wss)
    }

    /// The listener as peers are to be told of it now that the network is another one.
    #[must_use]
    pub fn tell(&self, local: Local) -> Local {
        if self.is_web_client() {
            return local; // a name that leads nowhere is as good as another
        }
        let (host, port) = self.told(local.bound);
        local.advertise(host, port)
    }

    /// Where to listen now: as before, or at all addresses of the family if this machine no longer has that one.
    #[must_use]
    pub fn relocated(&self) -> Listen {
        let ip = self.address.ip();
        if ip.is_unspecified() || has_address(ip) {
            return self.clone();
        }
        let anywhere: IpAddr =
            if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Listen { address: (anywhere, self.address.port()).into(), ..self.clone() }
    }

    /// The address that this machine sends from by this listener as things are: the listener's own as long as the machine has
    /// it, else the one that leads to the outside. `None` while nothing leads there. Asking sends nothing.
    #[must_use]
    pub fn present_ip(&self) -> Option<IpAddr> {
        match self.relocated().address.ip() {
            any if any.is_unspecified() => routed_ip(any),
            own => Some(own),
        }
    }
}

/// Whether this machine has the address at present.
pub(super) fn has_address(ip: IpAddr) -> bool {
    std::net::UdpSocket::bind((ip, 0)).is_ok()
}

impl Sockets {
    /// Binds sockets for all of these, or for none.
    ///
    /// IPv6 sockets take IPv6 only, so that IPv4 can listen at the same port.
    ///
    /// # Errors
    /// When one cannot be bound, when one is for TLS, or when this is called outside of a tokio runtime.
    pub fn bind(listen: &[Listen]) -> Result<Sockets, BindError> {
        Sockets::bind_all(listen, &Offer::default())
    }

    /// The same with TLS, for listeners (`tls:`, `wss:`) and for connections that are opened.
    ///
    /// # Errors
    /// As for [`bind`](Sockets::bind), and when a TLS listener has no certificate.
    #[cfg(feature = "tls")]
    pub fn bind_with_tls(listen: &[Listen], tls: Tls) -> Result<Sockets, BindError> {
        let offer = Offer { tls: true, certificate: tls.can_listen() };
        Ok(Sockets { tls: Some(tls), ..Sockets::bind_all(listen, &offer)? })
    }

    pub(super) fn bind_all(listen: &[Listen], offer: &Offer) -> Result<Sockets, BindError> {
        let runtime = runtime::Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let mut sockets = Sockets {
            udp: Vec::new(),
            streams: Vec::new(),
            locals: Locals::default(),
            runtime,
            #[cfg(feature = "tls")]
            tls: None,
        };
        let mut locals = Vec::with_capacity(listen.len());
        for one in listen {
            offer.check(one)?;
            let failed = |error| BindError::Io { listen: one.clone(), error };
            let bound = if one.client {
                one.address
            } else if one.transport == Transport::Udp {
                let (socket, bound) = udp(one.address).map_err(failed)?;
                sockets.udp.push((socket, bound));
                bound
            } else {
                let (socket, bound) = tcp(one.address).map_err(failed)?;
                let (transport, proxies) = (one.transport, one.proxies.clone());
                sockets.streams.push(Listener { socket, bound, transport, proxies });
                bound
            };
            let (host, port) = one.told(bound);
            let mut local = Local::new(one.transport, bound).advertise(host, port);
            local.alias = offer.certificate && one.transport == Transport::Tls && !one.client;
            locals.push(local);
        }
        sockets.locals = Locals::new(locals);
        Ok(sockets)
    }

    /// The listeners with their real ports, in the order they were asked for.
    #[must_use]
    pub fn locals(&self) -> &Locals {
        &self.locals
    }
}

/// What there is besides sockets.
#[derive(Default)]
pub(super) struct Offer {
    pub(super) tls: bool,
    pub(super) certificate: bool,
}

impl Offer {
    fn check(&self, listen: &Listen) -> Result<(), BindError> {
        let web = matches!(listen.transport, Transport::Ws | Transport::Wss);
        let secure = listen.transport.is_secure();
        if (web && !cfg!(feature = "ws")) || (secure && !cfg!(feature = "tls")) {
            return Err(BindError::Unsupported(listen.clone()));
        }
        if secure && !self.tls {
            return Err(BindError::NoTls(listen.clone()));
        }
        if secure && !self.certificate && !listen.client {
            return Err(BindError::NoCertificate(listen.clone()));
        }
        Ok(())
    }
}

/// A name that leads nowhere and that nobody else has (RFC 7118 §5, RFC 2606 §2).
fn invalid_host() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}.invalid", RandomState::new().hash_one("host"))
}

fn udp(address: SocketAddr) -> io::Result<(DatagramSocket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Smaller buffers work too, only with less room for bursts.
    if let Err(error) = socket.set_recv_buffer_size(DATAGRAM_BUFFER) {
        tracing::debug!(%error, "receive buffer stays at its default size");
    }
    if let Err(error) = socket.set_send_buffer_size(DATAGRAM_BUFFER) {
        tracing::debug!(%error, "send buffer stays at its default size");
    }
    super::batch::measure(&socket);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = DatagramSocket::new(socket.into())?;
    let bound = socket.local_addr()?;
    Ok((socket, bound))
}

fn tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A server that restarts must get its port back while old connections linger in TIME_WAIT. On Windows the
    // option means something else: it lets two programs share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// What to tell peers for an address that was bound: for the unspecified one, the address that packets to the world
/// leave from.
fn advertised_ip(bound: IpAddr) -> IpAddr {
    if !bound.is_unspecified() {
        return bound;
    }
    match routed_ip(bound) {
        Some(ip) => ip,
        None if bound.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        None => Ipv6Addr::LOCALHOST.into(),
    }
}

/// The address from which this machine reaches the outside, of the family of `like`; `None` if it does not.
fn routed_ip(like: IpAddr) -> Option<IpAddr> {
    // Connecting a UDP socket sends nothing; the kernel only picks a route. The targets are documentation addresses.
    let (any, target): (IpAddr, IpAddr) = match like {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        IpAddr::V6(_) => {
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
        }
    };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect((target, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_is_read_and_printed() {
        for text in ["udp:127.0.0.1:5060", "tcp:[::]:0"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        assert_eq!("127.0.0.1".parse::<Listen>(), Err(ListenError::NoTransport("127.0.0.1".into())));
        assert_eq!("sctp:127.0.0.1:1".parse::<Listen>(), Err(ListenError::Transport("sctp".into())));
        assert_eq!("udp:localhost".parse::<Listen>(), Err(ListenError::Address("localhost".into())));
        for bad in ["udp:client:0.0.0.0", "ws:client:localhost", "ws:client:127.0.0.1:5060"] {
            assert!(matches!(bad.parse::<Listen>(), Err(ListenError::Client(_))), "{bad}");
        }
    }

    #[test]
    fn outside_of_a_runtime_binding_is_an_error() {
        let listen = ["udp:127.0.0.1:0".parse().unwrap()];
        assert!(matches!(Sockets::bind(&listen), Err(BindError::NoRuntime)));
    }

    #[::tokio::test]
    async fn port_zero_and_the_unspecified_address_become_real_ones_for_peers() {
        let sockets =
            Sockets::bind(&["udp:0.0.0.0:0".parse().unwrap(), "tcp:127.0.0.1:0".parse().unwrap()]).unwrap();
        let locals: Vec<&Local> = sockets.locals().iter().collect();
        assert_ne!(locals[0].port, 0);
        assert_eq!(locals[0].port, locals[0].bound.port());
        assert!(!locals[0].host.parse::<IpAddr>().unwrap().is_unspecified());
        assert_eq!(locals[1].host, "127.0.0.1");
    }

    #[::tokio::test]
    async fn a_port_that_is_taken_and_a_transport_that_cannot_be_are_errors() {
        let first = Sockets::bind(&["udp:127.0.0.1:0".parse().unwrap()]).unwrap();
        let taken = Listen::new(Transport::Udp, first.locals().iter().next().unwrap().bound);
        assert!(matches!(Sockets::bind(&[taken]), Err(BindError::Io { .. })));
        let tls = Sockets::bind(&["tls:127.0.0.1:0".parse().unwrap()]);
        assert!(matches!(tls, Err(BindError::Unsupported(_) | BindError::NoTls(_))));
    }
}
