//! Forwarding without transactions (RFC 3261 §16.11): repetitions, CANCEL, ACK and responses find their way, and nothing is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::HeaderName;
use sip_message::headers::{RecordRoute, Via};
use sip_server::settings::Settings;
use sip_transport::Transport;
use world::{ALICE, BOB, Sent, World, names, only, response_text};

const NEXT: &str = "192.0.2.50:5060";

const SETTINGS: &str = r#"
authentication = false
domains = ["example.com"]
[[user]]
name = "bob"
[[block]]
caller = "spammer"
[[route]]
domain = "elsewhere.example"
via = "sip:192.0.2.50"
callers = "anyone"
stateless = true
"#;

fn start() -> World {
    let settings = Settings::parse(SETTINGS).unwrap_or_else(|error| panic!("{error}"));
    World::with(|config| {
        config.dialog_key = Some([9; 32]);
        settings.configure(config);
    })
}

const DAVE: &str = "sip:dave@elsewhere.example";

fn invite(world: &mut World, extra: &str) -> (String, Sent) {
    let lines = format!("Contact: <sip:alice@192.0.2.11:5060>\r\nCall-ID: one\r\n{extra}");
    let text = world.request(ALICE, "INVITE", DAVE, &lines);
    let mut sent = world.udp(ALICE, text.as_str());
    assert_eq!(names(&sent), ["INVITE"]);
    (text, sent.remove(0))
}

fn branch(sent: &Sent) -> String {
    sent.message.headers().require::<Via>().unwrap().branch().unwrap().to_owned()
}

fn nothing_is_kept(world: &World) {
    let transactions = world.core.transactions();
    assert_eq!((transactions.live_client(), transactions.live_server()), (0, 0));
    assert_eq!(
        (transactions.live_stateless(), world.core.live_contexts(), world.core.armed_timers()),
        (0, 0, 0)
    );
    assert_eq!(world.trying, 0, "RFC 3261 §16.11: \"an element MUST NOT generate its own 100\"");
}

/// The ACK or CANCEL that goes with an INVITE hop by hop (§9.1, §17.1.1.3).
fn hop_by_hop(invite: &str, method: &str, to_tag: &str) -> String {
    let text = invite.replacen("INVITE", method, 1).replace(" INVITE\r\n", &format!(" {method}\r\n"));
    text.replace(&format!("To: <{DAVE}>"), &format!("To: <{DAVE}>{to_tag}"))
}

/// "the branch parameter MUST be the same each time a retransmitted request is forwarded"; CANCEL and the ACK to a failure follow.
#[test]
fn repetitions_cancel_and_ack_take_the_way_and_the_branch_of_their_invite() {
    let mut world = start();
    let (text, first) = invite(&mut world, "");
    assert_eq!((first.to().as_str(), first.request().uri_text()), (NEXT, DAVE));
    let again = world.udp(ALICE, text.as_str());
    assert_eq!(only(&again, "INVITE").text(), first.text(), "to the octet");
    let sent = world.udp(ALICE, hop_by_hop(&text, "CANCEL", ""));
    let cancel = only(&sent, "CANCEL");
    assert_eq!((cancel.to().as_str(), branch(cancel)), (NEXT, branch(&first)));
    for (status, name) in [(180, "180"), (487, "487")] {
        let answered = world.answer(&first, status, "");
        let back = only(&answered, name);
        assert_eq!(back.to(), ALICE);
        assert_eq!(world::vias(&back.message).len(), 1);
    }
    let sent = world.udp(ALICE, hop_by_hop(&text, "ACK", ";tag=callee"));
    let ack = only(&sent, "ACK");
    assert_eq!((ack.to().as_str(), branch(ack)), (NEXT, branch(&first)));
    // Another request has another branch.
    assert_ne!(branch(&invite(&mut world, "").1), branch(&first));
    nothing_is_kept(&world);
    assert_eq!(world.core.counters().stateless, 5);
}

