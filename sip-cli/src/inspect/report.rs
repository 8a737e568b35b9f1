//! What there is to say of one message: its verdict, where it goes wrong, and its fields in their parts.

use bytes::Bytes;
use sip_message::body::Entity;
use sip_message::headers::{CSeq, CallId, ContentType, Headers};
use sip_message::{CheckError, Element, HeaderName, Limits, Message};

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// In words.
    pub(super) text: String,
    /// Line and column, both from 1; `None` when it is something that is missing.
    pub(super) place: Option<(usize, usize)>,
    /// RFC and section.
    pub(super) section: String,
    /// The status that the RFC wants as the answer; `None` for what gets none (responses, ACK).
    pub(super) status: Option<u16>,
}

/// One header field line.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// As it is spelled there.
    pub(super) name: String,
    /// The value, folds undone; octets that are no UTF-8 replaced.
    pub(super) value: String,
    /// The name that was recognised, when the field has parts.
    pub(super) known: Option<HeaderName>,
    /// Its elements, when the field has parts.
    pub(super) elements: Vec<Element>,
}

impl Field {
    /// Whether it has parts and all of them could be read.
    pub(super) fn is_read(&self) -> bool {
        self.known.is_some() && self.elements.iter().all(|element| element.parts.is_ok())
    }
}

/// What stands in the start line.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// A request.
    Request { method: String, uri: String },
    /// A response.
    Response { code: u16, reason: String },
}

/// One message looked at.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// Why it is not valid, if it is not.
    pub(super) problem: Option<Problem>,
    /// What is odd without making it invalid.
    pub(super) remarks: Vec<Problem>,
    /// `None` when not even that can be read.
    pub(super) start: Option<Start>,
    pub(super) fields: Vec<Field>,
    pub(super) call_id: Option<String>,
    /// `INVITE 1`, for the ladder.
    pub(super) cseq: Option<CSeq>,
    /// The media type of the body, and of each of its parts, nested ones behind the one that holds them.
    pub(super) body_types: Vec<String>,
    pub(super) body_length: usize,
}

impl Report {
    /// Looks at octets that should be one message.
    pub(super) fn of(octets: &Bytes, limits: &Limits) -> Report {
        match Message::parse(octets.clone(), limits) {
            Ok(message) => Looking { octets, limits, message: &message }.report(),
            Err(error) => {
                let response =
                    octets.trim_ascii_start().get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"SIP/"));
                let problem = Problem {
                    text: error.kind.to_string(),
                    place: Some(place(octets, error.at)),
                    section: error.kind.section().into(),
                    status: (!response).then(|| error.kind.status().code()),
                };
                Report {
                    problem: Some(problem),
                    remarks: Vec::new(),
                    start: None,
                    fields: Vec::new(),
                    call_id: None,
                    cseq: None,
                    body_types: Vec::new(),
                    body_length: 0,
                }
            }
        }
    }
}

/// Line and column of an octet, both from 1; columns count characters.
fn place(octets: &[u8], at: usize) -> (usize, usize) {
    let before = octets.get(..at.min(octets.len())).unwrap_or_default();
    let line = before.iter().filter(|&&octet| octet == b'\n').count();
    let begin = before.iter().rposition(|&octet| octet == b'\n').map_or(0, |end| end.saturating_add(1));
    let column = String::from_utf8_lossy(before.get(begin..).unwrap_or_default()).chars().count();
    (line.saturating_add(1), column.saturating_add(1))
}

struct Looking<'a> {
    octets: &'a Bytes,
    limits: &'a Limits,
    message: &'a Message,
}

