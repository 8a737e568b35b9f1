//! Where a message goes and where it came from: transports, flows, paths.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sip_message::{Message, Uri};

use crate::identity::Identities;
use crate::stun::{Outcome, TransactionId};

/// A transport protocol of SIP: RFC 3261 §18 (UDP, TCP, TLS) and RFC 7118 (WebSocket).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams. The only one over which transactions retransmit.
    Udp,
    /// A byte stream framed by Content-Length.
    Tcp,
    /// TCP inside TLS.
    Tls,
    /// WebSocket over TCP (RFC 7118).
    Ws,
    /// WebSocket over TLS (RFC 7118).
    Wss,
}

impl Transport {
    /// All of them, in the order of their declaration.
    pub const ALL: [Transport; 5] =
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

    /// The name as it stands in `Via: SIP/2.0/UDP` (RFC 3261 §20.42).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The name as it stands in the URI parameter `;transport=udp` (RFC 3261 §19.1.1).
    #[must_use]
    pub const fn uri_param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// The transport that a Via names, in any case; `None` for one we do not know.
    #[must_use]
    pub fn from_via(name: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|t| t.as_str().eq_ignore_ascii_case(name))
    }

    /// The transport that a URI's `transport` parameter names, in any case; `None` for one we do not know.
    #[must_use]
    pub fn from_uri_param(name: &str) -> Option<Transport> {
        Transport::from_via(name)
    }

    /// The transport that a URI asks for: its `transport` parameter, made secure by the scheme `sips`, which alone asks for
    /// TLS (RFC 3261 §26.2.2; RFC 5630 §3.1.3; RFC 7118 §8). `None`: the URI leaves it open, or names one we do not know.
    #[must_use]
    pub fn of_uri(uri: &Uri) -> Option<Transport> {
        let named = uri.transport_param().map(Transport::from_uri_param);
        match named {
            None if uri.is_sips() => Some(Transport::Tls),
            None => None,
            Some(Some(Transport::Tcp)) if uri.is_sips() => Some(Transport::Tls),
            Some(Some(Transport::Ws)) if uri.is_sips() => Some(Transport::Wss),
            Some(named) => named,
        }
    }

    /// Whether a URI that names `named` is served by a connection of this transport: browsers write `transport=ws` over
    /// secure WebSocket too (RFC 7118 §5.2.4), and `transport=tcp` may stand in a `sips` URI (RFC 5630 §3.1.3).
    #[must_use]
    pub fn serves(self, named: Transport) -> bool {
        self == named
            || matches!((self, named), (Transport::Wss, Transport::Ws) | (Transport::Tls, Transport::Tcp))
    }

    /// Whether messages arrive at all, once and in order, so that nothing needs to be retransmitted.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// Whether the transport encrypts: what a `sips` URI demands of each hop (RFC 3261 §26.2.2).
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// The port used where none is named (RFC 3261 §18.2.2, §19.1.2; RFC 7118 §8 for WebSocket URIs).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One connection, or one UDP socket. Given by the driver and never given a second time while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flow {}", self.0)
    }
}

/// A way to a peer: transport, both addresses and, once it is known, the very connection or socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The transport protocol.
    pub transport: Transport,
    /// Our side. An unspecified address (or port 0) leaves the choice to the driver.
    pub local: SocketAddr,
    /// The peer's side.
    pub remote: SocketAddr,
    /// The connection or socket. `None`: use a connection that leads to `remote`, or open one.
    pub flow: Option<FlowId>,
}

impl Path {
    /// A path to `remote` for which the driver chooses socket or connection.
    #[must_use]
    pub fn to(transport: Transport, remote: SocketAddr) -> Path {
        Path { transport, local: unspecified_for(remote), remote, flow: None }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.transport, self.local, self.remote)
    }
}

/// The unspecified address of the family of `remote`, with port 0: "any local address of that family".
#[must_use]
pub(crate) fn unspecified_for(remote: SocketAddr) -> SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let ip = match remote {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

/// A message from the network and the path it came on.
///
/// The top Via of a request already carries `received` and `rport` (RFC 3261 §18.2.1, RFC 3581 §4).
#[derive(Clone, Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The path it came on; its `flow` is always set.
    pub path: Path,
}

/// A name that a core gives to something it sends, to recognise it in [`FlowEvent::SendFailed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    /// Nobody wants to know whether it failed.
    pub const NONE: Token = Token(u64::MAX);
}

