//! Topology hiding: a trunk sees neither the proxies inside nor where the phones are, through whole calls, and nothing is
//! remembered of them; by hand, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::headers::{Contact, RecordRoute, ReferTo, Route, Via};
use sip_message::{HeaderName, Headers, Request, Uri};
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

// ---- call transfer (RFC 5589) --------------------------------------------------------------------------------

/// Somebody outside who is no user and no trunk.
const CAROL: &str = "198.51.100.7:5060";
/// Another one.
const DAVE: &str = "198.51.100.9:5060";

/// Hidden from strangers, not from the carrier alone.
const HIDE: &str = "[routing]\nhide_topology = true\n";

/// A server with these rules besides, and with the phones of Alice and of Bob, who is at `bob`. Their network is trusted.
fn office(rules: &str, bob: &str) -> World {
    let text = SETTINGS
        .replace("authentication = false", "")
        .replace("name = \"bob\"", "name = \"bob\"\npassword = \"x\"")
        .replace("[[user]]", &format!("{rules}[[user]]"));
    let settings = Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut world = World::with(|config| {
        settings.configure(config);
        // The registrations are not what is tested.
        config.users = None;
        config.challenge_calls = true;
    });
    for (user, address) in [("alice", ALICE), ("bob", bob)] {
        let lines = format!(
            "From: <sip:{user}@example.com>;tag=r\r\nTo: <sip:{user}@example.com>\r\nContact: <sip:{user}@{address}>\r\n"
        );
        assert_eq!(world.ask(BOB, "REGISTER", "sip:example.com", &lines).status().code(), 200);
    }
    let mut config = sip_server::Config::new([0; 32], world::locals());
    settings.configure(&mut config);
    config.trusted_peers = vec!["192.0.2.0/28".parse().unwrap()];
    world.core.reconfigure(config, world.now).unwrap();
    world
}

/// Somebody's contact.
fn at(name: &str, address: &str) -> String {
    format!("sip:{name}@{address}")
}

/// A call from `caller`, answered at `callee`: the lines of the INVITE besides, and what both sides know of it.
fn call(
    world: &mut World,
    (name, caller): (&str, &str),
    uri: &str,
    callee: (&str, &str),
    extra: &str,
) -> (Side, Side) {
    // Phones of inside are behind a server that is trusted: passwords are not what is tested.
    let host = if caller.starts_with("192.0.2.") { "pbx.example" } else { "chicago.example" };
    let lines = format!("From: <sip:{name}@{host}>;tag=caller\r\nContact: <{}>\r\n{extra}", at(name, caller));
    let text = world.request(caller, "INVITE", uri, &lines);
    let sent = world.udp(caller, text);
    let invite = only(&sent, "INVITE");
    assert_eq!(invite.to(), callee.1);
    let at_callee = Side::of(&invite.request().headers, false);
    let back = world.answer(invite, 200, &format!("Contact: <{}>", at(callee.0, callee.1)));
    let answer = only(&back, "200");
    assert_eq!(answer.to(), caller);
    (Side::of(&answer.response().headers, true), at_callee)
}

/// The Replaces of what takes the place of `call` at its callee, as a header field and as one of a URI.
fn replaces(call: &str) -> (String, String) {
    (
        format!("Replaces: {call};to-tag=callee;from-tag=caller\r\n"),
        format!("?Replaces={call}%3Bto-tag%3Dcallee%3Bfrom-tag%3Dcaller"),
    )
}

/// Either side asks the other, and hangs up; nobody outside is told anything.
fn goes_on(world: &mut World, sides: [(&Side, &str, &str); 2]) {
    let [(caller, source, name), (callee, to, callee_name)] = sides;
    let sent = caller.request(world, source, "ACK", "");
    assert_eq!(only(&sent, "ACK").to(), to);
    let asking = [(caller, source, name, to, callee_name), (callee, to, callee_name, source, name)];
    for (side, source, name, to, other) in asking {
        for method in ["INFO", "BYE"] {
            let contact = format!("Contact: <{}>\r\n", at(name, source));
            let sent = side.request(world, source, method, &contact);
            let request = only(&sent, method);
            assert_eq!((request.to().as_str(), request.request().uri_text()), (to, at(other, to).as_str()));
            let back = world.answer(request, 200, "");
            for sent in [request, only(&back, "200")].into_iter().filter(|sent| sent.to().starts_with("198"))
            {
                tells_nothing(sent);
            }
        }
    }
}

