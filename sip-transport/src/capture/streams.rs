//! TCP as it passed a capture: segments in any order, twice, or missing, to the octets that the receiver read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::read::{Captured, Direction, Directions, Payload};

/// Connections followed at a time. A capture of a scan has millions; the oldest is given up for a new one.
const STREAMS: usize = 16_384;
/// Octets of one direction that wait for a segment before them. TCP's own windows seldom pass some megabytes; what
/// is missing longer is not in the capture, and the rest is read without it.
const AHEAD: usize = 1 << 20;
/// What remembering a segment costs besides its octets: a capture may be of segments of one octet.
const COST: usize = 64;

/// What matters of one TCP segment.
pub(super) struct Segment<'a> {
    pub(super) at: Duration,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    /// SYN: the stream starts with the next octet.
    pub(super) starts: bool,
    /// FIN or RST.
    pub(super) ends: bool,
    pub(super) octets: &'a [u8],
}

/// One direction of a connection.
#[derive(Debug)]
struct Stream {
    /// Its place in [`Streams::order`].
    number: u64,
    /// Sequence number of the octet that is told next.
    next: u32,
    /// Whether something before `next` is missing and was not told yet.
    gap: bool,
    /// What came before its turn, by the distance from `next` when it came: see [`Stream::moved`].
    ahead: BTreeMap<u64, (Duration, Bytes)>,
    waiting: usize,
    /// How far `next` has moved altogether: keys of `ahead` count from the stream's first octet.
    moved: u64,
    /// Where the stream ends, once that is known.
    end: Option<u64>,
    last: Duration,
}

/// All streams that a capture is being read of.
#[derive(Default)]
pub(super) struct Streams {
    streams: Directions<Stream>,
    /// In the order of their beginning: by the number that each one has.
    order: BTreeMap<u64, Direction>,
    begun: u64,
}

impl Streams {
    pub(super) fn segment(&mut self, segment: &Segment<'_>, tell: &mut impl FnMut(Captured)) {
        let direction = (segment.from, segment.to);
        if segment.starts
            && self.streams.get(&direction).is_some_and(|stream| !stream.is_start(segment.sequence))
        {
            self.end(direction, tell); // the ports are used again
        }
        if !self.streams.contains_key(&direction) {
            if segment.octets.is_empty() && !segment.starts {
                return; // an acknowledgement of the middle of a connection
            }
            if self.streams.len() >= STREAMS
                && let Some((_, oldest)) = self.order.pop_first()
            {
                self.end(oldest, tell);
            }
            self.begun = self.begun.saturating_add(1);
            self.streams.insert(direction, Stream::new(segment, self.begun));
            self.order.insert(self.begun, direction);
        }
        let Some(stream) = self.streams.get_mut(&direction) else { return };
        stream.take(segment);
        while let Some((at, octets, gap)) = stream.ready() {
            let payload = Payload::Stream { octets, gap };
            tell(Captured { at, from: segment.from, to: segment.to, payload });
        }
        if stream.end.is_some_and(|end| stream.moved >= end) {
            self.end(direction, tell);
        }
    }

    /// The capture is over: what waits is told without what is missing.
    pub(super) fn finish(&mut self, tell: &mut impl FnMut(Captured)) {
        while let Some((_, direction)) = self.order.pop_first() {
            self.end(direction, tell);
        }
    }

    fn end(&mut self, direction: Direction, tell: &mut impl FnMut(Captured)) {
        let Some(mut stream) = self.streams.remove(&direction) else { return };
        self.order.remove(&stream.number);
        let (from, to) = direction;
        loop {
            while let Some((at, octets, gap)) = stream.ready() {
                tell(Captured { at, from, to, payload: Payload::Stream { octets, gap } });
            }
            if !stream.skip() {
                break;
            }
        }
        tell(Captured { at: stream.last, from, to, payload: Payload::End });
    }
}

impl Stream {
    fn new(segment: &Segment<'_>, number: u64) -> Stream {
        let first = segment.sequence.wrapping_add(u32::from(segment.starts));
        Stream {
            number,
            next: first,
            gap: !segment.starts,
            ahead: BTreeMap::new(),
            waiting: 0,
            moved: 0,
            end: None,
            last: segment.at,
        }
    }

    /// Whether a SYN of this sequence number is the one that the stream began with, sent again.
    fn is_start(&self, sequence: u32) -> bool {
        let first = self.next.wrapping_sub(self.moved as u32); // sequence numbers wrap at 2^32
        first == sequence.wrapping_add(1)
    }

