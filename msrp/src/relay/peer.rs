//! What is known of one connection.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{MAX_PENDING, MAX_QUEUED};
use crate::framing::{Decoder, Limits};
use crate::message::{ByteRange, FailureReport, Head, Ident};
use crate::uri::Uri;

/// Where a connection of ours leads.
pub(super) type Target = (String, u16, bool);

/// What an answer is waited for.
#[derive(Debug)]
pub(super) enum Pending {
    /// A chunk: who is told of its failure, and how.
    Chunk {
        source: u64,
        back: Bytes,
        us: Uri,
        message: Option<Ident>,
        range: ByteRange,
        report: FailureReport,
    },
    /// Another request, whose answer goes back.
    Other { source: u64, transaction: Ident, signed: bool },
}

/// A SEND that is being forwarded.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) target: u64,
    pub(super) head: Head,
    /// To-Path and From-Path as they go on, printed.
    pub(super) paths: Bytes,
    /// Other fields, printed.
    pub(super) fields: Bytes,
    /// Our URI on the way.
    pub(super) us: Uri,
    pub(super) report: FailureReport,
    /// What came and has not gone on.
    pub(super) held: BytesMut,
    /// The first octet of it.
    pub(super) start: u64,
    pub(super) total: Option<u64>,
}

/// Another request that is being collected.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) target: u64,
    pub(super) head: Head,
    pub(super) paths: Bytes,
    pub(super) body: BytesMut,
}

/// The request whose body or end is awaited.
#[derive(Debug, Default)]
pub(super) enum Inbound {
    #[default]
    Nothing,
    Send(Box<Forward>),
    Other(Box<Other>),
}

/// A nonce that was given out.
#[derive(Debug)]
pub(super) struct Nonce {
    pub(super) text: String,
    pub(super) until: Instant,
    /// The highest count that came with it.
    pub(super) count: u32,
}

/// Octets to send.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) octets: Bytes,
    /// They end a chunk.
    pub(super) is_last: bool,
    /// Of the chunk that they end, if its answer is waited for.
    pub(super) transaction: Option<Ident>,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) decoder: Decoder,
    pub(super) secure: bool,
    /// Who has connected; nobody where we did.
    pub(super) from: Option<IpAddr>,
    pub(super) is_open: bool,
    pub(super) is_proven: bool,
    pub(super) target: Option<Target>,
    pub(super) queue: VecDeque<Piece>,
    pub(super) queued: usize,
    pub(super) unstarted: Vec<Ident>,
    pub(super) pending: HashMap<Ident, Pending>,
    pub(super) inbound: Inbound,
    pub(super) blocked_on: Option<u64>,
    pub(super) nonces: VecDeque<Nonce>,
    pub(super) failures: usize,
    pub(super) grants: HashSet<String>,
    pub(super) hops: Vec<Uri>,
    /// It is a WebSocket, of whose messages each is one chunk.
    pub(super) in_messages: bool,
    /// What was handed out ends with a whole chunk.
    pub(super) is_at_chunk_end: bool,
}

impl Peer {
    pub(super) fn new(secure: bool, is_open: bool, target: Option<Target>) -> Self {
        Self {
            decoder: Decoder::new(Limits::default()),
            secure,
            from: None,
            is_open,
            // Those that we open need no probation.
            is_proven: target.is_some(),
            target,
            queue: VecDeque::new(),
            queued: 0,
            unstarted: Vec::new(),
            pending: HashMap::new(),
            inbound: Inbound::Nothing,
            blocked_on: None,
            nonces: VecDeque::new(),
            failures: 0,
            grants: HashSet::new(),
            hops: Vec::new(),
            in_messages: false,
            is_at_chunk_end: true,
        }
    }

    pub(super) fn from(self, ip: IpAddr) -> Self {
        Self { from: Some(ip), ..self }
    }

    /// Whether nothing more should be sent to it for now.
    pub(super) fn is_full(&self) -> bool {
        self.queued >= MAX_QUEUED || self.pending.len() >= MAX_PENDING
    }
}
