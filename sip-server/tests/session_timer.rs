//! Session timers that the proxy asks for (RFC 4028 §8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use proptest::prelude::*;
use sip_message::headers::{MinSe, Require, SessionExpires};
use sip_message::{Headers, Message};
use sip_server::SessionTimer;
use world::{ALICE, Sent, World, names, only};

fn world(min: u32) -> World {
    let mut world = World::with(|config| config.session_timer = Some(SessionTimer { expires: 1800, min }));
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    world
}

/// What comes of an INVITE with these lines.
fn invite(world: &mut World, extra: &str) -> Vec<Sent> {
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", extra);
    world.udp(ALICE, text)
}

fn timer(headers: &Headers) -> (Option<String>, Option<String>) {
    let text = |name: &str| headers.text(name).map(str::to_owned);
    (text("Session-Expires"), text("Min-SE"))
}

/// The Session-Expires and Min-SE that go on.
fn forwarded(extra: &str) -> (Option<String>, Option<String>) {
    let mut world = world(300);
    let sent = invite(&mut world, extra);
    timer(&only(&sent, "INVITE").request().headers)
}

fn some(expires: &str, min: Option<&str>) -> (Option<String>, Option<String>) {
    (Some(expires.to_owned()), min.map(str::to_owned))
}

/// §8.1: inserted, reduced, never increased, never under the Min-SE of the request; `refresher` is none of ours.
#[test]
fn rfc4028_8_1_the_interval_is_inserted_and_reduced() {
    assert_eq!(forwarded(""), some("1800", None));
    assert_eq!(forwarded("Supported: timer\r\n"), some("1800", None));
    assert_eq!(forwarded("Supported: timer\r\nMin-SE: 2000\r\n"), some("2000", Some("2000")));
    assert_eq!(forwarded("Session-Expires: 3600;refresher=uas\r\n"), some("1800;refresher=uas", None));
    let both = "Supported: timer\r\nSession-Expires: 3600\r\nMin-SE: 2400\r\n";
    assert_eq!(forwarded(both), some("2400", Some("2400")));
    assert_eq!(forwarded("Session-Expires: 600;refresher=uac\r\n"), some("600;refresher=uac", None));
    // "MUST increase ... to make it equal to Min-SE".
    let under = "Supported: timer\r\nSession-Expires: 400\r\nMin-SE: 500\r\n";
    assert_eq!(forwarded(under), some("500", Some("500")));
    // The short forms are the same fields.
    assert_eq!(forwarded("k: timer\r\nx: 3600\r\n"), some("1800", None));
}

/// §8.1: 422 only for who knows what to do about it; for others Min-SE and interval are raised.
#[test]
fn rfc4028_8_1_too_short_an_interval() {
    let mut world = world(300);
    let sent = invite(&mut world, "Supported: timer\r\nSession-Expires: 120\r\n");
    let refused = only(&sent, "422").response();
    assert_eq!(refused.headers.require::<MinSe>().unwrap().seconds, 300);
    assert_eq!(forwarded("Session-Expires: 120\r\n"), some("300", Some("300")));
    assert_eq!(forwarded("Session-Expires: 120\r\nMin-SE: 100\r\n"), some("300", Some("300")));
    assert_eq!(forwarded("Session-Expires: 120\r\nMin-SE: 400\r\n"), some("400", Some("400")));
    world.assert_nothing_left();
}

/// What comes back for a callee that says nothing of timers.
fn answered(extra: &str, callee: &str) -> Headers {
    let mut world = world(90);
    let sent = invite(&mut world, extra);
    let answered = world.answer(only(&sent, "INVITE"), 200, callee);
    only(&answered, "200").response().headers.clone()
}

