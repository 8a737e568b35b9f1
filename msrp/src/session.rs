//! What one session receives (RFC 4975 §7.3): chunks put together to messages, within limits, and what is to be answered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::event::{Event, Received};
use crate::message::{FailureReport, Flag, Head, Ident};
use crate::ranges::{Assembly, MAX_GAPS, Ranges};
use crate::screen::Screen;
use crate::sdp::MediaTypes;
use crate::status::StatusCode;
use crate::uri::{Path, Uri};

/// Messages of one session that are there in part: a peer that begins many and ends none would fill memory.
pub const MAX_PARTIAL: usize = 64;
/// Identifiers of messages that are done with, kept to know their late and doubled chunks.
pub const MAX_REMEMBERED: usize = 256;
/// Octets of a message that is put together in memory, unless the configuration says otherwise.
pub const MAX_MESSAGE: u64 = 10 << 20;
/// Octets of all messages of one session that are there in part.
pub const MAX_MEMORY: usize = 64 << 20;
/// How long a message that is there in part waits for more of itself: a peer that begins messages and never ends them would hold
/// their memory, and their places among [`MAX_PARTIAL`], as long as the session lasts.
pub const PARTIAL_TIME: Duration = Duration::from_secs(600);
/// Octets of fields kept of one message that is there in part.
const MAX_FIELDS_KEPT: usize = 4_096;

/// How messages are handed to the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Whole, put together in memory.
    #[default]
    Whole,
    /// In parts, as they arrive, each with its place: for files.
    Parts,
}

/// One end of a session, as it was agreed upon by offer and answer.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Our URI, which the peer has from our `a=path`.
    pub local: Uri,
    /// The way to the peer: our relays' URIs (RFC 4976 §5.1) and the peer's `a=path`. Without it, the way back of the first
    /// request that comes.
    pub remote: Option<Path>,
    /// Whether we opened the connection, and so have to send first (RFC 4975 §5.4).
    pub active: bool,
    /// What we take: our `a=accept-types`.
    pub accept: MediaTypes,
    /// Octets of the largest message we take.
    pub max_size: u64,
    /// Octets of messages that may be in memory in part.
    pub max_memory: usize,
    /// How messages are handed out.
    pub delivery: Delivery,
    /// What we take inside of other types, beside [`accept`](Self::accept): our `a=accept-wrapped-types`.
    pub accept_wrapped: MediaTypes,
    /// Says what a container such as message/cpim has inside, so that `accept_wrapped` can be enforced for whole messages.
    pub wrapped_type: Option<WrappedType>,
    /// Answers whole messages and NICKNAME for a switch; without it every message is taken, and no nickname is given.
    pub screen: Option<Arc<dyn Screen>>,
}

/// The media type of what a container has inside, or nothing if the type of the message is none or it cannot be read.
///
/// MSRP itself opens no containers: whoever composes it with a reader of message/cpim (RFC 4975 §8.6, §13.1 wants endpoints to
/// have one) gives its answer here. With `sip_dialog::messaging::Cpim` it is the Content-Type of the wrapped body.
pub type WrappedType = fn(content_type: &str, body: &[u8]) -> Option<String>;

impl SessionConfig {
    /// A session that takes anything, up to [`MAX_MESSAGE`], and waits for the peer.
    #[must_use]
    pub fn new(local: Uri) -> Self {
        Self {
            local,
            remote: None,
            active: false,
            accept: MediaTypes::any(),
            max_size: MAX_MESSAGE,
            max_memory: MAX_MEMORY,
            delivery: Delivery::Whole,
            accept_wrapped: MediaTypes::any(),
            wrapped_type: None,
            screen: None,
        }
    }
}

/// What has come of one message.
#[derive(Debug)]
struct Partial {
    content_type: String,
    fields: Vec<(String, String)>,
    /// What Byte-Range says of the length.
    declared: Option<u64>,
    /// What the chunk with `$` says of it.
    total: Option<u64>,
    success: bool,
    ranges: Ranges,
    assembly: Assembly,
    /// When some of it came last.
    touched: Option<Instant>,
}

/// The chunk that is arriving.
#[derive(Debug)]
struct Chunk {
    id: Ident,
    start: u64,
    position: u64,
    /// The message was handed out before.
    is_duplicate: bool,
    success: bool,
}

/// What a session has to have done when a chunk is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Nothing but the answer.
    Chunk,
    /// The message is whole, and a report of it is wanted.
    Report { id: Ident, total: u64 },
}

/// The receiving half of a session.
#[derive(Debug)]
pub(crate) struct Inbox {
    config: SessionConfig,
    partial: HashMap<Ident, Partial>,
    chunk: Option<Chunk>,
    /// Given up, by us or by the peer: with the status for what still comes of it.
    refused: VecDeque<(Ident, StatusCode)>,
    done: VecDeque<(Ident, u64)>,
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= MAX_REMEMBERED {
        list.pop_front();
    }
    list.push_back(item);
}

impl Inbox {
    pub(crate) fn new(config: SessionConfig) -> Self {
        Self { config, partial: HashMap::new(), chunk: None, refused: VecDeque::new(), done: VecDeque::new() }
    }

