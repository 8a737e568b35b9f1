//! The base values of the timers, and the intervals that follow from them (RFC 3261 §17, table 4).

use std::time::Duration;

/// Base values of all transaction timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// Estimate of the round-trip time: first retransmission interval, and a 64th of every timeout
    /// (RFC 3261 §17.1.1.1).
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and of INVITE responses (§17.1.2.2).
    pub t2: Duration,
    /// How long a message may remain in the network (§17.1.2.2).
    pub t4: Duration,
    /// How long retransmissions of a failure response to INVITE are expected over UDP: "at least 32 seconds",
    /// Timer D (§17.1.1.2).
    pub d: Duration,
    /// After this time without an answer of the application an INVITE is answered 100 (§17.2.1).
    pub trying: Duration,
}

impl Timing {
    /// RFC 3261's T1.
    pub const T1: Duration = Duration::from_millis(500);
    /// RFC 3261's T2.
    pub const T2: Duration = Duration::from_secs(4);
    /// RFC 3261's T4.
    pub const T4: Duration = Duration::from_secs(5);
    /// RFC 3261's least value of Timer D over unreliable transports.
    pub const D: Duration = Duration::from_secs(32);
    /// RFC 3261 §17.2.1: "unless it knows that the TU will generate a response within 200 ms".
    pub const TRYING: Duration = Duration::from_millis(200);

    /// The values of the RFC, with another T1: everything that is a multiple of it follows.
    #[must_use]
    pub fn with_t1(t1: Duration) -> Self {
        Self { t1, ..Self::default() }
    }

    /// 64·T1: Timers B, F, H, J, L and M.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// T1·2ⁿ, the n-th interval of Timer A (RFC 3261 §17.1.1.2).
    #[must_use]
    pub fn doubled(&self, n: u8) -> Duration {
        self.t1.saturating_mul(1u32.checked_shl(u32::from(n)).unwrap_or(u32::MAX))
    }

    /// min(T1·2ⁿ, T2), the n-th interval of Timers E and G (RFC 3261 §17.1.2.2, §17.2.1).
    #[must_use]
    pub fn capped(&self, n: u8) -> Duration {
        self.doubled(n).min(self.t2)
    }

    /// When a client's Timer E is reset to T2 for the first time, counted from the request: from then on a server
    /// must answer a non-INVITE request with 100 (RFC 4320 §4.1). 3.5 s with the RFC's values.
    #[must_use]
    pub fn trying_other(&self) -> Duration {
        let mut at = Duration::ZERO;
        for n in 0..32 {
            let interval = self.doubled(n);
            if interval >= self.t2 {
                break;
            }
            at = at.saturating_add(interval);
        }
        at
    }

    /// Every length that a transaction's timer can have; what has no place here goes to the ordered map.
    pub(crate) fn lengths(&self) -> Vec<Duration> {
        let mut all = vec![self.timeout(), self.d, self.t4, self.t2, self.trying, self.trying_other()];
        all.extend((0..7).map(|n| self.doubled(n)));
        all
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self { t1: Self::T1, t2: Self::T2, t4: Self::T4, d: Self::D, trying: Self::TRYING }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_rfc_3261_table_4() {
        let timing = Timing::default();
        assert_eq!(timing.timeout(), Duration::from_secs(32));
        let a: Vec<_> = (0..7).map(|n| timing.doubled(n).as_millis()).collect();
        assert_eq!(a, [500, 1000, 2000, 4000, 8000, 16000, 32000]);
        let e: Vec<_> = (0..6).map(|n| timing.capped(n).as_millis()).collect();
        assert_eq!(e, [500, 1000, 2000, 4000, 4000, 4000]);
        assert_eq!(timing.capped(u8::MAX), timing.t2);
    }

    #[test]
    fn rfc_4320_4_1_the_first_100_to_a_non_invite_comes_after_3_5_seconds() {
        assert_eq!(Timing::default().trying_other(), Duration::from_millis(3500));
        // A T1 of T2 or more: Timer E is at T2 from the start.
        assert_eq!(Timing::with_t1(Duration::from_secs(8)).trying_other(), Duration::ZERO);
    }
}
