//! Nicknames: how they are compared, and who has which (RFC 7701 §7, RFC 8266).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use unicode_normalization::UnicodeNormalization;

/// Nicknames that stay with those who have left: somebody who comes and goes under ever new names would fill the memory.
const MAX_RESERVED: usize = 1_000;

/// A nickname as it is compared (RFC 8266 §2.4): white space is one space and none at the ends, small letters, one spelling.
/// `None` if nothing is left of it, or something in it is no character for names.
pub(super) fn folded(name: &str) -> Option<String> {
    // Formatting characters, such as those that turn the direction, would make two names look like one (RFC 8264 §9.13).
    let disallowed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if name.chars().any(disallowed) {
        return None;
    }
    // What the normalization makes may be folded further; the RFC has the rules applied until nothing changes.
    let once = |text: &str| {
        let words = text.split(char::is_whitespace).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ").to_lowercase().nfkc().collect::<String>()
    };
    let mut text = once(name);
    for _ in 0..3 {
        let next = once(&text);
        if next == text {
            return (!text.is_empty()).then_some(text);
        }
        text = next;
    }
    None // RFC 8266 §2.3: what does not come to rest is refused
}

/// Who has a nickname.
#[derive(Debug)]
struct Held {
    /// The user, whatever their devices.
    user: String,
    /// Sessions that use it.
    sessions: usize,
    /// When others may have it, after the last session has left.
    free: Option<Instant>,
}

/// The nicknames of a room.
#[derive(Debug, Default)]
pub(super) struct Nicknames {
    held: HashMap<String, Held>,
}

impl Nicknames {
    /// Takes a nickname for one more session of a user; `false` if somebody else has it.
    pub(super) fn take(&mut self, name: &str, user: &str, now: Instant) -> bool {
        self.held.retain(|_, held| held.free.is_none_or(|free| free > now));
        match self.held.get_mut(name) {
            Some(held) if held.user != user => false,
            Some(held) => {
                held.sessions = held.sessions.saturating_add(1);
                held.free = None;
                true
            }
            None => {
                self.held.insert(name.into(), Held { user: user.into(), sessions: 1, free: None });
                true
            }
        }
    }

    /// A session uses it no longer. If it was the last, the name stays the user's for the `quarantine` (RFC 7701 §4.1).
    pub(super) fn release(&mut self, name: &str, now: Instant, quarantine: Duration) {
        let reserved = self.held.values().filter(|held| held.free.is_some()).count();
        let Some(held) = self.held.get_mut(name) else { return };
        held.sessions = held.sessions.saturating_sub(1);
        if held.sessions == 0 {
            held.free = now.checked_add(quarantine);
            if quarantine.is_zero() || reserved >= MAX_RESERVED {
                self.held.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The examples of RFC 8266 §3, and some of what it refuses.
    #[test]
    fn rfc_8266_3_names_that_look_alike_are_one() {
        for (one, other) in [
            ("Foo", "foo"),
            ("Foo Bar", "foo bar"),
            ("  foo   bar ", "foo bar"),
            ("\u{03a3}", "\u{03c3}"),           // the Greek capital sigma
            ("Richard \u{2163}", "richard iv"), // the Roman number four
            ("\u{212b}ngstr\u{f6}m", "\u{e5}ngstro\u{308}m"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("BOY"), folded("B0Y"));
        for none in ["", "   ", "a\u{202e}b", "a\nb", "\u{200b}"] {
            assert_eq!(folded(none), None, "{none:?}");
        }
    }

    #[test]
    fn rfc_7701_4_1_a_name_waits_for_who_left() {
        let (mut names, now, quarantine) = (Nicknames::default(), Instant::now(), Duration::from_secs(60));
        assert!(names.take("boss", "sip:alice@a", now) && names.take("boss", "sip:alice@a", now));
        assert!(!names.take("boss", "sip:bob@b", now), "two devices of one user, and nobody else");
        names.release("boss", now, quarantine);
        assert!(!names.take("boss", "sip:bob@b", now + quarantine * 2), "the other device has it");
        names.release("boss", now, quarantine);
        assert!(!names.take("boss", "sip:bob@b", now + quarantine / 2));
        assert!(names.take("boss", "sip:alice@a", now + quarantine / 2), "who left and returns");
        names.release("boss", now, quarantine);
        assert!(names.take("boss", "sip:bob@b", now + quarantine * 2));
    }

    #[test]
    fn names_that_wait_are_bounded() {
        let (mut names, now) = (Nicknames::default(), Instant::now());
        for number in 0..MAX_RESERVED * 2 {
            let name = number.to_string();
            assert!(names.take(&name, "sip:a@b", now));
            names.release(&name, now, Duration::from_secs(60));
        }
        assert_eq!(names.held.len(), MAX_RESERVED);
    }

    proptest! {
        #[test]
        fn a_folded_name_stays_as_it_is(name in "\\PC{0,40}") {
            if let Some(folded_once) = folded(&name) {
                prop_assert_eq!(folded(&folded_once), Some(folded_once.clone()));
            }
        }
    }
}
