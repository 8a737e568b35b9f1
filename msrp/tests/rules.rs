//! One rule of RFC 4975 after the other: octets in, octets and events out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use msrp::connection::{ANSWER_TIME, MAX_CONTROL, MAX_WHOLE_CHUNK};
use msrp::framing::Limits;
use msrp::session::{MAX_PARTIAL, PARTIAL_TIME};
use msrp::{
    Claim, Connection, Delivery, Directory, Event, Failure, FailureReport, Message, MessageKey, NoDirectory,
    SendError, SessionConfig, SessionKey, StatusCode, Uri,
};

const ALICE: &str = "msrp://a.example.com:7654/alice;tcp";
const BOB: &str = "msrp://b.example.com:8888/bob;tcp";

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn connection() -> Connection {
    let mut token = 0u64;
    let tokens = move || {
        token += 1;
        token
    };
    Connection::new(1, Limits::default(), Box::new(tokens))
}

/// Bob waits for Alice.
fn bob(change: impl FnOnce(&mut SessionConfig)) -> (Connection, SessionKey) {
    let mut bob = connection();
    let mut config = SessionConfig::new(uri(BOB));
    change(&mut config);
    let key = bob.add(config).unwrap();
    (bob, key)
}

fn alice() -> (Connection, SessionKey) {
    let mut alice = connection();
    let config =
        SessionConfig { remote: Some(uri(BOB).into()), active: true, ..SessionConfig::new(uri(ALICE)) };
    let key = alice.add(config).unwrap();
    (alice, key)
}

fn input(connection: &mut Connection, octets: impl AsRef<[u8]>) {
    connection.buffer_mut().extend_from_slice(octets.as_ref());
    connection.receive(Instant::now(), &mut NoDirectory).unwrap();
}

fn output(connection: &mut Connection) -> String {
    let mut all = Vec::new();
    while let Some(octets) = connection.poll_transmit() {
        all.extend_from_slice(&octets);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).map(|(_, event)| event).collect()
}

/// A chunk of Alice's.
fn chunk(id: &str, range: &str, fields: &str, body: &str, flag: char) -> String {
    format!(
        "MSRP tid{id} SEND\r\nTo-Path: {BOB}\r\nFrom-Path: {ALICE}\r\nMessage-ID: {id}\r\nByte-Range: {range}\r\n\
         {fields}Content-Type: text/plain\r\n\r\n{body}\r\n-------tid{id}{flag}\r\n"
    )
}

fn answer(connection: &mut Connection) -> String {
    let text = output(connection);
    text.split(' ').nth(2).map(|word| word.split("\r\n").next().unwrap().to_owned()).unwrap_or_default()
}

fn bodies(connection: &mut Connection) -> Vec<String> {
    let texts = events(connection).into_iter().filter_map(|event| match event {
        Event::Message(message) => Some(message.text().unwrap().to_owned()),
        _ => None,
    });
    texts.collect()
}

#[test]
fn rfc_4975_4_a_message_is_answered_with_200_to_the_previous_hop() {
    let (mut bob, _) = bob(|_| {});
    input(&mut bob, chunk("m1xx", "1-2/2", "", "Hi", '$'));
    assert_eq!(
        output(&mut bob),
        format!("MSRP tidm1xx 200 OK\r\nTo-Path: {ALICE}\r\nFrom-Path: {BOB}\r\n-------tidm1xx$\r\n")
    );
    let events = events(&mut bob);
    assert_eq!(events[0], Event::Bound);
    assert!(matches!(&events[1], Event::Message(message) if message.text() == Some("Hi")));
}

#[test]
fn rfc_4975_5_1_chunks_become_a_message_and_the_dollar_defines_its_length() {
    let (mut bob, _) = bob(|_| {});
    input(&mut bob, chunk("4564dpWd", "1-*/8", "", "abcd", '+'));
    assert!(bodies(&mut bob).is_empty());
    input(&mut bob, chunk("4564dpWd", "5-8/8", "", "EFGH", '$'));
    assert_eq!(bodies(&mut bob), ["abcdEFGH"]);
    // The examples of the RFC declare two octets more than they have.
    input(&mut bob, chunk("87652491", "1-25/25", "", "Hey Bob, are you there?", '$'));
    assert_eq!(bodies(&mut bob), ["Hey Bob, are you there?"]);
}

#[test]
fn rfc_4975_7_3_1_chunks_out_of_order_and_overlapping_the_last_one_holds() {
    let (mut bob, _) = bob(|_| {});
    for (range, body, flag) in [("5-8/8", "EFGH", '$'), ("3-6/8", "CDxy", '+')] {
        input(&mut bob, chunk("m1xx", range, "", body, flag));
    }
    assert!(bodies(&mut bob).is_empty());
    input(&mut bob, chunk("m1xx", "1-2/8", "", "ab", '+'));
    assert_eq!(bodies(&mut bob), ["abCDxyGH"]);
    // No total is known before the last chunk.
    input(&mut bob, chunk("m2xx", "1-*/*", "", "abc", '+'));
    input(&mut bob, chunk("m2xx", "4-*/*", "", "d", '$'));
    assert_eq!(bodies(&mut bob), ["abcd"]);
}

