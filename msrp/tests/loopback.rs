//! Endpoints over TCP on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use bytes::Bytes;
use msrp::file::{FileSelector, Incoming, Sha1Hash};
use msrp::tokio::{ConnectError, Endpoint, Options, Session};
use msrp::{Delivery, Event, Failure, FailureReport, Message, Path, Received, StatusCode, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No wait of these tests is longer on a machine that is not broken.
async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it takes too long")
}

async fn endpoint(address: &str) -> Endpoint {
    Endpoint::bind(Options::new(address.parse().unwrap())).await.unwrap()
}

async fn pair(alice: &Endpoint, bob: &Endpoint) -> (Session, Session) {
    let (alice, bob) = (alice.open().unwrap(), bob.open().unwrap());
    let path: Path = bob.uri().clone().into();
    let (alice, bob) = patient(async { tokio::join!(alice.connect(path), bob.accept()) }).await;
    (alice.unwrap(), bob.unwrap())
}

async fn message(session: &mut Session) -> Received {
    patient(async {
        loop {
            match session.next().await.expect("the session ends") {
                Event::Message(message) => return message,
                Event::Closed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
    })
    .await
}

#[tokio::test]
async fn messages_both_ways_over_ipv4_and_ipv6_are_acknowledged_and_reported() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (alice, bob) = (endpoint(address).await, endpoint(address).await);
        let (mut alice, mut bob) = pair(&alice, &bob).await;
        let receipt = alice.send(Message::text("Hi, I'm Alice!").with_success_report()).await.unwrap();
        assert_eq!(message(&mut bob).await.text(), Some("Hi, I'm Alice!"));
        patient(receipt.accepted()).await.unwrap();
        patient(receipt.delivered()).await.unwrap();
        let long = "x".repeat(1_000_000);
        let receipt = bob.send(Message::text(long.clone())).await.unwrap();
        assert!(message(&mut alice).await.text() == Some(&long));
        patient(receipt.accepted()).await.unwrap();
    }
}

#[tokio::test]
async fn rfc_4975_5_4_many_sessions_share_one_connection_and_end_each_for_itself() {
    let (alice, bob) = (endpoint("127.0.0.1:0").await, endpoint("127.0.0.1:0").await);
    let mut pairs = Vec::new();
    for _ in 0..8 {
        pairs.push(pair(&alice, &bob).await);
    }
    for (number, (alice, bob)) in pairs.iter_mut().enumerate() {
        alice.send(Message::text(format!("{number}"))).await.unwrap();
        assert_eq!(message(bob).await.text(), Some(format!("{number}").as_str()));
    }
    let (first, mut bob) = pairs.remove(0);
    drop(first);
    // Bob's side is not told by MSRP; what he sends finds nobody.
    let receipt = bob.send(Message::text("are you there?")).await.unwrap();
    let failure = patient(receipt.accepted()).await.unwrap_err();
    assert_eq!(failure, Failure::Status(StatusCode::NO_SESSION));
    let end = patient(async {
        loop {
            match bob.next().await {
                Some(Event::Closed(failure)) => return failure,
                Some(_) => {}
                None => panic!("no end was told"),
            }
        }
    });
    assert_eq!(end.await, Failure::Status(StatusCode::NO_SESSION));
    let (alice, bob) = &mut pairs[0];
    alice.send(Message::text("still here")).await.unwrap();
    assert_eq!(message(bob).await.text(), Some("still here"));
}