/// Who writes no branch of RFC 3261 is told by what else differs between two transactions.
#[test]
fn clients_of_rfc_2543_are_told_apart_by_other_fields() {
    let mut world = start();
    let mut text = |cseq: u32| {
        let text = world.request(ALICE, "INVITE", DAVE, &format!("Call-ID: old\r\nCSeq: {cseq} INVITE\r\n"));
        let via = text.lines().find(|line| line.starts_with("Via")).unwrap().to_owned();
        let text = text.replace(&via, &format!("Via: SIP/2.0/UDP {ALICE}"));
        branch(only(&world.udp(ALICE, text), "INVITE"))
    };
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

/// RFC 3261 §16.11, last paragraph: by the next Via, whatever state there was; not where somebody else has written it.
#[test]
fn responses_go_by_the_via_below_ours_if_it_is_as_it_was() {
    let mut world = start();
    let (_, first) = invite(&mut world, "");
    let good = response_text(first.request(), 200, "Contact: <sip:dave@192.0.2.51>");
    // After a restart, and over a connection too.
    assert_eq!(only(&start().udp(NEXT, good.as_str()), "200").to(), ALICE);
    let text = world.request(ALICE, "INVITE", DAVE, "").replacen("/UDP", "/TCP", 1);
    let sent = world.tcp("192.0.2.11:41000", 5, text);
    let answered = world.answer(only(&sent, "INVITE"), 200, "");
    let path = only(&answered, "200").transmit.path;
    assert_eq!((path.transport, path.remote.to_string().as_str()), (Transport::Tcp, "192.0.2.11:41000"));
    assert_eq!(path.flow.map(|flow| flow.0), Some(5));
    // A response that would go to a victim.
    let bad = [
        good.replace("UDP 192.0.2.11:5060", "UDP 198.51.100.1:5060"),
        good.replace("branch=z9hG4bKtest1", "branch=z9hG4bKtest1;received=198.51.100.1"),
        good.replace("branch=z9hG4bKtest1", "branch=z9hG4bKtest1;maddr=198.51.100.1"),
        good.replace("fw=", "fw=A"),
    ];
    for text in bad {
        assert_ne!(text, good);
        assert!(world.udp(NEXT, text).is_empty());
    }
    nothing_is_kept(&world);
}

/// ACK to the 2xx and BYE come by our Record-Route, from either side, and have no transaction either.
#[test]
fn requests_in_the_dialog_go_without_transactions_too() {
    let mut world = start();
    let (_, first) = invite(&mut world, "");
    let answered = world.answer(&first, 200, "Contact: <sip:dave@192.0.2.51:5060>");
    let route: RecordRoute = only(&answered, "200").response().headers.require().unwrap();
    let call = format!("Route: <{}>\r\nCall-ID: one\r\nTo: <{DAVE}>;tag=callee\r\n", route.uri());
    for method in ["ACK", "BYE"] {
        let text = world.request(ALICE, method, "sip:dave@192.0.2.51:5060", &call);
        let sent = world.udp(ALICE, text.as_str());
        let request = only(&sent, method);
        assert_eq!(request.to(), "192.0.2.51:5060");
        let again = world.udp(ALICE, text);
        assert_eq!(only(&again, method).text(), request.text());
        if method == "BYE" {
            assert_eq!(only(&world.answer(request, 200, ""), "200").to(), ALICE);
        }
    }
    let text = world.request("192.0.2.51:5060", "BYE", "sip:alice@192.0.2.11:5060", &call);
    assert_eq!(only(&world.udp("192.0.2.51:5060", text), "BYE").to(), ALICE);
    nothing_is_kept(&world);
    // With a Route that was made up it is nobody's dialog.
    let forged = call.replace("Call-ID: one", "Call-ID: two");
    let text = world.request(ALICE, "BYE", "sip:dave@192.0.2.51:5060", &forged);
    assert_eq!(names(&world.udp(ALICE, text)), ["403"]);
}

/// §16.3, §8.2.7: refusals are answered the same each time and forgotten, and their ACK goes nowhere.
#[test]
fn refusals_are_answered_without_transactions() {
    let mut world = start();
    for (extra, status) in [
        ("Max-Forwards: 0\r\n", "483"),
        ("Proxy-Require: frobnicate\r\n", "420"),
        ("From: <sip:spammer@chicago.example>;tag=1\r\n", "403"),
    ] {
        let text = world.request(ALICE, "INVITE", DAVE, &format!("Call-ID: refused\r\n{extra}"));
        let sent = world.udp(ALICE, text.as_str());
        assert_eq!(names(&sent), [status]);
        let again = world.udp(ALICE, text.as_str());
        assert_eq!(again[0].text(), sent[0].text());
        let tag = world::to_tag(sent[0].response()).unwrap();
        assert!(world.udp(ALICE, hop_by_hop(&text, "ACK", &format!(";tag={tag}"))).is_empty());
    }
    nothing_is_kept(&world);
}

/// What is not for the route has transactions as ever, and so has what began before there was the route.
#[test]
fn everything_else_has_transactions() {
    let mut world = start();
    assert_eq!(world.register("bob", "<sip:bob@192.0.2.12:5060>", "").status().code(), 200);
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", "");
    assert_eq!(only(&world.udp(ALICE, text.as_str()), "INVITE").to(), BOB);
    assert!(world.udp(ALICE, text).is_empty(), "a repetition is absorbed");
    assert_eq!(world.core.counters().stateless, 0);

    let plain = SETTINGS.replace("stateless = true", "");
    let settings = Settings::parse(&plain).unwrap();
    let mut world = World::with(|config| settings.configure(config));
    let (text, first) = invite(&mut world, "");
    world.answer(&first, 180, "");
    let mut config = sip_server::Config::new([0; 32], world::locals());
    Settings::parse(SETTINGS).unwrap().configure(&mut config);
    world.core.reconfigure(config, world.now).unwrap();
    let sent = world.udp(ALICE, hop_by_hop(&text, "CANCEL", ""));
    assert_eq!(names(&sent), ["200", "CANCEL"], "ours, and one of our own");
    assert_eq!(branch(only(&sent, "CANCEL")), branch(&first));
}

/// RFC 3325 §5 holds here too.
#[test]
fn what_strangers_assert_is_taken_out() {
    let text =
        SETTINGS.replace("authentication = false\n", "").replace("\"bob\"", "\"bob\"\npassword = \"x\"");
    let settings = Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut world = World::with(|config| settings.configure(config));
    let (_, first) = invite(&mut world, "P-Asserted-Identity: <sip:alice@example.com>\r\n");
    assert!(!first.request().headers.contains(HeaderName::P_ASSERTED_IDENTITY));
    nothing_is_kept(&world);
}

#[test]
fn a_route_without_transactions_has_one_next_hop_and_asks_nobody() {
    let faults = |from: &str, to: &str| Settings::parse(&SETTINGS.replace(from, to)).unwrap_err().to_string();
    assert_eq!(
        faults("via = \"sip:192.0.2.50\"", "redirect = [\"sip:192.0.2.50\"]"),
        "12:13: stateless goes with via: whatever comes again has to go to the same next hop"
    );
    assert!(
        faults("callers = \"anyone\"", "callers = \"users\"").contains(
            "12:13: stateless: without transactions nobody is asked who he is; write callers = \"anyone\", and no users"
        )
    );
}