#[test]
fn chunks_that_lie_are_answered_with_400_and_the_message_is_given_up() {
    for lies in [
        &[("0-1/2", "a", '+')][..],
        &[("5-3/8", "abc", '$')],
        &[("1-9/8", "abc", '$')],
        &[("12-*/8", "abc", '$')],
        &[("1-*/2", "abc", '$')],
        &[("1-*/8", "ab", '+'), ("3-*/9", "cd", '+')],
        &[("1-*/*", "ab", '$'), ("3-*/*", "cd", '+')],
        &[("1-*/*", "abcd", '+'), ("1-*/*", "ab", '$')],
        &[("3-*/*", "cd", '$'), ("5-*/*", "ef", '$')],
        &[("x-1/2", "a", '$')],
    ] {
        let (mut bob, _) = bob(|_| {});
        for (range, body, flag) in &lies[..lies.len() - 1] {
            input(&mut bob, chunk("m1xx", range, "", body, *flag));
        }
        let _ = (output(&mut bob), events(&mut bob));
        let (range, body, flag) = lies[lies.len() - 1];
        input(&mut bob, chunk("m1xx", range, "", body, flag));
        assert_eq!(
            answer(&mut bob),
            if lies.len() > 1 && lies[0].2 == '$' && lies[1].2 == '+' { "200" } else { "400" }
        );
        // What was whole before the lie was a duplicate's by then.
        assert!(bodies(&mut bob).is_empty(), "{lies:?}");
        input(&mut bob, chunk("m2xx", "1-2/2", "", "ok", '$'));
        assert_eq!(bodies(&mut bob), ["ok"], "the session goes on");
    }
}

#[test]
fn rfc_4975_10_5_a_message_that_is_too_large_is_answered_with_413_at_once() {
    let (mut bob, _) = bob(|config| config.max_size = 10);
    // By what it declares, before its end has come.
    let text = chunk("m1xx", "1-*/11", "", "abc", '$');
    let (begin, rest) = text.split_at(text.find("\r\n\r\n").unwrap() + 4);
    input(&mut bob, begin);
    assert_eq!(answer(&mut bob), "413");
    input(&mut bob, rest);
    assert_eq!(output(&mut bob), "");
    // By its octets.
    input(&mut bob, chunk("m2xx", "1-*/*", "", "0123456789", '+'));
    assert_eq!(answer(&mut bob), "200");
    input(&mut bob, chunk("m2xx", "11-*/*", "", "x", '$'));
    assert_eq!(answer(&mut bob), "413");
    // By its place.
    input(&mut bob, chunk("m3xx", "99999999999-*/*", "", "x", '+'));
    assert_eq!(answer(&mut bob), "413");
    // And what still comes of it.
    input(&mut bob, chunk("m2xx", "12-*/*", "", "x", '$'));
    assert_eq!(answer(&mut bob), "413");
    assert!(bodies(&mut bob).is_empty());
}

#[test]
fn rfc_4975_10_6_media_types_that_were_not_agreed_upon_are_answered_with_415() {
    let (mut bob, _) = bob(|config| config.accept = "message/cpim text/html".parse().unwrap());
    input(&mut bob, chunk("m1xx", "1-2/2", "", "Hi", '$'));
    assert_eq!(answer(&mut bob), "415");
}

#[test]
fn rfc_4975_7_2_failure_report_chooses_the_answers() {
    for (report, good, bad) in [("yes", "200", "400"), ("partial", "", "400"), ("no", "", "")] {
        let (mut bob, _) = bob(|_| {});
        let fields = format!("Failure-Report: {report}\r\n");
        input(&mut bob, chunk("m1xx", "1-2/2", &fields, "Hi", '$'));
        assert_eq!(answer(&mut bob), good);
        input(&mut bob, chunk("m2xx", "3-1/2", &fields, "Hi", '$'));
        assert_eq!(answer(&mut bob), bad);
        let unknown = chunk("m3xx", "1-2/2", &fields, "Hi", '$').replace("/bob;", "/nobody;");
        input(&mut bob, unknown);
        assert_eq!(answer(&mut bob), if bad.is_empty() { "" } else { "481" });
    }
}

