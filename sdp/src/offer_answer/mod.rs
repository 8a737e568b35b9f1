//! The offer/answer model (RFC 3264) with the clarifications of RFC 6337, as a pure state machine.

mod answering;
mod bundle;
mod companions;
mod completing;
mod error;
mod extensions;
mod grouping;
mod header_extension;
mod layers;
mod line;
mod lip_sync;
mod local;
mod matching;
mod negotiated;
mod numbers;
mod offering;
mod payload_types;
mod profile;
mod security;
mod simulcast;
mod write;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sdp_types::Time;

pub use companions::Companion;
pub use error::{AnswerError, CreateOfferError, OfferError};
pub use grouping::Grouping;
pub use header_extension::{ExtensionEncryption, HeaderExtension};
pub use layers::{AgreedLayers, Encoding, Layers, LocalEncoding};
pub use local::{
    LocalMedia, LocalMediaError, LocalStream, MAX_CODECS, MAX_STREAMS, OtherTransport, Protection, RtcpMux,
    StreamOptions,
};
pub use negotiated::{
    Extension, Feedback, MediaStream, Negotiated, PeerTransport, RejectReason, RejectedLine, StreamKeys,
};
pub use profile::Profile;

use crate::description::Written;
use crate::{Direction, SessionDescription};
use line::Line;
use numbers::Numbers;
use offering::Offered;
use write::{Description, Section};

/// RFC 3264 §5: session id and version start below 2^62 - 1.
const SESSION_NUMBER_MASK: u64 = (1 << 62) - 1;

/// Where a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No offer is open: offers may be made and received.
    Stable,
    /// Our offer waits for its answer.
    HaveLocalOffer,
}

/// Whose order of codecs an answer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum CodecOrder {
    /// The offer's, so that the same codec is used both ways (recommended by RFC 3264 §6.1).
    #[default]
    Offerer,
    /// That of [`LocalStream::codecs`].
    Local,
}

/// How holding the peer is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum HoldStyle {
    /// By the direction alone: `sendonly`, or `inactive` (RFC 3264 §8.4).
    #[default]
    Direction,
    /// By the address `0.0.0.0` as well, for peers that know only RFC 2543. They then have nowhere to send RTCP.
    Address,
}

/// What may be chosen besides the media.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// Whose order of codecs our answers follow.
    pub codec_order: CodecOrder,
    /// How holding the peer is said.
    pub hold_style: HoldStyle,
    /// The user name of `o=`, `-` if `None`. Spaces and control characters are left out.
    pub username: Option<String>,
    /// The first version in `o=`; the session id if `None`.
    pub first_version: Option<u64>,
}

/// One side of one session's offers and answers.
///
/// ```text
///                       create_offer
///              +-----------------------------+
///              |                             v
///        +----------+  receive_answer  +----------------+
///  ----->|  Stable  |<-----------------| HaveLocalOffer |--+
///        +----------+     rollback     +----------------+  | receive_offer: Glare, answer 491
///           |    ^                            ^            | create_offer: OfferPending
///           +----+                            +------------+
///        receive_offer, gives the answer
/// ```
///
/// (RFC 3264 §4; the figures of RFC 6337 §2 with the state "remote offer" left at once.) The agreement in force
/// ([`OfferAnswer::current`]) changes when an exchange completes and at no other time: with [`OfferAnswer::receive_answer`],
/// or with [`OfferAnswer::receive_offer`], whose answer must then be sent.
#[derive(Clone, Debug)]
pub struct OfferAnswer {
    local: LocalMedia,
    options: Choices,
    /// The wish to hold the peer, beside the directions of the streams.
    held: bool,
    origin: Origin,
    last_sent: LastSent,
    numbers: Numbers,
    agreed: Option<Box<Agreement>>,
    offered: Option<Box<Offered>>,
    /// The agreement before the last answer of ours, for [`OfferAnswer::undo_answer`].
    before_answer: Option<Option<Box<Agreement>>>,
}

/// The last description that left: looked at when the next one is made.
#[derive(Clone, Debug)]
enum LastSent {
    Nothing,
    Whole(Arc<Written>),
    /// Its [`fingerprint`].
    Settled(u64),
}

/// Tells a description of ours from the one before it. Two with one fingerprint would both go out under one version: the peer, if it
/// looks at that alone, would miss a change that it must have caused itself.
fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Of the [`Options`], what is needed all the time.
#[derive(Clone, Copy, Debug)]
struct Choices {
    codec_order: CodecOrder,
    hold_style: HoldStyle,
}

/// `o=` of the last description sent. Only its version ever changes (RFC 3264 §8).
#[derive(Clone, Debug)]
struct Origin {
    username: Option<Box<str>>,
    session_id: u64,
    version: u64,
    address: IpAddr,
}

/// What an exchange left behind.
#[derive(Clone, Debug)]
struct Agreement {
    negotiated: Negotiated,
    lines: Vec<Line>,
    /// `t=`, which an answer has to repeat (RFC 3264 §6); empty for `t=0 0`.
    times: Box<[Time]>,
    /// The wish that went into it.
    held: bool,
}

