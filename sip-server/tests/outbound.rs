//! Flows of phones: RFC 5626 at the registrar (§6), at the proxy that looks a phone up (§7) and at the one that the phone
//! comes in through (§5).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::headers::{Contact, FlowTimer, Path as PathField, RecordRoute, Require, Via};
use sip_message::{Response, Uri};
use sip_transport::{CloseReason, Core, FlowEvent, FlowId, Path, Transport};
use world::{ALICE, BOB, Sent, World, names, only, response_text};

const TO_BOB: &str = "sip:bob@example.com";
const INSTANCE: &str = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";
/// Bob's phone as the server sees it, behind a NAT. What it writes itself is private.
const PUBLIC: &str = "203.0.113.7:40001";
const PRIVATE: &str = "192.168.1.2:5060";

/// A REGISTER of Bob's phone as RFC 5626 §9.2 has it, over TCP.
fn register_text(world: &mut World, reg_id: u32, contact: &str, extra: &str) -> String {
    let lines = format!(
        "From: <{TO_BOB}>;tag=r\r\nTo: <{TO_BOB}>\r\nSupported: path, outbound\r\n\
         Contact: <sip:line1@{contact};transport=tcp>;reg-id={reg_id};{INSTANCE}\r\n{extra}"
    );
    world.request(PRIVATE, "REGISTER", "sip:example.com", &lines).replace("SIP/2.0/UDP", "SIP/2.0/TCP")
}

/// Registers a flow of Bob's phone over this connection.
fn register(world: &mut World, reg_id: u32, connection: u64) -> Response {
    let text = register_text(world, reg_id, PRIVATE, "");
    let sent = world.tcp(&source(connection), connection, text);
    assert_eq!(names(&sent), ["200"]);
    sent[0].response().clone()
}

fn source(connection: u64) -> String {
    format!("203.0.113.7:{}", 40_000 + connection)
}

fn path(connection: u64) -> Path {
    Path {
        transport: Transport::Tcp,
        local: world::SERVER.parse().unwrap(),
        remote: source(connection).parse().unwrap(),
        flow: Some(FlowId(connection)),
    }
}

fn close(world: &mut World, connection: u64) -> Vec<Sent> {
    let event = FlowEvent::Closed { path: path(connection), reason: CloseReason::Peer };
    world.core.flow_event(world.now, event);
    world.sent()
}

/// Carol calls Bob; what the server sent.
fn call(world: &mut World) -> (String, Vec<Sent>) {
    let invite = world.request(ALICE, "INVITE", TO_BOB, &format!("Contact: <sip:carol@{ALICE}>\r\n"));
    let sent = world.udp(ALICE, invite.clone());
    (invite, sent)
}

fn goes_over(sent: &Sent, connection: u64) {
    assert_eq!(sent.transmit.path.flow, Some(FlowId(connection)), "{}", sent.text());
    assert_eq!(sent.to(), source(connection));
}

fn record_routes(response: &Response) -> Vec<Uri> {
    response.headers.all::<RecordRoute>().map(|one| one.unwrap().uri().clone()).collect()
}

/// RFC 5626 §6 and §5.4: `Require: outbound` and Flow-Timer in the 200; the contact keeps its parameters.
#[test]
fn a_flow_is_registered_and_the_phone_is_told_so() {
    let mut world = World::new();
    let ok = register(&mut world, 1, 1);
    assert_eq!(ok.headers.require::<Require>().unwrap().0, "outbound");
    assert_eq!(ok.headers.require::<FlowTimer>().unwrap(), FlowTimer(120));
    let contact = ok.headers.require::<Contact>().unwrap();
    assert_eq!(contact.reg_id(), Some(1));
    assert!(contact.instance().is_some());
    // Over UDP the NAT forgets sooner.
    let text = register_text(&mut world, 2, PRIVATE, "").replace("SIP/2.0/TCP", "SIP/2.0/UDP");
    let sent = world.udp(PUBLIC, text);
    assert_eq!(only(&sent, "200").response().headers.require::<FlowTimer>().unwrap(), FlowTimer(29));
}

