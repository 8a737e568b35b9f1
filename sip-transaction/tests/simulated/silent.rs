//! A peer whose kernel acknowledges while its program says nothing: its connection stands, and leads nowhere.

use super::*;
use sip_message::headers::{CSeq, CallId};
use sip_message::{Message, StatusCode};
use sip_transport::{Answer, Core, FlowEvent, FlowId, Query, Received, Token, Transmit};
use std::collections::VecDeque;
use std::time::Instant;

/// Says nothing to the very first request, and to others over the same connection only if it is but slow.
struct Silent {
    slow: bool,
    first: Option<FlowId>,
    answers: VecDeque<Transmit>,
}

impl Core for Silent {
    fn receive(&mut self, _: Instant, Received { message, path }: Received) {
        let Message::Request(request) = message else { return };
        let over_the_first = *self.first.get_or_insert(path.flow.unwrap()) == path.flow.unwrap();
        let is_the_first = request.headers.require::<CallId>().unwrap().as_str() == "call-0";
        if !is_the_first && (self.slow || !over_the_first) {
            let answer = request.reply(StatusCode::OK).to_tag("late").build().unwrap();
            self.answers.push_back(Transmit {
                path,
                payload: answer.to_bytes(),
                reopen: None,
                domain: None,
                token: Token::NONE,
            });
        }
        assert_eq!(request.headers.require::<CSeq>().unwrap().method, Method::Options);
    }
    fn flow_event(&mut self, _: Instant, _: FlowEvent) {}
    fn resolved(&mut self, _: Instant, _: Answer) {}
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.answers.pop_front()
    }
    fn poll_query(&mut self) -> Option<Query> {
        None
    }
}

struct Calls {
    sim: Sim,
    caller: NodeId<Element>,
    asked: u32,
}

impl Calls {
    /// The first request has gone out, a second before Timer F.
    fn with_one_in_vain(slow: bool) -> Self {
        let mut sim = Sim::new(1, Conditions::PERFECT);
        let caller = add(&mut sim, "caller", CALLER);
        let locals = Sim::locals(CALLEE.parse().unwrap(), &[Transport::Tcp]);
        sim.add("callee", locals, Silent { slow, first: None, answers: VecDeque::new() });
        let mut calls = Self { sim, caller, asked: 0 };
        calls.ask();
        calls.sim.run_for(TIMEOUT - Duration::from_secs(1));
        assert_eq!(calls.sim.connections(), 1);
        calls
    }

    fn ask(&mut self) {
        let number = self.asked;
        self.asked += 1;
        let plan = Plan {
            method: Method::Options,
            transport: Transport::Tcp,
            ring: None,
            answer: Duration::ZERO,
            status: 200,
            cancel: None,
        };
        self.sim.with(self.caller, |caller, now| caller.start(now, number, plan, CALLEE.parse().unwrap()));
    }

    /// What each request came to.
    fn facts(&mut self) -> Vec<Fact> {
        self.sim.node(self.caller).clients.iter().map(|client| client.facts[0].1.clone()).collect()
    }
}

#[test]
fn a_connection_on_which_nothing_is_answered_is_given_up_and_the_next_request_opens_another() {
    let mut calls = Calls::with_one_in_vain(false);
    calls.sim.run_for(Duration::from_secs(2));
    assert_eq!(calls.sim.connections(), 0);
    calls.ask();
    calls.sim.run_for(Duration::from_secs(1));
    assert_eq!(calls.facts(), [Fact::Failed(Failure::Timeout), Fact::Status(200)]);
    assert_eq!(calls.sim.connections(), 1);
}

/// What else waits on it goes over the next connection, once.
#[test]
fn what_was_sent_later_on_a_silent_connection_is_sent_again_over_another() {
    let mut calls = Calls::with_one_in_vain(false);
    calls.ask();
    calls.sim.run_for(Duration::from_secs(2));
    assert_eq!(calls.facts(), [Fact::Failed(Failure::Timeout), Fact::Status(200)]);
    assert_eq!(calls.sim.connections(), 1);
    let counters = *calls.sim.node(calls.caller).layer.counters();
    assert_eq!((counters.sent, counters.retransmitted), (2, 1));
}

/// One slow request is no reason to cut off all others of a trunk.
#[test]
fn a_connection_over_which_others_are_answered_meanwhile_stays() {
    let mut calls = Calls::with_one_in_vain(true);
    calls.ask();
    calls.sim.run_for(Duration::from_secs(2));
    assert_eq!(calls.facts(), [Fact::Failed(Failure::Timeout), Fact::Status(200)]);
    assert_eq!(calls.sim.connections(), 1);
    assert_eq!(calls.sim.node(calls.caller).layer.counters().retransmitted, 0);
}
