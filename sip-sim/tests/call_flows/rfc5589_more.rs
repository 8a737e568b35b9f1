//! RFC 5589 §7.4 to §7.7: transfers where something is missing.
//!
//! Left out: §9 to §11, where one user agent is in two roles of the flows that are here.

use sip_dialog::{Cause, Event, refer_to_replacing};
use sip_message::Method;
use sip_sim::Script;

use crate::rfc5589::{actors, follow};
use crate::world::World;

/// §7.4, Figure 8: Recovery When One Party Does Not Support REFER: the other party is asked. A user agent of ours
/// without REFER says 405 with its Allow (RFC 3261 §8.2.1), where the figure's says 501.
#[test]
fn the_transferee_does_not_know_refer() {
    let mut world = World::new();
    let transferor = world.ua("transferor");
    let transferee =
        world.ua_with("transferee", |config| config.allow.retain(|method| *method != Method::Refer));
    let target = world.ua("target");
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let (consulting, consulted) = world.connect_at_once(transferor, target);
    world.hold((transferor, consulting), (target, consulted));
    let named = |world: &mut World, call| world.with(transferor, |ua, _| ua.replacing(call)).unwrap();
    let of_target = named(&mut world, consulting);
    let to = refer_to_replacing(&target.uri().parse().unwrap(), &of_target).unwrap();
    world.with(transferor, |ua, now| ua.refer(now, call, sip_dialog::Refer::new(to))).unwrap();
    world.step();
    let of_transferee = named(&mut world, call);
    let to = refer_to_replacing(&transferee.uri().parse().unwrap(), &of_transferee).unwrap();
    let referred = world.refer((transferor, consulting), target, to);
    let [last, _] = follow(&mut world, &referred, target, transferee);
    world.report(target, referred.key, 200);
    world.hang_up(transferor, consulting);
    world.hang_up(target, last);
    // Without GRUUs the REFERs go in the dialogs of the calls, as in §6.2. The BYE of the call that is replaced goes
    // out with the 200 of the one that replaces it (RFC 3891 §3), before the NOTIFY.
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 transferor -> target INVITE/200/ACK
         dialog2 transferor -> target INVITE/200/ACK
         dialog1 transferor -> transferee REFER/405
         dialog2 transferor -> target REFER/202
         dialog2 target -> transferor NOTIFY/200
         dialog3 target -> transferee INVITE/200
         dialog1 transferee -> transferor BYE
         dialog3 target -> transferee ACK
         dialog1 transferor -> transferee 200
         dialog2 target -> transferor NOTIFY/200
         dialog2 transferor -> target BYE/200
         dialog3 target -> transferee BYE/200",
    );
    world.ends();
}

/// §7.5, Figures 9 and 10: Attended Transfer When Contact URI Is Not Known to Route: first by the target's address of
/// record, where a screening proxy refuses, then by its Contact. The proxy of the figure passes the second INVITE;
/// here the Contact leads to the target itself.
#[test]
fn by_the_address_of_record_and_then_by_the_contact() {
    let mut world = World::new();
    let (transferor, transferee, target) =
        (world.ua("transferor"), world.ua("transferee"), world.ua("target"));
    let screen = Script::new("192.0.2.9:5060").expect("INVITE").reply(403).expect("ACK");
    let screen = world.sim.add_script("screen", screen);
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let (consulting, consulted) = world.connect_at_once(transferor, target);
    world.hold((transferor, consulting), (target, consulted));
    let named = world.with(transferor, |ua, _| ua.replacing(consulting)).unwrap();
    let by_address = refer_to_replacing(&"sip:target@192.0.2.9".parse().unwrap(), &named).unwrap();
    let first = world.refer((transferor, call), transferee, by_address);
    world.call_replacing(transferee, first.to.as_str(), first.replaces.as_ref().unwrap());
    let Cause::Rejected(response) = world.ended(transferee) else { panic!() };
    world.report(transferee, first.key, response.status().code());
    assert_eq!(world.told(transferor), [100, 403]);
    let by_contact = refer_to_replacing(&target.uri().parse().unwrap(), &named).unwrap();
    let second = world.refer((transferor, call), transferee, by_contact);
    let [_, last] = follow(&mut world, &second, transferee, target);
    world.report(transferee, second.key, 200);
    assert_eq!(world.told(transferor), [100, 200], "the second subscription is told from the first");
    world.hang_up(transferor, call);
    world.hang_up(target, last);
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 F1 transferor -> target INVITE/200/ACK
         dialog2 transferor -> target INVITE/200/ACK
         dialog1 F3 transferor -> transferee REFER/202
         dialog1 transferee -> transferor NOTIFY/200
         dialog3 transferee -> screen INVITE/403/ACK
         dialog1 F4 transferee -> transferor NOTIFY/200
         dialog1 F5 transferor -> transferee REFER/202
         dialog1 transferee -> transferor NOTIFY/200
         dialog4 F6 transferee -> target INVITE/200
         dialog2 target -> transferor BYE
         dialog4 transferee -> target ACK
         dialog2 transferor -> target 200
         dialog1 F7 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee BYE/200
         dialog4 target -> transferee BYE/200",
    );
    world.sim.node(screen).assert_done();
    world.ends();
}

