//! What messages carry: CPIM, notifications of their delivery, and that somebody types.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use sip_dialog::messaging::composing::{
    Composer, ComposingPeer, ComposingState, IDLE_AFTER, IsComposing, MOST_REFRESH, WITHOUT_REFRESH,
};
use sip_dialog::messaging::cpim::{self, Cpim, CpimAddress, CpimError, MAX_HEADER_OCTETS, SUBJECT};
use sip_dialog::messaging::imdn::{
    DeliveryStatus, DisplayStatus, Disposition, Imdn, NotTold, Notification, ProcessingStatus, Teller,
};
use sip_dialog::packages::presence::{Extension, Note};
use sip_message::Limits;
use sip_message::body::Entity;
use sip_message::headers::{ContentType, Headers};

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A message of an RFC, with the ends of lines that it has on the wire.
fn message(name: &str) -> Bytes {
    String::from_utf8(data(name)).unwrap().replace('\n', "\r\n").into()
}

fn address(name: Option<&str>, uri: &str) -> CpimAddress {
    CpimAddress::new(name, uri)
}

// ---- CPIM --------------------------------------------------------------------------------------------------------

const FEATURES: &str = "mid:MessageFeatures@id.foo.com";

/// RFC 3862 §5.1.
#[test]
fn rfc3862_5_1_a_message() {
    let octets = message("rfc3862-1.cpim");
    let read = Cpim::parse_understanding(&octets, |namespace, name| {
        (namespace, name) == (FEATURES, "VitalMessageOption")
    });
    let read = read.unwrap();
    assert_eq!(read.from(), Some(address(Some("MR SANDERS"), "im:piglet@100akerwood.com")));
    assert_eq!(read.to(), [address(Some("Depressed Donkey"), "im:eeyore@100akerwood.com")]);
    assert_eq!((read.cc(), read.date_time().as_deref()), (vec![], Some("2000-12-13T13:40:00-08:00")));
    assert_eq!(read.subject(None).as_deref(), Some("the weather will be fine today"));
    assert_eq!(read.subject(Some("fr")).as_deref(), Some("beau temps prevu pour aujourd'hui"));
    assert_eq!(read.subject(Some("de")).as_deref(), Some("the weather will be fine today"));
    let wacky: Vec<_> = read.all(FEATURES, "WackyMessageOption").map(|header| header.value()).collect();
    assert_eq!(wacky, ["Use-silly-font"]);
    assert_eq!(read.content_type(), "text/xml; charset=utf-8");
    assert_eq!(read.field("content-id"), Some("<1234567890@foo.com>"));
    assert!(read.body.starts_with(b"<body>\r\n"));
    // No octet of the content is copied, and none of the message changed.
    let range = octets.as_ptr_range();
    assert!(range.contains(&read.body.as_ptr()));
    assert_eq!(read.to_octets(), octets);
}

/// RFC 3862 §5.2: the same within a signature, whose protocol the RFC writes without the quotation marks that its slash
/// needs.
#[test]
fn rfc3862_5_2_a_signed_message() {
    let octets = message("rfc3862-2.multipart");
    let end = octets.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let mut headers = Headers::new();
    headers.push_back(&ContentType::new("multipart", "signed").with_param("boundary", Some("next")));
    let entity = Entity::of(&headers, &octets.slice(end + 4..), &Limits::default()).unwrap();
    let signed = entity.find("message", "cpim").unwrap();
    let read = Cpim::parse_understanding(signed.octets(), |_, _| true).unwrap();
    assert_eq!(read.to(), [address(Some("Dopey Donkey"), "im:eeyore@100akerwood.com")]);
    assert!(read.body.ends_with(b"</body>"));
    assert_eq!(read.to_octets(), *signed.octets());
}

