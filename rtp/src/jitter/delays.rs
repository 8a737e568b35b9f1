//! How long packets are underway, as far as a receiver can tell, and for how long they are worth waiting for.
//!
//! All times here are in RTP timestamp units. A packet's transit is its arrival less its timestamp: the clocks of both ends
//! differ by a constant that nobody knows, so only differences between transits mean anything.

/// Packets remembered: ten seconds of 20 ms each. Longer keeps the delay of a disturbance that is over, shorter forgets
/// those that come back.
const REMEMBERED: usize = 512;
/// Bins of the histogram and their width: 128 of 2.5 ms. What is later than all of them counts in the last.
const BINS: usize = 128;
const BINS_PER_SECOND: u32 = 400;
/// Least width of a bin, at which its inverse in 2^-64 has 63 bits.
const LEAST_WIDTH: i64 = 4;
/// The bin of a transit of 0: the multiplication by the inverse is exact above zero only.
const ZERO: i64 = 1 << 38;
/// In the ring, no packet yet.
const NO_BIN: u8 = u8::MAX;
/// Packets after which the histogram is trusted alone; before, the delay to start with counts the less the more are known.
const KNOWN: usize = 64;
/// What a late packet is worth: 95 / (25.1 + loss in percent) of the E-model's scale per percent of loss, G.711 with
/// concealment (ITU-T G.113).
const LATE_WEIGHT: f64 = 95.0;
const LATE_ROBUSTNESS: f64 = 25.1;
/// What a millisecond of delay is worth on the same scale: a little more than the 0.024 of G.107 where the way is short
/// (Id, simplified).
const DELAY_WEIGHT: f64 = 0.03;
/// If more than one packet in so many is late, waiting less is never worth it.
const MOST_LATE: usize = 10;

/// The transits of the last packets as a histogram.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    /// Units per bin.
    width: i64,
    /// What makes transits positive.
    zero: i64,
    /// Bins per unit, in 2^-64: a multiplication in place of a division for each packet.
    inverse: i64,
    counts: [u16; BINS],
    /// The bins of the last packets, in a ring.
    recent: [u8; REMEMBERED],
    /// Packets noted, which tells the place of the next, and how many of them were forgotten.
    noted: u64,
    forgotten: u64,
    /// Lowest and highest bin in use; the lowest is above the highest if none is.
    lowest: i64,
    highest: i64,
}

