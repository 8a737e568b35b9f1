//! Frames put together, and none given that cannot be decoded.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::reordering::{Next, Packet, Patience, Reordering};
use super::types::{Event, Format, VideoFrame};
use crate::ntp::NtpTimestamp;
use crate::packet::Header;
use crate::video::{CLOCK_RATE, Codec, Depacketizer, Frame, MAX_FRAME};

/// Frames that wait to be taken, two seconds of them, and their octets: who does not listen must not fill the memory.
const MAX_FRAMES: usize = 60;
const MAX_OCTETS: usize = 2 * MAX_FRAME;
/// With the other events that wait: each is told once until it is taken.
const MAX_EVENTS: usize = MAX_FRAMES + 8;
/// Silence of a source after which another one of the peer takes its place.
const SOURCE_HOLD: Duration = Duration::from_millis(500);

/// Packets kept of sources that have not shown two in sequence yet: the first frame of a stream is the key frame.
const MAX_ON_PROBATION: usize = 32;
/// Before the first number of a source others may come, so that numbers begin here.
const FIRST_CYCLE: u64 = 1 << 32;

/// A packet of a source that has to show two in sequence first (RFC 3550 appendix A.1).
#[derive(Debug)]
struct OnProbation {
    ssrc: u32,
    number: u16,
    packet: Packet,
}

/// The RTP clock of what is received, unwrapped.
#[derive(Clone, Copy, Debug)]
struct Clock {
    timestamp: u32,
    units: i64,
}

#[derive(Debug, Default)]
pub(super) struct Receiving {
    /// The source seen and when it sent last.
    source: Option<(u32, Instant)>,
    on_probation: VecDeque<OnProbation>,
    reordering: Reordering,
    depacketizer: Option<(Codec, Depacketizer)>,
    /// Nothing was heard before what comes now: a frame may have begun earlier.
    beginning: bool,
    clock: Option<Clock>,
    /// Frames cannot be decoded before the next key frame.
    blind: bool,
    /// Nobody took what waits; what comes is left out.
    stalled: bool,
    /// Ask for a key frame then.
    pub(super) ask: Option<Instant>,
    events: VecDeque<Event>,
    frames: usize,
    octets: usize,
    pub(super) received: u64,
    pub(super) key_frames: u64,
    pub(super) damaged: u64,
    pub(super) skipped: u64,
}

impl Receiving {
    pub(super) fn new() -> Self {
        Self { blind: true, beginning: true, ..Self::default() }
    }

    pub(super) fn source(&self) -> Option<u32> {
        self.source.map(|(ssrc, _)| ssrc)
    }

    /// How long it takes from asking for a packet to having it.
    pub(super) fn answer(&self) -> Option<Duration> {
        self.reordering.answer
    }

    pub(super) fn mended(&self) -> u64 {
        self.reordering.mended
    }

    pub(super) fn lost(&self) -> u64 {
        self.reordering.lost
    }

    /// What comes next is a beginning: after a hold, or of another source. What was given already stays.
    pub(super) fn begin(&mut self) {
        self.reordering.clear();
        self.depacketizer = None;
        self.on_probation.clear();
        self.source = None;
        self.clock = None;
        self.beginning = true;
        self.blind = true;
        self.ask = None;
    }

    /// The packet of a source that is not valid yet: the next one may make it so.
    pub(super) fn probation(&mut self, header: &Header, payload: &[u8]) {
        let packet = packet_of(header, payload);
        if self.on_probation.len() == MAX_ON_PROBATION {
            self.on_probation.pop_front();
        }
        self.on_probation.push_back(OnProbation {
            ssrc: header.ssrc,
            number: header.sequence_number,
            packet,
        });
    }

    /// A packet of the peer's stream. It is left out while another source is being seen.
    pub(super) fn receive(&mut self, now: Instant, number: u64, header: &Header, payload: &[u8]) {
        match self.source {
            Some((ssrc, _)) if ssrc == header.ssrc => {}
            Some((_, heard)) if now.saturating_duration_since(heard) < SOURCE_HOLD => return,
            None => {}
            Some(_) => {
                let on_probation = std::mem::take(&mut self.on_probation);
                self.begin();
                self.on_probation = on_probation;
            }
        }
        self.source = Some((header.ssrc, now));
        let number = number.wrapping_add(FIRST_CYCLE);
        for first in std::mem::take(&mut self.on_probation) {
            let ahead = i64::from(first.number.wrapping_sub(header.sequence_number) as i16);
            if first.ssrc == header.ssrc && ahead.unsigned_abs() <= MAX_ON_PROBATION as u64 {
                self.reordering.insert(now, number.wrapping_add_signed(ahead), first.packet);
            }
        }
        self.reordering.insert(now, number, packet_of(header, payload));
    }

    /// A packet that was sent again.
    pub(super) fn mend(&mut self, now: Instant, header: &Header, payload: &[u8]) {
        self.reordering.mend(now, header.sequence_number, packet_of(header, payload));
    }

    /// Another source may be seen at once: this one has left.
    pub(super) fn left(&mut self, ssrc: u32) {
        if self.source() == Some(ssrc) {
            self.begin();
        }
    }

