//! An `m=` line as both sides remember it: lines keep their place for the whole session (RFC 3264 §8).

use sdp_types::Media;

/// Kept as long as the session, so as small as can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `<media> <protocol> <formats>`. No port: that is known by other means.
    text: Box<str>,
    /// The stream of ours that uses it.
    pub(super) stream: Option<u8>,
    /// Its name, once it has one.
    pub(super) mid: Option<Box<str>>,
}

impl Line {
    pub(super) fn of(media: &Media) -> Self {
        Self::new(&media.media, &media.proto, &media.fmt)
    }

    pub(super) fn new(media: &str, protocol: &str, formats: &str) -> Self {
        Line { text: [media, " ", protocol, " ", formats].concat().into(), stream: None, mid: None }
    }

    /// The same, in use by a stream of ours.
    pub(super) fn used_by(self, stream: u8) -> Self {
        Line { stream: Some(stream), ..self }
    }

    /// The same under a name.
    pub(super) fn named(self, mid: Option<Box<str>>) -> Self {
        Line { mid, ..self }
    }

    pub(super) fn media(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    pub(super) fn protocol(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }

    pub(super) fn formats(&self) -> &str {
        self.text.splitn(3, ' ').nth(2).unwrap_or_default()
    }
}
