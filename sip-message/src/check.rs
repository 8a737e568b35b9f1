//! Is a message fit to be worked on, and if not: which status does the RFC name?

use crate::build::Phrase;
use crate::fields::plain::{ReadableCallId, ReadableFrom, ReadableTo, ReadableVia};
use crate::headers::*;
use crate::syntax::{elements, find_outside};
use crate::{
    CheckError, HeaderError, HeaderName, Limits, Method, ParseErrorKind, Request, Response, StatusCode, Uri,
};
use alloc::format;

mod short;

use short::method_of_plain;

fn refuse(
    status: StatusCode,
    section: &'static str,
    name: Option<HeaderName>,
    reason: impl Into<Phrase>,
) -> CheckError {
    CheckError { status, reason: reason.into(), name, section }
}

fn bad(section: &'static str, reason: impl Into<Phrase>) -> CheckError {
    refuse(StatusCode::BAD_REQUEST, section, None, reason)
}

fn bad_field(name: HeaderName, reason: impl Into<Phrase>) -> CheckError {
    refuse(StatusCode::BAD_REQUEST, name.rfc(), Some(name), reason)
}

fn of_header(error: &HeaderError) -> CheckError {
    match error {
        HeaderError::Missing(name) => bad_field(*name, format!("Missing {name} header field")),
        HeaderError::Malformed { name, error } => bad_field(*name, format!("Malformed {name}: {error}")),
    }
}

fn require<H: Header>(headers: &Headers) -> Result<H, CheckError> {
    headers.require().map_err(|error| of_header(&error))
}

fn optional<H: Header>(headers: &Headers) -> Result<Option<H>, CheckError> {
    headers.get().map_err(|error| of_header(&error))
}

/// Fields of which a second one contradicts the first (RFC 3261 §7.3.1, RFC 4475 §3.3.8). Those that only
/// inform (Subject, Date, User-Agent) may stand twice: refusing a call for that helps nobody.
const SINGLE: [HeaderName; 27] = [
    HeaderName::FROM,
    HeaderName::TO,
    HeaderName::CALL_ID,
    HeaderName::CSEQ,
    HeaderName::MAX_FORWARDS,
    HeaderName::MAX_BREADTH,
    HeaderName::CONTENT_LENGTH,
    HeaderName::CONTENT_TYPE,
    HeaderName::CONTENT_DISPOSITION,
    HeaderName::CONTENT_ID,
    HeaderName::EXPIRES,
    HeaderName::MIN_EXPIRES,
    HeaderName::SESSION_EXPIRES,
    HeaderName::MIN_SE,
    HeaderName::RSEQ,
    HeaderName::RACK,
    HeaderName::EVENT,
    HeaderName::SUBSCRIPTION_STATE,
    HeaderName::REFER_TO,
    HeaderName::REFERRED_BY,
    HeaderName::REPLACES,
    HeaderName::JOIN,
    HeaderName::TARGET_DIALOG,
    HeaderName::SIP_ETAG,
    HeaderName::SIP_IF_MATCH,
    HeaderName::INFO_PACKAGE,
    HeaderName::SESSION_ID,
];

/// What each message must have, and what of that is wrong first. In a response the same tag may stand twice.
fn check_each(headers: &Headers, limits: &Limits, response: bool) -> Result<Method, CheckError> {
    if headers.malformed_line().is_some() {
        return Err(bad("RFC 3261 §7.3.1", "Malformed header field line"));
    }
    for name in headers.repeated().filter(|name| SINGLE.contains(name)) {
        let mut values = headers.raw(name);
        let first = values.next();
        // Two equal lengths are harmless and sent by some; two different ones smuggle a message.
        if name != HeaderName::CONTENT_LENGTH || values.any(|value| Some(value) != first) {
            let reason = format!("More than one {name} header field");
            return Err(refuse(StatusCode::BAD_REQUEST, "RFC 3261 §7.3.1", Some(name), reason));
        }
    }
    check_sizes(headers, limits)?;
    let mut vias = 0usize;
    for via in headers.all::<ReadableVia>() {
        let via = via.map_err(|error| of_header(&error))?;
        // Which of two counts is a matter of taste: one element would see another dialog or transaction than the next.
        if vias == 0 {
            once(HeaderName::VIA, via.twice, "branch")?;
        }
        vias = vias.saturating_add(1);
    }
    if vias == 0 {
        return Err(of_header(&HeaderError::Missing(HeaderName::VIA)));
    }
    once(HeaderName::FROM, require::<ReadableFrom>(headers)?.twice, "tag")?;
    // Servers that add their tag to a To that has it are many, and whoever reads it sees the same dialog: to drop their
    // answer to a BYE helps nobody.
    let twice = require::<ReadableTo>(headers)?.twice && !(response && tags_agree(headers));
    once(HeaderName::TO, twice, "tag")?;
    require::<ReadableCallId>(headers)?;
    let cseq = require::<CSeq>(headers)?;
    optional::<ContentLength>(headers)?;
    Ok(cseq.method)
}

