//! Requests outside of calls over loopback sockets: OPTIONS, MESSAGE, and what a registrar's answer changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use sip_dialog::Body;
use sip_message::{Method, StatusCode};
use sip_ua::{InfoError, Phone, RequestError};

const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str) -> Phone {
    Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0").bind().await.unwrap()
}

fn address_of(phone: &Phone, user: &str) -> String {
    phone.locals().iter().next().unwrap().uri(Some(user)).unwrap().to_string()
}

/// RFC 3261 §11.2: what the other phone can do.
#[tokio::test]
async fn options() {
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let answer = patient("OPTIONS", alice.options(&address_of(&bob, "bob"))).await.unwrap();
    let allow: Vec<&str> = answer.headers.text("Allow").unwrap().split(", ").collect();
    assert!(allow.contains(&"MESSAGE") && allow.contains(&"UPDATE"), "{allow:?}");
    assert!(answer.headers.contains("Supported") && answer.headers.contains("Accept"));
    alice.close().await;
    bob.close().await;
}

/// RFC 3428 §4, §7: a message is answered 200 when it is kept for the application, and refused when there is no room.
#[tokio::test]
async fn messages() {
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let to = address_of(&bob, "bob");
    let sent = patient("MESSAGE", alice.send_message(&to, "Grüße, Bob")).await.unwrap();
    assert_eq!(sent, StatusCode::OK);
    let message = patient("the message", bob.next_message()).await;
    assert_eq!(message.text, "Grüße, Bob");
    assert_eq!(message.from.uri().user(), Some("alice"));
    assert!(!message.request.headers.contains("Contact"), "RFC 3428 §4: it makes no dialog");
    let mut kept = 0;
    let refused = loop {
        match patient("MESSAGE", alice.send_message(&to, "and another")).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(kept, 256);
    assert_eq!(refused.status(), Some(StatusCode::BUSY_HERE));
    for _ in 0..kept {
        patient("what was answered 200 is there", bob.next_message()).await;
    }
    patient("MESSAGE", alice.send_message(&to, "room again")).await.unwrap();
    alice.close().await;
    bob.close().await;
}

/// A phone that takes UDP and TCP at one port: the one that is free for UDP may be taken for TCP, so it is tried.
async fn phone_of_both(user: &str) -> Phone {
    loop {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let builder = Phone::builder(&format!("sip:{user}@example.com"));
        let builder = builder.listen(&format!("udp:127.0.0.1:{port}"));
        if let Ok(phone) = builder.listen(&format!("tcp:127.0.0.1:{port}")).bind().await {
            return phone;
        }
    }
}

/// RFC 3428 §8, RFC 3261 §18.1.1: over 1300 octets a message goes over TCP, and over UDP where the far end has no TCP; a short one
/// stays with UDP.
#[tokio::test]
async fn large_messages_go_over_tcp_where_they_can() {
    let (alice, bob, carol) =
        (phone_of_both("alice").await, phone_of_both("bob").await, phone("carol").await);
    let large = "x".repeat(1300);
    for (to, user, text, transport) in
        [(&bob, "bob", "short", "UDP"), (&bob, "bob", &*large, "TCP"), (&carol, "carol", &*large, "UDP")]
    {
        let sent = patient("MESSAGE", alice.send_message(&address_of(to, user), text)).await.unwrap();
        assert_eq!(sent, StatusCode::OK);
        let message = patient("the message", to.next_message()).await;
        assert_eq!(message.text, text);
        let via = message.request.headers.text("Via").unwrap();
        assert!(via.starts_with(&format!("SIP/2.0/{transport}")), "{via}");
    }
    alice.close().await;
    bob.close().await;
    carol.close().await;
}

/// RFC 3261 §8.2.1: a method that the phone does not have; an address that is none.
#[tokio::test]
async fn what_is_refused() {
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let to = address_of(&bob, "bob");
    let refused = patient("FLY", alice.request(&to, Method::Other("FLY".into()), &[], None)).await;
    assert!(matches!(refused, Err(RequestError::Refused { status: StatusCode::METHOD_NOT_ALLOWED, .. })));
    assert!(matches!(alice.options("nobody").await, Err(RequestError::Address { .. })));
    alice.close().await;
    bob.close().await;
}

/// RFC 6086 §4, §1: keys by INFO as phones without RFC 4733 send them, a package that nobody knows, a text in a call.
#[tokio::test]
async fn requests_inside_a_call() {
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let calling = patient("calling", alice.call(&address_of(&bob, "bob"))).await.unwrap();
    let answering = async { bob.incoming().await.unwrap().answer().await.unwrap() };
    let (call, answered) = patient("the call", async { tokio::join!(calling.answered(), answering) }).await;
    let call = call.unwrap();
    for key in ['4', '#'] {
        patient("INFO", call.press_by_info(key)).await.unwrap();
        assert_eq!(patient("the key", answered.audio().next_digit()).await, Some(key));
    }
    let refused = call.press_by_info('x');
    assert_eq!(patient("no key", refused).await.unwrap_err().status(), Some(StatusCode::BAD_REQUEST));
    let unknown = call.request(Method::Info, &[("Info-Package", "weather")], None);
    assert_eq!(patient("INFO", unknown).await.unwrap_err().status(), Some(StatusCode::BAD_INFO_PACKAGE));
    let text = Body { content_type: "text/plain".into(), octets: "in a call".into() };
    patient("MESSAGE", answered.request(Method::Message, &[], Some(text))).await.unwrap();
    assert_eq!(patient("the text", alice.next_message()).await.text, "in a call");
    patient("the end", call.hang_up()).await;
    let over = answered.request(Method::Info, &[], None);
    assert!(patient("the call is over", over).await.is_err());
}

/// RFC 6086 §7.2: a name that is no token is found out before there is a call.
#[tokio::test]
async fn a_package_of_info_has_a_name_that_messages_can_carry() {
    for bad in ["two words", "a,b", "a;b", ""] {
        let refused = Phone::builder("sip:alice@example.com").info_package(bad).bind().await.unwrap_err();
        assert!(matches!(&refused, sip_ua::BindError::InfoPackage(name) if name == bad), "{refused}");
    }
}

/// RFC 6086 §4, §5.2.2: INFO of packages that the other side has named, in both directions, and of none else.
#[tokio::test]
async fn info_of_packages_inside_a_call() {
    let with = |user: &str, package: &str| {
        let phone = Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0");
        phone.info_package(package).bind()
    };
    let (alice, bob) = (with("alice", "foo").await.unwrap(), with("bob", "weather").await.unwrap());
    let calling = patient("calling", alice.call(&address_of(&bob, "bob"))).await.unwrap();
    let answering = async { bob.incoming().await.unwrap().answer().await.unwrap() };
    let (call, answered) = patient("the call", async { tokio::join!(calling.answered(), answering) }).await;
    let call = call.unwrap();

    let sunny = Body { content_type: "text/plain".into(), octets: "sunny".into() };
    patient("INFO", call.send_info("weather", Some(sunny.clone()))).await.unwrap();
    let info = patient("it", answered.next_info()).await.unwrap();
    assert_eq!((&*info.package, info.disposition.as_deref()), ("weather", Some("Info-Package")));
    assert_eq!(info.body, Some(sunny));
    patient("INFO", answered.send_info("Foo", None)).await.unwrap();
    assert_eq!(patient("it", call.next_info()).await.unwrap().package, "foo");

    let refused = patient("none", call.send_info("foo", None)).await;
    assert!(matches!(refused, Err(InfoError::NotTaken(package)) if package == "foo"));
    let asks = [("Recv-Info", "foo")];
    let to = address_of(&bob, "bob");
    let options = alice.request(&to, Method::Options, &asks, None);
    let options = patient("OPTIONS", options).await.unwrap();
    assert_eq!(options.headers.text("Recv-Info"), Some("weather"), "§5.2.3");
    let anyway = patient("469", call.request(Method::Info, &[("Info-Package", "foo")], None)).await;
    assert_eq!(anyway.unwrap_err().status(), Some(StatusCode::BAD_INFO_PACKAGE));

    // Nothing that was answered 200 is lost, and no more is taken than there is room for.
    let mut kept = 0;
    let refused = loop {
        match patient("INFO", call.send_info("weather", None)).await {
            Ok(_) => kept += 1,
            Err(InfoError::Request(error)) => break error,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((kept, refused.status()), (64, Some(StatusCode::SERVER_INTERNAL_ERROR)));
    for _ in 0..kept {
        patient("it", answered.next_info()).await.unwrap();
    }
    patient("INFO", call.send_info("weather", None)).await.unwrap();
    patient("the end", call.hang_up()).await;
    patient("it", answered.next_info()).await.unwrap();
    assert_eq!(patient("the end", answered.next_info()).await, None);
}
