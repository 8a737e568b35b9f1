//! The driver over loopback sockets, against itself and against peers that misbehave.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod peer;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peer::{PATIENCE, Peer, Seen, options, text};
use sip_transport::capture::Capture;
use sip_transport::limits::Limits;
use sip_transport::tokio::{Listen, Options, Resolve, Resolving, Sockets};
use sip_transport::{
    Close, CloseReason, FlowEvent, Path, Query, QueryKey, Question, Records, ResolveError, SendError, Token,
    Transmit, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

async fn there_and_back(address: &str, transport: Transport) {
    let listen = format!("{}:{address}:0", transport.uri_param());
    let (mut alice, mut bob) = (Peer::new(&[&listen]), Peer::new(&[&listen]));
    let (a, b) = (alice.at(transport), bob.at(transport));
    for number in 0..20 {
        alice.send(options(transport, a, b, number));
        let (asked, path) = bob.request().await;
        assert_eq!(asked, number);
        assert_eq!(path.remote.ip(), a.ip());
        assert_eq!(path.local, b);
        let (answered, path) = alice.response().await;
        assert_eq!(answered, number);
        assert_eq!(path.remote, b);
    }
    let expected = usize::from(transport.is_reliable());
    assert_eq!((alice.handle.connections(), bob.handle.connections()), (expected, expected));
    assert_eq!(bob.handle.counters().received, 20);
    assert_eq!(alice.handle.counters().sent, 20);
}

#[tokio::test]
async fn requests_and_responses_over_udp_and_ipv4() {
    there_and_back("127.0.0.1", Transport::Udp).await;
}

#[tokio::test]
async fn requests_and_responses_over_udp_and_ipv6() {
    there_and_back("[::1]", Transport::Udp).await;
}

#[tokio::test]
async fn requests_and_responses_over_one_tcp_connection_and_ipv4() {
    there_and_back("127.0.0.1", Transport::Tcp).await;
}

#[tokio::test]
async fn requests_and_responses_over_one_tcp_connection_and_ipv6() {
    there_and_back("[::1]", Transport::Tcp).await;
}

/// The same on a runtime of several threads, where every task and caller meets at the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_from_many_threads_all_come_back() {
    let both = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"];
    let (mut alice, bob) = (Peer::new(&both), Peer::new(&both));
    let (from, to) = (alice.at(Transport::Tcp), bob.at(Transport::Tcp));
    let senders: Vec<_> = (0..4)
        .map(|thread| {
            let handle = alice.handle.clone();
            tokio::spawn(async move {
                for number in thread * 100..(thread + 1) * 100 {
                    let transmit = options(Transport::Tcp, from, to, number);
                    handle.with(|core, _| core.transmits.push_back(transmit));
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let mut answered = Vec::new();
    while answered.len() < 400 {
        answered.push(alice.response().await.0);
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..400).collect::<Vec<u32>>());
    assert_eq!(bob.handle.connections(), 1);
}

/// What several calls have left for a connection leaves together, in order and whole, whatever its size.
#[tokio::test]
async fn a_burst_over_one_connection_arrives_whole_and_in_order() {
    let (mut alice, mut bob) = (Peer::new(&["tcp:127.0.0.1:0"]), Peer::new(&["tcp:127.0.0.1:0"]));
    let (a, b) = (alice.at(Transport::Tcp), bob.at(Transport::Tcp));
    bob.handle.with(|core, _| core.body = 7_000);
    for number in 0..100 {
        alice.send(options(Transport::Tcp, a, b, number));
    }
    for number in 0..100 {
        assert_eq!(bob.request().await.0, number);
    }
    for number in 0..100 {
        assert_eq!(alice.response().await.0, number);
    }
    assert_eq!(bob.handle.counters().accepted, 1);
}

#[tokio::test]
async fn one_port_number_serves_both_families() {
    let v4 = Peer::new(&["udp:0.0.0.0:0"]);
    let port = v4.at(Transport::Udp).port();
    let Ok(sockets) = Sockets::bind(&[Listen::new(Transport::Udp, format!("[::]:{port}").parse().unwrap())])
    else {
        println!("skipped: the port is taken for IPv6");
        return;
    };
    assert_eq!(sockets.locals().iter().next().unwrap().bound.port(), port);
}

#[tokio::test]
async fn an_accepted_connection_is_used_for_requests_to_its_peer() {
    let (mut alice, mut bob) = (Peer::new(&["tcp:127.0.0.1:0"]), Peer::new(&["tcp:127.0.0.1:0"]));
    let (a, b) = (alice.at(Transport::Tcp), bob.at(Transport::Tcp));
    alice.send(options(Transport::Tcp, a, b, 1));
    let (_, path) = bob.request().await;
    bob.send(options(Transport::Tcp, b, path.remote, 2));
    let (number, _) = alice.request().await;
    assert_eq!(number, 2);
    assert_eq!((alice.handle.connections(), bob.handle.connections()), (1, 1));
}

/// RFC 3261 §18.2.2: a response whose connection is gone goes to the received address and the port of the sent-by.
#[tokio::test]
async fn a_response_reopens_a_connection_that_is_gone() {
    let mut bob = Peer::new(&["tcp:127.0.0.1:0"]);
    bob.handle.with(|core, _| core.answers = false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sent_by = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(bob.at(Transport::Tcp)).await.unwrap();
    client.write_all(text(Transport::Tcp, sent_by, 1).as_bytes()).await.unwrap();
    let (_, path) = bob.request().await;
    drop(client);
    assert_eq!(bob.closed().await, CloseReason::Peer);

    let answer = |reopen| {
        let payload = "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".into();
        Transmit { path, payload, reopen, domain: None, token: Token(5) }
    };
    bob.send(answer(Some(sent_by)));
    let (mut accepted, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut start = [0; 14];
    timeout(PATIENCE, accepted.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"SIP/2.0 200 OK");

    bob.send(answer(None));
    assert_eq!(bob.failure().await, (Token(5), SendError::Closed));
}

#[tokio::test]
async fn what_cannot_be_sent_comes_back_with_its_token() {
    let mut alice = Peer::new(&["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]);
    let a = alice.at(Transport::Tcp);
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    alice.send(options(Transport::Tcp, a, nobody, 1));
    assert_eq!(alice.failure().await, (Token(1), SendError::Refused));
    alice.send(options(Transport::Udp, a, "[::1]:5060".parse().unwrap(), 2));
    assert_eq!(alice.failure().await, (Token(2), SendError::NoLocal));
    alice.send(options(Transport::Tls, a, nobody, 3));
    assert_eq!(alice.failure().await, (Token(3), SendError::NoLocal));
    let huge = Transmit { payload: vec![b'x'; 70_000].into(), ..options(Transport::Udp, a, nobody, 4) };
    alice.send(huge);
    assert_eq!(alice.failure().await, (Token(4), SendError::TooLarge));
    assert_eq!(alice.handle.counters().send_failures, 4);
    assert_eq!(alice.handle.connections(), 0);
}

#[tokio::test]
async fn a_message_arrives_whole_wherever_the_stream_is_cut() {
    let mut bob = Peer::new(&["tcp:127.0.0.1:0"]);
    let mut client = TcpStream::connect(bob.at(Transport::Tcp)).await.unwrap();
    client.set_nodelay(true).unwrap();
    let sent_by = client.local_addr().unwrap();
    let length = text(Transport::Tcp, sent_by, 1).len();
    for cut in 0..length {
        let number = u32::try_from(cut).unwrap();
        let message = text(Transport::Tcp, sent_by, number);
        let (head, tail) = message.as_bytes().split_at(cut);
        client.write_all(head).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(tail).await.unwrap();
        assert_eq!(bob.request().await.0, number);
    }
    assert_eq!(bob.handle.counters().malformed_streams, 0);
}

#[tokio::test]
async fn keep_alives_are_answered_on_streams_and_swallowed_on_udp() {
    let mut bob = Peer::new(&["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]);
    let mut client = TcpStream::connect(bob.at(Transport::Tcp)).await.unwrap();
    client.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    timeout(PATIENCE, client.read_exact(&mut pong)).await.unwrap().unwrap();
    assert_eq!(&pong, b"\r\n");

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = bob.at(Transport::Udp);
    client.send_to(b"\r\n\r\n", to).await.unwrap();
    client.send_to(b"not SIP at all", to).await.unwrap();
    client.send_to(text(Transport::Udp, client.local_addr().unwrap(), 3).as_bytes(), to).await.unwrap();
    assert_eq!(bob.request().await.0, 3);
    let counters = bob.handle.counters();
    assert_eq!((counters.keep_alives, counters.rejected_datagrams, counters.received), (2, 1, 1));
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset ends the stream as well as a FIN.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the connection stays open");
    String::from_utf8(all).unwrap()
}

/// RFC 3261 §18.3: without a Content-Length the next message cannot be found.
#[tokio::test]
async fn a_stream_that_cannot_be_framed_is_answered_and_closed() {
    let mut bob = Peer::new(&["tcp:127.0.0.1:0"]);
    let to = bob.at(Transport::Tcp);
    let mut client = TcpStream::connect(to).await.unwrap();
    let message = text(Transport::Tcp, client.local_addr().unwrap(), 1).replace("Content-Length: 4\r\n", "");
    client.write_all(message.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("SIP/2.0 400 Bad Content-Length\r\nVia: SIP/2.0/TCP "), "{answer}");
    assert!(answer.contains("received=127.0.0.1") && answer.contains("CSeq: 1 OPTIONS"), "{answer}");
    assert_eq!(bob.closed().await, CloseReason::Malformed);

    let mut client = TcpStream::connect(to).await.unwrap();
    let large = text(Transport::Tcp, to, 2).replace("Content-Length: 4", "Content-Length: 99999999");
    client.write_all(large.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut client).await.starts_with("SIP/2.0 413 "));

    let mut client = TcpStream::connect(to).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "");
    bob.closed().await;
    bob.closed().await;
    assert_eq!(bob.handle.counters().malformed_streams, 3);
    assert_eq!(bob.handle.connections(), 0);
}

#[tokio::test]
async fn connections_are_limited_in_all_and_by_source() {
    for (limits, by_source) in [
        (Limits { connections_per_source: 2, ..Limits::default() }, true),
        (Limits { connections: 2, ..Limits::default() }, false),
    ] {
        let mut bob = Peer::limited(limits);
        let to = bob.at(Transport::Tcp);
        let first = TcpStream::connect(to).await.unwrap();
        let mut second = TcpStream::connect(to).await.unwrap();
        let mut third = TcpStream::connect(to).await.unwrap();
        assert_eq!(read_to_end(&mut third).await, "");
        let counters = bob.handle.counters();
        let refused = if by_source { counters.refused_per_source } else { counters.refused_total };
        assert_eq!((counters.accepted, refused), (2, 1));

        // A place that becomes free is given to the next.
        drop(first);
        assert_eq!(bob.closed().await, CloseReason::Peer);
        let mut fourth = TcpStream::connect(to).await.unwrap();
        fourth.write_all(text(Transport::Tcp, to, 4).as_bytes()).await.unwrap();
        assert_eq!(bob.request().await.0, 4);
        second.write_all(text(Transport::Tcp, to, 2).as_bytes()).await.unwrap();
        assert_eq!(bob.request().await.0, 2);
    }
}

#[tokio::test]
async fn outgoing_connections_count_against_the_limit() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let mut alice = Peer::limited(limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = alice.at(Transport::Tcp);
    alice.send(options(Transport::Tcp, a, listener.local_addr().unwrap(), 1));
    alice.send(options(Transport::Tcp, a, other.local_addr().unwrap(), 2));
    assert_eq!(alice.failure().await, (Token(2), SendError::TooManyConnections));
}

#[tokio::test]
async fn a_peer_that_does_not_read_loses_its_connection_and_nothing_grows() {
    let limits = Limits { send_queue: 8, send_queue_bytes: 256 * 1024, ..Limits::default() };
    let mut bob = Peer::limited(limits);
    bob.handle.with(|core, _| core.body = 60_000);
    let mut client = TcpStream::connect(bob.at(Transport::Tcp)).await.unwrap();
    let sent_by = client.local_addr().unwrap();
    let writer = tokio::spawn(async move {
        for number in 0..10_000 {
            if client.write_all(text(Transport::Tcp, sent_by, number).as_bytes()).await.is_err() {
                return true;
            }
        }
        false
    });
    let (mut failures, mut reason) = (0, None);
    while reason.is_none() {
        match bob.next().await {
            Seen::Flow(FlowEvent::SendFailed { error, .. }) => {
                assert_eq!(error, SendError::QueueFull);
                failures += 1;
            }
            Seen::Flow(FlowEvent::Closed { reason: why, .. }) => reason = Some(why),
            _ => {}
        }
    }
    assert_eq!(reason, Some(CloseReason::SlowReader));
    assert!((1..=9).contains(&failures), "{failures} messages failed, the queue holds 8");
    assert!(timeout(PATIENCE, writer).await.unwrap().unwrap(), "the client is told by a reset");
    assert_eq!(bob.handle.counters().slow_readers, 1);
    // Responses to what was read before go by RFC 3261 §18.2.2 to the sent-by, where nobody listens.
    while bob.handle.connections() > 0 {
        bob.next().await;
    }
}

/// Whether something was heard since is known here and not by who waited in vain.
#[tokio::test]
async fn a_connection_is_given_up_as_silent_only_if_nothing_came_since() {
    let (mut alice, mut bob) = (Peer::new(&["tcp:127.0.0.1:0"]), Peer::new(&["tcp:127.0.0.1:0"]));
    let (a, b) = (alice.at(Transport::Tcp), bob.at(Transport::Tcp));
    let before = alice.handle.with(|_, now| now);
    alice.send(options(Transport::Tcp, a, b, 1));
    bob.request().await;
    let (_, path) = alice.response().await;
    let heard = alice.handle.with(|core, now| {
        core.closes.push_back(Close::Silent { path: Path::to(Transport::Tcp, b), since: before });
        now
    });
    assert_eq!((alice.handle.connections(), alice.handle.counters().silent_closed), (1, 0));
    for (other, since) in [
        (Path { flow: Some(sip_transport::FlowId(u64::MAX)), ..path }, heard),
        (Path { remote: a, flow: None, ..path }, heard),
        (Path { flow: None, ..path }, heard),
    ] {
        assert_eq!(alice.handle.connections(), 1);
        alice.handle.with(|core, _| core.closes.push_back(Close::Silent { path: other, since }));
    }
    assert_eq!(alice.closed().await, CloseReason::Local);
    assert_eq!((alice.handle.connections(), alice.handle.counters().silent_closed), (0, 1));
}

#[tokio::test]
async fn idle_connections_and_unfinished_messages_are_closed() {
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let mut bob = Peer::limited(limits);
    let mut client = TcpStream::connect(bob.at(Transport::Tcp)).await.unwrap();
    client.write_all(text(Transport::Tcp, client.local_addr().unwrap(), 1).as_bytes()).await.unwrap();
    assert!(read_to_end(&mut client).await.starts_with("SIP/2.0 200 OK"));
    assert_eq!(bob.closed().await, CloseReason::Idle);

    let limits = Limits { first_message: Duration::from_millis(200), ..Limits::default() };
    let mut bob = Peer::limited(limits);
    let mut silent = TcpStream::connect(bob.at(Transport::Tcp)).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    let mut slow = TcpStream::connect(bob.at(Transport::Tcp)).await.unwrap();
    let message = text(Transport::Tcp, slow.local_addr().unwrap(), 1);
    slow.write_all(message.as_bytes()).await.unwrap();
    slow.write_all(b"OPTIONS sip:a@b SI").await.unwrap();
    assert!(read_to_end(&mut slow).await.starts_with("SIP/2.0 200 OK"));
    assert_eq!((bob.closed().await, bob.closed().await), (CloseReason::Idle, CloseReason::Idle));
}

#[tokio::test]
async fn timeouts_fire_and_an_earlier_one_goes_before() {
    let mut alice = Peer::new(&["udp:127.0.0.1:0"]);
    let start = Instant::now();
    alice.handle.with(|core, now| core.alarm = Some(now + Duration::from_secs(3600)));
    alice.handle.with(|core, now| core.alarm = Some(now + Duration::from_millis(50)));
    assert!(matches!(alice.next().await, Seen::Alarm));
    assert!(start.elapsed() >= Duration::from_millis(50));
}

/// Answers one name, never answers another, and says nothing else exists.
struct Names;

impl Resolve for Names {
    fn resolve(&self, question: Question) -> Resolving {
        Box::pin(async move {
            match question.name() {
                "known.example" => Ok(Records::Addresses(vec!["192.0.2.1".parse().unwrap()])),
                "silent.example" => std::future::pending().await,
                _ => Err(ResolveError::NotFound),
            }
        })
    }
}

#[tokio::test]
async fn questions_are_answered_once_each_in_time_and_within_the_limit() {
    let limits = Limits { queries: 3, query: Duration::from_millis(100), ..Limits::default() };
    let options = Options { limits, resolver: Some(Arc::new(Names)), ..Options::default() };
    let mut alice = Peer::start(&["udp:127.0.0.1:0"], options);
    alice.handle.with(|core, _| {
        for (key, name) in
            ["known.example", "silent.example", "other.example", "fourth.example"].iter().enumerate()
        {
            let question = Question::A((*name).to_owned());
            core.queries.push_back(Query { key: QueryKey(key as u64), question });
        }
    });
    let mut answers: Vec<Option<Result<Records, ResolveError>>> = vec![None; 4];
    for _ in 0..4 {
        let Seen::Resolved(answer) = alice.next().await else { panic!() };
        let slot = &mut answers[usize::try_from(answer.key.0).unwrap()];
        assert!(slot.replace(answer.records).is_none(), "answered twice");
    }
    assert!(matches!(answers[0], Some(Ok(_))));
    assert_eq!(answers[1], Some(Err(ResolveError::TimedOut)));
    assert_eq!(answers[2], Some(Err(ResolveError::NotFound)));
    assert_eq!(answers[3], Some(Err(ResolveError::TooMany)));
}

#[tokio::test]
async fn the_system_finds_localhost_and_knows_no_srv() {
    let system = sip_transport::tokio::SystemResolver;
    let found = system.resolve(Question::A("localhost".into())).await.unwrap();
    let Records::Addresses(addresses) = found else { panic!() };
    assert!(addresses.iter().all(|ip| ip.is_loopback() && ip.is_ipv4()), "{addresses:?}");
    let srv = system.resolve(Question::Srv("_sip._udp.localhost".into())).await;
    assert_eq!(srv, Err(ResolveError::Unsupported));
}

#[tokio::test]
async fn a_capture_is_a_tap() {
    let capture = Arc::new(Mutex::new(Capture::new(Vec::new()).unwrap()));
    let options_with_tap = Options { tap: Some(Box::new(capture.clone())), ..Options::default() };
    let bob = Peer::start(&["udp:127.0.0.1:0", "tcp:127.0.0.1:0"], options_with_tap);
    let mut alice = Peer::new(&["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]);
    for transport in [Transport::Udp, Transport::Tcp] {
        alice.send(options(transport, alice.at(transport), bob.at(transport), 1));
        alice.response().await;
    }
    bob.handle.close();
    bob.handle.stopped().await;
    drop(bob);
    let file = Arc::into_inner(capture).unwrap().into_inner().unwrap().finish().unwrap();
    let passed = String::from_utf8_lossy(&file);
    assert_eq!(passed.matches("OPTIONS sip:echo@host.example").count(), 2);
    assert_eq!(passed.matches("SIP/2.0 200 OK").count(), 2);
}

#[tokio::test]
async fn after_closing_ports_are_free_and_peers_are_told() {
    let bob = Peer::new(&["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]);
    let mut client = TcpStream::connect(bob.at(Transport::Tcp)).await.unwrap();
    let listen: Vec<Listen> =
        bob.handle.locals().iter().map(|local| Listen::new(local.transport, local.bound)).collect();
    let handle = bob.handle.clone();
    handle.close();
    timeout(PATIENCE, handle.stopped()).await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "");
    assert!(Sockets::bind(&listen).is_ok());
    // Nothing to send with any more; nothing breaks.
    handle.with(|core, _| {
        core.transmits.push_back(options(Transport::Udp, client.local_addr().unwrap(), listen[0].address, 1))
    });
}

/// A machine that changes its network: what peers are told, where it can be reached, and connections from the old address.
#[tokio::test]
async fn listeners_move_to_another_address() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let text = |ip: &str| format!("{}:{ip}:0", transport.uri_param());
        let (mut alice, mut bob) = (Peer::new(&[&text("127.0.0.1")]), Peer::new(&[&text("127.0.0.1")]));
        let old = alice.at(transport);
        alice.send(options(transport, old, bob.at(transport), 1));
        alice.response().await;
        let wanted: Listen = text("127.0.0.2").parse().unwrap();
        let told = alice.handle.relocate(&[wanted], |_, _, locals| locals.clone()).unwrap();
        let new = alice.at(transport);
        assert_eq!(told.iter().next().map(|local| local.bound), Some(new));
        assert_eq!(new.ip().to_string(), "127.0.0.2");
        alice.send(options(transport, new, bob.at(transport), 2));
        bob.request().await;
        let (number, path) = bob.request().await;
        assert_eq!((number, path.remote.ip()), (2, new.ip()));
        alice.response().await;
        // The other way round too, and the old place is free.
        bob.send(options(transport, bob.at(transport), new, 3));
        bob.response().await;
        let again = Listen::new(transport, old);
        let free = async {
            while Sockets::bind(std::slice::from_ref(&again)).is_err() {
                tokio::task::yield_now().await; // until the task of the listener has seen it
            }
        };
        timeout(PATIENCE, free).await.unwrap();
        alice.handle.close();
        timeout(PATIENCE, alice.handle.stopped()).await.unwrap();
    }
}

/// Where a listener cannot be opened, all stays as it was.
#[tokio::test]
async fn a_move_that_fails_changes_nothing() {
    let (mut alice, bob) = (Peer::new(&["udp:127.0.0.1:0"]), Peer::new(&["udp:127.0.0.1:0"]));
    let before = alice.handle.locals();
    let nowhere: Listen = "udp:192.0.2.77:0".parse().unwrap();
    assert!(alice.handle.relocate(std::slice::from_ref(&nowhere), |_, _, _| ()).is_err());
    assert_eq!(alice.handle.locals(), before);
    assert_eq!(nowhere.relocated().address, "0.0.0.0:0".parse().unwrap(), "the machine has no such address");
    alice.send(options(Transport::Udp, alice.at(Transport::Udp), bob.at(Transport::Udp), 1));
    alice.response().await;
}

#[tokio::test]
async fn hostile_datagrams_change_nothing() {
    let mut bob = Peer::new(&["udp:127.0.0.1:0"]);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = bob.at(Transport::Udp);
    let good = text(Transport::Udp, client.local_addr().unwrap(), 7);
    let via_end = good.find("From:").unwrap();
    let mut sent = 0;
    for cut in 0..via_end {
        client.send_to(&good.as_bytes()[..cut], to).await.unwrap();
        sent += 1;
        if cut % 16 == 0 || cut + 1 == via_end {
            sent += 1;
            client.send_to(good.as_bytes(), to).await.unwrap();
            assert_eq!(bob.request().await.0, 7);
        }
    }
    let counters = bob.handle.counters();
    assert!(counters.rejected_datagrams > 50, "{counters:?}");
    assert_eq!(counters.received + counters.rejected_datagrams + counters.keep_alives, sent);
}

/// RFC 8305 §5: a connection is made to stand before anything is sent over it.
#[tokio::test]
async fn an_empty_message_opens_a_connection_and_tells_when_it_stands() {
    let bob = Peer::new(&["tcp:127.0.0.1:0"]);
    let mut alice = Peer::new(&["tcp:127.0.0.1:0"]);
    let wanted = |token, remote| Transmit {
        path: Path::to(Transport::Tcp, remote),
        payload: Bytes::new(),
        reopen: None,
        domain: None,
        token: Token(token),
    };
    let at = bob.at(Transport::Tcp);
    alice.send(wanted(1, at));
    alice.send(wanted(2, at));
    let (mut opened, mut ready) = (None, Vec::new());
    while ready.len() < 2 {
        match alice.next().await {
            Seen::Flow(FlowEvent::Opened { path }) => opened = Some(path),
            Seen::Flow(FlowEvent::Ready { token, path }) => ready.push((token.0, path)),
            other => panic!("{other:?}"),
        }
    }
    let path = opened.expect("opened before it is ready");
    assert_eq!(ready, [(1, path), (2, path)]);
    assert!(path.flow.is_some() && path.local.port() != 0);
    assert_eq!((alice.handle.connections(), alice.handle.counters().sent), (1, 0));
    // One that stands already.
    alice.send(wanted(3, at));
    let Seen::Flow(FlowEvent::Ready { token: Token(3), path: again }) = alice.next().await else { panic!() };
    assert_eq!(again, path);

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    alice.send(wanted(4, nobody));
    let failed = alice.next().await;
    assert!(matches!(
        failed,
        Seen::Flow(FlowEvent::SendFailed { token: Token(4), error: SendError::Refused, .. })
    ));
}
