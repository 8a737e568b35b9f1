//! What share of new requests to refuse so that the rest is done in time (RFC 7339 §1 calls it overload control; the measure is the
//! driver's: how long what it reads has lain in the socket, and what found no room there).
//!
//! To be busy all the time is no overload: a hundred phones that each wait for their answer do that to a server, and none of them
//! waits long. But a server that takes everything it can read does the oldest work first: its socket fills up, what is repeated is
//! read in the place of what is new, and no call gets all of its messages through. Refused early, a request costs a fraction; where
//! a neighbour heeds reports, it refuses in our place, and all of our time is left for what can be done.

use std::time::{Duration, Instant};

use sip_message::headers::Via;
use sip_message::{Method, Request};
use sip_transport::{Backlog, FlowId};

use crate::overload::{Report, is_urgent, is_within_dialog};

/// What has waited in the socket for less is in time: a twenty-fifth of T1.
const IN_TIME: Duration = Duration::from_millis(20);
/// For so long all has to be late before any of it is refused. Shorter is a burst, which the socket's buffer is for.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often the share changes.
const STEP: Duration = Duration::from_millis(10);
/// Once something is refused, so long shall what comes wait: longer is too much, and shorter is time in which nothing is done.
const TARGET: Duration = Duration::from_millis(10);
/// Without a word of the driver for so long, the share is what it was of another time.
const FORGET: Duration = Duration::from_secs(1);
/// Who says that he heeds reports has so long to do it: twice the time for which one holds. If all is late even then, he does not,
/// or not enough, and is refused like the others.
const HEEDED: Duration = Report::VALIDITY.saturating_mul(2);
/// The whole.
const ALL: u32 = 1 << 16;
/// The most that is refused: some must come through to learn that it is over.
const MOST: u32 = ALL / 128 * 125;

/// A share of some requests.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// Of [`ALL`].
    part: u32,
    /// Rises by the share with each request, so that the refused ones are spread evenly.
    due: u32,
}

impl Share {
    /// After one [`STEP`] in which all that came has waited for `waited` at least, and in the one before for `before`.
    ///
    /// The rule of PIE (RFC 8033 §4.2): the share follows how far the wait is from its target, and how fast it changes. Of `n`
    /// times what can be done `1 / n` is left, so that a step does `n` times as much to the wait: it is made smaller by that.
    fn step(&mut self, waited: Duration, before: Duration) {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX).min(1_000_000);
        let (waited, before) = (micros(waited), micros(before));
        let change = (waited - micros(TARGET)) + 20 * (waited - before);
        let left = i64::from(ALL.saturating_sub(self.part));
        let mut part = i64::from(self.part) + left * change / 1_000_000;
        if waited == 0 {
            // More could be done, and nobody knows how much.
            part -= i64::from(self.part) / 32 + 1;
        }
        self.part = u32::try_from(part).unwrap_or(0).min(MOST);
    }

    fn refuses(&mut self, request: &Request) -> bool {
        let part = match request.method() {
            Method::Ack | Method::Cancel | Method::Bye | Method::Prack => return false,
            Method::Register => self.part.saturating_mul(2).saturating_sub(ALL),
            _ => self.part,
        };
        self.due = self.due.saturating_add(part);
        if self.due < ALL || is_within_dialog(request) || is_urgent(request) {
            self.due = self.due.min(ALL);
            return false;
        }
        self.due = self.due.saturating_sub(ALL);
        true
    }
}

/// The share that is refused.
#[derive(Debug, Default)]
pub(crate) struct Shedding {
    /// What neighbours are told to keep to themselves, and what of the others is refused.
    share: Share,
    /// What is refused of those who say that they heed reports, although they were told.
    unheeded: Share,
    /// When they changed last.
    changed: Option<Instant>,
    /// Since when all that is read is late, and when it was last.
    late: Option<(Instant, Instant)>,
    /// The shortest wait in each socket since.
    waits: Vec<(Option<FlowId>, Duration)>,
    /// The longest of those of the step before.
    before: Duration,
}

fn within(since: Option<Instant>, time: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) < time)
}

impl Shedding {
    /// The driver has read some more of what came.
    pub(crate) fn backlog(&mut self, now: Instant, backlog: Backlog) {
        if backlog.waited >= IN_TIME || backlog.lost > 0 {
            // What was late another time is another burst.
            let same = self.late.filter(|(_, last)| within(Some(*last), PATIENCE, now));
            let since = same.map_or(now, |(since, _)| since);
            self.late = Some((since, now));
        } else if !self.late.is_some_and(|(_, last)| within(Some(last), IN_TIME, now)) {
            // What found no room before is not to be seen in every batch.
            self.late = None;
        }
        // What found no room would have waited longer than what is read, however small the room.
        let waited = if backlog.lost > 0 { backlog.waited.max(3 * TARGET) } else { backlog.waited };
        // The shortest of a socket counts: if it was empty once, more could be done. Another socket says nothing of this one.
        match self.waits.iter_mut().find(|(socket, _)| *socket == backlog.socket) {
            Some((_, least)) => *least = waited.min(*least),
            None => self.waits.push((backlog.socket, waited)),
        }
        if !within(self.changed, FORGET, now) {
            (self.share, self.unheeded, self.changed) = (Share::default(), Share::default(), Some(now));
        }
        if within(self.changed, STEP, now) {
            return;
        }
        self.changed = Some(now);
        let waited = self.waits.drain(..).map(|(_, least)| least).max().unwrap_or_default();
        let before = std::mem::replace(&mut self.before, waited);
        let late_for = |time: Duration| self.late.is_some_and(|(since, _)| !within(Some(since), time, now));
        if late_for(PATIENCE) || self.share.part > 0 {
            self.share.step(waited, before);
        }
        if late_for(HEEDED) || self.unheeded.part > 0 {
            self.unheeded.step(waited, before);
            if self.late.is_none() {
                // What is heeded will do by itself.
                self.unheeded.part -= self.unheeded.part / 128;
            }
        }
    }

