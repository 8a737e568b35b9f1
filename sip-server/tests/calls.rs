//! Call records: what is written down of a call, by hand and in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::Duration;

use sip_message::headers::RecordRoute;
use sip_message::{Limits, Request, Response};
use sip_server::calls::{CallLimits, CallRecord, Ending};
use sip_server::{Config, Users};
use world::{ALICE, BOB, Sent, World, only};

const TO_BOB: &str = "sip:bob@example.com";

fn following(change: impl FnOnce(&mut Config)) -> World {
    registered(World::with(|config| {
        config.call_records = Some(CallLimits::default());
        change(config);
    }))
}

fn registered(mut world: World) -> World {
    world.register("bob", "<sip:bob@192.0.2.12:5060>", "");
    world
}

fn records(world: &mut World) -> Vec<CallRecord> {
    std::iter::from_fn(|| world.core.poll_call_record()).collect()
}

fn live(world: &World) -> usize {
    world.core.call_statistics().unwrap().live
}

/// A call that rings for two seconds and is answered; gives the INVITE and its 2xx.
fn answered(world: &mut World) -> (Request, Response) {
    let text = world.request(ALICE, "INVITE", TO_BOB, "");
    let sent = world.udp(ALICE, text.clone());
    let forwarded = only(&sent, "INVITE");
    world.seconds(1);
    world.answer(forwarded, 180, "");
    world.seconds(2);
    let sent = world.answer(forwarded, 200, "Contact: <sip:bob@192.0.2.12:5060>");
    let ok = only(&sent, "200").response().clone();
    (Request::parse(text.into(), &Limits::default()).unwrap(), ok)
}

/// A request in that dialog, by the caller or by who was called.
fn within(
    world: &mut World,
    method: &str,
    (invite, ok): &(Request, Response),
    by_caller: bool,
    extra: &str,
) -> Sent {
    let routes: String =
        ok.headers.all::<RecordRoute>().map(|route| format!("Route: {}\r\n", route.unwrap())).collect();
    let (caller, callee) = (invite.headers.text("From").unwrap(), ok.headers.text("To").unwrap());
    let (source, uri, from, to) = if by_caller {
        (ALICE, "sip:bob@192.0.2.12:5060", caller, callee)
    } else {
        (BOB, "sip:carol@192.0.2.11:5060", callee, caller)
    };
    let call_id = invite.headers.text("Call-ID").unwrap();
    let lines = format!("{routes}From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n{extra}");
    let text = world.request(source, method, uri, &lines);
    let sent = world.udp(source, text);
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.into_iter().next().unwrap()
}

#[test]
fn a_call_is_recorded_when_its_bye_passes() {
    for (by_caller, ending) in [(true, Ending::Caller), (false, Ending::Callee)] {
        let mut world = following(|_| {});
        let call = answered(&mut world);
        assert_eq!((records(&mut world).len(), live(&world)), (0, 1), "it is not over");
        world.seconds(60);
        let bye = within(&mut world, "BYE", &call, by_caller, "Reason: Q.850;cause=16\r\n");
        world.seconds(1);
        assert_eq!(records(&mut world).len(), 0, "nobody has answered it");
        world.answer(&bye, 200, "");
        let all = records(&mut world);
        let [record] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((record.status, record.ending), (200, ending));
        assert_eq!((record.caller.as_str(), record.called.as_str()), ("sip:carol@chicago.example", TO_BOB));
        assert_eq!(record.answered_by.as_deref(), Some("sip:bob@192.0.2.12:5060"));
        assert_eq!(record.source.to_string(), ALICE);
        assert_eq!(record.cause.as_deref(), Some("Q.850;cause=16"));
        let since_start = |at: Option<Duration>| at.unwrap().checked_sub(record.started).unwrap().as_secs();
        assert_eq!((since_start(record.ringing), since_start(record.answered)), (1, 3));
        assert_eq!(record.talked().unwrap().as_secs(), 60);
        let json = record.to_json();
        assert_eq!((json["talked"].as_f64(), json["ending"].as_str()), (Some(60.0), Some(ending.as_str())));
        // A BYE that comes again ends nothing twice.
        let bye = within(&mut world, "BYE", &call, by_caller, "");
        world.answer(&bye, 481, "");
        assert_eq!((records(&mut world).len(), live(&world)), (0, 0));
        world.assert_nothing_left();
    }
}

