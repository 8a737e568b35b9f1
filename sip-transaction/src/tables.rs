//! Tables that grow in small steps.
//!
//! A vector or a hash map that doubles moves all that it holds in one go: at a hundred thousand live transactions everybody waits
//! a tenth of a second for it. These grow by a page or by a fraction, so that the slowest message is not much slower than
//! the others.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

/// Entries of a page.
pub(crate) const PAGE: usize = 64;

/// A list that grows by pages and never moves an entry.
pub(crate) struct Pages<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Pages<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        let full = self.pages.len().saturating_sub(1).saturating_mul(PAGE);
        self.pages.last().map_or(0, |last| full.saturating_add(last.len()))
    }

    pub(crate) fn push(&mut self, value: T) {
        match self.pages.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => page.push(value),
            None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(value);
                self.pages.push(page);
            }
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.pages.get_mut(index / PAGE)?.get_mut(index % PAGE)
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Parts of a [`Sharded`] map.
const SHARDS: usize = 256;

/// A hash map in many parts, which grow one by one. Keys are chosen by peers, so the hash is keyed. It is taken once: some of its
/// bits choose the part, which goes by the others.
///
/// Where the load is steady, chance makes now this part the fullest and now that one. The first that grows tells the others to
/// grow with their next keys, or the memory of a steady load would grow for hours, a part at a time.
pub struct Sharded<K, V> {
    shards: Vec<HashTable<(K, V)>>,
    hasher: RandomState,
    len: usize,
    /// Buckets of the part that has most of them.
    buckets: usize,
}

impl<K: Eq + Hash, V> Sharded<K, V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { shards, hasher: RandomState::new(), len: 0, buckets: 0 }
    }

    /// A part goes by the lowest bits of a hash and by its highest seven.
    fn index(hash: u64) -> usize {
        usize::try_from((hash >> 40) % SHARDS as u64).unwrap_or(0)
    }

    /// The value of a key.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        self.shards.get(Self::index(hash))?.find(hash, |(own, _)| own.borrow() == key).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let shard = self.shards.get_mut(Self::index(hash))?;
        shard.find_mut(hash, |(own, _)| own.borrow() == key).map(|(_, value)| value)
    }

    /// Whether there is a value.
    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Sets the value of a key; gives the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(&key);
        let shard = self.shards.get_mut(Self::index(hash))?;
        if let Some((_, before)) = shard.find_mut(hash, |(own, _)| *own == key) {
            return Some(std::mem::replace(before, value));
        }
        let hasher = &self.hasher;
        let rehash = |(own, _): &(K, V)| hasher.hash_one(own);
        if shard.num_buckets() < self.buckets {
            // Seven eighths of them are used.
            let room = self.buckets.saturating_sub(self.buckets.div_ceil(8));
            shard.reserve(room.saturating_sub(shard.len()), rehash);
        }
        shard.insert_unique(hash, (key, value), rehash);
        self.buckets = self.buckets.max(shard.num_buckets());
        self.len = self.len.saturating_add(1);
        None
    }

    /// Takes the value of a key out. A part that has become empty gives its memory back, and none is made as large again before one
    /// has to be: the load has fallen.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let shard = self.shards.get_mut(Self::index(hash))?;
        let found = shard.find_entry(hash, |(own, _)| own.borrow() == key).ok()?;
        let ((_, value), _) = found.remove();
        self.len = self.len.saturating_sub(1);
        if shard.is_empty() && shard.num_buckets() > PAGE {
            *shard = HashTable::new();
            self.buckets = 0;
        }
        Some(value)
    }

    /// Takes everything out, in no order.
    pub fn drain(&mut self) -> impl Iterator<Item = (K, V)> + '_ {
        (self.len, self.buckets) = (0, 0);
        self.shards.iter_mut().flat_map(std::mem::take)
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<K: Eq + Hash, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for Sharded<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// A list by pages is a list.
        #[test]
        fn pages_hold_what_was_pushed(values in prop::collection::vec(any::<u16>(), 0..300)) {
            let mut pages = Pages::new();
            values.iter().for_each(|value| pages.push(*value));
            prop_assert_eq!(pages.len(), values.len());
            for at in 0..=values.len() {
                prop_assert_eq!(pages.get(at), values.get(at));
            }
        }

        /// Against a map.
        #[test]
        fn a_sharded_map_is_a_map(steps in prop::collection::vec((0..500_u32, any::<Option<u8>>()), 0..600)) {
            let (mut sharded, mut model) = (Sharded::new(), HashMap::new());
            for (key, value) in steps {
                match value {
                    Some(value) => prop_assert_eq!(sharded.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(sharded.remove(&key), model.remove(&key)),
                }
                prop_assert_eq!(sharded.get(&key), model.get(&key));
                prop_assert_eq!(sharded.len(), model.len());
            }
            prop_assert_eq!(sharded.drain().collect::<HashMap<_, _>>(), model);
            prop_assert!(sharded.is_empty());
        }
    }

    impl<K, V> Sharded<K, V> {
        fn buckets(&self) -> usize {
            self.shards.iter().map(HashTable::num_buckets).sum()
        }
    }

    /// R36: under a steady load of twenty thousand entries, a million come and go, and the table stays as large as it was when the
    /// first fifty thousand had.
    #[test]
    fn a_steady_load_does_not_make_it_grow() {
        let mut sharded = Sharded::new();
        let (held, mut early) = (20_000_u64, 0);
        for number in 0..1_000_000_u64 {
            sharded.insert(number, ());
            if number >= held {
                sharded.remove(&(number - held));
            }
            if number == 50_000 {
                early = sharded.buckets();
            }
        }
        assert_eq!(sharded.buckets(), early);
        assert_eq!(sharded.len(), 20_000);
        for number in 1_000_000 - held..1_000_000 {
            sharded.remove(&number);
        }
        assert!(sharded.buckets() <= SHARDS, "what it took is given back, {} are left", sharded.buckets());
    }
}
