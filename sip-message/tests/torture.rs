//! Messages that were written to break parsers: our own in `data/`, and those of the RFCs where `SIP_CORPUS`
//! names their folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use sip_message::headers::*;
use sip_message::{HeaderName, Limits, Message, Method, Request, Response, StatusCode};
use std::collections::HashMap;
use std::path::PathBuf;

fn parse(octets: &[u8]) -> Result<Message, sip_message::ParseError> {
    let mut limits = Limits::default();
    limits.message = 1 << 20; // one set has a message that no datagram could carry
    Message::parse(octets.to_vec().into(), &limits)
}

fn request(octets: &[u8]) -> Request {
    match parse(octets) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

fn response(octets: &[u8]) -> Response {
    match parse(octets) {
        Ok(Message::Response(response)) => response,
        other => panic!("no response: {other:?}"),
    }
}

fn check(message: &Message) -> Result<(), sip_message::CheckError> {
    match message {
        Message::Request(request) => request.check(),
        Message::Response(response) => response.check(),
    }
}

// ---- our own -----------------------------------------------------------------------------------------------

#[test]
fn folds_compact_names_escapes_and_empty_values() {
    let request = request(include_bytes!("data/options-folded-and-compact.sip"));
    assert_eq!(request.check(), Ok(()));
    let uri = request.uri().unwrap();
    assert_eq!((uri.user(), uri.host(), uri.port()), (Some("Service;x=y"), "[2001:db8::7]", Some(5099)));
    assert!(uri.has_lr());
    let vias: Vec<Via> = request.headers.all().collect::<Result<_, _>>().unwrap();
    assert_eq!((vias[0].transport(), vias[0].host(), vias[0].port()), ("TCP", "[2001:db8::8]", Some(5061)));
    assert_eq!((vias[0].branch(), vias[1].branch()), (Some("z9hG4bKfold"), Some("z9hG4bKsecond")));
    let from: From = request.headers.require().unwrap();
    assert_eq!(from.display_name(), Some("Quote \" and \\ comma, <angle>"));
    assert_eq!((from.tag(), from.uri().user_decoded().as_deref()), (Some("f1"), Some("a@b")));
    assert_eq!(request.headers.count(HeaderName::VIA), 1, "an escaped Via in a URI is none");
    assert_eq!(request.headers.require::<To>().unwrap().tag(), Some("t1"));
    assert_eq!(request.headers.require::<CallId>().unwrap().as_str(), "only.tokens!~*'()<>:\\\"/[]?{}@x");
    assert_eq!(request.headers.require::<CSeq>().unwrap(), CSeq::new(42, Method::Options));
    assert_eq!(request.headers.require::<MaxForwards>().unwrap(), MaxForwards(7));
    let options: Vec<Supported> = request.headers.all().collect::<Result<_, _>>().unwrap();
    assert_eq!(options, [Supported::new("timer"), Supported::new("100rel")]);
    assert_eq!(request.headers.raw("x-EMPTY").collect::<Vec<_>>(), [&b""[..], b",;,"]);
    assert_eq!(&request.to_bytes()[..], include_bytes!("data/options-folded-and-compact.sip"));
}

#[test]
fn a_method_of_odd_characters_and_addresses_of_other_schemes() {
    let request = request(include_bytes!("data/unknown-method-with-odd-token.sip"));
    assert_eq!(request.check(), Ok(()));
    assert_eq!(request.method().as_str(), "!weird-%2d*_+`'~");
    assert_eq!(request.uri().unwrap().scheme(), "urn");
    let from: From = request.headers.require().unwrap();
    assert_eq!((from.uri().user(), from.tag()), (Some("+1-201-555-0123"), Some("1")));
}

#[test]
fn status_lines() {
    let bare = response(include_bytes!("data/response-without-reason.sip"));
    assert_eq!((bare.status().code(), bare.reason(), bare.check()), (299, "", Ok(())));
    assert_eq!(bare.headers.require::<CSeq>().unwrap().number, 2_147_483_647);
    // A phrase that is no UTF-8 must not cost us the final response of a call.
    let latin = response(include_bytes!("data/response-latin1-reason.sip"));
    assert_eq!((latin.status(), latin.reason(), latin.check()), (StatusCode::BUSY_HERE, "", Ok(())));
    assert_eq!(&latin.to_bytes()[..], include_bytes!("data/response-latin1-reason.sip"));
    for bad in [
        "SIP/2.0",
        "SIP/2.0 ",
        "SIP/2.0 20 x",
        "SIP/2.0 2000 x",
        "SIP/2.0 099 x",
        "SIP/2.0 700 x",
        "SIP/2.0 +20 x",
    ] {
        assert!(parse(format!("{bad}\r\n\r\n").as_bytes()).is_err(), "{bad} passed");
    }
}

/// A proxy's Via above it would take such a line in as its own continuation.
#[test]
fn a_start_line_is_not_folded() {
    let folded = "OPTIONS sip:a@b SIP/2.0\r\n ;received=192.0.2.66\r\nVia: SIP/2.0/UDP h\r\n\r\n";
    assert_eq!(parse(folded.as_bytes()).unwrap_err().at, 25);
}

/// One field of a valid request changed, and the status that RFC 3261 names for it.
#[test]
fn one_bad_field_and_its_status() {
    let good = include_str!("data/invite.sip");
    assert_eq!(request(good.as_bytes()).check(), Ok(()));
    for (from, to, status, reason) in [
        ("SIP/2.0\r\n", "SIP/3.0\r\n", 505, "SIP/2.0"),
        ("INVITE sip", "INVITE  sip", 400, "request line"),
        ("INVITE sip", "INVITE\tsip", 400, "request line"),
        (" SIP/2.0\r\nVia", "\tSIP/2.0\r\nVia", 400, "request line"),
        ("sip:bob@biloxi.example SIP", "<sip:bob@biloxi.example> SIP", 400, "Request-URI"),
        ("sip:bob@biloxi.example SIP", "sip:bob@biloxi.example?Route=%3Csip:x%3E SIP", 400, "header fields"),
        ("sip:bob@biloxi.example SIP", "sip:2001:db8::1 SIP", 400, "Request-URI"),
        ("CSeq: 20411 INVITE", "CSeq: 20411 BYE", 400, "CSeq method BYE"),
        ("CSeq: 20411 INVITE", "CSeq: 4294967297 INVITE", 400, "CSeq"),
        ("CSeq: 20411 INVITE\r\n", "", 400, "Missing CSeq"),
        ("CSeq: 20411 INVITE\r\n", "CSeq: 20411 INVITE\r\nCSeq: 20411 INVITE\r\n", 400, "More than one CSeq"),
        ("Call-ID: 9b1f7f3e-2fb1-4d@192.0.2.55\r\n", "", 400, "Missing Call-ID"),
        ("To: Bob <sip:bob@biloxi.example>", "To: \"Bob <sip:bob@biloxi.example>", 400, "Malformed To"),
        ("To: Bob <sip:bob@biloxi.example>", "To: <sip:b@h>;tag=1;TAG=2", 400, "More than one tag in To"),
        ("To: Bob <sip:bob@biloxi.example>", "To: <sip:b@h>;tag=1;tag=1", 400, "More than one tag in To"),
        ("branch=", "branch=z9hG4bKx;branch=", 400, "More than one branch in Via"),
        ("Max-Forwards: 69", "Max-Forwards: 300", 400, "Max-Forwards"),
        ("Via: SIP/2.0/UDP 192", "Via: SIP/2.0/UDP ;,192", 400, "Via"),
        ("Content-Type: application/sdp\r\n", "", 400, "Content-Type"),
        ("User-Agent: Teapot/1.0", "User-Agent Teapot", 400, "header field line"),
        ("User-Agent: Teapot/1.0", "User-Agent: Tea\rVia: pot", 400, "header field line"),
        ("User-Agent: Teapot/1.0", "User-Agent:\rVia: pot", 400, "header field line"),
        ("User-Agent: Teapot/1.0", "User-Agent: Teapot\r", 400, "header field line"),
        ("User-Agent: Teapot/1.0", "User-Agent\r: Teapot", 400, "header field line"),
        ("User-Agent: Teapot/1.0", "User-Agent: Tea\0pot", 400, "header field line"),
        (
            "Supported: replaces",
            "Content-Length: 3\r\nSupported: replaces",
            400,
            "More than one Content-Length",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let error = request(good.replacen(from, to, 1).as_bytes()).check().unwrap_err();
        assert_eq!(error.status.code(), status, "{to}: {error}");
        assert!(error.reason.contains(reason), "{to}: {error}");
    }
}

/// Many a server adds its tag to the To of a BYE that has it. Whoever reads such a response sees the same dialog; in a request, and
/// with two different tags, it is refused (RFC 3261 §7.3.1).
#[test]
fn the_same_tag_twice_in_the_to_of_a_response() {
    let answer = |to: &str| {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: {to}\r\n\
             Call-ID: x\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
        );
        let response = response(text.as_bytes());
        (response.check().is_ok(), response.headers.require::<To>().unwrap().tag().map(String::from))
    };
    assert_eq!(answer("<sip:c@d>;tag=2;tag=2"), (true, Some("2".into())));
    assert_eq!(answer("<sip:c@d>;tag=2;x=y;tag=2;tag=2"), (true, Some("2".into())));
    for different in ["<sip:c@d>;tag=2;tag=3", "<sip:c@d>;tag=2;TAG=3", "<sip:c@d>;tag=2;tag=2;tag=3"] {
        assert!(!answer(different).0, "{different}");
    }
}

// ---- RFC 4475 and RFC 5118 -----------------------------------------------------------------------------------

fn corpus(set: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("SIP_CORPUS") else {
        println!("skipped: SIP_CORPUS does not name a folder with {set}");
        return None;
    };
    Some(PathBuf::from(root).join(set))
}

/// The rows of a tab-separated file, by column name.
fn rows(file: PathBuf) -> Vec<HashMap<String, String>> {
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines
        .map(|line| names.iter().map(|n| n.to_string()).zip(line.split('\t').map(String::from)).collect())
        .collect()
}

/// Whether the verdict on a message is the expected one, and the counted facts with it.
fn judge(row: &HashMap<String, String>, octets: &[u8]) -> Result<(), String> {
    let says = |name: &str| row.get(name).map_or("", String::as_str);
    let parsed = parse(octets);
    let verdict =
        parsed.as_ref().map_err(ToString::to_string).and_then(|m| check(m).map_err(|e| e.to_string()));
    let lengths = (says("content_length").parse::<usize>(), says("body_octets").parse::<usize>());
    let cut_off = matches!(lengths, (Ok(announced), Ok(there)) if announced > there);
    let expected = if cut_off { "reject" } else { says("parse") };
    match (expected, &verdict) {
        ("accept", Err(error)) => return Err(format!("refused: {error}")),
        ("reject", Ok(())) => return Err("accepted".into()),
        _ => {}
    }
    let Ok(message) = &parsed else { return Ok(()) };
    if (says("kind") == "request") != message.as_request().is_some() {
        return Err(format!("is no {}", says("kind")));
    }
    let headers = message.headers();
    let mut facts = vec![("n_contact", headers.all::<Contact>().count())];
    // The set counts one line too many in these three.
    if !["baddn.dat", "ipv6-bug-abnf-3-colons.dat", "ipv6-correct-abnf-2-colons.dat"].contains(&says("file"))
    {
        facts.push(("n_header_lines", headers.len()));
    }
    if headers.all::<Via>().all(|via| via.is_ok()) {
        facts.push(("n_via", headers.all::<Via>().count()));
    }
    if expected == "accept" && lengths.0.is_ok() {
        facts.push(("content_length", message.body().len()));
    }
    for (name, found) in facts {
        if let Ok(expected) = says(name).parse::<usize>()
            && expected != found
        {
            return Err(format!("{name} is {found}, not {expected}"));
        }
    }
    if says("parse") == "reject"
        && let (Some(request), Some(status)) = (message.as_request(), says("ua").get(..3))
        && let (Err(error), Ok(status)) = (request.check(), status.parse::<u16>())
        && error.status.code() != status
    {
        return Err(format!("answered with {error}, not {status}"));
    }
    let wire = message.to_bytes();
    // Octets beyond Content-Length are dropped; an empty line that was left out is added.
    if verdict.is_ok() && !octets.starts_with(&wire) && wire != [octets, b"\r\n"].concat() {
        return Err("does not leave as it came".into());
    }
    if parse(&wire).ok().as_ref() != Some(message) {
        return Err("reads differently once printed".into());
    }
    Ok(())
}

#[test]
fn torture_messages_of_rfc_4475_and_rfc_5118_get_their_verdicts() {
    let mut failures = Vec::new();
    for (set, count) in [("rfc4475", 50), ("rfc5118", 15)] {
        let Some(folder) = corpus(set) else { return };
        let rows = rows(folder.join("EXPECT.tsv"));
        assert_eq!(rows.len(), count, "{set}");
        for row in rows {
            let octets = std::fs::read(folder.join(&row["file"])).unwrap();
            if let Err(wrong) = judge(&row, &octets) {
                failures.push(format!("{set}/{}: {wrong}", row["file"]));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn facts_of_rfc_4475() {
    let Some(folder) = corpus("rfc4475") else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();

    // §3.1.1.1
    let wsinv = request(&read("wsinv.dat"));
    assert_eq!(wsinv.uri().unwrap().param("unknownparam"), Some(None));
    let to: To = wsinv.headers.require().unwrap();
    let from: From = wsinv.headers.require().unwrap();
    assert_eq!((to.tag(), from.tag()), (Some("1918181833n"), Some("98asjd8")));
    assert_eq!(from.display_name(), Some("J Rosenberg \\\""));
    assert_eq!(wsinv.headers.require::<MaxForwards>().unwrap(), MaxForwards(68));
    assert_eq!(wsinv.headers.require::<CSeq>().unwrap(), CSeq::new(9, Method::Invite));
    assert_eq!(wsinv.headers.text("subject"), Some(""));
    assert_eq!(wsinv.headers.text("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    let vias: Vec<Via> = wsinv.headers.all().collect::<Result<_, _>>().unwrap();
    let hops: Vec<_> = vias.iter().map(|via| (via.transport(), via.host(), via.branch().unwrap())).collect();
    assert_eq!(
        hops,
        [
            ("UDP", "192.0.2.2", "390skdjuw"),
            ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
            ("UDP", "192.168.255.111", "z9hG4bK30239")
        ]
    );
    let route: Route = wsinv.headers.require().unwrap();
    assert!(route.uri().has_lr() && route.uri().param("unknown-no-value") == Some(None));
    assert_eq!(route.uri().param("unknownwith"), Some(Some("value")));
    let contact: Contact = wsinv.headers.require().unwrap();
    let address = contact.address().unwrap();
    assert_eq!(address.display_name(), Some("Quoted string \"\""));
    assert_eq!(
        (address.param("newparam"), address.param("secondparam")),
        (Some(Some("newvalue")), Some(None))
    );
    assert_eq!(contact.q(), Some(330));

    // §3.1.1.2
    let intmeth = request(&read("intmeth.dat"));
    assert_eq!(intmeth.method().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    let uri = intmeth.uri().unwrap();
    assert_eq!(uri.host(), "example.com");
    assert_eq!(
        uri.user(),
        Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
    );
    let to: To = intmeth.headers.require().unwrap();
    assert_eq!(to.display_name(), Some("BEL:\x07 NUL:\0 DEL:\x7f"));
    let from: From = intmeth.headers.require().unwrap();
    assert_eq!(from.display_name(), Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(from.params().unquoted("fromParam''~+*_!.-%").as_deref(), Some("работающий"));
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(intmeth.headers.require::<CSeq>().unwrap().number, 139_122_385);
    assert_eq!(intmeth.headers.require::<MaxForwards>().unwrap(), MaxForwards(255));

    // §3.1.1.3 to §3.1.1.5: escapes
    let esc01 = request(&read("esc01.dat"));
    let uri = esc01.uri().unwrap();
    assert_eq!(uri.user_decoded().as_deref(), Some("sips:user@example.com"));
    assert_eq!(uri.host(), "example.net");
    let contact: Contact = esc01.headers.require().unwrap();
    let contact = contact.uri().unwrap();
    assert_eq!(contact.user_decoded().as_deref(), Some("caller"));
    assert!(contact.has_lr(), "%6C%72 is lr");
    assert_eq!(
        contact.param("name"),
        Some(Some("v%61lue%25%34%31")),
        "as it came: decoding twice would make it valueA"
    );
    let escnull = request(&read("escnull.dat"));
    let contacts: Vec<Contact> = escnull.headers.all().collect::<Result<_, _>>().unwrap();
    let (one, two) = (contacts[0].uri().unwrap(), contacts[1].uri().unwrap());
    assert_eq!((one.user_decoded().as_deref(), two.user_decoded().as_deref()), (Some("\0"), Some("\0\0")));
    assert!(!one.equivalent(two) && one.canonical_aor() != two.canonical_aor());
    let esc02 = request(&read("esc02.dat"));
    assert_eq!(esc02.method(), &Method::from("RE%47IST%45R"));
    assert_eq!(esc02.headers.require::<From>().unwrap().display_name(), Some("%Z%45"));
    assert!(esc02.headers.contains("C%6Fntact"));
    assert_eq!(esc02.headers.require::<Via>().unwrap().branch(), Some("z9hG4bK209%fzsnel234"));

    // §3.1.1.6 to §3.1.1.13
    let lwsdisp: From = request(&read("lwsdisp.dat")).headers.require().unwrap();
    assert_eq!((lwsdisp.display_name(), lwsdisp.tag()), (Some("caller"), Some("323")));
    let longreq = request(&read("longreq.dat"));
    let vias: Vec<Via> = longreq.headers.all().collect::<Result<_, _>>().unwrap();
    assert_eq!((vias[0].host(), vias[33].host()), ("sip33.example.com", "host.example.com"));
    assert_eq!(vias[33].received(), Some("192.0.2.5"));
    assert_eq!(longreq.headers.require::<From>().unwrap().tag().unwrap().len(), 2 + 50 * 3 + 3);
    let dblreq = request(&read("dblreq.dat"));
    assert_eq!((dblreq.method(), dblreq.body().len()), (&Method::Register, 0));
    let semiuri = request(&read("semiuri.dat")).uri().unwrap();
    assert_eq!(semiuri.user_decoded().as_deref(), Some("user;par=u@example.net"));
    assert_eq!((semiuri.host(), semiuri.params().count()), ("example.com", 0));
    let transports = request(&read("transports.dat"));
    let vias: Vec<Via> = transports.headers.all().collect::<Result<_, _>>().unwrap();
    assert_eq!(vias.iter().map(Via::transport).collect::<Vec<_>>(), ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
    let mpart01 = request(&read("mpart01.dat"));
    let kind: ContentType = mpart01.headers.require().unwrap();
    assert!(kind.is("multipart", "mixed"));
    assert_eq!(kind.params().unquoted("boundary").as_deref(), Some("7a9cbec02ceef655"));
    assert_eq!(mpart01.body().len(), 553);
    let unreason = response(&read("unreason.dat"));
    assert_eq!(unreason.reason(), "= 2**3 * 5**2 но сто девяносто девять - простое");
    assert_eq!(response(&read("noreason.dat")).reason(), "");

    // §3.1.2 and §3.3
    assert!(parse(&read("bigcode.dat")).is_err(), "2³²+5 is no 5");
    assert_eq!(request(&read("badvers.dat")).check().unwrap_err().status, StatusCode::VERSION_NOT_SUPPORTED);
    let escruri = request(&read("escruri.dat"));
    assert!(!escruri.headers.contains(HeaderName::ROUTE));
    assert!(escruri.check().unwrap_err().reason.contains("Request-URI"));
    let reply = request(&read("insuf.dat")).reply(StatusCode::BAD_REQUEST).build().unwrap();
    assert_eq!(reply.headers.count(HeaderName::VIA), 1, "what cannot be copied is left out");
    let reply = request(&read("badinv01.dat")).reply(StatusCode::BAD_REQUEST).to_tag("t").build().unwrap();
    assert_eq!(reply.headers.count(HeaderName::VIA), 1, "the bad Via goes back as it came");
    let bext = request(&read("bext01.dat"));
    let wanted: Vec<Require> = bext.headers.all().collect::<Result<_, _>>().unwrap();
    assert_eq!(wanted, [Require::new("nothingSupportsThis"), Require::new("nothingSupportsThisEither")]);
    let cparam01: Contact = request(&read("cparam01.dat")).headers.require().unwrap();
    assert_eq!(cparam01.uri().unwrap().to_string(), "sip:+19725552222@gw1.example.net");
    assert_eq!(cparam01.address().unwrap().param("unknownparam"), Some(None));
    let cparam02: Contact = request(&read("cparam02.dat")).headers.require().unwrap();
    assert_eq!(cparam02.uri().unwrap().param("unknownparam"), Some(None));
    let regescrt: Contact = request(&read("regescrt.dat")).headers.require().unwrap();
    assert_eq!(
        regescrt.uri().unwrap().headers().collect::<Vec<_>>(),
        [("Route", "%3Csip:sip.example.com%3E")]
    );
    let regaut: Authorization = request(&read("regaut01.dat")).headers.require().unwrap();
    assert_eq!(regaut.0.scheme(), "NoOneKnowsThisScheme");
    let unksm2 = request(&read("unksm2.dat"));
    assert_eq!(unksm2.headers.require::<To>().unwrap().uri().scheme(), "isbn");
    let inv2543 = request(&read("inv2543.dat"));
    assert_eq!((inv2543.body().len(), inv2543.headers.require::<Via>().unwrap().branch()), (105, None));
}

#[test]
fn facts_of_rfc_5118() {
    let Some(folder) = corpus("rfc5118") else { return };
    let read = |name: &str| request(&std::fs::read(folder.join(name)).unwrap());
    let ambiguous = read("port-ambiguous.dat").uri().unwrap();
    assert_eq!((ambiguous.host(), ambiguous.port()), ("[2001:db8::10:5070]", None));
    let unambiguous = read("port-unambiguous.dat").uri().unwrap();
    assert_eq!((unambiguous.host(), unambiguous.port()), ("[2001:db8::10]", Some(5070)));
    let bare: Via = read("via-received-param-no-delim.dat").headers.require().unwrap();
    let delimited: Via = read("via-received-param-with-delim.dat").headers.require().unwrap();
    assert_eq!(bare.received(), Some("2001:db8::9:255"));
    assert_eq!(delimited.received(), Some("2001:db8::9:255"), "accepted with brackets too");
    assert!(read("ipv6-bug-abnf-3-colons.dat").uri().is_ok());
    assert!(read("ipv6-bad.dat").uri().is_err());
}

// ---- other sets ----------------------------------------------------------------------------------------------

/// Misprints: an Authorization without the comma after its realm, a Refer-To folded within its URI.
const UNTYPED: [&str; 2] = ["rfc3665-s2.1-003-F3-REGISTER.sip", "rfc4579-s5.7-008-F1-REFER.sip"];

/// The call flows of the RFCs: valid, every one (RFC 3665, RFC 5359 and others).
#[test]
fn messages_of_call_flows_are_valid_and_leave_as_they_came() {
    let Some(folder) = corpus("rfcflows") else { return };
    let rows = rows(folder.join("INDEX.tsv"));
    assert!(rows.len() > 500);
    let mut failures = Vec::new();
    for row in rows {
        let octets = std::fs::read(folder.join(&row["file"])).unwrap();
        // The set's Content-Length fields that the RFC does not print are not among the counted ones.
        let expected_headers =
            row["headers"].parse::<usize>().unwrap() + usize::from(row["cl_fixed"] == "added");
        let wrong = match parse(&octets) {
            Err(error) => error.to_string(),
            Ok(message) => match check(&message) {
                Err(error) => error.to_string(),
                Ok(()) if message.to_bytes() != octets => "does not leave as it came".into(),
                Ok(()) if message.headers().len() != expected_headers => "headers".into(),
                Ok(()) if message.body().len() != row["body_octets"].parse::<usize>().unwrap() => {
                    "body".into()
                }
                Ok(()) if UNTYPED.contains(&row["file"].as_str()) => {
                    typed(&message).expect_err("the misprint is seen");
                    String::new()
                }
                Ok(()) => typed(&message).err().unwrap_or_default(),
            },
        };
        if !wrong.is_empty() {
            failures.push(format!("{}: {wrong}", row["file"]));
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Every typed field of a valid message reads.
fn typed(message: &Message) -> Result<(), String> {
    fn all<H: Header>(headers: &Headers) -> Result<(), String> {
        headers.all::<H>().try_for_each(|one| one.map(drop).map_err(|error| error.to_string()))
    }
    let headers = message.headers();
    all::<Via>(headers)?;
    all::<From>(headers)?;
    all::<To>(headers)?;
    all::<Contact>(headers)?;
    all::<Route>(headers)?;
    all::<RecordRoute>(headers)?;
    all::<CSeq>(headers)?;
    all::<ContentType>(headers)?;
    all::<Allow>(headers)?;
    all::<Supported>(headers)?;
    all::<Require>(headers)?;
    all::<Expires>(headers)?;
    all::<WwwAuthenticate>(headers)?;
    all::<ProxyAuthenticate>(headers)?;
    all::<Authorization>(headers)?;
    all::<ProxyAuthorization>(headers)?;
    all::<Event>(headers)?;
    all::<ReferTo>(headers)?;
    all::<Reason>(headers)
}

/// Messages of other stacks' tests and of captures: what two others accept, we do; nothing panics.
#[test]
fn messages_that_two_other_parsers_accept() {
    let mut failures = Vec::new();
    let mut accepted = 0;
    for set in ["sipmsg-permissive", "sipmsg-osip"] {
        let Some(folder) = corpus(set) else { return };
        for row in rows(folder.join("ORACLE.tsv")) {
            let octets = std::fs::read(folder.join(&row["file"])).unwrap();
            let parsed = parse(&octets);
            if let Ok(message) = &parsed {
                let _ = (check(message), typed(message));
            }
            if row["osip"].starts_with("accept") && row["sofia"] == "accept" {
                accepted += 1;
                if let Err(error) = parsed {
                    failures.push(format!("{set}/{}: {error}", row["file"]));
                }
            }
        }
    }
    assert!(accepted > 100, "{accepted}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn captured_messages_never_panic() {
    let Some(folder) = corpus("sipmsg-pcap") else { return };
    let rows = rows(folder.join("INDEX.tsv"));
    assert!(!rows.is_empty());
    for row in rows {
        let octets = std::fs::read(folder.join(&row["file"])).unwrap();
        if let Ok(message) = parse(&octets) {
            let _ = (check(&message), typed(&message));
            assert_eq!(parse(&message.to_bytes()).as_ref(), Ok(&message), "{}", row["file"]);
        }
    }
}
