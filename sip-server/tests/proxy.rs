//! The proxy by the sections of RFC 3261 §16: call flows by hand, without sockets and in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::Duration;

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::headers::{MaxForwards, RecordRoute, Unsupported};
use sip_message::{HeaderName, Limits, Request, Response};
use sip_server::Users;
use sip_transport::Transport;
use world::{ALICE, BOB, BOB2, SERVER, Sent, World, names, only, vias};

const TO_BOB: &str = "sip:bob@example.com";

fn code(response: &Response) -> u16 {
    response.status().code()
}

/// A server at which bob has registered these phones.
fn with_bob(contacts: &str) -> World {
    let mut world = World::new();
    assert_eq!(code(&world.register("bob", contacts, "")), 200);
    world
}

/// Sends an INVITE from carol at ALICE's address; gives its text and what the server sent.
fn invite(world: &mut World, uri: &str, extra: &str) -> (String, Vec<Sent>) {
    let text = world.request(ALICE, "INVITE", uri, extra);
    let sent = world.udp(ALICE, text.clone());
    (text, sent)
}

fn parse(text: &str) -> Request {
    Request::parse(text.to_owned().into(), &Limits::default()).unwrap()
}

/// The CANCEL of an INVITE.
fn cancel_of(invite: &str) -> String {
    invite.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n")
}

/// The ACK that a failure response gets (§17.1.1.3).
fn ack_of(invite: &str, response: &Response) -> String {
    let mut request = parse(&invite.replace("INVITE ", "ACK ").replace(" INVITE\r\n", " ACK\r\n"));
    request.headers.set_raw("To", response.headers.text("To").unwrap()).unwrap();
    request.to_string()
}

/// A request in the dialog that a 2xx made, sent by the caller: Route from Record-Route, Request-URI from Contact.
fn in_dialog(world: &mut World, method: &str, invite: &str, ok: &Response) -> String {
    let invite = parse(invite);
    let mut routes: Vec<String> =
        ok.headers.all::<RecordRoute>().map(|route| format!("Route: {}\r\n", route.unwrap())).collect();
    routes.reverse();
    let uri = ok.headers.text("Contact").unwrap().trim_matches(['<', '>']).to_owned();
    let extra = format!(
        "{}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 900 {method}\r\n",
        routes.concat(),
        invite.headers.text("From").unwrap(),
        ok.headers.text("To").unwrap(),
        invite.headers.text("Call-ID").unwrap()
    );
    world.request(ALICE, method, &uri, &extra)
}

// ---- one call ----------------------------------------------------------------------------------------------------

/// §16.6, §16.7, §16.11: INVITE, 180, 200, ACK, BYE through the proxy.
#[test]
fn a_call_through_the_proxy() {
    let mut world = with_bob("<sip:bob@192.0.2.12:5060;x=y>");
    let (text, sent) = invite(&mut world, TO_BOB, "X-Trace: 42\r\n");
    let forwarded = only(&sent, "INVITE");
    assert_eq!(world.trying, 1, "at once (§17.2.1)");
    assert_eq!(forwarded.to(), BOB);
    assert_eq!(forwarded.request().uri_text(), "sip:bob@192.0.2.12:5060;x=y");
    assert_eq!(forwarded.request().headers.require::<MaxForwards>().unwrap(), MaxForwards(69));
    assert_eq!(forwarded.request().headers.text("X-Trace"), Some("42"));
    assert_eq!(vias(&forwarded.message).len(), 2);
    let recorded: RecordRoute = forwarded.request().headers.require().unwrap();
    assert!(recorded.uri().has_lr() && recorded.uri().host_port() == SERVER);

    let ringing = world.answer(forwarded, 180, "");
    assert_eq!((names(&ringing), ringing[0].to()), (vec!["180".to_owned()], ALICE.to_owned()));
    assert_eq!(vias(&ringing[0].message).len(), 1);
    assert_eq!(vias(&ringing[0].message)[0], vias(&parse(&text).into())[0]);

    let answered = world.answer(forwarded, 200, "Contact: <sip:bob@192.0.2.12:5060>");
    let ok = only(&answered, "200").response().clone();
    // Repeated until the ACK arrives there, end to end.
    assert_eq!(names(&world.answer(forwarded, 200, "Contact: <sip:bob@192.0.2.12:5060>")), ["200"]);

    let ack = in_dialog(&mut world, "ACK", &text, &ok);
    let sent = world.udp(ALICE, ack);
    let ack = only(&sent, "ACK");
    assert_eq!((ack.to().as_str(), ack.request().uri_text()), (BOB, "sip:bob@192.0.2.12:5060"));
    assert!(!ack.request().headers.contains("Route") && vias(&ack.message).len() == 2);

    let bye = in_dialog(&mut world, "BYE", &text, &ok);
    let sent = world.udp(ALICE, bye);
    let bye = only(&sent, "BYE");
    assert_eq!(bye.to(), BOB);
    assert!(!bye.request().headers.contains("Record-Route"), "the route set stands already");
    assert_eq!(names(&world.answer(bye, 200, "")), ["200"]);
    world.assert_nothing_left();
}

