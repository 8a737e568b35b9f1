//! Frames cut into packets that leave at a pace the network takes, and are kept to be sent again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::types::{Format, SendError, VideoFrame};
use crate::packet::Header;
use crate::random::Random;
use crate::retransmission::History;
use crate::video::{self, Codec, MAX_FRAME, Packetizer, h264, vp8};

/// Packets that leave at once.
const BURST: u32 = 16;
/// Time of each packet beyond: eight a millisecond, 75 Mbit/s. A key frame in one burst overflows the buffers on its way.
const PACE: Duration = Duration::from_micros(125);
/// How long the next packets wait when a burst is used up: what timers tell apart.
const STEP: Duration = Duration::from_millis(1);
/// Octets that wait to be sent, beyond which no further frame is taken: one frame of the longest, and the next.
const MAX_QUEUED: usize = MAX_FRAME;
/// Packets kept to be sent again, a second of 10 Mbit/s.
const KEPT: usize = 1024;
/// Times that one packet is sent again: a peer that asks for more multiplies what we send.
const MAX_REPETITIONS: u8 = 5;

/// A packet to send.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
}

/// What leaves next.
pub(super) enum Outgoing {
    /// A new packet.
    New(Due),
    /// The datagram of the retransmission stream, plain; or one that was sent, as it was.
    Again { datagram: Bytes, sealed: bool },
}

#[derive(Debug)]
pub(super) struct Sending {
    longest: usize,
    packetizer: Option<(Codec, bool, Packetizer)>,
    picture_id: u16,
    /// Added to the times of frames.
    base: u32,
    queue: VecDeque<Due>,
    queued: usize,
    /// Frames were left out: only a key frame is of use.
    pub(super) key_frame_needed: bool,
    // Pace.
    credit: u32,
    credited: Instant,
    // Again.
    history: History,
    repeated: Vec<Option<(u16, Instant, u8)>>,
    wanted: VecDeque<u16>,
    /// SSRC and next number of the retransmission stream (RFC 4588 §4).
    stream: (u32, u16),
    pub(super) repetitions: u64,
}

impl Sending {
    pub(super) fn new(now: Instant, longest: usize, base: u32, random: &mut Random) -> Self {
        Self {
            longest,
            packetizer: None,
            picture_id: random.next_u32() as u16,
            base,
            queue: VecDeque::new(),
            queued: 0,
            key_frame_needed: true,
            credit: BURST,
            credited: now,
            history: History::new(KEPT),
            repeated: vec![None; KEPT],
            wanted: VecDeque::new(),
            // Below 32,768 at the start, for the sake of SRTP (RFC 4568 §6.4).
            stream: (random.next_u32(), random.next_u32() as u16 & 0x7fff),
            repetitions: 0,
        }
    }

    /// Cuts a frame up and queues it.
    pub(super) fn push(&mut self, frame: &VideoFrame, format: &Format) -> Result<(), SendError> {
        if frame.codec != format.codec {
            return Err(SendError::WrongCodec { given: frame.codec, agreed: format.codec });
        }
        if frame.data.len() > MAX_FRAME {
            return Err(SendError::TooLong(frame.data.len()));
        }
        if self.key_frame_needed && !frame.key_frame {
            return Err(SendError::KeyFrameNeeded);
        }
        if self.queued > 0 && self.queued.saturating_add(frame.data.len()) > MAX_QUEUED {
            return Err(SendError::Busy);
        }
        let payloads = self.packetizer(format).packetize(&frame.data);
        if payloads.is_empty() {
            return Err(SendError::Empty);
        }
        let longest = self.longest;
        if let Some(long) = payloads.iter().find(|payload| payload.payload.len() > longest) {
            return Err(SendError::UnitTooLong { length: long.payload.len(), longest });
        }
        let timestamp = self.base.wrapping_add(frame.units());
        for video::Payload { marker, payload } in payloads {
            self.queued = self.queued.saturating_add(payload.len());
            self.queue.push_back(Due { timestamp, marker, payload });
        }
        self.key_frame_needed = false;
        Ok(())
    }

