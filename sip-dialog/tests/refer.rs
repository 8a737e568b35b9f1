//! Transfers between two phones, flow by flow (RFC 3515, RFC 7647).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{ALICE, BOB, Pair, story};
use sip_dialog::{CallKey, Error, Event, Refer, Report, SubscriptionKey, refer_to_replacing};
use sip_message::headers::{self, ReferredBy, Replaces, SubscriptionState, TargetDialog};
use sip_message::{Header, Method, StatusCode, Uri};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn carol() -> Refer {
    Refer::new("sip:carol@example.com".parse().unwrap())
}

fn report(status: StatusCode) -> Report {
    Report::new(status)
}

/// Alice refers Bob to Carol within their call, Bob has accepted; their events are taken.
fn referred(pair: &mut Pair) -> (CallKey, CallKey, SubscriptionKey, SubscriptionKey) {
    let (call, incoming) = pair.connect();
    let key = pair.alice.refer(pair.now, call, carol()).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, asked).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["notified SIP/2.0 100 Trying", "progress 100", "active 180"]);
    pair.log.clear();
    (call, incoming, key, asked)
}

/// RFC 3515 §4.1, RFC 5589 §6: REFER in the call, 202, 100, 180, 200, the end; then the first call is hung up.
#[test]
fn a_blind_transfer() {
    let mut pair = Pair::eventful();
    let (call, incoming) = pair.connect();
    let refer = Refer {
        referred_by: Some(ReferredBy::new(&"sip:alice@example.com".parse().unwrap())),
        ..Refer::new("sip:carol@example.com;transport=tcp?Subject=Help".parse().unwrap())
    };
    pair.alice.refer(pair.now, call, refer).unwrap();
    pair.settle();
    let Some(Event::Referred { key, call: within, target, refer_to, replaces, referred_by, .. }) =
        pair.bob.poll_event()
    else {
        panic!()
    };
    assert_eq!((within, target, replaces), (Some(incoming), None, None));
    assert_eq!(refer_to.as_str(), "sip:carol@example.com;transport=tcp");
    assert_eq!(referred_by.unwrap().uri().as_str(), "sip:alice@example.com");
    pair.bob.accept_refer(pair.now, key).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> REFER", "<- 202 REFER", "<- NOTIFY", "-> 200 NOTIFY"]);
    let notify = pair.last_request(&Method::Notify, false);
    assert_eq!(&notify.body()[..], b"SIP/2.0 100 Trying\r\n");
    assert_eq!(notify.headers.text("Content-Type"), Some("message/sipfrag;version=2.0"));
    pair.bob.report(pair.now, key, &report(StatusCode::RINGING)).unwrap();
    pair.settle();
    pair.bob.report(pair.now, key, &report(StatusCode::OK)).unwrap();
    pair.settle();
    assert_eq!(
        story(&mut pair.alice),
        [
            "notified SIP/2.0 100 Trying",
            "progress 100",
            "active 180",
            "notified SIP/2.0 180 Ringing",
            "progress 180",
            "notified SIP/2.0 200 OK",
            "progress 200",
            "terminated noresource",
        ]
    );
    let state: SubscriptionState = pair.last_request(&Method::Notify, false).headers.require().unwrap();
    assert_eq!((state.is_terminated(), state.reason()), (true, Some("noresource")));
    assert_eq!(story(&mut pair.bob), ["ended ByUs"]);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 5589 §7: the Refer-To names the call to be replaced.
#[test]
fn an_attended_transfer() {
    let mut pair = Pair::eventful();
    let (call, incoming) = pair.connect();
    // Carol's phone, here Bob's, finds the call by its own tag as that of To.
    let named = pair.alice.replacing(call).unwrap();
    let id = pair.bob.dialog(incoming).unwrap().id().clone();
    assert_eq!(
        (named.call_id(), named.to_tag(), named.from_tag()),
        (&*id.call_id, &*id.local_tag, &*id.remote_tag)
    );
    let replaces = Replaces::new("0123 4567@10.0.0.1", "t-1", "f-1").with_early_only();
    let target: Uri = "sip:carol@example.com".parse().unwrap();
    let refer = Refer::new(refer_to_replacing(&target, &replaces).unwrap());
    pair.alice.refer(pair.now, call, refer).unwrap();
    pair.settle();
    let Some(Event::Referred { key, refer_to, replaces: Some(read), .. }) = pair.bob.poll_event() else {
        panic!()
    };
    assert_eq!((refer_to, read), (target, replaces));
    pair.bob.decline_refer(pair.now, key, StatusCode::DECLINE).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice), ["terminated refused 603"]);
    pair.bob.hang_up(pair.now, incoming).unwrap();
    pair.nothing_is_left();
}

