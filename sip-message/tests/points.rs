//! Every point that RFC 4475 and RFC 5118 make, with messages of our own: what is strange and valid is read, what
//! is wrong gets its status.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sip_message::headers::*;
use sip_message::{HeaderName, Limits, Message, Method, Request};

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 49152 RTP/AVP 0\r\n";

/// A plain request with one valid value of each mandatory field.
fn base(method: &str) -> String {
    format!(
        "{method} sip:kim@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKp1\r\nMax-Forwards: 70\r\n\
         From: <sip:lee@example.net>;tag=f1\r\nTo: <sip:kim@example.org>\r\nCall-ID: p1@192.0.2.9\r\n\
         CSeq: 7 {method}\r\nContact: <sip:lee@192.0.2.9>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// `message` with one line (or a piece of it) replaced.
fn with(message: String, from: &str, to: &str) -> String {
    assert!(message.contains(from), "{from:?} is not in {message:?}");
    message.replacen(from, to, 1)
}

fn invite() -> String {
    let body = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}", SDP.len());
    with(base("INVITE"), "Content-Length: 0\r\n\r\n", &body)
}

fn response(line: &str) -> String {
    with(base("OPTIONS"), "OPTIONS sip:kim@example.org SIP/2.0", line)
}

fn parse(text: &str) -> Message {
    Message::parse(text.to_string().into(), &Limits::default())
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A message that is valid, and leaves as it came.
fn valid(text: &str) -> Message {
    let message = parse(text);
    let verdict = match &message {
        Message::Request(request) => request.check(),
        Message::Response(response) => response.check(),
    };
    assert_eq!(verdict, Ok(()), "{text}");
    assert_eq!(message.to_bytes(), text, "leaves as it came");
    message
}

fn request(message: Message) -> Request {
    match message {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

/// A request that is refused with this status, and can be answered.
#[track_caller]
fn refused(text: &str, status: u16) {
    let request = request(parse(text));
    let error = request.check().expect_err(text);
    assert_eq!(error.status.code(), status, "{error}: {text}");
    let reply = request.reply(error.status).reason(&error.reason).to_tag("t").build().unwrap();
    assert!(reply.to_string().starts_with(&format!("SIP/2.0 {status} ")));
}

/// RFC 4475 §3.1.1.1: folds, any case, white space around separators, escaped quotes, an empty field.
#[test]
fn a_short_tortuous_invite_4475_3_1_1_1() {
    let text = "INVITE sip:kim@example.org;odd SIP/2.0\r\nTO :\r\n sip:kim@example.org ;  tag  = 77n\r\n\
        fRoM : \"K \\\\\\\"\"  <sip:lee@example.net>\r\n  ;\r\n  tag = 98a\r\nMaX-fOrWaRdS: 0068\r\nCall-ID: w.1@h\r\n\
        cseq:  0009\r\n  INVITE\r\nVia  :  SIP  /  2.0\r\n /UDP\r\n   192.0.2.2 ; branch = 390\r\nSubject :\r\n\
        Odd-Field:  ;;,,;;,;\r\nv:  SIP  / 2.0  / TCP  h2.example.com ;\r\n branch =  z9hG4bK9 , SIP/2.0/UDP 192.0.2.3:5070\r\n\
        Route: <sip:r.example.com;lr;x-with=value;x>\r\nm:\"Q \\\"\\\"\" <sip:lee@192.0.2.9> ; new =\r\n  value ;\r\n  second ; q = 0.33\r\n\r\n";
    let request = request(valid(text));
    assert_eq!(request.headers.require::<To>().unwrap().tag(), Some("77n"));
    assert_eq!(request.headers.require::<From>().unwrap().display_name(), Some("K \\\""));
    assert_eq!(
        request.headers.all::<Via>().map(|via| via.unwrap().host().to_string()).collect::<Vec<_>>(),
        ["192.0.2.2", "h2.example.com", "192.0.2.3"]
    );
    assert_eq!(request.headers.require::<MaxForwards>(), Ok(MaxForwards(68)));
    assert_eq!(request.headers.require::<CSeq>(), Ok(CSeq::new(9, Method::Invite)));
    let contact: Contact = request.headers.require().unwrap();
    assert_eq!((contact.q(), contact.address().unwrap().param("new")), (Some(330), Some(Some("value"))));
    assert_eq!(request.headers.text("subject"), Some(""));
    assert_eq!(request.headers.text("odd-field"), Some(";;,,;;,;"));
}

/// RFC 4475 §3.1.1.2: every character that the grammar lets in.
#[test]
fn a_wide_range_of_characters_4475_3_1_1_2() {
    let text = with(
        base("!odd-Method_*+`.%~'9"),
        "sip:kim@example.org SIP",
        "sip:1_x.~(a!b)&=+$/?,;*:&pw@example.org SIP",
    );
    let text = with(text, "To: <sip:kim", "To: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <sip:kim");
    let text = with(
        text,
        "From: <sip:lee@example.net>;tag=f1",
        "From: t1~` t2'+_ t3*%!.- <sip:lee@example.net>;p''~+*_!.-%=\"маркер\";tag=_t~1'+`*%!-.",
    );
    let request = request(valid(&text));
    assert_eq!(request.method().as_str(), "!odd-Method_*+`.%~'9");
    assert_eq!(request.uri().unwrap().user(), Some("1_x.~(a!b)&=+$/?,;*:&pw"));
    assert_eq!(request.headers.require::<To>().unwrap().display_name(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    let from: From = request.headers.require().unwrap();
    assert_eq!(from.params().unquoted("P''~+*_!.-%").as_deref(), Some("маркер"));
    assert_eq!(from.tag(), Some("_t~1'+`*%!-."));
}

/// RFC 4475 §3.1.1.3 to §3.1.1.5: escapes are undone where the grammar has them, once, and nowhere else.
#[test]
fn percent_signs_4475_3_1_1_3() {
    let text =
        with(base("OPTIONS"), "sip:kim@example.org SIP", "sip:sips%3Akim%40example.org@example.net SIP");
    let text = with(text, "<sip:lee@192.0.2.9>", "<sip:%6C%65e@192.0.2.9;%6C%72;n=v%61l%25%34%31>");
    let headers = request(valid(&text));
    let uri = headers.uri().unwrap();
    assert_eq!((uri.user_decoded().as_deref(), uri.host()), (Some("sips:kim@example.org"), "example.net"));
    let contact: Contact = headers.headers.require().unwrap();
    assert!(contact.uri().unwrap().has_lr());
    assert_eq!(contact.uri().unwrap().user_decoded().as_deref(), Some("lee"));
    assert_eq!(
        contact.uri().unwrap().param("n"),
        Some(Some("v%61l%25%34%31")),
        "undone twice it would be another"
    );

    let text = with(base("REGISTER"), "<sip:lee@192.0.2.9>", "<sip:%00@192.0.2.9>, <sip:%00%00@192.0.2.9>");
    let both: Vec<Contact> = request(valid(&text)).headers.all().collect::<Result<_, _>>().unwrap();
    assert!(!both[0].uri().unwrap().equivalent(both[1].uri().unwrap()), "NUL ends nothing");

    let text = with(base("RE%47IST%45R"), "Contact:", "C%6Fntact: <sip:x@y>\r\nContact:");
    let odd = request(valid(&text));
    assert_ne!(odd.method(), &Method::Register);
    assert_eq!(odd.headers.count("Contact"), 1);
}

/// RFC 4475 §3.1.1.6: no white space between a display name and '<'.
#[test]
fn no_space_before_the_bracket_4475_3_1_1_6() {
    let request = request(valid(&with(base("OPTIONS"), "From: <sip:", "From: lee<sip:")));
    assert_eq!(request.headers.require::<From>().unwrap().display_name(), Some("lee"));
}

/// RFC 4475 §3.1.1.7: long values in every field.
#[test]
fn long_values_4475_3_1_1_7() {
    let long = "a-very-long-piece".repeat(20);
    let vias: String =
        (0..33).map(|hop| format!("V: SIP/2.0/TCP h{hop}.example.com;branch=z9hG4bK{hop}\r\n")).collect();
    let text = with(base("INVITE"), "Via:", &format!("{vias}X-{}: x\r\nVia:", "Long".repeat(20)));
    let text = with(text, ";tag=f1", &format!(";tag={long};{long}={long}"));
    let request =
        request(valid(&with(text, "sip:kim@example.org SIP", &format!("sip:{long}@example.org SIP"))));
    assert_eq!(request.headers.all::<Via>().count(), 34);
    assert_eq!(request.headers.require::<From>().unwrap().tag().unwrap().len(), 340);
}

/// RFC 4475 §3.1.1.8: octets after Content-Length in a datagram are not part of the message.
#[test]
fn a_second_request_in_a_datagram_4475_3_1_1_8() {
    let text = base("REGISTER") + &invite();
    let request = request(parse(&text));
    assert_eq!(request.check(), Ok(()));
    assert_eq!((request.method(), request.body().len()), (&Method::Register, 0));
    assert_eq!(request.to_bytes(), base("REGISTER"), "the rest is not forwarded");
}

/// RFC 4475 §3.1.1.9, §3.1.1.10, §3.1.1.12, §3.1.1.13.
#[test]
fn users_transports_and_reasons_4475_3_1_1_9() {
    let uri = request(valid(&with(
        base("OPTIONS"),
        "sip:kim@example.org SIP",
        "sip:kim;x=lee%40example.net@example.org SIP",
    )))
    .uri()
    .unwrap();
    assert_eq!((uri.user_decoded().as_deref(), uri.params().count()), (Some("kim;x=lee@example.net"), 0));
    let text = with(
        base("OPTIONS"),
        "Via:",
        "Via: SIP/2.0/SCTP h1\r\nVia: SIP/2.0/TLS h2\r\nVia: SIP/2.0/MORSE h3\r\nVia:",
    );
    let transports: Vec<String> =
        request(valid(&text)).headers.all::<Via>().map(|via| via.unwrap().transport().into()).collect();
    assert_eq!(transports, ["SCTP", "TLS", "MORSE", "UDP"]);
    let said = valid(&response("SIP/2.0 200 = 3**2 * 5 и ещё"));
    assert_eq!(said.as_response().unwrap().reason(), "= 3**2 * 5 и ещё");
    assert_eq!(valid(&response("SIP/2.0 100 ")).as_response().unwrap().reason(), "");
}

/// RFC 4475 §3.1.1.11: a multipart with octets that look like its end.
#[test]
fn a_multipart_with_binary_4475_3_1_1_11() {
    let parts = "--edge\r\nContent-Type: text/plain\r\n\r\nHello\r\n--edge\r\nContent-Type: application/octet-stream\r\n\r\n\0\r\n\r\n--edg\u{1}\r\n--edge--\r\n";
    let head = format!(
        "Content-Type: multipart/mixed;boundary=edge\r\nContent-Length: {}\r\n\r\n{parts}",
        parts.len()
    );
    let request = request(valid(&with(base("MESSAGE"), "Content-Length: 0\r\n\r\n", &head)));
    let body = request.entity(&Limits::default()).unwrap();
    let octets: Vec<&[u8]> = body.leaves().iter().map(|part| &part.octets()[..]).collect();
    assert_eq!(octets, [&b"Hello"[..], b"\0\r\n\r\n--edg\x01"]);
}

/// RFC 4475 §3.1.2: what is not valid.
#[test]
fn invalid_messages_4475_3_1_2() {
    // .1: separators without anything between them
    refused(&with(base("INVITE"), "192.0.2.9;branch=z9hG4bKp1", "192.0.2.9;;,;,,"), 400);
    // .2, .3: Content-Length larger than the body, and negative
    refused(&with(invite(), &format!("Content-Length: {}", SDP.len()), "Content-Length: 9999"), 400);
    refused(&with(invite(), &format!("Content-Length: {}", SDP.len()), "Content-Length: -999"), 400);
    // .4: numbers that overflow
    refused(&with(base("REGISTER"), "CSeq: 7 ", "CSeq: 36893488147419103232 "), 400);
    refused(&with(base("REGISTER"), "Max-Forwards: 70", "Max-Forwards: 300"), 400);
    let long = request(valid(&with(
        base("REGISTER"),
        "Contact: <sip:lee@192.0.2.9>",
        "Expires: 9999999999999999999\r\nContact: <sip:lee@192.0.2.9>;expires=280297596632815",
    )));
    assert_eq!(long.headers.require::<Expires>(), Ok(Expires(u32::MAX)));
    assert_eq!(long.headers.require::<Contact>().unwrap().expires(), Some(u32::MAX));
    // .5: the same in a response, which is dropped
    let scalar = parse(&with(
        response("SIP/2.0 503 Service Unavailable"),
        "CSeq: 7 ",
        "CSeq: 9292394834772304023312 ",
    ));
    assert!(scalar.as_response().unwrap().check().is_err());
    // .6: a quote that does not close
    refused(&with(base("INVITE"), "To: <sip:", "To: \"Kim <sip:"), 400);
    // .7 to .10: brackets and white space in the request line
    refused(&with(base("INVITE"), "sip:kim@example.org SIP", "<sip:kim@example.org> SIP"), 400);
    refused(&with(base("INVITE"), "sip:kim@example.org SIP", "sip:kim@example.org; lr SIP"), 400);
    refused(&with(base("INVITE"), "INVITE sip:kim@example.org SIP", "INVITE  sip:kim@example.org  SIP"), 400);
    refused(&with(base("OPTIONS"), "SIP/2.0\r\nVia", "SIP/2.0  \r\nVia"), 400);
    // .11: fields in the Request-URI never become fields of the request
    refused(
        &with(base("INVITE"), "sip:kim@example.org SIP", "sip:kim@example.org?Route=%3Csip:x.example%3E SIP"),
        400,
    );
    // .12: a zone other than GMT, of interest only to those who read Date
    let date =
        request(valid(&with(base("INVITE"), "Contact:", "Date: Fri, 01 Jan 2010 16:00:00 EST\r\nContact:")));
    assert!(date.headers.require::<Date>().is_err());
    // .13: '?' without brackets
    let bare =
        request(valid(&with(base("REGISTER"), "<sip:lee@192.0.2.9>", "sip:lee@192.0.2.9?Route=%3Csip:x%3E")));
    assert!(bare.headers.require::<Contact>().is_err());
    assert_eq!(bare.check_for_user_agent().unwrap_err().status.code(), 400);
    // .14: spaces within the brackets, passed over; .15: a comma in a display name without quotes
    assert_eq!(
        request(valid(&with(
            base("OPTIONS"),
            "<sip:kim@example.org>",
            "\"Kim, K.\" < sip:kim@example.org >"
        )))
        .headers
        .require::<To>()
        .unwrap()
        .uri()
        .as_str(),
        "sip:kim@example.org"
    );
    refused(&with(base("OPTIONS"), "From: <sip:", "From: Bell, A. <sip:"), 400);
    // .16: another version; .17, .18: another method in CSeq, known or not
    refused(&with(base("OPTIONS"), "org SIP/2.0", "org SIP/7.0"), 505);
    refused(&with(base("OPTIONS"), "CSeq: 7 OPTIONS", "CSeq: 7 INVITE"), 400);
    refused(&with(base("NEWMETHOD"), "CSeq: 7 NEWMETHOD", "CSeq: 7 INVITE"), 400);
    // .19: a status of 2³²+301 is no 301
    let text = response("SIP/2.0 4294967597 better not");
    assert!(Message::parse(text.into(), &Limits::default()).is_err());
}

/// RFC 4475 §3.2 and §3.3: the transaction and the application layer.
#[test]
fn what_other_layers_answer_4475_3_3() {
    // §3.2.1: the magic cookie alone
    let branch = request(valid(&with(base("OPTIONS"), "z9hG4bKp1", "z9hG4bK")));
    assert_eq!(branch.headers.require::<Via>().unwrap().branch(), Some("z9hG4bK"));
    // §3.3.1: mandatory fields missing, each of them
    for line in [
        "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKp1\r\n",
        "From: <sip:lee@example.net>;tag=f1\r\n",
        "To: <sip:kim@example.org>\r\n",
        "Call-ID: p1@192.0.2.9\r\n",
        "CSeq: 7 OPTIONS\r\n",
    ] {
        refused(&with(base("OPTIONS"), line, ""), 400);
    }
    // §3.3.2 to §3.3.4: schemes that nobody knows
    for (uri, scheme) in [("nobody:knows", "nobody"), ("soap.beep://192.0.2.103:3002", "soap.beep")] {
        assert_eq!(
            request(valid(&with(base("OPTIONS"), "sip:kim@example.org SIP", &format!("{uri} SIP"))))
                .uri()
                .unwrap()
                .scheme(),
            scheme
        );
    }
    let other = request(valid(&with(
        with(base("REGISTER"), "<sip:kim@example.org>", "isbn:2983792873"),
        "<sip:lee@example.net>",
        "<http://www.example.com>",
    )));
    assert_eq!(other.headers.require::<To>().unwrap().uri().scheme(), "isbn");
    assert_eq!(other.headers.require::<From>().unwrap().uri().scheme(), "http");
    // §3.3.5, §3.3.7, §3.3.15: extensions, schemes and types that nobody knows
    let odd = request(valid(&with(
        base("INVITE"),
        "Contact:",
        "Require: oneThing, another\r\nProxy-Require: third\r\nAuthorization: NoScheme opaque-data=here\r\nAccept: text/nobody\r\nContact:",
    )));
    assert_eq!(
        odd.headers.all::<Require>().map(|tag| tag.unwrap().0).collect::<Vec<_>>(),
        ["oneThing", "another"]
    );
    assert_eq!(odd.headers.require::<Authorization>().unwrap().0.scheme(), "NoScheme");
    assert!(
        !odd.headers
            .require::<Accept>()
            .unwrap()
            .range()
            .unwrap()
            .matches(&ContentType::new("application", "sdp"))
    );
    // §3.3.6: a body of an unknown type
    let body = request(valid(&with(
        base("INVITE"),
        "Content-Length: 0\r\n\r\n",
        "Content-Type: application/unknown\r\nContent-Length: 2\r\n\r\nhi",
    )));
    assert!(body.entity(&Limits::default()).unwrap().find("application", "sdp").is_none());
    // §3.3.8: two of each
    for (line, name) in [
        ("CSeq: 8 INVITE", "CSeq"),
        ("Call-ID: q", "Call-ID"),
        ("To: <sip:x@y>", "To"),
        ("From: <sip:x@y>;tag=2", "From"),
        ("Max-Forwards: 5", "Max-Forwards"),
    ] {
        let text = with(base("INVITE"), "Contact:", &format!("{line}\r\nContact:"));
        refused(&text, 400);
        assert_eq!(request(parse(&text)).check().unwrap_err().name.unwrap().as_str(), name);
    }
    // §3.3.9: two lengths, and one length twice
    refused(&with(base("INVITE"), "Content-Length: 0", "Content-Length: 0\r\nContent-Length: 5"), 400);
    valid(&with(base("INVITE"), "Content-Length: 0", "Content-Length: 0\r\nl: 0"));
    // §3.3.10: a Via of another, with the broadcast address
    let text = with(
        response("SIP/2.0 200 OK"),
        "Via:",
        "Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bKa\r\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKb\r\nVia:",
    );
    assert_eq!(valid(&text).headers().all::<Via>().nth(1).unwrap().unwrap().host(), "255.255.255.255");
    // §3.3.11: no hop left
    assert_eq!(
        request(valid(&with(base("OPTIONS"), "Max-Forwards: 70", "Max-Forwards: 0")))
            .headers
            .require::<MaxForwards>()
            .unwrap()
            .decrement(),
        None
    );
    // §3.3.12 to §3.3.14: parameters of the Contact and of its URI, and escaped fields in it
    let outside: Contact =
        request(valid(&with(base("REGISTER"), "<sip:lee@192.0.2.9>", "sip:lee@192.0.2.9;odd")))
            .headers
            .require()
            .unwrap();
    assert_eq!(
        (outside.uri().unwrap().param("odd"), outside.address().unwrap().param("odd")),
        (None, Some(None))
    );
    let inside: Contact = request(valid(&with(
        base("REGISTER"),
        "<sip:lee@192.0.2.9>",
        "<sip:lee@192.0.2.9;odd?Route=%3Csip:x%3E>",
    )))
    .headers
    .require()
    .unwrap();
    assert_eq!(
        (inside.uri().unwrap().param("odd"), inside.address().unwrap().param("odd")),
        (Some(None), None)
    );
    assert_eq!(inside.uri().unwrap().headers().collect::<Vec<_>>(), [("Route", "%3Csip:x%3E")]);
    assert!(!request(parse(&base("REGISTER"))).headers.contains(HeaderName::ROUTE));
}

/// RFC 4475 §3.4.1 and RFC 3261 where it keeps what RFC 2543 sent: no branch, no tag, no Max-Forwards, no
/// Content-Length, a comment after a Via, a URI without brackets, unknown fields of old.
#[test]
fn messages_of_rfc_2543_4475_3_4_1() {
    let text = format!(
        "INVITE sip:kim@example.org SIP/2.0\r\nVia: SIP/2.0/UDP old.example.com (his firewall)\r\n\
         From: sip:lee@example.net\r\nTo: Kim <sip:kim@example.org>\r\nCall-ID: 31415\r\nCSeq: 1 INVITE\r\n\
         Hide: route\r\nResponse-Key: pgp\r\nEncryption: PGP version=2.6.2\r\nContact: sip:lee@192.0.2.9;q=1\r\n\
         Content-Type: application/sdp\r\n\r\n{SDP}"
    );
    let request = request(valid(&text));
    let via: Via = request.headers.require().unwrap();
    assert_eq!((via.host(), via.branch()), ("old.example.com", None));
    assert_eq!(request.headers.require::<From>().unwrap().tag(), None);
    assert_eq!(request.headers.get::<MaxForwards>(), Ok(None));
    assert_eq!(&request.body()[..], SDP.as_bytes(), "to the end of the datagram");
    assert_eq!(request.headers.text("hide"), Some("route"));
}

/// RFC 5118 §4: IPv6 references.
#[test]
fn ipv6_5118_4() {
    let at = |uri: &str| with(base("REGISTER"), "sip:kim@example.org SIP", &format!("{uri} SIP"));
    // §4.1, §4.2
    let good = request(valid(&at("sip:[2001:db8::10]"))).uri().unwrap();
    assert_eq!((good.host(), good.port()), ("[2001:db8::10]", None));
    refused(&at("sip:2001:db8::10"), 400);
    // §4.3, §4.4: a port within the brackets is none
    let within = request(valid(&at("sip:[2001:db8::10:5070]"))).uri().unwrap();
    assert_eq!((within.host(), within.port()), ("[2001:db8::10:5070]", None));
    let beyond = request(valid(&at("sip:[2001:db8::10]:5070"))).uri().unwrap();
    assert_eq!((beyond.host(), beyond.port()), ("[2001:db8::10]", Some(5070)));
    // §4.5: received with and without brackets
    for received in ["2001:db8::9:255", "[2001:db8::9:255]"] {
        let text =
            with(base("BYE"), "192.0.2.9;branch", &format!("[2001:db8::9:1];received={received};branch"));
        assert_eq!(
            request(valid(&text)).headers.require::<Via>().unwrap().received(),
            Some("2001:db8::9:255")
        );
    }
    // §4.7: IPv4 and IPv6 in one message
    let text = with(
        base("BYE"),
        "Via:",
        "Via: SIP/2.0/UDP [2001:db8::9:1]:6050;received=2001:db8::9:255;branch=z9hG4bKa\r\nVia:",
    );
    assert_eq!(
        request(valid(&text)).headers.all::<Via>().map(|via| via.unwrap().port()).collect::<Vec<_>>(),
        [Some(6050), None]
    );
    // §4.6, §4.8: addresses in a body are the body's business, IPv4 or IPv6
    let sdp = SDP.replacen("IP4 192.0.2.9", "IP6 2001:db8::20", 1);
    let text = with(
        base("INVITE"),
        "Content-Length: 0\r\n\r\n",
        &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len()),
    );
    assert_eq!(request(valid(&text)).body().len(), sdp.len());
    // §4.9: an IPv4 address mapped into IPv6
    let text = with(base("INVITE"), "<sip:lee@192.0.2.9>", "<sip:lee@[::ffff:192.0.2.10]:19823>");
    let contact: Contact = request(valid(&text)).headers.require().unwrap();
    assert_eq!(
        (contact.uri().unwrap().host(), contact.uri().unwrap().port()),
        ("[::ffff:192.0.2.10]", Some(19823))
    );
    // §4.10: two colons, and the three of an old grammar
    for host in ["[2001:db8::192.0.2.1]", "[2001:db8:::192.0.2.1]"] {
        assert_eq!(request(valid(&at(&format!("sip:kim@{host}")))).uri().unwrap().host(), host);
    }
}
