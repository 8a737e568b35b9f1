//! Any operations of subscriptions, transfers, publications and calls in any order, on a network that loses: nothing panics,
//! and in the end nothing is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use std::time::Duration;

use pair::{ALICE, BOB, Pair, text};
use proptest::prelude::*;
use sip_dialog::{
    Acceptance, Body, CallKey, Dialogs, Event, Notification, Publication, Refer, Report, Subscribe,
    SubscriptionKey, TerminationReason,
};
use sip_message::{Method, StatusCode, headers};

#[derive(Clone, Copy, Debug)]
enum Operation {
    Subscribe { alice: bool, expires: u32 },
    Unsubscribe { alice: bool, which: usize },
    Refresh { alice: bool, which: usize },
    Decide { alice: bool, how: u8 },
    Notify { alice: bool, which: usize },
    Activate { alice: bool, which: usize },
    Terminate { alice: bool, which: usize, reason: u8 },
    Call,
    Answer,
    HangUp { alice: bool },
    Refer { alice: bool, subscription: bool },
    ReferOutside { alice: bool },
    Report { alice: bool, which: usize, status: u16 },
    Publish,
    Republish { which: usize },
    Unpublish { which: usize },
    Pass { milliseconds: u32 },
    LoseNext { messages: u8 },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let who = || any::<(bool, usize)>();
    prop_oneof![
        3 => (any::<bool>(), prop_oneof![Just(0u32), Just(5), Just(60), Just(600)])
            .prop_map(|(alice, expires)| O::Subscribe { alice, expires }),
        2 => who().prop_map(|(alice, which)| O::Unsubscribe { alice, which }),
        2 => who().prop_map(|(alice, which)| O::Refresh { alice, which }),
        6 => any::<(bool, u8)>().prop_map(|(alice, how)| O::Decide { alice, how }),
        3 => who().prop_map(|(alice, which)| O::Notify { alice, which }),
        1 => who().prop_map(|(alice, which)| O::Activate { alice, which }),
        2 => any::<(bool, usize, u8)>().prop_map(|(alice, which, reason)| O::Terminate { alice, which, reason }),
        1 => Just(O::Call),
        2 => Just(O::Answer),
        1 => any::<bool>().prop_map(|alice| O::HangUp { alice }),
        3 => any::<(bool, bool)>().prop_map(|(alice, subscription)| O::Refer { alice, subscription }),
        1 => any::<bool>().prop_map(|alice| O::ReferOutside { alice }),
        2 => (any::<bool>(), any::<usize>(), 100..700u16)
            .prop_map(|(alice, which, status)| O::Report { alice, which, status }),
        1 => Just(O::Publish),
        1 => any::<usize>().prop_map(|which| O::Republish { which }),
        1 => any::<usize>().prop_map(|which| O::Unpublish { which }),
        5 => (0..5_000u32).prop_map(|milliseconds| O::Pass { milliseconds }),
        2 => (0..200_000u32).prop_map(|milliseconds| O::Pass { milliseconds }),
        3 => (0..6u8).prop_map(|messages| O::LoseNext { messages }),
    ]
}

/// What an application keeps: what waits for its answer.
#[derive(Default)]
struct Application {
    undecided: Vec<(SubscriptionKey, bool)>,
    publishes: u64,
}

impl Application {
    fn take_events(&mut self, now: std::time::Instant, dialogs: &mut Dialogs) {
        while let Some(event) = dialogs.poll_event() {
            match event {
                Event::SubscriptionRequested { key, .. } => self.undecided.push((key, false)),
                Event::Referred { key, .. } => self.undecided.push((key, true)),
                Event::Request { tx, request, .. } => {
                    self.publishes += 1;
                    let statuses = [StatusCode::OK, StatusCode::OK, StatusCode::CONDITIONAL_REQUEST_FAILED];
                    let status = statuses[usize::try_from(self.publishes % 3).unwrap()];
                    let tag = format!("e{}", self.publishes);
                    let builder =
                        request.reply(status).to_tag("t").raw("SIP-ETag", &tag).raw("Expires", "60");
                    let _ = dialogs.respond(now, tx, builder.build().unwrap());
                }
                _ => {}
            }
        }
    }
}

fn nth<T: Ord>(keys: impl Iterator<Item = T>, which: usize) -> Option<T> {
    let mut keys: Vec<T> = keys.collect();
    keys.sort();
    let at = which.checked_rem(keys.len())?;
    Some(keys.swap_remove(at))
}

fn subscribe(alice: bool, expires: u32) -> Subscribe {
    let to = if alice { BOB } else { ALICE };
    let mut plan = Subscribe::new(
        format!("sip:x@{to}").parse().unwrap(),
        "<sip:y@example.com>".parse().unwrap(),
        "presence",
    );
    plan.expires = expires;
    plan.conditional = expires == 600;
    plan
}

fn state(n: u8) -> Notification {
    let etag = n.is_multiple_of(2).then(|| format!("e{}", n % 4));
    let changes = n.is_multiple_of(3).then(|| text("changes"));
    Notification { full: text("full"), changes, etag }
}