/// RFC 5626 §6: a binding is known by instance and reg-id: a phone that has restarted somewhere else replaces its own.
#[test]
fn the_same_flow_number_replaces_and_another_adds() {
    let mut world = World::new();
    register(&mut world, 1, 1);
    assert_eq!(world.core.bindings(), 1);
    let elsewhere = register_text(&mut world, 1, "192.168.9.9:5060", "");
    let sent = world.tcp(&source(2), 2, elsewhere);
    let listed: Vec<_> = only(&sent, "200").response().headers.all::<Contact>().flatten().collect();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].uri().unwrap().host_port().starts_with("192.168.9.9"));
    let sent = call(&mut world).1;
    goes_over(only(&sent, "INVITE"), 2);
    register(&mut world, 2, 3);
    assert_eq!(world.core.bindings(), 2);
    // The number of another phone is no number of ours.
    let other = register_text(&mut world, 1, PRIVATE, "").replace("0e128", "0e129");
    world.tcp(&source(4), 4, other);
    assert_eq!(world.core.bindings(), 3);
}

/// RFC 5626 §6: what is no registration of a flow, or must not be one.
#[test]
fn reg_ids_that_do_not_count_and_those_that_are_refused() {
    let mut world = World::new();
    // No instance: an ordinary contact.
    let text = register_text(&mut world, 1, PRIVATE, "").replace(&format!(";{INSTANCE}"), "");
    let sent = world.tcp(PUBLIC, 1, text);
    assert!(!only(&sent, "200").response().headers.contains("Require"));
    // By a proxy that holds no flow: 439 if the phone relies on it, an ordinary contact if not.
    let proxied = "Via: SIP/2.0/TCP 192.168.1.2;branch=z9hG4bKphone\r\n";
    let text = register_text(&mut world, 1, PRIVATE, proxied);
    assert_eq!(names(&world.tcp(BOB, 9, text.clone())), ["439"]);
    let text = text.replace("path, outbound", "path").replace("z9hG4bKtest", "z9hG4bKagain");
    let sent = world.tcp(BOB, 9, text);
    assert!(!only(&sent, "200").response().headers.contains("Require"));
    // A flow beside another contact.
    let text = register_text(&mut world, 1, PRIVATE, "Contact: <sip:bob@192.0.2.99>\r\n");
    assert_eq!(names(&world.tcp(PUBLIC, 1, text)), ["400"]);
}

/// RFC 6223 §4.4: an offer to keep the flow alive is accepted in the Via, with the time of Flow-Timer.
#[test]
fn keep_is_accepted_with_a_time() {
    let mut world = World::new();
    let text = register_text(&mut world, 1, PRIVATE, "").replace(";branch", ";keep;branch");
    let sent = world.tcp(PUBLIC, 1, text);
    let ok = only(&sent, "200").response();
    assert_eq!(ok.headers.require::<Via>().unwrap().keep(), Some(Some(120)));
    assert_eq!(ok.headers.require::<FlowTimer>().unwrap(), FlowTimer(120));
    // Without reg-id too, and no Flow-Timer then.
    let text =
        register_text(&mut world, 1, PRIVATE, "").replace(";reg-id=1", "").replace(";branch", ";keep;branch");
    let sent = world.tcp(PUBLIC, 1, text);
    let ok = only(&sent, "200").response();
    assert_eq!(ok.headers.require::<Via>().unwrap().keep(), Some(Some(120)));
    assert!(!ok.headers.contains("Flow-Timer"));
}

/// RFC 5626 §7: one flow of a phone is rung, and another one when it is dead; a phone that has answered is not asked again.
#[test]
fn the_other_flow_is_tried_when_one_is_dead() {
    let mut world = World::new();
    register(&mut world, 1, 1);
    world.seconds(1);
    register(&mut world, 2, 2);
    let (_, sent) = call(&mut world);
    let first = only(&sent, "INVITE");
    goes_over(first, 2);
    let sent = world.fail(first);
    let second = only(&sent, "INVITE");
    goes_over(second, 1);
    assert_eq!(world.core.counters().other_flows, 1);
    let sent = world.answer(second, 486, "");
    assert_eq!(names(&sent), ["ACK", "486"]);
    world.assert_nothing_left();
}