async fn ask(stream: &mut TcpStream, to: &Uri) -> String {
    let from = "msrp://127.0.0.1:9/x;tcp";
    let text = format!(
        "MSRP t123 SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: m123\r\n-------t123$\r\n"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 1_024]);
    while !answer.ends_with(b"-------t123$\r\n") {
        let length = patient(stream.read(&mut buffer)).await.unwrap();
        assert!(length > 0);
        answer.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn rfc_4975_5_4_unknown_sessions_are_481_and_bound_ones_506_on_another_connection() {
    let (alice, bob) = (endpoint("127.0.0.1:0").await, endpoint("127.0.0.1:0").await);
    let (alice, bob_session) = pair(&alice, &bob).await;
    let mut stream = TcpStream::connect(bob.address().unwrap()).await.unwrap();
    assert!(ask(&mut stream, bob_session.uri()).await.starts_with("MSRP t123 506 "));
    let unknown = Uri::new(false, "127.0.0.1", bob.address().unwrap().port(), "nobody").unwrap();
    assert!(ask(&mut stream, &unknown).await.starts_with("MSRP t123 481 "));
    // One of Alice's, which she opened the connection for, is taken as well; it is not known at Bob's place.
    assert!(ask(&mut stream, alice.uri()).await.starts_with("MSRP t123 481 "));
    let pending = bob.open().unwrap();
    let error =
        patient(endpoint("127.0.0.1:0").await.open().unwrap().connect(unknown.into())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(Failure::Status(StatusCode::NO_SESSION))), "{error}");
    // A session that nobody waits for any more is none.
    let uri = pending.uri().clone();
    let waiting = tokio::spawn(pending.accept());
    tokio::task::yield_now().await;
    waiting.abort();
    let _ = waiting.await;
    assert!(ask(&mut stream, &uri).await.starts_with("MSRP t123 481 "));
}

/// A peer that answers the first request and then says nothing: Alice's session, and the peer's end of the connection.
async fn silent_peer() -> (Session, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path: Path = format!("msrp://{}/s;tcp", listener.local_addr().unwrap()).parse().unwrap();
    let alice = Endpoint::bind(Options::active_only()).await.unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer_next(&mut stream).await;
        stream
    };
    let client = async { alice.open().unwrap().connect(path).await.unwrap() };
    let (stream, session) = patient(async { tokio::join!(server, client) }).await;
    (session, stream)
}

#[tokio::test]
async fn a_connection_that_breaks_ends_its_sessions_and_fails_what_was_not_acknowledged() {
    let (mut session, mut stream) = silent_peer().await;
    let receipt = session.send(Message::text("lost")).await.unwrap();
    let _ = patient(stream.read(&mut [0; 4_096])).await.unwrap();
    drop(stream);
    assert_eq!(patient(receipt.accepted()).await, Err(Failure::Closed));
    assert_eq!(patient(session.next()).await, Some(Event::Closed(Failure::Closed)));
    assert_eq!(patient(session.next()).await, None);
    assert!(session.send(Message::text("more")).await.is_err());
}

#[tokio::test]
async fn rfc_4975_7_1_1_a_silent_peer_fails_a_message_after_30_seconds_and_not_the_session() {
    let (session, mut stream) = silent_peer().await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let receipt = session.send(Message::text("Hi")).await.unwrap();
    assert_eq!(receipt.accepted().await, Err(Failure::Timeout));
    assert_eq!(start.elapsed().as_secs(), 30);
    tokio::time::resume();
    let _ = patient(stream.read(&mut [0; 4_096])).await.unwrap();
    let _receipt = session.send(Message::text("again")).await.unwrap();
    assert!(patient(stream.read(&mut [0; 4_096])).await.unwrap() > 0);
}

