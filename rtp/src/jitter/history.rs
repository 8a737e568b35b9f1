//! What became of the last packets whose turn is over, for those that come behind it.

/// How a packet whose turn is over had come until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Not,
    Itself,
    /// Only inside another packet.
    Copy,
}

/// The last sequence number played or skipped, and how the 64 before it came. No number is 0, which stands for none yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    last: i64,
    /// The number up to which the bits are written. Those behind it all came, as themselves: nearly every packet does, and
    /// costs nothing but a count.
    written: i64,
    /// A bit for `written` and each number before it.
    received: u64,
    /// Of those, what only came as a copy.
    copied: u64,
}

impl History {
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// The next number is played, which came as itself. False if it is another one or did not.
    #[inline(always)]
    pub(super) fn advance(&mut self, number: i64, is_copy: bool) -> bool {
        let is_usual = number == self.last.wrapping_add(1) && !is_copy;
        if is_usual {
            self.last = number;
        }
        is_usual
    }

    /// This number is played, and those between it and the last never came.
    pub(super) fn jump(&mut self, number: i64, is_copy: bool) {
        self.write();
        self.shift(number);
        self.received |= 1;
        self.copied |= u64::from(is_copy);
        self.last = number;
    }

    /// A packet comes whose turn is over. Returns how it had come before.
    pub(super) fn receive(&mut self, number: i64) -> Received {
        self.write();
        let back = u32::try_from(self.last - number).ok();
        let bit = back.and_then(|back| 1u64.checked_shl(back)).unwrap_or(0);
        let before = if self.copied & bit != 0 {
            Received::Copy
        } else if self.received & bit != 0 {
            Received::Itself
        } else {
            Received::Not
        };
        self.received |= bit;
        self.copied &= !bit;
        before
    }

    fn write(&mut self) {
        let since = self.shift(self.last);
        self.received |= !(u64::MAX.checked_shl(since).unwrap_or(0));
    }

    /// Makes room up to this number. Returns for how many.
    fn shift(&mut self, number: i64) -> u32 {
        let by = u32::try_from(number - self.written).unwrap_or(u32::MAX);
        let shifted = |window: u64| window.checked_shl(by).unwrap_or(0);
        (self.received, self.copied) = (shifted(self.received), shifted(self.copied));
        self.written = number;
        by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_64_packets_it_is_known_how_they_came() {
        let mut history = History::default();
        history.jump(1000, false);
        assert!((1001..=1010).all(|number| history.advance(number, false)));
        assert!(!history.advance(1011, true) && !history.advance(1012, false));
        history.jump(1011, true);
        history.jump(1014, false);
        assert!(history.advance(1015, false) && history.last() == 1015);
        let came = |history: &mut History| {
            [999, 1000, 1010, 1011, 1012, 1014, 1015].map(|number| history.receive(number))
        };
        use Received::{Copy, Itself, Not};
        assert_eq!(came(&mut history), [Not, Itself, Itself, Copy, Not, Itself, Itself]);
        assert_eq!(came(&mut history), [Itself; 7]);
        history.jump(1063, false);
        assert_eq!([999, 1000, 1015, 1016].map(|number| history.receive(number)), [Not, Itself, Itself, Not]);
        history.jump(1200, false);
        assert_eq!([1063, 1199, 1200].map(|number| history.receive(number)), [Not, Not, Itself]);
    }
}
