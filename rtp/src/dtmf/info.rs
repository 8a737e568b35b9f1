//! Digits in the bodies of SIP INFO requests, as phones and gateways without RFC 4733 send them. No RFC defines these types;
//! they are used as Cisco's gateways began to.
//!
//! ```
//! use std::time::Duration;
//! use rtp::dtmf::{Event, info::{Form, Info}};
//! let info = Info { event: Event(5), duration: Some(Duration::from_millis(160)) };
//! assert_eq!(info.to_body(Form::Relay), "Signal=5\r\nDuration=160\r\n");
//! assert_eq!(Info::parse(Form::Relay, b"Signal= *\nDuration= 200\n"), Some(Info { event: Event(10), duration: Some(Duration::from_millis(200)) }));
//! assert_eq!(Info::parse(Form::Plain, b"#"), Some(Info { event: Event(11), duration: None }));
//! ```

use std::time::Duration;

use super::Event;

/// A longer body has more than a digit.
const MAX_BODY: usize = 256;
/// The longest duration taken: nobody holds a key longer.
const MAX_DURATION: u64 = 60_000;

/// What the body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `application/dtmf-relay`: lines of `Signal` and `Duration`.
    Relay,
    /// `application/dtmf`: the key alone.
    Plain,
}

impl Form {
    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Relay => "application/dtmf-relay",
            Self::Plain => "application/dtmf",
        }
    }
}

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// One of `0-9 * # A-D`.
    pub event: Event,
    /// For how long, if that is told; in milliseconds on the wire.
    pub duration: Option<Duration>,
}

impl Info {
    /// Reads a body; `None` if it holds no key.
    #[must_use]
    pub fn parse(form: Form, body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body.get(..MAX_BODY).unwrap_or(body)).ok()?;
        if form == Form::Plain {
            return Some(Self { event: key(text.trim())?, duration: None });
        }
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (known, value) = line.split_once('=')?;
                known.trim().eq_ignore_ascii_case(name).then_some(value.trim())
            })
        };
        let duration = field("Duration").and_then(|value| value.parse().ok());
        let duration = duration.filter(|duration| (1..=MAX_DURATION).contains(duration));
        Some(Self { event: key(field("Signal")?)?, duration: duration.map(Duration::from_millis) })
    }

    /// Writes a body. What is no key has none.
    #[must_use]
    pub fn to_body(&self, form: Form) -> String {
        let key = self.event.key().unwrap_or_default();
        match (form, self.duration) {
            (Form::Plain, _) => key.to_string(),
            (Form::Relay, None) => format!("Signal={key}\r\n"),
            (Form::Relay, Some(duration)) => {
                let milliseconds = duration.as_millis().clamp(1, u128::from(MAX_DURATION));
                format!("Signal={key}\r\nDuration={milliseconds}\r\n")
            }
        }
    }
}

/// A key as itself or by its event code.
fn key(text: &str) -> Option<Event> {
    let mut characters = text.chars();
    let event = match (characters.next(), characters.next()) {
        (Some(key), None) => Event::from_key(key),
        _ => text.parse().ok().filter(|code| (10..16).contains(code)).map(Event),
    };
    event.filter(|event| event.0 < 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_spellings_of_the_field() {
        let relay = |body: &str| Info::parse(Form::Relay, body.as_bytes());
        let key = |code, milliseconds: Option<u64>| {
            Some(Info { event: Event(code), duration: milliseconds.map(Duration::from_millis) })
        };
        assert_eq!(relay("Signal=1\r\nDuration=160\r\n"), key(1, Some(160)));
        assert_eq!(relay("signal = 11\nDURATION = 250"), key(11, Some(250)));
        assert_eq!(relay("Duration=100\r\nSignal=d\r\n"), key(15, Some(100)));
        assert_eq!(relay("Signal=10\r\n"), key(10, None));
        assert_eq!(relay("Signal=5\r\nDuration=ever\r\n"), key(5, None));
        for none in ["", "Signal=", "Signal=x", "Signal=12345", "Signal=!", "Signal=16", "5", "Tone=5"] {
            assert_eq!(relay(none), None, "{none}");
        }
        assert_eq!(Info::parse(Form::Plain, b"9\r\n"), key(9, None));
        assert_eq!(Info::parse(Form::Plain, b"10"), key(10, None));
        assert_eq!(Info::parse(Form::Plain, b"99"), None);
        assert_eq!(Info::parse(Form::Plain, &[0xff]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(code in 0u8..16, milliseconds in proptest::option::of(1u64..=MAX_DURATION)) {
            let info = Info { event: Event(code), duration: milliseconds.map(Duration::from_millis) };
            prop_assert_eq!(Info::parse(Form::Relay, info.to_body(Form::Relay).as_bytes()), Some(info));
            let plain = Info { duration: None, ..info };
            prop_assert_eq!(Info::parse(Form::Plain, info.to_body(Form::Plain).as_bytes()), Some(plain));
        }

        #[test]
        fn any_octets_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            for form in [Form::Relay, Form::Plain] {
                if let Some(info) = Info::parse(form, &body) {
                    prop_assert!(info.event.0 < 16);
                }
            }
        }
    }
}
