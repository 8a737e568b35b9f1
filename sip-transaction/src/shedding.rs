//! What share of new requests to refuse so that the rest is done in time (RFC 7339 §1 calls it overload control; the measure is the
//! driver's: how long what it reads has lain in the socket, and what found no room there).
//!
//! To be busy all the time is no overload: a hundred phones that each wait for their answer do that to a server, and none of them
//! waits long. But a server that takes everything it can read does the oldest work first: its socket fills up, what is repeated is
//! read in the place of what is new, and no call gets all of its messages through. Refused early, a request costs a fraction.

use std::time::{Duration, Instant};

use sip_message::{Method, Request};
use sip_transport::Backlog;

use crate::overload::{is_urgent, is_within_dialog};

/// What has waited in the socket for less is in time: a twenty-fifth of T1.
const IN_TIME: Duration = Duration::from_millis(20);
/// For so long all has to be late before any of it is refused. Shorter is a burst, which the socket's buffer is for.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often the share changes.
const STEP: Duration = Duration::from_millis(10);
/// Without a word of being behind for so long, the share is what it was of another time.
const FORGET: Duration = Duration::from_secs(1);
/// The whole.
const ALL: u32 = 1_024;
/// The most that is refused: some must come through to learn that it is over.
const MOST: u32 = 1_000;

/// The share that is refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shedding {
    /// Of [`ALL`].
    share: u32,
    /// When it changed last.
    changed: Option<Instant>,
    /// Since when all that is read is late, and when it was last.
    late: Option<(Instant, Instant)>,
    /// When it had been for too long, last.
    behind: Option<Instant>,
    /// Rises by the share with each request, so that the refused ones are spread evenly.
    due: u32,
}

fn within(since: Option<Instant>, time: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) < time)
}

impl Shedding {
    /// The driver has read some more of what came.
    pub(crate) fn backlog(&mut self, now: Instant, backlog: Backlog) {
        if backlog.waited >= IN_TIME || backlog.lost > 0 {
            let since = self.late.map_or(now, |(since, _)| since);
            self.late = Some((since, now));
        } else if !self.late.is_some_and(|(_, last)| within(Some(last), IN_TIME, now)) {
            // What found no room before is not to be seen in every batch.
            self.late = None;
        }
        let behind = self.late.is_some_and(|(since, _)| !within(Some(since), PATIENCE, now));
        if behind {
            self.behind = Some(now);
        }
        if within(self.changed, STEP, now) {
            return;
        }
        self.changed = Some(now);
        if behind {
            let rise = ALL.saturating_sub(self.share) / 8;
            self.share = self.share.saturating_add(rise.max(1)).min(MOST);
        } else if !within(self.behind, FORGET, now) {
            self.share = 0;
        } else if !within(self.behind, PATIENCE, now) {
            self.share = self.share.saturating_sub(self.share / 64 + 1);
        }
    }

    /// The share that is refused, in percent.
    pub(crate) fn percent(&self) -> u8 {
        u8::try_from(self.share.saturating_mul(100) / ALL).unwrap_or(100)
    }

    /// Whether this request is one of those to refuse. What belongs to a dialog ends what costs memory, and calls for help
    /// come through; registrations are refused only when more than half of all is.
    pub(crate) fn refuses(&mut self, now: Instant, request: &Request) -> bool {
        if self.share == 0 {
            return false;
        }
        if !within(self.behind, FORGET, now) {
            *self = Self::default();
            return false;
        }
        let share = match request.method() {
            Method::Ack | Method::Cancel | Method::Bye | Method::Prack => return false,
            Method::Register => self.share.saturating_mul(2).saturating_sub(ALL),
            _ => self.share,
        };
        self.due = self.due.saturating_add(share);
        if self.due < ALL || is_within_dialog(request) || is_urgent(request) {
            self.due = self.due.min(ALL);
            return false;
        }
        self.due = self.due.saturating_sub(ALL);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::{Limits, Message};
    use std::collections::VecDeque;

    fn request(text: &str) -> Request {
        let head = format!(
            "{text} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>{}\r\n\
             Call-ID: 1\r\nCSeq: 1 {}\r\n\r\n",
            if text.contains("within") { ";tag=2" } else { "" },
            text.split(' ').next().unwrap()
        );
        match Message::parse(head.into(), &Limits::default()).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => unreachable!(),
        }
    }

    /// What became of the calls of one second.
    #[derive(Debug, Default)]
    struct Second {
        taken: u64,
        refused: u64,
        lost: u64,
        longest: Duration,
    }

    /// A server that needs 60 us for a call and 10 us to refuse one, and its socket.
    struct Simulated {
        shedding: Shedding,
        start: Instant,
        now: Duration,
        waiting: VecDeque<Duration>,
        /// Datagrams that the socket holds.
        room: usize,
        lost: u32,
        second: Second,
    }

    impl Simulated {
        fn new(room: usize) -> Self {
            Self {
                shedding: Shedding::default(),
                start: Instant::now(),
                now: Duration::ZERO,
                waiting: VecDeque::new(),
                room,
                lost: 0,
                second: Second::default(),
            }
        }

        fn arrive(&mut self, at: Duration) {
            if self.waiting.len() < self.room {
                self.waiting.push_back(at);
            } else {
                self.lost += 1;
                self.second.lost += 1;
            }
        }

