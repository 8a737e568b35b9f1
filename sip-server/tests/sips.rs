//! `sips` at registrar and proxy: RFC 5630 §5.2, §5.3, and RFC 3261 §16.6 for Record-Route.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::headers::RecordRoute;
use sip_transport::{Local, Locals, Transport};
use world::{ALICE, BOB, SERVER, World};

const TLS: &str = "192.0.2.1:5061";

/// A server with a TLS listener beside its others.
fn secure() -> World {
    World::with(|config| {
        let tls = Local::new(Transport::Tls, TLS.parse().unwrap()).advertise("proxy.example.com", 5061);
        let all: Vec<Local> = world::locals().iter().cloned().chain([tls]).collect();
        config.locals = Locals::new(all);
    })
}

/// REGISTER over TLS from bob's phone. Gives the status.
fn register(world: &mut World, uri: &str, contact: &str, more: &str) -> u16 {
    let extra = format!(
        "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: {contact}\r\nSupported: path\r\n{more}"
    );
    let text = world.request(BOB, "REGISTER", uri, &extra).replacen("SIP/2.0/UDP", "SIP/2.0/TLS", 1);
    let sent = world.arrives(Transport::Tls, BOB, 7, text);
    sent.last().unwrap().response().status().code()
}

/// RFC 5630 §5.2: a secure binding needs a secure way throughout; From and To may be `sip`.
#[test]
fn a_sips_contact_is_bound_only_if_all_the_rest_is_sips() {
    let mut world = secure();
    assert_eq!(register(&mut world, "sips:example.com", "<sips:bob@192.0.2.12:5061>", ""), 200);
    assert_eq!(register(&mut world, "sip:example.com", "<sips:bob@192.0.2.12:5061>", ""), 400);
    let both = "<sips:bob@192.0.2.12:5061>, <sip:bob@192.0.2.12>";
    assert_eq!(register(&mut world, "sips:example.com", both, ""), 400);
    let path = "Path: <sip:edge.example.com;lr>\r\n";
    assert_eq!(register(&mut world, "sips:example.com", "<sips:bob@192.0.2.12:5061>", path), 400);
    let path = "Path: <sips:edge.example.com;lr>\r\n";
    assert_eq!(register(&mut world, "sips:example.com", "<sips:bob@192.0.2.12:5061>", path), 200);
    assert_eq!(register(&mut world, "sips:example.com", "<sip:bob@192.0.2.12>", ""), 200);
}

/// RFC 5630 §5.3: no last hop without TLS.
#[test]
fn a_sips_request_does_not_go_to_who_registered_with_sip() {
    let mut world = secure();
    assert_eq!(register(&mut world, "sip:example.com", "<sip:bob@192.0.2.12>", ""), 200);
    let invite = world.request(ALICE, "INVITE", "sips:bob@example.com", "");
    let sent = world.arrives(Transport::Tls, ALICE, 8, invite);
    let refused = sent.last().unwrap().response();
    assert_eq!(refused.status().code(), 480);
    assert_eq!(refused.headers.text("Warning"), Some("380 192.0.2.1 \"SIPS Not Allowed\""));
}

/// RFC 5630 §5.3: for `sip` the scheme of the binding is changed, and TLS is used all the same. RFC 3261 §16.6 step 4: our
/// Record-Route has the scheme of the request.
#[test]
fn who_registered_with_sips_is_reached_over_tls_for_both_schemes() {
    for (uri, scheme) in [("sip:bob@example.com", "sip:"), ("sips:bob@example.com", "sips:")] {
        let mut world = secure();
        assert_eq!(register(&mut world, "sips:example.com", "<sips:bob@192.0.2.12:5061>", ""), 200);
        let invite = world.request(ALICE, "INVITE", uri, "");
        let (transport, flow) = if scheme == "sip:" { (Transport::Udp, 1) } else { (Transport::Tls, 8) };
        let sent = world.arrives(transport, ALICE, flow, invite);
        let forwarded = sent.iter().find(|sent| sent.message.as_request().is_some()).unwrap();
        assert_eq!(forwarded.transmit.path.transport, Transport::Tls);
        let request = forwarded.request();
        assert_eq!(request.uri_text(), format!("{scheme}bob@192.0.2.12:5061"));
        let routes: Vec<RecordRoute> = request.headers.all::<RecordRoute>().map(Result::unwrap).collect();
        // The first is for the far end: its flow over TLS. The second is for where the request came from.
        assert_eq!(routes.len(), 2, "{routes:?}");
        let first = routes[0].uri();
        assert_eq!(format!("{}:", first.scheme()), scheme);
        assert!(first.host_port() == "proxy.example.com:5061" && first.user().is_some(), "{first}");
        let second = routes[1].uri().to_string();
        let came_in = if scheme == "sip:" { SERVER } else { "proxy.example.com:5061" };
        assert!(second.starts_with(&format!("{scheme}{came_in}")), "{second}");
    }
}
