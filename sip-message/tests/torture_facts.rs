//! Each message of RFC 4475 and RFC 5118, by name: the verdict that its section asks for, and what is to be seen
//! in it. They are read where `SIP_CORPUS` names the folder that has them; `points.rs` has cases of our own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use sip_message::headers::*;
use sip_message::{HeaderName, Limits, Message, ParseErrorKind, Request, Response};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What `Request::check` or `Response::check` says: valid, or refused with a status; or no message at all.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    Refused(u16),
    NoMessage(ParseErrorKind),
}

use Verdict::{NoMessage, Refused, Valid};

fn corpus(set: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("SIP_CORPUS") else {
        println!("skipped: SIP_CORPUS does not name a folder with {set}");
        return None;
    };
    Some(PathBuf::from(root).join(set))
}

fn verdict(octets: Vec<u8>) -> (Verdict, Option<Message>) {
    match Message::parse(octets.into(), &Limits::default()) {
        Err(error) => (NoMessage(error.kind), None),
        Ok(message) => {
            let checked = match &message {
                Message::Request(request) => request.check(),
                Message::Response(response) => response.check(),
            };
            (checked.map_or_else(|error| Refused(error.status.code()), |()| Valid), Some(message))
        }
    }
}

fn request(message: &Message) -> &Request {
    message.as_request().expect("a request")
}

fn response(message: &Message) -> &Response {
    message.as_response().expect("a response")
}

fn count<H: Header>(message: &Message) -> usize {
    message.headers().all::<H>().filter(Result::is_ok).count()
}

/// What more there is to see in a message.
type Facts = fn(&Message);

const NOTHING_MORE: Facts = |_| {};