    pub(crate) fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// A SEND begins.
    ///
    /// # Errors
    /// The status to answer; the message is given up.
    pub(crate) fn begin(
        &mut self,
        head: &Head,
        now: Option<Instant>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), StatusCode> {
        let bad = |_| StatusCode::BAD_REQUEST;
        let (id, range) = (head.message_id().map_err(bad)?, head.byte_range().map_err(bad)?);
        let success = head.success_report().map_err(bad)?;
        self.chunk = None;
        let known = id.is_some_and(|id| self.partial.contains_key(&id));
        if !head.has_body() && !known {
            return Ok(()); // traffic for its own sake (RFC 4975 §7.1)
        }
        let id = id.ok_or(StatusCode::BAD_REQUEST)?;
        if let Some((_, status)) = self.refused.iter().find(|(refused, _)| *refused == id) {
            return Err(*status);
        }
        if range.is_some_and(|range| range.is_contradictory()) {
            return Err(self.give_up(id, StatusCode::BAD_REQUEST, events));
        }
        let start = range.map_or(0, |range| range.start.saturating_sub(1));
        let declared = range.and_then(|range| range.total);
        let is_duplicate = self.done.iter().any(|(done, _)| *done == id);
        self.chunk = Some(Chunk { id, start, position: start, is_duplicate, success });
        if is_duplicate {
            return Ok(());
        }
        if declared.is_some_and(|total| total > self.config.max_size) || start > self.config.max_size {
            return Err(self.give_up(id, StatusCode::STOP_SENDING, events));
        }
        if let Some(partial) = self.partial.get_mut(&id) {
            match (partial.declared, declared) {
                (Some(before), Some(now)) if before != now => {
                    return Err(self.give_up(id, StatusCode::BAD_REQUEST, events));
                }
                (None, Some(_)) => partial.declared = declared,
                _ => {}
            }
            partial.success |= success;
            partial.touched = now;
            return Ok(());
        }
        let content_type = head.content_type().ok_or(StatusCode::BAD_REQUEST)?;
        if !self.config.accept.takes(content_type) {
            return Err(self.give_up(id, StatusCode::UNSUPPORTED_MEDIA_TYPE, events));
        }
        if self.partial.len() >= MAX_PARTIAL {
            return Err(self.give_up(id, StatusCode::STOP_SENDING, events));
        }
        let mut room = MAX_FIELDS_KEPT;
        let fields: Vec<(String, String)> = head
            .fields()
            .filter(|(name, _)| !OWN.iter().any(|own| own.eq_ignore_ascii_case(name)))
            .map_while(|(name, value)| {
                room = room.checked_sub(name.len().saturating_add(value.len()))?;
                Some((name.to_owned(), value.to_owned()))
            })
            .collect();
        if self.config.delivery == Delivery::Parts {
            let (content_type, fields) = (content_type.to_owned(), fields.clone());
            events.push_back(Event::Begun { id, content_type, total: declared, fields });
        }
        let partial = Partial {
            content_type: content_type.to_owned(),
            fields,
            declared,
            total: None,
            success,
            ranges: Ranges::default(),
            assembly: Assembly::default(),
            touched: now,
        };
        self.partial.insert(id, partial);
        Ok(())
    }

    /// Some of its body.
    ///
    /// # Errors
    /// The status to answer; the message is given up.
    pub(crate) fn body(
        &mut self,
        octets: Bytes,
        now: Option<Instant>,
        events: &mut VecDeque<Event>,
    ) -> Result<(), StatusCode> {
        let Some(chunk) = &mut self.chunk else { return Ok(()) };
        let (id, from) = (chunk.id, chunk.position);
        chunk.position = from.saturating_add(octets.len() as u64);
        let to = chunk.position;
        if chunk.is_duplicate {
            return Ok(());
        }
        let others: usize =
            self.partial.values().fold(0, |sum, partial| sum.saturating_add(partial.assembly.octets()));
        let Some(partial) = self.partial.get_mut(&id) else { return Ok(()) };
        partial.touched = now;
        let beyond = |total: Option<u64>| total.is_some_and(|total| to > total);
        let in_memory = self.config.delivery == Delivery::Whole;
        let too_much = to > self.config.max_size
            || partial.ranges.parts() > MAX_GAPS
            || (in_memory && others.saturating_add(octets.len()) > self.config.max_memory);
        let status = if beyond(partial.declared) || beyond(partial.total) {
            StatusCode::BAD_REQUEST
        } else if too_much {
            StatusCode::STOP_SENDING
        } else {
            partial.ranges.insert(from, to);
            if in_memory {
                partial.assembly.insert(from, &octets);
            } else {
                events.push_back(Event::Part { id, offset: from, octets });
            }
            return Ok(());
        };
        Err(self.give_up(id, status, events))
    }

