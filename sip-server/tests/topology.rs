//! Topology hiding: a trunk sees neither the proxies inside nor where the phones are, through whole calls, and nothing is
//! remembered of them; by hand, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::headers::{Contact, RecordRoute, Route, Via};
use sip_message::{HeaderName, Headers, Request};
use sip_server::settings::Settings;
use world::{ALICE, BOB, SERVER, Sent, World, names, only, response_text};

const CARRIER: &str = "203.0.113.91:5060";
/// A proxy inside, before the phones.
const EDGE: &str = "192.0.2.21:5060";
/// A proxy of the carrier's.
const BORDER: &str = "203.0.113.92:5060";

const SETTINGS: &str = r#"
authentication = false
domains = ["example.com"]
[[user]]
name = "bob"
[[route]]
prefix = "+"
trunk = "carrier"
callers = "anyone"
[[trunk]]
name = "carrier"
gateways = [{ uri = "sip:203.0.113.91" }, { uri = "sip:203.0.113.93", priority = 1 }]
hide_topology = true
"#;

fn start(text: &str) -> World {
    let settings = Settings::parse(text).unwrap_or_else(|error| panic!("{error}"));
    World::with(|config| {
        config.dialog_key = Some([9; 32]);
        settings.configure(config);
    })
}

/// What leaves for the carrier tells nothing.
fn tells_nothing(sent: &Sent) {
    let text = sent.text();
    for inside in [ALICE, BOB, EDGE] {
        let address = inside.split(':').next().unwrap();
        assert!(!text.contains(address), "{address} is told:\n{text}");
    }
    let headers = sent.message.headers();
    let contacts = headers.all::<Contact>().map(Result::unwrap);
    for uri in contacts.filter_map(|contact| contact.uri().cloned()) {
        assert_eq!(uri.host_port(), SERVER, "{text}");
    }
}

fn texts(headers: &Headers, name: &str) -> Vec<String> {
    match name {
        "Via" => headers.all::<Via>().map(|via| via.unwrap().to_string()).collect(),
        "Record-Route" => headers.all::<RecordRoute>().map(|one| one.unwrap().uri().to_string()).collect(),
        _ => headers.all::<Route>().map(|one| one.unwrap().uri().to_string()).collect(),
    }
}

fn contact(headers: &Headers) -> String {
    headers.require::<Contact>().unwrap().uri().unwrap().to_string()
}

/// What one side of a dialog has learned: where its requests go.
#[derive(Clone, Debug)]
struct Side {
    routes: Vec<String>,
    target: String,
    call: String,
}

impl Side {
    /// RFC 3261 §12.1: the caller's from the response, the callee's from the request.
    fn of(headers: &Headers, caller: bool) -> Side {
        let mut routes = texts(headers, "Record-Route");
        if caller {
            routes.reverse();
        }
        let (from, to) =
            (headers.text(HeaderName::FROM).unwrap(), headers.text(HeaderName::TO).unwrap().to_owned());
        let to = if to.contains("tag=") { to } else { format!("{to};tag=callee") };
        let call_id = headers.text(HeaderName::CALL_ID).unwrap();
        let call = if caller {
            format!("From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n")
        } else {
            format!("From: {to}\r\nTo: {from}\r\nCall-ID: {call_id}\r\n")
        };
        Side { routes, target: contact(headers), call }
    }

    /// A request within the dialog, as it arrives at the server: the proxies before it have taken their Routes off.
    fn request(&self, world: &mut World, source: &str, method: &str, extra: &str) -> Vec<Sent> {
        let ours = self.routes.iter().skip_while(|route| !route.contains(SERVER));
        let routes: String = ours.map(|route| format!("Route: <{route}>\r\n")).collect();
        let text = world.request(source, method, &self.target, &format!("{routes}{}{extra}", self.call));
        world.udp(source, text)
    }
}

/// A call of Alice, who is behind the edge proxy: the INVITE that the carrier gets.
fn call_out(world: &mut World) -> Sent {
    let extra = "Via: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKalice;x=y\r\nRecord-Route: <sip:192.0.2.21:5060;lr>\r\n\
                 From: <sip:alice@example.com>;tag=alice\r\nContact: \"Alice\" <sip:alice@192.0.2.11:5060;ob>;audio;+sip.instance=\"<urn:x>\"\r\n\
                 Call-ID: out\r\n";
    let text = world.request(EDGE, "INVITE", "sip:+4930@example.com", extra);
    let sent = world.udp(EDGE, text);
    let invite = only(&sent, "INVITE");
    assert_eq!(invite.to(), CARRIER);
    tells_nothing(invite);
    let headers = &invite.request().headers;
    assert_eq!(texts(headers, "Via").len(), 1);
    assert_eq!(texts(headers, "Record-Route").len(), 1);
    let contact = headers.text(HeaderName::CONTACT).unwrap();
    assert!(contact.contains("sip:alice@192.0.2.1:5060;th=") && contact.ends_with(">;audio"), "{contact}");
    Sent { transmit: invite.transmit.clone(), message: invite.message.clone() }
}

