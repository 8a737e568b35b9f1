//! Packets put in order: what is missing is known, asked for in time, and given up in time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Packets that wait behind a gap: a second of 10 Mbit/s. A peer that leaves gaps must not fill the memory.
const MAX_WAITING: usize = 1024;
/// Octets of them: the longest frame there is.
const MAX_WAITING_OCTETS: usize = crate::video::MAX_FRAME;
/// Packets missing at once beyond which nothing is mended any more: the stream starts anew there.
const MAX_MISSING: u64 = 512;
/// Steps back from which on a number means that the stream began anew (RFC 3550 appendix A.1, MAX_DROPOUT).
const RESTART: u64 = 3000;
/// How long a packet may be overtaken before it counts as lost.
const OVERTAKEN: Duration = Duration::from_millis(10);

/// A packet as it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) timestamp: u32,
    pub(super) payload: Bytes,
}

/// How long to wait for what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// Between two requests for one packet; `None` if there is nobody to ask.
    pub(super) again: Option<Duration>,
    /// From the first sign of loss until a packet is given up.
    pub(super) in_all: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Instant,
    /// Ask then.
    ask: Instant,
    /// How often it was asked for, and when first.
    asked: u32,
    asked_at: Instant,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next packet, with its number. Numbers that are left out before it are lost.
    Packet(u64, Packet),
    /// The stream begins anew behind this: nothing that comes fits what came.
    Restart,
}

#[derive(Debug, Default)]
pub(super) struct Reordering {
    /// The number that comes next; nothing was heard without.
    next: Option<u64>,
    /// Until then packets before the first one may come; `None` once one has gone out.
    settling: Option<Instant>,
    highest: u64,
    waiting: BTreeMap<u64, Packet>,
    octets: usize,
    missing: BTreeMap<u64, Missing>,
    restarted: bool,
    /// How long it takes from asking for a packet to having it: the shortest of late, which grows slowly.
    pub(super) answer: Option<Duration>,
    pub(super) mended: u64,
    pub(super) lost: u64,
}

impl Reordering {
    /// Forgets all that waits; the next packet is the first.
    pub(super) fn clear(&mut self) {
        *self = Self { answer: self.answer, mended: self.mended, lost: self.lost, ..Self::default() };
    }

    /// Takes a packet by its number with cycles. What comes twice or too late is left out.
    pub(super) fn insert(&mut self, now: Instant, number: u64, packet: Packet) {
        let next = *self.next.get_or_insert_with(|| {
            self.settling = Some(now + OVERTAKEN);
            number
        });
        let missing = Missing { since: now, ask: now + OVERTAKEN, asked: 0, asked_at: now };
        if number < next {
            if next - number > RESTART {
                return self.restart(now, number, packet);
            }
            if self.settling.is_none() {
                return;
            }
            self.next = Some(number);
            self.missing.extend((number + 1..next).map(|number| (number, missing)));
        }
        let expected =
            if self.waiting.is_empty() && self.missing.is_empty() { next } else { self.highest + 1 };
        if number >= expected {
            if number - expected + self.missing.len() as u64 > MAX_MISSING {
                return self.restart(now, number, packet);
            }
            self.missing.extend((expected..number).map(|number| (number, missing)));
            self.highest = number;
        } else if let Some(missing) = self.missing.remove(&number) {
            self.mended += u64::from(missing.asked > 0);
            // Asked for once, so this is the answer; of several requests the first is taken until more is known.
            let took = now.saturating_duration_since(missing.asked_at);
            self.answer = match (missing.asked, self.answer) {
                (1, Some(before)) => Some(took.min((before * 7 + took) / 8)),
                (1.., None) => Some(took),
                (_, before) => before,
            };
        }
        self.octets = self.octets.saturating_add(packet.payload.len());
        if let Some(double) = self.waiting.insert(number, packet) {
            self.octets = self.octets.saturating_sub(double.payload.len());
        }
    }

    /// Takes a packet that was sent again, if it is missing.
    pub(super) fn mend(&mut self, now: Instant, number: u16, packet: Packet) {
        // Not far from the highest, before it or behind.
        let behind = (self.highest as u16).wrapping_sub(number);
        let number = self.highest.checked_sub(behind.into());
        if let Some(number) = number.filter(|number| self.missing.contains_key(number)) {
            self.insert(now, number, packet);
        }
    }

    /// A new life of the stream, or a gap that nobody can mend.
    fn restart(&mut self, now: Instant, number: u64, packet: Packet) {
        self.lost = self.lost.saturating_add(self.missing.len() as u64);
        self.clear();
        self.settling = Some(now + OVERTAKEN);
        self.restarted = true;
        self.next = Some(number);
        self.highest = number;
        self.octets = packet.payload.len();
        self.waiting.insert(number, packet);
    }

    /// The next packet in order: the one that follows, or the one behind a gap that is not waited for any longer.
    pub(super) fn pop(&mut self, now: Instant, patience: Patience) -> Option<Next> {
        if std::mem::take(&mut self.restarted) {
            return Some(Next::Restart);
        }
        if self.settling.is_some_and(|until| now < until) && self.waiting.len() <= MAX_WAITING {
            return None;
        }
        let (&first, _) = self.waiting.first_key_value()?;
        self.settling = None;
        if self.next != Some(first) {
            let over = self.waiting.len() > MAX_WAITING || self.octets > MAX_WAITING_OCTETS;
            let waited = |missing: &Missing| now.saturating_duration_since(missing.since) >= patience.in_all;
            if !over && !self.missing.first_key_value().is_some_and(|(_, missing)| waited(missing)) {
                return None;
            }
            let kept = self.missing.split_off(&first);
            self.lost = self.lost.saturating_add(self.missing.len() as u64);
            self.missing = kept;
        }
        let (number, packet) = self.waiting.pop_first()?;
        self.octets = self.octets.saturating_sub(packet.payload.len());
        self.next = Some(number.wrapping_add(1));
        self.highest = self.highest.max(number);
        Some(Next::Packet(number, packet))
    }

