//! Octets to send: answers and reports first, then messages by turns (RFC 4975 §5.1, §7.1.1).

use bytes::Bytes;
use memchr::memmem;

use super::{Connection, MAX_UNANSWERED, MAX_WHOLE_CHUNK, MessageKey, SessionKey, Waiting};
use crate::event::Event;
use crate::message::{ByteRange, FailureReport, Flag, HeadWriter, Ident, Method, end_line};
use crate::outgoing::{Chunking, PIECE, SMALL_CHUNK, TURN};

/// Chunks of which only failure is told, remembered for its sake.
const MAX_PARTIALS: usize = 4_096;

/// A chunk that is being sent.
pub(crate) struct Open {
    pub(crate) message: MessageKey,
    transaction: Ident,
    /// Hyphens and identifier, which must not be in the body.
    finder: memmem::Finder<'static>,
    /// The last octets of the body so far, in which it may begin.
    tail: Vec<u8>,
    sent: u64,
    /// Octets after which it ends in any case.
    limit: u64,
    interruptible: bool,
    failure: FailureReport,
}

impl Open {
    /// How much of this piece can be sent without the end-line in the body (RFC 4975 §7.1).
    fn clean(&mut self, piece: &[u8]) -> usize {
        let keep = self.finder.needle().len().saturating_sub(1);
        let mut seam = self.tail.clone();
        seam.extend_from_slice(piece.get(..keep.min(piece.len())).unwrap_or_default());
        let clean = if self.finder.find(&seam).is_some_and(|at| at < self.tail.len()) {
            0
        } else {
            self.finder.find(piece).unwrap_or(piece.len())
        };
        let taken = piece.get(..clean).unwrap_or_default();
        if taken.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(taken.get(taken.len().saturating_sub(keep)..).unwrap_or_default());
        } else {
            self.tail.extend_from_slice(taken);
            self.tail.drain(..self.tail.len().saturating_sub(keep));
        }
        clean
    }
}

