//! `message/sipfrag` of the package `refer`: how the referred request goes (RFC 3515 §2.4.5, RFC 3420).

use bytes::Bytes;
use sip_message::body::{BodyError, Fragment};
use sip_message::{Limits, Response, StatusCode};

use crate::event::Body;

/// How the request that a REFER asked for goes: its status line, which is all that is told of it.
///
/// ```
/// use sip_dialog::packages::refer::Report;
/// use sip_message::StatusCode;
/// let report = Report::parse(&"SIP/2.0 486 Busy Here\r\n".into())?.unwrap();
/// assert_eq!((report.status, report.reason.as_deref()), (StatusCode::BUSY_HERE, Some("Busy Here")));
/// assert_eq!(&report.to_body().octets[..], b"SIP/2.0 486 Busy Here\r\n");
/// # Ok::<(), sip_message::body::BodyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The status; from 200 on it is the last report.
    pub status: StatusCode,
    /// Another reason phrase than the registered one.
    pub reason: Option<String>,
}

impl Report {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "message/sipfrag;version=2.0";

    /// A status with its registered phrase.
    pub fn new(status: StatusCode) -> Self {
        Self { status, reason: None }
    }

    /// The status line of a response.
    pub fn of(response: &Response) -> Self {
        Self { status: response.status(), reason: Some(response.reason().into()) }
    }

    /// Reads the body of a NOTIFY; `None` if it is a fragment that does not begin with a status line.
    ///
    /// # Errors
    /// If it is no fragment of a message.
    pub fn parse(body: &Bytes) -> Result<Option<Self>, BodyError> {
        let fragment = Fragment::parse(body, &Limits::default())?;
        Ok(fragment.message().and_then(|message| message.as_response()).map(Self::of))
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        let phrase = self.reason.as_deref().unwrap_or(self.status.reason());
        // What was received is not trusted to be one line.
        let phrase: String = phrase.chars().filter(|c| !c.is_control()).collect();
        let line = format!("SIP/2.0 {} {phrase}\r\n", self.status);
        Body { content_type: Self::CONTENT_TYPE.into(), octets: line.into() }
    }
}
