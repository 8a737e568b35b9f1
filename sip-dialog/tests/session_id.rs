//! Session-ID (RFC 7989): both ends' halves in every message of a call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use pair::{Pair, invite};
use sip_dialog::{Acceptance, Body, Event, Notification, Subscribe};
use sip_message::headers::SessionId;
use sip_message::{Header, Message, Method, Request, StatusCode};

fn pair() -> Pair {
    Pair::of(|config, _| config.session_ids = true)
}

fn id_of(message: &Message) -> Option<SessionId> {
    message.headers().get::<SessionId>().unwrap()
}

fn written(id: &SessionId) -> String {
    let mut text = String::new();
    id.write(&mut text);
    text
}

/// §6, figure 1: {A,N} in the INVITE, {B,A} in what Bob sends from then on, {A,B} in what Alice does; through re-INVITE, BYE and
/// each ACK, and the same in what is repeated.
#[test]
fn every_message_of_a_call_carries_both_halves() {
    let mut pair = pair();
    let (call, incoming) = pair.connect();
    let (alice, bob) = (pair.alice.session_id(call).unwrap(), pair.bob.session_id(incoming).unwrap());
    assert_eq!((Some(alice.local()), Some(bob.local())), (bob.remote(), alice.remote()));
    assert!(alice.local() != bob.local() && alice.local() != SessionId::NIL);
    assert_eq!(alice.local().as_bytes()[12], b'4', "a UUID of version 4");
    pair.alice.reinvite(pair.now, call, Some(Body::sdp("hold"))).unwrap();
    pair.settle();
    assert!(matches!(pair.bob.poll_event(), Some(Event::Reinvited { .. })));
    pair.bob.accept(pair.now, incoming, Some(Body::sdp("held"))).unwrap();
    pair.settle();
    pair.bob.request_in_call(pair.now, incoming, Method::Info, None).unwrap();
    pair.settle();
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
    let mut first = true;
    for (from_alice, message) in &pair.seen {
        let expected = match (first, from_alice) {
            (true, _) => format!("{};remote={}", alice.local(), SessionId::NIL),
            (_, true) => written(&alice),
            (_, false) => written(&bob),
        };
        first = false;
        // The transaction layer's own 100 knows nothing of sessions.
        if message.as_response().is_none_or(|response| response.status() != StatusCode::TRYING) {
            assert_eq!(id_of(message).map(|id| written(&id)), Some(expected), "{message:?}");
        }
    }
    assert!(pair.seen.len() >= 12, "{}", pair.seen.len());
}

/// §6: the CANCEL has the very field of the INVITE, although the callee's half is known; and the ACK to its 487.
#[test]
fn a_cancel_says_what_its_invite_said() {
    let mut pair = pair();
    let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    let said = |method: &Method| pair.last_request(method, true).headers.require::<SessionId>().unwrap();
    let invited = said(&Method::Invite);
    assert_eq!(invited.remote(), Some(SessionId::NIL));
    assert_eq!((&said(&Method::Cancel), said(&Method::Ack).local()), (&invited, invited.local()));
    pair.nothing_is_left();
}

