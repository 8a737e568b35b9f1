//! Requests and responses that arrive (RFC 4975 §7.3, §5.4), and the answers to them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Claim, Connection, Directory, SessionKey, Waiting};
use crate::event::{Event, Failure};
use crate::framing;
use crate::message::{ByteRange, FailureReport, Flag, Head, HeadWriter, Ident, Method, Start, Status};
use crate::session::{Done, PARTIAL_TIME, may_answer};
use crate::status::StatusCode;

/// How a SEND is answered.
#[derive(Debug)]
pub(crate) struct Reply {
    transaction: Ident,
    /// The hop it came from, as it wrote itself.
    to: Bytes,
    /// Us, as the hop wrote it.
    from: Bytes,
    failure: FailureReport,
}

impl Reply {
    fn print(&self, status: StatusCode) -> Bytes {
        HeadWriter::response(self.transaction, status, status.comment())
            .copied("To-Path", &self.to)
            .copied("From-Path", &self.from)
            .without_body(Flag::Complete)
    }
}

/// The request whose body or end is awaited.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// The session and the message, while it is taken in.
    send: Option<(SessionKey, Option<Ident>)>,
    reply: Option<Reply>,
    /// The whole way back, for reports.
    back: Bytes,
}

impl Inbound {
    /// The application refuses what is arriving: it is answered at once, so that the sender can stop (RFC 4975 §10.5).
    pub(crate) fn refuse(
        &mut self,
        key: SessionKey,
        id: Ident,
        status: StatusCode,
        control: &mut VecDeque<Bytes>,
    ) {
        if self.send == Some((key, Some(id))) {
            self.send = None;
            if let Some(reply) = self.reply.take()
                && may_answer(reply.failure, status)
            {
                control.push_back(reply.print(status));
            }
        }
    }
}

impl Inbound {
    /// The session of what is arriving is over: its sender learns it at once.
    pub(super) fn session_ended(&mut self, key: SessionKey, control: &mut VecDeque<Bytes>) {
        if let Some((session, id)) = self.send
            && session == key
        {
            let id = id.unwrap_or_else(|| Ident::from_token(0));
            self.send = Some((key, Some(id)));
            self.refuse(key, id, StatusCode::NO_SESSION, control);
        }
    }
}

/// The first of the URIs in a path, as it is written.
fn first(path: &Bytes) -> Bytes {
    let end = memchr::memchr(b' ', path).unwrap_or(path.len());
    path.slice(..end)
}

