//! The session description: text in, text out (RFC 8866).

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use sdp_types::{Origin, ParserError, Session, Time};
use zeroize::Zeroize;

use crate::limits::{Limit, Limits};
use crate::section::MediaSection;
use crate::{lenient, parse};

/// Why a text is no session description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The text is larger than we are willing to read.
    #[error("session description exceeds its limit of {maximum} {limit:?} (line {line})")]
    LimitExceeded {
        /// Which limit.
        limit: Limit,
        /// The line (from 1, empty lines not counted) where it was exceeded; 0 for the text as a whole.
        line: usize,
        /// The limit's value.
        maximum: usize,
    },
    /// The text does not follow RFC 8866 §5, even when read leniently.
    #[error("session description is malformed: {0}")]
    Syntax(SyntaxError),
}

impl ParseError {
    /// The SIP status for a request that carried such a body: 413 when too large, else 400 (RFC 3261 §21.4.11, §21.4.1).
    pub fn status(&self) -> u16 {
        match self {
            ParseError::LimitExceeded { .. } => 413,
            ParseError::Syntax(_) => 400,
        }
    }
}

/// What is wrong with the text, and on which line (from 1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(String);

impl From<ParserError> for SyntaxError {
    fn from(error: ParserError) -> Self {
        SyntaxError(error.to_string())
    }
}

/// A session description (RFC 8866): the session level and its media sections, in the order of the text.
///
/// The text is parsed by `sdp-types`; every attribute, known or not, keeps its name, value and place.
/// Reading is lenient where phones in the field err (bare line feeds, an empty or missing `s=`, a missing `t=`, doubled
/// spaces in `m=`, a broken `b=`); printing is strict: CR LF, and no value can add a line.
///
/// ```
/// use sdp::{Direction, SessionDescription};
/// let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
///             m=audio 49170 RTP/AVP 0 8\r\na=sendonly\r\na=x-vendor:kept\r\n";
/// let description = SessionDescription::parse(text.as_bytes())?;
/// let audio = description.media().next().unwrap();
/// assert_eq!(audio.direction(), Direction::SendOnly);
/// assert_eq!(audio.rtp_address()?.to_string(), "192.0.2.1:49170");
/// assert_eq!(description.to_string(), text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SessionDescription {
    /// What was read or given; what was written is read only when somebody asks.
    session: OnceLock<Session>,
    /// What was written here.
    text: Option<Arc<Written>>,
}

/// A description that the machine wrote. Wiped when dropped if there are keys in it (`a=crypto`).
pub(crate) struct Written {
    text: Box<str>,
    secret: bool,
}

impl Written {
    pub(crate) fn new(text: String, secret: bool) -> Arc<Self> {
        // Kept as long as the session: without room for more.
        Arc::new(Written { text: text.into_boxed_str(), secret })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.secret {
            self.text.zeroize();
        }
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        without_keys(&self.text).fmt(f)
    }
}

/// A text to show, with the keys of its `a=crypto` lines left out.
fn without_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, part) in text.split("inline:").enumerate() {
        match index {
            0 => shown.push_str(part),
            _ => {
                shown.push_str("inline:...");
                shown.push_str(
                    part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "+/=".contains(c)),
                );
            }
        }
    }
    shown
}

impl SessionDescription {
    /// Reads a description within the default [`Limits`].
    ///
    /// # Errors
    /// [`ParseError`] when it is too large or malformed.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        Self::parse_within(text, &Limits::default())
    }

    /// Reads a description within `limits`.
    ///
    /// # Errors
    /// [`ParseError`] when it is too large or malformed.
    pub fn parse_within(text: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        if let Some(session) = parse::session(text, limits) {
            return Ok(session.into());
        }
        limits.check(text)?;
        match Session::parse(text) {
            Ok(session) => Ok(session.into()),
            // Only text that fails pays for the second look. The first error is the one that tells about the peer's text.
            Err(error) => match Session::parse(lenient::mend(text).as_bytes()) {
                Ok(session) => Ok(session.into()),
                Err(_) => Err(ParseError::Syntax(error.into())),
            },
        }
    }

    /// What the machine wrote.
    pub(crate) fn written(text: Arc<Written>) -> Self {
        SessionDescription { session: OnceLock::new(), text: Some(text) }
    }

    /// The underlying data model, for everything this crate has no typed view of.
    pub fn session(&self) -> &Session {
        self.session.get_or_init(|| {
            let text = self.text.as_ref().map_or("", |text| text.as_str());
            let read = Self::parse(text.as_bytes()).map(Self::into_session);
            // What we write can be read; the tests of the machine see to it.
            read.unwrap_or_else(|_| Session::new(Origin::with_ip_addr(0, 0, [0, 0, 0, 0]), "-"))
        })
    }

    /// Gives up the wrapper for the underlying data model.
    pub fn into_session(self) -> Session {
        self.session();
        self.session
            .into_inner()
            .unwrap_or_else(|| Session::new(Origin::with_ip_addr(0, 0, [0, 0, 0, 0]), "-"))
    }

    /// The media sections in order, each with the session level behind it.
    pub fn media(&self) -> impl ExactSizeIterator<Item = MediaSection<'_>> {
        let session = self.session();
        session.medias.iter().map(move |media| MediaSection::new(session, media))
    }

    /// The text as bytes, ready to be a message body of type `application/sdp`.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.text {
            Some(text) => text.as_str().as_bytes().to_vec(),
            None => crate::print::session(self.session()).into_bytes(),
        }
    }
}

impl PartialEq for SessionDescription {
    fn eq(&self, other: &Self) -> bool {
        self.session() == other.session()
    }
}

impl Eq for SessionDescription {}

impl From<Session> for SessionDescription {
    /// Wraps a data model. A missing `t=` becomes the `t=0 0` that is printed for it, so that equal text means equal values.
    fn from(mut session: Session) -> Self {
        if session.times.is_empty() {
            session.times.push(Time::new(0, 0));
        }
        SessionDescription { session: OnceLock::from(session), text: None }
    }
}

impl FromStr for SessionDescription {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text.as_str()),
            None => f.write_str(&crate::print::session(self.session())),
        }
    }
}

/// Without the keys of `a=crypto` lines, so that a log cannot betray them.
impl fmt::Debug for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionDescription").field(&without_keys(&self.to_string())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_leaves_keys_out() {
        let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 1 RTP/SAVP 0\r\na=crypto:1 X inline:AA+/b==|2^20 KDR=1\r\n";
        let read: SessionDescription = text.parse().unwrap();
        let written = SessionDescription::written(Written::new(text.to_owned(), true));
        for shown in [
            format!("{read:?}"),
            format!("{written:?}"),
            format!("{:?}", Written::new(text.to_owned(), true)),
        ] {
            assert!(shown.contains("inline:...|2^20 KDR=1") && !shown.contains("AA+"), "{shown}");
        }
        assert_eq!(read, written);
        assert_eq!(written.to_string(), text);
    }
}
