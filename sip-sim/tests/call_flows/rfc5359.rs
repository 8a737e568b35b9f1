//! RFC 5359, the services between user agents: music on hold, transfers, conferences, call park, click to dial.
//!
//! Left out: §2.6, a transfer by instant messaging, which tells the dialog in the text of a MESSAGE. Where a call
//! takes the place of another one the figures draw its ACK before the BYE of the other; ours sends that BYE right
//! after the 200 (RFC 3891 §3).

use sip_dialog::{Cause, Refer, refer_to_replacing};

use crate::world::{Ua, World, direction};

fn three() -> (World, Ua, Ua, Ua) {
    let mut world = World::new();
    let actors = (world.ua("alice"), world.ua("bob"), world.ua("carol"));
    (world, actors.0, actors.1, actors.2)
}

/// §2.3 Music on Hold: Bob asks the server to call Alice in his place, and takes the call back later. The dialog of
/// server and Alice, which he names then, is the server's to tell (its NOTIFY in the figure).
#[test]
fn music_on_hold() {
    let (mut world, alice, bob, music) = {
        let mut world = World::new();
        let actors = (world.ua("alice"), world.ua("bob"), world.ua("music"));
        (world, actors.0, actors.1, actors.2)
    };
    let (call, incoming) = world.connect(alice, bob);
    world.hold((bob, incoming), (alice, call));
    let named = world.with(bob, |bob, _| bob.replacing(incoming)).unwrap();
    let to = refer_to_replacing(&alice.uri().parse().unwrap(), &named).unwrap();
    let referred = world.refer_outside(bob, music, Refer::new(to));
    let playing = world.call_replacing(music, referred.to.as_str(), referred.replaces.as_ref().unwrap());
    let taken = world.incoming(alice);
    assert_eq!(taken.replaces, Some(call));
    // Music is heard and not spoken to.
    world.accept_with(alice, taken.call, "recvonly");
    world.report(music, referred.key, 200);
    assert!(matches!(world.ended(bob), Cause::HungUpByPeer(_)));
    assert_eq!(world.told(bob), [200], "the 100 came before the BYE");
    let named = world.with(music, |music, _| music.replacing(playing)).unwrap();
    world.call_replacing(bob, &alice.uri(), &named);
    let back = world.incoming(alice);
    assert_eq!(back.replaces, Some(taken.call));
    world.accept(alice, back.call);
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 180
         F3 bob -> alice 200
         F4 alice -> bob ACK
         F5 bob -> alice INVITE
         F6 alice -> bob 200
         F7 bob -> alice ACK
         F8 bob -> music REFER
         F9 music -> bob 202
         F10 music -> bob NOTIFY
         F11 bob -> music 200
         F12 music -> alice INVITE
         F13 alice -> music 200
         F15 alice -> bob BYE
         F14 music -> alice ACK
         F16 bob -> alice 200
         F17 music -> bob NOTIFY
         F18 bob -> music 200
         F19 bob -> alice INVITE
         F20 alice -> bob 200
         F22 alice -> music BYE
         F21 bob -> alice ACK
         F23 music -> alice 200",
    );
    world.hang_up(alice, back.call);
    world.ends();
}

/// §2.4 Transfer - Unattended: Alice is gone as soon as Bob has agreed.
#[test]
fn unattended_transfer() {
    let (mut world, alice, bob, carol) = three();
    let (_, at_alice) = world.connect(bob, alice);
    let referred = world.refer((alice, at_alice), bob, carol.uri().parse().unwrap());
    world.hang_up(alice, at_alice);
    world.call(bob, referred.to.as_str());
    let incoming = world.incoming(carol).call;
    world.ring(carol, incoming);
    world.accept(carol, incoming);
    world.report(bob, referred.key, 200);
    assert_eq!(world.told(alice), [100, 200]);
    world.shows(
        "F1 bob -> alice INVITE
         F2 alice -> bob 180
         F3 alice -> bob 200
         F4 bob -> alice ACK
         F5 alice -> bob REFER
         F6 bob -> alice 202
         F7 bob -> alice NOTIFY
         F8 alice -> bob 200
         F9 alice -> bob BYE
         F10 bob -> alice 200
         F11 bob -> carol INVITE
         F12 carol -> bob 180
         F13 carol -> bob 200
         F14 bob -> carol ACK
         F15 bob -> alice NOTIFY
         F16 alice -> bob 200",
    );
    world.hang_up(carol, incoming);
    world.ends();
}

