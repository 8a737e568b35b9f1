//! What peers may make a driver hold. Every limit has a counter beside it in [`Counters`].

use std::time::Duration;

/// Limits of a driver over sockets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Limits of a single message.
    pub message: sip_message::Limits,
    /// Connections in all, accepted and opened.
    pub connections: usize,
    /// Accepted connections from one address.
    pub connections_per_source: usize,
    /// Messages waiting to be written to one connection.
    pub send_queue: usize,
    /// Bytes waiting to be written to one connection.
    pub send_queue_bytes: usize,
    /// Datagrams waiting for a full socket buffer to drain.
    pub datagram_queue: usize,
    /// A connection that neither sends nor receives for so long is closed.
    pub idle: Duration,
    /// A connection whose peer has not acknowledged what was sent for so long is closed (Linux; elsewhere the kernel's own
    /// limit holds).
    pub unacknowledged: Duration,
    /// An accepted connection that has not sent one whole message after so long is closed.
    pub first_message: Duration,
    /// How long opening a connection may take, with the handshakes of TLS and WebSocket.
    pub connect: Duration,
    /// Accepted connections whose handshakes (PROXY header, TLS, WebSocket) are under way.
    pub handshakes: usize,
    /// How long the handshakes of an accepted connection may take.
    pub handshake: Duration,
    /// Name service questions in flight.
    pub queries: usize,
    /// How long a name service question may take.
    pub query: Duration,
    /// Messages waiting for one of several cores side by side.
    pub shard_queue: usize,
}

impl Limits {
    /// Each connection costs a socket and up to two tasks: a peer must not use up our file descriptors.
    pub const CONNECTIONS: usize = 10_000;
    /// One address must not take all connections; a carrier's NAT or trunk needs some hundreds.
    pub const CONNECTIONS_PER_SOURCE: usize = 1_000;
    /// A peer that does not read must not make us store what we would tell it.
    pub const SEND_QUEUE: usize = 1_024;
    /// The same, where the messages are large.
    pub const SEND_QUEUE_BYTES: usize = 1 << 20;
    /// A burst beyond the socket buffer; what exceeds it is lost as it would be in the network, and retransmitted.
    pub const DATAGRAM_QUEUE: usize = 1_024;
    /// RFC 3261 §18 wants connections kept for at least the longest transaction (Timer C, 3 minutes); phones
    /// behind NAT keep theirs alive each 2 minutes (RFC 5626 §4.4.1), so three missed ones end it.
    pub const IDLE: Duration = Duration::from_secs(360);
    /// A request is given up after 32 s (Timers B and F), and the next one must not go the way that this one went into nothing;
    /// the kernel's own patience is a quarter of an hour. A link that is down for a moment is no reason to close.
    pub const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
    /// Holding a connection open with a trickle of bytes ("slowloris") costs the attacker nothing, so end it.
    pub const FIRST_MESSAGE: Duration = Duration::from_secs(32);
    /// Shorter than Timer B (32 s), so that the next candidate can still be tried within a transaction.
    pub const CONNECT: Duration = Duration::from_secs(8);
    /// A handshake costs a signature and some ten kilobytes before anybody has proven anything; phones that all come back
    /// at once are through with it in seconds.
    pub const HANDSHAKES: usize = 1_024;
    /// Six messages over the slowest path, and no longer: who begins and does not go on gets his place taken.
    pub const HANDSHAKE: Duration = Duration::from_secs(10);
    /// Requests to ever new domains must not flood the name server or our memory.
    pub const QUERIES: usize = 1_024;
    /// A transaction waits no longer than Timer B; two questions in a row must fit in it.
    pub const QUERY: Duration = Duration::from_secs(10);
    /// A flood for one core must not take all memory. A core that is so far behind has refused what is new for long: what
    /// is dropped then comes again, if it is meant.
    pub const SHARD_QUEUE: usize = 16_384;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message: sip_message::Limits::default(),
            connections: Limits::CONNECTIONS,
            connections_per_source: Limits::CONNECTIONS_PER_SOURCE,
            send_queue: Limits::SEND_QUEUE,
            send_queue_bytes: Limits::SEND_QUEUE_BYTES,
            datagram_queue: Limits::DATAGRAM_QUEUE,
            idle: Limits::IDLE,
            unacknowledged: Limits::UNACKNOWLEDGED,
            first_message: Limits::FIRST_MESSAGE,
            connect: Limits::CONNECT,
            handshakes: Limits::HANDSHAKES,
            handshake: Limits::HANDSHAKE,
            queries: Limits::QUERIES,
            query: Limits::QUERY,
            shard_queue: Limits::SHARD_QUEUE,
        }
    }
}

/// What a driver counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages handed to the core.
    pub received: u64,
    /// Messages handed to the kernel.
    pub sent: u64,
    /// Keep-alives and answers to them (CRLF and STUN, RFC 5626 §4.4; empty datagrams) that came.
    pub keep_alives: u64,
    /// Keep-alives that the core sent, and STUN answers.
    pub keep_alives_sent: u64,
    /// Datagrams that found no room in the socket, because more came than was read. Counted when more is read; on Linux alone.
    pub overflowed: u64,
    /// Datagrams that are no SIP message we could route an answer for.
    pub rejected_datagrams: u64,
    /// Messages on connections without a Via that can be read.
    pub rejected_messages: u64,
    /// Connections closed because what came on them could not be framed.
    pub malformed_streams: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections refused because of the limit on all.
    pub refused_total: u64,
    /// Connections refused because of the limit per source address.
    pub refused_per_source: u64,
    /// Connections refused because too many handshakes were under way.
    pub refused_handshakes: u64,
    /// Handshakes (PROXY header, TLS, WebSocket) that failed, of accepted and opened connections.
    pub handshake_failures: u64,
    /// Handshakes that took too long.
    pub handshake_timeouts: u64,
    /// Times that accepting paused because there were no more file descriptors.
    pub accept_pauses: u64,
    /// Connections closed because nothing happened on them.
    pub idle_closed: u64,
    /// Connections closed because the peer did not answer, and sent nothing else either.
    pub silent_closed: u64,
    /// Connections closed because the peer did not read.
    pub slow_readers: u64,
    /// Messages that could not be sent.
    pub send_failures: u64,
    /// Datagrams dropped because the kernel's buffer and our queue were full.
    pub datagrams_dropped: u64,
    /// Name service questions answered "too many".
    pub queries_refused: u64,
    /// Messages dropped because too many waited for the core, of several, that they were for.
    pub shard_overflowed: u64,
}
