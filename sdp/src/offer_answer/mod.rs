//! The offer/answer model (RFC 3264) with the clarifications of RFC 6337, as a pure state machine.

mod error;
mod local;
mod matching;
mod negotiated;
mod payload_types;
mod write;

use sdp_types::{Media, Origin, Session, Time};

pub use error::{AnswerError, CreateOfferError, OfferError};
pub use local::{LocalMedia, LocalMediaError, MAX_CODECS};
pub use negotiated::{MediaStream, Negotiated, RejectReason, RejectedLine};

use crate::limits::MAX_MEDIA;
use crate::{Direction, Payload, SessionDescription};
use matching::Common;
use payload_types::PayloadTypes;
use write::{Audio, Line};

/// The only transport spoken so far: RTP with the audio/video profile of RFC 3551.
const AUDIO_PROTOCOL: &str = "RTP/AVP";
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
    /// That of [`LocalMedia::codecs`].
    Local,
}

/// What may be chosen besides the media.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// Whose order of codecs our answers follow.
    pub codec_order: CodecOrder,
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
    options: Options,
    /// `o=` of the last description sent. Only its version ever changes (RFC 3264 §8).
    origin: Origin,
    /// As text: it is kept for the whole session, and looked at when the next one is made.
    last_sent: Option<Box<str>>,
    numbers: PayloadTypes,
    agreed: Option<Box<Agreement>>,
    offered: Option<Box<Offered>>,
    /// The agreement before the last answer of ours, for [`OfferAnswer::undo_answer`].
    before_answer: Option<Option<Box<Agreement>>>,
}

/// What an exchange left behind.
#[derive(Clone, Debug)]
struct Agreement {
    negotiated: Negotiated,
    lines: Vec<Line>,
    /// The line of our audio.
    slot: Option<usize>,
    /// `t=`, which an answer has to repeat (RFC 3264 §6).
    times: Vec<Time>,
}

