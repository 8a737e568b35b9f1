//! Keep-alives over one flow: RFC 5626 §4.4, for flows of §4.2 and for those of RFC 6223.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::recovery::share;
use crate::path::{FlowEvent, KeepAliveAnswer, Path, Transmit};
use crate::stun::{self, Outcome, TransactionId};

/// A ping over a connection: a double CRLF (RFC 5626 §4.4.1).
pub const PING: &[u8] = b"\r\n\r\n";

/// How long a pong may take (RFC 5626 §4.4.1).
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// STUN's first retransmission timeout, how often it sends, and how many of the first timeouts the last one waits
/// (RFC 8489 §6.2.1; RFC 5626 §4.4.2: "7 retransmissions (16 times the STUN RTO timer)").
const RTO: Duration = Duration::from_millis(500);
const SENDS: u32 = 7;
const LAST_WAIT: u32 = 16;

/// How often a flow is pinged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// As RFC 5626 recommends: 95 to 120 s over connections (§4.4.1), 24 to 29 s over UDP (§4.4.2).
    Recommended,
    /// For phones that live on a battery: 672 to 840 s over connections; over UDP as recommended, or the NAT forgets us.
    SparingBattery,
    /// As the server said in Flow-Timer or in `keep` (RFC 6223 §5): between 80 and 100 % of it.
    AtMost(Duration),
}

/// Why a flow is held for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Pings stay unanswered.
    #[error("the keep-alive was not answered")]
    Silent,
    /// The peer answered a STUN request with an error.
    #[error("the keep-alive was answered with the STUN error {0}")]
    Refused(u16),
    /// The peer sees us at another address than before: a NAT has forgotten us (RFC 5626 §4.4.2).
    #[error("our address changed from {before} to {now}")]
    Moved {
        /// As it was.
        before: SocketAddr,
        /// As it is.
        now: SocketAddr,
    },
    /// The connection was closed, or broke.
    #[error("the connection is closed")]
    Closed,
}

/// What a timeout leads to.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send this.
    Send(Transmit),
    /// The flow is dead: nothing more comes from here.
    Failed(Failure),
}

/// What an event means for the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is about something else.
    Unrelated,
    /// The peer answers: the flow works.
    Alive,
    /// The flow is dead: nothing more comes from here.
    Failed(Failure),
}

/// Keeps one flow alive, and finds out when it is dead.
///
/// ```text
///                 due: ping                    no pong in 10 s, or the last STUN request unanswered
///      Waiting ---------------> Pinged --------------------------------------------------> Failed
///         ^                      |  ^ |                                                      ^
///         |     pong, response   |  | | STUN: again after 500 ms, 1 s, 2 s, ..., 16 s        |
///         +----------------------+  +-+                                                      |
///                                |  an error response, another mapped address                |
///         any                    +-----------------------------------------------------------+
///           \------------------------ the connection is closed -----------------------------/
/// ```
#[derive(Clone, Debug)]
pub struct KeepAlive {
    path: Path,
    every: Every,
    state: State,
    mapped: Option<SocketAddr>,
    answers: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting {
        until: Instant,
    },
    /// A ping is out since; over UDP it was sent so often under this transaction.
    Pinged {
        until: Instant,
        id: TransactionId,
        sends: u32,
    },
    Failed,
}

impl KeepAlive {
    /// Keeps alive a flow over which something was just heard: the first ping comes after the first interval. `path` is that of
    /// a message received, with its flow. `chance` is a random number.
    #[must_use]
    pub fn new(now: Instant, path: Path, every: Every, chance: u64) -> KeepAlive {
        let until = now + interval(every, &path, chance);
        KeepAlive { path, every, state: State::Waiting { until }, mapped: None, answers: 0 }
    }

    /// The flow.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes how often, from the next ping on. A refreshed registration may bring another Flow-Timer.
    pub fn set_every(&mut self, every: Every) {
        self.every = every;
    }