/// The numbers that a request may carry.
fn check_numbers(headers: &Headers) -> Result<(), CheckError> {
    optional::<MaxForwards>(headers)?; // RFC 2543 clients send none
    optional::<MaxBreadth>(headers)?;
    Ok(())
}

/// Whether all tags of To are the same one.
fn tags_agree(headers: &Headers) -> bool {
    let Ok(Some(to)) = headers.get::<To>() else { return false };
    let mut tags = to.params().iter().filter(|(name, _)| name.eq_ignore_ascii_case("tag"));
    let first = tags.next().map(|(_, value)| value);
    tags.all(|(_, value)| Some(value) == first)
}

/// RFC 3261 §7.3.1: "any given parameter-name MUST NOT appear more than once".
fn once(field: HeaderName, twice: bool, name: &str) -> Result<(), CheckError> {
    if twice {
        let reason = format!("More than one {name} in {field}");
        return Err(refuse(StatusCode::BAD_REQUEST, "RFC 3261 §7.3.1", Some(field), reason));
    }
    Ok(())
}

/// Lists and parameters within their limits. One pass that counts commas and semicolons lets nearly every
/// message through; only what has many of them is looked at again.
fn check_sizes(headers: &Headers, limits: &Limits) -> Result<(), CheckError> {
    let of_all = |wanted| {
        headers.octets().iter().fold(0usize, |sum, octets| sum.saturating_add(count(octets, wanted)))
    };
    if of_all(b',').saturating_add(headers.len()) <= limits.elements && of_all(b';') <= limits.parameters {
        return Ok(());
    }
    let mut commas = headers.len();
    for (name, value) in headers.iter() {
        commas = commas.saturating_add(count(value, b','));
        if count(value, b';') > limits.parameters
            && let Some(known) = HeaderName::find(name.as_bytes()).filter(|known| known.has_structure())
            && let Ok(text) = core::str::from_utf8(value)
            && elements(text).any(|element| parameters(element) > limits.parameters)
        {
            return Err(bad_field(known, format!("More than {} parameters in {known}", limits.parameters)));
        }
    }
    if commas <= limits.elements {
        return Ok(());
    }
    let mut seen = alloc::vec::Vec::new();
    for (name, _) in headers.iter() {
        let Some(name) = HeaderName::find(name.as_bytes()).filter(|name| name.is_list()) else { continue };
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let all = headers.raw(name).fold(0usize, |sum, value| {
            sum.saturating_add(core::str::from_utf8(value).map_or(1, |text| elements(text).count()))
        });
        if all > limits.elements {
            return Err(bad_field(name, format!("More than {} values of {name}", limits.elements)));
        }
    }
    Ok(())
}

/// How many octets are this one. In pieces of which an octet holds the count, so that many are compared at once.
fn count(octets: &[u8], wanted: u8) -> usize {
    let piece =
        |piece: &[u8]| piece.iter().fold(0u8, |sum, &octet| sum.wrapping_add(u8::from(octet == wanted)));
    octets.chunks(usize::from(u8::MAX)).fold(0usize, |sum, octets| sum.wrapping_add(piece(octets).into()))
}

/// Parameters of one element: its semicolons outside of quotes, those in the URI's brackets counted apart.
fn parameters(element: &str) -> usize {
    let outside = |text: &str, angles| {
        let mut count = 0usize;
        let mut rest = text;
        while let Some(at) = find_outside(rest, angles, |byte| byte == b';') {
            count = count.saturating_add(1);
            rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
        }
        count
    };
    let field = outside(element, true);
    field.max(outside(element, false).saturating_sub(field))
}

impl Request {
    /// Whether an element, proxies included, may work on this request, as far as the message alone tells:
    /// mandatory fields, their grammar, the CSeq's method, the version, numbers, duplicates, the body's length,
    /// sizes (RFC 3261 §8.1.1, §8.2, §16.3, §18.3).
    ///
    /// # Errors
    /// The status to answer with, and a reason phrase for a person.
    pub fn check(&self) -> Result<(), CheckError> {
        self.check_within(&Limits::default())
    }