#[tokio::test]
async fn rfc_5547_a_file_is_sent_checked_and_resumed_where_it_broke_off() {
    let file: Bytes = (0..5_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let described = FileSelector {
        name: Some("noise".into()),
        size: Some(file.len() as u64),
        hash: Some(Sha1Hash::of(&file)),
        ..FileSelector::default()
    };
    let (alice, bob) = (endpoint("127.0.0.1:0").await, endpoint("127.0.0.1:0").await);
    let mut kept: Vec<u8> = Vec::new();
    // The first time Bob goes away in the middle.
    for attempt in 0..2 {
        let mut arriving = Incoming::new(&described, 10_000_000);
        arriving.resume(&kept).unwrap();
        let range = arriving.missing();
        let (alice, mut bob) = (alice.open().unwrap(), bob.open().unwrap());
        bob.config_mut().delivery = Delivery::Parts;
        let path: Path = bob.uri().clone().into();
        let (alice, bob) = patient(async { tokio::join!(alice.connect(path), bob.accept()) }).await;
        let (alice, mut bob) = (alice.unwrap(), bob.unwrap());
        let rest = file.slice(range.start as usize - 1..);
        assert_eq!(range.octets(file.len() as u64), Some(rest.len() as u64));
        let sender = tokio::spawn(async move {
            let message = Message::stream("application/octet-stream", Some(rest.len() as u64));
            let mut upload = alice.upload(message.with_success_report()).await.unwrap();
            for start in (0..rest.len()).step_by(100_000) {
                upload.write(rest.slice(start..(start + 100_000).min(rest.len()))).await?;
            }
            upload.finish().await?.delivered().await
        });
        let mut whole = false;
        while let Some(event) = patient(bob.next()).await {
            match event {
                Event::Part { offset, octets, .. } => {
                    arriving.part(offset, &octets).unwrap();
                    kept.extend_from_slice(&octets);
                    if attempt == 0 && kept.len() > 2_000_000 {
                        break;
                    }
                }
                Event::Ended { .. } => {
                    whole = true;
                    break;
                }
                _ => {}
            }
        }
        if attempt == 0 {
            drop(bob);
            assert!(patient(sender).await.unwrap().is_err());
        } else {
            assert!(whole);
            patient(sender).await.unwrap().unwrap();
            arriving.finish().unwrap();
        }
    }
    assert!(kept == file);
}

#[tokio::test]
async fn rfc_4975_10_5_a_file_that_is_refused_stops_in_the_middle() {
    let (alice, bob) = (endpoint("127.0.0.1:0").await, endpoint("127.0.0.1:0").await);
    let (alice, mut bob) = {
        let (alice, mut bob) = (alice.open().unwrap(), bob.open().unwrap());
        bob.config_mut().delivery = Delivery::Parts;
        bob.config_mut().max_size = u64::MAX;
        let path: Path = bob.uri().clone().into();
        let (alice, bob) = patient(async { tokio::join!(alice.connect(path), bob.accept()) }).await;
        (alice.unwrap(), bob.unwrap())
    };
    let mut upload = alice.upload(Message::stream("video/mpeg", None)).await.unwrap();
    let endless = tokio::spawn(async move {
        let piece = Bytes::from(vec![0; 65_536]);
        loop {
            if let Err(failure) = upload.write(piece.clone()).await {
                return failure;
            }
        }
    });
    let id = patient(async {
        loop {
            if let Some(Event::Part { id, .. }) = bob.next().await {
                return id;
            }
        }
    })
    .await;
    bob.refuse(id, StatusCode::STOP_SENDING).await.unwrap();
    // What waits for Bob is taken, so that his side goes on.
    let rest = tokio::spawn(async move {
        while let Some(event) = bob.next().await {
            if let Event::Message(_) | Event::Abandoned { .. } = event {
                return bob;
            }
        }
        bob
    });
    assert_eq!(patient(endless).await.unwrap(), Failure::Status(StatusCode::STOP_SENDING));
    let _bob = patient(rest).await.unwrap();
    let receipt = alice.send(Message::text("another").with_failure_report(FailureReport::Yes)).await.unwrap();
    // Parts are how this session hands out whatever comes.
    patient(receipt.accepted()).await.unwrap();
}

#[tokio::test]
async fn an_application_that_does_not_take_its_events_stops_its_peer() {
    let (alice, bob) = (endpoint("127.0.0.1:0").await, endpoint("127.0.0.1:0").await);
    let (alice, mut bob) = pair(&alice, &bob).await;
    let body = Bytes::from(vec![b'x'; 100_000]);
    let mut receipts = Vec::new();
    for _ in 0..300 {
        receipts.push(alice.send(Message::new("text/plain", body.clone())).await.unwrap());
    }
    // Bob takes nothing: 64 events, what his connection holds and the kernel's buffers are far less than 30 MB. So an answer
    // fails to come, which 30 seconds of a clock that jumps when nothing happens show.
    tokio::time::pause();
    let mut accepted = 0;
    let failure = loop {
        match receipts[accepted].accepted().await {
            Ok(()) => accepted += 1,
            Err(failure) => break failure,
        }
    };
    tokio::time::resume();
    assert_eq!(failure, Failure::Timeout);
    // What was accepted is there, and when Bob takes it the connection goes on.
    let last = alice.send(Message::text("the last")).await.unwrap();
    let mut taken = 0;
    while message(&mut bob).await.body != "the last" {
        taken += 1;
    }
    assert!(taken >= accepted, "{taken} of {accepted}");
    patient(last.accepted()).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_receipt_and_takes_no_events_is_told_of_failure() {
    let (alice, bob) = (endpoint("127.0.0.1:0").await, endpoint("127.0.0.1:0").await);
    let (alice, bob) = pair(&alice, &bob).await;
    let body = Bytes::from(vec![b'x'; 100_000]);
    for _ in 0..300 {
        bob.send(Message::new("text/plain", body.clone())).await.unwrap();
    }
    tokio::time::pause();
    // Once her queue is full, Alice's connection is not read and the answers to her messages cannot be seen.
    loop {
        let receipt = alice.send(Message::text("Hi")).await.unwrap();
        if let Err(failure) = receipt.accepted().await {
            assert_eq!(failure, Failure::Timeout);
            break;
        }
    }
}

#[tokio::test]
async fn a_broken_connection_is_told_to_who_sends_and_takes_no_events() {
    let (session, mut stream) = silent_peer().await;
    let local = session.uri();
    let mut flood = String::new();
    for n in 0..200 {
        flood += &format!(
            "MSRP t{n}xx SEND\r\nTo-Path: {local}\r\nFrom-Path: msrp://b:9/b;tcp\r\nMessage-ID: m{n}xx\r\n\
             Byte-Range: 1-1/1\r\nContent-Type: text/plain\r\n\r\nx\r\n-------t{n}xx$\r\n"
        );
    }
    stream.write_all(flood.as_bytes()).await.unwrap();
    let receipt = session.send(Message::text("Hi")).await.unwrap();
    let _ = patient(stream.read(&mut [0; 64])).await.unwrap();
    // With answers of Alice's unread, the kernel resets the connection.
    drop(stream);
    patient(async { while session.send(Message::text("more")).await.is_ok() {} }).await;
    assert!(patient(receipt.accepted()).await.is_err());
}

/// Answers the next request on this connection, and gives its text.
async fn answer_next(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4_096]);
    while !text.ends_with("$\r\n") {
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0, "closed");
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    let id = text.split(' ').nth(1).unwrap();
    let paths = "To-Path: msrp://a:9/a;tcp\r\nFrom-Path: msrp://b:9/b;tcp";
    let answer = format!("MSRP {id} 200 OK\r\n{paths}\r\n-------{id}$\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    text
}

#[tokio::test]
async fn a_connection_that_the_peer_closes_when_it_is_to_be_used_again_is_opened_anew() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path: Path = format!("msrp://{}/s;tcp", listener.local_addr().unwrap()).parse().unwrap();
    let alice = Endpoint::bind(Options::active_only()).await.unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer_next(&mut stream).await;
        // The second session's first request comes, and finds the connection closing.
        assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        answer_next(&mut stream).await;
        stream
    };
    let client = async {
        let first = alice.open().unwrap().connect(path.clone()).await.unwrap();
        (first, alice.open().unwrap().connect(path).await)
    };
    let (_stream, (_first, second)) = patient(async { tokio::join!(server, client) }).await;
    second.unwrap();
}

#[tokio::test]
async fn rfc_6714_the_connection_goes_to_the_address_of_the_media_line() {
    let alice = endpoint("127.0.0.1:0").await;
    let options = Options::new("127.0.0.1:0".parse().unwrap()).host("bob.invalid");
    let bob = Endpoint::bind(options).await.unwrap();
    let address = bob.address().unwrap();
    let (alice, bob) = (alice.open().unwrap(), bob.open().unwrap());
    assert_eq!(bob.uri().host(), "bob.invalid");
    let path: Path = bob.uri().clone().into();
    let (alice, bob) = patient(async { tokio::join!(alice.connect_to(address, path), bob.accept()) }).await;
    let (alice, mut bob) = (alice.unwrap(), bob.unwrap());
    alice.send(Message::text("Hi")).await.unwrap();
    assert_eq!(message(&mut bob).await.text(), Some("Hi"));
}