    /// How many pings were answered. A flow counts as successful (§4.5) when one was.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// When [`handle_timeout`](KeepAlive::handle_timeout) wants to be called; `None` when the flow is dead.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } | State::Pinged { until, .. } => Some(until),
            State::Failed => None,
        }
    }

    /// Pings, pings again, or gives up. `random` gives a new number with each call that nobody outside can guess.
    pub fn handle_timeout(&mut self, now: Instant, mut random: impl FnMut() -> u64) -> Option<Step> {
        if self.poll_timeout()? > now {
            return None;
        }
        let (id, sends) = match self.state {
            State::Waiting { .. } => (new_id(&mut random), 0),
            State::Pinged { id, sends, .. } if !self.path.transport.is_reliable() => (id, sends),
            State::Pinged { .. } | State::Failed => return Some(self.fail(Failure::Silent)),
        };
        let (payload, wait) = if self.path.transport.is_reliable() {
            (Bytes::from_static(PING), PONG_WITHIN)
        } else if sends < SENDS {
            let wait = if sends.saturating_add(1) == SENDS { RTO * LAST_WAIT } else { RTO * (1 << sends) };
            (stun::request(id), wait)
        } else {
            return Some(self.fail(Failure::Silent));
        };
        self.state = State::Pinged { until: now + wait, id, sends: sends.saturating_add(1) };
        Some(Step::Send(Transmit::own(self.path, payload)))
    }

    /// Takes what happens to flows. `chance` is a random number.
    pub fn flow_event(&mut self, now: Instant, event: &FlowEvent, chance: u64) -> News {
        match event {
            FlowEvent::Closed { path, .. } if path.flow == self.path.flow && self.state != State::Failed => {
                self.state = State::Failed;
                News::Failed(Failure::Closed)
            }
            FlowEvent::KeptAlive { path, answer } if self.is_ours(path) => {
                self.answered(now, *answer, chance)
            }
            _ => News::Unrelated,
        }
    }

    fn is_ours(&self, path: &Path) -> bool {
        path.flow == self.path.flow && path.remote == self.path.remote
    }

    fn answered(&mut self, now: Instant, answer: KeepAliveAnswer, chance: u64) -> News {
        let State::Pinged { id, .. } = self.state else { return News::Unrelated };
        match (answer, self.path.transport.is_reliable()) {
            (KeepAliveAnswer::Pong, true) => {}
            (KeepAliveAnswer::Stun { id: answered, outcome }, false) if answered == id => match outcome {
                Outcome::Error(code) => return self.failed(Failure::Refused(code)),
                Outcome::Mapped(mapped) => match self.mapped.replace(mapped) {
                    Some(before) if before != mapped => {
                        return self.failed(Failure::Moved { before, now: mapped });
                    }
                    _ => {}
                },
            },
            _ => return News::Unrelated,
        }
        self.answers = self.answers.saturating_add(1);
        self.state = State::Waiting { until: now + interval(self.every, &self.path, chance) };
        News::Alive
    }

    fn fail(&mut self, failure: Failure) -> Step {
        self.state = State::Failed;
        Step::Failed(failure)
    }

    fn failed(&mut self, failure: Failure) -> News {
        self.state = State::Failed;
        News::Failed(failure)
    }
}

/// A new wait for each ping, so that the phones of a server that came back do not stay in step.
fn interval(every: Every, path: &Path, chance: u64) -> Duration {
    let (least, most) = match (every, path.transport.is_reliable()) {
        (Every::Recommended, true) => (95, 120),
        (Every::SparingBattery, true) => (672, 840),
        (Every::Recommended | Every::SparingBattery, false) => (24, 29),
        (Every::AtMost(time), _) => {
            // Less than a second would be a flood; 0 says nothing (RFC 6223 §5).
            let time = time.max(Duration::from_secs(1));
            return time.mul_f64(0.8).saturating_add(share(time / 5, chance));
        }
    };
    let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
    least.saturating_add(share(most.saturating_sub(least), chance))
}