/// A message that a core wants sent.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where to.
    pub path: Path,
    /// The bytes of the message. A retransmission is a clone: it costs a reference count.
    ///
    /// Empty on a path of a connection: make it stand, and say so with [`FlowEvent::Ready`], or with
    /// [`FlowEvent::SendFailed`] that it cannot be (RFC 8305 §5).
    pub payload: Bytes,
    /// Where to connect instead when the flow of `path` is gone (RFC 3261 §18.2.2). `None`: fail then.
    pub reopen: Option<SocketAddr>,
    /// The domain that the peer of a TLS connection has to prove: the host of the URI (of the Via, for a response) that
    /// was resolved, whatever the next hop's address is (RFC 5922 §7.3). `None`: the address itself. A flow that is
    /// named by `path` is used as it is.
    pub domain: Option<Arc<str>>,
    /// Comes back in [`FlowEvent::SendFailed`]; [`Token::NONE`] if nobody cares.
    pub token: Token,
}

impl Transmit {
    /// Bytes that go over this very flow or not at all, and whose loss is nobody's business: keep-alives and their answers.
    #[must_use]
    pub fn own(path: Path, payload: Bytes) -> Transmit {
        Transmit { path, payload, reopen: None, domain: None, token: Token::NONE }
    }
}

/// What happens to flows besides messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    /// A connection stands, opened by us or accepted. (UDP sockets are there from the start and not told.)
    Opened {
        /// The connection.
        path: Path,
    },
    /// The peer of a connection that has just been opened has proven with a certificate who it is (RFC 5922 §7.3, §7.4). Told before
    /// anything that comes over it.
    Proven {
        /// The connection.
        path: Path,
        /// Whose certificate it is.
        peer: Arc<Identities>,
    },
    /// A connection is gone.
    Closed {
        /// The connection that was.
        path: Path,
        /// Why.
        reason: CloseReason,
    },
    /// A connection that was asked for stands, be it a new one or one that was there already.
    Ready {
        /// The token of the [`Transmit`] without a payload.
        token: Token,
        /// The connection; its `flow` is set.
        path: Path,
    },
    /// A message could not be sent. On a connection, messages handed to the kernel before it broke count as sent.
    SendFailed {
        /// The token of the [`Transmit`].
        token: Token,
        /// Where it should have gone.
        path: Path,
        /// Why it did not.
        error: SendError,
    },
    /// The peer answered a keep-alive (RFC 5626 §4.4).
    KeptAlive {
        /// The way the answer came.
        path: Path,
        /// What it is.
        answer: KeepAliveAnswer,
    },
}

/// The answer to a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeepAliveAnswer {
    /// A single CRLF on a connection (RFC 5626 §4.4.1), or a WebSocket pong.
    Pong,
    /// A STUN Binding response, or error response, over UDP (RFC 5626 §4.4.2).
    Stun {
        /// The request's transaction.
        id: TransactionId,
        /// What it says.
        outcome: Outcome,
    },
}

/// Connections that a core wants closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// This one: its peer is gone or does not behave.
    Flow(FlowId),
    /// Those that something sent on this path at that time may have taken, and over which nothing at all was heard since:
    /// the flow of the path, or every connection that leads to its remote. A peer whose kernel acknowledges while its
    /// program is silent is known by nothing else.
    Silent {
        /// Where an answer was waited for.
        path: Path,
        /// Since when.
        since: Instant,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed it in good order.
    Peer,
    /// We wanted it closed: [`Core::poll_close`](crate::Core::poll_close).
    Local,
    /// Nothing was sent or received for the idle time of the limits.
    Idle,
    /// The peer sent what cannot be framed (RFC 3261 §18.3).
    Malformed,
    /// The peer did not read what we sent: its queue was full.
    SlowReader,
    /// The network broke it.
    Error(SendError),
    /// We are shutting down.
    Shutdown,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Peer => f.write_str("closed by the peer"),
            CloseReason::Local => f.write_str("closed by us"),
            CloseReason::Idle => f.write_str("idle too long"),
            CloseReason::Malformed => f.write_str("the peer sent bytes that are no SIP messages"),
            CloseReason::SlowReader => f.write_str("the peer does not read what we send"),
            CloseReason::Error(error) => error.fmt(f),
            CloseReason::Shutdown => f.write_str("shutting down"),
        }
    }
}

/// Why a message could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendError {
    /// The peer refused the connection, or its host said that nobody listens at the port.
    #[error("connection refused")]
    Refused,
    /// No route to the peer.
    #[error("network or host unreachable")]
    Unreachable,
    /// Connecting took longer than the limit.
    #[error("no connection within the time allowed")]
    TimedOut,
    /// The connection ended before the message was handed to the kernel, or the flow no longer exists.
    #[error("the connection is gone")]
    Closed,
    /// The peer reads too slowly: the queue of the connection is full.
    #[error("the send queue is full")]
    QueueFull,
    /// The message is larger than a datagram can be.
    #[error("the message is too large for the transport")]
    TooLarge,
    /// No listener of this transport and address family exists to send from.
    #[error("no local socket for this transport and address family")]
    NoLocal,
    /// Our own limit on the number of connections is reached.
    #[error("too many connections")]
    TooManyConnections,
    /// TLS did not come about, or broke.
    #[error("TLS: {0}")]
    Tls(TlsFailure),
    /// The server does not speak SIP over WebSocket with us (RFC 7118 §4).
    #[error("WebSocket: {0}")]
    WebSocket(WsFailure),
    /// Anything else that the operating system says.
    #[error("input/output error: {0}")]
    Io(std::io::ErrorKind),
}

