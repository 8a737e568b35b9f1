//! Messages and a file between two endpoints of ours through Kamailio's MSRP relay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use bytes::Bytes;
use interop::{Dir, Kamailio, turn, within};
use msrp::auth::{Account, AuthError};
use msrp::tokio::{ConnectError, Endpoint, Options, Session};
use msrp::{Chunking, Event, Message, Received, Uri};

fn relay(kamailio: &Kamailio) -> Uri {
    format!("msrp://{};tcp", kamailio.address).parse().unwrap()
}

fn account(name: &str, password: &str) -> Account {
    // Between programs of one machine.
    Account::new(name, password).over_plain_tcp()
}

async fn message(session: &mut Session) -> Received {
    within("a message", async {
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

/// RFC 4976 §5.1, §6.4: both ask for a URI with digest, the passive one's URI leads to the active one's first request, and
/// messages, reports and a file go through.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_endpoints_talk_through_its_relay_and_send_a_file() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("kamailio-msrp");
    let kamailio = Kamailio::start_msrp(&dir);
    let (alice, bob) = (
        Endpoint::bind(Options::active_only()).await.unwrap(),
        Endpoint::bind(Options::active_only()).await.unwrap(),
    );
    let (mut alice, mut bob) = (alice.open().unwrap(), bob.open().unwrap());
    // No time is asked for: Kamailio 5.6.3 answers any with 423, with octets of value 0 where the bounds belong.
    let asked = [(relay(&kamailio), account("alice", "secret"))];
    let grant = within("Alice's URI", alice.authenticate(&asked)).await.unwrap();
    assert_eq!(grant.expires(), Some(600));
    let asked = [(relay(&kamailio), account("bob", "secret"))];
    let grant = within("Bob's URI", bob.authenticate(&asked)).await.unwrap();
    assert_eq!(grant.expires(), Some(600));
    let path = bob.path().unwrap();
    assert_eq!(path.uris().len(), 2);
    let (alice, bob) = within("the session", async { tokio::join!(alice.connect(path), bob.accept()) }).await;
    let (mut alice, mut bob) = (alice.unwrap(), bob.unwrap());

    let receipt = alice.send(Message::text("Hey Bob").with_success_report()).await.unwrap();
    assert_eq!(message(&mut bob).await.text(), Some("Hey Bob"));
    within("the report", receipt.delivered()).await.unwrap();
    let receipt = bob.send(Message::text("Hi Alice").with_success_report()).await.unwrap();
    assert_eq!(message(&mut alice).await.text(), Some("Hi Alice"));
    within("the report", receipt.delivered()).await.unwrap();

    // The relay takes no chunk that is larger than its buffer.
    let file: Bytes = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut sent = Message::new("application/octet-stream", file.clone()).with_success_report();
    sent.chunking = Chunking::Small;
    let receipt = alice.send(sent).await.unwrap();
    assert!(message(&mut bob).await.body == file);
    within("the answers", receipt.accepted()).await.unwrap();
    within("the report", receipt.delivered()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wrong_password_gets_no_uri() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("kamailio-msrp-password");
    let kamailio = Kamailio::start_msrp(&dir);
    let alice = Endpoint::bind(Options::active_only()).await.unwrap();
    let asked = [(relay(&kamailio), account("alice", "guess"))];
    let error = within("the refusal", alice.open().unwrap().authenticate(&asked)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Auth(AuthError::Credentials)), "{error}");
}
