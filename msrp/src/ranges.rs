//! Which octets of a message have come, and the octets themselves (RFC 4975 §7.3.1). Positions count from 0 here.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

/// Gaps of one message: a peer that sends every second octet would fill tables.
pub const MAX_GAPS: usize = 256;

/// A set of octets, kept as the fewest ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Start and end of each; none touches another.
    parts: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds the octets from `start` up to `end`, which is not one of them.
    pub fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut from, mut to) = (start, end);
        // Those that overlap or touch, from the last.
        while let Some((&other, &other_end)) = self.parts.range(..=to).next_back() {
            if other_end < from {
                break;
            }
            from = from.min(other);
            to = to.max(other_end);
            self.parts.remove(&other);
        }
        self.parts.insert(from, to);
    }

    /// Whether all octets before this one are there.
    #[must_use]
    pub fn covers(&self, total: u64) -> bool {
        total == 0 || self.parts.first_key_value().is_some_and(|(&start, &end)| start == 0 && end >= total)
    }

    /// How many ranges it is.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The end of the last range.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.parts.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// How many octets these are.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.parts.iter().fold(0, |sum: u64, (start, end)| sum.saturating_add(end.saturating_sub(*start)))
    }
}

/// The octets of a message, put in their places. Where two overlap, those that came last hold (RFC 4975 §7.3.1). It takes as much
/// memory as octets came, whatever positions they claim.
#[derive(Debug, Default)]
pub struct Assembly {
    parts: BTreeMap<u64, BytesMut>,
}

impl Assembly {
    /// Puts octets at a position.
    pub fn insert(&mut self, start: u64, octets: &[u8]) {
        let Some(end) = u64::try_from(octets.len()).ok().and_then(|length| start.checked_add(length)) else {
            return;
        };
        if octets.is_empty() {
            return;
        }
        // What lies under the new octets goes; what sticks out behind them stays.
        while let Some((&other, part)) = self.parts.range_mut(..end).next_back() {
            let other_end = other.saturating_add(part.len() as u64);
            if other_end <= start {
                break;
            }
            if other_end > end {
                let behind = part.split_off(
                    usize::try_from(end.saturating_sub(other)).unwrap_or(usize::MAX).min(part.len()),
                );
                self.parts.insert(end, behind);
                continue;
            }
            if other >= start {
                self.parts.remove(&other);
                continue;
            }
            part.truncate(usize::try_from(start.saturating_sub(other)).unwrap_or(usize::MAX));
            break;
        }
        let before = self.parts.range_mut(..=start).next_back();
        let joined = before.filter(|(other, part)| other.saturating_add(part.len() as u64) == start);
        let key = match joined {
            Some((&other, part)) => {
                part.extend_from_slice(octets);
                other
            }
            None => {
                self.parts.insert(start, BytesMut::from(octets));
                start
            }
        };
        if let Some(behind) = self.parts.remove(&end)
            && let Some(part) = self.parts.get_mut(&key)
        {
            part.extend_from_slice(&behind);
        }
    }

    /// How many pieces it is in.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Octets in memory.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.parts.values().fold(0, |sum, part| sum.saturating_add(part.len()))
    }

    /// The whole message, if it is there from its first octet to this length.
    #[must_use]
    pub fn take(&mut self, total: u64) -> Option<Bytes> {
        if total == 0 {
            return Some(Bytes::new());
        }
        let whole = self.parts.get(&0).is_some_and(|part| part.len() as u64 >= total);
        let mut part = self.parts.remove(&0).filter(|_| whole)?;
        part.truncate(usize::try_from(total).ok()?);
        Some(part.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_in_any_order_are_what_a_plain_array_would_hold(
            pieces in proptest::collection::vec((0u64..80, proptest::collection::vec(any::<u8>(), 0..30)), 0..24)
        ) {
            let (mut assembly, mut ranges) = (Assembly::default(), Ranges::default());
            let mut model: Vec<Option<u8>> = vec![None; 128];
            for (start, octets) in &pieces {
                assembly.insert(*start, octets);
                ranges.insert(*start, start + octets.len() as u64);
                for (at, octet) in octets.iter().enumerate() {
                    model[*start as usize + at] = Some(*octet);
                }
            }
            let there = model.iter().flatten().count();
            prop_assert_eq!(assembly.octets(), there);
            prop_assert_eq!(ranges.octets(), there as u64);
            prop_assert_eq!(assembly.parts(), ranges.parts());
            let whole = model.iter().take_while(|octet| octet.is_some()).count();
            prop_assert!(ranges.covers(whole as u64) && !ranges.covers(whole as u64 + 1));
            let expected: Vec<u8> = model.iter().flatten().copied().take(whole).collect();
            prop_assert_eq!(assembly.take(whole as u64), Some(Bytes::from(expected)));
        }
    }

    #[test]
    fn rfc_4975_7_3_1_the_last_chunk_takes_precedence() {
        let mut assembly = Assembly::default();
        assembly.insert(0, &[b'a'; 100]);
        assembly.insert(49, &[b'b'; 101]);
        let whole = assembly.take(150).unwrap();
        assert_eq!((whole[48], whole[49], whole[99], whole[149]), (b'a', b'b', b'b', b'b'));
    }
}
