//! Connections that race (RFC 8305 §5, RFC 7984), and places that are passed over because they failed.

use super::*;
use sip_transport::{CloseReason, Token};

const V6: &str = "[2001:db8::1]:5060";

/// A party with listeners of both families.
fn dual() -> Party {
    Party::with(|config| {
        let locals = [US, V6].into_iter().flat_map(|at| {
            [Transport::Udp, Transport::Tcp].map(|transport| Local::new(transport, at.parse().unwrap()))
        });
        config.locals = locals.collect();
    })
}

/// A request over TCP to a name that has these addresses.
fn to_name(party: &mut Party, method: Method, v6: &[&str], v4: &[&str]) -> ClientTx {
    let tx = party.send(outgoing(method), "sip:example.com:5060;transport=tcp".parse::<Uri>().unwrap());
    answer_names(party, v6, v4);
    tx
}

fn answer_names(party: &mut Party, v6: &[&str], v4: &[&str]) {
    while let Some(query) = party.out.queries.pop_front() {
        let list = if query.question.kind() == "AAAA" { v6 } else { v4 };
        party.resolve(&query, Records::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect()));
    }
}

/// A connection that is wanted, to this address.
#[track_caller]
fn wanted(party: &mut Party, remote: &str) -> Transmit {
    let sent = party.sent();
    assert!(sent.payload.is_empty(), "a request before there is a connection");
    assert_eq!(sent.path.remote.to_string(), remote);
    sent
}

fn flow(wanted: &Transmit, number: u64) -> Path {
    let mut local = wanted.path.local;
    local.set_port(40_000);
    Path { local, flow: Some(FlowId(number)), ..wanted.path }
}

fn ready(party: &mut Party, wanted: &Transmit, number: u64) -> Path {
    let path = flow(wanted, number);
    let event = FlowEvent::Ready { token: wanted.token, path };
    party.layer.flow_event(party.now, event, &mut party.out);
    path
}

const DELAY: Duration = Duration::from_millis(250);

#[test]
fn rfc_8305_5_a_black_holed_family_costs_250_ms() {
    let mut party = dual();
    let tx = to_name(&mut party, Method::Invite, &["2001:db8::2"], &["192.0.2.2"]);
    let first = wanted(&mut party, "[2001:db8::2]:5060");
    party.quiet();
    assert_eq!(party.layer.client_path(tx), None);
    assert_eq!(party.pass(DELAY), [250]);
    let second = wanted(&mut party, "192.0.2.2:5060");
    assert_eq!(second.path.local.to_string(), US);

    let path = ready(&mut party, &second, 9);
    let sent = party.sent();
    assert_eq!((sent.path, sent.reopen), (path, None));
    // The Via is that of the listener of the family that won.
    assert!(line(&request(&sent).headers, HeaderName::VIA).starts_with("SIP/2.0/TCP 192.0.2.1:5060;"));
    // The other comes in late, or fails late: nobody cares.
    ready(&mut party, &first, 10);
    party.cannot_send(&first, SendError::TimedOut);
    party.quiet();
    party.receive(
        request(&sent).reply(StatusCode::OK).to_tag("x").build().unwrap().to_bytes(),
        Transport::Tcp,
    );
    assert_eq!(party.status(), (tx, 200));
    assert_eq!((party.layer.counters().races, party.layer.counters().sent), (1, 1));
}

#[test]
fn rfc_8305_5_the_first_family_wins_when_it_is_there_in_time() {
    let mut party = dual();
    to_name(&mut party, Method::Options, &["2001:db8::2", "2001:db8::3"], &["192.0.2.2"]);
    let first = wanted(&mut party, "[2001:db8::2]:5060");
    party.pass(DELAY / 2);
    ready(&mut party, &first, 9);
    let sent = party.sent();
    assert!(line(&request(&sent).headers, HeaderName::VIA).starts_with("SIP/2.0/TCP [2001:db8::1]:5060;"));
    // Timer F alone runs, for its whole time.
    assert_eq!(party.layer.armed_timers(), 1);
    assert!(party.pass(TIMEOUT - SECOND).is_empty());
}

#[test]
fn rfc_8305_5_families_take_turns_and_a_failure_starts_the_next_at_once() {
    let mut party = dual();
    to_name(&mut party, Method::Options, &["2001:db8::2", "2001:db8::3"], &["192.0.2.2", "192.0.2.3"]);
    let first = wanted(&mut party, "[2001:db8::2]:5060");
    party.cannot_send(&first, SendError::Refused);
    let second = wanted(&mut party, "192.0.2.2:5060");
    assert_eq!(party.pass(DELAY * 4), [250, 500]);
    wanted(&mut party, "[2001:db8::3]:5060");
    wanted(&mut party, "192.0.2.3:5060");
    ready(&mut party, &second, 9);
    let sent = party.sent();
    assert_eq!(sent.path.remote, second.path.remote);
    // Should the winner break, those that were refused are not asked again, the slow ones are.
    party.cannot_send(&sent, SendError::Closed);
    let again = party.sent();
    assert!(again.path.remote != sent.path.remote && again.path.remote != first.path.remote);
}

