//! WebSocket (RFC 6455, RFC 7118): a table of frames, and the driver over loopback with clients that do what they like.
#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod peer;

use std::net::SocketAddr;
use std::time::Duration;

use peer::{PATIENCE, Peer, options, text};
use proptest::prelude::*;
use sip_transport::limits::Limits;
use sip_transport::tokio::{Listen, Options, Sockets};
use sip_transport::websocket::{Decoder, Event, Opcode, Origins, Side, frame, handshake};
use sip_transport::{CloseReason, SendError, Token, Transport, WsFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const LIMIT: usize = 70_000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a series of frames leads to: messages, pings, and how it ends.
#[derive(Debug, PartialEq)]
enum Seen {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    /// The connection fails with this code.
    Fails(u16),
}

fn decode(side: Side, octets: &[u8], piece: usize) -> Vec<Seen> {
    let mut decoder = Decoder::new(side, LIMIT);
    let mut seen = Vec::new();
    for chunk in octets.chunks(piece.max(1)) {
        decoder.push(chunk);
        loop {
            match decoder.next_event() {
                Ok(None) => break,
                Ok(Some(event)) => seen.push(match event {
                    Event::Message(bytes) => Seen::Message(bytes.to_vec()),
                    Event::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                    Event::Pong => Seen::Pong,
                    Event::Close(code) => Seen::Close(code),
                }),
                Err(violation) => {
                    seen.push(Seen::Fails(violation.close_code()));
                    assert_eq!(decoder.next_event(), Ok(None), "nothing comes after");
                    return seen;
                }
            }
        }
        assert!(decoder.buffered() <= LIMIT + 14 + chunk.len());
    }
    seen
}

/// A frame by its first octet, as a client sends it: masked, in the shortest form.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut all = frame::encode(Opcode::Binary, payload, Some(MASK)).to_vec();
    all[0] = first;
    all
}

fn many(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| raw(*first, payload)).collect()
}

/// The same as a server sends it: not masked.
fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut all = frame::encode(Opcode::Binary, payload, None).to_vec();
    all[0] = first;
    all
}

fn message(text: &[u8]) -> Seen {
    Seen::Message(text.to_vec())
}

