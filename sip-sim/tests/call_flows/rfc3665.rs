//! RFC 3665: registration (§2) and calls that come about (§3.1 to §3.7).
//!
//! Left out: §3.5, a call through an application level gateway that rewrites what passes (we have none). The RFC's
//! transports are TLS and TCP here and there; all is UDP here. Our 100 is the one that RFC 3261 §17.2.1 asks for.

use sip_message::StatusCode;
use sip_server::Users;

use crate::world::{Ua, World, direction, sdp};

const BILOXI: &str = "biloxi.example.com";
const ATLANTA: &str = "atlanta.example.com";

/// Bob and the registrar of his domain, which asks for his password.
fn registrar(password: &str) -> (World, Ua) {
    let mut world = World::new();
    world.proxy("registrar", BILOXI, |config| config.users = Some(Users::parse("bob:zanzibar\n").unwrap()));
    let bob = world.user("bob", BILOXI, None);
    world.account(bob, None, "bob", password);
    world.step();
    (world, bob)
}

/// §2.1 Successful New Registration.
#[test]
fn a_new_registration() {
    let (mut world, bob) = registrar("zanzibar");
    let ok = world.registers(bob, Some("<sip:bob@192.0.2.2>"), Some(3600));
    assert!(ok.headers.text("Contact").unwrap().starts_with("<sip:bob@192.0.2.2>;expires=3600"));
    world.shows(
        "F1 bob -> registrar REGISTER
         F2 registrar -> bob 401
         F3 bob -> registrar REGISTER
         F4 registrar -> bob 200",
    );
    world.ends();
}

/// §2.2 Update of Contact List: a second address. The figure leaves out the challenge, as if the nonce of §2.1 served
/// again; our nonces are not carried from one Call-ID to another (RFC 3261 §22.3), so that it is there.
#[test]
fn an_update_of_the_contact_list() {
    let (mut world, bob) = registrar("zanzibar");
    world.register(bob);
    world.forget();
    let ok = world.registers(bob, Some("<mailto:bob@biloxi.example.com>"), Some(3600));
    let contacts: Vec<_> = ok.headers.all::<sip_message::headers::Contact>().flatten().collect();
    assert_eq!(contacts.len(), 2, "{ok}");
    world.shows(
        "bob -> registrar REGISTER/401
         F1 bob -> registrar REGISTER
         F2 registrar -> bob 200",
    );
    world.ends();
}

/// §2.3 Request for Current Contact List. The challenge is as in §2.2.
#[test]
fn a_request_for_the_contact_list() {
    let (mut world, bob) = registrar("zanzibar");
    world.register(bob);
    world.forget();
    let ok = world.registers(bob, None, None);
    assert!(ok.headers.text("Contact").unwrap().starts_with("<sip:bob@192.0.2.2>;expires="));
    world.shows(
        "bob -> registrar REGISTER/401
         F1 bob -> registrar REGISTER
         F2 registrar -> bob 200",
    );
    world.ends();
}

/// §2.4 Cancellation of Registration. The challenge is as in §2.2.
#[test]
fn a_registration_is_cancelled() {
    let (mut world, bob) = registrar("zanzibar");
    world.register(bob);
    world.forget();
    let ok = world.registers(bob, Some("*"), Some(0));
    assert_eq!((ok.status(), ok.headers.text("Contact")), (StatusCode::OK, None));
    world.shows(
        "bob -> registrar REGISTER/401
         F1 bob -> registrar REGISTER
         F2 registrar -> bob 200",
    );
    world.ends();
}

/// §2.5 Unsuccessful Registration: a wrong password.
#[test]
fn a_registration_with_a_wrong_password() {
    let (mut world, bob) = registrar("guessed");
    assert_eq!(world.registers(bob, Some("<sip:bob@192.0.2.2>"), None).status(), StatusCode::UNAUTHORIZED);
    world.shows(
        "F1 bob -> registrar REGISTER
         F2 registrar -> bob 401
         F3 bob -> registrar REGISTER
         F4 registrar -> bob 401",
    );
    world.ends();
}

/// §3.1 Successful Session Establishment.
#[test]
fn two_user_agents_alone() {
    let mut world = World::new();
    let (alice, bob) = (world.ua("alice"), world.ua("bob"));
    let (_, incoming) = world.connect(alice, bob);
    world.hang_up(bob, incoming);
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 180
         F3 bob -> alice 200
         F4 alice -> bob ACK
         F5 bob -> alice BYE
         F6 alice -> bob 200",
    );
    world.ends();
}