#[test]
fn rfc_4975_7_1_3_a_success_report_covers_the_whole_message_and_goes_along_the_whole_path() {
    let (mut bob, _) = bob(|_| {});
    let relayed = format!("msrps://relay.example.com:9000/x;tcp {ALICE}");
    for (range, body, flag) in [("1-*/8", "abcd", '+'), ("5-8/8", "EFGH", '$')] {
        let text = chunk("m1xx", range, "Success-Report: yes\r\nFailure-Report: no\r\n", body, flag);
        input(&mut bob, text.replace(&format!("From-Path: {ALICE}"), &format!("From-Path: {relayed}")));
    }
    assert_eq!(
        output(&mut bob),
        format!(
            "MSRP 0000000000000001 REPORT\r\nTo-Path: {relayed}\r\nFrom-Path: {BOB}\r\nMessage-ID: m1xx\r\n\
             Byte-Range: 1-8/8\r\nStatus: 000 200 OK\r\n-------0000000000000001$\r\n"
        )
    );
}

#[test]
fn rfc_4975_5_4_a_message_that_comes_twice_is_acknowledged_and_not_shown() {
    let (mut bob, _) = bob(|_| {});
    for _ in 0..2 {
        input(&mut bob, chunk("m1xx", "1-2/2", "Success-Report: yes\r\n", "Hi", '$'));
        let text = output(&mut bob);
        assert!(text.contains(" 200 OK\r\n") && text.contains(" REPORT\r\n"), "{text}");
    }
    let events = events(&mut bob);
    assert!(matches!(&events[..], [Event::Bound, Event::Message(_), Event::Duplicate { .. }]), "{events:?}");
}

#[test]
fn rfc_4975_7_1_an_aborted_message_is_told_and_requests_without_body_are_traffic() {
    let (mut bob, _) = bob(|_| {});
    input(&mut bob, chunk("m1xx", "1-*/8", "", "abcd", '#'));
    assert!(matches!(&events(&mut bob)[..], [Event::Bound, Event::Abandoned { .. }]));
    assert_eq!(answer(&mut bob), "200");
    input(
        &mut bob,
        format!(
            "MSRP t123 SEND\r\nTo-Path: {BOB}\r\nFrom-Path: {ALICE}\r\nMessage-ID: m2xx\r\n-------t123$\r\n"
        ),
    );
    assert_eq!(answer(&mut bob), "200");
    assert!(events(&mut bob).is_empty());
}

#[test]
fn rfc_4975_12_unknown_methods_are_answered_with_501_along_the_whole_path_and_unknown_fields_ignored() {
    let (mut bob, _) = bob(|_| {});
    let path = format!("msrp://r.example.com:1/r;tcp {ALICE}");
    for method in ["AUTH", "NICKNAME", "DANCE"] {
        input(
            &mut bob,
            format!("MSRP t123 {method}\r\nTo-Path: {BOB}\r\nFrom-Path: {path}\r\n-------t123$\r\n"),
        );
        let text = output(&mut bob);
        assert!(
            text.starts_with("MSRP t123 501 ") && text.contains(&format!("To-Path: {path}\r\n")),
            "{text}"
        );
    }
    input(&mut bob, chunk("m1xx", "1-2/2", "X-Colour: mauve\r\n", "Hi", '$'));
    assert_eq!(bodies(&mut bob), ["Hi"]);
    // A report is never answered.
    input(
        &mut bob,
        format!(
            "MSRP t124 REPORT\r\nTo-Path: {BOB}\r\nFrom-Path: {ALICE}\r\nMessage-ID: none\r\nStatus: 000 200\r\n-------t124$\r\n"
        ),
    );
    let _ = answer(&mut bob);
    assert_eq!(output(&mut bob), "");
}

#[derive(Default)]
struct Registry {
    bound: Option<u64>,
}

impl Directory for Registry {
    fn claim(&mut self, connection: u64, local: &Uri) -> Claim {
        match self.bound {
            _ if *local != uri(BOB) => Claim::Unknown,
            Some(other) if other != connection => Claim::Elsewhere,
            _ => {
                self.bound = Some(connection);
                Claim::Bind(Box::new(SessionConfig::new(uri(BOB))))
            }
        }
    }
}

#[test]
fn rfc_4975_5_4_the_first_request_binds_a_session_to_one_connection() {
    let mut registry = Registry::default();
    let mut first = connection();
    let mut second = Connection::new(2, Limits::default(), Box::new(|| 7));
    for (connection, expected) in [(&mut first, "200"), (&mut second, "506")] {
        connection.buffer_mut().extend_from_slice(chunk("m1xx", "1-2/2", "", "Hi", '$').as_bytes());
        connection.receive(Instant::now(), &mut registry).unwrap();
        assert_eq!(answer(connection), expected);
    }
    let unknown = chunk("m2xx", "1-2/2", "", "Hi", '$').replace("/bob;", "/eve;");
    first.buffer_mut().extend_from_slice(unknown.as_bytes());
    first.receive(Instant::now(), &mut registry).unwrap();
    assert_eq!(answer(&mut first), "481");
    assert_eq!((first.sessions(), second.sessions()), (1, 0));
}