fn new_id(random: &mut impl FnMut() -> u64) -> TransactionId {
    let (first, second) = (random().to_be_bytes(), random().to_be_bytes());
    let mut id = [0; 12];
    id.iter_mut().zip(first.into_iter().chain(second)).for_each(|(octet, random)| *octet = random);
    TransactionId(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{CloseReason, FlowId, Transport};
    use crate::stun::Binding;

    struct Flow {
        now: Instant,
        start: Instant,
        keep_alive: KeepAlive,
        random: u64,
    }

    fn path(transport: Transport) -> Path {
        let flow = Some(FlowId(7));
        Path { flow, ..Path::to(transport, "192.0.2.1:5060".parse().unwrap()) }
    }

    impl Flow {
        fn new(transport: Transport, every: Every) -> Flow {
            let now = Instant::now();
            Flow { now, start: now, keep_alive: KeepAlive::new(now, path(transport), every, 500), random: 0 }
        }

        /// Goes to the next timeout; gives what it leads to.
        fn next(&mut self) -> Step {
            self.now = self.keep_alive.poll_timeout().expect("a living flow has something to do");
            let random = &mut self.random;
            self.keep_alive
                .handle_timeout(self.now, || {
                    *random += 1;
                    *random
                })
                .expect("it is time")
        }

        fn ping(&mut self) -> Bytes {
            match self.next() {
                Step::Send(transmit) => transmit.payload,
                Step::Failed(failure) => panic!("{failure}"),
            }
        }

        fn hear(&mut self, answer: KeepAliveAnswer) -> News {
            let path = *self.keep_alive.path();
            self.keep_alive.flow_event(self.now, &FlowEvent::KeptAlive { path, answer }, 500)
        }

        fn mapped(&mut self, request: &[u8], address: &str) -> News {
            let Some(Binding::Request { id, .. }) = stun::parse(request) else { panic!("no request") };
            self.hear(KeepAliveAnswer::Stun { id, outcome: Outcome::Mapped(address.parse().unwrap()) })
        }

        fn elapsed(&self) -> Duration {
            self.now - self.start
        }
    }

    /// RFC 5626 §4.4.1: a double CRLF each 95 to 120 s, and a pong within 10 s.
    #[test]
    fn a_connection_is_pinged_and_dies_of_silence() {
        let mut flow = Flow::new(Transport::Tcp, Every::Recommended);
        assert_eq!(&flow.ping()[..], b"\r\n\r\n");
        assert!((95..=120).contains(&flow.elapsed().as_secs()));
        assert_eq!(flow.hear(KeepAliveAnswer::Pong), News::Alive);
        assert_eq!(flow.keep_alive.answers(), 1);
        assert_eq!(flow.hear(KeepAliveAnswer::Pong), News::Unrelated, "a pong to nothing");
        flow.ping();
        let pinged = flow.now;
        assert!(matches!(flow.next(), Step::Failed(Failure::Silent)));
        assert_eq!(flow.now - pinged, Duration::from_secs(10));
        assert_eq!(flow.keep_alive.poll_timeout(), None);
        assert_eq!(flow.hear(KeepAliveAnswer::Pong), News::Unrelated, "too late");
    }

    /// RFC 5626 §4.4.2, RFC 8489 §6.2.1: seven requests under one transaction, dead 39.5 s after the first.
    #[test]
    fn a_udp_flow_is_asked_seven_times() {
        let mut flow = Flow::new(Transport::Udp, Every::Recommended);
        let first = flow.ping();
        let since = flow.now;
        assert!((24..=29).contains(&flow.elapsed().as_secs()));
        let mut at = Vec::new();
        for _ in 1..7 {
            assert_eq!(flow.ping(), first, "the same transaction");
            at.push((flow.now - since).as_millis());
        }
        assert_eq!(at, [500, 1500, 3500, 7500, 15_500, 31_500]);
        assert!(matches!(flow.next(), Step::Failed(Failure::Silent)));
        assert_eq!((flow.now - since).as_millis(), 39_500);
    }

    /// RFC 5626 §4.4.2: an answer to a repeated request counts, one to another transaction does not.
    #[test]
    fn only_the_transaction_that_was_asked_counts() {
        let mut flow = Flow::new(Transport::Udp, Every::Recommended);
        let request = flow.ping();
        flow.ping();
        let forged = stun::request(TransactionId([9; 12]));
        assert_eq!(flow.mapped(&forged, "203.0.113.1:1"), News::Unrelated);
        assert_eq!(flow.hear(KeepAliveAnswer::Pong), News::Unrelated, "CRLF says nothing over UDP");
        assert_eq!(flow.mapped(&request, "203.0.113.1:1"), News::Alive);
        assert_ne!(flow.ping(), request, "the next ping is a transaction of its own");
    }

    /// RFC 5626 §4.4.2: another mapped address is a failure of the flow, and so is an error.
    #[test]
    fn a_new_mapping_and_an_error_end_the_flow() {
        let mut flow = Flow::new(Transport::Udp, Every::Recommended);
        let request = flow.ping();
        assert_eq!(flow.mapped(&request, "203.0.113.1:1000"), News::Alive);
        let request = flow.ping();
        let moved = flow.mapped(&request, "203.0.113.1:2000");
        assert!(matches!(moved, News::Failed(Failure::Moved { .. })), "{moved:?}");
        let mut flow = Flow::new(Transport::Udp, Every::Recommended);
        let Some(Binding::Request { id, .. }) = stun::parse(&flow.ping()) else { panic!("no request") };
        let refused = flow.hear(KeepAliveAnswer::Stun { id, outcome: Outcome::Error(500) });
        assert_eq!(refused, News::Failed(Failure::Refused(500)));
    }

    /// RFC 5626 §4.4, RFC 6223 §5: 80 to 100 % of what the server wants.
    #[test]
    fn the_servers_time_is_kept() {
        let most = Duration::from_secs(120);
        for (chance, seconds) in [(0, 96), (1000, 120)] {
            let now = Instant::now();
            let keep_alive = KeepAlive::new(now, path(Transport::Tls), Every::AtMost(most), chance);
            assert_eq!((keep_alive.poll_timeout().unwrap() - now).as_secs(), seconds);
        }
    }

    #[test]
    fn a_closed_connection_is_dead_at_once() {
        let mut flow = Flow::new(Transport::Tls, Every::Recommended);
        let other = Path { flow: Some(FlowId(8)), ..path(Transport::Tls) };
        let closed = |path| FlowEvent::Closed { path, reason: CloseReason::Peer };
        assert_eq!(flow.keep_alive.flow_event(flow.now, &closed(other), 0), News::Unrelated);
        let ours = closed(path(Transport::Tls));
        assert_eq!(flow.keep_alive.flow_event(flow.now, &ours, 0), News::Failed(Failure::Closed));
        assert_eq!(flow.keep_alive.flow_event(flow.now, &ours, 0), News::Unrelated, "told once");
    }
}