        /// Reads a batch as the driver does, and tells how many had an answer.
        fn serve(&mut self) -> usize {
            let invite = request("INVITE sip:b@h");
            let batch: Vec<Duration> = (0..32).map_while(|_| self.waiting.pop_front()).collect();
            let mut backlog = Backlog::default();
            if let (32, Some(last)) = (batch.len(), batch.last()) {
                backlog = Backlog { waited: self.now - *last, lost: std::mem::take(&mut self.lost) };
            }
            self.shedding.backlog(self.start + self.now, backlog);
            self.now += Duration::from_micros(20); // what the loop itself costs
            for &came in &batch {
                self.second.longest = self.second.longest.max(self.now - came);
                let refused = self.shedding.refuses(self.start + self.now, &invite);
                *(if refused { &mut self.second.refused } else { &mut self.second.taken }) += 1;
                self.now += Duration::from_micros(if refused { 10 } else { 60 });
            }
            batch.len()
        }

        /// Seconds in which so many calls come, whatever becomes of them.
        fn offered(&mut self, rates: &[u32]) -> Vec<Second> {
            let mut arrived = self.now;
            rates
                .iter()
                .map(|rate| {
                    let until = self.now + Duration::from_secs(1);
                    while self.now < until {
                        while arrived <= self.now {
                            self.arrive(arrived);
                            arrived += Duration::from_secs(1) / *rate;
                        }
                        self.serve();
                    }
                    std::mem::take(&mut self.second)
                })
                .collect()
        }
    }

    /// What a socket of 4 MiB holds, and one of the kernel's default size.
    const ROOMS: [usize; 2] = [3_600, 180];

    #[test]
    fn what_can_be_done_is_done_without_a_refusal() {
        for room in ROOMS {
            for second in Simulated::new(room).offered(&[2_000, 12_000, 15_000]) {
                assert_eq!((second.refused, second.lost), (0, 0));
                assert!(second.longest < Duration::from_millis(20), "{second:?}");
            }
        }
    }

    /// Callers who each wait for the answer to their last call keep the server busy all the time. None waits long.
    #[test]
    fn who_waits_for_his_answer_is_no_overload() {
        for callers in [16, 64, 170] {
            for room in ROOMS {
                let mut server = Simulated::new(room);
                (0..callers).for_each(|_| server.arrive(Duration::ZERO));
                while server.now < Duration::from_secs(5) {
                    for _ in 0..server.serve() {
                        server.arrive(server.now);
                    }
                }
                assert_eq!((server.second.refused, server.second.lost), (0, 0), "{callers}, {room}");
                assert!(server.second.taken > 5 * 15_000);
            }
        }
    }

    #[test]
    fn a_burst_is_worked_off() {
        let mut server = Simulated::new(ROOMS[0]);
        for _ in 0..20 {
            (0..700).for_each(|_| server.arrive(server.now));
            while server.serve() > 0 {}
            server.now += Duration::from_millis(100);
        }
        assert_eq!((server.second.refused, server.second.lost), (0, 0));
    }

    /// Three times what can be done: what is left after the refusals is done, and in time. 16,000 a second can be taken; of 45,000
    /// the refusals cost so much that 10,000 can.
    #[test]
    fn of_three_times_too_much_most_is_refused_and_the_rest_is_in_time() {
        for room in ROOMS {
            let seconds =
                Simulated::new(room).offered(&[10_000, 45_000, 45_000, 45_000, 10_000, 10_000, 10_000]);
            for second in &seconds[2..4] {
                assert!((9_000..=12_000).contains(&second.taken), "{room}: {seconds:?}");
                assert!(second.lost < 45_000 / 20, "{room}: {seconds:?}");
                assert!(second.longest < Duration::from_millis(100), "{room}: {seconds:?}");
            }
            // Afterwards everything is taken again.
            assert!(seconds[6].taken >= 9_900, "{room}: {seconds:?}");
        }
    }

    fn behind_for(shedding: &mut Shedding, now: &mut Instant, time: Duration) {
        let until = *now + time;
        while *now < until {
            shedding.backlog(*now, Backlog { waited: IN_TIME, lost: 0 });
            *now += STEP;
        }
    }

    #[test]
    fn what_belongs_to_a_dialog_and_calls_for_help_come_through() {
        let (mut shedding, mut now) = (Shedding::default(), Instant::now());
        behind_for(&mut shedding, &mut now, Duration::from_secs(5));
        assert_eq!(shedding.percent(), 97);
        for text in [
            "BYE sip:b@h",
            "ACK sip:b@h",
            "CANCEL sip:b@h",
            "PRACK sip:b@h",
            "INVITE sip:within@h",
            "INVITE urn:service:sos",
        ] {
            let request = request(text);
            assert!((0..100).all(|_| !shedding.refuses(now, &request)), "{text}");
        }
        let mut refused = |text: &str| {
            let request = request(text);
            (0..1_000).filter(|_| shedding.refuses(now, &request)).count()
        };
        assert!((960..=990).contains(&refused("INVITE sip:b@h")));
        assert!((930..=970).contains(&refused("REGISTER sip:h")));
    }

    #[test]
    fn registrations_are_refused_last() {
        let (mut shedding, mut now) = (Shedding::default(), Instant::now());
        while shedding.percent() < 45 {
            behind_for(&mut shedding, &mut now, STEP);
        }
        let (invite, register) = (request("INVITE sip:b@h"), request("REGISTER sip:h"));
        assert!((0..100).any(|_| shedding.refuses(now, &invite)));
        assert!((0..100).all(|_| !shedding.refuses(now, &register)));
    }

    #[test]
    fn an_overload_of_another_time_is_forgotten() {
        let (mut shedding, mut now) = (Shedding::default(), Instant::now());
        behind_for(&mut shedding, &mut now, Duration::from_secs(5));
        now += FORGET;
        let invite = request("INVITE sip:b@h");
        assert!((0..100).all(|_| !shedding.refuses(now, &invite)));
        assert_eq!(shedding.percent(), 0);
    }
}