    /// [`Request::check`] with other limits on lists, parameters and the Request-URI.
    ///
    /// # Errors
    /// As [`Request::check`].
    pub fn check_within(&self, limits: &Limits) -> Result<(), CheckError> {
        if !self.version {
            let reason = "Version Not Supported: use SIP/2.0";
            return Err(refuse(StatusCode::VERSION_NOT_SUPPORTED, "RFC 3261 §21.5.7", None, reason));
        }
        if !self.body.reached {
            return Err(bad("RFC 3261 §7", "Truncated message: no empty line after the header fields"));
        }
        if self.uri_text().len() > limits.uri {
            let reason = format!("The Request-URI is longer than {} octets", limits.uri);
            return Err(refuse(StatusCode::REQUEST_URI_TOO_LONG, "RFC 3261 §21.4.15", None, reason));
        }
        let plain = method_of_plain(&self.headers, limits);
        let is_plain = plain.is_some();
        let method = plain.map_or_else(|| check_each(&self.headers, limits, false), Ok)?;
        if method != *self.method() {
            let reason = format!("CSeq method {method} is not the request's {}", self.method());
            return Err(refuse(StatusCode::BAD_REQUEST, "RFC 3261 §8.1.1.5", Some(HeaderName::CSEQ), reason));
        }
        if !self.regular {
            return Err(bad("RFC 3261 §7.1", "Malformed request line: single spaces only"));
        }
        if !Uri::is_modest(self.uri_text(), limits.parameters) {
            self.check_uri(limits)?;
        }
        if !is_plain {
            check_numbers(&self.headers)?;
        }
        if self.body.missing > 0 {
            let reason = format!("Content-Length is {} octets larger than the body", self.body.missing);
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                "RFC 3261 §18.3",
                Some(HeaderName::CONTENT_LENGTH),
                reason,
            ));
        }
        if !self.body().is_empty() {
            require::<ContentType>(&self.headers)?;
        }
        Ok(())
    }

    /// What is wrong with the Request-URI, if it is.
    fn check_uri(&self, limits: &Limits) -> Result<(), CheckError> {
        let uri = self.uri();
        let uri = uri.map_err(|error| bad("RFC 3261 §25.1", format!("Malformed Request-URI: {error}")))?;
        if uri.params().nth(limits.parameters).is_some() {
            return Err(bad(
                "RFC 3261 §19.1.1",
                format!("More than {} parameters in the Request-URI", limits.parameters),
            ));
        }
        if uri.headers().next().is_some() && (uri.is_sip() || uri.is_sips()) {
            return Err(bad("RFC 3261 §19.1.1", "The Request-URI must not carry header fields"));
        }
        Ok(())
    }

    /// Whether a user agent, registrar or event server may answer this request: [`Request::check`], and what
    /// its method asks for beyond that. A proxy does not ask: it forwards methods that it does not know.
    ///
    /// | method | wants | without |
    /// |---|---|---|
    /// | INVITE, SUBSCRIBE, REFER, UPDATE | one `Contact` with a SIP or SIPS URI (RFC 3261 §8.1.1.8) | 400 |
    /// | REGISTER | `*` alone and with `Expires: 0` (RFC 3261 §10.3) | 400 |
    /// | PRACK | `RAck` (RFC 3262 §7.2) | 400 |
    /// | REFER | one `Refer-To` (RFC 3515 §2.4.1) | 400 |
    /// | SUBSCRIBE, NOTIFY, PUBLISH | `Event` (RFC 6665 §8.2.1, RFC 3903 §6) | 489 |
    /// | NOTIFY | `Subscription-State` (RFC 6665 §8.2.3) | 400 |
    ///
    /// Of any method, the extensions that it requires and the references that it makes are well-formed.
    ///
    /// # Errors
    /// The status to answer with, and a reason phrase for a person.
    pub fn check_for_user_agent(&self) -> Result<(), CheckError> {
        self.check()?;
        self.check_method()
    }

    /// What [`Request::check_for_user_agent`] asks beyond [`Request::check`], for those who have done that.
    ///
    /// # Errors
    /// As [`Request::check_for_user_agent`].
    pub fn check_method(&self) -> Result<(), CheckError> {
        let headers = &self.headers;
        for tag in headers.all::<Require>() {
            tag.map_err(|error| of_header(&error))?;
        }
        optional::<Replaces>(headers)?;
        optional::<Join>(headers)?;
        optional::<TargetDialog>(headers)?;
        if headers.contains(HeaderName::REPLACES) && headers.contains(HeaderName::JOIN) {
            let reason = "Replaces and Join exclude each other";
            return Err(refuse(StatusCode::BAD_REQUEST, "RFC 3911 §4", Some(HeaderName::JOIN), reason));
        }
        match self.method() {
            Method::Invite | Method::Subscribe | Method::Refer | Method::Update => check_target(headers)?,
            Method::Register => check_bindings(headers)?,
            Method::Prack => drop(require::<RAck>(headers)?),
            _ => {}
        }
        if *self.method() == Method::Refer {
            require::<ReferTo>(headers)?;
        }
        if matches!(self.method(), Method::Subscribe | Method::Notify | Method::Publish) {
            // RFC 3903 §6: "If the event package is missing [...] the ESC MUST respond with a 489"
            require::<Event>(headers)
                .map_err(|error| CheckError { status: StatusCode::BAD_EVENT, ..error })?;
        }
        if *self.method() == Method::Notify {
            require::<SubscriptionState>(headers)?;
        }
        Ok(())
    }
}