const TARGET: &str = "sip:4930@203.0.113.95:5060";

/// The carrier answers through a proxy of its own, which has added its Record-Route. What the edge proxy gets, as it came to the server.
fn answered(world: &mut World, invite: &Sent, status: u16) -> Sent {
    let mut request = invite.request().clone();
    request.headers.push_front_raw(HeaderName::RECORD_ROUTE, "<sip:203.0.113.92:5060;lr>").unwrap();
    let text = response_text(&request, status, &format!("Contact: <{TARGET}>"));
    let sent = world.udp(CARRIER, text);
    let back = only(&sent, &status.to_string());
    assert_eq!(back.to(), EDGE);
    let headers = &back.response().headers;
    let vias = texts(headers, "Via");
    assert!(
        vias.len() == 2 && vias[0].contains("192.0.2.21") && vias[1].ends_with("branch=z9hG4bKalice;x=y")
    );
    Sent { transmit: back.transmit.clone(), message: back.message.clone() }
}

/// The call stands: what both sides know of it.
fn established(world: &mut World) -> (Side, Side) {
    let invite = call_out(world);
    let ringing = answered(world, &invite, 180);
    let answer = answered(world, &invite, 200);
    for response in [&ringing, &answer] {
        let headers = &response.response().headers;
        let routes = texts(headers, "Record-Route");
        assert_eq!(routes.len(), 4, "the carrier's, two of ours, the edge's: {routes:?}");
        assert!(routes[0].contains("203.0.113.92") && routes[3].contains("192.0.2.21"));
        assert!(routes[1..3].iter().all(|route| route.contains(SERVER) && !route.contains("th=")));
        assert_eq!(contact(headers), TARGET);
    }
    let alice = Side::of(&answer.response().headers, true);
    let mut at_callee = invite.request().clone();
    at_callee.headers.push_front_raw(HeaderName::RECORD_ROUTE, "<sip:203.0.113.92:5060;lr>").unwrap();
    let carrier = Side::of(&at_callee.headers, false);
    let sent = alice.request(world, EDGE, "ACK", "");
    let ack = only(&sent, "ACK");
    assert_eq!(ack.to(), BORDER);
    tells_nothing(ack);
    assert_eq!(texts(&ack.request().headers, "Via").len(), 1);
    (alice, carrier)
}

const FROM_ALICE: &str =
    "Via: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKmore\r\nContact: <sip:alice@192.0.2.11:5060>\r\n";

/// A re-INVITE of Alice and its ACK.
fn changed_inside(world: &mut World, alice: &Side) {
    let sent = alice.request(world, EDGE, "INVITE", FROM_ALICE);
    let invite = only(&sent, "INVITE");
    assert_eq!((invite.to().as_str(), invite.request().uri_text()), (BORDER, TARGET));
    tells_nothing(invite);
    assert!(invite.request().headers.text(HeaderName::CONTACT).unwrap().contains(";th="));
    let text = response_text(invite.request(), 200, &format!("Contact: <{TARGET}>"));
    let sent = world.udp(BORDER, text);
    let answer = only(&sent, "200");
    assert_eq!((answer.to().as_str(), texts(&answer.response().headers, "Via").len()), (EDGE, 2));
    let sent = alice.request(world, EDGE, "ACK", FROM_ALICE);
    tells_nothing(only(&sent, "ACK"));
}

/// A request of the carrier's within the call reaches Alice by the edge proxy, and her answer tells nothing.
fn asked_outside(world: &mut World, carrier: &Side, method: &str) {
    let extra = format!("Contact: <{TARGET}>\r\n");
    let sent = carrier.request(world, BORDER, method, &extra);
    let request = only(&sent, method);
    assert_eq!(request.to(), EDGE);
    assert!(request.request().uri_text().starts_with("sip:alice@192.0.2.11:5060"), "{}", request.text());
    assert_eq!(texts(&request.request().headers, "Route"), ["sip:192.0.2.21:5060;lr"]);
    let back = world.answer(request, 200, "Contact: <sip:alice@192.0.2.11:5060>");
    let answer = only(&back, "200");
    assert_eq!(answer.to(), BORDER);
    tells_nothing(answer);
    if method == "INVITE" {
        assert!(contact(&answer.response().headers).contains(";th="));
        let sent = carrier.request(world, BORDER, "ACK", "");
        assert_eq!(only(&sent, "ACK").to(), EDGE);
    }
}

