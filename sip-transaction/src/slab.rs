//! A table of live things with copyable keys: a key of something that is gone finds nothing.

use crate::tables::{PAGE, Pages};

/// Index and generation of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Generations use 30 bits, so that a key and two bits of kind fit into a transport token.
const GENERATIONS: u32 = (1 << 30) - 1;

/// The highest bits of an index say which of the tables that run side by side it belongs to; the others are its place there.
const PLACE_BITS: u32 = 26;
const PLACES: u32 = (1 << PLACE_BITS) - 1;

/// How many tables may run side by side.
pub const MAX_SHARDS: usize = 1 << (u32::BITS - PLACE_BITS);

impl Key {
    /// A key that no entry ever has.
    pub const NONE: Self = Self { index: u32::MAX, generation: GENERATIONS };

    /// The key in 62 bits.
    pub(crate) const fn pack(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// Which of the tables that run side by side it belongs to.
    pub(crate) const fn shard(self) -> usize {
        (self.index >> PLACE_BITS) as usize
    }

    /// The key in the low 62 bits.
    pub(crate) const fn unpack(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 & GENERATIONS }
    }
}

/// Entries of one kind; freed places are used again under the next generation.
///
/// Entries lie in pages: growing moves none of them, and a page without any gives its memory back. The generations stay, or old
/// keys would come alive again.
#[derive(Debug)]
pub struct Slab<T> {
    generations: Pages<u32>,
    pages: Vec<Page<T>>,
    /// Places that are free.
    free: Vec<u32>,
    /// What its keys have in the highest bits of their index.
    shard: u32,
}

#[derive(Debug)]
struct Page<T> {
    /// No room at all while nothing is live.
    slots: Vec<Option<T>>,
    live: usize,
}

/// The page of a place, and where in it.
const fn slot_of(place: u32) -> (usize, usize) {
    (place as usize / PAGE, place as usize % PAGE)
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    /// A table without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self { generations: Pages::new(), pages: Vec::new(), free: Vec::new(), shard: 0 }
    }

    /// A table without entries, of those that run side by side: their keys differ by its number, which is below [`MAX_SHARDS`].
    #[must_use]
    pub fn of_shard(shard: usize) -> Self {
        let shard = u32::try_from(shard % MAX_SHARDS).unwrap_or(0);
        Self { shard: shard << PLACE_BITS, ..Self::new() }
    }

    /// Puts something in; its key is never that of another.
    pub fn insert(&mut self, value: T) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            // Limits on live transactions stay far below 2^26.
            let place = u32::try_from(self.generations.len()).unwrap_or(u32::MAX);
            self.generations.push(0);
            place
        });
        let (page, slot) = slot_of(place);
        if self.pages.len() <= page {
            self.pages.push(Page { slots: Vec::new(), live: 0 });
        }
        if let Some(page) = self.pages.get_mut(page) {
            if page.slots.is_empty() {
                page.slots = std::iter::repeat_with(|| None).take(PAGE).collect();
            }
            page.live = page.live.saturating_add(1);
            if let Some(slot) = page.slots.get_mut(slot) {
                *slot = Some(value);
            }
        }
        let generation = self.generations.get(place as usize).copied().unwrap_or(0);
        Key { index: self.shard | place, generation }
    }

    /// The place of a key of this table that is live.
    fn place(&self, key: Key) -> Option<u32> {
        let place = key.index & PLACES;
        let own = key.index & !PLACES == self.shard;
        (own && self.generations.get(place as usize) == Some(&key.generation)).then_some(place)
    }

    /// What has this key.
    pub fn get(&self, key: Key) -> Option<&T> {
        let (page, slot) = slot_of(self.place(key)?);
        self.pages.get(page)?.slots.get(slot)?.as_ref()
    }

    /// What has this key, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (page, slot) = slot_of(self.place(key)?);
        self.pages.get_mut(page)?.slots.get_mut(slot)?.as_mut()
    }

    /// Takes out what has this key.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place(key)?;
        let (page, slot) = slot_of(place);
        let page = self.pages.get_mut(page)?;
        let value = page.slots.get_mut(slot)?.take()?;
        page.live = page.live.saturating_sub(1);
        if page.live == 0 {
            page.slots = Vec::new();
        }
        if let Some(generation) = self.generations.get_mut(place as usize) {
            *generation = generation.wrapping_add(1) & GENERATIONS;
        }
        self.free.push(place);
        Some(value)
    }

    /// The keys of all entries, by their places.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let slots = self.pages.iter().enumerate().flat_map(|(page, Page { slots, .. })| {
            let live = slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
            live.map(move |(slot, _)| page.saturating_mul(PAGE).saturating_add(slot))
        });
        slots.filter_map(|place| {
            let generation = self.generations.get(place).copied()?;
            Some(Key { index: self.shard | u32::try_from(place).ok()?, generation })
        })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.generations.len().saturating_sub(self.free.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_something_gone_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!((second.index, slab.get(first), slab.get(second)), (first.index, None, Some(&'b')));
        assert_eq!((slab.remove(first), slab.len()), (None, 1));
        assert_eq!(slab.get(Key::NONE), None);
    }

    #[test]
    fn a_key_of_another_shard_finds_nothing() {
        let (mut one, mut other) = (Slab::of_shard(1), Slab::of_shard(MAX_SHARDS - 1));
        let (a, b) = (one.insert('a'), other.insert('b'));
        assert_eq!((a.shard(), b.shard()), (1, MAX_SHARDS - 1));
        assert_eq!(one.remove(b), None);
        assert_eq!((one.get(a), one.get(b), other.get(b)), (Some(&'a'), None, Some(&'b')));
        assert_eq!(one.keys().collect::<Vec<_>>(), [a]);
        assert_eq!(Key::unpack(b.pack()), b);
    }

    #[test]
    fn keys_survive_packing() {
        for key in [Key::NONE, Key { index: 7, generation: 0 }, Key { index: 0, generation: GENERATIONS }] {
            assert_eq!(Key::unpack(key.pack()), key);
            assert_eq!(Key::unpack(key.pack() | 3 << 62), key);
        }
    }

    /// After a burst the pages are empty, and the keys of then still find nothing.
    #[test]
    fn the_memory_of_a_burst_comes_back() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..1_000).map(|number| slab.insert(number)).collect();
        assert!(keys.iter().enumerate().all(|(number, key)| slab.get(*key) == Some(&number)));
        for key in &keys {
            slab.remove(*key).unwrap();
        }
        assert!(slab.pages.iter().all(|page| page.slots.capacity() == 0));
        let again = slab.insert(7);
        assert_eq!((slab.len(), slab.get(again)), (1, Some(&7)));
        assert!(keys.iter().all(|key| slab.get(*key).is_none()));
    }
}