/// §3.2 Session Establishment Through Two Proxies, the first of which asks for the caller's password.
#[test]
fn through_two_proxies() {
    let mut world = World::new();
    let users = Users::parse("alice:wonderland\n").unwrap();
    let proxy = world.proxy("proxy1", ATLANTA, |config| config.users = Some(users));
    world.proxy("proxy2", BILOXI, |_| {});
    let alice = world.user("alice", ATLANTA, Some(proxy));
    let bob = world.user("bob", BILOXI, None);
    world.account(alice, None, "alice", "wonderland");
    world.register(bob);
    world.forget();
    world.call(alice, "sip:bob@biloxi.example.com");
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    world.accept(bob, incoming);
    world.hang_up(bob, incoming);
    world.shows(
        "F1 alice -> proxy1 INVITE
         F2 proxy1 -> alice 407
         F3 alice -> proxy1 ACK
         F4 alice -> proxy1 INVITE
         F5 proxy1 -> proxy2 INVITE
         F6 proxy1 -> alice 100
         F7 proxy2 -> bob INVITE
         F8 proxy2 -> proxy1 100
         F9 bob -> proxy2 180
         F10 proxy2 -> proxy1 180
         F11 proxy1 -> alice 180
         F12 bob -> proxy2 200
         F13 proxy2 -> proxy1 200
         F14 proxy1 -> alice 200
         F15 alice -> proxy1 ACK
         F16 proxy1 -> proxy2 ACK
         F17 proxy2 -> bob ACK
         F18 bob -> proxy2 BYE
         F19 proxy2 -> proxy1 BYE
         F20 proxy1 -> alice BYE
         F21 alice -> proxy1 200
         F22 proxy1 -> proxy2 200
         F23 proxy2 -> bob 200",
    );
    world.ends();
}

/// §3.3 Session with Multiple Proxy Authentication: two proxies with a realm and a table of passwords each. Ours
/// challenge those who claim to come from their domain, so that here both stand for one domain in a row. The call
/// ends as in §3.2, which the figure does not show.
#[test]
fn two_proxies_ask_for_passwords() {
    let mut world = World::new();
    let second = world.proxy("proxy2", ATLANTA, |config| {
        config.realm = Some("second".into());
        config.users = Some(Users::parse("alice:two\n").unwrap());
    });
    let first = world.proxy("proxy1", "first.example.com", |config| {
        config.domains = vec![ATLANTA.into()];
        config.realm = Some("first".into());
        config.users = Some(Users::parse("alice:one\n").unwrap());
        config.next_hop = Some(format!("sip:{};lr", second.ip()).parse().unwrap());
    });
    let alice = world.user("alice", ATLANTA, Some(first));
    let bob = world.ua("bob");
    world.account(alice, Some("first"), "alice", "one");
    world.account(alice, Some("second"), "alice", "two");
    world.call(alice, &bob.uri());
    let incoming = world.incoming(bob).call;
    world.accept(bob, incoming);
    world.shows(
        "F1 alice -> proxy1 INVITE
         F2 proxy1 -> alice 407
         F3 alice -> proxy1 ACK
         F4 alice -> proxy1 INVITE
         F6 proxy1 -> proxy2 INVITE
         F5 proxy1 -> alice 100
         F7 proxy2 -> proxy1 407
         F8 proxy1 -> proxy2 ACK
         F9 proxy1 -> alice 407
         F10 alice -> proxy1 ACK
         F11 alice -> proxy1 INVITE
         F13 proxy1 -> proxy2 INVITE
         F12 proxy1 -> alice 100
         F15 proxy2 -> bob INVITE
         F14 proxy2 -> proxy1 100
         F16 bob -> proxy2 200
         F17 proxy2 -> proxy1 200
         F18 proxy1 -> alice 200
         F19 alice -> proxy1 ACK
         F20 proxy1 -> proxy2 ACK
         F21 proxy2 -> bob ACK",
    );
    world.hang_up(bob, incoming);
    world.ends();
}