/// Exactly one Contact, with a SIP or SIPS URI: the target of what may become a dialog.
fn check_target(headers: &Headers) -> Result<(), CheckError> {
    let mut contacts = headers.all::<Contact>();
    let first = contacts.next().unwrap_or(Err(HeaderError::Missing(HeaderName::CONTACT)));
    let first = first.map_err(|error| of_header(&error))?;
    let reached_by_sip = first.uri().is_some_and(|uri| uri.is_sip() || uri.is_sips());
    if !reached_by_sip || contacts.next().is_some() {
        let reason = "Exactly one Contact with a SIP or SIPS URI is needed";
        return Err(refuse(StatusCode::BAD_REQUEST, "RFC 3261 §8.1.1.8", Some(HeaderName::CONTACT), reason));
    }
    Ok(())
}

/// `*` stands alone, and only to remove all bindings.
fn check_bindings(headers: &Headers) -> Result<(), CheckError> {
    let (mut count, mut star) = (0usize, false);
    for contact in headers.all::<Contact>() {
        count = count.saturating_add(1);
        star |= contact.map_err(|error| of_header(&error))?.is_star();
    }
    if star && (count > 1 || headers.get::<Expires>() != Ok(Some(Expires(0)))) {
        let reason = "Contact * stands alone and with Expires: 0";
        return Err(refuse(StatusCode::BAD_REQUEST, "RFC 3261 §10.3", Some(HeaderName::CONTACT), reason));
    }
    Ok(())
}

impl Response {
    /// Whether a response can be matched and used; one that cannot is dropped (RFC 3261 §8.1.3, §18.3).
    ///
    /// # Errors
    /// What is wrong; the status in it is of no use to anybody.
    pub fn check(&self) -> Result<(), CheckError> {
        self.check_within(&Limits::default())
    }

    /// [`Response::check`] with other limits on lists and parameters.
    ///
    /// # Errors
    /// As [`Response::check`].
    pub fn check_within(&self, limits: &Limits) -> Result<(), CheckError> {
        if !self.version {
            let reason = "Version Not Supported: use SIP/2.0";
            return Err(refuse(StatusCode::VERSION_NOT_SUPPORTED, "RFC 3261 §7.2", None, reason));
        }
        if !self.body.reached {
            return Err(bad("RFC 3261 §7", "Truncated message: no empty line after the header fields"));
        }
        if !self.regular {
            return Err(bad("RFC 3261 §7.2", "The reason phrase contains a control character"));
        }
        if method_of_plain(&self.headers, limits).is_none() {
            check_each(&self.headers, limits, true)?;
        }
        if self.body.missing > 0 {
            let reason = format!("Content-Length is {} octets larger than the body", self.body.missing);
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                "RFC 3261 §18.3",
                Some(HeaderName::CONTENT_LENGTH),
                reason,
            ));
        }
        Ok(())
    }
}

impl ParseErrorKind {
    /// The status that tells the sender what was wrong, where something can be answered at all.
    pub fn status(self) -> StatusCode {
        match self {
            Self::MessageTooLong(_) => StatusCode::MESSAGE_TOO_LARGE, // RFC 3261 §21.5.14
            Self::StartLineTooLong(_) => StatusCode::REQUEST_URI_TOO_LONG, // RFC 3261 §21.4.15
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The rule that was broken: RFC and section.
    pub fn section(self) -> &'static str {
        match self {
            Self::Empty => "RFC 3261 §7",
            Self::StartLine => "RFC 3261 §7.1",
            Self::StatusCode => "RFC 3261 §7.2",
            Self::MessageTooLong(_) => "RFC 3261 §21.5.14",
            Self::StartLineTooLong(_) => "RFC 3261 §21.4.15",
            Self::FieldTooLong(_) | Self::TooManyFields(_) => "RFC 3261 §7.3",
            Self::PartField => "RFC 2046 §5.1",
        }
    }
}
