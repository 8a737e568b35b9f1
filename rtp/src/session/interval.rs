//! When to send RTCP (RFC 3550 §6.2, §6.3, appendix A.7).
//!
//! ```text
//!            join                      expire(now), T drawn anew
//!   (none) --------> waiting until tn ---------------------------+
//!                     ^   ^     |  tp + T > now: tn = tp + T      |
//!                     |   +-----+  (timer reconsideration)        |
//!                     |                                           |
//!                     +------------- send, tp = now, tn = now + T +
//!
//!   BYE received, members < pmembers: tn and tp move towards now (reverse reconsideration)
//! ```

use std::time::{Duration, Instant};

/// Fixed minimum between reports (RFC 3550 §6.2).
pub(crate) const MINIMUM_INTERVAL: Duration = Duration::from_secs(5);
/// e - 3/2: timer reconsideration converges below the intended bandwidth (RFC 3550 §6.3.1).
const COMPENSATION: f64 = std::f64::consts::E - 1.5;
/// Share of the RTCP bandwidth for senders while they are few (RFC 3550 §6.2).
const SENDER_SHARE: f64 = 0.25;
/// Bound of the interval: a tiny bandwidth must not overflow the clock.
const MAXIMUM_INTERVAL: Duration = Duration::from_secs(3600);
/// IPv4 and UDP headers, counted in the packet size (RFC 3550 §6.2).
const LOWER_LAYER_OCTETS: usize = 28;

/// Who takes part, we included (RFC 3550 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) members: usize,
    pub(crate) senders: usize,
    pub(crate) we_sent: bool,
}

/// The state of RFC 3550 §6.3: tp, tn, pmembers, avg_rtcp_size, initial.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    previous: Instant,
    next: Instant,
    previous_members: usize,
    average_size: f64,
    initial: bool,
    /// Octets per second for RTCP of the whole session.
    bandwidth: f64,
    minimum: Duration,
}

impl Schedule {
    /// Joins the session (RFC 3550 §6.3.2). `random` is uniform in 0..1.
    pub(crate) fn new(
        now: Instant,
        bandwidth: u32,
        minimum: Duration,
        first_size: usize,
        random: f64,
    ) -> Self {
        let mut schedule = Self {
            previous: now,
            next: now,
            previous_members: 1,
            average_size: (first_size + LOWER_LAYER_OCTETS) as f64,
            initial: true,
            bandwidth: f64::from(bandwidth.max(1)),
            minimum,
        };
        let alone = Membership { members: 1, senders: 0, we_sent: false };
        schedule.next = now + schedule.randomized(alone, random);
        schedule
    }

    /// The deterministic calculated interval Td (RFC 3550 §6.3.1) with the given minimum.
    fn deterministic_above(&self, membership: Membership, minimum: Duration) -> Duration {
        let members = membership.members.max(1) as f64;
        let senders = membership.senders as f64;
        let (count, bandwidth) = if senders <= members * SENDER_SHARE {
            if membership.we_sent {
                (senders, self.bandwidth * SENDER_SHARE)
            } else {
                (members - senders, self.bandwidth * (1.0 - SENDER_SHARE))
            }
        } else {
            (members, self.bandwidth)
        };
        let seconds = (self.average_size * count / bandwidth).clamp(0.0, MAXIMUM_INTERVAL.as_secs_f64());
        Duration::from_secs_f64(seconds).max(minimum)
    }

    /// Td for timing members out: always above the fixed minimum and never halved (RFC 3550 §6.2, §6.3.5).
    pub(crate) fn deterministic(&self, membership: Membership) -> Duration {
        self.deterministic_above(membership, MINIMUM_INTERVAL.max(self.minimum))
    }

