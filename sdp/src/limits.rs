//! What a peer may make us hold: checked on the raw bytes, before anything is allocated for them.

use crate::ParseError;

/// Largest description in bytes. A SIP message over UDP cannot carry more than 64 KiB, and the largest browser
/// offers seen are near 30 KiB; more is an attack on memory.
pub const MAX_BYTES: usize = 64 * 1024;
/// Longest single line in bytes. The longest legitimate ones (`a=identity`, `a=crypto` with many keys) stay below.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// Most lines in a description. Each becomes at least one allocation, so 64 KiB of `a=x` must not become 16,000.
pub const MAX_LINES: usize = 2_000;
/// Most `m=` sections. They can never be removed again within a session (RFC 3264 §8), so both sides carry and
/// repeat them in every later offer.
pub const MAX_MEDIA: usize = 64;
/// Most `a=` lines in one section (session level or one `m=`). Attribute look-up is a linear scan.
pub const MAX_ATTRIBUTES: usize = 512;
/// Most formats on one `m=` line: there are only 128 RTP payload types, and each one is looked up among the
/// attributes of its section.
pub const MAX_FORMATS: usize = 128;

/// Upper bounds for a received session description. [`Limits::default`] takes the constants of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all, see [`MAX_BYTES`].
    pub bytes: usize,
    /// Bytes of one line without its line end, see [`MAX_LINE_BYTES`].
    pub line_bytes: usize,
    /// Lines in all, see [`MAX_LINES`].
    pub lines: usize,
    /// `m=` sections, see [`MAX_MEDIA`].
    pub media: usize,
    /// `a=` lines of one section, see [`MAX_ATTRIBUTES`].
    pub attributes: usize,
    /// Formats of one `m=` line, see [`MAX_FORMATS`].
    pub formats: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: MAX_BYTES,
            line_bytes: MAX_LINE_BYTES,
            lines: MAX_LINES,
            media: MAX_MEDIA,
            attributes: MAX_ATTRIBUTES,
            formats: MAX_FORMATS,
        }
    }
}

/// Which of the [`Limits`] a description exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::bytes`].
    Bytes,
    /// [`Limits::line_bytes`].
    LineBytes,
    /// [`Limits::lines`].
    Lines,
    /// [`Limits::media`].
    Media,
    /// [`Limits::attributes`].
    Attributes,
    /// [`Limits::formats`].
    Formats,
}

impl Limit {
    fn exceeded(self, line: usize, maximum: usize) -> ParseError {
        ParseError::LimitExceeded { limit: self, line, maximum }
    }
}

impl Limits {
    /// Checks the raw text. Lines count from 1, as in [`ParseError::Syntax`].
    pub(crate) fn check(&self, text: &[u8]) -> Result<(), ParseError> {
        if text.len() > self.bytes {
            return Err(Limit::Bytes.exceeded(0, self.bytes));
        }
        let (mut media, mut attributes) = (0_usize, 0_usize);
        // CR alone ends a line for the lenient reader, so it does here as well; CR LF then shows an extra empty line.
        let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty());
        for (number, line) in (1_usize..).zip(lines) {
            if number > self.lines {
                return Err(Limit::Lines.exceeded(number, self.lines));
            }
            if line.len() > self.line_bytes {
                return Err(Limit::LineBytes.exceeded(number, self.line_bytes));
            }
            match line {
                [b'm', b'=', rest @ ..] => {
                    media = media.saturating_add(1);
                    attributes = 0;
                    if media > self.media {
                        return Err(Limit::Media.exceeded(number, self.media));
                    }
                    let fields = rest.split(|byte| *byte == b' ').filter(|field| !field.is_empty()).count();
                    if fields.saturating_sub(3) > self.formats {
                        return Err(Limit::Formats.exceeded(number, self.formats));
                    }
                }
                [b'a', b'=', ..] => {
                    attributes = attributes.saturating_add(1);
                    if attributes > self.attributes {
                        return Err(Limit::Attributes.exceeded(number, self.attributes));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
