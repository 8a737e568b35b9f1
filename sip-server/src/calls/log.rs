//! Follows calls from their INVITE to their BYE.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use sip_message::headers::{Contact, From, To};
use sip_message::{HeaderName, Method, Request, Response, StatusCode};
use sip_transaction::ServerTx;
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};
use sip_transport::{Path, Transport};

use super::{CallRecord, Ending, Histogram, Seat};
use crate::config::count;

/// Bounds on what is kept for call records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallLimits {
    /// Answered calls that are followed until their BYE. Above, a call is recorded when it is answered.
    pub followed: usize,
    /// Records that nobody has fetched yet. Above, they are lost and counted.
    pub waiting: usize,
    /// A call of which nothing is heard for so long has ended, though nobody said so.
    pub patience: Duration,
}

impl CallLimits {
    /// Some 600 bytes each: callers that never send BYE must not take all memory.
    pub const FOLLOWED: usize = 500_000;
    /// A disk that stands still must not take all memory.
    pub const WAITING: usize = 100_000;
    /// Conferences last a day at most; session timers (RFC 4028) pass twice an hour in those that have them.
    pub const PATIENCE: Duration = Duration::from_secs(24 * 3600);
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { followed: Self::FOLLOWED, waiting: Self::WAITING, patience: Self::PATIENCE }
    }
}

/// Calls in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStatistics {
    /// Calls under way: rung, or answered and not ended.
    pub live: usize,
    /// INVITEs outside of dialogs by their final response. Challenges (401, 407) are no result.
    pub results: BTreeMap<u16, u64>,
    /// From the INVITE to the first 180 or 183.
    pub post_dial_delay: Histogram,
    /// From the INVITE to the 2xx.
    pub answer_delay: Histogram,
    /// Records lost because nobody fetched them.
    pub records_lost: u64,
}

impl std::ops::AddAssign for CallStatistics {
    fn add_assign(&mut self, other: Self) {
        self.live = self.live.saturating_add(other.live);
        for (status, more) in other.results {
            let own = self.results.entry(status).or_default();
            *own = own.saturating_add(more);
        }
        self.post_dial_delay += other.post_dial_delay;
        self.answer_delay += other.answer_delay;
        self.records_lost = self.records_lost.saturating_add(other.records_lost);
    }
}

/// An INVITE that has no final response.
#[derive(Debug)]
struct Attempt {
    call_id: Box<str>,
    from_tag: Box<str>,
    caller: Box<str>,
    called: Box<str>,
    request_uri: Box<str>,
    user: Option<Box<str>>,
    source: SocketAddr,
    transport: Transport,
    started: Instant,
    ringing: Option<Instant>,
    /// An INVITE that was answered stays until its transaction is gone: other phones may answer too (RFC 3261 §13.1).
    answered: bool,
    cancelled: bool,
    /// Of the trunk by which the next answer comes.
    seat: Option<Arc<Seat>>,
}

/// A call that was answered.
#[derive(Debug)]
struct Followed {
    record: Box<CallRecord>,
    /// When a request within it passed last.
    heard: Instant,
    timer: TimerId,
    /// Free when the call is over.
    _seat: Option<Arc<Seat>>,
}

/// A BYE that has no final response: only one that arrived ends a call, not one that was refused on the way.
#[derive(Debug)]
struct Farewell {
    key: DialogKey,
    ending: Ending,
    at: Instant,
    cause: Option<String>,
}

/// Call-ID, the caller's tag, the callee's tag.
type DialogKey = (Box<str>, Box<str>, Box<str>);

/// Follows calls. It is told what passes, and does nothing to it.
#[derive(Debug)]
pub(crate) struct CallLog {
    attempts: Sharded<ServerTx, Attempt>,
    /// Those of them that have no answer.
    unanswered: usize,
    followed: Sharded<DialogKey, Followed>,
    farewells: Sharded<ServerTx, Farewell>,
    timers: Timers<DialogKey>,
    records: VecDeque<CallRecord>,
    waker: Option<Waker>,
    statistics: CallStatistics,
    limits: CallLimits,
    /// Somebody wants records; otherwise only calls that hold a seat are followed.
    recording: bool,
    /// What the clock of the timers and that of people showed at the start.
    started: (Instant, Duration),
}

impl CallLog {
    pub(crate) fn new(limits: CallLimits, now: Instant, unix_time: Duration) -> Self {
        Self {
            attempts: Sharded::new(),
            unanswered: 0,
            followed: Sharded::new(),
            farewells: Sharded::new(),
            timers: Timers::new([limits.patience]),
            records: VecDeque::new(),
            waker: None,
            statistics: CallStatistics::default(),
            limits,
            recording: true,
            started: (now, unix_time),
        }
    }

