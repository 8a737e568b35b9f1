//! GRUUs at registrar and proxy: RFC 5627 §5, §6.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::headers::Contact;
use sip_message::{Response, Uri};
use world::{ALICE, BOB, BOB2, World, names, only};

const DESK: &str = "urn:uuid:00000000-0000-4000-8000-000000000001";
const SOFT: &str = "urn:uuid:00000000-0000-4000-8000-000000000002";

/// Bob's phone registers; its Contact in the answer.
fn register(world: &mut World, at: &str, instance: &str, call_id: &str, extra: &str) -> Contact {
    let contact = format!("<sip:bob@{at}>;+sip.instance=\"<{instance}>\"");
    let lines = format!("Call-ID: {call_id}\r\nSupported: gruu\r\n{extra}");
    let ok = world.register("bob", &contact, &lines);
    assert_eq!(ok.status().code(), 200);
    contact_of(&ok, at)
}

fn contact_of(ok: &Response, at: &str) -> Contact {
    let mut all = ok.headers.all::<Contact>().map(Result::unwrap);
    all.find(|contact| contact.uri().unwrap().host_port() == at).unwrap()
}

fn gruus(contact: &Contact) -> (Uri, Uri) {
    let address = contact.address().unwrap();
    (address.pub_gruu().unwrap(), address.temp_gruu().unwrap())
}

/// Where a request to this URI goes, or the status that it gets.
fn reaches(world: &mut World, uri: &Uri) -> Vec<String> {
    let text = world.request(ALICE, "MESSAGE", &uri.to_string(), "");
    let sent = world.udp(ALICE, text);
    sent.iter().map(|one| if one.name() == "MESSAGE" { one.to() } else { one.name() }).collect()
}

/// §5.2: public and temporary, to phones that know of them.
#[test]
fn a_phone_is_told_its_gruus() {
    let mut world = World::new();
    let (public, temporary) = gruus(&register(&mut world, BOB, DESK, "1", ""));
    assert_eq!(public.to_string(), format!("sip:bob@example.com;gr={DESK}"));
    assert!(temporary.is_gruu() && temporary.gruu_instance().is_none());
    assert!(!temporary.to_string().contains("bob"), "{temporary}");
    // Each answer has a new temporary one, and the old one goes on being good.
    let (again, newer) = gruus(&register(&mut world, BOB, DESK, "1", ""));
    assert_eq!(again, public);
    assert_ne!(newer, temporary);
    for gruu in [&public, &temporary, &newer] {
        assert_eq!(reaches(&mut world, gruu), [BOB]);
    }
    // What a phone itself writes there is ignored, and one that knows of none is told none.
    let own =
        format!("<sip:bob@{BOB2}>;+sip.instance=\"<{SOFT}>\";pub-gruu=\"sip:eve@example.com;gr=urn:x:y\"");
    let ok = world.register("bob", &own, "");
    let soft = contact_of(&ok, BOB2);
    assert!(soft.address().unwrap().pub_gruu().is_none(), "{soft}");
}

/// §6.1: a GRUU means one of the phones, the address-of-record all.
#[test]
fn a_gruu_leads_to_its_own_phone() {
    let mut world = World::new();
    let desk = gruus(&register(&mut world, BOB, DESK, "1", ""));
    let soft = gruus(&register(&mut world, BOB2, SOFT, "2", ""));
    let mut all = reaches(&mut world, &"sip:bob@example.com".parse().unwrap());
    all.sort();
    assert_eq!(all, [BOB, BOB2]);
    for (gruus, at) in [(desk, BOB), (soft, BOB2)] {
        assert_eq!(reaches(&mut world, &gruus.0), [at]);
        assert_eq!(reaches(&mut world, &gruus.1), [at]);
    }
    let mut text = world.request(ALICE, "INVITE", &format!("sip:bob@example.com;gr={DESK}"), "");
    text = text.replace("sip:bob@example.com>", "sip:bob@example.com>;x=y");
    let sent = world.udp(ALICE, text);
    assert_eq!(only(&sent, "INVITE").request().uri_text(), format!("sip:bob@{BOB}"), "gr is not carried on");
}

/// §5.1: a phone that registers anew, with another Call-ID, has lost its old temporary GRUUs; §5.3: they end with the binding.
#[test]
fn temporary_gruus_end_with_their_registration_and_public_ones_do_not() {
    let mut world = World::new();
    let (public, temporary) = gruus(&register(&mut world, BOB, DESK, "1", ""));
    let (_, newer) = gruus(&register(&mut world, BOB, DESK, "2", ""));
    assert_eq!(reaches(&mut world, &temporary), ["404"]);
    assert_eq!(reaches(&mut world, &newer), [BOB]);
    assert_eq!(reaches(&mut world, &public), [BOB]);
    world.register("bob", "*", "Expires: 0\r\nCall-ID: 2\r\n");
    assert_eq!(reaches(&mut world, &newer), ["404"]);
    assert_eq!(reaches(&mut world, &public), ["404"], "without a list of users nobody is known");
    register(&mut world, BOB, DESK, "3", "");
    assert_eq!(reaches(&mut world, &public), [BOB]);
    assert_eq!(reaches(&mut world, &"sip:tgruu.AAAA@example.com;gr".parse().unwrap()), ["404"]);
}

/// §5.1: "since this would cause a routing loop".
#[test]
fn a_phone_that_is_reached_by_itself_is_refused() {
    let mut world = World::new();
    let (public, temporary) = gruus(&register(&mut world, BOB, DESK, "1", ""));
    let itself: Uri = "sip:bob@example.com".parse().unwrap();
    for uri in [&public, &temporary, &itself] {
        let contact = format!("<{uri}>;+sip.instance=\"<{SOFT}>\"");
        assert_eq!(world.register("bob", &contact, "Supported: gruu\r\n").status().code(), 403, "{uri}");
    }
    assert_eq!(world.core.bindings(), 1);
}

/// A phone that calls with its GRUU as Contact is reached in the dialog, also by ACK.
#[test]
fn requests_in_a_dialog_reach_the_phone_by_its_gruu() {
    let mut world = World::new();
    let (public, _) = gruus(&register(&mut world, BOB, DESK, "1", ""));
    register(&mut world, BOB2, SOFT, "2", "");
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", "");
    let sent = world.udp(ALICE, text);
    let desk = sent.iter().find(|one| one.to() == BOB).unwrap();
    let sent = world.answer(desk, 200, &format!("Contact: <{public}>"));
    let ok = only(&sent, "200").response().clone();
    let route = ok.headers.text("Record-Route").unwrap();
    let lines = format!(
        "Route: {route}\r\nTo: {}\r\nCall-ID: {}\r\n",
        ok.headers.text("To").unwrap(),
        ok.headers.text("Call-ID").unwrap()
    );
    for method in ["ACK", "BYE"] {
        let text = world.request(ALICE, method, &public.to_string(), &lines);
        let sent = world.udp(ALICE, text);
        assert_eq!((names(&sent), sent[0].to()), (vec![method.to_owned()], BOB.to_owned()));
    }
}
