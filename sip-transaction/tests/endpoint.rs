//! The async endpoint over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sip_message::headers::{CSeq, CallId, From, RetryAfter, To};
use sip_message::{HeaderName, Method, Request, Response, StatusCode, Uri};
use sip_transaction::tokio::{Endpoint, Incoming, ServerTransaction};
use sip_transaction::{Failure, Timing};
use std::time::Duration;

async fn endpoint(listen: &[&str]) -> Endpoint {
    let mut builder = Endpoint::builder();
    for one in listen {
        builder = builder.listen(one).unwrap();
    }
    builder.bind().await.unwrap()
}

async fn pair() -> (Endpoint, Endpoint) {
    (endpoint(&["udp:127.0.0.1:0"]).await, endpoint(&["udp:127.0.0.1:0"]).await)
}

/// A request from one to the first listener of another.
fn request(from: &Endpoint, to: &Endpoint, method: Method) -> Request {
    let uri = to.locals().iter().next().unwrap().uri(Some("bob")).unwrap();
    Request::builder(method.clone(), &uri)
        .header(&From::new(&"sip:alice@a.example".parse::<Uri>().unwrap()).with_tag(&from.token()))
        .header(&To::new(&uri))
        .header(&CallId::new(&from.token()))
        .header(&CSeq::new(1, method))
        .build()
        .unwrap()
}

async fn accepted(endpoint: &Endpoint) -> ServerTransaction {
    match endpoint.accept().await.unwrap() {
        Incoming::Request(transaction) => transaction,
        other => panic!("{other:?}"),
    }
}

fn reply(transaction: &ServerTransaction, status: u16) -> Response {
    let status = StatusCode::new(status).unwrap();
    transaction.request().reply(status).to_tag("bob").build().unwrap()
}

fn ack(invite: &Request, ok: &Response) -> Request {
    Request::builder(Method::Ack, &invite.uri().unwrap())
        .copy(&invite.headers, HeaderName::FROM)
        .copy(&ok.headers, HeaderName::TO)
        .copy(&invite.headers, HeaderName::CALL_ID)
        .header(&CSeq::new(1, Method::Ack))
        .build()
        .unwrap()
}