    /// T: half to one and a half Td, compensated (RFC 3550 §6.3.1).
    fn randomized(&self, membership: Membership, random: f64) -> Duration {
        let minimum = if self.initial { self.minimum / 2 } else { self.minimum };
        let interval = self.deterministic_above(membership, minimum);
        interval.mul_f64((random.clamp(0.0, 1.0) + 0.5) / COMPENSATION)
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// A compound of this size was sent or received (RFC 3550 §6.3.3).
    pub(crate) fn account(&mut self, octets: usize) {
        self.average_size += ((octets + LOWER_LAYER_OCTETS) as f64 - self.average_size) / 16.0;
    }

    /// The timer has expired: `true` if a report is to be sent now (RFC 3550 §6.3.6).
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        membership: Membership,
        mut random: impl FnMut() -> f64,
    ) -> bool {
        self.previous_members = membership.members;
        self.next = self.previous + self.randomized(membership, random());
        if self.next > now {
            return false;
        }
        self.previous = now;
        self.initial = false;
        self.next = now + self.randomized(membership, random());
        true
    }

    /// Reverse reconsideration after a BYE or a timeout (RFC 3550 §6.3.4).
    pub(crate) fn member_left(&mut self, now: Instant, members: usize) {
        if members < self.previous_members {
            let share = members as f64 / self.previous_members as f64;
            self.next = now + self.next.saturating_duration_since(now).mul_f64(share);
            let since = now.saturating_duration_since(self.previous).mul_f64(share);
            self.previous = now.checked_sub(since).unwrap_or(now);
            self.previous_members = members;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Membership = Membership { members: 2, senders: 2, we_sent: true };

    fn seconds(duration: Duration) -> f64 {
        duration.as_secs_f64()
    }

    #[test]
    fn rfc3550_6_2_initial_interval_is_half_the_minimum_dithered_and_compensated() {
        let start = Instant::now();
        for (random, expected) in [(0.0, 2.5 * 0.5 / 1.21828), (1.0, 2.5 * 1.5 / 1.21828)] {
            let schedule = Schedule::new(start, 500, MINIMUM_INTERVAL, 100, random);
            assert!((seconds(schedule.next() - start) - expected).abs() < 1e-4);
        }
    }

    #[test]
    fn rfc3550_6_3_6_members_that_joined_meanwhile_postpone_the_report() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 500, MINIMUM_INTERVAL, 100, 0.5);
        let crowd = Membership { members: 1000, senders: 0, we_sent: false };
        let due = schedule.next();
        assert!(!schedule.expire(due, crowd, || 0.5));
        // 128 octets * 1000 / 375 octets per second, compensated.
        assert!((seconds(schedule.next() - start) - 128.0 * 1000.0 / 375.0 / 1.21828).abs() < 0.1);
    }

    #[test]
    fn rfc3550_6_3_1_after_the_first_report_the_full_minimum_holds() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 500, MINIMUM_INTERVAL, 100, 0.5);
        let due = schedule.next();
        assert!(schedule.expire(due, PAIR, || 0.5));
        assert!((seconds(schedule.next() - due) - 5.0 / 1.21828).abs() < 1e-4);
    }

    #[test]
    fn rfc3550_6_3_1_few_senders_share_a_quarter_of_the_bandwidth() {
        let schedule = Schedule::new(Instant::now(), 100, Duration::from_millis(1), 72, 0.5);
        let sender = Membership { members: 40, senders: 2, we_sent: true };
        assert!(
            (seconds(schedule.deterministic_above(sender, Duration::ZERO)) - 100.0 * 2.0 / 25.0).abs() < 1e-9
        );
        let receiver = Membership { we_sent: false, ..sender };
        assert!(
            (seconds(schedule.deterministic_above(receiver, Duration::ZERO)) - 100.0 * 38.0 / 75.0).abs()
                < 1e-9
        );
    }

    #[test]
    fn rfc3550_6_3_4_a_leaving_member_brings_the_report_forward() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 500, MINIMUM_INTERVAL, 100, 0.5);
        let due = schedule.next();
        assert!(schedule.expire(due, PAIR, || 0.5));
        let wait = schedule.next() - due;
        schedule.member_left(due, 1);
        assert!((seconds(schedule.next() - due) - seconds(wait) / 2.0).abs() < 1e-6);
    }
}
