//! Which nonce counts were seen (RFC 7616 §3.4): a bounded table that forgets safely.

use std::collections::BTreeMap;

use crate::nonce::NonceId;

/// Counts below the highest one seen that are still told apart: requests overtake each other over UDP.
const WINDOW: u32 = 64;

#[derive(Clone, Copy, Debug)]
struct Seen {
    highest: u32,
    /// Bit n: `highest - n` was seen.
    below: u64,
}

/// The counts seen, by nonce, oldest nonce first. Only verified requests get in, so only users can fill it.
#[derive(Clone, Debug)]
pub(crate) struct NonceCounts {
    seen: BTreeMap<NonceId, Seen>,
    capacity: usize,
    /// Nonces made at or before this time that are not in the table may have been forgotten: they are not taken.
    forgotten: Option<u64>,
}

impl NonceCounts {
    pub(crate) fn new(capacity: usize) -> Self {
        NonceCounts { seen: BTreeMap::new(), capacity: capacity.max(1), forgotten: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether `count` is new for the nonce, and remembers it.
    pub(crate) fn accept(&mut self, nonce: NonceId, count: u32) -> bool {
        if let Some(seen) = self.seen.get_mut(&nonce) {
            return seen.accept(count);
        }
        if self.forgotten.is_some_and(|forgotten| nonce.made <= forgotten) {
            return false;
        }
        self.seen.insert(nonce, Seen { highest: count, below: 1 });
        while self.seen.len() > self.capacity {
            self.forget_oldest();
        }
        true
    }

    /// Drops what was made before `time`: such nonces are refused for their age.
    pub(crate) fn drop_before(&mut self, time: u64) {
        while self.seen.first_key_value().is_some_and(|(nonce, _)| nonce.made < time) {
            self.seen.pop_first();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((nonce, _)) = self.seen.pop_first() {
            self.forgotten = self.forgotten.max(Some(nonce.made));
        }
    }
}

impl Seen {
    fn accept(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count.saturating_sub(self.highest);
            self.below = self.below.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest.saturating_sub(count);
        let bit = if behind < WINDOW { 1_u64 << behind } else { return false };
        let new = self.below & bit == 0;
        self.below |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(made: u64) -> NonceId {
        NonceId { made, number: 0 }
    }

    #[test]
    fn each_count_is_taken_once_in_any_order_within_the_window() {
        let mut counts = NonceCounts::new(10);
        for count in [1, 3, 2, 100, 99, 37] {
            assert!(counts.accept(nonce(5), count), "{count}");
            assert!(!counts.accept(nonce(5), count), "{count} again");
        }
        assert!(!counts.accept(nonce(5), 36), "too far behind to tell");
        assert!(counts.accept(nonce(5), u32::MAX) && !counts.accept(nonce(5), u32::MAX));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_and_never_takes_it_again() {
        let mut counts = NonceCounts::new(2);
        assert!((1..=3).all(|made| counts.accept(nonce(made), 1)));
        assert_eq!(counts.len(), 2);
        assert!(!counts.accept(nonce(1), 2), "forgotten, so refused");
        assert!(counts.accept(nonce(2), 2) && counts.accept(nonce(3), 2));
        counts.drop_before(3);
        assert_eq!(counts.len(), 1);
    }

    #[test]
    fn against_a_plain_set_for_random_counts() {
        use proptest::prelude::*;
        proptest!(|(all in proptest::collection::vec(1..200_u32, 1..200))| {
            let (mut counts, mut set, mut highest) = (NonceCounts::new(1), std::collections::HashSet::new(), 0);
            for count in all {
                let recent = count + WINDOW > highest || highest == 0;
                let expected = recent && !set.contains(&count);
                prop_assert_eq!(counts.accept(nonce(1), count), expected);
                set.insert(count);
                highest = highest.max(count);
            }
        });
    }
}