    /// Follows those calls alone that hold a seat, and writes no records.
    pub(crate) fn counting(now: Instant, unix_time: Duration) -> Self {
        Self { recording: false, ..Self::new(CallLimits::default(), now, unix_time) }
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.recording
    }

    pub(crate) fn statistics(&self) -> CallStatistics {
        CallStatistics {
            live: self.unanswered.saturating_add(self.followed.len()),
            ..self.statistics.clone()
        }
    }

    pub(crate) fn poll_record(&mut self) -> Option<CallRecord> {
        self.records.pop_front()
    }

    pub(crate) fn has_record(&self) -> bool {
        !self.records.is_empty()
    }

    pub(crate) fn count_lost(&mut self, lost: usize) {
        let lost = u64::try_from(lost).unwrap_or(u64::MAX);
        self.statistics.records_lost = self.statistics.records_lost.saturating_add(lost);
    }

    pub(crate) fn wake_on_record(&mut self, waker: Waker) {
        if self.records.is_empty() { self.waker = Some(waker) } else { waker.wake() }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A request came. An INVITE outside of a dialog begins a call; one within shows that it lives, a BYE ends it.
    pub(crate) fn request(&mut self, now: Instant, tx: ServerTx, request: &Request, path: &Path) {
        let call_id = request.headers.text(HeaderName::CALL_ID).unwrap_or_default();
        let (Ok(Some(from)), Ok(Some(to))) = (request.headers.get::<From>(), request.headers.get::<To>())
        else {
            return;
        };
        let from_tag = from.tag().unwrap_or_default();
        match to.tag() {
            Some(to_tag) => self.within(now, tx, request, (call_id, from_tag, to_tag)),
            None if *request.method() == Method::Invite => {
                let attempt = Attempt {
                    call_id: call_id.into(),
                    from_tag: from_tag.into(),
                    caller: from.uri().to_string().into(),
                    called: to.uri().to_string().into(),
                    request_uri: request.uri_text().into(),
                    user: None,
                    source: path.remote,
                    transport: path.transport,
                    started: now,
                    ringing: None,
                    answered: false,
                    cancelled: false,
                    seat: None,
                };
                self.attempts.insert(tx, attempt);
                self.unanswered = self.unanswered.saturating_add(1);
            }
            None => {}
        }
    }

    /// The caller proved to be this user.
    pub(crate) fn authenticated(&mut self, tx: ServerTx, user: &str) {
        if let Some(attempt) = self.attempts.get_mut(&tx) {
            attempt.user = Some(user.into());
        }
    }

    /// The 2xx that is sent next comes by a trunk, where it holds a seat.
    pub(crate) fn seated(&mut self, tx: ServerTx, seat: Option<Arc<Seat>>) {
        if let Some(attempt) = self.attempts.get_mut(&tx) {
            attempt.seat = seat;
        }
    }

    pub(crate) fn cancelled(&mut self, tx: ServerTx) {
        if let Some(attempt) = self.attempts.get_mut(&tx) {
            attempt.cancelled = true;
        }
    }

    fn within(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        (call_id, from, to): (&str, &str, &str),
    ) {
        let as_caller: DialogKey = (call_id.into(), from.into(), to.into());
        let as_callee: DialogKey = (call_id.into(), to.into(), from.into());
        for (key, ending) in [(as_caller, Ending::Caller), (as_callee, Ending::Callee)] {
            let Some(followed) = self.followed.get_mut(&key) else { continue };
            followed.heard = now;
            if *request.method() == Method::Bye {
                let cause = request.headers.text(HeaderName::REASON).map(str::to_owned);
                self.farewells.insert(tx, Farewell { key, ending, at: now, cause });
            }
            return;
        }
    }

    /// A response goes back to whoever sent the request of `tx`.
    pub(crate) fn response(&mut self, now: Instant, tx: ServerTx, response: &Response) {
        let status = response.status();
        if status.is_final()
            && let Some(bye) = self.farewells.remove(&tx)
        {
            // RFC 3261 §15.1.1: these end the session; a challenge or a refusal of ours does not.
            if status.is_success() || matches!(status.code(), 408 | 481) {
                self.end(&bye.key, bye.ending, Some(bye.at), bye.cause);
            }
            return;
        }
        let Some(attempt) = self.attempts.get_mut(&tx) else { return };
        if matches!(status.code(), 180 | 183) && attempt.ringing.is_none() {
            attempt.ringing = Some(now);
            self.statistics.post_dial_delay.add(now.saturating_duration_since(attempt.started));
        }
        if status.is_provisional() {
            return;
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
            return self.transaction_over(tx);
        }
        if !attempt.answered {
            self.unanswered = self.unanswered.saturating_sub(1);
            count(self.statistics.results.entry(status.code()).or_default());
        }
        let answered = status.is_success();
        let since_start = now.saturating_duration_since(attempt.started);
        if answered && !attempt.answered {
            self.statistics.answer_delay.add(since_start);
        }
        attempt.answered = true;
        let unix = |at: Instant| self.started.1.saturating_add(at.saturating_duration_since(self.started.0));
        let contact = answered.then(|| response.headers.get::<Contact>().ok().flatten()).flatten();
        let record = CallRecord {
            call_id: attempt.call_id.to_string(),
            caller: attempt.caller.to_string(),
            called: attempt.called.to_string(),
            request_uri: attempt.request_uri.to_string(),
            user: attempt.user.as_deref().map(str::to_owned),
            source: attempt.source,
            transport: attempt.transport,
            answered_by: contact.and_then(|contact| match contact {
                Contact::Address(address) => Some(address.uri().to_string()),
                Contact::Star => None,
            }),
            started: unix(attempt.started),
            ringing: attempt.ringing.map(unix),
            answered: answered.then(|| unix(now)),
            ended: (!answered).then(|| unix(now)),
            status: status.code(),
            ending: if attempt.cancelled { Ending::Cancelled } else { Ending::Refused },
            cause: response.headers.text(HeaderName::REASON).map(str::to_owned),
        };
        if !answered {
            self.attempts.remove(&tx);
            return self.write(record);
        }
        let to = response.headers.get::<To>().ok().flatten();
        let to_tag = to.as_ref().and_then(|to| to.tag()).unwrap_or_default();
        let key: DialogKey = (attempt.call_id.clone(), attempt.from_tag.clone(), to_tag.into());
        let seat = attempt.seat.take();
        self.follow(now, key, record, seat);
    }

    fn follow(&mut self, now: Instant, key: DialogKey, record: CallRecord, seat: Option<Arc<Seat>>) {
        if self.followed.contains_key(&key) || !(self.recording || seat.is_some()) {
            return; // a 2xx that came again, or nothing to know
        }
        if self.followed.len() >= self.limits.followed {
            return self.write(CallRecord { ending: Ending::NotFollowed, ..record });
        }
        let timer = self.timers.arm(now, self.limits.patience, key.clone());
        self.followed.insert(key, Followed { record: Box::new(record), heard: now, timer, _seat: seat });
    }

    /// The server transaction of an INVITE is no more.
    pub(crate) fn transaction_over(&mut self, tx: ServerTx) {
        // A BYE that nobody answered (RFC 4320 forbids a late 408): its sender holds the call to be over.
        if let Some(bye) = self.farewells.remove(&tx) {
            self.end(&bye.key, bye.ending, Some(bye.at), bye.cause);
        }
        if self.attempts.remove(&tx).is_some_and(|attempt| !attempt.answered) {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop(now) {
            let Some(followed) = self.followed.get_mut(&key) else { continue };
            let silent = now.saturating_duration_since(followed.heard);
            let left = self.limits.patience.saturating_sub(silent);
            if left.is_zero() {
                self.end(&key, Ending::Lost, None, None);
            } else {
                followed.timer = self.timers.arm(now, left, key);
            }
        }
    }

    /// No BYE will be seen any more: all calls that are followed are recorded as they stand.
    pub(crate) fn shut_down(&mut self) {
        let followed: Vec<(DialogKey, Followed)> = self.followed.drain().collect();
        for (_, followed) in followed {
            self.timers.cancel(followed.timer);
            self.write(CallRecord { ending: Ending::Shutdown, ..*followed.record });
        }
    }

    fn end(&mut self, key: &DialogKey, ending: Ending, at: Option<Instant>, cause: Option<String>) {
        let Some(followed) = self.followed.remove(key) else { return };
        self.timers.cancel(followed.timer);
        let unix = |at: Instant| self.started.1.saturating_add(at.saturating_duration_since(self.started.0));
        let ended = at.map(unix);
        self.write(CallRecord { ending, ended, cause, ..*followed.record });
    }

    fn write(&mut self, record: CallRecord) {
        if !self.recording {
            return;
        }
        if self.records.len() >= self.limits.waiting {
            return count(&mut self.statistics.records_lost);
        }
        self.records.push_back(record);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
