//! Client transactions: RFC 3261 §17.1, §18.1, RFC 6026.

use super::*;
use sip_message::headers::Via;

#[test]
fn rfc_3261_18_1_1_the_via_names_the_listener_and_asks_for_rport() {
    let mut party = Party::new();
    party.send(outgoing(Method::Options), udp());
    let sent = party.sent();
    let via: Via = request(&sent).headers.require().unwrap();
    assert_eq!((via.transport(), via.host(), via.port()), ("UDP", "192.0.2.1", Some(5060)));
    assert_eq!(via.rport(), Some(None)); // RFC 3581 §3
    assert!(sip_transaction::branch::is_rfc_3261(via.branch().unwrap()));
    assert_eq!((sent.path.remote.to_string(), sent.path.local.to_string()), (THEM.into(), US.into()));
}

#[test]
fn rfc_3261_8_1_1_6_max_forwards_is_70_if_it_is_missing_and_kept_if_not() {
    let mut party = Party::new();
    let mut bare = outgoing(Method::Options);
    bare.headers.remove(HeaderName::MAX_FORWARDS);
    party.send(bare.clone(), udp());
    assert_eq!(line(&party.sent_request().headers, HeaderName::MAX_FORWARDS), "70");
    bare.headers.set_raw(HeaderName::MAX_FORWARDS, "5").unwrap();
    party.send(bare, udp());
    assert_eq!(line(&party.sent_request().headers, HeaderName::MAX_FORWARDS), "5");
}

#[test]
fn rfc_3261_17_1_1_2_an_invite_is_sent_seven_times_over_udp_and_fails_after_64_t1() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let first = party.sent().payload;
    assert_eq!(party.pass(TIMEOUT - SECOND / 1000), [500, 1500, 3500, 7500, 15500, 31500]);
    assert!(party.out.transmits.drain(..).all(|again| again.payload == first));
    party.quiet();
    party.pass(SECOND);
    let failure = party.failed(tx);
    assert_eq!((failure.clone(), failure.status().code()), (Failure::Timeout, 408));
    party.client_ends(tx);
    party.empty();
}

#[test]
fn rfc_3261_17_1_2_2_another_request_is_sent_eleven_times_over_udp() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Options), udp());
    party.sent();
    let expected = [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];
    assert_eq!(party.pass(TIMEOUT), expected);
    party.out.transmits.clear();
    assert_eq!(party.failed(tx), Failure::Timeout);
    party.client_ends(tx);
    party.empty();
}

#[test]
fn rfc_3261_17_1_1_2_nothing_is_sent_twice_over_tcp() {
    for method in [Method::Invite, Method::Options] {
        let mut party = Party::new();
        let tx = party.send(outgoing(method), tcp());
        party.sent();
        assert_eq!(party.pass(TIMEOUT), []);
        assert_eq!(party.failed(tx), Failure::Timeout);
        party.client_ends(tx);
        assert_eq!(party.given_up().len(), 1);
        party.empty();
    }
}

#[test]
fn rfc_3261_17_1_1_2_a_ringing_invite_is_neither_repeated_nor_timed_out() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let invite = party.sent_request();
    party.answer(&invite, 180);
    party.answer(&invite, 183);
    assert_eq!([party.status(), party.status()], [(tx, 180), (tx, 183)]);
    assert_eq!(party.pass(180 * SECOND), []);
    party.quiet();
    assert_eq!((party.layer.armed_timers(), party.layer.live_client()), (0, 1));
    party.answer(&invite, 200);
    assert_eq!(party.status(), (tx, 200));
}

#[test]
fn rfc_3261_17_1_1_3_the_ack_to_a_failure_is_built_from_the_request_and_the_response() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let invite = party.sent_request();
    party.answer(&invite, 486);
    assert_eq!(party.status(), (tx, 486));
    let sent = party.sent();
    let ack = request(&sent);
    assert_eq!((ack.method(), ack.uri_text()), (&Method::Ack, "sip:bob@192.0.2.2"));
    for name in [HeaderName::VIA, HeaderName::FROM, HeaderName::CALL_ID, HeaderName::ROUTE] {
        assert_eq!(line(&ack.headers, name), line(&invite.headers, name));
    }
    assert_eq!(ack.headers.count(HeaderName::VIA), 1);
    assert_eq!(line(&ack.headers, HeaderName::TO), "<sip:bob@192.0.2.2>;tag=them");
    assert_eq!(line(&ack.headers, HeaderName::CSEQ), "7 ACK");
    assert_eq!(sent.path.remote.to_string(), THEM);
    assert!(ack.check().is_ok());

    // The response comes again: so does the ACK, and the user hears nothing. Timer D ends it.
    party.answer(&invite, 486);
    assert_eq!(party.sent().payload, sent.payload);
    party.quiet();
    party.pass(TIMEOUT);
    party.client_ends(tx);
    party.empty();
}

