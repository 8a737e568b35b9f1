//! TLS over loopback: who is believed, what is reused, and what peers who misbehave cost (RFC 5922, RFC 5923).
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "peer/certificates.rs"]
#[allow(dead_code, unreachable_pub)]
mod certificates;
mod peer;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use certificates::{Authority, dns, params, uri};
use peer::{Peer, Seen, options};
use sip_transport::tokio::tls::{
    ClientCertificates, CredentialsError, Identity, RevocationLists, Tls, TlsOptions,
};
use sip_transport::tokio::{BindError, Listen, Options, Sockets};
use sip_transport::{CloseReason, FlowEvent, SendError, TlsFailure, Token, Transmit, Transport};

fn peer(listen: &str, tls: Tls, options: Options) -> Peer {
    let listen: Vec<Listen> = listen.split(' ').map(|one| one.parse().unwrap()).collect();
    Peer::over(Sockets::bind_with_tls(&listen, tls).unwrap(), options)
}

fn start(tls: Tls) -> Peer {
    peer("tls:127.0.0.1:0", tls, Options::default())
}

/// A request to `to`, which has to prove `domain`.
fn to(from: &Peer, to: &Peer, domain: &str, number: u32) -> Transmit {
    let (a, b) = (from.at(Transport::Tls), to.at(Transport::Tls));
    Transmit { domain: Some(domain.into()), ..options(Transport::Tls, a, b, number) }
}

#[tokio::test]
async fn requests_and_responses_over_tls_on_both_families() {
    let authority = Authority::new("Test CA");
    for address in ["127.0.0.1", "[::1]"] {
        let listen = format!("tls:{address}:0");
        let mut alice = peer(&listen, authority.tls(&["a.example"]), Options::default());
        let mut bob = peer(&listen, authority.tls(&["b.example"]), Options::default());
        for number in 0..20 {
            alice.send(to(&alice, &bob, "b.example", number));
            assert_eq!(bob.request().await.0, number);
            let (answered, path) = alice.response().await;
            assert_eq!((answered, path.remote), (number, bob.at(Transport::Tls)));
        }
        assert_eq!((alice.handle.connections(), bob.handle.connections()), (1, 1));
    }
}

/// RFC 5922 §7.3: the domain of the URI counts, whatever the address; and a connection serves another domain only if its
/// certificate proves that one too.
#[tokio::test]
async fn a_connection_is_reused_for_the_domains_that_its_certificate_proves_and_no_other() {
    let authority = Authority::new("Test CA");
    let mut alice = start(authority.tls(&["a.example"]));
    let mut bob = start(authority.tls(&["b.example", "sip.b.example"]));
    for (number, domain) in [(1, "b.example"), (2, "SIP.B.EXAMPLE"), (3, "b.example.")] {
        alice.send(to(&alice, &bob, domain, number));
        assert_eq!(bob.request().await.0, number);
    }
    assert_eq!(bob.handle.counters().accepted, 1);
    alice.send(to(&alice, &bob, "c.example", 4));
    assert_eq!(alice.failure().await, (Token(4), SendError::Tls(TlsFailure::OtherDomain)));
    alice.send(Transmit { domain: None, ..to(&alice, &bob, "", 5) });
    assert_eq!(
        alice.failure().await,
        (Token(5), SendError::Tls(TlsFailure::OtherDomain)),
        "the address itself"
    );
    assert_eq!(bob.handle.counters().received, 3);
    alice.send(to(&alice, &bob, "b.example", 6));
    assert_eq!(bob.request().await.0, 6);
}

#[tokio::test]
async fn messages_for_one_domain_share_the_connection_that_is_being_opened_for_it() {
    let authority = Authority::new("Test CA");
    let alice = start(authority.tls(&["a.example"]));
    let mut bob = start(authority.tls(&["b.example"]));
    for number in 0..5 {
        alice.send(to(&alice, &bob, "b.example", number));
    }
    for _ in 0..5 {
        bob.request().await;
    }
    assert_eq!(bob.handle.counters().accepted, 1);
}