#[test]
fn a_call_out_tells_nothing_from_invite_to_bye() {
    let mut world = start(SETTINGS);
    let (alice, carrier) = established(&mut world);
    changed_inside(&mut world, &alice);
    asked_outside(&mut world, &carrier, "INVITE");
    asked_outside(&mut world, &carrier, "UPDATE");
    asked_outside(&mut world, &carrier, "BYE");
    let sent = alice.request(&mut world, EDGE, "BYE", FROM_ALICE);
    tells_nothing(only(&sent, "BYE"));
    let text = response_text(only(&sent, "BYE").request(), 200, "");
    assert_eq!(only(&world.udp(BORDER, text), "200").to(), EDGE);
    world.assert_nothing_left();
}

/// What is hidden stands in the messages alone.
#[test]
fn a_call_goes_on_after_a_restart_with_the_same_key() {
    let (alice, carrier) = established(&mut start(SETTINGS));
    let mut world = start(SETTINGS);
    changed_inside(&mut world, &alice);
    asked_outside(&mut world, &carrier, "INVITE");
    asked_outside(&mut world, &carrier, "BYE");
    // Another key opens nothing, and sends nothing anywhere.
    let settings = Settings::parse(SETTINGS).unwrap();
    let mut other = World::with(|config| settings.configure(config));
    assert_eq!(names(&carrier.request(&mut other, BORDER, "BYE", "")), ["403"]);
    // Nor does the right one in another dialog.
    let stolen = Side { call: carrier.call.replace("Call-ID: out", "Call-ID: other"), ..carrier };
    assert_eq!(names(&stolen.request(&mut world, BORDER, "BYE", "")), ["403"]);
}

