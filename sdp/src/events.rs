//! The list of telephone events in `a=fmtp` (RFC 4733 §2.4.1): `0-15,66,70`.

use std::fmt;
use std::str::FromStr;

/// A set of RFC 4733 event codes (0–255).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EventSet([u64; 4]);

/// An event list that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a list of telephone events such as 0-15,66,70 (RFC 4733 section 2.4.1)")]
pub struct EventSetError(String);

impl EventSet {
    /// The events 0–15: digits, `*`, `#` and A–D. Meant also when the parameter is missing (RFC 4733 §7.1.1).
    pub const DTMF: EventSet = EventSet([0xffff, 0, 0, 0]);

    /// Whether `event` is in the set.
    pub fn contains(&self, event: u8) -> bool {
        self.0.get(usize::from(event / 64)).is_some_and(|word| word >> (event % 64) & 1 == 1)
    }

    /// Adds `event`.
    pub fn insert(&mut self, event: u8) {
        if let Some(word) = self.0.get_mut(usize::from(event / 64)) {
            *word |= 1 << (event % 64);
        }
    }

    /// The events in both sets.
    #[must_use]
    pub fn intersection(&self, other: &EventSet) -> EventSet {
        let mut common = *self;
        common.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        common
    }

    /// The events, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=255).filter(|event| self.contains(*event))
    }

    /// What the peer means by the parameters of a `telephone-event` format: a missing or unreadable list is DTMF.
    pub(crate) fn from_fmtp(fmtp: Option<&str>) -> EventSet {
        match fmtp {
            // What nearly everybody writes.
            None | Some("0-15") => EventSet::DTMF,
            Some(fmtp) => fmtp.parse().unwrap_or(EventSet::DTMF),
        }
    }
}

impl FromStr for EventSet {
    type Err = EventSetError;

    fn from_str(text: &str) -> Result<Self, EventSetError> {
        let error = || EventSetError(text.to_owned());
        // `events=` does not belong in SDP (RFC 4733 §2.4.1), but RFC 2833 era phones write it.
        let list = text.trim().strip_prefix("events=").unwrap_or(text).trim().trim_matches('"');
        let mut set = EventSet::default();
        for item in list.split(',').map(str::trim) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let first: u8 = first.trim().parse().map_err(|_| error())?;
            let last: u8 = last.trim().parse().map_err(|_| error())?;
            if last < first {
                return Err(error());
            }
            (first..=last).for_each(|event| set.insert(event));
        }
        Ok(set)
    }
}

impl fmt::Display for EventSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut events = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = events.next() {
            let mut last = first;
            while let Some(next) = events.next_if(|next| last.checked_add(1) == Some(*next)) {
                last = next;
            }
            match last == first {
                true => write!(f, "{separator}{first}")?,
                false => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for EventSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_4733_section_2_4_1() {
        let set: EventSet = "0-15,66,70".parse().unwrap();
        assert!(set.contains(11) && set.contains(66) && !set.contains(67));
        assert_eq!(set.to_string(), "0-15,66,70");
        assert_eq!(set.intersection(&EventSet::DTMF), EventSet::DTMF);
    }

    #[test]
    fn what_is_no_list_is_refused_and_read_as_dtmf_in_a_description() {
        for bad in ["", "a", "5-1", "256", "1-", "-3", "1,,2"] {
            assert!(bad.parse::<EventSet>().is_err(), "{bad:?}");
        }
        assert_eq!(EventSet::from_fmtp(Some("nonsense")), EventSet::DTMF);
        assert_eq!(EventSet::from_fmtp(None), EventSet::DTMF);
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverse(events in proptest::collection::vec(any::<u8>(), 1..40)) {
            let mut set = EventSet::default();
            events.iter().for_each(|event| set.insert(*event));
            prop_assert_eq!(set.to_string().parse::<EventSet>().unwrap(), set);
        }
    }
}
