//! Overload: what is refused first, and what neighbours tell each other about it (RFC 7339).

use super::*;
use sip_message::headers::Via;
use sip_transaction::Tier;

/// A request from the other side that heeds reports of overload, or not.
fn from_neighbour(method: &str, branch: &str, to_tag: &str, heeds: bool) -> String {
    let text = from_them(method, branch, to_tag);
    let announced = if heeds { ";oc;oc-algo=\"loss,A\";branch=" } else { ";branch=" };
    text.replacen(";branch=", announced, 1)
}

fn via(headers: &sip_message::Headers) -> Via {
    headers.require::<Via>().unwrap()
}

#[test]
fn new_dialogs_are_refused_first_then_what_is_not_essential_then_all_that_is_new() {
    let mut party = Party::with(|config| config.limits.server_transactions = 100);
    let refused = |party: &mut Party, method: &str, branch: String, to_tag: &str| {
        party.receive(from_them(method, &branch, to_tag), Transport::Udp);
        match party.out.transmits.pop_front() {
            Some(transmit) => {
                assert_eq!(response(&transmit).status(), StatusCode::SERVICE_UNAVAILABLE);
                assert!(response(&transmit).headers.contains(HeaderName::RETRY_AFTER));
                party.quiet();
                true
            }
            None => {
                assert!(matches!(party.event(), Event::Request { .. }));
                false
            }
        }
    };
    let (mut invites, mut options, mut registers) = (0, 0, 0);
    for n in 0..200 {
        invites += usize::from(!refused(&mut party, "SUBSCRIBE", format!("z9hG4bKs{n}"), ""));
    }
    assert_eq!((invites, party.layer.tier()), (80, Tier::NoNewDialogs));
    for n in 0..200 {
        options += usize::from(!refused(&mut party, "OPTIONS", format!("z9hG4bKo{n}"), ""));
    }
    assert_eq!((options, party.layer.tier()), (10, Tier::Essential));
    for n in 0..200 {
        registers += usize::from(!refused(&mut party, "REGISTER", format!("z9hG4bKr{n}"), ""));
    }
    assert_eq!((registers, party.layer.tier()), (5, Tier::FinishOnly));
    // What exists is finished.
    assert!(!refused(&mut party, "INFO", "z9hG4bKi1".into(), ";tag=us"));
    assert!(!refused(&mut party, "BYE", "z9hG4bKb1".into(), ";tag=us"));
    let counters = *party.layer.counters();
    assert_eq!((counters.refused, counters.refused_dialogs), (120 + 190 + 195, 120));
}

