//! RFC 3665 §3.8 to §3.11: calls that do not come about, through two proxies.

use std::time::Duration;

use sip_dialog::{CallKey, Cause};

use crate::world::{Ua, World};

/// Alice has called Bob, who can be reached or not; each has a proxy.
fn alice_calls_bob(reachable: bool) -> (World, Ua, CallKey, Ua) {
    let mut world = World::new();
    let proxy = world.proxy("proxy1", "atlanta.example.com", |_| {});
    let second = world.proxy("proxy2", "biloxi.example.com", |_| {});
    let alice = world.user("alice", "atlanta.example.com", Some(proxy));
    let bob = world.user("bob", "biloxi.example.com", None);
    world.register(bob);
    if !reachable {
        world.sim.partition(second.node, bob.node);
    }
    world.forget();
    let call = world.call(alice, "sip:bob@biloxi.example.com");
    (world, alice, call, bob)
}

fn status_of(cause: &Cause) -> u16 {
    match cause {
        Cause::Rejected(response) => response.status().code(),
        other => panic!("{other:?}"),
    }
}

/// §3.8 Unsuccessful No Answer: Alice gives up. Each hop answers CANCEL by itself and at once (RFC 3261 §9.2), so
/// that the 200 goes before the CANCEL to the next hop, and Bob's 200 before his 487.
#[test]
fn nobody_answers() {
    let (mut world, alice, call, bob) = alice_calls_bob(true);
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    world.hang_up(alice, call);
    assert!(matches!(world.ended(alice), Cause::Cancelled));
    assert!(matches!(world.ended(bob), Cause::CancelledByCaller(_)));
    world.shows(
        "F1 alice -> proxy1 INVITE
         F2 proxy1 -> proxy2 INVITE
         F3 proxy1 -> alice 100
         F4 proxy2 -> bob INVITE
         F5 proxy2 -> proxy1 100
         F6 bob -> proxy2 180
         F7 proxy2 -> proxy1 180
         F8 proxy1 -> alice 180
         F9 alice -> proxy1 CANCEL
         F10 proxy1 -> alice 200
         F11 proxy1 -> proxy2 CANCEL
         F12 proxy2 -> proxy1 200
         F13 proxy2 -> bob CANCEL
         F14 bob -> proxy2 200
         F15 bob -> proxy2 487
         F16 proxy2 -> bob ACK
         F17 proxy2 -> proxy1 487
         F18 proxy1 -> proxy2 ACK
         F19 proxy1 -> alice 487
         F20 alice -> proxy1 ACK",
    );
    world.ends();
}

/// §3.9 Unsuccessful Busy.
#[test]
fn busy() {
    let (mut world, alice, _, bob) = alice_calls_bob(true);
    let incoming = world.incoming(bob).call;
    world.reject(bob, incoming, 486, &[]);
    assert_eq!(status_of(&world.ended(alice)), 486);
    world.shows(
        "F1 alice -> proxy1 INVITE
         F2 proxy1 -> proxy2 INVITE
         F3 proxy1 -> alice 100
         F4 proxy2 -> bob INVITE
         F5 proxy2 -> proxy1 100
         F6 bob -> proxy2 486
         F7 proxy2 -> bob ACK
         F8 proxy2 -> proxy1 486
         F9 proxy1 -> proxy2 ACK
         F10 proxy1 -> alice 486
         F11 alice -> proxy1 ACK",
    );
    world.ends();
}

/// §3.10 Unsuccessful No Response from User Agent. F4 and F6 to F11 are one INVITE, repeated by Timer A. The figure's
/// proxy says 480; RFC 3261 §16.9 has a branch without a response counted as 408, and that is what ours passes on.
#[test]
fn the_user_agent_is_silent() {
    let (mut world, alice, _, bob) = alice_calls_bob(false);
    world.sim.run_for(Duration::from_secs(33));
    assert_eq!(status_of(&world.ended(alice)), 408);
    assert_eq!(world.cut_off(), 7);
    assert_eq!(world.with(bob, |bob, _| bob.calls().count()), 0);
    world.shows(
        "F1 alice -> proxy1 INVITE
         F2 proxy1 -> proxy2 INVITE
         F3 proxy1 -> alice 100
         F4 proxy2 -> bob INVITE
         F5 proxy2 -> proxy1 100
         F12 proxy2 -> proxy1 408
         F13 proxy1 -> proxy2 ACK
         F14 proxy1 -> alice 408
         F15 alice -> proxy1 ACK",
    );
    world.ends();
}

/// §3.11 Unsuccessful Temporarily Unavailable.
#[test]
fn temporarily_unavailable() {
    let (mut world, alice, _, bob) = alice_calls_bob(true);
    let incoming = world.incoming(bob).call;
    world.ring(bob, incoming);
    world.reject(bob, incoming, 480, &[]);
    assert_eq!(status_of(&world.ended(alice)), 480);
    world.shows(
        "F1 alice -> proxy1 INVITE
         F2 proxy1 -> proxy2 INVITE
         F3 proxy1 -> alice 100
         F4 proxy2 -> bob INVITE
         F5 proxy2 -> proxy1 100
         F6 bob -> proxy2 180
         F7 proxy2 -> proxy1 180
         F8 proxy1 -> alice 180
         F9 bob -> proxy2 480
         F10 proxy2 -> bob ACK
         F11 proxy2 -> proxy1 480
         F12 proxy1 -> proxy2 ACK
         F13 proxy1 -> alice 480
         F14 alice -> proxy1 ACK",
    );
    world.ends();
}
