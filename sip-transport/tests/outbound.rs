//! Keep-alives over real sockets: the driver answers them, and a core that keeps a flow alive hears the answers
//! (RFC 5626 §4.4, §5.4, §8).
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod peer;

use std::time::{Duration, Instant};

use peer::{PATIENCE, Peer, Seen, options};
use sip_transport::outbound::{Every, Failure, KeepAlive, News, Step};
use sip_transport::stun::{self, Binding, Outcome, TransactionId};
use sip_transport::{FlowEvent, Path, Transport};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

/// The path of a flow over which a request of ours was answered.
async fn flow_to(alice: &mut Peer, bob: &mut Peer, transport: Transport) -> Path {
    let (a, b) = (alice.at(transport), bob.at(transport));
    alice.send(options(transport, a, b, 1));
    bob.request().await;
    alice.response().await.1
}

fn ping(peer: &Peer, keep_alive: &mut KeepAlive) {
    let due = keep_alive.poll_timeout().unwrap();
    let Some(Step::Send(transmit)) = keep_alive.handle_timeout(due, || 42) else { panic!("no ping") };
    peer.handle.with(|core, _| core.transmits.push_back(transmit));
}

/// Waits for what the flow has to say.
async fn news(peer: &mut Peer, keep_alive: &mut KeepAlive) -> News {
    loop {
        let seen = timeout(PATIENCE, peer.seen.recv()).await.expect("something").unwrap();
        if let Seen::Flow(event) = seen {
            let news = keep_alive.flow_event(Instant::now(), &event, 0);
            if news != News::Unrelated {
                return news;
            }
        }
    }
}

async fn kept_alive(transport: Transport, address: &str) {
    let listen = format!("{}:{address}:0", transport.uri_param());
    let (mut alice, mut bob) = (Peer::new(&[&listen]), Peer::new(&[&listen]));
    let path = flow_to(&mut alice, &mut bob, transport).await;
    let mut keep_alive = KeepAlive::new(Instant::now(), path, Every::Recommended, 0);
    for answers in 1..=3 {
        ping(&alice, &mut keep_alive);
        assert_eq!(news(&mut alice, &mut keep_alive).await, News::Alive);
        assert_eq!(keep_alive.answers(), answers);
    }
    let (ours, theirs) = (alice.handle.counters(), bob.handle.counters());
    assert_eq!((ours.keep_alives, ours.keep_alives_sent, ours.sent), (3, 3, 1));
    assert_eq!((theirs.keep_alives, theirs.received), (3, 1), "no ping is a message");
    // The flow carries messages as before.
    flow_to(&mut alice, &mut bob, transport).await;
    assert_eq!(alice.handle.connections(), usize::from(transport.is_reliable()));
}

#[tokio::test]
async fn udp_flows_are_kept_alive_by_stun() {
    kept_alive(Transport::Udp, "127.0.0.1").await;
    kept_alive(Transport::Udp, "[::1]").await;
}

#[tokio::test]
async fn tcp_flows_are_kept_alive_by_crlf() {
    kept_alive(Transport::Tcp, "127.0.0.1").await;
    kept_alive(Transport::Tcp, "[::1]").await;
}

#[cfg(feature = "ws")]
#[tokio::test]
async fn websocket_flows_are_kept_alive_by_crlf() {
    kept_alive(Transport::Ws, "127.0.0.1").await;
}

#[tokio::test]
async fn a_flow_whose_connection_breaks_is_dead() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut alice = Peer::new(&["tcp:127.0.0.1:0"]);
    alice.send(options(Transport::Tcp, alice.at(Transport::Tcp), listener.local_addr().unwrap(), 1));
    let (mut stream, _) = listener.accept().await.unwrap();
    let path = loop {
        if let Seen::Flow(FlowEvent::Opened { path }) =
            timeout(PATIENCE, alice.seen.recv()).await.unwrap().unwrap()
        {
            break path;
        }
    };
    let mut keep_alive = KeepAlive::new(Instant::now(), path, Every::Recommended, 0);
    ping(&alice, &mut keep_alive);
    stream.write_all(b"\r\n").await.unwrap();
    assert_eq!(news(&mut alice, &mut keep_alive).await, News::Alive);
    drop(stream);
    assert_eq!(news(&mut alice, &mut keep_alive).await, News::Failed(Failure::Closed));
    // RFC 5626 §5.3.1: what was meant for this very flow does not leave on another.
    let gone = options(Transport::Tcp, alice.at(Transport::Tcp), path.remote, 2);
    alice.handle.with(|core, _| core.transmits.push_back(sip_transport::Transmit { path, ..gone }));
    let failed = loop {
        if let Seen::Flow(event) = timeout(PATIENCE, alice.seen.recv()).await.unwrap().unwrap() {
            break event;
        }
    };
    assert!(matches!(failed, FlowEvent::SendFailed { .. }), "{failed:?}");
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "a second connection");
}

/// RFC 5626 §8: a stranger's Binding request is answered with its address, from the port that it was sent to; an answer to
/// nothing, and what counts wrongly, is not.
#[tokio::test]
async fn a_stun_client_learns_its_address_at_the_sip_port() {
    let server = Peer::new(&["udp:127.0.0.1:0"]);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(server.at(Transport::Udp)).await.unwrap();
    let id = TransactionId([3; 12]);
    let unasked = stun::answer(&stun::request(id), client.local_addr().unwrap()).unwrap();
    client.send(&unasked).await.unwrap();
    client.send(&stun::request(id)[..19]).await.unwrap();
    client.send(&stun::request(id)).await.unwrap();
    let mut buffer = [0; 200];
    let length = timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap();
    let outcome = Outcome::Mapped(client.local_addr().unwrap());
    assert_eq!(stun::parse(&buffer[..length]), Some(Binding::Answer { id, outcome }));
    assert_eq!(server.handle.counters().keep_alives, 2);
}
