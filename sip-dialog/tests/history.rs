//! History-Info (RFC 7044): where a call has been before it came here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use pair::{BOB, Pair, invite};
use sip_dialog::{Body, Event};
use sip_message::headers::{HistoryInfo, Supported};
use sip_message::{Headers, Method, StatusCode};

fn pair() -> Pair {
    Pair::of(|config, _| config.history = true)
}

/// Targets with their indexes, what they were found by, and the status that sent the call on.
fn history(headers: &Headers) -> Vec<String> {
    let line = |entry: HistoryInfo| {
        let mut uri = entry.0.uri().clone();
        let status = entry.reason().and_then(|reason| reason.cause());
        uri.remove_headers();
        let index: Vec<String> = entry.index().unwrap().map(|number| number.to_string()).collect();
        let how =
            ["mp", "rc"].map(|name| entry.0.params().value(name).map(|value| format!(" {name}={value}")));
        let how: String = how.into_iter().flatten().collect();
        format!("{} {uri}{how} {}", index.join("."), status.unwrap_or(0))
    };
    headers.all::<HistoryInfo>().map(|entry| line(entry.unwrap())).collect()
}

/// §6.1, §10.3 rule 4, §10.4: the first entry has index 1; after a 302 comes 2, with the `mp` of its Contact, and the entry before
/// says why; when that is busy, 3.
#[test]
fn a_caller_that_is_sent_on_tells_where_it_has_been() {
    let mut pair = pair();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let first = pair.last_request(&Method::Invite, true);
    assert_eq!(history(&first.headers), [format!("1 sip:bob@{BOB} 0")]);
    assert!(first.headers.all::<Supported>().flatten().any(|tag| tag.0 == "histinfo"));
    let ringing = pair.bob_is_called();
    let contacts = format!("<sip:carol@{BOB}>;q=0.9;mp=1, <sip:dave@{BOB}>;q=0.1;rc=\"x\"");
    let moved = StatusCode::MOVED_TEMPORARILY;
    pair.bob.reject_with(pair.now, ringing, moved, &[("Contact", &contacts)]).unwrap();
    pair.settle();
    let told = [format!("1 sip:bob@{BOB} 302"), format!("2 sip:carol@{BOB} mp=1 0")];
    assert_eq!(history(&pair.last_request(&Method::Invite, true).headers), told);
    let mut next = || loop {
        if let Event::Incoming { call, .. } = pair.bob.poll_event().unwrap() {
            return call;
        }
    };
    let carol = next();
    pair.bob.reject(pair.now, carol, StatusCode::BUSY_HERE).unwrap();
    pair.settle();
    let third = pair.last_request(&Method::Invite, true);
    assert_eq!(
        history(&third.headers),
        [
            format!("1 sip:bob@{BOB} 302"),
            format!("2 sip:carol@{BOB} mp=1 486"),
            format!("3 sip:dave@{BOB} 0")
        ]
    );
    // §9.4: the one who answers tells the same.
    let dave = loop {
        if let Event::Incoming { call, .. } = pair.bob.poll_event().unwrap() {
            break call;
        }
    };
    pair.bob.accept(pair.now, dave, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    let answered = std::iter::from_fn(|| pair.alice.poll_event()).find_map(|event| match event {
        Event::Answered { response, .. } => Some(response),
        _ => None,
    });
    assert_eq!(history(&answered.unwrap().headers), history(&third.headers));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// §9.1, §10.3 rule 6: what the last element left out is added; who does not ask is told nothing.
#[test]
fn an_answer_tells_what_was_left_out_to_those_who_ask() {
    for (fields, expected) in [
        (vec![("Supported", "histinfo"), ("History-Info", "<sip:all@example.com>;index=1.2")], 2),
        (vec![("Supported", "histinfo"), ("History-Info", "<sip:all@example.com>")], 1),
        (vec![("Supported", "histinfo")], 1),
        (vec![("Supported", "100rel")], 0),
    ] {
        let mut pair = Pair::of(|config, alice| config.history = !alice);
        let mut invite = invite(Some("offer"));
        invite.fields = fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let call = pair.alice.invite(pair.now, invite).unwrap();
        pair.settle();
        let incoming = pair.bob_is_called();
        pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
        pair.settle();
        let Some(Event::Progress { response, .. }) = pair.alice.poll_event() else { panic!() };
        assert_eq!(response.headers.count("History-Info"), expected, "{fields:?}");
        if expected == 2 {
            let told = ["1.2 sip:all@example.com 0".to_owned(), format!("1.2.0 sip:bob@{BOB} 0")];
            assert_eq!(history(&response.headers), told);
        }
        pair.alice.hang_up(pair.now, call).unwrap();
        pair.nothing_is_left();
    }
}
