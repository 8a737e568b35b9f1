//! Endpoints behind relays over TCP and TLS on loopback (RFC 4976).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use msrp::auth::{Account, AuthError};
use msrp::relay::RelayConfig;
use msrp::tokio::relay::RelayServer;
use msrp::tokio::tls::{Identity, Tls, Trust};
use msrp::tokio::{ConnectError, Endpoint, Options, Pending, Session};
use msrp::{Event, Message, Uri};

async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it takes too long")
}

async fn relay(tls: Option<&(Vec<u8>, Vec<u8>)>) -> RelayServer {
    let mut config = RelayConfig::new("localhost", 0);
    config.secure = tls.is_some();
    config.over_plain_tcp = tls.is_none();
    let accounts: HashMap<String, String> =
        ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned())).into();
    let tls = tls.map(|(certificate, key)| {
        let identity = Identity { chain: vec![certificate.clone()], key: key.clone() };
        Tls::new(Some(identity), &Trust::Authorities(vec![certificate.clone()])).unwrap()
    });
    RelayServer::bind("127.0.0.1:0".parse().unwrap(), config, Box::new(accounts), tls).await.unwrap()
}

fn address(relay: &RelayServer, secure: bool) -> Uri {
    let scheme = if secure { "msrps" } else { "msrp" };
    format!("{scheme}://localhost:{};tcp", relay.address().port()).parse().unwrap()
}

fn account(name: &str) -> Account {
    Account::new(name, "secret").over_plain_tcp()
}

/// A file and a word each way.
async fn talk(mut alice: Session, mut bob: Session) {
    let file: Bytes = (0..5_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let message = Message::new("application/octet-stream", file.clone()).with_success_report();
    let receipt = alice.send(message).await.unwrap();
    let receiving = async {
        loop {
            match bob.next().await.expect("the session ends") {
                Event::Message(message) => return message.body,
                Event::Closed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
    };
    assert!(patient(receiving).await == file);
    patient(receipt.accepted()).await.unwrap();
    patient(receipt.delivered()).await.unwrap();
    let receipt = bob.send(Message::text("thank you").with_success_report()).await.unwrap();
    let receiving = async {
        loop {
            if let Some(Event::Message(message)) = alice.next().await {
                return message;
            }
        }
    };
    assert_eq!(patient(receiving).await.text(), Some("thank you"));
    patient(receipt.delivered()).await.unwrap();
}

async fn session(mut alice: Pending, mut bob: Pending, relays: [Uri; 2]) -> (Session, Session) {
    patient(alice.authenticate(&[(relays[0].clone(), account("alice"))])).await.unwrap();
    patient(bob.authenticate(&[(relays[1].clone(), account("bob"))])).await.unwrap();
    let path = bob.path().unwrap();
    assert_eq!(path.uris().len(), 2);
    let (alice, bob) = patient(async { tokio::join!(alice.connect(path), bob.accept()) }).await;
    (alice.unwrap(), bob.unwrap())
}

#[tokio::test]
async fn two_endpoints_behind_two_relays_over_tcp() {
    let relays = [relay(None).await, relay(None).await];
    let endpoints = [(); 2].map(|()| Endpoint::bind(Options::active_only()));
    let [alice, bob] = endpoints;
    let (alice, bob) = (alice.await.unwrap(), bob.await.unwrap());
    let uris = [address(&relays[0], false), address(&relays[1], false)];
    let (alice, bob) = session(alice.open().unwrap(), bob.open().unwrap(), uris).await;
    talk(alice, bob).await;
}

#[tokio::test]
async fn two_endpoints_behind_two_relays_over_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let identity = (made.cert.der().to_vec(), made.signing_key.serialize_der());
    let relays = [relay(Some(&identity)).await, relay(Some(&identity)).await];
    let options = || {
        let trust = Trust::Authorities(vec![identity.0.clone()]);
        Options::active_only().tls(Tls::new(None, &trust).unwrap())
    };
    let (alice, bob) = (Endpoint::bind(options()).await.unwrap(), Endpoint::bind(options()).await.unwrap());
    let uris = [address(&relays[0], true), address(&relays[1], true)];
    let (alice, bob) = session(alice.open().unwrap(), bob.open().unwrap(), uris).await;
    talk(alice, bob).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_as_such() {
    let relay = relay(None).await;
    let alice = Endpoint::bind(Options::active_only()).await.unwrap();
    let wrong = Account::new("alice", "guess").over_plain_tcp();
    let error =
        patient(alice.open().unwrap().authenticate(&[(address(&relay, false), wrong)])).await.unwrap_err();
    assert!(matches!(error, ConnectError::Auth(AuthError::Credentials)), "{error}");
}