#[test]
fn a_race_that_nobody_wins_ends_with_the_last_error() {
    let mut party = dual();
    let tx = to_name(&mut party, Method::Options, &["2001:db8::2"], &["192.0.2.2"]);
    let first = wanted(&mut party, "[2001:db8::2]:5060");
    party.pass(DELAY);
    let second = wanted(&mut party, "192.0.2.2:5060");
    party.cannot_send(&second, SendError::Refused);
    party.quiet();
    party.cannot_send(&first, SendError::TimedOut);
    assert_eq!(party.failed(tx), Failure::Transport(SendError::TimedOut));
    party.client_ends(tx);
    party.empty();
}

#[test]
fn a_driver_that_says_nothing_does_not_hold_a_race_forever() {
    let mut party = dual();
    let tx = to_name(&mut party, Method::Options, &["2001:db8::2"], &["192.0.2.2"]);
    party.pass(DELAY + TIMEOUT);
    party.out.transmits.clear();
    assert_eq!(party.failed(tx), Failure::Transport(SendError::TimedOut));
    party.client_ends(tx);
    party.empty();
}

/// RFC 3261 §18.1.1 after RFC 8305: a large request whose connections all fail goes over UDP.
#[test]
fn a_large_request_falls_back_to_udp_when_the_race_is_lost() {
    let mut party = dual();
    let mut large = outgoing(Method::Message);
    large.set_body("text/plain", vec![b'x'; 1300]);
    party.send(large, "sip:example.com:5060".parse::<Uri>().unwrap());
    answer_names(&mut party, &["2001:db8::2"], &["192.0.2.2"]);
    for remote in ["[2001:db8::2]:5060", "192.0.2.2:5060"] {
        let connection = wanted(&mut party, remote);
        party.cannot_send(&connection, SendError::Refused);
    }
    let sent = party.sent();
    assert_eq!((sent.path.transport, sent.path.remote.is_ipv6()), (Transport::Udp, true));
    assert_eq!(party.layer.counters().failovers, 1);
}

#[test]
fn what_is_cancelled_while_connections_race_is_never_sent() {
    let mut party = dual();
    let tx = to_name(&mut party, Method::Invite, &["2001:db8::2"], &["192.0.2.2"]);
    let first = wanted(&mut party, "[2001:db8::2]:5060");
    party.layer.cancel(party.now, tx, &sip_message::Headers::new(), &mut party.out).unwrap();
    assert_eq!(party.failed(tx), Failure::Cancelled);
    party.client_ends(tx);
    ready(&mut party, &first, 9);
    party.cannot_send(&first, SendError::Refused);
    party.empty();
}

#[test]
fn one_family_alone_is_not_raced_nor_are_datagrams() {
    let mut party = dual();
    to_name(&mut party, Method::Options, &[], &["192.0.2.2", "192.0.2.3"]);
    assert!(!party.sent().payload.is_empty());
    party.send(outgoing(Method::Options), "sip:example.com:5060".parse::<Uri>().unwrap());
    answer_names(&mut party, &["2001:db8::2"], &["192.0.2.2"]);
    let sent = party.sent();
    assert!(!sent.payload.is_empty() && sent.path.remote.is_ipv6());
    assert_eq!(party.layer.counters().races, 0);
}

/// The family that was too slow is passed over by the next request, which then needs no race.
#[test]
fn rfc_8305_4_the_next_request_remembers_who_was_slow() {
    let mut party = dual();
    to_name(&mut party, Method::Options, &["2001:db8::2"], &["192.0.2.2"]);
    wanted(&mut party, "[2001:db8::2]:5060");
    party.pass(DELAY);
    let second = wanted(&mut party, "192.0.2.2:5060");
    ready(&mut party, &second, 9);
    party.sent();
    to_name(&mut party, Method::Options, &["2001:db8::2"], &["192.0.2.2"]);
    wanted(&mut party, "192.0.2.2:5060");
    assert_eq!(party.layer.counters().passed_over, 1);
}

/// A UDP request to a name with these addresses; gives where it went first.
fn first_choice(party: &mut Party, addresses: &[&str]) -> (ClientTx, Transmit) {
    let tx = party.send(outgoing(Method::Options), "sip:example.com:5060".parse::<Uri>().unwrap());
    answer_names(party, &[], addresses);
    (tx, party.sent())
}