#[test]
fn rfc_6026_7_2_every_2xx_of_a_fork_goes_up_until_timer_m() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    let invite = party.sent_request();
    for (tag, after) in [("one", 0), ("two", 1), ("one", 30)] {
        party.pass(after * SECOND);
        let ok = invite.reply(StatusCode::OK).to_tag(tag).build().unwrap();
        party.receive(ok.to_bytes(), Transport::Udp);
        assert_eq!(party.status(), (tx, 200));
        party.quiet(); // no ACK: that is the dialog's
    }
    // What is no 2xx is absorbed now.
    party.answer(&invite, 180);
    party.answer(&invite, 486);
    party.quiet();
    party.pass(SECOND);
    party.client_ends(tx);
    party.empty();

    // Later ones are strays.
    party.answer(&invite, 200);
    assert!(matches!(party.event(), Event::Stray { response, .. } if response.status() == StatusCode::OK));
    party.answer(&invite, 486);
    party.quiet();
}

#[test]
fn rfc_3261_17_1_2_2_retransmitted_final_responses_are_absorbed_for_t4() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Options), udp());
    let options = party.sent_request();
    party.answer(&options, 200);
    assert_eq!(party.status(), (tx, 200));
    party.answer(&options, 200);
    party.quiet();
    party.pass(5 * SECOND);
    party.client_ends(tx);
    party.answer(&options, 200);
    party.empty();
    assert_eq!(party.layer.counters().responses_dropped, 1);
}

#[test]
fn rfc_3261_17_1_a_final_response_over_tcp_ends_it_at_once() {
    for (method, status) in [(Method::Options, 200), (Method::Invite, 486)] {
        let mut party = Party::new();
        let tx = party.send(outgoing(method.clone()), tcp());
        let sent = party.sent_request();
        party.answer(&sent, status);
        assert_eq!(party.status(), (tx, status));
        party.client_ends(tx);
        if method == Method::Invite {
            assert_eq!(party.sent_request().method(), &Method::Ack);
        }
        party.empty();
    }
}

#[test]
fn rfc_3261_17_1_2_2_after_a_provisional_response_requests_are_repeated_every_t2() {
    let mut party = Party::new();
    party.send(outgoing(Method::Options), udp());
    let options = party.sent_request();
    party.pass(SECOND * 6 / 10);
    party.answer(&options, 100);
    assert_eq!(party.pass(10 * SECOND), [900, 4900, 8900]);
}

#[test]
fn rfc_3261_17_1_3_branch_and_method_decide() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Options), udp());
    let options = party.sent_request();

    let mut other_method = options.clone();
    other_method.headers.set_raw(HeaderName::CSEQ, "7 INVITE").unwrap();
    party.answer(&other_method, 200);
    let mut guessed = options.clone();
    let text = line(&options.headers, HeaderName::VIA);
    let last = if text.ends_with('0') { "1" } else { "0" };
    guessed.headers.set_raw(HeaderName::VIA, &format!("{}{last}", &text[..text.len() - 1])).unwrap();
    party.answer(&guessed, 200);
    let mut unreadable = options.clone();
    unreadable.headers.set_raw(HeaderName::CSEQ, "seven OPTIONS").unwrap();
    party.answer(&unreadable, 200);
    party.quiet();
    assert_eq!(party.layer.counters().responses_dropped, 3);

    party.answer(&options, 200);
    assert_eq!(party.status(), (tx, 200));
}

#[test]
fn rfc_3261_18_1_2_a_response_whose_top_via_is_not_ours_is_dropped() {
    let mut party = Party::new();
    party.send(outgoing(Method::Invite), udp());
    let mut invite = party.sent_request();
    let foreign = line(&invite.headers, HeaderName::VIA).replace("192.0.2.1", "192.0.2.77");
    invite.headers.set_raw(HeaderName::VIA, &foreign).unwrap();
    party.answer(&invite, 200);
    party.quiet();
}