/// RFC 6665 §4.5.2, RFC 5057 §4: the call ends first; the dialog and its numbers go on until the last report.
#[test]
fn the_reports_go_on_after_bye() {
    for alice_hangs_up in [true, false] {
        let mut pair = Pair::eventful();
        let (call, incoming, _, asked) = referred(&mut pair);
        if alice_hangs_up {
            pair.alice.hang_up(pair.now, call).unwrap();
        } else {
            pair.bob.hang_up(pair.now, incoming).unwrap();
        }
        pair.settle();
        assert!(story(&mut pair.alice)[0].starts_with("call over"));
        assert!(story(&mut pair.bob)[0].starts_with("call over"));
        assert_eq!(pair.alice.calls().count() + pair.bob.calls().count(), 0);
        assert!(!pair.alice.is_idle() && !pair.bob.is_idle());
        let before =
            pair.last_request(&Method::Notify, false).headers.require::<headers::CSeq>().unwrap().number;
        pair.bob.report(pair.now, asked, &report(StatusCode::RINGING)).unwrap();
        pair.settle();
        let after =
            pair.last_request(&Method::Notify, false).headers.require::<headers::CSeq>().unwrap().number;
        assert_eq!(after - before, if alice_hangs_up { 1 } else { 2 }, "the BYE has a number too");
        assert_eq!(story(&mut pair.alice), ["notified SIP/2.0 180 Ringing", "progress 180"]);
        // Of the call nothing is left: whatever belongs to it is answered 481.
        let bye = pair.last_request(&Method::Bye, alice_hangs_up);
        let again = bye
            .to_string()
            .replace("BYE sip", "INFO sip")
            .replace(" BYE", " INFO")
            .replace("CSeq: ", "CSeq: 9");
        let again = again.replace("branch=", "branch=z9hG4bKx").replace("\r\n", "\n");
        let via = again.lines().find(|line| line.starts_with("Via")).unwrap().to_string();
        let again = again.replace(&via, "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKinfo");
        let answer = if alice_hangs_up { pair.hand_bob(&again) } else { pair.hand_alice(&again) };
        assert!(answer.starts_with("SIP/2.0 481"), "{answer}");
        pair.bob.report(pair.now, asked, &report(StatusCode::OK)).unwrap();
        pair.settle();
        assert_eq!(story(&mut pair.alice).last().unwrap(), "terminated noresource");
        pair.nothing_is_left();
    }
}