/// RFC 5626 §7: a phone's edge proxy says 430, and the other way is taken.
#[test]
fn a_430_of_an_edge_proxy_leads_to_the_other_flow() {
    let mut world = World::new();
    for (reg_id, proxy) in [(1, "192.0.2.51"), (2, "192.0.2.52")] {
        let lines = format!(
            "Via: SIP/2.0/TCP 192.168.1.2;branch=z9hG4bKphone{reg_id}\r\nPath: <sip:token{reg_id}@{proxy};lr;ob>\r\n"
        );
        let text = register_text(&mut world, reg_id, PRIVATE, &lines);
        let sent = world.udp(&format!("{proxy}:5060"), text);
        let ok = only(&sent, "200").response();
        assert_eq!(ok.headers.require::<Require>().unwrap().0, "outbound");
        assert!(!ok.headers.contains("Flow-Timer"), "that is the edge proxy's");
        world.seconds(1);
    }
    let (_, sent) = call(&mut world);
    let first = only(&sent, "INVITE");
    assert_eq!(first.to(), "192.0.2.52:5060");
    let sent = world.answer(first, 430, "");
    assert_eq!(names(&sent), ["ACK", "INVITE"]);
    assert_eq!(only(&sent, "INVITE").to(), "192.0.2.51:5060");
    // RFC 5626 §11.5: the caller never sees a 430.
    let sent = world.answer(only(&sent, "INVITE"), 430, "");
    assert_eq!(names(&sent), ["ACK", "480"]);
    world.assert_nothing_left();
}

/// RFC 5626 §7: the bindings of a closed connection are gone, those of others stay.
#[test]
fn a_closed_connection_takes_its_bindings_along() {
    let mut world = World::new();
    register(&mut world, 1, 1);
    register(&mut world, 2, 2);
    assert!(close(&mut world, 2).is_empty());
    assert_eq!((world.core.bindings(), world.core.counters().flows_closed), (1, 1));
    let sent = call(&mut world).1;
    goes_over(only(&sent, "INVITE"), 1);
    // The call that waits on it is told at once (§5.3.1, §11.5).
    assert_eq!(names(&close(&mut world, 1)), ["480"]);
    assert_eq!(world.core.bindings(), 0);
}

