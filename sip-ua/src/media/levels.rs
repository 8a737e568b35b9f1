//! Levels of the sound beside it (RFC 6464), encrypted where they can be (RFC 6904): what the phone offers, and what was agreed on.

use rtp::audio_stream::Levels;
use rtp::srtp::EncryptedElements;
use sdp::{Extension, ExtensionEncryption, HeaderExtension, MediaStream};

/// RFC 6464 §4.
const URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
/// The V bit is of no use.
const WITHOUT_VOICE: &str = "vad=off";

/// Whether the phone tells in each packet how loud its sound is, and hears it of the other side (RFC 6464): for conferences that
/// choose speakers without decoding. Who sees levels of an encrypted call can guess at what is said (§6), so they go encrypted with
/// SRTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum AudioLevels {
    /// None are offered or taken.
    #[default]
    Off,
    /// Encrypted where the call has SRTP and the other side can (RFC 6904 §4.1), else for everybody on the way to see.
    EncryptedIfPossible,
    /// Encrypted, or none.
    EncryptedOnly,
}

impl AudioLevels {
    /// What is offered and taken.
    pub(super) fn extension(self) -> Option<HeaderExtension> {
        let encryption = match self {
            Self::Off => return None,
            Self::EncryptedIfPossible => ExtensionEncryption::Preferred,
            Self::EncryptedOnly => ExtensionEncryption::Required,
        };
        Some(HeaderExtension::new(URI).with_encryption(encryption))
    }
}

/// What was agreed on, and what of it goes encrypted.
pub(super) fn agreed(audio: &MediaStream) -> (Levels, EncryptedElements) {
    let encrypted = audio.extensions().iter().filter(|extension| extension.encrypted);
    let encrypted = encrypted.map(|extension| extension.id).collect();
    let found = audio.extensions().iter().find(|extension| extension.uri == URI);
    let levels = found.map_or(Levels::default(), |Extension { id, attributes, direction, .. }| Levels {
        send: direction.has_send().then_some(*id),
        receive: direction.has_recv().then_some(*id),
        voice: attributes.as_deref() != Some(WITHOUT_VOICE),
    });
    (levels, encrypted)
}
