//! RFC 3725: third party call control. Flow I (§4.1, Figure 1) is the one that is recommended where the parties
//! answer at once.

use crate::world::{World, direction, sdp};

/// §4.1, Figure 1: the controller calls A without an offer, offers to B what A offers, and answers A with what B answers.
#[test]
fn flow_one() {
    let mut world = World::new();
    let (a, controller, b) = (world.ua("a"), world.ua("controller"), world.ua("b"));
    let to_a = world.call_with(controller, &a.uri(), None, Vec::new());
    let incoming = world.incoming(a);
    assert!(incoming.request.body().is_empty());
    world.accept_with(a, incoming.call, "sendrecv");
    let offer = world.answered(controller).body().clone();
    let to_b = world.call_with(controller, &b.uri(), Some(sip_dialog::Body::sdp(offer.clone())), Vec::new());
    let reached = world.incoming(b);
    assert_eq!(reached.request.body(), &offer, "B is offered what A offers");
    world.accept_with(b, reached.call, "sendrecv");
    let answer = world.answered(controller).body().clone();
    let body = sip_dialog::Body::sdp(answer.clone());
    world.with(controller, |ua, now| ua.acknowledge(now, to_a, body)).unwrap();
    world.step();
    let ack = world.event(a, |event| match event {
        sip_dialog::Event::Confirmed { ack, .. } => ack,
        _ => None,
    });
    assert_eq!(ack.body(), &answer, "A gets what B answers");
    world.shows(
        "(1) controller -> a INVITE
         (2) a -> controller 200
         (3) controller -> b INVITE
         (4) b -> controller 200
         (5) controller -> b ACK
         (6) controller -> a ACK",
    );
    // §6: one hangs up, the controller ends the other call.
    world.hang_up(b, reached.call);
    world.ended(controller);
    world.hang_up(controller, to_a);
    world.shows(
        "b -> controller BYE/200
         controller -> a BYE/200",
    );
    assert!(world.with(controller, |ua, _| ua.state(to_b)).is_none());
    world.ends();
}

/// §6 (Continued Processing): A changes the session; its re-INVITE is the offer of the controller's to B, and B's
/// answer the answer to A.
#[test]
fn a_reinvite_goes_through_the_controller() {
    let mut world = World::new();
    let (a, controller, b) = (world.ua("a"), world.ua("controller"), world.ua("b"));
    let (to_a, at_a) = world.connect_at_once(controller, a);
    let (to_b, at_b) = world.connect_at_once(controller, b);
    world.forget();
    world.with(a, |ua, now| ua.reinvite(now, at_a, Some(sdp(1, "sendonly")))).unwrap();
    world.step();
    let request = world.event(controller, |event| match event {
        sip_dialog::Event::Reinvited { call, request } if call == to_a => Some(request),
        _ => None,
    });
    assert_eq!(direction(request.body()), "sendonly");
    world.hold((controller, to_b), (b, at_b));
    world.accept_with(controller, to_a, "recvonly");
    world.shows(
        "(1) a -> controller INVITE
         (2) controller -> b INVITE
         (3) b -> controller 200
         controller -> b ACK
         (4) controller -> a 200
         a -> controller ACK
         (5) controller -> a 100",
    );
    world.hang_up(a, at_a);
    world.hang_up(b, at_b);
    world.ends();
}
