//! RFC 5589: transfers, with user agents whose Contact is a GRUU, so that each REFER has a dialog of its own and
//! names the call in Target-Dialog; §6.2 is the one without. The figures number the dialogs, and so do we: by
//! Call-ID, in order of appearance.

use sip_dialog::{Cause, Refer, refer_to_replacing};

use crate::world::{Referred, Ua, World, direction};

/// Transferor, transferee and transfer target.
pub(crate) fn actors() -> (World, Ua, Ua, Ua) {
    let mut world = World::new();
    let transferor = world.ua_with_gruu("transferor");
    let transferee = world.ua_with_gruu("transferee");
    let target = world.ua_with_gruu("target");
    (world, transferor, transferee, target)
}

/// Calls whom a REFER named, in the place of the call that it named; the target answers.
pub(crate) fn follow(world: &mut World, referred: &Referred, by: Ua, target: Ua) -> [sip_dialog::CallKey; 2] {
    let to = referred.to.to_string();
    let call = match &referred.replaces {
        Some(replaces) => world.call_replacing(by, &to, replaces),
        None => world.call(by, &to),
    };
    let incoming = world.incoming(target).call;
    world.accept(target, incoming);
    world.answered(by);
    [call, incoming]
}

/// §6.1, Figure 1: Basic Transfer.
#[test]
fn basic_transfer() {
    let (mut world, transferor, transferee, target) = actors();
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let referred = world.refer((transferor, call), transferee, target.uri().parse().unwrap());
    assert_eq!((referred.within, referred.target), (None, Some(called)), "RFC 4538: the call is named");
    let [_, last] = follow(&mut world, &referred, transferee, target);
    world.report(transferee, referred.key, 200);
    assert_eq!(world.told(transferor), [100, 200]);
    world.hang_up(transferor, call);
    world.hang_up(target, last);
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 F3 transferor -> transferee REFER/202
         dialog2 F4 transferee -> transferor NOTIFY/200
         dialog3 F5 transferee -> target INVITE/200/ACK
         dialog2 F6 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee BYE/200
         dialog3 target -> transferee BYE/200",
    );
    world.ends();
}

/// §6.2, Figure 2: Transfer with Dialog Reuse: no GRUU, the REFER goes in the dialog of the call.
#[test]
fn transfer_with_dialog_reuse() {
    let mut world = World::new();
    let (transferor, transferee, target) =
        (world.ua("transferor"), world.ua("transferee"), world.ua("target"));
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let referred = world.refer((transferor, call), transferee, target.uri().parse().unwrap());
    assert_eq!((referred.within, referred.target), (Some(called), None));
    let [_, last] = follow(&mut world, &referred, transferee, target);
    world.report(transferee, referred.key, 200);
    world.hang_up(transferor, call);
    world.hang_up(target, last);
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog1 F3 transferor -> transferee REFER/202
         dialog1 F4 transferee -> transferor NOTIFY/200
         dialog2 F5 transferee -> target INVITE/200/ACK
         dialog1 F6 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee BYE/200
         dialog2 target -> transferee BYE/200",
    );
    world.ends();
}

/// §6.3.1, Figure 3: Target Busy. The first call is taken up again.
#[test]
fn the_target_is_busy() {
    let (mut world, transferor, transferee, target) = actors();
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let referred = world.refer((transferor, call), transferee, target.uri().parse().unwrap());
    world.call(transferee, referred.to.as_str());
    let incoming = world.incoming(target).call;
    world.reject(target, incoming, 486, &[]);
    world.report(transferee, referred.key, 486);
    assert_eq!(world.told(transferor), [100, 486]);
    world.resume((transferor, call), (transferee, called));
    world.hang_up(transferor, call);
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 transferor -> transferee REFER/202
         dialog2 transferee -> transferor NOTIFY/200
         dialog3 transferee -> target INVITE/486/ACK
         dialog2 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog1 transferor -> transferee BYE/200",
    );
    world.ends();
}

/// §6.3.2, Figure 4: Transfer Target Does Not Answer.
#[test]
fn the_target_does_not_answer() {
    let (mut world, transferor, transferee, target) = actors();
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let referred = world.refer((transferor, call), transferee, target.uri().parse().unwrap());
    let given_up = world.call(transferee, referred.to.as_str());
    let incoming = world.incoming(target).call;
    world.ring(target, incoming);
    world.hang_up(transferee, given_up);
    world.report(transferee, referred.key, 487);
    assert_eq!(world.told(transferor), [100, 487]);
    world.resume((transferor, call), (transferee, called));
    world.hang_up(transferor, call);
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 transferor -> transferee REFER/202
         dialog2 transferee -> transferor NOTIFY/200
         dialog3 transferee -> target INVITE/180
         dialog3 transferee -> target CANCEL/200
         dialog3 target -> transferee 487
         dialog3 transferee -> target ACK
         dialog2 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog1 transferor -> transferee BYE/200",
    );
    world.ends();
}