    /// The chunk is over.
    ///
    /// # Errors
    /// The status to answer; the message is given up.
    pub(crate) fn end(&mut self, flag: Flag, events: &mut VecDeque<Event>) -> Result<Done, StatusCode> {
        let Some(chunk) = self.chunk.take() else { return Ok(Done::Chunk) };
        let id = chunk.id;
        if chunk.is_duplicate {
            if chunk.start == 0 {
                events.push_back(Event::Duplicate { id });
            }
            // Acknowledgements are due even so (RFC 4975 §5.4).
            let total = self.done.iter().find(|(done, _)| *done == id).map_or(0, |(_, total)| *total);
            let report = chunk.success && flag == Flag::Complete;
            return Ok(if report { Done::Report { id, total } } else { Done::Chunk });
        }
        let Some(partial) = self.partial.get_mut(&id) else { return Ok(Done::Chunk) };
        match flag {
            Flag::Aborted => {
                self.give_up(id, StatusCode::STOP_SENDING, events);
                return Ok(Done::Chunk);
            }
            // The chunk with `$` defines the length, whatever was declared.
            Flag::Complete => {
                let total = chunk.position;
                if partial.total.is_some_and(|before| before != total) || partial.ranges.end() > total {
                    return Err(self.give_up(id, StatusCode::BAD_REQUEST, events));
                }
                partial.total = Some(total);
            }
            Flag::Continued => {}
        }
        let Some(total) = partial.total.filter(|&total| partial.ranges.covers(total)) else {
            return Ok(Done::Chunk);
        };
        let Some(mut partial) = self.partial.remove(&id) else { return Ok(Done::Chunk) };
        let body = partial.assembly.take(total).unwrap_or_default();
        if self.config.delivery == Delivery::Whole && !self.takes_wrapped(&partial.content_type, &body) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            events.push_back(Event::Abandoned { id, status });
            return Err(self.give_up(id, status, events));
        }
        let event = match self.config.delivery {
            Delivery::Parts => Event::Ended { id, total },
            Delivery::Whole => {
                let (content_type, fields) = (partial.content_type, partial.fields);
                let message = Received { id, content_type, fields, body };
                let status =
                    self.config.screen.as_ref().map_or(StatusCode::OK, |screen| screen.message(&message));
                if !status.is_success() {
                    events.push_back(Event::Abandoned { id, status });
                    return Err(self.give_up(id, status, events));
                }
                Event::Message(message)
            }
        };
        remember(&mut self.done, (id, total));
        events.push_back(event);
        Ok(if partial.success { Done::Report { id, total } } else { Done::Chunk })
    }

    /// Whether what a container has inside is taken (RFC 4975 §8.6): either list allows it.
    fn takes_wrapped(&self, content_type: &str, body: &[u8]) -> bool {
        let inside = self.config.wrapped_type.and_then(|wrapped| wrapped(content_type, body));
        inside.is_none_or(|inside| {
            self.config.accept_wrapped.takes(&inside) || self.config.accept.takes(&inside)
        })
    }

    /// Whether a message is there in part.
    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Messages of which nothing came for [`PARTIAL_TIME`]; `next` becomes the time when others may have become so.
    pub(crate) fn stale(&self, now: Instant, next: &mut Option<Instant>) -> Vec<Ident> {
        let mut stale = Vec::new();
        for (&id, partial) in &self.partial {
            match partial.touched.and_then(|touched| touched.checked_add(PARTIAL_TIME)) {
                Some(due) if due > now => *next = Some(next.map_or(due, |next| next.min(due))),
                _ => stale.push(id),
            }
        }
        stale.sort_unstable();
        stale
    }

    /// Gives a stale message up: told as 408, and what still comes of it is not wanted.
    pub(crate) fn expire(&mut self, id: Ident, events: &mut VecDeque<Event>) {
        if self.partial.remove(&id).is_some() {
            events.push_back(Event::Abandoned { id, status: StatusCode::TIMEOUT });
        }
        self.give_up(id, StatusCode::STOP_SENDING, events);
    }

    /// Takes no more of a message.
    pub(crate) fn give_up(
        &mut self,
        id: Ident,
        status: StatusCode,
        events: &mut VecDeque<Event>,
    ) -> StatusCode {
        if self.partial.remove(&id).is_some() {
            events.push_back(Event::Abandoned { id, status });
        }
        if self.chunk.as_ref().is_some_and(|chunk| chunk.id == id) {
            self.chunk = None;
        }
        remember(&mut self.refused, (id, status));
        status
    }

    /// The connection is gone: what is there in part stays so.
    pub(crate) fn closed(&mut self, events: &mut VecDeque<Event>) {
        for (id, _) in self.partial.drain() {
            events.push_back(Event::Abandoned { id, status: StatusCode::TIMEOUT });
        }
    }
}

/// Fields that are no business of the application.
const OWN: [&str; 7] =
    ["To-Path", "From-Path", "Message-ID", "Byte-Range", "Success-Report", "Failure-Report", "Content-Type"];

/// Whether a status may be answered (RFC 4975 §7.1.4).
pub(crate) fn may_answer(report: FailureReport, status: StatusCode) -> bool {
    match report {
        FailureReport::Yes => true,
        FailureReport::Partial => !status.is_success(),
        FailureReport::No => false,
    }
}