/// The way of a dialog is written into its own requests: a server that was started anew ends calls of the one before it, if it
/// has its key. Without, anybody could claim a dialog.
#[test]
fn a_server_that_was_started_anew_knows_the_dialogs_of_the_one_before() {
    for (before, after, status) in
        [(Some([1; 32]), Some([1; 32]), None), (Some([1; 32]), Some([2; 32]), Some(403))]
    {
        let mut world = World::with(|config| config.dialog_key = before);
        world.register("bob", "<sip:bob@192.0.2.12:5060>", "");
        let (text, sent) = invite(&mut world, TO_BOB, "");
        let answered = world.answer(only(&sent, "INVITE"), 200, "Contact: <sip:bob@192.0.2.12:5060>");
        let ok = only(&answered, "200").response().clone();
        let bye = in_dialog(&mut world, "BYE", &text, &ok);

        let mut anew = World::with(|config| {
            config.dialog_key = after;
            config.rng_seed = [9; 32];
        });
        let sent = anew.udp(ALICE, bye);
        match status {
            Some(status) => assert_eq!(names(&sent), [status.to_string()]),
            None => assert_eq!((names(&sent), sent[0].to()), (vec!["BYE".to_owned()], BOB.to_owned())),
        }
    }
}

/// §16.12.1.3 and RFC 5658: the sides use different transports, so each finds its own way back.
#[test]
fn two_record_routes_where_the_transports_differ() {
    let mut world = World::new();
    let text = world.request(
        BOB,
        "REGISTER",
        "sip:example.com",
        "To: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12:49152;transport=tcp>\r\n",
    );
    let text = text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    assert_eq!(names(&world.tcp("192.0.2.12:49152", 77, text)), ["200"]);
    let (text, sent) = invite(&mut world, TO_BOB, "");
    let forwarded = only(&sent, "INVITE");
    let path = forwarded.transmit.path;
    assert_eq!(
        (path.transport, path.flow.map(|flow| flow.0)),
        (Transport::Tcp, Some(77)),
        "its own connection"
    );
    let routes: Vec<String> =
        forwarded.request().headers.all::<RecordRoute>().map(|r| r.unwrap().uri().to_string()).collect();
    assert_eq!(routes.len(), 2);
    assert!(routes[0].contains(";transport=tcp") && !routes[1].contains("transport"), "{routes:?}");

    let answered = world.answer(forwarded, 200, "Contact: <sip:bob@192.0.2.12:49152;transport=tcp>");
    let bye = in_dialog(&mut world, "BYE", &text, only(&answered, "200").response());
    let sent = world.udp(ALICE, bye);
    let bye = only(&sent, "BYE");
    assert!(!bye.request().headers.contains("Route"), "both are taken off");
    assert_eq!(bye.transmit.path.transport, Transport::Tcp);
}