#[test]
fn rfc_3263_4_3_a_server_that_failed_is_passed_over_for_a_while() {
    const BOTH: [&str; 2] = ["192.0.2.8", "192.0.2.9"];
    let mut party = Party::new();
    let (_, sent) = first_choice(&mut party, &BOTH);
    party.cannot_send(&sent, SendError::Unreachable);
    let second = party.sent_request();
    party.answer(&second, 200);
    party.out.events.clear();

    let (_, sent) = first_choice(&mut party, &BOTH);
    assert_eq!(sent.path.remote.to_string(), "192.0.2.9:5060");
    assert_eq!(party.layer.counters().passed_over, 1);
    party.answer(&request(&sent), 200);
    party.out.events.clear();

    // Its time is over.
    party.pass(sip_transaction::Limits::DEAD_FOR);
    let (_, sent) = first_choice(&mut party, &BOTH);
    assert_eq!(sent.path.remote.to_string(), "192.0.2.8:5060");
}

#[test]
fn a_server_that_does_not_answer_is_passed_over_and_one_that_is_the_only_one_is_not() {
    let mut party = Party::new();
    first_choice(&mut party, &["192.0.2.8"]);
    party.pass(TIMEOUT);
    party.out.transmits.clear();
    let (_, sent) = first_choice(&mut party, &["192.0.2.8"]);
    assert_eq!(sent.path.remote.to_string(), "192.0.2.8:5060");
    let (_, sent) = first_choice(&mut party, &["192.0.2.8", "192.0.2.9"]);
    assert_eq!(sent.path.remote.to_string(), "192.0.2.9:5060");
}

#[test]
fn our_own_faults_are_not_held_against_a_server() {
    let mut party = Party::new();
    for error in
        [SendError::QueueFull, SendError::TooLarge, SendError::NoLocal, SendError::TooManyConnections]
    {
        let (_, sent) = first_choice(&mut party, &["192.0.2.8", "192.0.2.9"]);
        assert_eq!(sent.path.remote.to_string(), "192.0.2.8:5060");
        party.cannot_send(&sent, error);
        party.out.transmits.clear();
    }
}

/// RFC 3261 §21.5.4: a client that gets a 503 with Retry-After SHOULD NOT forward other requests to that server for
/// that time; without the field it is like a 500.
#[test]
fn rfc_3261_21_5_4_a_503_keeps_others_away_for_the_time_it_names() {
    const BOTH: [&str; 2] = ["192.0.2.8", "192.0.2.9"];
    for (retry_after, next) in [(Some("60"), "192.0.2.9:5060"), (None, "192.0.2.8:5060")] {
        let mut party = Party::new();
        let (_, sent) = first_choice(&mut party, &BOTH);
        let mut builder = request(&sent).reply(StatusCode::SERVICE_UNAVAILABLE).to_tag("them");
        if let Some(seconds) = retry_after {
            builder = builder.raw("Retry-After", seconds);
        }
        party.receive(builder.build().unwrap().to_bytes(), Transport::Udp);
        assert_eq!(party.sent().path.remote.to_string(), "192.0.2.9:5060");
        let (_, sent) = first_choice(&mut party, &BOTH);
        assert_eq!(sent.path.remote.to_string(), next);
    }
}

/// "Failure also occurs if the transaction layer times out without ever having received any response, provisional or
/// final": who said 100 has the request, and another server would do it a second time.
#[test]
fn rfc_3263_4_3_a_server_that_sent_a_provisional_response_is_not_replaced_when_it_falls_silent() {
    let mut party = Party::new();
    let (tx, sent) = first_choice(&mut party, &["192.0.2.8", "192.0.2.9"]);
    party.answer(&request(&sent), 100);
    party.out.events.clear();
    party.pass(TIMEOUT);
    assert!(party.out.transmits.iter().all(|sent| sent.path.remote.to_string() == "192.0.2.8:5060"));
    party.out.transmits.clear();
    assert_eq!(party.failed(tx), Failure::Timeout);
}

#[test]
fn flows_that_open_and_close_are_nobodys_business() {
    let mut party = dual();
    to_name(&mut party, Method::Options, &["2001:db8::2"], &["192.0.2.2"]);
    let first = wanted(&mut party, "[2001:db8::2]:5060");
    for event in [
        FlowEvent::Opened { path: flow(&first, 3) },
        FlowEvent::Closed { path: flow(&first, 3), reason: CloseReason::Peer },
        FlowEvent::Ready { token: Token::NONE, path: flow(&first, 3) },
    ] {
        party.layer.flow_event(party.now, event, &mut party.out);
    }
    party.quiet();
}
