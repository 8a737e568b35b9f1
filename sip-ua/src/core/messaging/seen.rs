//! Messages that were taken before (RFC 3261 §8.2.2.2 knows only those that cross each other).

use std::collections::{BTreeSet, VecDeque};

/// Messages that are remembered; the oldest goes. Who sends ever new ones must not fill the memory.
const MAX_SEEN: usize = 2048;
/// The longest name that is remembered, for the same reason; nobody's are longer.
const MAX_NAME: usize = 512;

/// Names of messages that were given to the owner: a server that keeps messages may bring one twice around a crash.
#[derive(Debug, Default)]
pub(super) struct Seen {
    names: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Whether one of these names is known.
    pub(super) fn knows(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.names.contains(name))
    }

    /// Remembers all of them.
    pub(super) fn remember(&mut self, names: Vec<String>) {
        for name in names.into_iter().filter(|name| name.len() <= MAX_NAME) {
            if !self.names.insert(name.clone()) {
                continue;
            }
            self.order.push_back(name);
            if self.order.len() > MAX_SEEN
                && let Some(oldest) = self.order.pop_front()
            {
                self.names.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut seen = Seen::default();
        for number in 0..=MAX_SEEN {
            seen.remember(vec![number.to_string()]);
        }
        assert!(!seen.knows(&["0".into()]));
        assert!(seen.knows(&["none".into(), "1".into()]));
        assert_eq!(seen.names.len(), MAX_SEEN);
        seen.remember(vec!["x".repeat(MAX_NAME + 1)]);
        assert_eq!(seen.names.len(), MAX_SEEN);
    }
}