/// RFC 3862 §3.5: what is required must be understood, by whatever prefix.
#[test]
fn rfc3862_3_5_what_is_required() {
    let refused = Cpim::parse(&message("rfc3862-1.cpim"));
    assert_eq!(refused, Err(CpimError::Required("MyFeatures.VitalMessageOption".into())));
    let parse = |headers: &str| {
        Cpim::parse(&format!("From: <im:a@b>\r\n{headers}\r\nContent-Type: text/plain\r\n\r\n").into())
    };
    assert!(parse("NS: x <urn:ietf:params:imdn>\r\nRequire: x.Message-ID, Subject\r\n").is_ok());
    // The same name in another namespace, and a prefix that nobody has declared (yet).
    assert!(parse("NS: imdn <urn:other>\r\nRequire: imdn.Message-ID\r\n").is_err());
    assert!(parse("Require: x.Message-ID\r\nNS: x <urn:ietf:params:imdn>\r\n").is_err());
    // Another default namespace.
    assert!(parse("NS: <urn:other>\r\nRequire: Subject\r\n").is_ok(), "no longer our Require");
    assert!(
        parse("NS: c <urn:ietf:params:cpim-headers:>\r\nNS: <urn:other>\r\nc.Require: Subject\r\n").is_err()
    );
}

