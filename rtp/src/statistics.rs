//! What a session counted, both directions.

use std::time::Duration;

/// Reception, counted by us over all sources.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Received {
    /// Packets accepted, late and duplicate ones included.
    pub packets: u64,
    /// Their payload octets.
    pub octets: u64,
    /// Packets that should have come by their sequence numbers (RFC 3550 appendix A.3).
    pub expected: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Times that a source jumped to other sequence numbers.
    pub restarts: u64,
    /// Interarrival jitter (RFC 3550 appendix A.8); of several sources the largest.
    pub jitter: Duration,
}

impl Received {
    /// Packets that never came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.packets.saturating_sub(self.duplicates))
    }

    /// Share lost, 0 to 1.
    #[must_use]
    pub fn fraction_lost(&self) -> f64 {
        if self.expected == 0 { 0.0 } else { self.lost() as f64 / self.expected as f64 }
    }

    /// Adds another source.
    pub(crate) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.octets += other.octets;
        self.expected += other.expected;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.restarts += other.restarts;
        self.jitter = self.jitter.max(other.jitter);
    }
}

/// Transmission: our counters and what the peer reports of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sent {
    /// Packets sent.
    pub packets: u64,
    /// Their payload octets.
    pub octets: u64,
    /// The peer's last report on us, if any came.
    pub reported: Option<Reported>,
}

/// The last report block about our stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reported {
    /// Packets that the peer misses since the start; negative with duplicates.
    pub lost: i32,
    /// Share lost between its last two reports, 0 to 1.
    pub fraction_lost: f64,
    /// Interarrival jitter at the peer.
    pub jitter: Duration,
}

/// Round-trip time by LSR and DLSR (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    /// The last one measured.
    pub last: Duration,
    /// The shortest.
    pub minimum: Duration,
    /// The longest.
    pub maximum: Duration,
    /// All added up, for the mean.
    sum: Duration,
    /// Measurements.
    pub count: u32,
}

impl RoundTrip {
    pub(crate) fn record(&mut self, measured: Duration) {
        self.last = measured;
        self.minimum = if self.count == 0 { measured } else { self.minimum.min(measured) };
        self.maximum = self.maximum.max(measured);
        self.sum = self.sum.saturating_add(measured);
        self.count = self.count.saturating_add(1);
    }

    /// Mean of all measurements.
    #[must_use]
    pub fn mean(&self) -> Duration {
        self.sum.checked_div(self.count).unwrap_or_default()
    }
}

/// Datagrams that a session dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Not RTP or RTCP, or broken.
    pub malformed: u64,
    /// From an address that the latch does not admit.
    pub foreign: u64,
    /// Sources on probation and unconfirmed jumps (RFC 3550 appendix A.1).
    pub sequence: u64,
    /// Sources beyond the limit.
    pub sources: u64,
    /// Our own SSRC coming back (RFC 3550 §8.2).
    pub looped: u64,
    /// Not protected as was agreed: forged, in the clear, or there before (RFC 3711 §3.3).
    pub unauthentic: u64,
}

/// Everything a session counted up to one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Our transmission.
    pub sent: Sent,
    /// Our reception.
    pub received: Received,
    /// Round-trip time, if the peer's reports allow to measure it.
    pub round_trip: Option<RoundTrip>,
    /// What was dropped.
    pub discarded: Discarded,
    /// RTCP compounds sent and received.
    pub rtcp_sent: u64,
    /// RTCP compounds received and valid.
    pub rtcp_received: u64,
}