/// A binding's connection that is gone: its URI may still lead to the phone.
#[test]
fn a_broken_connection_falls_back_to_the_contact() {
    let mut world = World::new();
    let text = world.request(
        BOB,
        "REGISTER",
        "sip:example.com",
        "To: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12:5060;transport=tcp>\r\n",
    );
    world.tcp("192.0.2.12:49152", 77, text.replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
    let (_, sent) = invite(&mut world, TO_BOB, "");
    let again = world.fail(only(&sent, "INVITE"));
    let again = only(&again, "INVITE");
    assert_eq!((again.to(), again.transmit.path.flow), ("192.0.2.12:5060".to_owned(), None));
    assert_eq!(vias(&again.message).len(), 2);
    // Neither way: 503 stands for it (§16.9), which is no word about us (§16.7 step 6).
    let sent = world.fail(again);
    assert_eq!(names(&sent), ["500"]);
    world.assert_nothing_left();
}

/// A phone behind a NAT is reached where its packets came from.
#[test]
fn a_private_contact_is_reached_through_its_nat() {
    let mut world = World::new();
    let text = world.request(
        "10.0.0.5:5060",
        "REGISTER",
        "sip:example.com",
        "To: <sip:bob@example.com>\r\nContact: <sip:bob@10.0.0.5:5060>\r\n",
    );
    world.udp("198.51.100.9:31000", text.replace(";branch", ";rport;branch"));
    let (_, sent) = invite(&mut world, TO_BOB, "");
    let forwarded = only(&sent, "INVITE");
    assert_eq!(forwarded.to(), "198.51.100.9:31000");
    assert_eq!(forwarded.request().uri_text(), "sip:bob@10.0.0.5:5060");
    // A contact elsewhere is taken at its word, whoever registers it.
    world.register("bob", "<sip:bob@192.0.2.55:5099>", "");
    let (_, sent) = invite(&mut world, TO_BOB, "");
    assert!(sent.iter().any(|sent| sent.to() == "192.0.2.55:5099"));
}

// ---- forking -----------------------------------------------------------------------------------------------------

fn forked(world: &mut World) -> (String, Vec<Sent>) {
    let (text, sent) = invite(world, TO_BOB, "");
    assert_eq!(names(&sent), ["INVITE", "INVITE"]);
    assert_eq!((sent[0].to(), sent[1].to()), (BOB.to_owned(), BOB2.to_owned()));
    (text, sent)
}

fn two_phones() -> World {
    with_bob("<sip:bob@192.0.2.12>, <sip:bob@192.0.2.13>")
}

/// §16.7 steps 5 and 10: one phone answers, the other stops ringing and does not show a missed call.
#[test]
fn two_branches_one_answers_the_other_is_cancelled() {
    let mut world = two_phones();
    let (_, branches) = forked(&mut world);
    assert_eq!(names(&world.answer(&branches[0], 180, "")), ["180"]);
    assert_eq!(names(&world.answer(&branches[1], 180, "")), ["180"]);
    let sent = world.answer(&branches[0], 200, "Contact: <sip:bob@192.0.2.12>");
    assert_eq!(names(&sent), ["200", "CANCEL"]);
    let cancel = only(&sent, "CANCEL");
    assert_eq!(cancel.to(), BOB2);
    assert!(cancel.request().headers.text("Reason").unwrap().contains("cause=200"));
    assert!(world.answer(cancel, 200, "").is_empty());
    // The 487 is acknowledged hop by hop and goes no further.
    let sent = world.answer(&branches[1], 487, "");
    assert_eq!((names(&sent), sent[0].to()), (vec!["ACK".to_owned()], BOB2.to_owned()));
    world.assert_nothing_left();
}

/// §16.7 step 6: a 6xx ends the search, and is better than any 4xx.
#[test]
fn a_603_stops_the_others_and_is_chosen() {
    let mut world = two_phones();
    let (_, branches) = forked(&mut world);
    world.answer(&branches[0], 180, "");
    world.answer(&branches[1], 180, "");
    let sent = world.answer(&branches[0], 603, "");
    assert_eq!(names(&sent), ["ACK", "CANCEL"], "not forwarded before the others have ended");
    let sent = world.answer(&branches[1], 487, "");
    assert_eq!(names(&sent), ["ACK", "603"]);
    world.assert_nothing_left();
}

#[test]
fn the_better_of_two_failures_is_forwarded_when_both_are_in() {
    let mut world = two_phones();
    let (_, branches) = forked(&mut world);
    assert_eq!(names(&world.answer(&branches[0], 486, "")), ["ACK"]);
    assert_eq!(names(&world.answer(&branches[1], 603, "")), ["ACK", "603"]);
    let (_, branches) = forked(&mut world);
    assert_eq!(names(&world.answer(&branches[0], 486, "")), ["ACK"]);
    let late = world.seconds(33);
    assert_eq!(names(&late).last().map(String::as_str), Some("486"), "the silent branch counts as 408");
}

/// §16.7 step 7.
#[test]
fn challenges_of_all_branches_reach_the_caller() {
    let mut world = two_phones();
    let (_, branches) = forked(&mut world);
    world.answer(&branches[0], 401, "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\"");
    let sent = world.answer(&branches[1], 407, "Proxy-Authenticate: Digest realm=\"b\", nonce=\"2\"");
    let response = sent.last().unwrap().response();
    assert!(response.headers.contains("WWW-Authenticate") && response.headers.contains("Proxy-Authenticate"));
}

/// §16.7 step 5: every 2xx to INVITE is forwarded, the late ones too.
#[test]
fn both_phones_are_picked_up_and_both_200_are_forwarded() {
    let mut world = two_phones();
    let (_, branches) = forked(&mut world);
    world.answer(&branches[0], 180, "");
    world.answer(&branches[1], 180, "");
    world.answer(&branches[0], 200, "Contact: <sip:bob@192.0.2.12>");
    let sent = world.answer(&branches[1], 200, "Contact: <sip:bob@192.0.2.13>");
    assert_eq!((names(&sent), sent[0].to()), (vec!["200".to_owned()], ALICE.to_owned()));
    world.assert_nothing_left();
}

/// RFC 6026 §7.3: what belongs to no transaction any more is not forwarded.
#[test]
fn a_200_of_a_branch_that_is_over_goes_nowhere() {
    let mut world = two_phones();
    let (text, branches) = forked(&mut world);
    world.answer(&branches[0], 180, "");
    world.answer(&branches[1], 180, "");
    world.udp(ALICE, cancel_of(&text));
    world.answer(&branches[0], 487, "");
    let sent = world.answer(&branches[1], 487, "");
    assert_eq!(names(&sent), ["ACK", "487"]);
    assert!(world.answer(&branches[1], 200, "Contact: <sip:bob@192.0.2.13>").is_empty());
    world.assert_nothing_left();
    assert!(world.answer(&branches[0], 200, "Contact: <sip:bob@192.0.2.12>").is_empty());
    assert!(world.core.counters().responses_dropped > 0);
}

#[test]
fn preferences_are_tried_one_after_the_other() {
    let mut world = with_bob("<sip:bob@192.0.2.12>;q=0.3, <sip:bob@192.0.2.13>;q=0.9");
    let (_, first) = invite(&mut world, TO_BOB, "");
    assert_eq!((names(&first), first[0].to()), (vec!["INVITE".to_owned()], BOB2.to_owned()));
    let second = world.answer(&first[0], 486, "");
    assert_eq!(
        (names(&second), second[1].to()),
        (vec!["ACK".to_owned(), "INVITE".to_owned()], BOB.to_owned())
    );
    assert_eq!(names(&world.answer(&second[1], 480, "")), ["ACK", "486"]);
    // A 6xx ends the search before the next is tried.
    let (_, first) = invite(&mut world, TO_BOB, "");
    assert_eq!(names(&world.answer(&first[0], 603, "")), ["ACK", "603"]);
    world.assert_nothing_left();
}

/// RFC 5393 §5.3.3.
#[test]
fn max_breadth_is_shared_among_parallel_branches() {
    let mut world = two_phones();
    let (_, branches) = forked(&mut world);
    assert!(branches.iter().all(|branch| branch.request().headers.text("Max-Breadth") == Some("30")));
    let (_, sent) = invite(&mut world, TO_BOB, "Max-Breadth: 1\r\n");
    assert_eq!(names(&sent), ["440"]);
}

// ---- Timer C, CANCEL ---------------------------------------------------------------------------------------------

/// §16.8: a phone that rings and rings is cancelled after Timer C; each 1xx gives it the time again.
#[test]
fn timer_c_ends_a_call_that_nobody_answers() {
    let mut world = with_bob("<sip:bob@192.0.2.12>");
    let (_, sent) = invite(&mut world, TO_BOB, "");
    let branch = only(&sent, "INVITE");
    world.answer(branch, 180, "");
    assert!(names(&world.seconds(180)).iter().all(|name| name != "CANCEL"));
    world.answer(branch, 180, "");
    assert!(world.seconds(180).is_empty(), "the second 180 has reset it");
    let sent = world.seconds(6);
    assert_eq!(only(&sent[..1], "CANCEL").to(), BOB);
    world.answer(only(&sent[..1], "CANCEL"), 200, "");
    assert_eq!(names(&world.answer(branch, 487, "")), ["ACK", "408"]);
    assert_eq!(world.core.counters().timer_c, 1);
    world.assert_nothing_left();
}

#[test]
fn a_phone_that_ignores_the_cancel_of_timer_c_does_not_hold_the_call() {
    let mut world = with_bob("<sip:bob@192.0.2.12>");
    let (_, sent) = invite(&mut world, TO_BOB, "");
    world.answer(only(&sent, "INVITE"), 180, "");
    let sent = world.seconds(185 + 33);
    assert!(names(&sent).contains(&"408".to_owned()), "{:?}", names(&sent));
    world.assert_nothing_left();
}

/// §16.10.
#[test]
fn a_caller_who_hangs_up_stops_all_phones() {
    let mut world = two_phones();
    let (text, branches) = forked(&mut world);
    world.answer(&branches[0], 180, "");
    world.answer(&branches[1], 180, "");
    let cancel = cancel_of(&text).replace("\r\n\r\n", "\r\nReason: SIP;cause=600\r\n\r\n");
    let sent = world.udp(ALICE, cancel);
    assert_eq!(names(&sent), ["200", "CANCEL", "CANCEL"]);
    assert_eq!(sent[1].request().headers.text("Reason"), Some("SIP;cause=600"));
    world.answer(&branches[0], 487, "");
    let sent = world.answer(&branches[1], 487, "");
    let response = only(&sent, "487").response().clone();
    assert!(world.udp(ALICE, ack_of(&text, &response)).is_empty());
    world.assert_nothing_left();
}

#[test]
fn a_200_that_crosses_the_cancel_wins() {
    let mut world = with_bob("<sip:bob@192.0.2.12>");
    let (text, sent) = invite(&mut world, TO_BOB, "");
    world.answer(&sent[0], 180, "");
    let cancelled = world.udp(ALICE, cancel_of(&text));
    assert_eq!(names(&world.answer(&sent[0], 200, "Contact: <sip:bob@192.0.2.12>")), ["200"]);
    world.answer(only(&cancelled, "CANCEL"), 481, "");
    world.assert_nothing_left();
}

#[test]
fn a_call_cancelled_while_its_target_is_looked_up_ends_with_487() {
    let mut world = World::with(|config| config.external_location = true);
    let (text, sent) = invite(&mut world, TO_BOB, "");
    assert!(sent.is_empty());
    let (key, _) = world.core.poll_question().unwrap();
    assert_eq!(names(&world.udp(ALICE, cancel_of(&text))), ["200", "487"]);
    let found = sip_server::location::Answer::Found(sip_server::location::Bindings::none());
    world.core.answer(world.now, key, found);
    assert!(world.sent().is_empty());
    world.assert_nothing_left();
}

#[test]
fn a_location_store_that_fails_is_503() {
    let mut world = World::with(|config| config.external_location = true);
    invite(&mut world, TO_BOB, "");
    let sent = world.seconds(9);
    assert_eq!(names(&sent)[..1], ["503"]);
    assert!(sent[0].response().headers.contains("Retry-After"));
}

// ---- validation, targets, permission ---------------------------------------------------------------------------

/// §16.3.
#[test]
fn what_cannot_be_forwarded_is_refused_with_the_status_that_the_rfc_names() {
    let mut world = with_bob("<sip:bob@192.0.2.12>");
    assert_eq!(code(&world.ask(ALICE, "INVITE", TO_BOB, "Max-Forwards: 0\r\n")), 483);
    let refused = world.ask(ALICE, "INVITE", TO_BOB, "Proxy-Require: foo, bar\r\n");
    let tags: Vec<String> = refused.headers.all::<Unsupported>().map(|tag| tag.unwrap().0).collect();
    assert_eq!((code(&refused), tags), (420, vec!["foo".to_owned(), "bar".to_owned()]));
    assert_eq!(code(&world.ask(ALICE, "INVITE", "tel:+12345", "")), 416);
    assert_eq!(code(&world.ask(ALICE, "INVITE", "nobody:what", "")), 416);
    assert!(world::to_tag(&refused).is_some());
    assert_eq!(world.core.counters().refused, 4);
}

/// §16.5: nobody of that name, and nobody at home.
#[test]
fn unknown_users_are_404_and_absent_ones_480() {
    let mut world = World::with(|config| {
        config.users = Some(Users::parse("bob:builder").unwrap());
        config.challenge_calls = false;
    });
    assert_eq!(code(&world.ask(ALICE, "INVITE", TO_BOB, "")), 480);
    assert_eq!(code(&world.ask(ALICE, "INVITE", "sip:nobody@example.com", "")), 404);
    assert_eq!(world.trying, 0, "nothing is tried");
    assert_eq!(code(&world.ask(ALICE, "MESSAGE", "sip:bob@192.0.2.1:5060", "")), 480, "by our own address");
}

#[test]
fn strangers_are_not_relayed_to_strangers() {
    let mut world = World::new();
    assert_eq!(code(&world.ask(ALICE, "INVITE", "sip:dave@192.0.2.99", "")), 403);
    assert_eq!(code(&world.ask(ALICE, "INVITE", TO_BOB, "Route: <sip:192.0.2.99;lr>\r\n")), 403);
    // A To tag and a Route of ours can be written by anybody; the ticket of a dialog cannot.
    for route in ["", "Route: <sip:192.0.2.1;lr>\r\n", "Route: <sip:192.0.2.1;lr;tk=0123456789abcdef>\r\n"] {
        let extra = format!("{route}To: <sip:dave@192.0.2.99>;tag=made-up\r\n");
        assert_eq!(code(&world.ask(ALICE, "BYE", "sip:dave@192.0.2.99", &extra)), 403, "{route}");
        let ack = world.request(ALICE, "ACK", "sip:dave@192.0.2.99", &extra);
        assert!(world.udp(ALICE, ack).is_empty());
    }
    assert_eq!((world.core.counters().relays_denied, world.core.counters().acks_dropped), (5, 3));
    let mut world = World::with(|config| config.open_relay = true);
    let (_, sent) = invite(&mut world, "sip:dave@192.0.2.99", "");
    assert_eq!((names(&sent), sent[0].to()), (vec!["INVITE".to_owned()], "192.0.2.99:5060".to_owned()));
}

/// RFC 5393 §4: a call that comes back to us as it left ends, instead of going round until Max-Forwards is used up.
#[test]
fn a_loop_is_482() {
    let mut world = with_bob("<sip:bob@192.0.2.1:5060>");
    let (_, mut sent) = invite(&mut world, TO_BOB, "");
    let mut rounds = 0;
    let answer = loop {
        if let Some(answer) = sent.iter().find(|sent| sent.to() == ALICE) {
            break code(answer.response());
        }
        let onward: Vec<Sent> = std::mem::take(&mut sent);
        for one in onward.iter().filter(|one| one.to() == SERVER) {
            rounds += 1;
            assert!(rounds < 20, "it goes round and round");
            sent.extend(world.udp(SERVER, one.text()));
        }
    };
    assert_eq!((answer, world.core.counters().loops), (482, 1));
    world.assert_nothing_left();
}

/// RFC 3327 §5.4.
#[test]
fn a_path_is_followed_to_the_contact() {
    let mut world = World::new();
    world.register(
        "bob",
        "<sip:bob@10.0.0.9>",
        "Path: <sip:192.0.2.40;lr>, <sip:192.0.2.41;lr>\r\nSupported: path\r\n",
    );
    let (_, sent) = invite(&mut world, TO_BOB, "");
    let forwarded = only(&sent, "INVITE");
    assert_eq!(
        (forwarded.to().as_str(), forwarded.request().uri_text()),
        ("192.0.2.40:5060", "sip:bob@10.0.0.9")
    );
    let routes: Vec<&[u8]> = forwarded.request().headers.raw(HeaderName::ROUTE).collect();
    assert_eq!(routes, [&b"<sip:192.0.2.40;lr>"[..], b"<sip:192.0.2.41;lr>"]);
}

#[test]
fn a_fixed_next_hop_gets_every_initial_request_and_dialogs_follow_their_routes() {
    let mut world = World::with(|config| {
        config.domains.clear();
        config.next_hop = Some("sip:192.0.2.12:5060".parse().unwrap());
    });
    let (text, sent) = invite(&mut world, "sip:service@192.0.2.1:5060", "");
    let forwarded = only(&sent, "INVITE");
    assert_eq!(forwarded.to(), BOB);
    assert_eq!(forwarded.request().uri_text(), "sip:service@192.0.2.1:5060");
    let sent = world.answer(forwarded, 200, "Contact: <sip:192.0.2.13:5060>");
    let bye = in_dialog(&mut world, "BYE", &text, only(&sent, "200").response());
    let sent = world.udp(ALICE, bye);
    assert_eq!(only(&sent, "BYE").to(), BOB2);
    assert_eq!(code(&world.ask(ALICE, "OPTIONS", "sip:192.0.2.1:5060", "")), 200, "to the proxy itself");
}

// ---- the server itself -----------------------------------------------------------------------------------------

#[test]
fn the_server_answers_options_and_names_what_it_does_not_do() {
    let mut world = World::new();
    let ok = world.ask(ALICE, "OPTIONS", "sip:example.com", "");
    assert_eq!(code(&ok), 200);
    for name in ["Allow", "Accept", "Supported"] {
        assert!(ok.headers.contains(name), "{name}");
    }
    for method in ["INVITE", "MESSAGE", "DANCE"] {
        let refused = world.ask(ALICE, method, "sip:example.com", "");
        assert_eq!(code(&refused), 405, "{method}");
        assert_eq!(refused.headers.text("Allow"), Some("OPTIONS, REGISTER"));
    }
    assert_eq!(code(&world.ask(ALICE, "OPTIONS", "sip:example.com", "Require: foo\r\n")), 420);
    let mut world = World::with(|config| config.domains.clear());
    assert_eq!(code(&world.ask(ALICE, "REGISTER", "sip:192.0.2.1", "")), 405, "no domain, no registrar");
}

#[test]
fn unknown_methods_are_forwarded_to_users() {
    let mut world = with_bob("<sip:bob@192.0.2.12>");
    let text = world.request(ALICE, "DANCE", TO_BOB, "");
    let sent = world.udp(ALICE, text);
    let forwarded = only(&sent, "DANCE");
    assert_eq!(names(&world.answer(forwarded, 202, "")), ["202"]);
    world.assert_nothing_left();
}

// ---- §22.3 ------------------------------------------------------------------------------------------------------

fn with_users() -> World {
    World::with(|config| config.users = Some(Users::parse("alice:wonderland\nbob:builder").unwrap()))
}

/// An INVITE of alice to `uri`, challenged and sent again.
fn authenticated(world: &mut World, uri: &str, from: &str) -> (Response, Vec<Sent>) {
    let mut phone = Authenticator::default();
    phone.add_account(None, "alice", Secret::password("wonderland"));
    let lines = |cseq: u32| format!("From: <sip:{from}>;tag=a\r\nCall-ID: auth\r\nCSeq: {cseq} INVITE\r\n");
    let (text, sent) = invite(world, uri, &lines(1));
    let first = sent[0].response().clone();
    world.udp(ALICE, ack_of(&text, &first));
    let mut again = parse(&world.request(ALICE, "INVITE", uri, &lines(2)));
    phone.answer(&mut again, &first, &mut Attempts::default(), "cnonce").unwrap();
    let sent = world.udp(ALICE, again.to_string());
    (first, sent)
}

#[test]
fn our_users_prove_who_they_are_before_they_call() {
    let mut world = with_users();
    let (first, sent) = authenticated(&mut world, "sip:dave@192.0.2.99", "alice@example.com");
    assert_eq!(code(&first), 407);
    let forwarded = only(&sent, "INVITE");
    assert_eq!(forwarded.to(), "192.0.2.99:5060", "a user of ours may call everybody");
    assert!(!forwarded.request().headers.contains("Proxy-Authorization"), "ours to read alone");
    let (_, sent) = authenticated(&mut world, "sip:dave@192.0.2.99", "bob@example.com");
    assert_eq!(names(&sent), ["403"], "alice is not bob");
    assert_eq!(world.core.counters().challenges, 2);
}

#[test]
fn strangers_call_our_users_unasked_and_dialogs_are_not_asked_again() {
    let mut world = with_users();
    let stranger = code(&world.ask(ALICE, "INVITE", TO_BOB, ""));
    assert_eq!(stranger, 404, "carol of chicago is not asked, and not told that bob is away");
    let (_, sent) = authenticated(&mut world, "sip:dave@192.0.2.99", "alice@example.com");
    let forwarded = only(&sent, "INVITE");
    let sent = world.answer(forwarded, 200, "Contact: <sip:dave@192.0.2.99>");
    let ok = only(&sent, "200").response().clone();
    let invite = forwarded.text();
    // Credentials that come along unasked are not for others to see; those for other realms are.
    let credentials = "\r\nProxy-Authorization: Digest username=\"alice\", realm=\"example.com\", response=\"0\"\r\n\
        Proxy-Authorization: Digest username=\"alice\", realm=\"other\", response=\"1\"\r\n\r\n";
    for method in ["ACK", "BYE"] {
        let text = in_dialog(&mut world, method, &invite, &ok).replace("\r\n\r\n", credentials);
        let sent = world.udp(ALICE, text);
        let forwarded = only(&sent, method);
        assert_eq!(forwarded.to(), "192.0.2.99:5060");
        assert_eq!(forwarded.request().headers.count("Proxy-Authorization"), 1);
        assert!(forwarded.text().contains("realm=\"other\""));
    }
    // The same without the Route that proves the dialog.
    let extra = "From: <sip:alice@example.com>;tag=a\r\nTo: <sip:dave@192.0.2.99>;tag=made-up\r\n";
    assert_eq!(code(&world.ask(ALICE, "BYE", "sip:dave@192.0.2.99", extra)), 407);
}

// ---- limits ------------------------------------------------------------------------------------------------------

#[test]
fn above_its_limit_the_proxy_takes_no_new_calls_but_every_bye() {
    let mut world = World::of_one_core(|config| {
        config.limits.contexts = 1;
        config.open_relay = true;
    });
    invite(&mut world, "sip:dave@192.0.2.99", "");
    let refused = world.ask(ALICE, "INVITE", "sip:dave@192.0.2.99", "");
    assert_eq!(code(&refused), 503);
    assert!(refused.headers.contains("Retry-After"));
    let bye = world.request(ALICE, "BYE", "sip:dave@192.0.2.99", "");
    assert_eq!(names(&world.udp(ALICE, bye)), ["BYE"]);
    world.pass(Duration::from_secs(80));
    let (_, sent) = invite(&mut world, "sip:dave@192.0.2.99", "");
    assert_eq!(names(&sent), ["INVITE"], "when the first is over there is room again");
}

/// RFC 7339 §4.1, §5.5: to a next hop that asks to be spared everything, new requests are not sent: 503 from here.
#[test]
fn a_next_hop_that_asks_to_be_spared_is() {
    let mut world = World::of_one_core(|config| {
        config.next_hop = Some(format!("sip:{BOB}").parse().unwrap());
        config.heed_overload = true;
    });
    let (_, sent) = invite(&mut world, TO_BOB, "");
    let first = only(&sent, "INVITE");
    let own = &vias(&first.message)[0];
    assert_eq!((own.param("oc"), own.params().unquoted("oc-algo").as_deref()), (Some(None), Some("loss")));
    let busy = world::response_text(first.request(), 503, "").replacen(
        ";oc;oc-algo=\"loss\"",
        ";oc=100;oc-algo=\"loss\";oc-validity=10000;oc-seq=1.0",
        1,
    );
    world.udp(BOB, busy);
    let (_, sent) = invite(&mut world, TO_BOB, "");
    assert_eq!(names(&sent), ["503"]);
    world.seconds(11);
    let (_, sent) = invite(&mut world, TO_BOB, "");
    assert_eq!(names(&sent), ["INVITE"]);
}

/// RFC 7339 §5.6: what the client says of overload stays between it and us; §5.4: what the next hop says of it in Vias that are
/// not ours does not come back with the response, which tells the client of our own load.
#[test]
fn what_is_said_of_load_goes_from_one_hop_to_the_next() {
    let mut world = with_bob("<sip:bob@192.0.2.12>");
    let text =
        world.request(ALICE, "INVITE", TO_BOB, "").replacen(";branch=", ";oc;oc-algo=\"loss\";branch=", 1);
    let text =
        text.replacen("\r\nFrom:", "\r\nVia: SIP/2.0/UDP far.example;branch=z9hG4bKfar;oc=7\r\nFrom:", 1);
    let sent = world.udp(ALICE, text);
    let forwarded = only(&sent, "INVITE");
    assert_eq!(vias(&forwarded.message).len(), 3);
    assert!(vias(&forwarded.message).iter().all(|via| via.param("oc").is_none()));
    let busy = world::response_text(forwarded.request(), 486, "");
    let claims = |branch: &str| format!("{branch};oc=100;oc-algo=\"loss\";oc-validity=60000;oc-seq=9.0");
    let busy = busy.replace(";branch=z9hG4bKfar", &claims(";branch=z9hG4bKfar"));
    let sent = world.udp(BOB, busy);
    let told = vias(&only(&sent, "486").message);
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].param("oc"), told[0].params().value("oc-validity")), (Some(Some("0")), Some("500")));
    assert!(["oc", "oc-algo", "oc-validity", "oc-seq"].iter().all(|name| told[1].param(name).is_none()));
}

/// The owner knows that the machine has enough to do: no new calls, but what there is goes on.
#[test]
fn the_owner_sets_the_tier_of_refusal() {
    let mut world = with_bob("<sip:bob@192.0.2.12>");
    world.core.set_least_tier(sip_transaction::Tier::NoNewDialogs);
    let (_, sent) = invite(&mut world, TO_BOB, "");
    assert_eq!(names(&sent), ["503"]);
    assert_eq!(code(&world.register("bob", "<sip:bob@192.0.2.12>", "")), 200);
    world.core.set_least_tier(sip_transaction::Tier::Open);
    let (_, sent) = invite(&mut world, TO_BOB, "");
    assert_eq!(names(&sent), ["INVITE"]);
}
