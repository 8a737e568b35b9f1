//! Clients behind WebSockets (RFC 7977) and those whom they talk to, over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use msrp::auth::{Account, Auth, Next};
use msrp::connection::MAX_WHOLE_CHUNK;
use msrp::framing::{Decoder as Chunks, Event as Chunk};
use msrp::relay::RelayConfig;
use msrp::tokio::relay::RelayServer;
use msrp::tokio::tls::{Identity, Tls, Trust};
use msrp::tokio::{ConnectError, Endpoint, Options, Origins, Pending, Session};
use msrp::{Event, Ident, Message, Method, Start, StatusCode, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use websocket_wire::{Decoder, Event as Frame, Opcode, Side, frame, handshake};

async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it takes too long")
}

/// A certificate for localhost and its key.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.der().to_vec(), made.signing_key.serialize_der())
}

fn trusting(certificate: &[u8]) -> Tls {
    Tls::new(None, &Trust::Authorities(vec![certificate.to_vec()])).unwrap()
}

/// A relay, and where it takes WebSockets.
async fn relay(tls: Option<&(Vec<u8>, Vec<u8>)>, origins: Origins) -> (RelayServer, SocketAddr) {
    let mut config = RelayConfig::new("localhost", 0);
    config.secure = tls.is_some();
    config.over_plain_tcp = tls.is_none();
    let accounts: HashMap<String, String> =
        ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned())).into();
    let tls = tls.map(|(certificate, key)| {
        let identity = Identity { chain: vec![certificate.clone()], key: key.clone() };
        Tls::new(Some(identity), &Trust::Authorities(vec![certificate.clone()])).unwrap()
    });
    let free = "127.0.0.1:0".parse().unwrap();
    let mut relay = RelayServer::bind(free, config, Box::new(accounts), tls).await.unwrap();
    let websockets = relay.listen_websocket(free, origins).await.unwrap();
    (relay, websockets)
}

fn account(name: &str) -> Account {
    Account::new(name, "secret").over_plain_tcp()
}

/// A session behind the relay at this URI.
async fn behind(endpoint: &Endpoint, relay: String, name: &str) -> Pending {
    let mut pending = endpoint.open().unwrap();
    patient(pending.authenticate(&[(relay.parse().unwrap(), account(name))])).await.unwrap();
    pending
}

