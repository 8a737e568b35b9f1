//! What a server holds for a binding, for a call that rings and for a call that stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::print_stdout)] // the figures are what one runs it for

mod world;

use bytes::Bytes;
use sip_message::{Limits, Request};
use world::{ALICE, BOB, World, only, response_text};

const SDP: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.11\r\ns=-\r\nc=IN IP4 192.0.2.11\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

/// What `make` leaves, for each of so many, tables and timers included.
fn each(what: &str, count: usize, make: impl FnOnce()) -> i64 {
    let each = allocation_counter::measure(make).bytes_current / count as i64;
    println!("{what}: {each} octets each, of {count}");
    each
}

fn register(world: &mut World, count: usize, of: &str) {
    for number in 0..count {
        let line = format!(
            "Call-ID: {number:08x}-8a53-4f0c-b1f4-6d2f{number:08x}\r\nExpires: 7200\r\nUser-Agent: a phone of the usual kind\r\n"
        );
        let contact =
            format!("<sip:{of}{number}@10.0.{}.{}:5060;transport=udp>", number / 250 % 250, number % 250);
        assert_eq!(world.register(&format!("{of}{number}"), &contact, &line).status().code(), 200);
    }
}

#[test]
fn a_binding_takes_less_than_400_octets() {
    const BINDINGS: usize = 20_000;
    let mut world = World::of_one_core(|config| config.limits.bindings = 200_000);
    let binding = each("a binding", BINDINGS, || {
        // In parts, so that not all transactions live at a time; in the end all are over.
        for part in ["a", "b", "c", "d", "e"] {
            register(&mut world, BINDINGS / 5, part);
            world.seconds(40);
        }
    });
    assert_eq!((world.core.live_server(), world.core.armed_timers()), (0, 0));
    assert!(binding <= 400, "{binding} octets");
}

/// A call with a description of its sound, from one who is not ours to one who is: what comes out of the server.
fn invited(world: &mut World, number: usize) -> Bytes {
    let extra = format!(
        "Call-ID: {number:08x}@192.0.2.11\r\nContact: <sip:alice@192.0.2.11>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n",
        SDP.len()
    );
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", &extra) + SDP;
    let sent = world.udp(ALICE, text);
    only(&sent, "INVITE").transmit.payload.clone()
}

fn answered(world: &mut World, invite: &Bytes, status: u16) {
    let invite = Request::parse(invite.clone(), &Limits::default()).unwrap();
    let sent = world.udp(BOB, response_text(&invite, status, "Contact: <sip:bob@192.0.2.12>"));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].response().status().code(), status);
}

#[test]
fn a_call_that_rings_takes_less_than_4_kib_and_one_that_stands_nothing() {
    const CALLS: usize = 10_000;
    let mut world = World::of_one_core(|_| {});
    assert_eq!(world.register("bob", "<sip:bob@192.0.2.12:5060>", "").status().code(), 200);
    let mut ringing = Vec::with_capacity(CALLS);
    let ring = |world: &mut World, ringing: &mut Vec<Bytes>| {
        for number in 0..CALLS {
            let invite = invited(world, number);
            answered(world, &invite, 180);
            ringing.push(invite);
        }
    };
    let answer = |world: &mut World, ringing: &mut Vec<Bytes>| {
        for invite in ringing.drain(..) {
            answered(world, &invite, 200);
        }
        world.seconds(64);
    };
    let rings = each("a call that rings", CALLS, || ring(&mut world, &mut ringing));
    assert!(rings <= 4_096, "{rings} octets");
    answer(&mut world, &mut ringing);
    // The places of the first calls in tables are there for the next.
    let stands = each("a call that stands", CALLS, || {
        ring(&mut world, &mut ringing);
        answer(&mut world, &mut ringing);
    });
    world.assert_nothing_left();
    assert!(stands <= 16, "{stands} octets");
}
