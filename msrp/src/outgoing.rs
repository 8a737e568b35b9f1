//! A message on its way out (RFC 4975 §7.1.1): its content, how much of it has left, and what is still to be heard of it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::message::{FailureReport, HeadWriter, Ident, InjectionError, Method};
use crate::ranges::{MAX_GAPS, Ranges};

/// Octets that one turn of a message may take while others wait for the same connection: RFC 4975 §5.1 wants a fair share at
/// regular intervals.
pub const TURN: u64 = 65_536;
/// Octets of a chunk that may not be cut short, and that one which is cut short should have (RFC 4975 §7.1.1).
pub const SMALL_CHUNK: u64 = 2_048;
/// Octets of content handed out at once.
pub(crate) const PIECE: usize = 65_536;
/// Octets of a streamed message that may wait: its source is told to go on when less does.
pub const MAX_QUEUED: usize = 1 << 20;

/// How long the chunks of a message are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunking {
    /// As few as possible: a chunk lasts until somebody else wants the connection. RFC 4975 §7.1.1 recommends it strongly.
    #[default]
    Interruptible,
    /// Never more than 2,048 octets, for peers that cannot take more.
    Small,
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its media type.
    pub content_type: String,
    /// Its content; nothing for one that is fed in parts.
    pub body: Option<Bytes>,
    /// Octets of one that is fed, if they are known.
    pub total: Option<u64>,
    /// Whether the receiver shall confirm that it is there.
    pub success_report: bool,
    /// What shall be told of failures.
    pub failure_report: FailureReport,
    /// Its identifier, if it is sent again after a failed session (RFC 4975 §5.4); else one is made.
    pub id: Option<Ident>,
    /// Other fields, such as Content-Disposition. Their names must not be those that MSRP itself writes.
    pub fields: Vec<(String, String)>,
    /// How long its chunks are.
    pub chunking: Chunking,
}

impl Message {
    /// One with all its content at hand.
    #[must_use]
    pub fn new(content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { total: Some(body.len() as u64), body: Some(body), ..Self::stream(content_type, None) }
    }

    /// Text for a person.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain;charset=UTF-8", text.into())
    }

    /// One whose content is fed in parts, with its length if that is known.
    #[must_use]
    pub fn stream(content_type: impl Into<String>, total: Option<u64>) -> Self {
        Self {
            content_type: content_type.into(),
            body: None,
            total,
            success_report: false,
            failure_report: FailureReport::Yes,
            id: None,
            fields: Vec::new(),
            chunking: Chunking::default(),
        }
    }

    /// Asks the receiver to confirm.
    #[must_use]
    pub fn with_success_report(mut self) -> Self {
        self.success_report = true;
        self
    }

    /// Chooses what is told of failures.
    #[must_use]
    pub fn with_failure_report(mut self, report: FailureReport) -> Self {
        self.failure_report = report;
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn with_field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }
}

/// Fields that are not the caller's to write.
const OWN: [&str; 9] = [
    "To-Path",
    "From-Path",
    "Message-ID",
    "Byte-Range",
    "Success-Report",
    "Failure-Report",
    "Status",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// The state of one.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) session: u64,
    pub(crate) id: Ident,
    /// The fields behind Byte-Range, printed once.
    pub(crate) fields: Bytes,
    pub(crate) success: bool,
    pub(crate) failure: FailureReport,
    pub(crate) total: Option<u64>,
    pub(crate) chunking: Chunking,
    queue: VecDeque<Bytes>,
    pub(crate) queued: usize,
    /// Nothing more will be fed.
    pub(crate) finished: bool,
    /// Octets that have left.
    pub(crate) position: u64,
    /// It counts among the long ones that have begun.
    pub(crate) is_started: bool,
    /// Chunks without an answer.
    pub(crate) unanswered: usize,
    /// Its last octet and its end have left.
    pub(crate) is_sent: bool,
    /// The sender was told that it is sent.
    pub(crate) told: bool,
    reported: Ranges,
    is_reported: bool,
}

impl Outgoing {
    pub(crate) fn new(session: u64, id: Ident, message: Message) -> Result<Self, InjectionError> {
        // Only the fields are wanted, printed by the one that knows what a line is.
        let mut writer = HeadWriter::request(id, &Method::Send);
        let start = writer.len();
        if message.success_report {
            writer = writer.field("Success-Report", "yes")?;
        }
        if message.failure_report != FailureReport::Yes {
            writer = writer.field("Failure-Report", message.failure_report.as_str())?;
        }
        for (name, value) in &message.fields {
            if OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
                return Err(InjectionError);
            }
            writer = writer.field(name, value)?;
        }
        let fields = writer.field("Content-Type", &message.content_type)?.fields_from(start);
        let finished = message.body.is_some();
        let total = message.body.as_ref().map(|body| body.len() as u64).or(message.total);
        let body = message.body.filter(|body| !body.is_empty());
        Ok(Self {
            session,
            id,
            fields,
            success: message.success_report,
            failure: message.failure_report,
            total,
            chunking: message.chunking,
            queued: body.as_ref().map_or(0, Bytes::len),
            queue: body.into_iter().collect(),
            finished,
            position: 0,
            is_started: false,
            unanswered: 0,
            is_sent: false,
            told: false,
            reported: Ranges::default(),
            is_reported: false,
        })
    }

    pub(crate) fn feed(&mut self, octets: Bytes) {
        if !octets.is_empty() {
            self.queued = self.queued.saturating_add(octets.len());
            self.queue.push_back(octets);
        }
    }

    /// Whether there is something to send now: content, or the end.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_sent && (self.finished || !self.queue.is_empty())
    }

    /// Whether all of it is at hand and goes into one chunk, which nobody has to wait for.
    pub(crate) fn is_short(&self) -> bool {
        self.finished && self.position == 0 && self.queued as u64 <= SMALL_CHUNK
    }

    /// Whether all that there is has left but the end.
    pub(crate) fn is_at_end(&self) -> bool {
        self.finished && self.queue.is_empty()
    }

    /// What would leave next.
    pub(crate) fn front(&self) -> &[u8] {
        self.queue.front().map(|piece| piece.as_ref()).unwrap_or_default()
    }

    /// Takes the next octets.
    pub(crate) fn take(&mut self, most: usize) -> Option<Bytes> {
        let front = self.queue.front_mut()?;
        let piece = front.split_to(front.len().min(most));
        if front.is_empty() {
            self.queue.pop_front();
        }
        self.queued = self.queued.saturating_sub(piece.len());
        self.position = self.position.saturating_add(piece.len() as u64);
        Some(piece)
    }

    /// Gives octets back that are not sent after all.
    pub(crate) fn untake(&mut self, piece: Bytes) {
        self.queued = self.queued.saturating_add(piece.len());
        self.position = self.position.saturating_sub(piece.len() as u64);
        self.queue.push_front(piece);
    }

    /// A success report of the octets from `start` (1 is the first) to `end`.
    pub(crate) fn report(&mut self, start: u64, end: u64) {
        self.is_reported = true;
        if self.reported.parts() < MAX_GAPS {
            self.reported.insert(start.saturating_sub(1), end);
        }
    }

    /// Whether reports cover the whole message. One without octets is covered by any.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.is_sent && self.is_reported && self.reported.covers(self.position)
    }
}