    fn take(&mut self, segment: &Segment<'_>) {
        self.last = self.last.max(segment.at);
        let sequence = segment.sequence.wrapping_add(u32::from(segment.starts));
        // How far ahead of the next octet, counted with the wrap: more than half the space is behind.
        let distance = sequence.wrapping_sub(self.next).cast_signed();
        let (ahead, mut octets) = match u64::try_from(distance) {
            Ok(ahead) => (ahead, segment.octets),
            Err(_) => {
                let behind = usize::try_from(distance.unsigned_abs()).unwrap_or(usize::MAX);
                (0, segment.octets.get(behind..).unwrap_or_default()) // the begin was told already
            }
        };
        let place = self.moved.saturating_add(ahead);
        if segment.ends && distance >= 0 {
            let end = place.saturating_add(segment.octets.len() as u64);
            self.end = Some(self.end.map_or(end, |known| known.min(end)));
        }
        // A segment sent again in other pieces: keep the longer one at the same place.
        if self.ahead.get(&place).is_some_and(|(_, known)| known.len() >= octets.len()) {
            octets = &[];
        }
        if !octets.is_empty() {
            if let Some((_, old)) = self.ahead.insert(place, (segment.at, Bytes::copy_from_slice(octets))) {
                self.waiting = self.waiting.saturating_sub(old.len().saturating_add(COST));
            }
            self.waiting = self.waiting.saturating_add(octets.len().saturating_add(COST));
        }
        if self.waiting > AHEAD {
            self.skip();
        }
    }

    /// The next octets in order, and whether some are missing before them.
    fn ready(&mut self) -> Option<(Duration, Bytes, bool)> {
        loop {
            let entry = self.ahead.first_entry()?;
            let place = *entry.key();
            if place > self.moved {
                return None;
            }
            let (at, mut octets) = entry.remove();
            self.waiting = self.waiting.saturating_sub(octets.len().saturating_add(COST));
            let told = usize::try_from(self.moved.saturating_sub(place)).unwrap_or(usize::MAX);
            if told >= octets.len() {
                continue; // all of it came in other segments
            }
            let octets = octets.split_off(told);
            self.moved = self.moved.saturating_add(octets.len() as u64);
            self.next = self.next.wrapping_add(octets.len() as u32); // at most one segment
            return Some((at, octets, std::mem::take(&mut self.gap)));
        }
    }

    /// Goes on at the first octets that wait, past what is missing; `false` if none wait.
    fn skip(&mut self) -> bool {
        let Some((&place, _)) = self.ahead.first_key_value() else { return false };
        let missing = place.saturating_sub(self.moved);
        self.gap |= missing > 0;
        self.moved = self.moved.max(place);
        self.next = self.next.wrapping_add(missing as u32); // less than half the space of sequence numbers
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(segments: &[(u32, bool, bool, &str)]) -> Vec<String> {
        let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        let (mut streams, mut told) = (Streams::default(), Vec::new());
        let mut tell = |captured: Captured| {
            told.push(match captured.payload {
                Payload::Stream { octets, gap } => {
                    format!("{}{}", if gap { "..." } else { "" }, String::from_utf8_lossy(&octets))
                }
                Payload::End => "end".into(),
                Payload::Datagram(_) => unreachable!(),
            });
        };
        for &(sequence, starts, ends, octets) in segments {
            let octets = octets.as_bytes();
            streams.segment(
                &Segment { at: Duration::ZERO, from, to, sequence, starts, ends, octets },
                &mut tell,
            );
        }
        streams.finish(&mut tell);
        told
    }

    #[test]
    fn segments_out_of_order_twice_and_overlapping() {
        let start = u32::MAX - 3; // the numbers wrap in the middle
        let at = |octet: u32| start.wrapping_add(1).wrapping_add(octet);
        assert_eq!(
            run(&[
                (start, true, false, ""),
                (at(4), false, false, "efgh"),
                (at(0), false, false, "ab"),
                (start, true, false, ""),
                (at(0), false, false, "abcde"),
                (at(8), false, true, "ij"),
                (at(10), false, true, ""),
            ]),
            ["ab", "cde", "fgh", "ij", "end"]
        );
    }

    #[test]
    fn what_is_missing_is_a_gap_and_the_rest_is_told() {
        assert_eq!(
            run(&[(100, true, false, ""), (101, false, false, "ab"), (105, false, false, "ef")]),
            ["ab", "...ef", "end"]
        );
        assert_eq!(
            run(&[(500, false, false, "mid")]),
            ["...mid", "end"],
            "a connection older than the capture"
        );
        assert_eq!(run(&[(500, false, true, "")]), [""; 0]);
    }

    #[test]
    fn ports_that_are_used_again_are_another_stream() {
        assert_eq!(
            run(&[
                (1, true, false, ""),
                (2, false, false, "one"),
                (9_000, true, false, ""),
                (9_001, false, false, "two")
            ]),
            ["one", "end", "two", "end"]
        );
    }

    #[test]
    fn what_waits_is_bounded() {
        let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        let mut streams = Streams::default();
        let mut told = 0;
        let octets = [b'x'; 1_000];
        // The octet at 1 never comes.
        for n in 0..10_000_u32 {
            let sequence = if n == 0 { 0 } else { n * 1_000 + 2 };
            let segment = Segment {
                at: Duration::ZERO,
                from,
                to,
                sequence,
                starts: n == 0,
                ends: false,
                octets: if n == 0 { &[] } else { &octets },
            };
            streams.segment(&segment, &mut |captured| {
                if let Payload::Stream { octets, .. } = captured.payload {
                    told += octets.len();
                }
            });
        }
        assert!(told > 8_000_000, "{told}");
        assert!(streams.streams.values().all(|stream| stream.waiting <= AHEAD + COST + octets.len()));
    }
}
