//! How long to wait before a dead flow is replaced: RFC 5626 §4.5.

use std::time::Duration;

/// The three times of RFC 5626 §4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The longest wait.
    pub max: Duration,
    /// The base when no flow of the user agent works.
    pub base_all_failed: Duration,
    /// The base when another flow still does.
    pub base_some_work: Duration,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery {
            max: Duration::from_secs(1800),
            base_all_failed: Duration::from_secs(30),
            base_some_work: Duration::from_secs(90),
        }
    }
}

impl Recovery {
    /// The wait after so many failures in a row: between half and the whole of `min(max, base · 2^failures)`.
    ///
    /// `failures` counts tries to set up a flow to one outbound proxy; a flow that was registered over and has answered a
    /// keep-alive sets it back to 0. `chance` is a random number.
    #[must_use]
    pub fn wait(&self, failures: u32, another_works: bool, chance: u64) -> Duration {
        let base = if another_works { self.base_some_work } else { self.base_all_failed };
        let factor = 1_u32.checked_shl(failures).filter(|factor| *factor != 0).unwrap_or(u32::MAX);
        let bound = base.saturating_mul(factor).min(self.max);
        let half = bound / 2;
        half.saturating_add(share(bound.saturating_sub(half), chance))
    }
}

/// A part of `time` by chance, down to none of it.
pub(super) fn share(time: Duration, chance: u64) -> Duration {
    let thousandths = u32::try_from(chance % 1001).unwrap_or(0);
    (time / 1000).saturating_mul(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u64 = 0;
    const ALL: u64 = 1000;

    fn seconds(failures: u32, another_works: bool) -> (u64, u64) {
        let wait = |chance| Recovery::default().wait(failures, another_works, chance).as_secs();
        (wait(NONE), wait(ALL))
    }

    /// RFC 5626 §4.5: "the first retry happens somewhere between 30 and 60 seconds", 240 s at most after three failures, and
    /// "a random time of 15 to 30 minutes" in the end.
    #[test]
    fn the_waits_of_the_rfc() {
        assert_eq!(seconds(1, false), (30, 60));
        assert_eq!(seconds(3, false), (120, 240));
        assert_eq!(seconds(1, true), (90, 180));
        for failures in [6, 20, 31, 32, 1_000, u32::MAX] {
            assert_eq!(seconds(failures, false), (900, 1800), "{failures} failures");
        }
    }
}