impl Connection {
    /// Takes no more of a message that is arriving: what still comes of it is answered with this status, 413 for most reasons.
    pub fn refuse(&mut self, key: SessionKey, id: Ident, status: StatusCode) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let mut events = VecDeque::new();
        session.inbox.give_up(id, status, &mut events);
        self.inbound.refuse(key, id, status, &mut self.control);
        self.events.extend(events.into_iter().map(|event| (key, event)));
    }

    pub(super) fn take(&mut self, event: framing::Event, directory: &mut dyn Directory) {
        match event {
            framing::Event::Start(head) => {
                self.inbound = Inbound::default();
                match head.start() {
                    #[cfg(feature = "auth")]
                    Start::Response(_) if self.is_of_auth(&head) => self.auth_answered(&head),
                    Start::Response(status) => self.response(head.transaction(), *status),
                    Start::Request(_) => self.request_arrived(&head, directory),
                }
            }
            framing::Event::Body(octets) => {
                let Some((key, _)) = self.inbound.send else { return };
                let Some(session) = self.sessions.get_mut(&key) else { return };
                let mut events = VecDeque::new();
                let result = session.inbox.body(octets, self.now, &mut events);
                self.tell(key, events);
                if let Err(status) = result {
                    self.inbound.send = None;
                    self.answer(status);
                }
            }
            framing::Event::End(flag) => self.ended(flag),
        }
    }

    fn tell(&mut self, key: SessionKey, events: VecDeque<Event>) {
        self.events.extend(events.into_iter().map(|event| (key, event)));
    }

    /// Answers the current SEND, if its sender wants that.
    fn answer(&mut self, status: StatusCode) {
        if let Some(reply) = self.inbound.reply.take()
            && may_answer(reply.failure, status)
        {
            self.control.push_back(reply.print(status));
        }
    }

    fn ended(&mut self, flag: Flag) {
        let Some((key, _)) = self.inbound.send.take() else { return };
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let mut events = VecDeque::new();
        let result = session.inbox.end(flag, &mut events);
        let local = session.inbox.config().local.clone();
        self.tell(key, events);
        match result {
            Err(status) => self.answer(status),
            Ok(done) => {
                self.answer(StatusCode::OK);
                if let Done::Report { id, total } = done {
                    let ok = Status { namespace: 0, code: StatusCode::OK, comment: "OK".into() };
                    let transaction = self.fresh_ident(&[]);
                    let report = HeadWriter::request(transaction, &Method::Report)
                        .copied("To-Path", &self.inbound.back)
                        .typed("From-Path", local)
                        .typed("Message-ID", id)
                        .typed("Byte-Range", ByteRange::whole(total))
                        .typed("Status", ok);
                    self.control.push_back(report.without_body(Flag::Complete));
                }
            }
        }
    }

    fn request_arrived(&mut self, head: &Head, directory: &mut dyn Directory) {
        let Start::Request(method) = head.start() else { return };
        let (Some(to), Some(from)) = (head.get_bytes("To-Path"), head.get_bytes("From-Path")) else { return };
        // Nobody can be answered whose way back cannot be read.
        if head.from_path().is_err() {
            return;
        }
        let failure = head.failure_report().unwrap_or_default();
        let is_send = *method == Method::Send;
        // SEND is answered to the previous hop, all else along the whole path (RFC 4975 §7.2).
        let reply_to = if is_send { first(&from) } else { from.clone() };
        if *method != Method::Report {
            let transaction = head.transaction();
            self.inbound.reply = Some(Reply { transaction, to: reply_to, from: to.clone(), failure });
        }
        self.inbound.back = from;
        let key = match self.find(head, &to, is_send, directory) {
            Ok(key) => key,
            Err(status) => return self.answer(status),
        };
        match method {
            Method::Send => {
                let Some(session) = self.sessions.get_mut(&key) else { return };
                let mut events = VecDeque::new();
                let result = session.inbox.begin(head, self.now, &mut events);
                if self.partial_check.is_none() && session.inbox.has_partial() {
                    self.partial_check = self.now.and_then(|now| now.checked_add(PARTIAL_TIME));
                }
                if !session.is_bound {
                    session.is_bound = true;
                    if session.paths.is_none()
                        && let Ok(back) = head.from_path()
                    {
                        session.set_remote(&back);
                    }
                    events.push_front(Event::Bound);
                }
                self.tell(key, events);
                match result {
                    Ok(()) => self.inbound.send = Some((key, head.message_id().ok().flatten())),
                    Err(status) => self.answer(status),
                }
            }
            Method::Report => self.report(key, head),
            Method::Nickname => {
                let status = self.nickname_wanted(key, head);
                self.answer(status);
            }
            Method::Auth | Method::Other(_) => self.answer(StatusCode::UNKNOWN_METHOD),
        }
    }

    /// The answer to a NICKNAME (RFC 7701 §7.1): only a switch has some to give.
    fn nickname_wanted(&self, key: SessionKey, head: &Head) -> StatusCode {
        let screen = self.sessions.get(&key).and_then(|session| session.inbox.config().screen.as_ref());
        let Some(screen) = screen else { return StatusCode::UNKNOWN_METHOD };
        match crate::screen::nickname(head.get("Use-Nickname")) {
            Ok(name) => screen.nickname(&name),
            Err(status) => status,
        }
    }

    /// The session that a request is for (RFC 4975 §5.4, §7.3).
    fn find(
        &mut self,
        head: &Head,
        to: &Bytes,
        is_send: bool,
        directory: &mut dyn Directory,
    ) -> Result<SessionKey, StatusCode> {
        if let Some((last, key)) = &self.last_to
            && last == to
        {
            return Ok(*key);
        }
        let path = head.to_path().map_err(|_| StatusCode::BAD_REQUEST)?;
        let [uri] = path.uris() else { return Err(StatusCode::NO_SESSION) };
        let key = match self.by_uri.get(uri) {
            Some(key) => *key,
            None if !is_send => return Err(StatusCode::NO_SESSION),
            None => match directory.claim(self.id, uri) {
                Claim::Bind(config) => self.add(*config).map_err(|_| StatusCode::NO_SESSION)?,
                Claim::Unknown => return Err(StatusCode::NO_SESSION),
                Claim::Elsewhere => return Err(StatusCode::BOUND_ELSEWHERE),
            },
        };
        // A copy, so that it does not hold the buffer that it came in.
        self.last_to = Some((Bytes::copy_from_slice(to), key));
        Ok(key)
    }

    fn response(&mut self, transaction: Ident, status: StatusCode) {
        match self.waiting.remove(&transaction) {
            None => {}
            #[cfg(feature = "auth")]
            Some(Waiting::Auth(_)) => {} // told by its whole head
            Some(Waiting::Nickname(key)) => self.events.push_back((key, Event::Nickname(status))),
            Some(Waiting::First(key)) if status.is_success() => {
                if let Some(session) = self.sessions.get_mut(&key)
                    && !session.is_bound
                {
                    session.is_bound = true;
                    self.events.push_back((key, Event::Bound));
                }
            }
            Some(Waiting::First(key)) => self.end_session(key, Failure::Status(status), true),
            Some(what @ (Waiting::Chunk(key) | Waiting::Partial(key))) => {
                if matches!(what, Waiting::Chunk(_)) {
                    self.unanswered = self.unanswered.saturating_sub(1);
                }
                let Some(message) = self.outgoing.get_mut(&key) else { return };
                message.unanswered = message.unanswered.saturating_sub(1);
                if status.is_success() {
                    self.check_sent(key);
                } else {
                    let session = SessionKey(message.session);
                    self.failed(session, key, status);
                }
            }
        }
    }

    /// A response or report of failure: 408 is the same as silence (RFC 4975 §10.4); of no session is told that it is over.
    fn failed(&mut self, session: SessionKey, key: super::MessageKey, status: StatusCode) {
        let why = if status == StatusCode::TIMEOUT { Failure::Timeout } else { Failure::Status(status) };
        self.fail(key, why);
        if status == StatusCode::NO_SESSION || status == StatusCode::BOUND_ELSEWHERE {
            self.end_session(session, why, true);
        }
    }

    /// RFC 4975 §7.3.2. What cannot be read, or is of no message of ours, is ignored.
    fn report(&mut self, session: SessionKey, head: &Head) {
        let (Ok(Some(id)), Ok(Some(status))) = (head.message_id(), head.status()) else { return };
        let Some(&key) = self.by_id.get(&(session, id)) else { return };
        let Some(message) = self.outgoing.get_mut(&key) else { return };
        if status.namespace != 0 {
            return;
        }
        if !status.code.is_success() {
            self.failed(session, key, status.code);
            // Octets are lost that no resending in this session can bring, unless nobody wanted them.
            if status.code != StatusCode::STOP_SENDING && status.code != StatusCode::UNSUPPORTED_MEDIA_TYPE {
                self.end_session(session, Failure::Status(status.code), true);
            }
            return;
        }
        // Without a range it is of the whole message; no report is of more than has left.
        let range = head.byte_range().ok().flatten();
        let (start, end) = match range {
            Some(range) => (range.start, range.end.unwrap_or(message.position)),
            None => (1, message.position),
        };
        let end = end.min(message.position);
        message.report(start, end);
        if message.success && message.told && message.is_confirmed() {
            self.delivered(key);
        }
    }
}
