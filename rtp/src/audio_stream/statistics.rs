//! What a stream counted, and how good that sounds (ITU-T G.107).

use std::time::Duration;

use super::AudioStream;
use crate::emodel::{self, Conditions, Quality};
use crate::{jitter, statistics};

/// What a stream counted, and what the E-model makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// RTP and RTCP.
    pub session: statistics::Statistics,
    /// Playout.
    pub jitter: jitter::Statistics,
    /// Packets of a payload type that was not negotiated, or that hold what their type cannot.
    pub unknown_payloads: u64,
    /// Lost frames had from in-band FEC, and from redundant packets.
    pub recovered: u64,
    /// Samples by which audio was played longer, to wait longer for packets.
    pub stretched: u64,
    /// Samples by which it was played shorter, to wait less.
    pub squeezed: u64,
    /// Estimated quality of what we hear (ITU-T G.107). Assumes half the round-trip time as network delay.
    pub quality: Quality,
}

impl AudioStream {
    /// Counters and the estimated quality up to now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let session = self.session.statistics();
        let jitter = self.jitter.statistics();
        let network = session.round_trip.map_or(Duration::ZERO, |round_trip| round_trip.mean() / 2);
        // Late packets are as lost as lost ones, and what came another way is not lost.
        let expected = session.received.expected.max(1) as f64;
        let recovered = jitter.recovered + self.from_fec;
        let lost = (session.received.lost() + jitter.late + jitter.overflowed).saturating_sub(recovered);
        let delay = network + jitter.target + self.format.packet_duration();
        let quality = emodel::estimate(&Conditions {
            delay,
            loss: lost as f64 / expected,
            burst_ratio: 1.0,
            codec: self.heard.impairment(),
        });
        let (stretched, squeezed) = self.incoming.stretched;
        let unknown_payloads = self.unknown_payloads;
        Statistics { session, jitter, unknown_payloads, recovered, stretched, squeezed, quality }
    }
}
