//! Session timers (RFC 4028).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{Pair, invite};
use sip_dialog::{Body, CallKey, Cause, Config, Event, SessionTimer};
use sip_message::{Method, StatusCode};

fn timer(interval: u32, minimum: u32) -> Option<SessionTimer> {
    Some(SessionTimer { interval, minimum })
}

fn without_timer(config: &mut Config) {
    config.session_timer = None;
    config.supported.retain(|tag| tag != "timer");
}

fn ended(dialogs: &mut sip_dialog::Dialogs) -> Option<Cause> {
    std::iter::from_fn(|| dialogs.poll_event()).find_map(|event| match event {
        Event::Ended { cause, .. } => Some(cause),
        _ => None,
    })
}

fn hang_up(mut pair: Pair, call: CallKey) {
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 4028 §7.1, §9 Table 2, §10: the interval is asked for and granted, the caller refreshes by UPDATE after half of it.
#[test]
fn the_caller_refreshes() {
    let mut pair = Pair::of(|config, _| config.session_timer = timer(200, 90));
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let Some(Event::Incoming { call: incoming, request, .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!(request.headers.text("Session-Expires"), Some("200"));
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    let Some(Event::Answered { call, response, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(response.headers.text("Session-Expires"), Some("200;refresher=uac"));
    assert_eq!(response.headers.text("Require"), Some("timer"));
    pair.log.clear();
    pair.pass(Duration::from_secs(1000));
    assert_eq!(pair.log.iter().filter(|line| *line == "-> UPDATE").count(), 10, "each 100 s: {:?}", pair.log);
    assert!(pair.alice.poll_event().is_none(), "nobody needs to know");
    hang_up(pair, call);
}

/// RFC 4028 §7.4: without UPDATE at the other end the application sends its offer again.
#[test]
fn a_peer_without_update() {
    let mut pair = Pair::of(|config, alice| {
        config.session_timer = timer(200, 90);
        if !alice {
            config.allow.retain(|method| *method != Method::Update);
        }
    });
    let (call, incoming) = pair.connect();
    pair.pass(Duration::from_secs(101));
    let Some(Event::RefreshDue { .. }) = pair.alice.poll_event() else { panic!() };
    pair.alice.reinvite(pair.now, call, Some(Body::sdp("offer"))).unwrap();
    pair.settle();
    assert!(matches!(pair.bob.poll_event(), Some(Event::Reinvited { .. })));
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.pass(Duration::from_secs(99));
    assert!(pair.alice.state(call).is_some(), "refreshed");
    hang_up(pair, call);
}

/// RFC 4028 §7.2: a peer without timers: the refreshes are for our benefit alone, and find the other end dead.
#[test]
fn a_peer_without_timers_that_vanishes() {
    let mut pair = Pair::of(|config, alice| match alice {
        true => config.session_timer = timer(200, 90),
        false => without_timer(config),
    });
    let (call, _) = pair.connect();
    pair.pass(Duration::from_secs(350));
    assert!(pair.alice.state(call).is_some());
    pair.lose = vec!["->"; 200];
    pair.pass(Duration::from_secs(140));
    assert!(matches!(ended(&mut pair.alice), Some(Cause::Lost(_))));
    pair.lose.clear();
    let bob: Vec<CallKey> = pair.bob.calls().collect();
    pair.bob.hang_up(pair.now, bob[0]).unwrap();
    pair.nothing_is_left();
}

/// RFC 4028 §10: who does not refresh ends the call shortly before its end.
#[test]
fn nobody_refreshes() {
    let mut pair = Pair::of(|config, _| config.session_timer = timer(200, 90));
    let (call, incoming) = pair.connect();
    pair.lose = vec!["->"; 200];
    pair.pass(Duration::from_secs(167));
    assert!(pair.bob.state(incoming).is_some());
    pair.pass(Duration::from_secs(2));
    assert!(pair.log.contains(&"<- BYE".to_string()), "at 200 − 32 s: {:?}", pair.log);
    assert!(pair.alice.state(call).is_none());
    pair.lose.clear();
    pair.pass(Duration::from_secs(5));
    assert!(matches!(ended(&mut pair.bob), Some(Cause::SessionExpired)));
    pair.nothing_is_left();
}

/// RFC 4028 §7.3, §9: an interval that is too short is refused with 422, and asked for again as long as is wanted.
#[test]
fn too_short_an_interval() {
    let mut pair = Pair::of(|config, alice| {
        config.session_timer = if alice { timer(120, 90) } else { timer(1800, 600) };
    });
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> INVITE", "<- 422 INVITE", "-> ACK", "-> INVITE"]);
    let Some(Event::Incoming { request, call: incoming, .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!(request.headers.text("Session-Expires"), Some("600"));
    assert_eq!(request.headers.text("Min-SE"), Some("600"));
    assert_eq!(request.headers.text("CSeq"), Some("2 INVITE"));
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    hang_up(pair, call);
}

/// RFC 4028 §7.3: a 422 that asks for nothing longer ends the call, it is not tried for ever.
#[test]
fn a_422_that_wants_nothing() {
    let mut pair = Pair::of(|config, alice| {
        if !alice {
            without_timer(config);
        }
    });
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.reject(pair.now, incoming, StatusCode::SESSION_INTERVAL_TOO_SMALL).unwrap();
    pair.settle();
    assert!(matches!(ended(&mut pair.alice), Some(Cause::Rejected(_))));
    assert!(pair.alice.state(call).is_none());
    pair.nothing_is_left();
}

/// RFC 4028 §9: a proxy asked for a timer, the caller knows none: we refresh.
#[test]
fn the_callee_refreshes_for_a_caller_without_timers() {
    let mut pair = Pair::of(|config, alice| match alice {
        true => without_timer(config),
        false => config.session_timer = timer(1800, 90),
    });
    let mut asked = invite(Some("offer"));
    asked.fields.push(("Session-Expires".into(), "300".into()));
    let call = pair.alice.invite(pair.now, asked).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    let Some(Event::Answered { response, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!(response.headers.text("Session-Expires"), Some("300;refresher=uas"));
    pair.log.clear();
    pair.pass(Duration::from_secs(160));
    assert_eq!(pair.log, ["<- UPDATE", "-> 200 UPDATE"]);
    hang_up(pair, call);
}