#[test]
fn requests_that_nobody_could_match_are_refused_and_come_back() {
    use sip_transaction::Unsendable;
    let mut party = Party::new();
    let mut refused = |request: Request| {
        let error = party.layer.send(party.now, request, udp().into(), &mut party.out).unwrap_err();
        assert!(error.request.headers.contains(HeaderName::CALL_ID));
        error.reason
    };
    assert_eq!(refused(outgoing(Method::Ack)), Unsendable::Method(Method::Ack));
    assert_eq!(refused(outgoing(Method::Cancel)), Unsendable::Method(Method::Cancel));
    let mut request = outgoing(Method::Info);
    request.headers.remove(HeaderName::FROM);
    assert!(matches!(refused(request), Unsendable::Header(_)));
    let mut request = outgoing(Method::Info);
    request.headers.set_raw(HeaderName::CSEQ, "7 BYE").unwrap();
    assert!(matches!(refused(request), Unsendable::CSeq { .. }));
    party.empty();
}

#[test]
fn an_abandoned_transaction_is_gone_without_a_word_to_the_peer() {
    let mut party = Party::new();
    let tx = party.send(outgoing(Method::Invite), udp());
    party.sent();
    assert!(party.layer.abandon(tx, &mut party.out));
    party.client_ends(tx);
    assert!(!party.layer.abandon(tx, &mut party.out));
    party.empty();
}

#[test]
fn the_same_seed_gives_the_same_octets() {
    let run = || {
        let mut party = Party::new();
        party.send(outgoing(Method::Invite), udp());
        (party.sent().payload, party.layer.token())
    };
    assert_eq!(run(), run());
}

/// The host of the URI that was resolved, for the request, its CANCEL and its ACK; and `alias` where we have a certificate
/// (RFC 5923 §5).
#[test]
fn rfc_5922_7_3_everything_of_a_request_says_which_domain_has_to_be_proven() {
    let mut party = Party::with(|config| {
        let mut tls = Local::new(Transport::Tls, "192.0.2.1:5061".parse().unwrap());
        tls.alias = true;
        config.locals = Locals::new(vec![tls]);
    });
    let tx = party.send(outgoing(Method::Invite), "sips:example.com:5061".parse::<Uri>().unwrap());
    let query = party.out.queries.pop_front().unwrap();
    party.resolve(&query, Records::Addresses(vec!["192.0.2.9".parse().unwrap()]));
    let mut proven = Vec::new();
    let mut next = |party: &mut Party| {
        let sent = party.sent();
        assert_eq!(
            (sent.path.transport, sent.path.remote.to_string().as_str()),
            (Transport::Tls, "192.0.2.9:5061")
        );
        proven.push(sent.domain.as_deref().map(str::to_owned));
        request(&sent)
    };
    let invite = next(&mut party);
    assert!(invite.headers.require::<Via>().unwrap().param("alias").is_some());
    party.answer(&invite, 180);
    party.status();
    party.layer.cancel(party.now, tx, &sip_message::Headers::new(), &mut party.out).unwrap();
    assert_eq!(next(&mut party).method(), &Method::Cancel);
    party.answer(&invite, 487);
    assert_eq!(next(&mut party).method(), &Method::Ack);
    party
        .layer
        .send_stateless(
            outgoing(Method::Ack),
            "sips:192.0.2.9".parse::<Uri>().unwrap().into(),
            &mut party.out,
        )
        .unwrap();
    next(&mut party);
    assert_eq!(
        proven,
        ["example.com", "example.com", "example.com", "192.0.2.9"].map(|host| Some(host.to_owned()))
    );
}

/// A request of ours may have more than a peer's may: what it was sent as is read again for CANCEL and ACK all the same.
#[test]
fn what_is_larger_than_a_peer_may_send_is_cancelled_and_acknowledged_as_well() {
    let mut party = Party::new();
    let mut large = outgoing(Method::Invite);
    for number in 0..600 {
        large.headers.push_raw(format!("X-{number}").as_str(), "a").unwrap();
    }
    let tx = party.send(large, tcp());
    let sent = party.sent();
    assert!(Request::parse(sent.payload.clone(), &Limits::default()).is_err());
    let mut limits = Limits::default();
    limits.fields = 1_000;
    let invite = Request::parse(sent.payload, &limits).unwrap();
    let answered = |party: &mut Party, status: u16| {
        let status = StatusCode::new(status).unwrap();
        let answer = invite.reply(status).to_tag("them").build().unwrap();
        party.receive(answer.to_bytes(), Transport::Tcp);
        assert_eq!(party.status(), (tx, status.code()));
    };
    answered(&mut party, 180);
    party.layer.cancel(party.now, tx, &sip_message::Headers::new(), &mut party.out).unwrap();
    assert_eq!(party.sent_request().method(), &Method::Cancel);
    answered(&mut party, 487);
    assert_eq!(party.sent_request().method(), &Method::Ack);
}