#[test]
fn rfc_4975_5_4_the_active_side_sends_at_once_and_ends_with_481() {
    let (mut alice, _) = alice();
    let first = output(&mut alice);
    assert!(first.contains(" SEND\r\n") && !first.contains("Content-Type"), "{first}");
    let transaction = first.split(' ').nth(1).unwrap().to_owned();
    let response = |code| {
        format!(
            "MSRP {transaction} {code} x\r\nTo-Path: {ALICE}\r\nFrom-Path: {BOB}\r\n-------{transaction}$\r\n"
        )
    };
    input(&mut alice, response("481"));
    assert_eq!(events(&mut alice), [Event::Closed(Failure::Status(StatusCode::NO_SESSION))]);
    assert_eq!(alice.sessions(), 0);
}

/// Alice with her first request answered.
fn bound() -> (Connection, SessionKey) {
    let (mut alice, key) = alice();
    let _ = output(&mut alice);
    (alice, key)
}

fn transactions(text: &str) -> Vec<String> {
    text.split("MSRP ").skip(1).map(|part| part.split(' ').next().unwrap().to_owned()).collect()
}

fn respond(alice: &mut Connection, transaction: &str, code: &str) {
    input(
        alice,
        format!(
            "MSRP {transaction} {code}\r\nTo-Path: {ALICE}\r\nFrom-Path: {BOB}\r\n-------{transaction}$\r\n"
        ),
    );
}

fn report(alice: &mut Connection, id: &str, range: &str, status: &str) {
    input(
        alice,
        format!(
            "MSRP rep1 REPORT\r\nTo-Path: {ALICE}\r\nFrom-Path: {BOB}\r\nMessage-ID: {id}\r\nByte-Range: {range}\r\n\
             Status: {status}\r\n-------rep1$\r\n"
        ),
    );
}

#[test]
fn rfc_4975_7_1_1_silence_of_30_seconds_is_a_failure_told_once() {
    let (mut alice, key) = bound();
    let message = alice.send(key, Message::text("Hi")).unwrap();
    let text = output(&mut alice);
    let start = Instant::now();
    // The time begins when the kernel has it.
    assert_eq!(alice.poll_timeout(), None);
    alice.transmitted(start);
    let due = alice.poll_timeout().unwrap();
    assert_eq!(due, start + ANSWER_TIME);
    alice.handle_timeout(due - Duration::from_millis(1));
    assert!(events(&mut alice).is_empty());
    alice.handle_timeout(due);
    let told = events(&mut alice);
    assert!(told.contains(&Event::Failed(message, Failure::Timeout)), "{told:?}");
    for transaction in transactions(&text) {
        respond(&mut alice, &transaction, "200 OK");
    }
    assert!(events(&mut alice).is_empty());
}

#[test]
fn rfc_4975_7_1_1_partial_and_no_wait_for_nothing() {
    for failure in [FailureReport::Partial, FailureReport::No] {
        let (mut alice, key) = alice();
        let message = alice.send(key, Message::text("Hi").with_failure_report(failure)).unwrap();
        let text = output(&mut alice);
        assert_eq!(events(&mut alice), [Event::Sent(message)]);
        // A failure that is told nevertheless counts.
        respond(&mut alice, &transactions(&text)[1], "403");
        let told = events(&mut alice);
        let expected = Event::Failed(message, Failure::Status(StatusCode::FORBIDDEN));
        assert_eq!(told, if failure == FailureReport::Partial { vec![expected] } else { vec![] });
    }
}

#[test]
fn rfc_4975_7_3_2_reports_of_all_octets_confirm_a_message() {
    let (mut alice, key) = bound();
    let message = alice.send(
        key,
        Message { id: Some("m1xx".parse().unwrap()), ..Message::text("abcdefgh").with_success_report() },
    );
    let message = message.unwrap();
    let text = output(&mut alice);
    report(&mut alice, "m1xx", "5-8/8", "000 200 OK");
    respond(&mut alice, &transactions(&text)[0], "200 OK");
    assert_eq!(events(&mut alice), [Event::Sent(message)]);
    report(&mut alice, "other", "1-8/8", "000 200 OK");
    report(&mut alice, "m1xx", "1-4/8", "001 200 OK");
    report(&mut alice, "m1xx", "1-3/8", "000 200 OK");
    assert!(events(&mut alice).is_empty());
    report(&mut alice, "m1xx", "4-4/8", "000 200 OK");
    assert_eq!(events(&mut alice), [Event::Delivered(message)]);
}