/// RFC 5589 §7.1: Carol, outside, transfers Alice, with whom she has call 1, to Bob, with whom she has call 2.
#[test]
fn a_transfer_from_outside_reaches_the_contact_that_was_hidden() {
    let mut world = office(HIDE, BOB);
    let (carol, alice) =
        call(&mut world, ("carol", CAROL), "sip:alice@example.com", ("alice", ALICE), "Call-ID: one\r\n");
    let (with_bob, _) =
        call(&mut world, ("carol", CAROL), "sip:bob@example.com", ("bob", BOB), "Call-ID: two\r\n");
    assert!(with_bob.target.starts_with("sip:bob@192.0.2.1:5060;th="), "{}", with_bob.target);
    let (header, in_uri) = replaces("two");
    let refer_to = format!("<{}{in_uri}>", with_bob.target);
    let extra = format!("Contact: <{}>\r\nRefer-To: {refer_to}\r\n", at("carol", CAROL));
    let sent = carol.request(&mut world, CAROL, "REFER", &extra);
    let refer = only(&sent, "REFER");
    assert_eq!(refer.to(), ALICE);
    assert_eq!(refer.request().headers.text(HeaderName::REFER_TO), Some(&refer_to[..]));
    let contact = format!("Contact: <{}>", at("alice", ALICE));
    tells_nothing(only(&world.answer(refer, 202, &contact), "202"));

    // Alice does what she is asked for, and is shown all of Bob as ever.
    let extra = format!("Call-ID: three\r\n{header}");
    let (caller, callee) = call(&mut world, ("alice", ALICE), &with_bob.target, ("bob", BOB), &extra);
    assert_eq!((caller.target.as_str(), callee.target.as_str()), (&*at("bob", BOB), &*at("alice", ALICE)));
    goes_on(&mut world, [(&caller, ALICE, "alice"), (&callee, BOB, "bob")]);

    let extra = format!("{contact}\r\nEvent: refer\r\nSubscription-State: terminated;reason=noresource\r\n");
    let sent = alice.request(&mut world, ALICE, "NOTIFY", &extra);
    let notify = only(&sent, "NOTIFY");
    assert_eq!(notify.to(), CAROL);
    tells_nothing(notify);
    world.answer(notify, 200, "");
    world.assert_nothing_left();
}

/// Likewise, of Dave, who is outside too: he reaches Bob, and learns nothing.
#[test]
fn who_is_referred_to_a_hidden_contact_is_told_nothing_by_its_answers() {
    let mut world = office(HIDE, BOB);
    let (with_bob, _) =
        call(&mut world, ("carol", CAROL), "sip:bob@example.com", ("bob", BOB), "Call-ID: two\r\n");
    let (header, _) = replaces("two");
    let extra = format!("Call-ID: three\r\n{header}");
    let (caller, callee) = call(&mut world, ("dave", DAVE), &with_bob.target, ("bob", BOB), &extra);
    assert!(caller.target.starts_with("sip:bob@192.0.2.1:5060;th=") && caller.target != with_bob.target);
    assert_eq!(callee.target, at("dave", DAVE), "Bob sees who calls");
    goes_on(&mut world, [(&caller, DAVE, "dave"), (&callee, BOB, "bob")]);

    // RFC 3911: he may join as well. Refused, and given up.
    let invite = |world: &mut World| {
        let extra =
            "Call-ID: four\r\nJoin: two;to-tag=callee;from-tag=caller\r\nRoute: <sip:192.0.2.1;lr>\r\n";
        let text = world.request(DAVE, "INVITE", &with_bob.target, extra);
        let sent = world.udp(DAVE, text.clone());
        let invite = only(&sent, "INVITE");
        assert_eq!((invite.to().as_str(), invite.request().uri_text()), (BOB, &*at("bob", BOB)));
        (Sent { transmit: invite.transmit.clone(), message: invite.message.clone() }, text)
    };
    let (first, _) = invite(&mut world);
    let back = world.answer(&first, 481, "");
    assert_eq!(only(&back, "481").to(), DAVE);
    tells_nothing(only(&back, "481"));
    let (second, text) = invite(&mut world);
    tells_nothing(only(&world.answer(&second, 180, &format!("Contact: <{}>", at("bob", BOB))), "180"));
    let cancel: String = text
        .replacen("INVITE sip:", "CANCEL sip:", 1)
        .replace(" INVITE\r\n", " CANCEL\r\n")
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("Join") && !line.starts_with("Route"))
        .collect();
    let sent = world.udp(DAVE, cancel);
    let cancel = only(&sent, "CANCEL");
    assert_eq!((cancel.to().as_str(), cancel.request().uri_text()), (BOB, &*at("bob", BOB)));
    world.answer(cancel, 200, "");
    assert_eq!(only(&world.answer(&second, 487, ""), "487").to(), DAVE);
    world.assert_nothing_left();
}