/// RFC 3862 §2.3.
#[test]
fn rfc3862_2_3_escapes() {
    let text = "NS: MyAlias <mid:x@y>\r\nMyAlias.A: \\\\ \\\" \\' \\b\\t\\n\\r \\u20ac\\u0000 \\q \\ud800 \\u12 \\\r\n\
        From: \"a \\\"quoted\\\" <name>\" <im:a@b>\r\n\r\n\r\n";
    let read = Cpim::parse(&Bytes::from_static(text.as_bytes())).unwrap();
    let value = read.all("mid:x@y", "A").next().unwrap().value().into_owned();
    assert_eq!(value, "\\ \" ' \u{8}\t\n\r €\0 q \u{fffd} u12 ");
    assert_eq!(read.from(), Some(address(Some("a \"quoted\" <name>"), "im:a@b")));
    assert_eq!(read.content_type(), "text/plain");
    assert_eq!(read.to_octets(), text.as_bytes());

    let mut made = Cpim::new("text/plain\r\nX-Evil: 1", "");
    made.push(SUBJECT, Some("en\r\nX: y"), "\u{8}\t\r\n\u{1}\u{7f}\\ \"ä\"");
    made.push_from(&address(Some("A \\ \"B\"\r\nTo: <im:eve@x>"), "im:a@b>\r\n"));
    let octets = made.to_octets();
    let lines: Vec<&str> = std::str::from_utf8(&octets).unwrap().split("\r\n").collect();
    assert_eq!(lines[0], "Subject:;lang=enXy \\b\\t\\r\\n\\u0001\\u007f\\\\ \"ä\"");
    assert_eq!(lines[1], r#"From: "A \\ \"B\"\r\nTo: <im:eve@x>" <im:a@b>"#);
    assert_eq!(lines[3], "Content-Type: text/plain  X-Evil: 1");
    let read = Cpim::parse(&octets).unwrap();
    assert_eq!(read.from(), Some(address(Some("A \\ \"B\"\r\nTo: <im:eve@x>"), "im:a@b")));
    assert_eq!(read.subject(None).as_deref(), Some("\u{8}\t\r\n\u{1}\u{7f}\\ \"ä\""));
    assert_eq!(read, made);
}

#[test]
fn messages_that_are_refused() {
    let refused = |text: &[u8]| Cpim::parse(&Bytes::copy_from_slice(text)).unwrap_err();
    assert_eq!(refused(b""), CpimError::Cut);
    assert_eq!(refused(b"From: <im:a@b>\r\n"), CpimError::Cut);
    assert_eq!(refused(b"From: <im:a@b>\r\n\r\nContent-Type: text/plain\r\n"), CpimError::Cut);
    assert_eq!(refused(b"From: <im:a@b>\r\nhello\r\n\r\n\r\n"), CpimError::Line(2));
    assert_eq!(refused(b"Fr om: x\r\n\r\n\r\n"), CpimError::Line(1));
    assert_eq!(refused(b"From: a\tb\r\n\r\n\r\n"), CpimError::Line(1));
    assert_eq!(refused(b"From: x\r\n\r\n folded\r\n\r\n"), CpimError::Line(3));
    assert_eq!(refused(b"From: \xff\r\n\r\n\r\n"), CpimError::NotUtf8);
    assert_eq!(refused("A: b\r\n".repeat(257).as_bytes()), CpimError::TooMany("headers"));
    let fields = format!("\r\n{}", "A: b\r\n".repeat(257));
    assert_eq!(refused(fields.as_bytes()), CpimError::TooMany("fields"));
    let long = format!("{}\r\n", format!("A: {}\r\n", "x".repeat(MAX_HEADER_OCTETS / 4)).repeat(5));
    assert_eq!(refused(long.as_bytes()), CpimError::TooMany("octets before the content"));
    // Ends of lines as some write them, and a field in two lines.
    let lax = Cpim::parse(&Bytes::from_static(
        b"From:<im:a@b>\n\nContent-Type: text/plain;\n\tcharset=utf-8\n\nhi",
    ));
    let lax = lax.unwrap();
    assert_eq!((lax.content_type(), &lax.body[..]), ("text/plain; charset=utf-8", &b"hi"[..]));
    assert_eq!(lax.from().unwrap().uri, "im:a@b");
    for bad in ["im:a@b", "<>", "<im:a b>", "\"a <im:a@b>", "x <im:a@b> y"] {
        assert_eq!(CpimAddress::parse(bad), None, "{bad}");
    }
}

// ---- IMDN --------------------------------------------------------------------------------------------------------

/// RFC 5438 §7.1.1.3: Alice asks whether it was delivered.
fn asked() -> Cpim {
    Cpim::parse(&message("rfc5438-1.cpim")).unwrap()
}

const DELIVERED: Notification = Notification::Delivery(DeliveryStatus::Delivered);

#[test]
fn rfc5438_7_2_1_a_message_is_delivered() {
    let asked = asked();
    assert_eq!(asked.asks_for(), [Disposition::PositiveDelivery, Disposition::NegativeDelivery]);
    assert_eq!(asked.message_id().as_deref(), Some("34jk324j"));
    assert!(!asked.is_notification());
    let told = Imdn::answer(&asked, DELIVERED, Teller::Recipient, "d834jied93rf").unwrap();
    assert_eq!(told.from(), Some(address(Some("Bob"), "im:bob@example.com")));
    assert_eq!(told.to(), [address(Some("Alice"), "im:alice@example.com")]);
    assert_eq!(told.message_id().as_deref(), Some("d834jied93rf"));
    assert_eq!(told.next_hop().as_deref(), Some("im:alice@example.com"));
    assert!(told.is_notification());
    let document = Imdn::parse(&told.body).unwrap();
    assert_eq!((document.message_id.as_str(), document.notification), ("34jk324j", Some(DELIVERED)));
    assert_eq!(document.date_time, "2006-04-04T12:16:49-05:00");
    assert_eq!(document.recipient_uri.as_deref(), Some("im:bob@example.com"));
    // The one of the RFC reads the same way.
    let theirs = Cpim::parse(&message("rfc5438-2.cpim")).unwrap();
    assert!(theirs.is_notification());
    assert_eq!(Imdn::parse(&theirs.body).unwrap().notification, Some(DELIVERED));
    assert_eq!(Cpim::parse(&told.to_octets()).unwrap(), told);
}

/// RFC 5438 §7.2.1, §8: who tells what, and nobody of a notification.
#[test]
fn rfc5438_7_who_tells_what() {
    let tell = |message: &Cpim, what, who| Imdn::answer(message, what, who, "x").map(|_| ());
    let failed = Notification::Delivery(DeliveryStatus::Failed);
    let shown = Notification::Display(DisplayStatus::Displayed);
    let stored = Notification::Processing(ProcessingStatus::Stored);
    let first = asked();
    assert_eq!(tell(&first, shown, Teller::Recipient), Err(NotTold::NotAsked(Disposition::Display)));
    assert_eq!(tell(&first, failed, Teller::Intermediary), Ok(()));
    assert_eq!(tell(&first, DELIVERED, Teller::Intermediary), Err(NotTold::NotOurs));
    let mut all = Cpim::new("text/plain", "Hello");
    all.push_from(&address(None, "im:a@b"));
    all.ask_for("id", &[Disposition::Display, Disposition::Processing]);
    assert_eq!(tell(&all, shown, Teller::Recipient), Ok(()));
    assert_eq!(tell(&all, shown, Teller::Intermediary), Err(NotTold::NotOurs));
    assert_eq!(tell(&all, stored, Teller::Intermediary), Ok(()));
    assert_eq!(tell(&all, stored, Teller::Recipient), Err(NotTold::NotOurs));
    assert_eq!(tell(&all, failed, Teller::Recipient), Err(NotTold::NotAsked(Disposition::NegativeDelivery)));

    let mut loops = Imdn::answer(&first, DELIVERED, Teller::Recipient, "y").unwrap();
    loops.ask_for("z", &[Disposition::PositiveDelivery]);
    assert_eq!(loops.asks_for(), []);
    assert_eq!(tell(&loops, DELIVERED, Teller::Recipient), Err(NotTold::Notification));
    // An aggregated one (§8.3).
    let many = Cpim::parse(&message("rfc5438-5.cpim")).unwrap();
    assert!(many.is_notification());

    let mut nameless = Cpim::new("text/plain", "");
    nameless.push_of("urn:ietf:params:imdn", "i", "Disposition-Notification", "display;x=1, unheard-of");
    assert_eq!(nameless.asks_for(), [Disposition::Display]);
    assert_eq!(tell(&nameless, shown, Teller::Recipient), Err(NotTold::NoMessageId));
    nameless.push_of("urn:ietf:params:imdn", "other", "Message-ID", "1");
    assert_eq!(tell(&nameless, shown, Teller::Recipient), Err(NotTold::NoSender));
    assert!(!nameless.to_octets().windows(5).any(|it| it == b"other"), "the prefix that is declared is used");
}

/// RFC 5438 §8: back the way it came, and with whom it was for at first.
#[test]
fn rfc5438_8_servers_on_the_way() {
    let mut message = asked();
    message.record_route(&address(None, "im:first@example.com"));
    message.record_route(&address(Some("Second"), "im:second@example.com"));
    message.set_original_to(&address(None, "im:list@example.com"));
    message.set_original_to(&address(None, "im:other@example.com"));
    message.push(SUBJECT, Some("en"), "Hello");
    let message = Cpim::parse(&message.to_octets()).unwrap();
    let uris = |all: Vec<CpimAddress>| all.into_iter().map(|one| one.uri).collect::<Vec<_>>();
    assert_eq!(uris(message.record_routes()), ["im:second@example.com", "im:first@example.com"]);
    let mut told = Imdn::answer(&message, DELIVERED, Teller::Recipient, "x").unwrap();
    let document = Imdn::parse(&told.body).unwrap();
    assert_eq!(document.original_recipient_uri.as_deref(), Some("im:list@example.com"));
    assert_eq!(document.subject, Some(Note { text: "Hello".into(), language: Some("en".into()) }));
    assert_eq!(told.record_routes(), []);
    assert_eq!(told.next_hop().as_deref(), Some("im:second@example.com"));
    told.pass("im:first@example.com");
    assert_eq!(told.routes().len(), 2, "not its turn");
    told.pass("im:second@example.com");
    assert_eq!(told.next_hop().as_deref(), Some("im:first@example.com"));
    told.pass("im:first@example.com");
    assert_eq!(told.next_hop().as_deref(), Some("im:alice@example.com"));
}

// ---- composing ---------------------------------------------------------------------------------------------------

const SECOND: Duration = Duration::from_secs(1);

/// RFC 3994 §3.2, figure 1.
#[test]
fn rfc3994_3_2_somebody_types() {
    let start = Instant::now();
    let at = |seconds| start + seconds * SECOND;
    let mut composer = Composer::new(Some(90 * SECOND), IDLE_AFTER);
    assert_eq!((composer.state(), composer.poll_timeout()), (ComposingState::Idle, None));
    let active = IsComposing { refresh: Some(90), ..IsComposing::new(ComposingState::Active) };
    assert_eq!(composer.composing(at(0)), Some(active.clone()));
    assert_eq!(composer.poll_timeout(), Some(at(15)));
    for second in 1..90 {
        assert_eq!(composer.composing(at(second)), None);
    }
    assert_eq!(composer.poll_timeout(), Some(at(90)));
    assert_eq!(composer.handle_timeout(at(90)), Some(active.clone()), "still writing");
    assert_eq!(composer.handle_timeout(at(103)), None);
    assert_eq!(composer.handle_timeout(at(104)), Some(IsComposing::new(ComposingState::Idle)));
    assert_eq!((composer.state(), composer.poll_timeout()), (ComposingState::Idle, None));
    // A message that is sent in time says it all.
    assert_eq!(composer.composing(at(110)), Some(active));
    composer.sent();
    assert_eq!((composer.poll_timeout(), composer.handle_timeout(at(200))), (None, None));
    // Without refresh nothing is repeated.
    let mut composer = Composer::new(None, 1_000 * SECOND);
    assert_eq!(composer.composing(at(0)), Some(IsComposing::new(ComposingState::Active)));
    assert_eq!((composer.composing(at(999)), composer.poll_timeout()), (None, Some(at(1_999))));
    // RFC 3994 §4: whoever does not understand it is left alone.
    let mut composer = Composer::new(Some(SECOND), IDLE_AFTER);
    assert_eq!(composer.composing(at(0)).and_then(|it| it.refresh), Some(60), "no less");
    composer.refused();
    assert_eq!((composer.handle_timeout(at(15)), composer.composing(at(20))), (None, None));
}

/// RFC 3994 §3.3, figure 2.
#[test]
fn rfc3994_3_3_the_other_side_types() {
    let start = Instant::now();
    let mut peer = ComposingPeer::new();
    let active = |refresh| IsComposing { refresh, ..IsComposing::new(ComposingState::Active) };
    assert_eq!(
        (peer.state(), peer.poll_timeout(), peer.handle_timeout(start)),
        (ComposingState::Idle, None, false)
    );
    peer.receive(start, &active(None));
    assert_eq!((peer.state(), peer.poll_timeout()), (ComposingState::Active, Some(start + WITHOUT_REFRESH)));
    peer.receive(start + SECOND, &active(Some(90)));
    assert_eq!(peer.poll_timeout(), Some(start + 91 * SECOND));
    assert!(!peer.handle_timeout(start + 90 * SECOND));
    assert!(peer.handle_timeout(start + 91 * SECOND));
    assert_eq!(peer.state(), ComposingState::Idle);
    peer.receive(start, &active(Some(u64::MAX)));
    assert_eq!(peer.poll_timeout(), Some(start + MOST_REFRESH));
    peer.received_content();
    assert_eq!(peer.state(), ComposingState::Idle);
    peer.receive(start, &active(None));
    peer.receive(start, &IsComposing::new(ComposingState::Idle));
    assert_eq!(peer.state(), ComposingState::Idle);
}

/// RFC 3994 §5, and §3.5: a state that is not known is idle.
#[test]
fn rfc3994_5_documents() {
    let active = IsComposing::parse(&data("rfc3994-1-isComposing.xml")).unwrap();
    assert_eq!((active.state, active.refresh), (ComposingState::Active, Some(90)));
    assert_eq!(active.content_type.as_deref(), Some("text/plain"));
    let idle = IsComposing::parse(&data("rfc3994-2-isComposing.xml")).unwrap();
    assert_eq!(
        (idle.state, idle.last_active.as_deref()),
        (ComposingState::Idle, Some("2003-01-27T10:43:00Z"))
    );
    let other = IsComposing::parse(b"<isComposing><state>sleeping</state></isComposing>").unwrap();
    assert_eq!(other.state, ComposingState::Idle);
    assert!(IsComposing::parse(b"<isComposing/>").is_err());
    assert!(Imdn::parse(b"<imdn><message-id>1</message-id></imdn>").is_err());
    let unheard = b"<imdn><message-id>1</message-id><datetime/><display-notification><status/></display-notification></imdn>";
    assert_eq!(Imdn::parse(unheard).unwrap().notification, None);
}

// ---- round trips -------------------------------------------------------------------------------------------------

fn text() -> impl Strategy<Value = String> {
    "[a-z<>&\"'\\\\\r\n\tä\u{1} ]{0,10}".prop_map(|text| text.trim().to_string())
}

fn plain() -> impl Strategy<Value = String> {
    "[a-z<>&\"'ä ]{0,8}".prop_map(|text| text.trim().to_string())
}

fn optional() -> impl Strategy<Value = Option<String>> {
    prop::option::of(plain())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_reads_as_it_was_written(
        name in prop::option::of("[a-z\\\\\"<>\r\n]{1,8}"), subject in text(), own in text(),
        field in plain(), body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut made = Cpim::new("text/plain", body);
        made.push_from(&address(name.as_deref(), "im:a@b"));
        made.push(SUBJECT, None, &subject);
        made.push_of("urn:x", "own", "Name", &own);
        made.push_field("X-Field", &field);
        let read = Cpim::parse(&made.to_octets()).unwrap();
        prop_assert_eq!(read.subject(None).map(String::from), Some(subject));
        prop_assert_eq!(read.all("urn:x", "Name").next().unwrap().value(), own);
        prop_assert_eq!(read.all(cpim::NAMESPACE, "Name").count(), 0);
        let name = name.map(|name| name.trim().to_string()).filter(|name| !name.is_empty());
        prop_assert_eq!(read.from().unwrap().name.map(|name| name.trim().to_string()).filter(|it| !it.is_empty()), name);
        prop_assert_eq!(read, made);
    }

    #[test]
    fn any_octets_are_a_message_or_none(octets in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = (Cpim::parse(&octets.clone().into()), Imdn::parse(&octets), IsComposing::parse(&octets));
    }

    #[test]
    fn notifications_read_as_they_were_written(
        message_id in plain(), date_time in plain(), recipient_uri in optional(),
        original_recipient_uri in optional(), subject in optional(), kind in 0..12usize, own in text(),
    ) {
        use DeliveryStatus as D;
        use ProcessingStatus as P;
        let kinds = [
            Notification::Delivery(D::Delivered), Notification::Delivery(D::Failed),
            Notification::Delivery(D::Forbidden), Notification::Delivery(D::Error),
            Notification::Processing(P::Processed), Notification::Processing(P::Stored),
            Notification::Processing(P::Forbidden), Notification::Processing(P::Error),
            Notification::Display(DisplayStatus::Displayed), Notification::Display(DisplayStatus::Forbidden),
            Notification::Display(DisplayStatus::Error),
        ];
        let document = Imdn {
            message_id, date_time, recipient_uri, original_recipient_uri,
            subject: subject.map(|text| Note { text, language: None }),
            notification: kinds.get(kind).copied(),
            extensions: vec![Extension::new("urn:x", "own").with_text(&own.replace('\u{1}', ""))],
        };
        prop_assert_eq!(Imdn::parse(document.to_xml().as_bytes()), Ok(document));
    }

    #[test]
    fn composing_reads_as_it_was_written(
        active in any::<bool>(), last_active in optional(), content_type in optional(), refresh in any::<Option<u64>>(),
    ) {
        let state = if active { ComposingState::Active } else { ComposingState::Idle };
        let document = IsComposing { last_active, content_type, refresh, ..IsComposing::new(state) };
        prop_assert_eq!(IsComposing::parse(document.to_xml().as_bytes()), Ok(document));
    }
}
