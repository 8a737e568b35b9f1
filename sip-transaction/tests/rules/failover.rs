//! Next hops, large requests, failover: RFC 3263, RFC 3261 §18.1.1.

use super::*;
use sip_transaction::StatelessVia;
use sip_transport::{Question, ResolveError, Srv};

fn records(list: &[&str]) -> Records {
    Records::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect())
}

/// A request to example.com, which has these addresses.
fn resolved(party: &mut Party, request: Request, addresses: &[&str]) -> ClientTx {
    let tx = party.send(request, "sip:example.com:5060".parse::<Uri>().unwrap());
    let query = party.out.queries.pop_front().unwrap();
    assert_eq!(query.question, Question::A("example.com".into()));
    party.quiet();
    party.resolve(&query, records(addresses));
    tx
}

#[test]
fn rfc_3263_4_2_srv_then_addresses_then_the_request() {
    let mut party = Party::new();
    party.send(outgoing(Method::Options), "sip:example.com".parse::<Uri>().unwrap());
    let query = party.out.queries.pop_front().unwrap();
    assert_eq!(query.question, Question::Naptr("example.com".into()));
    party.unresolved(&query, ResolveError::NotFound);
    let queries = std::mem::take(&mut party.out.queries);
    let srv = Srv { priority: 0, weight: 0, port: 5070, target: "one.example.com".into() };
    assert_eq!(queries[0].question, Question::Srv("_sip._udp.example.com".into()));
    assert_eq!(queries[1].question, Question::Srv("_sip._tcp.example.com".into()));
    party.unresolved(&queries[1], ResolveError::NotFound);
    party.resolve(&queries[0], Records::Srv(vec![srv]));
    let query = party.out.queries.pop_front().unwrap();
    party.resolve(&query, records(&["192.0.2.9"]));
    assert_eq!(party.sent().path.remote.to_string(), "192.0.2.9:5070");
}

#[test]
fn rfc_3263_4_3_a_transport_failure_makes_the_next_server_be_tried_with_a_new_branch() {
    let mut party = Party::new();
    let tx = resolved(&mut party, outgoing(Method::Invite), &["192.0.2.8", "192.0.2.9"]);
    let first = party.sent();
    assert_eq!(first.path.remote.to_string(), "192.0.2.8:5060");
    party.cannot_send(&first, SendError::Unreachable);
    let second = party.sent();
    assert_eq!(second.path.remote.to_string(), "192.0.2.9:5060");
    assert_ne!(branch(&request(&first).headers), branch(&request(&second).headers));
    assert_eq!(request(&second).headers.count(HeaderName::VIA), 1);
    // The same word coming late is about the first attempt.
    party.cannot_send(&first, SendError::Unreachable);
    party.quiet();
    party.answer(&request(&second), 200);
    assert_eq!(party.status(), (tx, 200));
    assert_eq!((party.layer.counters().failovers, party.layer.live_client()), (1, 1));
}

#[test]
fn rfc_3263_4_3_a_timeout_makes_the_next_server_be_tried() {
    let mut party = Party::new();
    let tx = resolved(&mut party, outgoing(Method::Options), &["192.0.2.8", "192.0.2.9"]);
    party.pass(TIMEOUT);
    let last = party.out.transmits.pop_back().unwrap();
    assert_eq!(last.path.remote.to_string(), "192.0.2.9:5060");
    party.out.transmits.clear();
    party.quiet();
    party.pass(TIMEOUT);
    party.out.transmits.clear();
    assert_eq!(party.failed(tx), Failure::Timeout);
    party.client_ends(tx);
    party.empty();
}

