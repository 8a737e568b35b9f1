//! Responses whose way is gone go to the sent-by of the Via: RFC 3261 §18.2.2, RFC 3263 §5.

use super::*;
use sip_transport::{Question, Srv};

/// A request over this transport, from this sent-by; the 404 to it is what these tests send. Over a connection it is an
/// INVITE: the transaction of another request ends with its response there (Timer J), and nobody hears of a failure.
fn asked(party: &mut Party, transport: Transport, sent_by: &str) -> (ServerTx, Transmit) {
    let method = if transport.is_reliable() { "INVITE" } else { "OPTIONS" };
    let text = from_them(method, "z9hG4bKgone", "");
    let via = format!("SIP/2.0/{transport} {sent_by};branch");
    party.receive(text.replace("SIP/2.0/UDP 192.0.2.2:5060;rport;branch", &via), transport);
    let (tx, request) = party.new_request();
    party.respond(tx, &request, 404);
    (tx, party.sent())
}

/// Nobody acknowledges.
fn ends(party: &mut Party, tx: ServerTx) {
    party.pass(TIMEOUT);
    party.out.transmits.clear();
    assert!(matches!(party.event(), Event::Unacknowledged { .. }));
    party.server_ends(tx);
    party.empty();
}

#[track_caller]
fn undelivered(party: &mut Party, tx: ServerTx, error: SendError) {
    match party.event() {
        Event::Undelivered { tx: this, error: that } => assert_eq!((this, that), (tx, error)),
        other => panic!("{other:?}"),
    }
}

/// The failure of a message on its way to another place than it was sent to: a connection that had to be opened again.
fn cannot_reach(party: &mut Party, sent: &Transmit, remote: &str, error: SendError) {
    let path = Path { remote: remote.parse().unwrap(), flow: None, ..sent.path };
    party.layer.flow_event(
        party.now,
        FlowEvent::SendFailed { token: sent.token, path, error },
        &mut party.out,
    );
}

/// "If the sent-by field contained a domain name and no port, the server queries for SRV records ... If that results
/// in a failure, the next entry on the list is tried."
#[test]
fn rfc_3263_5_a_name_leads_to_its_servers_in_turn() {
    let mut party = Party::new();
    let (tx, sent) = asked(&mut party, Transport::Tcp, "client.example.com");
    cannot_reach(&mut party, &sent, THEM, SendError::Refused);
    let query = party.out.queries.pop_front().unwrap();
    assert_eq!(query.question, Question::Srv("_sip._tcp.client.example.com".into()));
    let srv = |priority, target: &str| Srv { priority, weight: 0, port: 5070, target: target.into() };
    party.resolve(&query, Records::Srv(vec![srv(2, "b.example.com"), srv(1, "a.example.com")]));
    let queries = std::mem::take(&mut party.out.queries);
    for (query, ip) in queries.iter().zip(["192.0.2.21", "192.0.2.22"]) {
        party.quiet();
        party.resolve(query, Records::Addresses(vec![ip.parse().unwrap()]));
    }
    let first = party.sent();
    assert_eq!(
        (first.path.transport, first.path.remote.to_string()),
        (Transport::Tcp, "192.0.2.21:5070".into())
    );
    assert_eq!(first.payload, sent.payload);
    party.cannot_send(&first, SendError::Refused);
    let second = party.sent();
    assert_eq!(second.path.remote.to_string(), "192.0.2.22:5070");
    party.cannot_send(&second, SendError::TimedOut);
    undelivered(&mut party, tx, SendError::TimedOut);
    ends(&mut party, tx);
}

/// "If it contains a numeric IP address, the server attempts to send the response to that address, ... and the port
/// from sent-by."
#[test]
fn rfc_3263_5_a_numeric_sent_by_is_tried_without_a_question() {
    let mut party = Party::new();
    let (tx, sent) = asked(&mut party, Transport::Udp, "192.0.2.30:5070");
    assert_eq!(sent.path.remote.to_string(), "192.0.2.2:5070", "to the source first");
    party.cannot_send(&sent, SendError::Unreachable);
    let second = party.sent();
    assert_eq!(
        (second.path.transport, second.path.remote.to_string()),
        (Transport::Udp, "192.0.2.30:5070".into())
    );
    // A repetition that was under way on the old path fails as well: that is no news.
    party.cannot_send(&sent, SendError::Unreachable);
    party.quiet();
    // A repeated request is answered where the response got through.
    let text = from_them("OPTIONS", "z9hG4bKgone", "");
    let via = "SIP/2.0/UDP 192.0.2.30:5070;branch";
    party.receive(text.replace("SIP/2.0/UDP 192.0.2.2:5060;rport;branch", via), Transport::Udp);
    assert_eq!(party.sent().path.remote, second.path.remote);
    party.pass(TIMEOUT);
    party.server_ends(tx);
    party.empty();
}

#[test]
fn rfc_3263_5_where_the_sent_by_leads_nowhere_new_the_user_is_told() {
    // The very place that failed; a name that does not exist; one that nobody may ask for (RFC 7118 §5).
    for (sent_by, questions) in
        [("192.0.2.2:5060", 0), ("gone.example.com:5060", 1), ("df7jal23ls0d.invalid", 0)]
    {
        let mut party = Party::new();
        let (tx, sent) = asked(&mut party, Transport::Tcp, sent_by);
        cannot_reach(&mut party, &sent, THEM, SendError::Refused);
        assert_eq!(party.out.queries.len(), questions, "{sent_by}");
        for query in std::mem::take(&mut party.out.queries) {
            party.unresolved(&query, ResolveError::NotFound);
        }
        undelivered(&mut party, tx, SendError::Refused);
        ends(&mut party, tx);
    }
}

/// Our own faults are no reason to look elsewhere.
#[test]
fn a_response_that_we_could_not_send_is_told_at_once() {
    let mut party = Party::new();
    let (tx, sent) = asked(&mut party, Transport::Udp, "client.example.com");
    party.cannot_send(&sent, SendError::TooLarge);
    undelivered(&mut party, tx, SendError::TooLarge);
    party.server_ends(tx);
    party.empty();
}

/// RFC 6026 §7.1: an INVITE transaction goes on; each response that finds no way is told.
#[test]
fn an_invite_goes_on_and_its_later_responses_are_told_too() {
    let mut party = Party::new();
    let text =
        from_them("INVITE", "z9hG4bKgone", "").replace("UDP 192.0.2.2:5060;rport", "TCP 192.0.2.2:5060");
    party.receive(text, Transport::Tcp);
    let (tx, request) = party.new_request();
    for status in [180, 200] {
        party.respond(tx, &request, status);
        let sent = party.sent();
        party.cannot_send(&sent, SendError::Closed);
        undelivered(&mut party, tx, SendError::Closed);
    }
    party.pass(TIMEOUT);
    party.server_ends(tx);
    party.empty();
}