/// RFC 6455 §5, §7.4, §8.1: what a client may send, what it may not, and the code that says so.
#[test]
fn a_table_of_frames_has_the_outcomes_of_rfc_6455() {
    use Seen::{Close, Fails, Ping, Pong};
    let big = vec![b'x'; LIMIT];
    let long_ping = vec![b'p'; 125];
    let mut table: Vec<(&str, Vec<u8>, Vec<Seen>)> = vec![
        ("text", raw(0x81, b"hi"), vec![message(b"hi")]),
        ("binary", raw(0x82, &[0xff, 0]), vec![message(&[0xff, 0])]),
        ("empty text", raw(0x81, b""), vec![message(b"")]),
        ("empty binary", raw(0x82, b""), vec![message(b"")]),
        ("CRLF CRLF", raw(0x81, b"\r\n\r\n"), vec![message(b"\r\n\r\n")]),
        ("two in a row", many(&[(0x81, b"a"), (0x82, b"b")]), vec![message(b"a"), message(b"b")]),
        ("125 octets", raw(0x82, &big[..125]), vec![message(&big[..125])]),
        ("126 octets", raw(0x82, &big[..126]), vec![message(&big[..126])]),
        ("65535 octets", raw(0x82, &big[..65_535]), vec![message(&big[..65_535])]),
        ("65536 octets", raw(0x82, &big[..65_536]), vec![message(&big[..65_536])]),
        ("as large as may be", raw(0x82, &big), vec![message(&big)]),
        ("two fragments", many(&[(0x01, b"he"), (0x80, b"llo")]), vec![message(b"hello")]),
        ("three fragments, binary", many(&[(0x02, b"a"), (0x00, b"b"), (0x80, b"c")]), vec![message(b"abc")]),
        ("empty fragments", many(&[(0x01, b""), (0x00, b""), (0x80, b"")]), vec![message(b"")]),
        ("empty last fragment", many(&[(0x01, b"a"), (0x80, b"")]), vec![message(b"a")]),
        (
            "ping between fragments",
            many(&[(0x01, b"a"), (0x89, b"?"), (0x80, b"b")]),
            vec![Ping(b"?".to_vec()), message(b"ab")],
        ),
        (
            "pong between fragments",
            many(&[(0x01, b"a"), (0x8a, b""), (0x80, b"b")]),
            vec![Pong, message(b"ab")],
        ),
        ("close between fragments", many(&[(0x01, b"a"), (0x88, b""), (0x80, b"b")]), vec![Close(None)]),
        ("ping", raw(0x89, b""), vec![Ping(vec![])]),
        ("ping of 125", raw(0x89, &long_ping), vec![Ping(long_ping.clone())]),
        ("pong", raw(0x8a, b"x"), vec![Pong]),
        ("close", raw(0x88, b""), vec![Close(None)]),
        ("close 1000", raw(0x88, &[3, 0xe8]), vec![Close(Some(1000))]),
        ("close 1001 with a reason", raw(0x88, b"\x03\xe9going away"), vec![Close(Some(1001))]),
        ("close 3000", raw(0x88, &[0x0b, 0xb8]), vec![Close(Some(3000))]),
        ("close 4999", raw(0x88, &[0x13, 0x87]), vec![Close(Some(4999))]),
        ("after close", many(&[(0x88, b""), (0x81, b"late")]), vec![Close(None)]),
        ("text in UTF-8", raw(0x81, "grüße €".as_bytes()), vec![message("grüße €".as_bytes())]),
        (
            "a character over fragments",
            many(&[(0x01, &[0xe2, 0x82]), (0x80, &[0xac])]),
            vec![message("€".as_bytes())],
        ),
        ("NUL in text", raw(0x81, &[0]), vec![message(&[0])]),
        // What must not be.
        ("close of one octet", raw(0x88, &[3]), vec![Fails(1002)]),
        ("close with bad UTF-8", raw(0x88, &[3, 0xe8, 0xff]), vec![Fails(1007)]),
        ("text that is not UTF-8", raw(0x81, &[0xff]), vec![Fails(1007)]),
        ("text that ends within a character", raw(0x81, &[0xe2, 0x82]), vec![Fails(1007)]),
        ("overlong UTF-8", raw(0x81, &[0xc0, 0x80]), vec![Fails(1007)]),
        ("a surrogate", raw(0x81, &[0xed, 0xa0, 0x80]), vec![Fails(1007)]),
        ("bad UTF-8 over fragments", many(&[(0x01, &[0xe2]), (0x80, b"x")]), vec![Fails(1007)]),
        ("text not masked", unmasked(0x81, b"hi"), vec![Fails(1002)]),
        ("ping not masked", unmasked(0x89, b""), vec![Fails(1002)]),
        ("close not masked", unmasked(0x88, b""), vec![Fails(1002)]),
        ("continuation of nothing", raw(0x80, b"x"), vec![Fails(1002)]),
        ("continuation that is not last, of nothing", raw(0x00, b"x"), vec![Fails(1002)]),
        ("text within text", many(&[(0x01, b"a"), (0x81, b"b")]), vec![Fails(1002)]),
        ("binary within text", many(&[(0x01, b"a"), (0x82, b"b")]), vec![Fails(1002)]),
        ("fragment within a message", many(&[(0x01, b"a"), (0x01, b"b")]), vec![Fails(1002)]),
        (
            "continuation after the last",
            many(&[(0x81, b"a"), (0x80, b"b")]),
            vec![message(b"a"), Fails(1002)],
        ),
        ("fragmented ping", raw(0x09, b""), vec![Fails(1002)]),
        ("fragmented pong", raw(0x0a, b""), vec![Fails(1002)]),
        ("fragmented close", raw(0x08, b""), vec![Fails(1002)]),
        ("ping of 126", raw(0x89, &big[..126]), vec![Fails(1002)]),
        ("pong of 126", raw(0x8a, &big[..126]), vec![Fails(1002)]),
        ("close of 126", raw(0x88, &big[..126]), vec![Fails(1002)]),
        ("ping of 65536", raw(0x89, &big[..65_536]), vec![Fails(1002)]),
        ("one octet too large", raw(0x82, &vec![0; LIMIT + 1]), vec![Fails(1009)]),
        ("too large in fragments", many(&[(0x02, &big), (0x80, b"x")]), vec![Fails(1009)]),
        ("too large, announced", vec![0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0], vec![Fails(1009)]),
        ("2^63 octets announced", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], vec![Fails(1002)]),
        ("2^64 - 1 octets announced", [&[0x82_u8, 0xff][..], &[0xff; 8]].concat(), vec![Fails(1002)]),
        ("125 octets, length in two", vec![0x82, 0xfe, 0, 125], vec![Fails(1002)]),
        ("65535 octets, length in eight", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], vec![Fails(1002)]),
        ("nothing, length in eight", vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], vec![Fails(1002)]),
    ];
    let reserved: Vec<u8> = vec![0xc1, 0xa1, 0x91, 0xf1, 0xc9, 0x98];
    table.extend(reserved.into_iter().map(|first| ("reserved bit", raw(first, b"x"), vec![Fails(1002)])));
    let unknown = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];
    table.extend(unknown.map(|opcode| ("unknown opcode", raw(0x80 | opcode, b""), vec![Fails(1002)])));
    let codes: [u16; 10] = [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000];
    table.extend(codes.map(|code| ("bad close code", raw(0x88, &code.to_be_bytes()), vec![Fails(1002)])));
    assert!(table.len() >= 80, "{}", table.len());
    for (what, octets, expected) in table {
        for piece in [usize::MAX, 1, 2, 3, 1_000] {
            assert_eq!(decode(Side::Server, &octets, piece), expected, "{what}, in pieces of {piece}");
        }
    }
}

