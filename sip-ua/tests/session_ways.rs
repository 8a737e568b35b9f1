//! The ways that sessions of messages take: over TLS, from behind NAT, past middleboxes, through relays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use msrp::relay::RelayConfig;
use msrp::tokio::relay::RelayServer;
use msrp::tokio::tls::{self, Identity, Trust};
use msrp::tokio::{ConnectError, Endpoint, Options, Origins, Pending};
use msrp::{Message, Path};
use sdp::sdp_types::Attribute;
use sdp::{LocalMedia, LocalStream, MediaKind, Negotiated};
use sip_message::StatusCode;
use sip_transport::tokio::tls::{Roots, Tls, TlsOptions};
use sip_ua::{
    Call, ChatSession, FileToSend, IncomingCall, MediaEngine, MediaFuture, MediaPlace, MediaSession, Phone,
    PhoneBuilder, SessionError,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

fn builder(user: &str) -> PhoneBuilder {
    Phone::builder(&format!("sip:{user}@example.com")).password("secret").listen("udp:127.0.0.1:0")
}

async fn phone(user: &str) -> Phone {
    builder(user).bind().await.unwrap()
}

fn to(phone: &Phone) -> String {
    format!("sip:bob@{}", phone.locals().iter().next().unwrap().bound)
}

fn offer(call: &IncomingCall) -> String {
    String::from_utf8(call.request().body().to_vec()).unwrap()
}

/// A session between the two, and what was offered for it.
async fn session(alice: &Phone, bob: &Phone) -> (ChatSession, ChatSession, String) {
    let accepting = async {
        let call = bob.incoming().await.unwrap();
        let offer = offer(&call);
        (call.into_chat().unwrap().accept().await, offer)
    };
    let there = to(bob);
    let (alice, (bob, offer)) =
        patient("the session", async { tokio::join!(alice.chat_session(&there), accepting) }).await;
    (alice.unwrap(), bob.unwrap(), offer)
}

async fn talk(mut alice: ChatSession, mut bob: ChatSession) {
    patient("a text", alice.send("hello")).await.unwrap();
    assert_eq!(patient("a text", bob.next()).await.as_deref(), Some("hello"));
    patient("a text", bob.send("and back")).await.unwrap();
    assert_eq!(patient("a text", alice.next()).await.as_deref(), Some("and back"));
    patient("the end", alice.close()).await;
    assert_eq!(patient("the end", bob.next()).await, None);
}

/// RFC 4975 §8.1, §14.4, RFC 8122 §5: the offer says TLS and announces a certificate; texts and files go over it.
#[tokio::test]
async fn rfc_4975_14_4_sessions_over_tls_with_certificates_that_both_announce() {
    let (alice, bob) = (builder("alice").msrp_tls(true).bind().await.unwrap(), phone("bob").await);
    let (at_alice, at_bob, offer) = session(&alice, &bob).await;
    assert!(offer.contains(" TCP/TLS/MSRP *\r\n") && offer.contains("a=path:msrps://"), "{offer}");
    assert!(offer.contains("a=fingerprint:sha-256 ") && offer.contains("a=setup:actpass\r\n"), "{offer}");
    talk(at_alice, at_bob).await;
    let octets: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let file = FileToSend::new("a.bin", octets.clone());
    let mut saved = Vec::new();
    let receiving = async {
        let chat = bob.incoming().await.unwrap().into_chat().unwrap();
        let save = |piece: &[u8]| {
            saved.extend_from_slice(piece);
            Ok(())
        };
        chat.receive(1_000_000).await?.save(save).await
    };
    let there = to(&bob);
    let sending = alice.send_file(&there, file, |_| {});
    let (sent, received) = patient("the file", async { tokio::join!(sending, receiving) }).await;
    sent.unwrap();
    assert_eq!(received.unwrap(), 300_000);
    assert!(saved == octets);
}

/// RFC 6135 §4.2.1: every offer and answer has `a=setup`; without TLS the session is offered over TCP, to both sides' choice.
#[tokio::test]
async fn rfc_6135_4_2_the_offer_leaves_open_who_connects() {
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let (at_alice, at_bob, offer) = session(&alice, &bob).await;
    for line in [" TCP/MSRP *\r\n", "a=path:msrp://", "a=setup:actpass\r\n", "a=msrp-cema\r\n"] {
        assert!(offer.contains(line), "{offer}");
    }
    assert!(!offer.contains("fingerprint"), "{offer}");
    talk(at_alice, at_bob).await;
}

/// A registrar that sees whoever registers come from elsewhere, as behind NAT.
async fn registrar_beyond_nat() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let mut answer = String::from("SIP/2.0 200 OK\r\n");
            for line in text.lines() {
                let (name, value) = line.split_once(':').unwrap_or_default();
                match name {
                    "Via" => answer
                        .push_str(&format!("Via:{};received=192.0.2.9\r\n", value.replace(";rport", ""))),
                    "To" => answer.push_str(&format!("To:{value};tag=1\r\n")),
                    "From" | "Call-ID" | "CSeq" | "Contact" => answer.push_str(&format!("{line}\r\n")),
                    _ => {}
                }
            }
            answer.push_str("Expires: 3600\r\nContent-Length: 0\r\n\r\n");
            let _ = socket.send_to(answer.as_bytes(), from).await;
        }
    });
    address
}