impl Looking<'_> {
    fn report(&self) -> Report {
        let headers = self.message.headers();
        let fields: Vec<Field> = headers.iter().map(|(name, value)| field(name, value)).collect();
        let checked = match self.message {
            Message::Request(request) => request.check_within(self.limits),
            Message::Response(response) => response.check_within(self.limits),
        };
        let problem = checked.err().map(|error| self.problem(&error));
        let mut remarks = Vec::new();
        if problem.is_none()
            && let Message::Request(request) = self.message
            && let Err(error) = request.check_for_user_agent()
        {
            let mut remark = self.problem(&error);
            remark.text = format!("a user agent answers {}: {}", error.status.code(), remark.text);
            remarks.push(remark);
        }
        for ((_, value), field) in headers.iter().zip(&fields) {
            let remark = self.unread(value, field);
            let known = |other: &Problem| {
                other.place.is_some() && other.place == remark.as_ref().and_then(|r| r.place)
            };
            if !problem.iter().chain(&remarks).any(known) {
                remarks.extend(remark);
            }
        }
        remarks.extend(self.surplus());
        let body_types = self.body_types(&mut remarks);
        Report {
            problem,
            remarks,
            start: Some(self.start()),
            call_id: headers.get::<CallId>().ok().flatten().map(|id| id.as_str().to_owned()),
            cseq: headers.get::<CSeq>().ok().flatten(),
            fields,
            body_types,
            body_length: self.message.body().len(),
        }
    }

    fn start(&self) -> Start {
        match self.message {
            Message::Request(request) => {
                Start::Request { method: request.method().as_str().into(), uri: request.uri_text().into() }
            }
            Message::Response(response) => {
                Start::Response { code: response.status().code(), reason: response.reason().into() }
            }
        }
    }

    /// A remark for a field with parts that cannot be read.
    fn unread(&self, value: &[u8], field: &Field) -> Option<Problem> {
        let name = field.known?;
        let error = field.elements.iter().find_map(|element| element.parts.as_ref().err())?;
        Some(Problem {
            text: format!("{name} cannot be read: {} expected", error.expected),
            place: self.offset(value).map(|at| place(self.octets, at.saturating_add(error.at))),
            section: name.rfc().into(),
            status: None,
        })
    }

    /// A remark for octets behind the body.
    fn surplus(&self) -> Option<Problem> {
        let body = self.message.body();
        let head = self.offset(body).filter(|_| !body.is_empty());
        let end = match head {
            Some(begin) => begin.saturating_add(body.len()),
            None => self.message.to_bytes().len(), // printed as it came, without the octets that were left out
        };
        let begin = self.octets.len().saturating_sub(self.octets.trim_ascii_start().len());
        let end = if head.is_some() { end } else { end.saturating_add(begin) };
        let rest = self.octets.get(end..).filter(|rest| !rest.trim_ascii().is_empty())?;
        Some(Problem {
            text: format!("{} octets after the body are left out", rest.len()),
            place: Some(place(self.octets, end)),
            section: "RFC 3261 §18.3".into(),
            status: None,
        })
    }

    fn problem(&self, error: &CheckError) -> Problem {
        // RFC 3261 §17.1.1.3, §8.1.3: neither an ACK nor a response is answered.
        let answered = match self.message {
            Message::Request(request) => *request.method() != sip_message::Method::Ack,
            Message::Response(_) => false,
        };
        Problem {
            text: error.reason.to_string(),
            place: self.place_of(error),
            section: error.section.into(),
            status: answered.then(|| error.status.code()),
        }
    }

    /// Where what a check complains of stands; `None` for what is not there.
    fn place_of(&self, error: &CheckError) -> Option<(usize, usize)> {
        let headers = self.message.headers();
        let at = match (error.name, error.section) {
            (None, "RFC 3261 §7.3.1") => self.offset(headers.malformed_line()?)?,
            (None, "RFC 3261 §7") => self.octets.len(),
            (None, _) => self.start_line_error(),
            // The second of those that contradict each other.
            (Some(name), "RFC 3261 §7.3.1") => {
                self.offset(headers.raw(name).nth(1).or_else(|| headers.raw(name).next())?)?
            }
            (Some(name), _) => self.field_error(headers, name)?,
        };
        Some(place(self.octets, at))
    }

    fn start_line_error(&self) -> usize {
        let begin = self.octets.len().saturating_sub(self.octets.trim_ascii_start().len());
        let Message::Request(request) = self.message else { return begin };
        match (self.offset(request.uri_text().as_bytes()), request.uri()) {
            (Some(uri), Err(error)) => uri.saturating_add(error.at),
            (Some(uri), Ok(parsed)) if parsed.headers().next().is_some() => uri,
            _ => begin,
        }
    }

    fn field_error(&self, headers: &Headers, name: HeaderName) -> Option<usize> {
        let wrong = headers.raw(name).find_map(|value| {
            let error = name.elements(value).into_iter().find_map(|element| element.parts.err())?;
            Some(self.offset(value)?.saturating_add(error.at))
        });
        wrong.or_else(|| self.offset(headers.raw(name).next()?))
    }

    /// Where octets of the message stand in it.
    fn offset(&self, part: &[u8]) -> Option<usize> {
        let at = part.as_ptr().addr().checked_sub(self.octets.as_ptr().addr())?;
        (at.saturating_add(part.len()) <= self.octets.len()).then_some(at)
    }

    fn body_types(&self, remarks: &mut Vec<Problem>) -> Vec<String> {
        let mut types = Vec::new();
        let entity = match self.message {
            Message::Request(request) => request.entity(self.limits),
            Message::Response(response) => response.entity(self.limits),
        };
        match entity {
            Ok(entity) if !entity.octets().is_empty() => add_types(&entity, &mut types),
            Ok(_) => {}
            Err(error) => {
                // The type is worth telling even if the parts cannot be taken apart.
                types.extend(self.message.headers().get::<ContentType>().ok().flatten().map(media_type));
                if !types.is_empty() {
                    remarks.push(Problem {
                        text: format!("the body: {error}"),
                        place: self.offset(self.message.body()).map(|at| place(self.octets, at)),
                        section: "RFC 3261 §7.4".into(),
                        status: self.message.as_request().map(|_| error.status().code()),
                    });
                }
            }
        }
        types
    }
}