/// §2.5 Transfer - Attended.
#[test]
fn attended_transfer() {
    let (mut world, alice, bob, carol) = three();
    let (call, at_bob) = world.connect(alice, bob);
    world.hold((bob, at_bob), (alice, call));
    let (second, at_carol) = world.connect(bob, carol);
    world.hold((bob, second), (carol, at_carol));
    let named = world.with(bob, |bob, _| bob.replacing(second)).unwrap();
    let to = refer_to_replacing(&carol.uri().parse().unwrap(), &named).unwrap();
    let referred = world.refer((bob, at_bob), alice, to);
    world.call_replacing(alice, referred.to.as_str(), referred.replaces.as_ref().unwrap());
    let taken = world.incoming(carol);
    assert_eq!(taken.replaces, Some(at_carol));
    world.accept(carol, taken.call);
    world.report(alice, referred.key, 200);
    world.hang_up(bob, at_bob);
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 180
         F3 bob -> alice 200
         F4 alice -> bob ACK
         F5 bob -> alice INVITE
         F6 alice -> bob 200
         F7 bob -> alice ACK
         F8 bob -> carol INVITE
         F9 carol -> bob 180
         F10 carol -> bob 200
         F11 bob -> carol ACK
         F12 bob -> carol INVITE
         F13 carol -> bob 200
         F14 bob -> carol ACK
         F15 bob -> alice REFER
         F16 alice -> bob 202
         F17 alice -> bob NOTIFY
         F18 bob -> alice 200
         F19 alice -> carol INVITE
         F20 carol -> alice 200
         F22 carol -> bob BYE
         F21 alice -> carol ACK
         F23 bob -> carol 200
         F24 alice -> bob NOTIFY
         F25 bob -> alice 200
         F26 bob -> alice BYE
         F27 alice -> bob 200",
    );
    world.hang_up(carol, taken.call);
    world.ends();
}

/// §2.10 3-Way Conference - Third Party Is Added: Bob, who will mix, tells Alice so by a re-INVITE and calls Carol.
#[test]
fn a_third_party_is_added() {
    let (mut world, alice, bob, carol) = three();
    let (call, at_bob) = world.connect(alice, bob);
    world.resume((bob, at_bob), (alice, call));
    let (third, _) = world.connect(bob, carol);
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 180
         F3 bob -> alice 200
         F4 alice -> bob ACK
         F5 bob -> alice INVITE
         F6 alice -> bob 200
         F7 bob -> alice ACK
         F8 bob -> carol INVITE
         F9 carol -> bob 180
         F10 carol -> bob 200
         F11 bob -> carol ACK",
    );
    assert_eq!(world.with(bob, |bob, _| bob.calls().count()), 2);
    world.hang_up(bob, third);
    world.hang_up(bob, at_bob);
    world.ends();
}

/// §2.11 3-Way Conference - Third Party Joins (RFC 3911).
#[test]
fn a_third_party_joins() {
    let (mut world, alice, bob, carol) = three();
    let (call, at_bob) = world.connect(alice, bob);
    let named = world.with(alice, |alice, _| alice.replacing(call)).unwrap();
    // The same three words name the dialog as in Replaces.
    let mut join = String::new();
    sip_message::Header::write(&named, &mut join);
    let offer = crate::world::sdp(3, "sendrecv");
    world.call_with(carol, &bob.uri(), Some(offer), vec![("Join".into(), join)]);
    let joining = world.incoming(bob);
    assert_eq!((joining.joins, joining.replaces), (Some(at_bob), None));
    world.ring(bob, joining.call);
    world.resume((bob, at_bob), (alice, call));
    world.accept(bob, joining.call);
    assert_eq!(direction(world.answered(carol).body()), "sendrecv");
    world.shows(
        "F1 alice -> bob INVITE
         F2 bob -> alice 180
         F3 bob -> alice 200
         F4 alice -> bob ACK
         F5 carol -> bob INVITE
         F6 bob -> carol 180
         F7 bob -> alice INVITE
         F8 alice -> bob 200
         F9 bob -> alice ACK
         F10 bob -> carol 200
         F11 carol -> bob ACK",
    );
    assert_eq!(world.with(bob, |bob, _| bob.calls().count()), 2, "whoever is joined keeps both calls");
    world.hang_up(bob, joining.call);
    world.hang_up(bob, at_bob);
    world.ends();
}

/// §2.18 Click to Dial: a REFER outside of calls whose sender wants no reports (RFC 4488): the figure shows none.
#[test]
fn click_to_dial() {
    let mut world = World::new();
    let (pc, bob, carol) = (world.ua("pc"), world.ua("bob"), world.ua("carol"));
    let refer = Refer { subscription: false, ..Refer::new(carol.uri().parse().unwrap()) };
    let referred = world.refer_outside(pc, bob, refer);
    assert_eq!(referred.request.headers.text("Refer-Sub"), Some("false"));
    let call = world.call(bob, referred.to.as_str());
    let incoming = world.incoming(carol).call;
    world.ring(carol, incoming);
    world.accept(carol, incoming);
    world.shows(
        "F1 pc -> bob REFER
         F2 bob -> pc 202
         F3 bob -> carol INVITE
         F4 carol -> bob 180
         F5 carol -> bob 200
         F6 bob -> carol ACK",
    );
    world.hang_up(bob, call);
    world.ends();
}