    /// The share that neighbours shall keep to themselves, in percent.
    pub(crate) fn percent(&self) -> u8 {
        u8::try_from(self.share.part * 100 / ALL).unwrap_or(100)
    }

    /// Whether this request is one of those to refuse. What belongs to a dialog ends what costs memory, and calls for help
    /// come through; registrations are refused only when more than half of all is. Whose client heeds reports (RFC 7339 §5.10.2)
    /// has refused that share already: what it sends all the same is to be done.
    pub(crate) fn refuses(&mut self, now: Instant, request: &Request, via: &Via) -> bool {
        if self.share.part == 0 {
            return false;
        }
        if !within(self.changed, FORGET, now) {
            *self = Self::default();
            return false;
        }
        let share = if Report::is_wanted(via) { &mut self.unheeded } else { &mut self.share };
        share.refuses(request)
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

    fn via(of: &Request) -> Via {
        of.headers.require().unwrap()
    }

    /// The same from a neighbour who heeds reports.
    fn heeding(text: &str) -> Request {
        let mut request = request(text);
        let via = via(&request).with_param("oc", None).with_param("oc-algo", Some("\"loss\""));
        assert!(request.headers.replace_first(&via));
        request
    }

    /// How the neighbour takes what is told.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Neighbour {
        /// Knows nothing of reports.
        Deaf,
        /// Keeps to itself what it is asked to.
        Heeds,
        /// Says so, and sends everything.
        Lies,
    }

    /// What became of the calls of one second.
    #[derive(Debug, Default)]
    struct Second {
        taken: u64,
        refused: u64,
        spared: u64,
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
        neighbour: Neighbour,
        /// After each ten milliseconds, so long it does not get the processor.
        absent: Duration,
        /// What the neighbour has heard, and how much of it the next calls owe.
        heard: (Duration, u32, u32),
    }

    impl Simulated {
        fn new(room: usize) -> Self {
            Self::beside(Neighbour::Deaf, room)
        }

        fn beside(neighbour: Neighbour, room: usize) -> Self {
            Self {
                neighbour,
                absent: Duration::ZERO,
                heard: (Duration::ZERO, 0, 0),
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
            if self.neighbour == Neighbour::Heeds {
                // What it knows is some milliseconds old.
                if at >= self.heard.0 {
                    self.heard.0 = at + Duration::from_millis(5);
                    self.heard.1 = u32::from(self.shedding.percent());
                }
                self.heard.2 += self.heard.1;
                if self.heard.2 >= 100 {
                    self.heard.2 -= 100;
                    self.second.spared += 1;
                    return;
                }
            }
            if self.waiting.len() < self.room {
                self.waiting.push_back(at);
            } else {
                self.lost += 1;
                self.second.lost += 1;
            }
        }

        /// Reads a batch as the driver does, and tells how many had an answer.
        fn serve(&mut self) -> usize {
            let invite = match self.neighbour {
                Neighbour::Deaf => request("INVITE sip:b@h"),
                Neighbour::Heeds | Neighbour::Lies => heeding("INVITE sip:b@h"),
            };
            let via = via(&invite);
            let batch: Vec<Duration> = (0..32).map_while(|_| self.waiting.pop_front()).collect();
            let mut backlog = Backlog::default();
            if let (32, Some(last)) = (batch.len(), batch.last()) {
                backlog =
                    Backlog { waited: self.now - *last, lost: std::mem::take(&mut self.lost), ..backlog };
            }
            self.shedding.backlog(self.start + self.now, backlog);
            self.run(20); // what the loop itself costs
            for &came in &batch {
                self.second.longest = self.second.longest.max(self.now - came);
                let refused = self.shedding.refuses(self.start + self.now, &invite, &via);
                *(if refused { &mut self.second.refused } else { &mut self.second.taken }) += 1;
                self.run(if refused { 10 } else { 60 });
            }
            batch.len()
        }

        /// Works for so many microseconds, and is absent when its turn is over.
        fn run(&mut self, micros: u64) {
            let before = self.now.as_millis() / 10;
            self.now += Duration::from_micros(micros);
            if self.now.as_millis() / 10 > before {
                self.now += self.absent;
            }
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
                assert!((10_000..=11_000).contains(&second.taken), "{room}: {seconds:?}");
                assert!(second.lost < 45_000 / 20, "{room}: {seconds:?}");
                assert!(second.longest < Duration::from_millis(20), "{room}: {seconds:?}");
            }
            // Afterwards everything is taken again.
            assert!(seconds[6].taken >= 9_900, "{room}: {seconds:?}");
        }
    }

