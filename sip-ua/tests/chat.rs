//! Chats over loopback sockets: receipts, who is writing, what comes twice, and peers that this library did not write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::Duration;

use sip_dialog::Body;
use sip_dialog::messaging::composing::IsComposing;
use sip_dialog::messaging::cpim::{Cpim, CpimAddress};
use sip_dialog::messaging::imdn::{Disposition, Imdn};
use sip_message::{Limits, Message, Method, Request, StatusCode};
use sip_server::{Server, Users};
use sip_ua::{Chat, ChatEvent, Phone, Receipt, RequestError};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str) -> Phone {
    Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0").bind().await.unwrap()
}

fn address_of(phone: &Phone) -> SocketAddr {
    phone.locals().iter().next().unwrap().bound
}

async fn event(chat: &mut Chat) -> ChatEvent {
    patient("news of the chat", chat.next()).await
}

/// RFC 3994 §3.2, RFC 5438 §7: through a server, writing is told before the text, and each receipt once, of the right text.
#[tokio::test]
async fn a_chat_through_a_server() {
    let users = Users::parse("alice:secret\nbob:secret\n").unwrap();
    let server = Server::builder().listen("udp:127.0.0.1:0").domain("127.0.0.1").users(users);
    let server = server.build().await.unwrap();
    let at = server.locals().iter().next().unwrap().bound;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run_until(stopped));
    let (to_alice, to_bob) = (format!("sip:alice@{at}"), format!("sip:bob@{at}"));
    let phone = async |address: &str| {
        let phone =
            Phone::builder(address).password("secret").listen("udp:127.0.0.1:0").bind().await.unwrap();
        patient("registering", phone.register()).await.unwrap();
        phone
    };
    let (alice, bob) = (phone(&to_alice).await, phone(&to_bob).await);
    let mut with_bob = alice.chat(&to_bob).unwrap();
    let mut with_alice = bob.chat(&to_alice).unwrap();

    for _ in 0..20 {
        with_bob.typing();
    }
    assert!(matches!(event(&mut with_alice).await, ChatEvent::Composing(true)));
    let first = patient("sending", with_bob.send_with_receipts("lunch?")).await.unwrap();
    let second = patient("sending", with_bob.send_with_receipts("or dinner? ☕")).await.unwrap();
    assert_ne!(first.id, second.id);
    let ChatEvent::Message(lunch) = event(&mut with_alice).await else { panic!("20 keys are told once") };
    let ChatEvent::Message(dinner) = event(&mut with_alice).await else { panic!("the second text") };
    assert_eq!((lunch.text.as_str(), dinner.text.as_str()), ("lunch?", "or dinner? ☕"));
    with_alice.displayed(&dinner);
    let mut told = Vec::new();
    while told.len() < 3 {
        if let ChatEvent::Receipt { id, receipt } = event(&mut with_bob).await {
            told.push((id, receipt));
        }
    }
    let (first, second) = (first.id.unwrap(), second.id.unwrap());
    let told: Vec<_> = told.iter().map(|(id, receipt)| (id.as_str(), *receipt)).collect();
    assert_eq!(
        told,
        [
            (first.as_str(), Receipt::Delivered),
            (second.as_str(), Receipt::Delivered),
            (second.as_str(), Receipt::Displayed)
        ]
    );
    // A bare text asks for nothing; the next thing that is heard is the answer, and no receipt or who writes beside it.
    patient("sending", with_bob.send("just that")).await.unwrap();
    assert_eq!(patient("the text", with_alice.next_message()).await.text, "just that");
    patient("sending", with_alice.send("dinner")).await.unwrap();
    let ChatEvent::Message(answer) = event(&mut with_bob).await else { panic!("nothing else was told") };
    assert_eq!(answer.text, "dinner");

    // What nobody read in a chat is not lost with it.
    patient("sending", with_bob.send("unread")).await.unwrap();
    drop(with_alice);
    let again = async { bob.next_chat().await.next_message().await };
    assert_eq!(patient("the text", again).await.text, "unread");
    alice.close().await;
    bob.close().await;
    drop(stop);
    let _ = serving.await;
}