#[test]
fn rfc_3263_4_3_a_503_makes_the_next_server_be_tried_and_is_acknowledged() {
    let mut party = Party::new();
    let tx = resolved(&mut party, outgoing(Method::Invite), &["192.0.2.8", "192.0.2.9"]);
    let first = party.sent_request();
    party.answer(&first, 503);
    let second = party.sent_request();
    let ack = party.sent();
    assert_eq!(request(&ack).method(), &Method::Ack);
    assert_eq!(branch(&request(&ack).headers), branch(&first.headers));
    assert_eq!(ack.path.remote.to_string(), "192.0.2.8:5060");
    party.quiet();
    // Its retransmission is acknowledged again, a late 2xx of the first server is a stray.
    party.answer(&first, 503);
    assert_eq!(party.sent().payload, ack.payload);
    party.answer(&first, 200);
    assert!(matches!(party.event(), Event::Stray { .. }));
    // The last server's 503 is the answer.
    party.answer(&second, 503);
    assert_eq!(party.status(), (tx, 503));
}

#[test]
fn a_cancelled_invite_is_not_tried_elsewhere() {
    let mut party = Party::new();
    let tx = resolved(&mut party, outgoing(Method::Invite), &["192.0.2.8", "192.0.2.9"]);
    let first = party.sent_request();
    party.layer.cancel(party.now, tx, &sip_message::Headers::new(), &mut party.out).unwrap();
    party.answer(&first, 503);
    assert_eq!(party.status(), (tx, 503));
}

#[test]
fn rfc_3263_4_3_attempts_are_limited() {
    let mut party = Party::with(|config| config.limits.attempts = 2);
    let tx = resolved(&mut party, outgoing(Method::Options), &["192.0.2.7", "192.0.2.8", "192.0.2.9"]);
    for _ in 0..2 {
        let sent = party.sent();
        party.cannot_send(&sent, SendError::Refused);
    }
    let failure = party.failed(tx);
    assert_eq!((failure.clone(), failure.status().code()), (Failure::Transport(SendError::Refused), 503));
    party.client_ends(tx);
    party.empty();
}

#[test]
fn a_name_that_does_not_exist_fails_the_request() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Options), "sip:example.com:5060".parse::<Uri>().unwrap());
    let query = party.out.queries.pop_front().unwrap();
    party.unresolved(&query, ResolveError::NotFound);
    assert!(matches!(party.failed(tx), Failure::Resolve(_)));
    party.client_ends(tx);
    party.empty();
}

#[test]
fn no_listener_for_the_transport_fails_the_request() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Options), Path::to(Transport::Tls, THEM.parse().unwrap()));
    assert_eq!(party.failed(tx), Failure::Transport(SendError::NoLocal));
    party.client_ends(tx);
    party.empty();
}

fn large() -> Request {
    let mut request = outgoing(Method::Message);
    request.set_body("text/plain", vec![b'x'; 1300]);
    request
}

#[test]
fn rfc_3261_18_1_1_a_large_request_goes_over_tcp_and_its_via_says_so() {
    for target in [Target::Path(udp()), Target::Uri("sip:192.0.2.2".parse().unwrap())] {
        let mut party = Party::new();
        party.send(large(), target);
        let sent = party.sent();
        assert_eq!((sent.path.transport, sent.path.remote.to_string()), (Transport::Tcp, THEM.into()));
        assert!(line(&request(&sent).headers, HeaderName::VIA).starts_with("SIP/2.0/TCP "));
        assert_eq!(party.layer.counters().moved_to_tcp, 1);
    }
}

#[test]
fn rfc_3261_18_1_1_when_tcp_is_refused_the_large_request_goes_over_udp() {
    let mut party = Party::new();
    let tx = party.send(large(), udp());
    let first = party.sent();
    party.cannot_send(&first, SendError::Refused);
    let second = party.sent();
    assert_eq!((second.path.transport, second.path.remote), (Transport::Udp, first.path.remote));
    assert!(line(&request(&second).headers, HeaderName::VIA).starts_with("SIP/2.0/UDP "));
    party.answer(&request(&second), 200);
    assert_eq!(party.status(), (tx, 200));
}

#[test]
fn rfc_3261_18_1_1_a_server_that_was_reached_over_tcp_is_not_asked_again_over_udp() {
    let mut party = Party::new();
    let tx = party.send(large(), udp());
    party.sent();
    party.pass(TIMEOUT);
    assert_eq!(party.failed(tx), Failure::Timeout);
    party.client_ends(tx);
    assert_eq!(party.given_up().len(), 1);
    party.empty();
}