fn run(operations: &[Operation]) {
    let mut pair = Pair::eventful_with(|config| {
        config.allow.push(Method::Publish);
        config.events.max_subscriptions = 20;
    });
    let mut applications = [Application::default(), Application::default()];
    for (n, &operation) in operations.iter().enumerate() {
        let now = pair.now;
        let n = u8::try_from(n).unwrap();
        let alice = match operation {
            Operation::Subscribe { alice, .. }
            | Operation::Unsubscribe { alice, .. }
            | Operation::Refresh { alice, .. }
            | Operation::Decide { alice, .. }
            | Operation::Notify { alice, .. }
            | Operation::Activate { alice, .. }
            | Operation::Terminate { alice, .. }
            | Operation::HangUp { alice }
            | Operation::Refer { alice, .. }
            | Operation::ReferOutside { alice }
            | Operation::Report { alice, .. } => alice,
            _ => true,
        };
        let dialogs = if alice { &mut pair.alice } else { &mut pair.bob };
        let application = &mut applications[usize::from(!alice)];
        let subscription = |which| nth(dialogs.subscriptions(), which);
        // What is wrong at this point is an error, never more: that is the point of the test.
        match operation {
            Operation::Subscribe { alice, expires } => {
                drop(dialogs.subscribe(now, subscribe(alice, expires)))
            }
            Operation::Unsubscribe { which, .. } => {
                drop(subscription(which).map(|key| dialogs.unsubscribe(now, key)));
            }
            Operation::Refresh { which, .. } => {
                drop(subscription(which).map(|key| dialogs.refresh(now, key)))
            }
            Operation::Decide { how, .. } => {
                let Some((key, refer)) = application.undecided.pop() else { continue };
                let _ = match (refer, how % 4) {
                    (_, 0) => dialogs.reject_subscription(
                        now,
                        key,
                        StatusCode::SERVICE_UNAVAILABLE,
                        &[("Retry-After", "9")],
                    ),
                    (true, _) => dialogs.accept_refer(now, key),
                    (false, pending) => {
                        let state = Some(state(how));
                        let numbered = how > 128;
                        let pending = pending == 1;
                        dialogs.accept_subscription(
                            now,
                            key,
                            Acceptance { pending, state, numbered, ..Acceptance::default() },
                        )
                    }
                };
            }
            Operation::Notify { which, .. } => {
                drop(subscription(which).map(|key| dialogs.notify(now, key, state(n))));
            }
            Operation::Activate { which, .. } => {
                drop(subscription(which).map(|key| dialogs.activate_subscription(now, key, Some(state(n)))));
            }
            Operation::Terminate { which, reason, .. } => {
                use TerminationReason as R;
                let reasons = [R::Deactivated, R::Probation, R::Rejected, R::GiveUp, R::NoResource];
                let reason = &reasons[usize::from(reason) % reasons.len()];
                let wait = Some(Duration::from_secs(7));
                drop(
                    subscription(which)
                        .map(|key| dialogs.terminate_subscription(now, key, reason, wait, None)),
                );
            }
            Operation::Call => drop(dialogs.invite(now, pair::invite(Some("offer")))),
            Operation::Answer => {
                let call = pair.bob.calls().min();
                drop(call.map(|call| pair.bob.accept(now, call, Some(Body::sdp("answer")))));
            }
            Operation::HangUp { .. } => {
                let call = dialogs.calls().min();
                drop(call.map(|call| dialogs.hang_up(now, call)));
            }
            Operation::Refer { subscription, .. } => {
                let refer = Refer { subscription, ..Refer::new("sip:carol@example.com".parse().unwrap()) };
                let call = dialogs.calls().min();
                drop(call.map(|call| dialogs.refer(now, call, refer)));
            }
            Operation::ReferOutside { alice } => {
                let to = format!("sip:x@{}", if alice { BOB } else { ALICE }).parse().unwrap();
                let refer = Refer::new("sip:carol@example.com".parse().unwrap());
                drop(dialogs.refer_outside(now, to, "<sip:y@example.com>".parse().unwrap(), vec![], refer));
            }
            Operation::Report { which, status, .. } => {
                let report = Report::new(StatusCode::new(status).unwrap());
                drop(subscription(which).map(|key| dialogs.report(now, key, &report)));
            }
            Operation::Publish => {
                let plan = Publication {
                    to: format!("sip:x@{BOB}").parse().unwrap(),
                    from: "<sip:y@example.com>".parse().unwrap(),
                    event: headers::Event::new("presence"),
                    expires: 60,
                    body: text("open"),
                    route: vec![],
                    fields: vec![],
                };
                drop(dialogs.publish(now, plan));
            }
            Operation::Republish { which } => {
                drop(nth(dialogs.publications(), which).map(|key| dialogs.republish(now, key, text("x"))));
            }
            Operation::Unpublish { which } => {
                drop(nth(dialogs.publications(), which).map(|key| dialogs.unpublish(now, key)));
            }
            Operation::Pass { milliseconds } => pair.pass(Duration::from_millis(milliseconds.into())),
            Operation::LoseNext { messages } => pair.lose = vec![""; messages.into()],
        }
        pair.settle();
        let now = pair.now;
        applications[0].take_events(now, &mut pair.alice);
        applications[1].take_events(now, &mut pair.bob);
    }
    // Whoever still has something ends it; some things need it twice (BYE waits for an ACK that never comes).
    pair.lose.clear();
    for _ in 0..4 {
        let now = pair.now;
        for dialogs in [&mut pair.alice, &mut pair.bob] {
            for call in dialogs.calls().collect::<Vec<CallKey>>() {
                let _ = dialogs.hang_up(now, call);
            }
            for key in dialogs.subscriptions().collect::<Vec<_>>() {
                let _ = dialogs.unsubscribe(now, key);
            }
            for key in dialogs.publications().collect::<Vec<_>>() {
                let _ = dialogs.unpublish(now, key);
            }
        }
        pair.pass(Duration::from_secs(70));
        applications[0].take_events(pair.now, &mut pair.alice);
        applications[1].take_events(pair.now, &mut pair.bob);
    }
    // What the other side has forgotten ends with its time.
    pair.pass(Duration::from_secs(650));
    pair.nothing_is_left();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_left_of_any_story(operations in prop::collection::vec(operation(), 0..50)) {
        run(&operations);
    }
}
