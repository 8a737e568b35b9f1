//! Datagrams of the peer, as far as the jitter buffer: whose they are, and what their payloads hold (RFC 2198, RFC 3389).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::AudioStream;
use super::playing::Stored;
use crate::codec::redundancy;
use crate::extension::AudioLevel;
use crate::session::{Channel, Discard, Media};

/// Octets of a payload kept: 60 ms of L16 at 48 kHz and two channels; a datagram could have many more.
const MAX_PAYLOAD: usize = 11_520;
/// Octets kept of a description of silence; more coefficients than that are not used.
const MAX_NOISE: usize = 32;
/// Silence of the source heard, after which another SSRC of the peer takes over.
const SOURCE_HOLD: Duration = Duration::from_millis(60);

impl AudioStream {
    /// Takes a datagram from one of the two ports.
    ///
    /// # Errors
    /// [`Discard`] says why it was dropped; it is counted already.
    pub fn receive(
        &mut self,
        now: Instant,
        channel: Channel,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        match self.protection.open(datagram) {
            None => self.receive_plain(now, channel, from, datagram),
            Some(Ok(packet)) => {
                let received = self.receive_plain(now, channel, from, &packet);
                self.protection.give_back(packet);
                received
            }
            Some(Err(error)) => self.session.discard(Discard::Srtp(error)),
        }
    }

    fn receive_plain(
        &mut self,
        now: Instant,
        channel: Channel,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Discard> {
        match channel {
            Channel::Rtcp => self.session.receive_rtcp(now, from, datagram),
            Channel::Rtp => {
                if let Some(media) = self.session.receive_rtp(now, from, datagram)? {
                    self.receive_media(now, &media);
                }
                Ok(())
            }
        }
    }

    fn receive_media(&mut self, now: Instant, media: &Media<'_>) {
        let header = media.header;
        match self.source {
            Some((ssrc, _)) if ssrc == header.ssrc => {}
            // Two sources at once are not mixed; the one heard stays until it pauses.
            Some((_, heard)) if now.saturating_duration_since(heard) < SOURCE_HOLD => return,
            _ => {
                self.jitter.reset();
                self.behind = None;
                self.events_in.reset();
                self.incoming.reset();
                self.heard_level = None;
            }
        }
        let level = self.levels.receive.and_then(|id| AudioLevel::parse(media.elements.get(id)?));
        if let Some(level) = level {
            self.heard_level = Some(AudioLevel { voice: level.voice && self.levels.voice, ..level });
        }
        self.source = Some((header.ssrc, now));
        let (sequence, timestamp) = (header.sequence_number, header.timestamp);
        let payload_type = header.payload_type;
        if self.format.receive_telephone_event == Some(payload_type) {
            self.events_in.receive(now, timestamp, media.payload);
            self.collect_digits();
            self.jitter.insert_placeholder(now, sequence, timestamp);
        } else if self.format.receive_redundancy == Some(payload_type) {
            self.receive_redundant(now, sequence, timestamp, media.payload);
        } else {
            self.receive_payload(now, sequence, timestamp, payload_type, media.payload);
        }
    }

    /// Several payloads in one (RFC 2198): the last is new, the others were sent before.
    fn receive_redundant(&mut self, now: Instant, sequence: u16, timestamp: u32, payload: &[u8]) {
        let Ok(mut blocks) = redundancy::parse(payload) else {
            self.unknown_payloads += 1;
            self.jitter.insert_placeholder(now, sequence, timestamp);
            return;
        };
        let Some(primary) = blocks.pop() else { return };
        self.receive_payload(now, sequence, timestamp, primary.payload_type, primary.payload);
        // Each block is one packet older than the one behind it.
        for (generation, block) in (1..).zip(blocks.iter().rev()) {
            let (sequence, timestamp) =
                (sequence.wrapping_sub(generation), timestamp.wrapping_sub(block.offset));
            let Some(codec) = self.format.codec_of(block.payload_type) else { continue };
            let Some(units) = codec.duration(block.payload) else { continue };
            if codec.clock_rate() == self.jitter.clock_rate() && self.jitter.is_wanted(sequence, timestamp) {
                let stored = Stored { codec, octets: block.payload.to_vec() };
                self.jitter.insert_copy(now, sequence, timestamp, units, stored);
            }
        }
    }

    fn receive_payload(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        payload_type: u8,
        payload: &[u8],
    ) {
        if self.format.is_comfort_noise(payload_type) && !payload.is_empty() {
            let octets = payload.get(..MAX_NOISE).unwrap_or(payload).to_vec();
            self.jitter.insert_silence(now, sequence, timestamp, Stored { codec: self.heard, octets });
            return;
        }
        let codec = self.format.codec_of(payload_type).filter(|_| payload.len() <= MAX_PAYLOAD);
        let Some((codec, units)) = codec.and_then(|codec| Some((codec, codec.duration(payload)?))) else {
            self.unknown_payloads += 1;
            self.jitter.insert_placeholder(now, sequence, timestamp);
            return;
        };
        if codec.clock_rate() != self.jitter.clock_rate() {
            // Timestamps of two clocks cannot be compared: what was said before is played before.
            while let Some(stored) = self.jitter.drain() {
                self.incoming.play(&stored, 0);
            }
            self.jitter.reset_to(codec.clock_rate());
        }
        self.heard = codec;
        // The codec travels with the payload, because it may change from packet to packet.
        let stored = Stored { codec, octets: payload.to_vec() };
        self.jitter.insert(now, sequence, timestamp, units, stored);
    }
}