/// RFC 5626 §5.3: both sides of a call stay on their flows, whichever sends; another connection does not inherit them.
#[test]
fn requests_in_a_dialog_take_the_flows_of_its_setup() {
    let mut world = World::new();
    register(&mut world, 1, 1);
    // Carol's phone is behind a NAT too, and says so.
    let carol = "198.51.100.3:50001";
    let invite = world
        .request("10.0.0.3:5060", "INVITE", TO_BOB, "Contact: <sip:carol@10.0.0.3:5060;transport=tcp;ob>\r\n")
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let sent = world.tcp(carol, 7, invite.clone());
    let at_bob = only(&sent, "INVITE");
    goes_over(at_bob, 1);
    let sent = world.answer(at_bob, 200, &format!("Contact: <sip:line1@{PRIVATE};transport=tcp>"));
    let ok = only(&sent, "200").response().clone();
    let routes = record_routes(&ok);
    assert_eq!(routes.len(), 2, "a side each");

    let call_id = ok.headers.text("Call-ID").unwrap();
    let (from, to) = (ok.headers.text("From").unwrap(), ok.headers.text("To").unwrap());
    let request = |world: &mut World, method: &str, routes: &[Uri], from: &str, to: &str, uri: &str| {
        let routes: String = routes.iter().map(|uri| format!("Route: <{uri}>\r\n")).collect();
        let lines =
            format!("{routes}From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: 77 {method}\r\n");
        world.request("10.9.9.9:5060", method, uri, &lines).replace("SIP/2.0/UDP", "SIP/2.0/TCP")
    };
    let reversed: Vec<Uri> = routes.iter().rev().cloned().collect();
    let to_bob = format!("sip:line1@{PRIVATE};transport=tcp");
    let to_carol = "sip:carol@10.0.0.3:5060;transport=tcp;ob";
    // Carol to Bob.
    let ack = request(&mut world, "ACK", &reversed, from, to, &to_bob);
    goes_over(only(&world.tcp(carol, 7, ack), "ACK"), 1);
    let info = request(&mut world, "INFO", &reversed, from, to, &to_bob);
    goes_over(only(&world.tcp(carol, 7, info), "INFO"), 1);
    // Bob to Carol.
    let bye = request(&mut world, "BYE", &routes, to, from, to_carol);
    let sent = world.tcp(&source(1), 1, bye);
    let at_carol = only(&sent, "BYE");
    assert_eq!((at_carol.transmit.path.flow, at_carol.to().as_str()), (Some(FlowId(7)), carol));
    // RFC 5626 §5.3.1: the flow is gone: 430, and no try to reach a private address.
    let sent = world.fail(at_carol);
    assert_eq!(names(&sent), ["430"]);
    // A token that was changed: 403.
    let mut forged = reversed.clone();
    let text = forged[1].to_string();
    let at = text.find('@').unwrap() - 1;
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    forged[1] = format!("{}{other}{}", &text[..at], &text[at + 1..]).parse().unwrap();
    let info = request(&mut world, "INFO", &forged, from, to, &to_bob);
    assert_eq!(names(&world.tcp(carol, 7, info)), ["403"]);
    // The flow of this dialog in another one, which knows its Record-Route from a proxy on the way or a log: 403.
    for method in ["INFO", "INVITE"] {
        let elsewhere =
            request(&mut world, method, &reversed, from, to, &to_bob).replace(call_id, "another-call");
        assert_eq!(names(&world.tcp(carol, 7, elsewhere)), ["403"]);
    }
    world.assert_nothing_left();
}

/// A phone behind a NAT that knows nothing of RFC 5626, over UDP: its private Contact is no way to it, its flow is.
#[test]
fn a_phone_behind_a_nat_is_reached_in_the_dialog_without_asking() {
    let mut world = World::new();
    let contact = format!("<sip:bob@{PRIVATE}>");
    let register = world
        .request(
            PRIVATE,
            "REGISTER",
            "sip:example.com",
            &format!("From: <{TO_BOB}>;tag=r\r\nTo: <{TO_BOB}>\r\nContact: {contact}\r\n"),
        )
        .replace(";branch", ";rport;branch");
    assert_eq!(names(&world.udp(PUBLIC, register)), ["200"]);
    let (_, sent) = call(&mut world);
    let at_bob = only(&sent, "INVITE");
    assert_eq!(at_bob.to(), PUBLIC);
    let sent = world.answer(at_bob, 200, &format!("Contact: {contact}"));
    let ok = only(&sent, "200").response().clone();
    let routes: String = record_routes(&ok).iter().rev().map(|uri| format!("Route: <{uri}>\r\n")).collect();
    let lines = format!(
        "{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 78 BYE\r\n",
        ok.headers.text("From").unwrap(),
        ok.headers.text("To").unwrap(),
        ok.headers.text("Call-ID").unwrap()
    );
    let bye = world.request(ALICE, "BYE", &format!("sip:bob@{PRIVATE}"), &lines);
    assert_eq!(only(&world.udp(ALICE, bye), "BYE").to(), PUBLIC);
}