/// §7.6, Figure 11: Recommended Semi-Attended Transfer: the transferor has gone, its user agent waits until the
/// target answers and transfers then. The figures 12 and 13 are not recommended: an early dialog cannot be replaced
/// by any but its caller's party (RFC 3891 §3).
#[test]
fn semi_attended_transfer() {
    let (mut world, transferor, transferee, target) = actors();
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let consulting = world.call(transferor, &target.uri());
    let consulted = world.incoming(target).call;
    world.ring(target, consulted);
    let early = world.with(transferor, |ua, _| ua.replacing(consulting));
    assert_eq!(early, None, "nothing to transfer to before the answer");
    world.accept(target, consulted);
    let named = world.with(transferor, |ua, _| ua.replacing(consulting)).unwrap();
    let to = refer_to_replacing(&target.uri().parse().unwrap(), &named).unwrap();
    let referred = world.refer((transferor, call), transferee, to);
    let [_, last] = follow(&mut world, &referred, transferee, target);
    assert!(matches!(world.ended(target), Cause::ReplacedBy(_)));
    world.report(transferee, referred.key, 200);
    world.hang_up(transferor, call);
    world.hang_up(target, last);
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 transferor -> target INVITE/180/200/ACK
         dialog3 transferor -> transferee REFER/202
         dialog3 transferee -> transferor NOTIFY/200
         dialog4 transferee -> target INVITE/200
         dialog2 target -> transferor BYE
         dialog4 transferee -> target ACK
         dialog2 transferor -> target 200
         dialog3 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee BYE/200
         dialog4 target -> transferee BYE/200",
    );
    world.ends();
}

/// §7.7, Figure 14: Attended Transfer Fallback to Basic Transfer: the target does not know Replaces and says so to
/// `Require: replaces` (420, RFC 3261 §8.2.2.3); the transferee, asked by OPTIONS, knows REFER, and is sent to the
/// target as to anybody.
#[test]
fn fallback_to_a_basic_transfer() {
    let mut world = World::new();
    let (transferor, transferee) = (world.ua("transferor"), world.ua("transferee"));
    let target = world.ua_with("target", |config| config.supported.retain(|tag| tag != "replaces"));
    let (called, call) = world.connect_at_once(transferee, transferor);
    let asked =
        world.with(transferor, |ua, now| ua.request_in_call(now, call, Method::Options, None)).unwrap();
    world.step();
    world.answers_options(transferee);
    let can = world.event(transferor, |event| match event {
        Event::Response { key, result, .. } if key == asked => result.ok(),
        _ => None,
    });
    assert!(can.headers.text("Allow").unwrap().contains("REFER"));
    world.hold((transferor, call), (transferee, called));
    let require = vec![("Require".into(), "replaces".into())];
    world.call_with(transferor, &target.uri(), None, require);
    let Cause::Rejected(response) = world.ended(transferor) else { panic!() };
    assert_eq!(response.headers.text("Unsupported"), Some("replaces"));
    let referred = world.refer((transferor, call), transferee, target.uri().parse().unwrap());
    let [_, last] = follow(&mut world, &referred, transferee, target);
    world.report(transferee, referred.key, 200);
    world.hang_up(transferor, call);
    world.hang_up(target, last);
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee OPTIONS/200
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 transferor -> target INVITE/420/ACK
         dialog1 transferor -> transferee REFER/202
         dialog1 transferee -> transferor NOTIFY/200
         dialog3 transferee -> target INVITE/200/ACK
         dialog1 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee BYE/200
         dialog3 target -> transferee BYE/200",
    );
    world.ends();
}
