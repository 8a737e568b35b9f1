//! `sip phone` and `sip call` with Kamailio between them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use interop::{
    Call, Dir, Kamailio, Own, Phone, Server, assert_holds_tone, hear, say, turn, within, write_tone,
};
use sip_dialog::packages::presence::{Basic, Presence};

#[test]
fn a_phone_registered_at_kamailio_is_called_through_it() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("kamailio");
    let kamailio = Kamailio::start(&dir);
    let (proxy, domain) = (kamailio.uri(), kamailio.address);
    let (alice_plays, bob_plays) = (dir.file("alice.wav"), dir.file("bob.wav"));
    write_tone(&alice_plays, 1000.0, 4.0);
    write_tone(&bob_plays, 600.0, 30.0);
    let (alice_hears, bob_hears) = (dir.file("alice-hears.wav"), dir.file("bob-hears.wav"));
    let bob = format!("sip:bob@{domain}");
    let mut phone = Phone::start(
        &dir,
        "bob",
        ["--register", &bob, "--password", "secret", "--proxy", &proxy, "--answer"].into_iter().chain([
            "--play",
            bob_plays.to_str().unwrap(),
            "--record",
            bob_hears.to_str().unwrap(),
        ]),
    )
    .registered();
    let alice = format!("sip:alice@{domain}");
    let call =
        Call::run(
            &dir,
            &bob,
            ["--from", &alice, "--password", "secret", "--proxy", &proxy, "--dtmf", "42#"]
                .into_iter()
                .chain(["--play", alice_plays.to_str().unwrap(), "--record", alice_hears.to_str().unwrap()]),
        );
    assert_eq!(call.code, 0, "{}", call.json);
    for digit in ["digit 4", "digit 2", "digit #"] {
        phone.process.wait_for(digit);
    }
    assert_eq!(phone.process.interrupt(), 0, "hung up, unregistered, ended");
    assert_holds_tone(&alice_hears, 600.0, 2.5);
    assert_holds_tone(&bob_hears, 1000.0, 2.0);
}

#[test]
fn a_wrong_password_is_told_as_such() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("kamailio-password");
    let kamailio = Kamailio::start(&dir);
    let (bob, alice) = (format!("sip:bob@{}", kamailio.address), format!("sip:alice@{}", kamailio.address));
    let call = Call::run(&dir, &bob, ["--from", &alice, "--password", "guess", "--proxy", &kamailio.uri()]);
    assert_eq!((call.code, call.value("/status").as_u64()), (6, Some(407)), "{}", call.json);
}

/// A phone of ours that is not registered yet.
async fn own(user: &str, listen: &str, domain: &str, proxy: &str, instance: Option<&str>) -> Own {
    let mut phone = sip_ua::Phone::builder(&format!("sip:{user}@{domain}")).listen(listen).proxy(proxy);
    if let Some(instance) = instance {
        phone = phone.instance(instance.parse().unwrap());
    }
    Own::with(user, phone.password("secret")).await
}

/// RFC 5626 §4, §5, RFC 3327: the flow that a phone opened to an edge is in the Path that the registrar keeps, and a call
/// comes over it: the phone listens nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flow_is_registered_through_an_edge_and_called_over() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("kamailio-outbound");
    let registrar = Kamailio::start(&dir);
    let edge = Kamailio::start_edge(&dir, &registrar);
    let domain = registrar.address.to_string();
    let instance = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let through = format!("{};transport=tcp", edge.uri());
    let bob = own("bob", "tcp:127.0.0.1:0", &domain, &through, Some(instance)).await;
    within("registration", bob.phone.register()).await.unwrap();
    let granted = bob.received("SIP/2.0 200").pop().unwrap();
    assert!(
        granted.lines().any(|line| line.starts_with("Require:") && line.contains("outbound")),
        "{granted}"
    );
    assert!(granted.contains("reg-id=1") && granted.contains(instance), "{granted}");

    let alice = own("alice", "udp:127.0.0.1:0", &domain, &registrar.uri(), None).await;
    let calling = alice.phone.call(&format!("sip:bob@{domain}")).await.unwrap();
    let answering = async { within("the call", bob.phone.incoming()).await.unwrap().answer().await.unwrap() };
    let (call, answered) = tokio::join!(within("the answer", calling.answered()), answering);
    say(&answered.audio(), 600.0);
    hear(&call.unwrap().audio(), 600.0).await;
    within("the end", answered.ended()).await;
    bob.phone.close().await;
}

/// RFC 3903 §4, RFC 3856 §6: what one publishes at a server, the other hears from it; a change, and the end of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn presence_is_published_and_watched_through_it() {
    let Some(_turn) = turn(&["kamailio", Kamailio::TABLES]) else { return };
    let dir = Dir::new("kamailio-presence");
    let server = Kamailio::start_presence(&dir);
    let (domain, proxy) = (server.address.to_string(), server.uri());
    let bob = own("bob", "udp:127.0.0.1:0", &domain, &proxy, None).await;
    let alice = own("alice", "udp:127.0.0.1:0", &domain, &proxy, None).await;
    let address = format!("sip:bob@{domain}");
    let state = |basic| Presence::new(&address, basic, None).to_body();
    let published = within("PUBLISH", bob.phone.publish("presence", state(Basic::Open))).await.unwrap();
    let mut watch = alice.phone.watch(&address).await.unwrap();
    within("the state", async { while !watch.next().await.unwrap().is_open() {} }).await;
    published.update(state(Basic::Closed)).unwrap();
    within("the change", async { while watch.next().await.unwrap().is_open() {} }).await;
    published.update(state(Basic::Open)).unwrap();
    within("another", async { while !watch.next().await.unwrap().is_open() {} }).await;
    drop(published);
    bob.phone.close().await;
    alice.phone.close().await;
}

/// The other way round: Kamailio publishes to our server who is registered at it, and our server tells who watches.
#[tokio::test]
async fn who_is_registered_at_it_is_present_at_our_server() {
    let Some(_turn) = turn(&["kamailio", Kamailio::TABLES]) else { return };
    let dir = Dir::new("kamailio-publishes");
    let server = Server::start(&dir, None, &["--domain", "example.test"]);
    let kamailio = Kamailio::start_publisher(&dir, server.udp);
    let alice = own("alice", "udp:127.0.0.1:0", "example.test", &server.uri(), None).await;
    let mut watch = alice.phone.watch("sip:carol@example.test").await.unwrap();
    assert!(!within("the state", watch.next()).await.unwrap().is_open(), "nobody is there yet");
    let carol = own("carol", "udp:127.0.0.1:0", "example.test", &kamailio.uri(), None).await;
    within("REGISTER", carol.phone.register()).await.unwrap();
    within("carol comes", async { while !watch.next().await.unwrap().is_open() {} }).await;
    carol.phone.close().await;
    within("carol goes", async { while watch.next().await.unwrap().is_open() {} }).await;
    alice.phone.close().await;
}
