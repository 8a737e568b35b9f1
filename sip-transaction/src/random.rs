//! Unguessable numbers from the seed that the owner gives.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use std::fmt::Write;
use std::time::Duration;

/// The layer's own generator. Branches and tags must not be guessed by peers (RFC 3261 §19.3, §26.1.3): ChaCha.
#[derive(Debug)]
pub(crate) struct Random(ChaCha12Rng);

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 96 bits as 24 lower-case hexadecimal digits: globally unique and unguessable (§19.3 asks for 32 bits).
    pub(crate) fn token(&mut self) -> String {
        let mut text = String::with_capacity(24);
        let _ = write!(text, "{:016x}{:08x}", self.0.next_u64(), self.0.next_u32());
        text
    }

    /// A whole number of seconds from `base` up to twice as much, so that refused clients do not return together.
    pub(crate) fn jittered_seconds(&mut self, base: Duration) -> u64 {
        let base = base.as_secs().max(1);
        base.saturating_add(self.number() % base.saturating_add(1))
    }
}