/// Somebody who is not in the dialog, or a phone that has lost its Route: the BYE goes nowhere, and the call goes on.
#[test]
fn a_bye_that_is_refused_ends_no_call() {
    let mut world = following(|_| {});
    let (invite, mut ok) = answered(&mut world);
    let with_route = ok.clone();
    ok.headers.remove("Record-Route");
    let refused = within(&mut world, "BYE", &(invite.clone(), ok), true, "");
    assert_eq!(refused.name(), "403");
    assert_eq!((records(&mut world).len(), live(&world)), (0, 1));
    // One that nobody answers ends it: who sent it has left.
    within(&mut world, "BYE", &(invite, with_route), true, "");
    world.seconds(60);
    let all = records(&mut world);
    assert_eq!((all.len(), all[0].ending, all[0].talked().unwrap().as_secs()), (1, Ending::Caller, 0));
}

#[test]
fn an_attempt_is_recorded_with_what_became_of_it() {
    // Several cores hand out their records each by itself, in no order among them.
    let mut world =
        registered(World::of_one_core(|config| config.call_records = Some(CallLimits::default())));
    let text = world.request(ALICE, "INVITE", TO_BOB, "");
    let sent = world.udp(ALICE, text);
    world.answer(only(&sent, "INVITE"), 486, "");
    let text = world.request(ALICE, "INVITE", "sip:nobody@example.com", "");
    world.udp(ALICE, text);
    // A call that its caller gives up.
    let text = world.request(ALICE, "INVITE", TO_BOB, "");
    let sent = world.udp(ALICE, text.clone());
    let forwarded = only(&sent, "INVITE");
    world.answer(forwarded, 180, "");
    world.udp(ALICE, text.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n"));
    world.answer(forwarded, 487, "");
    let all: Vec<_> = records(&mut world).iter().map(|record| (record.status, record.ending)).collect();
    assert_eq!(all, [(486, Ending::Refused), (404, Ending::Refused), (487, Ending::Cancelled)]);
    let statistics = world.core.call_statistics().unwrap();
    assert_eq!(statistics.results.into_iter().collect::<Vec<_>>(), [(404, 1), (486, 1), (487, 1)]);
    assert_eq!((statistics.live, statistics.post_dial_delay.count()), (0, 1));
    world.assert_nothing_left();
}

/// A challenge is no result: the same call comes again with credentials.
#[test]
fn a_challenged_invite_is_no_call_yet() {
    let mut world = World::with(|config| {
        config.call_records = Some(CallLimits::default());
        config.users = Some(Users::parse("carol:secret").unwrap());
    });
    let text = world.request(ALICE, "INVITE", TO_BOB, "From: <sip:carol@example.com>;tag=1\r\n");
    let sent = world.udp(ALICE, text);
    only(&sent, "407");
    assert_eq!((records(&mut world).len(), live(&world)), (0, 0));
    world.assert_nothing_left();
}

/// Both phones died: the call is not followed for ever. One that shows signs of life is.
#[test]
fn a_call_of_which_nothing_is_heard_is_recorded_as_lost() {
    let mut world = following(|_| {});
    let call = answered(&mut world);
    let day = CallLimits::PATIENCE.as_secs();
    world.seconds(day - 60);
    within(&mut world, "INFO", &call, true, "");
    world.seconds(day - 60);
    assert_eq!(records(&mut world).len(), 0, "it was heard of");
    world.seconds(120);
    let all = records(&mut world);
    assert_eq!((all.len(), all[0].ending, all[0].ended), (1, Ending::Lost, None));
    world.assert_nothing_left();
}

#[test]
fn what_is_kept_is_bounded() {
    let mut world = registered(World::of_one_core(|config| {
        let mut limits = CallLimits::default();
        (limits.followed, limits.waiting) = (1, 2);
        config.call_records = Some(limits);
    }));
    for _ in 0..4 {
        answered(&mut world);
    }
    // The first is followed, two are recorded at once, and one finds no room.
    assert_eq!(world.core.call_statistics().unwrap().records_lost, 1);
    let endings: Vec<_> = records(&mut world).iter().map(|record| record.ending).collect();
    assert_eq!(endings, [Ending::NotFollowed; 2]);
    world.core.end_call_records();
    let endings: Vec<_> = records(&mut world).iter().map(|record| record.ending).collect();
    assert_eq!((endings, live(&world)), (vec![Ending::Shutdown], 0));
}