/// RFC 3515 §2.4.6: several in one dialog, told apart by the number of the REFER.
#[test]
fn two_transfers_in_one_call() {
    let mut pair = Pair::eventful();
    let (call, _, first, first_asked) = referred(&mut pair);
    let second = pair.alice.refer(pair.now, call, carol()).unwrap();
    pair.settle();
    let refer = pair.last_request(&Method::Refer, true);
    let second_asked = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, second_asked).unwrap();
    pair.settle();
    let number = refer.headers.require::<headers::CSeq>().unwrap().number.to_string();
    let event: headers::Event = pair.last_request(&Method::Notify, false).headers.require().unwrap();
    assert_eq!((event.token.as_str(), event.params.value("id")), ("refer", Some(number.as_str())));
    story(&mut pair.alice);
    pair.bob.report(pair.now, second_asked, &report(StatusCode::BUSY_HERE)).unwrap();
    pair.settle();
    let ended: Vec<SubscriptionKey> = std::iter::from_fn(|| pair.alice.poll_event())
        .map(|event| match event {
            Event::Subscription { key, .. } => key,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(ended.iter().all(|key| *key == second), "{ended:?}");
    pair.bob.report(pair.now, first_asked, &report(StatusCode::OK)).unwrap();
    pair.settle();
    assert_eq!(story(&mut pair.alice).last().unwrap(), "terminated noresource");
    assert_eq!(pair.alice.subscription(first), None);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3515 §2.4.4: a NOTIFY may come before the 202, and a lost one comes again.
#[test]
fn any_message_of_a_transfer_lost_once() {
    for lost in ["-> REFER", "<- 202 REFER", "<- NOTIFY", "-> 200 NOTIFY"] {
        let mut pair = Pair::eventful();
        let (call, _) = pair.connect();
        pair.lose = vec![lost];
        pair.alice.refer(pair.now, call, carol()).unwrap();
        pair.pass(seconds(1));
        let asked = pair.bob_is_asked();
        pair.bob.accept_refer(pair.now, asked).unwrap();
        pair.pass(seconds(5));
        pair.lose = vec![lost];
        pair.bob.report(pair.now, asked, &report(StatusCode::OK)).unwrap();
        pair.pass(seconds(5));
        let told = story(&mut pair.alice);
        assert_eq!(told[1..3], ["progress 100", "active 180"], "{lost}");
        assert_eq!(told[told.len() - 2..], ["progress 200", "terminated noresource"], "{lost}");
        pair.lose.clear();
        pair.alice.hang_up(pair.now, call).unwrap();
        pair.nothing_is_left();
    }
}

/// Nobody reports how it ended: the subscription ends with its time (RFC 6665 §4.2.1.4), at both ends.
#[test]
fn a_transfer_whose_end_nobody_tells() {
    let mut pair = Pair::eventful();
    let (call, ..) = referred(&mut pair);
    pair.pass(seconds(181));
    assert_eq!(story(&mut pair.bob), ["ended Expired"]);
    assert_eq!(pair.log, ["<- NOTIFY", "-> 200 NOTIFY"]);
    assert_eq!(story(&mut pair.alice).last().unwrap(), "terminated timeout");
    assert_eq!(pair.alice.subscriptions().count(), 0);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3515 §2.4.4: the one who referred may stop listening.
#[test]
fn who_referred_stops_listening() {
    let mut pair = Pair::eventful();
    let (call, _, key, asked) = referred(&mut pair);
    pair.alice.unsubscribe(pair.now, key).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> SUBSCRIBE", "<- 200 SUBSCRIBE", "<- NOTIFY", "-> 200 NOTIFY"]);
    assert_eq!(story(&mut pair.alice).last().unwrap(), "terminated ByUs");
    assert_eq!(story(&mut pair.bob), ["ended Unsubscribed"]);
    assert_eq!(pair.bob.report(pair.now, asked, &report(StatusCode::OK)), Err(Error::NoSuchSubscription));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 4488: no subscription is wanted, and none is made.
#[test]
fn a_transfer_without_reports() {
    let mut pair = Pair::eventful();
    let (call, _) = pair.connect();
    pair.alice.refer(pair.now, call, Refer { subscription: false, ..carol() }).unwrap();
    pair.settle();
    let refer = pair.last_request(&Method::Refer, true);
    assert_eq!(
        (refer.headers.text("Refer-Sub"), refer.headers.text("Supported")),
        (Some("false"), Some("norefersub"))
    );
    let asked = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, asked).unwrap();
    pair.settle();
    assert_eq!(pair.log, ["-> REFER", "<- 202 REFER"]);
    assert_eq!(story(&mut pair.alice), ["terminated NotMade"]);
    assert_eq!(story(&mut pair.bob), ["ended NotWanted"]);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3515 §2.4.7: outside of any call, with a dialog of its own; Target-Dialog shows what the sender knows (RFC 4538).
#[test]
fn a_refer_outside_of_the_call() {
    let mut pair = Pair::eventful();
    let (call, incoming) = pair.connect();
    let id = pair.alice.dialog(call).unwrap().id().clone();
    // As the recipient sees them: its own tag is the local one.
    let target = TargetDialog::new(&id.call_id, &id.remote_tag, &id.local_tag);
    let mut text = String::new();
    target.write(&mut text);
    let refer = Refer { fields: vec![("Target-Dialog".into(), text)], ..carol() };
    let (to, from) = (format!("sip:bob@{BOB}").parse().unwrap(), "<sip:alice@example.com>".parse().unwrap());
    pair.alice.refer_outside(pair.now, to, from, vec![], refer).unwrap();
    pair.settle();
    let Some(Event::Referred { key, call: within, target, .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!((within, target), (None, Some(incoming)));
    pair.bob.accept_refer(pair.now, key).unwrap();
    pair.settle();
    let notify = pair.last_request(&Method::Notify, false);
    assert_ne!(notify.headers.text("Call-ID"), Some(id.call_id.as_str()));
    assert_eq!(notify.headers.text("Event"), Some("refer"));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.bob
        .report(pair.now, key, &Report { status: StatusCode::OK, reason: Some("Fine\r\nX: y".into()) })
        .unwrap();
    pair.settle();
    let last = pair.last_request(&Method::Notify, false);
    assert_eq!(&last.body()[..], b"SIP/2.0 200 FineX: y\r\n", "a phrase cannot add a line");
    assert_eq!(story(&mut pair.alice).iter().filter(|line| line.starts_with("progress")).count(), 2);
    pair.nothing_is_left();
}

/// RFC 6665 §4.5.2: a dialog whose peer has a GRUU is not shared; the REFER goes to the GRUU and names the dialog.
#[test]
fn a_peer_with_a_gruu_is_referred_outside_of_the_dialog() {
    let mut pair = Pair::eventful();
    let (call, incoming) = pair.connect();
    // Bob's target becomes a GRUU by an UPDATE of his.
    pair.bob.update(pair.now, incoming, None, None).unwrap();
    let update = {
        use sip_transport::Core;
        pair.bob.poll_transmit().unwrap()
    };
    let text = String::from_utf8(update.payload.to_vec()).unwrap();
    let contact = text.lines().find(|line| line.starts_with("Contact")).unwrap();
    let text = text.replace(contact, &format!("Contact: <sip:bob@{BOB};gr=urn:uuid:1>"));
    let gruu = sip_transport::Transmit { payload: text.into(), ..update };
    pair.carry(gruu, false);
    pair.settle();
    story(&mut pair.bob);
    pair.alice.refer(pair.now, call, carol()).unwrap();
    pair.settle();
    let Some(Event::Referred { key, call: within, target, .. }) = pair.bob.poll_event() else { panic!() };
    assert_eq!((within, target), (None, Some(incoming)));
    let refer = pair.last_request(&Method::Refer, true);
    assert_eq!(refer.uri_text(), format!("sip:bob@{BOB};gr=urn:uuid:1"));
    assert!(refer.headers.require::<headers::To>().unwrap().tag().is_none());
    pair.bob.decline_refer(pair.now, key, StatusCode::DECLINE).unwrap();
    pair.settle();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// RFC 3515 §2.4.2, §2.4.3; RFC 7614 §4: what is refused, and how.
#[test]
fn refers_that_are_refused() {
    let mut pair = Pair::eventful();
    let mut number = 0;
    let mut refused = |pair: &mut Pair, fields: &str, to: &str| {
        number += 1;
        let answer = pair.hand_bob(&format!(
            "REFER sip:bob@{BOB} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{number}\nMax-Forwards: 70\n\
             From: <sip:a@b>;tag=1\nTo: <sip:bob@{BOB}>{to}\nCall-ID: c{number}\nCSeq: 1 REFER\n{fields}\
             Content-Length: 0\n\n"
        ));
        answer.split(' ').nth(1).unwrap_or("none").to_string()
    };
    let contact = "Contact: <sip:a@192.0.2.9>\n";
    for (fields, answer) in [
        ("", "400"),
        ("Refer-To: <sip:c@d>\nRefer-To: <sip:e@f>\n", "400"),
        ("Refer-To: <sip:c@d>, <sip:e@f>\n", "400"),
        ("Refer-To: <nothing\n", "400"),
        ("Refer-To: <sip:c@d?Replaces=x>\n", "400"),
        (
            "Refer-To: <sip:c@d?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>\n",
            "400",
        ),
        ("Refer-To: <sip:c@d?Replaces=%ZZ>\n", "400"),
        ("Refer-To: <sip:c@d>\nRequire: multiple-refer\n", "420"),
    ] {
        assert_eq!(refused(&mut pair, &format!("{contact}{fields}"), ""), answer, "{fields}");
    }
    assert_eq!(refused(&mut pair, "Refer-To: <sip:c@d>\n", ""), "400", "without Contact");
    assert_eq!(refused(&mut pair, &format!("{contact}Refer-To: <sip:c@d>\n"), ";tag=x"), "481");
    assert_eq!(story(&mut pair.bob), [""; 0]);
    // What the layer does by itself may be required (RFC 4488 §5, RFC 4538 §3).
    let known = format!("{contact}Refer-To: <sip:c@d>\nRequire: norefersub, tdialog\n");
    assert_eq!(refused(&mut pair, &known, ""), "none");
    assert_eq!(story(&mut pair.bob), ["referred to sip:c@d"]);
    pair.pass(seconds(20));
    pair.nothing_is_left();
}

/// RFC 5057 §5.2: a REFER without an answer is no reason to end the call.
#[test]
fn a_refer_that_nobody_answers() {
    let mut pair = Pair::eventful();
    let (call, _) = pair.connect();
    pair.lose = vec!["-> REFER"; 20];
    pair.alice.refer(pair.now, call, carol()).unwrap();
    pair.pass(seconds(33));
    assert_eq!(story(&mut pair.alice), ["terminated failed 408"]);
    assert!(pair.alice.state(call).is_some());
    // One that is accepted and then never heard of: Timer N.
    pair.lose = vec!["<- NOTIFY"; 20];
    pair.alice.refer(pair.now, call, carol()).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, asked).unwrap();
    pair.pass(seconds(33));
    assert_eq!(story(&mut pair.alice), ["terminated NoNotify"]);
    assert_eq!(story(&mut pair.bob), ["ended NotifyFailed(Timeout)"]);
    pair.lose.clear();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// An application that does not decide: refused in time, and the call may end meanwhile.
#[test]
fn nobody_decides_about_a_refer() {
    let mut pair = Pair::eventful();
    let (call, _) = pair.connect();
    pair.alice.refer(pair.now, call, carol()).unwrap();
    pair.settle();
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.pass(seconds(17));
    assert_eq!(story(&mut pair.alice).last().unwrap(), "terminated refused 480");
    pair.nothing_is_left();
}

/// RFC 3261 §22, RFC 3515 §2.4.6: the `id` is the number of the REFER that was taken, not of the one that was challenged.
#[test]
fn a_challenged_refer() {
    let mut pair = Pair::eventful();
    pair.alice.authenticator().add_account(None, "alice", sip_auth::Secret::password("secret"));
    let (call, _) = pair.connect();
    pair.alice.refer(pair.now, call, carol()).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    let challenge = ("WWW-Authenticate", "Digest realm=\"b\", nonce=\"1\", qop=\"auth\"");
    pair.bob.reject_subscription(pair.now, asked, StatusCode::UNAUTHORIZED, &[challenge]).unwrap();
    pair.settle();
    let asked = pair.bob_is_asked();
    pair.bob.accept_refer(pair.now, asked).unwrap();
    pair.bob.report(pair.now, asked, &report(StatusCode::OK)).unwrap();
    pair.settle();
    let event: headers::Event = pair.last_request(&Method::Notify, false).headers.require().unwrap();
    let number = pair.last_request(&Method::Refer, true).headers.require::<headers::CSeq>().unwrap().number;
    assert_eq!(event.params.value("id"), Some(number.to_string().as_str()));
    assert_eq!(story(&mut pair.alice).last().unwrap(), "terminated noresource");
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// A NOTIFY without `id` is about the first REFER (RFC 3515 §2.4.6); one whose body is no fragment tells no status.
#[test]
fn notifies_of_phones_that_are_less_exact() {
    let mut pair = Pair::eventful();
    let (call, ..) = referred(&mut pair);
    let by_bob = pair.last_request(&Method::Notify, false).to_string().replace("\r\n", "\n");
    let via = by_bob.lines().find(|line| line.starts_with("Via")).unwrap().to_string();
    let event = by_bob.lines().find(|line| line.starts_with("Event")).unwrap().to_string();
    let number = by_bob.lines().find(|line| line.starts_with("CSeq")).unwrap().to_string();
    for (n, body, told) in [
        (71, "SIP/2.0 183 Moving\n", vec!["notified SIP/2.0 183 Moving", "progress 183"]),
        (72, "SIP/2.0 000 Moving\n", vec!["notified SIP/2.0 000 Moving"]),
        (73, "never mind me !!!!\n", vec!["notified never mind me !!!!"]),
    ] {
        let (head, _) = by_bob.split_once("\n\n").unwrap();
        let length = body.len() + 1; // its newline becomes two octets
        let head = head
            .replace(&via, &format!("Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{n}"))
            .replace(&event, "Event: refer")
            .replace(&number, &format!("CSeq: {n} NOTIFY"));
        let old = head.lines().find(|line| line.starts_with("Content-Length")).unwrap().to_string();
        let head = head.replace(&old, &format!("Content-Length: {length}"));
        let answer = pair.hand_alice(&format!("{head}\n\n{body}"));
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        assert_eq!(story(&mut pair.alice), told);
    }
    assert!(pair.alice.state(call).is_some());
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.pass(seconds(200)); // Bob's own NOTIFYs are out of order now: it ends with its time
    pair.nothing_is_left();
}

/// What cannot be done is an error.
#[test]
fn misuse() {
    let mut pair = Pair::eventful();
    let call = pair.alice.invite(pair.now, pair::invite(Some("offer"))).unwrap();
    assert!(matches!(pair.alice.refer(pair.now, call, carol()), Err(Error::WrongState { .. })));
    pair.settle();
    let incoming = pair.bob_is_called();
    assert!(matches!(pair.bob.refer(pair.now, incoming, carol()), Err(Error::WrongState { .. })));
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.bob.reject(pair.now, incoming, StatusCode::BUSY_HERE).unwrap();
    pair.settle();
    assert_eq!(pair.alice.refer(pair.now, call, carol()), Err(Error::NoSuchCall));
    let plain = pair::phone(ALICE, 5);
    pair.alice = plain;
    let (to, from) = (format!("sip:bob@{BOB}").parse().unwrap(), "<sip:alice@example.com>".parse().unwrap());
    let outside = pair.alice.refer_outside(pair.now, to, from, vec![], carol());
    assert_eq!(outside, Err(Error::NotAllowed(Method::Notify)));
    pair.nothing_is_left();
}
