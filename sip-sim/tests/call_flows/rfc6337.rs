//! RFC 6337: offer and answer where provisional responses are reliable (RFC 3262) and both sides may begin.
//!
//! Here as ladders are the figures of §3.1 and the glare of §4.2; the tables of all crossings are in `sip-dialog`,
//! message by message.

use std::time::Duration;

use sip_dialog::{Described, Event, ReliableProvisionals};
use sip_message::StatusCode;

use crate::world::{Ua, World, direction, sdp};

fn pair() -> (World, Ua, Ua) {
    let mut world = World::new();
    let uac = world.ua("uac");
    let uas = world.ua_with("uas", |config| config.reliable = ReliableProvisionals::All);
    (world, uac, uas)
}

/// What the next provisional response brings.
fn progress(world: &mut World, ua: Ua) -> (Described, sip_dialog::DialogId) {
    world.event(ua, |event| match event {
        Event::Progress { described, dialog: Some(dialog), .. } => Some((described, dialog)),
        _ => None,
    })
}

/// §3.1.1, Figure 1, without its unreliable preview (F2) and the empty reliable response after it (F3 to F5): the
/// answer is in the first reliable response, and in no other.
#[test]
fn invite_with_an_offer() {
    let (mut world, uac, uas) = pair();
    let call = world.call(uac, &uas.uri());
    let incoming = world.incoming(uas).call;
    let ring = |world: &mut World, status, body| {
        world.with(uas, |ua, now| ua.ring(now, incoming, status, body)).unwrap();
        world.step();
    };
    ring(&mut world, StatusCode::SESSION_PROGRESS, Some(sdp(2, "sendrecv")));
    assert_eq!(progress(&mut world, uac).0, Described::Answer);
    ring(&mut world, StatusCode::RINGING, None);
    assert_eq!(progress(&mut world, uac).0, Described::Nothing);
    world.with(uas, |ua, now| ua.accept(now, incoming, None)).unwrap();
    world.step();
    assert!(world.answered(uac).body().is_empty(), "the 200 says nothing new");
    world.shows(
        "F1 uac -> uas INVITE
         F6 uas -> uac 183
         F7 uac -> uas PRACK
         F8 uas -> uac 200
         F9 uas -> uac 180
         F10 uac -> uas PRACK
         F11 uas -> uac 200
         F12 uas -> uac 200
         F13 uac -> uas ACK",
    );
    world.hang_up(uac, call);
    world.ends();
}

/// §3.1.2, Figure 2, without its unreliable response (F2): the offer is in the first reliable response, the answer in
/// its PRACK.
#[test]
fn invite_without_an_offer() {
    let (mut world, uac, uas) = pair();
    let call = world.call_with(uac, &uas.uri(), None, Vec::new());
    let incoming = world.incoming(uas).call;
    let offer = Some(sdp(2, "sendonly"));
    world.with(uas, |ua, now| ua.ring(now, incoming, StatusCode::SESSION_PROGRESS, offer)).unwrap();
    world.step();
    let (described, dialog) = progress(&mut world, uac);
    assert_eq!(described, Described::Offer);
    let answer = sdp(1, "recvonly");
    world.with(uac, |ua, now| ua.acknowledge_provisional(now, call, &dialog, answer)).unwrap();
    world.step();
    let prack = world.event(uas, |event| match event {
        Event::ProvisionalAcknowledged { prack, described: Described::Answer, .. } => Some(prack),
        _ => None,
    });
    assert_eq!(direction(prack.body()), "recvonly");
    world.ring(uas, incoming);
    world.with(uas, |ua, now| ua.accept(now, incoming, None)).unwrap();
    world.step();
    assert!(world.answered(uac).body().is_empty());
    world.shows(
        "F1 uac -> uas INVITE
         F3 uas -> uac 183
         F4 uac -> uas PRACK
         F5 uas -> uac 200
         F6 uas -> uac 180
         F7 uac -> uas PRACK
         F8 uas -> uac 200
         F9 uas -> uac 200
         F10 uac -> uas ACK",
    );
    world.hang_up(uac, call);
    world.ends();
}

/// §4.2, Figure 10, with two re-INVITEs: both are refused with 491, and who began the call waits longer (RFC 3261
/// §14.1), so that the other one's second attempt comes through.
#[test]
fn two_reinvites_cross() {
    let (mut world, uac, uas) = pair();
    let (call, incoming) = world.connect_at_once(uac, uas);
    world.forget();
    for (ua, call) in [(uac, call), (uas, incoming)] {
        let offer = sdp(ua.host(), "sendonly");
        world.with(ua, |ua, now| ua.reinvite(now, call, Some(offer))).unwrap();
    }
    world.step();
    for ua in [uac, uas] {
        let status = world.event(ua, |event| match event {
            Event::ReinviteFailed { status, .. } => Some(status),
            _ => None,
        });
        assert_eq!(status, StatusCode::REQUEST_PENDING);
    }
    // The callee's time is at most two seconds, the caller's at least 2.1.
    world.sim.run_for(Duration::from_millis(2000));
    world.event(uas, |event| matches!(event, Event::ReinviteRetry { .. }).then_some(()));
    world.hold((uas, incoming), (uac, call));
    world.shows(
        "uac -> uas INVITE
         uas -> uac INVITE
         uas -> uac 491
         uac -> uas 491
         uac -> uas ACK
         uas -> uac ACK
         uas -> uac INVITE/200/ACK",
    );
    world.sim.run_for(Duration::from_secs(3));
    world.event(uac, |event| matches!(event, Event::ReinviteRetry { .. }).then_some(()));
    world.hang_up(uac, call);
    world.ends();
}

/// RFC 3262 §3: a caller that cannot take reliable responses gets none, whatever the callee is set to.
#[test]
fn a_caller_without_100rel() {
    let mut world = World::new();
    let uac = world.ua_with("uac", |config| config.supported.retain(|tag| tag != "100rel"));
    let uas = world.ua_with("uas", |config| config.reliable = ReliableProvisionals::All);
    let (call, _) = world.connect(uac, uas);
    world.hang_up(uac, call);
    world.shows(
        "uac -> uas INVITE/180/200/ACK
         uac -> uas BYE/200",
    );
    world.ends();
}