/// Several messages share a record of TLS, and one that is larger takes several.
#[tokio::test]
async fn a_burst_over_tls_arrives_whole_and_in_order() {
    let authority = Authority::new("Test CA");
    let mut alice = start(authority.tls(&["a.example"]));
    let mut bob = start(authority.tls(&["b.example"]));
    for body in [100, 7_000, 40_000] {
        bob.handle.with(|core, _| core.body = body);
        for number in 0..20 {
            alice.send(to(&alice, &bob, "b.example", number));
        }
        for number in 0..20 {
            assert_eq!(bob.request().await.0, number);
        }
        for number in 0..20 {
            assert_eq!(alice.response().await.0, number);
        }
    }
    assert_eq!(bob.handle.counters().accepted, 1);
}

#[tokio::test]
async fn the_server_name_chooses_the_certificate() {
    let authority = Authority::new("Test CA");
    let options = authority.options(&["a.example"]).identity(authority.identity(&["b.example"]));
    let mut hosts = start(Tls::new(options).unwrap());
    let client = start(authority.tls(&["c.example"]));
    for (number, domain) in [(1, "b.example"), (2, "a.example")] {
        client.send(to(&client, &hosts, domain, number));
        assert_eq!(hosts.request().await.0, number);
    }
    assert_eq!(hosts.handle.counters().accepted, 2);
}

/// RFC 5923: with certificates on both sides and `alias`, requests in the other direction take the same connection.
#[tokio::test]
async fn an_accepted_connection_serves_the_advertised_address_of_who_has_proven_himself() {
    let authority = Authority::new("Test CA");
    let asking = |names: &[&str]| {
        Tls::new(authority.options(names).client_certificates(ClientCertificates::Asked)).unwrap()
    };
    let alias = |transmit: Transmit| {
        let text = String::from_utf8(transmit.payload.to_vec()).unwrap();
        Transmit { payload: text.replacen(";rport", ";rport;alias", 1).into(), ..transmit }
    };
    let (mut alice, mut bob) = (start(asking(&["a.example"])), start(asking(&["b.example"])));
    assert!(alice.handle.locals().iter().all(|local| local.alias));
    alice.send(alias(to(&alice, &bob, "b.example", 1)));
    bob.request().await;
    bob.send(to(&bob, &alice, "a.example", 2));
    assert_eq!(alice.request().await.0, 2);
    assert_eq!((alice.handle.connections(), bob.handle.connections()), (1, 1), "the same one");
    bob.send(to(&bob, &alice, "c.example", 3));
    assert_eq!(
        bob.failure().await,
        (Token(3), SendError::Tls(TlsFailure::OtherDomain)),
        "a new one, refused"
    );

    // Without `alias`, or without a certificate of the client, a connection of our own is opened.
    let (mut carol, mut dave) = (start(asking(&["c.example"])), start(asking(&["d.example"])));
    carol.send(to(&carol, &dave, "d.example", 1));
    dave.request().await;
    dave.send(to(&dave, &carol, "c.example", 2));
    carol.request().await;
    assert_eq!(dave.handle.connections(), 2);
    let (mut erin, mut frank) = (start(authority.tls(&["e.example"])), start(authority.tls(&["f.example"])));
    erin.send(alias(to(&erin, &frank, "f.example", 1)));
    frank.request().await;
    frank.send(to(&frank, &erin, "e.example", 2));
    erin.request().await;
    assert_eq!(frank.handle.connections(), 2, "nobody asked for a certificate, so none was shown");
}