/// §6: what cannot be read, nil, and silence change nothing; another half does (§8).
#[test]
fn the_peers_half_changes_by_what_it_says_alone() {
    let mut pair = pair();
    let (_, incoming) = pair.connect();
    let remote = |pair: &Pair| pair.bob.session_id(incoming).unwrap().remote().unwrap().to_owned();
    let known = remote(&pair);
    let mut info = pair.last_request(&Method::Ack, true).to_string().replace("ACK", "INFO");
    info = info.replace("CSeq: 1", "CSeq: 7").replace("branch=", "branch=z9hG4bKx");
    let start = info.find("Session-ID:").unwrap();
    let end = info[start..].find("\r\n").unwrap() + start;
    let other = "00112233445566778899aabbccddeeff";
    let fields = [
        ("Session-ID: abc", known.as_str()),
        (&format!("Session-ID: {};remote={known}", SessionId::NIL), &known),
        ("X: y", &known),
        (&format!("Session-ID: {other};remote={known}"), other),
    ];
    for (number, (field, expected)) in fields.into_iter().enumerate() {
        let text = format!("{}{field}{}", &info[..start], &info[end..]);
        pair.inject_to_bob(&text.replace("z9hG4bKx", &format!("z9hG4bK{number}")));
        assert_eq!(remote(&pair), expected, "{field}");
        let Some(Event::Request { tx, request, .. }) = pair.bob.poll_event() else { panic!() };
        pair.bob.respond(pair.now, tx, request.reply(StatusCode::OK).build().unwrap()).unwrap();
    }
    // Alice has not counted what was sent in her name.
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// §6: who replaces a dialog keeps its half; an INVITE because of a REFER has it too, and the peer's half goes to nobody else.
#[test]
fn a_half_outlives_its_dialog() {
    let mut pair = pair();
    let (call, incoming) = pair.connect();
    let replaces = pair.alice.replacing(call).unwrap();
    let mut text = String::new();
    replaces.write(&mut text);
    let mut second = invite(Some("offer"));
    let own = pair.alice.session_id_for_another(call).unwrap();
    assert_eq!(own.remote(), Some(SessionId::NIL));
    second.fields = vec![("Replaces".into(), text), ("Session-ID".into(), written(&own))];
    let again = pair.alice.invite(pair.now, second).unwrap();
    pair.settle();
    let replacing = pair.bob_is_called();
    let half = |id: Option<SessionId>| id.unwrap().local().to_owned();
    assert_eq!(half(pair.bob.session_id(replacing)), half(pair.bob.session_id(incoming)));
    assert_eq!(half(pair.alice.session_id(again)), half(pair.alice.session_id(call)));
    pair.bob.accept(pair.now, replacing, Some(Body::sdp("answer"))).unwrap();
    pair.settle();
    pair.alice.hang_up(pair.now, again).unwrap();
    pair.nothing_is_left();
}

/// Where it is off, the field of others is left alone and none is sent.
#[test]
fn nothing_is_said_where_it_is_off() {
    let mut pair = Pair::of(|config, alice| config.session_ids = alice);
    let (call, incoming) = pair.connect();
    assert_eq!(pair.bob.session_id(incoming), None);
    assert_eq!(pair.alice.session_id(call).unwrap().remote(), Some(SessionId::NIL));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
    assert!(pair.seen.iter().filter(|(alice, _)| !alice).all(|(_, message)| id_of(message).is_none()));
}

/// The phones of a fork share the Call-ID: the end of one call leaves the identifier of the other.
#[test]
fn the_end_of_one_call_of_a_fork_leaves_the_other_its_identifier() {
    let mut pair = Pair::of(|config, _| (config.session_ids, config.keep_forks) = (true, true));
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.lose = vec!["-> "; 100];
    pair.settle();
    let sent = pair.last_request(&Method::Invite, true);
    for (tag, half) in [("first", "1"), ("second", "2")] {
        let id = format!("{half:0>32};remote={}", SessionId::NIL);
        let answer = sent.reply(StatusCode::OK).to_tag(tag).raw("Contact", &format!("<sip:{tag}@192.0.2.2>"));
        let answer = answer.raw("Session-ID", &id).body("application/sdp", "answer").build().unwrap();
        pair.answer_to_alice(&answer);
    }
    let calls: Vec<_> = pair.alice.calls().collect();
    let ids = calls.iter().map(|call| pair.alice.session_id(*call).unwrap()).collect::<Vec<_>>();
    assert_eq!((calls.len(), ids[0].local()), (2, ids[1].local()));
    assert_ne!(ids[0].remote(), ids[1].remote());
    pair.alice.hang_up(pair.now, calls[0]).unwrap();
    pair.settle();
    let bye = pair.last_request(&Method::Bye, true);
    pair.answer_to_alice(&bye.reply(StatusCode::OK).build().unwrap());
    assert_eq!(pair.alice.session_id(calls[0]), None);
    assert_eq!(pair.alice.session_id(calls[1]).as_ref(), Some(&ids[1]));
    pair.alice.hang_up(pair.now, calls[1]).unwrap();
    pair.settle();
    let bye = pair.last_request(&Method::Bye, true);
    assert_eq!(bye.headers.get::<SessionId>().unwrap().map(|id| written(&id)), Some(written(&ids[1])));
    pair.answer_to_alice(&bye.reply(StatusCode::OK).build().unwrap());
    pair.nothing_is_left();
}

/// The first field and those that follow of each side's messages, in the order in which they were sent.
fn said_by(pair: &Pair, alice: bool) -> Vec<String> {
    let own = pair.seen.iter().filter(|(from_alice, _)| *from_alice == alice);
    own.map(|(_, message)| written(&id_of(message).unwrap())).collect()
}

/// §4, §6: a request of no dialog has a half of its own, {A,N}, and its answer {B,A}; another one has another.
#[test]
fn requests_outside_of_calls_have_identifiers_of_their_own() {
    let mut pair = pair();
    for number in 1..=2 {
        let to = format!("sip:bob@{}", pair::BOB);
        let options = Request::builder(Method::Options, &to.parse().unwrap())
            .raw("From", "<sip:alice@example.com>;tag=a")
            .raw("To", &format!("<{to}>"))
            .raw("Call-ID", &format!("options-{number}"))
            .raw("CSeq", "1 OPTIONS")
            .build()
            .unwrap();
        pair.alice.request(pair.now, options, to.parse().unwrap()).unwrap();
        pair.settle();
        let Some(Event::Request { tx, request, .. }) = pair.bob.poll_event() else { panic!("no OPTIONS") };
        let answer = request.reply(StatusCode::OK).to_tag("b").build().unwrap();
        pair.bob.respond(pair.now, tx, answer).unwrap();
        pair.settle();
        assert!(matches!(pair.alice.poll_event(), Some(Event::Response { .. })));
    }
    let (alice, bob) = (said_by(&pair, true), said_by(&pair, false));
    assert_eq!((alice.len(), bob.len()), (2, 2));
    for (asked, answered) in alice.iter().zip(&bob) {
        let half = asked.strip_suffix(&format!(";remote={}", SessionId::NIL)).unwrap();
        assert_eq!(half.as_bytes()[12], b'4', "a UUID of version 4");
        assert!(answered.ends_with(&format!(";remote={half}")), "{answered}");
    }
    assert!(alice[0] != alice[1] && bob[0][..32] != bob[1][..32]);
}

/// §6: a subscription keeps its halves through refreshes and notifications, in either direction.
#[test]
fn a_subscription_has_one_identifier() {
    let mut pair = Pair::eventful_with(|config| config.session_ids = true);
    let to = format!("sip:bob@{}", pair::BOB).parse().unwrap();
    let plan = Subscribe::new(to, "Alice <sip:alice@example.com>".parse().unwrap(), "presence");
    let key = pair.alice.subscribe(pair.now, plan).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    let state = Some(Notification::full(pair::text("open")));
    pair.bob.accept_subscription(pair.now, asked, Acceptance { state, ..Acceptance::default() }).unwrap();
    pair.settle();
    pair.alice.refresh(pair.now, key).unwrap();
    pair.settle();
    let (alice, bob) = (said_by(&pair, true), said_by(&pair, false));
    assert!(alice.len() >= 4 && bob.len() >= 4, "{alice:?} {bob:?}");
    let (a, b) = (&alice[0][..32], &bob[0][..32]);
    assert_eq!(alice[0], format!("{a};remote={}", SessionId::NIL));
    assert!(alice[1..].iter().all(|field| *field == format!("{a};remote={b}")), "{alice:?}");
    assert!(bob.iter().all(|field| *field == format!("{b};remote={a}")), "{bob:?}");
}