#[test]
fn rfc_4975_7_3_2_a_report_of_failure_ends_the_session_unless_the_message_is_just_unwanted() {
    for (status, ends) in
        [("000 413 no", false), ("000 415", false), ("000 408 late", true), ("000 400", true)]
    {
        let (mut alice, key) = bound();
        let first = Message { id: Some("m1xx".parse().unwrap()), ..Message::text("one") };
        let (first, second) =
            (alice.send(key, first).unwrap(), alice.send(key, Message::text("two")).unwrap());
        let _ = output(&mut alice);
        report(&mut alice, "m1xx", "1-3/3", status);
        let told = events(&mut alice);
        assert_eq!(
            told.iter().filter(|event| matches!(event, Event::Failed(key, _) if *key == first)).count(),
            1
        );
        assert_eq!(told.iter().any(|event| matches!(event, Event::Failed(key, _) if *key == second)), ends);
        assert_eq!(alice.send(key, Message::text("three")).is_err(), ends);
    }
}

#[test]
fn rfc_4975_10_5_a_413_stops_a_message_in_the_middle_of_its_chunk() {
    let (mut alice, key) = bound();
    let message = alice.send(key, Message::new("text/plain", vec![b'x'; 1_000_000])).unwrap();
    let head = alice.poll_transmit().unwrap();
    let _ = alice.poll_transmit().unwrap();
    let transaction = transactions(std::str::from_utf8(&head).unwrap())[0].clone();
    respond(&mut alice, &transaction, "413");
    assert_eq!(events(&mut alice), [Event::Failed(message, Failure::Status(StatusCode::STOP_SENDING))]);
    assert_eq!(output(&mut alice), format!("\r\n-------{transaction}#\r\n"));
}

#[test]
fn rfc_4975_7_1_1_long_chunks_yield_to_answers_and_to_other_messages() {
    let (mut alice, key) = bound();
    alice.send(key, Message::new("text/plain", vec![b'x'; 300_000])).unwrap();
    let (mut head, mut sent) = (alice.poll_transmit().unwrap(), 0);
    assert!(std::str::from_utf8(&head).unwrap().contains("Byte-Range: 1-*/300000\r\n"));
    sent += alice.poll_transmit().unwrap().len();
    // An answer is due: the chunk ends, and goes on behind the answer.
    input(
        &mut alice,
        chunk("m9xx", "1-2/2", "", "Hi", '$').replace(BOB, "#").replace(ALICE, BOB).replace('#', ALICE),
    );
    let end = alice.poll_transmit().unwrap();
    assert!(end.ends_with(b"+\r\n"));
    assert!(alice.poll_transmit().unwrap().starts_with(b"MSRP tidm9xx 200 OK\r\n"));
    // A short message comes in between, within one turn.
    head = alice.poll_transmit().unwrap();
    let text = std::str::from_utf8(&head).unwrap();
    assert!(text.contains(&format!("Byte-Range: {}-*/300000\r\n", sent + 1)), "{text}");
    alice.send(key, Message::text("short")).unwrap();
    let mut before = 0;
    while let Some(octets) = alice.poll_transmit() {
        if octets.starts_with(b"MSRP") {
            break;
        }
        before += octets.len();
    }
    assert!((2_048..140_000).contains(&before), "{before}");
    assert_eq!(alice.poll_transmit().unwrap(), "short");
    let rest = output(&mut alice);
    assert!(rest.ends_with("$\r\n"));
}

#[test]
fn rfc_4975_7_1_an_end_line_in_the_body_makes_the_sender_take_another_identifier() {
    let clash = |token: u64| format!("\r\n-------{token:016x}$\r\n");
    // The identifiers that come next are all in the body, at its start and further on.
    for size in [10, 3_000, 200_000] {
        let (mut alice, key) = bound();
        let mut body = (1..9).map(clash).collect::<String>();
        body.push_str(&"x".repeat(size));
        body.push_str(&(1..60).map(clash).collect::<String>());
        alice.send(key, Message::new("text/plain", body.clone())).unwrap();
        let (mut bob, _) = bob(|_| {});
        let wire = output(&mut alice);
        input(&mut bob, wire);
        assert!(bodies(&mut bob) == [body], "{size}");
    }
}

#[test]
fn small_chunks_are_of_2048_octets_at_most_and_say_where_they_end() {
    let (mut alice, key) = bound();
    let message =
        Message { chunking: msrp::Chunking::Small, ..Message::new("text/plain", vec![b'x'; 5_000]) };
    alice.send(key, message).unwrap();
    let wire = output(&mut alice);
    let ranges: Vec<&str> = wire.lines().filter_map(|line| line.strip_prefix("Byte-Range: ")).collect();
    assert_eq!(ranges, ["1-*/5000", "2049-*/5000", "4097-5000/5000"]);
}

