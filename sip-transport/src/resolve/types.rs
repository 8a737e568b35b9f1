//! What goes into a resolution and what comes out, and its bounds.

use std::net::SocketAddr;
use std::time::Duration;

use crate::core::ResolveError;
use crate::locals::Supported;
use crate::path::Transport;

/// Requests larger than this go over a connection where one can be had, since the path MTU is not known
/// (RFC 3261 §18.1.1).
pub const MAX_DATAGRAM_REQUEST: usize = 1_300;

/// NAPTR records considered: each is an SRV question, and there are five services at most.
pub const MAX_SERVICES: usize = 8;

/// SRV targets looked up for one destination, as many as attempts are made: a zone of a thousand targets must not
/// make us ask two thousand times.
pub const MAX_TARGETS: usize = 8;

/// Candidates for one destination: each may cost a transaction its full timeout.
pub const MAX_CANDIDATES: usize = 32;

/// How long the other address family is waited for when one is known (RFC 8305 §3, "Resolution Delay").
pub const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long the addresses of further servers are waited for when those of the first are known: they serve for
/// failover alone, and a name server that hangs on one of them must not hold a call up.
pub const FURTHER_TARGETS_DELAY: Duration = Duration::from_secs(1);

/// What a request asks of its way.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Size of the request in bytes as it will be sent.
    pub size: usize,
    /// Transports and address families that can be used: [`Locals::supported`](crate::locals::Locals::supported).
    pub supported: Supported,
    /// Entropy for the choice among SRV records by weight. The same number gives the same choice: a stateless proxy
    /// derives it from the transaction (RFC 3263 §4.4).
    pub random: u64,
}

/// One place to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The transport.
    pub transport: Transport,
    /// The address.
    pub remote: SocketAddr,
    /// The number of the host that has this address, in the order in which hosts are tried.
    pub host: u16,
}

/// Where a resolution stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Answers are awaited. With a time: if the next answer does not come within it, call
    /// [`Resolution::settle`](super::Resolution::settle), since what is there will do.
    Waiting(Option<Duration>),
    /// Try these in order. Never empty.
    Done(Vec<Candidate>),
    /// There is nothing to try.
    Failed(Unreachable),
}

/// Why a destination cannot be reached at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Only `sip` and `sips` URIs lead to a host.
    #[error("a URI of scheme \"{0}\" names no host to send to")]
    Scheme(String),
    /// The `transport` parameter names one that we do not know.
    #[error("unknown transport \"{0}\"")]
    UnknownTransport(String),
    /// A `sips` URI cannot be reached over this transport (RFC 3261 §26.2.2).
    #[error("{0} is not secure, the sips URI asks for a secure transport")]
    Insecure(Transport),
    /// No listener of the transport (in the address family found) exists here.
    #[error("no local {0} listener that can reach the destination")]
    NoLocal(Transport),
    /// The name service gave nothing.
    #[error("{name}: {error}")]
    Name {
        /// The name asked for last.
        name: String,
        /// What went wrong.
        error: ResolveError,
    },
    /// The domain says that it offers no such service: an SRV record with the target `.` (RFC 2782).
    #[error("{0} offers no SIP service")]
    NoService(String),
}
