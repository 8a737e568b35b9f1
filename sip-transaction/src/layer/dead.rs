//! Places that just failed, remembered for a while: the next request goes to another one first (RFC 3263 §4.3).

use super::attempt::Place;
use sip_transport::{Path, SendError, TlsFailure, Transport};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The longest time that a server's own word keeps us away from it (Retry-After of a 503, RFC 3261 §21.5.4): it may
/// be back sooner than it thinks, and a forged word must not last.
const LONGEST: Duration = Duration::from_secs(300);

/// How long an address family that lost a race is passed over: RFC 6555 §4.2 has its outcome remembered for ten
/// minutes, so that one request in them pays for a black hole and not each.
const SLOW_FOR: Duration = Duration::from_secs(600);

/// What failed, and until when it is passed over where there is another choice.
#[derive(Debug)]
pub(super) struct DeadTargets {
    until: HashMap<(Transport, SocketAddr), Instant>,
    most: usize,
    usual: Duration,
}

impl DeadTargets {
    pub(super) fn new(most: usize, usual: Duration) -> Self {
        Self { until: HashMap::new(), most, usual }
    }

    /// This place did not answer, or could not be reached.
    pub(super) fn failed(&mut self, now: Instant, path: &Path) {
        self.mark(now, path, self.usual);
    }

    /// A connection to this place was not there before one to another.
    pub(super) fn was_slow(&mut self, now: Instant, path: &Path) {
        if !self.usual.is_zero() {
            self.mark(now, path, SLOW_FOR);
        }
    }

    /// This place said how long it does not want to be asked.
    pub(super) fn asked_for_peace(&mut self, now: Instant, path: &Path, time: Duration) {
        self.mark(now, path, time.min(LONGEST));
    }

    /// This place answered.
    pub(super) fn answered(&mut self, path: &Path) {
        if !self.until.is_empty() {
            self.until.remove(&(path.transport, path.remote));
        }
    }

    pub(super) fn is_dead(&self, now: Instant, path: &Path) -> bool {
        !self.until.is_empty()
            && self.until.get(&(path.transport, path.remote)).is_some_and(|until| *until > now)
    }

    /// Puts the dead behind the others: they are tried if all others fail.
    pub(super) fn last(&self, now: Instant, places: &mut VecDeque<Place>) -> bool {
        let dead = |place: &Place| self.is_dead(now, &place.path);
        let passed_over = places.front().is_some_and(dead) && !places.iter().all(dead);
        if passed_over || places.iter().any(dead) {
            places.make_contiguous().sort_by_key(dead);
        }
        passed_over
    }

    /// How many are remembered, some of them perhaps for longer than needed.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.until.len()
    }

    fn mark(&mut self, now: Instant, path: &Path, time: Duration) {
        let Some(until) = now.checked_add(time).filter(|until| *until > now) else { return };
        if self.until.len() >= self.most {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= self.most {
            // Rare: as many failures within the time as there is room. The one nearest to its end makes room.
            let next = self.until.iter().map(|(key, until)| (*until, *key)).min();
            if let Some((_, key)) = next {
                self.until.remove(&key);
            }
        }
        if self.until.len() < self.most {
            self.until.insert((path.transport, path.remote), until);
        }
    }
}