async fn behind_nat(user: &str) -> Phone {
    let registrar = registrar_beyond_nat().await;
    let phone = builder(user).registrar(&format!("sip:{registrar}")).bind().await.unwrap();
    patient("registering", phone.register()).await.unwrap();
    phone
}

/// RFC 6135 §4.2.2: who is behind NAT connects, whether it calls or is called.
#[tokio::test]
async fn rfc_6135_4_2_2_who_is_behind_nat_connects() {
    let (inside, outside) = (behind_nat("alice").await, phone("bob").await);
    let (alice, bob, offer) = session(&inside, &outside).await;
    assert!(offer.contains("a=setup:active\r\n") && offer.contains("m=message 9 "), "{offer}");
    talk(alice, bob).await;

    // The offerer waits: nobody but the answerer could have connected, whose port is nobody's.
    let (alice, bob, offer) = session(&outside, &inside).await;
    assert!(offer.contains("a=setup:actpass\r\n"), "{offer}");
    talk(alice, bob).await;
}

/// Our end of a session, the peer's path, and the fingerprint that the peer announces.
type Agreed = (Pending, Path, Option<[u8; 32]>);

/// The media of a peer that says of its session what a test wants, and does with it what a test does.
#[derive(Debug)]
struct Puppet {
    endpoint: Endpoint,
    /// Its c and m lines.
    address: SocketAddr,
    protocol: &'static str,
    attributes: Vec<(&'static str, Option<String>)>,
    opened: Mutex<Option<Pending>>,
    agreed: mpsc::UnboundedSender<Agreed>,
}

#[derive(Debug)]
struct Hand(Arc<Puppet>);

impl MediaEngine for Hand {
    fn open(&self, _: MediaPlace) -> MediaFuture<'_, std::io::Result<Arc<dyn MediaSession>>> {
        let session: Arc<dyn MediaSession> = Arc::new(Hand(Arc::clone(&self.0)));
        Box::pin(std::future::ready(Ok(session)))
    }
}

impl MediaSession for Hand {
    fn describe(&self) -> LocalMedia {
        let puppet = &self.0;
        let mut pending = puppet.endpoint.open().unwrap();
        pending.listen();
        let own = [("path", Some(pending.uri().to_string())), ("accept-types", Some("*".into()))];
        let all = own.into_iter().chain(puppet.attributes.iter().cloned());
        let attributes = all.map(|(name, value)| Attribute { attribute: name.into(), value });
        *puppet.opened.lock().unwrap() = Some(pending);
        let stream = LocalStream::other(MediaKind::Message, puppet.address, puppet.protocol, ["*"]);
        LocalMedia::new([stream.with_options(|options| options.attributes = attributes.collect())])
    }

