//! Which server transaction a request belongs to: RFC 3261 §17.2.3.

use crate::branch::is_rfc_3261;
use sip_message::headers::{CSeq, CallId, From, Via};
use sip_message::{HeaderName, Method, Request};
use std::fmt::Write;

/// Whether the matching follows the branch or, for clients of RFC 2543, the rest of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Rfc3261,
    Rfc2543,
}

/// Writes the key under which the transaction of `request` is found, as if its method were `method`: an ACK is
/// looked up as INVITE, a CANCEL as whatever it may cancel. `None`: the request lacks what identifies it.
pub(crate) fn write(request: &Request, via: &Via, method: &Method, key: &mut String) -> Option<Era> {
    key.clear();
    match via.branch() {
        Some(branch) if is_rfc_3261(branch) => {
            // Branch, sent-by and method: rules 1 to 3. Sent-by keeps clients apart that chose the same branch.
            // By hand: each request comes through here, and formatting takes three times as long.
            key.push_str(branch);
            key.push(' ');
            let host = key.len();
            key.push_str(via.host());
            if let Some(host) = key.get_mut(host..) {
                host.make_ascii_lowercase();
            }
            key.push(' ');
            // A port as one character, none of which a host or a method has.
            key.extend(char::from_u32(0x1_0000 | u32::from(via.port().unwrap_or(0))));
            key.push_str(method.as_str());
            Some(Era::Rfc3261)
        }
        _ => {
            // Request-URI, From tag, Call-ID, CSeq number and top Via. The To tag is left out: that of an ACK is the
            // one of our own response, which the caller compares.
            let cseq: CSeq = request.headers.get().ok()??;
            let from: From = request.headers.get().ok()??;
            let call_id: CallId = request.headers.get().ok()??;
            let line = request.headers.text(HeaderName::VIA)?;
            let tag = from.tag().unwrap_or_default();
            let _ = write!(
                key,
                "2543 {method} {} {tag} {} {} {line}",
                cseq.number,
                call_id.as_str(),
                request.uri_text()
            );
            Some(Era::Rfc2543)
        }
    }
}

/// Writes the key of RFC 3261 §8.2.2.2: the same for copies of one request that a fork sent on several ways.
pub(crate) fn write_merged(request: &Request, key: &mut String) -> Option<()> {
    key.clear();
    let cseq: CSeq = request.headers.get().ok()??;
    let from: From = request.headers.get().ok()??;
    let call_id: CallId = request.headers.get().ok()??;
    let _ = write!(
        key,
        "{} {} {} {}",
        cseq.number,
        cseq.method,
        from.tag().unwrap_or_default(),
        call_id.as_str()
    );
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    fn key_of(via: &str, method: &str, to_tag: &str, as_method: &Method) -> (String, Option<Era>) {
        let text = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@h>;tag=f\r\nTo: <sip:b@h>{to_tag}\r\n\
             Call-ID: c\r\nCSeq: 7 {method}\r\nMax-Forwards: 70\r\n\r\n"
        );
        let request = Request::parse(text.into(), &Limits::default()).unwrap();
        let via: Via = request.headers.require().unwrap();
        let mut key = String::new();
        let era = write(&request, &via, as_method, &mut key);
        (key, era)
    }

    #[test]
    fn rfc_3261_17_2_3_branch_sent_by_and_method() {
        let invite = key_of("SIP/2.0/UDP H.example:5060;branch=z9hG4bKx", "INVITE", "", &Method::Invite);
        assert_eq!(invite.1, Some(Era::Rfc3261));
        let ack = key_of("SIP/2.0/UDP h.example:5060;branch=z9hG4bKx", "ACK", ";tag=t", &Method::Invite);
        assert_eq!(ack, invite);
        let other_sent_by =
            key_of("SIP/2.0/UDP h.example:5062;branch=z9hG4bKx", "INVITE", "", &Method::Invite);
        assert_ne!(other_sent_by, invite);
        let other_method =
            key_of("SIP/2.0/UDP h.example:5060;branch=z9hG4bKx", "OPTIONS", "", &Method::Options);
        assert_ne!(other_method, invite);
    }

    #[test]
    fn rfc_3261_17_2_3_clients_of_rfc_2543_match_by_everything_but_the_branch() {
        let invite = key_of("SIP/2.0/UDP h;branch=1", "INVITE", "", &Method::Invite);
        assert_eq!(invite.1, Some(Era::Rfc2543));
        assert_eq!(key_of("SIP/2.0/UDP h;branch=1", "ACK", ";tag=ours", &Method::Invite), invite);
        assert_eq!(key_of("SIP/2.0/UDP h;branch=1", "CANCEL", "", &Method::Invite), invite);
        assert_ne!(key_of("SIP/2.0/UDP other;branch=1", "INVITE", "", &Method::Invite), invite);
        assert_eq!(key_of("SIP/2.0/UDP h", "INVITE", "", &Method::Invite).1, Some(Era::Rfc2543));
    }
}