/// A phone without a certificate writes the address that it connects from into Contact: only its connection leads there.
#[tokio::test]
async fn the_address_that_a_connection_came_from_is_reached_over_it() {
    let authority = Authority::new("Test CA");
    let (alice, mut bob) = (start(authority.tls(&["a.example"])), start(authority.tls(&["b.example"])));
    alice.send(to(&alice, &bob, "b.example", 1));
    let (_, path) = bob.request().await;
    for (number, domain) in [(2, None), (3, Some("127.0.0.1"))] {
        let back = options(Transport::Tls, bob.at(Transport::Tls), path.remote, number);
        bob.send(Transmit { domain: domain.map(Arc::from), ..back });
        assert_eq!(bob.response().await.0, number);
    }
    assert_eq!(bob.handle.connections(), 1);
    let back = options(Transport::Tls, bob.at(Transport::Tls), path.remote, 4);
    bob.send(Transmit { domain: Some("a.example".into()), ..back });
    assert_eq!(bob.failure().await.0, Token(4), "who has proven no domain is not sent what is for one");
}

#[tokio::test]
async fn a_certificate_can_be_demanded() {
    let authority = Authority::new("Test CA");
    let required = authority.options(&["b.example"]).client_certificates(ClientCertificates::Required);
    let mut bob = start(Tls::new(required).unwrap());
    let known = start(authority.tls(&["a.example"]));
    known.send(to(&known, &bob, "b.example", 1));
    bob.request().await;
    let nobody = Tls::new(TlsOptions::new().roots(authority.roots())).unwrap();
    let mut nobody = peer("tls:client:127.0.0.1", nobody, Options::default());
    let transmit = to(&known, &bob, "b.example", 2);
    nobody.send(transmit);
    // TLS 1.3 lets the client send before it hears of the refusal.
    assert!(matches!(nobody.closed().await, CloseReason::Error(SendError::Tls(TlsFailure::Alert(116)))));
    assert_eq!(bob.handle.counters().received, 1);
}

#[tokio::test]
async fn a_reloaded_certificate_serves_new_connections_and_old_ones_stay() {
    let authority = Authority::new("Test CA");
    let tls = authority.tls(&["old.example"]);
    let mut bob = start(tls.clone());
    let alice = start(authority.tls(&["a.example"]));
    alice.send(to(&alice, &bob, "old.example", 1));
    bob.request().await;
    tls.reload(authority.options(&["new.example"])).unwrap();
    alice.send(to(&alice, &bob, "old.example", 2));
    bob.request().await;
    alice.send(to(&alice, &bob, "new.example", 3));
    bob.request().await;
    assert_eq!(bob.handle.counters().accepted, 2);
    assert_eq!(bob.handle.connections(), 2);
}

#[tokio::test]
async fn a_client_without_verification_takes_whatever_it_gets() {
    let (authority, strangers) = (Authority::new("Test CA"), Authority::new("Other CA"));
    let insecure = Tls::new(strangers.options(&["a.example"]).insecure(true)).unwrap();
    let (alice, mut bob) = (start(insecure), start(authority.tls(&["b.example"])));
    for (number, domain) in [(1, "anything.example"), (2, "else.example")] {
        alice.send(to(&alice, &bob, domain, number));
        assert_eq!(bob.request().await.0, number);
    }
    assert_eq!(bob.handle.connections(), 1);
}