#[test]
fn a_client_takes_what_is_not_masked_and_nothing_else() {
    assert_eq!(decode(Side::Client, &unmasked(0x81, b"hi"), 1), [message(b"hi")]);
    assert_eq!(decode(Side::Client, &raw(0x81, b"hi"), 1), [Seen::Fails(1002)]);
}

proptest! {
    /// Whatever comes, in whatever pieces: the same events, and no more memory than the limit.
    #[test]
    fn pieces_do_not_matter(octets in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..40) {
        prop_assert_eq!(decode(Side::Server, &octets, piece), decode(Side::Server, &octets, usize::MAX));
        prop_assert_eq!(decode(Side::Client, &octets, piece), decode(Side::Client, &octets, usize::MAX));
    }

    #[test]
    fn what_is_sent_is_what_comes(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..6),
        mask in any::<Option<[u8; 4]>>(),
        piece in 1_usize..200,
    ) {
        let octets: Vec<u8> = messages.iter().flat_map(|one| frame::message(one, mask)).collect();
        let side = if mask.is_some() { Side::Server } else { Side::Client };
        let expected: Vec<Seen> = messages.into_iter().map(Seen::Message).collect();
        prop_assert_eq!(decode(side, &octets, piece), expected);
    }
}

// ---- the driver ------------------------------------------------------------------------------------------------

/// A client that has been let in.
struct Client {
    stream: TcpStream,
    decoder: Decoder,
}

impl Client {
    async fn connect(to: SocketAddr) -> Client {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let key = *b"0123456789abcdef";
        stream.write_all(&handshake::request("example.test", key)).await.unwrap();
        let mut head = Vec::new();
        while handshake::accepted(&head, key).unwrap().is_none() {
            head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        Client { stream, decoder: Decoder::new(Side::Client, LIMIT) }
    }

    async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.decoder.next_event().unwrap() {
                return event;
            }
            let mut some = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut some)).await.unwrap().unwrap();
            assert!(read > 0, "the connection ended");
            self.decoder.push(&some[..read]);
        }
    }

    /// Whatever comes until the close frame, whose code it gives; the connection ends then.
    async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Event::Close(code) = self.next().await {
                assert_eq!(timeout(PATIENCE, self.stream.read(&mut [0; 16])).await.unwrap().unwrap_or(0), 0);
                return code;
            }
        }
    }
}