impl OfferAnswer {
    /// A machine for a new session. `session_id` goes into `o=` and should be unique per session (RFC 8866 §5.2): draw it
    /// at random; its two highest bits are not used (RFC 3264 §5).
    ///
    /// # Errors
    /// [`LocalMediaError`] when `local` could not be described.
    pub fn new(local: LocalMedia, session_id: u64) -> Result<Self, LocalMediaError> {
        Self::with_options(local, session_id, Options::default())
    }

    /// As [`OfferAnswer::new`], with options.
    ///
    /// # Errors
    /// [`LocalMediaError`] when `local` could not be described.
    pub fn with_options(
        local: LocalMedia,
        session_id: u64,
        options: Options,
    ) -> Result<Self, LocalMediaError> {
        local.validate()?;
        let session_id = session_id & SESSION_NUMBER_MASK;
        let version = options.first_version.map_or(session_id, |version| version & SESSION_NUMBER_MASK);
        let word = |name: String| {
            name.chars()
                .filter(|c| !c.is_whitespace() && !c.is_control())
                .collect::<String>()
                .into_boxed_str()
        };
        let username = options.username.map(word);
        let origin = Origin { username, session_id, version, address: local.ip() };
        Ok(OfferAnswer {
            local,
            options: Choices { codec_order: options.codec_order, hold_style: options.hold_style },
            held: false,
            origin,
            last_sent: LastSent::Nothing,
            numbers: Numbers::default(),
            agreed: None,
            offered: None,
            before_answer: None,
        })
    }

    /// Where the machine stands.
    pub fn state(&self) -> State {
        if self.offered.is_some() { State::HaveLocalOffer } else { State::Stable }
    }

    /// The agreement in force: that of the last completed exchange. An open offer does not touch it.
    pub fn current(&self) -> Option<&Negotiated> {
        self.agreed.as_ref().map(|agreed| &agreed.negotiated)
    }

    /// The last description sent, for repeating it where a message has to carry the same once more (RFC 3261 §13.2.1).
    /// `None` before the first, and after [`settle`](Self::settle).
    pub fn last_sent(&self) -> Option<SessionDescription> {
        match &self.last_sent {
            LastSent::Whole(text) => Some(SessionDescription::written(Arc::clone(text))),
            LastSent::Nothing | LastSent::Settled(_) => None,
        }
    }

    /// The last description has arrived and need not be repeated: of it only so much is kept as tells whether the next one is
    /// equal (RFC 3264 §8). For those with many sessions that stand.
    pub fn settle(&mut self) {
        if let LastSent::Whole(text) = &self.last_sent {
            self.last_sent = LastSent::Settled(fingerprint(text.as_str()));
        }
    }

    /// What the local side brings.
    pub fn local(&self) -> &LocalMedia {
        &self.local
    }

    /// Changes what the local side brings, from the next offer or answer on.
    ///
    /// # Errors
    /// [`LocalMediaError`] when `local` could not be described; nothing is changed then.
    pub fn set_local(&mut self, local: LocalMedia) -> Result<(), LocalMediaError> {
        local.validate()?;
        self.local = local;
        Ok(())
    }

    /// Changes one stream of the local side: its direction, its codecs, its keys, whether it is wanted at all.
    ///
    /// # Errors
    /// [`LocalMediaError`] when it could not be described, or there is no such stream; nothing is changed then.
    pub fn change_stream(
        &mut self,
        stream: usize,
        change: impl FnOnce(&mut LocalStream),
    ) -> Result<(), LocalMediaError> {
        let mut local = self.local.clone();
        change(local.streams.get_mut(stream).ok_or(LocalMediaError::NoStream)?);
        self.set_local(local)
    }

    /// Adds a stream, to be offered next, and accepted. Gives its index.
    ///
    /// # Errors
    /// [`LocalMediaError`] when it could not be described; nothing is changed then.
    pub fn add_stream(&mut self, stream: LocalStream) -> Result<usize, LocalMediaError> {
        let local = self.local.clone().with_stream(stream);
        let index = self.local.streams.len();
        self.set_local(local).map(|()| index)
    }

    /// Wishes to end a stream. It keeps its index; [`OfferAnswer::change_stream`] can enable it again.
    ///
    /// # Errors
    /// [`LocalMediaError::NoStream`] when there is no such stream.
    pub fn remove_stream(&mut self, stream: usize) -> Result<(), LocalMediaError> {
        self.change_stream(stream, |stream| stream.enabled = false)
    }

    /// Changes the wish for the direction of all streams, from the next offer or answer on (RFC 6337 §5.3). The wish outlives
    /// refused offers and what the peer allows. It ends a hold.
    pub fn set_direction(&mut self, direction: Direction) {
        self.held = false;
        self.local.streams.iter_mut().for_each(|stream| stream.direction = direction);
    }

    /// Wishes to hold the peer: it shall not send, and may hear music (RFC 3264 §8.4). Takes effect with the next exchange.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Wishes to hold the peer no longer: each stream has its own direction again.
    pub fn resume(&mut self) {
        self.held = false;
    }

