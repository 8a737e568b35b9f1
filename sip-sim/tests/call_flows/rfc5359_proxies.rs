//! RFC 5359, the services with a proxy between: hold, consultation hold, forwarding, find-me, screening.
//!
//! Our proxy answers 100 to each INVITE, re-INVITEs too (RFC 3261 §16.2); the figures show it at the first one only, in
//! parentheses. It never says 181, which is optional (in parentheses as well).

use std::time::Duration;

use sip_dialog::CallKey;
use sip_sim::{Script, What};

use crate::world::{Ua, World};

const DOMAIN: &str = "example.com";

/// Alice, a proxy, and Bob's phones in the order in which he is to be looked for: `unanswered`, if it is there, is
/// the first.
fn with_phones(unanswered: Option<Script>, phones: &[&'static str]) -> (World, Ua, Vec<Ua>) {
    let mut world = World::new();
    world.proxy("proxy", DOMAIN, |_| {});
    let alice = world.ua("alice");
    let bobs: Vec<Ua> = phones.iter().map(|name| world.user(name, DOMAIN, None)).collect();
    let mut uris: Vec<String> = bobs.iter().map(|bob| bob.uri()).collect();
    if let Some(script) = unanswered {
        world.sim.add_script("b1", script);
        uris.insert(0, "sip:b1@192.0.2.9".into());
    }
    let contact = |(place, uri): (usize, &String)| format!("<{uri}>;q={:.1}", 1.0 - place as f32 / 10.0);
    let contacts: Vec<String> = uris.iter().enumerate().map(contact).collect();
    world.registers(bobs[0], Some(&contacts.join(", ")), Some(3600));
    world.forget();
    (world, alice, bobs)
}

/// A phone that says once that it rings. One that repeats its 180 each minute, as RFC 3261 §13.3.1.1 has it, holds
/// Timer C up for as long as it rings (§16.7 step 2).
fn rings_in_vain() -> Script {
    let script = Script::new("192.0.2.9:5060").expect("INVITE").reply(180);
    script.wait(Duration::from_millis(185_300)).reply(487).expect("CANCEL").expect("ACK")
}

/// All of a call to the last phone that is tried: it rings and answers, and Alice hangs up in the end.
fn alice_is_answered(world: &mut World, alice: Ua, call: CallKey, by: Ua) {
    let incoming = world.incoming(by).call;
    world.ring(by, incoming);
    world.accept(by, incoming);
    world.hang_up(alice, call);
}

/// Longer than our Timer C: the proxy gives the first phone up; and soon enough for
/// the next one to be asked less than 200 ms before it answers.
const TIMEOUT: Duration = Duration::from_millis(185_310);

/// §2.1 Call Hold.
#[test]
fn call_hold() {
    let (mut world, alice, bobs) = with_phones(None, &["bob"]);
    let bob = bobs[0];
    let call = world.call(alice, "sip:bob@example.com");
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    world.accept(bob, incoming);
    world.hold((bob, incoming), (alice, call));
    world.resume((bob, incoming), (alice, call));
    world.hang_up(alice, call);
    world.shows(
        "F1 alice -> proxy INVITE
         F2 proxy -> bob INVITE
         F3 proxy -> alice 100
         F4 bob -> proxy 180
         F5 proxy -> alice 180
         F6 bob -> proxy 200
         F7 proxy -> alice 200
         F8 alice -> proxy ACK
         F9 proxy -> bob ACK
         F10 bob -> proxy INVITE
         F11 proxy -> alice INVITE
         proxy -> bob 100
         F12 alice -> proxy 200
         F13 proxy -> bob 200
         F14 bob -> proxy ACK
         F15 proxy -> alice ACK
         F16 bob -> proxy INVITE
         F17 proxy -> alice INVITE
         proxy -> bob 100
         F18 alice -> proxy 200
         F19 proxy -> bob 200
         F20 bob -> proxy ACK
         F21 proxy -> alice ACK
         F22 alice -> proxy BYE
         F23 proxy -> bob BYE
         F24 bob -> proxy 200
         F25 proxy -> alice 200",
    );
    world.ends();
}

/// §2.2 Consultation Hold.
#[test]
fn consultation_hold() {
    let (mut world, alice, bobs) = with_phones(None, &["bob"]);
    let bob = bobs[0];
    let carol = world.user("carol", DOMAIN, None);
    world.register(carol);
    world.forget();
    let call = world.call(alice, "sip:bob@example.com");
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    world.accept(bob, incoming);
    world.hold((bob, incoming), (alice, call));
    let second = world.call(bob, "sip:carol@example.com");
    let at_carol = world.incoming(carol).call;
    world.ring(carol, at_carol);
    world.accept(carol, at_carol);
    world.hang_up(bob, second);
    world.resume((bob, incoming), (alice, call));
    world.hang_up(alice, call);
    world.shows(
        "F1 alice -> proxy INVITE
         F2 proxy -> bob INVITE
         F3 proxy -> alice 100
         F4 bob -> proxy 180
         F5 proxy -> alice 180
         F6 bob -> proxy 200
         F7 proxy -> alice 200
         F8 alice -> proxy ACK
         F9 proxy -> bob ACK
         F10 bob -> proxy INVITE
         F11 proxy -> alice INVITE
         proxy -> bob 100
         F12 alice -> proxy 200
         F13 proxy -> bob 200
         F14 bob -> proxy ACK
         F15 proxy -> alice ACK
         F16 bob -> proxy INVITE
         F17 proxy -> carol INVITE
         F18 proxy -> bob 100
         F19 carol -> proxy 180
         F20 proxy -> bob 180
         F21 carol -> proxy 200
         F22 proxy -> bob 200
         F23 bob -> proxy ACK
         F24 proxy -> carol ACK
         F25 bob -> proxy BYE
         F26 proxy -> carol BYE
         F27 carol -> proxy 200
         F28 proxy -> bob 200
         F29 bob -> proxy INVITE
         F30 proxy -> alice INVITE
         proxy -> bob 100
         F31 alice -> proxy 200
         F32 proxy -> bob 200
         F33 bob -> proxy ACK
         F34 proxy -> alice ACK
         F35 alice -> proxy BYE
         F36 proxy -> bob BYE
         F37 bob -> proxy 200
         F38 proxy -> alice 200",
    );
    world.ends();
}

/// §2.7 Call Forwarding Unconditional: what Bob has registered is the gateway.
#[test]
fn forwarding_unconditional() {
    let (mut world, alice, _) = {
        let (mut world, alice, bobs) = with_phones(None, &["bob"]);
        let gateway = world.ua("gateway");
        world.registers(bobs[0], Some("*"), Some(0));
        world.registers(bobs[0], Some(&format!("<{}>", gateway.uri())), Some(3600));
        world.forget();
        let call = world.call(alice, "sip:bob@example.com");
        alice_is_answered(&mut world, alice, call, gateway);
        (world, alice, gateway)
    };
    assert_eq!(world.with(alice, |alice, _| alice.calls().count()), 0);
    world.shows(
        "F1 alice -> proxy INVITE
         F4 proxy -> gateway INVITE
         F2 proxy -> alice 100
         F5 gateway -> proxy 180
         F6 proxy -> alice 180
         F7 gateway -> proxy 200
         F8 proxy -> alice 200
         F9 alice -> proxy ACK
         F10 proxy -> gateway ACK
         F11 alice -> proxy BYE
         F12 proxy -> gateway BYE
         F13 gateway -> proxy 200
         F14 proxy -> alice 200",
    );
    world.ends();
}

/// As §2.7, by Bob's phone itself: a 302 that Alice's follows (RFC 3261 §8.1.3.4).
#[test]
fn forwarding_by_the_phone() {
    let (mut world, alice, bobs) = with_phones(None, &["bob"]);
    let gateway = world.ua("gateway");
    let call = world.call(alice, &bobs[0].uri());
    let incoming = world.incoming(bobs[0]).call;
    world.reject(bobs[0], incoming, 302, &[("Contact", &format!("<{}>", gateway.uri()))]);
    alice_is_answered(&mut world, alice, call, gateway);
    world.shows(
        "alice -> bob INVITE/302/ACK
         alice -> gateway INVITE/180/200/ACK
         alice -> gateway BYE/200",
    );
    world.ends();
}

/// §2.8 Call Forwarding - Busy: B2 is registered with less preference.
#[test]
fn forwarding_when_busy() {
    let (mut world, alice, bobs) = with_phones(None, &["b1", "b2"]);
    let call = world.call(alice, "sip:b1@example.com");
    let busy = world.incoming(bobs[0]).call;
    world.reject(bobs[0], busy, 486, &[]);
    alice_is_answered(&mut world, alice, call, bobs[1]);
    world.shows(
        "F1 alice -> proxy INVITE
         F2 proxy -> b1 INVITE
         F3 proxy -> alice 100
         F4 b1 -> proxy 486
         F5 proxy -> b1 ACK
         F7 proxy -> b2 INVITE
         F8 b2 -> proxy 180
         F9 proxy -> alice 180
         F10 b2 -> proxy 200
         F11 proxy -> alice 200
         F12 alice -> proxy ACK
         F13 proxy -> b2 ACK
         F14 alice -> proxy BYE
         F15 proxy -> b2 BYE
         F16 b2 -> proxy 200
         F17 proxy -> alice 200",
    );
    world.ends();
}

/// §2.9 Call Forwarding - No Answer, after Timer C.
#[test]
fn forwarding_when_nobody_answers() {
    let (mut world, alice, bobs) = with_phones(Some(rings_in_vain()), &["b2"]);
    let call = world.call(alice, "sip:b2@example.com");
    world.sim.run_for(TIMEOUT);
    alice_is_answered(&mut world, alice, call, bobs[0]);
    world.shows(
        "F1 alice -> proxy INVITE
         F2 proxy -> b1 INVITE
         F3 proxy -> alice 100
         F4 b1 -> proxy 180
         F5 proxy -> alice 180
         F6 proxy -> b1 CANCEL
         F7 b1 -> proxy 200
         F8 b1 -> proxy 487
         F9 proxy -> b1 ACK
         F11 proxy -> b2 INVITE
         F12 b2 -> proxy 180
         F13 proxy -> alice 180
         F14 b2 -> proxy 200
         F15 proxy -> alice 200
         F16 alice -> proxy ACK
         F17 proxy -> b2 ACK
         F18 alice -> proxy BYE
         F19 proxy -> b2 BYE
         F20 b2 -> proxy 200
         F21 proxy -> alice 200",
    );
    world.ends();
}

/// §2.12 Find-Me: four phones, one after the other.
#[test]
fn find_me() {
    let (mut world, alice, bobs) = with_phones(Some(rings_in_vain()), &["b2", "b3", "b4"]);
    world.call(alice, "sip:b2@example.com");
    world.sim.run_for(TIMEOUT);
    let absent = world.incoming(bobs[0]).call;
    world.reject(bobs[0], absent, 480, &[]);
    let busy = world.incoming(bobs[1]).call;
    world.reject(bobs[1], busy, 486, &[]);
    let found = world.incoming(bobs[2]).call;
    world.ring(bobs[2], found);
    world.accept(bobs[2], found);
    world.hang_up(bobs[2], found);
    world.shows(
        "F1 alice -> proxy INVITE
         F2 proxy -> b1 INVITE
         F3 proxy -> alice 100
         F4 b1 -> proxy 180
         F5 proxy -> alice 180
         F6 proxy -> b1 CANCEL
         F7 b1 -> proxy 200
         F8 b1 -> proxy 487
         F9 proxy -> b1 ACK
         F10 proxy -> b2 INVITE
         F11 b2 -> proxy 480
         F12 proxy -> b2 ACK
         F13 proxy -> b3 INVITE
         F14 b3 -> proxy 486
         F15 proxy -> b3 ACK
         F16 proxy -> b4 INVITE
         F17 b4 -> proxy 180
         F18 proxy -> alice 180
         F19 b4 -> proxy 200
         F20 proxy -> alice 200
         F21 alice -> proxy ACK
         F22 proxy -> b4 ACK
         F23 b4 -> proxy BYE
         F24 proxy -> alice BYE
         F25 alice -> proxy 200
         F26 proxy -> b4 200",
    );
    world.ends();
}

/// A proxy that asks for a password and refuses then, as its screening list says: our server has no such lists.
fn screening_proxy(world: &mut World) -> sip_sim::NodeId<Script> {
    let challenge = "Digest realm=\"screen\", nonce=\"f84f1cec41e6cbe5\", qop=\"auth\", algorithm=MD5";
    let script = Script::new("192.0.2.9:5060")
        .expect("INVITE")
        .reply_with(407, move |response| response.raw("Proxy-Authenticate", challenge))
        .expect("ACK")
        .expect("INVITE")
        .reply_with(403, |response| response.raw("Error-Info", "<sip:screened@192.0.2.2>"))
        .expect("ACK");
    world.sim.add_script("proxy", script)
}

fn last_invite_to_the_proxy(world: &World) -> String {
    let invites = world.sim.trace().entries.iter().filter_map(|entry| match &entry.what {
        What::Sent { payload, .. } if payload.starts_with(b"INVITE sip:bob") => Some(payload.clone()),
        _ => None,
    });
    String::from_utf8(invites.last().unwrap().to_vec()).unwrap()
}

/// §2.14 Call Management (Outgoing Call Screening).
#[test]
fn outgoing_calls_are_screened() {
    let mut world = World::new();
    let alice = world.ua("alice");
    let proxy = screening_proxy(&mut world);
    world.account(alice, None, "alice", "wonderland");
    world.call(alice, "sip:bob@192.0.2.9");
    assert!(last_invite_to_the_proxy(&world).contains("Proxy-Authorization: Digest "));
    world.shows(
        "F1 alice -> proxy INVITE
         F2 proxy -> alice 407
         F3 alice -> proxy ACK
         F4 alice -> proxy INVITE
         F5 proxy -> alice 403
         F6 alice -> proxy ACK",
    );
    world.sim.node(proxy).assert_done();
    world.ends();
}

/// §2.13 Call Management (Incoming Call Screening): Bob sends callers to his proxy with a 305, which refuses, and an
/// announcement tells why (Error-Info, RFC 3261 §20.18). Dialling the announcement is the application's.
#[test]
fn incoming_calls_are_screened() {
    let mut world = World::new();
    let (alice, announcement, bob) = (world.ua("alice"), world.ua("announcement"), world.ua("bob"));
    let proxy = screening_proxy(&mut world);
    world.account(alice, None, "alice", "wonderland");
    world.call(alice, &bob.uri());
    let incoming = world.incoming(bob).call;
    world.reject(bob, incoming, 305, &[("Contact", "<sip:bob@192.0.2.9>")]);
    let sip_dialog::Cause::Rejected(refusal) = world.ended(alice) else { panic!() };
    let info = refusal.headers.text("Error-Info").unwrap().trim_matches(['<', '>']).to_owned();
    world.call(alice, &info);
    let listening = world.incoming(announcement).call;
    world.accept(announcement, listening);
    world.hang_up(announcement, listening);
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 305
         F3 alice -> bob ACK
         F4 alice -> proxy INVITE
         F5 proxy -> alice 407
         F6 alice -> proxy ACK
         F7 alice -> proxy INVITE
         F8 proxy -> alice 403
         F9 alice -> proxy ACK
         F10 alice -> announcement INVITE
         F11 announcement -> alice 200
         F12 alice -> announcement ACK
         F13 announcement -> alice BYE
         F14 alice -> announcement 200",
    );
    world.sim.node(proxy).assert_done();
    world.ends();
}
