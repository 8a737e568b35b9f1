//! Any operations in any order, on a network that loses: nothing panics, and in the end nothing is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{Pair, invite};
use proptest::prelude::*;
use sip_dialog::{Body, CallKey, Described, DialogId, Dialogs, Event, ReliableProvisionals, SessionTimer};
use sip_message::{Method, StatusCode};

/// What an application does with what it is asked.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Answers,
    Refuses,
    Sleeps,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Invite { offer: bool },
    Ring { reliably: bool, body: bool },
    Update { alice: bool, early: bool, offer: bool },
    Mood { mood: Mood },
    Replace,
    Accept { alice: bool, body: bool },
    Reject { alice: bool, status: u16 },
    Acknowledge { alice: bool },
    Reinvite { alice: bool, offer: bool },
    Info { alice: bool },
    HangUp { alice: bool },
    Pass { milliseconds: u16 },
    LoseNext { messages: u8 },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => any::<bool>().prop_map(|offer| Operation::Invite { offer }),
        3 => any::<(bool, bool)>().prop_map(|(reliably, body)| Operation::Ring { reliably, body }),
        3 => any::<(bool, bool, bool)>()
            .prop_map(|(alice, early, offer)| Operation::Update { alice, early, offer }),
        1 => prop_oneof![Just(Mood::Answers), Just(Mood::Refuses), Just(Mood::Sleeps)]
            .prop_map(|mood| Operation::Mood { mood }),
        1 => Just(Operation::Replace),
        4 => any::<(bool, bool)>().prop_map(|(alice, body)| Operation::Accept { alice, body }),
        1 => (any::<bool>(), 100..700u16).prop_map(|(alice, status)| Operation::Reject { alice, status }),
        2 => any::<bool>().prop_map(|alice| Operation::Acknowledge { alice }),
        3 => any::<(bool, bool)>().prop_map(|(alice, offer)| Operation::Reinvite { alice, offer }),
        1 => any::<bool>().prop_map(|alice| Operation::Info { alice }),
        1 => any::<bool>().prop_map(|alice| Operation::HangUp { alice }),
        6 => (0..5000u16).prop_map(|milliseconds| Operation::Pass { milliseconds }),
        3 => (0..4u8).prop_map(|messages| Operation::LoseNext { messages }),
    ]
}

/// What the application would do with events: answer requests, forget the rest.
fn take_events(pair: &mut Pair, mood: Mood) -> Option<DialogId> {
    let now = pair.now;
    let mut early = None;
    for dialogs in [&mut pair.alice, &mut pair.bob] {
        while let Some(event) = dialogs.poll_event() {
            match (event, mood) {
                (Event::Request { tx, request, .. }, _) => {
                    let response = request.reply(StatusCode::OK).to_tag("t").build().unwrap();
                    let _ = dialogs.respond(now, tx, response);
                }
                (Event::Offered { offer, .. }, Mood::Answers) => {
                    let _ = dialogs.answer_offer(now, &offer, Body::sdp("answer"));
                }
                (Event::Offered { offer, .. }, Mood::Refuses) => {
                    let _ = dialogs.refuse_offer(now, &offer, StatusCode::NOT_ACCEPTABLE_HERE, &[]);
                }
                (Event::Progress { call, dialog: Some(dialog), described, .. }, _) => {
                    if described == Described::Offer && !matches!(mood, Mood::Sleeps) {
                        let _ = dialogs.acknowledge_provisional(now, call, &dialog, Body::sdp("answer"));
                    }
                    early = Some(dialog);
                }
                _ => {}
            }
        }
    }
    early
}

fn any_call(dialogs: &Dialogs) -> Option<CallKey> {
    dialogs.calls().min()
}

fn run(operations: &[Operation]) {
    let mut pair = Pair::of(|config, alice| {
        config.reliable = ReliableProvisionals::All;
        config.keep_forks = alice;
        config.session_timer = Some(SessionTimer { interval: 120, minimum: if alice { 90 } else { 100 } });
    });
    let (mut mood, mut early) = (Mood::Answers, None);
    for &operation in operations {
        let now = pair.now;
        // What is wrong at this point is an error, never more: that is the point of the test.
        match operation {
            Operation::Invite { offer } => drop(pair.alice.invite(now, invite(offer.then_some("offer")))),
            Operation::Ring { reliably, body } => {
                let status = if reliably { StatusCode::SESSION_PROGRESS } else { StatusCode::TRYING };
                let body = body.then(|| Body::sdp("body"));
                drop(any_call(&pair.bob).map(|call| pair.bob.ring(now, call, status, body)));
            }
            Operation::Mood { mood: next } => mood = next,
            Operation::Replace => {
                let old = any_call(&pair.bob).and_then(|call| Some(pair.bob.dialog(call)?.id().clone()));
                let mut replacing = invite(Some("offer"));
                if let Some(id) = old {
                    let value = format!("{};to-tag={};from-tag={}", id.call_id, id.local_tag, id.remote_tag);
                    replacing.fields.push(("Replaces".into(), value));
                }
                drop(pair.alice.invite(now, replacing));
            }
            Operation::Update { alice, early: in_early, offer } => {
                let dialogs = if alice { &mut pair.alice } else { &mut pair.bob };
                let Some(call) = any_call(dialogs) else { continue };
                let dialog = early.as_ref().filter(|_| in_early);
                drop(dialogs.update(now, call, dialog, offer.then(|| Body::sdp("offer"))));
            }
            Operation::Pass { milliseconds } => pair.pass(Duration::from_millis(milliseconds.into())),
            Operation::LoseNext { messages } => pair.lose = vec![""; messages.into()],
            Operation::Accept { alice, .. }
            | Operation::Reject { alice, .. }
            | Operation::Acknowledge { alice }
            | Operation::Reinvite { alice, .. }
            | Operation::Info { alice }
            | Operation::HangUp { alice } => {
                let dialogs = if alice { &mut pair.alice } else { &mut pair.bob };
                let Some(call) = any_call(dialogs) else { continue };
                let body = |wanted: bool| wanted.then(|| Body::sdp("body"));
                match operation {
                    Operation::Accept { body: wanted, .. } => drop(dialogs.accept(now, call, body(wanted))),
                    Operation::Reject { status, .. } => {
                        drop(dialogs.reject(now, call, StatusCode::new(status).unwrap()));
                    }
                    Operation::Acknowledge { .. } => drop(dialogs.acknowledge(now, call, Body::sdp("a"))),
                    Operation::Reinvite { offer, .. } => drop(dialogs.reinvite(now, call, body(offer))),
                    Operation::Info { .. } => drop(dialogs.request_in_call(now, call, Method::Info, None)),
                    _ => drop(dialogs.hang_up(now, call)),
                }
            }
        }
        early = take_events(&mut pair, mood).or(early);
    }
    // Whoever still has a call hangs up; some calls need it twice (BYE waits for an ACK that never comes).
    pair.lose.clear();
    for _ in 0..3 {
        let now = pair.now;
        for dialogs in [&mut pair.alice, &mut pair.bob] {
            let calls: Vec<CallKey> = dialogs.calls().collect();
            for call in calls {
                let _ = dialogs.hang_up(now, call);
            }
        }
        take_events(&mut pair, Mood::Answers);
        pair.pass(Duration::from_secs(70));
        take_events(&mut pair, Mood::Answers);
    }
    pair.nothing_is_left();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_left_of_any_story(operations in prop::collection::vec(operation(), 0..40)) {
        run(&operations);
    }
}