/// §3.4 Successful Session with Proxy Failure: the preferred proxy swallows everything. After Timer B (F1 to F6 of
/// the figure are repetitions) the next of the SRV records is tried (RFC 3263 §4.3). The figure's second proxy asks
/// for a password, which §3.2 shows.
#[test]
fn the_first_proxy_is_dead() {
    let mut world = World::new();
    let dead = world.proxy("proxy1", "ss1.example.com", |_| {});
    let alive = world.proxy("proxy2", "ss2.example.com", |config| config.domains = vec![BILOXI.into()]);
    let alice = world.ua("alice");
    let bob = world.user("bob", BILOXI, Some(alive));
    world.register(bob);
    let zone = world.sim.zone();
    zone.remove(BILOXI).naptr(BILOXI, 1, 1, "SIP+D2U", "_sip._udp.biloxi.example.com");
    zone.srv("_sip._udp.biloxi.example.com", 1, 0, 5060, "ss1.example.com");
    zone.srv("_sip._udp.biloxi.example.com", 2, 0, 5060, "ss2.example.com");
    world.sim.partition(alice.node, dead.node);
    world.forget();
    world.call(alice, "sip:bob@biloxi.example.com");
    world.sim.run_for(std::time::Duration::from_secs(32));
    assert_eq!(world.cut_off(), 7, "as often as Timer A says");
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    world.accept(bob, incoming);
    world.hang_up(bob, incoming);
    world.shows(
        "F1 alice -> proxy1 INVITE
         F8 alice -> proxy2 INVITE
         F12 proxy2 -> bob INVITE
         F13 proxy2 -> alice 100
         F14 bob -> proxy2 180
         F15 proxy2 -> alice 180
         F16 bob -> proxy2 200
         F17 proxy2 -> alice 200
         F18 alice -> proxy2 ACK
         F19 proxy2 -> bob ACK
         F20 bob -> proxy2 BYE
         F21 proxy2 -> alice BYE
         F22 alice -> proxy2 200
         F23 proxy2 -> bob 200",
    );
    world.ends();
}

/// §3.6 Session via Redirect and Proxy Servers with SDP in ACK. Our server has no redirect mode: a user agent redirects.
#[test]
fn redirected_and_the_answer_in_the_ack() {
    let mut world = World::new();
    let redirect = world.ua("redirect");
    world.sim.zone().address(ATLANTA, "192.0.2.1".parse().unwrap());
    world.proxy("proxy3", BILOXI, |_| {});
    let alice = world.ua("alice");
    let bob = world.user("bob", BILOXI, None);
    world.register(bob);
    world.forget();
    let call = world.call_with(alice, "sip:bob@atlanta.example.com", None, Vec::new());
    let elsewhere = world.incoming(redirect);
    assert!(elsewhere.request.body().is_empty());
    world.reject(redirect, elsewhere.call, 302, &[("Contact", "<sip:bob@biloxi.example.com>")]);
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    world.accept_with(bob, incoming, "sendrecv");
    assert_eq!(direction(world.answered(alice).body()), "sendrecv", "the 200 brings the offer");
    world.with(alice, |alice, now| alice.acknowledge(now, call, sdp(3, "sendrecv"))).unwrap();
    world.step();
    let ack = world.event(bob, |event| match event {
        sip_dialog::Event::Confirmed { ack, .. } => ack,
        _ => None,
    });
    assert_eq!(direction(ack.body()), "sendrecv", "and the ACK the answer");
    world.hang_up(bob, incoming);
    world.shows(
        "F1 alice -> redirect INVITE
         F2 redirect -> alice 302
         F3 alice -> redirect ACK
         F4 alice -> proxy3 INVITE
         F5 proxy3 -> bob INVITE
         F6 proxy3 -> alice 100
         F7 bob -> proxy3 180
         F8 proxy3 -> alice 180
         F9 bob -> proxy3 200
         F10 proxy3 -> alice 200
         F11 alice -> proxy3 ACK
         F12 proxy3 -> bob ACK
         F13 bob -> proxy3 BYE
         F14 proxy3 -> alice BYE
         F15 alice -> proxy3 200
         F16 proxy3 -> bob 200",
    );
    world.ends();
}

/// §3.7 Session with re-INVITE (IP Address Change). The proxy does not record a route, so that all after the 200 goes
/// straight. The media moves to another address here; the signalling of the figure moves too.
#[test]
fn the_media_moves_to_another_address() {
    let mut world = World::new();
    world.proxy("proxy", BILOXI, |config| config.record_route = false);
    let alice = world.ua("alice");
    let bob = world.user("bob", BILOXI, None);
    world.register(bob);
    world.forget();
    let call = world.call(alice, "sip:bob@biloxi.example.com");
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    world.accept(bob, incoming);
    let moved = sdp(99, "sendrecv");
    world.with(bob, |bob, now| bob.reinvite(now, incoming, Some(moved))).unwrap();
    world.step();
    world.accept(alice, call);
    world.hang_up(alice, call);
    world.shows(
        "F1 alice -> proxy INVITE
         F2 proxy -> bob INVITE
         F3 proxy -> alice 100
         F4 bob -> proxy 180
         F5 proxy -> alice 180
         F6 bob -> proxy 200
         F7 proxy -> alice 200
         F8 alice -> bob ACK
         F9 bob -> alice INVITE
         F10 alice -> bob 200
         F11 bob -> alice ACK
         F12 alice -> bob BYE
         F13 bob -> alice 200",
    );
    world.ends();
}