#[tokio::test]
async fn invite_180_200_ack() {
    let (alice, bob) = pair().await;
    let invite = request(&alice, &bob, Method::Invite);
    let mut call = alice.send(invite.clone()).unwrap();
    let incoming = accepted(&bob).await;
    incoming.respond(&reply(&incoming, 180)).unwrap();
    let ringing = call.next().await.unwrap().unwrap();
    assert_eq!(ringing.status(), StatusCode::RINGING);
    incoming.respond(&reply(&incoming, 200)).unwrap();
    let ok = call.final_response().await.unwrap();
    assert_eq!(ok.status(), StatusCode::OK);
    alice.acknowledge(ack(&invite, &ok)).unwrap();
    let Some(Incoming::Ack { request, .. }) = bob.accept().await else { panic!("no ACK") };
    assert_eq!(request.method(), &Method::Ack);
    // The ACK got lost, as far as Bob knows: his second 2xx arrives too.
    incoming.respond(&reply(&incoming, 200)).unwrap();
    assert_eq!(call.next().await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(incoming.cancelled().await, None);
}

#[tokio::test]
async fn cancel_and_487() {
    let (alice, bob) = pair().await;
    let mut call = alice.send(request(&alice, &bob, Method::Invite)).unwrap();
    call.cancel().unwrap(); // held until the 180
    let incoming = accepted(&bob).await;
    incoming.respond(&reply(&incoming, 180)).unwrap();
    let cancel = incoming.cancelled().await.unwrap();
    assert_eq!(cancel.method(), &Method::Cancel);
    incoming.respond(&reply(&incoming, 487)).unwrap();
    assert_eq!(call.final_response().await.unwrap().status(), StatusCode::REQUEST_TERMINATED);
    assert!(call.next().await.is_none());
}

#[tokio::test]
async fn dropping_the_client_of_an_invite_cancels_it() {
    let (alice, bob) = pair().await;
    let mut call = alice.send(request(&alice, &bob, Method::Invite)).unwrap();
    let incoming = accepted(&bob).await;
    incoming.respond(&reply(&incoming, 180)).unwrap();
    call.next().await.unwrap().unwrap();
    drop(call);
    assert!(incoming.cancelled().await.is_some());
    // The answer crossed the CANCEL: somebody must end that call.
    incoming.respond(&reply(&incoming, 200)).unwrap();
    assert!(matches!(alice.accept().await, Some(Incoming::Stray { .. })));
}

#[tokio::test]
async fn dropping_an_unanswered_server_transaction_answers_500() {
    let (alice, bob) = pair().await;
    for method in [Method::Options, Method::Invite] {
        let mut asked = alice.send(request(&alice, &bob, method)).unwrap();
        drop(accepted(&bob).await);
        assert_eq!(asked.final_response().await.unwrap().status(), StatusCode::SERVER_INTERNAL_ERROR);
    }
}

#[tokio::test]
async fn a_full_queue_is_answered_503_with_retry_after_and_500_in_a_dialog() {
    let alice = endpoint(&["udp:127.0.0.1:0"]).await;
    let bob = Endpoint::builder().listen("udp:127.0.0.1:0").unwrap().accept_queue(1).bind().await.unwrap();
    let mut first = alice.send(request(&alice, &bob, Method::Options)).unwrap();
    let mut second = alice.send(request(&alice, &bob, Method::Options)).unwrap();
    let refused = second.final_response().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let wait = refused.headers.get::<RetryAfter>().unwrap().unwrap().seconds;
    assert!((5..=10).contains(&wait), "not all at the same moment, but in {wait} s");
    let mut inside = request(&alice, &bob, Method::Info);
    inside.headers.update_first::<To>(|to| to.set_tag("bob")).unwrap();
    let refused = alice.send(inside).unwrap().final_response().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVER_INTERNAL_ERROR);
    let waiting = accepted(&bob).await;
    waiting.respond(&reply(&waiting, 200)).unwrap();
    assert_eq!(first.final_response().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn large_requests_go_over_tcp_and_back() {
    let both = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"];
    let alice = endpoint(&both).await;
    // The same port for both transports: the one that is free for UDP may be taken for TCP, so it is tried.
    let bob = loop {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let builder = Endpoint::builder().listen(&format!("udp:127.0.0.1:{port}")).unwrap();
        let builder = builder.listen(&format!("tcp:127.0.0.1:{port}")).unwrap();
        if let Ok(bob) = builder.bind().await {
            break bob;
        }
    };
    let mut message = request(&alice, &bob, Method::Message);
    message.set_body("text/plain", vec![b'x'; 20_000]);
    let mut asked = alice.send(message).unwrap();
    let incoming = accepted(&bob).await;
    assert_eq!(incoming.path().transport, sip_transport::Transport::Tcp);
    assert_eq!(incoming.request().body().len(), 20_000);
    incoming.respond(&reply(&incoming, 200)).unwrap();
    assert_eq!(asked.final_response().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_large_request_to_a_host_without_tcp_goes_over_udp() {
    let alice = endpoint(&["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]).await;
    let bob = endpoint(&["udp:127.0.0.1:0"]).await;
    let mut message = request(&alice, &bob, Method::Message);
    message.set_body("text/plain", vec![b'x'; 2_000]);
    let mut asked = alice.send(message).unwrap();
    let incoming = accepted(&bob).await;
    assert_eq!(incoming.path().transport, sip_transport::Transport::Udp);
    incoming.respond(&reply(&incoming, 200)).unwrap();
    assert_eq!(asked.final_response().await.unwrap().status(), StatusCode::OK);
    assert_eq!(alice.counters().failovers, 1);
}

#[tokio::test]
async fn over_ipv6_too() {
    let Ok(builder) = Endpoint::builder().listen("udp:[::1]:0").unwrap().bind().await else {
        println!("skipped: no IPv6 here");
        return;
    };
    let (alice, bob) = (builder, endpoint(&["udp:[::1]:0"]).await);
    let mut asked = alice.send(request(&alice, &bob, Method::Options)).unwrap();
    let incoming = accepted(&bob).await;
    incoming.respond(&reply(&incoming, 200)).unwrap();
    assert_eq!(asked.final_response().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn nobody_answers() {
    let timing = Timing::with_t1(Duration::from_millis(2));
    let alice = Endpoint::builder().listen("udp:127.0.0.1:0").unwrap().timing(timing).bind().await.unwrap();
    // A socket that nobody reads.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let bob = endpoint(&["udp:127.0.0.1:0"]).await;
    let options = request(&alice, &bob, Method::Options);
    let path = sip_transport::Path::to(sip_transport::Transport::Udp, silent.local_addr().unwrap());
    let mut asked = alice.send_to(options, path.into()).unwrap();
    assert_eq!(asked.final_response().await, Err(Failure::Timeout));
    assert_eq!(alice.live(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_with_several_who_accept() {
    let (alice, bob) = pair().await;
    for _ in 0..4 {
        let bob = bob.clone();
        tokio::spawn(async move {
            while let Some(incoming) = bob.accept().await {
                if let Incoming::Request(incoming) = incoming {
                    incoming.respond(&reply(&incoming, 200)).unwrap();
                }
            }
        });
    }
    let asked: Vec<_> = (0..500)
        .map(|_| {
            let (alice, options) = (alice.clone(), request(&alice, &bob, Method::Options));
            tokio::spawn(async move { alice.send(options).unwrap().final_response().await })
        })
        .collect();
    for one in asked {
        assert_eq!(one.await.unwrap().unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn closing_tells_everybody_who_waits() {
    let (alice, bob) = pair().await;
    let mut call = alice.send(request(&alice, &bob, Method::Invite)).unwrap();
    let incoming = accepted(&bob).await;
    let waiting = {
        let bob = bob.clone();
        tokio::spawn(async move { bob.accept().await.is_none() })
    };
    let cancelled = tokio::spawn(async move { incoming.cancelled().await });
    let response = tokio::spawn(async move { call.final_response().await });
    tokio::task::yield_now().await;
    bob.close().await;
    alice.close().await;
    assert!(waiting.await.unwrap());
    assert_eq!(cancelled.await.unwrap(), None);
    assert_eq!(response.await.unwrap(), Err(Failure::Closed));
    assert!(bob.accept().await.is_none());
}

#[tokio::test]
async fn dropping_the_last_of_it_frees_the_port() {
    let alice = endpoint(&["udp:127.0.0.1:0"]).await;
    let port = alice.locals().iter().next().unwrap().port;
    drop(alice);
    // The tasks of the driver end soon, not at once.
    for _ in 0..1000 {
        if tokio::net::UdpSocket::bind(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("port {port} is still taken");
}
