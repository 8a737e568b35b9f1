//! Responses whose way is gone: RFC 3261 §18.2.2 and RFC 3263 §5.
//!
//! Where a transaction ends with its response (Timer J over a connection is zero), the driver's own way back is all
//! there is: a connection to where the peer listens, `reopen`.

use super::dead::is_its_fault;
use super::server::{About, Input};
use super::{Named, Transactions};
use crate::event::{Event, ServerTx};
use crate::slab::Key;
use sip_message::Response;
use sip_message::headers::Via;
use sip_transport::resolve::{Need, Progress, Resolution};
use sip_transport::response::Way;
use sip_transport::{Answer, Outbox, Path, Query, SendError};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

/// Names in this domain lead nowhere and are not to be asked for (RFC 6761 §6.4); WebSocket clients have them in their
/// Via (RFC 7118 §5).
const INVALID: &str = ".invalid";

/// The places that the sent-by of a request leads to.
#[derive(Debug)]
pub(super) struct Fallback {
    /// While names are asked for.
    waiting: Option<Resolution>,
    places: VecDeque<Path>,
    /// Where it was tried before.
    failed: Vec<SocketAddr>,
    error: SendError,
    /// Nothing is left to try.
    exhausted: bool,
}

impl Transactions {
    /// A response could not be sent on the way that it had: it goes to the next place that its sent-by leads to, and
    /// the user is told when there is none.
    pub(super) fn server_send_failed(
        &mut self,
        now: Instant,
        key: Key,
        path: &Path,
        error: SendError,
        out: &mut impl Outbox<Event>,
    ) {
        let random = self.rng.number();
        let supported = self.locals.supported();
        let Some(entry) = self.servers.get_mut(key) else { return };
        match &mut entry.fallback {
            Some(fallback) if fallback.exhausted => return self.undelivered(now, key, error, out),
            // The word about an attempt before may come late, or about a repetition on the old way.
            Some(fallback) if fallback.waiting.is_some() || fallback.failed.contains(&path.remote) => return,
            Some(fallback) => {
                fallback.failed.push(path.remote);
                fallback.error = error;
            }
            None => {
                let via = entry.last.clone().filter(|_| is_its_fault(error)).and_then(via_of);
                let Some(via) = via.filter(|via| !via.host().to_ascii_lowercase().ends_with(INVALID)) else {
                    return self.undelivered(now, key, error, out);
                };
                let resolution = Resolution::for_response(&via, Need { size: 0, supported, random });
                let failed = [Some(path.remote), Some(entry.way.path.remote), entry.way.reopen];
                entry.fallback = Some(Box::new(Fallback {
                    waiting: Some(resolution),
                    places: VecDeque::new(),
                    failed: failed.into_iter().flatten().collect(),
                    error,
                    exhausted: false,
                }));
            }
        }
        self.fall_back(now, key, out);
    }

    pub(super) fn server_resolved(
        &mut self,
        now: Instant,
        key: Key,
        answer: Answer,
        out: &mut impl Outbox<Event>,
    ) {
        let fallback = self.servers.get_mut(key).and_then(|entry| entry.fallback.as_mut());
        if let Some(resolution) = fallback.and_then(|fallback| fallback.waiting.as_mut()) {
            resolution.answer(&answer.question, answer.records);
            self.fall_back(now, key, out);
        }
    }

    /// Asks the next questions, or sends to the next place.
    fn fall_back(&mut self, now: Instant, key: Key, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.servers.get_mut(key) else { return };
        let Some(fallback) = &mut entry.fallback else { return };
        if let Some(resolution) = &mut fallback.waiting {
            for question in resolution.ask() {
                out.query(Query { key: Named::Server(key).query(), question });
            }
            match resolution.progress() {
                Progress::Waiting(_) => return,
                Progress::Done(candidates) => {
                    let paths = candidates.into_iter().map(|place| Path::to(place.transport, place.remote));
                    fallback.places = paths.take(self.limits.attempts).collect();
                }
                Progress::Failed(_) => {}
            }
            fallback.waiting = None;
        }
        while let Some(path) = fallback.places.pop_front() {
            if !fallback.failed.contains(&path.remote) {
                entry.way = Way { path, reopen: None };
                self.counters.failovers = self.counters.failovers.saturating_add(1);
                return self.transmit_last(key, out);
            }
        }
        fallback.exhausted = true;
        let error = fallback.error;
        self.undelivered(now, key, error, out);
    }

    fn undelivered(&mut self, now: Instant, key: Key, error: SendError, out: &mut impl Outbox<Event>) {
        out.event(Event::Undelivered { tx: ServerTx(key), error });
        self.server_step(now, key, Input::TransportError, About::Nothing, out);
    }
}

/// The top Via of a response of ours.
fn via_of(response: bytes::Bytes) -> Option<Via> {
    let response = Response::parse(response, &sip_message::Limits::default()).ok()?;
    response.headers.get::<Via>().ok().flatten()
}