#[test]
fn a_fed_message_waits_for_its_content_and_yields_meanwhile() {
    let (mut alice, key) = bound();
    let message = alice.send(key, Message::stream("text/plain", None)).unwrap();
    assert_eq!(output(&mut alice), "");
    alice.feed(message, "abc".into()).unwrap();
    let text = output(&mut alice);
    assert!(text.contains("Byte-Range: 1-*/*\r\n") && text.ends_with("\r\n\r\nabc"), "{text}");
    assert_eq!(events(&mut alice), [Event::Drained(message, 3)]);
    alice.send(key, Message::text("now")).unwrap();
    let text = output(&mut alice);
    assert!(text.starts_with("\r\n-------") && text.contains("now"), "{text}");
    alice.feed(message, "d".into()).unwrap();
    alice.finish(message).unwrap();
    assert!(output(&mut alice).contains("Byte-Range: 4-4/4\r\n"));
    assert_eq!(alice.feed(message, "e".into()), Err(SendError::Over));
    // What was declared holds.
    let message = alice.send(key, Message::stream("text/plain", Some(3))).unwrap();
    assert_eq!(alice.feed(message, "abcd".into()), Err(SendError::Length));
    assert_eq!(alice.finish(message), Err(SendError::Length));
}

#[test]
fn a_connection_that_breaks_fails_every_message_once_and_tells_what_was_not_confirmed() {
    let (mut alice, key) = bound();
    let sent = alice.send(key, Message::text("sent").with_success_report()).unwrap();
    let text = output(&mut alice);
    respond(&mut alice, &transactions(&text)[0], "200 OK");
    let unsent = alice.send(key, Message::text("unsent")).unwrap();
    alice.closed();
    alice.closed();
    assert_eq!(
        events(&mut alice),
        [
            Event::Sent(sent),
            Event::Unconfirmed(sent),
            Event::Failed(unsent, Failure::Closed),
            Event::Closed(Failure::Closed)
        ]
    );
}

#[test]
fn limits_hold_against_partial_messages_gaps_memory_and_a_peer_that_does_not_read() {
    let (mut bob, _) = bob(|config| config.max_memory = 10_000);
    for number in 0..MAX_PARTIAL {
        input(&mut bob, chunk(&format!("part{number}"), "1-*/*", "", "a", '+'));
    }
    let _ = output(&mut bob);
    input(&mut bob, chunk("more", "1-*/*", "", "a", '+'));
    assert_eq!(answer(&mut bob), "413");
    input(&mut bob, chunk("part0", "2-*/*", "", &"a".repeat(10_000), '+'));
    assert_eq!(answer(&mut bob), "413");
    let mut last = String::new();
    for gap in 0..600 {
        input(&mut bob, chunk("part1", &format!("{}-*/*", 3 + 2 * gap), "", "a", '+'));
        last = answer(&mut bob);
    }
    assert_eq!(last, "413");
    assert!(bob.wants_input());
    for _ in 0..MAX_CONTROL {
        input(&mut bob, chunk("part2", "1-*/*", "", "a", '+'));
    }
    assert!(!bob.wants_input());
    let _ = output(&mut bob);
    assert!(bob.wants_input());
}

#[test]
fn files_are_handed_out_in_parts_and_can_be_refused_in_the_middle() {
    let (mut bob, key) = bob(|config| config.delivery = Delivery::Parts);
    let text = chunk("m1xx", "1-*/8", "Content-Disposition: attachment\r\n", "abcdEFGH", '$');
    let (begin, rest) = text.split_at(text.find("EFGH").unwrap());
    input(&mut bob, begin);
    let told = events(&mut bob);
    assert!(matches!(&told[1], Event::Begun { total: Some(8), fields, .. } if fields.len() == 1), "{told:?}");
    assert!(matches!(&told[2], Event::Part { offset: 0, octets, .. } if octets == "abcd"), "{told:?}");
    bob.refuse(key, "m1xx".parse().unwrap(), StatusCode::STOP_SENDING);
    assert_eq!(answer(&mut bob), "413");
    input(&mut bob, rest);
    assert!(matches!(&events(&mut bob)[..], [Event::Abandoned { .. }]));
    assert_eq!(output(&mut bob), "");
}

#[test]
fn few_long_messages_of_a_session_are_under_way_at_once_and_short_ones_pass_them() {
    let (mut alice, key) = bound();
    let (mut bob, _) = bob(|_| {});
    for _ in 0..3 * MAX_PARTIAL {
        alice.send(key, Message::new("text/plain", vec![b'x'; 100_000])).unwrap();
    }
    alice.send(key, Message::text("short")).unwrap();
    let (mut came, mut refused) = (Vec::new(), 0);
    while let Some(octets) = alice.poll_transmit() {
        input(&mut bob, octets);
        came.extend(bodies(&mut bob).into_iter().map(|body| body.len()));
        refused += output(&mut bob).matches(" 413 ").count();
    }
    assert_eq!((came.len(), refused), (3 * MAX_PARTIAL + 1, 0));
    assert!(came.iter().position(|length| *length == 5).unwrap() <= 4, "{came:?}");
}