    fn packetizer(&mut self, format: &Format) -> &mut Packetizer {
        let (longest, picture_id) = (self.longest, self.picture_id);
        let made = (format.codec, format.single_units);
        if self.packetizer.is_some_and(|(codec, single, _)| (codec, single) != made) {
            self.packetizer = None;
        }
        let (.., packetizer) = self.packetizer.get_or_insert_with(|| {
            let packetizer = match made {
                (Codec::H264, false) => Packetizer::H264(h264::Packetizer::new(longest)),
                (Codec::H264, true) => Packetizer::H264(h264::Packetizer::single(longest)),
                (Codec::Vp8, _) => Packetizer::Vp8(vp8::Packetizer::new(longest, picture_id)),
            };
            (made.0, made.1, packetizer)
        });
        packetizer
    }

    /// Nothing that waits is sent any more, and what comes next has to stand for itself.
    pub(super) fn stop(&mut self) {
        self.queue.clear();
        self.queued = 0;
        self.wanted.clear();
        self.key_frame_needed = true;
    }

    /// We send under another SSRC: nobody can ask for what was sent before.
    pub(super) fn forget(&mut self) {
        self.history = History::new(KEPT);
        self.repeated = vec![None; KEPT];
        self.wanted.clear();
    }

    /// The peer misses these. What was sent again less than a round trip ago is still under way.
    pub(super) fn want(&mut self, now: Instant, missing: Vec<u16>, round_trip: Duration) {
        for number in missing {
            let Some(slot) = self.repeated.get_mut(usize::from(number) % KEPT) else { continue };
            if self.history.get(number).is_none() || self.wanted.len() >= KEPT {
                continue;
            }
            let times = match *slot {
                Some((known, at, times)) if known == number => {
                    if times >= MAX_REPETITIONS || now.saturating_duration_since(at) < round_trip {
                        continue;
                    }
                    times.saturating_add(1)
                }
                _ => 1,
            };
            *slot = Some((number, now, times));
            self.wanted.push_back(number);
        }
    }

    /// Keeps a datagram to be sent again.
    pub(super) fn keep(&mut self, datagram: &Bytes) {
        self.history.keep(datagram);
    }

    /// What may leave now.
    pub(super) fn pop(&mut self, now: Instant, format: &Format) -> Option<Outgoing> {
        if self.is_idle() {
            return None;
        }
        let gained = now.saturating_duration_since(self.credited).as_micros() / PACE.as_micros();
        if let Ok(gained @ 1..) = u32::try_from(gained) {
            self.credit = self.credit.saturating_add(gained).min(BURST);
            self.credited = now;
        }
        self.credit = self.credit.checked_sub(1)?;
        while let Some(number) = self.wanted.pop_front() {
            if let Some(datagram) = self.again(number, format) {
                self.repetitions = self.repetitions.saturating_add(1);
                return Some(datagram);
            }
        }
        let due = self.queue.pop_front()?;
        self.queued = self.queued.saturating_sub(due.payload.len());
        Some(Outgoing::New(due))
    }

    fn again(&mut self, number: u16, format: &Format) -> Option<Outgoing> {
        let Some(payload_type) = format.retransmission else {
            let datagram = self.history.get(number)?.clone();
            return Some(Outgoing::Again { datagram, sealed: true });
        };
        let (ssrc, sequence_number) = self.stream;
        let header = Header { payload_type, marker: false, sequence_number, timestamp: 0, ssrc };
        let datagram = self.history.again(number, header)?.ok()?;
        self.stream.1 = sequence_number.wrapping_add(1);
        Some(Outgoing::Again { datagram, sealed: false })
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.wanted.is_empty()
    }

    /// When the next packet may leave.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_idle()).then(|| if self.credit > 0 { self.credited } else { self.credited + STEP })
    }
}
