//! NTP timestamps as RTCP carries them (RFC 3550 §4) and the clock that makes them out of [`Instant`]s.

use std::time::{Duration, Instant};

/// Seconds from the NTP era (1900) to the Unix one (1970).
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// 64-bit NTP timestamp: seconds since 1900 in the upper half, fraction in the lower (RFC 3550 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NtpTimestamp(pub u64);

impl NtpTimestamp {
    /// From the time since 1 January 1970 UTC, as `SystemTime::duration_since(UNIX_EPOCH)` gives it.
    /// Wraps in 2036 as the format does.
    #[must_use]
    pub fn from_unix(since_epoch: Duration) -> Self {
        Self(fixed_point(since_epoch).wrapping_add(UNIX_EPOCH_IN_NTP << 32))
    }

    /// How much later this is than `earlier`; `None` if it is not. Both are taken to be within 68 years of each other.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let later = self.0.wrapping_sub(earlier.0);
        let nanoseconds = (u128::from(later) * 1_000_000_000) >> 32;
        (later as i64 >= 0).then(|| Duration::from_nanos(nanoseconds as u64))
    }

    /// The middle 32 bits: 1/65536 s, the unit of LSR and DLSR (RFC 3550 §6.4.1).
    #[must_use]
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// This time and `later` more.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.wrapping_add(fixed_point(later)))
    }
}

/// Seconds and fraction as 32.32 fixed point.
fn fixed_point(duration: Duration) -> u64 {
    let fraction = (u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000;
    (duration.as_secs() << 32) | fraction
}

/// A duration in 1/65536 s, saturating at 18 hours (RFC 3550 §6.4.1, DLSR).
pub(crate) fn to_middle_units(duration: Duration) -> u32 {
    u32::try_from(fixed_point(duration) >> 16).unwrap_or(u32::MAX)
}

/// 1/65536 s as a duration.
pub(crate) fn from_middle_units(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

/// Ties the caller's monotonic clock to wall-clock time once, so that later jumps of the wall clock leave
/// round-trip times alone.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    at: Instant,
    ntp: NtpTimestamp,
}

impl WallClock {
    /// `ntp` was the wall-clock time at the instant `at`.
    #[must_use]
    pub fn new(at: Instant, ntp: NtpTimestamp) -> Self {
        Self { at, ntp }
    }

    /// Wall-clock time at `now`.
    #[must_use]
    pub fn ntp(&self, now: Instant) -> NtpTimestamp {
        self.ntp.after(now.saturating_duration_since(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3550_figure_2_middle_bits() {
        // 10 Nov 1995 11:33:25.125 UTC: ntp_sec 0xb44db705, ntp_frac 0x20000000, LSR 0xb705:2000.
        let ntp = NtpTimestamp::from_unix(Duration::from_millis(816_003_205_125));
        assert_eq!(ntp.0, 0xb44d_b705_2000_0000);
        assert_eq!(ntp.middle(), 0xb705_2000);
        assert_eq!(to_middle_units(Duration::from_millis(5250)), 0x0005_4000);
        assert_eq!(from_middle_units(0x0006_2000), Duration::from_millis(6125));
    }

    #[test]
    fn the_era_wraps_without_harm() {
        let end = NtpTimestamp(u64::MAX);
        assert!(end.after(Duration::from_secs(1)).0 < 1 << 33);
    }
}