#[test]
fn the_sender_learns_at_once_that_the_session_is_over_for_the_receiver() {
    let (mut bob, key) = bob(|_| {});
    let text = chunk("m1xx", "1-*/8", "", "abcdEFGH", '$');
    let (begin, rest) = text.split_at(text.find("EFGH").unwrap());
    input(&mut bob, begin);
    bob.remove(key);
    assert_eq!(answer(&mut bob), "481");
    input(&mut bob, rest);
    assert_eq!(output(&mut bob), "");
}

#[test]
fn rfc_7701_7_a_nickname_is_asked_for_and_the_answer_told() {
    let (mut alice, key) = bound();
    alice.nickname(key, "Alice the \"great\"").unwrap();
    let text = output(&mut alice);
    assert!(
        text.contains(" NICKNAME\r\n") && text.contains("Use-Nickname: \"Alice the \\\"great\\\"\"\r\n"),
        "{text}"
    );
    respond(&mut alice, &transactions(&text)[0], "425 Nickname reserved or already in use");
    assert_eq!(events(&mut alice), [Event::Nickname(StatusCode::NICKNAME_FAILED)]);
}

#[test]
fn nothing_that_is_sent_can_add_a_line() {
    let (mut alice, key) = bound();
    for message in [
        Message::new("text/plain\r\nX: y", "a"),
        Message::text("a").with_field("X", "y\r\nZ: z"),
        Message::text("a").with_field("X: y\r\nZ", "z"),
        Message::text("a").with_field("to-path", "msrp://eve;tcp"),
    ] {
        assert!(matches!(alice.send(key, message), Err(SendError::Field(_))));
    }
    assert!(alice.nickname(key, "a\r\nb").is_err());
    assert_eq!(output(&mut alice), "");
}

#[test]
fn what_is_no_msrp_ends_the_connection() {
    for (octets, good) in [
        ("GET / HTTP/1.1\r\n", false),
        ("MSRP x\r\n", false),
        ("MSRP t123 SEND\nTo-Path: x\n", false),
        ("MSRP t123 200 OK\r\nTo-Path: x\r\n\r\n", false),
        ("MSRP t123 SEND\r\n: x\r\n-------t123$\r\n", false),
        ("MSRP t123 REPORT\r\nTo-Path: x\r\n-------t123+\r\n", false),
        ("\r\n\r\nMSRP t123 SEND\r\nTo-Path: x\r\n-------t123$\r\n", true),
    ] {
        let (mut bob, _) = bob(|_| {});
        bob.buffer_mut().extend_from_slice(octets.as_bytes());
        assert_eq!(bob.receive(Instant::now(), &mut NoDirectory).is_ok(), good, "{octets:?}");
    }
    for endless in [
        [b"MSRP t123 ".as_slice(), &[b'A'; 2_000]].concat(),
        [b"MSRP t123 SEND\r\nA: ".as_slice(), &[b'b'; 20_000]].concat(),
    ] {
        let (mut bob, _) = bob(|_| {});
        bob.buffer_mut().extend_from_slice(&endless);
        assert!(bob.receive(Instant::now(), &mut NoDirectory).is_err());
    }
}

#[test]
fn two_sessions_of_one_uri_are_refused_and_keys_are_never_used_again() {
    let (mut bob, key) = bob(|_| {});
    assert_eq!(bob.add(SessionConfig::new(uri(BOB))), Err(SendError::Taken));
    bob.remove(key);
    let again = bob.add(SessionConfig::new(uri(BOB))).unwrap();
    assert_ne!(again, key);
    assert_eq!(bob.send(key, Message::text("x")), Err(SendError::Over));
    assert_eq!(bob.send(again, Message::text("x")), Err::<MessageKey, _>(SendError::NotBound));
}

#[test]
fn a_message_whose_rest_never_comes_is_given_up_after_ten_minutes_of_silence() {
    let (mut bob, _) = bob(|_| {});
    let start = Instant::now();
    let at = |bob: &mut Connection, seconds: u64, octets: String| {
        bob.buffer_mut().extend_from_slice(octets.as_bytes());
        bob.receive(start + Duration::from_secs(seconds), &mut NoDirectory).unwrap();
    };
    at(&mut bob, 0, chunk("m1xx", "1-*/8", "", "ab", '+'));
    assert_eq!(bob.poll_timeout(), Some(start + PARTIAL_TIME));
    // More of it counts, and another begins.
    at(&mut bob, 300, chunk("m1xx", "3-*/8", "", "cd", '+'));
    at(&mut bob, 400, chunk("m2xx", "1-*/8", "", "ab", '+'));
    output(&mut bob);
    events(&mut bob);
    bob.handle_timeout(start + PARTIAL_TIME);
    assert!(events(&mut bob).is_empty());
    assert_eq!(bob.poll_timeout(), Some(start + Duration::from_secs(300) + PARTIAL_TIME));
    bob.handle_timeout(start + Duration::from_secs(300) + PARTIAL_TIME);
    assert_eq!(
        events(&mut bob),
        [Event::Abandoned { id: "m1xx".parse().unwrap(), status: StatusCode::TIMEOUT }]
    );
    // What comes late is not wanted; the other one still is.
    at(&mut bob, 950, chunk("m1xx", "5-8/8", "", "efgh", '$'));
    assert_eq!(answer(&mut bob), "413");
    at(&mut bob, 951, chunk("m2xx", "3-8/8", "", "cdefgh", '$'));
    assert_eq!(bodies(&mut bob), ["abcdefgh"]);
    let due = bob.poll_timeout().unwrap();
    bob.handle_timeout(due);
    assert_eq!(bob.poll_timeout(), None);
}

