//! What is sent and received at once of one source (simulcast, RFC 8853): what the local side brings, and what is agreed on.

use super::local::LocalMediaError;
use super::negotiated::MediaStream;
use crate::Codec;
use crate::attributes::Restrictions;
use crate::levels::leave_room;

/// The layers that the local side sends and receives at once in one stream (RFC 8853).
///
/// In an offer they are said by their names. In an answer it is their number that counts, and what they can do: the names are
/// those of the offer. A stream of the offer takes the layer of its name, else the first one free that fits.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Layers {
    /// What can be sent at once, most wanted first. Each is a list of alternatives, most wanted first.
    pub send: Vec<Vec<LocalEncoding>>,
    /// What can be received at once, as [`send`](Self::send).
    pub receive: Vec<Vec<LocalEncoding>>,
}

/// One way to encode a layer, as an `a=rid` line says it (RFC 8851).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEncoding {
    /// Its name: letters, digits, `-` and `_`; once in the stream.
    pub rid: String,
    /// The codecs it is of, among those of the stream; any if there is none here.
    pub codecs: Vec<Codec>,
    /// What it keeps within.
    pub restrictions: Restrictions,
    /// Offered as not sent at first. Said if the stream takes the feedback message `ccm pause` (RFC 7728).
    pub paused: bool,
}

impl Layers {
    /// None.
    pub fn new() -> Self {
        Layers::default()
    }

    /// The same with these to send at once, most wanted first, each without an alternative.
    #[must_use]
    pub fn sending(self, encodings: impl IntoIterator<Item = LocalEncoding>) -> Self {
        Layers { send: encodings.into_iter().map(|encoding| vec![encoding]).collect(), ..self }
    }

    /// The same with these to receive at once, most wanted first, each without an alternative.
    #[must_use]
    pub fn receiving(self, encodings: impl IntoIterator<Item = LocalEncoding>) -> Self {
        Layers { receive: encodings.into_iter().map(|encoding| vec![encoding]).collect(), ..self }
    }

    fn encodings(&self) -> impl Iterator<Item = &LocalEncoding> + Clone {
        self.send.iter().chain(&self.receive).flatten()
    }

    pub(super) fn validate(&self, codecs: &[Codec]) -> Result<(), LocalMediaError> {
        let mut encodings = self.encodings();
        while let Some(encoding) = encodings.next() {
            // RFC 8851 §8: limits and codecs leave something between them.
            let room = |codec: &Codec| codec.is_primary() && leave_room(codec, &encoding.restrictions);
            let mut its = match encoding.codecs.as_slice() {
                [] => codecs.iter(),
                own => own.iter(),
            };
            let has = |codec: &Codec| codecs.iter().any(|known| known.is_primary() && known == codec);
            let sound = is_rid(&encoding.rid)
                && encoding.codecs.iter().all(has)
                && encoding.restrictions.is_sound()
                && its.any(room)
                && encodings.clone().all(|other| other.rid != encoding.rid);
            if !sound {
                return Err(LocalMediaError::InvalidLayer(encoding.rid.clone()));
            }
        }
        match self.send.iter().chain(&self.receive).any(Vec::is_empty) {
            true => Err(LocalMediaError::InvalidLayer(String::new())),
            false => Ok(()),
        }
    }
}

impl LocalEncoding {
    /// Of any codec of the stream, without restrictions.
    pub fn new(rid: impl Into<String>) -> Self {
        let rid = rid.into();
        LocalEncoding { rid, codecs: Vec::new(), restrictions: Restrictions::new(), paused: false }
    }

    /// The same of these codecs alone.
    #[must_use]
    pub fn with_codecs(self, codecs: impl IntoIterator<Item = Codec>) -> Self {
        LocalEncoding { codecs: codecs.into_iter().collect(), ..self }
    }

    /// The same within these restrictions.
    #[must_use]
    pub fn within(self, restrictions: Restrictions) -> Self {
        LocalEncoding { restrictions, ..self }
    }

    /// The same, not sent at first.
    #[must_use]
    pub fn paused(self) -> Self {
        LocalEncoding { paused: true, ..self }
    }

    pub(super) fn takes(&self, codec: &Codec) -> bool {
        self.codecs.is_empty() || self.codecs.iter().any(|own| own.is_compatible(codec))
    }
}

/// RFC 8851 §10: `rid-id`.
fn is_rid(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The layers that both sides agreed on, as the local side sees them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AgreedLayers {
    /// What is sent at once, most wanted first; of the alternatives of each, one at a time. Not in simulcast if empty.
    pub send: Vec<Vec<Encoding>>,
    /// What may arrive at once, as [`send`](Self::send).
    pub receive: Vec<Vec<Encoding>>,
}

/// One way to encode a layer that both sides know.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Its name, in the SDES item or header extension `RtpStreamId` of its packets (RFC 8852).
    pub rid: String,
    /// The payload types it comes in, most wanted first: the peer's for sending, ours for receiving. Any if there is none here.
    pub payload_types: Vec<u8>,
    /// What it keeps within.
    pub restrictions: Restrictions,
    /// The layers that it needs, by their names.
    pub depends_on: Vec<String>,
    /// It is not sent at first (RFC 7728).
    pub paused: bool,
}

impl Encoding {
    /// What a picture keeps within in this encoding when it is of `codec`: the smaller of what the encoding and the codec's parameters
    /// allow (RFC 8851 §8). For what is sent, `codec` is that of [`MediaStream::send`], whose parameters are what the peer takes; for what
    /// is received, that of [`MediaStream::receive`].
    pub fn limits(&self, codec: &Codec) -> Restrictions {
        self.restrictions.and(&codec.picture_limits())
    }
}

impl AgreedLayers {
    /// The encoding of that name, sent or received.
    pub fn encoding(&self, rid: &str) -> Option<&Encoding> {
        self.send.iter().chain(&self.receive).flatten().find(|encoding| encoding.rid == rid)
    }
}

impl MediaStream {
    /// What is sent and received at once, if that is agreed on (simulcast). Without, there is one encoding each way.
    pub fn layers(&self) -> Option<&AgreedLayers> {
        self.details.as_ref()?.layers.as_deref()
    }
}
