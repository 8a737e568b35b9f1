//! Who does not know a branch can do nothing: R22 of forged responses and requests (RFC 3261 §17.1.3, §17.2.3, §18.1.2).

use super::*;

/// Somebody who is neither we nor they.
const STRANGER: &str = "203.0.113.66:5060";
const FORGED: u64 = 100_000;

/// A generator that is the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ (self.0 >> 29)
    }
}

/// The answer to a request with another top Via: this host and this branch.
fn forged(request: &Request, status: u16, host: &str, branch: &str) -> Response {
    let mut response = request.reply(StatusCode::new(status).unwrap()).to_tag("evil").build().unwrap();
    let _ = response.headers.pop_front::<sip_message::headers::Via>();
    let via = sip_message::headers::Via::new("UDP", host, Some(5060)).with_param("branch", Some(branch));
    response.headers.push_front(&via);
    response
}

/// The branch as who knows our table would write it: the key is right, the random part is guessed.
fn guess(branch: &str, chance: u64) -> String {
    format!("{}{chance:016x}", &branch[..branch.len() - 16])
}

#[test]
fn r22_a_hundred_thousand_forged_responses_change_nothing() {
    let mut party = Party::new();
    let calling = (party.send(outgoing(Method::Invite), udp()), party.sent_request());
    let ringing = (party.send(outgoing(Method::Invite), udp()), party.sent_request());
    party.answer(&ringing.1, 180);
    assert_eq!(party.status(), (ringing.0, 180));
    let trying = (party.send(outgoing(Method::Bye), udp()), party.sent_request());
    let before = (*party.layer.counters(), party.layer.armed_timers());
    party.quiet();

    let mut chance = Chance(22);
    let requests = [&calling.1, &ringing.1, &trying.1];
    for number in 0..FORGED {
        let request = requests[usize::try_from(number % 3).unwrap()];
        let right = branch(&request.headers);
        let status = [100, 180, 200, 302, 404, 486, 503, 603][usize::try_from(chance.next() % 8).unwrap()];
        let random = chance.next();
        let response = match number % 4 {
            // A branch of the right form; of an honest guess; the right one to a host that we are not.
            0 => forged(request, status, "192.0.2.1", &guess(&right, random)),
            1 => forged(request, status, "192.0.2.1", &format!("z9hG4bK{random:016x}{:016x}", chance.next())),
            2 => forged(request, status, "198.51.100.1", &right),
            // The branch of one transaction with the method of another (§17.1.3).
            _ => {
                let other = requests[usize::try_from((number + 1) % 3).unwrap()];
                let is_other = other.method() != request.method();
                let host = if is_other { "192.0.2.1" } else { "192.0.2.99" };
                forged(other, status, host, &right)
            }
        };
        let transport = if random.is_multiple_of(8) { Transport::Tcp } else { Transport::Udp };
        party.receive_from(response.to_bytes(), transport, STRANGER);
        // The one thing that a 2xx to INVITE nobody waits for does: a dialog is told, which does not know it.
        while let Some(event) = party.out.events.pop_front() {
            assert!(matches!(event, Event::Stray { .. }), "{number}: {event:?}");
        }
        assert!(party.out.transmits.is_empty(), "{number}: something was sent");
    }
    let after = party.layer.counters();
    assert_eq!((after.responses, after.failed, after.failovers), (before.0.responses, 0, 0));
    assert_eq!(after.responses_dropped + after.strays, before.0.responses_dropped + before.0.strays + FORGED);
    assert_eq!((party.layer.live_client(), party.layer.armed_timers()), (3, before.1));
    // The true answers are still awaited.
    for (tx, request) in [calling, ringing, trying] {
        party.answer(&request, 200);
        assert_eq!(party.status(), (tx, 200));
    }
}

/// CANCEL and ACK of who has not sent the INVITE: another branch, another sent-by (§9.2, §17.2.3).
#[test]
fn r22_forged_cancels_and_acks_do_not_find_their_invite() {
    let mut party = Party::new();
    let (tx, request) = party.incoming(&from_them("INVITE", "z9hG4bKtheirs", ""));
    party.respond(tx, &request, 180);
    party.sent();
    let mut chance = Chance(9);
    for number in 0..10_000_u64 {
        let (method, status) = if number % 2 == 0 { ("CANCEL", 481) } else { ("ACK", 0) };
        let text = if number % 4 < 2 {
            from_them(method, &format!("z9hG4bK{:x}", chance.next()), "")
        } else {
            from_them(method, "z9hG4bKtheirs", "").replace("192.0.2.2:5060;rport", "203.0.113.66:5060;rport")
        };
        party.receive_from(text, Transport::Udp, STRANGER);
        while let Some(sent) = party.out.transmits.pop_front() {
            assert_eq!(response(&sent).status().code(), status, "{number}");
        }
        while let Some(event) = party.out.events.pop_front() {
            assert!(matches!(event, Event::Ack { .. }), "{number}: {event:?}");
        }
        // Each 481 has a transaction of its own until Timer J.
        if number % 500 == 499 {
            party.pass(TIMEOUT * 2);
            party.out.transmits.clear();
            party.out.events.clear();
        }
    }
    assert_eq!(party.layer.counters().cancels, 0);
    party.respond(tx, &request, 486);
    assert_eq!(party.sent_response().status().code(), 486);
}