#[test]
fn the_application_may_know_better() {
    let mut party = Party::new();
    party.layer.set_least_tier(Tier::NoNewDialogs);
    party.receive(from_them("SUBSCRIBE", "z9hG4bK1", ""), Transport::Udp);
    assert_eq!(party.sent_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    party.layer.set_least_tier(Tier::Open);
    party.incoming(&from_them("SUBSCRIBE", "z9hG4bK2", ""));
}

/// R32: what nobody is known for is not answered with much more than it sent, and leaves nothing behind.
#[test]
fn a_refusal_is_small_and_leaves_nothing_behind() {
    let mut party = Party::with(|config| config.limits.server_transactions = 0);
    for method in ["INVITE", "OPTIONS", "REGISTER", "MESSAGE"] {
        let request = from_neighbour(method, "z9hG4bK1", "", true);
        party.receive(request.clone(), Transport::Udp);
        let answer = party.sent().payload;
        assert!(answer.len() <= 2 * request.len(), "{method}: {} to {}", answer.len(), request.len());
        party.empty();
    }
}

/// RFC 7339 §4, §5.2: who heeds reports gets them in the top Via of every response, who does not gets none.
#[test]
fn rfc_7339_5_2_a_server_reports_its_load_to_those_who_heed_it() {
    let mut party = Party::with(|config| config.limits.server_transactions = 100);
    let (tx, options) = party.incoming(&from_neighbour("OPTIONS", "z9hG4bK1", "", true));
    party.respond(tx, &options, 200);
    let told = via(&party.sent_response().headers);
    assert_eq!((told.param("oc"), told.param("oc-validity")), (Some(Some("0")), Some(Some("500"))));
    assert_eq!(told.params().unquoted("oc-algo").as_deref(), Some("loss"));
    let sequence = |via: &Via| via.params().value("oc-seq").unwrap().parse::<f64>().unwrap();
    let first = sequence(&told);

    party.layer.set_least_tier(Tier::Essential);
    party.receive(from_neighbour("MESSAGE", "z9hG4bK2", "", true), Transport::Udp);
    let told = via(&party.sent_response().headers);
    assert_eq!(told.param("oc"), Some(Some("50")));
    assert!(sequence(&told) > first, "a client tells the newer report by it");

    // The layer's own 100 as well (§5.11).
    party.layer.set_least_tier(Tier::Open);
    party.incoming(&from_neighbour("INVITE", "z9hG4bK4", "", true));
    party.pass(Duration::from_millis(200));
    let trying = party.sent_response();
    assert_eq!((trying.status(), via(&trying.headers).param("oc")), (StatusCode::TRYING, Some(Some("0"))));

    party.layer.set_least_tier(Tier::Essential);
    party.receive(from_neighbour("MESSAGE", "z9hG4bK3", "", false), Transport::Udp);
    assert_eq!(via(&party.sent_response().headers).param("oc"), None);
}

/// RFC 7339 §5.1, §5.4, §5.5, §7.2: a client announces that it heeds reports, and keeps to itself what it is asked to.
#[test]
fn rfc_7339_7_2_a_client_spares_the_next_hop_as_long_as_it_asks() {
    let mut party = Party::with(|config| config.heed_overload = true);
    party.send(outgoing(Method::Options), udp());
    let sent = party.sent_request();
    let own = via(&sent.headers);
    assert_eq!((own.param("oc"), own.params().unquoted("oc-algo").as_deref()), (Some(None), Some("loss")));
    let report = |request: &Request, oc: &str, sequence: u32| {
        let mut response = request.reply(StatusCode::OK).to_tag("them").build().unwrap();
        let told = via(&response.headers)
            .with_param("oc", Some(oc))
            .with_param("oc-algo", Some("\"loss\""))
            .with_param("oc-validity", Some("3000"))
            .with_param("oc-seq", Some(&format!("{sequence}.5")));
        assert!(response.headers.replace_first(&told));
        response.to_bytes()
    };
    // From a third address it is nobody's report.
    party.receive_from(report(&sent, "100", 1), Transport::Udp, "192.0.2.66:5060");
    party.out.events.clear();
    let spared = |party: &mut Party| {
        let before = party.layer.counters().spared;
        for _ in 0..400 {
            party.send(outgoing(Method::Options), udp());
        }
        party.out.transmits.clear();
        party.layer.counters().spared - before
    };
    assert_eq!(spared(&mut party), 0);

    party.send(outgoing(Method::Options), udp());
    let sent = party.sent_request();
    party.receive(report(&sent, "30", 2), Transport::Udp);
    party.out.events.clear();
    let share = spared(&mut party);
    assert!((80..160).contains(&share), "{share} of 400, expected about 120");
    let failed = |event: &Event| matches!(event, Event::Failed { failure: Failure::Overloaded, .. });
    assert_eq!(party.out.events.iter().filter(|event| failed(event)).count() as u64, share);
    assert_eq!(Failure::Overloaded.status(), StatusCode::SERVICE_UNAVAILABLE);
    // What belongs to a dialog goes, as do calls for help.
    party.receive(report(&sent, "100", 3), Transport::Udp);
    party.out.events.clear();
    party.send(outgoing(Method::Bye), udp());
    assert_eq!(*party.sent_request().method(), Method::Bye);

    party.pass(Duration::from_secs(3));
    party.out.transmits.clear();
    assert_eq!(spared(&mut party), 0, "the report's time is over");
}

/// RFC 7339 §5.9: after three failures in a row a next hop is left alone, but for a request after 1, 2, 4... seconds, until
/// one is answered. Calls for help are tried.
#[test]
fn rfc_7339_5_9_a_next_hop_that_has_fallen_silent_is_asked_rarely_until_it_answers() {
    let mut party = Party::with(|config| config.heed_overload = true);
    for _ in 0..3 {
        party.send(outgoing(Method::Options), udp());
    }
    party.pass(TIMEOUT);
    // Within a minute one request each half second: those that go out are the first after each pause.
    let mut went = Vec::new();
    let start = party.now;
    for _ in 0..120 {
        party.out.transmits.clear();
        party.out.events.clear();
        let sent = party.layer.counters().sent;
        party.send(outgoing(Method::Bye), udp());
        if party.layer.counters().sent > sent {
            went.push((party.now - start).as_secs());
        } else {
            let Event::Failed { failure, .. } = party.event() else { panic!("it was not told") };
            assert_eq!(failure, Failure::Overloaded);
        }
        party.pass(SECOND / 2);
    }
    assert_eq!(went, [1, 3, 7, 15, 31]);
    let sos: Uri = "urn:service:sos".parse().unwrap();
    party.out.transmits.clear();
    let mut help = outgoing(Method::Invite);
    help.set_uri(&sos);
    party.send(help, udp());
    let call = party.sent_request();
    party.answer(&call, 200);
    party.out.events.clear();
    for _ in 0..10 {
        party.send(outgoing(Method::Options), udp());
        assert_eq!(*party.sent_request().method(), Method::Options);
    }
}

/// Without reports of overload a silent next hop costs each request its time, as RFC 3261 has it.
#[test]
fn who_does_not_heed_reports_asks_a_silent_hop_each_time() {
    let mut party = Party::new();
    for _ in 0..5 {
        let tx = party.send(outgoing(Method::Options), udp());
        party.sent();
        party.pass(TIMEOUT);
        party.out.transmits.clear();
        assert_eq!(party.failed(tx), Failure::Timeout);
        party.client_ends(tx);
    }
}

/// A server in trouble whose neighbours heed it does more than twice as much as one whose neighbours do not, which
/// spends its time on refusing. Work: 10 units for a request that is taken, 2 for one that is refused, 1,000 units a second.
#[test]
fn rfc_7339_goodput_stays_where_neighbours_heed_reports() {
    let goodput = |heeds: bool| {
        let mut client = Party::with(|config| config.heed_overload = heeds);
        let mut server = Party::new();
        let (mut done, mut backlog) = (0_u32, 0_u32);
        for _ in 0..400 {
            // A tenth of a second: 40 new requests come for a server that can do ten.
            let mut room = 100_u32;
            for _ in 0..40 {
                client.send(outgoing(Method::Message), udp());
                let Some(transmit) = client.out.transmits.pop_front() else { continue };
                // The application is loaded when what waits is more than it can do in this time.
                server.layer.set_least_tier(if backlog > 100 { Tier::Essential } else { Tier::Open });
                server.receive(transmit.payload, Transport::Udp);
                if let Some((tx, request)) = server.taken() {
                    backlog += 10;
                    if room >= 10 {
                        room -= 10;
                        backlog -= 10;
                        done += 1;
                    }
                    server.respond(tx, &request, 200);
                } else {
                    let cost = 2.min(room);
                    room -= cost;
                    backlog += 2 - cost;
                }
                let answer = server.sent().payload;
                client.receive(answer, Transport::Udp);
            }
            backlog = backlog.saturating_sub(room);
            client.out.events.clear();
            for party in [&mut client, &mut server] {
                party.pass(Duration::from_millis(100));
                party.out.transmits.clear();
                party.out.events.clear();
            }
        }
        done
    };
    let (with, without) = (goodput(true), goodput(false));
    assert!(with > 2 * without, "{with} with reports, {without} without");
}