impl Delays {
    pub(super) fn new(clock_rate: u32) -> Self {
        let width = i64::from(clock_rate / BINS_PER_SECOND).max(LEAST_WIDTH);
        Self {
            width,
            zero: ZERO * width,
            inverse: ((1i128 << 64) / i128::from(width) + 1) as i64,
            counts: [0; BINS],
            recent: [NO_BIN; REMEMBERED],
            noted: 0,
            forgotten: 0,
            lowest: 1,
            highest: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.counts = [0; BINS];
        self.recent = [NO_BIN; REMEMBERED];
        self.forgotten = self.noted;
        (self.lowest, self.highest) = (1, 0);
    }

    /// Packets noted ever.
    pub(super) fn noted(&self) -> u64 {
        self.noted
    }

    fn known(&self) -> usize {
        (self.noted - self.forgotten).min(REMEMBERED as u64) as usize
    }

    fn count(&mut self, bin: i64) -> Option<&mut u16> {
        self.counts.get_mut(bin.rem_euclid(BINS as i64) as usize)
    }

    /// The transit divided by the width, rounded down, and [`ZERO`].
    fn bin(&self, transit: i64) -> i64 {
        let above_zero = transit.wrapping_add(self.zero);
        ((i128::from(above_zero) * i128::from(self.inverse)) >> 64) as i64
    }

    /// Notes the transit of a packet.
    #[inline(always)]
    pub(super) fn note(&mut self, transit: i64) {
        let mut bin = self.bin(transit);
        if !(self.lowest..=self.highest).contains(&bin) {
            bin = self.widen(bin);
        }
        let slot = bin.rem_euclid(BINS as i64) as u8;
        let Some(place) = self.recent.get_mut(self.noted as usize % REMEMBERED) else { return };
        let leaving = std::mem::replace(place, slot);
        self.noted = self.noted.wrapping_add(1);
        if leaving != slot {
            self.exchange(leaving, slot);
        }
    }

    fn exchange(&mut self, leaving: u8, coming: u8) {
        if let Some(count) = self.counts.get_mut(usize::from(leaving)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.counts.get_mut(usize::from(coming)) {
            *count = count.saturating_add(1);
        }
    }

    /// Makes room for a bin that is not between those in use. Returns the one to count in.
    #[cold]
    fn widen(&mut self, bin: i64) -> i64 {
        let span = BINS as i64 - 1;
        if self.known() == 0 || bin < self.highest - span {
            // The first, or a way so much shorter that nothing known is of use any more.
            self.clear();
            (self.lowest, self.highest) = (bin, bin);
        }
        let bin = bin.min(self.lowest + span);
        self.lowest = self.lowest.min(bin);
        self.highest = self.highest.max(bin);
        bin
    }

    /// The shortest transit, and the one that is worth waiting for: later packets cost less than the delay that would save
    /// them. `None` if nothing is known. `first` is waited for above the shortest while little is known.
    pub(super) fn worth_waiting_for(&mut self, first: i64) -> Option<(i64, i64)> {
        let known = self.known();
        if known == 0 {
            return None;
        }
        while self.lowest < self.highest && self.count(self.lowest).is_some_and(|count| *count == 0) {
            self.lowest += 1;
        }
        while self.lowest < self.highest && self.count(self.highest).is_some_and(|count| *count == 0) {
            self.highest -= 1;
        }
        let (lowest, highest) = (self.lowest, self.highest);
        let delay = |bin: i64| DELAY_WEIGHT * 1000.0 / f64::from(BINS_PER_SECOND) * (bin - lowest) as f64;
        // Nothing comes later than the highest; each bin less makes those above it late.
        let (mut best, mut least, mut late) = (highest, delay(highest), 0);
        for bin in (lowest..highest).rev() {
            late += self.count(bin + 1).map_or(0, |count| u32::from(*count));
            if late as usize > known / MOST_LATE {
                break;
            }
            let percent = f64::from(late) * (100.0 / known as f64);
            let cost = LATE_WEIGHT * percent / (percent + LATE_ROBUSTNESS) + delay(bin);
            if cost < least {
                (best, least) = (bin, cost);
            }
        }
        let shortest = (self.lowest - ZERO) * self.width;
        let unknown = KNOWN.saturating_sub(known) as i64;
        let at_first = shortest + first * unknown / KNOWN as i64;
        Some((shortest, ((best + 1 - ZERO) * self.width).max(at_first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: i64 = 8;

    fn worth(transits: impl IntoIterator<Item = i64>) -> (i64, i64) {
        let mut delays = Delays::new(8000);
        transits.into_iter().for_each(|transit| delays.note(transit * MILLISECOND));
        let (shortest, worth) = delays.worth_waiting_for(0).unwrap();
        (shortest / MILLISECOND, worth / MILLISECOND)
    }

    #[test]
    fn packets_that_come_regularly_are_waited_for_briefly() {
        assert_eq!(worth((0..300).map(|_| -5000)), (-5000, -4997));
        assert_eq!(worth((0..300).map(|n| 100 + n % 40)), (100, 140));
    }

    #[test]
    fn a_rare_straggler_is_not_waited_for_and_a_frequent_one_is() {
        let stragglers = |every| (0..600).map(move |n| if n % every == 0 { 250 } else { 0 });
        assert_eq!(worth(stragglers(300)).1, 2);
        assert_eq!(worth(stragglers(8)).1, 252);
    }

    #[test]
    fn what_was_long_ago_is_forgotten_and_another_way_is_learned() {
        let rough_then_smooth = (0..900).map(|n| if n < 300 { n % 100 } else { 10 });
        assert_eq!(worth(rough_then_smooth), (10, 12));
        assert_eq!(worth((0..600).map(|n| if n < 300 { 5000 } else { 10 })), (10, 12));
        assert_eq!(worth((0..300).map(|n| n / 3)), (0, 100));
    }

    proptest::proptest! {
        #[test]
        fn a_bin_is_the_transit_divided_by_the_width(clock_rate in 1u32..=192_000, transit in -(1i64 << 40)..1 << 44, whole: bool) {
            let delays = Delays::new(clock_rate);
            let transit = if whole { transit / delays.width * delays.width } else { transit };
            proptest::prop_assert_eq!(delays.bin(transit) - ZERO, transit.div_euclid(delays.width));
        }

        #[test]
        fn transits_of_any_size_never_panic(clock_rate: u32, transits: Vec<i64>) {
            let mut delays = Delays::new(clock_rate);
            for transit in transits {
                delays.note(transit >> 2);
                proptest::prop_assert!(delays.worth_waiting_for(480).is_some());
            }
        }
    }

    #[test]
    fn what_comes_far_too_late_counts_in_the_last_bin() {
        assert_eq!(worth((0..300).map(|n| if n % 5 == 0 { 100_000 } else { 0 })), (0, 320));
        assert!(Delays::new(0).worth_waiting_for(0).is_none());
    }
}
