//! This host gets another address while requests are under way.

use super::*;
use sip_message::headers::{Contact, Via};

const ELSEWHERE: &str = "198.51.100.7:5070";

impl Party {
    fn move_elsewhere(&mut self) {
        let locals = [Transport::Udp, Transport::Tcp].map(|t| Local::new(t, ELSEWHERE.parse().unwrap()));
        let contact = Contact::new(&format!("sip:alice@{ELSEWHERE}").parse().unwrap());
        let rewrite = |request: &mut Request| request.headers.set(&contact);
        self.layer.relocate(self.now, Locals::new(locals.to_vec()), rewrite, &mut self.out);
    }
}

/// To a server it is another transaction, which it can answer; to its sender it is the same request.
#[test]
fn a_request_that_nothing_was_answered_to_is_sent_again_from_the_new_address() {
    for method in [Method::Invite, Method::Message] {
        let mut party = Party::new();
        let tx = party.send(outgoing(method), udp());
        let first = party.sent_request();
        party.move_elsewhere();
        let again = party.sent();
        assert_eq!(again.path.local, ELSEWHERE.parse().unwrap());
        let again = request(&again);
        let vias: Vec<Via> = again.headers.all::<Via>().flatten().collect();
        assert_eq!((vias.len(), vias[0].host(), vias[0].port()), (1, "198.51.100.7", Some(5070)));
        assert_ne!(branch(&again.headers), branch(&first.headers));
        assert!(line(&again.headers, HeaderName::CONTACT).contains(ELSEWHERE));
        for name in [HeaderName::CALL_ID, HeaderName::CSEQ, HeaderName::FROM, HeaderName::TO] {
            assert_eq!(line(&again.headers, name), line(&first.headers, name));
        }
        // It is repeated from there, and the first one no more.
        assert_eq!(party.pass(Duration::from_millis(600)), [500]);
        assert_eq!(branch(&party.sent_request().headers), branch(&again.headers));
        party.answer(&again, 200);
        assert_eq!(party.status(), (tx, 200));
        party.pass(Duration::from_secs(40));
        party.out.events.clear();
        party.empty();
    }
}

/// Nobody is asked twice who has said that it works on it. Its answer may still come, where the old address is there beside the new
/// one; if it does not, the end says why.
#[test]
fn what_was_answered_provisionally_is_not_repeated_and_ends_with_a_clear_word() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Options), udp());
    let options = party.sent_request();
    party.answer(&options, 100);
    assert_eq!(party.status(), (tx, 100));
    party.move_elsewhere();
    party.quiet();
    party.pass(Duration::from_secs(33));
    party.out.transmits.clear();
    assert_eq!(party.failed(tx), Failure::Moved);

    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let invite = party.sent_request();
    party.answer(&invite, 180);
    assert_eq!(party.status(), (tx, 180));
    party.move_elsewhere();
    party.quiet();
    party.answer(&invite, 486);
    assert_eq!(party.status(), (tx, 486));
    let ack = party.sent();
    assert_eq!(ack.path.local, ELSEWHERE.parse().unwrap(), "its ACK leaves by a socket that is there");
    assert_eq!(branch(&request(&ack).headers), branch(&invite.headers));
}

/// RFC 5626 §5.3.1: a flow that was the only way is left behind with the address.
#[test]
fn a_request_for_a_flow_of_the_old_address_has_failed() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), Path { flow: Some(FlowId(1)), ..udp() });
    party.sent();
    party.move_elsewhere();
    assert!(party.out.transmits.is_empty());
    assert_eq!(party.failed(tx), Failure::Moved);
}

/// Over a connection nothing happens as long as it stands; one of the same listeners changes nothing at all.
#[test]
fn connections_and_the_same_listeners_change_nothing() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), tcp());
    let invite = party.sent_request();
    party.move_elsewhere();
    party.quiet();
    // The answer names the Via that we had then.
    let ok = invite.reply(StatusCode::OK).to_tag("them").build().unwrap();
    party.receive(ok.to_bytes(), Transport::Tcp);
    assert_eq!(party.status(), (tx, 200));

    let mut party = Party::new();
    party.send(outgoing(Method::Invite), udp());
    party.sent();
    let locals = party.layer.locals().clone();
    party.layer.relocate(party.now, locals, |_| panic!("nothing to change"), &mut party.out);
    party.quiet();
}