/// Where the RFC leaves a choice, ours: what cannot be mistaken is read, what can be is refused.
const RFC_4475: &[(&str, Verdict, Facts)] = &[
    ("wsinv.dat", Valid, |m| {
        assert_eq!((count::<Via>(m), count::<Contact>(m), m.body().len()), (3, 1, 150));
        assert_eq!(m.headers().require::<CSeq>().unwrap().number, 9);
    }),
    ("intmeth.dat", Valid, |m| {
        assert_eq!(request(m).method().as_str(), "!interesting-Method0123456789_*+`.%indeed'~")
    }),
    ("esc01.dat", Valid, |m| {
        assert_eq!(request(m).uri().unwrap().user_decoded().as_deref(), Some("sips:user@example.com"))
    }),
    ("escnull.dat", Valid, |m| {
        assert_eq!(count::<Contact>(m), 2);
        let to: To = m.headers().require().unwrap();
        assert_eq!(to.uri().user_decoded().unwrap().len(), 11, "no NUL ends a user");
    }),
    ("esc02.dat", Valid, |m| {
        assert_eq!((request(m).method().as_str(), count::<Contact>(m)), ("RE%47IST%45R", 2))
    }),
    ("lwsdisp.dat", Valid, |m| {
        assert_eq!(m.headers().require::<From>().unwrap().display_name(), Some("caller"))
    }),
    ("longreq.dat", Valid, |m| {
        assert_eq!((count::<Via>(m), m.headers().len(), m.body().len()), (34, 43, 150))
    }),
    ("dblreq.dat", Valid, |m| {
        assert_eq!((m.body().len(), m.headers().require::<CSeq>().unwrap().number), (0, 8))
    }),
    ("semiuri.dat", Valid, |m| assert_eq!(request(m).uri().unwrap().params().count(), 0)),
    ("transports.dat", Valid, |m| assert_eq!(count::<Via>(m), 5)),
    ("mpart01.dat", Valid, |m| {
        let body = request(m).entity(&Limits::default()).unwrap();
        assert_eq!(body.parts().len(), 2);
        assert_eq!(&body.find("text", "plain").unwrap().octets()[..], b"Hello");
        assert_eq!(body.find("application", "octet-stream").unwrap().octets().len(), 342);
        assert!(m.headers().get::<Identity>().unwrap().unwrap().info().is_none());
    }),
    ("unreason.dat", Valid, |m| assert!(response(m).reason().starts_with("= 2**3 * 5**2 "))),
    ("noreason.dat", Valid, |m| assert_eq!((response(m).status().code(), response(m).reason()), (100, ""))),
    ("badinv01.dat", Refused(400), NOTHING_MORE),
    ("clerr.dat", Refused(400), |m| {
        assert_eq!((m.headers().require(), m.body().len()), (Ok(ContentLength(9999)), 154));
    }),
    ("ncl.dat", Refused(400), |m| assert!(m.headers().require::<ContentLength>().is_err())),
    ("scalar02.dat", Refused(400), |m| {
        assert!(m.headers().require::<CSeq>().is_err() && m.headers().require::<MaxForwards>().is_err());
        assert_eq!(m.headers().require(), Ok(Expires(u32::MAX)));
        assert_eq!(m.headers().require::<Contact>().unwrap().expires(), Some(u32::MAX));
    }),
    ("scalarlg.dat", Refused(400), |m| {
        assert_eq!(m.headers().require::<RetryAfter>().unwrap().seconds, u32::MAX);
        assert!(m.headers().require::<Warning>().is_err());
    }),
    ("quotbal.dat", Refused(400), |m| assert!(m.headers().require::<To>().is_err())),
    ("ltgtruri.dat", Refused(400), |m| assert_eq!(request(m).uri_text(), "<sip:user@example.com>")),
    ("lwsruri.dat", Refused(400), |m| {
        assert_eq!(m.headers().require::<CSeq>().unwrap().number, 2_130_706_432)
    }),
    ("lwsstart.dat", Refused(400), |m| assert_eq!(request(m).uri_text(), "sip:user@example.com")),
    ("trws.dat", Refused(400), |m| assert_eq!(request(m).uri_text(), "sip:remote-target@example.com")),
    ("escruri.dat", Refused(400), |m| assert!(!m.headers().contains(HeaderName::ROUTE))),
    ("baddate.dat", Valid, |m| assert!(m.headers().require::<Date>().is_err())),
    ("regbadct.dat", Valid, |m| {
        assert!(m.headers().require::<Contact>().is_err());
        assert_eq!(request(m).check_for_user_agent().unwrap_err().status.code(), 400);
    }),
    ("badaspec.dat", Valid, |m| {
        assert_eq!(m.headers().require::<To>().unwrap().uri().as_str(), "sip:t.watson@example.org");
    }),
    ("baddn.dat", Refused(400), |m| assert!(m.headers().require::<From>().is_err())),
    ("badvers.dat", Refused(505), NOTHING_MORE),
    ("mismatch01.dat", Refused(400), |m| assert_eq!(request(m).method().as_str(), "OPTIONS")),
    ("mismatch02.dat", Refused(400), |m| assert_eq!(request(m).method().as_str(), "NEWMETHOD")),
    ("bigcode.dat", NoMessage(ParseErrorKind::StatusCode), NOTHING_MORE),
    ("badbranch.dat", Valid, |m| assert_eq!(m.headers().require::<Via>().unwrap().branch(), Some("z9hG4bK"))),
    ("insuf.dat", Refused(400), |m| assert_eq!(count::<Via>(m), 1)),
    ("unkscm.dat", Valid, |m| assert_eq!(request(m).uri().unwrap().scheme(), "nobodyKnowsThisScheme")),
    ("novelsc.dat", Valid, |m| assert_eq!(request(m).uri().unwrap().scheme(), "soap.beep")),
    ("unksm2.dat", Valid, |m| {
        assert_eq!(m.headers().require::<To>().unwrap().uri().scheme(), "isbn");
        let from: From = m.headers().require().unwrap();
        assert_eq!((from.uri().scheme(), from.tag()), ("http", Some("3234233")));
    }),
    ("bext01.dat", Valid, |m| assert_eq!((count::<Require>(m), count::<ProxyRequire>(m)), (2, 2))),
    ("invut.dat", Valid, |m| {
        assert!(m.headers().require::<ContentType>().unwrap().is("application", "unknownformat"));
        assert_eq!(m.body().len(), 40);
    }),
    ("regaut01.dat", Valid, |m| {
        let credentials: Authorization = m.headers().require().unwrap();
        assert_eq!(credentials.0.param("opaque-data").as_deref(), Some("here"));
    }),
    ("multi01.dat", Refused(400), |m| {
        for name in [
            HeaderName::CSEQ,
            HeaderName::CALL_ID,
            HeaderName::TO,
            HeaderName::FROM,
            HeaderName::MAX_FORWARDS,
        ] {
            assert_eq!(m.headers().count(name), 2, "{name}");
        }
        assert_eq!(count::<Contact>(m), 2);
    }),
    ("mcl01.dat", Refused(400), |m| assert_eq!(m.headers().count(HeaderName::CONTENT_LENGTH), 2)),
    ("bcast.dat", Valid, |m| {
        let hosts: Vec<String> = m.headers().all::<Via>().map(|via| via.unwrap().host().into()).collect();
        assert_eq!(hosts[1], "255.255.255.255");
    }),
    ("zeromf.dat", Valid, |m| assert_eq!(m.headers().require(), Ok(MaxForwards(0)))),
    ("cparam01.dat", Valid, |m| {
        let contact: Contact = m.headers().require().unwrap();
        assert_eq!(contact.address().unwrap().param("unknownparam"), Some(None));
    }),
    ("cparam02.dat", Valid, |m| {
        assert_eq!(
            m.headers().require::<Contact>().unwrap().uri().unwrap().param("unknownparam"),
            Some(None)
        );
    }),
    ("regescrt.dat", Valid, |m| {
        assert_eq!(m.headers().require::<Contact>().unwrap().uri().unwrap().headers().count(), 1)
    }),
    ("sdp01.dat", Valid, |m| {
        let range = m.headers().require::<Accept>().unwrap().range().unwrap();
        assert!(!range.matches(&ContentType::new("application", "sdp")));
    }),
    ("inv2543.dat", Valid, |m| {
        assert_eq!((m.body().len(), m.headers().require::<From>().unwrap().tag()), (105, None))
    }),
    ("test.dat", NoMessage(ParseErrorKind::StartLine), NOTHING_MORE),
];