#[test]
fn the_sender_of_a_chunk_that_stands_still_is_told_so_that_it_can_stop() {
    let (mut bob, _) = bob(|_| {});
    let whole = chunk("m1xx", "1-*/8", "", "abcd", '+');
    input(&mut bob, &whole[..whole.len() - 20]);
    let due = bob.poll_timeout().unwrap() + PARTIAL_TIME;
    bob.handle_timeout(due);
    assert_eq!(answer(&mut bob), "413");
    assert!(events(&mut bob).iter().any(|event| matches!(event, Event::Abandoned { .. })));
}

/// What a reader of message/cpim says is inside: the Content-Type behind the first empty line.
fn inside(content_type: &str, body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|_| content_type == "message/cpim")?;
    let (_, mime) = text.split_once("\r\n\r\n")?;
    mime.lines().find_map(|line| line.strip_prefix("Content-Type: ")).map(str::to_owned)
}

#[test]
fn rfc_4975_8_6_what_is_wrapped_has_to_be_in_either_list() {
    for (wrapped, accepted) in [("text/html", true), ("text/plain", true), ("image/png", false)] {
        let (mut bob, _) = bob(|config| {
            config.accept = "message/cpim text/plain".parse().unwrap();
            config.accept_wrapped = "text/html".parse().unwrap();
            config.wrapped_type = Some(inside);
        });
        let body = format!("From: <im:alice@a.example.com>\r\n\r\nContent-Type: {wrapped}\r\n\r\nx");
        let text = chunk("m1xx", "1-*/*", "", &body, '$')
            .replace("text/plain\r\n\r\nFrom", "message/cpim\r\n\r\nFrom");
        input(&mut bob, text);
        assert_eq!(answer(&mut bob), if accepted { "200" } else { "415" }, "{wrapped}");
        assert_eq!(bodies(&mut bob).len(), usize::from(accepted));
        // Alone, only the first list counts.
        input(&mut bob, chunk("m2xx", "1-*/*", "", "x", '$').replace("text/plain", "text/html"));
        assert_eq!(answer(&mut bob), "415");
    }
}

/// RFC 7977 §5.1: a chunk is one message of a WebSocket, so it is short, and ends where nothing more is at hand.
#[test]
fn chunks_in_messages_are_short_and_never_wait_for_more() {
    let mut alice = connection().in_messages();
    let config =
        SessionConfig { remote: Some(uri(BOB).into()), active: true, ..SessionConfig::new(uri(ALICE)) };
    let key = alice.add(config).unwrap();
    let chunks = |alice: &mut Connection| {
        let (mut chunks, mut chunk) = (Vec::new(), String::new());
        while let Some(octets) = alice.poll_transmit() {
            chunk += std::str::from_utf8(&octets).unwrap();
            if alice.is_at_chunk_end() {
                chunks.push(std::mem::take(&mut chunk));
            }
        }
        assert_eq!(chunk, "", "it stops in a chunk");
        chunks
    };
    assert_eq!(chunks(&mut alice).len(), 1, "the first request");
    alice.send(key, Message::new("text/plain", "x".repeat(3 * MAX_WHOLE_CHUNK))).unwrap();
    let file = chunks(&mut alice);
    assert_eq!(file.len(), 3);
    assert!(file[0].ends_with("+\r\n") && file[2].ends_with("$\r\n"));
    assert!(file.iter().all(|chunk| chunk.len() < MAX_WHOLE_CHUNK + 1_000));

    let fed = alice.send(key, Message::stream("text/plain", None)).unwrap();
    alice.feed(fed, "what there is".into()).unwrap();
    let part = chunks(&mut alice);
    assert!(part.len() == 1 && part[0].contains("what there is\r\n-------") && part[0].ends_with("+\r\n"));
    alice.feed(fed, ", and the rest".into()).unwrap();
    alice.finish(fed).unwrap();
    let rest = chunks(&mut alice).concat();
    assert!(rest.contains("Byte-Range: 14-*/27\r\n") || rest.contains("Byte-Range: 14-27/27\r\n"), "{rest}");
    assert!(rest.ends_with("$\r\n"));
}