/// Whether the place is to blame for what could not be sent, and not we, nor the domain that it was asked to prove: anybody
/// can have a domain of his own lead to a good server, which must not be passed over for others then.
pub(super) const fn is_its_fault(error: SendError) -> bool {
    match error {
        SendError::Refused
        | SendError::Unreachable
        | SendError::TimedOut
        | SendError::Closed
        | SendError::WebSocket(_)
        | SendError::Io(_) => true,
        SendError::Tls(failure) => !matches!(failure, TlsFailure::OtherDomain | TlsFailure::BadDomain),
        SendError::QueueFull | SendError::TooLarge | SendError::NoLocal | SendError::TooManyConnections => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(last: u16) -> Place {
        let remote = SocketAddr::from(([192, 0, 2, 1], last));
        Place { path: Path::to(Transport::Udp, remote), host: 0 }
    }

    #[test]
    fn the_dead_come_last_for_their_time_and_not_once_they_answer() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut dead = DeadTargets::new(10, second * 30);
        let ports = |dead: &DeadTargets, now| {
            let mut places: VecDeque<Place> = [1, 2, 3].map(place).into();
            let passed_over = dead.last(now, &mut places);
            (places.iter().map(|place| place.path.remote.port()).collect::<Vec<_>>(), passed_over)
        };
        assert_eq!(ports(&dead, now), (vec![1, 2, 3], false));
        dead.failed(now, &place(1).path);
        dead.failed(now, &place(2).path);
        assert_eq!(ports(&dead, now), (vec![3, 1, 2], true));
        dead.answered(&place(2).path);
        assert_eq!(ports(&dead, now), (vec![2, 3, 1], true));
        assert_eq!(ports(&dead, now + second * 30), (vec![1, 2, 3], false));
        for last in [1, 2, 3] {
            dead.failed(now, &place(last).path);
        }
        assert_eq!(ports(&dead, now), (vec![1, 2, 3], false), "all of them: as if none");
    }

    /// A domain of a stranger that leads to a good server must not make that one be passed over.
    #[test]
    fn a_certificate_for_others_says_nothing_against_the_server() {
        assert!(!is_its_fault(SendError::Tls(TlsFailure::OtherDomain)));
        assert!(is_its_fault(SendError::Tls(TlsFailure::Expired)) && is_its_fault(SendError::Refused));
    }

    #[test]
    fn a_server_cannot_ask_for_more_than_five_minutes_of_peace() {
        let now = Instant::now();
        let mut dead = DeadTargets::new(10, Duration::ZERO);
        dead.asked_for_peace(now, &place(1).path, Duration::from_secs(1_000_000));
        assert!(dead.is_dead(now + LONGEST - Duration::from_secs(1), &place(1).path));
        assert!(!dead.is_dead(now + LONGEST, &place(1).path));
        dead.failed(now, &place(2).path);
        assert!(!dead.is_dead(now, &place(2).path), "a time of zero switches it off");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let now = Instant::now();
        let mut dead = DeadTargets::new(100, Duration::from_secs(30));
        for port in 1..=1000 {
            dead.failed(now + Duration::from_millis(u64::from(port)), &place(port).path);
        }
        assert_eq!(dead.len(), 100);
        assert!(dead.is_dead(now + Duration::from_secs(1), &place(1000).path), "the newest are kept");
        assert!(!dead.is_dead(now + Duration::from_secs(1), &place(1).path));
        dead.failed(now + Duration::from_secs(60), &place(1).path);
        assert_eq!(dead.len(), 1, "those whose time is over go first");
    }

    proptest::proptest! {
        /// Against the plainest model: a list of what happened to whom and when.
        #[test]
        fn any_history_is_judged_as_by_a_list(
            history in proptest::collection::vec((0_u64..20, 0_u8..4, 1_u16..8), 0..200)
        ) {
            let usual = Duration::from_secs(30);
            let mut dead = DeadTargets::new(100, usual);
            let mut model: Vec<(u16, Instant)> = Vec::new();
            let mut now = Instant::now();
            for (pause, what, port) in history {
                now += Duration::from_secs(pause);
                let path = place(port).path;
                model.retain(|(other, _)| *other != port || what == 3);
                match what {
                    0 => {
                        dead.failed(now, &path);
                        model.push((port, now + usual));
                    }
                    1 => {
                        dead.was_slow(now, &path);
                        model.push((port, now + SLOW_FOR));
                    }
                    2 => dead.answered(&path),
                    _ => {}
                }
                let mut places: VecDeque<Place> = (1..8).map(place).collect();
                dead.last(now, &mut places);
                let is_dead = |port: u16| model.iter().any(|(other, until)| *other == port && *until > now);
                let mut expected: Vec<u16> = (1..8).collect();
                expected.sort_by_key(|port| is_dead(*port));
                let order: Vec<u16> = places.iter().map(|place| place.path.remote.port()).collect();
                proptest::prop_assert_eq!(order, expected);
            }
        }
    }
}