/// Nor is he where the carrier alone, who refers him, is told nothing.
#[test]
fn who_is_referred_by_a_carrier_is_told_as_little_as_the_carrier() {
    let mut world = office("", BOB);
    let carrier = ("carrier", CARRIER);
    let (with_bob, _) = call(&mut world, carrier, "sip:bob@example.com", ("bob", BOB), "Call-ID: two\r\n");
    let (header, _) = replaces("two");
    let extra = format!("Call-ID: three\r\n{header}");
    let (caller, callee) = call(&mut world, ("dave", DAVE), &with_bob.target, ("bob", BOB), &extra);
    assert!(caller.target.starts_with("sip:bob@192.0.2.1:5060;th="), "{}", caller.target);
    goes_on(&mut world, [(&caller, DAVE, "dave"), (&callee, BOB, "bob")]);
}

/// RFC 5589 §7.1: Alice, inside, transfers Carol, with whom she has call 1, to Bob, with whom she has call 2.
#[test]
fn a_transfer_from_inside_tells_nothing_and_is_followed() {
    let mut world = office(HIDE, BOB);
    let (_, alice) =
        call(&mut world, ("carol", CAROL), "sip:alice@example.com", ("alice", ALICE), "Call-ID: one\r\n");
    let (with_bob, _) =
        call(&mut world, ("alice", ALICE), "sip:bob@example.com", ("bob", BOB), "Call-ID: two\r\n");
    assert_eq!(with_bob.target, at("bob", BOB));
    let (header, in_uri) = replaces("two");
    let extra = format!(
        "Contact: <{0}>\r\nRefer-To: \"Bob\" <{1};method=INVITE{in_uri}&Require=replaces>;x=y\r\nReferred-By: <{0}>\r\n",
        at("alice", ALICE),
        with_bob.target
    );
    let sent = alice.request(&mut world, ALICE, "REFER", &extra);
    let refer = only(&sent, "REFER");
    assert_eq!(refer.to(), CAROL);
    tells_nothing(refer);
    let headers = &refer.request().headers;
    assert_eq!(headers.text(HeaderName::REFERRED_BY), Some("<sip:alice@example.com>"));
    let refer_to = headers.require::<ReferTo>().unwrap();
    assert_eq!((refer_to.display_name(), refer_to.param("x")), (Some("Bob"), Some(Some("y"))));
    let (hidden, rest) = refer_to.uri().as_str().split_once('?').unwrap();
    assert_eq!(format!("?{rest}"), format!("{in_uri}&Require=replaces"));
    let mut hidden: Uri = hidden.parse().unwrap();
    assert_eq!(hidden.param("method"), Some(Some("INVITE")));
    hidden.remove_param("method");
    world.answer(refer, 202, "");

    let extra = format!("Call-ID: three\r\n{header}");
    let (caller, callee) = call(&mut world, ("carol", CAROL), hidden.as_str(), ("bob", BOB), &extra);
    goes_on(&mut world, [(&caller, CAROL, "carol"), (&callee, BOB, "bob")]);
    world.assert_nothing_left();
}

