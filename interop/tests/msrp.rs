//! Messages and a file between two endpoints of ours through Kamailio's MSRP relay, and to a script through ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::HashMap;

use bytes::Bytes;
use interop::{Dir, Kamailio, WebChat, turn, within};
use msrp::auth::{Account, AuthError};
use msrp::relay::RelayConfig;
use msrp::tokio::relay::RelayServer;
use msrp::tokio::{ConnectError, Endpoint, Options, Origins, Session};
use msrp::{Chunking, Event, Message, Path, Received, Uri};

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

/// RFC 7977 as a page in a browser speaks it, through our relay to an endpoint on TCP, both ways; a file comes in messages of one chunk.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_script_behind_a_websocket_talks_to_an_endpoint_through_our_relay() {
    let Some(_turn) = turn(&["node", WebChat::LIBRARY]) else { return };
    let dir = Dir::new("web-chat");
    let mut config = RelayConfig::new("127.0.0.1", 0);
    (config.secure, config.over_plain_tcp) = (false, true);
    let accounts: HashMap<String, String> = [("alice".to_owned(), "secret".to_owned())].into();
    let here = "127.0.0.1:0".parse().unwrap();
    let mut relay = RelayServer::bind(here, config, Box::new(accounts), None).await.unwrap();
    let page = Origins::Only(vec!["https://chat.example.test".to_owned()]);
    let websockets = relay.listen_websocket(here, page).await.unwrap();
    let mut alice = WebChat::start(&dir, websockets, ("alice", "secret")).process;
    alice.wait_for("speaks msrp");
    let line = alice.wait_for("path ");
    let path: Path = line.split_once("path ").unwrap().1.trim().parse().unwrap();

    let bob = Endpoint::bind(Options::active_only()).await.unwrap();
    let mut bob = within("the session", bob.open().unwrap().connect(path)).await.unwrap();
    let receipt = bob.send(Message::text("Grüße, Alice")).await.unwrap();
    within("the answer", receipt.accepted()).await.unwrap();
    alice.wait_for("message Grüße, Alice");
    assert_eq!(message(&mut bob).await.text(), Some("Grüße, Alice"));
    let file: Bytes = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let receipt = bob.send(Message::new("application/octet-stream", file)).await.unwrap();
    within("the answers", receipt.accepted()).await.unwrap();
    alice.wait_for("octets 1000000");
    alice.type_line("end");
    alice.wait_for("closed 1000");
}
