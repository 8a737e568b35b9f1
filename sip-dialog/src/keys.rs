//! Tables by keys of our own.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by a key that we count out ourselves: [`CallKey`](crate::CallKey), a transaction's, any that no peer can choose. Finding
/// an entry is a multiplication; what a peer names (a Call-ID, a tag) belongs in a table with a secret hash.
pub type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

/// Spreads numbers that count up over all bits (Fibonacci hashing). No defence against keys that somebody picks.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHasher(u64);

impl KeyHasher {
    /// 2^64 divided by the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

    fn add(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(Self::SPREAD);
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.add(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    /// A table takes the place from the low bits, which a multiplication by an odd number keeps apart, and a mark from the high ones.
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::KeyHasher;
    use crate::CallKey;

    /// Keys that count up fall into different places of a table, and bear different marks.
    #[test]
    fn keys_that_count_up_are_spread() {
        let hash = |number| BuildHasherDefault::<KeyHasher>::default().hash_one(CallKey(number));
        let places: HashSet<u64> = (0..4096).map(|number| hash(number) & 0xfff).collect();
        assert_eq!(places.len(), 4096);
        let marks: HashSet<u64> = (0..1024).map(|number| hash(number) >> 57).collect();
        assert_eq!(marks.len(), 128);
    }
}
