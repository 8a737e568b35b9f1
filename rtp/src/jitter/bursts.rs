//! Losses in bursts and between them (RFC 3611 §4.7.2), counted as its appendix A.2 counts them.

use std::time::Duration;

/// Gmin: so many packets in sequence that came end a burst (RFC 3611 §4.7.2).
const GAP_THRESHOLD: u64 = 16;

/// How what was lost, or came too late, lies in the stream (RFC 3611 §4.7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BurstMetrics {
    /// Share lost within bursts, 0 to 1.
    pub burst_density: f64,
    /// Share lost outside of them.
    pub gap_density: f64,
    /// Mean length of a burst; 0 if there was none.
    pub burst_duration: Duration,
    /// Mean length of what lies between; the whole stream if there was no burst.
    pub gap_duration: Duration,
}

/// The counters of appendix A.2, by their names there. Only losses touch them: what came between is told by the sequence numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bursts {
    c11: u64,
    c13: u64,
    c14: u64,
    c22: u64,
    c23: u64,
    c33: u64,
    /// Lost in the burst under way, an isolated loss being one of length 1.
    lost: u64,
    /// The sequence number behind the last loss, or the first of the stream.
    behind: Option<i64>,
    /// Packets since the last loss from streams that are over.
    carried: u64,
}

impl Bursts {
    /// `number` is played or skipped, and `last` was before it; 0 if none was. Only for steps other than by one.
    #[cold]
    pub(super) fn step(&mut self, last: i64, number: i64) {
        let Some(behind) = self.behind.filter(|_| last != 0) else {
            self.behind = Some(number);
            return;
        };
        let Ok(count @ 1..) = u64::try_from(number - last - 1) else { return };
        self.since(last, behind);
        self.behind = Some(number);
        self.lose();
        // The rest of the run follows it at once.
        self.lost += count - 1;
        self.c33 += count - 1;
    }

    /// The stream whose last number this is is over.
    pub(super) fn end(&mut self, last: i64) {
        if let Some(behind) = self.behind.take() {
            self.since(last, behind);
        }
    }

    fn since(&mut self, last: i64, behind: i64) {
        self.carried += u64::try_from(last + 1 - behind).unwrap_or(0);
    }

    fn lose(&mut self) {
        let packets = std::mem::take(&mut self.carried);
        if packets >= GAP_THRESHOLD || self.lost == 0 {
            self.close_run();
            self.lost = 1;
            self.c11 += packets;
        } else {
            self.lost += 1;
            if packets == 0 {
                self.c33 += 1;
            } else {
                self.c23 += 1;
                self.c22 += packets - 1;
            }
        }
    }

    /// What was lost last was one isolated packet, or a burst.
    fn close_run(&mut self) {
        match self.lost {
            0 => {}
            1 => self.c14 += 1,
            _ => self.c13 += 1,
        }
    }

    /// What is known up to this number, in packets of this duration.
    pub(super) fn metrics(&self, last: i64, packet: Duration) -> BurstMetrics {
        let mut all = *self;
        all.end(last);
        all.close_run();
        all.c11 += all.carried;
        let [c11, c13, c14, c22, c23, c33] =
            [all.c11, all.c13, all.c14, all.c22, all.c23, all.c33].map(|count| count as f64);
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let duration = |packets: f64| packet.mul_f64(packets.clamp(0.0, 1e9));
        let (c31, c32, gaps) = (c13, c23, c11 + c14 + c13);
        let gap_density = share(c14, c11 + c14);
        if c13 == 0.0 {
            return BurstMetrics {
                gap_density,
                gap_duration: duration(c11 + c14),
                ..BurstMetrics::default()
            };
        }
        let p32 = share(c32, c31 + c32 + c33);
        let p23 = if c22 + c23 < 1.0 { 1.0 } else { 1.0 - c22 / (c22 + c23) };
        let total = gaps + c22 + c23 + c31 + c32 + c33;
        BurstMetrics {
            burst_density: share(p23, p23 + p32),
            gap_density,
            burst_duration: duration((total - gaps) / c13),
            gap_duration: duration(gaps / c13),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of this many packets those in `lost` did not come.
    fn metrics(packets: i64, lost: impl Fn(i64) -> bool) -> BurstMetrics {
        let (mut bursts, mut last) = (Bursts::default(), 0);
        for number in (1..=packets).filter(|number| !lost(*number)) {
            if number != last + 1 || last == 0 {
                bursts.step(last, number);
            }
            last = number;
        }
        bursts.metrics(last, Duration::from_millis(20))
    }

    #[test]
    fn rfc3611_4_7_2_isolated_losses_make_a_gap_and_no_burst() {
        let heard = metrics(1000, |number| number % 20 == 0 && number < 1000);
        assert_eq!((heard.burst_density, heard.burst_duration), (0.0, Duration::ZERO));
        assert!((heard.gap_density - 0.049).abs() < 0.001, "{heard:?}");
        assert_eq!(heard.gap_duration, Duration::from_secs(20));
        assert_eq!(metrics(1000, |_| false).gap_duration, Duration::from_secs(20));
        assert_eq!(metrics(0, |_| false), BurstMetrics::default());
    }

    /// Ten packets, of which every second is lost, in each 200.
    #[test]
    fn rfc3611_a_2_a_burst_ends_with_sixteen_packets_that_came() {
        let heard = metrics(2000, |number| (100..110).contains(&(number % 200)) && number % 2 == 0);
        assert!((0.45..=0.6).contains(&heard.burst_density), "{heard:?}");
        assert_eq!(heard.gap_density, 0.0);
        assert!((heard.burst_duration.as_millis() as i64 - 180).abs() <= 20, "{heard:?}");
        assert!((heard.gap_duration.as_millis() as i64 - 3820).abs() <= 60, "{heard:?}");
        let runs = metrics(2000, |number| (100..105).contains(&(number % 200)));
        assert_eq!(runs.burst_density, 1.0);
        assert!((runs.burst_duration.as_millis() as i64 - 100).abs() <= 20, "{runs:?}");
    }
}
