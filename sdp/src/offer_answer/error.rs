//! What can go wrong in an exchange, by who is to blame.

use super::negotiated::RejectedLine;
use crate::AddressError;

/// Why an offer of ours cannot be made now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateOfferError {
    /// Our previous offer is not answered yet (RFC 3264 §4). Wait, or [`rollback`](super::OfferAnswer::rollback) it.
    #[error("an offer is pending: wait for its answer, or roll it back when it was refused")]
    OfferPending,
    /// Every payload type already stands for something else in this session (RFC 3264 §8.3.2).
    #[error("no payload type is left for codec {0}")]
    NoPayloadTypeLeft(String),
    /// The stream moved to another address with the key that it has used so far (RFC 4568 §7.1.4): set fresh keys.
    #[error("stream {stream} moved to another address and needs fresh SDES keys")]
    FreshKeysNeeded {
        /// Index in [`LocalMedia::streams`](super::LocalMedia::streams).
        stream: usize,
    },
    /// No stream is wanted and none ever was: there would be no line to disable.
    #[error("no stream is enabled")]
    NothingToOffer,
}

/// Why the peer's offer is not taken. The agreement before it stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Our own offer is pending: both sides offered at once (RFC 3261 §14.2, RFC 6337 §4.2). Answer 491.
    #[error("our own offer is pending (glare): answer 491")]
    Glare,
    /// No line can be used. Answer 488 with the warnings of the lines.
    #[error("no media of the offer can be used: {}", reasons(lines))]
    NotAcceptable {
        /// All lines of the offer, with reasons.
        lines: Vec<RejectedLine>,
    },
    /// The offer has fewer `m=` lines than the session (RFC 3264 §8). Answer 488.
    #[error(
        "the offer has {offered} media lines where the session has {session}: lines are disabled, never removed"
    )]
    LinesRemoved {
        /// Lines of the session so far.
        session: usize,
        /// Lines of the offer.
        offered: usize,
    },
    /// Two lines in use have changed places (RFC 3264 §8: a line keeps its place). Answer 488.
    #[error("media lines {first} and {second} of the session have changed places")]
    LinesReordered {
        /// Index of a line, from 0.
        first: usize,
        /// Index of the other one.
        second: usize,
    },
    /// A line is in two BUNDLE groups (RFC 9143 §5 forbids it): nobody can tell whose addresses it shares. Answer 488.
    #[error("media line {line} of the offer is in two BUNDLE groups")]
    BundledTwice {
        /// Index of the line, from 0.
        line: usize,
    },
}

fn reasons(lines: &[RejectedLine]) -> String {
    let each = lines.iter().map(|line| format!("line {} ({}): {}", line.line, line.media, line.reason));
    each.collect::<Vec<_>>().join("; ")
}

impl OfferError {
    /// The SIP status to refuse the offer with: 491 (RFC 3261 §21.4.27) or 488 (§21.4.26).
    pub fn status(&self) -> u16 {
        match self {
            OfferError::Glare => 491,
            OfferError::NotAcceptable { .. }
            | OfferError::LinesRemoved { .. }
            | OfferError::LinesReordered { .. }
            | OfferError::BundledTwice { .. } => 488,
        }
    }

    /// Code and text for a Warning header field of the 488 (RFC 3261 §20.43). The text needs quotes and an agent around it.
    pub fn warning(&self) -> Option<(u16, String)> {
        match self {
            OfferError::Glare => None,
            OfferError::NotAcceptable { lines } => {
                let line = lines.iter().max_by_key(|line| line.reason.warning() != 399)?;
                Some((line.reason.warning(), format!("media line {}: {}", line.line, line.reason)))
            }
            OfferError::LinesRemoved { .. } => Some((399, "media lines were removed".to_owned())),
            OfferError::LinesReordered { .. } => Some((399, "media lines changed places".to_owned())),
            OfferError::BundledTwice { .. } => Some((399, "a media line is in two BUNDLE groups".to_owned())),
        }
    }
}

/// Why the peer's answer is no answer to our offer. The offer is spent and the agreement before it stays in force here, but
/// the peer believes in its answer: end the call (BYE), or make a new offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// There is no offer to answer. Of several answers to one offer only the first counts (RFC 3261 §13.2.1).
    #[error("no offer is pending: the exchange is complete already, or never began")]
    NoOffer,
    /// The number of `m=` lines differs (RFC 3264 §6).
    #[error("the answer has {answered} media lines for the {offered} of the offer")]
    LineCount {
        /// Lines of our offer.
        offered: usize,
        /// Lines of the answer.
        answered: usize,
    },
    /// The line is of another media type or transport than in the offer (RFC 3264 §6.1).
    #[error("media line {line} is {answered:?} in the answer and {offered:?} in the offer")]
    Mismatch {
        /// Index of the line, from 0.
        line: usize,
        /// Media type or transport offered.
        offered: String,
        /// Media type or transport answered.
        answered: String,
    },
    /// The line accepts none of the codecs offered.
    #[error("media line {line} of the answer has none of the codecs offered")]
    NoCommonCodec {
        /// Index of the line, from 0.
        line: usize,
    },
    /// The line accepts, but names no address to send to.
    #[error("media line {line} of the answer cannot be sent to: {reason}")]
    Address {
        /// Index of the line, from 0.
        line: usize,
        /// What is wrong with the address.
        reason: AddressError,
    },
    /// The line accepts a unicast offer with a multicast address (RFC 3264 §6.1).
    #[error("media line {line} of the answer names a multicast address")]
    Multicast {
        /// Index of the line, from 0.
        line: usize,
    },
    /// The line accepts with keys that are none of those offered, or not usable, or without any where they are demanded
    /// (RFC 4568 §5.1.3, §7.1.3).
    #[error("media line {line} of the answer has no usable answer to the keys offered")]
    Keys {
        /// Index of the line, from 0.
        line: usize,
    },
    /// We offered RTP and RTCP on one port only, and the line accepts without (RFC 8858 §4).
    #[error("media line {line} of the answer does not multiplex RTCP, which was demanded")]
    RtcpMux {
        /// Index of the line, from 0.
        line: usize,
    },
    /// A BUNDLE group of the answer is not within one of the offer (RFC 9143 §7.4).
    #[error("a BUNDLE group of the answer is not within one of the offer")]
    Bundle,
}
