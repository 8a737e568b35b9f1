//! What the application believes of sessions: its own model of offer and answer (RFC 3264, RFC 6337), and how two sides of
//! one dialog compare.

use std::collections::{BTreeMap, BTreeSet};

use sip_dialog::{Body, DialogId};

use super::user::Standing;

/// A generator of its own for each phone, so that what one does never depends on the order in which others are asked.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

/// A description: its own number, and that of the offer that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) number: String,
    pub(crate) answers: Option<String>,
}

impl Description {
    /// What the body of a message says; `None` without one.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("s="))?;
        let mut words = line.split(' ').map(String::from);
        Some(Self { number: words.next()?, answers: words.next() })
    }

    pub(crate) fn body(&self) -> Body {
        let answers = self.answers.as_ref().map_or(String::new(), |offer| format!(" {offer}"));
        Body::sdp(format!("v=0\r\ns={}{answers}\r\n", self.number))
    }
}

/// The name of a dialog that both sides give it.
pub(crate) fn name(id: &DialogId) -> String {
    let mut tags = [id.local_tag.as_str(), id.remote_tag.as_str()];
    tags.sort_unstable();
    format!("{} {} {}", id.call_id, tags[0], tags[1])
}

/// What one side believes of the session in one dialog.
#[derive(Clone, Debug, Default)]
pub(crate) struct Belief {
    /// Offer and answer of each exchange, the last one being the session.
    pub(crate) agreed: Vec<(String, String)>,
    /// Our offer that has no answer.
    pub(crate) ours: Option<String>,
    /// The peer's offer that we owe an answer.
    pub(crate) theirs: Option<String>,
    /// Answers in reliable responses to re-INVITEs that were refused before the PRACK came: it may be on its way or not, so that
    /// nobody can know whether the peer has taken them (RFC 3262 §3).
    pub(crate) doubtful: BTreeSet<String>,
}

impl Belief {
    /// The peer offers something.
    pub(crate) fn offered(&mut self, offer: &Description) {
        assert_eq!(offer.answers, None, "an answer is handed up as an offer: {offer:?}");
        assert_eq!(self.ours, None, "{} is offered while ours is open", offer.number);
        assert_eq!(self.theirs, None, "{} is offered while another one is open", offer.number);
        self.theirs = Some(offer.number.clone());
    }

    /// We have answered.
    pub(crate) fn answer(&mut self, answer: &str) {
        let offer = self.theirs.take().expect("there is an offer to answer");
        self.agreed.push((offer, answer.to_owned()));
    }

    pub(crate) fn refuse(&mut self) {
        assert!(self.theirs.take().is_some(), "there is no offer to refuse");
    }

    /// We offer something.
    pub(crate) fn offer(&mut self, offer: &str) {
        assert_eq!(self.ours, None, "we offer twice");
        assert_eq!(self.theirs, None, "we offer while we owe an answer");
        self.ours = Some(offer.to_owned());
    }

    /// The peer has answered.
    pub(crate) fn answered(&mut self, answer: &Description) {
        let offer = self.ours.take().unwrap_or_else(|| panic!("{answer:?} answers nothing"));
        assert_eq!(answer.answers.as_ref(), Some(&offer), "{answer:?} answers another offer");
        self.agreed.push((offer, answer.number.clone()));
    }

    /// Whether there is an answer of which nobody can know.
    fn is_doubtful_beside(&self, peer: &Self) -> bool {
        !self.doubtful.is_empty() || !peer.doubtful.is_empty()
    }

    /// Nothing comes of what is open.
    pub(crate) fn close(&mut self) {
        (self.ours, self.theirs) = (None, None);
    }
}

/// The sessions of all dialogs, by name.
pub(crate) type Book = BTreeMap<String, Belief>;

/// Two sides of one dialog tell of the same exchanges in the same order. The end of the call may have cut off one that the side
/// which answered knows already.
pub(crate) fn compare(books: &[Book]) {
    for (at, book) in books.iter().enumerate() {
        for (dialog, one) in book {
            for other in books.iter().skip(at + 1).filter_map(|book| book.get(dialog)) {
                let doubtful: BTreeSet<_> = one.doubtful.union(&other.doubtful).collect();
                let certain = |side: &Belief| -> Vec<(String, String)> {
                    let exchanges = side.agreed.iter().filter(|exchange| !doubtful.contains(&exchange.1));
                    exchanges.cloned().collect()
                };
                let (one, other) = (certain(one), certain(other));
                let common = one.len().min(other.len());
                assert_eq!(one[..common], other[..common], "in {dialog}");
                assert!(one.len().abs_diff(other.len()) <= 1, "in {dialog}: {one:?} and {other:?}");
            }
        }
    }
}

/// Whoever has a call, its peer has it too, with the same session: what is not so.
pub(crate) fn apart(standing: &[Standing]) -> Option<String> {
    for (at, of_one) in standing.iter().enumerate() {
        for (dialog, session) in of_one {
            let others = standing.iter().enumerate().filter(|(other, _)| *other != at);
            match others.map(|(_, of_other)| of_other.get(dialog)).find(Option::is_some) {
                Some(Some(peer)) if session.agreed == peer.agreed || session.is_doubtful_beside(peer) => {}
                Some(peer) => return Some(format!("in {dialog}: {session:?} and {peer:?}")),
                None => return Some(format!("{dialog} stands on one side alone")),
            }
        }
    }
    None
}
