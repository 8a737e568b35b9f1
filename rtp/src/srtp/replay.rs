//! Which packet of a source this is, and whether it came before (RFC 3711 §3.3.1, §3.3.2, appendix A).

use super::Error;

/// Packets behind the newest that are still taken, each once. RFC 3711 §3.3.2 asks for 64 at least; what comes later than
/// this is of no use to a playout of 20 ms frames. It keeps a recorded packet from being played a second time.
pub const REPLAY_WINDOW: u64 = 128;

/// Numbers of an RTP stream: roll-over counter and sequence number have 48 bits together.
const INDEX_END: u64 = 1 << 48;

/// The newest index and which of those right behind it were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplayWindow {
    newest: u64,
    /// Bit n stands for `newest - n`.
    seen: u128,
}

impl ReplayWindow {
    pub(super) fn starting_with(index: u64) -> Self {
        Self { newest: index, seen: 1 }
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether a packet of this index would be new; the window does not move before the packet is authenticated.
    pub(super) fn check(&self, index: u64) -> Result<(), Error> {
        match self.newest.checked_sub(index) {
            None => Ok(()),
            Some(behind) if behind >= REPLAY_WINDOW => Err(Error::TooOld { index, newest: self.newest }),
            Some(behind) if (self.seen >> behind) & 1 == 1 => Err(Error::Replayed { index }),
            Some(_) => Ok(()),
        }
    }

    /// Notes an authenticated packet.
    pub(super) fn note(&mut self, index: u64) {
        match index.checked_sub(self.newest) {
            Some(ahead) => {
                // A shift by the width or more leaves nothing of the old window.
                self.seen =
                    u32::try_from(ahead).ok().and_then(|ahead| self.seen.checked_shl(ahead)).unwrap_or(0) | 1;
                self.newest = index;
            }
            None => {
                let behind = self.newest.saturating_sub(index);
                if behind < REPLAY_WINDOW {
                    self.seen |= 1 << behind;
                }
            }
        }
    }

    /// The 48-bit index that is closest to the newest one and has this sequence number (RFC 3711 appendix A).
    ///
    /// # Errors
    /// [`Error::TooOld`] for a packet from before the first roll-over counter, [`Error::KeyExhausted`] after the last.
    pub(super) fn estimate(&self, sequence_number: u16) -> Result<u64, Error> {
        let (counter, newest) = (self.newest >> 16, self.newest & 0xffff);
        let sequence = u64::from(sequence_number);
        let counter = if newest < 0x8000 {
            // Far above the newest: from before the last wrap.
            if sequence > newest + 0x8000 { counter.checked_sub(1) } else { Some(counter) }
        } else if newest - 0x8000 > sequence {
            counter.checked_add(1)
        } else {
            Some(counter)
        };
        let Some(counter) = counter else {
            return Err(Error::TooOld { index: sequence, newest: self.newest });
        };
        let index = (counter << 16) | sequence;
        if index < INDEX_END { Ok(index) } else { Err(Error::KeyExhausted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc3711_appendix_a_the_counter_follows_over_wraps_and_late_packets_stay_before_them() {
        let at = |newest| ReplayWindow::starting_with(newest);
        assert_eq!(at(0xffff).estimate(0), Ok(0x1_0000));
        assert_eq!(at(0x1_0000).estimate(0xffff), Ok(0xffff));
        assert_eq!(at(0xfff0).estimate(0x7fef), Ok(0x1_7fef));
        assert_eq!(at(0xfff0).estimate(0x7ff0), Ok(0x7ff0));
        assert_eq!(at(0x1_0005).estimate(0x8005), Ok(0x1_8005));
        assert_eq!(at(0x1_0005).estimate(0x8006), Ok(0x8006));
    }

    #[test]
    fn rfc3711_3_3_1_there_is_nothing_before_the_first_counter_and_nothing_after_the_last() {
        let first = ReplayWindow::starting_with(5);
        assert_eq!(first.estimate(0xffff), Err(Error::TooOld { index: 0xffff, newest: 5 }));
        let last = ReplayWindow::starting_with(INDEX_END - 1);
        assert_eq!(last.estimate(0xfffe), Ok(INDEX_END - 2));
        assert_eq!(last.estimate(0), Err(Error::KeyExhausted));
    }

    proptest! {
        /// A set of all indexes is the model; loss and reordering stay below half the sequence space.
        #[test]
        fn the_window_takes_each_index_once_and_knows_its_counter(
            first in 0u64..0x2_0000, steps in proptest::collection::vec(-140i64..2000, 1..200)) {
            let first = first + 200;
            let mut window = ReplayWindow::starting_with(first);
            let mut seen = std::collections::HashSet::from([first]);
            for step in steps {
                let newest = window.newest();
                let index = newest.saturating_add_signed(step);
                prop_assert_eq!(window.estimate(index as u16), Ok(index));
                let expected = if newest >= index && newest - index >= REPLAY_WINDOW {
                    Err(Error::TooOld { index, newest })
                } else if seen.contains(&index) {
                    Err(Error::Replayed { index })
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(index), expected);
                if expected.is_ok() {
                    window.note(index);
                    seen.insert(index);
                    prop_assert_eq!(window.newest(), newest.max(index));
                }
            }
        }
    }
}