/// A MESSAGE as somebody writes it who has only a socket.
fn written(
    from: SocketAddr,
    to: SocketAddr,
    branch: &str,
    call: &str,
    content_type: &str,
    body: &[u8],
) -> Vec<u8> {
    let head = format!(
        "MESSAGE sip:bob@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:mallory@{from}>;tag=m\r\nTo: <sip:bob@{to}>\r\nCall-ID: {call}\r\nCSeq: 1 MESSAGE\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn heard(socket: &UdpSocket) -> Message {
    let mut octets = vec![0; 65_536];
    let (length, _) = patient("a datagram", socket.recv_from(&mut octets)).await.unwrap();
    octets.truncate(length);
    Message::parse(octets.into(), &Limits::default()).unwrap()
}

async fn request(socket: &UdpSocket) -> Request {
    loop {
        if let Message::Request(request) = heard(socket).await {
            return request;
        }
    }
}

async fn answer(socket: &UdpSocket, to: SocketAddr, request: &Request, status: StatusCode) {
    let response = request.reply(status).to_tag("there").build().unwrap();
    socket.send_to(&response.to_bytes(), to).await.unwrap();
}

/// RFC 3428 §7, §10, RFC 5438 §6.3: what comes twice is given once; what nobody understands is refused with what would be.
#[tokio::test]
async fn messages_of_somebody_with_a_socket() {
    let bob = phone("bob").await;
    let to = address_of(&bob);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = socket.local_addr().unwrap();
    let send = async |branch: &str, call: &str, content_type: &str, body: &[u8]| {
        socket.send_to(&written(from, to, branch, call, content_type, body), to).await.unwrap();
        loop {
            if let Message::Response(response) = heard(&socket).await {
                return response;
            }
        }
    };
    // The same message in another transaction, as a server sends it that has forgotten that it did.
    for branch in ["1", "2"] {
        assert_eq!(send(branch, "same", "text/plain", b"once").await.status(), StatusCode::OK);
    }
    let mut cpim = Cpim::new("text/plain", "named");
    cpim.push_from(&CpimAddress::new(None, "sip:victim@127.0.0.1:9"));
    cpim.push_to(&CpimAddress::new(None, "sip:bob@example.com"));
    cpim.ask_for("id-of-a-victim", &[Disposition::PositiveDelivery]);
    for (branch, call) in [("3", "a"), ("4", "b")] {
        assert_eq!(send(branch, call, "message/cpim", &cpim.to_octets()).await.status(), StatusCode::OK);
    }
    let refused = send("5", "c", "text/html", b"<b>x</b>").await;
    assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let accepted: Vec<_> =
        refused.headers.raw("Accept").map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    assert!(accepted.join(",").contains("text/plain"), "{accepted:?}");
    assert!(accepted.join(",").contains("message/cpim"), "{accepted:?}");
    assert_eq!(send("6", "d", "text/plain", b"\xff\xfe").await.status(), StatusCode::BAD_REQUEST);
    // Nobody chats with this one: what it says of texts is taken, and shown to nobody.
    let typing = IsComposing::new(sip_dialog::messaging::composing::ComposingState::Active).to_body();
    assert_eq!(send("7", "e", &typing.content_type, &typing.octets).await.status(), StatusCode::OK);
    assert_eq!(send("8", "f", "text/plain", b"last").await.status(), StatusCode::OK);
    for text in ["once", "named", "last"] {
        assert_eq!(patient("the text", bob.next_message()).await.text, text);
    }
    // An envelope decides whom we write to only if it names who sent it: no receipt went to the victim, one comes here.
    let mut own = Cpim::new("text/plain", "mine");
    own.push_from(&CpimAddress::new(None, &format!("sip:mallory@{from}")));
    own.push_to(&CpimAddress::new(None, "sip:bob@example.com"));
    own.ask_for("id-of-mine", &[Disposition::PositiveDelivery]);
    socket.send_to(&written(from, to, "9", "g", "message/cpim", &own.to_octets()), to).await.unwrap();
    let receipt = Cpim::parse(request(&socket).await.body()).unwrap();
    assert_eq!(Imdn::parse(&receipt.body).unwrap().message_id, "id-of-mine");
    bob.close().await;
}

/// RFC 3428 §8: the next message waits for the answer to the one before. RFC 3994 §4: who answers 415 is told no more who is
/// writing; and it gets the bare text in the place of one with receipts. 202 is told apart from 200.
#[tokio::test]
async fn one_at_a_time() {
    let alice = phone("alice").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (to, back) = (format!("sip:bob@{}", socket.local_addr().unwrap()), address_of(&alice));
    let chat = alice.chat(&to).unwrap();
    let call_id = |request: &Request| request.headers.text("Call-ID").unwrap().to_owned();
    let first = chat.send("first");
    let second = chat.send("second");
    let there = async {
        let request_ = request(&socket).await;
        // The retransmissions of the first come, and nothing else.
        for _ in 0..2 {
            let again = request(&socket).await;
            assert_eq!((call_id(&again), &again.body()[..]), (call_id(&request_), &request_.body()[..]));
        }
        answer(&socket, back, &request_, StatusCode::ACCEPTED).await;
        let next = loop {
            let next = request(&socket).await;
            if call_id(&next) != call_id(&request_) {
                break next;
            }
        };
        assert_eq!(&next.body()[..], b"second");
        answer(&socket, back, &next, StatusCode::OK).await;
    };
    let (first, second, ()) = patient("both", async { tokio::join!(first, second, there) }).await;
    assert!(first.unwrap().kept && !second.unwrap().kept);

    chat.typing();
    let typing = request(&socket).await;
    assert_eq!(typing.headers.text("Content-Type"), Some(IsComposing::CONTENT_TYPE));
    answer(&socket, back, &typing, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    let sent = chat.send_with_receipts("third");
    let there = async {
        let enveloped = loop {
            let request = request(&socket).await;
            if call_id(&request) != call_id(&typing) {
                break request;
            }
        };
        assert_eq!(enveloped.headers.text("Content-Type"), Some(Cpim::CONTENT_TYPE));
        answer(&socket, back, &enveloped, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
        let bare = loop {
            let request = request(&socket).await;
            if ![call_id(&enveloped), call_id(&typing)].contains(&call_id(&request)) {
                break request;
            }
        };
        assert_eq!(&bare.body()[..], b"third");
        answer(&socket, back, &bare, StatusCode::OK).await;
        bare
    };
    let (sent, bare) = patient("the third", async { tokio::join!(sent, there) }).await;
    assert_eq!(sent.unwrap().id, None);
    chat.typing();
    let sent = chat.send("fourth");
    let there = async {
        let next = loop {
            let request = request(&socket).await;
            if call_id(&request) != call_id(&bare) {
                break request;
            }
        };
        assert_eq!(&next.body()[..], b"fourth", "it is told no more who is writing");
        answer(&socket, back, &next, StatusCode::NOT_FOUND).await;
    };
    let (sent, ()) = patient("the fourth", async { tokio::join!(sent, there) }).await;
    assert!(matches!(sent, Err(RequestError::Refused { status: StatusCode::NOT_FOUND, .. })), "{sent:?}");
    alice.close().await;
}

/// A type of its own that an application reads; all others are still refused.
#[tokio::test]
async fn types_of_the_application() {
    let alice = phone("alice").await;
    let bob = Phone::builder("sip:bob@example.com")
        .listen("udp:127.0.0.1:0")
        .message_type("application/vnd.example");
    let bob = bob.bind().await.unwrap();
    let to = format!("sip:bob@{}", address_of(&bob));
    let body = |kind: &str| Some(Body { content_type: kind.into(), octets: "\u{1}".into() });
    let sent = alice.request(&to, Method::Message, &[], body("application/vnd.example"));
    patient("MESSAGE", sent).await.unwrap();
    let message = patient("the message", bob.next_message()).await;
    assert_eq!((message.text.as_str(), &message.request.body()[..]), ("", &b"\x01"[..]));
    let refused =
        patient("MESSAGE", alice.request(&to, Method::Message, &[], body("application/other"))).await;
    assert_eq!(refused.unwrap_err().status(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    alice.close().await;
    bob.close().await;
}