/// Our open offer, as it was when it was made.
#[derive(Clone, Debug)]
struct Offered {
    lines: Vec<Line>,
    slot: usize,
    media: LocalMedia,
    payloads: Vec<Payload>,
    times: Vec<Time>,
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
        let mut origin = Origin::with_ip_addr(session_id, version, local.address.ip());
        origin.username = options
            .username
            .as_deref()
            .map(|name| name.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect::<String>());
        Ok(OfferAnswer {
            local,
            options,
            origin,
            last_sent: None,
            numbers: PayloadTypes::default(),
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
    pub fn last_sent(&self) -> Option<SessionDescription> {
        self.last_sent.as_ref()?.parse().ok()
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

    /// Changes the wish for the direction, from the next offer or answer on (RFC 6337 §5.3). The wish outlives refused
    /// offers and what the peer allows.
    pub fn set_direction(&mut self, direction: Direction) {
        self.local.direction = direction;
    }

    /// Wishes to hold the peer: it shall not send, and may hear music (RFC 3264 §8.4). Takes effect with the next exchange.
    pub fn hold(&mut self) {
        self.set_direction(Direction::SendOnly);
    }

    /// Wishes to talk both ways again.
    pub fn resume(&mut self) {
        self.set_direction(Direction::SendRecv);
    }

    /// An offer to send: in an INVITE or UPDATE, or in the 2xx or reliable 1xx to an INVITE that had none. It holds the
    /// present wishes of the local side (RFC 6337 §5.1), all its codecs, and every line that the session ever had. Its `o=`
    /// version is the last one if nothing differs from what was sent last, else one more (RFC 3264 §8).
    ///
    /// # Errors
    /// [`CreateOfferError`], most likely that an offer is already open.
    pub fn create_offer(&mut self) -> Result<SessionDescription, CreateOfferError> {
        if self.offered.is_some() {
            return Err(CreateOfferError::OfferPending);
        }
        let payloads = write::number(&self.local.codecs, |codec| self.numbers.number_for(codec))
            .map_err(CreateOfferError::NoPayloadTypeLeft)?;
        let (mut lines, slot, times) = match &self.agreed {
            Some(agreed) => (agreed.lines.clone(), agreed.slot, agreed.times.clone()),
            None => (Vec::new(), None, vec![Time::new(0, 0)]),
        };
        let slot = slot.or_else(|| free_slot(&lines)).unwrap_or(lines.len());
        let mut medias: Vec<Media> = lines.iter().map(write::disabled).collect();
        let audio = self.describe_audio(&self.local, self.local.address, self.local.direction, &payloads);
        let line = Line::of(&audio);
        match (medias.get_mut(slot), lines.get_mut(slot)) {
            (Some(media), Some(known)) => {
                *media = audio;
                *known = line;
            }
            _ => {
                medias.push(audio);
                lines.push(line);
            }
        }
        let session = write::session(self.origin.clone(), self.local.address.ip(), &times, medias);
        self.offered = Some(Box::new(Offered { lines, slot, media: self.local.clone(), payloads, times }));
        self.before_answer = None;
        Ok(self.stamp(session))
    }

    /// Takes the answer to our offer and completes the exchange.
    ///
    /// # Errors
    /// [`AnswerError`] when it answers no offer of ours, or not this one. The offer is spent and the agreement before it
    /// stays, whatever the error.
    pub fn receive_answer(&mut self, answer: &SessionDescription) -> Result<&Negotiated, AnswerError> {
        let offered = *self.offered.take().ok_or(AnswerError::NoOffer)?;
        let answered = answer.media().len();
        if answered != offered.lines.len() {
            return Err(AnswerError::LineCount { offered: offered.lines.len(), answered });
        }
        let mut negotiated = Negotiated::default();
        for (index, (section, line)) in answer.media().zip(&offered.lines).enumerate() {
            require_same(index, &line.media, section.kind())?;
            if index == offered.slot && section.port() != 0 {
                require_same(index, &line.protocol, section.protocol())?;
                negotiated.streams.push(self.answered_stream(index, &section, &offered)?);
            } else {
                // A line that we offered with port 0 stays so, even if the answer does not see it (RFC 3264 §8.2).
                let disabled = index != offered.slot;
                let reason = if disabled { RejectReason::Disabled } else { RejectReason::RejectedByPeer };
                negotiated.rejected.push(RejectedLine { line: index, media: line.media.clone(), reason });
            }
        }
        let slot = negotiated.audio().map(|stream| stream.line);
        negotiated.shrink();
        let agreed = Agreement { negotiated, lines: offered.lines, slot, times: offered.times };
        Ok(&self.agreed.insert(Box::new(agreed)).negotiated)
    }

    /// Takes an offer of the peer and gives the answer, which must then be sent: the exchange is complete.
    ///
    /// Lines that cannot be used are rejected one by one (port 0, RFC 3264 §6). An offer without any line, or with all lines
    /// disabled, is answered in kind and leaves no stream.
    ///
    /// # Errors
    /// [`OfferError`] with the status to refuse the offer with; the agreement before it stays in force.
    pub fn receive_offer(&mut self, offer: &SessionDescription) -> Result<SessionDescription, OfferError> {
        let (answer, agreement, numbers) = self.evaluate(offer)?;
        self.numbers = numbers;
        self.before_answer = Some(self.agreed.replace(Box::new(agreement)));
        Ok(self.stamp(answer))
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
        let medias = offer.session().medias.iter().map(|media| write::disabled(&Line::of(media))).collect();
        let mut origin = self.origin.clone();
        origin.sess_version = self.next_version();
        write::session(origin, self.local.address.ip(), &offer.session().times, medias).into()
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

    fn evaluate(&self, offer: &SessionDescription) -> Result<(Session, Agreement, PayloadTypes), OfferError> {
        if self.offered.is_some() {
            return Err(OfferError::Glare);
        }
        let (known, slot) =
            self.agreed.as_ref().map_or((0, None), |agreed| (agreed.lines.len(), agreed.slot));
        let offered = offer.media().len();
        if offered < known {
            return Err(OfferError::LinesRemoved { session: known, offered });
        }

        let (mut chosen, mut negotiated) = (None, Negotiated::default());
        let mut numbers = self.numbers.clone();
        // The line in use first: a re-offer that makes another one usable must not move the stream.
        let first = slot.and_then(|slot| offer.media().enumerate().nth(slot));
        let others = offer.media().enumerate().filter(|(index, _)| Some(*index) != slot);
        for (line, section) in first.into_iter().chain(others) {
            // Also with a stream chosen, a line is told its own fault first, so that the same offer is always judged the same.
            let mut tried = numbers.clone();
            let accepted =
                matching::usable(&section).and_then(|remote| self.accept(line, &section, remote, &mut tried));
            let reason = match accepted {
                Ok(_) if chosen.is_some() => RejectReason::AlreadyInUse,
                Ok((stream, direction, common)) => {
                    let payloads: Vec<Payload> = common.into_iter().map(|pair| pair.local).collect();
                    chosen = Some((line, stream.local, direction, payloads));
                    negotiated.streams.push(stream);
                    numbers = tried;
                    continue;
                }
                Err(reason) => reason,
            };
            negotiated.rejected.push(RejectedLine { line, media: section.kind().to_owned(), reason });
        }
        negotiated.rejected.sort_by_key(|rejected| rejected.line);
        negotiated.shrink();
        let all_disabled = negotiated.rejected.iter().all(|line| line.reason == RejectReason::Disabled);
        if chosen.is_none() && !all_disabled {
            return Err(OfferError::NotAcceptable { lines: negotiated.rejected });
        }

        let mut medias: Vec<Media> =
            offer.session().medias.iter().map(|media| write::disabled(&Line::of(media))).collect();
        let mut address = self.local.address.ip();
        if let Some((line, local, direction, payloads)) = &chosen
            && let Some(media) = medias.get_mut(*line)
        {
            address = local.ip();
            *media = self.describe_audio(&self.local, *local, *direction, payloads);
        }
        let agreement = Agreement {
            negotiated,
            lines: medias.iter().map(Line::of).collect(),
            slot: chosen.map(|(line, ..)| line),
            times: offer.session().times.clone(),
        };
        Ok((write::session(self.origin.clone(), address, &agreement.times, medias), agreement, numbers))
    }

    /// The stream that an offered line gives, with the direction and the codecs for the answer.
    fn accept(
        &self,
        line: usize,
        section: &crate::MediaSection<'_>,
        remote: crate::MediaAddress,
        numbers: &mut PayloadTypes,
    ) -> Result<(MediaStream, Direction, Vec<Common>), RejectReason> {
        let local = self.local.address_for(&remote.host).ok_or(RejectReason::IncompatibleAddress)?;
        let common = matching::common_with_offer(section, &self.local, self.options.codec_order, numbers);
        if !matching::has_audio(&common) {
            return Err(RejectReason::NoCommonCodec);
        }
        let direction = self.local.direction.intersect_with_remote(section.direction());
        let held = !section.direction().has_recv() || remote.host.is_unspecified();
        let stream = matching::stream(line, section, (local, remote), direction, held, &common);
        Ok((stream, direction, common))
    }

    /// The stream that the answer gives to our line.
    fn answered_stream(
        &self,
        line: usize,
        section: &crate::MediaSection<'_>,
        offered: &Offered,
    ) -> Result<MediaStream, AnswerError> {
        let remote = section.rtp_address().map_err(|reason| AnswerError::Address { line, reason })?;
        if remote.host.is_multicast() {
            return Err(AnswerError::Multicast { line });
        }
        let common = matching::common_with_answer(section, &offered.payloads);
        if !matching::has_audio(&common) {
            return Err(AnswerError::NoCommonCodec { line });
        }
        // The intersection also mends the common mistake of answering sendrecv to sendonly.
        let direction = offered.media.direction.intersect_with_remote(section.direction());
        let held = match offered.media.direction.has_send() {
            true => !section.direction().has_recv() || remote.host.is_unspecified(),
            // We offered to send nothing, so the answer cannot tell; what was asked of us before still holds.
            false => {
                remote.host.is_unspecified()
                    || self.current().and_then(Negotiated::audio).is_some_and(|stream| stream.held_by_remote)
            }
        };
        let addresses = (offered.media.address, remote);
        Ok(matching::stream(line, section, addresses, direction, held, &common))
    }

    fn describe_audio(
        &self,
        local: &LocalMedia,
        address: std::net::SocketAddr,
        direction: Direction,
        payloads: &[Payload],
    ) -> Media {
        write::audio(&Audio { address, rtcp_port: local.rtcp_port, direction, ptime: local.ptime, payloads })
    }

    /// The next version of `o=`, if something changes.
    fn next_version(&self) -> u64 {
        match self.last_sent {
            Some(_) => self.origin.sess_version.wrapping_add(1),
            None => self.origin.sess_version,
        }
    }

    /// Gives a description its version: the last one if it is the last one, else the next (RFC 3264 §8). Compared with what
    /// was *sent* last, agreed or not, so that the peer never sees one version with two texts.
    fn stamp(&mut self, mut session: Session) -> SessionDescription {
        session.origin = self.origin.clone();
        // Printing is most of the cost: the first one is compared with nothing.
        if let Some(last) = &self.last_sent {
            let same = SessionDescription::from(session.clone());
            if **last == *same.to_string() {
                return same;
            }
        }
        self.origin.sess_version = self.next_version();
        session.origin.sess_version = self.origin.sess_version;
        let next = SessionDescription::from(session);
        self.last_sent = Some(next.to_string().into());
        next
    }
}

/// A line whose place may be used again because its stream was disabled (RFC 3264 §8.1): of audio, or of anything when the
/// session has as many lines as any peer will read.
fn free_slot(lines: &[Line]) -> Option<usize> {
    let audio = lines.iter().position(|line| line.media.eq_ignore_ascii_case("audio"));
    audio.or_else(|| (lines.len() >= MAX_MEDIA).then_some(0))
}

fn require_same(line: usize, offered: &str, answered: &str) -> Result<(), AnswerError> {
    if offered.eq_ignore_ascii_case(answered) {
        return Ok(());
    }
    Err(AnswerError::Mismatch { line, offered: offered.to_owned(), answered: answered.to_owned() })
}
