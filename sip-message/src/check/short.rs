//! The short way of the checks: one pass for messages as most are.

use super::{SINGLE, check_sizes};
use crate::essentials::cseq;
use crate::fields::plain;
use crate::headers::{ContentLength, Header, Headers, MaxBreadth, MaxForwards};
use crate::{HeaderName, Limits, Method};

/// The method that CSeq names in a head that is as most are: what `check_each` and `check_numbers` want stands there once and
/// in its usual shape. `None`: ask them.
pub(super) fn method_of_plain(headers: &Headers, limits: &Limits) -> Option<Method> {
    const VIA: u8 = HeaderName::VIA.id();
    const FROM: u8 = HeaderName::FROM.id();
    const TO: u8 = HeaderName::TO.id();
    const CALL_ID: u8 = HeaderName::CALL_ID.id();
    const CSEQ: u8 = HeaderName::CSEQ.id();
    const CONTENT_LENGTH: u8 = HeaderName::CONTENT_LENGTH.id();
    const MAX_FORWARDS: u8 = HeaderName::MAX_FORWARDS.id();
    const MAX_BREADTH: u8 = HeaderName::MAX_BREADTH.id();
    if headers.malformed_line().is_some() || headers.repeated().any(|name| SINGLE.contains(&name)) {
        return None;
    }
    check_sizes(headers, limits).ok()?;
    let wanted =
        |name| matches!(name, VIA | FROM | TO | CALL_ID | CSEQ | CONTENT_LENGTH | MAX_FORWARDS | MAX_BREADTH);
    let (mut vias, mut from, mut to, mut call_id, mut method) = (0usize, false, false, false, None);
    for (name, value) in headers.known_texts(wanted) {
        let value = value?;
        let good = match name {
            VIA => {
                vias = vias.saturating_add(1);
                plain::via(value).is_some_and(|twice| vias > 1 || !twice)
            }
            FROM => {
                from = plain::tags_of_plain(value).is_some_and(|tags| tags <= 1);
                from
            }
            TO => {
                to = plain::tags_of_plain(value).is_some_and(|tags| tags <= 1);
                to
            }
            CALL_ID => {
                call_id = plain::call_id(value);
                call_id
            }
            CSEQ => {
                method = cseq(value).map(|(_, method)| Method::from(method));
                method.is_some()
            }
            CONTENT_LENGTH => ContentLength::parse(value).is_ok(),
            MAX_FORWARDS => MaxForwards::parse(value).is_ok(),
            _ => MaxBreadth::parse(value).is_ok(),
        };
        if !good {
            return None;
        }
    }
    method.filter(|_| vias > 0 && from && to && call_id)
}

#[cfg(test)]
mod tests {
    use super::super::{check_each, check_numbers, count};
    use super::*;
    use crate::{Message, Uri};
    use alloc::vec::Vec;

    /// One pass or field by field: nobody passes by the short way who would not by the long one, whatever stands in the place
    /// of each octet of a head.
    #[test]
    fn the_short_way_is_never_more_lenient() {
        let limits = Limits { parameters: 4, elements: 14, ..Limits::default() };
        let messages: [&[u8]; 4] = [
            include_bytes!("../../benches/data/invite.sip"),
            include_bytes!("../../benches/data/register.sip"),
            include_bytes!("../../benches/data/200ok.sip"),
            b"OPTIONS sip:h;a?b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=1;BRANCH=2\r\nVia: SIP/2.0/TCP [::1]:5 ;x\r\n\
              f: \"<x>\" <sip:a@b>;tag=1;tag=2\r\nTo: sip:c;tag\r\ni: a@b\r\nCSeq: 1 OPTIONS\r\nMax-Breadth: 7\r\n\
              Max-Forwards: 7\r\nl: 0\r\n\r\n",
        ];
        let (mut passed, mut refused) = (0, 0);
        for message in messages {
            let head = message.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
            for at in 0..head {
                for octet in *b";,\"<>\r\n :%@?=0a\xe4" {
                    let mut octets: Vec<u8> = message.into();
                    octets[at] = octet;
                    let Ok(message) = Message::parse(octets.into(), &limits) else { continue };
                    let plain = method_of_plain(message.headers(), &limits);
                    let each = check_each(message.headers(), &limits, false)
                        .and_then(|method| check_numbers(message.headers()).map(|()| method));
                    match plain {
                        Some(method) => assert_eq!(each, Ok(method), "{message:?}"),
                        None => refused += usize::from(each.is_err()),
                    }
                    passed += usize::from(each.is_ok());
                    if let Message::Request(request) = message {
                        let modest = Uri::is_modest(request.uri_text(), limits.parameters);
                        assert!(!modest || request.check_uri(&limits).is_ok(), "{}", request.uri_text());
                    }
                }
            }
        }
        assert!(passed > 1_000 && refused > 1_000, "{passed} passed, {refused} refused");
    }

    #[test]
    fn octets_are_counted_however_many() {
        let octets: Vec<u8> = (0..2_000usize).map(|n| u8::try_from(n % 3).unwrap()).collect();
        assert_eq!([0, 1, 2, 3].map(|octet| count(&octets, octet)), [667, 667, 666, 0]);
        assert_eq!(count(&[7; 1_000], 7), 1_000);
    }
}