impl Connection {
    /// Octets to send next, or nothing until something changes. What is taken has to be sent, in this order.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        loop {
            if let Some(octets) = self.staged.pop_front() {
                return Some(octets);
            }
            if self.open.is_some() {
                if !self.go_on() {
                    return None;
                }
            } else if let Some(octets) = self.control.pop_front() {
                return Some(octets);
            } else if !self.begin() {
                return None;
            }
        }
    }

    /// Whether somebody else has something to send.
    fn others_wait(&self) -> (bool, bool) {
        (!self.control.is_empty(), self.ready.iter().any(|key| self.outgoing.contains_key(key)))
    }

    /// More of the open chunk, or its end; false if there is nothing now.
    fn go_on(&mut self) -> bool {
        let (control, others) = self.others_wait();
        let Some(open) = &mut self.open else { return false };
        let Some(message) = self.outgoing.get_mut(&open.message) else {
            // It failed, or was given up.
            self.end_chunk(Flag::Aborted);
            return true;
        };
        if message.is_at_end() {
            self.end_chunk(Flag::Complete);
            return true;
        }
        let is_dry = !message.is_ready();
        let share = if control { SMALL_CHUNK } else { TURN };
        let must_yield = (control || others) && (is_dry || open.sent >= share);
        if (open.interruptible && must_yield) || open.sent >= open.limit {
            self.end_chunk(Flag::Continued);
            return true;
        }
        let room = usize::try_from(open.limit.saturating_sub(open.sent)).unwrap_or(usize::MAX);
        // Where others may come, no more than their share is handed out at once.
        let most = if control { room.min(2_048) } else { room.min(PIECE) };
        let Some(mut piece) = message.take(most) else {
            // Nobody sees what has left of a WebSocket message before its end.
            if self.in_messages {
                self.end_chunk(Flag::Continued);
            }
            return self.in_messages;
        };
        let clean = open.clean(&piece);
        open.sent = open.sent.saturating_add(clean as u64);
        let is_cut = clean < piece.len();
        if is_cut {
            message.untake(piece.split_off(clean));
        }
        let (key, session, streamed) = (open.message, SessionKey(message.session), !message.finished);
        if !piece.is_empty() {
            if streamed {
                self.events.push_back((session, Event::Drained(key, piece.len())));
            }
            self.staged.push_back(piece);
        }
        if is_cut {
            self.end_chunk(Flag::Continued);
        }
        true
    }

    fn end_chunk(&mut self, flag: Flag) {
        let Some(open) = self.open.take() else { return };
        self.staged.push_back(end_line(&open.transaction, flag));
        match open.failure {
            FailureReport::Yes => self.unstarted.push(open.transaction),
            FailureReport::Partial => self.partials.push_back(open.transaction),
            FailureReport::No => {}
        }
        if self.partials.len() > MAX_PARTIALS
            && let Some(oldest) = self.partials.pop_front()
        {
            self.waiting.remove(&oldest);
        }
        let Some(message) = self.outgoing.get_mut(&open.message) else { return };
        if flag == Flag::Complete {
            message.is_sent = true;
            let (session, was_started) = (SessionKey(message.session), message.is_started);
            self.release(session, was_started);
            self.check_sent(open.message);
        } else if message.is_ready() {
            self.ready.push_back(open.message);
        }
    }

    /// Opens the chunk of whoever's turn it is; false if nobody has anything to send.
    fn begin(&mut self) -> bool {
        if self.unanswered >= MAX_UNANSWERED {
            return false;
        }
        while let Some(key) = self.ready.pop_front() {
            let Some(message) = self.outgoing.get(&key).filter(|message| message.is_ready()) else {
                continue;
            };
            let session = SessionKey(message.session);
            let Some(paths) = self.sessions.get(&session).and_then(|session| session.paths.clone()) else {
                continue;
            };
            let left = message
                .total
                .filter(|_| message.finished)
                .map(|total| total.saturating_sub(message.position));
            // What is short and at hand is sent in one piece.
            let short = left.filter(|&left| left <= SMALL_CHUNK && left == message.queued as u64);
            let small = message.chunking == Chunking::Small;
            let start = message.position.saturating_add(1);
            let limit = match (small, self.in_messages) {
                (true, _) => SMALL_CHUNK,
                (false, true) => MAX_WHOLE_CHUNK as u64,
                (false, false) => u64::MAX,
            };
            // Only what is not interrupted may say where it ends.
            let end = short.map(|left| message.position.saturating_add(left));
            let range = ByteRange { start, end, total: message.total };
            let front = message.front();
            let front = Bytes::copy_from_slice(front.get(..front.len().min(2_048)).unwrap_or_default());
            let (id, fields, failure) = (message.id, message.fields.clone(), message.failure);
            let transaction = self.fresh_ident(&front);
            let head = HeadWriter::request(transaction, &Method::Send)
                .printed(&paths)
                .typed("Message-ID", id)
                .typed("Byte-Range", range)
                .printed(&fields);
            self.staged.push_back(head.finish());
            match failure {
                FailureReport::Yes => {
                    self.waiting.insert(transaction, Waiting::Chunk(key));
                    self.unanswered = self.unanswered.saturating_add(1);
                    if let Some(message) = self.outgoing.get_mut(&key) {
                        message.unanswered = message.unanswered.saturating_add(1);
                    }
                }
                FailureReport::Partial => {
                    self.waiting.insert(transaction, Waiting::Partial(key));
                }
                FailureReport::No => {}
            }
            let needle = [b"-------", transaction.as_str().as_bytes()].concat();
            self.open = Some(Open {
                message: key,
                transaction,
                finder: memmem::Finder::new(&needle).into_owned(),
                tail: Vec::new(),
                sent: 0,
                limit,
                interruptible: short.is_none(),
                failure,
            });
            return true;
        }
        false
    }
}