#[test]
fn a_flow_that_was_asked_for_is_kept_whatever_the_size() {
    let mut party = Party::new();
    let mut path = udp();
    (path.local, path.flow) = (US.parse().unwrap(), Some(FlowId(4)));
    party.send(large(), path);
    assert_eq!(party.sent().path, path);
}

#[test]
fn an_ack_without_a_transaction_finds_its_way_by_dns_too() {
    let mut party = Party::new();
    let ack = outgoing(Method::Ack);
    party.layer.send_stateless(ack.clone(), udp().into(), &mut party.out).unwrap();
    let direct = party.sent_request();
    assert_eq!(direct.headers.count(HeaderName::VIA), 1);
    assert_ne!(branch(&direct.headers), "");

    let uri: Uri = "sip:example.com:5060".parse().unwrap();
    party.layer.send_stateless(ack, uri.into(), &mut party.out).unwrap();
    assert_eq!(party.layer.live_stateless(), 1);
    let query = party.out.queries.pop_front().unwrap();
    party.resolve(&query, records(&["192.0.2.8", "192.0.2.9"]));
    let sent = party.sent();
    assert_eq!(sent.path.remote.to_string(), "192.0.2.8:5060");
    assert_ne!(branch(&request(&sent).headers), branch(&direct.headers));
    party.empty();
}

#[test]
fn rfc_3261_8_1_2_the_next_hop_is_the_first_loose_route_or_the_request_uri() {
    let hop = |request: &Request| match Target::next_hop(request).unwrap() {
        Target::Uri(uri) | Target::Proving(uri, _) => uri.to_string(),
        Target::Path(path) => panic!("{path}"),
    };
    let mut request = outgoing(Method::Bye);
    assert_eq!(hop(&request), "sip:192.0.2.2;lr");
    request.headers.remove(HeaderName::ROUTE);
    assert_eq!(hop(&request), "sip:bob@192.0.2.2");
}

/// §16.11: "a retransmitted request MUST be forwarded to the same destination each time it is processed", also where DNS leaves a choice.
#[test]
fn rfc_3261_16_11_what_is_forwarded_without_state_goes_to_the_same_server_each_time() {
    let mut party = Party::new();
    let mut forward = |choice: u64, branch: &str| {
        let via = StatelessVia { branch: branch.to_owned(), param: ("fw", "x".to_owned()), choice };
        let target = "sip:example.com".parse::<Uri>().unwrap().into();
        party.layer.forward_stateless(outgoing(Method::Message), target, via, &mut party.out).unwrap();
        while let Some(query) = party.out.queries.pop_front() {
            let srv = |target: &str| Srv { priority: 0, weight: 1, port: 5060, target: target.into() };
            match &query.question {
                Question::Srv(name) if &**name == "_sip._udp.example.com" => {
                    party.resolve(&query, Records::Srv(vec![srv("one.example"), srv("two.example")]));
                }
                Question::A(name) if &**name == "one.example" => {
                    party.resolve(&query, records(&["192.0.2.8"]));
                }
                Question::A(name) if &**name == "two.example" => {
                    party.resolve(&query, records(&["192.0.2.9"]));
                }
                _ => party.unresolved(&query, ResolveError::NotFound),
            }
        }
        party.sent()
    };
    let mut servers = std::collections::BTreeSet::new();
    for choice in 0..16_u64 {
        let choice = choice.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let first = forward(choice, "z9hG4bKs1");
        for _ in 0..3 {
            let again = forward(choice, "z9hG4bKs1");
            assert_eq!((again.path, again.payload), (first.path, first.payload.clone()));
        }
        servers.insert(first.path.remote.to_string());
    }
    assert_eq!(servers.len(), 2, "both are used: {servers:?}");
    assert_eq!(party.layer.live_client(), 0);
}