/// What a REFER says of somebody else, or what is signed, leaves as it is (RFC 3892 §4, RFC 5589 §11.1).
#[test]
fn what_is_not_of_inside_is_left_in_a_refer() {
    let mut world = office(HIDE, BOB);
    let (carol, alice) =
        call(&mut world, ("carol", CAROL), "sip:alice@example.com", ("alice", ALICE), "Call-ID: one\r\n");
    let (_, in_uri) = replaces("two");
    let left = [
        "<sip:dave@198.51.100.9>".to_owned(),
        "<sip:dave@198.51.100.9?Subject=x>".to_owned(),
        format!("<sip:dave@198.51.100.9;method=SUBSCRIBE{in_uri}>"),
        format!("<sip:+4930@203.0.113.93{in_uri}>"),
        format!("<sip:bob@example.com{in_uri}>"),
        format!("<im:bob@198.51.100.9{in_uri}>"),
    ];
    let by = ["<sip:dave@198.51.100.9>;cid=\"x@h\"", "<sip:alice@example.com;x=y>"];
    for (refer_to, by) in left.iter().zip(by.into_iter().cycle()) {
        let extra =
            format!("Contact: <{}>\r\nRefer-To: {refer_to}\r\nReferred-By: {by}\r\n", at("alice", ALICE));
        let sent = alice.request(&mut world, ALICE, "REFER", &extra);
        let headers = &only(&sent, "REFER").request().headers;
        assert_eq!(headers.text(HeaderName::REFER_TO), Some(&refer_to[..]));
        assert_eq!(headers.text(HeaderName::REFERRED_BY), Some(by));
        world.answer(only(&sent, "REFER"), 202, "");
    }
    // Nor is anything changed in one from outside.
    let refer_to = format!("<sip:dave@198.51.100.9{in_uri}>");
    let extra = format!("Contact: <{}>\r\nRefer-To: {refer_to}\r\n", at("carol", CAROL));
    let sent = carol.request(&mut world, CAROL, "REFER", &extra);
    let headers = &only(&sent, "REFER").request().headers;
    assert_eq!(headers.text(HeaderName::REFER_TO), Some(&refer_to[..]));
    // Who is no user of ours by From is not given a name of ours.
    let nameless = Side {
        call: alice.call.replace("sip:alice@example.com", "sip:anonymous@anonymous.invalid"),
        ..alice
    };
    let extra = "Contact: <sip:alice@192.0.2.11>\r\nRefer-To: <sip:dave@198.51.100.9>\r\nReferred-By: <sip:dave@198.51.100.9>\r\n";
    let sent = nameless.request(&mut world, ALICE, "REFER", extra);
    let headers = &only(&sent, "REFER").request().headers;
    assert_eq!(headers.text(HeaderName::REFERRED_BY), Some("<sip:dave@198.51.100.9>"));
}