    /// A neighbour that heeds reports bears the cost of the refusals: nearly all of the 16,600 that can be taken are, and none of
    /// what it sends is refused once more.
    #[test]
    fn rfc_7339_5_10_2_what_a_heeding_neighbour_sends_is_done() {
        for room in ROOMS {
            let seconds = Simulated::beside(Neighbour::Heeds, room)
                .offered(&[10_000, 45_000, 45_000, 45_000, 10_000, 10_000]);
            for second in &seconds[2..4] {
                assert!(second.taken >= 16_000, "{room}: {seconds:?}");
                assert_eq!(second.refused, 0, "{room}: {seconds:?}");
                assert!(second.longest < Duration::from_millis(20), "{room}: {seconds:?}");
            }
            assert!(seconds[5].taken >= 9_900, "{room}: {seconds:?}");
        }
    }

    /// Who says that he heeds reports and does not gains nothing by it for longer than it takes to see.
    #[test]
    fn who_only_says_that_he_heeds_reports_is_refused_like_the_others() {
        for room in ROOMS {
            let seconds =
                Simulated::beside(Neighbour::Lies, room).offered(&[10_000, 45_000, 45_000, 45_000, 45_000]);
            for second in &seconds[3..] {
                assert!((9_000..=12_000).contains(&second.taken), "{room}: {seconds:?}");
                assert!(second.longest < Duration::from_millis(100), "{room}: {seconds:?}");
            }
        }
    }

    /// Who has the processor for a part of the time alone does what can be done in it.
    #[test]
    fn what_others_leave_of_the_processor_is_used() {
        for (absent, possible) in [(2, 13_200), (5, 8_250), (10, 8_250)] {
            for room in ROOMS {
                let mut server = Simulated::beside(Neighbour::Heeds, room);
                server.absent = Duration::from_millis(absent);
                let seconds = server.offered(&[3 * possible; 4]);
                for second in &seconds[2..] {
                    assert!(second.taken >= u64::from(possible) * 9 / 10, "{absent}, {room}: {seconds:?}");
                    assert!(second.longest < Duration::from_millis(40), "{absent}, {room}: {seconds:?}");
                }
            }
        }
    }

    fn behind_for(shedding: &mut Shedding, now: &mut Instant, time: Duration) {
        let until = *now + time;
        while *now < until {
            shedding.backlog(*now, Backlog { socket: Some(FlowId(1)), waited: IN_TIME, lost: 0 });
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
            assert!((0..100).all(|_| !shedding.refuses(now, &request, &via(&request))), "{text}");
        }
        let mut refused = |text: &str| {
            let request = request(text);
            (0..1_000).filter(|_| shedding.refuses(now, &request, &via(&request))).count()
        };
        assert!((960..=990).contains(&refused("INVITE sip:b@h")));
        assert!((930..=970).contains(&refused("REGISTER sip:h")));
    }

    #[test]
    fn two_bursts_are_no_overload() {
        let (mut shedding, mut now) = (Shedding::default(), Instant::now());
        for _ in 0..5 {
            behind_for(&mut shedding, &mut now, 3 * STEP);
            now += Duration::from_millis(300);
        }
        assert_eq!((shedding.percent(), shedding.share.part), (0, 0));
    }

    #[test]
    fn a_socket_in_which_nothing_waits_says_nothing_of_another() {
        let (mut shedding, mut now) = (Shedding::default(), Instant::now());
        for _ in 0..20 {
            behind_for(&mut shedding, &mut now, STEP);
            shedding.backlog(now, Backlog { socket: Some(FlowId(2)), ..Backlog::default() });
        }
        assert!(shedding.percent() > 10, "{shedding:?}");
    }

    #[test]
    fn registrations_are_refused_last() {
        let (mut shedding, mut now) = (Shedding::default(), Instant::now());
        while shedding.percent() < 45 {
            behind_for(&mut shedding, &mut now, STEP);
        }
        let (invite, register) = (request("INVITE sip:b@h"), request("REGISTER sip:h"));
        assert!((0..100).any(|_| shedding.refuses(now, &invite, &via(&invite))));
        assert!((0..100).all(|_| !shedding.refuses(now, &register, &via(&register))));
    }

    #[test]
    fn an_overload_of_another_time_is_forgotten() {
        let (mut shedding, mut now) = (Shedding::default(), Instant::now());
        behind_for(&mut shedding, &mut now, Duration::from_secs(5));
        now += FORGET;
        let invite = request("INVITE sip:b@h");
        assert!((0..100).all(|_| !shedding.refuses(now, &invite, &via(&invite))));
        assert_eq!(shedding.percent(), 0);
    }
}
