//! A stream that goes on under one SSRC while its source changes (RFC 3550 §7.2, as a mixer does it without mixing).

use std::time::{Duration, Instant};

use super::Dropped;
use crate::packet::Header;

/// Silence of the source heard, after which another one takes its place.
const SOURCE_HOLD: Duration = Duration::from_millis(100);

/// What the stream towards a party is made of. All of it but the payload types must be unpredictable (RFC 3550 §5.1) and comes
/// from the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The synchronization source that the party hears.
    pub ssrc: u32,
    /// Its first sequence number.
    pub sequence_number: u16,
    /// Its first timestamp.
    pub timestamp: u32,
    /// Timestamp units a second.
    pub clock_rate: u32,
    /// Payload types of the other party and what they are called here; others stay.
    pub payload_types: Vec<(u8, u8)>,
}

/// The source that is heard now, and by how much its numbers differ.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    sequence_offset: u16,
    timestamp_offset: u32,
    heard: Instant,
}

/// The state of one rewritten stream.
#[derive(Clone, Debug)]
pub(super) struct Rewriter {
    rewrite: Rewrite,
    source: Option<Source>,
    /// The newest that went out: sequence number, timestamp.
    newest: (u16, u32),
}

impl Rewriter {
    pub(super) fn new(rewrite: Rewrite) -> Self {
        let newest = (rewrite.sequence_number.wrapping_sub(1), rewrite.timestamp);
        Self { rewrite, source: None, newest }
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.rewrite.ssrc
    }

    /// The SSRC that the party's words about our stream mean.
    pub(super) fn original_ssrc(&self, ssrc: u32) -> u32 {
        match self.source {
            Some(source) if ssrc == self.rewrite.ssrc => source.ssrc,
            _ => ssrc,
        }
    }

    /// Differences of sequence numbers and timestamps: what goes out less what came in.
    pub(super) fn offsets(&self) -> (u16, u32) {
        self.source.map_or((0, 0), |source| (source.sequence_offset, source.timestamp_offset))
    }

    /// Writes the header anew, in place.
    pub(super) fn rewrite(
        &mut self,
        now: Instant,
        header: Header,
        datagram: &mut [u8],
    ) -> Result<(), Dropped> {
        let source = self.source(now, header)?;
        let sequence_number = header.sequence_number.wrapping_add(source.sequence_offset);
        let timestamp = header.timestamp.wrapping_add(source.timestamp_offset);
        if sequence_number.wrapping_sub(self.newest.0) as i16 > 0 {
            self.newest = (sequence_number, timestamp);
        }
        let known = self.rewrite.payload_types.iter().find(|(theirs, _)| *theirs == header.payload_type);
        let payload_type = known.map_or(header.payload_type, |(_, ours)| *ours) & 0x7f;
        if let Some([_, second, numbers @ ..]) = datagram.first_chunk_mut::<12>() {
            *second = *second & 0x80 | payload_type;
            let [s0, s1] = sequence_number.to_be_bytes();
            let [t0, t1, t2, t3] = timestamp.to_be_bytes();
            let [c0, c1, c2, c3] = self.rewrite.ssrc.to_be_bytes();
            *numbers = [s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
        }
        Ok(())
    }

    fn source(&mut self, now: Instant, header: Header) -> Result<Source, Dropped> {
        let next = match self.source {
            Some(source) if source.ssrc == header.ssrc => Source { heard: now, ..source },
            Some(source) if now.saturating_duration_since(source.heard) < SOURCE_HOLD => {
                return Err(Dropped::OtherSource { ssrc: header.ssrc });
            }
            before => {
                // The next number, and a timestamp as much later as it is.
                let silence =
                    before.map_or(Duration::ZERO, |source| now.saturating_duration_since(source.heard));
                let units = silence.as_millis().wrapping_mul(u128::from(self.rewrite.clock_rate)) / 1000;
                let (sequence_number, timestamp) = self.newest;
                Source {
                    ssrc: header.ssrc,
                    sequence_offset: sequence_number.wrapping_add(1).wrapping_sub(header.sequence_number),
                    timestamp_offset: timestamp.wrapping_add(units as u32).wrapping_sub(header.timestamp),
                    heard: now,
                }
            }
        };
        self.source = Some(next);
        Ok(next)
    }
}