    fn apply(&self, agreed: &Negotiated) {
        let peer = agreed.streams[0].peer().unwrap();
        let path = peer.attribute("path").unwrap().parse().unwrap();
        let shown = peer.fingerprints.first().map(|shown| shown.fingerprint.as_slice().try_into().unwrap());
        if let Some(pending) = self.0.opened.lock().unwrap().take() {
            let _ = self.0.agreed.send((pending, path, shown));
        }
    }

    fn close(&self) {}
}

/// A phone with such media, and what comes of its sessions.
struct Show {
    phone: Phone,
    agreed: mpsc::UnboundedReceiver<Agreed>,
}

impl Show {
    async fn new(
        user: &str,
        endpoint: Endpoint,
        address: Option<SocketAddr>,
        protocol: &'static str,
        attributes: &[(&'static str, Option<&str>)],
    ) -> Self {
        let (agreed, receiver) = mpsc::unbounded_channel();
        let address = address.or(endpoint.address()).unwrap();
        let attributes = attributes.iter().map(|(name, value)| (*name, value.map(str::to_owned))).collect();
        let opened = Mutex::default();
        let puppet = Puppet { endpoint, address, protocol, attributes, opened, agreed };
        let phone = builder(user).media_engine(Arc::new(Hand(Arc::new(puppet)))).bind().await.unwrap();
        Self { phone, agreed: receiver }
    }

    async fn answer(&mut self) -> (Call, Agreed) {
        let call = self.phone.incoming().await.unwrap().answer().await.unwrap();
        (call, self.agreed.recv().await.unwrap())
    }
}

async fn plain() -> Endpoint {
    Endpoint::bind(Options::new("127.0.0.1:0".parse().unwrap())).await.unwrap()
}

async fn secure() -> (Endpoint, [u8; 32]) {
    let identity = Identity::self_signed().unwrap();
    let shown = identity.fingerprint().unwrap();
    let tls = tls::Tls::new(Some(identity), &Trust::FingerprintOrSystem).unwrap();
    (Endpoint::bind(Options::new("127.0.0.1:0".parse().unwrap()).tls(tls)).await.unwrap(), shown)
}

fn announced(octets: &[u8; 32]) -> String {
    let octets: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    format!("sha-256 {}", octets.join(":"))
}

/// RFC 8122 §6.2: who shows another certificate than the answer announces gets no session, whichever side connects.
#[tokio::test]
async fn rfc_8122_6_2_another_certificate_than_announced_is_refused_on_both_sides() {
    let alice = builder("alice").msrp_tls(true).bind().await.unwrap();
    for setup in ["passive", "active"] {
        let (endpoint, _) = secure().await;
        let attributes = [("setup", Some(setup)), ("fingerprint", Some(&*announced(&[7; 32])))];
        let mut bob = Show::new("bob", endpoint, None, "TCP/TLS/MSRP", &attributes).await;
        let there = to(&bob.phone);
        let answering = async {
            let (call, (pending, path, of_alice)) = bob.answer().await;
            let session = match setup {
                "active" => Some(pending.fingerprint(of_alice.unwrap()).connect(path).await),
                _ => None,
            };
            (call, session)
        };
        let (session, _held) =
            patient("the session", async { tokio::join!(alice.chat_session(&there), answering) }).await;
        assert!(matches!(session, Err(SessionError::Connect(ConnectError::Fingerprint))), "{session:?}");
    }
}

/// RFC 8122 §5: a certificate that is announced by other hashes alone cannot be compared, and is not taken for good.
#[tokio::test]
async fn rfc_8122_5_a_fingerprint_of_another_hash_is_no_session() {
    let (endpoint, _) = secure().await;
    let attributes = [("setup", Some("actpass")), ("fingerprint", Some("sha-1 00:01:02"))];
    let mallory = Show::new("mallory", endpoint, None, "TCP/TLS/MSRP", &attributes).await;
    let bob = phone("bob").await;
    let there = to(&bob);
    let answering = async { bob.incoming().await.unwrap().into_chat().unwrap().accept().await };
    let calling = async { mallory.phone.call(&there).await.unwrap().answered().await };
    let (call, chat) = patient("the call", async { tokio::join!(calling, answering) }).await;
    assert!(matches!(chat, Err(SessionError::Fingerprint)), "{chat:?}");
    assert_eq!(call.unwrap_err().status(), Some(StatusCode::NOT_ACCEPTABLE_HERE));
}

/// RFC 4975 §5.4, RFC 6135 §5: a peer that knows neither `a=setup` nor `a=msrp-cema` waits, and we connect; as offerer it connects.
#[tokio::test]
async fn rfc_4975_5_4_a_peer_without_setup_waits_for_the_offerer() {
    let alice = phone("alice").await;
    let mut bob = Show::new("bob", plain().await, None, "TCP/MSRP", &[]).await;
    let there = to(&bob.phone);
    let answering = async {
        let (call, (pending, ..)) = bob.answer().await;
        (call, pending.accept().await.unwrap())
    };
    let (session, (_call, at_bob)) =
        patient("the session", async { tokio::join!(alice.chat_session(&there), answering) }).await;
    let mut at_alice = session.unwrap();
    at_bob.send(Message::text("hello")).await.unwrap();
    assert_eq!(patient("a text", at_alice.next()).await.as_deref(), Some("hello"));
    drop(at_alice);

    let there = to(&alice);
    let answering = async { alice.incoming().await.unwrap().into_chat().unwrap().accept().await };
    let calling = async {
        let call = bob.phone.call(&there).await.unwrap().answered().await.unwrap();
        let (pending, path, _) = bob.agreed.recv().await.unwrap();
        (call, pending.connect(path).await.unwrap())
    };
    let (at_alice, (_call, at_bob)) =
        patient("the session", async { tokio::join!(answering, calling) }).await;
    at_bob.send(Message::text("hello")).await.unwrap();
    assert_eq!(patient("a text", at_alice.unwrap().next()).await.as_deref(), Some("hello"));
}

/// An endpoint whose URIs lead nowhere: only its c and m lines, which somebody on the way has changed, lead to it.
async fn behind_middlebox() -> Endpoint {
    Endpoint::bind(Options::new("127.0.0.1:0".parse().unwrap()).host("192.0.2.1")).await.unwrap()
}

/// RFC 6714 §4.2, §4.3: with `a=msrp-cema` on both sides the c and m lines say where to connect.
#[tokio::test]
async fn rfc_6714_4_the_connection_goes_through_the_middlebox_that_changed_the_media_line() {
    let alice = phone("alice").await;
    let attributes = [("setup", Some("passive")), ("msrp-cema", None)];
    let mut bob = Show::new("bob", behind_middlebox().await, None, "TCP/MSRP", &attributes).await;
    let there = to(&bob.phone);
    let answering = async {
        let (call, (pending, ..)) = bob.answer().await;
        (call, pending.accept().await.unwrap())
    };
    let (session, (_call, at_bob)) =
        patient("the session", async { tokio::join!(alice.chat_session(&there), answering) }).await;
    at_bob.send(Message::text("hello")).await.unwrap();
    assert_eq!(patient("a text", session.unwrap().next()).await.as_deref(), Some("hello"));

    let attributes = [("setup", Some("passive")), ("msrp-cema", None)];
    let mut carol = Show::new("carol", behind_middlebox().await, None, "TCP/MSRP", &attributes).await;
    let there = to(&alice);
    let answering = async { alice.incoming().await.unwrap().into_chat().unwrap().accept().await };
    let calling = async {
        let call = carol.phone.call(&there).await.unwrap().answered().await.unwrap();
        let (pending, ..) = carol.agreed.recv().await.unwrap();
        (call, pending.accept().await.unwrap())
    };
    let (at_alice, (_call, at_carol)) =
        patient("the session", async { tokio::join!(answering, calling) }).await;
    at_carol.send(Message::text("hello")).await.unwrap();
    assert_eq!(patient("a text", at_alice.unwrap().next()).await.as_deref(), Some("hello"));
}

/// RFC 6714 §4.2: an answer without `a=msrp-cema` whose lines do not match its path, of a peer that is to connect: offered anew without it.
/// §4.3: such an offer is refused.
#[tokio::test]
async fn rfc_6714_4_a_middlebox_that_knows_nothing_of_it_is_told_so() {
    let alice = phone("alice").await;
    let attributes = [("setup", Some("active"))];
    let mut bob = Show::new("bob", behind_middlebox().await, None, "TCP/MSRP", &attributes).await;
    let there = to(&bob.phone);
    let answering = async {
        let first = bob.phone.incoming().await.unwrap();
        assert!(offer(&first).contains("a=msrp-cema"));
        let first = first.answer().await.unwrap();
        bob.agreed.recv().await.unwrap();
        first.ended().await;
        let second = bob.phone.incoming().await.unwrap();
        assert!(!offer(&second).contains("a=msrp-cema"));
        let call = second.answer().await.unwrap();
        let (pending, path, _) = bob.agreed.recv().await.unwrap();
        (call, pending.connect(path).await.unwrap())
    };
    let (session, (_call, at_bob)) =
        patient("the session", async { tokio::join!(alice.chat_session(&there), answering) }).await;
    at_bob.send(Message::text("hello")).await.unwrap();
    assert_eq!(patient("a text", session.unwrap().next()).await.as_deref(), Some("hello"));

    let there = to(&alice);
    let answering = async { alice.incoming().await.unwrap().into_chat().unwrap().accept().await };
    let calling = async { bob.phone.call(&there).await.unwrap().answered().await };
    let (call, chat) = patient("the refusal", async { tokio::join!(calling, answering) }).await;
    assert!(matches!(chat, Err(SessionError::Rerouted)), "{chat:?}");
    assert_eq!(call.unwrap_err().status(), Some(StatusCode::NOT_ACCEPTABLE_HERE));
}

/// A relay over TLS, and how a phone is told to trust its authority.
async fn relay() -> (RelayServer, Tls) {
    relay_with(|_| {}).await
}

async fn relay_with(change: impl FnOnce(&mut RelayConfig)) -> (RelayServer, Tls) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let identity = Identity { chain: vec![made.cert.der().to_vec()], key: made.signing_key.serialize_der() };
    let accounts: HashMap<String, String> =
        ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned())).into();
    let trust = Trust::Authorities(identity.chain.clone());
    let tls = tls::Tls::new(Some(identity), &trust).unwrap();
    let mut config = RelayConfig::new("127.0.0.1", 0);
    change(&mut config);
    let server = RelayServer::bind("127.0.0.1:0".parse().unwrap(), config, Box::new(accounts), Some(tls));
    let roots = Roots::from_pem(made.cert.pem().as_bytes()).unwrap();
    (server.await.unwrap(), Tls::new(TlsOptions::new().roots(roots)).unwrap())
}