    /// The numbers to ask for now. Each comes again after [`Patience::again`], until it is here or given up.
    pub(super) fn take_due(&mut self, now: Instant, patience: Patience) -> Vec<u16> {
        let Some(again) = patience.again else { return Vec::new() };
        let due = self.missing.iter_mut().filter(|(_, missing)| missing.ask <= now);
        due.map(|(number, missing)| {
            missing.ask = now + again;
            if missing.asked == 0 {
                missing.asked_at = now;
            }
            missing.asked = missing.asked.saturating_add(1);
            *number as u16
        })
        .collect()
    }

    /// When there is something to ask for or to give up.
    pub(super) fn poll_timeout(&self, patience: Patience) -> Option<Instant> {
        let given_up = self.missing.first_key_value().map(|(_, missing)| missing.since + patience.in_all);
        let asked =
            self.missing.values().map(|missing| missing.ask).min().filter(|_| patience.again.is_some());
        given_up.into_iter().chain(asked).chain(self.settling).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Patience =
        Patience { again: Some(Duration::from_millis(40)), in_all: Duration::from_millis(200) };

    fn packet(number: u64) -> Packet {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        Packet { payload_type: 96, marker: false, timestamp: 0, payload }
    }

    fn numbers(reordering: &mut Reordering, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| reordering.pop(now, PATIENCE))
            .map(|next| match next {
                Next::Packet(number, found) => {
                    assert_eq!(found, packet(number));
                    number
                }
                Next::Restart => 0,
            })
            .collect()
    }

    #[test]
    fn what_is_overtaken_is_waited_for_asked_for_and_given_up() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut reordering = Reordering::default();
        for number in [70_001, 70_000, 70_003, 70_005] {
            reordering.insert(start, number, packet(number));
        }
        assert_eq!(numbers(&mut reordering, at(9)), [0u64; 0], "an earlier one may come");
        assert_eq!(numbers(&mut reordering, at(10)), [70_000, 70_001]);
        assert_eq!(reordering.take_due(start, PATIENCE), [0u16; 0], "it may only be late");
        assert_eq!(reordering.poll_timeout(PATIENCE), Some(at(10)));
        assert_eq!(reordering.take_due(at(10), PATIENCE), [70_002u64 as u16, 70_004u64 as u16]);
        assert_eq!(reordering.take_due(at(49), PATIENCE), [0u16; 0]);
        reordering.mend(at(50), 70_002u64 as u16, packet(70_002));
        reordering.mend(at(50), 70_002u64 as u16, packet(70_002));
        assert_eq!(numbers(&mut reordering, at(50)), [70_002, 70_003]);
        assert_eq!(reordering.take_due(at(50), PATIENCE), [70_004u64 as u16]);
        assert_eq!(numbers(&mut reordering, at(199)), [0u64; 0]);
        assert_eq!(numbers(&mut reordering, at(200)), [70_005], "given up");
        assert_eq!((reordering.mended, reordering.lost), (1, 1));
        assert_eq!(reordering.answer, Some(Duration::from_millis(40)));
        reordering.insert(at(201), 70_004, packet(70_004));
        assert_eq!(numbers(&mut reordering, at(900)), [0u64; 0], "too late");
        assert_eq!(reordering.poll_timeout(PATIENCE), None);
    }

    #[test]
    fn a_jump_or_numbers_of_an_earlier_life_start_anew() {
        let start = Instant::now();
        let settled = start + OVERTAKEN;
        let mut reordering = Reordering::default();
        reordering.insert(start, 5000, packet(5000));
        reordering.insert(start, 9000, packet(9000));
        assert_eq!(numbers(&mut reordering, settled), [0, 9000]);
        reordering.insert(settled, 8999, packet(8999));
        assert_eq!(numbers(&mut reordering, settled), [0u64; 0]);
        reordering.insert(settled, 17, packet(17));
        reordering.insert(settled, 18, packet(18));
        assert_eq!(numbers(&mut reordering, settled + OVERTAKEN), [0, 17, 18]);
    }

    #[test]
    fn what_waits_behind_a_gap_is_bounded() {
        let now = Instant::now() + OVERTAKEN;
        let mut reordering = Reordering::default();
        reordering.insert(now - OVERTAKEN, 1, packet(1));
        for number in 3..5000 {
            reordering.insert(now, number, packet(number));
            let _ = numbers(&mut reordering, now);
            assert!(reordering.waiting.len() <= MAX_WAITING);
        }
        assert_eq!(reordering.lost, 1);
    }

    proptest! {
        /// Whatever order and repetition they come in, packets go out once and in order, and all of them if none is too late.
        #[test]
        fn packets_go_out_once_and_in_order(order in Just((10u64..60).collect::<Vec<_>>()).prop_shuffle(), again in proptest::collection::vec(10u64..60, 0..20)) {
            let now = Instant::now();
            let mut reordering = Reordering::default();
            let mut out = Vec::new();
            for number in order.into_iter().chain(again) {
                reordering.insert(now, number, packet(number));
                out.extend(numbers(&mut reordering, now));
            }
            out.extend(numbers(&mut reordering, now + OVERTAKEN));
            prop_assert_eq!(out, (10..60).collect::<Vec<_>>());
        }
    }
}
