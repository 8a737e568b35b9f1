//! What the peer is told of how it sounds here (RFC 3611 §4.7).

use std::time::Duration;

use super::AudioStream;
use crate::emodel::{self, Conditions};
use crate::rtcp::extended::{
    CONCEALMENT_ENHANCED, JITTER_BUFFER_ADAPTIVE, UNAVAILABLE, VoipMetrics, Wanted, milliseconds, share,
};

/// Gmin, as [`jitter::BurstMetrics`](crate::jitter::BurstMetrics) counts.
const GAP_THRESHOLD: u8 = 16;

impl AudioStream {
    /// Which extended reports the peer wants, as it was agreed by `a=rtcp-xr` (RFC 3611 §5.2): from now on they go with the
    /// reports, the last one with the BYE.
    pub fn set_extended_reports(&mut self, wanted: Wanted) {
        self.session.set_extended_reports(wanted);
    }

    /// What the call sounds like here, from its beginning on (RFC 3611 §4.7); `None` before anything was heard.
    #[must_use]
    pub fn voip_metrics(&self) -> Option<VoipMetrics> {
        let ssrc = self.heard_source()?;
        let statistics = self.statistics();
        let (received, buffer) = (&statistics.session.received, &statistics.jitter);
        let late = buffer.late + buffer.overflowed;
        let discarded = late as f64 / received.expected.max(1) as f64;
        let lost = received.fraction_lost();
        let listening = emodel::estimate(&Conditions {
            loss: (lost + discarded).min(1.0),
            codec: self.heard.impairment(),
            ..Conditions::default()
        });
        let bursts = self.jitter.bursts();
        let tenths = |mos: f64| (mos * 10.0).round().clamp(10.0, 50.0) as u8;
        let round_trip = statistics.session.round_trip.map_or(Duration::ZERO, |measured| measured.last);
        Some(VoipMetrics {
            ssrc,
            loss_rate: share(lost),
            discard_rate: share(discarded),
            burst_density: share(bursts.burst_density),
            gap_density: share(bursts.gap_density),
            burst_duration: milliseconds(bursts.burst_duration),
            gap_duration: milliseconds(bursts.gap_duration),
            round_trip_delay: milliseconds(round_trip),
            end_system_delay: milliseconds(buffer.target + self.format.packet_duration()),
            // Neither levels nor echoes are measured.
            signal_level: UNAVAILABLE as i8,
            noise_level: UNAVAILABLE as i8,
            residual_echo_return_loss: UNAVAILABLE,
            gap_threshold: GAP_THRESHOLD,
            r_factor: statistics.quality.r_factor.round().clamp(0.0, 100.0) as u8,
            external_r_factor: UNAVAILABLE,
            mos_listening: tenths(listening.mos),
            mos_conversational: tenths(statistics.quality.mos),
            receiver_configuration: CONCEALMENT_ENHANCED | JITTER_BUFFER_ADAPTIVE,
            jitter_buffer_nominal: milliseconds(buffer.target),
            jitter_buffer_maximum: milliseconds(buffer.target.max(buffer.delay)),
            jitter_buffer_absolute_maximum: milliseconds(self.jitter.maximum()),
        })
    }

    /// The report that is about to go has the metrics of now.
    pub(super) fn tell_metrics(&mut self) {
        if self.session.extended_reports().voip_metrics
            && let Some(metrics) = self.voip_metrics()
        {
            self.session.set_voip_metrics(metrics);
        }
    }
}
