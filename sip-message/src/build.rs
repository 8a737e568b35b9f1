//! Building requests, and responses from requests.

use crate::fields::plain::tags_of_plain;
use crate::headers::{CSeq, ContentLength, From, Header, Headers, MaxForwards, To};
use crate::syntax::token;
use crate::{AsHeaderName, BuildError, HeaderName, Method, Request, Response, StatusCode, Uri};
use alloc::borrow::Cow;
use bytes::Bytes;

/// A request in the making. The first error is kept and given by [`build`](RequestBuilder::build).
#[derive(Debug)]
#[must_use = "a builder does nothing until build()"]
pub struct RequestBuilder {
    request: Request,
    error: Option<BuildError>,
}

/// A response in the making; it starts with the fields that RFC 3261 §8.2.6 copies from the request.
#[derive(Debug)]
#[must_use = "a builder does nothing until build()"]
pub struct ResponseBuilder {
    response: Response,
    error: Option<BuildError>,
}

/// Fields that every request has (RFC 3261 §8.1.1); Via is added by the layer that sends it.
const MANDATORY: [HeaderName; 4] = [HeaderName::FROM, HeaderName::TO, HeaderName::CALL_ID, HeaderName::CSEQ];

impl Request {
    /// Starts a request. `Max-Forwards: 70` and Content-Length are added if they are not given.
    ///
    /// ```
    /// use sip_message::headers::{CallId, CSeq, From, To};
    /// use sip_message::{Method, Request, Uri};
    /// let (alice, bob): (Uri, Uri) = ("sip:alice@a.example".parse()?, "sip:bob@b.example".parse()?);
    /// let request = Request::builder(Method::Options, &bob)
    ///     .header(&From::new(&alice).with_tag("1928301774"))
    ///     .header(&To::new(&bob))
    ///     .header(&CallId::new("a84b4c76e66710"))
    ///     .header(&CSeq::new(1, Method::Options))
    ///     .raw("X-Trace", "42")
    ///     .build()?;
    /// assert!(request.to_string().starts_with("OPTIONS sip:bob@b.example SIP/2.0\r\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(method: Method, uri: &Uri) -> RequestBuilder {
        let error = (!token(method.as_str())).then(|| BuildError::Method(method.as_str().into()));
        RequestBuilder { request: Self::bare(method, uri), error }
    }

    /// Starts a response to this request: every Via, From, To, Call-ID and CSeq come along as lines
    /// (RFC 3261 §8.2.6.2), Timestamp with a 100 (§8.2.6.1), and Record-Route with whatever may create a
    /// dialog (§12.1.1).
    pub fn reply(&self, status: StatusCode) -> ResponseBuilder {
        let mut response = Response::bare(status, status.reason());
        let trying = status == StatusCode::TRYING;
        let creates = !trying
            && status.code() < 300
            && matches!(self.method(), Method::Invite | Method::Subscribe | Method::Refer | Method::Notify);
        response.headers.copy_known(&self.headers, |name| match name {
            HeaderName::VIA | HeaderName::FROM | HeaderName::TO | HeaderName::CALL_ID | HeaderName::CSEQ => {
                true
            }
            HeaderName::TIMESTAMP => trying,
            HeaderName::RECORD_ROUTE => creates,
            _ => false,
        });
        ResponseBuilder { response, error: None }
    }
}

macro_rules! builder {
    ($kind:ident $field:ident) => {
        impl $kind {
            /// Adds a typed field below others of its name.
            pub fn header<H: Header>(mut self, header: &H) -> Self {
                self.$field.headers.push_back(header);
                self
            }

            /// Adds every element of a field.
            pub fn headers<'h, H: Header + 'h>(mut self, headers: impl IntoIterator<Item = &'h H>) -> Self {
                for header in headers {
                    self.$field.headers.push_back(header);
                }
                self
            }

            /// Adds a field from text.
            pub fn raw(mut self, name: impl AsHeaderName, value: &str) -> Self {
                if let Err(error) = self.$field.headers.push_raw(name, value) {
                    self.error.get_or_insert(error);
                }
                self
            }

            /// Copies every line of a field from other fields.
            pub fn copy(mut self, from: &Headers, name: impl AsHeaderName) -> Self {
                self.$field.headers.copy_from(from, name);
                self
            }

            /// Sets the body; Content-Type and Content-Length follow.
            pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
                self.$field.set_body(content_type, body);
                self
            }
        }
    };
}

builder!(RequestBuilder request);
builder!(ResponseBuilder response);

impl RequestBuilder {
    /// The request.
    ///
    /// # Errors
    /// The first field that could not be written, or the first mandatory field that is missing.
    pub fn build(mut self) -> Result<Request, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let headers = &mut self.request.headers;
        if let Some(&missing) = MANDATORY.iter().find(|&&name| !headers.contains(name)) {
            return Err(BuildError::Missing(missing));
        }
        if !headers.contains(HeaderName::MAX_FORWARDS) {
            headers.push_back(&MaxForwards(70));
        }
        if !headers.contains(HeaderName::CONTENT_LENGTH) {
            headers.push_back(&ContentLength(0));
        }
        Ok(self.request)
    }
}

impl ResponseBuilder {
    /// Gives To this tag, unless the request's To had one (RFC 3261 §8.2.6.2).
    pub fn to_tag(mut self, tag: &str) -> Self {
        let headers = &mut self.response.headers;
        if token(tag)
            && let Some(tags) = headers.text(HeaderName::TO).and_then(tags_of_plain)
        {
            if tags == 0 {
                headers.lengthen(HeaderName::TO, [";tag=", tag]);
            }
            return self;
        }
        // A To that cannot be read stays as it came: the answer to it says 400.
        let _ = headers.update_first::<To>(|to| {
            if to.tag().is_none() {
                to.set_tag(tag);
            }
        });
        self
    }

    /// Replaces the reason phrase.
    pub fn reason(mut self, phrase: &str) -> Self {
        let status = self.response.status();
        self.response.set_status(status, phrase);
        self
    }

    /// The response.
    ///
    /// # Errors
    /// The first field that could not be written.
    pub fn build(mut self) -> Result<Response, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if !self.response.headers.contains(HeaderName::CONTENT_LENGTH) {
            self.response.headers.push_back(&ContentLength(0));
        }
        Ok(self.response)
    }
}

/// The fields that identify a request's dialog and place in it, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `Call-ID`.
    pub call_id: crate::headers::CallId,
    /// `From`.
    pub from: From,
    /// `To`.
    pub to: To,
    /// `CSeq`.
    pub cseq: CSeq,
}

impl Identity {
    /// Reads the four fields.
    ///
    /// # Errors
    /// The first that is missing or malformed.
    pub fn of(headers: &Headers) -> Result<Self, crate::HeaderError> {
        Ok(Self {
            call_id: headers.require()?,
            from: headers.require()?,
            to: headers.require()?,
            cseq: headers.require()?,
        })
    }
}

/// The text of a reason phrase for a person.
pub(crate) type Phrase = Cow<'static, str>;