fn media_type(kind: ContentType) -> String {
    format!("{}/{}", kind.kind(), kind.subtype())
}

fn add_types(entity: &Entity, types: &mut Vec<String>) {
    types.push(media_type(entity.content_type().clone()));
    for part in entity.parts() {
        add_types(part, types);
    }
}

fn field(name: &str, value: &[u8]) -> Field {
    let known = HeaderName::find(name.trim_ascii().as_bytes()).filter(|known| known.has_structure());
    let text = String::from_utf8_lossy(value);
    Field {
        name: name.to_owned(),
        value: text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "),
        known,
        elements: known.map(|known| known.elements(value)).unwrap_or_default(),
    }
}

/// A message in the words of a ladder: `INVITE 1 (sdp)`, `180 INVITE 1`.
pub(super) fn label(report: &Report) -> Option<String> {
    let mut label = match report.start.as_ref()? {
        Start::Request { method, .. } => method.clone(),
        Start::Response { code, .. } => code.to_string(),
    };
    if let Some(cseq) = &report.cseq {
        if matches!(report.start, Some(Start::Response { .. })) {
            label.push(' ');
            label.push_str(cseq.method.as_str());
        }
        label.push_str(&format!(" {}", cseq.number));
    }
    if let Some(kind) = report.body_types.first() {
        let subtype = kind.rsplit('/').next().unwrap_or_default();
        label.push_str(&format!(" ({subtype})"));
    }
    if report.problem.is_some() {
        label.push_str(" !");
    }
    Some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Report {
        Report::of(&Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
    }

    const FIELDS: &str = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";

    #[test]
    fn the_place_of_what_is_wrong() {
        for (text, place, section, status, words) in [
            ("hello\r\n\r\n".to_owned(), Some((1, 1)), "RFC 3261 §7.1", Some(400), "neither a request line"),
            (
                format!("OPTIONS sip:a@ SIP/2.0\r\n{FIELDS}\r\n"),
                Some((1, 15)),
                "RFC 3261 §25.1",
                Some(400),
                "Request-URI",
            ),
            (
                format!("OPTIONS sip:a SIP/3.0\r\n{FIELDS}\r\n"),
                Some((1, 1)),
                "RFC 3261 §21.5.7",
                Some(505),
                "Version",
            ),
            (
                format!("OPTIONS sip:a SIP/2.0\r\n{FIELDS}"),
                Some((8, 1)),
                "RFC 3261 §7",
                Some(400),
                "Truncated",
            ),
            (
                format!("OPTIONS sip:a SIP/2.0\r\n{FIELDS}no colon\r\n\r\n"),
                Some((8, 1)),
                "RFC 3261 §7.3.1",
                Some(400),
                "Malformed header field line",
            ),
            (
                format!("OPTIONS sip:a SIP/2.0\r\n{FIELDS}To: <sip:e@f>\r\n\r\n"),
                Some((8, 5)),
                "RFC 3261 §7.3.1",
                Some(400),
                "More than one To",
            ),
            (
                format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", FIELDS.replace("branch=z", ";;")),
                Some((2, 19)),
                "RFC 3261 §20.42",
                Some(400),
                "Malformed Via",
            ),
            (
                format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", FIELDS.replace("Call-ID: x\r\n", "")),
                None,
                "RFC 3261 §20.8",
                Some(400),
                "Missing Call-ID",
            ),
            (
                format!("INVITE sip:a SIP/2.0\r\n{FIELDS}\r\n"),
                Some((6, 7)),
                "RFC 3261 §8.1.1.5",
                Some(400),
                "CSeq method",
            ),
            (
                format!("SIP/2.0 200 OK\r\n{}\r\n", FIELDS.replace("1 OPTIONS", "OPTIONS")),
                Some((6, 7)),
                "RFC 3261 §20.16",
                None,
                "CSeq",
            ),
            ("SIP/2.0 4294967301 OK\r\n\r\n".to_owned(), Some((1, 1)), "RFC 3261 §7.2", None, "status code"),
        ] {
            let problem = report(&text).problem.unwrap_or_else(|| panic!("passed: {text}"));
            assert!(problem.text.contains(words), "{problem:?}");
            assert_eq!(
                (problem.place, problem.section.as_str(), problem.status),
                (place, section, status),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_odd_and_still_valid() {
        let report = report(&format!(
            "OPTIONS sip:a SIP/2.0\r\n{FIELDS}Date: today\r\nZ: f\u{fc}r\r\nContent-Length: 0\r\n\r\nmore"
        ));
        assert_eq!(report.problem, None);
        let texts: Vec<(&str, Option<(usize, usize)>)> =
            report.remarks.iter().map(|remark| (remark.text.as_str(), remark.place)).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].0.starts_with("Date cannot be read"));
        assert_eq!(texts[0].1, Some((8, 7)));
        assert_eq!(texts[1], ("4 octets after the body are left out", Some((12, 1))));
    }

    #[test]
    fn what_only_a_user_agent_minds() {
        let text = format!(
            "REFER sip:a SIP/2.0\r\n{}Contact: <sip:a@b>\r\n\r\n",
            FIELDS.replace("OPTIONS", "REFER")
        );
        let report = report(&text);
        assert_eq!(report.problem, None);
        assert_eq!(report.remarks[0].text, "a user agent answers 400: Missing Refer-To header field");
        assert_eq!((report.remarks[0].status, report.remarks[0].place), (Some(400), None));
    }

    #[test]
    fn fields_and_bodies_in_their_parts() {
        let report = report(&format!(
            "OPTIONS sip:a SIP/2.0\r\n{FIELDS}m: <sip:a@b>,\r\n <sip:c@d>;q=0.5\r\nSubject: a  b\r\nX: y\r\n\
             Content-Type: multipart/mixed;boundary=z\r\n\r\n--z\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--z--\r\n"
        ));
        assert_eq!(report.problem, None);
        let contact = report.fields.iter().find(|field| field.name == "m").unwrap();
        assert_eq!((contact.value.as_str(), contact.elements.len()), ("<sip:a@b>, <sip:c@d>;q=0.5", 2));
        assert!(contact.is_read());
        assert!(
            !report.fields.iter().any(|field| ["Subject", "X"].contains(&&*field.name) && field.is_read())
        );
        assert_eq!(report.body_types, ["multipart/mixed", "application/sdp"]);
        assert_eq!(label(&report).unwrap(), "OPTIONS 1 (mixed)");
    }
}
