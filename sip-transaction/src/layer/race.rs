//! Connections that race: RFC 8305 §5, as RFC 7984 wants it for SIP.
//!
//! Where the places for a request over a connection have addresses of both families, the first connection is opened,
//! 250 ms later the next beside it, and so on; the request goes over the one that stands first. A request itself is
//! never sent twice: that would be two calls (RFC 7984 §3.2).

use super::attempt::Place;
use super::client::Machine;
use super::dead::is_its_fault;
use super::{Due, Named, Transactions};
use crate::error::Failure;
use crate::event::Event;
use crate::slab::Key;
use bytes::Bytes;
use sip_transport::resolve::{Candidate, taking_turns};
use sip_transport::{Outbox, Path, SendError, Transmit};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a connection gets before the next is tried beside it (RFC 8305 §5, "Connection Attempt Delay").
pub(super) const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A race that is on.
#[derive(Debug)]
pub(super) struct Race {
    /// Not started yet, in the order of starting.
    waiting: VecDeque<Place>,
    /// Being opened.
    running: Vec<Place>,
}

impl Transactions {
    /// Starts a race of `first` with the places behind it, if they are connections of both address families.
    pub(super) fn begin_race(
        &mut self,
        now: Instant,
        key: Key,
        first: Place,
        out: &mut impl Outbox<Event>,
    ) -> bool {
        let Some(entry) = self.clients.get_mut(key) else { return false };
        let races = |place: &Place| {
            place.path.transport == first.path.transport
                && place.path.flow.is_none()
                && self.locals.for_path(place.path.transport, place.path.remote).is_some()
        };
        if !first.path.transport.is_reliable() || first.path.flow.is_some() {
            return false;
        }
        let behind = entry.places.iter().take_while(|place| races(place)).count();
        let is_other = |place: &Place| place.path.remote.is_ipv4() != first.path.remote.is_ipv4();
        if !entry.places.iter().take(behind).any(is_other) {
            return false;
        }
        let candidates: Vec<Candidate> = [first]
            .into_iter()
            .chain(entry.places.drain(..behind))
            .map(|place| Candidate {
                transport: place.path.transport,
                remote: place.path.remote,
                host: place.host,
            })
            .collect();
        let waiting = taking_turns(&candidates).into_iter().map(Place::from).collect();
        entry.race = Some(Box::new(Race { waiting, running: Vec::new() }));
        // An answer to an attempt before is none to what is not sent yet.
        entry.nonce = self.rng.number();
        entry.machine = Machine::new(&entry.method);
        let running = std::mem::take(&mut entry.running);
        self.stop(running);
        self.counters.races = self.counters.races.saturating_add(1);
        self.next_runner(now, key, out);
        true
    }

    /// Opens the next connection; when all are being opened, waits for them no longer than for an answer.
    pub(super) fn next_runner(&mut self, now: Instant, key: Key, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(key) else { return };
        let domain = entry.domain.clone();
        let Some(race) = entry.race.as_mut() else { return };
        let Some(place) = race.waiting.pop_front() else {
            return self.race_is_lost(now, key, SendError::TimedOut, out);
        };
        race.running.push(place);
        let delay = if race.waiting.is_empty() { self.timing.timeout() } else { CONNECTION_ATTEMPT_DELAY };
        self.arm(now, Due::Race(key), delay);
        let Some(local) = self.locals.for_path(place.path.transport, place.path.remote) else { return };
        let path = Path { local: local.bound, ..place.path };
        out.transmit(Transmit {
            path,
            payload: Bytes::new(),
            reopen: None,
            domain,
            token: Named::Client(key).token(),
        });
    }

    /// A connection stands: the request goes over it.
    pub(super) fn ready(&mut self, now: Instant, key: Key, path: Path, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(key) else { return };
        let Some(race) = entry.race.take_if(|race| race.running.iter().any(|place| place.is_at(&path)))
        else {
            return; // one that comes in later; it stands by for other requests
        };
        let Race { waiting, running } = *race;
        let losers: Vec<Place> = running.into_iter().filter(|place| !place.is_at(&path)).collect();
        // Those not tried are next should this server fail, then those that are too slow.
        for place in waiting.into_iter().chain(losers.iter().copied()).rev() {
            entry.places.push_front(place);
        }
        for place in losers {
            self.dead.was_slow(now, &place.path);
        }
        self.launch(now, key, path, out);
    }

    /// Whether the word that something could not be sent was about a race; its place is out of it then.
    pub(super) fn runner_failed(
        &mut self,
        now: Instant,
        key: Key,
        path: &Path,
        error: SendError,
        out: &mut impl Outbox<Event>,
    ) -> bool {
        let Some(race) = self.clients.get_mut(key).and_then(|entry| entry.race.as_mut()) else {
            return false;
        };
        let Some(index) = race.running.iter().position(|place| place.is_at(path)) else { return true };
        race.running.swap_remove(index);
        let (none_left, none_open) = (race.waiting.is_empty(), race.running.is_empty());
        if is_its_fault(error) {
            self.place_failed(now, path);
        }
        if !none_left {
            self.next_runner(now, key, out);
        } else if none_open {
            self.race_is_lost(now, key, error, out);
        }
        true
    }

    /// Nobody arrived. What is left are places of another transport, or none.
    fn race_is_lost(&mut self, now: Instant, key: Key, error: SendError, out: &mut impl Outbox<Event>) {
        let Some(entry) = self.clients.get_mut(key) else { return };
        let race = entry.race.take();
        entry.error = Some(error);
        for place in race.into_iter().flat_map(|race| race.running) {
            self.place_failed(now, &place.path);
        }
        if self.start(now, key, out) {
            self.counters.failovers = self.counters.failovers.saturating_add(1);
        } else {
            self.report_failure(key, Failure::Transport(error), out);
            self.end_client(key, out);
        }
    }
}