    /// Gives up a wish to hold or resume that was not granted: that of the agreement in force counts again.
    pub fn revert_hold(&mut self) {
        self.held = self.agreed.as_ref().is_some_and(|agreed| agreed.held);
    }

    /// The direction that the local side wants for a stream now.
    fn wish(&self, stream: &LocalStream) -> Direction {
        match (self.held, stream.direction.has_send()) {
            (false, _) => stream.direction,
            (true, true) => Direction::SendOnly,
            (true, false) => Direction::Inactive,
        }
    }

    /// The address to tell the peer for one of ours.
    fn told(&self, address: SocketAddr) -> SocketAddr {
        match self.held && self.options.hold_style == HoldStyle::Address {
            true => local::nowhere(address),
            false => address,
        }
    }

    /// Takes an offer of the peer and gives the answer, which must then be sent: the exchange is complete.
    ///
    /// Lines that cannot be used are rejected one by one (port 0, RFC 3264 §6). An offer without any line, or with all lines
    /// disabled, is answered in kind and leaves no stream.
    ///
    /// # Errors
    /// [`OfferError`] with the status to refuse the offer with; the agreement before it stays in force.
    pub fn receive_offer(&mut self, offer: &SessionDescription) -> Result<SessionDescription, OfferError> {
        let (description, agreement, numbers) = self.evaluate(offer)?;
        let (text, version) = self.stamped(&description);
        self.numbers = numbers;
        self.before_answer = Some(self.agreed.replace(Box::new(agreement)));
        Ok(self.sent(text, version))
    }

    /// What [`OfferAnswer::receive_offer`] would agree on now, changing nothing: for a phone that rings first and answers
    /// later, but refuses at once what it cannot take.
    ///
    /// # Errors
    /// As [`OfferAnswer::receive_offer`].
    pub fn preview_offer(&self, offer: &SessionDescription) -> Result<Negotiated, OfferError> {
        self.evaluate(offer).map(|(_, agreement, _)| agreement.negotiated)
    }

    /// A valid answer that rejects every line, changing nothing: for the ACK to a 2xx whose offer cannot be taken, before the
    /// BYE (RFC 3261 §13.2.2.4).
    pub fn refusal(&self, offer: &SessionDescription) -> SessionDescription {
        let offer = offer.session();
        let sections = offer.medias.iter().map(|media| Section::Disabled(Line::of(media))).collect();
        let description = Description {
            address: self.local.ip(),
            times: times_of(&offer.times),
            groups: Vec::new(),
            sections,
        };
        SessionDescription::written(description.text(&self.origin, self.next_version()))
    }

    /// Withdraws our open offer after it was refused (488, 491, or the request failed): the agreement before it stays in
    /// force (RFC 3261 §14.1, RFC 6337 §3.4). The wishes of the local side stay too. False if no offer was open.
    pub fn rollback(&mut self) -> bool {
        self.offered.take().is_some()
    }

    /// Takes back the last answer of ours because it did not become valid: its request ended with an error after all
    /// (RFC 6141 §3.3). False if the last exchange was not an answer of ours.
    pub fn undo_answer(&mut self) -> bool {
        match self.before_answer.take() {
            Some(before) => {
                self.agreed = before;
                true
            }
            None => false,
        }
    }

    /// The next version of `o=`, if something changes.
    fn next_version(&self) -> u64 {
        match self.last_sent {
            LastSent::Nothing => self.origin.version,
            LastSent::Whole(_) | LastSent::Settled(_) => self.origin.version.wrapping_add(1),
        }
    }

    /// Gives a description its version: the last one if it is the last one, else the next (RFC 3264 §8). Compared with what
    /// was *sent* last, agreed or not, so that the peer never sees one version with two texts.
    fn stamped(&self, description: &Description<'_>) -> (Arc<Written>, u64) {
        if !matches!(self.last_sent, LastSent::Nothing) {
            let same = description.text(&self.origin, self.origin.version);
            let is_last = match &self.last_sent {
                LastSent::Nothing => false,
                LastSent::Whole(last) => last.as_str() == same.as_str(),
                LastSent::Settled(last) => *last == fingerprint(same.as_str()),
            };
            if is_last {
                return (same, self.origin.version);
            }
        }
        let version = self.next_version();
        (description.text(&self.origin, version), version)
    }

    fn sent(&mut self, text: Arc<Written>, version: u64) -> SessionDescription {
        self.origin.version = version;
        self.last_sent = LastSent::Whole(Arc::clone(&text));
        SessionDescription::written(text)
    }
}

/// `t=`, without the one that nearly all have.
fn times_of(times: &[Time]) -> &[Time] {
    match times {
        [only] if *only == Time::new(0, 0) => &[],
        times => times,
    }
}

/// An index of a stream or a line: there are at most [`MAX_STREAMS`] and [`MAX_MEDIA`](crate::limits::MAX_MEDIA).
fn index_of(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}
