//! The same work in each library, the way its documentation shows it.

use bytes::Bytes;

/// Parse, read what a proxy reads, print.
pub trait Library {
    type Message;
    fn parse(octets: &Bytes) -> Option<Self::Message>;
    fn read(message: &Self::Message) -> Read;
    fn print(message: &Self::Message) -> Bytes;
}

/// What a proxy reads: numbers, and lengths of texts. Zero for what was not there or could not be read.
#[derive(Default)]
pub struct Read {
    pub branch: usize,
    pub sent_by: usize,
    pub cseq: usize,
    pub call_id: usize,
    pub from_tag: usize,
    pub to_tag: usize,
    pub max_forwards: usize,
    pub route: usize,
    pub contact: usize,
}

fn length(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

/// This project, read in one pass.
pub struct Ours;

impl Library for Ours {
    type Message = sip_message::Message;

    fn parse(octets: &Bytes) -> Option<Self::Message> {
        sip_message::Message::parse(octets.clone(), &sip_message::Limits::default()).ok()
    }

    fn read(message: &Self::Message) -> Read {
        let found = message.headers().essentials();
        Read {
            branch: length(found.via.and_then(|via| via.branch)),
            sent_by: length(found.via.map(|via| via.host)),
            cseq: found.cseq.map_or(0, |(number, _)| number as usize),
            call_id: length(found.call_id),
            from_tag: length(found.from_tag),
            to_tag: length(found.to_tag),
            max_forwards: found.max_forwards.map_or(0, usize::from),
            route: length(found.route.map(|route| route.host)),
            contact: length(found.contact.map(|contact| contact.host)),
        }
    }

    fn print(message: &Self::Message) -> Bytes {
        message.to_bytes()
    }
}

/// This project, read field by field into values to keep.
pub struct OursTyped;

impl Library for OursTyped {
    type Message = sip_message::Message;

    fn parse(octets: &Bytes) -> Option<Self::Message> {
        Ours::parse(octets)
    }

    fn read(message: &Self::Message) -> Read {
        use sip_message::headers::*;
        let headers = message.headers();
        let via = headers.get::<Via>().ok().flatten();
        let contact = headers.get::<Contact>().ok().flatten();
        let route = headers.get::<Route>().ok().flatten();
        Read {
            branch: length(via.as_ref().and_then(Via::branch)),
            sent_by: length(via.as_ref().map(Via::host)),
            cseq: headers.get::<CSeq>().ok().flatten().map_or(0, |cseq| cseq.number as usize),
            call_id: length(headers.get::<CallId>().ok().flatten().as_ref().map(CallId::as_str)),
            from_tag: length(headers.get::<From>().ok().flatten().as_ref().and_then(From::tag)),
            to_tag: length(headers.get::<To>().ok().flatten().as_ref().and_then(To::tag)),
            max_forwards: headers.get::<MaxForwards>().ok().flatten().map_or(0, |hops| usize::from(hops.0)),
            route: length(route.as_ref().map(|route| route.uri().host())),
            contact: length(contact.as_ref().and_then(Contact::uri).map(|uri| uri.host())),
        }
    }

    fn print(message: &Self::Message) -> Bytes {
        let mut out = Vec::new();
        message.write_to(&mut out); // a copy, for those who need one
        Bytes::from(out)
    }
}

pub struct Rsip;

impl Library for Rsip {
    type Message = rsip::SipMessage;

    fn parse(octets: &Bytes) -> Option<Self::Message> {
        rsip::SipMessage::try_from(octets.as_ref()).ok()
    }

    fn read(message: &Self::Message) -> Read {
        use rsip::prelude::*;
        let via = message.via_header().ok().and_then(|via| via.typed().ok());
        let from = message.from_header().ok().and_then(|from| from.typed().ok());
        let to = message.to_header().ok().and_then(|to| to.typed().ok());
        let contact = message.contact_header().ok().and_then(|contact| contact.typed().ok());
        let route = message.route_header().and_then(|route| route.typed().ok());
        let cseq = message.cseq_header().ok().and_then(|cseq| cseq.typed().ok());
        let hops = message.max_forwards_header().ok().and_then(|hops| hops.num().ok());
        Read {
            branch: length(via.as_ref().and_then(|via| via.branch()).map(|branch| branch.value())),
            sent_by: via.as_ref().map_or(0, |via| via.sent_by().host_with_port.to_string().len()),
            cseq: cseq.map_or(0, |cseq| cseq.seq as usize),
            call_id: length(message.call_id_header().ok().map(|id| id.value())),
            from_tag: length(from.as_ref().and_then(|from| from.tag()).map(|tag| tag.value())),
            to_tag: length(to.as_ref().and_then(|to| to.tag()).map(|tag| tag.value())),
            max_forwards: hops.map_or(0, |hops| hops as usize),
            route: route.as_ref().and_then(|route| route.uris().first()).map_or(0, |_| 1),
            contact: contact.map_or(0, |_| 1),
        }
    }

    fn print(message: &Self::Message) -> Bytes {
        Bytes::from(message.to_string())
    }
}

pub struct Rsipstack;

impl Library for Rsipstack {
    type Message = rsipstack::sip::SipMessage;

    fn parse(octets: &Bytes) -> Option<Self::Message> {
        rsipstack::sip::SipMessage::try_from(octets.clone()).ok()
    }

    fn read(message: &Self::Message) -> Read {
        use rsipstack::sip::headers::ToTypedHeader;
        use rsipstack::sip::{HasHeaders, Header, HeadersExt};
        let via = message.via_header().ok().and_then(|via| via.typed().ok());
        let from = message.from_header().ok().and_then(|from| from.typed().ok());
        let to = message.to_header().ok().and_then(|to| to.typed().ok());
        let contact = message.contact_header().ok().and_then(|contact| contact.typed().ok());
        let cseq = message.cseq_header().ok().and_then(|cseq| cseq.typed().ok());
        let hops =
            message.max_forwards_header().ok().and_then(|hops| hops.value().trim().parse::<u32>().ok());
        let route = message.headers().iter().find_map(|header| match header {
            Header::Route(route) => route.typed().ok(),
            _ => None,
        });
        Read {
            branch: length(via.as_ref().and_then(|via| via.branch()).map(|branch| branch.value())),
            sent_by: via.as_ref().map_or(0, |_| 1),
            cseq: cseq.map_or(0, |cseq| cseq.seq as usize),
            call_id: length(message.call_id_header().ok().map(|id| id.value())),
            from_tag: length(from.as_ref().and_then(|from| from.tag()).map(|tag| tag.value())),
            to_tag: length(to.as_ref().and_then(|to| to.tag()).map(|tag| tag.value())),
            max_forwards: hops.map_or(0, |hops| hops as usize),
            route: route.map_or(0, |_| 1),
            contact: contact.map_or(0, |_| 1),
        }
    }

    fn print(message: &Self::Message) -> Bytes {
        Bytes::from(message.to_string())
    }
}

pub struct Ezk;

impl Library for Ezk {
    type Message = (ezk_sip_types::msg::MessageLine, ezk_sip_types::Headers, Bytes);

    fn parse(octets: &Bytes) -> Option<Self::Message> {
        use ezk_sip_types::msg::{Line, MessageLine, PullParser};
        use ezk_sip_types::parse::Parse;
        let mut parser = PullParser::new(octets, 0);
        let first = std::str::from_utf8(parser.next()?.ok()?).ok()?;
        let line = MessageLine::parse(octets)(first).ok()?.1;
        let mut headers = ezk_sip_types::Headers::with_capacity(16);
        for one in &mut parser {
            let line = Line::parse(octets, std::str::from_utf8(one.ok()?).ok()?).ok()?.1;
            headers.insert(line.name, line.value);
        }
        let head = parser.head_end();
        Some((line, headers, octets.slice(head..)))
    }

    fn read((_, headers, _): &Self::Message) -> Read {
        use ezk_sip_types::Name;
        use ezk_sip_types::header::typed::{CSeq, CallID, Contact, FromTo, MaxForwards, Routing, Via};
        let via = headers.get_named::<Via>().ok();
        let from = headers.get::<FromTo>(Name::FROM).ok();
        let to = headers.get::<FromTo>(Name::TO).ok();
        Read {
            branch: length(
                via.as_ref().and_then(|via| via.params.get_val("branch")).map(|branch| branch.as_str()),
            ),
            sent_by: via.as_ref().map_or(0, |via| via.sent_by.host.to_string().len()),
            cseq: headers.get_named::<CSeq>().map_or(0, |cseq| cseq.cseq as usize),
            call_id: headers.get_named::<CallID>().map_or(0, |id| id.0.len()),
            from_tag: from.and_then(|from| from.tag).map_or(0, |tag| tag.len()),
            to_tag: to.and_then(|to| to.tag).map_or(0, |tag| tag.len()),
            max_forwards: headers.get_named::<MaxForwards>().map_or(0, |hops| hops.0 as usize),
            route: headers.get::<Routing>(Name::ROUTE).map_or(0, |_| 1),
            contact: headers.get_named::<Contact>().map_or(0, |_| 1),
        }
    }

    fn print((line, headers, body): &Self::Message) -> Bytes {
        use ezk_sip_types::print::AppendCtx;
        use std::fmt::Write;
        let mut out = String::with_capacity(1024);
        let _ = write!(out, "{}\r\n{headers}\r\n", line.default_print_ctx());
        let mut out = out.into_bytes();
        out.extend_from_slice(body);
        Bytes::from(out)
    }
}

pub struct Rvoip;

impl Library for Rvoip {
    type Message = rvoip_sip_core::types::sip_message::Message;

    fn parse(octets: &Bytes) -> Option<Self::Message> {
        rvoip_sip_core::parse_message(octets).ok()
    }

    fn read(message: &Self::Message) -> Read {
        use rvoip_sip_core::TypedHeader;
        let via = message.first_via();
        let mut read = Read {
            branch: via.as_ref().and_then(|via| via.branch().map(str::len)).unwrap_or(0),
            sent_by: via.as_ref().map_or(0, |_| 1),
            call_id: message.call_id().map_or(0, |id| id.0.len()),
            from_tag: length(message.from().and_then(|from| from.tag())),
            to_tag: length(message.to().and_then(|to| to.tag())),
            ..Read::default()
        };
        for header in message.all_headers() {
            match header {
                TypedHeader::CSeq(cseq) => read.cseq = cseq.seq as usize,
                TypedHeader::MaxForwards(hops) => read.max_forwards = hops.0 as usize,
                TypedHeader::Route(_) => read.route = 1,
                TypedHeader::Contact(_) => read.contact = 1,
                _ => {}
            }
        }
        read
    }

    fn print(message: &Self::Message) -> Bytes {
        Bytes::from(message.to_bytes())
    }
}