/// Why a TLS connection could not be had, or broke (RFC 5922, RFC 5280, RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TlsFailure {
    /// The certificate is valid and proves other domains than the one of the URI (RFC 5922 §7.3).
    #[error("the peer's certificate is for another domain than the one asked for")]
    OtherDomain,
    /// The certificate, or one of its chain, is past its end.
    #[error("the peer's certificate has expired")]
    Expired,
    /// The certificate, or one of its chain, is not valid yet: or our clock is wrong.
    #[error("the peer's certificate is not valid yet (is the clock right?)")]
    NotYetValid,
    /// No chain leads to an authority that we trust.
    #[error("the peer's certificate is from an authority that is not trusted here")]
    UnknownIssuer,
    /// The authority has taken the certificate back.
    #[error("the peer's certificate is revoked")]
    Revoked,
    /// Its extended key usage does not allow what it is used for.
    #[error("the peer's certificate is not made for this purpose (extended key usage)")]
    WrongPurpose,
    /// It cannot be read, a signature in it is wrong, or a name in it is none.
    #[error("the peer's certificate is broken")]
    BadCertificate,
    /// The peer sent no certificate though one is required.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The host of the URI cannot stand in a certificate.
    #[error("the host asked for is neither a domain name nor an address")]
    BadDomain,
    /// The peer ended it with this alert (RFC 8446 §6): 42 to 49 mean that it did not like our certificate, 116 that it
    /// wants one.
    #[error("the peer refused with alert {0}")]
    Alert(u8),
    /// Nothing in common (version, cipher suite), or the peer does not speak TLS.
    #[error("the handshake failed: no common version or cipher suite, or the peer does not speak TLS here")]
    Handshake,
}

/// Why a WebSocket server is none for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WsFailure {
    /// It answered the upgrade with another HTTP status than 101.
    #[error("the server answered {0} to the upgrade")]
    Status(u16),
    /// It did not choose the subprotocol `sip` (RFC 7118 §4.1).
    #[error("the server does not speak the subprotocol \"sip\"")]
    NotSip,
    /// Its answer is no valid upgrade (RFC 6455 §4.1).
    #[error("the server's answer to the upgrade is malformed")]
    BadUpgrade,
}

impl From<&std::io::Error> for SendError {
    fn from(error: &std::io::Error) -> SendError {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => SendError::Refused,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => SendError::Unreachable,
            Kind::TimedOut => SendError::TimedOut,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
                SendError::Closed
            }
            // EMSGSIZE has no stable ErrorKind of its own; 90 is its number on Linux, 40 on macOS and the BSDs.
            _ if matches!(
                (cfg!(target_os = "linux"), error.raw_os_error()),
                (true, Some(90)) | (false, Some(40))
            ) =>
            {
                SendError::TooLarge
            }
            kind => SendError::Io(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_round_trip() {
        for transport in Transport::ALL {
            assert_eq!(Transport::from_via(transport.as_str()), Some(transport));
            assert_eq!(Transport::from_uri_param(transport.uri_param()), Some(transport));
            assert_eq!(Transport::from_via(&transport.as_str().to_lowercase()), Some(transport));
        }
        assert_eq!(Transport::from_via("SCTP"), None);
    }

    #[test]
    fn a_sips_uri_asks_for_the_secure_kind_of_its_transport() {
        for (uri, transport) in [
            ("sip:a@b", None),
            ("sip:a@b;transport=TLS", Some(Transport::Tls)),
            ("sip:a@b;transport=wss", Some(Transport::Wss)),
            ("sip:a@b;transport=carrier-pigeon", None),
            ("sips:a@b", Some(Transport::Tls)),
            ("sips:a@b;transport=tcp", Some(Transport::Tls)),
            ("sips:a@b;transport=ws", Some(Transport::Wss)),
        ] {
            assert_eq!(Transport::of_uri(&uri.parse().unwrap()), transport, "{uri}");
        }
        assert!(Transport::Wss.serves(Transport::Ws) && !Transport::Ws.serves(Transport::Wss));
    }

    #[test]
    fn a_path_without_flow_leaves_the_local_side_open() {
        let path = Path::to(Transport::Tcp, "[::1]:5060".parse().unwrap());
        assert!(path.local.is_ipv6() && path.local.ip().is_unspecified());
        assert_eq!(path.local.port(), 0);
        assert_eq!(path.flow, None);
    }
}
