//! A connection breaks while requests wait for their answers on it.

use super::*;
use sip_transport::CloseReason;

fn over_tcp(flow: Option<u64>) -> Path {
    Path { flow: flow.map(FlowId), ..Path::to(Transport::Tcp, THEM.parse().unwrap()) }
}

impl Party {
    fn closed(&mut self, flow: u64, reason: CloseReason) {
        let event = FlowEvent::Closed { path: over_tcp(Some(flow)), reason };
        self.layer.flow_event(self.now, event, &mut self.out);
    }

    fn answer_over_tcp(&mut self, request: &Request, status: u16) {
        let status = StatusCode::new(status).unwrap();
        self.receive(request.reply(status).to_tag("them").build().unwrap().to_bytes(), Transport::Tcp);
    }
}

/// The very same request goes out over a new connection: the server knows it by its branch (RFC 3261 §17.2.3).
#[test]
fn a_request_that_went_down_with_its_connection_is_sent_once_more() {
    for method in [Method::Invite, Method::Options] {
        for reason in [CloseReason::Peer, CloseReason::Error(SendError::Closed)] {
            let mut party = Party::new();
            let tx = party.send(outgoing(method.clone()), over_tcp(None));
            let first = party.sent();
            party.closed(5, reason);
            let again = party.sent();
            assert_eq!((&again.payload, again.path), (&first.payload, over_tcp_from(&first)));
            // Once: whoever breaks each connection is not asked for ever.
            party.closed(6, reason);
            party.quiet();
            party.answer_over_tcp(&request(&again), 200);
            assert_eq!(party.status(), (tx, 200));
            assert_eq!(party.layer.counters().retransmitted, 1);
            party.pass(Duration::from_secs(40));
            party.out.events.clear();
            party.empty();
        }
    }
}

fn over_tcp_from(first: &Transmit) -> Path {
    Path { local: first.path.local, ..over_tcp(None) }
}

/// Who has heard something waits for the rest: it may come over another connection (RFC 3261 §18.2.2).
#[test]
fn what_was_answered_is_not_sent_again() {
    let mut party = Party::new();
    party.send(outgoing(Method::Invite), over_tcp(None));
    let invite = party.sent_request();
    party.answer_over_tcp(&invite, 180);
    assert_eq!(party.status().1, 180);
    party.closed(5, CloseReason::Peer);
    party.quiet();
    party.answer_over_tcp(&invite, 200);
    assert_eq!(party.status().1, 200);
    party.closed(6, CloseReason::Peer);
    party.quiet();
}

/// RFC 5626 §5.3.1: the flow was the only way. It is told at once, not by Timer B.
#[test]
fn what_had_to_take_that_very_flow_has_failed() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), over_tcp(Some(5)));
    party.sent();
    party.closed(4, CloseReason::Peer);
    party.quiet();
    party.closed(5, CloseReason::Peer);
    let failed = party.event();
    let Event::Failed { tx: which, failure: Failure::Transport(SendError::Closed) } = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(which, tx);
    party.event();
    party.empty();
}

/// Neither a connection that had nothing to do for long, nor one to somebody else, nor datagrams are of interest.
#[test]
fn other_ends_of_other_connections_change_nothing() {
    let mut party = Party::new();
    party.send(outgoing(Method::Options), over_tcp(None));
    party.sent();
    party.closed(5, CloseReason::Idle);
    let other = Path { remote: "192.0.2.3:5060".parse().unwrap(), ..over_tcp(Some(5)) };
    let event = FlowEvent::Closed { path: other, reason: CloseReason::Peer };
    party.layer.flow_event(party.now, event, &mut party.out);
    party.quiet();
    let mut party = Party::new();
    party.send(outgoing(Method::Options), Path::to(Transport::Udp, THEM.parse().unwrap()));
    party.sent();
    party.closed(5, CloseReason::Peer);
    party.quiet();
}

/// The peer's kernel acknowledges, its program says nothing until Timer B or F: the driver is told to give the connection
/// up if nothing else came over it either.
#[test]
fn a_connection_on_which_nothing_was_answered_is_to_be_given_up() {
    for method in [Method::Invite, Method::Options] {
        for flow in [None, Some(5)] {
            let mut party = Party::new();
            let since = party.now;
            party.send(outgoing(method.clone()), over_tcp(flow));
            let path = party.sent().path;
            party.pass(TIMEOUT);
            assert_eq!(party.given_up(), [Close::Silent { path, since }], "{method} {flow:?}");
        }
    }
}

#[test]
fn neither_who_has_answered_something_nor_datagrams_are_called_silent() {
    let mut party = Party::new();
    party.send(outgoing(Method::Options), over_tcp(None));
    let options = party.sent_request();
    party.answer_over_tcp(&options, 100);
    party.pass(TIMEOUT);
    assert_eq!(party.given_up(), []);
    let mut party = Party::new();
    party.send(outgoing(Method::Options), udp());
    party.pass(TIMEOUT);
    assert_eq!(party.given_up(), []);
}
