//! What an RTP header extension is (RFC 8285), in either form (RFC 6904).

use std::borrow::Cow;

use super::negotiated::Extension;
use crate::Direction;

/// RFC 6904 §4: what stands behind it goes encrypted.
pub(super) const ENCRYPTED: &str = "urn:ietf:params:rtp-hdrext:encrypt";

/// Whether a header extension goes encrypted where media is SRTP (RFC 6904 §4). Media that is plain RTP has no encrypted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ExtensionEncryption {
    /// Never: it is for everybody on the way to read, as a clock or a name of a stream can be.
    #[default]
    Never,
    /// If the peer can: offered in both forms, of which a peer that knows RFC 6904 takes the encrypted one; taken in either. Only
    /// where it does no harm if somebody on the way reads it (RFC 6904 §4.1).
    Preferred,
    /// Encrypted, or it is not used.
    Required,
}

impl ExtensionEncryption {
    /// The forms to try in media that can have encrypted ones or not, most wanted first; `true` is the encrypted one.
    pub(super) fn forms(self, encryptable: bool) -> &'static [bool] {
        match (self, encryptable) {
            (Self::Never, _) | (Self::Preferred, false) => &[false],
            (Self::Preferred, true) => &[true, false],
            (Self::Required, true) => &[true],
            (Self::Required, false) => &[],
        }
    }
}

/// An RTP header extension that the local side takes (RFC 8285).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderExtension {
    /// What it is.
    pub uri: String,
    /// Its configuration, the `extensionattributes` of RFC 8285 §8. Without, it is offered without and that of an offer is
    /// taken, whatever it is; with, nothing else is the same extension.
    pub attributes: Option<String>,
    /// Who may use it, seen from here. What the direction of the stream does not allow is not said.
    pub direction: Direction,
    /// Whether it goes encrypted.
    pub encryption: ExtensionEncryption,
}

impl HeaderExtension {
    /// In both directions, in whatever configuration, and never encrypted.
    pub fn new(uri: impl Into<String>) -> Self {
        let encryption = ExtensionEncryption::Never;
        HeaderExtension { uri: uri.into(), attributes: None, direction: Direction::SendRecv, encryption }
    }

    /// The same in this configuration alone.
    #[must_use]
    pub fn with_attributes(self, attributes: impl Into<String>) -> Self {
        HeaderExtension { attributes: Some(attributes.into()), ..self }
    }

    /// The same in another direction.
    #[must_use]
    pub fn with_direction(self, direction: Direction) -> Self {
        HeaderExtension { direction, ..self }
    }

    /// The same, encrypted or not.
    #[must_use]
    pub fn with_encryption(self, encryption: ExtensionEncryption) -> Self {
        HeaderExtension { encryption, ..self }
    }

    pub(super) fn is(&self, named: Named<'_>) -> bool {
        self.uri == named.uri && self.attributes.as_deref().is_none_or(|own| Some(own) == named.attributes)
    }
}

impl From<&str> for HeaderExtension {
    fn from(uri: &str) -> Self {
        HeaderExtension::new(uri)
    }
}

impl From<String> for HeaderExtension {
    fn from(uri: String) -> Self {
        HeaderExtension::new(uri)
    }
}

/// What an identifier stands for. Each form of an extension has its own (RFC 6904 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) encrypted: bool,
    pub(super) uri: &'a str,
    pub(super) attributes: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// What stands behind the identifier. `encrypt` applied to itself, or to nothing, is none (RFC 6904 §4).
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let (first, rest) = first_word(text);
        let encrypted = first == ENCRYPTED;
        let (uri, attributes) = if encrypted { first_word(rest) } else { (first, rest) };
        let attributes = Some(attributes).filter(|text| !text.is_empty());
        (!uri.is_empty() && uri != ENCRYPTED).then_some(Named { encrypted, uri, attributes })
    }

    /// The same extension, in the other form.
    pub(super) fn is_counterpart(&self, other: &Named<'_>) -> bool {
        self.encrypted != other.encrypted && self.uri == other.uri && self.attributes == other.attributes
    }
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim())
}

impl Extension {
    pub(super) fn named(&self) -> Named<'_> {
        Named { encrypted: self.encrypted, uri: &self.uri, attributes: self.attributes.as_deref() }
    }
}

/// One `a=extmap` line of ours.
#[derive(Clone, Debug)]
pub(super) struct SaidExtension<'m> {
    /// Real or provisional.
    pub(super) id: u16,
    pub(super) encrypted: bool,
    pub(super) uri: Cow<'m, str>,
    pub(super) attributes: Option<Cow<'m, str>>,
    pub(super) direction: Direction,
}

impl SaidExtension<'_> {
    pub(super) fn named(&self) -> Named<'_> {
        Named { encrypted: self.encrypted, uri: &self.uri, attributes: self.attributes.as_deref() }
    }

    pub(super) fn into_owned(self) -> SaidExtension<'static> {
        SaidExtension {
            uri: Cow::Owned(self.uri.into_owned()),
            attributes: self.attributes.map(|text| Cow::Owned(text.into_owned())),
            ..self
        }
    }
}