/// A gateway that connects anew for each call has not asked for its flow: where that is gone, its Contact is tried.
#[test]
fn a_flow_that_nobody_asked_for_is_not_the_only_way() {
    let mut world = World::new();
    world.register("bob", &format!("<sip:bob@{BOB}>"), "");
    let gateway = "198.51.100.8:41000";
    let invite = world
        .request(
            "198.51.100.8:5060",
            "INVITE",
            TO_BOB,
            "Contact: <sip:gw@198.51.100.8:5060;transport=tcp>\r\n",
        )
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let sent = world.tcp(gateway, 7, invite);
    let sent = world.answer(only(&sent, "INVITE"), 200, &format!("Contact: <sip:bob@{BOB}>"));
    let ok = only(&sent, "200").response().clone();
    let routes: String = record_routes(&ok).iter().map(|uri| format!("Route: <{uri}>\r\n")).collect();
    let lines = format!(
        "{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 79 BYE\r\n",
        ok.headers.text("To").unwrap(),
        ok.headers.text("From").unwrap(),
        ok.headers.text("Call-ID").unwrap()
    );
    let bye = world.request(BOB, "BYE", "sip:gw@198.51.100.8:5060;transport=tcp", &lines);
    let sent = world.udp(BOB, bye);
    let first = only(&sent, "BYE");
    assert_eq!((first.to().as_str(), first.transmit.path.flow), (gateway, Some(FlowId(7))));
    let sent = world.fail(first);
    let second = only(&sent, "BYE");
    assert_eq!((second.to().as_str(), second.transmit.path.flow), ("198.51.100.8:5060", None));
}

/// RFC 5626 §5.1, §5.3.1: as an edge proxy it puts itself into Path with the flow, and finds the flow again.
#[test]
fn an_edge_proxy_holds_the_flow_for_a_registrar_elsewhere() {
    hold_the_flow(|_| {});
    // The token of a flow is the decision, whatever rules say of foreign domains.
    let rules = "authentication = false\ndomains = [\"x\"]\nrouting.foreign_domains = false\n";
    let settings = sip_server::settings::Settings::parse(rules).unwrap();
    hold_the_flow(|config| config.rules = settings.rules().clone());
}

fn hold_the_flow(change: impl FnOnce(&mut sip_server::Config)) {
    let mut world = World::with(|config| {
        change(config);
        config.domains = Vec::new();
        config.next_hop = Some("sip:192.0.2.80".parse().unwrap());
    });
    let text = register_text(&mut world, 1, PRIVATE, "");
    let sent = world.tcp(&source(1), 1, text);
    let at_registrar = only(&sent, "REGISTER");
    let vector = at_registrar.request().headers.require::<PathField>().unwrap();
    assert!(vector.uri().has_ob() && vector.uri().has_lr());
    // Without reg-id no Path is added.
    let plain = register_text(&mut world, 1, PRIVATE, "").replace(";reg-id=1", "");
    let sent = world.tcp(&source(1), 1, plain);
    assert!(!only(&sent, "REGISTER").request().headers.contains("Path"));

    let lines = format!("Route: <{}>\r\nContact: <sip:carol@{ALICE}>\r\n", vector.uri());
    let invite = world.request("192.0.2.80:5060", "INVITE", &format!("sip:line1@{PRIVATE}"), &lines);
    let sent = world.udp("192.0.2.80:5060", invite);
    let at_phone = only(&sent, "INVITE");
    goes_over(at_phone, 1);
    assert!(!at_phone.request().headers.contains("Route"));
    let routes: Vec<_> = at_phone.request().headers.all::<RecordRoute>().flatten().collect();
    // The dialog stays on the flow, by a token of its own: behind the flow stand 10 octets of its MAC.
    let flow = |uri: &Uri| uri.user().unwrap().split_at(44 - 14).0.to_owned();
    assert_eq!(flow(routes[0].uri()), flow(vector.uri()));
    assert_ne!(routes[0].uri().user(), vector.uri().user());
    assert!(!routes[0].uri().has_ob());
    // The flow is dead: 430 tells the registrar's proxy so.
    let sent = world.fail(at_phone);
    assert_eq!(names(&sent), ["430"]);
}

/// The answer of a phone on its flow goes back by Via as ever, whatever the Record-Route says.
#[test]
fn responses_are_not_touched_by_flows() {
    let mut world = World::new();
    register(&mut world, 1, 1);
    let (_, sent) = call(&mut world);
    let text = response_text(only(&sent, "INVITE").request(), 180, "");
    let sent = world.tcp(&source(1), 1, text);
    assert_eq!(only(&sent, "180").to(), ALICE);
}