fn random_file() -> Bytes {
    (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

async fn next_message(session: &mut Session) -> msrp::Received {
    loop {
        match patient(session.next()).await.expect("the session ends") {
            Event::Message(message) => return message,
            Event::Closed(failure) => panic!("{failure}"),
            _ => {}
        }
    }
}

/// A file, which takes many chunks, and a word, from each to the other.
async fn talk(mut alice: Session, mut bob: Session) {
    let file = random_file();
    for turn in 0..2 {
        let (from, to) = if turn == 0 { (&alice, &mut bob) } else { (&bob, &mut alice) };
        let message = Message::new("application/octet-stream", file.clone()).with_success_report();
        let receipt = from.send(message).await.unwrap();
        let word = from.send(Message::text("Grüße")).await.unwrap();
        let (mut seen_file, mut seen_word) = (false, false);
        while !(seen_file && seen_word) {
            let message = next_message(to).await;
            if message.text() == Some("Grüße") {
                seen_word = true;
            } else {
                assert!(message.body == file);
                seen_file = true;
            }
        }
        patient(receipt.delivered()).await.unwrap();
        patient(word.accepted()).await.unwrap();
    }
}

#[tokio::test]
async fn rfc_7977_8_2_a_client_behind_a_websocket_talks_to_one_on_tcp() {
    let (_relay, websockets) = relay(None, Origins::Any).await;
    let alice = Endpoint::bind(Options::active_only()).await.unwrap();
    let bob = Endpoint::bind(Options::new("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let alice = behind(&alice, format!("msrp://alice@localhost:{};ws", websockets.port()), "alice").await;
    let path = alice.path().unwrap();
    // Those whom she talks to reach the relay, and need not know what is behind it (§5.2.2, appendix A).
    assert!(path.first().is_some_and(Uri::is_tcp), "{path}");
    let own = path.last().unwrap();
    assert!(own.is_websocket() && own.host().ends_with(".invalid"), "{path}");
    let bob = bob.open().unwrap();
    let to_bob = bob.uri().clone().into();
    let (alice, bob) = patient(async { tokio::join!(alice.connect(to_bob), bob.accept()) }).await;
    talk(alice.unwrap(), bob.unwrap()).await;
}

#[tokio::test]
async fn who_is_on_tls_connects_to_a_client_behind_a_secure_websocket() {
    let identity = certificate();
    let (_relay, websockets) = relay(Some(&identity), Origins::Any).await;
    let endpoint = || Endpoint::bind(Options::active_only().tls(trusting(&identity.0)));
    let (alice, bob) = (endpoint().await.unwrap(), endpoint().await.unwrap());
    let alice = behind(&alice, format!("msrps://alice@localhost:{};ws", websockets.port()), "alice").await;
    let path = alice.path().unwrap();
    assert!(path.uris().iter().all(Uri::is_secure), "{path}");
    let bob = bob.open().unwrap();
    let (alice, bob) = patient(async { tokio::join!(alice.accept(), bob.connect(path)) }).await;
    talk(alice.unwrap(), bob.unwrap()).await;
}

#[tokio::test]
async fn rfc_7977_8_3_two_clients_behind_websockets_of_one_relay() {
    let identity = certificate();
    let (relay, websockets) = relay(Some(&identity), Origins::Any).await;
    let endpoint = || Endpoint::bind(Options::active_only().tls(trusting(&identity.0)));
    let (alice, bob) = (endpoint().await.unwrap(), endpoint().await.unwrap());
    let uri = |name: &str| format!("msrps://{name}@localhost:{};ws", websockets.port());
    let (alice, bob) = (behind(&alice, uri("alice"), "alice").await, behind(&bob, uri("bob"), "bob").await);
    let path = bob.path().unwrap();
    let (alice, bob) = patient(async { tokio::join!(alice.connect(path), bob.accept()) }).await;
    assert_eq!(relay.counts().connections, 2);
    talk(alice.unwrap(), bob.unwrap()).await;
}

/// RFC 7977 §5.1: WebSocket clients cannot be connected to, §5.2.2: but they may be in a path.
#[tokio::test]
async fn nobody_connects_to_a_client_behind_a_websocket_without_its_relay() {
    let bob = Endpoint::bind(Options::active_only()).await.unwrap();
    let path = "msrp://df7jal23ls0d.invalid:2855/98cjs;ws".parse().unwrap();
    let error = patient(bob.open().unwrap().connect(path)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Path), "{error}");
}

/// A client as scripts are: it writes and reads chunks by hand.
struct Script {
    stream: TcpStream,
    frames: Decoder,
}

const OWN: &str = "msrp://df7jal23ls0d.invalid:2855/98cjs;ws";

impl Script {
    async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&handshake::request("localhost", "msrp", [7; 16])).await.unwrap();
        let mut head = Vec::new();
        let size = loop {
            head.push(patient(stream.read_u8()).await.unwrap());
            if let Some(size) = handshake::accepted(&head, "msrp", [7; 16]).unwrap() {
                break size;
            }
        };
        assert_eq!(size, head.len());
        Self { stream, frames: Decoder::new(Side::Client, 1 << 24) }
    }

    async fn send(&mut self, opcode: Opcode, octets: &[u8]) {
        self.stream.write_all(&frame::encode(opcode, octets, Some([1, 2, 3, 4]))).await.unwrap();
    }

    async fn frame(&mut self) -> Frame {
        loop {
            if let Some(event) = self.frames.next_event().unwrap() {
                return event;
            }
            let mut octets = [0; 4_096];
            let length = patient(self.stream.read(&mut octets)).await.unwrap();
            assert!(length > 0, "the relay has closed without a word");
            self.frames.push(&octets[..length]);
        }
    }

    /// The next message, which has to be one chunk.
    async fn message(&mut self) -> (msrp::Head, Bytes) {
        let Frame::Message(message) = self.frame().await else { panic!("no message") };
        let mut chunks = Chunks::default();
        chunks.set_in_messages();
        chunks.push(&message);
        let mut head = None;
        let mut body = Vec::new();
        while let Some(event) = chunks.next_event().unwrap() {
            match event {
                Chunk::Start(start) => head = Some(start),
                Chunk::Body(octets) => body.extend_from_slice(&octets),
                Chunk::End(_) => {}
            }
        }
        (head.expect("no chunk in the message"), body.into())
    }

    /// Asks for a URI, as text or as octets.
    async fn authenticate(&mut self, opcode: Opcode) -> Uri {
        let to: Uri = "msrp://alice@localhost:443;ws".parse().unwrap();
        let mut auth = Auth::new(account("alice"), to.into(), OWN.parse().unwrap()).unwrap();
        for attempt in 1.. {
            let request = auth.request(Ident::from_token(attempt), attempt).unwrap();
            self.send(opcode, &request).await;
            if let Next::Granted(grant) = auth.answered(&self.message().await.0).unwrap() {
                return grant.use_path().first().unwrap().clone();
            }
        }
        unreachable!()
    }

    /// The relay closes with this code.
    async fn is_closed_with(&mut self, code: u16) {
        assert_eq!(self.frame().await, Frame::Close(Some(code)));
        let mut rest = Vec::new();
        // An end or a reset, which comes where something of ours was not read any more.
        let _ = patient(self.stream.read_to_end(&mut rest)).await;
    }
}

/// RFC 7977 §4.2: text and binary mean the same; §5.1: what another sends in long chunks comes in messages of one chunk each.
#[tokio::test]
async fn a_script_gets_one_chunk_in_each_message_and_sends_text_or_octets() {
    let (relay, websockets) = relay(None, Origins::Any).await;
    let mut script = Script::connect(websockets).await;
    script.authenticate(Opcode::Text).await;
    let ours = script.authenticate(Opcode::Binary).await;
    assert_eq!((ours.port(), ours.is_tcp()), (Some(relay.address().port()), true));

    let bob = Endpoint::bind(Options::active_only()).await.unwrap();
    let bob = bob.open().unwrap();
    let bob_uri = bob.uri().clone();
    let path = format!("{ours} {OWN}").parse().unwrap();
    let greeting = tokio::spawn(bob.connect(path));
    // His first request, to which the answer is ours; then those of the file.
    let file = random_file();
    let mut got = Vec::new();
    let mut session = None;
    let mut chunks = 0;
    let mut greeting = Some(greeting);
    while got.len() < file.len() {
        let (head, body) = script.message().await;
        assert!(body.len() <= MAX_WHOLE_CHUNK, "{}", body.len());
        let Start::Request(Method::Send) = head.start() else { continue };
        let answer = format!(
            "MSRP {id} 200 OK\r\nTo-Path: {ours}\r\nFrom-Path: {OWN}\r\n-------{id}$\r\n",
            id = head.transaction()
        );
        script.send(Opcode::Text, answer.as_bytes()).await;
        if let Some(greeting) = greeting.take() {
            let bob = patient(greeting).await.unwrap().unwrap();
            bob.send(Message::new("application/octet-stream", file.clone())).await.unwrap();
            session = Some(bob);
            continue;
        }
        // In order, since nobody else sends.
        assert_eq!(head.byte_range().unwrap().unwrap().start, got.len() as u64 + 1);
        got.extend_from_slice(&body);
        chunks += 1;
    }
    assert!(got == file);
    assert!(chunks >= file.len() / MAX_WHOLE_CHUNK, "{chunks}");

    let say = |id: &str, text: &str| {
        format!(
            "MSRP {id} SEND\r\nTo-Path: {ours} {bob_uri}\r\nFrom-Path: {OWN}\r\nMessage-ID: {id}\r\nByte-Range: 1-5/5\r\n\
             Content-Type: text/plain\r\n\r\n{text}\r\n-------{id}$\r\n"
        )
    };
    let mut session = session.unwrap();
    script.send(Opcode::Text, say("first1", "hello").as_bytes()).await;
    script.send(Opcode::Binary, say("second2", "again").as_bytes()).await;
    assert_eq!(next_message(&mut session).await.text(), Some("hello"));
    assert_eq!(next_message(&mut session).await.text(), Some("again"));

    // RFC 6455 §5.5.1, §5.5.2; RFC 7977 §6.
    script.send(Opcode::Ping, b"there?").await;
    loop {
        match script.frame().await {
            Frame::Pong => break,
            Frame::Message(_) => {}
            other => panic!("{other:?}"),
        }
    }
    script.send(Opcode::Close, &1_000u16.to_be_bytes()).await;
    script.is_closed_with(1_000).await;
    // What he sends her has failed, and her URI is gone with her connection.
    let receipt = session.send(Message::text("still there?")).await.unwrap();
    assert!(patient(receipt.accepted()).await.is_err());
    assert_eq!(relay.counts().grants, 0);
}

#[tokio::test]
async fn rfc_7977_5_1_a_message_that_is_not_one_chunk_ends_the_connection() {
    let (_relay, websockets) = relay(None, Origins::Any).await;
    let auth = |id: &str| {
        format!("MSRP {id} AUTH\r\nTo-Path: msrp://localhost:443;ws\r\nFrom-Path: {OWN}\r\n-------{id}$\r\n")
    };
    let half = &auth("half1")[..40];
    for (what, code) in [
        (auth("first1") + &auth("second2"), 1_002),
        (half.to_owned(), 1_002),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 1_002),
        // More than a stranger may fill memory with.
        ("x".repeat(40_000), 1_009),
    ] {
        let mut script = Script::connect(websockets).await;
        script.send(Opcode::Text, what.as_bytes()).await;
        loop {
            match script.frame().await {
                // The first of two is answered, or not.
                Frame::Message(_) => {}
                other => {
                    assert_eq!(other, Frame::Close(Some(code)), "{:?}", &what[..20]);
                    break;
                }
            }
        }
    }
    // What came in fragments is a message all the same, and empty ones keep the connection alive.
    let mut script = Script::connect(websockets).await;
    script.send(Opcode::Text, b"").await;
    script.send(Opcode::Text, b"\r\n").await;
    let whole = auth("whole1");
    let mut first = frame::encode(Opcode::Text, &whole.as_bytes()[..30], Some([9; 4])).to_vec();
    first[0] &= 0x7f;
    script.stream.write_all(&first).await.unwrap();
    script.send(Opcode::Continuation, &whole.as_bytes()[30..]).await;
    let (head, _) = script.message().await;
    assert_eq!(head.start(), &Start::Response(StatusCode::UNAUTHORIZED));
}