    /// Takes what is in order, or no longer waited for. `wall_clock` tells when a source took the picture of a timestamp.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        patience: Patience,
        format: &Format,
        wall_clock: impl Fn(u32, u32) -> Option<NtpTimestamp>,
    ) {
        while let Some(next) = self.reordering.pop(now, patience) {
            match next {
                Next::Packet(number, packet) => {
                    let Some((codec, frames)) = self.put_together(number as u16, &packet, format) else {
                        continue;
                    };
                    for frame in frames {
                        let captured = self.source().and_then(|ssrc| wall_clock(ssrc, frame.timestamp));
                        self.judge(now, codec, frame, captured);
                    }
                }
                Next::Restart => {
                    self.depacketizer = None;
                    self.clock = None;
                    self.beginning = true;
                    self.lose(now);
                }
            }
        }
    }

    /// The frames that a packet completes.
    fn put_together(&mut self, number: u16, packet: &Packet, format: &Format) -> Option<(Codec, Vec<Frame>)> {
        let Some(codec) = format.codec_of(packet.payload_type).filter(|_| !packet.payload.is_empty()) else {
            // Padding, or another format: no picture, and nothing is lost by it.
            if let Some((_, depacketizer)) = &mut self.depacketizer {
                depacketizer.skip(number);
            }
            return None;
        };
        if self.depacketizer.as_ref().is_none_or(|(known, _)| *known != codec) {
            self.depacketizer = Some((codec, Depacketizer::new(codec)));
            self.blind = true;
        }
        let (_, depacketizer) = self.depacketizer.as_mut()?;
        Some((codec, depacketizer.push(number, packet.timestamp, packet.marker, &packet.payload)))
    }

    /// Only what can be decoded is given.
    fn judge(&mut self, now: Instant, codec: Codec, frame: Frame, captured: Option<NtpTimestamp>) {
        let begins = !std::mem::take(&mut self.beginning) || codec.shows_its_beginning(&frame.data);
        if frame.damaged || !begins {
            self.damaged += 1;
            return self.lose(now);
        }
        if self.blind && !frame.key_frame || self.stalled {
            self.skipped += 1;
            self.ask.get_or_insert(now);
            return;
        }
        if self.frames >= MAX_FRAMES || self.octets.saturating_add(frame.data.len()) > MAX_OCTETS {
            self.skipped += 1;
            self.stalled = true;
            return self.lose(now);
        }
        self.blind = false;
        self.ask = None;
        self.received += 1;
        self.key_frames += u64::from(frame.key_frame);
        self.frames += 1;
        self.octets = self.octets.saturating_add(frame.data.len());
        let (time, data) = (self.time(frame.timestamp), Bytes::from(frame.data));
        let frame = VideoFrame { codec, time, key_frame: frame.key_frame, captured, data };
        self.events.push_back(Event::Frame(frame));
    }

    /// Time since the first frame.
    fn time(&mut self, timestamp: u32) -> Duration {
        let clock = self.clock.get_or_insert(Clock { timestamp, units: 0 });
        let forward = i64::from(timestamp.wrapping_sub(clock.timestamp) as i32);
        clock.units = clock.units.saturating_add(forward);
        clock.timestamp = timestamp;
        let units = u64::try_from(clock.units).unwrap_or(0);
        let rate = u64::from(CLOCK_RATE);
        let rest = (units % rate).saturating_mul(1_000_000_000) / rate;
        Duration::from_secs(units / rate).saturating_add(Duration::from_nanos(rest))
    }

    /// Pictures stand still until a key frame comes, which is asked for.
    fn lose(&mut self, now: Instant) {
        self.ask.get_or_insert(now);
        if !std::mem::replace(&mut self.blind, true) || self.stalled {
            self.tell(Event::Lost);
        }
    }

    pub(super) fn ask_at(&mut self, now: Instant) {
        self.ask = Some(now);
    }

    /// Whether a key frame is to be asked for now; then again only after `again`. Nobody asks for what nobody takes.
    pub(super) fn asks(&mut self, now: Instant, again: Duration) -> bool {
        let due = !self.stalled && self.source.is_some() && self.ask.is_some_and(|at| at <= now);
        if due {
            self.ask = self.blind.then(|| now + again);
        }
        due
    }

    /// Puts an event in line, unless the same waits already.
    pub(super) fn tell(&mut self, event: Event) {
        if matches!(event, Event::BitRateLimit(_)) {
            self.events.retain(|waiting| !matches!(waiting, Event::BitRateLimit(_)));
        }
        if self.events.len() < MAX_EVENTS && !self.events.contains(&event) {
            self.events.push_back(event);
        }
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        match &event {
            Some(Event::Frame(frame)) => {
                self.frames = self.frames.saturating_sub(1);
                self.octets = self.octets.saturating_sub(frame.data.len());
            }
            None => self.stalled = false,
            Some(_) => {}
        }
        event
    }

    pub(super) fn take_due(&mut self, now: Instant, patience: Patience) -> Vec<u16> {
        self.reordering.take_due(now, patience)
    }

    pub(super) fn poll_timeout(&self, patience: Patience) -> Option<Instant> {
        let ask = self.ask.filter(|_| !self.stalled && self.source.is_some());
        ask.into_iter().chain(self.reordering.poll_timeout(patience)).min()
    }
}

fn packet_of(header: &Header, payload: &[u8]) -> Packet {
    let Header { payload_type, marker, timestamp, .. } = *header;
    Packet { payload_type, marker, timestamp, payload: Bytes::copy_from_slice(payload) }
}