/// §16.10, §16.7: failures and their ACK, CANCEL and its 487, the next gateway.
#[test]
fn failures_and_cancel_find_their_way_back() {
    let mut world = start(SETTINGS);
    let invite = call_out(&mut world);
    let busy = answered(&mut world, &invite, 486);
    assert_eq!(busy.response().status().code(), 486);
    world.seconds(40);

    let invite = call_out(&mut world);
    answered(&mut world, &invite, 180);
    let mut cancel = String::from("CANCEL sip:+4930@example.com SIP/2.0\r\n");
    let branch = 2; // of the second INVITE
    cancel.push_str(&format!(
        "Via: SIP/2.0/UDP {EDGE};branch=z9hG4bKtest{branch}\r\nFrom: <sip:alice@example.com>;tag=alice\r\n\
         To: <sip:+4930@example.com>\r\nCall-ID: out\r\nCSeq: {branch} CANCEL\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ));
    let sent = world.udp(EDGE, cancel);
    let cancel = only(&sent, "CANCEL");
    assert_eq!(cancel.to(), CARRIER);
    tells_nothing(cancel);
    let text = response_text(cancel.request(), 200, "");
    world.udp(CARRIER, text);
    let ended = answered_all(&mut world, &invite, 487);
    tells_nothing(only(&ended, "ACK"));
    assert_eq!(texts(&only(&ended, "487").response().headers, "Via").len(), 2);
    world.seconds(40);

    // The first gateway has no time: the second one is told as little.
    let invite = call_out(&mut world);
    let sent = answered_all(&mut world, &invite, 503);
    let again = only(&sent, "INVITE");
    assert_eq!(again.to(), "203.0.113.93:5060");
    tells_nothing(again);
    assert_eq!(contact(&again.request().headers), contact(&invite.request().headers), "the same each time");
    world.assert_nothing_left();
}

fn answered_all(world: &mut World, invite: &Sent, status: u16) -> Vec<Sent> {
    let text = response_text(invite.request(), status, "");
    world.udp(CARRIER, text)
}

/// A call of the carrier to Bob's phone behind the edge proxy, CANCEL and failures too.
#[test]
fn a_call_in_is_told_nothing_by_its_answers() {
    let mut world = start(SETTINGS);
    let lines = "Via: SIP/2.0/UDP 192.0.2.12:5060;branch=z9hG4bKbob\r\nFrom: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\n\
                 Contact: <sip:bob@192.0.2.12:5060>\r\nPath: <sip:192.0.2.21:5060;lr>\r\nSupported: path\r\n";
    assert_eq!(world.ask(EDGE, "REGISTER", "sip:example.com", lines).status().code(), 200);
    let call = |world: &mut World| {
        let extra = format!(
            "Via: SIP/2.0/UDP 203.0.113.95:5060;branch=z9hG4bKc\r\nRecord-Route: <sip:203.0.113.92:5060;lr>\r\n\
             From: <sip:+4930@carrier.example>;tag=c\r\nContact: <{TARGET}>\r\nCall-ID: in\r\n"
        );
        let text = world.request(CARRIER, "INVITE", "sip:bob@example.com", &extra);
        let sent = world.udp(CARRIER, text);
        let invite = only(&sent, "INVITE");
        assert_eq!(invite.to(), EDGE);
        // Those inside see all of it.
        assert_eq!(texts(&invite.request().headers, "Via").len(), 3);
        assert_eq!(contact(&invite.request().headers), TARGET);
        let mut at_bob = invite.request().clone();
        at_bob.headers.push_front_raw(HeaderName::RECORD_ROUTE, "<sip:192.0.2.21:5060;lr>").unwrap();
        at_bob
    };
    let reply = |world: &mut World, at_bob: &Request, status: u16| {
        let text = response_text(at_bob, status, "Contact: <sip:bob@192.0.2.12:5060>");
        let sent = world.udp(EDGE, text);
        let name = status.to_string();
        let back = sent.iter().find(|one| one.name() == name).unwrap();
        assert_eq!(back.to(), CARRIER);
        tells_nothing(back);
        Sent { transmit: back.transmit.clone(), message: back.message.clone() }
    };
    let at_bob = call(&mut world);
    let ringing = reply(&mut world, &at_bob, 180);
    let answer = reply(&mut world, &at_bob, 200);
    for response in [&ringing, &answer] {
        let routes = texts(&response.response().headers, "Record-Route");
        assert_eq!(routes.len(), 2, "{routes:?}");
        assert!(routes[0].contains(";th=") && routes[1].contains("203.0.113.92"));
    }
    let carrier = Side::of(&answer.response().headers, true);
    let bob = Side::of(&at_bob.headers, false);
    let sent = carrier.request(&mut world, BORDER, "ACK", "");
    let ack = only(&sent, "ACK");
    assert_eq!((ack.to().as_str(), ack.request().uri_text()), (EDGE, "sip:bob@192.0.2.12:5060"));
    assert_eq!(texts(&ack.request().headers, "Route"), ["sip:192.0.2.21:5060;lr"]);
    // Either side changes it, and ends it.
    let more =
        "Via: SIP/2.0/UDP 192.0.2.12:5060;branch=z9hG4bKmore\r\nContact: <sip:bob@192.0.2.12:5060>\r\n";
    for method in ["INVITE", "BYE"] {
        let sent = bob.request(&mut world, EDGE, method, more);
        let request = only(&sent, method);
        assert_eq!(request.to(), BORDER);
        tells_nothing(request);
        let text = response_text(request.request(), 200, &format!("Contact: <{TARGET}>"));
        let back = world.udp(BORDER, text);
        assert_eq!(texts(&only(&back, "200").response().headers, "Via").len(), 2);
        let sent = carrier.request(&mut world, BORDER, method, &format!("Contact: <{TARGET}>\r\n"));
        let request = only(&sent, method);
        assert_eq!(request.to(), EDGE);
        let text = response_text(request.request(), 200, "Contact: <sip:bob@192.0.2.12:5060>");
        tells_nothing(only(&world.udp(EDGE, text), "200"));
    }
    world.seconds(40);
    // Refused; and given up before it was answered.
    let at_bob = call(&mut world);
    reply(&mut world, &at_bob, 486);
    world.seconds(40);
    let at_bob = call(&mut world);
    reply(&mut world, &at_bob, 180);
    let via = at_bob.headers.all::<Via>().nth(1).unwrap().unwrap();
    let cseq = at_bob.headers.text(HeaderName::CSEQ).unwrap().replace("INVITE", "CANCEL");
    let text = format!(
        "CANCEL sip:bob@example.com SIP/2.0\r\nVia: {via}\r\nFrom: <sip:+4930@carrier.example>;tag=c\r\n\
         To: <sip:bob@example.com>\r\nCall-ID: in\r\nCSeq: {cseq}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    let sent = world.udp(CARRIER, text);
    assert_eq!(only(&sent, "CANCEL").to(), EDGE);
    reply(&mut world, &at_bob, 487);
    world.assert_nothing_left();
}

/// A strict router of the carrier's puts our Record-Route into the Request-URI (§16.4).
#[test]
fn a_strict_router_outside_is_understood() {
    let mut world = start(SETTINGS);
    let (_, carrier) = established(&mut world);
    let ours = carrier.routes.iter().find(|route| route.contains(SERVER)).unwrap();
    let text =
        world.request(BORDER, "BYE", ours, &format!("Route: <{}>\r\n{}", carrier.target, carrier.call));
    let sent = world.udp(BORDER, text);
    let bye = only(&sent, "BYE");
    assert_eq!(bye.to(), EDGE);
    assert!(bye.request().uri_text().starts_with("sip:alice@192.0.2.11:5060"));
}

/// `routing.hide_topology` hides from strangers too; calls among users are as they were.
#[test]
fn strangers_are_told_nothing_and_users_are() {
    let text = SETTINGS
        .replace("hide_topology = true", "")
        .replace("authentication = false", "")
        .replace("name = \"bob\"", "name = \"bob\"\npassword = \"x\"")
        .replace("[[user]]", "[routing]\nhide_topology = true\n[[user]]");
    let settings = Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    for (source, hidden) in [("198.51.100.7:5060", true), (CARRIER, true), ("192.0.2.77:5060", false)] {
        let mut world = World::with(|config| {
            settings.configure(config);
            // The registration is not what is tested.
            config.users = None;
            config.challenge_calls = true;
        });
        let lines = "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12:5060>\r\n";
        assert_eq!(world.ask(BOB, "REGISTER", "sip:example.com", lines).status().code(), 200);
        let mut config = sip_server::Config::new([0; 32], world::locals());
        settings.configure(&mut config);
        config.trusted_peers = vec!["192.0.2.77".parse().unwrap()];
        world.core.reconfigure(config, world.now).unwrap();
        let text = world.request(source, "INVITE", "sip:bob@example.com", "Contact: <sip:c@203.0.113.7>\r\n");
        let sent = world.udp(source, text);
        let back = world.answer(only(&sent, "INVITE"), 200, "Contact: <sip:bob@192.0.2.12:5060>");
        let answer = only(&back, "200");
        assert_eq!(answer.text().contains("192.0.2.12"), !hidden, "{source}: {}", answer.text());
    }
}

#[test]
fn nothing_is_hidden_without_record_route() {
    let text = format!("record_route = false\n{}", SETTINGS.trim_start());
    let faults = Settings::parse(&text).unwrap_err().to_string();
    assert_eq!(faults, "13:17: hide_topology: without record_route requests in dialogs would pass us by");
}

/// RFC 5626 §5.3: a phone that is reached over its own connection alone stays on it, and the carrier sees nothing of it.
#[test]
fn a_phone_on_its_connection_is_reached_by_what_is_sealed() {
    let mut world = start(SETTINGS);
    let phone = "198.51.100.8:41000";
    let extra = "From: <sip:alice@example.com>;tag=alice\r\nContact: <sip:alice@10.0.0.8:5060;transport=tcp;ob>\r\nCall-ID: nat\r\n";
    let text = world.request("10.0.0.8:5060", "INVITE", "sip:+4930@example.com", extra);
    let sent = world.tcp(phone, 7, text.replacen("/UDP", "/TCP", 1));
    let invite = only(&sent, "INVITE");
    assert!(
        !invite.text().contains("10.0.0.8") && !invite.text().contains("198.51.100.8"),
        "{}",
        invite.text()
    );
    let back = world.answer(invite, 200, &format!("Contact: <{TARGET}>"));
    let answer = only(&back, "200");
    assert_eq!((answer.to().as_str(), answer.transmit.path.flow.map(|flow| flow.0)), (phone, Some(7)));
    let carrier = Side::of(&invite.request().headers, false);
    let sent = carrier.request(&mut world, CARRIER, "BYE", "");
    let bye = only(&sent, "BYE");
    assert_eq!((bye.to().as_str(), bye.transmit.path.flow.map(|flow| flow.0)), (phone, Some(7)));
    assert_eq!(bye.request().uri_text(), "sip:alice@10.0.0.8:5060;transport=tcp;ob");
    let alice = Side::of(&answer.response().headers, true);
    let routes: String = alice.routes.iter().map(|route| format!("Route: <{route}>\r\n")).collect();
    let text = world.request("10.0.0.8:5060", "BYE", &alice.target, &format!("{routes}{}", alice.call));
    let sent = world.tcp(phone, 7, text.replacen("/UDP", "/TCP", 1));
    let bye = only(&sent, "BYE");
    assert!(!bye.text().contains("10.0.0.8") && !bye.text().contains("198.51.100.8"), "{}", bye.text());
}