/// A hidden contact is reached by who was referred to it in the dialog that he names, and nobody else by nothing else.
#[test]
fn a_hidden_contact_opens_no_other_way() {
    let mut world = office(HIDE, BOB);
    let (with_bob, _) =
        call(&mut world, ("carol", CAROL), "sip:bob@example.com", ("bob", BOB), "Call-ID: two\r\n");
    let (_, _) =
        call(&mut world, ("carol", CAROL), "sip:bob@example.com", ("bob", BOB), "Call-ID: other\r\n");
    let (right, _) = replaces("two");
    let (other, _) = replaces("other");
    let uri = &with_bob.target;
    let token = uri.split_once(";th=").unwrap().1;
    let (before, after) = uri.split_at(uri.len() - 20);
    let changed = if after.starts_with('A') { "B" } else { "A" };
    let altered = format!("{before}{changed}{}", &after[1..]);
    let elsewhere = format!("sip:bob@203.0.113.200;th={token}");
    for source in [DAVE, ALICE] {
        for (method, uri, extra) in [
            ("INVITE", uri, String::new()),
            ("INVITE", uri, other.clone()),
            ("INVITE", uri, format!("{right}Join: two;to-tag=callee;from-tag=caller\r\n")),
            ("INVITE", uri, "Replaces: two\r\n".to_owned()),
            ("INVITE", uri, "Target-Dialog: two;local-tag=callee;remote-tag=caller\r\n".to_owned()),
            ("INVITE", uri, format!("{right}To: <sip:bob@example.com>;tag=callee\r\n")),
            ("OPTIONS", uri, right.clone()),
            ("MESSAGE", uri, right.clone()),
            ("SUBSCRIBE", uri, format!("{right}Event: dialog\r\n")),
            ("REFER", uri, format!("{right}Refer-To: <sip:x@h>\r\n")),
            ("INVITE", &altered, right.clone()),
            ("INVITE", &elsewhere, right.clone()),
            // To no third place.
            ("INVITE", uri, format!("{right}Route: <sip:203.0.113.200;lr>\r\n")),
            ("INVITE", uri, format!("{right}Route: <sip:192.0.2.1;lr>, <sip:203.0.113.200;lr>\r\n")),
        ] {
            let lines =
                format!("From: <sip:d@chicago.example>;tag=d\r\nContact: <sip:d@{source}>\r\n{extra}");
            let text = world.request(source, method, uri, &lines);
            let sent = world.udp(source, text);
            assert_eq!(names(&sent), ["403"], "{method} {uri} {extra}");
        }
    }
    // The same for its own dialog's Call-ID, outside of that dialog.
    let text = world.request(DAVE, "INVITE", uri, "Call-ID: two\r\nContact: <sip:d@198.51.100.9>\r\n");
    assert_eq!(names(&world.udp(DAVE, text)), ["403"]);
}

/// Who is referred is stopped by block lists, and calls nobody at our expense.
#[test]
fn who_is_referred_is_bound_by_block_lists_and_calls_no_gateway() {
    let referred = |world: &mut World, uri: &str| {
        let (header, _) = replaces("two");
        let lines = format!("{header}From: <sip:dave@chicago.example>;tag=d\r\nContact: <sip:d@{DAVE}>\r\n");
        let text = world.request(DAVE, "INVITE", uri, &lines);
        names(&world.udp(DAVE, text))
    };
    let carol = ("carol", CAROL);
    let bob = "sip:bob@example.com";
    let mut world = office(HIDE, BOB);
    let (with_bob, _) = call(&mut world, carol, bob, ("bob", BOB), "Call-ID: two\r\n");
    assert_eq!(referred(&mut world, &with_bob.target), ["INVITE"]);

    let mut world = office(&format!("{HIDE}[[block]]\ncaller = 'dave'\n"), BOB);
    let (with_bob, _) = call(&mut world, carol, bob, ("bob", BOB), "Call-ID: two\r\n");
    assert_eq!(referred(&mut world, &with_bob.target), ["403"]);

    // An address of the carrier's, although a phone has registered it.
    let gateway = "203.0.113.93:5060";
    let mut world = office(HIDE, gateway);
    let (with_bob, _) = call(&mut world, carol, bob, ("bob", gateway), "Call-ID: two\r\n");
    assert_eq!(referred(&mut world, &with_bob.target), ["403"]);

    // The contact of somebody who is outside himself.
    let mut world = office(HIDE, BOB);
    let text = world.request(
        CAROL,
        "INVITE",
        "sip:+4930@example.com",
        "Call-ID: two\r\nContact: <sip:c@198.51.100.7>\r\n",
    );
    let sent = world.udp(CAROL, text);
    let back = world.answer(only(&sent, "INVITE"), 200, &format!("Contact: <{TARGET}>"));
    let hidden = contact(&only(&back, "200").response().headers);
    assert!(hidden.contains(";th="), "{hidden}");
    assert_eq!(referred(&mut world, &hidden), ["403"]);
}