/// §8.2: the caller refreshes where the callee cannot.
#[test]
fn rfc4028_8_2_a_callee_without_timers() {
    let headers = answered("Supported: timer\r\n", "");
    assert_eq!(timer(&headers), some("1800;refresher=uac", None));
    assert_eq!(headers.all::<Require>().flatten().map(|tag| tag.0).collect::<Vec<_>>(), ["timer"]);
    let headers = answered("Supported: timer\r\nSession-Expires: 600\r\n", "Require: foo");
    assert_eq!(timer(&headers), some("600;refresher=uac", None));
    assert_eq!(headers.all::<Require>().flatten().map(|tag| tag.0).collect::<Vec<_>>(), ["foo", "timer"]);
    // Neither of them: "There is no session expiration for this session."
    let headers = answered("", "");
    assert_eq!(timer(&headers), (None, None));
    assert!(!headers.contains("Require"));
    // "If the received response contains a Session-Expires header field, no modification of the response is needed."
    let headers = answered("Supported: timer\r\n", "Session-Expires: 300;refresher=uas\nRequire: timer");
    assert_eq!(timer(&headers), some("300;refresher=uas", None));
}

/// §8.1: "Processing of requests is identical for all session refresh requests", and no other request is one.
#[test]
fn rfc4028_8_1_refreshes_in_the_dialog() {
    let mut world = world(90);
    let sent = invite(&mut world, "Supported: timer\r\nContact: <sip:carol@192.0.2.11>\r\n");
    let invite = only(&sent, "INVITE");
    let answered = world.answer(invite, 200, "Contact: <sip:bob@192.0.2.12>");
    let ok = only(&answered, "200").response().clone();
    let route = ok.headers.text("Record-Route").unwrap().to_owned();
    let mut later = |method: &str, extra: &str| {
        let lines = format!(
            "Route: {route}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n{extra}",
            ok.headers.text("From").unwrap(),
            ok.headers.text("To").unwrap(),
            ok.headers.text("Call-ID").unwrap()
        );
        let text = world.request(ALICE, method, "sip:bob@192.0.2.12", &lines);
        let sent = world.udp(ALICE, text);
        timer(&only(&sent, method).request().headers)
    };
    assert_eq!(later("INVITE", "Session-Expires: 7200\r\n"), some("1800", None));
    assert_eq!(later("INVITE", ""), some("1800", None));
    assert_eq!(later("UPDATE", "Session-Expires: 7200\r\n"), some("1800", None));
    assert_eq!(later("UPDATE", ""), (None, None));
    assert_eq!(later("INFO", "Session-Expires: 7200\r\n"), some("7200", None));
}

#[test]
fn without_the_setting_nothing_is_touched() {
    let mut world = World::new();
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let sent = invite(&mut world, "Supported: timer\r\nSession-Expires: 7200\r\n");
    let forwarded = only(&sent, "INVITE");
    assert_eq!(timer(&forwarded.request().headers), some("7200", None));
    let answered = world.answer(forwarded, 200, "");
    assert_eq!(timer(&only(&answered, "200").response().headers), (None, None));
}

proptest! {
    /// Whatever is asked for: what goes on is at least its Min-SE, more than what came only where Min-SE demands it, and a Min-SE of
    /// one who knows timers is as it was (§8.1).
    #[test]
    fn rfc4028_8_1_in_all_combinations(
        supported: bool,
        expires in proptest::option::of(0_u32..5000),
        min in proptest::option::of(0_u32..5000),
        own in 90_u32..1800,
    ) {
        let mut world = world(own);
        let mut extra = String::new();
        if supported { extra += "Supported: timer\r\n"; }
        if let Some(expires) = expires { extra += &format!("Session-Expires: {expires}\r\n"); }
        if let Some(min) = min { extra += &format!("Min-SE: {min}\r\n"); }
        let sent = invite(&mut world, &extra);
        let too_short = expires.is_some_and(|expires| expires < own);
        if supported && too_short {
            prop_assert_eq!(names(&sent), ["422"]);
            return Ok(());
        }
        let Message::Request(request) = &only(&sent, "INVITE").message else { panic!() };
        let now = request.headers.require::<SessionExpires>().unwrap().seconds;
        let now_min = request.headers.get::<MinSe>().unwrap().map(|min| min.seconds);
        prop_assert!(now >= now_min.unwrap_or(90) && now >= own.min(expires.unwrap_or(own)));
        match expires {
            Some(before) => prop_assert!(now <= before || now == now_min.unwrap_or(90)),
            None => prop_assert!(now == now_min.unwrap_or(0).max(1800)),
        }
        if supported || !too_short {
            prop_assert_eq!(now_min, min);
        } else {
            prop_assert_eq!(now_min, Some(min.unwrap_or(0).max(own)));
        }
    }
}
