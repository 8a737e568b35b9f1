//! `a=simulcast:send 1,~4;2 recv 3` (RFC 8853 §5.1).

use std::fmt;
use std::str::FromStr;

use sdp_types::{AttributeError, TypedAttribute};

use super::error;

/// Which encodings are sent and received at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Simulcast {
    /// The streams of each direction stated, in order of preference. At most one entry for each direction, in the order of
    /// the text.
    pub directions: Vec<(SimulcastDirection, Vec<Alternatives>)>,
}

/// As the describing side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SimulcastDirection {
    /// The describing side sends.
    Send,
    /// The describing side receives.
    Receive,
}

/// One simulcast stream: its encodings, any one of which may be sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alternatives(pub Vec<SimulcastId>);

/// The name of an encoding, which an `a=rid` line of the section describes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SimulcastId {
    /// The identifier of `a=rid`.
    pub rid: String,
    /// `~`: not sent at first.
    pub paused: bool,
}

impl Simulcast {
    /// The streams of one direction.
    pub fn streams(&self, direction: SimulcastDirection) -> &[Alternatives] {
        let found = self.directions.iter().find(|(stated, _)| *stated == direction);
        found.map_or(&[], |(_, streams)| streams)
    }
}

fn alternatives(text: &str) -> Option<Alternatives> {
    let ids = text.split(',').map(|id| {
        let (rid, paused) = match id.strip_prefix('~') {
            Some(rid) => (rid, true),
            None => (id, false),
        };
        let sound =
            !rid.is_empty() && rid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        sound.then(|| SimulcastId { rid: rid.to_owned(), paused })
    });
    ids.collect::<Option<_>>().map(Alternatives)
}

impl FromStr for Simulcast {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let wrong = |what| error(Self::NAME, what);
        let mut simulcast = Simulcast::default();
        let mut words = text.split_ascii_whitespace();
        while let Some(word) = words.next() {
            let direction = match word {
                "send" => SimulcastDirection::Send,
                "recv" => SimulcastDirection::Receive,
                _ => return Err(wrong("a direction is neither send nor recv")),
            };
            if simulcast.directions.iter().any(|(stated, _)| *stated == direction) {
                return Err(wrong("a direction is stated twice"));
            }
            let list = words.next().ok_or_else(|| wrong("there are no streams behind a direction"))?;
            let streams = list.split(';').map(alternatives).collect::<Option<Vec<_>>>();
            simulcast
                .directions
                .push((direction, streams.ok_or_else(|| wrong("a stream has no sound name"))?));
        }
        if simulcast.directions.is_empty() {
            return Err(wrong("there is no direction"));
        }
        Ok(simulcast)
    }
}

impl fmt::Display for Simulcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (direction, streams)) in self.directions.iter().enumerate() {
            let word = match direction {
                SimulcastDirection::Send => "send",
                SimulcastDirection::Receive => "recv",
            };
            write!(f, "{}{word}", if index == 0 { "" } else { " " })?;
            let mut before = ' ';
            for Alternatives(ids) in streams {
                for id in ids {
                    write!(f, "{before}{}{}", if id.paused { "~" } else { "" }, id.rid)?;
                    before = ',';
                }
                before = ';';
            }
        }
        Ok(())
    }
}

impl TypedAttribute for Simulcast {
    const NAME: &'static str = "simulcast";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_8853_section_5_1() {
        for text in ["send 1,2,3;~4,~5 recv 6;~7,~8", "recv 1;4,5 send 6;7", "send 1;~2"] {
            assert_eq!(text.parse::<Simulcast>().unwrap().to_string(), text);
        }
        let read: Simulcast = "recv 1;4,~5 send 6".parse().unwrap();
        let received = read.streams(SimulcastDirection::Receive);
        assert_eq!((received.len(), received[1].0[1].paused, received[1].0[1].rid.as_str()), (2, true, "5"));
        assert_eq!(read.streams(SimulcastDirection::Send).len(), 1);
        for bad in ["", "send", "send ;", "send 1 send 2", "both 1", "send a.b"] {
            assert!(bad.parse::<Simulcast>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverse(
            both in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(("[a-z0-9_-]{1,4}", any::<bool>()), 1..4), 1..4), 1..3),
            receive_first: bool,
        ) {
            let mut order = [SimulcastDirection::Send, SimulcastDirection::Receive];
            if receive_first { order.reverse(); }
            let streams = |list: Vec<Vec<(String, bool)>>| list.into_iter().map(|ids| {
                Alternatives(ids.into_iter().map(|(rid, paused)| SimulcastId { rid, paused }).collect())
            }).collect();
            let simulcast = Simulcast { directions: order.into_iter().zip(both.into_iter().map(streams)).collect() };
            prop_assert_eq!(simulcast.to_string().parse::<Simulcast>().unwrap(), simulcast);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(send|recv)?[ -~]{0,20}") {
            if let Ok(read) = text.parse::<Simulcast>() {
                prop_assert_eq!(read.to_string().parse::<Simulcast>().unwrap(), read);
            }
        }
    }
}
