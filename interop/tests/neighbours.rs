//! Calls between the users of `sip server` and those of Kamailio, its neighbour: by loose routing, and with a strict router
//! of the old kind between the two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use interop::{Dir, Kamailio, Own, Server, StrictRouter, free_tcp_and_udp_port, turn, within};
use sip_ua::Call;

/// The server of `example.test`, whose calls to `far.test` go by `next_hop`.
fn settings(next_hop: &str) -> String {
    format!(
        "domains = [\"example.test\"]\n\
         [[user]]\nname = \"alice\"\npassword = \"secret\"\n\
         [[route]]\ndomain = \"far.test\"\nvia = \"{next_hop}\"\n"
    )
}

async fn registered(user: &str, domain: &str, proxy: &str, transport: &str) -> Own {
    let phone = sip_ua::Phone::builder(&format!("sip:{user}@{domain}")).password("secret");
    let phone =
        phone.listen(&format!("{transport}:127.0.0.1:0")).proxy(&format!("{proxy};transport={transport}"));
    let own = Own::with(user, phone).await;
    within("registration", own.phone.register()).await.unwrap();
    own
}

/// A call from one to the other: both sides send re-INVITEs and each of the two hangs up, in a call of its own.
async fn calls(caller: &Own, callee: &Own, to: &str) {
    for caller_ends in [true, false] {
        let calling = caller.phone.call(to).await.unwrap();
        let answering =
            async { within("the call", callee.phone.incoming()).await.unwrap().answer().await.unwrap() };
        let (call, answered) =
            tokio::join!(async { within("the answer", calling.answered()).await.unwrap() }, answering);
        holds(&call, &answered).await;
        holds(&answered, &call).await;
        let (ends, hears) = if caller_ends { (call, answered) } else { (answered, call) };
        within("BYE", ends.hang_up()).await;
        within("the end", hears.ended()).await;
    }
}

async fn holds(one: &Call, other: &Call) {
    within("hold", one.hold()).await.unwrap();
    assert!(other.is_held_by_peer());
    within("resume", one.resume()).await.unwrap();
    assert!(!other.is_held_by_peer());
}

/// Each request that came to a phone in a dialog, and how many hops it took.
fn hops(phone: &Own, method: &str) -> Vec<usize> {
    let requests = phone.received(method).into_iter();
    requests.map(|text| text.lines().filter(|line| line.starts_with("Via:")).count()).collect()
}

/// Every request in the calls took the same way as the INVITE: over so many hops, the phone's own included. Two calls each
/// way, in which each phone gets three or two INVITEs and one of the two BYEs.
fn assert_all_took_the_route(phones: [&Own; 2], each: usize) {
    for phone in phones {
        // As callee twice: INVITE and two of hold and resume; as caller twice: two of hold and resume.
        assert_eq!(hops(phone, "INVITE"), [each; 10], "{}", phone.uri);
        assert_eq!(hops(phone, "BYE"), [each; 2], "{}", phone.uri);
        // Nothing was refused: Alice is asked for her password.
        let refused = phone.received("SIP/2.0 4").into_iter();
        assert_eq!(refused.filter(|text| !text.contains("Authenticate:")).collect::<Vec<_>>(), [""; 0]);
    }
}

/// RFC 3261 §16.4, §16.12.1.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_between_users_of_the_server_and_of_kamailio_over_udp_and_tcp() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    for transport in ["udp", "tcp"] {
        let dir = Dir::new(&format!("neighbours-{transport}"));
        let port = free_tcp_and_udp_port();
        let kamailio =
            Kamailio::start_neighbour(&dir, &format!("sip:127.0.0.1:{port};transport={transport}"));
        let next_hop = format!("{};transport={transport}", kamailio.uri());
        let mut server = Server::start_by_at(&dir, port, &settings(&next_hop));
        let alice = registered("alice", "example.test", &server.uri(), transport).await;
        let bob = registered("bob", "far.test", &kamailio.uri(), transport).await;
        calls(&alice, &bob, "sip:bob@far.test").await;
        calls(&bob, &alice, "sip:alice@example.test").await;
        assert_all_took_the_route([&alice, &bob], 3);
        alice.phone.close().await;
        bob.phone.close().await;
        assert_eq!(server.end().bindings, 0);
    }
}

/// RFC 3261 §16.4, §16.6 step 6, §16.12.1.2: requests in the dialog come to the server with its own URI as Request-URI and
/// leave it with that of the strict router.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc_3261_16_4_calls_with_a_strict_router_between_the_server_and_kamailio() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("neighbours-strict");
    let strict = StrictRouter::start();
    let port = free_tcp_and_udp_port();
    let next_hop = format!("sip:{};transport=udp", strict.address);
    let kamailio = Kamailio::start_neighbour(&dir, &next_hop);
    let mut server = Server::start_by_at(&dir, port, &settings(&next_hop));
    strict.between(server.udp, kamailio.address);
    let alice = registered("alice", "example.test", &server.uri(), "tcp").await;
    let bob = registered("bob", "far.test", &kamailio.uri(), "udp").await;
    calls(&alice, &bob, "sip:bob@far.test").await;
    calls(&bob, &alice, "sip:alice@example.test").await;
    assert_all_took_the_route([&alice, &bob], 4);
    // Four calls of four re-INVITEs, five ACKs and a BYE.
    assert_eq!(strict.routed_strictly(), 4 * (4 + 5 + 1));
    alice.phone.close().await;
    bob.phone.close().await;
    assert_eq!(server.end().bindings, 0);
}