#[tokio::test]
async fn requests_and_responses_over_web_socket_on_both_families() {
    for address in ["127.0.0.1", "[::1]"] {
        let mut server = Peer::new(&[&format!("ws:{address}:0")]);
        let mut client = Peer::new(&[&format!("ws:client:{address}")]);
        let local = client.handle.locals().iter().next().unwrap().clone();
        assert!(local.host.ends_with(".invalid"), "{local:?}");
        for number in 0..20 {
            let transmit = options(Transport::Ws, local.bound, server.at(Transport::Ws), number);
            client.send(transmit);
            assert_eq!(server.request().await.0, number);
            assert_eq!(client.response().await.0, number);
        }
        assert_eq!((client.handle.connections(), server.handle.connections()), (1, 1));
    }
}

/// RFC 7118 §5: nobody can connect to a `.invalid` sent-by; responses and requests take the flow.
#[tokio::test]
async fn a_client_of_an_invalid_host_is_answered_and_called_over_its_flow() {
    let mut server = Peer::new(&["ws:127.0.0.1:0"]);
    let mut client = Client::connect(server.at(Transport::Ws)).await;
    let request =
        text(Transport::Ws, "192.0.2.1:1".parse().unwrap(), 1).replace("192.0.2.1:1", "df7jal23ls0d.invalid");
    client.send(&frame::message(request.as_bytes(), Some(MASK))).await;
    let (_, path) = server.request().await;
    let Event::Message(answer) = client.next().await else { panic!() };
    let answer = String::from_utf8(answer.to_vec()).unwrap();
    assert!(answer.starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid"), "{answer}");
    assert!(answer.contains("received=127.0.0.1"), "{answer}");
    let mut call = options(Transport::Ws, server.at(Transport::Ws), path.remote, 2);
    call.path = path;
    server.send(call);
    let Event::Message(request) = client.next().await else { panic!() };
    assert!(request.starts_with(b"OPTIONS "));
}

/// R7: however frames and messages are cut, the same messages arrive.
#[tokio::test]
async fn a_message_arrives_whole_wherever_the_stream_is_cut() {
    let mut server = Peer::new(&["ws:127.0.0.1:0"]);
    let mut client = Client::connect(server.at(Transport::Ws)).await;
    client.stream.set_nodelay(true).unwrap();
    let sent_by: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let size = frame::message(text(Transport::Ws, sent_by, 1).as_bytes(), Some(MASK)).len();
    for cut in 0..size {
        let number = u32::try_from(cut).unwrap();
        let message = text(Transport::Ws, sent_by, number);
        // As one frame cut by the network, then as two fragments cut by the client.
        let whole = frame::message(message.as_bytes(), Some(MASK));
        let (head, tail) = whole.split_at(cut.min(whole.len()));
        client.send(head).await;
        tokio::task::yield_now().await;
        client.send(tail).await;
        assert_eq!(server.request().await.0, number);
        let (head, tail) = message.as_bytes().split_at(cut.min(message.len()));
        client.send(&many(&[(0x01, head), (0x89, b"alive?"), (0x80, tail)])).await;
        assert_eq!(server.request().await.0, number);
    }
    assert_eq!(server.handle.counters().malformed_streams, 0);
}

#[tokio::test]
async fn keep_alives_of_every_kind_are_answered_or_swallowed() {
    let mut server = Peer::new(&["ws:127.0.0.1:0"]);
    let mut client = Client::connect(server.at(Transport::Ws)).await;
    client
        .send(&many(&[(0x81, b""), (0x82, b""), (0x8a, b""), (0x81, b"\r\n"), (0x89, b"still there?")]))
        .await;
    client.send(&raw(0x81, b"\r\n\r\n")).await;
    assert_eq!(client.next().await, Event::Pong);
    assert_eq!(client.next().await, Event::Message("\r\n".into()), "RFC 5626 §3.5.1 over WebSocket");
    client.send(&raw(0x81, b"this is no SIP message")).await;
    client
        .send(&frame::message(text(Transport::Ws, "192.0.2.1:1".parse().unwrap(), 9).as_bytes(), Some(MASK)))
        .await;
    assert_eq!(server.request().await.0, 9, "a message that is none does not end the connection");
    let counters = server.handle.counters();
    assert_eq!((counters.keep_alives, counters.rejected_messages), (6, 1));
}

#[tokio::test]
async fn what_breaks_the_rules_is_closed_with_its_code() {
    let mut server = Peer::new(&["ws:127.0.0.1:0"]);
    for (octets, code) in [
        (unmasked(0x81, b"hi"), 1002),
        (raw(0xc1, b"hi"), 1002),
        (raw(0x81, &[0xff]), 1007),
        (vec![0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0], 1009),
    ] {
        let mut client = Client::connect(server.at(Transport::Ws)).await;
        client.send(&octets).await;
        assert_eq!(client.closed().await, Some(code));
        assert_eq!(server.closed().await, CloseReason::Malformed);
    }
    let mut client = Client::connect(server.at(Transport::Ws)).await;
    client.send(&frame::close(1000, Some(MASK))).await;
    assert_eq!(client.closed().await, Some(1000), "the close is answered");
    assert_eq!(server.closed().await, CloseReason::Peer);
    let mut client = Client::connect(server.at(Transport::Ws)).await;
    server.handle.close();
    assert_eq!(client.closed().await, Some(1001), "going away");
}

async fn refused(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn an_upgrade_without_sip_or_from_a_strange_page_is_refused() {
    let listen: Vec<Listen> = vec!["ws:127.0.0.1:0".parse().unwrap()];
    let origins = Origins::Only(vec!["https://phone.example.com".into()]);
    let server = Peer::over(Sockets::bind(&listen).unwrap(), Options { origins, ..Options::default() });
    let to = server.at(Transport::Ws);
    let good = String::from_utf8(handshake::request("example.test", [7; 16]).to_vec()).unwrap();
    let from =
        |origin: &str| good.replace("Upgrade: websocket", &format!("Origin: {origin}\r\nUpgrade: websocket"));
    assert!(refused(to, &from("https://evil.example")).await.starts_with("HTTP/1.1 403 "));
    assert!(refused(to, &good.replace("Protocol: sip", "Protocol: chat")).await.starts_with("HTTP/1.1 400 "));
    assert!(refused(to, &good.replace("Version: 13", "Version: 8")).await.starts_with("HTTP/1.1 426 "));
    assert!(refused(to, "OPTIONS sip:a@b SIP/2.0\r\n\r\n").await.starts_with("HTTP/1.1 4"));
    assert_eq!(server.handle.counters().handshake_failures, 4);
    assert_eq!(server.handle.connections(), 0);
    let mut allowed = TcpStream::connect(to).await.unwrap();
    allowed.write_all(from("https://phone.example.com").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(PATIENCE, allowed.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
}

#[tokio::test]
async fn a_server_that_does_not_speak_sip_is_told_apart() {
    for (answer, failure) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", WsFailure::Status(404)),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            WsFailure::BadUpgrade,
        ),
        ("SIP/2.0 400 Bad Request\r\n\r\n", WsFailure::BadUpgrade),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut client = Peer::new(&["ws:client:127.0.0.1"]);
        client.send(options(Transport::Ws, at, at, 1));
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(client.failure().await, (Token(1), SendError::WebSocket(failure)));
        assert_eq!(client.handle.connections(), 0);
    }
}

#[tokio::test]
async fn who_begins_an_upgrade_and_does_not_go_on_is_cut_off() {
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let server = Peer::start(&["ws:127.0.0.1:0"], Options { limits, ..Options::default() });
    let answer = refused(server.at(Transport::Ws), "GET / HTTP/1.1\r\nHost: exam").await;
    assert_eq!(answer, "");
    assert_eq!(server.handle.counters().handshake_timeouts, 1);
    assert_eq!(server.handle.connections(), 0);
}