/// RFC 4976 §5.1, RFC 6135 §4.5: one, the other, and both behind a relay; over the offer's TCP and over TLS.
#[tokio::test]
async fn rfc_4976_5_sessions_through_relays() {
    let (relay, trust) = relay().await;
    let uri = format!("msrps://127.0.0.1:{};tcp", relay.address().port());
    for (alice_relays, bob_relays) in [(true, false), (false, true), (true, true)] {
        for over_tls in [false, true] {
            let phone = async |user: &str, relays: bool| {
                let builder = builder(user).tls(trust.clone()).msrp_tls(over_tls);
                let builder = if relays { builder.msrp_relay(&uri) } else { builder };
                builder.bind().await.unwrap()
            };
            let (alice, bob) = (phone("alice", alice_relays).await, phone("bob", bob_relays).await);
            let (at_alice, at_bob, offer) = session(&alice, &bob).await;
            let path = offer.lines().find_map(|line| line.strip_prefix("a=path:")).unwrap();
            assert_eq!(path.split(' ').count(), if alice_relays { 2 } else { 1 }, "{offer}");
            if alice_relays {
                assert!(offer.contains(&format!("m=message {} ", relay.address().port())), "{offer}");
                assert!(!offer.contains("fingerprint"), "{offer}");
            }
            talk(at_alice, at_bob).await;
        }
    }
}