#[tokio::test]
async fn tls_without_what_it_needs_is_refused_when_binding() {
    let authority = Authority::new("Test CA");
    let listen = ["tls:127.0.0.1:0".parse().unwrap()];
    assert!(matches!(Sockets::bind(&listen), Err(BindError::NoTls(_))));
    let roots_alone = Tls::new(TlsOptions::new().roots(authority.roots())).unwrap();
    assert!(matches!(Sockets::bind_with_tls(&listen, roots_alone), Err(BindError::NoCertificate(_))));
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_told_apart() {
    let authority = Authority::new("Test CA");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let mut alice = start(authority.tls(&["a.example"]));
    let transmit = options(Transport::Tls, alice.at(Transport::Tls), at, 1);
    alice.send(Transmit { domain: Some(Arc::from("b.example")), ..transmit });
    let (mut plain, _) = listener.accept().await.unwrap();
    plain.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert_eq!(alice.failure().await, (Token(1), SendError::Tls(TlsFailure::Handshake)));
}

/// What the server is told of the peer of the connection that comes next: its domains and users; nothing before a request.
async fn proven(server: &mut Peer) -> Option<(Vec<String>, Vec<String>)> {
    let mut told = None;
    loop {
        match server.next().await {
            Seen::Flow(FlowEvent::Proven { peer, .. }) => {
                let domains = peer.domains().map(str::to_owned).collect();
                told = Some((domains, peer.users().map(ToString::to_string).collect()));
            }
            Seen::Request(..) => return told,
            _ => {}
        }
    }
}

/// RFC 5922 §7.4: the core is told whose certificate it is, before the first request; and which user's, if an authority has issued it
/// that may say so.
#[tokio::test]
async fn the_core_is_told_which_domains_and_users_a_certificate_names() {
    let (authority, of_phones) = (Authority::new("Test CA"), Authority::new("CA of phones"));
    let options = authority.options(&["b.example"]).client_certificates(ClientCertificates::Asked);
    let mut server = start(Tls::new(options.user_roots(of_phones.roots())).unwrap());
    let names = || params(vec![uri("sip:alice@example.com"), dns("a.example")]);
    let client = |identity: Option<(String, String)>| {
        let options = TlsOptions::new().roots(authority.roots());
        let identity =
            identity.map(|(chain, key)| Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap());
        start_client(Tls::new(identity.into_iter().fold(options, TlsOptions::identity)).unwrap())
    };
    let domain = || vec!["a.example".to_owned()];
    for (identity, told) in [
        (Some(of_phones.issue(names())), Some((domain(), vec!["sip:alice@example.com".to_owned()]))),
        (Some(authority.issue(names())), Some((domain(), vec![]))),
        (None, None),
    ] {
        let client = client(identity);
        let at = server.at(Transport::Tls);
        let request = options_request(at, 1);
        client.send(Transmit { domain: Some("b.example".into()), ..request });
        assert_eq!(proven(&mut server).await, told);
    }
    // The authority of phones vouches for no server.
    let (chain, key) = of_phones.issue(params(vec![dns("c.example")]));
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let impostor = start(Tls::new(TlsOptions::new().roots(authority.roots()).identity(identity)).unwrap());
    server.send(to(&server, &impostor, "c.example", 2));
    let unknown = SendError::Tls(TlsFailure::UnknownIssuer);
    assert_eq!(server.failure().await, (Token(2), unknown));
}

/// A certificate with this serial number.
fn numbered(authority: &Authority, names: Vec<rcgen::SanType>, number: u64) -> Identity {
    let mut params = params(names);
    params.serial_number = Some(number.into());
    let (chain, key) = authority.issue(params);
    Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
}

/// RFC 5280 §5, §6.3: servers, clients, users and authorities that were taken back; whoever is in no list is believed, also where the
/// list is out of date or another authority's.
#[tokio::test]
async fn who_is_in_a_list_of_revoked_certificates_is_not_believed() {
    let (root, other) = (Authority::new("Test CA"), Authority::new("Other CA"));
    let lists = |list: &rcgen::CertificateRevocationList| {
        let der = RevocationLists::from_der(list.der().to_vec()).unwrap();
        let pem = RevocationLists::from_pem(list.pem().unwrap().as_bytes()).unwrap();
        [der, pem]
    };
    let trusting = |lists: RevocationLists| {
        let options = TlsOptions::new().roots(root.roots().and(other.roots())).revocation_lists(lists);
        options.identity(root.identity(&["a.example"])).client_certificates(ClientCertificates::Asked)
    };
    // Servers.
    let good = start(Tls::new(trusting(RevocationLists::default())).unwrap());
    let server = |authority: &Authority, number: u64| {
        let identity = numbered(authority, vec![dns("b.example")], number);
        start(Tls::new(TlsOptions::new().roots(root.roots()).identity(identity)).unwrap())
    };
    let (mut kept, revoked, mut elsewhere) = (server(&root, 6), server(&root, 7), server(&other, 7));
    for list in lists(&root.revokes(&[7], 2999)).into_iter().chain(lists(&root.revokes(&[7], 2025))) {
        let mut alice = start(Tls::new(trusting(list)).unwrap());
        for (number, server) in [(1, &mut kept), (2, &mut elsewhere)] {
            alice.send(to(&alice, server, "b.example", number));
            assert_eq!(server.request().await.0, number);
            alice.response().await;
        }
        alice.send(to(&alice, &revoked, "b.example", 3));
        assert_eq!(alice.failure().await, (Token(3), SendError::Tls(TlsFailure::Revoked)));
    }
    drop(good);

    // Clients, and users of theirs.
    let list = RevocationLists::from_der(root.revokes(&[7], 2999).der().to_vec()).unwrap();
    let more = RevocationLists::from_der(other.revokes(&[9], 2999).der().to_vec()).unwrap();
    let mut server = start(Tls::new(trusting(list.and(more)).user_roots(other.roots())).unwrap());
    let client = |identity: Identity| {
        start_client(Tls::new(TlsOptions::new().roots(root.roots()).identity(identity)).unwrap())
    };
    let names = || vec![dns("b.example"), uri("sip:alice@example.com")];
    for (authority, number, revoked) in
        [(&root, 6, false), (&root, 7, true), (&other, 7, false), (&other, 9, true)]
    {
        let mut client = client(numbered(authority, names(), number));
        let request = options_request(server.at(Transport::Tls), 1);
        client.send(Transmit { domain: Some("a.example".into()), ..request });
        if revoked {
            // RFC 8446 §6.2: certificate_revoked.
            let alert = SendError::Tls(TlsFailure::Alert(44));
            assert_eq!(client.closed().await, CloseReason::Error(alert));
        } else {
            let users = if std::ptr::eq(authority, &other) {
                vec!["sip:alice@example.com".to_owned()]
            } else {
                vec![]
            };
            assert_eq!(proven(&mut server).await, Some((vec!["b.example".to_owned()], users)));
        }
    }
}

/// A list signed by somebody else of the authority's name says nothing of its certificates, and they are not believed on it.
#[tokio::test]
async fn lists_of_revoked_certificates_have_to_be_their_authoritys() {
    let (root, impostor) = (Authority::new("Test CA"), Authority::new("Test CA"));
    let list = RevocationLists::from_der(impostor.revokes(&[7], 2999).der().to_vec()).unwrap();
    let bob = start(root.tls(&["b.example"]));
    let options = TlsOptions::new().roots(root.roots()).revocation_lists(list);
    let mut alice = start_client(Tls::new(options).unwrap());
    let request = options_request(bob.at(Transport::Tls), 1);
    alice.send(Transmit { domain: Some("b.example".into()), ..request });
    assert_eq!(alice.failure().await, (Token(1), SendError::Tls(TlsFailure::BadCertificate)));

    for none in [
        RevocationLists::from_pem(b"nothing"),
        RevocationLists::from_der(vec![0x30, 0x00]),
        RevocationLists::from_pem(root.pem().as_bytes()),
    ] {
        assert!(matches!(none, Err(CredentialsError::RevocationList(_))));
    }
    let missing = RevocationLists::from_file("/nowhere/at.crl");
    assert!(matches!(missing, Err(CredentialsError::Read { .. })));
}

fn start_client(tls: Tls) -> Peer {
    peer("tls:client:127.0.0.1", tls, Options::default())
}

/// A request of who listens nowhere.
fn options_request(to: std::net::SocketAddr, number: u32) -> Transmit {
    options(Transport::Tls, to, to, number)
}
