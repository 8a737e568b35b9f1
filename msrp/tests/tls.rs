//! Endpoints over TLS on loopback (RFC 4975 §5.4, §14).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use msrp::tokio::tls::{Identity, Tls, Trust, fingerprint};
use msrp::tokio::{ConnectError, Endpoint, Options, Session};
use msrp::{Event, Message, Path};

async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it takes too long")
}

/// A certificate that somebody made for himself, for this name.
fn certificate(name: &str) -> (Vec<u8>, Identity) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let certificate = made.cert.der().to_vec();
    (certificate.clone(), Identity { chain: vec![certificate], key: made.signing_key.serialize_der() })
}

async fn listening(identity: Identity) -> Endpoint {
    let tls = Tls::new(Some(identity), &Trust::System).unwrap();
    Endpoint::bind(Options::new("127.0.0.1:0".parse().unwrap()).host("localhost").tls(tls)).await.unwrap()
}

async fn connecting(trust: &Trust) -> Endpoint {
    Endpoint::bind(Options::active_only().tls(Tls::new(None, trust).unwrap())).await.unwrap()
}

async fn talk(alice: Session, mut bob: Session) {
    // More than the kernel takes at once, so that encrypted octets wait, and none like its neighbour.
    let long: String =
        (0..8_000_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 28) as u8)).collect();
    let receipt = alice.send(Message::text(long.clone()).with_success_report()).await.unwrap();
    loop {
        if let Event::Message(message) = patient(bob.next()).await.unwrap() {
            assert!(message.text() == Some(&long));
            break;
        }
    }
    patient(receipt.delivered()).await.unwrap();
}

#[tokio::test]
async fn rfc_4975_5_4_msrps_goes_over_tls_with_a_certificate_for_the_host_of_the_uri() {
    let (authority, identity) = certificate("localhost");
    let bob = listening(identity).await;
    let bob = bob.open().unwrap();
    assert!(bob.uri().is_secure());
    let path: Path = bob.uri().clone().into();
    let alice = connecting(&Trust::Authorities(vec![authority])).await.open().unwrap();
    let (alice, bob) = patient(async { tokio::join!(alice.connect(path), bob.accept()) }).await;
    talk(alice.unwrap(), bob.unwrap()).await;
}

#[tokio::test]
async fn certificates_of_others_and_of_unknown_issuers_are_refused_and_so_is_msrps_without_tls() {
    let (authority, identity) = certificate("other.example.com");
    let bob = listening(identity).await;
    let path: Path = bob.open().unwrap().uri().clone().into();
    for trust in [Trust::Authorities(vec![authority]), Trust::Authorities(vec![certificate("localhost").0])] {
        let error =
            patient(connecting(&trust).await.open().unwrap().connect(path.clone())).await.unwrap_err();
        assert!(matches!(error, ConnectError::Connect(_)), "{error}");
    }
    let plain = Endpoint::bind(Options::active_only()).await.unwrap().open().unwrap();
    assert!(matches!(patient(plain.connect(path)).await, Err(ConnectError::Path)));
}

#[tokio::test]
async fn rfc_4975_14_4_a_self_made_certificate_is_believed_by_its_fingerprint_alone() {
    let (certificate_of_bob, identity) = certificate("whoever");
    let bob = listening(identity).await;
    let alice = connecting(&Trust::Fingerprint).await;
    let path = |pending: &msrp::tokio::Pending| Path::from(pending.uri().clone());
    let waiting = bob.open().unwrap();
    let to = path(&waiting);
    for pending in [alice.open().unwrap(), alice.open().unwrap().fingerprint([7; 32])] {
        assert!(matches!(patient(pending.connect(to.clone())).await, Err(ConnectError::Fingerprint)));
    }
    let pending = alice.open().unwrap().fingerprint(fingerprint(&certificate_of_bob));
    let (alice, bob) = patient(async { tokio::join!(pending.connect(to), waiting.accept()) }).await;
    talk(alice.unwrap(), bob.unwrap()).await;
}

/// An endpoint with a certificate of its own making, and that certificate's fingerprint.
async fn self_signed(trust: &Trust) -> (Endpoint, [u8; 32]) {
    let identity = Identity::self_signed().unwrap();
    let shown = identity.fingerprint().unwrap();
    let options = Options::new("127.0.0.1:0".parse().unwrap()).tls(Tls::new(Some(identity), trust).unwrap());
    (Endpoint::bind(options).await.unwrap(), shown)
}

#[tokio::test]
async fn rfc_8122_6_2_each_side_shows_a_certificate_and_checks_the_other_s() {
    let (alice, of_alice) = self_signed(&Trust::Fingerprint).await;
    let (bob, of_bob) = self_signed(&Trust::Fingerprint).await;
    let waiting = bob.open().unwrap().fingerprint(of_alice);
    let to: Path = waiting.uri().clone().into();
    let connecting = alice.open().unwrap().fingerprint(of_bob);
    let (alice, bob) = patient(async { tokio::join!(connecting.connect(to), waiting.accept()) }).await;
    talk(alice.unwrap(), bob.unwrap()).await;
}

#[tokio::test]
async fn rfc_8122_6_2_a_stranger_who_knows_the_uri_gets_no_session_and_the_peer_still_does() {
    let (alice, of_alice) = self_signed(&Trust::Fingerprint).await;
    let (mallory, _) = self_signed(&Trust::Fingerprint).await;
    let (bob, of_bob) = self_signed(&Trust::Fingerprint).await;
    let waiting = bob.open().unwrap().fingerprint(of_alice);
    let to: Path = waiting.uri().clone().into();
    let accepted = tokio::spawn(waiting.accept());
    // With another certificate, and with none.
    for stranger in [mallory, connecting(&Trust::Fingerprint).await] {
        let refused = stranger.open().unwrap().fingerprint(of_bob).connect(to.clone());
        let error = patient(refused).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    }
    let alice = patient(alice.open().unwrap().fingerprint(of_bob).connect(to)).await.unwrap();
    talk(alice, patient(accepted).await.unwrap().unwrap()).await;
}

#[tokio::test]
async fn rfc_6135_4_2_who_offers_both_learns_the_fingerprint_after_the_peer_has_come() {
    for is_announced in [true, false] {
        let (alice, of_alice) = self_signed(&Trust::FingerprintOrSystem).await;
        let (bob, of_bob) = self_signed(&Trust::FingerprintOrSystem).await;
        let mut offered = alice.open().unwrap();
        offered.listen();
        let to: Path = offered.uri().clone().into();
        // Bob is active, and faster than his answer.
        let bob = patient(bob.open().unwrap().fingerprint(of_alice).connect(to)).await.unwrap();
        let answered = offered.fingerprint(if is_announced { of_bob } else { [7; 32] });
        match patient(answered.accept()).await {
            Ok(alice) if is_announced => talk(alice, bob).await,
            Err(ConnectError::Fingerprint) if !is_announced => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn rfc_6135_4_2_who_offers_both_can_still_connect() {
    let (alice, of_alice) = self_signed(&Trust::FingerprintOrSystem).await;
    let (bob, of_bob) = self_signed(&Trust::FingerprintOrSystem).await;
    let mut offered = alice.open().unwrap();
    offered.listen();
    let waiting = bob.open().unwrap().fingerprint(of_alice);
    let to: Path = waiting.uri().clone().into();
    let connecting = offered.fingerprint(of_bob).connect(to);
    let (alice, bob) = patient(async { tokio::join!(connecting, waiting.accept()) }).await;
    talk(alice.unwrap(), bob.unwrap()).await;
}