/// RFC 4976 §9.4, RFC 4975 §8.4: the phone renews the URI of its relay before its time is over, and the other side's requests take the
/// new one, whichever of them has the relay.
#[tokio::test]
async fn rfc_4976_9_4_the_uri_of_the_relay_is_renewed_while_a_session_stands() {
    // Both would do it at times of chance, and one in a hundred runs would wait for the end of a glare.
    tokio::join!(renewed(true, false), renewed(false, true));
}

async fn renewed(alice_relays: bool, bob_relays: bool) {
    let (relay, trust) = relay_with(|config| (config.min_expires, config.max_expires) = (1, 5)).await;
    let uri = format!("msrps://127.0.0.1:{};tcp", relay.address().port());
    let phone = async |user: &str, relays: bool| {
        let builder = builder(user).tls(trust.clone());
        let builder = if relays { builder.msrp_relay(&uri) } else { builder };
        builder.bind().await.unwrap()
    };
    let (alice, bob) = (phone("alice", alice_relays).await, phone("bob", bob_relays).await);
    let (mut at_alice, mut at_bob, _) = session(&alice, &bob).await;
    // After two renewals the first URI has had its time.
    patient("two renewals", async {
        while relay.counts().granted < 3 {
            at_alice.send("still there?").await.unwrap();
            assert_eq!(at_bob.next().await.as_deref(), Some("still there?"));
            at_bob.send("yes").await.unwrap();
            assert_eq!(at_alice.next().await.as_deref(), Some("yes"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    talk(at_alice, at_bob).await;
}

/// RFC 7977 §5.2.2: a phone behind a WebSocket says TLS, and its relay's URI before its own; whom it talks to needs no WebSocket.
#[tokio::test]
async fn rfc_7977_5_2_2_a_phone_reaches_its_relay_over_a_websocket() {
    let (mut relay, trust) = relay().await;
    let websockets = relay.listen_websocket("127.0.0.1:0".parse().unwrap(), Origins::Any).await.unwrap();
    let uri = format!("msrps://127.0.0.1:{};ws", websockets.port());
    let alice = builder("alice").tls(trust.clone()).msrp_relay(&uri).bind().await.unwrap();
    let bob = builder("bob").tls(trust).bind().await.unwrap();
    let (at_alice, at_bob, offer) = session(&alice, &bob).await;
    let media = format!("m=message {} TCP/TLS/MSRP *\r\n", relay.address().port());
    assert!(offer.contains(&media), "{offer}");
    let path = offer.lines().find_map(|line| line.strip_prefix("a=path:")).unwrap();
    assert!(path.contains(";tcp msrps://") && path.ends_with(";ws"), "{offer}");
    talk(at_alice, at_bob).await;
}

/// RFC 4976 §5.1: a wrong password is told, and nobody is called.
#[tokio::test]
async fn rfc_4976_5_1_a_wrong_password_is_told_before_anybody_is_called() {
    let (relay, trust) = relay().await;
    let uri = format!("msrps://127.0.0.1:{};tcp", relay.address().port());
    let alice = builder("alice").tls(trust).msrp_relay_as(&uri, "alice", "guess").bind().await.unwrap();
    let refused = patient("the relay", alice.chat_session("sip:bob@192.0.2.1")).await;
    assert!(matches!(refused, Err(SessionError::Connect(ConnectError::Auth(_)))), "{refused:?}");
    let wrong = builder("alice").msrp_relay("relay.example.com").bind().await;
    assert!(wrong.unwrap_err().to_string().contains("no address of an MSRP relay"));
}