/// RFC 7977 §4.1, §7.
#[tokio::test]
async fn an_upgrade_without_msrp_or_from_a_strange_page_is_refused() {
    let page = "https://chat.example.com";
    let (_relay, websockets) = relay(None, Origins::Only(vec![page.into()])).await;
    let upgrade = |subprotocol: &str, origin: &str| {
        let request = handshake::request("localhost", subprotocol, [7; 16]);
        let text = String::from_utf8(request.to_vec()).unwrap();
        text.replace("Upgrade: websocket", &format!("Origin: {origin}\r\nUpgrade: websocket"))
    };
    for (request, status) in [
        (upgrade("sip", page), "HTTP/1.1 400 "),
        (upgrade("msrp", "https://elsewhere.example"), "HTTP/1.1 403 "),
        (upgrade("msrp", page), "HTTP/1.1 101 "),
        ("MSRP a786hjs2 SEND\r\n".to_owned(), "HTTP/1.1 400 "),
    ] {
        let mut stream = TcpStream::connect(websockets).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; status.len()];
        patient(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), status, "{request}");
    }
}

#[tokio::test]
async fn a_server_without_msrp_is_told_to_who_wants_a_uri() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let alice = Endpoint::bind(Options::active_only()).await.unwrap();
    let relay = format!("msrp://localhost:{port};ws").parse().unwrap();
    let error = patient(alice.open().unwrap().authenticate(&[(relay, account("alice"))])).await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}
