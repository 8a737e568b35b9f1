//! Any operations in any order, on a network that loses: nothing panics, and in the end nothing is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{Pair, invite};
use proptest::prelude::*;
use sip_dialog::{Body, CallKey, Dialogs, Event};
use sip_message::{Method, StatusCode};

#[derive(Clone, Copy, Debug)]
enum Operation {
    Invite { offer: bool },
    Ring,
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
        1 => Just(Operation::Ring),
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
fn take_events(pair: &mut Pair, answer_requests: bool) {
    let now = pair.now;
    for dialogs in [&mut pair.alice, &mut pair.bob] {
        while let Some(event) = dialogs.poll_event() {
            if let Event::Request { tx, request, .. } = event
                && answer_requests
            {
                let response = request.reply(StatusCode::OK).to_tag("t").build().unwrap();
                let _ = dialogs.respond(now, tx, response);
            }
        }
    }
}

fn any_call(dialogs: &Dialogs) -> Option<CallKey> {
    dialogs.calls().min()
}

fn run(operations: &[Operation]) {
    let mut pair = Pair::new();
    for &operation in operations {
        let now = pair.now;
        // What is wrong at this point is an error, never more: that is the point of the test.
        match operation {
            Operation::Invite { offer } => drop(pair.alice.invite(now, invite(offer.then_some("offer")))),
            Operation::Ring => {
                drop(any_call(&pair.bob).map(|c| pair.bob.ring(now, c, StatusCode::RINGING, None)))
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
        take_events(&mut pair, true);
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
        take_events(&mut pair, true);
        pair.pass(Duration::from_secs(70));
        take_events(&mut pair, true);
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