/// §7.1, Figure 5: Exposing Transfer Target: a call to the target first, which ends before the transfer.
#[test]
fn consultation_then_a_transfer_that_exposes_the_target() {
    let (mut world, transferor, transferee, target) = actors();
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let (consulting, _) = world.connect_at_once(transferor, target);
    world.hang_up(transferor, consulting);
    let referred = world.refer((transferor, call), transferee, target.uri().parse().unwrap());
    let [_, last] = follow(&mut world, &referred, transferee, target);
    world.report(transferee, referred.key, 200);
    world.hang_up(transferor, call);
    world.hang_up(target, last);
    world.shows(
        "dialog1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 transferor -> target INVITE/200/ACK
         dialog2 transferor -> target BYE/200
         dialog3 transferor -> transferee REFER/202
         dialog3 transferee -> transferor NOTIFY/200
         dialog4 transferee -> target INVITE/200/ACK
         dialog3 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee BYE/200
         dialog4 target -> transferee BYE/200",
    );
    world.ends();
}

/// §7.2, Figure 6: Protecting Transfer Target: the target is asked to call the transferee, in the place of the first
/// call.
#[test]
fn the_target_calls_in_the_place_of_the_first_call() {
    let (mut world, transferor, transferee, target) = actors();
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let (consulting, consulted) = world.connect_at_once(transferor, target);
    world.hold((transferor, consulting), (target, consulted));
    let named = world.with(transferor, |ua, _| ua.replacing(call)).unwrap();
    let to = refer_to_replacing(&transferee.uri().parse().unwrap(), &named).unwrap();
    let referred = world.refer((transferor, consulting), target, to);
    assert_eq!(referred.target, Some(consulted));
    let [last, replacing] = follow(&mut world, &referred, target, transferee);
    assert!(matches!(world.ended(transferee), Cause::ReplacedBy(by) if by == replacing));
    world.report(target, referred.key, 200);
    world.hang_up(transferor, consulting);
    world.hang_up(target, last);
    // The figure has the transferee hang up in the end: either may.
    world.shows(
        "dialog1 F1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 F3 transferor -> target INVITE/200/ACK
         dialog2 transferor -> target INVITE/200/ACK
         dialog3 F5 transferor -> target REFER/202
         dialog3 target -> transferor NOTIFY/200
         dialog4 F6 target -> transferee INVITE/200
         dialog1 transferee -> transferor BYE
         dialog4 target -> transferee ACK
         dialog1 transferor -> transferee 200
         dialog3 target -> transferor NOTIFY/200
         dialog2 transferor -> target BYE/200
         dialog4 target -> transferee BYE/200",
    );
    world.ends();
}

/// §7.3, Figure 7: Attended Transfer. §8, Figure 16 is the same ladder, with a Referred-By that goes from the REFER
/// to the INVITE (RFC 3892); its signed token is left out.
#[test]
fn attended_transfer_with_referred_by() {
    let (mut world, transferor, transferee, target) = actors();
    let (called, call) = world.connect_at_once(transferee, transferor);
    world.hold((transferor, call), (transferee, called));
    let (consulting, consulted) = world.connect_at_once(transferor, target);
    world.hold((transferor, consulting), (target, consulted));
    let named = world.with(transferor, |ua, _| ua.replacing(consulting)).unwrap();
    let to = refer_to_replacing(&target.uri().parse().unwrap(), &named).unwrap();
    let by = format!("<{}>", transferor.uri());
    let mut refer = Refer::new(to);
    refer.fields = vec![("Referred-By".into(), by.clone())];
    world.with(transferor, |ua, now| ua.refer(now, call, refer)).unwrap();
    world.step();
    let referred = world.referred(transferee);
    world.with(transferee, |ua, now| ua.accept_refer(now, referred.key)).unwrap();
    world.step();
    assert_eq!(referred.target, Some(called));
    let mut replaces = String::new();
    sip_message::Header::write(referred.replaces.as_ref().unwrap(), &mut replaces);
    let fields = vec![
        ("Replaces".into(), replaces),
        ("Referred-By".into(), referred.request.headers.text("Referred-By").unwrap().into()),
    ];
    let last = world.call_with(transferee, referred.to.as_str(), None, fields);
    let incoming = world.incoming(target);
    assert_eq!(incoming.replaces, Some(consulted));
    assert_eq!(incoming.request.headers.text("Referred-By"), Some(by.as_str()));
    world.accept(target, incoming.call);
    // Without an offer in the INVITE the 200 has one, and the ACK the answer.
    assert_eq!(direction(world.answered(transferee).body()), "sendrecv");
    world.with(transferee, |ua, now| ua.acknowledge(now, last, crate::world::sdp(2, "sendrecv"))).unwrap();
    world.step();
    assert!(matches!(world.ended(target), Cause::ReplacedBy(by) if by == incoming.call));
    world.report(transferee, referred.key, 200);
    assert_eq!(world.told(transferor), [100, 200]);
    world.hang_up(transferor, call);
    world.hang_up(target, incoming.call);
    world.shows(
        "dialog1 F1 transferee -> transferor INVITE/200/ACK
         dialog1 transferor -> transferee INVITE/200/ACK
         dialog2 F3 transferor -> target INVITE/200/ACK
         dialog2 transferor -> target INVITE/200/ACK
         dialog3 F5 transferor -> transferee REFER/202
         dialog3 transferee -> transferor NOTIFY/200
         dialog4 F6 transferee -> target INVITE/200
         dialog2 target -> transferor BYE/200
         dialog4 transferee -> target ACK
         dialog3 transferee -> transferor NOTIFY/200
         dialog1 transferor -> transferee BYE/200
         dialog4 target -> transferee BYE/200",
    );
    world.ends();
}
