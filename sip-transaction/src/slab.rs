//! A table of live things with copyable keys: a key of something that is gone finds nothing.

/// Index and generation of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Generations use 30 bits, so that a key and two bits of kind fit into a transport token.
const GENERATIONS: u32 = (1 << 30) - 1;

impl Key {
    /// A key that no entry ever has.
    pub(crate) const NONE: Self = Self { index: u32::MAX, generation: GENERATIONS };

    /// The key in 62 bits.
    pub(crate) const fn pack(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// The key in the low 62 bits.
    pub(crate) const fn unpack(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 & GENERATIONS }
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Entries of one kind; freed places are used again under the next generation.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop()
            && let Some(entry) = self.entries.get_mut(index as usize)
        {
            entry.value = Some(value);
            return Key { index, generation: entry.generation };
        }
        // Limits on live transactions stay far below 2^32.
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { generation: 0, value: Some(value) });
        Key { index, generation: 0 }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        entry.value.as_ref().filter(|_| entry.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        entry.value.as_mut().filter(|_| entry.generation == key.generation)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1) & GENERATIONS;
        self.free.push(key.index);
        if self.free.len() == self.entries.len() && self.entries.capacity() > WORTH_SHRINKING {
            self.shrink();
        }
        Some(value)
    }

    /// Gives the memory of a past burst back once nothing is live. The generations stay: old keys must not come
    /// alive again.
    fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.free.shrink_to_fit();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free.len())
    }
}

/// Entries below this number are not worth a reallocation.
const WORTH_SHRINKING: usize = 1024;

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
    fn keys_survive_packing() {
        for key in [Key::NONE, Key { index: 7, generation: 0 }, Key { index: 0, generation: GENERATIONS }] {
            assert_eq!(Key::unpack(key.pack()), key);
            assert_eq!(Key::unpack(key.pack() | 3 << 62), key);
        }
    }
}