fn host(m: &Message) -> (String, Option<u16>) {
    let uri = request(m).uri().unwrap();
    (uri.host().into(), uri.port())
}

const RFC_5118: &[(&str, Verdict, Facts)] = &[
    ("ipv6-good.dat", Valid, |m| assert_eq!(host(m), ("[2001:db8::10]".into(), None))),
    ("ipv6-bad.dat", Refused(400), |m| assert!(request(m).uri().is_err())),
    ("port-ambiguous.dat", Valid, |m| assert_eq!(host(m), ("[2001:db8::10:5070]".into(), None))),
    ("port-unambiguous.dat", Valid, |m| assert_eq!(host(m), ("[2001:db8::10]".into(), Some(5070)))),
    ("via-received-param-with-delim.dat", Valid, |m| {
        assert_eq!(m.headers().require::<Via>().unwrap().received(), Some("2001:db8::9:255"));
    }),
    ("via-received-param-no-delim.dat", Valid, |m| {
        assert_eq!(m.headers().require::<Via>().unwrap().received(), Some("2001:db8::9:255"));
    }),
    // The RFC's own Content-Length is larger than these bodies.
    ("ipv6-in-sdp.dat", Refused(400), NOTHING_MORE),
    ("ipv6-in-sdp.fixedcl.dat", Valid, |m| assert!(m.body().starts_with(b"v=0"))),
    // And smaller than these: the rest is cut off.
    ("mult-ip-in-sdp.dat", Valid, |m| assert_eq!(m.body().len(), 181)),
    ("mult-ip-in-sdp.fixedcl.dat", Valid, |m| assert_eq!(m.body().len(), 189)),
    ("ipv4-mapped-ipv6.dat", Valid, |m| assert_eq!(m.body().len(), 236)),
    ("ipv4-mapped-ipv6.fixedcl.dat", Valid, |m| assert_eq!(m.body().len(), 245)),
    ("mult-ip-in-header.dat", Valid, |m| assert!(count::<Via>(m) > 1)),
    ("ipv6-bug-abnf-3-colons.dat", Valid, NOTHING_MORE),
    ("ipv6-correct-abnf-2-colons.dat", Valid, NOTHING_MORE),
];

#[test]
fn every_message_of_rfc_4475_and_rfc_5118_by_name() {
    for (set, cases) in [("rfc4475", RFC_4475), ("rfc5118", RFC_5118)] {
        let Some(folder) = corpus(set) else { return };
        let listed = std::fs::read_to_string(folder.join("EXPECT.tsv")).unwrap();
        let listed: BTreeSet<&str> =
            listed.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(listed, cases.iter().map(|(name, ..)| *name).collect(), "{set}: each has its case");
        for (name, expected, facts) in cases {
            let (found, message) = verdict(std::fs::read(folder.join(name)).unwrap());
            assert_eq!(&found, expected, "{set}/{name}");
            if let Some(message) = message {
                facts(&message);
            }
        }
        let valid = cases.iter().filter(|(_, verdict, _)| *verdict == Valid).count();
        println!("{set}: {valid} valid, {} refused", cases.len() - valid);
    }
}

/// Messages of other stacks' tests: `osip`, `sofia` and we, counted. What both accept we read; what both refuse may
/// be read, for we frame first and check then, but then it is refused or harmless.
#[test]
fn verdicts_of_two_others() {
    let mut counts = std::collections::BTreeMap::new();
    let mut unread = Vec::new();
    for set in ["sipmsg-permissive", "sipmsg-osip"] {
        let Some(folder) = corpus(set) else { return };
        let table = std::fs::read_to_string(folder.join("ORACLE.tsv")).unwrap();
        for line in table.lines().skip(1) {
            let mut columns = line.split('\t');
            let [Some(file), Some(osip), Some(sofia)] = [columns.next(), columns.next(), columns.next()]
            else {
                continue;
            };
            let (osip, sofia) = (osip.starts_with("accept"), sofia == "accept");
            let (found, _) = verdict(std::fs::read(folder.join(file)).unwrap());
            if osip
                && sofia
                && matches!(found, NoMessage(kind) if !matches!(kind, ParseErrorKind::MessageTooLong(_)))
            {
                unread.push(format!("{set}/{file}: {found:?}"));
            }
            *counts.entry((osip, sofia, found == Valid)).or_insert(0usize) += 1;
        }
    }
    println!("(osip accepts, sofia accepts, valid here): {counts:?}");
    assert!(unread.is_empty(), "{}", unread.join("\n"));
    assert!(counts[&(true, true, true)] > 100);
    assert_eq!(counts.values().sum::<usize>(), 309, "every message is judged");
}
