//! What a session needs to know beforehand.

use std::time::Duration;

use super::MINIMUM_INTERVAL;
use crate::ntp::NtpTimestamp;
use crate::rtcp::extended::Wanted;

/// Sources of one peer: a phone has one, after a transfer two for a while, a bridge a few. Each costs 300 octets,
/// and fewer than 50 members lets a BYE go out at once (RFC 3550 §6.3.7).
const MAX_SOURCES: usize = 16;
/// The largest limit of sources that keeps the BYE rule above.
const MAX_SOURCES_LIMIT: usize = 48;
/// How long after signalling a peer behind a NAT may show its real address: longer than a slow answer, shorter
/// than most calls, so that the port of a running call is closed to strangers.
pub(crate) const LATCH_WINDOW: Duration = Duration::from_secs(30);
/// 5 % of 80 kbit/s, G.711 with its headers, in octets per second (RFC 3550 §6.2).
const RTCP_BANDWIDTH: u32 = 500;
/// SDES values have at most 255 octets (RFC 3550 §6.5).
const MAX_CNAME: usize = 255;

/// Configuration of a [`Session`](super::Session).
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) seed: [u8; 32],
    pub(super) cname: String,
    pub(super) wall_clock: NtpTimestamp,
    pub(super) max_sources: usize,
    /// Timestamp units per second (RFC 3551 §6). Default 8000.
    pub clock_rate: u32,
    /// RTP and RTCP share one port (RFC 5761). Default off.
    pub multiplexed: bool,
    /// Octets per second for RTCP of all members (RFC 3550 §6.2). Default 500.
    pub rtcp_bandwidth: u32,
    /// Minimum between reports (RFC 3550 §6.2); the RFC allows less than its default 5 s above 72 kbit/s.
    pub rtcp_minimum_interval: Duration,
    /// The profile is RTP/AVPF or RTP/SAVPF: feedback may be sent (RFC 4585). Default off; what comes is always understood.
    pub feedback: bool,
    /// RTCP of reduced size was agreed, `a=rtcp-rsize` (RFC 5506 §5): feedback goes and comes without a report. Default off.
    pub reduced_size: bool,
    /// Extended reports that go with the reports, as the peer wants them by `a=rtcp-xr` (RFC 3611 §5). Default none; what comes
    /// is always understood. [`Session::set_extended_reports`](super::Session::set_extended_reports) changes it.
    pub extended_reports: Wanted,
    /// How long after [`set_remote`](super::Session::set_remote) an address other than the signalled one may be
    /// learned; `None` hears the signalled one only. Default 30 s.
    pub latch_window: Option<Duration>,
    /// Hear a peer that sends our own packets back: an echo service. RFC 3550 §8.2 calls that a loop and drops it,
    /// for the sake of conferences; between two ends it would make a working echo silent. Default on.
    pub hear_reflections: bool,
}

impl Config {
    /// `seed` from a good random source and new for every session; `cname` like `user@host` or random
    /// (RFC 7022), cut at 255 octets; `wall_clock` the wall-clock time now.
    #[must_use]
    pub fn new(seed: [u8; 32], cname: &str, wall_clock: NtpTimestamp) -> Self {
        let mut cname = cname.to_owned();
        while cname.len() > MAX_CNAME {
            cname.pop();
        }
        Self {
            seed,
            cname,
            wall_clock,
            max_sources: MAX_SOURCES,
            clock_rate: 8000,
            multiplexed: false,
            rtcp_bandwidth: RTCP_BANDWIDTH,
            rtcp_minimum_interval: MINIMUM_INTERVAL,
            feedback: false,
            reduced_size: false,
            extended_reports: Wanted::NONE,
            latch_window: Some(LATCH_WINDOW),
            hear_reflections: true,
        }
    }

    /// A number from the seed that tells nothing of what the session draws from it.
    pub(crate) fn noise_seed(&self) -> u64 {
        self.seed.iter().fold(0, |sum, octet| sum.rotate_left(7) ^ u64::from(*octet))
    }

    /// Remote sources kept at once, 1 to 48. Default 16.
    #[must_use]
    pub fn max_sources(mut self, limit: usize) -> Self {
        self.max_sources = limit.clamp(1, MAX_SOURCES_LIMIT);
        self
    }
}
